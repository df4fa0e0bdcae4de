"""A view with its parts, and framing of the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.qt import QtViewer

from napari_stylegan3d.views.arrows import Arrows
from napari_stylegan3d.views.captions import OVERLAY
from napari_stylegan3d.views.crosshair import Crosshair
from napari_stylegan3d.views.cube import SIZE_PX, OrientationCube
from napari_stylegan3d.views.follower import Follower
from napari_stylegan3d.views.labels import Labels
from napari_stylegan3d.views.legend import ColorBar
from napari_stylegan3d.views.orientation import Plane, orient_volume

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
#: Margin for other brains of the model, which differ in size.
ROOM = 1.08
#: Share of the diagonal of the head's box that fits the rotated view.
TURNED = 0.82


@dataclass
class View:
    """One of the four views: model, canvas, overlays, and (except in the main one) the follower."""

    plane: Plane | None
    model: ViewerModel
    canvas: QtViewer
    crosshair: Crosshair
    labels: Labels
    bar: ColorBar
    arrows: Arrows
    cube: OrientationCube | None = None
    follower: Follower | None = None

    @property
    def name(self) -> str:
        """Axial, Sagittal, Coronal or 3D."""
        return self.plane.name if self.plane else "3D"

    def close(self) -> None:
        """Remove everything added to the canvas."""
        for glass in (self.crosshair, self.labels, self.bar, self.arrows, self.cube):
            if glass is not None:
                glass.close_links()


def make_view(plane: Plane | None, model: ViewerModel, canvas: QtViewer) -> View:
    """Add the parts of a view to a canvas."""
    native = canvas.canvas.native
    model.canvas.background_color_override = BACKGROUND
    # Each is drawn over the one before.
    arrows = Arrows(native, model)
    crosshair, labels = Crosshair(native, model), Labels(native, model, plane)
    return View(
        plane=plane,
        model=model,
        canvas=canvas,
        crosshair=crosshair,
        labels=labels,
        bar=ColorBar(native, model, BAR_TOP_PX if plane else BAR_TOP_3D_PX),
        arrows=arrows,
        cube=None if plane else OrientationCube(native, model),
    )


def draw_all(views: Sequence[View]) -> None:
    """Draw every view now; the 3D view is rotated and restored."""
    for view in views:
        if view.plane is None:
            view.model.scene.camera.angles = (0.0, 0.0, 0.0)
            view.canvas.canvas.native.repaint()
            orient_volume(view.model)
        view.canvas.canvas.native.repaint()


def frame(views: Sequence[View], viewer: ViewerModel) -> float:
    """Centre the head in the 2D views at the largest common zoom that fits; return the zoom."""
    box = head_box(viewer)
    size, middle = ROOM * (box[1] - box[0]), box.mean(axis=0)
    zooms = []
    flat = [(view, view.plane.order) for view in views if view.plane]
    for view, (_, rows, columns) in flat:
        native = view.canvas.canvas.native
        zooms += [
            (native.height() - 2 * LETTER_PX) / size[rows],
            (native.width() - 2 * LETTER_PX) / size[columns],
        ]
    zoom = max(min(zooms, default=1.0), SMALLEST_ZOOM)
    for view, (_, rows, columns) in flat:
        view.model.scene.camera.center = (0.0, middle[rows], middle[columns])
        view.model.scene.camera.zoom = zoom
    return zoom


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
    layer = images[-1]
    data = np.abs(layer.data[::DARK_STEP, ::DARK_STEP, ::DARK_STEP])
    bright = data > DARK_SHARE * np.abs(layer.contrast_limits).max()
    if not bright.any():
        return full
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
