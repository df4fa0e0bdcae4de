"""Spread of a set of brains in feature and latent space, and mode collapse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform

from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.intervals import wilson
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress

# Diversity is 1 if random brains differ as much as subjects. Blur, which is unavoidable with few
# training subjects, also makes brains more similar: 0.6 is usual, less than 0.5 is not.
TOO_ALIKE = 0.5
# Maximum distance of near-duplicates, as a share of the distance of the two most similar subjects.
DUPLICATES = 0.5
TOO_MANY_DUPLICATES = 0.05


def spread(made: np.ndarray, real: np.ndarray) -> float:
    """Variance of generated brains relative to real ones, averaged over features.

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
    """
    scaled = _scaled(made, real)
    return float(scaled.var(axis=0, ddof=1).mean())


def dimensions(made: np.ndarray, real: np.ndarray) -> float:
    """Effective dimension of generated brains.

    The participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2: n if n of them are
    equal and the others 0. It is at most n - 1 for n brains, so it is only comparable at equal n.
    """
    scaled = _scaled(made, real)
    centred = scaled - scaled.mean(axis=0)
    gram = centred @ centred.T
    return float(np.trace(gram) ** 2 / max((gram**2).sum(), 1e-30))


def _scaled(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Features scaled to unit variance among real brains; constant ones are dropped."""
    deviation = real.std(axis=0, ddof=1)
    varies = deviation > 1e-6 * max(float(deviation.max()), 1e-12)
    return np.asarray(made[:, varies] / deviation[varies])


class Encodes(Protocol):
    """A generator with an encoder."""

    device: torch.device
    encoder: torch.nn.Module | None


@torch.no_grad()
def encoded(
    generator: Encodes, volumes: Iterable[np.ndarray], progress: Progress = SILENT
) -> np.ndarray:
    """Latents of brains from the generator's encoder, mean over layers: [n, w_dim].

    Synthetic and real brains are encoded alike, so that losses of the encoder affect both.
    """
    assert generator.encoder is not None
    rows = []
    volumes = list(volumes)
    for done, volume in enumerate(volumes, 1):
        image = torch.from_numpy(unit(volume))[None, None].to(generator.device) * 2 - 1
        rows.append(generator.encoder(image)[0].mean(0).double().cpu().numpy())
        progress(done, len(volumes))
    return np.stack(rows)


def collapse(made: np.ndarray, real: np.ndarray, diversity: float, diversity_high: float) -> Json:
    """Test for mode collapse.

    Two signs: brains far more similar than subjects (`diversity`), and near-duplicates. Without
    collapse, two brains closer than half the distance of the two most similar subjects are very
    unlikely (a birthday test, Arora and Zhang 2017, arXiv 1706.08224, with a distance instead of
    visual inspection).

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
    diversity, diversity_high : float
        (1 - correlation of pairs) relative to subjects, and the upper bound of its interval.

    Returns
    -------
    dict
        "twins" of "n" brains, "twins_share", "twins_interval"; "diversity"; "alarms", sentences.
    """
    least = pdist(real).min()
    distances = squareform(pdist(made))
    np.fill_diagonal(distances, np.inf)
    duplicates = int((distances.min(axis=1) < DUPLICATES * least).sum())
    share, interval = duplicates / len(made), wilson(duplicates, len(made))
    alarms = []
    if diversity_high < TOO_ALIKE:
        alarms.append(
            f"Collapse: random brains differ {diversity:.2f} times as much as subjects do; below "
            f"{TOO_ALIKE} a generator repeats itself."
        )
    if interval[0] > TOO_MANY_DUPLICATES:
        alarms.append(
            f"Collapse: {duplicates} of {len(made)} random brains have a near-duplicate, nearer "
            "than half the distance of the two most similar subjects."
        )
    return {
        "n": len(made),
        "twins": duplicates,
        "twins_share": share,
        "twins_interval": interval,
        "diversity": diversity,
        "alarms": alarms,
    }
