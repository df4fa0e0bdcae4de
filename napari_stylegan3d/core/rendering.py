"""Renders the current recipe, a preview first, and decides what the views show."""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.core.jobs import (
    DerivedVolume,
    DisplayVolume,
    Loaded,
    RenderRequest,
    SharpenRequest,
    placed,
)
from napari_stylegan3d.core.worker import LatestWins, Newest, beside_the_window
from napari_stylegan3d.views.display import DisplayArray, enlarge, upright
from napari_stylegan3d.views.layers import Outline
from napari_stylegan3d.widgets.controls import single_shot
from stylegan3d.base import Cancelled, Progress, ScanError
from stylegan3d.memory import is_out_of_memory
from stylegan3d.pages.shortening import told_apart
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.render.recipes import render_recipe
from stylegan3d.session.provenance import (
    NAME_LENGTH,
    Kind,
    Provenance,
    provenance_of,
    provenance_of_scan,
    provenance_of_state,
)
from stylegan3d.session.state import FOLLOWING

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.views.stage import Stage
    from stylegan3d.render.editable import FineScan, Original
    from stylegan3d.render.renderer import Quality
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.case import Case
    from stylegan3d.session.workspace import StateChange

NOT_OPEN = (
    "The scan {name} is not open, so its detail cannot be shown: open the scan and project it, or "
    "choose Reconstruction or Undo."
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
#: Where the full volume takes longer, the 3D view does not wait for it.
SOON_S = 2.0
#: Pause during a drag after which the full volume is rendered.
REST_MS = 400
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

    #: (Recipe, DisplayVolume)
    shown = Signal(object, object)
    failed = Signal(object)
    #: There is no memory for the full volume: the sentence that says so beside the preview.
    cramped = Signal(str)
    #: A preview is on its way, and there in a moment; whether a hand drags.
    awaited = Signal(bool)
    busyChanged = Signal(bool)
    #: The renderer knows how to make previews; from now on others may draw beside it.
    prepared = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.loaded: Loaded | None = None
        self.renders: LatestWins | None = None
        self._full_s = 1.0
        self._cramped_until = 0.0
        self._warm = self.is_prepared = False
        self._last: tuple[Recipe, str] | None = None
        self._kept: Newest[Recipe | None, DisplayVolume] = Newest(KEPT)
        self._rest = single_shot(self, self._submit_full, REST_MS)
        session.recipeChanged.connect(self._on_recipe)
        session.lookChanged.connect(self._on_look)
        session.caseChanged.connect(self._on_case)
        session.closing.connect(lambda _: self._kept.clear())  # some may show the patient's scan
        #: The point through which all is sliced that the views show; None if they show more.
        self.sliced_at: Callable[[], tuple[float, float, float] | None] = lambda: None
        self._planes_only = False
        #: The point for which the newest preview was requested.
        self._through: tuple[float, float, float] | None = None
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
        self.renders = LatestWins(self._render, self, self._on_ready, self._on_failed, urgent=True)
        self.renders.busyChanged.connect(self.busyChanged)
        # The first picture is a preview, too, if one needs no preparation.
        self._last, self._full_s = None, 1.0
        self._warm = loaded.renderer.preview_level != -1
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
        wanted = self._wanted
        if wanted is not None and self.session.awaited(wanted) is not None:  # it has been found
            self._last, self._waits = None, True
        if self._waits:
            self._on_look()

    def _on_recipe(self, _: Recipe | None, live: bool) -> None:
        recipe = self._wanted
        if self.renders is None or self._last == (recipe, "full"):
            return
        self._rest.stop()
        self._waits = recipe is not None and self.session.awaited(recipe) is not None
        # Of a scan that was not projected, what is being drawn is not waited for.
        if recipe is None or self._waits:
            self._last = None
            return
        if recipe in self._kept:
            self._last = recipe, "full"
            # After all listeners have received the recipe, as with a rendered picture.
            QTimer.singleShot(0, partial(self._show_kept, recipe))
            return
        if self.is_cramped:
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
            seen = request.through if self._full_s < SOON_S else None
            return DisplayVolume.of(rendered, loaded.generator, seen)

    def _submit(self, recipe: Recipe | None, quality: Quality, live: bool = False) -> None:
        if recipe is None:
            return
        if self._last != (recipe, quality) and self.renders is not None:
            self._last = (recipe, quality)
            if quality == "preview":
                self.awaited.emit(live)
            shown = self.session.state
            flat = live and shown.what == "recipe" and shown.comparison == "off"
            through = self.sliced_at() if flat else None
            if quality == "preview":
                self._through = through
            self.renders.submit(RenderRequest(recipe, quality, through))

    def slice_elsewhere(self) -> None:
        """The views show other slices: draw them, if the picture has only those of before.

        A full volume that is being made waits: until it is there, the other slices are not edited.
        """
        elsewhere = self._planes_only and self._through != self.sliced_at()
        if elsewhere and self._last is not None and self._last[0] == self._wanted:
            self._last = None
            self._submit(self._wanted, "preview", True)

    @property
    def is_cramped(self) -> bool:
        """Whether a full volume recently ran out of memory."""
        return time.monotonic() < self._cramped_until

    def _show_kept(self, recipe: Recipe) -> None:
        if self._last == (recipe, "full") and recipe in self._kept:
            self._planes_only = False
            self.shown.emit(recipe, self._kept.get(recipe))

    @property
    def _wanted(self) -> Recipe | None:
        """The recipe to render; None for a scan that was not projected."""
        return self.session.state.drawn

    def _submit_full(self) -> None:
        self._submit(self._wanted, "full")

    def _on_ready(self, request: RenderRequest, picture: DisplayVolume) -> None:
        assert self.loaded is not None
        picture = placed(picture, self.loaded.generator)  # whose axes may have changed meanwhile
        if picture.quality == "full":
            self._full_s = picture.rendered.seconds
            self._kept.get(self._wanted)  # it may be about to be shown: the last to be dropped
            self._kept[request.recipe] = picture
        if self._wanted is None:
            return
        settled = request.recipe == self._wanted and not self._rest.isActive()
        if not settled and self._last == (self._wanted, "full") and self._wanted in self._kept:
            return  # a kept picture of the newest recipe is shown already
        self._planes_only = picture.rendered.through is not None
        self.shown.emit(request.recipe, picture)
        if picture.quality != "preview":
            return
        self.slice_elsewhere()
        if self.is_cramped:
            self.cramped.emit(CRAMPED)
        elif settled:
            self._submit_full()

    def _on_failed(self, request: RenderRequest, error: Exception) -> None:
        if isinstance(error, Cancelled) or request.recipe != self._wanted:
            return
        self._last = None
        if request.quality == "full" and is_out_of_memory(error):
            self._cramped_until = time.monotonic() + CRAMPED_S
            self._submit(self._wanted, "preview")
            return
        self._last = request.recipe, "full"  # another recipe is tried, this one when asked to
        self.failed.emit(error)


#: Pause after which the picture is made sharp.
SHARP_REST_MS = 120


class SharpenController(QObject):
    """Works in a thread of low priority, and gives way to every newer picture."""

    def __init__(
        self, comparison: DisplayController, rendering: Rendering, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._comparison, self._rendering = comparison, rendering
        self._fine: tuple[weakref.ref[AlignedScan], FineScan] | None = None
        self._work = LatestWins(self._sharpen, self, self._on_ready, self._on_failed)
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
            self._comparison.session.messages.fail(error, "rendering")


P = TypeVar("P", bound=Provenance)


class DisplayController(QObject):
    """Holds the newest picture, and draws it or the case's scan according to `State.what`.

    Views are those of `What`, except for the current recipe's own picture: "edited" with the detail
    of a scan, "model" for a projected scan without, "" for a random brain. "filled" is drawn by
    another object whenever `pictured` is emitted.
    """

    viewChanged = Signal(str)
    #: There is a newer picture to fill the scan in with.
    pictured = Signal()
    #: The case's scan lies elsewhere in the model's space, or is to be aligned anew.
    placedChanged = Signal()

    def __init__(self, session: Session, stage: Stage) -> None:
        super().__init__(session)
        self.session = session
        self.stage = stage
        self.picture: DisplayVolume | None = None
        self.recipe: Recipe | None = None
        #: The volume of the view "painted".
        self.painted: DerivedVolume | None = None
        #: That of the view "filled"; None until there is one of the newest picture.
        self.filled: DerivedVolume | None = None
        #: The latest pictures with voxels of the scan's size, by what they are shown as.
        self._sharp: list[tuple[object, DisplayArray]] = []
        self._placed: AlignedScan | None = None
        self._scan: object = None
        self._outlined = True
        #: Changes the caption of the current brain, such as to mark it as B.
        self.mark: Callable[[Provenance], Provenance] = lambda provenance: provenance
        self.outline = Outline(stage.viewer)
        session.changed.connect(self._on_change)

    @property
    def view(self) -> str:
        """Which picture is shown."""
        what = self.session.state.what
        if what == "search":
            return "model"
        if what != "recipe" or self.recipe is None:
            return "" if what == "recipe" else what
        if self.recipe.detail is not None:
            return "edited"
        return "model" if self.recipe.source.kind == "projected" else ""

    @property
    def is_picture(self) -> bool:
        """Whether the newest picture itself is shown, and not a map computed from it."""
        return self.view in ("", "edited", "model")

    @property
    def bare(self) -> AlignedScan | None:
        """The aligned scan of a patient who was not projected: it is compared as it is."""
        unprojected = self.session.recipe is None and self.view == "scan"
        return self.session.placed if unprojected else None

    @property
    def is_comparable(self) -> bool:
        """Whether what is shown can be B."""
        return self.is_picture or self.bare is not None

    @property
    def is_current(self) -> bool:
        """Whether the newest picture is the full volume of what is shown, wherever latents lie."""
        drawn = self.session.state.drawn
        if self.recipe is None or drawn is None or self.is_preview:
            return False
        return self.recipe.with_paths(by_content) == drawn.with_paths(by_content)

    @property
    def is_preview(self) -> bool:
        """Whether the newest picture is a preview."""
        return self.picture is not None and self.picture.quality == "preview"

    @property
    def placed(self) -> tuple[str, AlignedScan] | None:
        """Name of the case and its aligned scan, once aligned."""
        case, placed = self.session.case, self.session.placed
        return None if case is None or placed is None else (case.name, placed)

    def share_above(self, brightness: float) -> float:
        """Share of the newest picture's voxels at or above a brightness; 1 is usual white."""
        if self.picture is None:
            return 0.0
        return float(np.mean(self.picture.rendered.volume >= brightness))

    def set_picture(self, recipe: Recipe, picture: DisplayVolume) -> None:
        """Take a rendered recipe; show it unless another view is open.

        The picture of another subject, which comes late, is nothing to be seen.
        """
        session = self.session
        if session.recipe is None or session.key_of(recipe) != session.key:
            return
        self.recipe, self.picture = recipe, picture
        if self.session.state.what not in ("scan", "unusual", "painted", "search"):
            self._draw(passing=True)

    def forget(self) -> None:
        """Another model or subject: nothing is made of it yet."""
        self.outline.hide()
        self.picture, self.recipe = None, None
        self.painted = self.filled = None
        self._sharp.clear()

    def blank(self) -> None:
        """No picture, until another is drawn."""
        self.forget()
        self.stage.blank()
        self.viewChanged.emit(self.view)

    def _on_change(self, change: StateChange) -> None:
        """Nothing of a subject stays on the screen when another one comes, or it lies elsewhere."""
        if change.another_subject:
            self.blank()
        case, placed = self.session.case, self.session.placed
        scan = None if case is None else case.scan
        elsewhere = placed is not self._placed or scan is not self._scan
        self._placed, self._scan = placed, scan
        if "look" in change.parts or (elsewhere and change.now.what == "scan"):
            if change.now.what == "filled" != change.before.what:
                self.stage.blank()  # to fill it in takes a while
            self._draw()
        if elsewhere:
            self.placedChanged.emit()

    def place(self, picture: DisplayVolume) -> None:
        """The current picture has the same voxels with another affine."""
        self.picture = picture
        self.show_brain()

    def show_brain(self) -> None:
        """Show the newest picture itself; draw it again if it is shown already."""
        self.session.look(self.session.state.what if self.is_picture else "recipe")

    def show_painted(self, painted: DerivedVolume) -> None:
        """Show a brain generated from labels, the one before, or their difference."""
        self.painted = painted
        self.session.look("painted")

    def show_filled(self, case: Case, volume: np.ndarray) -> None:
        """Show the filled-in scan of a case, while that view is open."""
        if case is self.session.result and self.session.state.what == "filled":
            told = Provenance("edited", case.name, f"{case.filled.what} by the model")
            self.filled = DerivedVolume("", told, volume, case.aligned)
            self._show_volume(told, volume)

    def show_search(self, case: Case, kind: Kind, volume: np.ndarray) -> None:
        """Show the intermediate result of a projection, unless another case is shown."""
        if self.session.key != case.key or self.session.state.what not in ("scan", "search"):
            return
        if self.session.state.what != "search":
            self.session.look("search")
        self._show_volume(Provenance(kind, case.name), volume)

    @property
    def unsharp(self) -> SharpenRequest | None:
        """What is shown of a scan on the model's grid; None if it is nothing that could be sharper.

        Brains that are compared stay on one grid.
        """
        found = self.of_a_scan
        if found is None or self.session.state.comparison != "off":
            return None
        return None if self._sharp_of(found.picture) is not None else found

    @property
    def of_a_scan(self) -> SharpenRequest | None:
        """The scan that is shown, and what was done to it."""
        view = self.view
        if view == "painted":
            return None if self.painted is None else self.painted.scan
        if view == "scan" and (placed := self.session.placed) is not None:
            return SharpenRequest(placed, placed)
        if view == "unusual" and (case := self.session.result) is not None and case.aligned:
            return SharpenRequest(case.aligned, case.aligned)
        return self.of_picture if view == "edited" else None

    @property
    def of_picture(self) -> SharpenRequest | None:
        """The scan in the newest picture, whatever is shown; None for a model's brain."""
        picture, recipe = self.picture, self.recipe
        if picture is None or recipe is None or picture.quality != "full":
            return None
        detail = recipe.worn_detail
        case = None if detail is None else self.session.find_projected(detail.source)
        if detail is None or case is None or case.aligned is None:
            return None
        drawn = picture.rendered
        return SharpenRequest(picture, case.aligned, drawn.movement, detail.strength, drawn.volume)

    def sharpen(self, picture: object, shown: DisplayArray) -> None:
        """There is a sharp version of a picture (`unsharp`): show it, if that still is what is."""
        # Of a scan and of its newest edit: the edits before, tens of MB each, do not come back.
        kept = [one for one in self._sharp if one[0] is self.session.placed]
        self._sharp = [*kept, (picture, shown)]
        now = self.of_a_scan
        if now is not None and now.picture is picture:
            self._draw()

    def _sharp_of(self, picture: object) -> DisplayArray | None:
        if self.session.state.comparison != "off":
            return None
        return next((shown for known, shown in self._sharp if known is picture), None)

    def set_outlined(self, outlined: bool) -> None:
        """Whether the mean brain's outline is drawn on the aligned scan."""
        self._outlined = outlined
        if self.view == "scan":
            self._draw()

    def _draw(self, *, passing: bool = False) -> None:
        """Draw what the session says; the current brain if that is not available.

        A picture of another recipe is drawn only during a drag (`passing`), so that an earlier
        brain never reappears in between.
        """
        what, result = self.session.state.what, self._result
        if what == "search":
            return
        if what == "painted" and self.painted is not None:
            made, scan = self.painted, self.painted.scan
            self._show_volume(made.provenance, made.volume, None if scan is None else scan.picture)
        elif what == "scan" and self._show_scan():
            return
        elif what == "unusual" and (case := self.session.result) and case.residual_z is not None:
            assert case.aligned is not None
            self._show_aligned(case, case.aligned)
            self._announce()
        elif result is not None and self._suits and what in ("difference", "residual"):
            assert self.picture is not None
            _, aligned = result
            volume = self.picture.on_grid(aligned.volume.shape) - aligned.volume
            self._show_volume(provenance_of_state(self.session, self.session.state), volume)
        elif result is not None and self._suits and what == "filled":
            self.filled = None
            self.pictured.emit()
        elif what == "model" or (what in FOLLOWING and self.session.result and self.session.placed):
            if self._suits:  # else its picture is not rendered yet
                self._show_picture()
        elif what not in ("recipe", "scan"):
            self.session.look("recipe")
        elif what == "scan":  # it is being read again
            self.stage.blank()
            self._announce()
        elif passing or self.recipe == self.session.state.drawn:
            self._show_picture()

    def _show_picture(self) -> None:
        """Draw the newest picture itself."""
        if self.picture is not None and self.recipe is not None:
            # A caption that changed with each move of a slider would take longer to draw than it.
            amounts = not self.is_preview
            provenance = provenance_of(self.session, self.recipe, amounts=amounts)
            sharp = self._sharp_of(self.picture)
            self.stage.show(
                sharp or self.picture.shown,
                self.named(self.mark(provenance)),
                passing=self.is_preview,
                flat=self.picture.rendered.through is not None,
                coarse=None if sharp is None else self.picture.shown,
            )
            self._announce()

    @property
    def _suits(self) -> bool:
        """Whether the newest picture is of the same brain, with or without detail as requested."""
        recipe, drawn = self.recipe, self.session.state.drawn
        if recipe is None or drawn is None or self.picture is None:
            return False
        if recipe.source != drawn.source:
            return False
        return (recipe.detail is None) == (drawn.detail is None)

    def _show_scan(self) -> bool:
        """Draw the case's scan, aligned if possible; return whether there is one."""
        case, placed = self.session.case, self.session.placed
        if case is None or (placed is None and case.layer is None):
            return False
        if placed is not None:
            self._show_aligned(case, placed)
            self._announce(outlined=self._outlined and self.session.result is None)
        else:
            data, meta, _kind = case.layer
            shown = DisplayArray(data, meta["scale"], meta["translate"])
            self.stage.show(shown, self.named(provenance_of_scan(case)), meta["contrast_limits"])
            self._announce()
        return True

    def named(self, provenance: P) -> P:
        """With a name short enough for captions, which no other patient's is."""
        names = [case.name for case in self.session.patients]
        short = told_apart(provenance.name, names, NAME_LENGTH)
        return dataclasses.replace(provenance, short=short)

    def _show_aligned(self, case: Case, aligned: AlignedScan) -> None:
        """The aligned scan of a case, sharp if it has been made so."""
        shown, sharp = upright(aligned.volume, aligned.space.affine), self._sharp_of(aligned)
        provenance = provenance_of_scan(case)
        provenance = self.named(provenance if self.bare is None else self.mark(provenance))
        self.stage.show(sharp or shown, provenance, coarse=None if sharp is None else shown)

    def _show_volume(
        self, provenance: Provenance, volume: np.ndarray, picture: object = None
    ) -> None:
        """A volume on the generator's grid that no recipe made; a `picture` may be sharp."""
        if self.session.generator is not None:
            shown = upright(volume, self.session.generator.affine)
            sharp = None if picture is None else self._sharp_of(picture)
            told = self.named(provenance)
            self.stage.show(sharp or shown, told, coarse=None if sharp is None else shown)
            self._announce()

    def _announce(self, *, outlined: bool = False) -> None:
        if outlined and self.session.generator is not None:
            self.outline.show(self.session.generator.template, self.session.generator.space)
        else:
            self.outline.hide()
        self.viewChanged.emit(self.view)

    @property
    def _result(self) -> tuple[Case, AlignedScan] | None:
        """The case and its scan, if the newest picture is its reconstruction."""
        case = self.session.result
        if case is None or case.aligned is None or self.recipe is None:
            return None
        return (case, case.aligned) if case.is_of(self.recipe.source) else None


def by_content(part: Any) -> Any:
    """A source named by its hash: saving moves latents; anything else as it is."""
    known = isinstance(part, Source) and part.sha256 is not None
    return dataclasses.replace(part, path=part.sha256) if known else part
