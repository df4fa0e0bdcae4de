"""napari's notifications lie where they hide no caption, and are seen whatever view is."""

from __future__ import annotations

import pytest
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari.utils.notifications import show_info
from qtpy.QtCore import QPoint, QPointF, QRect
from qtpy.QtGui import QEnterEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialog, QLabel

from napari_stylegan3d.app.viewing import NAME
from napari_stylegan3d.views.look import ViewLook
from stylegan3d.base import ScanError

LONG = "A sentence that takes several lines when the notification is opened to be read. " * 4
#: What the captions take at the foot of a view.
CAPTION = (150, 60)


@pytest.fixture
def told(window):
    """A function that has napari say something, and returns where it lies on the views."""

    def toasts() -> list[QDialog]:
        return window.views.findChildren(QDialog, NAME)

    def tell(text: str) -> QRect:
        show_info(text)
        window.wait(lambda: any(toast.isVisible() for toast in toasts()))
        toast = toasts()[-1]
        QTest.qWait(300)  # it would slide
        toast.expand()
        QTest.qWait(200)
        return QRect(toast.mapTo(window.views, QPoint(0, 0)), toast.size())

    yield tell
    for toast in toasts():
        toast.close()
    window.views.looks.set(ViewLook())
    window.wait(lambda: not toasts())


def captions(window) -> list[QRect]:
    """Where captions may stand."""
    found = []
    for view in window.views.views:
        if view.canvas.isVisible():
            native = view.canvas.canvas.native
            corner = native.mapTo(window.views, QPoint(0, native.height() - CAPTION[1]))
            found.append(QRect(corner.x(), corner.y(), *CAPTION))
    assert found
    return found


@pytest.mark.parametrize("text", ["Short.", LONG], ids=["short", "long"])
@pytest.mark.parametrize("folded", [False, True])
def test_a_notification_hides_no_caption(window, told, text, folded):
    window.explorer.history.setVisible(not folded)
    try:
        place = told(text)
        assert window.views.rect().contains(place)
        assert not any(place.intersects(caption) for caption in captions(window))
        assert place.bottom() < window.views.readout.y(), "nor anything of the history"
    finally:
        window.explorer.history.show()


def test_a_notification_hides_no_button_of_the_first_steps(window, told):
    guidance = window.explorer.guidance
    guidance.show_welcome()
    card = guidance.card
    window.wait(card.isVisible)
    QTest.qWait(50)
    place = told(LONG)
    assert window.views.rect().contains(place)
    assert not place.intersects(card.geometry())
    card.finished.emit()


def test_a_notification_is_seen_with_another_view_alone(window, told):
    window.views.looks.change(layout="one", alone="3D")
    place = told("Seen.")
    assert window.views.rect().contains(place)


def test_an_error_below_the_tabs_is_not_told_again_over_the_views(window, told):
    told("Of another plugin.")
    window.explorer.messages.fail(ScanError("No such scan; check the path."), "opening")
    QTest.qWait(100)
    assert window.find("explorer.message").isVisible()
    (left,) = (one for one in window.views.findChildren(QDialog) if one.isVisible())
    assert "Of another plugin." in {label.text() for label in left.findChildren(QLabel)}
    window.click("browse.next")
    assert not window.find("explorer.message").isVisible()


def test_notifications_under_a_resting_mouse_go_and_leave_the_keys_where_they_are(
    window, told, monkeypatch
):
    monkeypatch.setattr(NapariQtNotification, "DISMISS_AFTER", 2000)
    field = window.find("browse.seed")
    QApplication.setActiveWindow(window.explorer.window())
    field.setFocus()
    had = QApplication.focusWidget()
    told("One.")
    told("Another, which stops the time of the one before.")
    for toast in window.views.findChildren(QDialog, NAME):
        inside = QPointF(toast.rect().center())
        QApplication.sendEvent(toast, QEnterEvent(inside, inside, inside))
    window.wait(lambda: not window.views.findChildren(QDialog, NAME))
    assert had is not None
    assert QApplication.focusWidget() is had
