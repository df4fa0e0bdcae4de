"""Training of the flow that carries a linear model's brains to people's (`networks/flow.py`).

On cubes (`flow_cubes.py`) the network is asked for x1 - x0 at a random time between a brain of the
linear model x0 and a person x1, by mean squared error (`flow_pairs.py` makes the two).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.networks.autoencoder import LatentSynthesis
from stylegan3d.networks.config import Grid
from stylegan3d.networks.flow import VELOCITY_GAIN, Flow
from stylegan3d.networks.resampling import haar
from stylegan3d.storage.checkpoint import (
    CHECKPOINT,
    begin_or_resume,
    load_checkpoint,
    save_checkpoint,
)
from stylegan3d.storage.locks import only_run
from stylegan3d.training.flow_cubes import Cubes, Source, band_grid

# Kernels of reduced precision err on smaller cubes, at least oneDNN's of 2026.
LEAST_FAST = 32
# Times at which the people set aside are measured, and cubes of theirs.
TIMES, CUBES = (0.0, 0.5, 0.9), 24
# Misses smaller than this, in units of the velocity's gain, count by their square.
HUBER = 0.3
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class FlowConfig:
    """Settings of one run.

    Attributes
    ----------
    channels : widths of the network, see `Flow`.
    steps : of training; cubes : in each; side : their edge in voxels, a multiple of 8.
    learning_rate : highest; it falls linearly from the middle of the run to a twentieth at its end.
    noise : added to x0, standard deviation in intensities of [-1, 1].
    decay : of the averaged weights, which are what is measured and shipped.
    straight : learn from a teacher's ways (`flow_ways.py`) to go to their ends in one step.
    """

    channels: tuple[int, int, int] = (40, 64, 64)
    steps: int = 20_000
    cubes: int = 8
    side: int = 40
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    warm_up: int = 200
    noise: float = 0.12
    decay: float = 0.998
    validate_every: int = 500
    save_seconds: float = 120.0
    seed: int = 0
    straight: bool = False

    def __post_init__(self) -> None:
        if min(self.steps, self.cubes, *self.channels) < 1:
            raise ModelError("A run of the flow needs at least one step, cube and channel.")
        if self.side < 8 or self.side % 8:
            raise ModelError(f"The cubes' side is {self.side}; take a multiple of 8 voxels.")


@dataclass(frozen=True, eq=False)
class Start:
    """A trained flow that a new run begins with.

    Attributes
    ----------
    channels, grid, state : widths, the bands' grid and weights of its network.
    learned : what it learned, as `FlowRun.learned` tells it.
    """

    channels: tuple[int, int, int]
    grid: Grid
    state: dict[str, Tensor]
    learned: dict[str, Any]


class FlowRun:
    """Network, average, optimiser and counters between two steps."""

    def __init__(self, config: FlowConfig, grid: Grid, device: torch.device) -> None:
        self.config, self.grid, self.device = config, grid, device
        torch.manual_seed(config.seed)
        self.network = Flow(config.channels, grid).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
        )
        self.steps, self.seconds = 0, 0.0
        self.errors: dict[str, float] = {}
        self.begun_with: dict[str, Any] = {}
        self.note = ""

    def learned(self) -> dict[str, Any]:
        """What a model's card tells of the run, and of those that it began with."""
        told = asdict(self.config) | {"steps_done": self.steps, "errors": self.errors}
        return told | ({"begun_with": self.begun_with} if self.begun_with else {})

    def begin_with(self, start: Start) -> None:
        """Start at the weights of a trained flow.

        Raises
        ------
        ModelError
            If its network has another shape.
        """
        if (start.channels, start.grid) != (self.config.channels, self.grid):
            raise ModelError("The flow to begin with has other widths or another grid.")
        for network in (self.network, self.average):
            network.load_state_dict(start.state)
            network.noise_strength.zero_()
            network.spread.fill_(1.0)
        self.begun_with = start.learned

    def start(self) -> Start:
        """Where another run may begin: the averaged weights."""
        return Start(self.config.channels, self.grid, self.average.state_dict(), self.learned())

    def rate(self) -> float:
        """Learning rate of the next step."""
        config = self.config
        warm = min((self.steps + 1) / config.warm_up, 1.0) if config.warm_up else 1.0
        left = 2 * (1 - self.steps / config.steps)
        return config.learning_rate * warm * min(max(left, 0.05), 1.0)

    def step(self, cubes: Cubes) -> float:
        """Learn from one batch of cubes; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        config = self.config
        rng = np.random.default_rng([config.seed, self.steps])
        dtype = fast_dtype(self.device) if config.side >= LEAST_FAST else torch.float32
        loss = self._loss(self.network, cubes.draw(rng, training=True), rng, None, dtype)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not norm.isfinite():
            raise ModelError(
                f"The flow's training ran away at step {self.steps}; resume it from the checkpoint "
                "before, or start anew with another seed."
            )
        self.optimiser.step()
        self.steps += 1
        decay = min(config.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            both = zip(self.average.parameters(), self.network.parameters(), strict=True)
            for average, current in both:
                average.lerp_(current, 1 - decay)
        return float(loss.detach())

    @torch.no_grad()
    def validate(self, cubes: Cubes) -> dict[str, float]:
        """Loss of the averaged network on people set aside, by time; {} where there are none."""
        if cubes.pairs.training.all():
            return {}
        found = {}
        for when in TIMES[:1] if self.config.straight else TIMES:
            rng = np.random.default_rng(self.config.seed)
            losses = [
                self._loss(self.average, cubes.draw(rng, training=False), rng, when)
                for _ in range(max(1, CUBES // self.config.cubes))
            ]
            found[f"error at {when:g}"] = float(torch.stack(losses).mean())
        return found

    def _loss(
        self,
        network: Flow,
        batch: tuple[Tensor, Tensor, Tensor],
        rng: np.random.Generator,
        when: float | None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        start, end, places = (x.to(self.device) for x in batch)
        if self.config.straight:
            return self._straight_loss(network, start, end, places, dtype)
        noise = torch.from_numpy(rng.standard_normal(tuple(start.shape)).astype(np.float32))
        start = start + self.config.noise * noise.to(self.device)
        times = rng.random(len(start)) if when is None else np.full(len(start), when)
        t = torch.from_numpy(times.astype(np.float32)).to(self.device)
        between = torch.lerp(start, end, t[:, None, None, None, None])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            velocity = network.velocity(haar(between), t, places)
        return (VELOCITY_GAIN * (velocity - haar(end - start))).square().mean()

    def _straight_loss(
        self, network: Flow, start: Tensor, end: Tensor, places: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """How far one step leads from the end: pseudo-Huber, for the mean of two edges is none."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            velocity = network.velocity(haar(start), start.new_zeros(len(start)), places)
        missed = VELOCITY_GAIN * (velocity - haar(end - start))
        return ((missed.square() + HUBER**2).sqrt() - HUBER).mean()

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        data = {
            "config": asdict(self.config),
            "grid": self.grid,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "counters": {"steps": self.steps, "seconds": self.seconds},
            "errors": self.errors,
            "begun_with": self.begun_with,
        }
        save_checkpoint(folder, data)

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> FlowRun:
        """Resume from a run's folder; if its last checkpoint is damaged from the one before it.

        Raises
        ------
        ModelError
            If there is no run, or its checkpoints are damaged.
        """

        def build(data: dict[str, Any]) -> FlowRun:
            known = {field.name for field in fields(FlowConfig)}
            settings = {k: v for k, v in data["config"].items() if k in known}
            settings["channels"] = tuple(settings["channels"])
            run = cls(FlowConfig(**settings), tuple(data["grid"]), device)
            run.network.load_state_dict(data["network"])
            run.average.load_state_dict(data["average"])
            run.optimiser.load_state_dict(data["optimiser"])
            run.steps, run.seconds = data["counters"]["steps"], data["counters"]["seconds"]
            run.errors, run.begun_with = data["errors"], data.get("begun_with", {})
            return run

        run, note = load_checkpoint(folder, device, build)
        run.note = note
        return run


