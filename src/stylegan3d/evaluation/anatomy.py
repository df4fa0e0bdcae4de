"""Whether tissue volumes and the shape of cortex and white matter are those of real subjects.

A generator with realistic voxels may still produce implausible or identical ventricles. Real and
synthetic volumes are segmented by the bundled tissue network (see `segmentation`), whose errors
affect both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import wasserstein_distance

from stylegan3d.base import Json
from stylegan3d.evaluation.material import Material
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.metrics.comparison import compare_with_halves, estimated, side_by_side, wilson
from stylegan3d.metrics.plausibility import Limits
from stylegan3d.metrics.two_sample import LEAST, classify_by_measures
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
        deviation, in the form of `compare_with_halves`, compared with halves of the subjects.
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
        found |= estimated(name, figure, made, people, draws=DRAWS, seed=drawn["seed"])
    found["distance"] = compare_with_halves(distance, made, people, **drawn)
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

    return compare_with_halves(distance, a, b, **drawn)


class SegmentationLimits(Limits):
    """Limits of tissue volumes and confidence of a segmentable brain."""

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
    told = limits.failed(rows, {})
    count = len(told["failed"])
    return {
        "n": len(rows),
        "count": count,
        "share": count / len(rows) if rows else None,
        "interval": wilson(count, len(rows)),
        **told,
    }


# Synthetic brains and training people that can be measured, for means and deviations.
FEWEST_MEASURED = 2


def tissue_shape(material: Material) -> Json:
    """`TISSUE_SHAPE` of random brains and of people, and how well they distinguish the two.

    Returns
    -------
    dict
        "accuracy", "auc" : of a logistic regression on all measures, cross-validated by person:
        "synthetic" brains against half of the people, "real" the other half of the people against
        them, each with "_interval", and "n". "mixture_accuracy", "mixture_auc" : the same where
        `mixture_labels` are the tissues. "held_out_accuracy", "held_out_auc" : the first against
        the people that no model was fitted to; "real" are training people against them. Left out
        where there are fewer than ten.
        "measures" : of each measure its "name", mean and deviation of "synthetic" brains and of
        training people, "shift" of the means in deviations of people with "shift_interval"
        (bootstrap over brains), and "held_out_shift", that of held-out from training people; of
        the brains that could be measured.
        "values" : of every brain. "unmeasured" : in how many of the "synthetic" and "real" brains
        it cannot be measured because a tissue is missing, "count" and "n".
        "left_out" alone, a sentence, where it cannot be measured.
    """
    if not material.has_tissues:
        return {"left_out": "The tissue network does not know volumes on this grid."}
    made, people = material.shapes("network")
    drawn, half, other = material.groups()
    if len(drawn) < LEAST:
        return {"left_out": f"Tissue shape needs {LEAST} synthetic and {2 * LEAST} real volumes."}
    seed, known, names = material.settings.seed, material.known, material.names
    sets = (
        ("synthetic brains", made, FEWEST_MEASURED),
        ("training subjects", people[:known], FEWEST_MEASURED),
        ("held-out subjects", people[known:], 1),
    )
    for who, rows, fewest in sets:
        missing = _unmeasured(rows)["count"]
        if len(rows) - missing < fewest:
            return {
                "left_out": f"Tissue shape cannot be measured in {missing} of {len(rows)} {who}: "
                "grey or white matter is missing."
            }

    def told(
        prefix: str, made: np.ndarray, people: np.ndarray, mine: np.ndarray, half: np.ndarray
    ) -> Json:
        nobody = [f"synthetic {i}" for i in range(len(made))]
        both = [
            classify_by_measures(first, people[half], [*whose, *names[half]], seed=seed).to_dict()
            for first, whose in ((made, nobody), (people[mine], names[mine]))
        ]
        return {
            f"{prefix}{key}": side_by_side(*((one[key], one[f"{key}_interval"]) for one in both))
            | {"n": [len(made), len(half)]}
            for key in ("accuracy", "auc")
        }

    result = told("", made[drawn], people, other, half)
    mixed_made, mixed_people = material.shapes("mixture")
    result |= told("mixture_", mixed_made[drawn], mixed_people, other, half)
    if len(held_out := np.arange(known, len(people))) >= LEAST:
        result |= told("held_out_", made, people, np.arange(known), held_out)
    return result | {
        "unmeasured": {"synthetic": _unmeasured(made), "real": _unmeasured(people)},
        "measures": {
            key: {"name": name} | _compare_shape(x, y[:known], y[known:], seed)
            for (key, name), x, y in zip(TISSUE_SHAPE.items(), made.T, people.T, strict=True)
        },
        "values": {
            key: {"synthetic": x, "real": y}
            for key, x, y in zip(TISSUE_SHAPE, made.T, people.T, strict=True)
        },
    }


def _unmeasured(rows: np.ndarray) -> dict[str, int]:
    """How many of the rows [n, measures] lack a measure."""
    return {"count": int((~np.isfinite(rows).all(axis=1)).sum()), "n": len(rows)}


def _compare_shape(made: np.ndarray, training: np.ndarray, held_out: np.ndarray, seed: int) -> Json:
    """One measure of synthetic brains, of training people and of people set aside."""
    made, training, held_out = (x[np.isfinite(x)] for x in (made, training, held_out))
    sd = max(float(training.std(ddof=1)), 1e-12)

    def shift(a: np.ndarray, b: np.ndarray) -> float:
        return float(a.mean() - b.mean()) / sd

    return {
        "synthetic_mean": float(made.mean()),
        "synthetic_sd": float(made.std(ddof=1)),
        "real_mean": float(training.mean()),
        "real_sd": sd,
        **estimated("shift", shift, made, training, draws=DRAWS, seed=seed),
        "held_out_shift": shift(held_out, training),
    }
