"""Geometry of models whose file does not contain it."""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.decimal_box import DecimalBox

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator

WORDS = {
    "R": "right",
    "L": "left",
    "A": "anterior",
    "P": "posterior",
    "S": "superior",
    "I": "inferior",
}
#: The usual ones, and whose they are.
COMMON = {
    "LIA": "FreeSurfer",
    "RAS": "NIfTI",
    "LAS": "radiological NIfTI",
    "LPS": "DICOM, ITK",
    "PIR": "sagittal series",
    "LSA": "coronal series",
}
ASSUMED = (
    "The model's file does not contain its orientation and voxel size; the values below "
    "are assumed. If the head lies on its side, faces the wrong way or has the wrong size, "
    "correct them:"
)
CHOSEN = "The model's file does not contain its orientation and voxel size. Set to:"
#: Millimetres.
VOXEL_LIMITS = (0.05, 50.0)


def axis_codes() -> list[str]:
    """The 48 possible orientations of three array axes, common ones first."""
    every = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)]
    return [*COMMON, *sorted(set(every) - set(COMMON))]


def axes_in_words(code: str) -> str:
    """Such as 'LIA · left, down, forward (FreeSurfer)'."""
    words = ", ".join(WORDS[letter] for letter in code)
    return f"{code} · {words}" + (f" ({COMMON[code]})" if code in COMMON else "")


class Millimetres(DecimalBox):
    """A size with as many decimals as it needs: 2, or 0.9375."""

    def textFromValue(self, value: float) -> str:
        """The number as it is written."""
        return f"{value:.{self.decimals()}f}".rstrip("0").rstrip(".")


class FrameBox(QWidget):
    """Directions of the array axes and size of the voxels; hidden for models that know theirs."""

    frameChanged = Signal(object)
    """Frame"""

    def __init__(self) -> None:
        super().__init__()
        self._first: Space | None = None
        self._network: object = None
        self.note = controls.hint(name="browse.frame_note")
        self.axes = controls.combo(
            "browse.frame_axes",
            "Directions of the three array axes in the patient.\n"
            "If the head lies on its side or faces the wrong way, choose others.",
            ((axes_in_words(code), code) for code in axis_codes()),
        )
        self.axes.setMinimumContentsLength(12)
        self.axes.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.sizes = [self._make_size(axis) for axis in range(3)]
        self.cubic = controls.check(
            "Isotropic", "browse.frame_cubic", "Isotropic voxels: the same size along every axis."
        )
        self.reset = controls.tool_button(
            controls.RESET_GLYPH,
            "browse.frame_reset",
            "Reset axes and voxel sizes to those at opening.",
        )
        self._lay_out()
        self._connect()
        self.hide()

    def _make_size(self, axis: int) -> QDoubleSpinBox:
        spin = controls.named(Millimetres(), f"browse.frame_voxel_size.{axis}")
        spin.setRange(*VOXEL_LIMITS)
        spin.setDecimals(4)
        spin.setSingleStep(0.1)
        spin.setSuffix(" mm")
        spin.setKeyboardTracking(False)
        spin.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        spin.setToolTip(
            f"Voxel size along array axis {axis + 1}, in mm ({VOXEL_LIMITS[0]:g} to "
            f"{VOXEL_LIMITS[1]:g})."
        )
        return spin

    def _lay_out(self) -> None:
        column = controls.stack(self.note, on=self, spacing=9)
        sizes = QWidget()
        sizes.setToolTip("Voxel size along the three array axes, in mm.")
        sizes.setLayout(controls.row(*self.sizes, self.cubic))
        column.addLayout(controls.form(("Axes", self.axes), ("Voxel size", sizes)))
        told = controls.hint("This changes the position of the image, not its data.")
        column.addLayout(controls.row(told, self.reset, stretch=0))

    def _connect(self) -> None:
        self.axes.currentIndexChanged.connect(self._emit)
        for spin in self.sizes:
            spin.valueChanged.connect(self._emit)
        self.cubic.toggled.connect(self._on_cubic)
        self.reset.clicked.connect(self._reset)

    def show_model(self, generator: Generator) -> None:
        """Offer the frame of a model that was opened or placed again."""
        self.setVisible(generator.frame is not None)
        self.note.setText(ASSUMED if generator.frame_note else CHOSEN)
        if generator.synthesis is not self._network:
            self._network, self._first = generator.synthesis, generator.space
            self._set_cubic(_is_cubic(generator.space))
        self._show(generator.space)

    def _show(self, space: Space) -> None:
        """Show the axes and sizes of a space without emitting signals."""
        controls.show_value(self.axes, "".join(space.axcodes))
        if not _is_cubic(space):
            self._set_cubic(False)
        for spin, size in zip(self.sizes, space.voxel_size, strict=True):
            controls.show_value(spin, size)
        self.reset.setEnabled(self._first is not None and not space.same_as(self._first))

    def _set_cubic(self, cubic: bool) -> None:
        controls.show_value(self.cubic, cubic)
        self._link(cubic)

    def _link(self, equal: bool) -> None:
        """One size for all three: the others follow the first."""
        for spin in self.sizes[1:]:
            spin.setEnabled(not equal)

    def _on_cubic(self, equal: bool) -> None:
        self._link(equal)
        if equal:
            self._emit()

    def _reset(self) -> None:
        if self._first is not None:
            self._set_cubic(_is_cubic(self._first))
            self._show(self._first)
            self._emit()

    def _emit(self) -> None:
        from stylegan3d.geometry.frame import Frame

        if self.cubic.isChecked():
            for spin in self.sizes[1:]:
                controls.show_value(spin, self.sizes[0].value())
        x, y, z = (spin.value() for spin in self.sizes)
        self.frameChanged.emit(Frame(self.axes.currentData(), (x, y, z)))


def _is_cubic(space: Space) -> bool:
    return len({round(size, 4) for size in space.voxel_size}) == 1
