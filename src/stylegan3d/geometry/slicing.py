"""Slices of volumes with any orientation of the array, displayed the right way round.

The nose is up or at the left and the head upright; the array is only viewed, never copied.

A picture of synthetic brains beside real ones, for visual inspection.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegan3d.base import OutputError, brief_fields, brief_repr
from stylegan3d.geometry.space import Space, as_packed, to_ras

Plane = Literal["axial", "coronal", "sagittal"]
Convention = Literal["radiological", "neurological"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
#: World axis (0 right, 1 anterior, 2 superior) that each plane is cut across.
NORMAL: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
#: Letters at the left, right, top and bottom edge in the radiological convention.
_LETTERS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
#: Offset of the sagittal slice from the midline.
BESIDE_MM = 8.0
#: Threshold for cropping, as a share of the brightest voxel.
INSIDE = 0.1
MARGIN_MM = 6.0


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice as a picture.

    Attributes
    ----------
    picture : ndarray, shape (rows, columns)
        Rows from the top.
    pixel_mm : tuple of float
        Height and width of a pixel.
    plane : Plane
        Which plane.
    mm : float
        Position along the plane's world axis (right, anterior or superior), in mm.
    letters : tuple of str
        At the left, right, top and bottom edge.
    """

    picture: np.ndarray
    pixel_mm: tuple[float, float]
    plane: Plane
    mm: float
    letters: tuple[str, str, str, str]

    @property
    def place(self) -> str:
        """Such as "z +12 mm"."""
        mm = f"{self.mm:+.0f}" if abs(self.mm) >= 0.5 else "0"
        return f"{'xyz'[NORMAL[self.plane]]} {mm} mm"

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        rows, columns = self.picture.shape
        return columns * self.pixel_mm[1], rows * self.pixel_mm[0]


@dataclass(frozen=True, eq=False)
class Upright:
    """A volume with its axes reordered to RAS; oblique axes stay oblique.

    Attributes
    ----------
    data : ndarray, shape (X, Y, Z)
        A view of the original volume.
    space : Space
        Its grid.
    """

    data: np.ndarray
    space: Space = field(repr=False)

    @classmethod
    def of(cls, volume: np.ndarray, space: Space) -> Upright:
        """Reorder a volume of any of the 48 orientations."""
        data, affine = to_ras(volume, space.affine)
        x, y, z = data.shape
        return cls(data, Space((x, y, z), affine))

    def index_at(self, axis: int, mm: float) -> int:
        """Index along a world axis at a position in mm, on the axis through the grid's centre."""
        step = self.space.affine[axis, axis]
        middle = (self.data.shape[axis] - 1) / 2
        index = round(middle + (mm - self.space.center_mm[axis]) / step)
        if not 0 <= index < self.data.shape[axis]:
            low, high = (self.mm_at(axis, end) for end in (0, self.data.shape[axis] - 1))
            raise OutputError(
                f"There is no slice at {mm:g} mm: choose a place from {low:.0f} to {high:.0f} mm."
            )
        return index

    def mm_at(self, axis: int, index: int) -> float:
        """Position in mm of an index along a world axis."""
        middle = (self.data.shape[axis] - 1) / 2
        return float(self.space.center_mm[axis] + (index - middle) * self.space.affine[axis, axis])

    def extent_mm(self, axis: int) -> tuple[float, float]:
        """Extent of the brain along a world axis; the whole grid if it is empty."""
        others = tuple(other for other in range(3) if other != axis)
        brightest = self.data.max(axis=others)
        inside = np.flatnonzero(brightest > INSIDE * max(brightest.max(), 0))
        ends = (inside[0], inside[-1]) if len(inside) else (0, self.data.shape[axis] - 1)
        return self.mm_at(axis, int(ends[0])), self.mm_at(axis, int(ends[1]))