def flow_of(generator: Generator) -> Start | None:
    """The flow that a generator has, to train it on; None without one."""
    if isinstance(generator.synthesis, LatentSynthesis):
        flow = generator.synthesis.flow
    else:
        network = anatomy_network(generator)
        flow = network.flow if network.config.flow_channels else None
    if flow is None:
        return None
    x, y, z = (n // 2 for n in generator.shape)
    learned = generator.card["training"].get("flow", {})
    return Start(flow.channels, (x, y, z), flow.state_dict(), learned)


def start_of(source: str | Path) -> Start | None:
    """The flow of a run's folder, or of a generator's; None if the generator has none.

    Raises
    ------
    ModelError
        If it is neither, or damaged.
    """
    if (Path(source) / CHECKPOINT).is_file():
        return FlowRun.load(Path(source), torch.device("cpu")).start()
    return flow_of(load(source, device="cpu"))


def train_flow(
    pairs: Source,
    folder: Path,
    config: FlowConfig | None = None,
    *,
    start: Start | None = None,
    resume: bool = False,
    device: torch.device | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> FlowRun:
    """Train a flow.

    Parameters
    ----------
    pairs : of `flow_pairs.make_pairs`, or of `flow_ways.make_ways` for a straightened flow.
    folder : of the run; its checkpoint is written there.
    config : settings of a new run.
    start : a trained flow that a new run begins with.
    resume : go on with the run in `folder`.
    progress : called after each step.
    tell : called with a sentence if the last checkpoint was damaged and the one before it is used.

    Raises
    ------
    ModelError
        If there is nothing to resume, a new run would replace another, or cubes do not fit.
    OutputError
        If the folder cannot be written to, or another run writes to it.
    """
    device = device or torch.device("cpu")

    def begin() -> FlowRun:
        run = FlowRun(config or FlowConfig(), band_grid(pairs), device)
        if start is not None:
            run.begin_with(start)
        return run

    with only_run(folder):
        run = begin_or_resume(
            folder,
            begin,
            lambda: FlowRun.load(folder, device),
            resume=resume,
            tell=tell,
        )
        if run.config.side > 2 * min(run.grid):
            raise ModelError(f"Cubes of {run.config.side} voxels do not fit into these volumes.")
        cubes = Cubes(pairs, run.config.side, run.config.cubes)
        _go_on(run, cubes, folder, progress)
    return run


def _go_on(run: FlowRun, cubes: Cubes, folder: Path, progress: Progress | None) -> None:
    """Train until the last step."""
    started = saved = time.monotonic()
    before = run.seconds
    while run.steps < run.config.steps:
        figures = {"loss": run.step(cubes)}
        run.seconds = before + time.monotonic() - started
        last = run.steps == run.config.steps
        if last or run.steps % run.config.validate_every == 0:
            run.errors = run.validate(cubes)
            figures |= run.errors
        if last or time.monotonic() - saved > run.config.save_seconds:
            run.save(folder)
            saved = time.monotonic()
        if progress:
            progress(run.steps, run.config.steps, figures)
