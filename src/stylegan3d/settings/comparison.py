"""What can be chosen for a comparison of two brains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.settings.option import Option, Sliding


@dataclass(frozen=True)
class ComparisonSettings:
    """How A and B are shown."""

    curtain: Annotated[
        Sliding,
        Option(
            "Line position",
            "Position of the line, in % of the field of view from the left.",
            unit="%",
            low=0,
            high=100,
            step=1,
        ),
    ] = Sliding(50.0)
    rate: Annotated[
        Sliding,
        Option("Rate", "Cycles of A and B per second.", unit="Hz", low=0.5, high=4, step=0.5),
    ] = Sliding(1.0)
    threshold: Annotated[
        Sliding,
        Option(
            "Threshold",
            "Hide differences smaller than this, in % of white.",
            unit="%",
            low=0,
            high=50,
            step=1,
        ),
    ] = Sliding(5.0)
