"""Plots of an evaluation's report as inline SVG, in the page's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from stylegan3d.evaluation.figure import Figure

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 10, 10, 8, 38
BINS = 24
# Size of an interval in the table.
BAR_WIDTH, BAR_HEIGHT = 150, 30


def interval_bar(row: Figure) -> str:
    """Synthetic above real, as points with intervals on one scale; empty without numbers.

    A dashed line marks chance or a baseline if there is no interval of real subjects.
    """
    if row.value is None or row.low is None or row.high is None:
        return ""
    known = [v for v in (row.value, row.low, row.high, row.real_value, row.real_low, row.real_high)
             if v is not None]  # fmt: skip
    low, high = min(known), max(known)
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return BAR_WIDTH * (value - low) / (high - low)

    parts = [_whisker(x(row.low), x(row.value), x(row.high), 9, "made")]
    if row.real_value is not None and row.real_low is not None and row.real_high is not None:
        parts.append(_whisker(x(row.real_low), x(row.real_value), x(row.real_high), 21, "real"))
    elif row.real_value is not None:
        parts.append(f'<path class="chance" d="M{x(row.real_value):.1f} 2 V28"/>')
    label = escape(f"{row.name.strip()}: synthetic {row.synthetic}, real {row.real}")
    return (
        f'<svg class="bar" role="img" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" aria-label="{label}">'
        f"<title>{label}</title>{''.join(parts)}</svg>"
    )


def _whisker(low: float, middle: float, high: float, y: int, kind: str) -> str:
    return (
        f'<g class="{kind}"><path d="M{low:.1f} {y} H{high:.1f} M{low:.1f} {y - 3} v6 '
        f'M{high:.1f} {y - 3} v6"/><circle cx="{middle:.1f}" cy="{y}" r="3.5"/></g>'
    )


def distributions(title: str, made: Sequence[float], real: Sequence[float]) -> str:
    """Histograms of one measure for synthetic brains and subjects, as shares of those measured.

    Values that are None or not finite are left out and counted in the label; empty without others.
    """
    all_values = {"real": np.asarray(real, np.float64), "made": np.asarray(made, np.float64)}
    finite = {kind: values[np.isfinite(values)] for kind, values in all_values.items()}
    sets = {kind: values for kind, values in finite.items() if len(values)}
    if not sets:
        return ""
    low, high = (float(f(np.concatenate(list(sets.values())))) for f in (np.min, np.max))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    counts = {k: np.histogram(v, BINS, (low, high))[0] / len(v) for k, v in sets.items()}
    highest = max(float(c.max()) for c in counts.values())
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    base = TOP + tall
    shapes = []
    for kind, shares in counts.items():
        steps = "".join(
            f"V{base - tall * share / highest:.1f} h{wide / BINS:.2f}" for share in shares
        )
        shapes.append(f'<path class="{kind} area" d="M{LEFT} {base} {steps} V{base} Z"/>')
    names = {"real": "subjects", "made": "synthetic brains"}
    texts = [f"mean of {names[kind]} {values.mean():.4g}" for kind, values in sets.items()]
    for kind, values in all_values.items():
        if missing := len(values) - len(finite[kind]):
            texts.append(f"{missing} of {len(values)} {names[kind]} not measured")
    return _framed(title, ", ".join(texts), "".join(shapes), (f"{low:.4g}", f"{high:.4g}"))


def curves(title: str, counts: Sequence[int], made: Sequence[float], real: Sequence[float]) -> str:
    """A figure of a model and of its reference against numbers of components, on a log scale."""
    low, high = min(*made, *real), max(*made, *real)
    places = np.log(counts) / max(np.log(counts[-1]), 1e-12)
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def line(values: Sequence[float], kind: str) -> str:
        heights = (np.asarray(values) - low) / max(high - low, 1e-12)
        points = [
            (LEFT + wide * x, TOP + tall * (1 - y)) for x, y in zip(places, heights, strict=True)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
        return f'<g class="{kind}"><polyline class="line" points="{path}"/>{dots}</g>'

    text = "; ".join(
        f"{count}: {a:.4g}, {b:.4g}" for count, a, b in zip(counts, made, real, strict=True)
    )
    shown = f"{title}, {low:.3g} to {high:.3g}"
    ends = (f"{counts[0]}", f"{counts[-1]} components")
    return _framed(shown, text, line(real, "real") + line(made, "made"), ends)


def _framed(title: str, text: str, drawn: str, ends: tuple[str, str]) -> str:
    base = HEIGHT - BOTTOM
    label = escape(f"{title}: {text}")
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{label}">'
        f"<title>{label}</title>{drawn}"
        f'<path class="axis" d="M{LEFT} {base} H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT}" y="{base + 15}">{ends[0]}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{base + 15}" text-anchor="end">{ends[1]}</text>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(title)}</text></svg>'
    )
