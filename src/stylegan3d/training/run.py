"""A training run, of any kind.

Differences between kinds are in a `TrainingTask`; optimisers, averaged weights, folder, resuming,
stopping and the processes that train together are common. Every step has its own random seed, so
that a resumed run continues as if it had not been interrupted.
"""

from __future__ import annotations

import io
import json
import math
import signal
import time
import zipfile
from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar, Unpack, get_type_hints

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stylegan3d.base import SILENT, STOP_SIGNALS, Json, ModelError, Progress
from stylegan3d.devices import eager
from stylegan3d.networks.config import typed
from stylegan3d.storage.files import atomic_file, atomic_write_text, only_run, output_errors, reason
from stylegan3d.training.options import RunSettings, TrainingSettings
from stylegan3d.training.team import Team

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
T = TypeVar("T")


def save_checkpoint(folder: Path, data: dict[str, Any]) -> None:
    """Write the checkpoint atomically: a kill at any moment leaves the old or the new one.

    The existing one is kept as the previous checkpoint.

    Raises
    ------
    OutputError
        If it cannot be written; the old one is left as it was.
    ModelError
        If the training diverged; likewise.
    """
    if not _is_finite(data):
        raise ModelError(
            "The training diverged: its networks hold values that are not numbers. The last "
            f"checkpoint in '{folder}' is from before; resume from it, or start anew with a lower "
            "learning rate or another seed."
        )
    with atomic_file(folder / CHECKPOINT, previous=folder / PREVIOUS) as file:
        torch.save(data, file)


def _is_finite(data: Any) -> bool:
    """Whether all tensors in a nest of dictionaries and lists hold numbers only."""
    if isinstance(data, torch.Tensor):
        return not data.is_floating_point() or bool(data.isfinite().all())
    if isinstance(data, dict):
        return all(map(_is_finite, data.values()))
    return not isinstance(data, list | tuple) or all(map(_is_finite, data))


def check_new(folder: Path) -> None:
    """Raise ModelError if a folder holds a run already."""
    if (folder / CHECKPOINT).exists():
        raise ModelError(
            f"'{folder}' holds a run; continue with --resume, or choose another folder."
        )


def load_checkpoint(
    folder: Path, device: torch.device, build: Callable[[Json], T]
) -> tuple[T, str]:
    """The last checkpoint of a run, or the one before it if the last is damaged.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    device : torch.device
        Device of its tensors.
    build : callable
        Builds the result from the checkpoint's content; fails if that is damaged.

    Returns
    -------
    tuple of (T, str)
        The result, and a warning if it comes from the previous checkpoint, else "".

    Raises
    ------
    ModelError
        If there is none, or none is readable.
    """
    path, before = folder / CHECKPOINT, folder / PREVIOUS
    if not path.is_file() and not before.is_file():
        raise ModelError(f"There is no training run to resume in '{folder}'.")
    try:
        return build(_read(path, device)), ""
    except ModelError:  # intact, but unsuitable for this request
        raise
    except Exception as error:
        lost = isinstance(error, FileNotFoundError)
        why, cause = "missing" if lost else f"damaged ({reason(error)})", error
    try:
        return build(_read(before, device)), (
            f"The checkpoint '{path}' is {why}: continuing from the one before, {PREVIOUS}; later "
            f"training is repeated."
        )
    except ModelError:
        raise
    except Exception:
        raise ModelError(f"The checkpoint '{path}' is {why}; start the run anew.") from cause


def _read(path: Path, device: torch.device) -> Json:
    """The content of a checkpoint. Verifies its checksums, which torch does not."""
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(wrong)
    return torch.load(path, map_location=device, weights_only=True)


