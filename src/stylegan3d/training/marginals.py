"""Head and ventricle sizes of random brains, distributed as among the training subjects.

A mapping network that starts at the Gaussian distribution of the subjects' latents has their
covariance, but sizes are not Gaussian: a few old subjects have very large ventricles, and heads of
women and men together have short tails. Both sizes are measured in random brains and in subjects, a
line in w is fitted to the logarithm of each, and random brains are moved along it so that the
quantiles of the logarithm become those of the subjects (`networks/mapping.py SizeCurves`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import norm
from sklearn.linear_model import RidgeCV

from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.intensity import unit
from stylegan3d.geometry.space import Space
from stylegan3d.measures.tissue_volumes import measure_attributes
from stylegan3d.model.generator import Generator
from stylegan3d.model.random_latents import random_w
from stylegan3d.model.sampling import packed_synthesis
from stylegan3d.networks.mapping import KNOTS, SizeCurves
from stylegan3d.progress import Progress
from stylegan3d.recipe.model import seed_latents

#: What is matched, in millilitres.
SIZES = ("brain_ml", "ventricle_ml")
# Random brains, with seeds outside the usual range, and those for the spread of w alone.
FIRST_SEED, BRAINS, SPREAD_OF = 5_000_000, 200, 20_000
#: Quantiles between which the curve is linear; beyond them its outer slopes continue.
QUANTILES = (0.005, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.995)
assert len(QUANTILES) == KNOTS
# Width of the kernel that smooths the subjects' distribution, in its standard deviations: the
# curve must not follow single subjects.
WIDTH = 0.25
PENALTIES = np.logspace(-2, 4, 13)
# Slopes of a curve: it corrects a distribution, it does not invent one.
SLOPES = (0.25, 4.0)
FEWEST = 50


def fit_sizes(
    generator: Generator, pack: Pack, report: Progress | None = None
) -> SizeCurves | None:
    """Curves after which random brains are distributed as the training subjects are.

    Parameters
    ----------
    generator : Generator
        A generator with the same w for all layers.
    pack : Pack
        The data set that it was trained on.
    report : callable or None
        Called with how many brains are measured, of how many.

    Returns
    -------
    SizeCurves or None
        None if there are fewer than 50 training subjects, too few for a distribution.
    """
    rows = pack.indices("train")
    if len(rows) < FEWEST:
        return None
    seeds = range(FIRST_SEED, FIRST_SEED + BRAINS)
    people: list[list[float]] = []
    made: list[list[float]] = []
    latents: list[torch.Tensor] = []
    for row in rows:
        people.append(sizes_of(pack.volumes[row], generator.space))
        _report(report, len(people), len(rows) + BRAINS)
    for seed in seeds:
        w = seed_latents(generator, [seed])
        latents.append(w[0, 0])
        made.append(sizes_of(packed_synthesis(generator, w, seed), generator.space))
        _report(report, len(rows) + len(made), len(rows) + BRAINS)
    drawn = torch.stack(latents).double().cpu().numpy()
    return match(drawn, np.array(made), np.array(people), random_w(generator, SPREAD_OF, 0))


def sizes_of(volume: np.ndarray, space: Space) -> list[float]:
    """`SIZES` of a volume of a pack, NaN where unknown."""
    found = measure_attributes(unit(volume), space)
    return [found[name] for name in SIZES]


def _report(report: Progress | None, done: int, total: int) -> None:
    if report:
        report(done, total)


def match(
    w: np.ndarray, made: np.ndarray, people: np.ndarray, spread: np.ndarray
) -> SizeCurves | None:
    """Curves from what was measured.

    Parameters
    ----------
    w, made : ndarray, shape (brains, w_dim), (brains, M)
        Latents of random brains and their sizes; NaN where a size is unknown.
    people : ndarray, shape (subjects, M)
        Sizes of subjects.
    spread : ndarray, shape (many, w_dim)
        Latents of more random brains.

    Returns
    -------
    SizeCurves or None
        None if no size is known of enough brains and subjects.
    """
    centre = spread.mean(axis=0)
    covariance = np.cov(spread.T)
    reads, knots, values = [], [], []
    for m in range(made.shape[1]):
        ours, theirs = _logarithm(made[:, m]), _logarithm(people[:, m])
        there = np.isfinite(ours)
        theirs = theirs[np.isfinite(theirs)]
        if min(there.sum(), len(theirs)) < FEWEST:
            continue
        line = RidgeCV(PENALTIES).fit(w[there] - centre, ours[there])
        deviation = float(np.sqrt(line.coef_ @ covariance @ line.coef_))
        if deviation <= 0:
            continue
        knot = deviation * norm.ppf(QUANTILES)
        reads.append(line.coef_)
        knots.append(knot)
        values.append(_bounded(knot, smooth_quantiles(theirs, QUANTILES) - line.intercept_))
    if not reads:
        return None
    read = np.stack(reads, axis=1)
    reached = covariance @ read
    curves = SizeCurves(len(reads), len(centre))
    arrays = {
        "centre": centre,
        "read": read,
        # Of all shifts that change one size alone, the one that is most likely in random brains.
        "write": np.linalg.solve(read.T @ reached, reached.T),
        "knots": np.stack(knots),
        "values": np.stack(values),
    }
    curves.load_state_dict({k: torch.from_numpy(a).float() for k, a in arrays.items()})
    return curves


def smooth_quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Quantiles of a kernel estimate with the values' own mean and standard deviation."""
    mean, deviation = values.mean(), values.std()
    middles = mean + (values - mean) * np.sqrt(1 - WIDTH**2)
    width = WIDTH * deviation
    grid = np.linspace(middles.min() - 4 * width, middles.max() + 4 * width, 4001)
    share = norm.cdf((grid[:, None] - middles) / width).mean(axis=1)
    return np.asarray(np.interp(shares, share, grid))


def _bounded(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The curve, with slopes within limits; the value of its middle is kept."""
    middle = len(knots) // 2
    steps = np.diff(knots) * np.clip(np.diff(values) / np.diff(knots), *SLOPES)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(path - path[middle] + values[middle])


def _logarithm(sizes: np.ndarray) -> np.ndarray:
    return np.log(np.where(sizes > 0, sizes, np.nan))
