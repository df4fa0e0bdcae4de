"""Slabs: each plane shows the maximum, minimum or mean of the slices around its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_stylegan3d.views.captions import KEY, OVERLAY

if TYPE_CHECKING:
    from napari_stylegan3d.views.look import ViewLook

#: Written beside the slice position.
SHORT = {"max": "Max", "min": "Min", "mean": "Mean"}
REDUCED_BY: dict[str, Callable[..., np.ndarray]] = {"max": np.max, "min": np.min, "mean": np.mean}


def in_words(look: ViewLook) -> str:
    """Such as "Max 10 mm"; empty without a slab."""
    return "" if look.slab == "none" else f"{SHORT[look.slab]} {look.slab_mm:g} mm"


def thicken(look: ViewLook, models: Iterable[ViewerModel], layers: Iterable[Layer]) -> None:
    """Set the thickness of the slices of 2D models, and how layers are projected.

    Overlays keep their single slice: a difference or an outline has no maximum that means anything.
    """
    half = 0.0 if look.slab == "none" else look.slab_mm / 2
    for model in models:
        if model.dims.ndim != 3:
            continue
        margins = tuple(half if axis == model.dims.order[0] else 0.0 for axis in range(3))
        if tuple(model.dims.margin_left) != margins:
            model.dims.margin_left = margins
            model.dims.margin_right = margins
    for layer in layers:
        if not isinstance(layer, Image) or (
            OVERLAY in layer.metadata and KEY not in layer.metadata
        ):
            continue
        if str(layer.projection_mode) != look.slab:
            layer.projection_mode = look.slab


def planes_of(
    layer: Layer, axis: int, position_mm: float, look_mm: float
) -> tuple[int, int] | None:
    """First and last index of a layer's voxels in a slab; None if it lies outside.

    Parameters
    ----------
    layer : Layer
        In RAS along the world axes.
    axis : int
        Across the slab.
    position_mm, look_mm : float
        Its middle and its thickness; 0 for a single slice.
    """
    step, first = float(layer.scale[axis]), float(layer.translate[axis])
    count = layer.data.shape[axis]
    middle = round((position_mm - first) / step)
    if not 0 <= middle < count:
        return None
    reach = int(look_mm / 2 / step)
    return max(middle - reach, 0), min(middle + reach, count - 1)


def projected(data: np.ndarray, axis: int, ends: Sequence[int], slab: str) -> np.ndarray:
    """A slice (n, m) of a volume, or the projection of the slices from one index to another."""
    low, high = ends
    stack = data[tuple(slice(low, high + 1) if i == axis else slice(None) for i in range(3))]
    if low == high:
        return np.asarray(stack.take(0, axis=axis))
    return np.asarray(REDUCED_BY.get(slab, np.mean)(stack, axis=axis))
