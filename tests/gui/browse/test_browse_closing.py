"""Closing the window while Browse is at work."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest

from napari_stylegan3d.app.explorer import Explorer
from stylegan3d.recipe.recipe import Source


def wait(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        QTest.qWait(20)
    raise AssertionError("waited too long")


@pytest.mark.soak
def test_closing_while_the_wall_fills_and_the_walk_plays(make_napari_viewer, model, notifications):
    viewer = make_napari_viewer(show=True)
    explorer = Explorer(viewer, model)
    viewer.window.add_dock_widget(explorer, name="Explorer")
    wait(lambda: explorer.browse.map.plane is not None and explorer.rendering.is_prepared)
    session = explorer.session
    explorer.browse.walk.add.click()
    session.change(session.recipe.replace(source=Source("seed", 4)))
    explorer.browse.walk.add.click()
    explorer.browse.wall.click()
    explorer.browse.walk.play.click()
    wait(lambda: session.recipe.mix is not None)
    explorer.close_explorer()
    QTest.qWait(200)
    assert not explorer.browsing.wall.isVisible()
    ours = [*explorer.browse.walk.findChildren(QTimer), explorer.thumbnails._rest]
    assert not [timer for timer in ours if timer.isActive()]
    viewer.close()
    wait(lambda: not [t for t in threading.enumerate() if t.name.startswith("stylegan3d")])
    assert notifications == []
