"""The mixing matrix as a picture to keep, with what it is written on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QBuffer, QIODevice, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QImage, QPainter

from napari_stylegan3d.core.gallery import SYNTHETIC
from napari_stylegan3d.widgets.elided import elided
from stylegan3d.errors import OutputError
from stylegan3d.storage.volumes import atomic_write_bytes

if TYPE_CHECKING:
    from stylegan3d.recipe.recipe import Recipe

#: Pixels of a thumbnail, between two, and of a line of writing.
SIDE, GAP, LINE = 192, 6, 34
TEXT = QColor("#e8eaed")


@dataclass(frozen=True)
class Table:
    """What the matrix holds: names and recipes of rows, columns and cells."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: list[list[Recipe]]
    row_recipes: list[Recipe]
    column_recipes: list[Recipe]
    group: str

    @property
    def down(self) -> list[tuple[Recipe, str]]:
        """The rows' brains."""
        return list(zip(self.row_recipes, self.rows, strict=True))

    @property
    def across(self) -> list[tuple[Recipe, str]]:
        """The columns' brains."""
        return list(zip(self.column_recipes, self.columns, strict=True))

    def name_of(self, row: int, column: int) -> str:
        """What a cell is."""
        return f"{self.rows[row]} with structures of {self.columns[column]}"


def draw_matrix(table: Table, image: Callable[[Recipe], QImage | None]) -> QImage:
    """The brains of rows at the left, of columns above, the mixes between; captions below."""
    step = SIDE + GAP
    width = (len(table.columns) + 1) * step + GAP
    height = (len(table.rows) + 1) * step + GAP + 3 * LINE
    picture = QImage(width, height, QImage.Format.Format_RGB32)
    picture.fill(Qt.GlobalColor.black)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    font = QFont(painter.font())
    font.setPixelSize(15)
    painter.setFont(font)
    painter.setPen(TEXT)
    placed = [(0, k + 1, *head) for k, head in enumerate(table.across)]
    placed += [(i + 1, 0, *head) for i, head in enumerate(table.down)]
    placed += [
        (i + 1, k + 1, recipe, "")
        for i, row in enumerate(table.cells)
        for k, recipe in enumerate(row)
    ]
    for i, k, recipe, name in placed:
        place = QRectF(GAP + k * step, GAP + i * step, SIDE, SIDE)
        # A name has a line of its own, below a smaller picture.
        line = LINE if name else 0
        shown = image(recipe)
        if shown is not None:
            above = place.adjusted(line / 2, 0, -line / 2, -line)
            painter.drawImage(above, shown, QRectF(shown.rect()))
        bottom = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignHCenter
        painter.drawText(place, bottom, elided(name, painter.fontMetrics(), SIDE))
    corner = QRectF(GAP, GAP, SIDE, SIDE)
    wrap = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    painter.drawText(corner, wrap, "rows: A\ncolumns: B")
    lines = (f"{table.group} of B, everything else of A.", SYNTHETIC)
    for number, text in enumerate(lines):
        top = (len(table.rows) + 1) * step + GAP + number * 1.2 * LINE
        place = QRectF(GAP, top, width - 2 * GAP, LINE)
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, text)
    painter.end()
    return picture


def write_matrix(path: Path, table: Table, image: Callable[[Recipe], QImage | None]) -> None:
    """Write the matrix as a PNG whose texts hold the recipes of its cells.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    picture = draw_matrix(table, image)
    recipes = [[recipe.to_dict() for recipe in row] for row in table.cells]
    picture.setText(
        "Description",
        f"{SYNTHETIC}. Style-mixing matrix, made with stylegan3d.",
    )
    picture.setText("Recipes", json.dumps(recipes))
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not picture.save(buffer, "PNG"):
        raise OutputError("The matrix could not be saved as a picture: choose fewer brains.")
    # The dialog has already confirmed that an existing file may be replaced.
    atomic_write_bytes(path, bytes(buffer.data().data()), overwrite=True, suffixes=(".png",))
