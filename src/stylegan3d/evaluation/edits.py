"""Whether edits change their attribute, nothing else, and are reversible.

The axioms of counterfactual images (Monteiro et al. 2023, "Measuring axiomatic soundness of
counterfactual image models", arXiv 2303.01274, section 4): composition (a null intervention changes
nothing), effectiveness (the intended attribute changes) and reversibility (the opposite change
restores the image); and minimality (nothing else changes; Melistas et al. 2024, arXiv 2403.20287).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from stylegan3d.directions.checks import LOGARITHMIC, name_of
from stylegan3d.directions.edit_effects import ABOUT, share_outside, surroundings
from stylegan3d.directions.people import key_of
from stylegan3d.evaluation.edit_judges import Judges
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.reconstruction import encode, latents
from stylegan3d.geometry.intensity import unit
from stylegan3d.measures.tissue_volumes import read_tissues
from stylegan3d.metrics.intervals import bootstrap, wilson
from stylegan3d.model.generator import Generator
from stylegan3d.model.sampling import packed_synthesis
from stylegan3d.plain import Json, JsonView
from stylegan3d.recipe.model import seed_latents

BRAINS = 8
STRENGTHS = (-1.0, 1.0)  # in units of the direction
CYCLES = (1, 3)


def edits(material: Material) -> Json:
    """Measure the model's directions of attributes on random brains.

    Returns
    -------
    dict
        "brains", "strengths". "judges": attribute to its predictor, with "r" and "slope" in
        "n_test" held-out subjects. "directions": for each "name", "attribute", "unit",
        "held_fixed", "per_unit" (expected change by one unit); "effect": measured over expected
        change, with "effect_interval", and "effect_people", the predictor's slope on true
        differences between subjects with the same held-fixed attributes; "right_way": share of
        edits that changed the attribute in the intended sense, with "right_way_interval"; "drift":
        changes of other attributes by one unit, in standard deviations of subjects; "size": mean
        absolute voxel change relative to that between two random brains, with "size_interval";
        "outside": share of the change outside the attribute's region, None for the whole brain;
        "left": error after the opposite edit, applied to the encoder's estimate of the edited
        image, relative to the size of the edit, with "left_interval" (0: fully reversed; 1: not at
        all); None without an encoder. "composition": see `composition`. "missing": attribute to the
        reason why it was omitted. Only "left_out", a sentence, if there is no direction of an
        attribute.
    """
    generator = material.generator
    directions = generator.directions
    checks = [told for told in directions.checks if told["name"] in directions.names]
    if not checks:
        return {"left_out": f"{generator.name} has no directions of attributes."}
    judges = Judges(material, [told["attribute"] for told in checks])
    seeds = list(material.seeds(BRAINS))
    start = seed_latents(generator, seeds, material.settings.truncation)
    before = _drawn(generator, start)
    spread = _mean_distance(before)
    read = judges.readings(before)
    found = []
    for done, told in enumerate(checks, 1):
        if told["attribute"] in judges.of:
            found.append(_direction(material, judges, told, start, before, read, spread))
        material.report(done, len(checks), "Directions")
    return {
        "brains": len(before),
        "strengths": STRENGTHS,
        "judges": {key: judge.to_dict() for key, judge in judges.of.items()},
        "directions": found,
        "composition": composition(material),
        "missing": judges.missing,
    }


def _direction(
    material: Material,
    judges: Judges,
    told: JsonView,
    start: Tensor,
    before: Sequence[np.ndarray],
    read: Mapping[str, np.ndarray],
    spread: float,
) -> Json:
    """One direction; see `edits`."""
    generator, key = material.generator, told["attribute"]
    step = torch.from_numpy(generator.directions.step(told["name"])).to(start)
    after = {s: _drawn(generator, start + s * step) for s in STRENGTHS}
    # [strengths, brains] by attribute
    readings = [judges.readings(volumes) for volumes in after.values()]
    changes = {
        other: np.stack([found[other] - read[other] for found in readings]) for other in judges.of
    }
    promised = np.array(STRENGTHS) * (
        np.log(told["per_unit"]) if key in LOGARITHMIC else told["per_unit"]
    )
    effects = (promised @ changes[key]) / (promised @ promised)  # [brains]
    right = int((np.sign(changes[key]) == np.sign(promised)[:, None]).sum())
    sizes = np.stack([_distances(before, volumes) for volumes in after.values()])
    units = np.array(STRENGTHS)
    drift = {
        name_of(other): float((units @ change).mean() / (units @ units)) / judges.of[other].sd
        for other, change in changes.items()
        if other != key
    }
    result = {
        "name": told["name"],
        "attribute": key,
        "unit": told["unit"],
        "held_fixed": told["held_fixed"],
        "per_unit": told["per_unit"],
        "effect": float(effects.mean()),
        "effect_interval": bootstrap(_mean, effects),
        "effect_people": judges.shown(key, [key_of(name) for name in told["held_fixed"]]),
        "right_way": right / sizes.size,
        "right_way_interval": wilson(right, sizes.size),
        "drift": drift,
        "size": float(sizes.mean()) / spread,
        "size_interval": bootstrap(_mean, sizes.mean(axis=0) / spread),
        "outside": _outside(material, key, before, after),
        "left": None,
    }
    if generator.encoder is not None:
        left = _left(generator, before, after, step)
        result |= {"left": float(left.mean()), "left_interval": bootstrap(_mean, left)}
    return result


def composition(material: Material) -> Json | None:
    """How held-out subjects change when passed through encoder and generator repeatedly.

    Returns
    -------
    dict
        "people": number of subjects. "l1": mean absolute difference to the scan inside the brain
        after each number of "cycles", intensities in [0, 1]. "mean_brain": the same for the mean
        brain. None without an encoder.
    """
    generator = material.generator
    if generator.encoder is None:
        return None
    rows = material.validation[:BRAINS]
    errors: dict[int, list[float]] = {cycle: [] for cycle in CYCLES}
    mean_brain = []
    for volume in material.volumes(rows):
        truth = current = unit(volume)
        inside = truth > 0
        for cycle in range(1, max(CYCLES) + 1):
            seen = encode(generator, current)
            assert seen is not None
            current = seen
            if cycle in errors:
                errors[cycle].append(_mean(np.abs(current - truth)[inside]))
        mean_brain.append(_mean(np.abs(material.pack.template - truth)[inside]))
    return {
        "people": len(rows),
        "cycles": CYCLES,
        "l1": [float(np.mean(errors[cycle])) for cycle in CYCLES],
        "l1_interval": [bootstrap(_mean, np.array(errors[cycle])) for cycle in CYCLES],
        "mean_brain": float(np.mean(mean_brain)),
    }


def _left(
    generator: Generator,
    before: Sequence[np.ndarray],
    after: Mapping[float, Sequence[np.ndarray]],
    step: Tensor,
) -> np.ndarray:
    """Error after an edit and its opposite relative to the size of the edit, [brains].

    Relative to the encoder's estimate of the image before the edit, so losses of the encoder do not
    count here, but in `composition`.
    """
    first = latents(generator, before)
    start = _drawn(generator, first)
    rows = []
    for strength, volumes in after.items():
        back = _drawn(generator, latents(generator, volumes) - strength * step)
        edited = _drawn(generator, first + strength * step)
        rows.append(_distances(start, back) / np.maximum(_distances(start, edited), 1e-9))
    return np.mean(rows, axis=0)


def _outside(
    material: Material,
    key: str,
    before: Sequence[np.ndarray],
    after: Mapping[float, Sequence[np.ndarray]],
) -> float | None:
    if key not in ABOUT:
        return None
    space, shares = material.pack.space, []
    starts = [(unit(volume), read_tissues(unit(volume), space)) for volume in before]
    for volumes in after.values():
        for (start, tissues), volume in zip(starts, map(unit, volumes), strict=True):
            near = surroundings(key, tissues, read_tissues(volume, space), space)
            shares.append(share_outside(np.abs(volume - start), near))
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _drawn(generator: Generator, w: Tensor) -> list[np.ndarray]:
    """Synthesise latents [n, num_layers, w_dim] without noise."""
    return [packed_synthesis(generator, row[None], "none") for row in w]


def _distances(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """Mean absolute differences [n]."""
    return np.array([_mean(np.abs(unit(x) - unit(y))) for x, y in zip(a, b, strict=True)])


def _mean_distance(volumes: Sequence[np.ndarray]) -> float:
    """Mean absolute difference between pairs of a set."""
    pairs = [(a, b) for i, a in enumerate(volumes) for b in volumes[:i]]
    return float(np.mean(_distances(*zip(*pairs, strict=True))))


def _mean(values: np.ndarray) -> float:
    return float(values.mean())
