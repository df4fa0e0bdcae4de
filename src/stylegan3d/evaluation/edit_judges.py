"""Predictors that measure the effect of edits.

Volumes are measured by the tissue network (`segmentation`), other attributes by a ridge regression
on tissue volumes and the features of `features.describe`, fitted to training subjects. The slope of
a predictor on true differences between subjects is the upper limit of what an edit can show; it is
measured within sources, with the same attributes held fixed as by the direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline

from stylegan3d.devices import workers
from stylegan3d.directions.checks import scaled
from stylegan3d.directions.people import as_numbers, deviations, group_numbers
from stylegan3d.evaluation.material import Material, Volumes
from stylegan3d.evaluation.tissue_columns import COLUMNS, LEAST_ML, TISSUES, tissue_columns
from stylegan3d.evaluation.utility import FEWEST_TO_FIT, FEWEST_TO_TEST, regression
from stylegan3d.geometry.intensity import unit
from stylegan3d.measures.attributes import MEASURES, measure_volume
from stylegan3d.measures.tissue_volumes import BY_NETWORK
from stylegan3d.plain import Json
from stylegan3d.segmentation.inference import bundled_segmenter

# Volumes measured by the tissue network, and the tissues they consist of.
READ = {
    "brain_ml": TISSUES,
    "ventricle_ml": ("ventricle_ml",),
    "grey_ml": ("grey_ml",),
    "white_ml": ("white_ml",),
}
MEASURED = tuple(measure.key for measure in MEASURES)
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Judge:
    """Predicts one attribute of brains, on the scale of `directions.checks.scaled`.

    Attributes
    ----------
    how : str
        Description of the method.
    r : float
        Correlation with the truth among subjects, within sources.
    slope : float
        Slope of its prediction on the truth among them; 1 shows all of a difference.
    sd : float
        Standard deviation of its prediction among subjects, within sources.
    n_test : int
        Number of these subjects: the held-out ones, or all if it was not fitted.
    regression : Pipeline or None
        Fitted regression; None for volumes of the tissue network.
    """

    how: str
    r: float
    slope: float
    sd: float
    n_test: int
    regression: Pipeline | None = None

    def to_dict(self) -> Json:
        """Plain data."""
        return {"how": self.how, "r": self.r, "slope": self.slope, "n_test": self.n_test}


class Judges:
    """Predictors of several attributes.

    Attributes
    ----------
    of : dict of str to Judge
        Attribute to its predictor.
    missing : dict of str to str
        Attribute to the reason why it has none.
    known : dict of str to ndarray, shape (subjects,)
        By attribute, training subjects first; NaN where unknown.
    """

    def __init__(self, material: Material, keys: Sequence[str]) -> None:
        self.material = material
        self.of: dict[str, Judge] = {}
        self.missing: dict[str, str] = {}
        self._by_tissues = material.has_tissues
        fit = np.arange(len(material.people)) < len(material.training)
        groups = [material.pack.table[row].get("source") for row in material.people]
        self._place, self._fit = group_numbers(groups, fit), fit
        self._truth: dict[str, np.ndarray] = {}
        self._read: dict[str, np.ndarray] = {}
        truths = self.known = _truths(material, keys)
        columns = np.empty((0, 0))
        if not all(self._by_network(key) for key in keys):
            tissues = material.real_tissues if self._by_tissues else None
            columns = deviations(_columns(tissues, material.real_features), self._place, fit)
        for key in keys:
            self._add(key, truths[key], columns)

    def readings(self, volumes: Volumes) -> dict[str, np.ndarray]:
        """Predictions, [n] by attribute."""
        rows = self._rows(volumes) if self._by_tissues else None
        read = {k: _volume(k, rows) for k in self.of if rows is not None and self._by_network(k)}
        regressions = {k: j.regression for k, j in self.of.items() if j.regression is not None}
        if regressions:
            features = self.material.describe(volumes, self.material.progress("Edited brains"))
            columns = _columns(rows, features)
            read |= {key: fitted.predict(columns) for key, fitted in regressions.items()}
        return read

    def shown(self, key: str, held: Sequence[str]) -> float:
        """Share of a true difference that the predictor shows with these attributes held fixed.

        The slope of its prediction on the truth in a regression on truth and held attributes, over
        its test subjects.
        """
        known = [self._truth[other] for other in held if other in self._truth and other != key]
        columns = np.stack([self._truth[key], *known], axis=1)
        rows = np.isfinite(columns).all(axis=1) & self._tested(self.of[key])
        if rows.sum() < len(columns[0]) + FEWEST_TO_TEST:
            return self.of[key].slope
        return float(np.linalg.lstsq(columns[rows], self._read[key][rows], rcond=None)[0][0])

    def _tested(self, judge: Judge) -> np.ndarray:
        return np.ones(len(self._fit), bool) if judge.regression is None else ~self._fit

    def _by_network(self, key: str) -> bool:
        return self._by_tissues and key in READ

    def _add(self, key: str, truth: np.ndarray, columns: np.ndarray) -> None:
        truth = deviations(scaled(key, truth), self._place, self._fit)
        self._truth[key] = truth
        fit, test = np.isfinite(truth) & self._fit, np.isfinite(truth) & ~self._fit
        if fit.sum() < FEWEST_TO_FIT or test.sum() < FEWEST_TO_TEST or np.ptp(truth[test]) == 0:
            self.missing[key] = (
                f"Known for {fit.sum()} training and {test.sum()} validation subjects with "
                f"different values; {FEWEST_TO_FIT} and {FEWEST_TO_TEST} are needed."
            )
            return
        fitted, how = None, f"tissue network {bundled_segmenter().name}"
        if self._by_network(key):
            read, test = _volume(key, self.material.real_tissues), fit | test
        else:
            fitted = regression(COLUMNS * self._by_tissues).fit(columns[fit], truth[fit])
            volumes = "tissue volumes and " * self._by_tissues
            how, read = f"ridge regression on {volumes}features", fitted.predict(columns)
        said = self._read[key] = deviations(read, self._place, self._fit)
        slope = float(said[test] @ truth[test] / (truth[test] @ truth[test]))
        r = float(np.corrcoef(said[test], truth[test])[0, 1])
        self.of[key] = Judge(how, r, slope, float(said[fit].std()), int(test.sum()), fitted)

    def _rows(self, volumes: Volumes) -> Rows:
        """Millilitres of each tissue in each volume."""
        segmenter, space = bundled_segmenter(), self.material.pack.space
        rows: list[dict[str, float]] = []
        with workers(segmenter.device) as run:
            for found in run(lambda volume: segmenter.segment(volume, space).volumes, volumes):
                rows.append({f"{name}_ml": ml for name, ml in found.items()})
                self.material.report(len(rows), len(volumes), "Tissues for edits")
        return rows


def _columns(rows: Rows | None, features: np.ndarray) -> np.ndarray:
    """Columns of the regression, [n, columns]; volumes first, if any."""
    return features if rows is None else np.hstack([tissue_columns(rows), features])


def _volume(key: str, rows: Rows) -> np.ndarray:
    """A volume of `READ` on the scale of `scaled`, [n]."""
    return scaled(key, np.array([max(sum(row[n] for n in READ[key]), LEAST_ML) for row in rows]))


def _truths(material: Material, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Attributes as used to fit directions (`measure_attributes`), [subjects] each."""
    truths = {}
    if material.has_tissues:
        truths = {k: np.array([row[k] for row in material.real_tissues]) for k in BY_NETWORK}
    measured: list[dict[str, float]] = []
    if set(keys) & set(MEASURED) - set(truths):
        with workers() as run:
            space, volumes = material.pack.space, material.volumes(material.people)
            measured = list(run(lambda volume: measure_volume(unit(volume), space), volumes))
    for key in keys:
        if key in MEASURED and key not in truths:
            truths[key] = np.array([row[key] for row in measured])
        elif key not in truths:
            truths[key] = as_numbers(key, material.pack.column(key))[material.people]
    return truths
