"""Reference values from held-out subjects, for a model's card; see `assessment`.

The thresholds come from held-out subjects alone. That out-of-distribution scans exceed them is
checked on scans derived from those subjects' own, so no other data are needed to calibrate a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.intensity import unit
from stylegan3d.measures.regions import region_masks
from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json, JsonView
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.assessment import compare_signs, residuals_by_region
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.residual import (
    FILE,
    Seen,
    largest_ml,
    limit_of,
    map_bytes,
    residual_z,
    see,
    usual_residual,
)
from stylegan3d.projection.scanner import match_sharpness, simulate_scanner, usual_range
from stylegan3d.projection.signs import SIGNS, Usual, measure_signs
from stylegan3d.projection.verdicts import measure_anatomy, to_scale

VERSION = 2
#: Simulated scanners on which each subject is seen too.
SCANNERS = 3
LEAST_PEOPLE = 8
#: Share of subjects called close, and "outside" as a multiple of that threshold.
CLOSE_SHARE, OUTSIDE_TIMES = 0.95, 3.5
# Share of subjects whose initial estimate is as similar as a close reconstruction must be.
ALIKE_SHARE = 0.95
FOREGROUND = 0.05


@dataclass(frozen=True, eq=False)
class Calibration:
    """The entry "trust" of a model's card, and the file of the maps that it names."""

    entry: Json
    maps: bytes


def calibrate(generator: Generator, pack: Pack, *, progress: Progress = SILENT) -> Calibration:
    """The entry "trust" of a model's card, and the maps of the usual residual.

    Parameters
    ----------
    generator : Generator
        The model, on the pack's grid.
    pack : Pack
        Its data set; only the validation subjects are used, each also on `SCANNERS` simulated
        scanners.
    progress : Progress
        Called with how many subjects are done and how many there are.

    Returns
    -------
    Calibration
        The entry has "signs" and "regions" (each with "middle" and "spread"), "scanner" and
        "quantities" ("middle", "below", "above"), "latent_distance" (quantiles from 0 to 100 %),
        "close" and "outside" (thresholds of the strangeness), "least_ssim", "residual" (hash of the
        maps and "limit", the size of a finding), and "check": how well out-of-distribution scans
        derived from the subjects are distinguished from them.

    Raises
    ------
    StyleGAN3DError
        If the grids differ, or there are fewer than `LEAST_PEOPLE` subjects.
    """
    rows = [int(i) for i in pack.indices("validation")]
    if not pack.space.same_as(generator.space):
        raise StyleGAN3DError(
            f"The volumes of {pack.path} are not on the same grid as those of {generator.name}; "
            "give the data set that it was trained on."
        )
    if len(rows) < LEAST_PEOPLE:
        raise StyleGAN3DError(
            f"{pack.path} has {len(rows)} validation subjects, but a calibration needs at least "
            f"{LEAST_PEOPLE}; prepare the data set with more of them."
        )
    ruler = Ruler(generator)
    people: list[list[MeasuredSubject]] = []
    strange = []
    for done, row in enumerate(rows, 1):
        volume = unit(np.array(pack.volumes[row]))
        mask = volume > FOREGROUND
        views = [(volume, mask)]
        views += [
            simulate_scanner(volume, mask, generator.voxel_size, row + 7919 * k)
            for k in range(1, SCANNERS + 1)
        ]
        people.append([ruler.measure(*view) for view in views])
        kinds = list(strange_kinds(volume, mask, seed=row))
        # Each subject gives one of the kinds, in turn.
        kind, image = kinds[done % len(kinds)]
        strange.append((kind, ruler.measure(image, mask).signs))
        progress(done, len(rows))
    entry = _entry(people)
    maps, entry["residual"] = _residual(people, generator)
    scores = {"people": left_out_scores([[view.signs for view in own] for own in people])}
    for kind, signs in strange:
        scores.setdefault(kind, []).append(_strangeness(signs, entry))
    entry["close"] = _rounded(np.quantile(scores["people"], CLOSE_SHARE))
    entry["outside"] = _rounded(OUTSIDE_TIMES * entry["close"])
    others = [score for kind, found in scores.items() if kind != "people" for score in found]
    entry = {
        "version": VERSION,
        "people": len(people),
        "scanners": SCANNERS,
        "data": pack.path.name,
        **entry,
        "check": {
            "auc": _rounded(area_under_curve(scores["people"], others)),
            "people_outside": _rounded(np.mean(np.array(scores["people"]) > entry["outside"])),
            "others_outside": _rounded(np.mean(np.array(others) > entry["outside"])),
            "median_strangeness": {k: _rounded(np.median(v)) for k, v in scores.items()},
        },
    }
    return Calibration(entry, maps)


@dataclass(frozen=True, eq=False)
class MeasuredSubject:
    """What one scan is judged by.

    Attributes
    ----------
    signs, regions, scanner, quantities : dict of str to float
        Signs; RMS of the residual of the initial estimate; `Matched.figures`;
        `verdicts.measure_anatomy`.
    ssim : float
        Of the initial estimate, at matched sharpness.
    seen : Seen
    """

    signs: dict[str, float]
    regions: dict[str, float]
    scanner: dict[str, float]
    quantities: dict[str, float]
    ssim: float
    seen: Seen


