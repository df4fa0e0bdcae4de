"""The four views in a real window, with the phantom and without the explorer."""

from __future__ import annotations

import napari
import pytest
from gui.conftest import OneWindow, delete_later
from qtpy.QtTest import QTest
from view_helpers import AFFINE, phantom

from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.views.look import ViewLook
from napari_stylegan3d.views.stage import Stage
from stylegan3d.session.provenance import Provenance


class PhantomWindow:
    """The four views of a viewer, and what they show."""

    def __init__(self, viewer: napari.Viewer, _model: None) -> None:
        viewer.window.resize(1400, 900)
        self.viewer, self.views = viewer, FourViews(viewer.window._qt_window)
        self.stage = Stage(viewer)
        self.views.watch(self.stage)

    def close(self) -> None:
        self.stage.clear()
        self.views.links.close()
        self.viewer.close()
        vars(self).clear()
        QTest.qWait(20)
        delete_later()


@pytest.fixture(scope="module")
def shared_window(request: pytest.FixtureRequest, one_window: OneWindow) -> PhantomWindow:
    """One window for all tests of this folder: opening one takes seconds."""
    return one_window.get(request.path.parent, None, PhantomWindow)


@pytest.fixture
def stage(shared_window: PhantomWindow) -> Stage:
    """What the views show."""
    return shared_window.stage


@pytest.fixture
def four(request: pytest.FixtureRequest, shared_window: PhantomWindow) -> FourViews:
    """The four views as they come, with the phantom alone.

    For files with `UNPAINTED` they are painted only when a picture is asked for.
    """
    views, stage = shared_window.views, shared_window.stage
    views.window().setUpdatesEnabled(False)
    views.stage = stage
    stage.overlay.hide()
    for layer in [layer for layer in views.viewer.layers if layer is not stage.layer]:
        views.viewer.layers.remove(layer)
    stage.show(upright(phantom(), AFFINE), Provenance("generated"))
    views.looks.set(ViewLook())
    stage.reset_levels()
    views.reset()
    views.view("3D").follower.settle()
    views.window().setUpdatesEnabled(not hasattr(request.module, "UNPAINTED"))
    QTest.qWait(50)
    return views
