"""Tissue volumes of synthetic brains compared with real subjects.

A generator with realistic voxels may still produce implausible or identical ventricles. Real and
synthetic volumes are segmented by the bundled tissue network (see `segmentation`), whose errors
affect both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

from stylegan3d.evaluation.material import Material
from stylegan3d.metrics.comparison import compare_with_halves
from stylegan3d.metrics.intervals import bootstrap, wilson
from stylegan3d.plain import Json
from stylegan3d.segmentation.classes import MEASURES, VOLUMES
from stylegan3d.segmentation.inference import bundled_segmenter

# The range of subjects' volumes is extended by this share of its width on both sides; brains
# outside count as not segmentable.
MARGIN = 0.5
# Tolerance below the least confidence of subjects, as a share of their range.
CONFIDENCE_MARGIN = 0.5
DRAWS = 1000


def tissue_volumes(material: Material) -> Json:
    """Tissue volumes of random brains and of subjects, and the distance of their distributions.

    Returns
    -------
    dict
        "network" : name and hash of the tissue network. "n" : number of "synthetic" and "real"
        brains. "measures" : for each of `MEASURES` "synthetic_mean", "synthetic_sd",
        "real_mean", "real_sd"; "shift", the difference of the means in standard deviations of the
        subjects, and "spread", the ratio of the standard deviations, each with a 95 % "_interval"
        (bootstrap over brains); "distance", the Wasserstein distance over the subjects' standard
        deviation, in the form of `Comparison.to_dict`, compared with halves of the subjects.
        "mean_distance" : mean of these distances over the volumes, in the same form. Only
        "left_out", a sentence, on a grid the network does not support. "values" : for each of
        `MEASURES` those of every "synthetic" and "real" brain. "unsegmentable" : of "synthetic"
        brains and "validation" subjects, see `unsegmentable`.
    """
    segmenter = bundled_segmenter()
    if not material.has_tissues:
        return {
            "left_out": f"The tissue network {segmenter.name} does not know volumes on this grid."
        }
    made, scans, known = material.synthetic_tissues, material.real_tissues, len(material.training)
    people = [scans[place] for place in material.one_each]
    limits = SegmentationLimits.of(scans[:known])
    numbers = list(material.seeds(material.settings.samples))
    failed = unsegmentable(made, limits)
    for row in failed["failed"]:
        row["seed"] = numbers[row.pop("index")]
    drawn = {"repeats": material.settings.repeats, "seed": material.settings.seed}
    return {
        "network": {"name": segmenter.name, "hash": segmenter.hash},
        "n": {"synthetic": len(made), "real": len(people)},
        "measures": {
            name: _compare(_column(made, name), _column(people, name), drawn) for name in MEASURES
        },
        "mean_distance": _mean_distance(made, people, drawn),
        "values": {
            name: {"synthetic": _column(made, name), "real": _column(people, name)}
            for name in MEASURES
        },
        "unsegmentable": {
            "limits": limits.bounds,
            "synthetic": failed,
            "validation": unsegmentable(scans[known:], limits),
        },
    }


def _column(rows: Sequence[dict[str, float]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows])


def scaled_distance(a: np.ndarray, b: np.ndarray, sd: float) -> float:
    """Wasserstein distance of two samples [n], [m] of one measure, in units of `sd`.

    The area between the two cumulative distributions.
    """
    return float(wasserstein_distance(a, b)) / sd if sd > 0 else float("nan")


def _compare(made: np.ndarray, people: np.ndarray, drawn: dict[str, int]) -> Json:
    """One measure of synthetic brains and of subjects."""
    sd = float(people.std(ddof=1))

    def shift(a: np.ndarray, b: np.ndarray) -> float:
        return float(a.mean() - b.mean()) / sd if sd > 0 else float("nan")

    def spread(a: np.ndarray, b: np.ndarray) -> float:
        return float(a.std(ddof=1) / max(b.std(ddof=1), 1e-12))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return scaled_distance(a, b, sd)

    found: Json = {
        "synthetic_mean": float(made.mean()),
        "synthetic_sd": float(made.std(ddof=1)),
        "real_mean": float(people.mean()),
        "real_sd": sd,
    }
    for name, figure in (("shift", shift), ("spread", spread)):
        found[name] = figure(made, people)
        found[f"{name}_interval"] = bootstrap(figure, made, people, draws=DRAWS, seed=drawn["seed"])
    found["distance"] = compare_with_halves(distance, made, people, **drawn).to_dict()
    return found


def _mean_distance(
    made: Sequence[dict[str, float]], people: Sequence[dict[str, float]], drawn: dict[str, int]
) -> Json:
    """Mean over the volumes of their scaled distances."""
    names = [f"{name}_ml" for name in VOLUMES]
    a, b = (np.stack([_column(rows, n) for n in names], axis=1) for rows in (made, people))
    sd = b.std(axis=0, ddof=1)

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        pairs = zip(x.T, y.T, sd, strict=True)
        return float(np.mean([scaled_distance(*pair) for pair in pairs]))

    return compare_with_halves(distance, a, b, **drawn).to_dict()


@dataclass(frozen=True)
class SegmentationLimits:
    """Limits of tissue volumes and confidence of a segmentable brain; None for no limit."""

    bounds: dict[str, tuple[float, float | None]]

    @classmethod
    def of(cls, people: Sequence[dict[str, float]]) -> SegmentationLimits:
        """The extended range of subjects; confidence has only a lower limit."""
        bounds: dict[str, tuple[float, float | None]] = {}
        for tissue in VOLUMES:
            values = _column(people, f"{tissue}_ml")
            margin = MARGIN * float(np.ptp(values))
            # No tissue may be missing, however wide the range.
            low = max(float(values.min()) - margin, 0.25 * float(values.min()))
            bounds[f"{tissue}_ml"] = (low, float(values.max()) + margin)
        sure = _column(people, "confidence")
        bounds["confidence"] = (float(sure.min()) - CONFIDENCE_MARGIN * float(np.ptp(sure)), None)
        return cls(bounds)

    def failures(self, row: dict[str, float]) -> list[str]:
        """Measures outside the limits."""
        return [
            name
            for name, (low, high) in self.bounds.items()
            if not low <= row[name] <= (np.inf if high is None else high)
        ]


def unsegmentable(rows: Sequence[dict[str, float]], limits: SegmentationLimits) -> Json:
    """Share of brains that cannot be segmented.

    These are brains with any tissue volume outside the extended range of subjects, or with a
    confidence clearly below that of all subjects.

    Returns
    -------
    dict
        "n", "count", "share" with its 95 % "interval" (Wilson), "reasons" (counts by measure),
        "failed" ("index" and measures of each).
    """
    failures = [limits.failures(row) for row in rows]
    count = sum(bool(reasons) for reasons in failures)
    return {
        "n": len(rows),
        "count": count,
        "share": count / len(rows) if rows else None,
        "interval": wilson(count, len(rows)),
        "reasons": dict(Counter(reason for reasons in failures for reason in reasons)),
        "failed": [
            {"index": index, "reasons": reasons, **{k: row[k] for k in limits.bounds}}
            for index, (row, reasons) in enumerate(zip(rows, failures, strict=True))
            if reasons
        ],
    }