class Ruler:
    """Measures scans with one model; what depends only on the model is computed once."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.prior = LatentPrior.of(generator)

    def measure(self, volume: np.ndarray, mask: np.ndarray) -> MeasuredSubject:
        """Measure a scan (X, Y, Z)."""
        generator, prior = self.generator, self.prior
        seen = see(generator, volume, mask)
        guess, size = seen.guess, generator.voxel_size
        masks = region_masks(mask, generator.space)
        regions = residuals_by_region(volume - guess.volume, masks)
        return MeasuredSubject(
            measure_signs(prior, guess, generator.template, volume, mask, size),
            {name: row["rms"] for name, row in regions.items()},
            seen.matched.figures,
            measure_anatomy(generator, seen, volume, prior.mean, prior.deviations),
            match_sharpness(guess.volume, seen.matched.volume, mask, size)["ssim"],
            seen,
        )


def _residual(
    people: Sequence[Sequence[MeasuredSubject]], generator: Generator
) -> tuple[bytes, Json]:
    """Maps of the usual residual, and their entry: the limit is that of left-out subjects."""
    space = generator.space
    own = [views[0].seen for views in people]
    largest = []
    for i, views in enumerate(people):
        others = usual_residual([*own[:i], *own[i + 1 :]], space)
        largest.append([largest_ml(residual_z(view.seen, others), space) for view in views])
    limit = limit_of(size for sizes in largest for size in sizes)
    maps = map_bytes(usual_residual(own, space))
    return maps, {
        "file": FILE,
        "sha256": hashlib.sha256(maps).hexdigest(),
        "limit": _rounded(limit),
        "people_with_findings": _rounded(np.mean([sizes[0] > limit for sizes in largest])),
        "scans_with_findings": _rounded(np.mean(np.array(largest) > limit)),
    }


def left_out_scores(signs: Sequence[Sequence[Mapping[str, float]]]) -> list[float]:
    """The strangeness of each subject's own scan, with reference values from the others.

    `signs` are those of each subject's views, the own scan first.
    """
    scores = []
    for i, own in enumerate(signs):
        others = [view for views in (*signs[:i], *signs[i + 1 :]) for view in views]
        scores.append(_strangeness(own[0], {"signs": _usual_signs(others)}))
    return scores


def area_under_curve(people: Sequence[float], others: Sequence[float]) -> float:
    """AUC: probability that one of `others` scores higher than one of `people`."""
    a, b = np.asarray(people)[:, None], np.asarray(others)[None]
    return float(np.mean((b > a) + 0.5 * (b == a)))


def strange_kinds(
    volume: np.ndarray, mask: np.ndarray, seed: int = 0
) -> Iterator[tuple[str, np.ndarray]]:
    """Out-of-distribution scans derived from a normal one: names and volumes (X, Y, Z)."""
    draw = np.random.RandomState(seed)

    def inside(data: np.ndarray) -> np.ndarray:
        return np.where(mask, np.clip(data, 0, 1), 0).astype(np.float32)

    yield "inverted contrast", inside(1 - volume)
    grey = float(np.median(volume[mask]))
    # Grey matter brightest, white matter and CSF darker: between FLAIR and T2.
    yield "grey matter brightest", inside(1 - np.abs(volume - 0.9 * grey) / 0.6)
    yield "noise", inside(draw.rand(*volume.shape))
    smooth = ndimage.gaussian_filter(draw.randn(*volume.shape), 3)
    yield "smooth noise", inside((smooth - smooth.min()) / np.ptp(smooth))
    yield "one brightness", inside(np.full(volume.shape, 0.6))
    yield "upside down", inside(np.flip(volume, 2))
    yield "large dark lesion", inside(np.where(_ball(mask, draw), 0.15, volume))


def _ball(mask: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """A ball of a twentieth of the brain's volume around one of its deeper voxels."""
    depth = ndimage.distance_transform_edt(mask)
    places = np.argwhere(depth > 0.5 * depth.max())
    center = places[draw.randint(len(places))]
    index = np.indices(mask.shape) - center[:, None, None, None]
    return np.asarray((index**2).sum(axis=0) < (0.05 * mask.sum() * 3 / (4 * np.pi)) ** (2 / 3))


def _entry(people: Sequence[Sequence[MeasuredSubject]]) -> Json:
    views = [view for own in people for view in own]
    signs = [view.signs for view in views]
    names = sorted({name for view in views for name in view.regions})
    entry: Json = {
        "signs": _usual_signs(signs),
        "regions": {
            name: _usual([view.regions[name] for view in views if name in view.regions])
            for name in names
        },
        # Of the scans themselves: a scanner differs if it is none of those of the data set.
        "scanner": usual_ranges([own[0].scanner for own in people]),
        "quantities": usual_ranges(
            [{k: to_scale(k, v) for k, v in view.quantities.items()} for view in views]
        ),
        "least_ssim": _rounded(np.quantile([view.ssim for view in views], 1 - ALIKE_SHARE)),
    }
    if "latent_distance" in signs[0]:
        distances = [own["latent_distance"] for own in signs]
        quantiles = np.quantile(distances, np.linspace(0, 1, 21))
        entry["latent_distance"] = [_rounded(value) for value in quantiles]
    return entry


def usual_ranges(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`scanner.usual_range` of each quantity that every row has."""
    return {
        name: {
            k: _rounded(v) for k, v in usual_range(np.array([row[name] for row in rows])).items()
        }
        for name in rows[0]
        if all(name in row for row in rows)
    }


def _usual_signs(signs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: _usual([own[name] for own in signs], side)
        for name, (side, _) in SIGNS.items()
        if name in signs[0]
    }


def _usual(values: Sequence[float], side: int = 1) -> dict[str, float]:
    usual = Usual.of(np.array(values), side)
    return {"middle": _rounded(usual.middle), "spread": _rounded(usual.spread)}


def _strangeness(signs: Mapping[str, float], known: JsonView) -> float:
    score = compare_signs(signs, known)[1]
    assert score is not None
    return score


def _rounded(value: Any) -> float:
    return float(f"{float(value):.5g}")
