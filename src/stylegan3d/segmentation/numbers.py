"""All numbers of one brain: volumes, asymmetries, and where they lie among people.

Whatever shows or writes a number of a brain (window, report, tables) takes it from here, so that it
is the same to the last digit.

What a brain's volumes say about its age and sex, with intervals.

Ridge regressions on the logarithms of all volumes relative to head size, the age without the pull
towards its mean (Cole et al. 2018, doi:10.1038/mp.2017.62). The interval of the age is
conformal (Lei et al. 2018, doi:10.1080/01621459.2017.1307116): nine of ten people whom neither the
regression nor the networks had seen lie within, at the sites it was fitted to. Another scanner
moves the reading by some years; people of one's own site calibrate it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.base import Doubt, Json, StyleGAN3DError
from stylegan3d.geometry.space import Shown, Space
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.segmentation import classes, inference
from stylegan3d.segmentation import norms as norms_of_people
from stylegan3d.segmentation.inference import Segmentation, Segmenter, measures_of
from stylegan3d.segmentation.norms import Norms, Score
from stylegan3d.storage.encoding import read_json
from stylegan3d.storage.files import reason
from stylegan3d.storage.places import bundled_model_path

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT, VERSION = "stylegan3d-reading", 1
FILE = "reading.json"
BUNDLED = "regions-t1-2mm"
#: Volumes that are read.
FEATURES = tuple(name for name in classes.ALL_MEASURES if name.endswith("_ml"))
#: z of a head from which its size is in doubt, and share of people within the interval.
ODD_HEAD, WITHIN = 4.0, 0.9
FOLDS = 10
#: Fewer people of a site do not calibrate it.
FEWEST_TO_CALIBRATE = 5
UNCALIBRATED = "site not calibrated"


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes
    ----------
    age, low, high : float
        Apparent age in years, and the interval that holds nine of ten people.
    male : float
        Chance that this is a man's brain, 0 to 1.
    site : str
        How the site was accounted for.
    """

    age: float
    low: float
    high: float
    male: float
    site: str

    def to_dict(self) -> Json:
        """For JSON; without ages that are `outside` the norms, which `site` says then."""
        ages = {"age": self.age, "low": self.low, "high": self.high}
        return {k: None if self.outside else round(v, 1) for k, v in ages.items()} | {
            "male": round(self.male, 2),
            "site": f"age {self.outside}; {self.site}" if self.outside else self.site,
        }

    def __str__(self) -> str:
        """Such as "apparent age 47, 39 to 55 (nine of ten people); male (91 %); site not …"."""
        sex, chance = self.sex
        limits = f"{max(self.low, 0):.0f} to {self.high:.0f} (nine of ten people)"
        age = self.outside or f"{self.age:.0f}, {limits}"
        return f"apparent age {age}; {sex} ({100 * chance:.0f} %); {self.site}"

    @property
    def outside(self) -> str:
        """Such as "below 18, where the norms begin"; empty for an age among theirs."""
        youngest, oldest = classes.AGES
        if self.age < youngest:
            return f"below {youngest:g}, where the norms begin"
        return f"above {oldest:g}, where the norms end" if self.age > oldest else ""

    @property
    def sex(self) -> tuple[str, float]:
        """The likelier sex, male or female, and its probability."""
        return ("male", self.male) if self.male >= 0.5 else ("female", 1 - self.male)


