"""Small pictures of recipes, made in the background for all panels that show some.

One thread draws them with a renderer of its own, one at a time, and only while the main view rests.
It works on one core and less urgently than the window: with as many threads as cores, each of its
steps would wait for cores that the window holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from qtpy.QtCore import QObject, QPointF, QRectF, QSizeF, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPainter, QPixmap

from napari_stylegan3d.core.cores import on_cores
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views.display import upright

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.core.rendering import Rendering
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.session.case import Case

#: Width and height as the window counts, and how many pixels one of them has.
SIDE, RATIO = 96, 2
#: Share of the side that the breadth of the field of view takes: two brains then lie on the
#: diagonal without touching.
BREADTH = 0.66
#: What is darker is margin; white is 1.
MARGIN_BELOW = 0.1
#: Pictures kept; one takes 36 KiB.
KEPT = 600
#: Bytes of layers kept from one picture to the next.
LAYERS_KEPT = 32 * 2**20
#: How long the main view must have rested before a picture is started, in ms.
REST_MS = 150
#: A picture that takes longer than this is followed by a rest as long, at most LONGEST_REST_MS.
SLOW_S = 0.5
LONGEST_REST_MS = 3000


@dataclass(frozen=True, eq=False)
class _Order:
    """A picture to be made, and whether it is still wanted."""

    recipe: Recipe
    loaded: Loaded
    stop: threading.Event


class Thumbnails(QObject):
    """Small pictures of recipes, at preview quality; gives way to the main view.

    A recipe that cannot be drawn (its latent file is gone, say) gets a crossed-out picture.
    """

    ready = Signal(object, object)
    """(Recipe, QImage) each time one is finished"""
    prepared = Signal(bool)
    """Whether the model is ready for them; another one is not yet."""

    def __init__(
        self, session: Session, rendering: Rendering, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._rendering = rendering
        self._images: OrderedDict[Recipe, QImage] = OrderedDict()
        self._wanted: dict[str, tuple[Recipe, ...]] = {}
        self._order: _Order | None = None
        self._renderer: tuple[Loaded, Renderer] | None = None
        self._rest_ms = REST_MS
        self._work = LatestWins(self._make, self)
        self._work.ready.connect(self._on_ready)
        self._work.failed.connect(self._on_failed)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self._next)
        session.recipeChanged.connect(self._give_way)
        session.modelChanged.connect(self._on_model)
        rendering.busyChanged.connect(self._give_way)
        rendering.prepared.connect(self._on_prepared)

    def image(self, recipe: Recipe) -> QImage | None:
        """The picture of a recipe if it is at hand, see `picture_of`."""
        if recipe in self._images:
            self._images.move_to_end(recipe)
        return self._images.get(recipe)

    def has(self, recipe: Recipe) -> bool:
        """Whether the picture of a recipe is at hand."""
        return recipe in self._images

    @property
    def is_prepared(self) -> bool:
        """Whether the model is ready for them."""
        return self._rendering.is_prepared

    def want(self, owner: str, recipes: Sequence[Recipe]) -> None:
        """Say what an owner needs now, the most urgent first, in place of what it wanted before.

        `ready` is emitted for those not at hand as they are done. The owner that asked last comes
        first.
        """
        self._wanted.pop(owner, None)
        # No more than are kept: the first ones would be thrown out for the last, and made again.
        self._wanted[owner] = tuple(recipes)[:KEPT]
        self._drop_unwanted()
        self._begin()

    def drop(self, owner: str) -> None:
        """An owner needs nothing more."""
        self._wanted.pop(owner, None)
        self._drop_unwanted()

    def shutdown(self) -> None:
        """Stop; the picture in flight ends unheard."""
        self._wanted.clear()
        self._rest.stop()
        self._drop_unwanted()
        self._work.shutdown()

    def _begin(self) -> None:
        if not self._rest.isActive() and self._order is None and not self._work.closed:
            self._rest.start(0)

    def _give_way(self, *_: object) -> None:
        """The main view moves: stop, and go on once it has rested."""
        if self._order is not None:
            self._order.stop.set()
        if not self._work.closed:
            self._rest.start(self._rest_ms)

    def _on_model(self, _: object) -> None:
        self._images.clear()
        self._renderer, self._rest_ms = None, REST_MS
        self._give_way()
        self.prepared.emit(self.is_prepared)

    def _on_prepared(self) -> None:
        self._begin()
        self.prepared.emit(True)

    def _drop_unwanted(self) -> None:
        order = self._order
        if order is not None and not any(order.recipe in many for many in self._wanted.values()):
            order.stop.set()

    def _next(self) -> None:
        """Start the most urgent picture, unless something stands against it."""
        loaded, rendering = self._rendering.loaded, self._rendering
        if loaded is None or not rendering.is_prepared or self._order is not None:
            return
        if rendering.busy:  # its end starts the rest again
            return
        for recipes in reversed(self._wanted.values()):
            for recipe in recipes:
                if recipe not in self._images:
                    self._order = _Order(recipe, loaded, threading.Event())
                    self._work.submit(self._order)
                    return

    def _make(self, order: _Order) -> tuple[QImage, float]:
        """In the service's thread: the picture, and how many seconds it took."""
        from stylegan3d.render.recipes import render_recipe

        known = self._renderer
        if known is None or known[0] is not order.loaded:
            on_cores(1)
            known = order.loaded, order.loaded.renderer.companion(LAYERS_KEPT)
            self._renderer = known

        def should_stop() -> bool:
            return order.stop.is_set() or self._work.closed

        rendered = render_recipe(known[1], order.recipe, "preview", should_stop)
        return picture_of(rendered.volume, order.loaded.generator), rendered.seconds

    def _on_ready(self, order: _Order, made: tuple[QImage, float]) -> None:
        image, seconds = made
        if seconds > SLOW_S:
            self._rest_ms = min(round(1000 * seconds), LONGEST_REST_MS)
        self._keep(order, image)
        if seconds > SLOW_S and not self._rest.isActive():
            self._rest.start(self._rest_ms)  # a moment in which the machine is the person's
        self._begin()

    def _on_failed(self, order: _Order, error: Exception) -> None:
        from stylegan3d.render.renderer import Cancelled

        if isinstance(error, Cancelled):
            self._order = None
            self._begin()
            return
        self._keep(order, crossed_out())
        self._begin()

    def _keep(self, order: _Order, image: QImage) -> None:
        self._order = None
        if order.loaded is not self._rendering.loaded:
            return
        self._images[order.recipe] = image
        while len(self._images) > KEPT:
            self._images.popitem(last=False)
        self.ready.emit(order.recipe, image)


