"""What can be chosen for the preparation of a dataset."""

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.settings.option import Option


@dataclass(frozen=True)
class PreparationSettings:
    """How scans are prepared for training; see `stylegan3d.cohort.preparation.prepare`."""

    bias_correction: Annotated[
        bool,
        Option(
            "Bias correction",
            "Remove the coil's bias field (N4).",
            flag="--bias-correction/--no-bias-correction",
        ),
    ] = True
    min_quality: Annotated[
        float,
        Option(
            "Lowest quality",
            "Aligned brains that correlate less with the mean brain are refused; 0.93 to 0.965 is "
            "usual.",
            (0, 1),
        ),
    ] = 0.85
    validation: Annotated[
        float,
        Option(
            "Validation fraction",
            "Share of the subjects that are held out, if participants.tsv has no column 'split'.",
            (0, 0.9),
        ),
    ] = 0.1
