"""What can be chosen for a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.settings.option import Option


@dataclass(frozen=True)
class ReportSettings:
    """What a report marks, and its files; Measure marks the same."""

    unusual_z: Annotated[
        float,
        Option(
            "Mark z beyond ±",
            "Mark values whose z lies beyond this, in Measure and in reports. In any one measure "
            "5 % of healthy people lie beyond ±2.",
            low=1,
            high=5,
            step=0.05,
            flag="--mark-z",
        ),
    ] = 2.0
    html: Annotated[
        bool,
        Option(
            "Reports also as HTML",
            "One file for each report, for a web browser.",
            flag="--html/--no-html",
        ),
    ] = True
