"""Pages of HTML with one look, from templates: each holds its pictures and needs no network.

All text is escaped, and a page forbids scripts and anything from elsewhere, so a name in a file's
header can do nothing in it.

Plots as inline SVG, in the page's own colours: "made" for synthetic, "real" for real brains.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

#: The markers of targets of a figure, by whether it is reached.
MARKS = {None: "", True: "reached", False: "missed"}


def page(template: str, **content: object) -> str:
    """The page of a template of this folder, without its ending, filled with `content`."""
    return _templates().get_template(f"{template}.html").render(**content)


def markdown(template: str, **content: object) -> str:
    """As `page`, of a template of Markdown; nothing is escaped."""
    return _templates().get_template(f"{template}.md").render(**content).rstrip() + "\n"


def filled(template: str, macro: str, *values: object) -> str:
    """What a macro of a template of Markdown says of values, on one line."""
    said = getattr(_templates().get_template(f"{template}.md").module, macro)
    return " ".join(said(*values).split())


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: str(name).endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["uri"] = data_uri
    found.globals.update(marks=MARKS, tuple=tuple)
    return found


def data_uri(image: bytes, kind: str = "png") -> str:
    """A picture as the address that an image element shows."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 10, 10, 8, 40
WIDE, TALL, BASE = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
BINS = 24
#: Size of an interval in a table.
BAR_WIDTH, BAR_HEIGHT = 150, 30

#: Lower end, value and upper end.
Known = tuple[float | None, float | None, float | None]


def interval_bar(label: str, made: Known, real: Known) -> Markup:
    """Synthetic above real, as points with intervals on one scale; empty without numbers.

    A dashed line marks chance or a baseline if there is no interval of real subjects.
    """
    if None in made:
        return Markup("")
    known = [v for v in (*made, *real) if v is not None]
    low, high = min(known), max(known)
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def x(value: float | None) -> float:
        assert value is not None
        return BAR_WIDTH * (value - low) / (high - low)

    def whisker(ends: Known, y: int, kind: str) -> str:
        first, middle, last = map(x, ends)
        return (
            f'<g class="{kind}"><path d="M{first:.1f} {y} H{last:.1f} M{first:.1f} {y - 3} v6 '
            f'M{last:.1f} {y - 3} v6"/><circle cx="{middle:.1f}" cy="{y}" r="3.5"/></g>'
        )

    parts = whisker(made, 9, "made")
    if None not in real:
        parts += whisker(real, 21, "real")
    elif real[1] is not None:
        parts += f'<path class="chance" d="M{x(real[1]):.1f} 2 V28"/>'
    return Markup(
        '<svg class="bar" role="img" viewBox="0 0 {} {}" aria-label="{}"><title>{}</title>{}</svg>'
    ).format(BAR_WIDTH, BAR_HEIGHT, label, label, Markup(parts))


def distributions(title: str, made: Sequence[float], real: Sequence[float]) -> Markup:
    """Histograms of one measure for synthetic brains and subjects, as shares of those measured.

    Values that are None or not finite are left out and counted in the label; empty without others.
    """
    all_values = {"real": np.asarray(real, np.float64), "made": np.asarray(made, np.float64)}
    finite = {kind: values[np.isfinite(values)] for kind, values in all_values.items()}
    sets = {kind: values for kind, values in finite.items() if len(values)}
    if not sets:
        return Markup("")
    names = {"real": "subjects", "made": "synthetic brains"}
    texts = [f"mean of {names[kind]} {values.mean():.4g}" for kind, values in sets.items()]
    for kind, values in all_values.items():
        if missing := len(values) - len(finite[kind]):
            texts.append(f"{missing} of {len(values)} {names[kind]} not measured")
    low, high = _ends(sets, 1.0)
    return _framed(title, ", ".join(texts), _areas(sets, low, high), f"{low:.4g}", f"{high:.4g}")


def histogram(values: np.ndarray, far: np.ndarray, title: str, digits: int) -> Markup:
    """A histogram with its median, and outliers marked.

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
    sets = {"real": values}
    low, high = _ends(sets, 10.0**-digits)

    def x(value: float) -> float:
        return LEFT + WIDE * (value - low) / (high - low)

    median = float(np.median(values))
    marks = "".join(
        f'<path class="far" d="M{x(v):.1f} {BASE + 2} l-4 8 h8 z"/>' for v in np.unique(values[far])
    )
    line = f'<path class="median" d="M{x(median):.1f} {BASE} V{TOP}"/>'
    text = (
        f"{len(values)} values from {low:.{digits}f} to {high:.{digits}f}, median "
        f"{median:.{digits}f}, {int(far.sum())} far from the rest"
    )
    drawn = _areas(sets, low, high) + marks + line
    ends = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return _framed(title, text, drawn, *ends, f"{title}, median {median:.{digits}f}")


def curves(
    title: str, counts: Sequence[int], made: Sequence[float], real: Sequence[float]
) -> Markup:
    """A figure of a model and of its reference against numbers of components, on a log scale."""
    low, high = min(*made, *real), max(*made, *real)
    places = np.log(counts) / max(np.log(counts[-1]), 1e-12)

    def line(values: Sequence[float], kind: str) -> str:
        heights = (np.asarray(values) - low) / max(high - low, 1e-12)
        points = [
            (LEFT + WIDE * x, TOP + TALL * (1 - y)) for x, y in zip(places, heights, strict=True)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
        return f'<g class="{kind}"><polyline class="line" points="{path}"/>{dots}</g>'

    text = "; ".join(
        f"{count}: {a:.4g}, {b:.4g}" for count, a, b in zip(counts, made, real, strict=True)
    )
    drawn = line(real, "real") + line(made, "made")
    shown = f"{title}, {low:.3g} to {high:.3g}"
    return _framed(shown, text, drawn, f"{counts[0]}", f"{counts[-1]} components")


def _ends(sets: Mapping[str, np.ndarray], least: float) -> tuple[float, float]:
    """Ends of an axis that holds all values, `least` long if they are the same."""
    values = np.concatenate(list(sets.values()))
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - least / 2, high + least / 2)


def _areas(sets: Mapping[str, np.ndarray], low: float, high: float) -> str:
    """Histograms of each kind, as shares of its values."""
    counts = {k: np.histogram(v, BINS, (low, high))[0] / len(v) for k, v in sets.items()}
    highest = max(float(c.max()) for c in counts.values())
    drawn = ""
    for kind, shares in counts.items():
        steps = "".join(f"V{BASE - TALL * s / highest:.1f} h{WIDE / BINS:.2f}" for s in shares)
        drawn += f'<path class="{kind} area" d="M{LEFT} {BASE} {steps} V{BASE} Z"/>'
    return drawn


def _framed(
    title: str, text: str, drawn: str, first: str, last: str, shown: str | None = None
) -> Markup:
    """A plot over its axis with both ends, `shown` (the title by default) below."""
    label = f"{title}: {text}"
    return Markup(
        f'<svg class="plot" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{{}}">'
        f"<title>{{}}</title>{{}}"
        f'<path class="axis" d="M{LEFT} {BASE} H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT}" y="{BASE + 21}">{{}}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{BASE + 21}" text-anchor="end">{{}}</text>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">{{}}</text></svg>'
    ).format(label, label, Markup(drawn), first, last, shown or title)
