"""All keys and mouse gestures of the explorer, in one table for shortcuts and help.

Rows with a command are installed as shortcuts of panels and views (F1 of the whole window); others
document what is handled elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.compare.hold_key import HELD, HELD_IN_VIEWS
from napari_stylegan3d.project.looks import SEGMENTS
from napari_stylegan3d.views.second import KEYS


@dataclass(frozen=True)
class Row:
    """One key or gesture.

    Attributes
    ----------
    group : str
        Heading.
    keys : str
        Such as "Ctrl+Z"; several for one command are separated by " or ".
    does : str
        Description.
    command : str
        Name of the command; empty if handled elsewhere.
    everywhere : bool
        Whether it applies to the whole window, whatever has the focus.
    """

    group: str
    keys: str
    does: str
    command: str = ""
    everywhere: bool = False


EDITING, BRAINS, SCAN, WINDOW = "Changes", "Brains", "Scan", "Window"
FLAT, SOLID = "In a 2D view", "In the 3D view"
TABLE = (
    Row(EDITING, "Ctrl+Z", "undo the last change; while painting, the last stroke", "undo"),
    Row(EDITING, "Ctrl+Shift+Z or Ctrl+Y", "redo", "redo"),
    Row(EDITING, "Ctrl+V", "paste a recipe: a link, JSON or a command", "paste"),
    Row(
        EDITING,
        f"{HELD}, held ({HELD_IN_VIEWS} in a view)",
        "show the brain pinned as A",
    ),
    Row(BRAINS, "Alt+Right", "next number", "next"),
    Row(BRAINS, "Alt+Left", "previous number", "previous"),
    Row(BRAINS, "Alt+R", "random brain", "dice"),
    Row(BRAINS, "Ctrl+D", "add to favourites", "favourite"),
    Row(BRAINS, "Ctrl+E", "save the volume", "save"),
    *(Row(SCAN, keys, f"show {text}", f"show_{key}") for key, text, _tip, keys in SEGMENTS if keys),
    Row(SCAN, KEYS, "patient, overlay, second image in turn", "turn_second"),
    Row(WINDOW, "Alt+1 … Alt+6", "Browse, Project, Mix, Directions, Compare, Export"),
    Row(WINDOW, "Alt+7", "open or close Measure", "measure"),
    Row(WINDOW, "Alt+8", "open or close Labels", "labels"),
    Row(WINDOW, "Tab", "next control; arrows and the space bar work it"),
    Row(WINDOW, "Alt+0", "reset the views", "reset_views"),
    Row(WINDOW, "F1", "this list", "help", everywhere=True),
    Row(WINDOW, "Ctrl+Shift+P", "all commands by name"),
    Row(FLAT, "Click or drag", "move the crosshair"),
    Row(FLAT, "Wheel, or Page Up and Page Down", "scroll through the slices"),
    Row(FLAT, "Home, End", "first, last slice of the view under the mouse"),
    Row(FLAT, "Ctrl+wheel", "zoom"),
    Row(FLAT, "Middle button or Shift, drag", "pan"),
    Row(FLAT, "Right button, drag", "window and level"),
    Row(FLAT, "Right button, double-click", "reset window and level"),
    Row(FLAT, "F5", "window: brain", "preset_brain"),
    Row(FLAT, "F6", "window: deep grey", "preset_deep_grey"),
    Row(FLAT, "F7", "window: full range", "preset_full"),
    Row(FLAT, "Alt+D", "measure a length", "tool_length"),
    Row(FLAT, "Alt+E", "measure an ellipse", "tool_ellipse"),
    Row(FLAT, "Alt+T", "measure a rectangle", "tool_rectangle"),
    Row(FLAT, "Alt+B", "measure a sphere", "tool_sphere"),
    Row(FLAT, "Del", "delete the chosen measurement", "delete_mark"),
    Row(FLAT, "Drag, while painting", "paint or erase; [ and ] change the brush"),
    Row(FLAT, "Double-click", "enlarge this view, and return"),
    Row(SOLID, "Drag", "rotate the brain"),
    Row(SOLID, "Wheel", "zoom"),
    Row(SOLID, "Shift, drag", "pan"),
    Row(SOLID, "Double-click", "enlarge this view, and return"),
)
#: Keys of the tabs by position.
TAB_KEYS = tuple(f"Alt+{number}" for number in range(1, 7))


def groups() -> Iterator[tuple[str, list[Row]]]:
    """The table by headings, in order."""
    for name, rows in groupby(TABLE, lambda row: row.group):
        yield name, list(rows)


def install(parent: QWidget, commands: Mapping[str, Callable[[], object]]) -> list[QShortcut]:
    """Install the table's shortcuts on a widget and its children.

    Parameters
    ----------
    parent : QWidget
        Owns them.
    commands : mapping of str to callable
        Callbacks by command name; other rows are skipped.
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
