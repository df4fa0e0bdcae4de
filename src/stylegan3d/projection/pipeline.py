"""The projection pipeline, from scan to reconstruction, for window, command line and cohort.

    read_scan -> Scan.align -> place -> search (judge) -> save_projection

Each step is a function of values: the window runs them one by one and keeps the results, the
command line runs them in sequence (`cohort.work`). The result is a `ProjectionRun`, from which
files are written (`outputs.projections`) and panels filled. The tissue network runs once on the
scan and once on the reconstruction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.measures.tissue_volumes import Tissues, read_tissues
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.operators import Mask, Masked, Operator, parse
from stylegan3d.projection.projector import ProjectionResult, Uncertainty, project, uncertainty
from stylegan3d.projection.settings import QUICK, Choices
from stylegan3d.scans.notes import checks
from stylegan3d.scans.pose import NO_POSE, Pose

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.networks.noise import Noise
    from stylegan3d.scans import AlignedScan


@dataclass(frozen=True, eq=False)
class ProjectionRun:
    """A projected scan with all intermediate results.

    Attributes
    ----------
    generator : Generator
    found : AlignedScan
        The scan as aligned automatically.
    aligned : AlignedScan
        The scan as projected: with manual pose, and masked parts counted as brain.
    result : ProjectionResult
    operator : Operator or None
        The degradation passed to `project`.
    seconds : dict of str to float
        Duration of each step.
    """

    generator: Generator
    found: AlignedScan
    aligned: AlignedScan
    result: ProjectionResult
    operator: Operator | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """Warnings about alignment and reconstruction, in sentences."""
        found = [note.text for note in checks(self.aligned.steps)]
        return [*found, *self.result.assessment["remarks"]]


def loss_of(words: str | None, mask: Mask | None = None) -> Operator | None:
    """One operator from `words` (see `operators.parse`) and a mask; None for no degradation."""
    operator = parse(words) if words else None
    if mask is None:
        return operator
    return mask if operator is None else Masked(mask, operator)


def place(
    found: AlignedScan, pose: Pose = NO_POSE, operator: Operator | None = None
) -> AlignedScan:
    """The scan as it will be projected: with manual pose, and masked parts counted as brain.

    A masked part belongs to the brain even if brain extraction excluded it.
    """
    aligned = pose.of(found)
    mask = operator.mask if isinstance(operator, Masked) else operator
    if not isinstance(mask, Mask):
        return aligned
    bound = mask.on(aligned.space, aligned)
    assert bound.mask is not None
    return replace(aligned, brain_mask=aligned.brain_mask | bound.mask)


def search(
    generator: Generator,
    found: AlignedScan,
    aligned: AlignedScan,
    choices: Choices,
    *,
    operator: Operator | None = None,
    noise: Noise = "fixed",
    progress: Progress = SILENT,
) -> ProjectionRun:
    """Find the latent of a placed scan, and assess the result."""
    started = time.perf_counter()
    result = project(generator, aligned, choices, operator=operator, noise=noise, progress=progress)
    seconds = {"project": time.perf_counter() - started}
    return ProjectionRun(generator, found, aligned, result, operator, seconds)


def search_again(
    projected: ProjectionRun, choices: Choices, progress: Progress = SILENT
) -> Uncertainty:
    """Uncertainty from `choices.uncertainty` more searches with other starting points."""
    return uncertainty(
        projected.generator,
        projected.aligned,
        Choices(space=choices.space, budget=QUICK, steps=choices.steps, channel=choices.channel),
        restarts=choices.uncertainty or 2,
        operator=projected.operator,
        progress=progress.part(0, 1, text=lambda _: "Searching again"),
    )


def tissues_of(projected: ProjectionRun, made: np.ndarray) -> dict[str, Tissues]:
    """Tissues of "scan" and "reconstruction"; `made` (X, Y, Z) is the volume that is written.

    A partial scan has no volumes.
    """
    volumes = {"scan": projected.aligned.volume, "reconstruction": made}
    if projected.operator is not None:
        del volumes["scan"]
    return {name: read_tissues(v, projected.generator.space) for name, v in volumes.items()}
