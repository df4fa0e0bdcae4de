"""What an evaluation measures, and on how much; imports nothing slow, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stylegan3d.evaluation.table import usual
from stylegan3d.settings.projection import Choices


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure, and on how much.

    Attributes
    ----------
    parts : tuple of str
        Which metrics of the `table`, by their keys.
    samples : int
        Random brains for all parts but privacy.
    privacy_samples : int
        Random brains for privacy.
    seed : int
        Of the first random brain; pairs and splits are drawn from it too.
    truncation : float
        Psi of the random brains.
    repeats : int
        Random halves of both sets.
    pairs : int
        Of brains, for MS-SSIM.
    limit_validation : int or None
        Validation subjects to reconstruct at most.
    budget : str or None
        Of the projections; None leaves them out.
    inception : Path or None
        Weights of Inception v3, for "slices".
    cache : Path or None
        Folder where the descriptors of the real brains are kept.
    """

    parts: tuple[str, ...] = field(default_factory=usual)
    samples: int = 200
    privacy_samples: int = 400
    seed: int = 0
    truncation: float = 1.0
    repeats: int = 50
    pairs: int = 200
    limit_validation: int | None = None
    budget: str | None = Choices.budget
    inception: Path | None = None
    cache: Path | None = None
