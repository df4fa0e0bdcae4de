"""Controls of a region that the search masks and the model fills in."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox

#: Diameter in mm: minimum, maximum, default.
BRUSH_MM = (2.0, 60.0, 10.0)


PAINTED = "Painted region"


class PaintBox(QWidget):
    """Checkbox, source of the region, brush and eraser, and volume."""

    fillChanged = Signal(bool)
    brushChanged = Signal(float)
    eraseChanged = Signal(bool)
    clearRequested = Signal()
    regionChanged = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.fill = controls.check(
            "Mask a region and fill it in",
            "project.fill",
            "For a lesion, a resection or an artefact. The search ignores the region, "
            "and the model\n"
            "fills it in with what such a brain usually looks like, not with what this "
            "one looked like.",
        )
        self.source = controls.combo(
            "project.region",
            "Paint the region in any plane of the aligned scan (Ctrl+Z undoes a "
            "stroke); correct the\n"
            "alignment first, if necessary. Or use a Labels layer: all of its labels "
            "count. Choose\n"
            "whether it was drawn on the aligned or on the original scan.",
        )
        self.source.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.source.addItem(PAINTED, None)
        self.brush = controls.named(
            DecimalBox(), "project.brush", "Diameter of the spherical brush, in mm."
        )
        self.brush.setRange(*BRUSH_MM[:2])
        self.brush.setDecimals(0)
        self.brush.setSuffix(" mm")
        self.brush.setValue(BRUSH_MM[2])
        self.erase = controls.push_button(
            "Erase", "project.erase", "Use the brush as an eraser.", checkable=True
        )
        self.clear = controls.push_button(
            "Clear", "project.paint_clear", "Erase the whole painted region."
        )
        self.painted = controls.hint(name="project.painted")
        self.brushes = QWidget()
        self.brushes.setLayout(controls.row(self.brush, self.erase, self.clear, stretch=0))
        self.tools = QWidget()
        controls.stack(self.source, self.brushes, self.painted, on=self.tools)
        controls.stack(self.fill, self.tools, on=self)
        self.fill.toggled.connect(self._on_fill)
        self.brush.valueChanged.connect(self.brushChanged)
        self.erase.toggled.connect(self.eraseChanged)
        self.clear.clicked.connect(self.clearRequested)
        self.source.currentIndexChanged.connect(lambda _: self.regionChanged.emit())
        self.tools.hide()
        self.show_painted(0.0)

    @property
    def choice(self) -> object:
        """The selected layer from `offer`; None for the painted region."""
        return self.source.currentData()

    def offer(self, entries: Sequence[tuple[str, object]]) -> None:
        """Set the layers to choose from: text and data of each entry."""
        with QSignalBlocker(self.source):
            before = self.source.currentText()
            self.source.clear()
            self.source.addItem(PAINTED, None)
            for text, choice in entries:
                self.source.addItem(text, choice)
            self.source.setCurrentIndex(max(self.source.findText(before), 0))
        if self.source.currentText() != before:
            self.regionChanged.emit()

    def use(self, layer: object) -> None:
        """Mask the region of a Labels layer that is offered."""
        for index in range(self.source.count()):
            choice = self.source.itemData(index)
            if getattr(choice, "layer", None) is layer:
                self.source.setCurrentIndex(index)
                self.fill.setChecked(True)
                return

    def show_painted(self, millilitres: float) -> None:
        """Show the masked volume, and the brush for a painted region."""
        painted = self.choice is None
        nothing = "Nothing painted yet: paint in one of the planes."
        self.brushes.setVisible(painted)
        if millilitres:
            text = "{ml:.1f} ml painted." if painted else "{ml:.1f} ml masked."
            self.painted.setText(text.format(ml=millilitres))
        else:
            self.painted.setText(nothing if painted else "This layer is empty.")
        self.clear.setEnabled(millilitres > 0)

    def show_brush(self, diameter_mm: float) -> None:
        """Show the diameter of the brush without emitting signals."""
        controls.show_value(self.brush, diameter_mm)

    def uncheck(self) -> None:
        """Uncheck the box without emitting signals."""
        controls.show_value(self.fill, False)
        self.tools.hide()

    def _on_fill(self, on: bool) -> None:
        controls.show_value(self.erase, False)
        self.tools.setVisible(on)
        self.fillChanged.emit(on)
