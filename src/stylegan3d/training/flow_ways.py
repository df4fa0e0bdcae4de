"""The ways of a flow, from their starts to their ends, for a straighter flow to learn.

Which brain a flow ends at is decided by where it starts, so one step can be taught to lead there
straight away: reflow and distillation (Liu, Gong, Liu 2023, arXiv 2209.03003, section 2.2). Here
the starts are random brains of the linear model, with noise, and the teacher takes many steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.model.generator import Generator
from stylegan3d.recipe.drawing import seed_latents
from stylegan3d.training.filled_files import FilledFile, fill_files
from stylegan3d.training.flow import FlowRun, FlowSettings
from stylegan3d.training.flow_pairs import check_flow, without_flow

COUNT, STEPS = 600, 8
# Of a run that learns from them; its network begins at the teacher's.
STRAIGHT_STEPS, STRAIGHT_RATE = 6000, 3e-4
# Seeds of the brains and of their noise: none that somebody browses.
FIRST_SEED = 2_000_000
# One in so many is set aside.
SET_ASIDE = 20
STARTS, ENDS, INFO = "starts.npy", "ends.npy", "ways.json"


@dataclass(frozen=True, eq=False)
class Ways:
    """What `make_ways` leaves.

    Attributes
    ----------
    starts, ends : ndarray, shape (n, X, Y, Z), float16
        Values in [-1, 1].
    training : ndarray, shape (n,), bool
    """

    starts: np.ndarray
    ends: np.ndarray
    training: np.ndarray
    pack: Pack
    draws: int = 1

    def cube(
        self, index: int, draw: int, place: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cube of a start and of its end, float32 in [-1, 1]."""
        start, end = self.starts[index][place], self.ends[index][place]
        return start.astype(np.float32), end.astype(np.float32)


def make_ways(
    generator: Generator,
    teacher: FlowRun,
    pack: Pack,
    folder: Path,
    *,
    count: int = COUNT,
    steps: int = STEPS,
    report: Callable[[int, int], None] | None = None,
) -> Ways:
    """Follow a trained flow from random brains on, or go on where an interrupted run stopped.

    Parameters
    ----------
    generator : Generator
        That the teacher starts at.
    teacher : FlowRun
        A run whose averaged flow is followed.
    folder : Path
        Where the ways are kept.
    count : int
        Random brains; steps : of the teacher for each.
    report : callable or None
        Called with ways done and in all.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, the teacher learned from another one itself, or the
        folder holds other ways.
    """
    check_flow(generator, pack)
    generator = without_flow(generator)
    if teacher.recipe.settings.straight:
        raise ModelError("The teacher is a straightened flow itself; take the run it learned from.")
    flow = teacher.average.to(generator.device)
    key: dict[str, Any] = {"generator": generator.hash, "count": count, "steps": steps}
    key["teacher"] = _digest(teacher)
    dtype = fast_dtype(generator.device)
    shape = (count, *pack.space.shape)
    files = [FilledFile(name, shape, np.float16) for name in (STARTS, ENDS)]

    @torch.inference_mode()
    def follow(files: list[np.ndarray], index: int) -> None:
        seed = FIRST_SEED + index
        noise = torch.randn(flow.noise.shape, generator=torch.Generator().manual_seed(seed))
        start = generator.synthesis(seed_latents(generator, [seed]), "none")
        start = start + teacher.recipe.settings.noise * noise.to(start)
        starts, ends = files
        starts[index] = start[0, 0].cpu().numpy()
        ends[index] = flow(start, None, steps, dtype)[0, 0].cpu().numpy()

    starts, ends = fill_files(folder, INFO, key, files, follow, report)
    return Ways(starts, ends, np.arange(count) % SET_ASIDE != 0, pack)


def straight_config(teacher: FlowRun, seed: int = 0) -> FlowSettings:
    """Settings of a run that learns from a teacher's ways."""
    return replace(
        teacher.recipe.settings,
        steps=STRAIGHT_STEPS,
        learning_rate=STRAIGHT_RATE,
        straight=True,
        seed=seed,
    )


def _digest(run: FlowRun) -> str:
    digest = hashlib.sha256()
    for parameter in run.average.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
