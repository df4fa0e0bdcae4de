"""What can be chosen for a comparison of two brains.

What can be chosen while labels are edited.
"""

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


@dataclass(frozen=True)
class LabelTools:
    """Brush and border; see `stylegan3d.translation.files.resized`."""

    brush: Annotated[
        float,
        Option("Brush", "Diameter of the spherical brush.", unit="mm", low=2, high=40, step=1),
    ] = 8.0
    resize: Annotated[
        Sliding,
        Option(
            "Resize",
            "Move the border of the tissue inwards or outwards. Surrounding tissue is displaced, "
            "less with distance; the outline of the brain is unchanged.",
            unit="mm",
            low=-6,
            high=8,
            step=0.5,
        ),
    ] = Sliding(0.0)
