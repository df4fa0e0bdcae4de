"""How far to trust a projection.

There are two separate questions. Is the scan in distribution? This is judged from the scan and the
model's initial estimate, so the answer does not depend on the length of the search: a long search
bends the model until it reproduces even a T2-weighted scan. And is the reconstruction close? This
is judged from the reconstruction.

Reference values come from held-out subjects (`calibration`, the entry "trust" of a model's card).
Every sign is measured in units of their spread; nothing is fitted to out-of-distribution examples,
so unknown kinds of scans are recognised, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from stylegan3d.measures.regions import region_masks
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator
from stylegan3d.projection.objective import LatentPrior
from stylegan3d.projection.signs import SIGNS, Usual, first_guess, measure_signs

# Percentile of subjects from which a brain is reported as far from average.
FAR_PERCENT = 95.0
CLOSE = "close"
TYPICAL = "typical features only"
OUTSIDE = "outside what this model knows"
NOT_CALIBRATED = "not calibrated for this model"
# A region is named if its residual is this many spreads above the usual one.
UNUSUAL = 4.0


class Trust(TypedDict):
    """Assessment of a projection; plain data.

    Attributes
    ----------
    similarity, mean_brain : dict of str to float
        Similarity of the reconstruction and of the mean brain to the scan, inside the brain.
    latent_distance : float
        Distance of the latent from the average; 1 for random brains.
    latent_percentile : float or None
        Percentage of held-out subjects who are closer to the average than the model's initial
        estimate of this scan; None if not calibrated.
    regions : dict of str to dict
        For each region "rms" and "mean" of the residual (scan minus reconstruction), its "share" of
        the brain's voxels and, if calibrated, the "usual" value and how "unusual" this one is, in
        spreads.
    signs : dict of str to dict
        Out-of-distribution signs; if calibrated with the "usual" value and how "unusual" this one
        is, in spreads.
    strangeness : float or None
        Root mean square of the unusual signs; None if not calibrated.
    discriminator : dict or None
        Logits of the discriminator, if any, for scan and reconstruction.
    verdict : str
        "close", "typical features only", "outside what this model knows", or "not calibrated for
        this model".
    sentence : str
        The verdict explained.
    remarks : list of str
        Warnings, in sentences.
    """

    similarity: dict[str, float]
    mean_brain: dict[str, float]
    latent_distance: float
    latent_percentile: float | None
    regions: dict[str, dict[str, float]]
    signs: dict[str, dict[str, float]]
    strangeness: float | None
    discriminator: dict[str, float] | None
    verdict: str
    sentence: str
    remarks: list[str]


def residuals_by_region(
    difference: np.ndarray, masks: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Root mean square and mean of a difference (X, Y, Z) in each of `region_masks`."""
    total = sum(len(index) for index in masks.values())
    found = {}
    for name, index in masks.items():
        values = difference.ravel()[index].astype(np.float64)
        found[name] = {
            "rms": float(np.sqrt(np.mean(values**2))),
            "mean": float(values.mean()),
            "share": len(index) / total,
        }
    return found


def measure_trust(
    prior: LatentPrior,
    w: Tensor,
    made: np.ndarray,
    mean_brain: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
    *,
    generator: Generator,
) -> Trust:
    """Assess a projection.

    Parameters
    ----------
    w : Tensor, shape (num_layers, w_dim)
        The result's latent.
    made, mean_brain, volume : ndarray, shape (X, Y, Z)
        Values in [0, 1]: reconstruction, average brain, scan.
    mask : ndarray, shape (X, Y, Z), bool
        Region of comparison.
    """
    alike = similarity(made, volume, mask)
    usual = similarity(mean_brain, volume, mask)
    distance = prior.distance(w.to(prior.mean))
    guess = first_guess(generator, volume, mean_brain)
    known = generator.card.get("trust") or {}
    signs = measure_signs(prior, guess, mean_brain, volume, mask, generator.voxel_size)
    told, strangeness = compare_signs(signs, known)
    regions = residuals_by_region(volume - made, region_masks(mask, generator.space))
    for name, row in regions.items():
        if name in known.get("regions", {}):
            of_people = Usual.read(known["regions"][name])
            row |= {"usual": of_people.middle, "unusual": of_people.unusual(row["rms"])}
    verdict, sentence = judge(alike, told, strangeness, known)
    percentile = _percentile(signs, known)
    return {
        "similarity": alike,
        "mean_brain": usual,
        "latent_distance": distance,
        "latent_percentile": percentile,
        "regions": regions,
        "signs": told,
        "strangeness": strangeness,
        "discriminator": _scores(generator, volume, made),
        "verdict": verdict,
        "sentence": sentence,
        "remarks": _remarks(alike, usual, percentile, regions, verdict, sentence),
    }


