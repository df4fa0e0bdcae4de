"""What the explorer can be told to do by name: by keys, napari's command palette, and menus.

The functions are napari's commands; each finds the explorer of the viewer it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QAbstractButton

from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer

#: Open explorers by the identity of their viewer's model.
_OPEN: WeakValueDictionary[int, Explorer] = WeakValueDictionary()


def commands_of(explorer: Explorer) -> dict[str, Callable[[], object]]:
    """Everything an explorer can be told to do, by the names in `keys.TABLE`."""
    session = explorer.session
    named: dict[str, Callable[[], object]] = {
        "undo": partial(_step, explorer, Labels.undo, session.undo),
        "redo": partial(_step, explorer, Labels.redo, session.redo),
        "paste": explorer.opening.paste,
        "next": partial(_press, explorer, "browse.next"),
        "previous": partial(_press, explorer, "browse.previous"),
        "dice": partial(_press, explorer, "browse.dice"),
        "favourite": lambda: session.favourites.add(session.recipe),
        "save": partial(_save, explorer),
        "reset_views": partial(_press, explorer, "views.reset"),
        "help": lambda: explorer.guidance.show_help(),
        "welcome": lambda: explorer.guidance.show_welcome(),
    }
    for number in range(explorer.tabs.count()):
        named[f"tab_{number}"] = partial(explorer.tabs.setCurrentIndex, number)
    return named


def _step(
    explorer: Explorer, stroke: Callable[[Labels], object], change: Callable[[], object]
) -> None:
    """Go back or forth by a stroke while a layer is painted on, else by a change."""
    active = explorer.viewer.layers.selection.active
    if isinstance(active, Labels) and str(active.mode) != "pan_zoom":
        stroke(active)
    else:
        change()


def remember(explorer: Explorer) -> None:
    """Let commands find this explorer until it is closed."""
    _OPEN[id(explorer.viewer)] = explorer


def forget(explorer: Explorer) -> None:
    """The explorer is closed."""
    _OPEN.pop(id(explorer.viewer), None)


def undo(viewer: napari.viewer.Viewer) -> None:
    """Undo the last change."""
    _run(viewer, "undo")


def redo(viewer: napari.viewer.Viewer) -> None:
    """Take back an undo."""
    _run(viewer, "redo")


def next_brain(viewer: napari.viewer.Viewer) -> None:
    """Show the next number."""
    _run(viewer, "next")


def previous_brain(viewer: napari.viewer.Viewer) -> None:
    """Show the previous number."""
    _run(viewer, "previous")


def random_brain(viewer: napari.viewer.Viewer) -> None:
    """Show a brain drawn at random."""
    _run(viewer, "dice")


def keep_favourite(viewer: napari.viewer.Viewer) -> None:
    """Keep the brain as a favourite."""
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


def _run(viewer: Any, name: str) -> None:
    explorer = _OPEN.get(id(getattr(viewer, "__wrapped__", viewer)))
    if explorer is None:
        show_info(_("Open the explorer first: Plugins > StyleGAN 3D > Explorer."))
        return
    commands_of(explorer)[name]()


def _press(explorer: Explorer, name: str) -> None:
    """What a control does, once it can do it: not before there is a model."""
    roots = [root for root in (explorer, explorer.views) if root is not None]
    found = (root.findChild(QAbstractButton, name) for root in roots)
    button = next((button for button in found if button is not None), None)
    if button is not None and button.isEnabled():
        button.click()


def _save(explorer: Explorer) -> None:
    explorer.panel("Export")
    _press(explorer, "export.save")
