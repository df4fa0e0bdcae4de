"""Out-of-distribution signs of a scan, measured before any search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.geometry.space import eroded, to_display
from stylegan3d.model.generator import Generator
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.scans.intensity import contrast_agreement, correlation

#: Signs of an out-of-distribution scan: whether more or less is unusual, and what that means.
SIGNS = {
    "contrast": (-1, "the contrast of the scan is unlike that of the training scans"),
    "deep_correlation": (-1, "deep structures look unlike the estimate of the model"),
    "residual": (1, "the model's initial estimate differs strongly from the scan"),
    "spot": (1, "one region is unlike anything the model expects there"),
    "latent_distance": (1, "the brain is far from those of the training subjects"),
}
# Smoothing in mm, after which a sign must stand out to count as regional; and the width of the
# brain's border that is ignored, where a shift by a voxel looks like a lesion.
SPOT_MM = 6.0
CORE_MM, LEAST_VOXELS = 4.0, 100
SPOT_PERCENTILE = 99.5


@dataclass(frozen=True)
class Usual:
    """Median and spread of a quantity over subjects; the spread is that of the unusual side."""

    middle: float
    spread: float

    @classmethod
    def of(cls, values: np.ndarray, side: int = 1) -> Usual:
        """Median, and spread from the 90th percentile or the median absolute deviation.

        Both are robust to a single outlier; the larger one is taken.
        """
        values = np.asarray(values, np.float64)
        middle = float(np.median(values))
        tail = (np.percentile(side * values, 90) - side * middle) / 1.2816
        spread = max(float(tail), 1.4826 * float(np.median(np.abs(values - middle))))
        return cls(middle, max(spread, 1e-6))

    @classmethod
    def read(cls, entry: Mapping[str, float]) -> Usual:
        """From a model card."""
        return cls(float(entry["middle"]), float(entry["spread"]))

    def unusual(self, value: float, side: int = 1) -> float:
        """Deviation towards the unusual side, in spreads; negative on the other side."""
        return side * (value - self.middle) / self.spread


@dataclass(frozen=True, eq=False)
class Guess:
    """A model's initial estimate of a scan, without a search."""

    volume: np.ndarray
    w: Tensor | None


@torch.no_grad()
def first_guess(generator: Generator, volume: np.ndarray, mean_brain: np.ndarray) -> Guess:
    """The encoder's estimate, or the mean brain without an encoder (or for another channel)."""
    if generator.encoder is None or generator.config.image_channels > 1:
        return Guess(mean_brain, None)
    image = torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None, None]
    w = generator.encoder(image.to(generator.device) * 2 - 1)
    return Guess(to_display(generator.synthesis(w, "none", -1, torch.float32))[0], w[0])


def core_of(mask: np.ndarray, voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """A brain (X, Y, Z) without its border, where a shift by a voxel looks like a lesion."""
    core = eroded(mask, max(1, round(CORE_MM / max(voxel_mm))))
    return core if np.count_nonzero(core) >= LEAST_VOXELS else mask


def measure_signs(
    prior: LatentPrior,
    guess: Guess,
    mean_brain: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
    voxel_mm: tuple[float, float, float],
) -> dict[str, float]:
    """The `SIGNS` of one scan; the latent distance only if there is an encoder."""
    deep = mask & eroded(mean_brain > 0.3, 2)
    deep = deep if np.count_nonzero(deep) >= LEAST_VOXELS else mask
    core = core_of(mask, voxel_mm)
    difference = np.where(core, volume - guess.volume, 0).astype(np.float32)
    sigma = SPOT_MM / np.array(voxel_mm)
    weight = ndimage.gaussian_filter(core.astype(np.float32), sigma)
    spots = np.abs(ndimage.gaussian_filter(difference, sigma))[core] / weight[core]
    signs = {
        "contrast": contrast_agreement(volume, mean_brain, mask),
        "deep_correlation": correlation(volume[deep], guess.volume[deep]),
        "residual": float(np.sqrt(np.mean(difference[core] ** 2))),
        "spot": float(np.percentile(spots, SPOT_PERCENTILE)),
    }
    if guess.w is not None:
        signs["latent_distance"] = prior.distance(guess.w.to(prior.mean))
    return signs
