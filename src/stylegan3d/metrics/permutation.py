"""Linear models of many values at once, judged by permuting subjects.

For each value (a voxel, a region) y = X b + Z g + e: `X` are the columns of interest, such as a
group or an age, `Z` what is held fixed. Freedman and Lane (1983) permute the residuals of the
reduced model y = Z g + e; Winkler et al. 2014 (NeuroImage 92, 381-397) compare the ways to do it.
Rows that may not change places (the scans of one subject) are permuted within their block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stylegan3d.base import StyleGAN3DError

#: Largest number of values in a block of permutations, for memory.
BLOCK = 40_000_000
#: Bins in which permuted statistics are counted.
BINS = 65536
#: Variance below this share of a value's own is rounding.
NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Tested:
    """What `permuted` found, for each of m values.

    Attributes
    ----------
    effect : ndarray, float64 (columns of interest, m)
        Coefficients b.
    statistic : ndarray, float64 (m,)
        t of a single column (signed), F of several.
    p : ndarray, float64 (m,)
        Share of permutations (this arrangement included) with a statistic at least as large, in
        absolute value.
    p_any : ndarray, float64 (m,)
        The same for the largest statistic of all values: controls the chance of any false finding
        (Westfall and Young 1993).
    q : ndarray, float64 (m,)
        False discovery rate at which the value is found (Benjamini and Hochberg 1995). Its p are
        shares of the permuted statistics of all values together, which alone reach below one in
        `permutations`.
    degrees : int
        Residual degrees of freedom.
    permutations : int
    """

    effect: np.ndarray
    statistic: np.ndarray
    p: np.ndarray
    p_any: np.ndarray
    q: np.ndarray
    degrees: int
    permutations: int


def permuted(
    y: np.ndarray,
    interest: np.ndarray,
    fixed: np.ndarray,
    *,
    blocks: np.ndarray | None = None,
    permutations: int,
    seed: int = 0,
) -> Tested:
    """Test whether values depend on columns of interest beside what is held fixed.

    Parameters
    ----------
    y : ndarray, shape (n, m)
        Values of n rows.
    interest, fixed : ndarray, shape (n, k) and (n, c)
        Columns; an intercept is part of `fixed`.
    blocks : ndarray of int, shape (n,), or None
        Rows of the same block change places with each other only; None lets all rows do so.
    permutations : int
        Number of arrangements, the given one included.

    Raises
    ------
    StyleGAN3DError
        If there are too few rows, or what is of interest follows from what is held fixed.
    """
    n = len(y)
    basis = _basis(fixed)
    degrees = n - basis.shape[1] - interest.shape[1]
    if degrees < 1:
        raise StyleGAN3DError(
            f"{n} brains are too few for {interest.shape[1] + basis.shape[1]} quantities in the "
            "model: add brains, or hold less fixed."
        )
    residual = interest - basis @ (basis.T @ interest)
    scale = np.linalg.norm(interest - interest.mean(axis=0), axis=0)
    if np.linalg.matrix_rank(residual / np.where(scale > 0, scale, 1), tol=1e-6) < len(scale):
        raise StyleGAN3DError(
            "The compared column follows from those held fixed, or is the same for all brains: "
            "hold less fixed, or compare another column."
        )
    unit, triangle = np.linalg.qr(residual)
    y = y.astype(np.float64)
    y = y - basis @ (basis.T @ y)
    total = (y**2).sum(axis=0)
    alive = total > NOTHING * max(float(total.max(initial=0.0)), 1e-300)
    y, total = y[:, alive], total[alive]
    rows = np.hstack([unit, basis]).T  # [k + c, n]
    signed = interest.shape[1] == 1

    def statistics(orders: np.ndarray) -> np.ndarray:
        """[b, m] of b arrangements [b, n] of the residuals."""
        moved = np.empty((len(orders), *rows.shape))
        # Permuting y's rows is permuting the columns of what it is multiplied with.
        np.put_along_axis(moved, orders[:, None, :], rows[None], axis=2)
        parts = (moved.reshape(-1, n) @ y).reshape(len(orders), len(rows), -1)
        ours = parts[:, : unit.shape[1]]
        explained = (ours**2).sum(axis=1)
        left = total - explained - (parts[:, unit.shape[1] :] ** 2).sum(axis=1)
        left = np.maximum(left, NOTHING * total) / degrees
        if signed:
            return ours[:, 0] * np.sign(triangle[0, 0]) / np.sqrt(left)
        return explained / unit.shape[1] / left

    random = np.random.default_rng(seed)
    found = statistics(np.arange(n)[None])[0]
    as_large, largest_as_large = np.ones(len(found)), np.ones(len(found))
    # Permuted statistics of all values, counted in narrow bins up to the largest found one.
    width = max(float(np.abs(found).max(initial=0.0)), 1e-300) / BINS
    bins = np.minimum(np.abs(found) / width, BINS).astype(np.int64)
    counts = np.zeros(BINS + 1)
    size, done = max(1, BLOCK // max(1, y.shape[1] * len(rows))), 1
    while done < permutations:
        count = min(size, permutations - done)
        drawn = np.abs(
            statistics(np.stack([_arrangement(random, n, blocks) for _ in range(count)]))
        )
        as_large += (drawn >= np.abs(found) - 1e-12).sum(axis=0)
        if len(found):
            largest = np.sort(drawn.max(axis=1))
            largest_as_large += count - np.searchsorted(largest, np.abs(found) - 1e-12)
            places = np.minimum(drawn / width, BINS).astype(np.int32)
            counts += np.bincount(places.ravel(), minlength=len(counts))
        done += count
    effect = np.linalg.solve(triangle, unit.T @ y)
    p = _spread(as_large / permutations, alive, 1.0)
    at_least = counts[::-1].cumsum()[::-1][bins]
    pooled = (1 + at_least) / (1 + (permutations - 1) * max(1, len(found)))
    return Tested(
        np.stack([_spread(row, alive, 0.0) for row in effect]),
        _spread(found, alive, 0.0),
        p,
        _spread(largest_as_large / permutations, alive, 1.0),
        false_discovery_rate(_spread(np.minimum(pooled, 1.0), alive, 1.0)),
        degrees,
        permutations,
    )


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q of each p, shape (m,)."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(p, method="bh") if len(p) else p.copy()


def _arrangement(random: np.random.Generator, n: int, blocks: np.ndarray | None) -> np.ndarray:
    if blocks is None:
        return random.permutation(n)
    order = np.arange(n)
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        order[rows] = random.permutation(rows)
    return order


def _basis(fixed: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span `fixed`."""
    left, sizes, _ = np.linalg.svd(fixed, full_matrices=False)
    return left[:, sizes > 1e-10 * max(float(sizes.max(initial=0.0)), 1e-300)]


def _spread(values: np.ndarray, alive: np.ndarray, rest: float) -> np.ndarray:
    whole = np.full(len(alive), rest)
    whole[alive] = values
    return whole
