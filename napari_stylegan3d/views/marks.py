"""Measurements drawn on the pictures: lengths in mm, and regions with their figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_stylegan3d.views.captions import OVERLAY
from napari_stylegan3d.views.orientation import PLANES, position_in_letters
from napari_stylegan3d.views.slab import planes_of, projected

Kind = Literal["length", "ellipse", "rectangle", "sphere"]
NAMES: dict[str, str] = {
    "length": "Length",
    "ellipse": "Ellipse",
    "rectangle": "Rectangle",
    "sphere": "Sphere",
}
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Mark:
    """One measurement.

    Attributes
    ----------
    kind : Kind
        A length or ellipse or rectangle in a slice, or a sphere.
    axis : int
        World axis across the slice that it was drawn in.
    start, end : tuple of float
        RAS+ mm: the ends of a length, opposite corners of the box around an ellipse or rectangle,
        or the centre of a sphere and a point on it.
    whose : str
        The brain that it was drawn on.
    """

    kind: Kind
    axis: int
    start: Point
    end: Point
    whose: str = ""

    @property
    def length_mm(self) -> float:
        """Distance of both ends: the length, or the radius of a sphere."""
        return float(np.linalg.norm(np.subtract(self.end, self.start)))

    def with_end(self, name: str, place: Point) -> Mark:
        """With its "start" or its "end" elsewhere."""
        return replace(self, start=place) if name == "start" else replace(self, end=place)

    def moved(self, by: Point) -> Mark:
        """Somewhere else."""
        start, end = (np.add(point, by).tolist() for point in (self.start, self.end))
        return replace(self, start=tuple(start), end=tuple(end))

    def radius_in(self, axis: int, position_mm: float) -> float:
        """Radius in mm of the circle that a slice cuts out of a sphere; 0 for none."""
        off = position_mm - self.start[axis]
        return float(max(self.length_mm**2 - off**2, 0.0) ** 0.5)

    def is_on(self, axis: int, position_mm: float, step_mm: float) -> bool:
        """Whether a slice shows it."""
        if self.kind == "sphere":
            return self.radius_in(axis, position_mm) > 0
        return axis == self.axis and abs(position_mm - self.start[axis]) <= step_mm / 2 + 1e-6


@dataclass(frozen=True)
class RegionFigures:
    """What a region holds.

    Attributes
    ----------
    mean, sd : float
        Of the intensities that are shown.
    area_mm2, volume_ml : float
        Size as drawn; a region in a slice has no volume, a sphere no area.
    voxels : int
        How many centres of voxels it contains.
    """

    mean: float
    sd: float
    area_mm2: float
    volume_ml: float
    voxels: int


def picture_of(model: ViewerModel) -> Image | None:
    """The topmost visible picture; overlays are none."""
    for layer in reversed(model.layers):
        seen = isinstance(layer, Image) and layer.visible and layer.ndim == 3
        if seen and OVERLAY not in layer.metadata:
            return layer
    return None


def figures_of(
    mark: Mark, layer: Image, slab: str = "none", slab_mm: float = 0.0
) -> RegionFigures | None:
    """Figures of a region; None for a length, or where the picture does not reach.

    Parameters
    ----------
    mark : Mark
        The region.
    layer : Image
        The picture, in RAS along the world axes.
    slab, slab_mm : str, float
        The projection that is shown, whose values a region in a slice is measured in.
    """
    if mark.kind == "length":
        return None
    if mark.kind == "sphere":
        values, volume = _in_sphere(mark, layer)
        area = 0.0
    else:
        values, area = _in_slice(mark, layer, slab, slab_mm)
        volume = 0.0
    if values is None or not values.size:
        return None
    return RegionFigures(float(values.mean()), float(values.std()), area, volume, int(values.size))


def text_of(mark: Mark, figures: RegionFigures | None) -> str:
    """Such as "42.3 mm" or "0.81 ± 0.04, 214 mm²"."""
    if mark.kind == "length":
        return f"{mark.length_mm:.1f} mm"
    if figures is None:
        return "outside the picture"
    size = f"{figures.volume_ml:.2f} ml" if mark.kind == "sphere" else f"{figures.area_mm2:.0f} mm²"
    return f"{figures.mean:.3g} ± {figures.sd:.2g}, {size}"


def place_of(mark: Mark) -> str:
    """Plane and position, such as "Axial, S 12.0 mm"."""
    plane = next(plane for plane in PLANES.values() if plane.order[0] == mark.axis)
    return f"{plane.title}, {position_in_letters(mark.start, mark.axis)} mm"


def _centres(layer: Image) -> list[np.ndarray]:
    """Positions in mm of the voxels along the three axes."""
    return [
        float(layer.translate[axis]) + float(layer.scale[axis]) * np.arange(layer.data.shape[axis])
        for axis in range(3)
    ]


def _within(centres: np.ndarray, low: float, high: float) -> slice:
    """The voxels between two positions; at least the nearest one."""
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    if inside.size:
        return slice(int(inside[0]), int(inside[-1]) + 1)
    nearest = int(np.abs(centres - (low + high) / 2).argmin())
    return slice(nearest, nearest + 1)


def _in_slice(
    mark: Mark, layer: Image, slab: str, slab_mm: float
) -> tuple[np.ndarray | None, float]:
    """Values in an ellipse or a rectangle, and its area in mm²."""
    axis = mark.axis
    ends = planes_of(layer, axis, mark.start[axis], slab_mm if slab != "none" else 0.0)
    across = [other for other in range(3) if other != axis]
    low = np.minimum(mark.start, mark.end)[across]
    high = np.maximum(mark.start, mark.end)[across]
    size = high - low
    centres = [_centres(layer)[other] for other in across]
    outside = any(
        far < one[0] or near > one[-1] for one, near, far in zip(centres, low, high, strict=True)
    )
    if ends is None or outside:
        return None, 0.0
    parts = tuple(_within(*args) for args in zip(centres, low, high, strict=True))
    boxed = [slice(None)] * 3
    for other, part in zip(across, parts, strict=True):
        boxed[other] = part
    values = projected(np.asarray(layer.data[tuple(boxed)]), axis, ends, slab)
    if mark.kind == "rectangle":
        return values.ravel(), float(size.prod())
    middle, half = (low + high) / 2, np.maximum(size / 2, 1e-6)
    first, second = (
        (one[part] - m) / h for one, part, m, h in zip(centres, parts, middle, half, strict=True)
    )
    inside = first[:, None] ** 2 + second[None, :] ** 2 <= 1
    if not inside.any():
        inside[inside.shape[0] // 2, inside.shape[1] // 2] = True
    return values[inside], float(np.pi * half.prod())


def _in_sphere(mark: Mark, layer: Image) -> tuple[np.ndarray | None, float]:
    """Values in a sphere, and its volume in ml."""
    radius, centres = mark.length_mm, _centres(layer)
    around = list(zip(centres, mark.start, strict=True))
    if any(middle + radius < one[0] or middle - radius > one[-1] for one, middle in around):
        return None, 0.0
    parts = tuple(_within(one, middle - radius, middle + radius) for one, middle in around)
    grid = np.ix_(*((one[part] - m) ** 2 for (one, m), part in zip(around, parts, strict=True)))
    inside = grid[0] + grid[1] + grid[2] <= radius**2
    if not inside.any():
        inside[tuple(n // 2 for n in inside.shape)] = True
    return np.asarray(layer.data[parts])[inside], float(4 / 3 * np.pi * radius**3 / 1000)
