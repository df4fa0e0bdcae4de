"""Thumbnails of recipes, rendered in the background for all panels.

One thread renders them with its own renderer, one at a time, and only while the main view is idle.
It uses one core at low priority: with as many threads as cores, every step would wait for cores
that the window uses.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from qtpy.QtCore import QObject, QPointF, QRectF, QSize, QSizeF, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPainter, QPixmap
from qtpy.QtWidgets import QToolButton

from napari_stylegan3d.core.jobs import LAYERS_KEPT
from napari_stylegan3d.core.worker import LatestWins, Newest, on_cores
from napari_stylegan3d.views.display import upright
from napari_stylegan3d.widgets.controls import painting, single_shot
from stylegan3d.base import Cancelled, Progress
from stylegan3d.pages.shortening import elided

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import DisplayVolume, Loaded
    from napari_stylegan3d.core.rendering import Rendering
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.renderer import Quality, Renderer
    from stylegan3d.session.case import Case

#: Side in device-independent pixels, and physical pixels per such pixel.
SIDE, RATIO = 96, 2
#: Width of the field of view as a share of the side: two slices then fit on the diagonal without
#: touching.
BREADTH = 0.66
#: Threshold of the margin; white is 1.
MARGIN_BELOW = 0.1
#: Maximum number of cached pictures; one takes 36 KiB.
KEPT = 600
#: Idle time of the main view before a picture is started, in ms.
REST_MS = 150
#: A picture that takes longer is followed by a pause of the same length, at most LONGEST_REST_MS.
SLOW_S = 0.5
LONGEST_REST_MS = 3000
#: Idle time before previews are replaced by pictures of the full volume, in ms; a model that takes
#: longer than SHARP_S for one keeps its previews.
SHARPEN_MS = 1000
SHARP_S = 10.0


@dataclass(frozen=True, eq=False)
class _Order:
    """A requested picture, and whether it is still needed."""

    recipe: Recipe
    loaded: Loaded
    stop: threading.Event
    quality: Quality = "preview"


class Thumbnails(QObject):
    """Renders thumbnails, yielding to the main view.

    All that are wanted are rendered at preview quality first. Then each is replaced by one of the
    full volume, as sharp as the brain it stands for; that of the main view costs nothing.

    A recipe that cannot be rendered (say, its latent file is missing) gets a crossed-out picture.
    """

    #: (Recipe, QImage) each time one is finished
    ready = Signal(object, object)
    #: Whether the model is ready for them; another one is not yet.
    prepared = Signal(bool)

    def __init__(
        self, session: Session, rendering: Rendering, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._rendering = session, rendering
        self._images: Newest[Recipe, QImage] = Newest(KEPT)
        self._wanted: dict[str, tuple[Recipe, ...]] = {}
        #: Recipes whose pictures are of the full volume, or cannot be made.
        self._sharp: set[Recipe] = set()
        #: Those that could not be made.
        self._lost: set[Recipe] = set()
        self._sharpens = True
        #: Whether nobody has changed anything since the last of them was begun.
        self._calm = False
        self._order: _Order | None = None
        self._renderer: tuple[Loaded, Renderer] | None = None
        self._rest_ms = REST_MS
        self._work = LatestWins(self._make, self, self._on_ready, self._on_failed)
        self._rest = single_shot(self, self._next)
        self._idle = single_shot(self, self._sharpen)
        session.recipeChanged.connect(self._give_way)
        session.modelChanged.connect(self._on_model)
        session.caseChanged.connect(self._try_again)
        rendering.busyChanged.connect(self._give_way)
        rendering.prepared.connect(self._on_prepared)
        rendering.shown.connect(self._on_shown)

    def image(self, recipe: Recipe) -> QImage | None:
        """The cached picture of a recipe, if any; see `picture_of`."""
        return self._images.get(recipe)

    @property
    def is_prepared(self) -> bool:
        """Whether the model is ready for thumbnails."""
        return self._rendering.is_prepared

    @property
    def is_finished(self) -> bool:
        """Whether all that is wanted has its picture, as sharp as it will be."""
        there = self._sharp if self._sharpens else self._images
        return all(one in there for some in self._wanted.values() for one in some)

    def want(self, owner: str, recipes: Sequence[Recipe]) -> None:
        """Set the recipes an owner needs, most urgent first, replacing its earlier request.

        `ready` is emitted for each that was not cached. The owner that asked last has priority.
        """
        self._wanted.pop(owner, None)
        # No more than fit in the cache: otherwise the first would be evicted and rendered again.
        self._wanted[owner] = tuple(recipes)[:KEPT]
        self._drop_unwanted()
        self._begin()

    def drop(self, owner: str) -> None:
        """Cancel an owner's request."""
        self._wanted.pop(owner, None)
        self._drop_unwanted()

    def _begin(self) -> None:
        if not self._rest.isActive() and self._order is None and not self._work.closed:
            self._rest.start(0)

    def _give_way(self, *_: object) -> None:
        """Stop while the main view changes; resume once it is idle."""
        if self._order is not None:
            self._order.stop.set()
        self._idle.stop()
        self._calm = False
        if not self._work.closed:
            self._rest.start(self._rest_ms)

    def _on_model(self, _: object) -> None:
        self._images.clear()
        self._sharp.clear()
        self._sharpens = True
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
        """Start the most urgent picture, if possible."""
        if not self._submit("preview", self._images) and self._sharpens:
            self._idle.start(0 if self._calm else SHARPEN_MS)

    def _sharpen(self) -> None:
        """Start the most urgent picture of a full volume, if there is no other work."""
        if not self._rest.isActive():
            self._calm = True
            self._submit("full", self._sharp)

    def _submit(self, quality: Quality, there: Container[Recipe]) -> bool:
        """Start the most urgent picture that is not there yet; whether something is under way."""
        loaded, rendering = self._rendering.loaded, self._rendering
        if loaded is None or not rendering.is_prepared or self._order is not None:
            return True
        if rendering.busy:  # its end restarts the timer
            return True
        for recipes in reversed(self._wanted.values()):
            for recipe in recipes:
                if recipe not in there and self._session.awaited(recipe) is None:
                    self._order = _Order(recipe, loaded, threading.Event(), quality)
                    self._work.submit(self._order)
                    return True
        return False

    def _make(self, order: _Order) -> tuple[QImage, float]:
        """Render in the worker thread: the picture and the seconds it took."""
        from stylegan3d.render.recipes import render_recipe

        known = self._renderer
        if known is None or known[0] is not order.loaded:
            on_cores(1)
            known = order.loaded, order.loaded.renderer.companion(LAYERS_KEPT)
            self._renderer = known

        progress = Progress(cancelled=lambda: order.stop.is_set() or self._work.closed)
        rendered = render_recipe(known[1], order.recipe, order.quality, progress)
        return picture_of(rendered.volume, order.loaded.generator), rendered.seconds

    def _on_ready(self, order: _Order, made: tuple[QImage, float]) -> None:
        image, seconds = made
        if order.quality == "full" and seconds > SHARP_S:
            self._sharpens = False
        if seconds > SLOW_S:
            self._rest_ms = min(round(1000 * seconds), LONGEST_REST_MS)
        self._keep(order, image)
        if seconds > SLOW_S and not self._rest.isActive():
            self._rest.start(self._rest_ms)  # leave the machine to the user for a moment
        self._begin()

    def _on_failed(self, order: _Order, error: Exception) -> None:
        if isinstance(error, Cancelled):
            self._order = None
        else:
            self._keep(order, crossed_out())
            self._sharp.add(order.recipe)
            self._lost.add(order.recipe)
        self._begin()

    def _try_again(self) -> None:
        """The scan whose detail is shown may have been read and aligned meanwhile."""
        for recipe in self._lost:
            self._images.pop(recipe, None)
        self._sharp -= self._lost
        self._lost.clear()
        self._begin()

    def _keep(self, order: _Order, image: QImage) -> None:
        self._order = None
        if order.loaded is self._rendering.loaded:
            self._show(order.recipe, image, sharp=order.quality == "full")

    def _show(self, recipe: Recipe, image: QImage, *, sharp: bool) -> None:
        self._images[recipe] = image
        if sharp:
            self._sharp.add(recipe)
        self._sharp.intersection_update(self._images)
        self.ready.emit(recipe, image)

    def _on_shown(self, recipe: Recipe, picture: DisplayVolume) -> None:
        """The main view has the full volume of a recipe: no need to render it again."""
        loaded = self._rendering.loaded
        if (
            loaded is not None
            and picture.quality == "full"
            and recipe.detail is None
            and recipe not in self._sharp
            and any(recipe in many for many in self._wanted.values())
        ):
            self._show(recipe, picture_of(picture.rendered.volume, loaded.generator), sharp=True)


