"""The training loop: phases, logging, checkpoints, clean stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from stylegan3d.storage.files import output_errors
from stylegan3d.training.adversarial import adversarial_step
from stylegan3d.training.anatomy import find_anatomy
from stylegan3d.training.board import Board, check_tensorboard
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.data import Batches
from stylegan3d.training.monitor import Monitor, alarm
from stylegan3d.training.opening import ANATOMY, open_run
from stylegan3d.training.state import TrainState
from stylegan3d.training.team import Team, join_team
from stylegan3d.training.texture import Texture, texture_step
from stylegan3d.training.warm_start import fit_mapping, reconstruction_step

LOG = "log.jsonl"
AHEAD = 4
Step = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever shows it.

    Attributes
    ----------
    phase : "reconstruction" or "texture", then "adversarial".
    seconds_left : at the present speed.
    images_per_second : of all processes.
    values : means of the last logged steps; empty before the first.
    logged : whether this step has just been logged.
    alarm : a sentence if the last logged values are alarming.
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
    data : folder written by `stylegan3d prepare`.
    out : the run's folder: `checkpoint.pt`, `log.jsonl`, `settings.json`.
    config : settings of a new run.
    resume : go on from the last checkpoint in `out` (`config` is then ignored, `changes` may
        override single settings, such as `total_images`).
    device : "auto", "cpu", "cuda" or "mps".
    report : called after every step, by the first process only.
    should_stop : asked before every step; a SIGTERM or SIGINT stops just as cleanly, and one that
        a single process gets stops all.
    team : the processes that train together; without it those that were started together.
    tensorboard : also write what TensorBoard shows, to the folder `tensorboard` in `out`.
    tell : called with a sentence if the last checkpoint was damaged and the one before it is used.

    Returns
    -------
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
        interrupted = held.enter_context(_stop_signals())
        run = _Run(state, pack, out, team, report)
        if tensorboard and team.leads:
            run.board = Board(out, state.images)
        run.go(lambda: interrupted() or bool(should_stop and should_stop()))
        if team.leads:
            state.save(out)
        if run.board is not None:
            run.board.close()
    return state


@dataclass
class _Run:
    """A run in progress: what the loop carries from step to step beside the state."""

    state: TrainState
    pack: Pack
    out: Path
    team: Team
    report: Callable[[Progress], None] | None
    sums: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    alarm: str | None = None
    board: Board | None = None
    since_log: int = 0
    seconds_since_log: float = 0.0

    def __post_init__(self) -> None:
        self.ended = time.monotonic()
        self.dtype = training_dtype(self.state.config.precision, self.state.device)
        self.monitor = Monitor(self.pack, self.dtype) if self.team.leads else None

    def go(self, stop: Callable[[], bool]) -> None:
        """Train until the last image, or until any process wants to stop."""
        state, config = self.state, self.state.config
        samples = np.concatenate(self.team.microbatches(config))
        stream: Iterator[Step] | None = None
        saved = self.ended = time.monotonic()
        while True:
            if not state.warm_started and state.images >= config.warm_start_images:
                self._finish_warm_start()
                stream = None  # the next phase sees other data
            if state.images >= config.total_images or self.team.any(stop()):
                break
            if stream is None:
                stream = self._steps(samples)
            log = next(stream)()
            phase = self._phase()
            state.steps += 1
            state.images += config.batch
            state.update_averages()
            self._count(log)
            self._tell(phase)
            if self.team.leads and time.monotonic() - saved > config.checkpoint_minutes * 60:
                state.save(self.out)
                saved = time.monotonic()
            self.ended = time.monotonic()
        if stream is not None:
            stream.close()  # type: ignore[attr-defined]

    def _phase(self) -> str:
        if self.state.warm_started:
            return "adversarial"
        return "texture" if self.state.config.deformed else "reconstruction"

    def _steps(self, samples: np.ndarray) -> Iterator[Step]:
        """The steps of the present phase, with their data, from the present step on."""
        state, phase = self.state, self._phase()
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

    def _tell(self, phase: str) -> None:
        """Log every so many images, and report."""
        state, config = self.state, self.state.config
        logged = self.since_log >= config.log_images
        rate = self.since_log / max(self.seconds_since_log, 1e-9)
        if logged:
            self.values = {k: float(np.mean(v)) for k, v in self.sums.items()}
            self.values["images_per_second"] = rate
            self.sums, self.since_log, self.seconds_since_log = {}, 0, 0.0
            if self.monitor is not None:
                self._log(phase, self.monitor)
        if self.report and self.team.leads:
            left = max(config.total_images - state.images, 0) / rate
            self.report(
                Progress(
                    phase,
                    state.images,
                    config.total_images,
                    left,
                    rate,
                    self.values,
                    logged,
                    self.alarm,
                )
            )

    def _log(self, phase: str, monitor: Monitor) -> None:
        """Validate, and append a line to the log."""
        state = self.state
        self.values |= monitor.measure(state)
        # Before the adversarial phase nothing has taught the generator to make random brains.
        self.alarm = alarm(self.values) if state.warm_started else None
        row: dict[str, Any] = {"images": state.images, "seconds": round(state.seconds, 1)}
        row |= {"phase": phase} | {k: round(v, 5) for k, v in self.values.items()}
        if self.alarm:
            row["alarm"] = self.alarm
        with output_errors(self.out / LOG), (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.board is not None:
            self.board.write(state, self.values, monitor)

    def _finish_warm_start(self) -> None:
        """Fit the mapping network, and forget the reconstruction phase's momentum."""
        state = self.state
        state.nets["encoder"].load_state_dict(state.averages["encoder"].state_dict())
        state.nets["synthesis"].load_state_dict(state.averages["synthesis"].state_dict())
        if self.team.leads and not state.config.deformed:
            # With a deformation the mapping was fitted to the latents at the start.
            fit_mapping(state, self.pack, self.dtype)
        mapping = [*state.mapping.parameters(), *state.averages["mapping"].parameters()]
        self.team.spread_([*mapping, state.w_avg])
        state.maker.state.clear()
        state.warm_started = True
        if self.team.leads:
            state.save(self.out)


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """Precision of the feature maps; "auto" is bfloat16 where the hardware multiplies it."""
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if name != "auto":
        raise ModelError(f"The precision '{name}' is unknown; use auto, float32 or bfloat16.")
    return fast_dtype(device)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT ask the loop to finish its step and save, instead of killing it."""
    asked: list[int] = []
    previous = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            previous[number] = signal.signal(number, lambda n, _: asked.append(n))
        except ValueError:  # not the main thread: whoever runs the loop has `should_stop`
            break
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
