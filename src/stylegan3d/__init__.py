"""Synthesise, project, mix and edit 3D medical volumes with generative models.

    import stylegan3d
    G = stylegan3d.load()
    w = stylegan3d.seed_latents(G, [0, 1, 2], truncation=0.7)
    volumes = G.synthesize(w)

Names are imported lazily: importing torch takes over a second, and neither `--help` nor recipes
need it.
"""

from inspect import isfunction
from typing import Any

from lazy_loader import attach_stub

from stylegan3d.storage.about import version

#: The names are listed in `__init__.pyi`.
_first_used, _names, _all = attach_stub(__name__, __file__)
__all__ = sorted([*_all, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'stylegan3d' has no attribute {name!r}")
    value = version() if name == "__version__" else _first_used(name)
    if isfunction(value):
        from stylegan3d.storage.checked import answering

        value = answering(value)
        value.__module__, value.__qualname__ = __name__, name  # found there when unpickled
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