def picture_of(volume: np.ndarray, generator: Generator) -> QImage:
    """Axial (upper left) and coronal slice through the centre, upright and radiological.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        0 outside the brain, 1 bright; in the generator's field of view at any resolution.
    generator : Generator
        Gives the affine.

    Returns
    -------
    QImage
        96 x 96 at two pixels each, grey; all pictures of one generator have the same scale.
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
    with painting(image, smooth=False) as painter:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        # Where they overlap in black corners, the brighter one is drawn.
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Lighten)
        for slice_, row_mm, last in ((axial, y_mm, False), (coronal, z_mm, True)):
            shown = _without_margin(slice_)
            width, height = shown.shape[1] * x_mm * scale, shown.shape[0] * row_mm * scale
            corner = QPointF(side - width, side - height) if last else QPointF(0, 0)
            picture = _grey(shown)
            painter.drawImage(
                QRectF(corner, QSizeF(width, height)), picture, QRectF(picture.rect())
            )
    return _finished(image)


def picture_of_scan(case: Case) -> QImage | None:
    """The central axial slice of a case's original scan, radiological; None without a scan."""
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
    with painting(whole, smooth=False) as painter:
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        corner = QPointF((side - size.width()) / 2, (side - size.height()) / 2)
        painter.drawImage(QRectF(corner, size), grey, QRectF(grey.rect()))
    return _finished(whole)


