"""The evaluation of a generator against a packed data set, part by part, into one report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from stylegan3d.generator import Generator
from stylegan3d.metrics.distances import (
    BATCH,
    Moments,
    compare_with_halves,
    compare_with_validation,
    expected_bmmd2,
    frechet_distance,
    kernel_distance,
    rbf_distance,
    real_bmmd2,
)
from stylegan3d.metrics.diversity import pair_correlation, pair_ms_ssim, scales_of
from stylegan3d.metrics.features import FEATURE_MM
from stylegan3d.metrics.manifold import NEIGHBOURS, coverage, density, precision, recall
from stylegan3d.metrics.material import (
    PARTS,
    EvaluationSettings,
    Material,
    Report,
    Volumes,
    volumes_id,
)
from stylegan3d.metrics.plausibility import PlausibilityLimits, measure_brains, pass_rate
from stylegan3d.metrics.privacy import (
    Nearest,
    TrainingBrains,
    compare_nearest,
    feature_distances,
)
from stylegan3d.metrics.reconstruction import reconstruct
from stylegan3d.metrics.speed import measure_speed
from stylegan3d.training.pack import Pack

Measure = Callable[[np.ndarray, np.ndarray], float]
# Of the privacy part, whose brains are not kept.
BRAINS_AT_A_TIME = 32


def evaluate(
    generator: Generator,
    pack: Pack,
    settings: EvaluationSettings | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure a generator on the data it was trained on and on the people set aside.

    Parameters
    ----------
    generator : the model.
    pack : a data set on the model's grid, with training and validation people.
    settings : what to measure; everything but speed by default.
    report : called with what is being done, how much of it is done and how much there is.

    Returns
    -------
    dict
        "model", "data", "settings" and one entry per part; plain enough for JSON.

    Raises
    ------
    StyleGAN3DError
        If a part is unknown, the grids differ, or there are too few people or samples.
    """
    chosen = settings or EvaluationSettings()
    material = Material(generator, pack, chosen, report or _say_nothing)
    result: dict[str, Any] = {
        "model": {"name": generator.name, "hash": generator.hash},
        "data": {
            "name": pack.path.name,
            "volumes": volumes_id(pack),
            "training_people": len(material.training),
            "validation_people": len(material.validation),
        },
        "settings": {k: v for k, v in asdict(chosen).items() if k != "cache"},
    }
    parts = {
        "fidelity": fidelity,
        "diversity": diversity,
        "plausibility": plausibility,
        "privacy": privacy,
        "reconstruction": reconstruction,
        "speed": speed,
    }
    return result | {name: parts[name](material) for name in PARTS if name in chosen.parts}


def fidelity(material: Material) -> dict[str, Any]:
    """FID, KID and a Gaussian kernel's distance over random halves and against validation people;
    precision and density; bMMD2.
    """
    settings, known = material.settings, len(material.training)
    synthetic, real = material.synthetic_features, material.real_features
    drawn = {"repeats": settings.repeats, "seed": settings.seed}
    result: dict[str, Any] = {"network": f"encoder of deepbet's LinkNet3d at {FEATURE_MM:g} mm"}
    measures = {"fid": frechet_distance, "kid": kernel_distance, "rbf": rbf_distance}
    for name, measure in measures.items():
        halves = compare_with_halves(measure, synthetic, real, **drawn)
        held_out = compare_with_validation(measure, synthetic, real[:known], real[known:], **drawn)
        result[name] = halves.to_dict()
        result[f"{name}_validation"] = held_out.to_dict()
    made = Moments.of(material.synthetic)
    people = Moments.of(material.volumes(material.people))
    result |= _shares(material, {"precision": precision, "density": density})
    distance, baseline = expected_bmmd2(made, people), real_bmmd2(people)
    result["bmmd2"] = {
        "synthetic": distance,
        "real": baseline,
        "ratio": distance / baseline,
        "batch": BATCH,
        "variance_ratio": made.variance / people.variance,
    }
    return result


