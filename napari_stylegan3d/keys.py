"""All keys and mouse gestures of the explorer: one table, which installs the keys and is the help.

A row with a command is installed as a shortcut of the panels and the views (F1 of the whole
window); one without says what another part listens to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget


@dataclass(frozen=True)
class Row:
    """One key or gesture.

    Attributes
    ----------
    group
        Heading it stands under.
    keys
        Such as "Ctrl+Z"; several for one command are separated by " or ".
    does
        What it does, in words.
    command
        Name of the command it runs; empty for what another part listens to.
    everywhere
        Whether it counts in the whole window, also where neither panels nor views have the focus.
    """

    group: str
    keys: str
    does: str
    command: str = ""
    everywhere: bool = False


#: Do something while they are held; `hold_key` listens to them.
HELD, HELD_IN_VIEWS = "B", "Space"
EDITING, BRAINS, WINDOW = "Changes", "Brains", "Window"
FLAT, SOLID = "In a 2D view", "In the 3D view"

TABLE = (
    Row(EDITING, "Ctrl+Z", "undo the last change; while painting, the last stroke", "undo"),
    Row(EDITING, "Ctrl+Shift+Z or Ctrl+Y", "redo", "redo"),
    Row(EDITING, "Ctrl+V", "paste a recipe: a link, JSON or a command", "paste"),
    Row(EDITING, f"{HELD}, held ({HELD_IN_VIEWS} in a view)", "see the brain that was pinned as A"),
    Row(BRAINS, "Alt+Right", "next number", "next"),
    Row(BRAINS, "Alt+Left", "previous number", "previous"),
    Row(BRAINS, "Alt+R", "a brain drawn at random", "dice"),
    Row(BRAINS, "Ctrl+D", "keep as a favourite", "favourite"),
    Row(BRAINS, "Alt+S", "save the volume", "save"),
    Row(WINDOW, "Alt+1 … Alt+6", "Browse, Project, Mix, Directions, Compare, Export"),
    Row(WINDOW, "Alt+0", "reset the views", "reset_views"),
    Row(WINDOW, "F1", "this list", "help", everywhere=True),
    Row(WINDOW, "Ctrl+Shift+P", "all commands by name"),
    Row(FLAT, "Click or drag", "move the crosshair"),
    Row(FLAT, "Wheel", "go through the slices"),
    Row(FLAT, "Ctrl+wheel", "zoom"),
    Row(FLAT, "Middle button or Shift, drag", "move the picture"),
    Row(FLAT, "Right button, drag", "brightness and contrast (level and window)"),
    Row(FLAT, "Right button, double-click", "usual brightness and contrast"),
    Row(FLAT, "Double-click", "this view alone, and back"),
    Row(SOLID, "Drag", "turn the brain"),
    Row(SOLID, "Wheel", "zoom"),
    Row(SOLID, "Shift, drag", "move the brain"),
    Row(SOLID, "Double-click", "this view alone, and back"),
)
#: Keys of the tabs by their place.
TAB_KEYS = tuple(f"Alt+{number}" for number in range(1, 7))


def groups() -> Iterator[tuple[str, list[Row]]]:
    """The table by headings, in order."""
    for name, rows in groupby(TABLE, lambda row: row.group):
        yield name, list(rows)


def install(parent: QWidget, commands: Mapping[str, Callable[[], object]]) -> list[QShortcut]:
    """Make the table's shortcuts for a widget and all within it.

    Parameters
    ----------
    parent
        Owns them.
    commands
        What to call, by the names in the table; rows of other names are left out.
    """
    made = []
    for row in TABLE:
        if row.command not in commands:
            continue
        for keys in row.keys.split(" or "):
            shortcut = _shortcut(parent, keys, commands[row.command], row.everywhere)
            shortcut.setObjectName(f"key.{row.command}")
            made.append(shortcut)
    for number, keys in enumerate(TAB_KEYS):
        tab = commands.get(f"tab_{number}")
        if tab is not None:
            made.append(_shortcut(parent, keys, tab, False))
    return made


def _shortcut(
    parent: QWidget, keys: str, command: Callable[[], object], everywhere: bool
) -> QShortcut:
    shortcut = QShortcut(QKeySequence(keys), parent)
    within = Qt.ShortcutContext.WidgetWithChildrenShortcut
    shortcut.setContext(Qt.ShortcutContext.WindowShortcut if everywhere else within)
    shortcut.activated.connect(command)
    return shortcut
