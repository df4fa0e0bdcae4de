"""Projection: the latent of a generator whose volume is most like a given one.

Names are imported when they are first used: the command line reads the settings without torch.
"""

from lazy_loader import attach_stub

#: The names are listed in `__init__.pyi`.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
