"""Draws what the session says is shown: the synthetic brain, the scan, or a difference."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.jobs import DerivedVolume, DisplayVolume, SharpenRequest
from napari_stylegan3d.views.display import DisplayArray, upright
from napari_stylegan3d.views.layers import Outline
from stylegan3d.pages.shortening import told_apart
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.provenance import (
    NAME_LENGTH,
    Kind,
    Provenance,
    provenance_of,
    provenance_of_scan,
)
from stylegan3d.session.state import FOLLOWING

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.views.stage import Stage
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.case import Case
    from stylegan3d.session.workspace import StateChange

P = TypeVar("P", bound=Provenance)

#: What is subtracted in a difference.
EDITED_MINUS_SCAN, MODEL_MINUS_SCAN = "edited − scan", "reconstruction − scan"
FILLED = "filled in by the model"


#: Sharp pictures that are kept, to go from the scan to the edited one and back at once.
SHARP_KEPT = 2


class DisplayController(QObject):
    """Holds the newest picture, and draws it or the case's scan according to `Session.shown`.

    Views are those of `What`, except for the current recipe's own picture: "edited" with the detail
    of a scan, "model" for a projected scan without, "" for a random brain. "filled" is drawn by
    another object whenever `pictured` is emitted.
    """

    viewChanged = Signal(str)
    pictured = Signal()
    """There is a newer picture to fill the scan in with."""
    placedChanged = Signal()
    """The case's scan lies elsewhere in the model's space, or is to be aligned anew."""

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
        self._sharp: deque[tuple[object, DisplayArray]] = deque(maxlen=SHARP_KEPT)
        self._placed: AlignedScan | None = None
        self._scan: object = None
        self._outlined = True
        #: Changes the caption of the current brain, such as to mark it as B.
        self.mark: Callable[[Provenance], Provenance] = lambda provenance: provenance
        self.outline = Outline(stage.viewer)
        session.changed.connect(self._on_change)
        session.caseChanged.connect(self._on_case)
        session.lookChanged.connect(self._draw)

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

    @property
    def scan_path(self) -> Path | None:
        """The file or folder of the case's scan."""
        return None if self.session.case is None else self.session.case.path

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

    def _on_change(self, change: StateChange) -> None:
        """Nothing of a subject stays on the screen when another one comes."""
        if change.another_subject:
            self.forget()
            self.stage.blank()
            self.viewChanged.emit(self.view)

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
            told = Provenance("edited", case.name, FILLED)
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
        self._sharp.append((picture, shown))
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
            case, aligned = result
            volume = self.picture.on_grid(aligned.volume.shape) - aligned.volume
            drawn = self.session.state.drawn
            told = EDITED_MINUS_SCAN if drawn and drawn.detail else MODEL_MINUS_SCAN
            self._show_volume(Provenance("difference", case.name, told), volume)
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
        provenance = self.named(provenance)
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

    def _on_case(self) -> None:
        """Redraw after a change of patient or of the scan's pose."""
        case, placed = self.session.case, self.session.placed
        scan = None if case is None else case.scan
        if placed is self._placed and scan is self._scan:
            return
        self._placed, self._scan = placed, scan
        if self.session.state.what == "scan":
            self._draw()
        self.placedChanged.emit()

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
