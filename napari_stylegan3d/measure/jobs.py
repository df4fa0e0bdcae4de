"""The work behind Measure and two visits: plain functions for a thread, no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.core.jobs import DerivedVolume, Loaded, render_beside
from napari_stylegan3d.core.tissues import segmenter
from napari_stylegan3d.core.worker import beside_the_window
from napari_stylegan3d.views.display import DisplayArray, upright
from stylegan3d.base import Progress
from stylegan3d.segmentation.classes import Person

if TYPE_CHECKING:
    from collections.abc import Hashable

    from stylegan3d.geometry.space import Space
    from stylegan3d.outputs.visits import Visits
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import Scan
    from stylegan3d.segmentation.norms import Norms


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """What is to be measured.

    Attributes
    ----------
    title : str
        Description.
    volume : ndarray, shape (X, Y, Z)
        Intensities.
    space : Space
        Its grid.
    made_of : Hashable
        What the volume was made from: equal for equal volumes with equal titles.
    start : Recipe or DerivedVolume or None
        The brain that its changes are counted from; None if there is none.
    loaded : Loaded or None
        The model to render it with.
    against : str
        Description of the brain that its changes are counted from.
    key : str
        Of the subject whose it is.
    """

    title: str
    volume: np.ndarray
    space: Space
    made_of: Hashable
    start: Recipe | DerivedVolume | None = None
    loaded: Loaded | None = None
    against: str = ""
    key: str = ""


@dataclass(frozen=True, eq=False)
class MeasuredBrain:
    """The volumes of what is shown.

    Attributes
    ----------
    title, network : str
        What was measured, and by what.
    measures : dict of str to float
        All of `stylegan3d.segmentation.classes.ALL_MEASURES`.
    networks : tuple of str
        SHA-256 of the networks that measured.
    before : dict of str to float or None
        The measures before editing or mixing; None if it was neither.
    labels : ndarray, shape (X, Y, Z), uint8
    space : Space
        Their grid.
    against : str
        Description of what was measured before.
    """

    title: str
    network: str
    measures: dict[str, float]
    networks: tuple[str, ...]
    before: dict[str, float] | None
    labels: np.ndarray
    space: Space
    against: str = ""


def start_of(recipe: Recipe) -> Recipe | None:
    """The brain before editing; if not edited, before mixing; None for a plain one.

    Of an edited scan it is the scan itself.
    """
    if recipe.is_edited_scan and recipe.changes:
        return recipe.replace(mix=None, edits=())
    if recipe.edits:
        return recipe.replace(edits=())
    if recipe.worn_mix is not None:
        return recipe.replace(mix=None)
    return None


class Measurer:
    """Labels and volumes; caches the reference brain of the last comparison."""

    def __init__(self) -> None:
        self._start: tuple[Loaded | None, Recipe | DerivedVolume, dict[str, float]] | None = None

    def __call__(self, subject: MeasureRequest) -> MeasuredBrain:
        """Measure a subject; `StyleGAN3DError` if the networks do not know its grid."""
        from stylegan3d.segmentation.numbers import label_brain

        network = segmenter()
        with beside_the_window():
            found = label_brain(subject.volume, subject.space)
            before = self._before(subject)
        return MeasuredBrain(
            subject.title,
            f"{network.name} {network.hash[:8]}",
            found.measures,
            found.networks,
            before,
            found.tissues.labels,
            found.tissues.space,
            subject.against,
        )

    def _before(self, subject: MeasureRequest) -> dict[str, float] | None:
        from stylegan3d.segmentation.numbers import label_brain

        start, loaded = subject.start, subject.loaded
        if start is None:
            return None
        if self._start is not None and self._start[0] is loaded and self._start[1] == start:
            return self._start[2]
        if isinstance(start, DerivedVolume):
            volume = start.volume
        else:
            assert loaded is not None
            volume = render_beside((loaded, start)).rendered.volume
        measures = label_brain(volume, subject.space).measures
        self._start = (loaded, start, measures)
        return measures


@dataclass(frozen=True, eq=False)
class VisitPair:
    """Two scans to compare as visits of one person.

    Attributes
    ----------
    key, name : str
        Of the patient's case.
    scan : Scan
        The patient's, which is open.
    other : Scan
        The other visit.
    earlier : bool
        Whether the other one was taken first.
    years : float or None
        Between both; None for what the files say.
    person : Person
        When the patient's scan was taken.
    site : str
        Whose repeated scans give the error; empty for simulated ones.
    norms : Norms or None
        What the expected change is taken from; None for the bundled ones.
    cache : Path
        Folder for steps of the preparation.
    """

    key: str
    name: str
    scan: Scan
    other: Scan
    earlier: bool
    years: float | None
    person: Person
    site: str
    norms: Norms | None
    cache: Path

    def is_as(self, other: VisitPair) -> bool:
        """Whether the same would be compared: the same scans where they lay, and settings."""
        asked, told = (
            (one.other.sha256, one.earlier, one.years, one.person, one.site, one.norms)
            for one in (self, other)
        )
        scans = (self.scan, other.scan), (self.other, other.other)
        return asked == told and all(np.array_equal(a.affine, b.affine) for a, b in scans)

    @property
    def at_first(self) -> Person:
        """The person at the first visit, as far as that was typed."""
        if not self.earlier:
            return self.person
        known = self.person.age is not None and self.years is not None
        return Person(
            (self.person.age or 0) - (self.years or 0) if known else None, self.person.sex
        )


@dataclass(frozen=True, eq=False)
class ComparedVisits:
    """What changed between two visits, and the two."""

    pair: VisitPair
    visits: Visits


def open_norms(file: str) -> Norms | None:
    """The norms in a file; None, for the bundled ones, without one."""
    from stylegan3d.segmentation.norms import read_norms

    return read_norms(Path(file)) if file else None


def compare_visits(report: Progress, pair: VisitPair) -> ComparedVisits:
    """Compare, as `stylegan3d segment --longitudinal` does."""
    from stylegan3d.outputs.visits import visits_of_scans
    from stylegan3d.segmentation.norms import site_repeats

    first, second = (pair.other, pair.scan) if pair.earlier else (pair.scan, pair.other)
    with beside_the_window():
        visits = visits_of_scans(
            first,
            second,
            person=pair.at_first,
            years=pair.years,
            norms=pair.norms,
            repeats=site_repeats(pair.site) if pair.site else None,
            cache=pair.cache,
            progress=report,
        )
    # Results stay as long as the window: without scans, which may be on disk by then.
    scan, other = pair.scan.without_voxels(), pair.other.without_voxels()
    return ComparedVisits(replace(pair, scan=scan, other=other), visits.without_scans())


def save_compared(report: Progress, compared: ComparedVisits, folder: Path) -> Path:
    """Write what `stylegan3d segment --longitudinal --out` writes; the path of the page."""
    from stylegan3d.evaluation.visit_files import save_visits

    report(0, 1, "Saving")
    return save_visits(compared.visits, folder)[-1]


@dataclass(frozen=True, eq=False)
class MapRequest:
    """A map of two visits to lay over the patient's scan.

    Attributes
    ----------
    compared : ComparedVisits
    kind : str
        "volume" or "intensity".
    rigid : ndarray or None
        (4, 4) the scan's RAS mm to those of the views; None if they are the same.
    """

    compared: ComparedVisits
    kind: str
    rigid: np.ndarray | None


def map_in_views(request: MapRequest) -> DisplayArray:
    """The map where the patient's scan is shown."""
    compared = request.compared
    affine = compared.visits.affine_in(compared.pair.scan)
    if request.rigid is not None:
        affine = request.rigid @ affine
    volume = compared.visits.drawn if request.kind == "volume" else compared.visits.difference
    return upright(volume, affine)
