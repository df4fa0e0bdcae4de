"""What changed in a brain between two scans of one person.

Both scans are brought half-way to each other (`aligned.halfway`) and registered in both directions;
half of the difference of the two velocity fields leads from the middle to either visit (Vercauteren
et al. 2008, MICCAI: symmetric log-domain demons). The mean of the two brains, each taken to the
middle, is labelled once. A region's volume at a visit is its labels weighted with the Jacobian
determinant of the map to that visit, so that both volumes have the same outline: labels drawn in
each scan by itself differ by more between two scans of an unchanged brain (`benchmarks/visits.py`
measures both). Exchanging the visits exchanges all results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from stylegan3d.base import SILENT, Doubt, Json, Note, Progress, ScanError, doubts_in, facts_in
from stylegan3d.geometry.space import Shown, Space
from stylegan3d.networks.deformation import determinant, exponential, resize, warp
from stylegan3d.networks.registration import SQUARINGS, Demons, register
from stylegan3d.projection.assessment import outline_doubts
from stylegan3d.scans.aligned import AlignedScan, Halfway, halfway
from stylegan3d.scans.alignment import bundled_template
from stylegan3d.scans.person import Person
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.verdicts import withheld
from stylegan3d.segmentation.changes import Change, expected_changes, row_of, summary_of
from stylegan3d.segmentation.classes import ALL_MEASURES, BRAIN, HEAD
from stylegan3d.segmentation.inference import Segmentation
from stylegan3d.segmentation.norms import Norms, Repeats, bundled_repeats
from stylegan3d.segmentation.numbers import Labelled, label_brain, region_measures
from stylegan3d.storage.bids import entity
from stylegan3d.storage.checked import answering

#: Folds of two scans of one person agreed by 0.85 (slices of 3 mm) to 0.98, those of two persons by
#: at most 0.25: below the first there is no comparison, below the second a warning.
LEAST_AGREEMENT, USUAL_AGREEMENT = 0.4, 0.7
#: Softer than for populations: borders of ventricles move by less than a voxel. Softer still, noise
#: moves small regions; stiffer, a third of a ventricle's growth is lost.
STIFFNESS = Demons(coarse_steps=40, fine_steps=30, elastic=0.4)
#: Registered brains do not shrink to less than this share.
LEAST = 0.05
#: Full colour of pictures of local volume, and what is too little to be drawn, per cent; and how
#: bright the mean brain is there at least.
FULL_PERCENT, DRAWN_PERCENT, BRIGHT = 30.0, 10.0, 0.05
#: The brain with its fluid differs by less, in per cent, between repeated extractions.
SAME_HEAD = 2.0


@dataclass(frozen=True, eq=False, repr=False)
class Visits(Shown):
    """What changed between two scans.

    Attributes
    ----------
    pair : Halfway
        Both scans on the half-way grid.
    middle : ndarray, float32 (X, Y, Z)
        The mean of both brains, each taken to the shape in the middle.
    labels : Labelled
        Of it.
    percent : ndarray, float32 (X, Y, Z)
        Change of each voxel's volume in per cent of the mean of both visits; 0 outside the brain.
    changes : dict of str to Change
        By measure.
    person : Person
        At the first visit.
    years : float or None
        Between the visits.
    repeats : Repeats
        Where the test-retest error is from.
    notes : list of str or Doubt
        What was done, what is in doubt and what is missing.
    """

    pair: Halfway
    middle: np.ndarray
    labels: Labelled
    percent: np.ndarray
    changes: dict[str, Change]
    person: Person
    years: float | None
    repeats: Repeats
    notes: list[Note]

    @property
    def space(self) -> Space:
        """The half-way grid."""
        return self.pair.space

    @property
    def difference(self) -> np.ndarray:
        """Intensity of the second visit minus that of the first, display units, (X, Y, Z)."""
        first, second = self.pair.volumes
        return second - first

    @property
    def drawn(self) -> np.ndarray:
        """`percent` where it is worth drawing, else 0, (X, Y, Z)."""
        seen = (np.abs(self.percent) > DRAWN_PERCENT) & (self.middle > BRIGHT)
        return np.where(seen, self.percent, 0)

    @property
    def names(self) -> tuple[str, str]:
        """File names of both scans."""
        return self.pair.first.scan.path.name, self.pair.second.scan.path.name

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt, of both scans and of the pair."""
        return doubts_in(self.notes)

    def without_scans(self) -> Visits:
        """The same without the voxels of both scans on their own grids, which take memory."""
        first, second = (
            replace(one, scan=one.scan.without_voxels(), prepared=None)
            for one in (self.pair.first, self.pair.second)
        )
        return replace(self, pair=replace(self.pair, first=first, second=second))

    def affine_in(self, scan: ScanData) -> np.ndarray:
        """(4, 4) voxels of the half-way grid to RAS+ mm of one of both scans, which lies there."""
        pair = self.pair
        mine = pair.first if pair.first.scan.sha256 == scan.sha256 else pair.second
        return np.linalg.inv(mine.rigid) @ self.space.affine

    def to_dict(self) -> Json:
        """For JSON."""
        return {
            "first": self.names[0],
            "second": self.names[1],
            "years": self.years,
            "age": self.person.age,
            "sex": self.person.sex,
            "agreement": round(self.pair.agreement, 3),
            "error": self.repeats.name,
            "changes": {name: row_of(change, self.years) for name, change in self.changes.items()},
            "networks": list(self.labels.networks),
            "notes": facts_in(self.notes),
            "doubts": self.doubts,
        }


