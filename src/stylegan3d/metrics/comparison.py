"""A figure between synthetic and real brains compared with that between real brains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.intervals import Interval, halves_interval, quantiles
from stylegan3d.plain import Json

REPEATS = 50
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass
class Comparison:
    """A figure between synthetic and real brains, and the same between real brains.

    Attributes
    ----------
    synthetic, real : ndarray, shape (repeats,)
        Values of each repeat.
    n : int
        Volumes on each side.
    """

    synthetic: np.ndarray
    real: np.ndarray
    n: int

    def to_dict(self) -> Json:
        """Means, their ratio, and intervals.

        "synthetic_interval" is the 95 % confidence interval of "synthetic", "ratio_interval" the
        same divided by the mean of real to real. "real_interval" contains 95 % of the comparisons
        between real subjects, the values expected without any synthetic brains.
        """
        synthetic, real = float(self.synthetic.mean()), float(self.real.mean())
        return {
            **beside_real(synthetic, halves_interval(self.synthetic), real),
            "synthetic_sd": float(self.synthetic.std()),
            "real": real,
            "real_interval": quantiles(self.real),
            "real_sd": float(self.real.std()),
            "real_q05": float(np.quantile(self.real, 0.05)),
            "real_q95": float(np.quantile(self.real, 0.95)),
            "n": self.n,
            "repeats": len(self.real),
        }


def side_by_side(made: tuple[float, Interval], real: tuple[float, Interval]) -> Json:
    """A figure and its interval of synthetic brains, and that between real ones."""
    return {
        "synthetic": made[0],
        "synthetic_interval": made[1],
        "real": real[0],
        "real_interval": real[1],
    }


def beside_real(synthetic: float, interval: Interval, real: float) -> Json:
    """A figure of synthetic brains with its interval, and both divided by that of real ones."""
    return {
        "synthetic": synthetic,
        "synthetic_interval": interval,
        "ratio": synthetic / real if real > 0 else None,
        "ratio_interval": [bound / real for bound in interval] if real > 0 else None,
    }


def compare_with_halves(
    measure: Measure,
    synthetic: np.ndarray,
    real: np.ndarray,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Comparison:
    """Compare synthetic with real and real with real at equal n, over random halves of both sets.

    Each repeat takes a random half of the synthetic brains and splits the real subjects in two.
    Both are divided into groups of n, the size of the smaller half; synthetic groups and groups of
    one half of the subjects are compared with groups of the other half, and averaged. The spread
    over repeats is the error for the whole sets (see `intervals`), even if their sizes differ.

    Parameters
    ----------
    synthetic, real : ndarray, shape (n, features)
        One row per volume, one volume per subject; at least four each.
    """
    n = group_size(len(synthetic), len(real))
    figures = []
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat))
        order = rng.permutation(len(real))
        middle = len(real) // 2
        half, other = _groups(real[order[:middle]], n), _groups(real[order[middle:]], n)
        drawn = rng.permutation(len(synthetic))[: len(synthetic) // 2]
        figures.append((_mean(measure, _groups(synthetic[drawn], n), half),
                        _mean(measure, other, half)))  # fmt: skip
    values = np.array(figures)
    return Comparison(values[:, 0], values[:, 1], n)


def group_size(synthetic: int, real: int) -> int:
    """Number of volumes on each side of a comparison."""
    n = min(synthetic // 2, real // 2)
    if n < 2:
        raise StyleGAN3DError(
            f"{synthetic} synthetic and {real} real volumes are too few to compare; give at least "
            "four of each."
        )
    return n


def compare_with_validation(
    measure: Measure,
    synthetic: np.ndarray,
    training: np.ndarray,
    validation: np.ndarray,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Comparison:
    """Compare synthetic brains and training subjects with validation subjects, at their number.

    The generator has not seen the validation subjects, so memorisation does not help. The interval
    is conditional on these validation subjects.

    Parameters
    ----------
    synthetic, training, validation : ndarray, shape (n, features)
    """
    n = min(len(synthetic) // 2, len(training) // 2, len(validation))
    figures = []
    for repeat in range(repeats):
        rng = np.random.default_rng((seed, repeat))
        target = [validation[rng.permutation(len(validation))[:n]]]
        drawn = rng.permutation(len(synthetic))[: len(synthetic) // 2]
        people = rng.permutation(len(training))[: len(training) // 2]
        figures.append((_mean(measure, _groups(synthetic[drawn], n), target),
                        _mean(measure, _groups(training[people], n), target)))  # fmt: skip
    values = np.array(figures)
    return Comparison(values[:, 0], values[:, 1], n)


def _groups(rows: np.ndarray, n: int) -> list[np.ndarray]:
    """All complete groups of n."""
    return [rows[start : start + n] for start in range(0, len(rows) - n + 1, n)]


def _mean(measure: Measure, a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Mean over pairs of groups, cycling through the shorter list."""
    count = max(len(a), len(b))
    return float(np.mean([measure(a[k % len(a)], b[k % len(b)]) for k in range(count)]))
