"""The real window with a tiny generator, worked by the object names of its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import napari

    from napari_stylegan3d.explorer import Explorer

PATIENCE_MS = 40_000


class Window:
    """What a person can do with the explorer, and what they see."""

    def __init__(self, viewer: napari.Viewer, explorer: Explorer) -> None:
        self.viewer, self.explorer = viewer, explorer
        self.session, self.views = explorer.session, explorer.views

    def find(self, name: str) -> Any:
        from qtpy.QtWidgets import QWidget

        for root in (self.explorer, self.explorer.views):
            widget = root.findChild(QWidget, name)
            if widget is not None:
                return widget
        raise AssertionError(f"no control is named {name}")

    def click(self, name: str) -> None:
        """Press a button, which must be one that can be pressed."""
        button = self.find(name)
        assert button.isEnabled(), f"{name} is disabled"
        button.click()

    def set(self, name: str, value: float) -> None:
        """Type a number."""
        widget = self.find(name)
        getattr(widget, "spin", widget).setValue(value)

    def choose(self, name: str, data: Any) -> None:
        box = self.find(name)
        box.setCurrentIndex(box.findData(data))

    def wait(self, condition: Callable[[], Any]) -> None:
        wait_until(condition)

    def settle(self) -> None:
        """Wait until the full volume of the current recipe is there."""
        shown = self.explorer.comparison
        self.wait(
            lambda: not self.explorer.rendering.busy
            and shown.recipe == self.recipe
            and not shown.is_preview
        )
        self.views.view("3D").follower.settle()

    @property
    def recipe(self) -> Any:
        return self.session.recipe

    @property
    def volume(self) -> np.ndarray:
        """What the axial view holds."""
        return np.array(self.explorer.stage.layer.data)

    @property
    def captions(self) -> set[str]:
        return {view.labels.caption for view in self.views.views}

    def pixels(self, name: str) -> np.ndarray:
        """(H, W, 3) the OpenGL canvas of a view, as it is drawn."""
        return self.views.view(name).canvas.screenshot(flash=False)[..., :3].astype(float)


def wait_until(condition: Callable[[], Any]) -> None:
    """Let Qt work until something is so."""
    import time

    from qtpy.QtTest import QTest

    end = time.monotonic() + PATIENCE_MS / 1000
    while not condition():
        assert time.monotonic() < end, "waited too long"
        QTest.qWait(10)


def open_window(viewer: Any, model: Any) -> Window:
    """Dock the explorer in a viewer and wait for the first brain and the directions."""
    from napari_stylegan3d.explorer import Explorer

    explorer = Explorer(viewer, model)
    viewer.window.add_dock_widget(explorer, name="Explorer", area="right")
    viewer.window.resize(1280, 800)
    wait_until(lambda: explorer.directions.rows or explorer.message.text())
    return Window(viewer, explorer)


@pytest.fixture(scope="session")
def shared_window(qapp: Any, tiny_generator: Any) -> Iterator[Window]:
    """One explorer for most tests: opening one takes seconds."""
    import napari

    from qtpy.QtTest import QTest

    viewer = napari.Viewer(show_welcome_screen=False)
    window = open_window(viewer, tiny_generator)
    yield window
    viewer.close()
    QTest.qWait(50)


@pytest.fixture
def window(shared_window: Window) -> Window:
    """The explorer as it opens: brain number 0, nothing undone, nothing projected."""
    from qtpy.QtTest import QTest

    from stylegan3d.recipe import Recipe

    explorer = shared_window.explorer
    explorer.saving.cancel()
    explorer.projecting.job.cancel()
    wait_until(lambda: not (explorer.saving.running or explorer.projecting.job.running))
    shared_window.session.change(Recipe())
    shared_window.session.set_generator(shared_window.session.generator)
    explorer.directions.show_directions(shared_window.session.generator)
    explorer.panel("Browse")
    explorer.comparison.follow()
    explorer.rendering.request()
    shared_window.settle()
    shared_window.views.set_convention("radiological")
    QTest.qWait(30)
    return shared_window


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


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small brain-extracted scan: an asymmetric blob in an LAS array, oblique by 5 degrees."""
    import nibabel as nib

    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (50, 64, 56)], indexing="ij"))
    radius = np.sqrt((grid**2 * np.array([1.3, 1.0, 1.2])[:, None, None, None]).sum(axis=0))
    data = np.where(radius < 0.8, 700 - 300 * radius + 100 * np.sin(9 * grid[0]) * grid[1], 0)
    angle = np.radians(5)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([-3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = turn[:3, :3] @ [75, -95, -80]
    path = tmp_path_factory.mktemp("scans") / "sub-07_T1w.nii.gz"
    nib.Nifti1Image(data.astype(np.int16), affine).to_filename(path)
    return path
