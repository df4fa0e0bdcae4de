"""Voxel grids and their affines.

World coordinates are RAS+ in millimetres (x to the patient's right, y anterior, z superior), as in
NIfTI and nibabel. Arrays are never flipped.

Voxel orientation and size for generators whose file does not contain them.

The original 3D-StyleGAN reads and writes arrays without geometry (an identity affine). Its training
data were usually scans conformed by FreeSurfer, whose array axes point left, inferior and anterior
(L-I-A).

Intensities of volumes: -1 to 1 in the networks, 0 to 1 in pictures, 0 to 255 in a dataset.

Slices of volumes with any orientation of the array, displayed the right way round.

The nose is up or at the left and the head upright; the array is only viewed, never copied.

A picture of synthetic brains beside real ones, for visual inspection.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stylegan3d.base import ModelError, OutputError, brief_fields, brief_repr

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage
    from torch import Tensor


# ITK's world is LPS+: the first two axes are opposite to RAS+.
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Space:
    """A grid of `shape` voxels; `affine` (4, 4) maps voxel indices to RAS+ millimetres."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        if np.shape(self.shape) != (3,) or np.shape(self.affine) != (4, 4):
            raise ModelError(f"A grid has three axes and an affine (4, 4), not {self.shape}.")
        if min(self.shape) < 1 or not np.isfinite(self.affine).all():
            raise ModelError(f"A grid has voxels and a finite affine, not {self.shape}.")

    def __repr__(self) -> str:
        grid, mm = ("x".join(f"{v:g}" for v in of) for of in (self.shape, self.voxel_size))
        return f"<Space {grid} voxels of {mm} mm, {''.join(self.axcodes)}>"

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the array's axes, in millimetres."""
        x, y, z = nib.affines.voxel_sizes(self.affine)
        return float(x), float(y), float(z)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return voxel_ml_of(self.affine)

    @property
    def center_mm(self) -> np.ndarray:
        """(3,) RAS+ millimetres of the centre of the grid."""
        middle = (np.asarray(self.shape) - 1) / 2
        return nib.affines.apply_affine(self.affine, middle)

    @property
    def axcodes(self) -> tuple[str, str, str]:
        """Direction of each array axis, such as ('R', 'A', 'S')."""
        return nib.aff2axcodes(self.affine)

    @property
    def sideways(self) -> int:
        """The left-right axis."""
        return [code in "LR" for code in self.axcodes].index(True)

    def same_as(self, other: Space | SpatialImage, tolerance_mm: float = 1e-3) -> bool:
        """Whether both have the same shape and affine; an image may have any number of axes."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, atol=tolerance_mm
        )

    def resized(self, shape: Sequence[int]) -> Space:
        """The same field of view on another grid: voxel *corners* coincide, not voxel centres."""
        scale = np.asarray(self.shape) / np.asarray(shape)
        # The first voxel's centre moves by half the difference of the voxel sizes.
        zoom = np.diag([*scale, 1.0])
        zoom[:3, 3] = (scale - 1) / 2
        x, y, z = (int(n) for n in shape)
        return Space((x, y, z), self.affine @ zoom)


def voxel_ml_of(affine: np.ndarray) -> float:
    """Volume in millilitres of a voxel of the grid with this affine."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


#: A 0.4 mm whole head is 640 x 640 x 512 voxels = 0.8 GB as float32, and is read in several copies.
MAX_VOXELS = 210_000_000


def checked_space(shape: Any, affine: Any) -> Space:
    """A validated grid from plain data.

    Raises
    ------
    ValueError
        If it does not have three axes, has more than `MAX_VOXELS` voxels, or its affine is
        singular.
    """
    if not isinstance(shape, (list, tuple)) or len(shape) != 3:
        raise ValueError("a grid has three axes")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise ValueError("a grid's axes have whole numbers of voxels")
    x, y, z = shape
    if x * y * z > MAX_VOXELS:
        raise ValueError(f"a grid of {x} x {y} x {z} voxels is larger than any head")
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError("the affine holds no numbers") from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("the affine is no matrix of 4 x 4 finite numbers")
    axes = matrix[:3, :3]
    largest = np.abs(axes).max(axis=0)
    if (largest == 0).any() or abs(np.linalg.det(axes / largest)) < 1e-6:
        raise ValueError("the affine has an axis without length or parallel axes")
    return Space((x, y, z), matrix)