def picture_of(volume: np.ndarray, generator: Generator) -> QImage:
    """An axial slice (upper left) and a coronal one through the middle, upright and radiological.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        0 outside the brain and 1 bright, on the generator's field of view at any resolution.
    generator : Generator
        Says where the voxels lie.

    Returns
    -------
    QImage
        QImage of 96 x 96 at two pixels each, grey; a millimetre is as long in all of one
        generator's.
    """
    grid = cast("tuple[int, int, int]", volume.shape)
    seen = upright(volume, generator.space.resized(grid).affine)
    data, (x_mm, y_mm, z_mm) = seen.data, seen.scale
    # Radiological: the patient's right, the end of the x axis, is on the left of the picture.
    axial = data[::-1, ::-1, data.shape[2] // 2].T
    coronal = data[::-1, data.shape[1] // 2, ::-1].T
    side = SIDE * RATIO
    lengths = [n * mm for n, mm in zip(data.shape, seen.scale, strict=True)]
    scale = side * min(BREADTH / lengths[0], 1 / lengths[1], 1 / lengths[2])
    image = QImage(side, side, QImage.Format.Format_RGB32)
    image.fill(0)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    # Where the black corners of one reach under the other, the brighter one is seen.
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Lighten)
    for slice_, row_mm, last in ((axial, y_mm, False), (coronal, z_mm, True)):
        shown = _without_margin(slice_)
        width, height = shown.shape[1] * x_mm * scale, shown.shape[0] * row_mm * scale
        corner = QPointF(side - width, side - height) if last else QPointF(0, 0)
        picture = _grey(shown)
        painter.drawImage(QRectF(corner, QSizeF(width, height)), picture, QRectF(picture.rect()))
    painter.end()
    return _finished(image)


def picture_of_scan(case: Case) -> QImage | None:
    """The middle axial slice of a case's scan as it was read, radiological; None without it."""
    if case.layer is None:
        return None
    data, meta, _kind = case.layer
    low, high = meta["contrast_limits"]
    slice_ = np.asarray(data[::-1, ::-1, data.shape[2] // 2], dtype=np.float32).T
    grey = _grey((slice_ - low) / (high - low))
    side = SIDE * RATIO
    whole = QImage(side, side, QImage.Format.Format_RGB32)
    whole.fill(0)
    rows, columns = (n * mm for n, mm in zip(slice_.shape, meta["scale"][1::-1], strict=True))
    size = QSizeF(columns, rows) * (side / max(rows, columns))
    painter = QPainter(whole)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    corner = QPointF((side - size.width()) / 2, (side - size.height()) / 2)
    painter.drawImage(QRectF(corner, size), grey, QRectF(grey.rect()))
    painter.end()
    return _finished(whole)


def _without_margin(slice_: np.ndarray) -> np.ndarray:
    """(rows, columns) without what is dark all along the borders; as it was if all is dark."""
    bright = slice_ > MARGIN_BELOW
    if not bright.any():
        return slice_
    (top, bottom), (left, right) = (np.flatnonzero(bright.any(axis))[[0, -1]] for axis in (1, 0))
    return slice_[max(top - 1, 0) : bottom + 2, max(left - 1, 0) : right + 2]


def _grey(slice_: np.ndarray) -> QImage:
    """(rows, columns) from 0, black, to 1, white."""
    levels = np.ascontiguousarray(np.clip(slice_, 0, 1) * 255, dtype=np.uint8)
    rows, columns = levels.shape
    shared = QImage(levels.data, columns, rows, columns, QImage.Format.Format_Grayscale8)
    return shared.copy()  # the array goes away


def crossed_out() -> QImage:
    """What stands for a recipe that cannot be drawn."""
    side = SIDE * RATIO
    image = QImage(side, side, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.black)
    painter = QPainter(image)
    painter.setPen(Qt.GlobalColor.lightGray)
    painter.drawLine(side // 3, side // 3, 2 * side // 3, 2 * side // 3)
    painter.drawLine(side // 3, 2 * side // 3, 2 * side // 3, side // 3)
    painter.end()
    return _finished(image)


def _finished(image: QImage) -> QImage:
    grey = image.convertToFormat(QImage.Format.Format_Grayscale8)
    grey.setDevicePixelRatio(RATIO)
    return grey


def scaled(image: QImage, side: int, ratio: float = 1.0) -> QPixmap:
    """A thumbnail for a square of `side` on a screen with `ratio` pixels per unit, not jagged."""
    pixels = round(side * ratio)
    smooth = image.scaled(
        pixels,
        pixels,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    smooth.setDevicePixelRatio(ratio)
    return QPixmap.fromImage(smooth)