def diversity(material: Material) -> dict[str, Any]:
    """MS-SSIM of random pairs, mean correlation of all pairs; recall and coverage."""
    settings = material.settings
    sets: dict[str, Volumes] = {
        "synthetic": material.synthetic,
        "real": material.volumes(material.people),
    }
    scores = {}
    for name, volumes in sets.items():
        progress = material.progress(f"MS-SSIM, {name}")
        scores[name] = pair_ms_ssim(volumes, settings.pairs, seed=settings.seed, progress=progress)
    return {
        "ms_ssim": {
            **{name: float(values.mean()) for name, values in scores.items()},
            **{f"{name}_sd": float(values.std()) for name, values in scores.items()},
            "difference": float(scores["synthetic"].mean() - scores["real"].mean()),
            "pairs": {name: len(values) for name, values in scores.items()},
            "scales": scales_of(material.pack.space.shape),
        },
        "pair_correlation": {
            name: pair_correlation(volumes, material.mask) for name, volumes in sets.items()
        },
        **_shares(material, {"recall": recall, "coverage": coverage}),
    }


def _shares(material: Material, measures: dict[str, Measure]) -> dict[str, Any]:
    """Figures of nearest neighbours; left out where half of the people have too few of them."""
    synthetic, real = material.synthetic_features, material.real_features
    if min(len(synthetic), len(real) // 2) <= NEIGHBOURS:
        return {}
    settings = material.settings
    drawn = {"repeats": settings.repeats, "seed": settings.seed}
    return {
        name: compare_with_halves(measure, synthetic, real, **drawn).to_dict()
        for name, measure in measures.items()
    }


def plausibility(material: Material) -> dict[str, Any]:
    """Pass rates of random brains and of validation people, by the training people's range."""
    space = material.pack.space

    def measured(volumes: Volumes, who: str) -> Any:
        return measure_brains(volumes, space, material.progress(f"Plausibility, {who}"))

    limits = PlausibilityLimits.of(measured(material.volumes(material.training), "training people"))
    people = measured(material.volumes(material.validation), "validation people")
    made = pass_rate(measured(material.synthetic, "random brains"), limits)
    for row in made["failed"]:
        row["seed"] = material.settings.seed + row.pop("index")
    return {"limits": limits.bounds, "validation": pass_rate(people, limits), "synthetic": made}


def privacy(material: Material) -> dict[str, Any]:
    """Nearest training people of many random brains and of validation people.

    The brains are made, compared and dropped a few at a time.
    """
    known, count = len(material.training), material.settings.privacy_samples
    brains = TrainingBrains(material.volumes(material.training), material.mask, material.sideways)
    reference = (material.real_features[:known], material.mirrored_features)
    by_value, by_feature = [], []
    for start in range(0, count, BRAINS_AT_A_TIME):
        seeds = material.seeds(count)[start : start + BRAINS_AT_A_TIME]
        chosen = material.random_brains(seeds).stack()
        by_value.append(brains.nearest(chosen))
        by_feature.append(feature_distances(material.describe(chosen), *reference))
        material.report("Nearest training brains", start + len(seeds), count)
    people = brains.nearest(material.volumes(material.validation))
    described = feature_distances(material.real_features[known:], *reference)
    found = {
        "correlation": compare_nearest(Nearest.join(by_value), people),
        "features": compare_nearest(Nearest.join(by_feature), described),
    }
    for measure in found.values():
        for pair in measure["nearest"]:
            pair["seed"] = material.settings.seed + pair.pop("brain")
            pair["person"] = material.pack.table[material.training[pair["person"]]]["name"]
    return found


def reconstruction(material: Material) -> dict[str, Any]:
    """Validation people through the encoder and by projection, beside yardsticks."""
    rows, limit = material.validation, material.settings.limit_validation
    if limit is not None and limit < len(rows):  # evenly over the table, hence its sources
        rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(int)]
    result = reconstruct(
        material.generator,
        material.volumes(rows),
        material.pack.template,
        budget=material.settings.budget,
        progress=material.progress("Reconstruction"),
    )
    for row, person in zip(rows, result["people"], strict=True):
        person["name"] = material.pack.table[row]["name"]
    return result


def speed(material: Material) -> dict[str, Any]:
    """Milliseconds per volume."""
    material.report("Speed", 0, 1)
    return measure_speed(material.generator)


def _say_nothing(what: str, done: int, total: int) -> None:
    pass