def to_ras(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder a volume to RAS; oblique axes stay oblique.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        In any of the 48 orientations.
    affine : ndarray
        (4, 4) voxel indices to RAS+ millimetres.

    Returns
    -------
    tuple of ndarray
        Data (X, Y, Z), a view, and its affine (4, 4).
    """
    turn = nib.io_orientation(affine)
    turned = nib.apply_orientation(data, turn)
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


# Each letter as (axis of the RAS+ world, direction).
_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_TEXT = re.compile(r"([A-Za-z]{3}):(\d+\.?\d*)(?:x(\d+\.?\d*)x(\d+\.?\d*))?")

CONFORMED_AXES = "LIA"
CUBE_MM = 256.0  # FreeSurfer's conformed field of view
LONGEST_MM = 224.0  # field of view of the original's 5:6:7 grids: 80 x 96 x 112 voxels of 2 mm
VOXEL_MM = (0.05, 50.0)


@dataclass(frozen=True)
class Frame:
    """Directions of the array axes and the size of a voxel.

    Attributes
    ----------
    axes : str
        Direction of each array axis, such as "LIA": left, inferior, anterior.
    voxel_size : tuple of float
        Millimetres along each array axis.
    """

    axes: str = CONFORMED_AXES
    voxel_size: tuple[float, float, float] = (2.0, 2.0, 2.0)

    def __post_init__(self) -> None:
        world = [_DIRECTIONS[letter][0] for letter in str(self.axes) if letter in _DIRECTIONS]
        if len(str(self.axes)) != 3 or sorted(world) != [0, 1, 2]:
            raise ModelError(
                f"The axes '{self.axes}' of the frame are impossible: name one of R/L, one of A/P "
                "and one of S/I in the order of the array's axes, such as LIA."
            )
        low, high = VOXEL_MM
        if np.shape(self.voxel_size) != (3,) or not all(low <= v <= high for v in self.voxel_size):
            raise ModelError(
                f"The frame's voxels must have edges of {low:g} to {high:g} mm, such as LIA:2."
            )

    def __str__(self) -> str:
        sizes = [repr(float(v)).removesuffix(".0") for v in self.voxel_size]
        return f"{self.axes}:{sizes[0] if len(set(sizes)) == 1 else 'x'.join(sizes)}"

    @classmethod
    def parse(cls, text: str) -> Frame:
        """The frame of a text such as "LIA:2" or "RAS:1x1x1.5" (millimetres).

        Raises
        ------
        ModelError
            If it cannot be parsed.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ModelError(
                f"The frame {text[:40]!r} is not understood: give the directions of the array's "
                "axes and the voxel size in millimetres, such as LIA:2 or RAS:1x1x1.5."
            )
        axes, x, y, z = match.groups()
        return cls(axes.upper(), (float(x), float(y or x), float(z or x)))

    def space(self, shape: Sequence[int]) -> Space:
        """A grid of `shape` voxels in this frame, centred on the world origin."""
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, (letter, size) in enumerate(zip(self.axes, self.voxel_size, strict=True)):
            world, sign = _DIRECTIONS[letter]
            affine[world, axis] = sign * size
        affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
        x, y, z = (int(n) for n in shape)
        return Space((x, y, z), affine)


def assumed_frame(shape: Sequence[int]) -> Frame:
    """The assumed frame of a volume of the original 3D-StyleGAN.

    FreeSurfer's axes. A cube spans FreeSurfer's 256 mm; any other grid 224 mm along its longest
    side, like the original's 5:6:7 grids: 80 x 96 x 112 voxels of 2 mm, 160 x 192 x 224 of 1 mm.
    """
    span = CUBE_MM if len(set(shape)) == 1 else LONGEST_MM
    size = span / max(shape)
    size = min(max(size, VOXEL_MM[0]), VOXEL_MM[1])
    rounded = round(size, 3)
    size = rounded if math.isclose(size, rounded, rel_tol=1e-9) else size
    return Frame(CONFORMED_AXES, (size, size, size))


#: Maximum of a displayed volume; see `to_display`.
BRIGHTEST = 1.5


class NotFinite(ModelError):
    """A network's output contains NaN or infinity."""

    def __init__(self) -> None:
        super().__init__(
            "The network produced non-finite numbers from this latent, so there is nothing "
            "to show: bring truncation and edits nearer to 0, or choose another model if every "
            "brain fails."
        )


def to_display(volume: Tensor, channel: int = 0) -> np.ndarray:
    """[N, C, X, Y, Z] in [-1, 1] -> (N, X, Y, Z) float32 where 0 is outside and 1 is bright.

    Values are clipped to [0, 1.5]: brains have no negative intensities, and more than 1.5 times the
    99.5th percentile is an artefact.

    Raises
    ------
    NotFinite
        If the volume contains NaN or infinity, which would be displayed as empty.
    """
    import torch

    data = (volume.detach().float().cpu()[:, channel] + 1) / 2
    if not bool(torch.isfinite(data).all()):
        raise NotFinite
    return data.clamp_(0, BRIGHTEST).numpy()


def as_packed(volume: np.ndarray) -> np.ndarray:
    """A volume in [0, 1] in the format of a pack: uint8, clipped, 255 is 1."""
    return np.rint(np.clip(volume, 0, 1) * 255).astype(np.uint8)


def as_drawn(data: np.ndarray) -> np.ndarray:
    """Intensities (X, Y, Z) of a scan `as_packed`, from its 1st to its 99.5th percentile."""
    low, high = np.percentile(data, (1, 99.5)).tolist()  # float32 stays float32
    if high <= low:
        low, high = float(data.min()), float(data.max())
    return as_packed((data - low) / max(high - low, 1e-12))


def filled_box(where: np.ndarray, margin: int = 0) -> tuple[slice, slice, slice]:
    """The smallest box (X, Y, Z) around what is true, and `margin` voxels beside it.

    All of the grid where nothing is.
    """
    where = where if where.any() else np.ones_like(where)
    kept = (np.flatnonzero(where.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    x, y, z = (
        slice(max(int(k[0]) - margin, 0), min(int(k[-1]) + 1 + margin, n))
        for k, n in zip(kept, where.shape, strict=True)
    )
    return x, y, z


def dilated(mask: np.ndarray, steps: int = 1, *, beyond: bool = False) -> np.ndarray:
    """A mask and what is so many faces away from it.

    As scipy's, which takes ten times as long. `beyond` is what lies outside the grid.
    """
    for _ in range(steps):
        wide = np.pad(mask, 1, constant_values=beyond)
        for axis in range(3):
            mask = mask | (np.roll(wide, 1, axis) | np.roll(wide, -1, axis))[1:-1, 1:-1, 1:-1]
    return mask


def eroded(mask: np.ndarray, steps: int = 1) -> np.ndarray:
    """A mask without what is so many faces away from the outside, as what is beyond the grid is."""
    return ~dilated(~mask, steps, beyond=True)


def filled(mask: np.ndarray) -> np.ndarray:
    """A mask and all that no way through faces leads out of; scipy's takes four times as long."""
    from scipy import ndimage  # lazy: most of what uses this module needs none of it

    pieces, _ = ndimage.label(~np.pad(mask, 1))
    return np.asarray(pieces != pieces[0, 0, 0])[1:-1, 1:-1, 1:-1]


def unit(volume: np.ndarray) -> np.ndarray:
    """A volume as uint8 or float to float32 in [0, 1]."""
    if volume.dtype == np.uint8:
        return volume.astype(np.float32) / 255
    return np.clip(volume, 0, 1).astype(np.float32)


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
MARGIN_MM = 9.0


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
        mm = f"{self.mm:+.0f}" if round(self.mm) else "0"
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
        brightest = np.abs(self.data).max(axis=others)
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
                sheet.paste(_fitted(piece, space, cell), (x, y))
                draw.text((x + 3, y + cell // 2 - 8), piece.letters[0], fill=200, font=font)
                draw.text((x + cell - 13, y + cell // 2 - 8), piece.letters[1], fill=200, font=font)
        if column:
            draw.line([(left, 0), (left, height)], fill=128)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _fitted(piece: Slice, space: Space, cell: int) -> Image.Image:
    """The picture centred in a cell, to scale, so that the grid's longest side fills it."""
    scale = cell / max(np.multiply(space.shape, space.voxel_size))
    size = tuple(max(1, round(mm * scale)) for mm in piece.size_mm)
    pixels = np.ascontiguousarray(piece.picture)
    drawn = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    fitted = Image.new("L", (cell, cell), 0)
    fitted.paste(drawn, ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return fitted


class Shown:
    """What shows itself in short, and in a notebook as a table or as slices."""

    __repr__ = brief_repr

    def _repr_html_(self) -> str:
        """A table of its `lines` of "name: text" and its `doubts`; without them, of its fields.

        Above them three slices of its `data` or `volume` on its `space`, or on that of its
        `generator`; what holds no `scan`, and was not acquired, is synthetic.
        """
        of = partial(getattr, self)
        told, space = [*of("lines", ()), *map(str, of("doubts", ()))], of("space", None)
        listed = hasattr(self, "lines")
        pairs = [*(() if listed else brief_fields(self).items())]
        pairs += [text.partition(": ")[::2] if listed else ("Warnings", text) for text in told]
        rows = (f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in pairs)
        table = f"<table>{''.join(rows)}</table>"
        space = space or getattr(of("generator", None), "space", None)
        own, volume = of("data", None), of("volume", None)
        if listed or space is None or (own is None and volume is None):
            return table
        is_scan = hasattr(self, "scan") or of("origin", "") == "acquired"
        title = "scan" if is_scan else "synthetic - not for diagnosis"
        drawn = as_packed(volume) if own is None else as_drawn(own)
        png = base64.b64encode(draw_montage({title: [drawn]}, space)).decode()
        return f'<img alt="{title}" src="data:image/png;base64,{png}">{table}'
