"""Training of a StyleGAN: its phases and their logging."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack, load_pack
from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.memory import keep_large_blocks
from stylegan3d.training.adversarial import adversarial_step
from stylegan3d.training.anatomy import find_anatomy
from stylegan3d.training.board import Board, check_tensorboard
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.data import Batches
from stylegan3d.training.loop import run_steps, write_log
from stylegan3d.training.monitor import Monitor, alarm
from stylegan3d.training.opening import ANATOMY, open_run
from stylegan3d.training.state import TrainState
from stylegan3d.training.team import Team, join_team
from stylegan3d.training.texture import Texture, texture_step
from stylegan3d.training.warm_start import fit_mapping, reconstruction_step

AHEAD = 4
Step = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes
    ----------
    phase : str
        "reconstruction" or "texture", then "adversarial".
    seconds_left : float
        At the present speed.
    images_per_second : float
        Images per second of all processes.
    values : dict of str to float
        Means of the last logged steps; empty before the first.
    logged : bool
        Whether this step has just been logged.
    alarm : str or None
        A sentence if the last logged values are alarming.
    """

    phase: str
    images: int
    total_images: int
    seconds_left: float
    images_per_second: float
    values: dict[str, float]
    logged: bool = False
    alarm: str | None = None


def train(
    data: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    changes: dict[str, Any] | None = None,
    report: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    team: Team | None = None,
    tensorboard: bool = False,
    tell: Callable[[str], None] | None = None,
) -> TrainState:
    """Train a generator on a packed data set.

    Where torchrun or srun started several processes, all call this and train together.

    Parameters
    ----------
    data : path-like
        Folder written by `stylegan3d prepare`.
    out : path-like
        The run's folder: `checkpoint.pt`, `log.jsonl`, `settings.json`.
    config : TrainConfig or None
        Settings of a new run.
    resume : bool
        Resume from the last checkpoint in `out` (`config` is then ignored, `changes` may override
        single settings, such as `total_images`).
    device : str
        "auto", "cpu", "cuda" or "mps".
    report : callable or None
        Called after every step, by the first process only.
    should_stop : callable or None
        Called before every step. A SIGTERM or SIGINT to any process also stops all of them
        cleanly.
    team : Team or None
        The processes that train together; by default those started together.
    tensorboard : bool
        Also write TensorBoard logs to the folder `tensorboard` in `out`.
    tell : callable or None
        Called with a sentence if the last checkpoint was damaged and the one before it is used.

    Returns
    -------
    TrainState
        The state at the end, which has been written to the checkpoint.
    """
    keep_large_blocks()
    out = Path(out)
    team = team or join_team(device)
    pack = load_pack(data)
    if tensorboard:
        check_tensorboard()
    with ExitStack() as held:
        state = open_run(out, config, resume, team, changes or {}, pack, held)
        if tell and state.note:
            tell(state.note)
        run = GeneratorSteps(state, pack, out, team, report)
        if tensorboard and team.leads:
            run.board = Board(out, state.images)
        run_steps(run, state.config.checkpoint_minutes * 60, should_stop, agree=team.any)
        run.close()
    return state