#: Log file in the run's folder.
LOG = "log.jsonl"
#: Before this share of a run its figures are those of any beginning: random brains of stylegan-4mm
#: differ 0.3 times as much as subjects after 80 steps, and 0.6 times after 200.
EARLY = 0.02


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Catch signals to stop in this block; yields a function that says whether one arrived."""
    asked: list[int] = []
    previous = {}
    for number in STOP_SIGNALS:
        try:
            previous[number] = signal.signal(number, lambda n, _: asked.append(n))
        except ValueError:  # not the main thread: use `should_stop` instead
            break
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


#: Called with steps done, total, and figures such as {"loss": 0.2}.
FiguresProgress = Callable[[int, int, dict[str, float]], None]

N = TypeVar("N", bound=nn.Module)
D = TypeVar("D")
R = TypeVar("R", bound="TrainingTask[Any, Any]")


#: Name of the network of a kind that trains one.
NETWORK = "network"


class TrainingTask(ABC, Generic[N, D]):
    """What a kind of training does: by default the training of one network N on data D.

    A kind with several networks overrides `networks`, `optimisers`, `begin`, `step` and `figures`;
    others implement `network`, `loss` and `measure`.

    Attributes
    ----------
    kind : str
        Name of the kind on the command line.
    settings : TrainingSettings
        Settings of the run; like `shape`, that of the network if it has one, of the class by which
        a kind annotates it.
    averaged : tuple of str
        Networks whose averaged weights are kept.
    batch_of, singly : str, bool
        Setting with the number of samples of a step, and whether each is a pass of its own.
    clip : float
        Maximum gradient norm.
    betas, fused : tuple of float, bool
        Parameters of the optimiser.
    """

    kind: ClassVar[str]
    clip: ClassVar[float] = 1.0
    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)
    fused: ClassVar[bool] = True
    #: What else of it a checkpoint holds, by name.
    kept: ClassVar[tuple[str, ...]] = ()
    averaged: ClassVar[tuple[str, ...]] = (NETWORK,)
    batch_of: ClassVar[str] = "batch"
    singly: ClassVar[bool] = False
    settings: TrainingSettings

    @property
    def batch(self) -> int:
        """Number of samples of a step, of all processes."""
        return int(getattr(self.settings, self.batch_of))

    def network(self) -> N:
        """A new network with random weights."""
        raise NotImplementedError

    def networks(self) -> dict[str, nn.Module]:
        """New networks by name."""
        return {NETWORK: self.network()}

    def optimisers(self, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """New optimisers by name."""
        settings = self.settings
        assert isinstance(settings, RunSettings)
        weights = [*networks[NETWORK].parameters()]
        fused = self.fused and weights[0].device.type in ("cpu", "cuda")
        rate, decay = settings.learning_rate, settings.weight_decay
        made = eager(torch.optim.AdamW)(weights, rate, self.betas, weight_decay=decay, fused=fused)
        return {NETWORK: made}

    def extra(self, device: torch.device) -> Json:
        """What else a run of this kind holds at its first step: tensors and plain data by name."""
        return {}

    def prepare(self, source: Any, folder: Path, progress: Progress) -> D:
        """Prepare the training data from the source given to `train`.

        Raises
        ------
        ModelError
            If it does not fit the run.
        """
        return source

    def start(self, network: N, data: D) -> None:
        """Initialise the network before the first step."""

    def begin(self, run: Run[Any], data: D) -> None:
        """Initialise a run before the first step."""
        self.start(run.network, data)

    def loss(
        self, network: N, data: D, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss of these samples of a step's batch, and figures to report, means likewise."""
        raise NotImplementedError

    def step(self, run: Run[Any], data: D) -> dict[str, float]:
        """Train one step; returns figures of the loss.

        Raises
        ------
        ModelError
            If the gradient is not finite.
        """
        sums: dict[str, Tensor] = {}
        run.optimiser.zero_grad(set_to_none=True)
        mine = run.team.deal(self.batch)
        for part in [range(k, k + 1) for k in mine] if self.singly else [mine]:
            share = len(part) / self.batch
            loss, figures = self.loss(run.network, data, run.steps, part)
            (loss * share).backward()
            for name, value in figures.items():
                sums[name] = sums.get(name, 0) + value.detach().float() * share
        parameters = [p for p in run.network.parameters() if p.grad is not None]
        run.team.sum_([*sums.values(), *(p.grad for p in parameters)])
        norm = nn.utils.clip_grad_norm_(parameters, self.clip)
        if not norm.isfinite():
            raise ModelError(
                f"The training diverged at step {run.steps}; resume it from the checkpoint "
                "before, or start anew with a lower learning rate or another seed."
            )
        run.optimiser.step()
        return {name: float(value) for name, value in sums.items()}

    def measure(self, average: N, data: D, *, last: bool) -> dict[str, float]:
        """Figures of the averaged network on held-out subjects, all of these at the `last` step."""
        raise NotImplementedError

    def figures(self, run: Run[Any], data: D, *, last: bool) -> dict[str, float]:
        """Figures of the averaged networks, see `measure`."""
        return self.measure(run.average, data, last=last)

    def warning(self, figures: dict[str, float]) -> str:
        """A sentence about alarming figures; "" if they are not."""
        return ""

    def close(self, data: D) -> None:
        """Close what the data hold open."""

    def to_dict(self) -> Json:
        """Entries for a checkpoint: the settings and, of networks that have one, the shape."""
        shape = {"shape": vars(self)["shape"].to_dict()} if "shape" in vars(self) else {}
        kept = {name: getattr(self, name) for name in self.kept}
        return shape | kept | {"config": asdict(self.settings)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        classes = get_type_hints(cls)
        parts = {"settings": typed(classes["settings"], data["config"])}
        if "shape" in classes:
            parts["shape"] = classes["shape"].from_dict(data["shape"])
        return cls(**parts, **{name: data[name] for name in cls.kept if name in data})


class Run(Generic[R]):
    """State of a run: networks, averaged weights, optimisers.

    Attributes
    ----------
    task, settings : TrainingTask, TrainingSettings
        TrainingTask and settings of the run.
    team : Team
        The processes that train together.
    networks, averages, optimisers : dict
        By name. The averaged networks are measured and exported.
    network, average, optimiser : torch.nn.Module, torch.nn.Module, torch.optim.Optimizer
        Those of a kind that trains one network.
    extra : dict of str to object
        What else the kind holds between two steps, see `TrainingTask.extra`.
    steps, seconds : int, float
        Done so far.
    volumes : str
        `Pack.volumes_id` of its dataset; empty in old checkpoints and without one.
    measured : dict of str to float
        Figures of the averaged networks.
    note : str
        Warning after resuming.
    """

    def __init__(self, task: R, device: torch.device) -> None:
        self.task, self.device = task, device
        self.settings = settings = task.settings
        self.team = Team(device)
        torch.manual_seed(settings.seed)
        self.networks: dict[str, Any] = {n: m.to(device) for n, m in task.networks().items()}
        self._averaged = {
            name: averaged(self.networks[name], lambda: settings.memory(self.steps))
            for name in task.averaged
        }
        self.averages: dict[str, Any] = {n: a.module for n, a in self._averaged.items()}
        self.optimisers = task.optimisers(self.networks)
        self.extra = task.extra(device)
        self.steps, self.seconds = 0, 0.0
        self.measured: dict[str, float] = {}
        self.volumes = self.note = ""

    @property
    def network(self) -> Any:
        """The network of a kind that trains one."""
        return self.networks[NETWORK]

    @property
    def average(self) -> Any:
        """That network with averaged weights."""
        return self.averages[NETWORK]

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """The optimiser of that network."""
        return self.optimisers[NETWORK]

    def start(self, data: Any) -> None:
        """Prepare for the first step."""
        self.task.begin(self, data)
        for name, average in self.averages.items():
            average.load_state_dict(self.networks[name].state_dict())

    def step(self, data: Any) -> dict[str, float]:
        """Train one step; returns its figures, see `TrainingTask.step`."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.settings.rate(self.steps) * group.get("share", 1.0)
        figures = self.task.step(self, data)
        self.steps += 1
        for name, average in self._averaged.items():
            average.update_parameters(self.networks[name])
        return figures

    def measure(self, data: Any, *, last: bool = True) -> dict[str, float]:
        """Measure the averaged networks, see `TrainingTask.measure`."""
        with torch.no_grad():
            return self.task.figures(self, data, last=last)

    def data(self) -> Json:
        """All there is to know, as tensors and plain data."""
        parts = {n: getattr(self, n) for n in ("networks", "averages", "optimisers")}
        return self.task.to_dict() | {
            "kind": self.task.kind,
            **{n: {k: v.state_dict() for k, v in part.items()} for n, part in parts.items()},
            "extra": self.extra,
            "counters": {"steps": self.steps, "seconds": self.seconds},
            "measured": self.measured,
            "volumes": self.volumes,
        }

    @classmethod
    def of(cls, task: type[R], data: Json, device: torch.device, changes: Json) -> Run[R]:
        """Inverse of `data`, with some settings changed."""
        kind: Any = task.from_dict(data)
        if changes:
            kind = replace(kind, settings=replace(kind.settings, **changes))
        run = cls(kind, device)
        for part in ("networks", "averages", "optimisers"):
            for name, state in data[part].items():
                getattr(run, part)[name].load_state_dict(state)
        run.extra = data["extra"]
        run.steps, run.seconds = data["counters"]["steps"], data["counters"]["seconds"]
        run.measured, run.volumes = data["measured"], data.get("volumes", "")
        return run

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `save_checkpoint`."""
        save_checkpoint(folder, self.data())


def load_run(
    task: type[R], folder: Path, device: torch.device, changes: Json | None = None
) -> Run[R]:
    """Load the run in a folder; if the last checkpoint is damaged, from the previous one.

    Parameters
    ----------
    task : type
        Class of its task.
    folder : Path
        The run's folder.
    device : torch.device
        Where to load it to.
    changes : dict of str to object or None
        Settings to change.

    Raises
    ------
    ModelError
        If there is no run of this kind, or its checkpoints are damaged.
    """

    run, note = load_checkpoint(
        folder,
        device,
        lambda data: Run.of(task, _of_kind(data, folder, task.kind), device, changes or {}),
    )
    run.note = note
    return run


def settings_of(folder: Path, kind: str) -> Json:
    """What a run was begun with, by name, if it is of a kind, such as "vae"; see `load_run`."""
    data, _ = load_checkpoint(
        folder, torch.device("cpu"), lambda data: _of_kind(data, folder, kind)
    )
    return {**data.get("shape", {}), **data.get("config", {})}


def _of_kind(data: Json, folder: Path, kind: str) -> Json:
    """A checkpoint, if it is of a kind of training."""
    found = data.get("kind", "fit-statistics")
    if found != kind:
        raise ModelError(f"'{folder}' holds a run of `train {found}`; resume it with that.")
    return data


class How(TypedDict, total=False):
    """Common arguments of all trainings, see `train`."""

    resume: bool
    device: torch.device | None
    team: Team | None
    changes: Json | None
    progress: FiguresProgress | None
    preparing: Progress
    tell: Callable[[str], None] | None
    should_stop: Callable[[], bool] | None


def train(
    kind: type[R], begin: Callable[[], R], source: Any, folder: Path, **how: Unpack[How]
) -> Run[R]:
    """Train a run to its end, or until it is stopped; `how` are all parameters after `folder`.

    Parameters
    ----------
    kind : type
        The task's class.
    begin : callable
        Creates the task of a new run.
    source : object
        Training data, see the task; held-out subjects are only used for measuring.
    folder : Path
        Folder of the run with its checkpoint.
    resume : bool
        Resume the run in `folder`.
    device : torch.device or None
        Training device; the CPU by default.
    team : Team or None
        The processes that train together, all of which call this; it has a device of its own.
    changes : dict of str to object or None
        Settings of a resumed run to change.
    progress : FiguresProgress or None
        Called after each step.
    preparing : Progress
        Called with pieces of data prepared and total, if that takes long.
    tell : callable or None
        Called with a sentence if the last checkpoint was damaged and the previous one is used, or
        if figures are alarming.
    should_stop : callable or None
        Checked before every step; SIGTERM, SIGINT and SIGUSR1 also stop cleanly.

    Returns
    -------
    Run
        The run, saved at its last step or where it was stopped.

    Raises
    ------
    ModelError
        If there is nothing to resume, a new run would overwrite another, or the data do not fit.
    OutputError
        If the folder cannot be written to, or another run is writing to it.
    """
    team = how.get("team") or Team(how.get("device") or torch.device("cpu"))
    device, resume, tell = team.device, how.get("resume", False), how.get("tell")
    with ExitStack() as held:
        opened: list[tuple[Run[R], Any]] = []

        def enter(run: Run[R]) -> None:
            """Prepare the data of a run."""
            run.team, volumes = team, _volumes_of(source)
            if run.volumes not in ("", volumes):
                raise ModelError(
                    f"The run in '{folder}' was begun with another dataset; give that one."
                )
            run.volumes = volumes
            if run.note and tell:
                tell(run.note)
            team.deal(run.task.batch)
            data = run.task.prepare(source, folder, how.get("preparing", SILENT))
            held.callback(run.task.close, data)
            opened.append((run, data))

        def lead() -> bytes:
            """Open the run; its state, for the others."""
            held.enter_context(only_run(folder))
            if not resume:
                check_new(folder)
            load = partial(load_run, kind, folder, device, how.get("changes"))
            enter(load() if resume else Run(begin(), device))
            ((run, data),) = opened
            if not resume:
                run.start(data)
            buffer = io.BytesIO()
            if team.size > 1:
                torch.save(run.data(), buffer)
            return buffer.getvalue()

        shared = team.first(lead)
        if not opened:
            state = torch.load(io.BytesIO(shared), map_location=device, weights_only=True)
            enter(Run.of(kind, state, device, {}))
        ((run, data),) = opened
        steps = RunSteps(run, data, folder, how.get("progress"), tell, unsaved=not resume)
        steps.train(how.get("should_stop"))
    return run


def _volumes_of(source: Any) -> str:
    """`Pack.volumes_id` of the dataset in training data; empty without one."""
    parts = source if isinstance(source, tuple) else (source,)
    found = (getattr(getattr(part, "pack", part), "volumes_id", "") for part in parts)
    return next(filter(None, found), "")


def _steps_of(row: str) -> float:
    """The step of a row of the log; infinite of one that is damaged, as by a sudden end."""
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(row)["steps"])
    return math.inf


