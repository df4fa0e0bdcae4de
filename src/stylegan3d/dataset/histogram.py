"""A histogram as inline SVG, with outliers marked."""

from __future__ import annotations

from html import escape

import numpy as np

WIDTH, HEIGHT = 420, 170
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 12, 40
BINS = 24
# Threshold of the robust z-score (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993).
FAR = 3.5
# Least number of values to detect outliers.
ENOUGH = 10


def outliers(values: np.ndarray) -> np.ndarray:
    """Outliers among values (n,) by the median absolute deviation; bool."""
    if len(values) < ENOUGH:
        return np.zeros(len(values), dtype=bool)
    distance = np.abs(values - np.median(values))
    spread = float(np.median(distance))
    return 0.6745 * distance > FAR * max(spread, 1e-9)


def histogram(values: np.ndarray, far: np.ndarray, title: str, digits: int) -> str:
    """An SVG element.

    Parameters
    ----------
    values : ndarray, shape (n,)
        At least one.
    far : ndarray, bool (n,)
        Values to mark with a triangle under the axis.
    title : str
        Quantity with its unit.
    digits : int
        Decimals of the numbers at the axis.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        low, high = low - 0.5 * 10.0**-digits, high + 0.5 * 10.0**-digits
    counts, edges = np.histogram(values, BINS, (low, high))
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    base = TOP + tall

    def x(value: float) -> float:
        return LEFT + wide * (value - low) / (high - low)

    bars = "".join(
        f'<rect x="{x(edge) + 0.5:.1f}" y="{base - tall * n / counts.max():.1f}" '
        f'width="{wide / BINS - 1:.1f}" height="{tall * n / counts.max():.1f}"/>'
        for n, edge in zip(counts, edges, strict=False)
        if n
    )
    marks = "".join(
        f'<path d="M{x(v):.1f} {base + 2} l-4 8 h8 z"/>' for v in np.unique(values[far])
    )
    median = float(np.median(values))
    ticks = "".join(
        f'<text x="{x(value):.1f}" y="{base + 22}" text-anchor="{anchor}">{value:.{digits}f}</text>'
        for value, anchor in ((low, "start"), (high, "end"))
    )
    text = (
        f"{title}: {len(values)} values from {low:.{digits}f} to {high:.{digits}f}, median "
        f"{median:.{digits}f}, {int(far.sum())} far from the rest"
    )
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(text)}">'
        f"<title>{escape(text)}</title>"
        f'<g class="bars">{bars}</g><g class="far">{marks}</g>'
        f'<path class="axis" d="M{LEFT} {base} h{wide}"/>'
        f'<path class="median" d="M{x(median):.1f} {base} V{TOP}"/>'
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{counts.max()}</text>'
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>{ticks}'
        f'<text x="{LEFT + wide / 2:.1f}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{escape(title)}, median {median:.{digits}f}</text></svg>"
    )
