"""Assessment: how far to trust a projection.

Three verdicts (`verdicts`) are about the scan: its acquisition, its anatomy, and what is focal in
it. There are two further questions. Is the scan in distribution? As the verdicts, this is judged
from the scan and the model's initial estimate, so the answer does not depend on the length of the
search: a long search bends the model until it reproduces even a T2-weighted scan. And is the
reconstruction close? This is judged from the reconstruction, at matched contrast and sharpness.

Reference values come from held-out subjects (`calibration`, the entry "trust" of a model's card).
Every sign is measured in units of their spread; nothing is fitted to out-of-distribution examples,
so unknown kinds of scans are recognised, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.measures.lesions import suspect_lesions
from stylegan3d.measures.regions import Finding, find, region_masks
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator
from stylegan3d.plain import JsonView
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.residual import (
    Seen,
    UsualResidual,
    load_maps,
    residual_clusters,
    residual_z,
    see,
    z_everywhere,
)
from stylegan3d.projection.scanner import (
    compare_figures,
    cortical_detail,
    match_sharpness,
)
from stylegan3d.projection.signs import SIGNS, Usual, measure_signs
from stylegan3d.projection.verdicts import (
    WIDER,
    Verdict,
    compare_anatomy,
    decisive_first,
    headline,
    judge_acquisition,
    judge_anatomy,
    judge_focal,
    measure_anatomy,
    unreadable,
)

# Percentile of subjects from which a brain is reported as far from average.
FAR_PERCENT = 95.0
CLOSE = "close"
TYPICAL = "typical features only"
OUTSIDE = "outside what this model knows"
NOT_CALIBRATED = "not calibrated for this model"
# Correlation of fine detail near the brain's surface from which folds are followed.
LEAST_DETAIL = 0.6
WITHOUT_NOISE = (
    "The reconstruction includes the scan's inverted noise, so it shows whatever the scan shows, "
    "disease too, and similarity is measured with it; the verdict refers to the latent alone."
)
# Beside the lesion network, which sees small lesions better, the residual is for what is large: a
# cluster of it is a finding from so many times the limit. Two detectors at the limit would find
# something in twice as many healthy people.
RESIDUAL_TIMES = 2.0


class Assessment(TypedDict):
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
    verdicts : dict of str to Verdict
        "acquisition", "anatomy" and "focal", the decisive one first; empty if not calibrated.
    headline : str
        The decisive one in a sentence.
    scanner, quantities : dict of str to dict
        Estimates of the scanner (`scanner.FIGURES`) and the anatomy (`verdicts.QUANTITIES`):
        "value" and, if calibrated, "usual" and how "unusual" it is, in spreads.
    findings : list of Finding or None
        What stands out in the scan, largest first; None if it could not be judged.
    matched : dict of str to float
        Similarity at matched contrast and sharpness, "blur_mm" of the scan for that, and
        "cortical_detail": correlation of fine detail near the brain's surface.
    site : str or None
        The calibrated site it was judged by.
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
    verdicts: dict[str, Verdict]
    headline: str
    scanner: dict[str, dict[str, float]]
    quantities: dict[str, dict[str, float]]
    findings: list[Finding] | None
    matched: dict[str, float]
    site: str | None


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Reference values that scans are judged by.

    Attributes
    ----------
    known : mapping
        Reference values, as the entry "trust" of a card.
    usual : UsualResidual or None
        None if not calibrated.
    site : str or None
        Name of the calibrated site; None for the model's own data.
    """

    known: JsonView
    usual: UsualResidual | None
    site: str | None = None

    @classmethod
    def of(cls, generator: Generator) -> Yardstick:
        """That of a model's own data."""
        return cls(generator.card.get("trust") or {}, load_maps(generator))


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


@dataclass(frozen=True, eq=False)
class Assessed:
    """The assessment of a projection, and the residual z (X, Y, Z) of its scan; None if unknown."""

    assessment: Assessment
    z: np.ndarray | None


def assess(
    prior: LatentPrior,
    w: Tensor,
    made: np.ndarray,
    mean_brain: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
    *,
    generator: Generator,
    yardstick: Yardstick | None = None,
    is_complete: bool = True,
    without_noise: np.ndarray | None = None,
) -> Assessed:
    """Assess a projection.

    Parameters
    ----------
    w : Tensor, shape (num_layers, w_dim)
        The result's latent.
    made, mean_brain, volume : ndarray, shape (X, Y, Z)
        Values in [0, 1]: reconstruction, average brain, scan.
    mask : ndarray, shape (X, Y, Z), bool
        Region of comparison.
    yardstick : Yardstick or None
        By default that of the model's own data.
    is_complete : bool
        Whether the scan is the brain itself, not something derived from it by an operator.
    without_noise : ndarray or None
        The brain of the latent alone, where `made` has the scan's own noise, too: any scan can be
        given its own noise, so how far the model knows it is judged without.
    """
    yardstick = yardstick or Yardstick.of(generator)
    known = yardstick.known
    judged = made if without_noise is None else without_noise
    alike = similarity(made, volume, mask)
    usual = similarity(mean_brain, volume, mask)
    seen = see(generator, volume, mask)
    signs = measure_signs(prior, seen.guess, mean_brain, volume, mask, generator.voxel_size)
    told, strangeness = compare_signs(signs, known)
    regions = residuals_by_region(volume - made, region_masks(mask, generator.space))
    for name, row in regions.items():
        if name in known.get("regions", {}):
            of_people = Usual.read(known["regions"][name])
            row |= {"usual": of_people.middle, "unusual": of_people.unusual(row["rms"])}
    size = generator.voxel_size
    matched = match_sharpness(judged, seen.matched.volume, mask, size)
    matched["cortical_detail"] = cortical_detail(judged, seen.matched.volume, mask, size)
    verdict, sentence = judge(matched, told, strangeness, known)
    percentile = _percentile(signs, known)
    own, z = judge_scan(seen, prior, volume, mask, generator, yardstick, is_complete=is_complete)
    assessment: Assessment = {
        "similarity": alike,
        "mean_brain": usual,
        "latent_distance": prior.distance(w.to(prior.mean)),
        "latent_percentile": percentile,
        "regions": regions,
        "signs": told,
        "strangeness": strangeness,
        "discriminator": _scores(generator, volume, made),
        "verdict": verdict,
        "sentence": sentence,
        "remarks": [
            *_remarks(similarity(judged, volume, mask), usual, percentile, verdict, sentence),
            *([] if without_noise is None else [WITHOUT_NOISE]),
        ],
        "matched": matched,
        **own,
    }
    return Assessed(assessment, z)