@dataclass(frozen=True, eq=False)
class Reader:
    """The regressions.

    Attributes
    ----------
    networks : tuple of str
        SHA-256 of the networks that measured.
    mean, scale : ndarray, shape (k,)
        Of the features.
    age, sex : ndarray, shape (k + 1,)
        Weights of the standardised features and, last, the intercept.
    half_width : float
        Of the interval, in years.
    offset : float
        Years to add, of a calibrated site.
    site : str
        How the site was accounted for.
    """

    networks: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    half_width: float
    offset: float = 0.0
    site: str = UNCALIBRATED

    def read(self, measures: Mapping[str, float]) -> Reading:
        """Read the measures of one brain."""
        x = np.append((features_of([measures])[0] - self.mean) / self.scale, 1.0)
        age = float(x @ self.age) + self.offset
        male = 1 / (1 + math.exp(-max(-30.0, min(30.0, float(x @ self.sex)))))
        return Reading(age, age - self.half_width, age + self.half_width, male, self.site)

    def calibrated(
        self, rows: Sequence[Mapping[str, float]], people: Sequence[Person], name: str
    ) -> Reader:
        """The reader for a site, by people of known age there; itself if they are too few."""
        errors = np.array(
            [
                p.age - self.read(row).age + self.offset
                for row, p in zip(rows, people, strict=True)
                if p.age is not None and all(feature in row for feature in FEATURES)
            ]
        )
        if len(errors) < FEWEST_TO_CALIBRATE:
            return self
        offset = float(errors.mean())
        # Each against the offset of the others.
        left = (errors - offset) * len(errors) / (len(errors) - 1)
        half = max(interval_of(left), self.half_width if len(errors) < FOLDS else 0.0)
        site = f"calibrated with {len(errors)} people of {name}"
        return replace(self, offset=offset, half_width=half, site=site)

    def to_dict(self) -> Json:
        """For JSON; `reader_from` reads it."""
        return {
            "format": FORMAT,
            "format_version": VERSION,
            "networks": list(self.networks),
            "features": list(FEATURES),
            "half_width": round(self.half_width, 2),
            **{
                name: [float(f"{v:.7g}") for v in vars(self)[name]]
                for name in ("mean", "scale", "age", "sex")
            },
        }


def features_of(rows: Sequence[Mapping[str, float]]) -> np.ndarray:
    """float64 [n, k]: logarithms of volumes relative to head size, and of that itself."""
    volumes = np.array([[max(row[name], 0.01) for name in FEATURES] for row in rows])
    logs = np.log(volumes)
    head = FEATURES.index(classes.HEAD)
    relative = logs - logs[:, [head]]
    relative[:, head] = logs[:, head]
    return relative


def interval_of(errors: np.ndarray) -> float:
    """Half-width of the conformal interval."""
    rank = math.ceil((len(errors) + 1) * WITHIN)
    return float(np.sort(np.abs(errors))[min(rank, len(errors)) - 1])


