"""Placement of the views in the centre of the napari window."""

from __future__ import annotations

from napari.qt import QtViewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMainWindow, QSplitter, QWidget

from napari_stylegan3d.views.look import ViewLook

#: Minimum size: eight of them (with twins) and the dock fit a screen of 1024 pixels.
SMALLEST = (120, 100)


class ViewGrid(QSplitter):
    """Two rows of two canvases; unused canvases are hidden, never removed."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self.rows = (QSplitter(), QSplitter())
        self._members: list[tuple[str, QWidget, QSplitter]] = []
        for splitter in (self, *self.rows):
            splitter.setHandleWidth(3)
            splitter.setChildrenCollapsible(False)
        for row in self.rows:
            self.addWidget(row)
        top, bottom = self.rows
        top.splitterMoved.connect(lambda *_: bottom.setSizes(top.sizes()))
        bottom.splitterMoved.connect(lambda *_: top.setSizes(bottom.sizes()))

    def put(self, name: str, canvas: QWidget) -> None:
        """Add a canvas, the first two to the upper row."""
        row = self.rows[len(self._members) // 2]
        canvas.setMinimumSize(*SMALLEST)
        row.addWidget(canvas)
        self._members.append((name, canvas, row))

    def even(self) -> None:
        """Give all the same size."""
        for splitter in (self, *self.rows):
            splitter.setSizes([10_000, 10_000])

    def arrange(self, look: ViewLook) -> None:
        """Show the canvases of a look."""
        for name, canvas, _ in self._members:
            canvas.setVisible(look.shows(name))
        for row in self.rows:
            members = [name for name, _, place in self._members if place is row]
            row.setVisible(any(look.shows(name) for name in members))
        self.setVisible(look.layout != "lightbox")

    def forget(self) -> None:
        """Drop references, so that this widget does not keep the closed window alive."""
        self._members.clear()


class CanvasPlace:
    """Original position and settings of napari's canvas, to be restored."""

    def __init__(self, window: QMainWindow) -> None:
        self.canvas = window.findChild(QtViewer)
        self._layout = window.centralWidget().layout()
        self._index = self._layout.indexOf(self.canvas)
        viewer = self.canvas.viewer
        self._order = tuple(viewer.dims.order)
        self._orientation = viewer.scene.camera.orientation
        self._background = viewer.canvas.background_color_override
        self._double_click = list(viewer.mouse_double_click_callbacks)

    def take(self, views: QWidget, grid: ViewGrid, name: str) -> None:
        """Replace the canvas by the views, which contain it.

        The views are added first, then the canvas is moved into them: it never leaves its window,
        so its OpenGL context survives.
        """
        self._layout.insertWidget(self._index, views)
        grid.put(name, self.canvas)
        self.canvas.dims.setVisible(False)
        self.canvas.show_welcome_screen = False

    def give_back(self) -> None:
        """Restore the canvas and its viewer's settings."""
        viewer = self.canvas.viewer
        viewer.mouse_double_click_callbacks[:] = self._double_click
        if len(self._order) == viewer.dims.ndim:
            viewer.dims.order = self._order
        viewer.scene.camera.orientation = self._orientation
        viewer.canvas.background_color_override = self._background
        self.canvas.dims.setVisible(True)
        self.canvas.show_welcome_screen = True
        self._layout.insertWidget(self._index, self.canvas)
        self.canvas.show()
        del self.canvas, self._layout
