"""The test-retest error of measures: how far repeated scans of an unchanged brain differ.

The bundled error is of simulated repeats. A site learns its own from people who were scanned twice
within a short time there. Few pairs say little of one measure alone, so each is shrunk towards the
bundled error times one factor for all measures, as a conjugate prior does it (Gelman et al. 2013,
Bayesian Data Analysis, section 2.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.segmentation.classes import unit_of
from stylegan3d.segmentation.norms import BUNDLED
from stylegan3d.storage.bounded import reason
from stylegan3d.storage.files import atomic_write_bytes
from stylegan3d.storage.jsontext import finite_number, read_json, to_json
from stylegan3d.storage.places import bundled_model_path, repeats_path
from stylegan3d.storage.places import repeats_names as repeats_names

FILE = "repeats.json"
#: Simulated repeats know neither movement nor distortion nor dehydration: twice their error counts.
ALLOWANCE = 2.0
#: 95 % of the differences between two measurements of the same are within this many deviations.
LIMIT = 1.959964 * sqrt(2)
#: Pairs of scans that a site needs; the bundled error counts as so many of a site's.
LEAST, WORTH = 3, 10.0

#: Measures at both of two visits.
Pair = tuple[Mapping[str, float], Mapping[str, float]]


@dataclass(frozen=True)
class Repeats:
    """The error of one measurement.

    Attributes
    ----------
    name : str
        What it was learned from.
    deviation : dict of str to float
        By measure: per cent of volumes and ratios, points of asymmetries.
    networks : tuple of str
        SHA-256 of the networks that measured; empty for the bundled ones.
    """

    name: str
    deviation: Mapping[str, float]
    networks: tuple[str, ...] = ()

    def error(self, name: str, first: float, second: float) -> float | None:
        """What 95 % of repeated scans differ by less, in the measure's unit; None if unknown."""
        if name not in self.deviation:
            return None
        share = 1.0 if unit_of(name) == "%" else (first + second) / 200
        return LIMIT * self.deviation[name] * share


@lru_cache(maxsize=1)
def bundled_repeats() -> Repeats:
    """Of simulated repeats, measured by `benchmarks/visits.py`, with the allowance."""
    path = bundled_model_path(BUNDLED) / FILE
    told = _read(path)
    deviation = {name: ALLOWANCE * value for name, value in told.deviation.items()}
    return Repeats(f"{told.name}, times {ALLOWANCE:g}", deviation)


def site_repeats(site: str) -> Repeats:
    """Of a site's own repeats.

    Raises
    ------
    StyleGAN3DError
        If the site has none.
    """
    path = repeats_path(site)
    if not path.is_file():
        others = ", ".join(repeats_names()) or "none"
        raise StyleGAN3DError(
            f"The site '{site}' has no test-retest error (sites that have: {others}); `stylegan3d "
            f"model site FOLDER --name '{site}'` learns it from at least {LEAST} people who were "
            "scanned twice."
        )
    return _read(path)


def save_site_repeats(site: str, repeats: Repeats, *, overwrite: bool = False) -> Path:
    """Keep the error of a site; returns its file."""
    path = repeats_path(site)
    path.parent.mkdir(parents=True, exist_ok=True)
    deviation = {name: round(value, 4) for name, value in repeats.deviation.items()}
    record = {"name": repeats.name, "networks": repeats.networks, "deviation": deviation}
    atomic_write_bytes(path, to_json(record).encode(), overwrite=overwrite)
    return path


def learn_repeats(pairs: Sequence[Pair], site: str, networks: tuple[str, ...]) -> Repeats:
    """The error at a site, from people who were scanned twice.

    Parameters
    ----------
    pairs : sequence of (dict, dict)
        Measures of both scans of each person, as two visits have them.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than `LEAST`.
    """
    count = len(pairs)
    if count < LEAST:
        raise StyleGAN3DError(
            f"A test-retest error needs at least {LEAST} people who were scanned twice, and there "
            f"are {count}; add more of them."
        )
    usual = bundled_repeats().deviation
    own = deviations(pairs, [name for name in pairs[0][0] if name in usual])
    factor = np.mean([(value / usual[name]) ** 2 for name, value in own.items()])
    # How well a deviation is known adds to what is within it.
    worth = WORTH + count
    deviation = {
        name: sqrt((count * value**2 + WORTH * factor * usual[name] ** 2) / worth * (1 + 1 / worth))
        for name, value in own.items()
    }
    return Repeats(f"{count} people scanned twice at '{site}'", deviation, networks)


def difference(pair: Pair, name: str) -> float:
    """Second minus first, in per cent of their mean; of asymmetries in points."""
    a, b = pair[0][name], pair[1][name]
    return b - a if unit_of(name) == "%" else 200 * (b - a) / max(a + b, 1e-6)


def deviations(pairs: Sequence[Pair], names: Sequence[str]) -> dict[str, float]:
    """Of one measurement by measure, that of left and right together."""
    own = {name: np.mean([difference(pair, name) ** 2 for pair in pairs]) for name in names}
    mirrored = {"left": "right", "right": "left"}
    found = {}
    for name in names:
        side, _, rest = name.partition("_")
        other = f"{mirrored[side]}_{rest}" if side in mirrored else name
        found[name] = sqrt((own[name] + own[other]) / 4)
    return found


def _read(path: Path) -> Repeats:
    try:
        told: Any = read_json(path)
        values = {str(k): finite_number(v) for k, v in told["deviation"].items()}
        deviation = {k: v for k, v in values.items() if v is not None and v > 0}
        return Repeats(str(told["name"]), deviation, tuple(map(str, told.get("networks", ()))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StyleGAN3DError(
            f"{path} holds no test-retest error ({reason(error)}); calibrate the site again."
        ) from error
