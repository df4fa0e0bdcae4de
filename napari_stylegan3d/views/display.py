"""Volumes on any grid, prepared for views that slice along world axes.

napari's 2D views cannot slice obliquely, and fail on affines with permuted axes. So a volume is
reordered to RAS (a strided view, without copying) and, only if its axes are oblique, resampled to a
grid along the world axes with the same voxel size that contains all of it.

Also what a layer's metadata say of its picture, how the planes face, and what napari and vispy
offer no public way to (such as `insert` and `drawn_at`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import nibabel as nib
import numpy as np
from nibabel.spaces import vox2out_vox

from stylegan3d.geometry.space import Space, Upright, to_ras
from stylegan3d.session.provenance import UNCONFIRMED, Provenance

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari._vispy.canvas import VispyCanvas
    from napari.components import ViewerModel
    from napari.layers import Image, Layer
    from vispy.scene import SceneCanvas


KEY = "stylegan3d"
#: Metadata key of overlays.
OVERLAY = "stylegan3d-overlay"
#: Metadata key of the unit of an overlay.
UNIT = "stylegan3d-unit"
#: Metadata key of what is right only in the slices through the crosshair.
FLAT = "stylegan3d-flat"
#: Where the 3D view finds the same volume on a coarser grid.
COARSE = "stylegan3d-coarse"
#: Metadata key of the `Over` of a second image that lies over the picture.
OVER = "stylegan3d-over"
#: Metadata key of the names of label values.
NAMES = "stylegan3d-names"

LETTER_COLOR = "#f2d479"
RECORDED_COLOR, MADE_COLOR = "#81c784", "#ffb74d"
CAPTION_COLORS = {
    "generated": MADE_COLOR,
    "reconstruction": MADE_COLOR,
    "worn": MADE_COLOR,
    "edited": MADE_COLOR,
    "difference": MADE_COLOR,
    "scan": RECORDED_COLOR,
    "second": RECORDED_COLOR,
}


def shown(model: ViewerModel, *, overlays: bool = True) -> Provenance | None:
    """Provenance of the topmost visible layer that has one; optionally without overlays.

    It names a second image that lies over that layer, and says if an edit did not move it.
    """
    over = None
    for layer in reversed(model.layers):
        if not layer.visible or (OVERLAY in layer.metadata and not overlays):
            continue
        over = layer.metadata.get(OVER, over)
        provenance = layer.metadata.get(KEY)
        if isinstance(provenance, Provenance):
            return replace(provenance, over=over)
    return None


def color_of(provenance: Provenance) -> str:
    """Of a caption; what nobody has confirmed does not look like a scan that is in order."""
    return MADE_COLOR if UNCONFIRMED in provenance.caption else CAPTION_COLORS[provenance.made_as]


#: Smaller tilts are ignored: half a voxel across a head at 1 mm.
UPRIGHT_TOLERANCE_DEG = 0.2


@dataclass(frozen=True, eq=False)
class DisplayArray:
    """A volume in RAS orientation along the world axes.

    Attributes
    ----------
    data : ndarray, shape (X, Y, Z)
    scale : tuple of float
        Voxel size in mm.
    translate : tuple of float
        RAS+ millimetres of the centre of the first voxel.
    resampled : bool
        Whether the volume had oblique axes.
    """

    data: np.ndarray
    scale: tuple[float, float, float]
    translate: tuple[float, float, float]
    resampled: bool = False

    def layer_kwargs(self) -> dict[str, Any]:
        """Scale and translation for a napari layer, in mm."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "units": ("mm", "mm", "mm"),
            "axis_labels": ("x", "y", "z"),
        }


def put(layer: Layer, data: Any, scale: npt.ArrayLike, translate: npt.ArrayLike) -> None:
    """Give a layer its data and its place together.

    One after the other, napari would slice, draw and count its slider's steps anew for each of
    them, the new data in the old place among them.
    """
    events, shape = layer.events, np.shape(layer.data)
    if layer.ndim != np.size(scale):
        layer.data = data
    moved = not (np.array_equal(layer.scale, scale) and np.array_equal(layer.translate, translate))
    if moved:
        vars(layer)["refresh"] = lambda *_, **__: None
    try:
        if moved:
            with events.scale.blocker(), events.translate.blocker():
                layer.scale, layer.translate = np.asarray(scale), np.asarray(translate)
        if data is not layer.data:
            layer.data = data
    finally:
        vars(layer).pop("refresh", None)
    if moved:
        layer.refresh()
    if moved or shape != np.shape(layer.data):
        events.translate()


