"""All numbers of one brain: volumes, asymmetries, and where they lie among people.

Whatever shows or writes a number of a brain (window, report, tables) takes it from here, so that it
is the same to the last digit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.segmentation import inference
from stylegan3d.segmentation import norms as norms_of_people
from stylegan3d.segmentation.classes import (
    ALL_MEASURES,
    HEAD,
    PAIRED,
    REGION_VOLUMES,
    SIDES,
    asymmetry_percent,
    title_of,
    unit_of,
    value_text,
)
from stylegan3d.segmentation.inference import measures_of
from stylegan3d.segmentation.reading import Reading, bundled_reader

if TYPE_CHECKING:
    from stylegan3d.segmentation.inference import Segmentation, Segmenter
    from stylegan3d.segmentation.norms import Norms, Score

#: What a page has room for.
KEY_MEASURES = (
    HEAD,
    "brain_ml",
    "ventricle_ml",
    "left_temporal_horn_ml",
    "right_temporal_horn_ml",
    "left_hippocampus_ml",
    "right_hippocampus_ml",
    "hippocampus_asymmetry",
    "left_thalamus_ml",
    "right_thalamus_ml",
)
NO_PERSON = "Percentiles need age and sex; at least one of them is unknown."


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of one brain.

    Attributes
    ----------
    measures : dict of str to float
        Of `ALL_MEASURES`, those of regions only where they were labelled; "confidence" if known.
    person : Person
        Whose brain it is, as far as known.
    scores : dict of str to Score
        By measure; empty without norms for this person.
    among : str
        Whom the scores compare with, or why there are none.
    norms : Norms or None
        What the scores are taken from.
    reading : Reading or None
        Apparent age and sex; None for networks that the reader does not know.
    """

    measures: dict[str, float]
    person: Person = field(default_factory=Person)
    scores: dict[str, Score] = field(default_factory=dict)
    among: str = NO_PERSON
    norms: Norms | None = None
    reading: Reading | None = None

    def to_dict(self) -> Json:
        """For JSON: measures, age, sex, and of each score its z, percentile and limits."""
        scores = {
            name: {
                "z": round(score.z, 3),
                "percentile": round(score.percentile, 1),
                "expected": round(score.expected, 3),
                "low": round(score.low, 3),
                "high": round(score.high, 3),
                "scanner_z": None if score.scanner is None else round(score.scanner, 2),
            }
            for name, score in self.scores.items()
        }
        return {
            "measures": self.measures,
            "age": self.person.age,
            "sex": self.person.sex,
            "among": self.among,
            "scores": scores,
            "reading": None if self.reading is None else self.reading.to_dict(),
        }

    def cells(self) -> Json:
        """For a row of a table: age, sex, measures, z and percentile of each."""
        row: Json = {"age": self.person.age, "sex": self.person.sex, **self.measures}
        if self.reading is not None:
            record = self.reading.to_dict()
            row |= {name: record[name.removeprefix("apparent_")] for name in READ}
        for name, score in self.scores.items():
            row[f"{name}_z"] = round(score.z, 3)
            row[f"{name}_percentile"] = round(score.percentile, 1)
        return row


#: What `Numbers.cells` has of a reading.
READ = ("apparent_age", "apparent_low", "apparent_high", "apparent_male", "apparent_site")
#: Columns of `Numbers.cells`.
COLUMNS = (
    "age",
    "sex",
    *READ,
    *ALL_MEASURES,
    "confidence",
    *(f"{name}_{what}" for name in ALL_MEASURES for what in ("z", "percentile")),
)


@dataclass(frozen=True, eq=False)
class Labelled:
    """A brain with both kinds of labels.

    Attributes
    ----------
    tissues, regions : Segmentation
    measures : dict of str to float
        All that is counted on them.
    networks : tuple of str
        SHA-256 of the networks.
    """

    tissues: Segmentation
    regions: Segmentation
    networks: tuple[str, ...]

    @property
    def measures(self) -> dict[str, float]:
        """Of `ALL_MEASURES`, and "confidence" if requested."""
        found = measures_of(self.tissues)
        fluid = found["csf_ml"] + found["ventricle_ml"]
        of_regions = region_measures_of(self.regions)
        return {HEAD: round(found["brain_ml"] + fluid, 5), **found, **of_regions}

    def numbers(self, person: Person, norms: Norms | None = None) -> Numbers:
        """The numbers, of a person as far as known, among the bundled or other norms."""
        return numbers_of(self.measures, person, norms, self.networks)


