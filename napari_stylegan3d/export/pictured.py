"""What a saved picture shows: whose it is, what its file is called, and what is written beside it.

Taken from what is on the screen when the picture is made: the current recipe may be of another
patient whose scan is not shown, or of a brain that is still being drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stylegan3d.views.captions import KEY, OVER
from stylegan3d.errors import OutputError
from stylegan3d.outputs.results import (
    OF_A_SCAN,
    PAINTED,
    RECORDED,
    picture_name,
    picture_sidecar,
    scan_picture_name,
    scan_picture_sidecar,
)
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.provenance import Over, Provenance, scan_file_of
from stylegan3d.storage.about import Origin

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import DisplayController
    from stylegan3d.model.generator import Generator


@dataclass(frozen=True)
class OfScan:
    """The scan that a picture shows.

    Attributes
    ----------
    name : str
        The patient's.
    path : Path or None
        Its file or folder.
    sha256 : str
        Its hash.
    origin : {"acquired", "synthetic", "edited"}
        What its files say that it is.
    """

    name: str
    path: Path | None
    sha256: str
    origin: Origin = "acquired"


@dataclass(frozen=True)
class Pictured:
    """What a picture shows.

    Attributes
    ----------
    recipe : Recipe or None
        The brain; None for a scan that no recipe made.
    file : Path or None
        Of a recipe that edits a scan, the scan's file.
    scan : OfScan or None
        The scan, where there is no recipe.
    kind : str
        Of a scan: "" as recorded, "unusual" with what stands out in it, "painted" to fit edited
        labels.
    aligned : bool
        Whether that scan is on the model's grid.
    synthetic : bool
        Whether any part of the picture was made by a model.
    painted : bool
        Whether the recipe's brain was painted to fit edited labels.
    comparison : str
        How it is compared with a second picture; "off" if it is not.
    second : Recipe or OfScan or None
        That second picture.
    over : dict or None
        A second image that lies over it, or in its place, for the sidecar.
    """

    recipe: Recipe | None
    file: Path | None = None
    scan: OfScan | None = None
    kind: str = ""
    aligned: bool = True
    synthetic: bool = True
    painted: bool = False
    comparison: str = "off"
    second: Recipe | OfScan | None = None
    over: dict[str, Any] | None = None

    def name(self, what: str) -> str:
        """File name, with the view as its last part."""
        if self.recipe is not None:
            return picture_name(self.recipe, what, scan=self.file)
        assert self.scan is not None
        return scan_picture_name(
            self.scan.name, self.scan.path, what, kind=self.kind, in_model_space=self.aligned
        )

    def sidecar(self, folder: Path, generator: Generator) -> dict[str, Any]:
        """The JSON sidecar of the picture in `folder`."""
        if self.recipe is None:
            assert self.scan is not None
            told = scan_picture_sidecar(
                self.scan.path,
                self.scan.sha256,
                folder,
                kind=self.kind,
                origin=self.scan.origin,
            )
        else:
            told = picture_sidecar(self.recipe, generator, folder)
            if self.painted:
                told |= {"Description": PAINTED}
            if not self.synthetic:
                told |= {"Description": RECORDED, "IntendedUse": OF_A_SCAN, "SyntheticImage": False}
        if self.comparison != "off":
            told["Comparison"] = {"Mode": self.comparison, **self._second(folder)}
        if self.over is not None:
            told["SecondImage"] = self.over
        return told

    def _second(self, folder: Path) -> dict[str, Any]:
        """The picture that it is compared with."""
        if isinstance(self.second, Recipe):
            recipe = self.second.with_paths(lambda part: part.relative_to(folder))
            return {"Recipe": recipe.replace(model=None).to_dict()}
        if self.second is None:
            return {}
        return {"Scan": self.second.name, "ScanSHA256": self.second.sha256}


def pictured(comparison: DisplayController, *, alone: bool = False) -> Pictured:
    """What the views show now; `alone` leaves out what is compared with it or lies over it.

    Raises
    ------
    OutputError
        If what is shown is not there in full yet.
    """
    session, layer = comparison.session, comparison.stage.layer
    told = None if layer is None else layer.metadata.get(KEY)
    if not isinstance(told, Provenance):
        raise OutputError("Nothing to save yet: wait for the first brain.")
    view, shown = comparison.view, session.state
    over = None if alone else _over(comparison)
    case = {"scan": session.case, "unusual": session.result}.get(view)
    if case is not None:
        kind = "" if view == "scan" else view
        aligned = view == "unusual" or session.placed is not None
        made = case.origin != "acquired"
        recorded = OfScan(case.name, case.path, case.sha256, case.origin)
        return Pictured(None, None, recorded, kind, aligned=aligned, synthetic=made, over=over)
    if view == "painted" and comparison.painted is not None:
        scan = comparison.painted.scan
        if scan is not None:
            of = scan.aligned.scan
            found = OfScan(told.name, of.path, of.sha256, of.origin)
            return Pictured(None, None, found, view, over=over)
    elif shown.what == "search" or not comparison.is_current:
        raise OutputError("Wait for the full volume, then save the picture.")
    recipe = shown.drawn
    if recipe is None:
        raise OutputError("Wait until the scan is open, then save the picture.")
    how = "off" if alone else shown.comparison
    second: Recipe | OfScan | None = None
    if how not in ("off", "row") and shown.second is not None:
        beside = shown.second
        if isinstance(beside, Recipe):
            second = beside
        else:
            second = OfScan(beside.name, beside.path, beside.sha256, beside.origin)
    scans = told.made_as == "scan" and (how == "off" or isinstance(second, OfScan))
    return Pictured(
        recipe,
        scan_file_of(session, recipe),
        synthetic=not scans,
        painted=view == "painted",
        comparison=how,
        second=second,
        over=over,
    )


def _over(comparison: DisplayController) -> dict[str, Any] | None:
    """The second image that lies over the picture, or in its place."""
    for layer in comparison.stage.viewer.layers:
        over, told = layer.metadata.get(OVER), layer.metadata.get(KEY)
        if not layer.visible:
            continue
        if isinstance(over, Over):
            return {
                "Name": over.name,
                "OpenedWith": over.patient,
                "SamePatientConfirmed": over.confirmed,
                "Mode": "overlay",
            }
        if isinstance(told, Provenance) and told.kind == "second":
            return {"Name": told.name, "Mode": "alone"}
    return None
