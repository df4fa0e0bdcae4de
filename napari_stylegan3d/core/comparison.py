"""Which picture the explorer shows: the synthetic brain, the real scan, or the difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.views.captions import KEY, Kind, Provenance
from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.outline import Outline
from stylegan3d.recipe.description import is_reconstruction

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import Picture
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.project.jobs import OpenedScan
    from napari_stylegan3d.views.stage import Stage
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import AlignedScan


class Comparison(QObject):
    """Holds the newest picture and the scan, and puts one of them on the stage.

    Views are "" (a brain that is no reconstruction), "reconstruction", "scan", "difference",
    "filled", which another part draws whenever `pictured` is emitted, and "painted", the brain that
    fits edited labels.
    """

    viewChanged = Signal(str)
    pictured = Signal()
    """There is a newer picture to fill the scan in with."""
    placedChanged = Signal()
    """The opened scan lies elsewhere in the model's space, or is to be aligned anew."""

    def __init__(self, session: Session, stage: Stage) -> None:
        super().__init__()
        self.session = session
        self.stage = stage
        self.picture: Picture | None = None
        self.recipe: Recipe | None = None
        self.view = ""
        #: What "painted" shows.
        self.painted: tuple[Kind, np.ndarray] | None = None
        self._opened: OpenedScan | None = None
        #: The opened scan on the model's grid, once it was aligned.
        self._placed: AlignedScan | None = None
        self._outlined = True
        #: Changes what is said on the current brain's picture, such as that it is B.
        self.mark: Callable[[Provenance], Provenance] = lambda provenance: provenance
        self.outline = Outline(stage.viewer)

    @property
    def is_preview(self) -> bool:
        """Whether the newest picture is a preview."""
        return self.picture is not None and self.picture.quality == "preview"

    @property
    def placed(self) -> tuple[str, AlignedScan] | None:
        """Name of the scan that is open, and how it lies on the model's grid, once aligned."""
        if self._placed is None or self._opened is None:
            return None
        return self._opened.name, self._placed

    @property
    def scan_path(self) -> Path | None:
        """The file or folder of the scan that is open."""
        return None if self._opened is None else self._opened.choice.path

    def share_above(self, brightness: float) -> float:
        """Share of the newest picture's voxels that are at least so bright; 1 is usual white."""
        if self.picture is None:
            return 0.0
        return float(np.mean(self.picture.rendered.volume >= brightness))

    def set_picture(self, recipe: Recipe, picture: Picture) -> None:
        """A recipe was rendered: show it, unless the scan is being looked at."""
        self.recipe, self.picture = recipe, picture
        if self.view in ("scan", "painted"):
            return
        if self.view == "filled" and self._aligned() is not None:
            self.pictured.emit()
            return
        keeps = self.view == "difference" and self._aligned() is not None
        self.show("difference" if keeps else "reconstruction")

    def forget_model(self) -> None:
        """Another model was opened: its first picture is still to come. The scan stays open."""
        self.forget_place()
        self.picture, self.recipe, self.view, self.painted = None, None, "", None

    def place(self, picture: Picture) -> None:
        """The current picture is the same voxels at another place."""
        self.picture, self.view = picture, ""
        self.show("reconstruction")

    def follow(self, recipe: Recipe | None = None) -> None:
        """Go back to the current brain: a change of the recipe is meant to be seen."""
        same = recipe is not None and recipe.source == getattr(self.recipe, "source", None)
        if not (self.view in ("difference", "filled") and same):
            self.view = ""

    def set_scan(self, opened: OpenedScan) -> None:
        """A scan was opened: show it as it is, before it has been aligned."""
        self._opened, self._placed = opened, None
        self._show_opened(opened)
        self.placedChanged.emit()

    def set_placed(self, aligned: AlignedScan, *, show: bool = True) -> None:
        """The opened scan was aligned, or moved by hand: show it where it lies now."""
        self._placed = aligned
        if show:
            self._show_placed(aligned)
        self.placedChanged.emit()

    def show_placed(self) -> None:
        """Show the opened scan where it lies in the model's space, if it was aligned."""
        if self._placed is not None:
            self._show_placed(self._placed)

    def forget_place(self) -> None:
        """What was aligned has to be aligned anew."""
        was, self._placed = self._placed, None
        self.outline.hide()
        if was is not None:
            self.placedChanged.emit()

    def set_outlined(self, outlined: bool) -> None:
        """Whether the mean brain's outline is drawn on the aligned scan."""
        self._outlined = outlined
        if self._placed is not None and self.view == "scan":
            self._show_placed(self._placed)

    def show(self, view: str) -> None:
        """Show "reconstruction" (or whatever brain is current), "scan", "difference", "painted"."""
        aligned = self._aligned()
        if view == "painted" and self.painted is not None:
            self.show_volume(*self.painted, view)
        elif view == "scan" and aligned is not None:
            self.show_volume("scan", aligned.volume)
        elif view == "scan" and self._placed is not None:
            self._show_placed(self._placed)
        elif view == "scan" and self._opened is not None:
            self._show_opened(self._opened)
        elif view == "difference" and aligned is not None and self.picture is not None:
            made = self.picture.on_grid(aligned.volume.shape)
            self.show_volume("difference", made - aligned.volume)
        elif self.picture is not None and self.recipe is not None:
            provenance = self._provenance(self.recipe)
            shown, mark = self.picture.shown, self.mark(provenance)
            self.stage.show(shown, mark, passing=self.is_preview)
            self._set_view("reconstruction" if provenance.kind == "reconstruction" else "")

    def _show_placed(self, aligned: AlignedScan) -> None:
        name = self._opened.name if self._opened else ""
        self.stage.show(upright(aligned.volume, aligned.space.affine), Provenance("scan", name))
        self._set_view("scan", outlined=self._outlined)

    def show_painted(self, kind: Kind, volume: np.ndarray) -> None:
        """Show a brain painted from labels, or the one before, or the difference of the two."""
        self.painted = kind, volume
        self.show("painted")

    def show_volume(self, kind: Kind, volume: np.ndarray, view: str = "") -> None:
        """Show a volume on the generator's grid that no recipe made, as the view of its kind."""
        if self.session.generator is None:
            return
        name = self._scan_name()
        shown = upright(volume, self.session.generator.affine)
        if kind == "scan":
            self.stage.show(shown, Provenance("scan", name))
        else:
            self.stage.show(shown, Provenance(kind, name))
        self._set_view(view or kind)

    def _show_opened(self, opened: OpenedScan) -> None:
        from napari_stylegan3d.views.display import Upright

        data, meta, _ = opened.layer
        shown = Upright(data, meta["scale"], meta["translate"])
        self.stage.show(shown, meta["metadata"][KEY], meta["contrast_limits"])
        self._set_view("scan")

    def _set_view(self, view: str, *, outlined: bool = False) -> None:
        self.view = view
        if outlined and self.session.generator is not None:
            self.outline.show(self.session.generator)
        else:
            self.outline.hide()
        self.viewChanged.emit(view)

    def _aligned(self) -> AlignedScan | None:
        projected = self.recipe and self.session.find_projected(self.recipe.source)
        return projected.aligned if projected else None

    def _scan_name(self) -> str:
        projected = self.recipe and self.session.find_projected(self.recipe.source)
        if projected:
            return projected.name
        return self._opened.name if self._opened else ""

    def _provenance(self, recipe: Recipe) -> Provenance:
        if is_reconstruction(recipe):
            return Provenance("reconstruction", self._scan_name())
        return Provenance("generated")
