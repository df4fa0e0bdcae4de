"""Scans: read, check, extract the brain, align it to a model, and bring results back.

Names are imported when they are first used: the window opens without SimpleITK and most of scipy.
"""

from lazy_loader import attach_stub

#: The names are listed in `__init__.pyi`.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