def cut(
    volume: Upright, plane: Plane, mm: float | None = None, convention: Convention = "radiological"
) -> Slice:
    """A slice of a volume in display orientation.

    Parameters
    ----------
    plane : Plane
        "axial", "coronal" or "sagittal".
    mm : float or None
        Position along the plane's normal (RAS+); None for the centre of the grid, or 8 mm to the
        patient's right of it for the sagittal plane.
    convention : Convention
        "radiological" has the patient's left on the right of the picture.

    Raises
    ------
    OutputError
        If there is no slice at that position.
    """
    axis = NORMAL[plane]
    if mm is None:
        index = volume.data.shape[axis] // 2
        if plane == "sagittal":
            aside = round(BESIDE_MM / volume.space.voxel_size[0])
            index = min(index + aside, volume.data.shape[axis] - 1)
    else:
        index = volume.index_at(axis, mm)
    picture = np.take(volume.data, index, axis=axis).T[::-1]
    left, right, top, bottom = _LETTERS[plane]
    if plane == "sagittal" or convention == "radiological":
        picture = picture[:, ::-1]
    else:
        left, right = right, left
    columns, rows = (size for a, size in enumerate(volume.space.voxel_size) if a != axis)
    letters = left, right, top, bottom
    return Slice(picture, (rows, columns), plane, volume.mm_at(axis, index), letters)


def cropped(piece: Slice, volume: Upright) -> Slice:
    """The slice cropped to the extent of the whole brain, the same for all slices of a plane."""
    keep = []
    across = [axis for axis in range(3) if axis != NORMAL[piece.plane]]
    for axis in across:
        ends = volume.extent_mm(axis)
        margin = MARGIN_MM / volume.space.voxel_size[axis]
        first, last = (volume.index_at(axis, mm) for mm in ends)
        size = volume.data.shape[axis]
        keep.append((max(int(first - margin), 0), min(int(last + margin) + 1, size), size))
    (c0, c1, columns), (r0, r1, rows) = keep
    mirrored = piece.letters[0] in "RA"
    c0, c1 = (columns - c1, columns - c0) if mirrored else (c0, c1)
    picture = piece.picture[rows - r1 : rows - r0, c0:c1]
    return Slice(picture, piece.pixel_mm, piece.plane, piece.mm, piece.letters)


CELL = 192
BAR = 22
FONT_SIZE = 14


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
            for place, view in enumerate(PLANES):
                x, y = left + place * cell, BAR + row * cell
                piece = cut(Upright.of(volume, space), view)
                sheet.paste(_fitted(piece.picture, space, cell), (x, y))
                draw.text((x + 3, y + cell // 2 - 8), piece.letters[0], fill=200, font=font)
                draw.text((x + cell - 13, y + cell // 2 - 8), piece.letters[1], fill=200, font=font)
        if column:
            draw.line([(left, 0), (left, height)], fill=128)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _fitted(picture: np.ndarray, space: Space, cell: int) -> Image.Image:
    """The picture centred in a cell, scaled so that the grid's longest side fills it."""
    scale = cell / max(space.shape)
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    drawn = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BICUBIC)
    fitted = Image.new("L", (cell, cell), 0)
    fitted.paste(drawn, ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return fitted


class Shown:
    """What shows itself in short, and in a notebook as a table or as slices."""

    __repr__ = brief_repr

    def _repr_html_(self) -> str:
        """A table of its `lines` of "name: text" and its `doubts`; without them, of its fields.

        Above them three slices of its `volume` on its `space`, or on that of its `generator`; what
        holds no `scan` is synthetic.
        """
        of = partial(getattr, self)
        told, space = [*of("lines", ()), *map(str, of("doubts", ()))], of("space", None)
        listed = hasattr(self, "lines")
        pairs = (t.partition(": ")[::2] for t in told) if listed else brief_fields(self).items()
        rows = (f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in pairs)
        table = f"<table>{''.join(rows)}</table>"
        space = space or getattr(of("generator", None), "space", None)
        if listed or space is None:
            return table
        title = "scan" if hasattr(self, "scan") else "synthetic - not for diagnosis"
        png = base64.b64encode(draw_montage({title: [as_packed(of("volume"))]}, space)).decode()
        return f'<img alt="{title}" src="data:image/png;base64,{png}">{table}'