def _without_margin(slice_: np.ndarray) -> np.ndarray:
    """(rows, columns) cropped to non-dark content; unchanged if all dark."""
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
    return shared.copy()  # QImage does not own the array


def crossed_out() -> QImage:
    """Placeholder for a recipe that cannot be rendered."""
    side = SIDE * RATIO
    image = QImage(side, side, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.black)
    with painting(image, smooth=False) as painter:
        painter.setPen(Qt.GlobalColor.lightGray)
        painter.drawLine(side // 3, side // 3, 2 * side // 3, 2 * side // 3)
        painter.drawLine(side // 3, 2 * side // 3, 2 * side // 3, side // 3)
    return _finished(image)


def _finished(image: QImage) -> QImage:
    grey = image.convertToFormat(QImage.Format.Format_Grayscale8)
    grey.setDevicePixelRatio(RATIO)
    return grey


def scaled(image: QImage, side: int, ratio: float = 1.0) -> QPixmap:
    """A thumbnail smoothly scaled to `side` on a screen with device pixel ratio `ratio`."""
    pixels = round(side * ratio)
    smooth = image.scaled(
        pixels,
        pixels,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    smooth.setDevicePixelRatio(ratio)
    return QPixmap.fromImage(smooth)


#: For pictures, in ASCII.
SYNTHETIC = "Synthetic - not for diagnosis"
#: Pictures are on black in any theme.
STYLE = """
QToolButton { background: black; border: 2px solid transparent; border-radius: 4px; padding: 0; }
QToolButton { color: #e8eaed; }
QToolButton:hover, QToolButton:focus { border-color: #8fa3b0; background: black; }
QToolButton:checked { border-color: #ffb74d; }
"""


class PictureButton(QToolButton):
    """A square button with the picture of a recipe; black until rendered.

    Parameters
    ----------
    name, tip : str
        Qt object name and tooltip.
    side : int
        Side length of the picture.
    """

    def __init__(self, name: str, tip: str, side: int) -> None:
        super().__init__()
        self.recipe: Recipe | None = None
        self.side = side
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        self.setIconSize(QSize(side, side))
        self.setFixedSize(side + 4, side + 4)
        self.setStyleSheet(STYLE)

    def show_picture(self, picture: QPixmap | None) -> None:
        """Show a picture, or nothing."""
        self.setIcon(QIcon(picture) if picture is not None else QIcon())

    def set_caption(self, caption: str) -> None:
        """Write as much of a name as there is room for under the picture."""
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        self.setText(elided(caption, self.fontMetrics(), self.side))
        self.setFixedHeight(self.side + 4 + self.fontMetrics().height() + 4)


class Gallery(QObject):
    """Requests thumbnails for buttons and shows them when ready.

    Parameters
    ----------
    owner : str
        Name for `Thumbnails.want`.
    """

    def __init__(self, thumbnails: Thumbnails, owner: str, parent: QObject) -> None:
        super().__init__(parent)
        self.thumbnails, self.owner = thumbnails, owner
        self._buttons: dict[PictureButton, Recipe] = {}
        thumbnails.ready.connect(self._on_ready)

    @property
    def missing(self) -> int:
        """Number of pictures not rendered yet."""
        return sum(self.thumbnails.image(recipe) is None for recipe in self._buttons.values())

    def show(self, buttons: Mapping[PictureButton, Recipe]) -> None:
        """Show these recipes, most urgent first, instead of the previous ones.

        A button keeps its old picture until the new one is ready.
        """
        self._buttons = dict(buttons)
        for button, recipe in self._buttons.items():
            button.recipe = recipe
            self._put(button)
        if self._buttons:
            self.thumbnails.want(self.owner, list(dict.fromkeys(self._buttons.values())))

    def stop(self) -> None:
        """Cancel requests; the buttons are hidden."""
        self._buttons = {}
        self.thumbnails.drop(self.owner)

    def _on_ready(self, recipe: Recipe, _image: object) -> None:
        for button, wanted in self._buttons.items():
            if wanted == recipe:
                self._put(button)

    def _put(self, button: PictureButton) -> None:
        image = self.thumbnails.image(self._buttons[button])
        if image is not None:
            button.show_picture(scaled(image, button.side, button.devicePixelRatioF()))
