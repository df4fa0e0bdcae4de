"""Determines the Qt binding without importing any."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

#: In qtpy's order.
BINDINGS = ("PyQt5", "PySide2", "PyQt6", "PySide6")
#: Leaks a negative reference count of None with each picture: crashes Python 3.11 within minutes;
#: from 3.12 on None is immortal.
BROKEN = "6.12.0"
REFUSAL = (
    f"PySide6 {BROKEN} crashes on Python {{python}}: install another version "
    f'(pip install "PySide6!={BROKEN}"), PyQt6, or Python 3.12 or newer.'
)

NO_NAPARI = (
    "The window needs napari, which is not installed here: pip install "
    '"napari-stylegan3d[all]"; the command line (stylegan3d --help) works without it.'
)
MISSING = "The window needs Qt for Python: pip install PyQt6, or PySide6."


class BrokenBindingError(Exception):
    """The binding would crash or is missing; the message explains the remedy."""


def chosen_binding() -> str:
    """The binding that qtpy would use, one of `BINDINGS`; empty if there is none.

    An already imported one; otherwise that of QT_API, or the next installed one.
    """
    for name in BINDINGS:
        if sys.modules.get(name) is not None:
            return name
    asked = os.environ.get("QT_API", "").lower()
    first = next((at for at, name in enumerate(BINDINGS) if name.lower() == asked), 0)
    return next((name for name in BINDINGS[first:] if find_spec(name) is not None), "")


def broken_binding() -> str:
    """Why the chosen binding cannot be used, in one sentence; empty if it can."""
    if find_spec("napari") is None:
        return NO_NAPARI
    binding = chosen_binding()
    if not binding:
        return MISSING
    if sys.version_info >= (3, 12) or binding != "PySide6":
        return ""
    # PySide6 and PySide6-Essentials are different packages.
    for package in ("PySide6_Essentials", "PySide6"):
        try:
            if version(package) == BROKEN:
                return REFUSAL.format(python=".".join(map(str, sys.version_info[:2])))
        except PackageNotFoundError:
            continue
    return ""


def refuse_broken_binding() -> None:
    """Raise `BrokenBindingError` if the binding cannot be used."""
    if why := broken_binding():
        raise BrokenBindingError(why)
