"""A row of an evaluation's table: figure, interval, and reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stylegan3d.plain import JsonView


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes
    ----------
    name : str
        Name of the figure.
    synthetic, real : str
        The figure with its interval, and the same for real brains (or a baseline), as text.
    compared : str
        Their ratio or difference, or empty.
    aim : str
        Target, or empty.
    reached : bool or None
        Whether the target is reached; None without one.
    value, low, high, real_value, real_low, real_high : float or None
        The numbers in these texts, if any, for plots.
    """

    name: str
    synthetic: str
    real: str
    compared: str = ""
    aim: str = ""
    reached: bool | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    real_value: float | None = None
    real_low: float | None = None
    real_high: float | None = None


def figure(
    name: str,
    part: JsonView,
    digits: int,
    *,
    scale: float = 1.0,
    compared: str = "",
    aim: str = "",
    reached: bool | None = None,
) -> Figure:
    """The row of a result with "synthetic", "real" and their "_interval".

    Parameters
    ----------
    digits : int
        Decimals of the numbers.
    scale : float
        Factor for the numbers.
    """
    numbers: dict[str, float | None] = {}
    texts = []
    for key, prefix in (("synthetic", ""), ("real", "real_")):
        value, interval = part.get(key), part.get(f"{key}_interval")
        if value is None:
            texts.append("")
            continue
        numbers[f"{prefix}value" if prefix else "value"] = value * scale
        if interval is not None:
            numbers[f"{prefix}low"], numbers[f"{prefix}high"] = (
                bound * scale for bound in interval
            )
        texts.append(with_interval(value, interval, digits, scale))
    return Figure(name, texts[0], texts[1], compared, aim, reached, **numbers)


def with_interval(
    value: float, interval: Sequence[float] | None, digits: int, scale: float = 1.0
) -> str:
    """Such as "0.63 (0.58 to 0.69)"."""
    text = f"{value * scale:.{digits}f}"
    if interval is None:
        return text
    low, high = (f"{bound * scale:.{digits}f}" for bound in interval)
    return f"{text} ({low} to {high})"


def times(ratio: float | None, interval: Sequence[float] | None = None) -> str:
    """Such as "1.28 x (1.13 to 1.43)"; empty without a ratio."""
    if ratio is None:
        return ""
    bounds = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
    return f"{ratio:.2f} x{bounds}"
