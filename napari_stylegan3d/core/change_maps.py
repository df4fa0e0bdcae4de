"""Maps of a change: where tissue moves, over the planes and on the surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Surface, Vectors
from qtpy.QtCore import QObject

from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views import layers
from napari_stylegan3d.views.display import OVERLAY, VOLUME_ORDER, enlarge, in_3d, upright
from napari_stylegan3d.widgets.controls import Links

if TYPE_CHECKING:
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.stage import Stage
    from stylegan3d.render.movement import Movement

CHANGE = "Volume change"
#: The colours end at this change, in %, so that maps of all patients can be compared.
LIMIT_PERCENT = 50.0
#: Share of a voxel that is brain, to count it.
HALF = 0.5


def show_movement(overlay: layers.DifferenceOverlay, moved: Movement, volume: np.ndarray) -> str:
    """Draw a movement over a brain (X, Y, Z); what it does, in figures, empty for nothing."""
    from stylegan3d.directions.attributes import contour_of

    # Not wherever it is above 0: a spline rings around the brain.
    brain = enlarge(contour_of(volume), moved.space.shape, "area") > HALF
    larger = np.asarray(100 / moved.jacobian - 100, np.float32)  # in %; below 0: smaller
    shown = upright(larger * brain, moved.space.affine)
    # Tissue moves from where it was read: the other way than the map leads.
    field = layers.Field(-moved.displacement * brain, moved.space.affine)
    overlay.show(shown, CHANGE, "%", LIMIT_PERCENT, field)
    return in_words(moved, brain)


def in_words(moved: Movement, brain: np.ndarray) -> str:
    """What an edit moves in the brain (X, Y, Z), in figures; empty if nothing moves."""
    if not (moved.displacement * brain).any():
        return ""
    gained, far = moved.gained_ml * brain, moved.moved_mm[brain]
    more, less = (float(np.maximum(sign * gained, 0).sum()) for sign in (1, -1))
    return (
        f"Tissue gains {more:.1f} ml and loses {less:.1f} ml; it moves by {np.median(far):.1f} mm "
        f"(median), {float(far.max()):.1f} mm at most. Arrows are drawn 3 times as long."
    )


#: The difference is that of tissue so far below the surface; cortex is smoother than voxels.
DEPTH_MM, SMOOTH_VOXELS = 2.0, 0.7
GREY = np.array([0.72, 0.72, 0.72])
ARROW_WIDTH, ARROW_COLOR = 0.7, "white"


@dataclass(frozen=True, eq=False)
class Request:
    """What to draw.

    Attributes
    ----------
    picture, difference : tuple
        Voxels (X, Y, Z), voxel size and first voxel in mm, of a grid along the world's axes.
    level : float
        Intensity of the surface.
    legend : ColorScale
    field : Field or None
    """

    picture: tuple[np.ndarray, np.ndarray, np.ndarray]
    difference: tuple[np.ndarray, np.ndarray, np.ndarray]
    level: float
    legend: layers.ColorScale
    field: layers.Field | None

    def same_as(self, other: Request | None) -> bool:
        """Whether both draw the same."""
        if other is None:
            return False
        voxels = (self.picture[0], self.difference[0], self.field)
        others = (other.picture[0], other.difference[0], other.field)
        alike = all(a is b for a, b in zip(voxels, others, strict=True))
        return alike and (self.level, self.legend) == (other.level, other.legend)


@dataclass(frozen=True, eq=False)
class Coloured:
    """A surface with a colour at each vertex, and arrows.

    Attributes
    ----------
    vertices, faces : ndarray, shapes (n, 3) and (m, 3)
        In mm, and numbers of vertices.
    colors : ndarray, shape (n, 4)
    arrows : ndarray, shape (k, 2, 3)
        Tail and direction in mm; moved by `TIMES` their length.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    arrows: np.ndarray


def coloured_surface(request: Request) -> Coloured | None:
    """The surface of a picture in the colours of a difference; None where there is none."""
    from scipy.ndimage import gaussian_filter, map_coordinates
    from skimage.measure import marching_cubes

    voxels, size, first = request.picture
    smooth = gaussian_filter(np.asarray(voxels, np.float32), SMOOTH_VOXELS)
    if not smooth.min() < request.level < smooth.max():
        return None
    found, faces, normals, _ = marching_cubes(smooth, request.level, gradient_direction="ascent")
    vertices = found * size + first
    inwards = normals * size / np.maximum(np.linalg.norm(normals * size, axis=1), 1e-9)[:, None]
    inside = _towards(smooth, found, inwards / size) * inwards
    data, step, start = request.difference
    places = (vertices + DEPTH_MM * inside - start) / step
    values = map_coordinates(np.asarray(data, np.float32), places.T, order=1)
    table = request.legend.table
    at = np.clip((values / request.legend.limit + 1) / 2 * (len(table) - 1), 0, len(table) - 1)
    shade = table[np.rint(at).astype(int)]
    seen = shade[:, 3:]
    colors = np.ones((len(vertices), 4), np.float32)
    colors[:, :3] = seen * shade[:, :3] + (1 - seen) * GREY
    return Coloured(vertices, faces, colors, _arrows(vertices, request.field))


