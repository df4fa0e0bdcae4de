"""A view with its parts, and framing of the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.qt import QtViewer
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.canvases import CameraTurner
from napari_stylegan3d.views.captions import OVERLAY
from napari_stylegan3d.views.follower import Follower
from napari_stylegan3d.views.glass import (
    SIZE_PX,
    Arrows,
    ColorBar,
    Crosshair,
    Labels,
    OrientationCube,
)
from napari_stylegan3d.views.marks import Marks, MarkSheet
from napari_stylegan3d.views.navigation import nearest_voxel
from napari_stylegan3d.views.orientation import ViewPlane, orient_volume
from napari_stylegan3d.widgets.controls import Links, single_shot

#: Pictures are on black in any theme.
BACKGROUND = "black"
#: The colour bar begins below the title, or below the cube.
BAR_TOP_PX, BAR_TOP_3D_PX = 30, SIZE_PX + 16
#: Room left at each edge of a view for letters and captions.
LETTER_PX = 34
#: Threshold of the head, as a share of white.
DARK_SHARE = 0.08
#: Only every n-th voxel is used: the box need not be exact.
DARK_STEP = 2
SMALLEST_ZOOM = 0.1
#: A head that could be this much larger is fitted again.
MUCH_SMALLER = 1.2
#: Margin for other brains of the model, which differ in size.
ROOM = 1.08
#: Share of the diagonal of the head's box that fits the rotated view.
TURNED = 0.82


@dataclass
class View:
    """One of the four views: model, canvas, overlays, and (except in the main one) the follower."""

    plane: ViewPlane | None
    model: ViewerModel
    canvas: QtViewer
    crosshair: Crosshair
    labels: Labels
    bar: ColorBar
    arrows: Arrows
    marks: MarkSheet | None = None
    cube: OrientationCube | None = None
    turning: CameraTurner | None = None
    follower: Follower | None = None
    links: Links = field(default_factory=Links)

    @property
    def name(self) -> str:
        """Axial, Sagittal, Coronal or 3D."""
        return self.plane.name if self.plane else "3D"

    def __post_init__(self) -> None:
        added = (self.crosshair, self.labels, self.bar, self.arrows, self.marks, self.cube)
        for part in (self.turning, *added):
            if part is not None:
                self.links.enter_context(part.links)


def make_view(plane: ViewPlane | None, model: ViewerModel, canvas: QtViewer, marks: Marks) -> View:
    """Add the parts of a view to a canvas."""
    native = canvas.canvas.native
    native.setAccessibleName("{view} view".format(view=plane.title if plane else "3D"))
    model.canvas.background_color_override = BACKGROUND
    # Each is drawn over the one before.
    arrows = Arrows(native, model)
    crosshair = Crosshair(native, model)
    sheet = MarkSheet(native, model, marks) if plane else None
    labels = Labels(native, model, plane)
    return View(
        plane=plane,
        model=model,
        canvas=canvas,
        crosshair=crosshair,
        labels=labels,
        bar=ColorBar(native, model, BAR_TOP_PX if plane else BAR_TOP_3D_PX),
        arrows=arrows,
        marks=sheet,
        cube=None if plane else OrientationCube(native, model),
        turning=None if plane else CameraTurner(canvas, model),
    )


def draw_all(views: Sequence[View]) -> None:
    """Draw every view now; the 3D view is rotated and restored."""
    for view in views:
        if view.plane is None:
            view.model.scene.camera.angles = (0.0, 0.0, 0.0)
            view.canvas.canvas.native.repaint()
            orient_volume(view.model)
        view.canvas.canvas.native.repaint()


def frame(views: Sequence[View], viewer: ViewerModel) -> None:
    """Centre the head in the 2D views at the largest common zoom that fits."""
    box = head_box(viewer)
    middle, zoom = box.mean(axis=0), _best_zoom(views, box)
    for view in views:
        if view.plane:
            _, rows, columns = view.plane.order
            view.model.scene.camera.center = (0.0, middle[rows], middle[columns])
            view.model.scene.camera.zoom = zoom


def is_misfit(views: Sequence[View], viewer: ViewerModel) -> bool:
    """Whether the head reaches beyond the edge of a 2D view, or is much smaller than the views."""
    box = head_box(viewer)
    flat = [view for view in views if view.plane and view.canvas.isVisible()]
    for view in flat:
        assert view.plane is not None
        camera, native = view.model.scene.camera, view.canvas.canvas.native
        if _best_zoom(flat, box) > MUCH_SMALLER * camera.zoom:
            return True
        halves = np.array([native.height(), native.width()]) / 2 / camera.zoom
        off = np.abs(box[:, list(view.plane.order[1:])] - np.array(camera.center[-2:]))
        if (off > halves).any():
            return True
    return False


def _best_zoom(views: Sequence[View], box: np.ndarray) -> float:
    """The largest zoom at which a box fits into all 2D views."""
    size = ROOM * (box[1] - box[0])
    zooms = []
    for view in views:
        if view.plane:
            _, rows, columns = view.plane.order
            native = view.canvas.canvas.native
            zooms += [
                (native.height() - 2 * LETTER_PX) / size[rows],
                (native.width() - 2 * LETTER_PX) / size[columns],
            ]
    return max(min(zooms, default=1.0), SMALLEST_ZOOM)


def frame_volume(view: View, viewer: ViewerModel) -> None:
    """Centre the head in the 3D view so that it fits from every side."""
    box = head_box(viewer)
    native = view.canvas.canvas.native
    middle = box.mean(axis=0)
    view.model.scene.camera.center = tuple(middle[list(view.model.dims.displayed)])
    diagonal = float(np.linalg.norm(box[1] - box[0]))
    view.model.scene.camera.zoom = min(native.height(), native.width()) / (TURNED * diagonal)


def head_box(viewer: ViewerModel) -> np.ndarray:
    """(2, 3) bounding box in mm of the non-dark part of the topmost visible image.

    The field of view if everything is dark or nothing is visible.
    """
    full = np.array([(low, high) for low, high, _ in viewer.dims.range]).T
    images = [
        layer
        for layer in viewer.layers
        if isinstance(layer, Image) and layer.visible and OVERLAY not in layer.metadata
    ]
    if not images or images[-1].ndim != 3:
        return full
    found = _bright_box(images[-1])
    return full if found is None else found


def head_extent(layer: Image) -> np.ndarray:
    """(2, 3) bounding box in mm of the non-dark part of a picture; all of it if there is none."""
    found = _bright_box(layer)
    if found is not None:
        return found
    last = np.array(layer.data.shape[:3]) - 1
    return np.array([layer.data_to_world(corner) for corner in (np.zeros(3), last)])


def _bright_box(layer: Image) -> np.ndarray | None:
    data = np.abs(layer.data[::DARK_STEP, ::DARK_STEP, ::DARK_STEP])
    bright = data > DARK_SHARE * np.abs(layer.contrast_limits).max()
    if not bright.any():
        return None
    box = np.empty((2, 3))
    for axis in range(3):
        found = np.flatnonzero(bright.any(axis=tuple({0, 1, 2} - {axis}))) * DARK_STEP
        box[:, axis] = found[0] - DARK_STEP, found[-1] + DARK_STEP
    return np.array([layer.data_to_world(corner) for corner in box])


def is_elsewhere(known: np.ndarray, ranges: np.ndarray) -> bool:
    """Whether two fields of view differ by more than the grid spacing.

    Parameters
    ----------
    known, ranges : ndarray, shape (3, n)
        Lowest, highest and step in mm.
    """
    if known.shape != ranges.shape:
        return True
    voxel = np.maximum(known[2], ranges[2])
    return bool((np.abs(known - ranges)[:2] > voxel).any())


class ViewFitter(QObject):
    """Fits views now or soon.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer to fit.
    reset : callable
        Called for a new grid.
    """

    done = Signal()
    """The views have been fitted."""

    def __init__(self, viewer: ViewerModel, reset: Callable[[], None], parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.views: Sequence[View] = ()
        self._fitted: list[tuple[float, ...]] = []
        self._reset_soon, self._snap_soon, self._fit_soon = self.timers = tuple(
            single_shot(self, slot) for slot in (reset, self._snap, self.fit)
        )

    @property
    def fitted(self) -> bool:
        """Whether the user has neither zoomed nor panned since the views were fitted."""
        return self._fitted == self._cameras()

    def _cameras(self) -> list[tuple[float, ...]]:
        cameras = [view.model.scene.camera for view in self.views if view.plane]
        return [(camera.zoom, *camera.center) for camera in cameras]

    def reset_soon(self) -> None:
        """A new grid: wait until all layers are added, then fit once."""
        self._reset_soon.start(0)

    @property
    def waits(self) -> bool:
        """Whether a reset, snap or fit is scheduled."""
        return any(timer.isActive() for timer in self.timers)

    def snap_soon(self) -> None:
        """A layer on another grid was added or removed: restore the point moved by the sliders."""
        self._snap_soon.start(0)

    def fit_soon(self) -> None:
        """Fit after the current event, when the canvases have their new sizes."""
        self._fit_soon.start(0)

    def fit_if_needed(self) -> None:
        """Fit again if a larger or much smaller head is shown, unless the user has zoomed."""
        waits = self.waits or not self._fitted or self.viewer.dims.ndim != 3
        if not waits and self.fitted and is_misfit(self.views, self.viewer):
            self.fit_soon()

    def fit(self) -> None:
        """Show the whole head in every view, at one scale in all three planes."""
        if not self.viewer.layers or self.viewer.dims.ndim != 3:
            return
        flat = [view for view in self.views if view.plane and view.canvas.isVisible()]
        frame(flat, self.viewer)
        self._fitted = self._cameras()
        for view in self.views:
            if view.plane is None:
                frame_volume(view, self.viewer)
        self.done.emit()

    def _snap(self) -> None:
        if self.viewer.layers and self.viewer.dims.ndim == 3:
            self.viewer.dims.point = nearest_voxel(self.viewer, self.viewer.dims.point)


class LinkedCameras:
    """Keeps one scale and one centre in all planes.

    Parameters
    ----------
    views : sequence of tuple of (ViewPlane, ViewerModel)
        (plane, model) of each.
    links : Links
        Of what ends it.
    """

    def __init__(self, views: Sequence[tuple[ViewPlane, ViewerModel]], links: Links) -> None:
        self._views = list(views)
        self.linked = True
        self._busy = False
        for index, (_, model) in enumerate(self._views):
            for signal in (model.scene.camera.events.zoom, model.scene.camera.events.center):
                links.connect(signal, partial(self._follow, index))

    def set_linked(self, linked: bool) -> None:
        """Link the planes, starting from the first plane's scale and centre; or unlink them."""
        self.linked = linked
        self._follow(0)

    def _follow(self, leader: int, _: Any = None) -> None:
        if self._busy or not self.linked:
            return
        plane, model = self._views[leader]
        if model.dims.ndisplay != 2:
            return
        rows, columns = plane.order[1:]
        middle = dict(zip((rows, columns), model.scene.camera.center[-2:], strict=True))
        self._busy = True
        try:
            for index, (other, follower) in enumerate(self._views):
                if index != leader and follower.dims.ndisplay == 2:
                    self._move(follower, other, middle, model.scene.camera.zoom)
        finally:
            self._busy = False

    @staticmethod
    def _move(model: ViewerModel, plane: ViewPlane, middle: dict[int, float], zoom: float) -> None:
        camera = model.scene.camera
        old = camera.center[-2:]
        new = tuple(
            middle.get(axis, value) for axis, value in zip(plane.order[1:], old, strict=True)
        )
        if not np.allclose(new, old):
            camera.center = (0.0, *new)
        if camera.zoom != zoom:
            camera.zoom = zoom
