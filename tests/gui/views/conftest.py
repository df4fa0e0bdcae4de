"""The four views in a real window, with the phantom and without the explorer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtTest import QTest
from view_helpers import AFFINE, phantom

from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.views.stage import Stage
from stylegan3d.session.provenance import Provenance


@pytest.fixture(scope="module")
def opened(qapp: Any) -> Iterator[tuple[FourViews, Stage]]:
    """One window for all tests of a file: opening one takes seconds."""
    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1400, 900)
    views = FourViews(viewer.window._qt_window)
    stage = Stage(viewer)
    views.watch(stage)
    yield views, stage
    stage.clear()
    views.links.close()
    viewer.close()
    QTest.qWait(20)
    # PySide6's `qWait` leaves undone what Qt deletes at its next turn.
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def stage(opened: tuple[FourViews, Stage]) -> Stage:
    """What the views show."""
    return opened[1]


@pytest.fixture
def four(opened: tuple[FourViews, Stage]) -> FourViews:
    """The four views as they come, with the phantom alone."""
    views, stage = opened
    views.stage = stage
    stage.overlay.hide()
    for layer in [layer for layer in views.viewer.layers if layer is not stage.layer]:
        views.viewer.layers.remove(layer)
    stage.show(upright(phantom(), AFFINE), Provenance("generated"))
    views.looks.set(ViewLook())
    stage.reset_levels()
    views.reset()
    views.view("3D").follower.settle()
    QTest.qWait(50)
    return views
