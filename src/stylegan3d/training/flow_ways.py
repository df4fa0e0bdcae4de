"""The ways of a flow, from their starts to their ends, for a straighter flow to learn.

Which brain a flow ends at is decided by where it starts, so one step can be taught to lead there
straight away: reflow and distillation (Liu, Gong, Liu 2023, arXiv 2209.03003, section 2.2). Here
the starts are random brains of the linear model, with noise, and the teacher takes many steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.generator import Generator, seed_latents
from stylegan3d.training.flow import FlowConfig, FlowRun
from stylegan3d.training.flow_pairs import REMEMBERED, can_flow, open_volumes
from stylegan3d.training.pack import Pack
from stylegan3d.volumes import atomic_write_text

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
    starts, ends : float16 (n, X, Y, Z), in [-1, 1].
    training : (n,) bool.
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
    generator : that the teacher starts at.
    teacher : a run whose averaged flow is followed.
    folder : where the ways are kept.
    count : random brains; steps : of the teacher for each.
    report : called with ways done and in all.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, the teacher learned from another one itself, or the
        folder holds other ways.
    """
    can_flow(generator, pack)
    if teacher.config.straight:
        raise ModelError("The teacher is a straightened flow itself; take the run it learned from.")
    flow = teacher.average.to(generator.device)
    key: dict[str, Any] = {"generator": generator.hash, "count": count, "steps": steps}
    key["teacher"] = _digest(teacher)
    shape = (count, *pack.space.shape)
    done, starts = open_volumes(folder / STARTS, folder / INFO, key, shape, np.float16)
    _, ends = open_volumes(folder / ENDS, folder / INFO, key, shape, np.float16)
    dtype = fast_dtype(generator.device)
    for index in range(done, count):
        seed = FIRST_SEED + index
        noise = torch.randn(flow.noise.shape, generator=torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            w = seed_latents(generator, [seed])
            start = generator.synthesis(w, "none")
            start = start + teacher.config.noise * noise.to(start)
            starts[index] = start[0, 0].cpu().numpy()
            ends[index] = flow(start, None, steps, dtype)[0, 0].cpu().numpy()
        if (index + 1) % REMEMBERED == 0 or index + 1 == count:
            starts.flush()
            ends.flush()
            atomic_write_text(folder / INFO, json.dumps(key | {"done": index + 1}), overwrite=True)
        if report:
            report(index + 1, count)
    return Ways(starts, ends, np.arange(count) % SET_ASIDE != 0, pack)


def straight_config(teacher: FlowRun, seed: int = 0) -> FlowConfig:
    """Settings of a run that learns from a teacher's ways."""
    return replace(
        teacher.config, steps=STRAIGHT_STEPS, learning_rate=STRAIGHT_RATE, straight=True, seed=seed
    )


def _digest(run: FlowRun) -> str:
    digest = hashlib.sha256()
    for parameter in run.average.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
