"""The real window with a tiny generator, worked by the object names of its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import napari

    from napari_stylegan3d.explorer import Explorer

PATIENCE_MS = 30_000


class Window:
    """What a person can do with the explorer, and what they see."""

    def __init__(self, viewer: napari.Viewer, explorer: Explorer, qtbot: Any) -> None:
        self.viewer, self.explorer, self.qtbot = viewer, explorer, qtbot

    def find(self, name: str) -> Any:
        from qtpy.QtWidgets import QWidget

        for root in (self.explorer, self.explorer.views):
            widget = root.findChild(QWidget, name)
            if widget is not None:
                return widget
        raise AssertionError(f"no control is named {name}")

    def click(self, name: str) -> None:
        self.find(name).click()

    def set(self, name: str, value: float) -> None:
        widget = self.find(name)
        getattr(widget, "spin", widget).setValue(value)

    def choose(self, name: str, data: Any) -> None:
        box = self.find(name)
        box.setCurrentIndex(box.findData(data))

    def wait(self, condition: Callable[[], Any]) -> None:
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)

    def settle(self) -> None:
        """Wait until the full volume of the current recipe is on the screen."""
        self.wait(
            lambda: (
                not self.explorer.rendering.busy
                and not self.explorer.comparison.is_preview
                and self.explorer.comparison.recipe == self.recipe
            )
        )
        self.views.view("3D").follower.settle()

    @property
    def recipe(self) -> Any:
        return self.explorer.session.recipe

    @property
    def views(self) -> Any:
        return self.explorer.views

    @property
    def volume(self) -> np.ndarray:
        """What the axial view holds."""
        return np.array(self.explorer.stage.layer.data)

    def pixels(self, name: str) -> np.ndarray:
        """(H, W, 3) the OpenGL canvas of a view, as it is drawn."""
        return self.views.view(name).canvas.screenshot(flash=False)[..., :3].astype(float)


@pytest.fixture
def open_explorer(make_napari_viewer: Any, qtbot: Any) -> Iterator[Callable[..., Window]]:
    """A function that opens the explorer and waits for the first brain."""
    from napari_stylegan3d.explorer import Explorer

    opened: list[Explorer] = []

    def open_it(model: Any, wait: bool = True) -> Window:
        viewer = make_napari_viewer(show=True)
        explorer = Explorer(viewer, model)
        opened.append(explorer)
        viewer.window.add_dock_widget(explorer, name="Explorer", area="right")
        viewer.window.resize(1280, 800)
        window = Window(viewer, explorer, qtbot)
        if wait:
            window.wait(lambda: explorer.comparison.picture is not None)
            window.settle()
            qtbot.wait(50)
        return window

    yield open_it
    for explorer in opened:
        explorer.close_explorer()
    qtbot.wait(20)


@pytest.fixture
def window(open_explorer: Callable[..., Window], tiny_generator: Any) -> Window:
    """The explorer with the tiny generator and its first brain."""
    return open_explorer(tiny_generator)


@pytest.fixture
def notifications() -> Iterator[list[str]]:
    """Messages of napari's notifications during the test."""
    from napari.utils.notifications import notification_manager

    seen: list[str] = []

    def note(notification: Any) -> None:
        seen.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    yield seen
    notification_manager.notification_ready.disconnect(note)
