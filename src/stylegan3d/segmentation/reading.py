"""What a brain's volumes say about its age and sex, with intervals.

Ridge regressions on the logarithms of all volumes relative to head size, the age without the pull
towards its mean (Cole et al. 2018, doi:10.1038/mp.2017.62). The interval of the age is
conformal (Lei et al. 2018, doi:10.1080/01621459.2017.1307116): nine of ten people whom the
regression had not seen lie within, at the sites it was fitted to. Another scanner moves the reading
by some years; people of one's own site calibrate it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.plain import Json
from stylegan3d.scans.person import Person
from stylegan3d.segmentation.classes import ALL_MEASURES, HEAD
from stylegan3d.storage.jsontext import read_json
from stylegan3d.storage.places import bundled_model_path

FORMAT, VERSION = "stylegan3d-reading", 1
FILE = "reading.json"
BUNDLED = "regions-t1-2mm"
#: Volumes that are read.
FEATURES = tuple(name for name in ALL_MEASURES if name.endswith("_ml"))
#: Share of people within the interval.
WITHIN = 0.9
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
        """For JSON."""
        ages = {"age": self.age, "low": self.low, "high": self.high}
        return {k: round(v, 1) for k, v in ages.items()} | {
            "male": round(self.male, 2),
            "site": self.site,
        }

    def __str__(self) -> str:
        """Such as "apparent age 47, 39 to 55 (nine of ten people); male (91 %); site not …"."""
        sex, chance = self.sex
        return (
            f"apparent age {self.age:.0f}, {max(self.low, 0):.0f} to {self.high:.0f} (nine of ten "
            "people); "
            f"{sex} ({100 * chance:.0f} %); {self.site}"
        )

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
    head = FEATURES.index(HEAD)
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
            f"{path} cannot be read ({error}): install this program again."
        ) from error