def _towards(smooth: np.ndarray, found: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """1 or -1 (n, 1) by which normals lead to brighter voxels: inside."""
    from scipy.ndimage import map_coordinates

    there, back = (map_coordinates(smooth, (found + s * steps).T, order=1) for s in (1, -1))
    return np.where(there >= back, 1.0, -1.0)[:, None]


def _arrows(vertices: np.ndarray, field: layers.Field | None) -> np.ndarray:
    """One arrow in each cube of `SPACING_MM` of the surface whose tissue moves far enough."""
    if field is None:
        return np.zeros((0, 2, 3))
    _, one = np.unique((vertices // layers.SPACING_MM).astype(int), axis=0, return_index=True)
    heads = vertices[one]
    moved = field.at(heads.T).T
    far = np.linalg.norm(moved, axis=1) >= layers.LEAST_MM
    heads, moved = heads[far], layers.TIMES * moved[far]
    return np.stack([heads - moved, moved], axis=1)


class SurfaceMap(QObject):
    """Keeps the coloured surface of the 3D view up to date.

    Parameters
    ----------
    stage : Stage
    views : FourViews
    parent : QObject
    links : Links
        Of what ends it.
    """

    def __init__(self, stage: Stage, views: FourViews, parent: QObject, links: Links) -> None:
        super().__init__(parent)
        self.stage, self.views = stage, views
        follower = views.view("3D").follower
        assert follower is not None
        self.follower = follower
        self._layers: list[Layer] = []
        self._asked: Request | None = None
        self._drawn: Request | None = None
        self.work = LatestWins(coloured_surface, self, self._on_ready)
        links.callback(self._hide)
        links.callback(self.work.shutdown)
        links.connect(stage.overlay.changed, self._update)
        links.connect(stage.settled, self._update)
        links.connect(stage.levelsChanged, self._update)
        links.connect(views.looks.changed, self._update)

    def _update(self, *_: Any) -> None:
        wanted = self._wanted()
        if wanted is None or not wanted.same_as(self._drawn):
            self._hide()
        elif self._layers:
            self._cut()
            return
        if wanted is not None and not wanted.same_as(self._asked):
            self.work.submit(wanted)
        self._asked = wanted

    def _wanted(self) -> Request | None:
        """What is to be drawn; None without a difference, or where no surface is drawn."""
        look, layer, overlay = self.views.looks.look, self.stage.layer, self.stage.overlay
        legend = overlay.legend
        if look.rendering != "iso" or legend is None or overlay.layer is None or layer is None:
            return None
        if layer.ndim != 3 or self.stage.is_difference or not look.shows("3D"):
            return None
        low, high = layer.contrast_limits
        picture, difference = (
            (np.asarray(data), np.array(scale), np.array(translate))
            for data, scale, translate in map(in_3d, (layer, overlay.layer))
        )
        level = float(low + look.surface * (high - low))
        return Request(picture, difference, level, legend, overlay.field)

    def _on_ready(self, request: Request, found: Coloured | None) -> None:
        if self._asked is None or not request.same_as(self._asked) or found is None:
            return
        self._hide()
        mark = {OVERLAY: True}
        world = {"units": ("mm", "mm", "mm"), "axis_labels": ("x", "y", "z")}
        # napari leaves the axes of a surface as they are where all are displayed.
        surface = Surface(
            (found.vertices[:, VOLUME_ORDER], found.faces),
            vertex_colors=found.colors,
            shading="smooth",
            name=request.legend.label,
            metadata=mark,
            **world,
        )
        self._layers = [surface]
        if len(found.arrows):
            arrows = Vectors(
                found.arrows,
                edge_width=ARROW_WIDTH,
                edge_color=ARROW_COLOR,
                vector_style="arrow",
                metadata=mark,
                **world,
            )
            self._layers.append(arrows)
        self.follower.show_instead(self.stage.layer, self._layers)
        self._drawn = request
        self._cut()

    def _cut(self) -> None:
        for layer in self._layers[:1]:
            self.follower.volume.cut(layer)

    def _hide(self) -> None:
        if self._layers:
            self.follower.show_instead(self.stage.layer, [], self._layers)
        self._layers, self._drawn = [], None