class Judged(TypedDict):
    """The part of a `Assessment` that needs the scan alone."""

    verdicts: dict[str, Verdict]
    headline: str
    scanner: dict[str, dict[str, float]]
    quantities: dict[str, dict[str, float]]
    findings: list[Finding] | None
    site: str | None


def judge_scan(
    seen: Seen,
    prior: LatentPrior,
    volume: np.ndarray,
    mask: np.ndarray,
    generator: Generator,
    yardstick: Yardstick,
    *,
    is_complete: bool = True,
) -> tuple[Judged, np.ndarray | None]:
    """The three verdicts on a scan (X, Y, Z) with the numbers behind them, and its residual z."""
    known, usual = yardstick.known, yardstick.usual
    figures = compare_figures(seen.matched.figures, known.get("scanner", {}))
    measured = measure_anatomy(generator, seen, volume, prior.mean, prior.deviations)
    widening = WIDER if yardstick.site is None else 1.0
    quantities = compare_anatomy(measured, known.get("quantities", {}), widening)
    judged: Judged = {
        "verdicts": {},
        "headline": "",
        "scanner": figures,
        "quantities": quantities,
        "findings": None,
        "site": yardstick.site,
    }
    z = None
    if usual is None:
        return judged, z
    template = generator.template
    acquisition = judge_acquisition(figures, volume, template, mask, yardstick.site)
    where = unreadable(acquisition)
    if is_complete:
        z = residual_z(seen, usual)
        found = _findings(seen, usual, z, volume, mask, generator.space, known)
        judged["findings"] = None if where else found
    judged["verdicts"] = decisive_first(
        {
            "acquisition": acquisition,
            "anatomy": judge_anatomy(quantities, where, is_complete),
            "focal": judge_focal(judged["findings"], where),
        }
    )
    judged["headline"] = headline(judged["verdicts"])
    return judged, z


def _findings(
    seen: Seen,
    usual: UsualResidual,
    z: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
    space: Space,
    known: JsonView,
) -> list[Finding]:
    """What the lesion network and the residual find in a scan.

    Where the network finds something, `z` is given also if it is not judged otherwise.
    """
    limit, strange = float(known["residual"]["limit"]), residual_clusters(z, space)
    everywhere = z_everywhere(seen, usual)
    suspected = suspect_lesions(volume, mask, space, fluid=seen.fluid)
    ways = [(limit, strange)]
    if suspected is not None:
        ways = [(suspected.limit, suspected.clusters), (RESIDUAL_TIMES * limit, strange)]
        for cluster in suspected.clusters:
            if cluster.size > suspected.limit:
                z.flat[cluster.index] = everywhere.flat[cluster.index]
    return find(ways, everywhere, mask, space)


def compare_signs(
    signs: Mapping[str, float], known: JsonView
) -> tuple[dict[str, dict[str, float]], float | None]:
    """Each sign with its reference value, and the strangeness: RMS of the unusual signs.

    A sign on the usual side does not compensate for another on the unusual side.
    """
    record: dict[str, dict[str, float]] = {name: {"value": signs[name]} for name in signs}
    unusual = []
    for name, value in signs.items():
        entry = known.get("signs", {}).get(name)
        if entry is not None:
            of_people = Usual.read(entry)
            unusual.append(of_people.unusual(value, SIGNS[name][0]))
            record[name] |= {"usual": of_people.middle, "unusual": unusual[-1]}
    if not unusual:
        return record, None
    return record, float(np.sqrt(np.mean(np.clip(unusual, 0, None) ** 2)))


def judge(
    alike: Mapping[str, float],
    signs: Mapping[str, Mapping[str, float]],
    strangeness: float | None,
    known: JsonView,
) -> tuple[str, str]:
    """The verdict and a sentence that explains it."""
    if strangeness is None:
        return NOT_CALIBRATED, (
            "The model's card has no reference values for these figures; `stylegan3d model "
            "calibrate` adds them."
        )
    worst = max(signs, key=lambda name: signs[name].get("unusual", -np.inf))
    why = SIGNS[worst][1]
    if strangeness > known["outside"]:
        return OUTSIDE, f"Do not interpret this reconstruction: {why}."
    least, detail = known["least_ssim"], alike["cortical_detail"]
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
    if detail < LEAST_DETAIL:
        return TYPICAL, (
            "Large structures follow this scan as closely as usual, but the folds of the cortex do "
            f"not (correlation of fine detail {detail:.2f}, at least {LEAST_DETAIL} is close)."
        )
    return CLOSE, (
        "The reconstruction follows this scan as closely as it follows held-out subjects; finer "
        "detail, and any disease, is still missing from it."
    )


def _percentile(signs: Mapping[str, float], known: JsonView) -> float | None:
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
    return remarks
