"""What can be chosen while labels are edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.settings.option import Option, Sliding


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
