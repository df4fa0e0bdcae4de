"""Painting a region of the scan that the model is to fill in."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QVBoxLayout, QWidget

from napari_stylegan3d import controls

#: Diameter in mm: lowest, highest, at first.
BRUSH_MM = (2.0, 60.0, 10.0)


class PaintBox(QWidget):
    """A switch that takes up the brush, its size, an eraser, and how much is painted."""

    fillChanged = Signal(bool)
    brushChanged = Signal(float)
    eraseChanged = Signal(bool)
    clearRequested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.fill = QCheckBox("Fill in the painted region")
        self.fill.setObjectName("project.fill")
        self.fill.setToolTip(
            "Paint a lesion, a resection or an artefact in the axial view of the aligned scan.\n"
            "The search then compares only what is outside of it, and the model makes up what\n"
            "is inside. Move the scan first, if it has to be moved: the region stays where it is."
        )
        self.brush = QDoubleSpinBox()
        self.brush.setObjectName("project.brush")
        self.brush.setToolTip("Diameter of the brush, a ball, in mm.")
        self.brush.setRange(*BRUSH_MM[:2])
        self.brush.setDecimals(0)
        self.brush.setSuffix(" mm")
        self.brush.setValue(BRUSH_MM[2])
        self.erase = controls.push_button("Erase", "project.erase", "Let the brush erase.")
        self.erase.setCheckable(True)
        self.clear = controls.push_button(
            "Clear", "project.paint_clear", "Erase the whole painted region."
        )
        self.painted = controls.hint(name="project.painted")
        self.tools = QWidget()
        inside = QVBoxLayout(self.tools)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(6)
        inside.addLayout(controls.row(self.brush, self.erase, self.clear, stretch=0))
        inside.addWidget(self.painted)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.fill)
        column.addWidget(self.tools)
        self.fill.toggled.connect(self._on_fill)
        self.brush.valueChanged.connect(self.brushChanged)
        self.erase.toggled.connect(self.eraseChanged)
        self.clear.clicked.connect(self.clearRequested)
        self.tools.hide()
        self.show_painted(0.0)

    def show_painted(self, millilitres: float) -> None:
        """Say how much is painted."""
        self.painted.setText(
            f"{millilitres:.1f} ml are painted."
            if millilitres
            else "Nothing is painted yet: draw in the axial view."
        )
        self.clear.setEnabled(millilitres > 0)

    def put_away(self) -> None:
        """Put the brush down without telling anyone."""
        with QSignalBlocker(self.fill):
            self.fill.setChecked(False)
        self.tools.hide()

    def _on_fill(self, on: bool) -> None:
        with QSignalBlocker(self.erase):
            self.erase.setChecked(False)
        self.tools.setVisible(on)
        self.fillChanged.emit(on)
