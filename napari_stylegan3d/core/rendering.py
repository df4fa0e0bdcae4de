"""Renders the current recipe: a preview first, then the full volume."""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.jobs import DisplayVolume, Loaded, RenderRequest, SharpenRequest
from napari_stylegan3d.core.worker import LatestWins, beside_the_window
from napari_stylegan3d.views.display import DisplayArray, enlarge, upright
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.base import Cancelled, Progress, ScanError
from stylegan3d.memory import give_back, is_out_of_memory
from stylegan3d.render.recipes import render_recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import DisplayController
    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Recipe, Source
    from stylegan3d.render.editable import FineScan, Original
    from stylegan3d.render.renderer import Quality
    from stylegan3d.scans import AlignedScan

NOT_OPEN = (
    "The scan {name} is not open, so its detail cannot be shown: open the scan and project it, or "
    "choose Reconstruction."
)
ELSEWHERE = (
    "The scan {name} was projected with other axes or another voxel size, so its detail cannot be "
    "shown: reset them, or choose Reconstruction."
)


class Originals:
    """Finds the scan behind a projection; called in threads that render."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # What is said of a scan takes a moment to put together, and is the same for every frame.
        self._known: weakref.WeakKeyDictionary[AlignedScan, Original] = weakref.WeakKeyDictionary()

    def __call__(self, source: Source) -> Original:
        """The scan of a projection.

        Raises
        ------
        ScanError
            If it is not open in this session, or not yet.
        """
        from stylegan3d.render.editable import Original

        case = self._session.find_projected(source)
        if case is None or case.aligned is None:
            known = self._session.case_of(source)
            elsewhere = known is not None and known.aligned is not None
            words = ELSEWHERE if elsewhere else NOT_OPEN
            raise ScanError(words.format(name="" if known is None else known.name))
        if case.aligned not in self._known:
            self._known[case.aligned] = Original.of(case.aligned)
        return self._known[case.aligned]


#: A full volume that takes no longer than this needs no preview.
INSTANT_S = 0.12
#: Pause during a drag after which the full volume is rendered.
REST_MS = 200
#: Number of full volumes kept, to switch between the edited scan and the model's brain at once.
KEPT = 2
#: After running out of memory, only previews are rendered for this long.
CRAMPED_S = 20.0
CRAMPED = (
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
        self._kept: OrderedDict[Recipe, DisplayVolume] = OrderedDict()
        self._rest = single_shot(self, self._submit_full, REST_MS)
        session.recipeChanged.connect(self._on_recipe)
        session.lookChanged.connect(self._on_look)
        session.caseChanged.connect(self._on_case)
        #: The point through which all is sliced that the views show; None if they show more.
        self.sliced_at: Callable[[], tuple[float, float, float] | None] = lambda: None
        self._planes_only = False
        #: Whether the scan whose detail is shown is still being read.
        self._waits = False

    @property
    def busy(self) -> bool:
        """Whether a picture is being made."""
        return self.renders is not None and self.renders.busy

    def use(self, loaded: Loaded) -> None:
        """Switch to another model."""
        from stylegan3d.render.editable import Details

        if self.renders is not None:
            self.renders.shutdown()
        self.loaded = loaded
        loaded.renderer.details = Details(Originals(self.session))
        self.renders = LatestWins(self._render, self, urgent=True)
        self.renders.ready.connect(self._on_ready)
        self.renders.failed.connect(self._on_failed)
        self.renders.busyChanged.connect(self.busyChanged)
        self._last, self._warm, self._full_s = None, False, 1.0
        self._kept.clear()
        self.is_prepared = False
        self._cramped_until = 0.0

    def place(self, loaded: Loaded) -> None:
        """The same model with another affine; the picture shown stays valid."""
        self.loaded = loaded
        self._kept.clear()

    def previews_ready(self, loaded: Loaded) -> None:
        """The renderer has made its first, slow preview."""
        self._warm, self.is_prepared = loaded.previews_help, True
        self.prepared.emit()

    def request(self) -> None:
        """Render the current recipe again."""
        self._last, self._cramped_until = None, 0.0
        self._kept.clear()
        self._on_look()

    def _on_look(self) -> None:
        """Another picture is shown, which may need another volume of the same recipe."""
        self._on_recipe(self.session.recipe, False)

    def _on_case(self) -> None:
        """Render once the scan has been read, or has failed to be."""
        if self._waits:
            self._on_look()

    def _is_read(self, recipe: Recipe) -> bool:
        """Whether the scan whose detail a recipe shows is being read, in a restored session."""
        detail, case = recipe.worn_detail, self.session.case
        if detail is None or case is None or not case.is_of(detail.source):
            return False
        return case.scan is None and case.choice is not None and not case.problem

    def _on_recipe(self, _: Recipe | None, live: bool) -> None:
        recipe = self._wanted
        if self.renders is None or self._last == (recipe, "full"):
            return
        self._rest.stop()
        if recipe is None:  # a scan that was not projected: what is being drawn is not waited for
            self._last = None
            return
        self._waits = self._is_read(recipe)
        if self._waits:
            self._last = None
            return
        if recipe in self._kept:
            self._last = recipe, "full"
            # After all listeners have received the recipe, as with a rendered picture.
            QTimer.singleShot(0, partial(self._show_kept, recipe))
            return
        if self._is_cramped:
            self._submit(recipe, "preview")
            return
        # A slider that is let go where it rests changes nothing, and its preview is there already.
        previewed = self._last == (recipe, "preview") and not self.busy
        if not self._warm or (not live and (previewed or self._full_s <= INSTANT_S)):
            self._submit(recipe, "full")
            return
        self._submit(recipe, "preview", live)
        if live:
            self._rest.start()

    def _render(self, request: RenderRequest) -> DisplayVolume:
        """In the renderer's thread."""
        loaded, renders = self.loaded, self.renders
        assert loaded is not None
        assert renders is not None
        # A newer recipe cancels a full volume. Previews are always finished: otherwise nothing
        # would be seen during a drag.
        gives_way = request.quality == "full" and self._warm

        progress = Progress(cancelled=lambda: renders.overtaken if gives_way else renders.closed)
        beside = nullcontext() if request.quality == "full" else beside_the_window()
        with beside:
            rendered = render_recipe(
                loaded.renderer, request.recipe, request.quality, progress, request.through
            )
            return DisplayVolume.of(rendered, loaded.generator)

    def _submit(self, recipe: Recipe | None, quality: Quality, live: bool = False) -> None:
        if recipe is None:
            return
        if self._last != (recipe, quality) and self.renders is not None:
            self._last = (recipe, quality)
            if quality == "preview":
                self.awaited.emit(live)
            shown = self.session.state
            flat = live and shown.what == "recipe" and shown.comparison == "off"
            self.renders.submit(RenderRequest(recipe, quality, self.sliced_at() if flat else None))

    def slice_elsewhere(self) -> None:
        """The views show other slices: draw them, if the picture has only those of before.

        A full volume that is being made waits: until it is there, the other slices are not edited.
        """
        if self._planes_only and self._last is not None and self._last[0] == self._wanted:
            self._last = None
            self._submit(self._wanted, "preview", True)

    @property
    def _is_cramped(self) -> bool:
        """Whether a full volume recently ran out of memory."""
        return time.monotonic() < self._cramped_until

    def _show_kept(self, recipe: Recipe) -> None:
        if self._last == (recipe, "full") and recipe in self._kept:
            self._kept.move_to_end(recipe)
            self._planes_only = False
            self.shown.emit(recipe, self._kept[recipe])

    @property
    def _wanted(self) -> Recipe | None:
        """The recipe to render; None for a scan that was not projected."""
        return self.session.state.drawn

    def _submit_full(self) -> None:
        self._submit(self._wanted, "full")

    def _on_ready(self, request: RenderRequest, picture: DisplayVolume) -> None:
        if picture.quality == "full":
            self._full_s = picture.rendered.seconds
            self._kept[request.recipe] = picture
            wanted = self._wanted
            if (
                wanted is not None and wanted in self._kept
            ):  # it may be about to be shown: the last to be dropped
                self._kept.move_to_end(wanted)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        if self._wanted is None:
            return
        settled = request.recipe == self._wanted and not self._rest.isActive()
        if not settled and self._last == (self._wanted, "full") and self._wanted in self._kept:
            return  # a kept picture of the newest recipe is shown already
        self._planes_only = picture.rendered.through is not None
        self.shown.emit(request.recipe, picture)
        if picture.quality != "preview":
            return
        if self._planes_only and request.through != self.sliced_at():
            self.slice_elsewhere()
        if self._is_cramped:
            self.cramped.emit(CRAMPED)
        elif settled:
            self._submit_full()

    def _on_failed(self, request: RenderRequest, error: Exception) -> None:

        if isinstance(error, Cancelled):
            return
        self._last = None
        if request.quality == "full" and is_out_of_memory(error):
            self._cramped_until = time.monotonic() + CRAMPED_S
            self._submit(self._wanted, "preview")
            return
        self.failed.emit(error)


