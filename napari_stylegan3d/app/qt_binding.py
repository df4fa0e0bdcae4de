"""Which of Python's bindings of Qt the window will run on, told without importing any."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

#: In the order in which qtpy tries them.
BINDINGS = ("PyQt5", "PySide2", "PyQt6", "PySide6")
#: Drops a reference to None with each picture it draws: Python 3.11 dies of it within minutes, from
#: 3.12 on None does not count its references.
BROKEN = "6.12.0"
REFUSAL = (
    f"PySide6 {BROKEN} crashes on Python {{python}}: install another version "
    f'(pip install "PySide6!={BROKEN}"), PyQt6, or Python 3.12 or newer.'
)

MISSING = "The window needs a Qt for Python and there is none: pip install PyQt6, or PySide6."


class BrokenBindingError(Exception):
    """The window would crash, or there is nothing to open it with; the message says what to do."""


def chosen_binding() -> str:
    """The binding that qtpy takes, as one of `BINDINGS`; empty if there is none.

    That is one that is imported already; else the one that QT_API names, or where it is not
    installed the next in the list that is.
    """
    for name in BINDINGS:
        if name in sys.modules:
            return name
    asked = os.environ.get("QT_API", "").lower()
    first = next((at for at, name in enumerate(BINDINGS) if name.lower() == asked), 0)
    return next((name for name in BINDINGS[first:] if find_spec(name) is not None), "")


def broken_binding() -> str:
    """Why the window cannot open on the binding it would get, in one sentence; empty if it can."""
    binding = chosen_binding()
    if not binding:
        return MISSING
    if sys.version_info >= (3, 12) or binding != "PySide6":
        return ""
    # The whole of PySide6 and its core alone are packages of different names.
    for package in ("PySide6_Essentials", "PySide6"):
        try:
            if version(package) == BROKEN:
                return REFUSAL.format(python=".".join(map(str, sys.version_info[:2])))
        except PackageNotFoundError:
            continue
    return ""


def refuse_broken_binding() -> None:
    """Raise `BrokenBindingError` where the window would crash."""
    if why := broken_binding():
        raise BrokenBindingError(why)
