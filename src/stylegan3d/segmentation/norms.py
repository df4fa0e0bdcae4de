"""Where a volume lies among people of the same age, sex and head size.

A measure, on a power scale that makes it symmetric (Box and Cox 1964), is regressed on age (a
natural cubic spline), sex, their product, and the logarithm of head size; its spread on age and sex
(as in GAMLSS, Rigby and Stasinopoulos 2005, doi:10.1111/j.1467-9876.2005.00510.x). What is left,
divided by the spread, is z: head size is taken off as a residual, not by a ratio, which
over-corrects (Voevodskaya et al. 2014, doi:10.3389/fnagi.2014.00264; Opfer et al. 2022,
doi:10.1016/j.neurad.2022.03.002). The uncertainty of the curve itself, which grows where people are
few, is part of the spread.

Brains are without skull, so head size is the volume of the extracted brain with its fluid.

The test-retest error of measures: how far repeated scans of an unchanged brain differ.

The bundled error is of simulated repeats. A site learns its own from people who were scanned twice
within a short time there. Few pairs say little of one measure alone, so each is shrunk towards the
bundled error times one factor for all measures, as a conjugate prior does it (Gelman et al. 2013,
Bayesian Data Analysis, section 2.6).
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import boxcox, inv_boxcox, ndtr

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.scans.person import Person, sex_of
from stylegan3d.segmentation.classes import AGES, ALL_MEASURES, HEAD, score_text, unit_of
from stylegan3d.storage.encoding import finite_number, read_json, to_json
from stylegan3d.storage.files import UNKNOWN, atomic_write_bytes, cell_number, read_rows, reason
from stylegan3d.storage.places import bundled_model_path, repeats_path
from stylegan3d.storage.places import repeats_names as repeats_names

FORMAT, VERSION = "stylegan3d-norms", 1
FILE = "norms.json"
BUNDLED = "regions-t1-2mm"
#: Places of the spline's knots among the ages of the people.
KNOTS = (0.05, 0.35, 0.65, 0.95)
POWERS = (0.0, 0.5, 1.0)
#: A table of fewer people gives no curve.
FEWEST = 40
#: A site with fewer people has no shift of its own.
FEWEST_AT_SITE = 8
UNKNOWN_SHIFT = "an unknown amount"
#: Of a normal distribution: 95 % lie within.
WIDE = 1.959964


@dataclass(frozen=True)
class Score:
    """Where a value lies.

    Attributes
    ----------
    z : float
        Standard deviations from the expected value.
    percentile : float
        0 to 100.
    expected, low, high : float
        Median, and the limits between which 95 % of such people lie, in the measure's unit.
    scanner : float or None
        By how much z another scanner may shift: the largest mean z of one of the sites; None where
        the people are of no known sites.
    """

    z: float
    percentile: float
    expected: float
    low: float
    high: float
    scanner: float | None = None

    @property
    def words(self) -> tuple[str, str]:
        """z and percentile as they are shown everywhere."""
        return score_text(self.z, self.percentile)

    @property
    def shift(self) -> str:
        """`scanner` as it is shown everywhere."""
        return UNKNOWN_SHIFT if self.scanner is None else f"{self.scanner:.1f}"


@dataclass(frozen=True, eq=False)
class Curve:
    """One measure's dependence on age, sex and head size.

    Attributes
    ----------
    power : float or None
        Of the power scale, 0 for the logarithm; None for measures of either sign, taken as is.
    mean : ndarray, shape (k,)
        Coefficients of the expected value.
    covariance : ndarray, shape (k, k)
        Of these coefficients.
    spread : ndarray, shape (3,)
        Coefficients of the logarithm of the standard deviation: 1, age, sex.
    sites : dict of str to float
        Mean z of the people of each site.
    """

    power: float | None
    mean: np.ndarray
    covariance: np.ndarray
    spread: np.ndarray
    sites: dict[str, float]


@dataclass(frozen=True, eq=False)
class Norms:
    """Norms of many measures, as of one file.

    Attributes
    ----------
    name : str
        Whose they are, such as "222 people of 3 sites".
    networks : tuple of str
        SHA-256 of the networks that measured; empty if unknown.
    knots : ndarray, shape (4,)
        Of the spline, in years.
    head_ml : float
        Usual head size.
    curves : dict of str to Curve
        By measure; empty for published curves (`PublishedNorms`).
    people : tuple
        Measures of each and who they are, of norms from a table of people; empty otherwise.
    """

    name: str
    networks: tuple[str, ...]
    knots: np.ndarray
    head_ml: float
    curves: dict[str, Curve]
    people: tuple[tuple[Mapping[str, float], Person], ...] = ()

    #: Whether the expected value depends on head size.
    for_head = True

    def span(self, measure: str, sex: str | None) -> tuple[float, float]:
        """Lowest and highest age with norms of a measure; an empty span without."""
        return AGES if measure in self.curves else (np.inf, -np.inf)

    def covers(self, measure: str, person: Person) -> bool:
        """Whether there are norms of a measure for this person."""
        first, last = self.span(measure, person.sex)
        return person.age is not None and first <= person.age <= last

    def score(self, measure: str, value: float, person: Person, head_ml: float) -> Score:
        """Where a value lies.

        Parameters
        ----------
        measure : str
            A key of `curves`.
        value : float
            In its unit.
        person : Person
            Both age and sex known.
        head_ml : float
            The brain with its fluid.

        Raises
        ------
        StyleGAN3DError
            If the person is younger or older than `AGES`.
        """
        check_age(person)
        assert person.age is not None
        middle, spread = self._at(measure, np.array([person.age]), person.sex, head_ml)
        power = self.curves[measure].power
        z = (_powered(np.array([value]), power) - middle) / spread
        low, expected, high = (
            float(_unpowered(middle + k * spread, power)[0]) for k in (-WIDE, 0, WIDE)
        )
        scanner = max(map(abs, self.curves[measure].sites.values()), default=None)
        return Score(float(z[0]), 100 * float(ndtr(z[0])), expected, low, high, scanner)

    def curve(
        self, measure: str, sex: str, head_ml: float, ages: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Expected value and the limits of 95 % of people, each (n,), by age `(n,)`."""
        middle, spread = self._at(measure, ages, sex, head_ml)
        power = self.curves[measure].power
        low, expected, high = (_unpowered(middle + k * spread, power) for k in (-WIDE, 0, WIDE))
        return expected, low, high

    def _at(
        self, measure: str, ages: np.ndarray, sex: str | None, head_ml: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation on the power scale, the curve's uncertainty included."""
        curve = self.curves[measure]
        n = len(ages)
        male, heads = np.full(n, float(sex == "M")), np.full(n, head_ml / self.head_ml)
        x = _terms(ages, male, heads, self.knots, measure)
        own = np.exp(2 * _spread_terms(ages, male) @ curve.spread)
        return x @ curve.mean, np.sqrt(own + np.einsum("ij,jk,ik->i", x, curve.covariance, x))

    def to_dict(self) -> Json:
        """For JSON; `norms_from` reads it."""
        return {
            "format": FORMAT,
            "format_version": VERSION,
            "name": self.name,
            "networks": list(self.networks),
            "ages": list(AGES),
            "knots": _short(self.knots),
            "head_ml": round(self.head_ml, 1),
            "curves": {
                name: {
                    "power": curve.power,
                    "mean": _short(curve.mean),
                    "covariance": _short(curve.covariance[np.tril_indices(len(curve.mean))]),
                    "spread": _short(curve.spread),
                    "sites": {site: round(z, 2) for site, z in curve.sites.items()},
                }
                for name, curve in self.curves.items()
            },
        }


def check_age(person: Person) -> None:
    """StyleGAN3DError if there are no norms for this age."""
    if person.age is None or not AGES[0] <= person.age <= AGES[1]:
        text = "unknown" if person.age is None else f"{person.age:g}"
        raise StyleGAN3DError(
            f"There are no percentiles for the age {text}: the people measured are {AGES[0]:g} to "
            f"{AGES[1]:g} years old; leave the age out to get volumes alone."
        )


def fit_norms(
    rows: Sequence[Mapping[str, float]],
    people: Sequence[Person],
    sites: Sequence[str],
    name: str,
    networks: tuple[str, ...] = (),
) -> Norms:
    """Norms from the measures of people.

    Parameters
    ----------
    rows : sequence of mapping
        The measures of each, `HEAD` among them; one known of too few people has no curve.
    people : sequence of Person
        Both age and sex known.
    sites : sequence of str
        Scanner or study of each.

    Raises
    ------
    StyleGAN3DError
        If they are too few.
    """
    inside = [i for i, p in enumerate(people) if p.age is not None and p.age <= AGES[1] + 3]
    if len(inside) < FEWEST or {people[i].sex for i in inside} != {"F", "M"}:
        raise StyleGAN3DError(
            f"Norms need at least {FEWEST} people of both sexes with age and sex; "
            f"the table has {len(inside)}."
        )
    usual = float(np.median([rows[i][HEAD] for i in inside]))
    knots = np.quantile([people[i].age or 0 for i in inside], KNOTS)
    alike = f"{name} are too alike in age, sex or head size for norms."
    if not (np.diff(knots) > 0).all():
        raise StyleGAN3DError(alike)
    counts = Counter(sites[i] for i in inside)
    known = sorted(site for site, count in counts.items() if site and count >= FEWEST_AT_SITE)
    curves = {}
    for measure in dict.fromkeys(name for i in inside for name in rows[i]):
        own = [i for i in inside if measure in rows[i]]
        if len(own) < FEWEST:
            continue
        values = np.array([rows[i][measure] for i in own], np.float64)
        ages = np.array([people[i].age for i in own], np.float64)
        male = np.array([people[i].sex == "M" for i in own], np.float64)
        heads = np.array([rows[i][HEAD] for i in own], np.float64)
        x = _terms(ages, male, heads / usual, knots, measure)
        s = _spread_terms(ages, male)
        try:
            power, mean, spread = _fitted(values, x, s)
            deviation = np.exp(s @ spread)
            covariance = np.linalg.inv(x.T @ (x / deviation[:, None] ** 2))
        except np.linalg.LinAlgError:  # the same in all, or known of one sex
            continue
        z = (_powered(values, power) - x @ mean) / deviation
        where = np.array([sites[i] for i in own])
        shifts = {site: float(z[where == site].mean()) for site in known if (where == site).any()}
        curves[measure] = Curve(power, mean, covariance, spread, shifts)
    if not curves:
        raise StyleGAN3DError(alike)
    return Norms(name, networks, knots, usual, curves)


def _fitted(
    values: np.ndarray, x: np.ndarray, s: np.ndarray
) -> tuple[float | None, np.ndarray, np.ndarray]:
    """Power, mean and spread of the greatest likelihood."""
    powers: Sequence[float | None] = POWERS if (values > 0).all() else (None,)
    best: tuple[float, float | None, np.ndarray, np.ndarray] | None = None
    for power in powers:
        scaled = _powered(values, power)
        unit = scaled.std() or 1.0
        mean, spread = _regressed(scaled / unit, x, s)
        left = (scaled / unit - x @ mean) / np.exp(s @ spread)
        steep = 0.0 if power is None else (power - 1) * float(np.log(values).sum())
        told = steep - float((left**2 / 2 + s @ spread).sum()) - len(values) * float(np.log(unit))
        if best is None or told > best[0]:
            spread = spread + np.log(unit) * np.eye(len(spread))[0]
            best = (told, power, mean * unit, spread)
    assert best is not None
    return best[1:]


def _regressed(t: np.ndarray, x: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares for the mean and Newton steps for the spread, in turn."""
    spread = np.zeros(s.shape[1])
    mean = np.zeros(x.shape[1])
    for _ in range(30):
        weight = np.exp(-s @ spread)
        mean = np.linalg.lstsq(x * weight[:, None], t * weight, rcond=None)[0]
        squares = ((t - x @ mean) / np.exp(s @ spread)) ** 2
        step = np.linalg.solve(2 * s.T @ (s * squares[:, None]), s.T @ (squares - 1))
        spread = spread + np.clip(step, -0.5, 0.5)
    # The mean took some of the spread with it: what n - k degrees of freedom would leave.
    spread[0] += 0.5 * np.log(len(t) / (len(t) - x.shape[1]))
    return mean, spread


def _terms(
    ages: np.ndarray, male: np.ndarray, heads: np.ndarray, knots: np.ndarray, measure: str
) -> np.ndarray:
    """Columns of the mean, (n, k); `heads` in parts of the usual one."""
    decades = (ages - 45) / 10
    columns = [np.ones_like(ages), *_spline(decades, (knots - 45) / 10)]
    columns += [male - 0.5, (male - 0.5) * decades]
    if measure != HEAD:
        columns.append(np.log(heads))
    return np.stack(columns, axis=1)


def _spread_terms(ages: np.ndarray, male: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(ages), (ages - 45) / 10, male - 0.5], axis=1)


def _spline(x: np.ndarray, knots: np.ndarray) -> list[np.ndarray]:
    """Natural cubic spline, linear beyond the outer knots (Harrell 2015, section 2.4.5)."""
    last, before = knots[-1], knots[-2]

    def cubed(k: float) -> np.ndarray:
        return np.maximum(x - k, 0) ** 3

    scale = (last - knots[0]) ** 2
    return [x] + [
        (
            cubed(k)
            - cubed(before) * (last - k) / (last - before)
            + cubed(last) * (before - k) / (last - before)
        )
        / scale
        for k in knots[:-2]
    ]


def _powered(values: np.ndarray, power: float | None) -> np.ndarray:
    """On the power scale; nothing of a measure counts as a hundredth of a unit."""
    return values if power is None else boxcox(np.maximum(values, 0.01), power)


def _unpowered(scaled: np.ndarray, power: float | None) -> np.ndarray:
    """Inverse of `_powered`."""
    if power is None:
        return scaled
    return inv_boxcox(np.maximum(scaled, -1 / power) if power else scaled, power)


def _short(numbers: np.ndarray) -> list[float]:
    return [float(f"{value:.8g}") for value in np.ravel(numbers)]


def norms_from(data: Any) -> Norms:
    """The norms of a parsed file; ValueError if it is none."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError("not a norms file")
    if data.get("format_version") != VERSION:
        raise ValueError("of another version of this program")
    curves = {}
    for name, told in data["curves"].items():
        mean = _numbers(told["mean"])
        k = len(mean)
        covariance = np.zeros((k, k))
        covariance[np.tril_indices(k)] = _numbers(told["covariance"])
        covariance = covariance + np.tril(covariance, -1).T
        power = finite_number(told["power"])
        sites = {str(site): float(z) for site, z in told["sites"].items()}
        curves[name] = Curve(power, mean, covariance, _numbers(told["spread"]), sites)
        if k != (6 if name == HEAD else 7) or len(curves[name].spread) != 3:
            raise ValueError(f"other coefficients of {name}")
    knots, networks = _numbers(data["knots"]), tuple(map(str, data["networks"]))
    if len(knots) != len(KNOTS):
        raise ValueError("other knots")
    return Norms(str(data["name"]), networks, knots, float(data["head_ml"]), curves)


def _numbers(values: Any) -> np.ndarray:
    """float64 [n]; ValueError if one is not finite."""
    found = np.array(values, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("a number is missing")
    return found


@lru_cache(maxsize=1)
def bundled_norms() -> Norms:
    """Those that come with the program, of its own networks."""
    return norms_from(read_json(bundled_model_path(BUNDLED) / FILE))


#: Columns of a table of published curves: either the last three or mean and sd.
CURVE_COLUMNS = ("measure", "sex", "age", "low", "median", "high")


@dataclass(frozen=True, eq=False)
class PublishedNorms(Norms):
    """Curves over age as a paper prints them, straight between its ages.

    Attributes
    ----------
    tables : dict
        By measure and sex: ages, limits below which 2.5 %, 50 % and 97.5 % lie, [n] each.
    """

    tables: dict[tuple[str, str], tuple[np.ndarray, ...]] = field(default_factory=dict)
    for_head = False

    def span(self, measure: str, sex: str | None) -> tuple[float, float]:
        """See `Norms`; never beyond `AGES`."""
        if (measure, sex or "") not in self.tables:
            return np.inf, -np.inf
        ages = self.tables[measure, sex or ""][0]
        return max(float(ages[0]), AGES[0]), min(float(ages[-1]), AGES[1])

    def score(self, measure: str, value: float, person: Person, head_ml: float) -> Score:
        """See `Norms`; a normal distribution with another width on each side of the median."""
        assert person.age is not None
        found = self.curve(measure, person.sex or "", head_ml, np.array([person.age]))
        expected, low, high = (float(each[0]) for each in found)
        side = high - expected if value > expected else expected - low
        z = WIDE * (value - expected) / side
        return Score(z, 100 * float(ndtr(z)), expected, low, high)

    def curve(
        self, measure: str, sex: str, head_ml: float, ages: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Norms`."""
        known, low, median, high = self.tables[measure, sex]
        expected, below, above = (np.interp(ages, known, each) for each in (median, low, high))
        return expected, below, above


def read_norms(path: Path) -> Norms:
    """Norms from a file of this program, a table of local people, or one of published curves.

    Parameters
    ----------
    path : Path
        .json, or .csv or .tsv with one row for each person: columns age, sex and, as `segment`
        writes them, the measures; optionally site. Or with one row for each age: `CURVE_COLUMNS`,
        optionally source and licence.

    Raises
    ------
    StyleGAN3DError
        If it is none of them, or has too few people.
    """
    try:
        if path.suffix == ".json":
            return norms_from(read_json(path))
        table = read_rows(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise StyleGAN3DError(
            f"{path} holds no norms ({reason(error)}): give a file or a table of people as "
            "docs/howto/norms.md describes it."
        ) from error
    if table and "measure" in table[0]:
        return _of_curves(path, table)
    return _of_people(path, table)


def _of_curves(path: Path, table: Sequence[Mapping[str, str]]) -> Norms:
    points: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for number, row in enumerate(table, 2):
        measure, sex = row.get("measure") or "", sex_of(row.get("sex"))
        age, mean, sd = (_cell(row.get(name)) for name in ("age", "mean", "sd"))
        limits = tuple(_cell(row.get(name)) for name in ("low", "median", "high"))
        if mean is not None and sd is not None:
            limits = mean - WIDE * sd, mean, mean + WIDE * sd
        numbers = tuple(value for value in (age, *limits) if value is not None)
        unsure = len(numbers) < 4 or not numbers[1] < numbers[2] < numbers[3]
        if measure not in ALL_MEASURES or sex is None or unsure:
            raise StyleGAN3DError(
                f"Line {number} of {path} is not a point of a curve: give "
                f"{', '.join(CURVE_COLUMNS)} (or mean and sd), measures as "
                "`stylegan3d segment` names them, sex F or M, and increasing limits."
            )
        points.setdefault((measure, sex), []).append(numbers)
    tables = {}
    for (measure, sex), rows in points.items():
        ages = {row[0] for row in rows}
        if len(ages) < 2 or len(ages) < len(rows):
            raise StyleGAN3DError(
                f"{path} needs at least two ages of {measure} for each sex, each age once."
            )
        tables[measure, sex] = tuple(np.array(sorted(rows)).T)
    source = table[0].get("source") or path.name
    licence = (table[0].get("licence") or "licence not stated").strip()
    return PublishedNorms(f"{source} ({licence})", (), np.zeros(0), 0.0, {}, tables=tables)


def _of_people(path: Path, table: Sequence[Mapping[str, str]]) -> Norms:
    rows, people, sites, told = [], [], [], set()
    for number, row in enumerate(table):
        age, sex = _cell(row.get("age")), sex_of(row.get("sex"))
        if age is None or sex is None or not AGES[0] <= age <= AGES[1]:
            continue
        found = {
            name: value
            for name, cell in sorted(row.items())
            if name and name.endswith(("_ml", "_asymmetry", "_ratio"))
            if (value := _cell(cell)) is not None
        }
        name = (row.get("participant_id") or "").strip()
        who = row.get("site"), number if name.lower() in UNKNOWN else name
        if not found.get(HEAD, 0) > 0 or who in told:  # of a person, the first scan
            continue
        told.add(who)
        rows.append(found)
        people.append(Person(age, sex))
        sites.append((row.get("site") or "").strip())
    if not rows:
        raise StyleGAN3DError(
            f"{path} has no row with age, sex (F or M) and {HEAD}: give a table with these columns "
            "and the measures that `stylegan3d segment` writes."
        )
    norms = fit_norms(rows, people, sites, f"{len(rows)} people of {path.name}")
    return replace(norms, people=tuple(zip(rows, people, strict=True)))


def _cell(text: str | None) -> float | None:
    return finite_number(cell_number((text or "").strip()))


REPEATS_FILE = "repeats.json"
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
    path = bundled_model_path(BUNDLED) / REPEATS_FILE
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
