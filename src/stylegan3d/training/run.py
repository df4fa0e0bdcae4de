"""Training run of one network.

Differences between networks are in a `Recipe`; optimiser, schedule, averaged weights, folder,
resuming and stopping are common. Every step has its own random seed, so that a resumed run
continues as if it had not been interrupted.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stylegan3d.errors import ModelError
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.storage.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from stylegan3d.storage.locks import only_run
from stylegan3d.training.loop import run_steps, write_log
from stylegan3d.training.options import RunSettings

#: Called with steps done, total, and figures such as {"loss": 0.2}.
FiguresProgress = Callable[[int, int, dict[str, float]], None]

N = TypeVar("N", bound=nn.Module)
D = TypeVar("D")
R = TypeVar("R", bound="Recipe[Any, Any]")


class Recipe(ABC, Generic[N, D]):
    """Training recipe of a network N on data D.

    Attributes
    ----------
    kind : str
        Name of the kind on the command line.
    settings : RunSettings
        Settings of the run.
    clip : float
        Maximum gradient norm.
    betas, fused : tuple of float, bool
        Parameters of the optimiser.
    """

    kind: ClassVar[str]
    clip: ClassVar[float] = 1.0
    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)
    fused: ClassVar[bool] = True
    #: Classes of the settings and, if the network has one, of its shape.
    options: ClassVar[type[RunSettings]] = RunSettings
    shapes: ClassVar[Any] = None
    settings: RunSettings

    @abstractmethod
    def network(self) -> N:
        """A new network with random weights."""

    def prepare(self, source: Any, folder: Path, progress: Progress | None) -> D:
        """Prepare the training data from the source given to `train`.

        Raises
        ------
        ModelError
            If it does not fit the run.
        """
        return source

    def start(self, network: N, data: D) -> None:
        """Initialise the network before the first step."""

    @abstractmethod
    def loss(self, network: N, data: D, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a step, and figures to report."""

    @abstractmethod
    def measure(self, average: N, data: D, *, last: bool) -> dict[str, float]:
        """Figures of the averaged network on held-out subjects, all of these at the `last` step."""

    def to_dict(self) -> Json:
        """Entries for a checkpoint: the settings and, of networks that have one, the shape."""
        shape = {} if self.shapes is None else {"shape": vars(self)["shape"].to_dict()}
        return shape | {"config": asdict(self.settings)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        return cls(**cls._known(data))

    @classmethod
    def _known(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Shape and settings of a checkpoint."""
        shape = {} if cls.shapes is None else {"shape": cls.shapes.from_dict(data["shape"])}
        return shape | {"settings": cls.options.from_dict(data["config"])}


class Run(Generic[R]):
    """State of a run: network, averaged weights, optimiser.

    Attributes
    ----------
    recipe, settings : Recipe, RunSettings
        Recipe and settings of the run.
    network, average : torch.nn.Module
        The network, and the averaged one, which is measured and exported.
    steps, seconds : int, float
        Done so far.
    measured : dict of str to float
        Figures of the averaged network.
    note : str
        Warning after resuming.
    """

    def __init__(self, recipe: R, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.settings = settings = recipe.settings
        torch.manual_seed(settings.seed)
        self.network: Any = recipe.network().to(device)
        self._average = averaged(self.network, lambda: settings.memory(self.steps))
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            settings.learning_rate,
            betas=recipe.betas,
            weight_decay=settings.weight_decay,
            fused=recipe.fused and device.type in ("cpu", "cuda"),
        )
        self.steps, self.seconds = 0, 0.0
        self.measured: dict[str, float] = {}
        self.note = ""

    @property
    def average(self) -> Any:
        """The network with averaged weights."""
        return self._average.module

    def start(self, data: Any) -> None:
        """Prepare for the first step."""
        self.recipe.start(self.network, data)
        self.average.load_state_dict(self.network.state_dict())

    def step(self, data: Any) -> dict[str, float]:
        """Train one step; returns figures of the loss.

        Raises
        ------
        ModelError
            If the gradient is not finite.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.steps)
        loss, figures = self.recipe.loss(self.network, data, self.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if not norm.isfinite():
            raise ModelError(
                f"The training diverged at step {self.steps}; resume it from the checkpoint "
                "before, or start anew with a lower learning rate or another seed."
            )
        self.optimiser.step()
        self.steps += 1
        self._average.update_parameters(self.network)
        return {name: float(value.detach()) for name, value in figures.items()}

    def measure(self, data: Any, *, last: bool = True) -> dict[str, float]:
        """Measure the averaged network on held-out subjects."""
        with torch.no_grad():
            return self.recipe.measure(self.average, data, last=last)

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `save_checkpoint`."""
        data = self.recipe.to_dict() | {
            "kind": self.recipe.kind,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "counters": {"steps": self.steps, "seconds": self.seconds},
            "measured": self.measured,
        }
        save_checkpoint(folder, data)


def load_run(recipe: type[R], folder: Path, device: torch.device) -> Run[R]:
    """Load the run in a folder; if the last checkpoint is damaged, from the previous one.

    Raises
    ------
    ModelError
        If there is no run of this kind, or its checkpoints are damaged.
    """

    def build(data: dict[str, Any]) -> Run[R]:
        kind = data.get("kind", recipe.kind)
        if kind != recipe.kind:
            raise ModelError(f"'{folder}' holds a run of `train {kind}`; resume it with that.")
        run = Run(recipe.from_dict(data), device)
        run.network.load_state_dict(data["network"])
        run.average.load_state_dict(data["average"])
        run.optimiser.load_state_dict(data["optimiser"])
        run.steps, run.seconds = data["counters"]["steps"], data["counters"]["seconds"]
        # Checkpoints of earlier versions have other keys for the figures.
        known = [data[key] for key in ("measured", "errors", "dice") if key in data]
        run.measured = known[0]
        return run

    run, note = load_checkpoint(folder, device, build)
    run.note = note
    return run


class How(TypedDict, total=False):
    """Common arguments of all trainings, see `train`."""

    resume: bool
    device: torch.device | None
    progress: FiguresProgress | None
    preparing: Progress | None
    tell: Callable[[str], None] | None
    should_stop: Callable[[], bool] | None


def train(
    kind: type[R],
    begin: Callable[[], R],
    source: Any,
    folder: Path,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    progress: FiguresProgress | None = None,
    preparing: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run[R]:
    """Train a network.

    Parameters
    ----------
    kind : type
        The recipe's class.
    begin : callable
        Creates the recipe of a new run.
    source : object
        Training data, see the recipe; held-out subjects are only used for measuring.
    folder : Path
        Folder of the run with its checkpoint.
    resume : bool
        Resume the run in `folder`.
    device : torch.device or None
        Training device; the CPU by default.
    progress : FiguresProgress or None
        Called after each step.
    preparing : Progress or None
        Called with pieces of data prepared and total, if that takes long.
    tell : callable or None
        Called with a sentence if the last checkpoint was damaged and the previous one is used.
    should_stop : callable or None
        Checked before every step; SIGTERM and SIGINT also stop cleanly.

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
    device = device or torch.device("cpu")
    with only_run(folder):
        if resume:
            run = load_run(kind, folder, device)
        elif (folder / CHECKPOINT).exists():
            raise ModelError(
                f"'{folder}' holds a run; continue with --resume, or choose another folder."
            )
        else:
            run = Run(begin(), device)
        if run.note and tell:
            tell(run.note)
        data = run.recipe.prepare(source, folder, preparing)
        if not resume:
            run.start(data)
        steps = NetworkSteps(run, data, folder, progress, unsaved=not resume)
        run_steps(steps, run.settings.save_seconds, should_stop)
    return run


@dataclass
class NetworkSteps:
    """Steps of a `Run` on its data, for the loop."""

    run: Run[Any]
    data: Any
    folder: Path
    progress: FiguresProgress | None
    unsaved: bool
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = time.monotonic() - self.run.seconds

    def finished(self) -> bool:
        """Whether the last step is done."""
        return self.run.steps >= self.run.settings.steps

    def step(self) -> None:
        """Train, and measure at intervals."""
        run = self.run
        self.figures = run.step(self.data)
        run.seconds = time.monotonic() - self.began
        self.unsaved = True
        last = self.finished()
        if last or run.steps % run.settings.validate_every == 0:
            run.measured = run.measure(self.data, last=last)
            self.figures |= run.measured
            row = {"steps": run.steps, "seconds": round(run.seconds, 1)}
            write_log(self.folder, row | {k: round(v, 5) for k, v in self.figures.items()})

    def save(self) -> None:
        """Write the checkpoint."""
        self.run.save(self.folder)
        self.unsaved = False

    def report(self) -> None:
        """Report progress."""
        if self.progress:
            self.progress(self.run.steps, self.run.settings.steps, self.figures)


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
