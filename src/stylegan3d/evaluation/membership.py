"""Membership inference: can training subjects be identified?

Three attacks score each subject; the AUC measures how well the score separates training from
held-out subjects of the same source (scanner), since otherwise it would separate scanners. 0.5 is
chance.

- Reconstruction (Hilprecht et al. 2019, "Monte Carlo and Reconstruction Membership Inference
  Attacks against Generative Models", PoPETs 2019(4); Chen et al. 2020, "GAN-Leaks", arXiv
  1909.03935, section 5.3): how closely the generator reconstructs the subject, by its encoder or by
  projection. Requires the model.
- Discriminator (Hayes et al. 2019, "LOGAN", arXiv 1705.07663): how real the subject appears to it.
Requires a model with discriminator.
- Monte Carlo: how close random brains come to the subject. Requires only random brains.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.privacy import FineStructure
from stylegan3d.evaluation.reconstruction import encode
from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.plausibility import FOREGROUND
from stylegan3d.metrics.two_sample import stratified_auc
from stylegan3d.plain import Json
from stylegan3d.progress import followed
from stylegan3d.projection.projector import project

# Training subjects per held-out subject; more hardly narrow the interval.
MEMBERS_EACH = 3
# Source of subjects in a data set without sources.
ONE_SOURCE = ""


def membership(material: Material, budget: str | None = None) -> Json:
    """Membership inference against training subjects.

    Parameters
    ----------
    budget : str or None
        Budget for projecting every subject ("draft", "standard", "thorough"), which takes minutes
        to hours; None to skip this attack.

    Returns
    -------
    dict
        "attacks": one entry each with "attack", "needs", "auc" with "interval" (95 %, DeLong),
        "members" and "others" (numbers compared), "tells_apart" (whether the interval excludes
        chance), "median_member" and "median_other" of the score and its "unit". "missing": attack
        to the reason why it was omitted.
    """
    rows, member = compared_people(material)
    attacks: list[Json] = []
    missing: dict[str, str] = {}
    for name, attack in _attacks(material, budget).items():
        found = attack(material, rows)
        if isinstance(found, str):
            missing[name] = found
            continue
        for kind, (scores, unit_of, needs) in found.items():
            told = _compared(material, rows, member, scores)
            if told is None:
                missing[kind] = "No source has at least two training and two validation subjects."
            else:
                attacks.append({"attack": kind, "needs": needs, "unit": unit_of, **told})
    return {"attacks": attacks, "missing": missing}


Scores = dict[str, tuple[np.ndarray, str, str]]
Attack = Callable[[Material, np.ndarray], Scores | str]


def _attacks(material: Material, budget: str | None) -> dict[str, Attack]:
    chosen: dict[str, Attack] = {"encoder": by_encoder}
    if budget is not None:
        chosen[f"projection ({budget})"] = lambda m, rows: by_projection(m, rows, budget)
    return chosen | {"discriminator": by_discriminator, "nearest random brain": by_random_brains}


def compared_people(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the data set [n], and whether they are training subjects, bool [n].

    All held-out subjects whose source has training subjects, and up to three of these for each.
    """
    rng = np.random.default_rng(material.settings.seed)
    source = sources(material)
    members: list[int] = []
    for name in sorted({source[row] for row in material.validation}):
        there = [row for row in material.training if source[row] == name]
        count = MEMBERS_EACH * sum(source[row] == name for row in material.validation)
        members += [there[k] for k in np.sort(rng.permutation(len(there))[:count])]
    rows = np.array([*members, *material.validation], dtype=np.int64)
    return rows, np.arange(len(rows)) < len(members)


def sources(material: Material) -> list[str]:
    """The source of each row of the data set."""
    return [str(value or ONE_SOURCE) for value in material.pack.column("source")]


def by_encoder(material: Material, rows: np.ndarray) -> Scores | str:
    """PSNR (dB) inside the brain and similarity of detail for each subject via the encoder."""
    if material.has_generator and material.generator.encoder is None:
        return f"{material.generator.name} has no encoder."
    structure = FineStructure(material.pack.template, material.pack.space.voxel_size)

    def errors(volume: np.ndarray) -> tuple[float, float]:
        made = encode(material.generator, unit(volume))
        assert made is not None
        return _psnr(made, unit(volume)), float(structure(made) @ structure(volume))

    found = _scored(material, rows, "by the encoder", errors)
    if isinstance(found, str):
        return found
    needs = "the model's encoder"
    return {
        "encoder": (found[:, 0], "dB", needs),
        "encoder, fine structure": (found[:, 1], "correlation", needs),
    }


