"""The window is drawn once for each preview, and tells of work only where it lasts."""

from __future__ import annotations

import gc
import weakref

import pytest
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_stylegan3d.app.explorer import BusyLine
from napari_stylegan3d.app.viewing import set_aside
from napari_stylegan3d.core.jobs import SELDOM
from napari_stylegan3d.views.canvases import LATELY_S, PATIENCE_MS, RepaintPacer
from napari_stylegan3d.widgets.controls import Links


class Counted(QWidget):
    """How often it was painted."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def paintEvent(self, event):
        self.count += 1


@pytest.fixture
def held(qtbot):
    """A window, what is in it, and what holds it back."""
    window, inside = QMainWindow(), Counted()
    window.setCentralWidget(inside)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitExposed(window)
    qtbot.waitUntil(lambda: inside.count > 0)
    links = Links()
    pacing = RepaintPacer(window, window, links)
    pacing.links = links
    inside.update()
    QTest.qWait(30)
    inside.count = 0
    return window, inside, pacing


def test_what_waits_for_a_picture_is_drawn_once_with_it(held):
    _, inside, pacing = held
    pacing.patience_ms = 10_000
    pacing.hold()
    for _ in range(3):
        inside.update()
        QTest.qWait(10)
    assert inside.count == 0
    pacing.release()
    inside.update()
    QTest.qWait(30)
    assert inside.count == 1
    inside.update()
    QTest.qWait(30)
    assert inside.count == 2, "what comes later is drawn at once"


def test_a_picture_long_in_coming_holds_nothing_back(held, qtbot):
    _, inside, pacing = held
    pacing.hold()
    inside.update()
    QTest.qWait(PATIENCE_MS // 4)
    assert inside.count == 0
    qtbot.waitUntil(lambda: inside.count == 1, timeout=2000)
    assert not pacing.holds


def test_a_picture_that_is_there_does_not_wait_for_the_next(held):
    _, inside, pacing = held
    pacing.patience_ms = 10_000
    pacing.hold()
    inside.update()
    pacing.release()
    pacing.hold()  # the hand moved on before Qt came to draw
    QTest.qWait(30)
    assert inside.count == 1
    pacing.hold()
    inside.update()
    QTest.qWait(30)
    assert inside.count == 1


def test_while_a_hand_drags_what_comes_after_a_picture_waits_for_the_next(held, qtbot):
    _, inside, pacing = held
    pacing.patience_ms = 10_000
    pacing.hold(live=True)
    inside.update()
    pacing.release()
    QTest.qWait(10)
    assert inside.count == 1
    inside.update()
    QTest.qWait(10)
    assert inside.count == 1, "drawn without a picture"
    pacing.hold(live=True)
    pacing.release()
    QTest.qWait(10)
    assert inside.count == 2
    inside.update()
    qtbot.waitUntil(lambda: inside.count == 3, timeout=2000)  # no other picture came
    QTest.qWait(round(1000 * LATELY_S))
    inside.update()
    QTest.qWait(30)
    assert inside.count == 4, "held back although the hand rests"


def test_closed_in_the_middle_it_draws_what_is_owed(held):
    _, inside, pacing = held
    pacing.hold()
    inside.update()
    QTest.qWait(5)
    pacing.links.close()
    QTest.qWait(30)
    assert inside.count == 1
    inside.update()
    QTest.qWait(30)
    assert inside.count == 2


def test_work_is_told_only_if_it_lasts(qtbot):
    line = BusyLine()
    qtbot.addWidget(line)
    line.resize(200, 3)
    line.show()
    quiet = line.grab().toImage()
    line.set_busy(True)
    QTest.qWait(50)
    assert not line.moves
    qtbot.waitUntil(lambda: line.moves, timeout=2000)
    QTest.qWait(300)
    assert line.grab().toImage() != quiet
    line.set_busy(False)
    assert not line.moves
    assert line.grab().toImage() == quiet
    line.set_busy(True)
    line.set_busy(False)
    QTest.qWait(400)
    assert not line.moves


def test_what_is_set_aside_is_left_out_of_the_search_for_garbage():
    class Model:
        pass

    model, often = Model(), gc.get_threshold()
    model.itself = model
    gone = weakref.ref(model)
    try:
        set_aside()
        del model
        gc.collect()
        assert gone() is not None, "nothing was set aside"
        assert gc.get_threshold() == SELDOM
    finally:
        gc.unfreeze()
        gc.set_threshold(*often)
