"""Training of the flow from a linear model's brains to subjects (`networks/flow.py`).

On cubes (`flow_cubes.py`) the network predicts x1 - x0 at a random time between a brain of the
linear model x0 and a subject x1, with mean squared error (`flow_pairs.py` makes the pairs).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
import torch
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.networks.config import Grid
from stylegan3d.networks.flow import VELOCITY_GAIN, Flow
from stylegan3d.networks.resampling import haar
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.storage.checkpoint import CHECKPOINT
from stylegan3d.training.flow_cubes import Cubes, Source, band_grid
from stylegan3d.training.flow_pairs import flow_and_steps
from stylegan3d.training.options import FlowSettings
from stylegan3d.training.run import (
    How,
    Recipe,
    Run,
    device_of,
    load_run,
    train,
)

# Reduced-precision kernels fail on smaller cubes, at least oneDNN's of 2026.
LEAST_FAST = 32
# Times at which held-out subjects are measured, and their number of cubes.
TIMES, CUBES = (0.0, 0.5, 0.9), 24
# Width of the quadratic part of the pseudo-Huber loss, in units of the velocity's gain.
HUBER = 0.3


@dataclass(frozen=True, eq=False)
class Start:
    """A trained flow from which a new run starts.

    Attributes
    ----------
    channels, grid, state : tuple of int, Grid, dict of str to Tensor
        Widths, the bands' grid and weights of its network.
    learned : dict of str to object
        Its training, see `learned`.
    """

    channels: tuple[int, int, int]
    grid: Grid
    state: dict[str, Tensor]
    learned: Json


class FlowRecipe(Recipe[Flow, Cubes]):
    """Training recipe of a flow.

    Parameters
    ----------
    settings : FlowSettings
        Settings of the run.
    grid : Grid
        Grid of the bands.
    begun_with : dict of str to object or None
        Training of the flow it started from.
    state : dict of str to Tensor or None
        Weights of that flow.
    """

    kind = "flow"
    options = FlowSettings
    fused = False
    settings: FlowSettings

    def __init__(
        self,
        settings: FlowSettings,
        grid: Grid,
        begun_with: Json | None = None,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        self.settings, self.grid = settings, grid
        self.begun_with, self.state = begun_with or {}, state

    @classmethod
    def of(cls, pairs: Source, settings: FlowSettings, start: Start | None = None) -> Self:
        """Recipe of a new run on pairs, optionally from a trained flow.

        Raises
        ------
        ModelError
            If that flow has another shape.
        """
        grid = band_grid(pairs)
        if start is None:
            return cls(settings, grid)
        if (start.channels, start.grid) != (settings.channels, grid):
            raise ModelError("The flow to begin with has other widths or another grid.")
        return cls(settings, grid, start.learned, start.state)

    def network(self) -> Flow:
        """A new flow."""
        return Flow(self.settings.channels, self.grid)

    def prepare(self, source: Source, folder: Path, progress: Progress | None) -> Cubes:
        """Cubes of pairs from `flow_pairs.make_pairs` or `flow_ways.make_ways`."""
        if self.settings.side > 2 * min(self.grid):
            raise ModelError(f"Cubes of {self.settings.side} voxels do not fit into these volumes.")
        return Cubes(source, self.settings.side, self.settings.cubes)

    def start(self, network: Flow, data: Cubes) -> None:
        """Load the weights of the flow to start from."""
        if self.state is not None:
            network.load_state_dict(self.state)
            network.noise_strength.zero_()
            network.spread.fill_(1.0)

    def loss(self, network: Flow, data: Cubes, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on one batch of cubes."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, step])
        fast = fast_dtype(device_of(network)) if settings.side >= LEAST_FAST else torch.float32
        loss = self._loss(network, data.draw(rng, training=True), rng, None, fast)
        return loss, {"loss": loss}

    def measure(self, average: Flow, data: Cubes, *, last: bool) -> dict[str, float]:
        """Loss of the averaged network on held-out subjects, by time; {} without any."""
        if data.pairs.training.all():
            return {}
        found = {}
        for when in TIMES[:1] if self.settings.straight else TIMES:
            rng = np.random.default_rng(self.settings.seed)
            losses = [
                self._loss(average, data.draw(rng, training=False), rng, when)
                for _ in range(max(1, CUBES // self.settings.cubes))
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
        device = device_of(network)
        start, end, places = (x.to(device) for x in batch)
        if self.settings.straight:
            return self._straight_loss(network, start, end, places, dtype)
        noise = torch.from_numpy(rng.standard_normal(tuple(start.shape)).astype(np.float32))
        start = start + self.settings.noise * noise.to(device)
        times = rng.random(len(start)) if when is None else np.full(len(start), when)
        t = torch.from_numpy(times.astype(np.float32)).to(device)
        between = torch.lerp(start, end, t[:, None, None, None, None])
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            velocity = network.velocity(haar(between), t, places)
        return (VELOCITY_GAIN * (velocity - haar(end - start))).square().mean()

    def _straight_loss(
        self, network: Flow, start: Tensor, end: Tensor, places: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Error after one step: pseudo-Huber, which preserves edges better than squared error."""
        with torch.autocast(start.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            velocity = network.velocity(haar(start), start.new_zeros(len(start)), places)
        missed = VELOCITY_GAIN * (velocity - haar(end - start))
        return ((missed.square() + HUBER**2).sqrt() - HUBER).mean()

    def to_dict(self) -> Json:
        """For a checkpoint."""
        return super().to_dict() | {"grid": self.grid, "begun_with": self.begun_with}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        x, y, z = data["grid"]
        return cls(**cls._known(data), grid=(x, y, z), begun_with=data.get("begun_with"))


FlowRun = Run[FlowRecipe]


def learned(run: FlowRun) -> Json:
    """Entries of a model's card about a run and those it started from."""
    found = asdict(run.settings) | {"steps_done": run.steps, "errors": run.measured}
    begun_with = run.recipe.begun_with
    return found | ({"begun_with": begun_with} if begun_with else {})


def start_of_run(run: FlowRun) -> Start:
    """The averaged weights of a run, as a start."""
    settings = run.recipe.settings
    return Start(settings.channels, run.recipe.grid, run.average.state_dict(), learned(run))


def flow_of(generator: Generator) -> Start | None:
    """The flow of a generator, for further training; None without one."""
    flow, _ = flow_and_steps(generator)
    if flow is None:
        return None
    x, y, z = (n // 2 for n in generator.shape)
    known = generator.card["training"].get("flow", {})
    # Curves belong to the finished flow: a new one gets its own.
    state = {k: v for k, v in flow.state_dict().items() if not k.startswith("curves.")}
    return Start(flow.channels, (x, y, z), state, known)


def start_of(source: str | Path) -> Start | None:
    """The flow in the folder of a run or a generator; None if the generator has none.

    Raises
    ------
    ModelError
        If it is neither, or damaged.
    """
    if (Path(source) / CHECKPOINT).is_file():
        return start_of_run(load_run(FlowRecipe, Path(source), torch.device("cpu")))
    return flow_of(load(source, device="cpu"))


def train_flow(
    pairs: Source,
    folder: Path,
    settings: FlowSettings | None = None,
    *,
    start: Start | None = None,
    **how: Unpack[How],
) -> FlowRun:
    """Train a flow.

    Parameters
    ----------
    pairs : Source
        Pairs from `flow_pairs.make_pairs`, or from `flow_ways.make_ways` for a straightened flow.
    folder : Path
        Folder of the run.
    settings : FlowSettings or None
        Settings of a new run.
    start : Start or None
        A trained flow from which a new run starts.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """

    def begin() -> FlowRecipe:
        return FlowRecipe.of(pairs, settings or FlowSettings(), start)

    return train(FlowRecipe, begin, pairs, folder, **how)
