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


def plain(template: str, **content: object) -> str:
    """As `page`, of a template of text with its ending; nothing is escaped."""
    return _templates().get_template(template).render(**content).rstrip() + "\n"


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


BINS = 24

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
    ends = low - margin, high + margin
    shares = [[v if v is None else _share(v, *ends) for v in of] for of in (made, real)]
    return _drawn("bar", label, made=shares[0], real=shares[1])


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
    ends, label = (f"{low:.4g}", f"{high:.4g}"), f"{title}: {', '.join(texts)}"
    return _drawn("plot", label, shown=title, ends=ends, areas=_areas(sets, low, high))


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
    low, high = _ends({"real": values}, 10.0**-digits)
    middle = float(np.median(values))
    first, last, median = (f"{value:.{digits}f}" for value in (low, high, middle))
    return _drawn(
        "plot",
        f"{title}: {len(values)} values from {first} to {last}, median {median}, {int(far.sum())} "
        "far from the rest",
        shown=f"{title}, median {median}",
        ends=(first, last),
        areas=_areas({"real": values}, low, high),
        far=[_share(v, low, high) for v in np.unique(values[far])],
        median=_share(middle, low, high),
    )


def curves(
    title: str, counts: Sequence[int], made: Sequence[float], real: Sequence[float]
) -> Markup:
    """A figure of a model and of its reference against numbers of components, on a log scale."""
    low, high = min(*made, *real), max(*made, *real)
    places = np.log(counts) / max(np.log(counts[-1]), 1e-12)
    rows = zip(counts, made, real, strict=True)
    text = "; ".join(f"{count}: {a:.4g}, {b:.4g}" for count, a, b in rows)
    lines = {
        kind: [*zip(places, (np.asarray(of) - low) / max(high - low, 1e-12), strict=True)]
        for kind, of in (("real", real), ("made", made))
    }
    ends, shown = (counts[0], f"{counts[-1]} components"), f"{title}, {low:.3g} to {high:.3g}"
    return _drawn("plot", f"{shown}: {text}", shown=shown, ends=ends, lines=lines)


def _drawn(macro: str, label: str, **parts: object) -> Markup:
    """What a macro of the template of plots draws; positions are shares of its axes."""
    drawn: Markup = getattr(_templates().get_template("plots.html").module, macro)(label, **parts)
    return drawn


def _share(value: float, low: float, high: float) -> float:
    return float((value - low) / (high - low))


def _ends(sets: Mapping[str, np.ndarray], least: float) -> tuple[float, float]:
    """Ends of an axis that holds all values, `least` long if they are the same."""
    values = np.concatenate(list(sets.values()))
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - least / 2, high + least / 2)


def _areas(sets: Mapping[str, np.ndarray], low: float, high: float) -> dict[str, np.ndarray]:
    """Histograms of each kind, as shares of its values, relative to the highest of all."""
    counts = {k: np.histogram(v, BINS, (low, high))[0] / len(v) for k, v in sets.items()}
    highest = max(float(c.max()) for c in counts.values())
    return {kind: shares / highest for kind, shares in counts.items()}