@answering
def visits_of_scans(
    first: Scan,
    second: Scan,
    *,
    person: Person | None = None,
    years: float | None = None,
    norms: Norms | None = None,
    repeats: Repeats | None = None,
    skull: str = "auto",
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> Visits:
    """Measure what changed between two scans of one person.

    Parameters
    ----------
    first, second : Scan
        T1-weighted, the earlier one first.
    person : Person or None
        At the first visit; what is None in it is taken from the scans' files.
    years : float or None
        Between the visits, above 0; None for the difference of the ages in their files.
    norms : Norms or None
        What the expected change is taken from; the bundled ones by default.
    repeats : Repeats or None
        What the test-retest error is taken from; the bundled ones by default.
    skull, cache : str, Path or None
        See `Scan.align`.

    Raises
    ------
    ScanError
        If one scan is given twice, the two are not of one person or contrast, the earlier is
        second, no brain is found, or the repeats were measured by other networks.
    """
    check_pair(first, second)
    target = bundled_template()

    def prepared(scan: Scan, visit: int) -> AlignedScan:
        share = progress.part(
            0.35 * (visit - 1), 0.35, text=lambda doing: f"{doing}, visit {visit}"
        )
        return scan.align(target, skull=skull, cache=cache, progress=share)

    return visits_of(
        prepared(first, 1),
        prepared(second, 2),
        person=person,
        years=years,
        norms=norms,
        repeats=repeats,
        progress=progress,
    )


def visits_of(
    first: AlignedScan,
    second: AlignedScan,
    *,
    person: Person | None = None,
    years: float | None = None,
    norms: Norms | None = None,
    repeats: Repeats | None = None,
    progress: Progress = SILENT,
) -> Visits:
    """As `visits_of_scans`, of scans aligned to one model whose grid the networks know."""
    check_pair(first.scan, second.scan)
    for aligned in (first, second):
        if why := withheld(aligned.doubts):
            raise ScanError(
                f"Volumes of {aligned.scan.path.name} {why}; give two whole T1-weighted scans."
            )
    asked = person or Person()
    known = first.scan.person
    at_first = Person(
        known.age if asked.age is None else asked.age,
        asked.sex or known.sex or second.scan.person.sex,
    )
    if years is None:
        years = _years_between(first.scan, second.scan)
    progress(0.7, 1.0, "Aligning the scans halfway")
    pair = halfway(first, second)
    if pair.agreement < LEAST_AGREEMENT:
        raise ScanError(
            f"The folds of {first.scan.path.name} and {second.scan.path.name} do not agree "
            f"(correlation {pair.agreement:.2f}, of one person at least {LEAST_AGREEMENT:g}): they "
            "show two different people, or could not be aligned; give two scans of one person."
        )
    progress(0.8, 1.0, "Registering the brains")
    middle, weights = _middle(*pair.volumes)
    progress(0.95, 1.0, "Labelling the mean brain")
    labels = label_brain(middle, pair.space)
    repeats = repeats or bundled_repeats()
    if repeats.networks and repeats.networks != labels.networks:
        raise ScanError(
            f"The test-retest error of {repeats.name} was measured by other networks; calibrate "
            "the site again."
        )
    counted = [_measures(labels, weight) for weight in weights]
    brain = (pair.volumes[0] > 0) | (pair.volumes[1] > 0)
    percent = np.where(brain, 200 * (weights[1] - weights[0]) / (weights[1] + weights[0]), 0)
    why, expected = expected_changes(at_first, years, counted, norms, labels.networks)
    changes = {
        name: Change(
            name, a, counted[1][name], repeats.error(name, a, counted[1][name]), expected.get(name)
        )
        for name, a in counted[0].items()
    }
    texts = [f"The error is that of {repeats.name}.", *([why] if why else [])]
    notes = [*_notes(pair, changes[HEAD]), *texts]
    local = percent.astype(np.float32)
    return Visits(pair, middle, labels, local, changes, at_first, years, repeats, notes)


def check_pair(first: ScanData, second: ScanData) -> None:
    """ScanError unless they may be two scans of one person in one contrast, the earlier first."""
    one, two = first.path.name, second.path.name
    same = first.data.shape == second.data.shape and np.array_equal(first.data, second.data)
    if first.sha256 == second.sha256 or same:
        raise ScanError(f"{one} and {two} are the same scan; give two scans of one person.")
    people = [entity("sub", name) for name in (one, two)]
    if all(people) and people[0] != people[1]:
        raise ScanError(
            f"{one} and {two} show two different people, by their names; give two scans "
            "of one person."
        )
    sexes = first.person.sex, second.person.sex
    if all(sexes) and sexes[0] != sexes[1]:
        raise ScanError(
            f"{one} and {two} are of a male and a female person, by their files; give two scans of "
            "one person, or correct the files."
        )
    if first.contrast and second.contrast and first.contrast != second.contrast:
        raise ScanError(
            f"{one} is {first.contrast} and {two} is {second.contrast}; give two T1-weighted scans."
        )
    ages = first.person.age, second.person.age
    if ages[0] is not None and ages[1] is not None and ages[1] < ages[0]:
        raise ScanError(
            f"{two} was taken at {ages[1]:g} years, before {one} at {ages[0]:g}; give the earlier "
            "scan first."
        )


def _years_between(first: ScanData, second: ScanData) -> float | None:
    """From the ages in their files; None if unknown, or both have the same."""
    before, after = first.person.age, second.person.age
    if before is None or after is None or after == before:
        return None
    return round(after - before, 2)


@torch.no_grad()
def _middle(
    first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The mean brain (X, Y, Z), and how much of each visit's volume each of its voxels holds."""
    a, b = (torch.from_numpy(np.ascontiguousarray(v))[None, None] for v in (first, second))
    # a o exp(v) resembles b: at y in the middle lies exp(v / 2)(y) of a and exp(-v / 2)(y) of b.
    half = (register(b, a, STIFFNESS) - register(a, b, STIFFNESS)) / 4
    ways = [resize(exponential(sign * half, SQUARINGS), first.shape) for sign in (1, -1)]
    middle = (warp(a, ways[0]) + warp(b, ways[1])) / 2
    voxels = torch.tensor(first.shape).reshape(3, 1, 1, 1) / 2  # of normalised coordinates
    weights = [determinant(way[0] * voxels).clamp(min=LEAST).numpy() for way in ways]
    return middle[0, 0].numpy(), (weights[0], weights[1])


def _measures(labels: Labelled, weight: np.ndarray) -> dict[str, float]:
    """Volumes, their ratio and regional asymmetries at a visit."""
    tissues = _weighted(labels.tissues, weight)
    row = {f"{name}_ml": ml for name, ml in tissues.items()}
    row["brain_ml"] = sum(tissues[name] for name in BRAIN)
    row[HEAD] = sum(tissues.values())
    row["grey_white_ratio"] = tissues["grey"] / tissues["white"] if tissues["white"] else 0.0
    row |= region_measures(_weighted(labels.regions, weight))
    return {name: round(row[name], 5) for name in ALL_MEASURES if name in row}


def _weighted(found: Segmentation, weight: np.ndarray) -> dict[str, float]:
    """Millilitres of each class but the background."""
    names = found.scheme.classes
    sums = np.bincount(found.labels.ravel(), weight.ravel(), minlength=len(names))
    return {n: float(sums[k]) * found.space.voxel_ml for k, n in enumerate(names) if k > 0}


def _notes(pair: Halfway, head: Change) -> list[Note]:
    """What was done to the pair, and what is in doubt."""
    text = (
        f"The second scan was moved by {pair.moved_mm:.1f} mm and rotated by "
        f"{pair.turned_deg:.1f} degrees relative to the first, half each."
    )
    notes: list[Note] = [text]
    for aligned in (pair.first, pair.second):
        notes += named_doubts(aligned)
    if pair.agreement < USUAL_AGREEMENT:
        text = (
            "The folds of the two brains agree less than those of one person usually do "
            f"(correlation {pair.agreement:.2f}, usually from {USUAL_AGREEMENT:g}); make sure that "
            "both scans are of one person, and look at both halfway images."
        )
        notes.append(Doubt("same-person", "ask", text, {"correlation": pair.agreement}))
    if head.percent is not None and abs(head.percent) > SAME_HEAD:
        text = (
            f"The extracted brains with their CSF differ by {abs(head.percent):.1f} %, although "
            "adult head size is constant; look at the borders of both brains, and treat changes of "
            "cortex and fluid outside the ventricles as doubtful."
        )
        notes.append(Doubt("head-size", "ask", text, {"percent": head.percent}))
    return notes


def named_doubts(aligned: AlignedScan) -> list[Doubt]:
    """What is in doubt of one scan of several, with its name."""
    name, found = aligned.scan.path.name, [*aligned.doubts, *outline_doubts(aligned)]
    # What both scans cover can be compared.
    told = [replace(one, severity="ask") if one.kind == "coverage" else one for one in found]
    return [replace(one, sentence=f"{name}: {one.sentence}") for one in told]


def measures_of(visits: Visits) -> tuple[dict[str, float], dict[str, float]]:
    """The measures of both visits."""
    changes = visits.changes
    return {n: c.first for n, c in changes.items()}, {n: c.second for n, c in changes.items()}


def lines_of(visits: Visits, names: tuple[str, ...] = ALL_MEASURES) -> list[str]:
    """A line for each of these measures, and how many of all are beyond the error."""
    lines = [visits.changes[n].words(visits.years) for n in names if n in visits.changes]
    return [*lines, summary_of(visits.changes)]
