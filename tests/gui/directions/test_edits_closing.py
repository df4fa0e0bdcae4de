"""Closing while a mix is drawn and an edit is measured leaves nothing at work."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.app.explorer import Explorer
from stylegan3d.recipe.recipe import Edit, Recipe, Source


def wait(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        QTest.qWait(20)
    raise AssertionError("waited too long")


@pytest.mark.parametrize("how", ["explorer", pytest.param("viewer", marks=pytest.mark.soak)])
def test_closing_in_the_middle_of_everything(make_napari_viewer, model, notifications, how):
    viewer = make_napari_viewer(show=True)
    explorer = Explorer(viewer, model)
    viewer.window.add_dock_widget(explorer, name="Explorer")
    wait(lambda: explorer.directions.rows and explorer.rendering.is_prepared)

    def find(name: str) -> QWidget:
        return explorer.findChild(QWidget, name)

    for seed in range(6):
        explorer.session.favourites.add(Recipe(Source("seed", seed)))
    explorer.panel("Mix")
    find("mix.open_matrix").click()
    explorer.panel("Directions")
    explorer.session.change(Recipe(edits=(Edit("PC 1", 2.0),)))
    find("directions.preview.0").click()
    find("directions.new").click()
    for index in range(6):
        find(f"directions.new_group.{index}").setCurrentIndex(1 + index % 2)
    find("directions.new_name").setText("Left half done")
    directing, mixing = explorer.directing, explorer.mixing
    wait(lambda: directing._request is not None)
    find("directions.new_find").click()
    if how == "explorer":
        explorer.close_explorer()
        QTest.qWait(100)
        windows = (directing.strip, directing.files.dialog, mixing.matrix)
        assert not any(window.isVisible() for window in windows)
        timers = [directing._rest, *directing.strip.findChildren(QTimer)]
        assert not [timer for timer in timers if timer.isActive()]
    viewer.close()
    wait(lambda: not [t for t in threading.enumerate() if t.name.startswith("stylegan3d")])
    assert notifications == []
    assert directing.measuring.closed