def reader_from(data: Any) -> Reader:
    """The reader of a parsed file; ValueError if it is none."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError("no file of a reader")
    if data.get("format_version") != VERSION or data.get("features") != list(FEATURES):
        raise ValueError("of another version of this program")
    arrays = {name: np.array(data[name], np.float64) for name in ("mean", "scale", "age", "sex")}
    k = len(FEATURES)
    if [len(a) for a in arrays.values()] != [k, k, k + 1, k + 1]:
        raise ValueError("numbers are missing")
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise ValueError("a number is not finite")
    networks = tuple(map(str, data["networks"]))
    mean, scale, age, sex = (arrays[name] for name in ("mean", "scale", "age", "sex"))
    return Reader(networks, mean, scale, age, sex, float(data["half_width"]))


@lru_cache(maxsize=1)
def bundled_reader() -> Reader:
    """The one that comes with the program, of its own networks.

    Raises
    ------
    StyleGAN3DError
        If its file is damaged.
    """
    path = bundled_model_path(BUNDLED) / FILE
    try:
        return reader_from(read_json(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StyleGAN3DError(
            f"{path} cannot be read ({reason(error)}): install this program again."
        ) from error


NO_PERSON = "Percentiles need age and sex; at least one of them is unknown."


@dataclass(frozen=True, eq=False, repr=False)
class Numbers(Shown):
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

    @property
    def lines(self) -> list[str]:
        """Whom the scores compare with, and a line of text for each measure."""
        return [self.among, *lines_of(self)]

    @property
    def doubts(self) -> list[Doubt]:
        """Why a known person has no scores, or a head of no adult's size."""
        if self.person.is_known and not self.scores:
            return [Doubt("norms", "tell", self.among)]
        head = self.scores.get(classes.HEAD)
        if head is None or not abs(head.z) >= ODD_HEAD:
            return []
        text = f"The head is unusual in size (z {head.z:+.1f}); its voxel size may be wrong."
        return [Doubt("head-size", "ask", text, {"z": round(head.z, 2)})]

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
    *classes.ALL_MEASURES,
    "confidence",
    *(f"{name}_{what}" for name in classes.ALL_MEASURES for what in ("z", "percentile")),
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
        of_regions = region_measures(self.regions.volumes)
        return {classes.HEAD: round(found["brain_ml"] + fluid, 5), **found, **of_regions}

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
        Of the tissues; by default they are those of the bundled network's regions.
    confidence : bool
        Also that of the labels.

    Raises
    ------
    StyleGAN3DError
        If the grid is one that the networks do not know.
    """
    network = inference.bundled_regions()
    found = network.segment(volume, space, confidence=confidence)
    if segmenter is None or segmenter.hash == network.hash:
        return Labelled(found.as_tissues(), found, (network.hash, network.hash))
    tissues = segmenter.segment(volume, space, confidence=confidence)
    return Labelled(tissues, found, (segmenter.hash, network.hash))


def region_measures(volumes: Mapping[str, float]) -> dict[str, float]:
    """Volumes and asymmetries, as `stylegan3d segment` names them, from ml of each region."""
    row = {f"{name}_ml": volumes[name] for name in classes.REGION_VOLUMES}
    for name in classes.PAIRED:
        left, right = (volumes[f"{side}_{name}"] for side in classes.SIDES)
        row[f"{name}_asymmetry"] = classes.asymmetry_percent(left, right)
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
    head = measures[classes.HEAD]
    scores = {
        name: norms.score(name, value, person, head)
        for name, value in measures.items()
        if norms.covers(name, person)
    }
    sex = SEXES[person.sex or ""]
    size = "with this head size" if norms.for_head else "of any head size"
    among = f"Among {norms.name}: {sex}, {person.age:g} years, {size}."
    among = among if scores else f"{norms.name} cover no {sex} aged {person.age:g} years."
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
    for name in classes.ALL_MEASURES:
        if name not in numbers.measures or name in hidden:
            continue
        value = classes.value_text(name, numbers.measures[name])
        line = f"{classes.title_of(name)}: {value} {classes.unit_of(name)}".rstrip()
        score = numbers.scores.get(name)
        if score is not None:
            z, percentile = score.words
            low, high = (classes.value_text(name, limit) for limit in (score.low, score.high))
            line += f", z {z}, percentile {percentile} (95 % of such people {low} to {high}"
            line += f"; another scanner may shift z by {score.shift})"
        yield line
    if numbers.reading is not None:
        yield f"By volumes: {numbers.reading}"


def to_table(found: Mapping[str, Any]) -> DataFrame:
    """What was measured as a pandas table, with a row for each brain.

    Parameters
    ----------
    found : mapping of str to object
        By the name of each brain what `measure_volume`, `segment_scan` or `structures_of_scan`
        found in it.

    Returns
    -------
    DataFrame
        The names are its index. Columns are the measures (millilitres where they end in "_ml") and,
        of scans, age, sex, z, percentiles and "doubts"; NaN where unknown.

    Raises
    ------
    StyleGAN3DError
        If something is not what was found in a brain.
    """
    from pandas import DataFrame

    rows = {}
    for name, one in found.items():
        scan = {"doubts": " | ".join(map(str, one.doubts))} if hasattr(one, "cells") else {}
        rows[name] = {**one.cells, **scan} if scan else one
        if not isinstance(rows[name], Mapping):
            raise StyleGAN3DError(
                f"{name} is {type(one).__name__}: give what measure_volume or segment_scan found."
            )
    return DataFrame(list(rows.values()), index=list(rows)).rename_axis("name")