def hear_strokes(layer: Any, heard: Callable[[object], object]) -> None:
    """Call when labels are painted, and when that is undone, of which napari tells nobody."""

    def load(*args: Any, **options: Any) -> None:
        type(layer)._load_history(layer, *args, **options)
        heard(None)

    vars(layer)["_load_history"] = load
    for event in (layer.events.paint, layer.events.labels_update, layer.events.data):
        event.connect(heard)


def insert(model: ViewerModel, index: int, layer: Layer) -> None:
    """Add a layer; from then on `put` tells the viewer where its grid is another.

    napari sets and checks the ranges and units of its sliders with all new data, which takes longer
    than to draw them.
    """
    model.layers.insert(index, layer)
    layer.events.data.disconnect(model._on_layers_change)


@contextmanager
def drawn_at(scene: SceneCanvas, width: int, height: int) -> Iterator[None]:
    """Let a canvas draw at another size than its window's for the length of the block.

    `SceneCanvas.render` takes a size, but draws into it with a viewport of the window's physical
    size, which vispy asks of its backend and offers no public way to set.

    Parameters
    ----------
    scene : SceneCanvas
        The canvas.
    width, height : int
        Size in pixels.
    """
    backend = scene._backend
    backend._vispy_get_physical_size = lambda: (width, height)
    try:
        yield
    finally:
        del backend._vispy_get_physical_size
        scene.update()


def spare_corners(canvas: VispyCanvas) -> Callable[[], object]:
    """Let a canvas look for the corners of what it shows only where that may be something else.

    napari does so before each drawing, for layers of several resolutions, and takes as long as for
    the drawing itself. The function that is returned lets it do so again.
    """
    model = canvas.viewer
    known: dict[str, object] = {}

    def on_draw(event: Any = None) -> None:
        grid, dims, layers = model.canvas.grid.enabled, model.dims, model.layers
        seen = {
            **canvas.view.camera.get_state(),
            "": (canvas.view.size, dims.order, dims.ndisplay, [one.unique_id for one in layers]),
        }
        owed = canvas._needs_overlay_position_update or canvas._needs_world_units_update
        resolved = any(getattr(layer, "multiscale", False) for layer in layers)
        if grid or owed or resolved or seen != known:
            type(canvas).on_draw(canvas, event)
            known.clear()
            known.update(seen)

    canvas.on_draw = on_draw
    return partial(vars(canvas).pop, "on_draw", None)


def redraw(layer: Layer, canvas: VispyCanvas) -> None:
    """Draw a layer whose voxels changed in place.

    Its slice is a view of them and lies where it lay; napari would cut it out anew and reckon its
    place, which takes longer than to draw it.
    """
    if not (layer.visible and np.may_share_memory(layer._slice.image.raw, layer.data)):
        layer.refresh(thumbnail=False, highlight=False, extent=False)
        return
    visual = canvas.layer_to_visual[layer]
    vars(visual)["_on_matrix_change"] = lambda: None
    try:
        visual._on_data_change()
    finally:
        del visual._on_matrix_change


def in_3d(layer: Layer) -> tuple[Any, np.ndarray, np.ndarray]:
    """Voxels, voxel size and first voxel in mm of what the 3D view draws of a picture."""
    coarse = layer.metadata.get(COARSE)
    if coarse is None:
        return layer.data, layer.scale, layer.translate
    return coarse.data, np.array(coarse.scale), np.array(coarse.translate)


#: Viewers in which grids change, and whether a crosshair was to be copied meanwhile.
changing: dict[ViewerModel, bool] = {}