@dataclass
class RunSteps:
    """Steps of a `Run` on its data, for the loop."""

    run: Run[Any]
    data: Any
    folder: Path
    progress: FiguresProgress | None
    tell: Callable[[str], None] | None
    unsaved: bool
    figures: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    since_log: int = 0

    def __post_init__(self) -> None:
        self.began = time.monotonic() - self.run.seconds
        path = self.folder / LOG
        if (
            self.run.team.leads and path.exists()
        ):  # what was logged after the checkpoint comes again
            with output_errors(path):
                rows = path.read_text("utf-8", "replace").splitlines(keepends=True)
            kept = [row for row in rows if _steps_of(row) <= self.run.steps]
            atomic_write_text(path, "".join(kept), overwrite=True)

    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.run.steps >= self.run.settings.steps

    def step(self) -> None:
        """Train, and measure at intervals."""
        run = self.run
        self.figures = run.step(self.data)
        run.seconds = time.monotonic() - self.began
        self.unsaved = True
        self.since_log += 1
        for name, value in self.figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.finished() or run.steps % run.settings.validate_every == 0:
            if run.team.leads:
                self._log()
            self.sums, self.since_log = {}, 0

    def _log(self) -> None:
        """Measure, and log that with the means of the figures of the steps since the last time."""
        run = self.run
        run.measured = run.measure(self.data, last=self.finished())
        self.figures |= run.measured
        row: Json = {"steps": run.steps, "seconds": round(run.seconds, 1)}
        means = {name: value / self.since_log for name, value in self.sums.items()}
        row |= {name: round(value, 5) for name, value in (means | run.measured).items()}
        warning = run.task.warning(run.measured)
        if warning and run.steps >= EARLY * run.settings.steps:
            row["warning"] = warning
            if self.tell:
                self.tell(warning)
        path = self.folder / LOG
        with output_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write the checkpoint."""
        if self.run.team.leads:
            self.run.save(self.folder)
        self.unsaved = False

    def train(self, should_stop: Callable[[], bool] | None) -> None:
        """Train until the last step or until stopped, without losing steps.

        SIGTERM, SIGINT and SIGUSR1 (SLURM's warning before the time is up) also stop it, after
        finishing and saving the current step. All processes stop after the same one.
        """
        run, saved = self.run, time.monotonic()
        with stop_signals() as asked:
            while not self.finished():
                if run.team.any(asked() or bool(should_stop and should_stop())):
                    break
                self.step()
                if time.monotonic() - saved > run.settings.save_seconds or self.finished():
                    self.save()
                    saved = time.monotonic()
                if self.progress and run.team.leads:
                    self.progress(run.steps, run.settings.steps, self.figures)
            if self.unsaved:
                self.save()


def averaged(network: N, memory: Callable[[], float]) -> AveragedModel:
    """An exponential moving average of weights.

    Parameters
    ----------
    network : N
        Network to average.
    memory : callable
        Decay at the current step.
    """
    average = AveragedModel(
        network, multi_avg_fn=lambda old, new, _: get_ema_multi_avg_fn(memory())(old, new, _)
    )
    average.n_averaged.fill_(1)  # 0 would drop the initial weights
    return average.requires_grad_(False)


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device
