"""What can be chosen for the labels that a trained model learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.settings.option import Option


@dataclass(frozen=True)
class LabelSettings:
    """Which labels, and from how much; see `stylegan3d.training.labels.learn_labels`."""

    labels: Annotated[
        str,
        Option(
            "Labels",
            "Columns of the data set's table joined by commas, and volumes measured in the scans: "
            "brain_ml, ventricle_ml, grey_ml, white_ml.",
        ),
    ] = "age,sex"
    brains: Annotated[
        int,
        Option(
            "Random brains",
            "Their tissue volumes are measured; with 0, only latents are used.",
            low=0,
        ),
    ] = 600