@dataclass
class GeneratorSteps:
    """Steps of a generator's training, whose run is a `TrainState`, for the loop."""

    state: TrainState
    pack: Pack
    out: Path
    team: Team
    on_progress: Callable[[Progress], None] | None
    sums: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    alarm: str | None = None
    board: Board | None = None
    since_log: int = 0
    seconds_since_log: float = 0.0
    unsaved: bool = True
    stream: Iterator[Step] | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self.dtype = training_dtype(self.state.config.precision, self.state.device)
        self.monitor = Monitor(self.pack, self.dtype) if self.team.leads else None
        self.samples = np.concatenate(self.team.microbatches(self.state.config))
        self._change_phase()
        self.ended = time.monotonic()

    def finished(self) -> bool:
        """Whether the run has reached its last image."""
        return self.state.images >= self.state.config.total_images

    def step(self) -> None:
        """Train on the next batch, and log every so many images."""
        state = self.state
        if self.stream is None:
            self.stream = self._steps()
        log = next(self.stream)()
        phase = self._phase()
        state.steps += 1
        state.images += state.config.batch
        state.update_averages()
        self.unsaved = True
        self._count(log)
        self._log_and_measure(phase)
        self._change_phase()

    def save(self) -> None:
        """Write the checkpoint."""
        if self.team.leads:
            self.state.save(self.out)
        self.unsaved = False

    def report(self) -> None:
        """Report the progress."""
        if self.on_progress and self.progress and self.team.leads:
            self.on_progress(self.progress)
        self.ended = time.monotonic()

    def close(self) -> None:
        """Close open resources."""
        if self.stream is not None:
            self.stream.close()  # type: ignore[attr-defined]
        if self.board is not None:
            self.board.close()

    def _change_phase(self) -> None:
        """Switch to the adversarial phase when due."""
        state = self.state
        if not state.warm_started and state.images >= state.config.warm_start_images:
            self._finish_warm_start()
            self.stream = None  # the next phase sees other data

    def _phase(self) -> str:
        if self.state.warm_started:
            return "adversarial"
        return "texture" if self.state.config.deformed else "reconstruction"

    def _steps(self) -> Iterator[Step]:
        """The steps of the present phase, with their data, from the present step on."""
        state, phase, samples = self.state, self._phase(), self.samples
        if phase == "texture":
            found = find_anatomy(self.pack, self.out / ANATOMY, symmetric=state.config.mirror)
            texture = Texture.of(state, found)
            while True:
                yield partial(texture_step, state, texture, self.dtype, self.team, samples)
        step = reconstruction_step if phase == "reconstruction" else adversarial_step
        batches = Batches(self.pack, state.config, samples)
        # A GPU is faster than one thread that augments; on a CPU more would be in its way.
        ahead = 1 if state.device.type == "cpu" else AHEAD
        for real in batches.stream(state.steps, ahead):
            yield partial(step, state, real, self.dtype, self.team, self._labels(batches))

    def _labels(self, batches: Batches) -> Tensor | None:
        """Labels of the real volumes of this step, as far as they are this process's."""
        if self.state.people is None:
            return None
        places = np.searchsorted(batches.rows, batches.indices(self.state.steps))
        return self.state.people[places]

    def _count(self, log: dict[str, float]) -> None:
        """A step's time counts from the end of the last: waiting for data is part of it."""
        seconds = time.monotonic() - self.ended
        self.state.seconds += seconds
        self.seconds_since_log += seconds
        self.since_log += self.state.config.batch
        for name, value in log.items():
            self.sums.setdefault(name, []).append(value)

    def _log_and_measure(self, phase: str) -> None:
        """Log at the set interval, and update the progress."""
        state, config = self.state, self.state.config
        logged = self.since_log >= config.log_images
        rate = self.since_log / max(self.seconds_since_log, 1e-9)
        if logged:
            self.values = {k: float(np.mean(v)) for k, v in self.sums.items()}
            self.values["images_per_second"] = rate
            self.sums, self.since_log, self.seconds_since_log = {}, 0, 0.0
            if self.monitor is not None:
                self._log(phase, self.monitor)
        left = max(config.total_images - state.images, 0) / rate
        self.progress = Progress(
            phase,
            state.images,
            config.total_images,
            left,
            rate,
            self.values,
            logged,
            self.alarm,
        )

    def _log(self, phase: str, monitor: Monitor) -> None:
        """Validate, and append a line to the log."""
        state = self.state
        self.values |= monitor.measure(state)
        # Before the adversarial phase nothing has taught the generator to make random brains.
        plain = not state.config.reconstructed_share
        self.alarm = alarm(self.values, plain=plain) if state.warm_started else None
        row: dict[str, Any] = {"images": state.images, "seconds": round(state.seconds, 1)}
        row |= {"phase": phase} | {k: round(v, 5) for k, v in self.values.items()}
        if self.alarm:
            row["alarm"] = self.alarm
        write_log(self.out, row)
        if self.board is not None:
            self.board.write(state, self.values, monitor)

    def _finish_warm_start(self) -> None:
        """Fit the mapping network, and reset the reconstruction phase's momentum."""
        state = self.state
        state.nets["encoder"].load_state_dict(state.averages["encoder"].state_dict())
        state.nets["synthesis"].load_state_dict(state.averages["synthesis"].state_dict())
        config = state.config
        if self.team.leads and not config.deformed and config.reconstructed_share:
            # With a deformation the mapping was fitted to the latents at the start; without
            # reconstructions there are no latents.
            fit_mapping(state, self.pack, self.dtype)
        mapping = [*state.mapping.parameters(), *state.averages["mapping"].parameters()]
        self.team.spread_([*mapping, state.w_avg])
        state.maker.state.clear()
        state.warm_started = True
        self.save()


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """Precision of the feature maps; "auto" is bfloat16 where the hardware multiplies it."""
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if name != "auto":
        raise ModelError(f"The precision '{name}' is unknown; use auto, float32 or bfloat16.")
    return fast_dtype(device)
