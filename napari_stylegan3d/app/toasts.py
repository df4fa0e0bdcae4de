"""Placement of napari's notifications.

napari places them at the lower right of its canvas, here the axial view: they would cover the
caption of a narrow view, and be invisible if another view is enlarged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QPoint, QPropertyAnimation, Qt, QTimer
from qtpy.QtWidgets import QDialog, QLabel

from napari_stylegan3d.app.card import Card
from napari_stylegan3d.widgets.controls import scaled

if TYPE_CHECKING:
    from napari_stylegan3d.views.four import FourViews

MARGIN_PX = 8
#: Height of the longest caption at the bottom of a view, with margin.
CAPTION_PX = 84
#: Object name of moved notifications.
NAME = "views.toast"
HERE = Qt.FindChildOption.FindDirectChildrenOnly


class Toasts(QObject):
    """Moves notifications from napari's canvas to the lower right of all views, above captions."""

    def __init__(self, views: FourViews) -> None:
        super().__init__(views)
        self._views = views
        self._canvas = views.view("Axial").canvas.canvas.native
        self._told = ""
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._take)
        for widget in (self._canvas, views):
            widget.installEventFilter(self)

    def close(self) -> None:
        """Stop moving notifications."""
        self._soon.stop()
        for toast in self._taken():
            toast.close()
        for widget in (self._canvas, self._views):
            widget.removeEventFilter(self)

    def leave_out(self, text: str) -> None:
        """Show no notification of what the window tells elsewhere; empty for nothing."""
        self._told = text

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Detect new notifications and window resizes."""
        kind = event.type()
        if watched is self._canvas and kind == QEvent.Type.ChildAdded:
            self._soon.start(0)  # not created yet
        elif watched is self._views and kind == QEvent.Type.Resize:
            for toast in self._taken():
                self._place(toast)
        return False

    def _taken(self) -> list[QDialog]:
        return self._views.findChildren(QDialog, NAME, HERE)

    def _take(self) -> None:
        for toast in self._canvas.findChildren(QDialog, options=HERE):
            if not toast.testAttribute(Qt.WidgetAttribute.WA_DeleteOnClose):
                continue  # napari's activity dialog is there, too
            if self._told in [label.text() for label in toast.findChildren(QLabel) if label.text()]:
                toast.close()
                continue
            toast.setObjectName(NAME)
            hidden = toast.isHidden()
            for animation in toast.findChildren(QPropertyAnimation, options=HERE):
                if bytes(animation.propertyName()) == b"geometry":
                    animation.stop()  # would move it back to the canvas
            toast.setParent(self._views, toast.windowFlags())
            self._place(toast)
            toast.setVisible(not hidden)  # not `show`, which restarts napari's animation
            toast.raise_()

    def _place(self, toast: QDialog) -> None:
        """Place it where it hides no caption, no card and nothing of the strips below."""
        views = self._views
        cards = [card.y() for card in views.findChildren(Card, options=HERE) if card.isVisible()]
        bottom = min([views.readout.y() - scaled(CAPTION_PX), *(y - MARGIN_PX for y in cards)])
        corner = QPoint(views.width() - MARGIN_PX - toast.width(), bottom - toast.height())
        toast.move(max(corner.x(), 0), max(corner.y(), 0))
