"""Who says what an edit changed: measures that had no part in finding the direction.

A direction is fitted to latents and to ages, sexes and volumes measured by the rules of
`attributes`. Here volumes are read by the tissue network (`segmentation`), everything else by a
ridge regression on the features of `features.describe`, fitted to training people. Both are
tested on people set aside; how much of a true difference they show there is what an edit can show
at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from stylegan3d.attribute_checks import scaled
from stylegan3d.attributes import MEASURES, measure_volume
from stylegan3d.metrics.material import Material, Volumes
from stylegan3d.metrics.sampling import unit
from stylegan3d.metrics.utility import FEWEST_TO_FIT, FEWEST_TO_TEST, regression
from stylegan3d.metrics.workers import workers
from stylegan3d.people import as_numbers, deviations, group_numbers
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter

# Volumes the tissue network reads: its classes that make up each.
TISSUES = {
    "brain_ml": CLASSES[1:],
    "ventricle_ml": ("ventricle",),
    "grey_ml": ("grey",),
    "white_ml": ("white",),
}
LEAST_ML = 0.1  # of a volume whose logarithm is taken
MEASURED = tuple(measure.key for measure in MEASURES)


@dataclass(frozen=True, eq=False)
class Judge:
    """Reads one attribute off brains, on the scale of `attribute_checks.scaled`.

    Attributes
    ----------
    how : what it is, in words.
    r : correlation with the truth among people set aside, within sources.
    slope : by how much its reading changes with the truth among them: 1 shows all of a difference.
    sd : standard deviation of its reading among people, within sources.
    n_test : of these people.
    regression : on features; None for a volume of the tissue network.
    """

    how: str
    r: float
    slope: float
    sd: float
    n_test: int
    regression: Pipeline | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"how": self.how, "r": self.r, "slope": self.slope, "n_test": self.n_test}


class Judges:
    """Judges of several attributes.

    Attributes
    ----------
    of : attribute to its judge.
    missing : attribute to the sentence why it has none.
    """

    def __init__(self, material: Material, keys: Sequence[str]) -> None:
        self.material = material
        self.of: dict[str, Judge] = {}
        self.missing: dict[str, str] = {}
        self._tissues = bundled_segmenter().fits(material.pack.space)
        fit = np.arange(len(material.people)) < len(material.training)
        groups = [material.pack.table[row].get("source") for row in material.people]
        self._place, self._fit = group_numbers(groups, fit), fit
        volumes = material.volumes(material.people)
        truths = _truths(material, volumes, keys)
        read = self._tissue_readings(volumes, [k for k in keys if self._by_network(k)])
        for key in keys:
            self._add(key, truths[key], read.get(key))

    def readings(self, volumes: Volumes) -> dict[str, np.ndarray]:
        """What the judges read, [n] by attribute."""
        read = self._tissue_readings(volumes, [k for k in self.of if self._by_network(k)])
        regressions = {k: j.regression for k, j in self.of.items() if j.regression is not None}
        if regressions:
            features = self.material.describe(volumes, self.material.progress("Edited brains"))
            read |= {key: fitted.predict(features) for key, fitted in regressions.items()}
        return read

    def _by_network(self, key: str) -> bool:
        return self._tissues and key in TISSUES

    def _add(self, key: str, truth: np.ndarray, read: np.ndarray | None) -> None:
        truth = deviations(scaled(key, truth), self._place, self._fit)
        fit, test = np.isfinite(truth) & self._fit, np.isfinite(truth) & ~self._fit
        if fit.sum() < FEWEST_TO_FIT or test.sum() < FEWEST_TO_TEST or np.ptp(truth[test]) == 0:
            self.missing[key] = (
                f"Known of {fit.sum()} training and {test.sum()} validation people who differ; "
                f"{FEWEST_TO_FIT} and {FEWEST_TO_TEST} are needed."
            )
            return
        fitted, how = None, f"tissue network {bundled_segmenter().name}"
        if read is None:
            inner = deviations(self.material.real_features, self._place, self._fit)
            fitted, how = regression().fit(inner[fit], truth[fit]), "ridge regression on features"
            read = fitted.predict(inner)
        said = deviations(read, self._place, self._fit)
        slope = float(said[test] @ truth[test] / (truth[test] @ truth[test]))
        r = float(np.corrcoef(said[test], truth[test])[0, 1])
        self.of[key] = Judge(how, r, slope, float(said[fit].std()), int(test.sum()), fitted)

    def _tissue_readings(self, volumes: Volumes, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Volumes by the tissue network, on the scale of `scaled`."""
        if not keys:
            return {}
        segmenter, space, rows = bundled_segmenter(), self.material.pack.space, []
        with workers(segmenter.device) as run:
            for found in run(lambda volume: segmenter.segment(volume, space).volumes, volumes):
                rows.append(found)
                self.material.report("Tissues for edits", len(rows), len(volumes))
        return {
            key: scaled(
                key,
                np.array([max(sum(row[name] for name in TISSUES[key]), LEAST_ML) for row in rows]),
            )
            for key in keys
        }


def _truths(material: Material, volumes: Volumes, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """What directions are fitted to, [people] by attribute."""
    measured: list[dict[str, float]] = []
    if set(keys) & set(MEASURED):
        with workers() as run:
            space = material.pack.space
            measured = list(run(lambda volume: measure_volume(unit(volume), space), volumes))
    return {
        key: np.array([row[key] for row in measured])
        if key in MEASURED
        else as_numbers(key, material.pack.column(key))[material.people]
        for key in keys
    }
