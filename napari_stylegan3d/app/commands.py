"""Commands of the explorer for keys, napari's command palette, and menus.

The functions are napari commands; each acts on the explorer of the given viewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_stylegan3d.project.looks import SEGMENTS
from napari_stylegan3d.views.second import WAYS

if TYPE_CHECKING:
    from napari_stylegan3d.app.tabs import Tabs
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
        "undo": partial(_step, viewer, Labels.undo, session.undo),
        "redo": partial(_step, viewer, Labels.redo, session.redo),
        "next": partial(press, "browse.next"),
        "previous": partial(press, "browse.previous"),
        "dice": partial(press, "browse.dice"),
        "favourite": lambda: session.favourites.add(session.recipe),
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
    """Follow a worked case."""
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
