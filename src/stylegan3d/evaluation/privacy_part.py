"""The privacy part of an evaluation: nearest training subjects and memorisation warning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.privacy import (
    QUANTILES,
    compare_nearest,
    feature_distances,
)
from stylegan3d.evaluation.privacy_alarm import (
    FALSE_ALARMS,
    FEWEST_STRANGERS,
    Closeness,
    CopyDetector,
    alarm_threshold,
    disguises,
)
from stylegan3d.geometry.slicing import draw_montage
from stylegan3d.metrics.intervals import wilson
from stylegan3d.plain import Json

# Brains per batch, which are generated, compared and discarded.
BRAINS_AT_A_TIME = 32
PLANTED = 27
MOST_NAMED = 10


def privacy(material: Material) -> Json:
    """Nearest training subjects of many random brains, and whether any is a copy.

    Returns
    -------
    dict
        "features": see `compare_nearest`. "copies": see `compare_copies`.
    """
    known, seeds = len(material.training), material.seeds(material.settings.privacy_samples)
    person = whose(material)
    detector = copy_detector(material)
    reference = (material.real_features[:known], material.mirrored_features)
    described, closeness = [], []
    for start in range(0, len(seeds), BRAINS_AT_A_TIME):
        some = seeds[start : start + BRAINS_AT_A_TIME]
        chosen = material.random_brains(some).stack()
        described.append(material.features_of(some, brains=chosen))
        closeness.append(detector.closeness(chosen))
        material.report(start + len(some), len(seeds), "Nearest training brains")
    held_out = feature_distances(material.real_features[known:], *reference, person)
    by_feature = feature_distances(np.concatenate(described), *reference, person)
    found = {
        "features": compare_nearest(by_feature, held_out),
        "copies": compare_copies(material, detector, Closeness.join(closeness)),
    }
    for measure in found.values():
        for pair in measure["nearest"]:
            _name(material, pair, seeds)
    return found


def copy_detector(material: Material) -> CopyDetector:
    """Detector of copies of the training subjects."""
    return CopyDetector(
        material.volumes(material.training),
        material.pack.template,
        material.pack.space.voxel_size,
        material.sideways,
        material.progress("Fine structure of training subjects"),
        whose(material),
    )


def whose(material: Material) -> list[object]:
    """The person of each training scan."""
    return [material.pack.table[row]["person"] for row in material.training]


def compare_copies(material: Material, detector: CopyDetector, synthetic: Closeness) -> Json:
    """The memorisation warning and its test.

    Returns
    -------
    dict
        "alarm": whether any of the "n" brains is classified as a copy, None with too few subjects
        ("why"); "copies": their number, "share" with "interval". "threshold" of the ratio of
        distances (`Closeness.ratio`), which the least of equally many unrelated brains falls below
        with a probability of at most "false_alarms". "synthetic" and "strangers": quantiles 0,
        0.05, 0.5, 0.95 and 1 of the ratio for synthetic brains and unrelated subjects;
        "n_strangers": number of the latter. "planted": disguised copies of training subjects ("n")
        and those detected ("found"; both also "by_disguise"). "alike": pairs of subjects below the
        threshold, possibly one person under two names. "nearest": the ten brains with the least
        ratios.
    """
    held_out = detector.closeness(material.volumes(material.validation))
    people = Closeness.join([detector.among_training(), held_out])
    n = len(synthetic.ratio)
    found: Json = {
        "alarm": None,
        "n": n,
        "n_strangers": len(people.ratio),
        "synthetic": _quantiles(synthetic.ratio),
        "strangers": _quantiles(people.ratio),
        "nearest": [
            {
                "brain": int(i),
                "person": int(synthetic.person[i]),
                "mirrored": bool(synthetic.mirrored[i]),
                "ratio": float(synthetic.ratio[i]),
                "correlation": float(synthetic.correlation[i]),
            }
            for i in np.argsort(synthetic.ratio)[:MOST_NAMED]
        ],
    }
    if len(people.ratio) < FEWEST_STRANGERS:
        return found | {
            "why": f"A warning needs {FEWEST_STRANGERS} validation subjects as a reference; "
            f"there are {len(people.ratio)}."
        }
    threshold = alarm_threshold(people.ratio, n)
    copies = int((synthetic.ratio < threshold).sum())
    return found | {
        "alarm": copies > 0,
        "copies": copies,
        "share": copies / n,
        "interval": wilson(copies, n),
        "threshold": threshold,
        "false_alarms": FALSE_ALARMS,
        "planted": planted(material, detector, threshold),
        "alike": _alike(material, people),
    }


def planted(material: Material, detector: CopyDetector, threshold: float) -> Json:
    """Whether copies of training subjects, disguised in turn, are found."""
    ways = disguises(material.pack.space.voxel_size, material.sideways)
    rows = np.linspace(0, len(material.training) - 1, min(PLANTED, len(material.training)))
    person = whose(material)
    result: Json = {"n": len(rows), "found": 0, "by_disguise": {}}
    for k, index in enumerate(rows.round().astype(int)):
        name = list(ways)[k % len(ways)]
        brain = ways[name](material.pack.volumes[material.training[index]])
        closeness = detector.closeness([brain])
        right = person[closeness.person[0]] == person[index]
        found = int(closeness.ratio[0] < threshold and right)
        result["found"] += found
        of, hits = result["by_disguise"].get(name, (0, 0))
        result["by_disguise"][name] = (of + 1, hits + found)
    return result


def closest_pairs_png(material: Material, found: Json, rows: int = 5) -> bytes:
    """The closest pairs of `privacy`, synthetic on the left, training subject on the right; PNG.

    Subjects whose mirror image was nearest are shown mirrored.
    """
    pairs = found["copies"]["nearest"][:rows]
    by_name = {row["name"]: k for k, row in enumerate(material.pack.table)}
    people = []
    for pair in pairs:
        volume = material.pack.volumes[by_name[pair["person"]]]
        people.append(np.flip(volume, material.sideways) if pair["mirrored"] else volume)
    made = material.random_brains([pair["seed"] for pair in pairs]).stack()
    columns: dict[str, Sequence[np.ndarray]] = {
        "synthetic - not for diagnosis": list(made),
        "nearest training subject": people,
    }
    return draw_montage(columns, material.pack.space)


def _name(material: Material, pair: Json, seeds: range) -> None:
    """Replace indices of a pair by names."""
    pair["seed"] = seeds[pair.pop("brain")]
    pair["brain"] = material.label(pair["seed"])
    pair["person"] = material.pack.table[material.training[pair["person"]]]["name"]


def _alike(material: Material, people: Closeness) -> list[Json]:
    """Subjects closer to a training subject than expected for unrelated subjects."""
    table, threshold = material.pack.table, alarm_threshold(people.ratio, len(people.ratio))
    found = {}
    for i in np.flatnonzero(people.ratio < threshold):
        pair = (material.people[i], material.training[people.person[i]])
        found[frozenset(pair)] = {
            "people": [table[row]["name"] for row in sorted(pair)],
            "ratio": float(people.ratio[i]),
            "correlation": float(people.correlation[i]),
        }
    return list(found.values())


def _quantiles(values: np.ndarray) -> list[float]:
    return [float(q) for q in np.quantile(values, QUANTILES)]