def by_projection(material: Material, rows: np.ndarray, budget: str) -> Scores | str:
    """The same by projection in w+, without noise."""

    def error(volume: np.ndarray) -> float:
        how = {"space": "w+", "budget": budget, "noise": "none"}
        return _psnr(unit(project(material.generator, unit(volume), **how).volume), unit(volume))

    found = _scored(material, rows, "by projection", error)
    if isinstance(found, str):
        return found
    return {f"projection ({budget})": (found, "dB", "the model")}


@torch.no_grad()
def by_discriminator(material: Material, rows: np.ndarray) -> Scores | str:
    """Logit of the discriminator for each subject alone."""
    if material.has_generator and material.generator.discriminator is None:
        return f"{material.generator.name} was saved without its discriminator."

    def logit(volume: np.ndarray) -> float:
        return float(material.generator.score(torch.from_numpy(unit(volume))[None, None] * 2 - 1))

    found = _scored(material, rows, "by the discriminator", logit)
    if isinstance(found, str):
        return found
    return {"discriminator": (found, "logit", "the model's discriminator")}


def _scored(
    material: Material, rows: np.ndarray, how: str, score: Callable[[np.ndarray], object]
) -> np.ndarray | str:
    """Scores of the subjects' volumes by the generator, or why there are none."""
    if not material.has_generator:
        return f"{material.subject.name} is a folder of volumes, not a generator."
    volumes = followed(material.volumes(rows), material.report, f"Membership {how}")
    return np.array([score(volume) for volume in volumes])


def by_random_brains(material: Material, rows: np.ndarray) -> Scores:
    """Distance to the nearest random brain, and share of random brains nearby.

    Chen et al. 2020, eq. 3 (full black box), and Hilprecht et al. 2019, eq. 4, whose radius is the
    median over subjects of the distance to the nearest random brain; by features, and by fine
    structure (`privacy`).
    """
    place = {row: k for k, row in enumerate(material.people)}
    people = material.real_features[[place[row] for row in rows]]
    needs = f"{len(material.synthetic)} random brains"
    distances = {
        "features": np.linalg.norm(people[:, None] - material.synthetic_features, axis=2),
        "fine structure": _fine_distances(material, rows),
    }
    found: Scores = {}
    for name, distance in distances.items():
        nearest = distance.min(axis=1)
        nearby = (distance <= np.median(nearest)).mean(axis=1)
        found[f"nearest random brain, {name}"] = (-nearest, "distance, negative", needs)
        found[f"random brains nearby, {name}"] = (nearby, "share", needs)
    return found


def _fine_distances(material: Material, rows: np.ndarray) -> np.ndarray:
    """1 - correlation [rows, random brains] of fine structure."""
    structure = FineStructure(material.pack.template, material.pack.space.voxel_size)
    made = np.stack([structure(brain) for brain in material.synthetic])
    return 1 - np.stack([structure(volume) @ made.T for volume in material.volumes(rows)])


def _compared(
    material: Material, rows: np.ndarray, member: np.ndarray, scores: np.ndarray
) -> Json | None:
    """AUC of scores [rows] within sources."""
    source = sources(material)
    strata = [source[row] for row in rows]
    inside = [name for name, is_member in zip(strata, member, strict=True) if is_member]
    outside = [name for name, is_member in zip(strata, member, strict=True) if not is_member]
    area = stratified_auc(scores[member], scores[~member], inside, outside)
    if area is None:
        return None
    medians = {
        "median_member": float(np.median(scores[member])),
        "median_other": float(np.median(scores[~member])),
    }
    return area.to_dict() | medians


def _psnr(made: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio (dB) inside the brain, intensities in [0, 1]."""
    inside = truth > FOREGROUND
    error = float(np.mean((made[inside] - truth[inside]) ** 2, dtype=np.float64))
    return float(10 * np.log10(1 / max(error, 1e-12)))