def label_brain(
    volume: np.ndarray,
    space: Space,
    segmenter: Segmenter | None = None,
    *,
    confidence: bool = False,
) -> Labelled:
    """Label tissues and regions of a brain.

    Parameters
    ----------
    volume, space : ndarray, Space
        As for `Segmenter.segment`.
    segmenter : Segmenter or None
        Of the tissues; the bundled one by default.
    confidence : bool
        Also that of the tissue labels.

    Raises
    ------
    StyleGAN3DError
        If the grid is one that the networks do not know.
    """
    segmenter = segmenter or inference.bundled_segmenter()
    regions = inference.bundled_regions()
    return Labelled(
        segmenter.segment(volume, space, confidence=confidence),
        regions.segment(volume, space),
        (segmenter.hash, regions.hash),
    )


def region_measures_of(found: Segmentation) -> dict[str, float]:
    """`REGION_MEASURES` of one brain."""
    return region_measures(found.volumes)


def region_measures(volumes: Mapping[str, float]) -> dict[str, float]:
    """Volumes and asymmetries, as `stylegan3d segment` names them, from ml of each region."""
    row = {f"{name}_ml": volumes[name] for name in REGION_VOLUMES}
    for name in PAIRED:
        left, right = (volumes[f"{side}_{name}"] for side in SIDES)
        row[f"{name}_asymmetry"] = asymmetry_percent(left, right)
    return {name: round(value, 5) for name, value in row.items()}


def numbers_of(
    measures: dict[str, float],
    person: Person,
    norms: Norms | None = None,
    networks: tuple[str, ...] = (),
) -> Numbers:
    """Measures with their scores.

    Parameters
    ----------
    measures : dict of str to float
        `HEAD` among them.
    person : Person
    norms : Norms or None
        The bundled ones by default, which hold for the bundled networks alone.
    networks : tuple of str
        SHA-256 of those that measured.
    """
    read = reading_of(measures, norms, networks)
    if not person.is_known:
        return Numbers(measures, person, reading=read)
    norms = norms or norms_of_people.bundled_norms()
    if norms.networks and networks and norms.networks != networks:
        why = f"Percentiles of {norms.name} hold for the networks that measured them, not for this."
        return Numbers(measures, person, among=why, reading=read)
    try:
        norms_of_people.check_age(person)
    except StyleGAN3DError as error:
        return Numbers(measures, person, among=str(error), reading=read)
    head = measures[HEAD]
    scores = {
        name: norms.score(name, value, person, head)
        for name, value in measures.items()
        if norms.covers(name, person)
    }
    sex = SEXES[person.sex or ""]
    size = "with this head size" if norms.for_head else "of any head size"
    among = f"Among {norms.name}: {sex}, {person.age:g} years, {size}."
    return Numbers(measures, person, scores, among, norms, read)


def reading_of(
    measures: Mapping[str, float], norms: Norms | None, networks: tuple[str, ...]
) -> Reading | None:
    """Apparent age and sex, calibrated by the people of norms from a table."""
    reader = bundled_reader()
    if networks != reader.networks:
        return None
    if norms is not None and norms.people:
        rows, people = zip(*norms.people, strict=True)
        reader = reader.calibrated(rows, people, norms.name.partition(" people of ")[2])
    return reader.read(measures)


def lines_of(numbers: Numbers, hidden: Collection[str] = ()) -> Iterator[str]:
    """A line of text for each measure but the hidden, with its limits among such people."""
    for name in ALL_MEASURES:
        if name not in numbers.measures or name in hidden:
            continue
        value = value_text(name, numbers.measures[name])
        line = f"{title_of(name)}: {value} {unit_of(name)}".rstrip()
        score = numbers.scores.get(name)
        if score is not None:
            z, percentile = score.words
            low, high = (value_text(name, limit) for limit in (score.low, score.high))
            line += f", z {z}, percentile {percentile} (95 % of such people {low} to {high}"
            line += f"; another scanner may shift z by {score.shift})"
        yield line
    if numbers.reading is not None:
        yield f"Reading: {numbers.reading}"


def summary_of(numbers: Numbers) -> list[str]:
    """Sentences: the key measures, whom their z compare with, and what was read."""
    lines = []
    for name in KEY_MEASURES:
        words = f"{title_of(name)} {value_text(name, numbers.measures[name])} {unit_of(name)}"
        score = numbers.scores.get(name)
        lines.append(words if score is None else f"{words} (z {score.words[0]})")
    read = [] if numbers.reading is None else [f"Reading: {numbers.reading}."]
    return ["; ".join(lines) + ".", numbers.among, *read]