@contextmanager
def keeping_point(viewer: ViewerModel) -> Iterator[None]:
    """Keep the crosshair while grids of layers change, here and in the viewers that follow.

    On a coarser one there are fewer steps, and napari's sliders, which count steps, would move it
    to the edge of the field of view.
    """
    if viewer in changing:
        yield
        return
    dims, point = viewer.dims, viewer.dims.point
    changing[viewer] = False
    try:
        yield
    finally:
        followed = changing.pop(viewer)
    if len(point) == dims.ndim and tuple(dims.point) != tuple(point):
        dims.point = point
    elif followed:
        dims.events.point()


def set_limits(layer: Image, limits: tuple[float, float]) -> None:
    """Set what is black and white; napari's sliders get the room for it."""
    if tuple(layer.contrast_limits) != tuple(limits):
        low, high = layer.contrast_limits_range
        layer.contrast_limits_range = min(low, limits[0]), max(high, limits[1])
        layer.contrast_limits = limits


def place(layer: Layer, volume: DisplayArray) -> None:
    """Replace a layer's voxels and their position."""
    put(layer, volume.data, volume.scale, volume.translate)


def upright(data: np.ndarray, affine: np.ndarray, *, nearest: bool = False) -> DisplayArray:
    """Reorder a volume to RAS, and resample it if its axes are oblique.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        In any order.
    affine : ndarray
        (4, 4) voxel indices to RAS+ millimetres.
    nearest : bool
        Resample without interpolation, as labels need it.
    """
    canonical, affine = to_ras(data, affine)
    resampled = _tilt_degrees(affine) > UPRIGHT_TOLERANCE_DEG
    if resampled:
        canonical, affine = _straighten(canonical, affine, nearest)
    x, y, z = nib.affines.voxel_sizes(affine).tolist()
    right, anterior, superior = affine[:3, 3].tolist()
    return DisplayArray(canonical, (x, y, z), (right, anterior, superior), resampled)


