"""How different two brains are, in numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_stylegan3d.widgets import controls
from stylegan3d.measures.tissue_volumes import EXPLAINED, SMALL, TOLD, VOLUMES
from stylegan3d.projection.words import SIMILARITY

if TYPE_CHECKING:
    from stylegan3d.measures.comparison import PairFigures

ALIKE = (
    (
        "Mean difference",
        "mean_difference",
        "Mean of |B − A| in the union of both brains, in % of the brightest tissue.",
    ),
    (SIMILARITY["ssim"][0], "ssim", SIMILARITY["ssim"][2]),
    (SIMILARITY["psnr"][0], "psnr_db", SIMILARITY["psnr"][2]),
)
NONE = "–"


class FiguresBox(QWidget):
    """Likeness, and the volumes of A and B beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[str, QLabel] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 1)
        for row, (text, key, tip) in enumerate(ALIKE):
            self._put(grid, row, text, tip, key, 3)
        for column, text in enumerate(("ml", "A", "B", "B − A")):
            head = QLabel(text)
            head.setProperty("role", "hint")
            side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
            grid.addWidget(head, len(ALIKE), column, side)
        for row, key in enumerate(TOLD, len(ALIKE) + 1):
            text, tip = (
                VOLUMES[key],
                f"Volume in millilitres. {EXPLAINED[key]}",
            )
            for column, which in enumerate(("a", "b", "change"), 1):
                self._put(grid, row, text if column == 1 else "", tip, f"{key}.{which}", column)
        self.how = controls.hint("", "compare.volumes_by")
        grid.addWidget(self.how, len(ALIKE) + len(TOLD) + 1, 0, 1, 4)
        self.show_figures(None)

    def _put(self, grid: QGridLayout, row: int, text: str, tip: str, key: str, column: int) -> None:
        if text:
            name = QLabel(text)
            name.setToolTip(tip)
            grid.addWidget(name, row, 0)
        label = controls.named(QLabel(), f"compare.{key}", tip)
        label.setProperty("role", "figure")
        grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
        self.labels[key] = label

    def show_figures(self, figures: PairFigures | None) -> None:
        """Write them; None while there are none."""
        for key, text in in_words(figures).items():
            self.labels[key].setText(text)
        self.how.setText("" if figures is None else f"Volumes {figures.how}.")
        self.how.setVisible(figures is not None)


def in_words(figures: PairFigures | None) -> dict[str, str]:
    """Each figure as it is written, by its key."""
    keys = [key for _, key, _ in ALIKE]
    keys += [f"{key}.{which}" for key in TOLD for which in ("a", "b", "change")]
    words = dict.fromkeys(keys, NONE)
    if figures is None:
        return words
    words["mean_difference"] = f"{100 * figures.mean_difference:.1f} %"
    words["ssim"] = f"{figures.ssim:.3f}"
    words["psnr_db"] = "identical" if math.isinf(figures.psnr_db) else f"{figures.psnr_db:.1f} dB"
    for key in TOLD:
        a, b = figures.a[key], figures.b[key]
        decimals = 1 if key in SMALL else 0
        for which, value, sign in (("a", a, ""), ("b", b, ""), ("change", b - a, "+")):
            if math.isfinite(value):
                words[f"{key}.{which}"] = f"{value:{sign}.{decimals}f}"
    return words
