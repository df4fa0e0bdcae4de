"""Keys, menu entries and commands of the explorer, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_stylegan3d.compare.controller import HELD, HELD_IN_VIEWS
from napari_stylegan3d.project.looks import SEGMENTS
from napari_stylegan3d.views.layers import KEYS, WAYS

if TYPE_CHECKING:
    from napari_stylegan3d.core.panel import Tabs
    from napari_stylegan3d.core.session import Session

Commands = Mapping[str, Callable[[], object]]
#: Commands of open explorers, by the identity of their viewer model.
_OPEN: dict[int, Commands] = {}


def commands_of(
    session: Session,
    viewer: napari.viewer.ViewerModel,
    tabs: Tabs,
    roots: Callable[[], Sequence[QWidget]],
) -> dict[str, Callable[[], object]]:
    """Commands of an explorer, by the names in `keys.TABLE`.

    Parameters
    ----------
    session, viewer, tabs : Session, napari.viewer.ViewerModel, Tabs
        Of the explorer.
    roots : callable
        Widgets whose children include the controls.
    """
    press = partial(_press, roots)

    def save() -> None:
        tabs.bring("Export")
        press("export.save")

    named: dict[str, Callable[[], object]] = {
        "undo": partial(_step, viewer, Labels.undo, partial(press, "explorer.undo")),
        "redo": partial(_step, viewer, Labels.redo, session.redo),
        "next": partial(press, "browse.next"),
        "previous": partial(press, "browse.previous"),
        "dice": partial(press, "browse.dice"),
        "favourite": session.add_favourite,
        "save": save,
        "reset_views": partial(press, "views.reset"),
        "turn_second": partial(_press_next, roots, [f"second.show.{key}" for key, *_ in WAYS]),
    }
    for key, *_rest in SEGMENTS:
        named[f"show_{key}"] = partial(press, f"project.show.{key}")
    for number in range(tabs.count()):
        named[f"tab_{number}"] = partial(_bring, tabs, number)
    for fold in ("measure", "labels"):
        named[fold] = partial(press, f"{fold}.fold", focus=True)
    return named


def _bring(tabs: Tabs, number: int) -> None:
    """Bring a tab to the front, from which Tab leads to its controls."""
    tabs.setCurrentIndex(number)
    tabs.tabBar().setFocus(Qt.FocusReason.ShortcutFocusReason)


def _step(
    viewer: napari.viewer.ViewerModel,
    stroke: Callable[[Labels], object],
    change: Callable[[], object],
) -> None:
    """Undo or redo a stroke while painting, otherwise a change."""
    active = viewer.layers.selection.active
    if isinstance(active, Labels) and str(active.mode) != "pan_zoom":
        stroke(active)
    else:
        change()


def remember(viewer: napari.viewer.ViewerModel, named: Commands) -> None:
    """Register the commands of this viewer's explorer."""
    _OPEN[id(viewer)] = named


def forget(viewer: napari.viewer.ViewerModel) -> None:
    """Unregister the commands."""
    _OPEN.pop(id(viewer), None)


def undo(viewer: napari.viewer.Viewer) -> None:
    """Undo the last change."""
    _run(viewer, "undo")


def redo(viewer: napari.viewer.Viewer) -> None:
    """Redo the last undone change."""
    _run(viewer, "redo")


def next_brain(viewer: napari.viewer.Viewer) -> None:
    """Show the brain of the next seed."""
    _run(viewer, "next")


def previous_brain(viewer: napari.viewer.Viewer) -> None:
    """Show the brain of the previous seed."""
    _run(viewer, "previous")


def random_brain(viewer: napari.viewer.Viewer) -> None:
    """Show a random brain."""
    _run(viewer, "dice")


def keep_favourite(viewer: napari.viewer.Viewer) -> None:
    """Add the brain to the favourites."""
    _run(viewer, "favourite")


def compare(viewer: napari.viewer.Viewer) -> None:
    """Bring the Compare tab to the front."""
    _run(viewer, "tab_4")


def save(viewer: napari.viewer.Viewer) -> None:
    """Save the volume."""
    _run(viewer, "save")


def reset_views(viewer: napari.viewer.Viewer) -> None:
    """Centre the crosshair and fit the head into every view."""
    _run(viewer, "reset_views")


def show_help(viewer: napari.viewer.Viewer) -> None:
    """List keys and mouse gestures."""
    _run(viewer, "help")


def show_welcome(viewer: napari.viewer.Viewer) -> None:
    """Show the first steps again."""
    _run(viewer, "welcome")


def show_case(viewer: napari.viewer.Viewer) -> None:
    """Follow a guided example."""
    _run(viewer, "case")


def _run(viewer: Any, name: str) -> None:
    named = _OPEN.get(id(getattr(viewer, "__wrapped__", viewer)))
    if named is None:
        show_info("Open the explorer first: Plugins > StyleGAN 3D > Explorer.")
        return
    named[name]()


def _press_next(roots: Callable[[], Sequence[QWidget]], names: Sequence[str]) -> None:
    """Press the button after the one that is down, in a row where one always is."""
    every = [button for root in roots() for button in root.findChildren(QAbstractButton)]
    down = {button.objectName() for button in every if button.isChecked()}
    for name, following in zip(names, (*names[1:], names[0]), strict=True):
        if name in down:
            _press(roots, following)
            return


def _press(roots: Callable[[], Sequence[QWidget]], name: str, *, focus: bool = False) -> None:
    """Trigger a control, if it is enabled; with `focus`, Tab goes on from it."""
    found = (root.findChild(QAbstractButton, name) for root in roots())
    button = next((button for button in found if button is not None), None)
    if button is not None and button.isEnabled():
        button.click()
        if focus:
            button.setFocus(Qt.FocusReason.ShortcutFocusReason)


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
    Row(BRAINS, "Alt+Right", "next seed", "next"),
    Row(BRAINS, "Alt+Left", "previous seed", "previous"),
    Row(BRAINS, "Alt+R", "random brain", "dice"),
    Row(BRAINS, "Ctrl+D", "add to favourites", "favourite"),
    Row(BRAINS, "Ctrl+E", "save the volume", "save"),
    *(Row(SCAN, keys, f"show {text}", f"show_{key}") for key, text, _tip, keys in SEGMENTS if keys),
    Row(SCAN, KEYS, "patient, overlay, overlay only in turn", "turn_second"),
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
    Row(FLAT, "Alt+A", "measure an angle", "tool_angle"),
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
