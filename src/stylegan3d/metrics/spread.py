"""How wide a set of brains is spread in feature and latent space, and whether it has collapsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform

from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.intervals import wilson
from stylegan3d.progress import Progress

# Diversity is 1 where random brains differ as much as subjects do. Blur makes brains more alike
# too, and a generator of few subjects is never free of it: 0.6 is usual, less than 0.5 is not.
TOO_ALIKE = 0.5
# Nearer to one another than this share of the distance of the two most alike subjects: twins.
TWINS = 0.5
TOO_MANY_TWINS = 0.05


def spread(made: np.ndarray, real: np.ndarray) -> float:
    """Mean over features of the variance of made brains, in units of that of real ones.

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
        And [m, features].
    """
    scaled = _scaled(made, real)
    return float(scaled.var(axis=0, ddof=1).mean())


def dimensions(made: np.ndarray, real: np.ndarray) -> float:
    """In how many independent ways made brains differ, as far as so few of them can show.

    The participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2: n if n of them are
    alike and the others 0. It is at most n - 1 for n brains, so it is compared at equal n only.
    """
    scaled = _scaled(made, real)
    centred = scaled - scaled.mean(axis=0)
    gram = centred @ centred.T
    return float(np.trace(gram) ** 2 / max((gram**2).sum(), 1e-30))


def _scaled(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Features of a deviation of 1 among real brains; those that do not vary there are left out."""
    deviation = real.std(axis=0, ddof=1)
    varies = deviation > 1e-6 * max(float(deviation.max()), 1e-12)
    return np.asarray(made[:, varies] / deviation[varies])


class Encodes(Protocol):
    """A generator with an encoder."""

    device: torch.device
    encoder: torch.nn.Module | None


@torch.no_grad()
def encoded(
    generator: Encodes, volumes: Iterable[np.ndarray], progress: Progress | None = None
) -> np.ndarray:
    """Latents of brains by the generator's encoder, mean over layers: [n, w_dim].

    Synthetic brains and real ones go the same way, so that what the encoder leaves out is missing
    in both.
    """
    assert generator.encoder is not None
    rows = []
    volumes = list(volumes)
    for done, volume in enumerate(volumes, 1):
        image = torch.from_numpy(unit(volume))[None, None].to(generator.device) * 2 - 1
        rows.append(generator.encoder(image)[0].mean(0).double().cpu().numpy())
        if progress is not None:
            progress(done, len(volumes))
    return np.stack(rows)


def collapse(
    made: np.ndarray, real: np.ndarray, diversity: float, diversity_high: float
) -> dict[str, Any]:
    """Whether a generator makes the same few brains again and again.

    Two signs: brains that are far more alike than subjects are (`diversity`), and twins. Were all
    brains drawn from as many kinds as there are subjects, two as near to each other as half the
    distance of the two most alike subjects would hardly be seen (a birthday test, Arora and Zhang
    2017, arXiv 1706.08224, with a distance instead of eyes).

    Parameters
    ----------
    made, real : ndarray, shape (n, features)
        And [m, features].
    diversity, diversity_high : float
        (1 - correlation of pairs) over that of subjects, and the upper bound of its interval.

    Returns
    -------
    dict
        "twins" of "n" brains, "twins_share", "twins_interval"; "diversity"; "alarms", sentences.
    """
    least = pdist(real).min()
    distances = squareform(pdist(made))
    np.fill_diagonal(distances, np.inf)
    twins = int((distances.min(axis=1) < TWINS * least).sum())
    share, interval = twins / len(made), wilson(twins, len(made))
    alarms = []
    if diversity_high < TOO_ALIKE:
        alarms.append(
            f"Collapse: random brains differ {diversity:.2f} times as much as people do; below "
            f"{TOO_ALIKE} a generator repeats itself."
        )
    if interval[0] > TOO_MANY_TWINS:
        alarms.append(
            f"Collapse: {twins} of {len(made)} random brains have a twin nearer than half the "
            "distance of the two most alike people."
        )
    return {
        "n": len(made),
        "twins": twins,
        "twins_share": share,
        "twins_interval": interval,
        "diversity": diversity,
        "alarms": alarms,
    }
