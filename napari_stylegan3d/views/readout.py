"""The strip under the views: where the crosshair is, what is there, and how to look."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_stylegan3d.views.captions import OVERLAY
from napari_stylegan3d.views.orientation import position_in_words

#: Wide enough for the longest text, so that nothing jumps while the crosshair moves.
POSITION_WIDTHS = (94, 118, 112)

#: A multiple of the usual; volumes are kept up to 1.5.
WHITE_LIMITS = (0.1, 1.5)
#: Vessels may be as bright; a share this large means that the model has other intensities.
MUCH_CLIPPED = 0.05


class Readout(QWidget):
    """Position in mm in words, intensity, and the switches that belong to the views."""

    conventionChanged = Signal(str)
    crosshairToggled = Signal(bool)
    resetRequested = Signal()
    whiteChanged = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("views.readout")
        self.position = [QLabel() for _ in range(3)]
        self.intensity = QLabel()
        self.intensity.setObjectName("views.intensity")
        self.intensity.setToolTip(
            "Brightness under the crosshair. For synthetic brains 0 is background and 1 as bright\n"
            "as the brightest tissue (the 99.5th percentile inside the brain)."
        )
        self.quality = QLabel()
        self.quality.setObjectName("views.quality")
        self.quality.setProperty("role", "hint")
        self.clipped = QLabel()
        self.clipped.setObjectName("views.clipped")
        self.clipped.setProperty("role", "error")
        self.clipped.hide()
        self.white = self._make_white()
        self.convention = self._make_convention()
        self.crosshair = self._make_button(
            "Crosshair", "views.crosshair", "Show or hide the crosshair lines."
        )
        self.crosshair.setCheckable(True)
        self.crosshair.setChecked(True)
        self.crosshair.toggled.connect(self.crosshairToggled)
        self.reset = self._make_button(
            "Reset views", "views.reset", "Centre the crosshair and fit the head into every view."
        )
        self.reset.clicked.connect(self.resetRequested)
        self._lay_out()

    def _make_white(self) -> QDoubleSpinBox:
        spin = QDoubleSpinBox()
        spin.setObjectName("views.white")
        spin.setRange(*WHITE_LIMITS)
        spin.setSingleStep(0.05)
        spin.setValue(1.0)
        spin.setPrefix("White ")
        spin.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        spin.setFixedWidth(84)
        spin.setKeyboardTracking(False)
        spin.setToolTip(
            "Brightness that is shown white, as a multiple of the usual "
            f"({WHITE_LIMITS[0]:g} to {WHITE_LIMITS[1]:g}); 1 is usual,\n"
            "less makes dark pictures brighter. It changes nothing that is saved."
        )
        spin.valueChanged.connect(self.whiteChanged)
        return spin

    def _make_convention(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("views.convention")
        box.addItem("Radiological", "radiological")
        box.addItem("Neurological", "neurological")
        box.setToolTip(
            "Radiological: the patient's left is on the right of the picture, as on a light box.\n"
            "Neurological: the patient's left is on the left."
        )
        box.currentIndexChanged.connect(lambda _: self.conventionChanged.emit(box.currentData()))
        return box

    @staticmethod
    def _make_button(text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setToolTip(tip)
        return button

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 10, 4)
        row.setSpacing(8)
        for label, width in zip(self.position, POSITION_WIDTHS, strict=True):
            label.setMinimumWidth(width)
            label.setToolTip("Position of the crosshair in the patient, in millimetres.")
            row.addWidget(label)
        row.addWidget(self.intensity)
        row.addWidget(self.quality)
        row.addWidget(self.clipped)
        row.addStretch(1)
        for widget in (self.white, self.convention, self.crosshair, self.reset):
            row.addWidget(widget, alignment=Qt.AlignmentFlag.AlignVCenter)

    def fit_white(self, share_above_white: float) -> None:
        """Choose white for a model whose first picture has this share of brighter voxels."""
        too_bright = share_above_white >= MUCH_CLIPPED
        self.white.setValue(WHITE_LIMITS[1] if too_bright else 1.0)

    def show_clipped(self, share: float) -> None:
        """Say if a good part of the picture is brighter than can be shown."""
        self.clipped.setVisible(share >= MUCH_CLIPPED)
        self.clipped.setText(f"{share:.0%} too bright")
        self.clipped.setToolTip(
            f"{share:.0%} of this volume is more than one and a half times as bright as the\n"
            "brightest tissue should be, and is cut off there: this model uses other intensities\n"
            "than 0 to 1, or is not trained."
        )

    def show_point(self, model: ViewerModel) -> None:
        """Read position and intensity off the viewer."""
        point = model.dims.point
        if len(point) != 3 or not model.layers:
            for label in (*self.position, self.intensity):
                label.clear()
            return
        for axis, label in enumerate(self.position):
            label.setText(position_in_words(point, axis))
        value = value_at(model, point)
        self.intensity.setText("" if value is None else f"Intensity {value:.3g}")


def value_at(model: ViewerModel, point_mm: tuple[float, ...]) -> float | None:
    """Intensity of the topmost visible image at a point in mm; None outside of it."""
    for layer in reversed(model.layers):
        if not (isinstance(layer, Image) and layer.visible and layer.ndim == 3):
            continue
        if OVERLAY in layer.metadata:
            continue
        index = np.round(layer.world_to_data(point_mm)).astype(int)
        if np.all(index >= 0) and np.all(index < layer.data.shape[:3]):
            return float(np.asarray(layer.data[tuple(index)]).ravel()[0])
    return None
