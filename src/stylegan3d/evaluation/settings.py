"""Settings of evaluations and comparisons; no slow imports, so that `--help` is fast."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from stylegan3d.evaluation.table import keys
from stylegan3d.projection.settings import TITLES, Choices
from stylegan3d.settings.option import Option


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of an evaluation.

    `parts` are keys of metrics in `table`; `repeats` is the number of random halves, `pairs` that
    of pairs for MS-SSIM.
    """

    parts: tuple[str, ...] = field(default_factory=keys)
    samples: Annotated[int, Option("Samples", "Random brains for all parts but privacy.", (4,))] = (
        200
    )
    privacy_samples: Annotated[
        int, Option("Privacy samples", "Random brains for privacy.", (2,))
    ] = 400
    seed: Annotated[int, Option("Seed", "Seed of the first random brain.", (0,))] = 0
    truncation: Annotated[
        float,
        Option(
            "Truncation",
            "Truncation psi of random brains: 0 is the average brain, 1 the full variety.",
        ),
    ] = 1.0
    repeats: int = 50
    pairs: int = 200
    limit_validation: Annotated[
        int | None, Option("Validation subjects", "Reconstruct at most this many.", (1,))
    ] = None
    budget: Annotated[
        str | None,
        Option(
            "Budget", "Budget of the projections.", choices={**TITLES, "none": "no projections"}
        ),
    ] = Choices.budget
    cache: Path | None = None


@dataclass(frozen=True)
class GroupSettings:
    """How a difference between groups is distinguished from chance."""

    permutations: Annotated[
        int,
        Option(
            "Permutations",
            "Random permutations of the subjects that the result is compared with; more give finer "
            "p values and take longer.",
            (100, 100_000, 100),
        ),
    ] = 1000
    seed: Annotated[int, Option("Seed", "Seed of the permutations.", (0,))] = 0


#: As it is if nothing else is chosen.
USUAL_GROUPS = GroupSettings()
