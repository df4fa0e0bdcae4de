"""Renders the current recipe: a preview first, then the full volume."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.cores import beside_the_window
from napari_stylegan3d.core.jobs import Loaded, Picture, RenderRequest
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.widgets.text import _
from stylegan3d.memory import is_out_of_memory
from stylegan3d.render.recipes import render_recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.renderer import Quality

#: A full volume that takes no longer than this needs no preview.
INSTANT_S = 0.12
#: Pause during a drag after which the full volume is rendered.
REST_MS = 200
#: After running out of memory, only previews are rendered for this long.
CRAMPED_S = 20.0
CRAMPED = _(
    "Not enough memory for the full volume; a preview is shown. Close other programs, then "
    "change anything to try again."
)


class Rendering(QObject):
    """Renders the session's recipe whenever it changes; the newest request wins."""

    shown = Signal(object, object)
    """(Recipe, Picture)"""
    failed = Signal(object)
    cramped = Signal(str)
    """There is no memory for the full volume: the sentence that says so beside the preview."""
    awaited = Signal(bool)
    """A preview is on its way, and there in a moment; whether a hand drags."""
    busyChanged = Signal(bool)
    prepared = Signal()
    """The renderer knows how to make previews; from now on others may draw beside it."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.loaded: Loaded | None = None
        self.renders: LatestWins | None = None
        self._full_s = 1.0
        self._cramped_until = 0.0
        self._warm = self.is_prepared = False
        self._last: tuple[Recipe, str] | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._submit_full)
        session.recipeChanged.connect(self._on_recipe)

    @property
    def busy(self) -> bool:
        """Whether a picture is being made."""
        return self.renders is not None and self.renders.busy

    def use(self, loaded: Loaded) -> None:
        """Switch to another model."""
        if self.renders is not None:
            self.renders.shutdown()
        self.loaded = loaded
        self.renders = LatestWins(self._render, self, urgent=True)
        self.renders.ready.connect(self._on_ready)
        self.renders.failed.connect(self._on_failed)
        self.renders.busyChanged.connect(self.busyChanged)
        self._last, self._warm, self._full_s = None, False, 1.0
        self.is_prepared = False
        self._cramped_until = 0.0

    def place(self, loaded: Loaded) -> None:
        """The same model with another affine; rendered pictures stay valid."""
        self.loaded = loaded

    def previews_ready(self, loaded: Loaded) -> None:
        """The renderer has made its first, slow preview."""
        self._warm, self.is_prepared = loaded.previews_help, True
        self.prepared.emit()

    def request(self) -> None:
        """Render the current recipe again."""
        self._last, self._cramped_until = None, 0.0
        self._on_recipe(self.session.recipe, False)

    def shutdown(self) -> None:
        """Stop; results still being computed are discarded."""
        self._rest.stop()
        if self.renders is not None:
            self.renders.shutdown()

    def _on_recipe(self, recipe: Recipe, live: bool) -> None:
        if self.renders is None or self._last == (recipe, "full"):
            return
        self._rest.stop()
        if self._is_cramped:
            self._submit(recipe, "preview")
            return
        if not self._warm or (not live and self._full_s <= INSTANT_S):
            self._submit(recipe, "full")
            return
        self._submit(recipe, "preview", live)
        if live:
            self._rest.start()

    def _render(self, request: RenderRequest) -> Picture:
        """In the renderer's thread."""
        loaded, renders = self.loaded, self.renders
        assert loaded is not None
        assert renders is not None
        # A newer recipe cancels a full volume. Previews are always finished: otherwise nothing
        # would # be seen during a drag.
        gives_way = request.quality == "full" and self._warm

        def should_stop() -> bool:
            return renders.overtaken if gives_way else renders.closed

        beside = nullcontext() if request.quality == "full" else beside_the_window()
        with beside:
            rendered = render_recipe(loaded.renderer, request.recipe, request.quality, should_stop)
            return Picture.of(rendered, loaded.generator)

    def _submit(self, recipe: Recipe, quality: Quality, live: bool = False) -> None:
        if self._last != (recipe, quality) and self.renders is not None:
            self._last = (recipe, quality)
            if quality == "preview":
                self.awaited.emit(live)
            self.renders.submit(RenderRequest(recipe, quality))

    @property
    def _is_cramped(self) -> bool:
        """Whether a full volume recently ran out of memory."""
        return time.monotonic() < self._cramped_until

    def _submit_full(self) -> None:
        self._submit(self.session.recipe, "full")

    def _on_ready(self, request: RenderRequest, picture: Picture) -> None:
        if picture.quality == "full":
            self._full_s = picture.rendered.seconds
        self.shown.emit(request.recipe, picture)
        settled = request.recipe == self.session.recipe and not self._rest.isActive()
        if picture.quality != "preview":
            return
        if self._is_cramped:
            self.cramped.emit(CRAMPED)
        elif settled:
            self._submit_full()

    def _on_failed(self, request: RenderRequest, error: Exception) -> None:
        from stylegan3d.render.renderer import Cancelled

        if isinstance(error, Cancelled):
            return
        self._last = None
        if request.quality == "full" and is_out_of_memory(error):
            self._cramped_until = time.monotonic() + CRAMPED_S
            self._submit(self.session.recipe, "preview")
            return
        self.failed.emit(error)
