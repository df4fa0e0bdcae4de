"""Trajectories of a flow, from which a straightened flow is distilled.

The start of a flow determines its end, so a single step can be trained to reach it: reflow and
distillation (Liu, Gong, Liu 2023, arXiv 2209.03003, section 2.2). The starts are random brains of
the linear model with noise, and the teacher takes many steps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.filled_files import FilledFile, fill_files
from stylegan3d.training.flow import FlowRun
from stylegan3d.training.flow_pairs import check_flow, without_flow
from stylegan3d.training.options import STRAIGHT_RATE, STRAIGHT_STEPS, FlowSettings

COUNT, STEPS = 600, 8
# Seeds of the brains and their noise, outside the usual range.
FIRST_SEED = 2_000_000
# One in this many is held out.
SET_ASIDE = 20
STARTS, ENDS, INFO = "starts.npy", "ends.npy", "ways.json"


@dataclass(frozen=True, eq=False)
class Ways:
    """Result of `make_ways`.

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
    report: Progress | None = None,
) -> Ways:
    """Run a trained flow from random brains, resuming if interrupted.

    Parameters
    ----------
    generator : Generator
        Generator of the starts.
    teacher : FlowRun
        Run of the teacher.
    folder : Path
        Folder of the trajectories.
    count, steps : int
        Number of random brains, and steps of the teacher.
    report : callable or None
        Called with trajectories done and total.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, the teacher is itself straightened, or the folder
        contains other trajectories.
    """
    check_flow(generator, pack)
    generator = without_flow(generator)
    if teacher.recipe.settings.straight:
        raise ModelError("The teacher is a straightened flow itself; take the run it learned from.")
    flow = teacher.average.to(generator.device)
    key: Json = {"generator": generator.hash, "count": count, "steps": steps}
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
    """Settings of a run distilled from a teacher."""
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
