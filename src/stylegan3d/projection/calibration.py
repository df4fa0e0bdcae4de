"""Reference values from held-out subjects, for a model's card; see `trust`.

The thresholds come from held-out subjects alone. That out-of-distribution scans exceed them is
checked on scans derived from those subjects' own, so no other data are needed to calibrate a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.intensity import unit
from stylegan3d.measures.regions import region_masks
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator
from stylegan3d.progress import Progress
from stylegan3d.projection.objective import LatentPrior
from stylegan3d.projection.signs import SIGNS, Usual, first_guess, measure_signs
from stylegan3d.projection.trust import compare_signs, residuals_by_region

VERSION = 1
LEAST_PEOPLE = 8
#: Share of subjects called close, and "outside" as a multiple of that threshold.
CLOSE_SHARE, OUTSIDE_TIMES = 0.95, 3.5
# Share of subjects whose initial estimate is as similar as a close reconstruction must be.
ALIKE_SHARE = 0.95
FOREGROUND = 0.05


def calibrate(
    generator: Generator, pack: Pack, *, progress: Progress | None = None
) -> dict[str, Any]:
    """The entry "trust" of a model's card.

    Parameters
    ----------
    generator : Generator
        The model, on the pack's grid.
    pack : Pack
        Its data set; only the validation subjects are used.
    progress : Progress or None
        Called with how many subjects are done and how many there are.

    Returns
    -------
    dict
        "signs" and "regions" (each with "middle" and "spread"), "latent_distance" (quantiles from 0
        to 100 %), "close" and "outside" (thresholds of the strangeness), "least_ssim", and "check":
        how well out-of-distribution scans derived from the subjects are distinguished from them.

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
    people, strange = [], []
    for done, row in enumerate(rows, 1):
        volume = unit(np.array(pack.volumes[row]))
        mask = volume > FOREGROUND
        people.append(ruler.measure(volume, mask))
        kinds = list(strange_kinds(volume, mask, seed=row))
        # Each subject gives one of the kinds, in turn.
        kind, image = kinds[done % len(kinds)]
        strange.append((kind, ruler.measure(image, mask)["signs"]))
        if progress is not None:
            progress(done, len(rows))
    entry = _entry(people)
    scores = {"people": left_out_scores([person["signs"] for person in people])}
    for kind, signs in strange:
        scores.setdefault(kind, []).append(_strangeness(signs, entry))
    entry["close"] = _rounded(np.quantile(scores["people"], CLOSE_SHARE))
    entry["outside"] = _rounded(OUTSIDE_TIMES * entry["close"])
    others = [score for kind, found in scores.items() if kind != "people" for score in found]
    return {
        "version": VERSION,
        "people": len(people),
        "data": pack.path.name,
        **entry,
        "check": {
            "auc": _rounded(area_under_curve(scores["people"], others)),
            "people_outside": _rounded(np.mean(np.array(scores["people"]) > entry["outside"])),
            "others_outside": _rounded(np.mean(np.array(others) > entry["outside"])),
            "median_strangeness": {k: _rounded(np.median(v)) for k, v in scores.items()},
        },
    }


class Ruler:
    """Measures scans with one model; what depends only on the model is computed once."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.prior = LatentPrior.of(generator)

    def measure(self, volume: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
        """ "signs", "regions" (RMS of the residual) and "ssim" of the initial estimate."""
        generator = self.generator
        guess = first_guess(generator, volume, generator.template)
        size = generator.voxel_size
        signs = measure_signs(self.prior, guess, generator.template, volume, mask, size)
        masks = region_masks(mask, generator.space)
        regions = residuals_by_region(volume - guess.volume, masks)
        return {
            "signs": signs,
            "regions": {name: row["rms"] for name, row in regions.items()},
            "ssim": similarity(guess.volume, volume, mask)["ssim"],
        }


def left_out_scores(signs: Sequence[Mapping[str, float]]) -> list[float]:
    """The strangeness of each subject, with reference values from the others."""
    return [
        _strangeness(own, {"signs": _usual_signs([*signs[:i], *signs[i + 1 :]])})
        for i, own in enumerate(signs)
    ]


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


def _entry(people: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    signs = [person["signs"] for person in people]
    names = sorted({name for person in people for name in person["regions"]})
    regions = {
        name: _usual([person["regions"][name] for person in people if name in person["regions"]])
        for name in names
    }
    entry: dict[str, Any] = {
        "signs": _usual_signs(signs),
        "regions": regions,
        "least_ssim": _rounded(np.quantile([p["ssim"] for p in people], 1 - ALIKE_SHARE)),
    }
    if "latent_distance" in signs[0]:
        distances = [own["latent_distance"] for own in signs]
        quantiles = np.quantile(distances, np.linspace(0, 1, 21))
        entry["latent_distance"] = [_rounded(value) for value in quantiles]
    return entry


def _usual_signs(signs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: _usual([own[name] for own in signs], side)
        for name, (side, _) in SIGNS.items()
        if name in signs[0]
    }


def _usual(values: Sequence[float], side: int = 1) -> dict[str, float]:
    usual = Usual.of(np.array(values), side)
    return {"middle": _rounded(usual.middle), "spread": _rounded(usual.spread)}


def _strangeness(signs: Mapping[str, float], known: Mapping[str, Any]) -> float:
    score = compare_signs(signs, known)[1]
    assert score is not None
    return score


def _rounded(value: Any) -> float:
    return float(f"{float(value):.5g}")