def compare_signs(
    signs: Mapping[str, float], known: Mapping[str, Any]
) -> tuple[dict[str, dict[str, float]], float | None]:
    """Each sign with its reference value, and the strangeness: RMS of the unusual signs.

    A sign on the usual side does not compensate for another on the unusual side.
    """
    told: dict[str, dict[str, float]] = {name: {"value": signs[name]} for name in signs}
    unusual = []
    for name, value in signs.items():
        entry = known.get("signs", {}).get(name)
        if entry is not None:
            of_people = Usual.read(entry)
            unusual.append(of_people.unusual(value, SIGNS[name][0]))
            told[name] |= {"usual": of_people.middle, "unusual": unusual[-1]}
    if not unusual:
        return told, None
    return told, float(np.sqrt(np.mean(np.clip(unusual, 0, None) ** 2)))


def judge(
    alike: Mapping[str, float],
    signs: Mapping[str, Mapping[str, float]],
    strangeness: float | None,
    known: Mapping[str, Any],
) -> tuple[str, str]:
    """The verdict and a sentence that explains it."""
    if strangeness is None:
        return NOT_CALIBRATED, (
            "The model's card has no reference values for these figures; `stylegan3d model trust` "
            "adds them."
        )
    worst = max(signs, key=lambda name: signs[name].get("unusual", -np.inf))
    why = SIGNS[worst][1]
    if strangeness > known["outside"]:
        return OUTSIDE, f"Do not interpret this reconstruction: {why}."
    least = known["least_ssim"]
    if strangeness > known["close"]:
        return TYPICAL, (
            "The reconstruction shows typical features of such brains, not the individual features "
            f"of this one: {why}."
        )
    if alike["ssim"] < least:
        return TYPICAL, (
            "The model knows scans of this kind, but the reconstruction follows this one less "
            f"closely than usual (SSIM {alike['ssim']:.2f}, usually {least:.2f} or more): search "
            "longer, or in W+."
        )
    return CLOSE, (
        "The reconstruction follows this scan as closely as it follows held-out subjects; finer "
        "detail, and any disease, is still missing from it."
    )


def _percentile(signs: Mapping[str, float], known: Mapping[str, Any]) -> float | None:
    """Percentage of subjects whose initial estimate is closer to the average."""
    quantiles = known.get("latent_distance")
    if not quantiles or "latent_distance" not in signs:
        return None
    ranks = np.linspace(0, 100, len(quantiles))
    return float(np.interp(signs["latent_distance"], quantiles, ranks))


def place_in_words(percentile: float) -> str:
    """A "latent_percentile" in words."""
    if percentile >= 100:
        return "farther from the average brain than that of any reference subject"
    share = "less than 1 %" if percentile < 1 else f"{percentile:.0f} %"
    return f"farther from the average brain than that of {share} of the reference subjects"


@torch.no_grad()
def _scores(generator: Generator, volume: np.ndarray, made: np.ndarray) -> dict[str, float] | None:
    """Score each alone: in one batch the minibatch standard deviation would influence both."""
    if generator.discriminator is None or generator.config.image_channels > 1:
        return None
    found = {}
    for name, image in (("scan", volume), ("reconstruction", made)):
        x = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None] * 2 - 1
        found[name] = float(generator.score(x)[0])
    return found


def _remarks(
    alike: Mapping[str, float],
    usual: Mapping[str, float],
    percentile: float | None,
    regions: Mapping[str, Mapping[str, float]],
    verdict: str,
    sentence: str,
) -> list[str]:
    remarks = []
    if verdict == OUTSIDE:
        remarks.append(f"The scan is {OUTSIDE}. {sentence}")
    if alike["psnr"] <= usual["psnr"]:
        remarks.append(
            "The reconstruction is no more similar to the scan than the mean brain is: do not "
            "interpret it."
        )
    if percentile is not None and percentile >= FAR_PERCENT:
        remarks.append(
            f"The model's initial estimate is {place_in_words(percentile)}: edits of this brain "
            "may look unnatural."
        )
    odd = {n: r for n, r in regions.items() if r.get("unusual", 0) > UNUSUAL}
    if odd and verdict != OUTSIDE:
        worst = max(odd, key=lambda name: odd[name]["unusual"])
        remarks.append(
            f"The reconstruction differs in the {worst} more than usual (by "
            f"{odd[worst]['rms']:.2f}, usually {odd[worst]['usual']:.2f}): look at the residual "
            "there for something unknown to the model, such as a lesion."
        )
    return remarks