def _tilt_degrees(affine: np.ndarray) -> float:
    """Largest angle between an array axis and its world axis."""
    cosines = np.diag(affine)[:3] / nib.affines.voxel_sizes(affine)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def _straighten(
    data: np.ndarray, affine: np.ndarray, nearest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Resample to a world-aligned grid, with linear or nearest-neighbour interpolation."""
    from scipy.ndimage import affine_transform

    shape, straight = vox2out_vox((data.shape, affine), voxel_sizes=nib.affines.voxel_sizes(affine))
    matrix = np.linalg.inv(affine) @ straight
    resampled = affine_transform(
        np.asarray(data) if nearest else np.asarray(data, dtype=np.float32),
        matrix[:3, :3],
        matrix[:3, 3],
        tuple(shape),
        order=0 if nearest else 1,
    )
    return resampled, straight


def enlarge(
    volume: np.ndarray, shape: tuple[int, ...], mode: Literal["trilinear", "area"] = "trilinear"
) -> np.ndarray:
    """Interpolate a volume to another grid with the same field of view (corners coincide)."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]
    return torch.nn.functional.interpolate(tensor, size=tuple(shape), mode=mode)[0, 0].numpy()


def enlarge_planes(volume: np.ndarray, shape: tuple[int, ...], voxel: Sequence[int]) -> np.ndarray:
    """As `enlarge`, but only in the three planes of voxels through one of the larger grid.

    The other voxels are 0. Interpolation reads two neighbours, so three planes of `volume` around
    each of them give the same, bit for bit, on a grid finer by 2 or 4; else all are enlarged.
    """
    if any(n not in (m, 2 * m, 4 * m) for n, m in zip(shape, volume.shape, strict=True)):
        return enlarge(volume, shape)
    larger = np.zeros(shape, np.float32)
    for axis, place in enumerate(voxel):
        by = shape[axis] // volume.shape[axis]
        first = max(place // by - 1, 0)
        near = np.moveaxis(np.moveaxis(volume, axis, 0)[first : place // by + 2], 0, axis)
        made = enlarge(near, (*shape[:axis], by * near.shape[axis], *shape[axis + 1 :]))
        np.moveaxis(larger, axis, 0)[place] = made.take(place - by * first, axis)
    return larger


def engine_volume(layer: Image) -> Upright:
    """A layer's volume with its affine, for the engine's figures."""

    data = np.asarray(layer.data)
    affine = np.diag([*(float(size) for size in layer.scale), 1.0])
    affine[:3, 3] = layer.translate
    return Upright(data, Space(cast("tuple[int, int, int]", data.shape), affine))


REDUCED_BY: dict[str, Callable[..., np.ndarray]] = {"max": np.max, "min": np.min, "mean": np.mean}


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


Convention = Literal["radiological", "neurological"]
Nose = Literal["left", "right"]


@dataclass(frozen=True)
class Facing:
    """Which way the planes face: the patient's left, and the nose of the sagittal plane."""

    convention: Convention = "radiological"
    nose: Nose = "left"


#: Names of the negative and positive direction of each world axis.
DIRECTIONS = (("Left", "Right"), ("Posterior", "Anterior"), ("Inferior", "Superior"))
#: Their international letters.
LETTERS = ("LR", "PA", "IS")


@dataclass(frozen=True)
class ViewPlane:
    """A plane: the world axes that are sliced, shown as rows, and shown as columns.

    `letters` are those at the top, bottom, left and right in the radiological convention.
    """

    name: str
    order: tuple[int, int, int]
    letters: tuple[str, str, str, str]

    def letters_in(self, facing: Facing) -> tuple[str, str, str, str]:
        """Orientation letters at the top, bottom, left and right edge."""
        top, bottom, left, right = self.letters
        if self._is_turned(facing):
            left, right = right, left
        return top, bottom, left, right

    def camera_in(self, facing: Facing) -> tuple[str, str, str]:
        """napari's camera orientation (depth, vertical, horizontal)."""
        return "towards", "up", "right" if self._is_turned(facing) else "left"

    def _is_turned(self, facing: Facing) -> bool:
        """Whether the columns run the other way than by default."""
        if self.order[2] == 0:  # the columns run along the left-right axis
            return facing.convention == "neurological"
        return facing.nose == "right"


AXIAL = ViewPlane("Axial", (2, 1, 0), ("A", "P", "R", "L"))
CORONAL = ViewPlane("Coronal", (1, 2, 0), ("S", "I", "R", "L"))
SAGITTAL = ViewPlane("Sagittal", (0, 2, 1), ("S", "I", "A", "P"))
PLANES = {plane.name: plane for plane in (AXIAL, SAGITTAL, CORONAL)}

#: Initial camera of the 3D view: upright, facing the viewer, turned a little.
VOLUME_ORDER = (1, 2, 0)
VOLUME_ANGLES = (10.0, -30.0, -15.0)


def orient(model: ViewerModel, plane: ViewPlane, facing: Facing) -> None:
    """Orient a 2D view; centre and zoom are set by `fit`."""
    if tuple(model.dims.order) != plane.order and model.dims.ndim == 3:
        model.dims.order = plane.order
    model.scene.camera.orientation = plane.camera_in(facing)


def orient_volume(model: ViewerModel) -> None:
    """Orient the 3D view: upright, facing the viewer, not mirrored."""
    if model.dims.ndim == 3:
        model.dims.order = VOLUME_ORDER
    model.dims.ndisplay = 3
    model.scene.camera.orientation = ("towards", "up", "left")
    model.scene.camera.angles = VOLUME_ANGLES


def position_in_words(point_mm: tuple[float, ...], axis: int) -> str:
    """Such as 'Right 12.0 mm' for one world axis of a point in RAS+ millimetres."""
    value = float(point_mm[axis])
    if abs(value) < 0.05:
        return f"{DIRECTIONS[axis][1]} 0.0 mm"
    return f"{DIRECTIONS[axis][value > 0]} {abs(value):.1f} mm"


def position_in_letters(point_mm: tuple[float, ...], axis: int) -> str:
    """Such as 'R 12.0', in millimetres, for one world axis of a point in RAS+ millimetres."""
    value = float(point_mm[axis])
    letter = LETTERS[axis][value > -0.05]
    return f"{letter} {abs(value):.1f}"
