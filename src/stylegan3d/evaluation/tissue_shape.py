"""Whether cortex and white matter have the shape of people's, by figures a reader would look at."""

from __future__ import annotations

import numpy as np

from stylegan3d.evaluation.material import Material
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.metrics.comparison import side_by_side
from stylegan3d.metrics.intervals import bootstrap
from stylegan3d.metrics.two_sample import LEAST, Classification, classify_by_measures
from stylegan3d.plain import Json

DRAWS = 1000
# Synthetic brains and training people that can be measured, for means and deviations.
FEWEST_MEASURED = 2


def tissue_shape(material: Material) -> Json:
    """`TISSUE_SHAPE` of random brains and of people, and how well they distinguish the two.

    Returns
    -------
    dict
        "accuracy", "auc" : of a logistic regression on all measures, cross-validated by person:
        "synthetic" brains against half of the people, "real" the other half of the people against
        them, each with "_interval", and "n". "held_out_accuracy", "held_out_auc" : the same against
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
    made, people = material.synthetic_shapes, material.real_shapes[material.one_each]
    n = min(len(made), len(people) // 2)
    if n < LEAST:
        return {"left_out": f"Tissue shape needs {LEAST} synthetic and {2 * LEAST} real volumes."}
    seed, known = material.settings.seed, material.known
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
    rng = np.random.default_rng(seed)
    names = [str(material.pack.table[row]["person"]) for row in material.subjects]
    order = rng.permutation(len(people))
    half, other = order[:n], order[n : 2 * n]
    drawn = made[rng.permutation(len(made))[:n]]

    def told(first: np.ndarray, whose: list[str], rows: np.ndarray) -> Classification:
        return classify_by_measures(
            first, people[rows], [*whose, *(names[row] for row in rows)], seed=seed
        )

    nobody = [f"synthetic {i}" for i in range(len(made))]
    result = _beside(
        "",
        told(drawn, nobody[:n], half),
        told(people[other], [names[row] for row in other], half),
        (n, n),
    )
    held_out = np.arange(known, len(people))
    if len(held_out) >= LEAST:
        result |= _beside(
            "held_out_",
            told(made, nobody, held_out),
            told(people[:known], names[:known], held_out),
            (len(made), len(held_out)),
        )
    columns = range(len(TISSUE_SHAPE))
    return result | {
        "unmeasured": {"synthetic": _unmeasured(made), "real": _unmeasured(people)},
        "measures": {
            key: {"name": name} | _compare(made[:, k], people[:known, k], people[known:, k], seed)
            for (key, name), k in zip(TISSUE_SHAPE.items(), columns, strict=True)
        },
        "values": {
            name: {"synthetic": made[:, k], "real": people[:, k]}
            for name, k in zip(TISSUE_SHAPE, columns, strict=True)
        },
    }


def _unmeasured(rows: np.ndarray) -> dict[str, int]:
    """How many of the rows [n, measures] lack a measure."""
    return {"count": int((~np.isfinite(rows).all(axis=1)).sum()), "n": len(rows)}


def _beside(
    prefix: str, synthetic: Classification, real: Classification, n: tuple[int, int]
) -> Json:
    made, people = synthetic.to_dict(), real.to_dict()
    return {
        f"{prefix}{key}": side_by_side(
            (made[key], made[f"{key}_interval"]), (people[key], people[f"{key}_interval"])
        )
        | {"n": list(n)}
        for key in ("accuracy", "auc")
    }


def _compare(made: np.ndarray, training: np.ndarray, held_out: np.ndarray, seed: int) -> Json:
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
        "shift": shift(made, training),
        "shift_interval": bootstrap(shift, made, training, draws=DRAWS, seed=seed),
        "held_out_shift": shift(held_out, training),
    }