#: Pause after which the picture is made sharp.
SHARP_REST_MS = 120


class SharpenController(QObject):
    """Works in a thread of low priority, and gives way to every newer picture."""

    failed = Signal(object)

    def __init__(
        self, comparison: DisplayController, rendering: Rendering, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._comparison, self._rendering = comparison, rendering
        self._fine: tuple[weakref.ref[AlignedScan], FineScan] | None = None
        self._work = LatestWins(self._sharpen, self)
        self._work.ready.connect(self._on_ready)
        self._work.failed.connect(self._on_failed)
        self._rest = single_shot(self, self._begin)
        comparison.viewChanged.connect(self._on_view)

    @property
    def busy(self) -> bool:
        """Whether a sharp picture is about to be shown."""
        return self._work.busy or self._rest.isActive()

    def _on_view(self, _view: str) -> None:
        if self._comparison.unsharp is None:
            self._rest.stop()
        else:
            self._rest.start(SHARP_REST_MS)

    def _begin(self) -> None:
        if self._rendering.busy:
            self._rest.start(SHARP_REST_MS)
        elif (unsharp := self._comparison.unsharp) is not None:
            self._work.submit(unsharp)

    def _sharpen(self, unsharp: SharpenRequest) -> DisplayArray | None:
        """In the thread."""
        from stylegan3d.render.editable import FineScan

        known = None if self._fine is None else self._fine[0]()
        if self._fine is None or known is not unsharp.aligned:
            self._fine = None  # before the next one is made: two take more memory
            self._fine = weakref.ref(unsharp.aligned), FineScan(unsharp.aligned)
            _ = self._fine[1].unedited
            give_back()
        fine = self._fine[1]
        if fine.space is unsharp.aligned.space:
            return None
        if unsharp.movement is None:
            data = fine.unedited
        else:
            data = fine.edited(unsharp.movement, Progress(cancelled=lambda: self._work.overtaken))
        if unsharp.strength < 1 and unsharp.volume is not None:
            # The picture on the model's grid, and the share of what is finer.
            coarse = enlarge(data, unsharp.volume.shape, "area")
            data = enlarge(unsharp.volume, data.shape) + np.float32(unsharp.strength) * (
                data - enlarge(coarse, data.shape)
            )
        return upright(data, fine.space.affine)

    def _on_ready(self, unsharp: SharpenRequest, shown: DisplayArray | None) -> None:
        if shown is not None:
            self._comparison.sharpen(unsharp.picture, shown)

    def _on_failed(self, _unsharp: SharpenRequest, error: Exception) -> None:
        """Without memory for it the picture stays as it is."""
        if isinstance(error, Cancelled):
            return
        self._fine = None
        if not is_out_of_memory(error):
            self.failed.emit(error)
