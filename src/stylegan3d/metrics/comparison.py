"""A figure of synthetic against real brains beside the same between real brains, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.intervals import Interval, halves_interval, quantiles

REPEATS = 50
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass
class Comparison:
    """A figure of synthetic to real brains beside that of real to other real ones.

    Attributes
    ----------
    synthetic, real : ndarray, shape (repeats,)
        The figure of each repeat.
    n : int
        Volumes on either side.
    """

    synthetic: np.ndarray
    real: np.ndarray
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Means, the ratio of them, intervals.

        "synthetic_interval" is the 95 % confidence interval of "synthetic", "ratio_interval" the
        same over the mean of real to real. "real_interval" is what 95 % of the comparisons of real
        subjects to other real subjects lie in: what such a figure is where nothing is synthetic.
        """
        synthetic, real = float(self.synthetic.mean()), float(self.real.mean())
        return {
            **told(synthetic, halves_interval(self.synthetic), real),
            "synthetic_sd": float(self.synthetic.std()),
            "real": real,
            "real_interval": quantiles(self.real),
            "real_sd": float(self.real.std()),
            "real_q05": float(np.quantile(self.real, 0.05)),
            "real_q95": float(np.quantile(self.real, 0.95)),
            "n": self.n,
            "repeats": len(self.real),
        }


def told(synthetic: float, interval: Interval, real: float) -> dict[str, Any]:
    """A figure of synthetic brains with its interval, and both over that of real ones."""
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
    """Measure synthetic to real and real to real at equal n, over random halves of both sets.

    Each repeat takes a random half of the synthetic brains and splits the real subjects in two.
    Both are cut into groups of n, the size of the smaller half; synthetic groups are compared to
    groups of one half of the subjects, those of the other half to the same, and the means taken.
    Spread over halves is then the error of the whole (see `intervals`), however unequal the sets
    are.

    Parameters
    ----------
    synthetic, real : ndarray, shape (n, features)
        One row a volume, one volume a person; at least four each.
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
    """How many volumes stand on either side of a comparison of so many."""
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
    """Measure synthetic and training subjects to validation subjects, as many as those are.

    The generator has not seen the validation subjects, so what it learned by heart does not help.
    The interval is that of these validation subjects: other ones are not drawn.

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
    """As many groups of n as there are."""
    return [rows[start : start + n] for start in range(0, len(rows) - n + 1, n)]


def _mean(measure: Measure, a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Over groups, those of the shorter list in turn."""
    count = max(len(a), len(b))
    return float(np.mean([measure(a[k % len(a)], b[k % len(b)]) for k in range(count)]))
