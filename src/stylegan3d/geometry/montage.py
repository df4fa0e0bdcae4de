"""A picture of synthetic brains beside real ones, for visual inspection."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegan3d.geometry.slicing import Plane, Upright, cut
from stylegan3d.geometry.space import Space

CELL = 192
BAR = 22
FONT_SIZE = 14
# Letters at the left and right of each picture: radiological, the patient's right is on the left.
VIEWS: dict[Plane, tuple[str, str]] = {
    "axial": ("R", "L"),
    "coronal": ("R", "L"),
    "sagittal": ("A", "P"),
}


def draw_montage(
    columns: dict[str, Sequence[np.ndarray]], space: Space, *, cell: int = CELL
) -> bytes:
    """Columns of brains under their titles, each axial, coronal and sagittal through its middle.

    Parameters
    ----------
    columns : dict of str to sequence of ndarray
        Title to uint8 volumes (X, Y, Z) on the grid `space`; the same number each.
    space : Space
        Their grid.
    cell : int
        Pixels along the edge of each picture.

    Returns
    -------
    bytes
        A PNG; same input, same bytes.
    """
    count = max(len(volumes) for volumes in columns.values())
    width, height = len(columns) * 3 * cell, BAR + count * cell
    sheet = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for column, (title, volumes) in enumerate(columns.items()):
        left = column * 3 * cell
        draw.text((left + 4, 3), title, fill=255, font=font)
        for row, volume in enumerate(volumes):
            for place, (view, sides) in enumerate(VIEWS.items()):
                x, y = left + place * cell, BAR + row * cell
                sheet.paste(_fitted(slice_of(volume, space, view), space, cell), (x, y))
                draw.text((x + 3, y + cell // 2 - 8), sides[0], fill=200, font=font)
                draw.text((x + cell - 13, y + cell // 2 - 8), sides[1], fill=200, font=font)
        if column:
            draw.line([(left, 0), (left, height)], fill=128)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def slice_of(volume: np.ndarray, space: Space, view: Plane) -> np.ndarray:
    """The middle slice as a picture (rows from the top): radiological; see `slicing.cut`."""
    return cut(Upright.of(volume, space), view).picture


def _fitted(picture: np.ndarray, space: Space, cell: int) -> Image.Image:
    """The picture centred in a cell, scaled so that the grid's longest side fills it."""
    scale = cell / max(space.shape)
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    drawn = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BICUBIC)
    fitted = Image.new("L", (cell, cell), 0)
    fitted.paste(drawn, ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return fitted
