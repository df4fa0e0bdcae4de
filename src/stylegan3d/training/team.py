"""The processes that train together, and which samples of a batch are whose.

All gradients are sums of what each sample adds to the mean over the batch, so that the result does
not depend on how a batch is dealt out. That of a StyleGAN consists of groups, the volumes whose
spread the discriminator looks at together: processes and microbatches get whole groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import ModelError, StyleGAN3DError
from stylegan3d.devices import choose_device
from stylegan3d.storage.files import reason

if TYPE_CHECKING:
    from stylegan3d.training.options import StyleGANSettings

T = TypeVar("T")


class Team:
    """One process alone; `Processes` overrides what takes others."""

    rank = 0
    size = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def leads(self) -> bool:
        """Whether this process writes and validates."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes."""

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        return flag

    def share(self, value: T) -> T:
        """The leader's value, on all processes."""
        return value

    def close(self) -> None:
        """Part from the other processes."""

    def first(self, work: Callable[[], T]) -> T:
        """Let the leader work; all get its result, or its error."""
        outcome: Any = None
        if self.leads:
            try:
                outcome = work()
            except StyleGAN3DError as error:
                outcome = error
        outcome = self.share(outcome)
        if isinstance(outcome, StyleGAN3DError):
            raise outcome
        return outcome

    def leader_first(self, work: Callable[[], T]) -> T:
        """Let the leader work, then the others, who find what it wrote; to each its own result."""
        found: list[T] = []
        self.first(lambda: found.append(work()))
        return found[0] if found else work()

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum the gradients of all processes; those that are None are so everywhere."""
        self.sum_([p.grad for p in parameters if p.grad is not None])

    def deal(self, batch: int) -> range:
        """Numbers of this process's samples in a batch; ModelError if there are too few for all."""
        if batch < self.size:
            raise ModelError(
                f"A batch of {batch} is too small for {self.size} processes: start fewer, or a new "
                f"run with --batch {self.size} or more."
            )
        return range(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def microbatches(self, config: StyleGANSettings) -> list[np.ndarray]:
        """Numbers of this process's samples in the global batch, one array per microbatch.

        Raises
        ------
        ModelError
            If there are fewer groups than microbatches of all processes.
        """
        groups = np.arange(config.batch).reshape(-1, config.group)
        parts = self.size * config.accumulate
        if len(groups) < parts:
            raise ModelError(
                f"A batch of {config.batch} has {len(groups)} groups of {config.group} volumes "
                f"(discriminator.mbstd_group), too few for {self.size} processes of "
                f"{config.accumulate} microbatches: use --batch {parts * config.group}."
            )
        mine = np.array_split(groups, self.size)[self.rank]
        return [part.ravel() for part in np.array_split(mine, config.accumulate)]


class Processes(Team):
    """Several processes on Lightning Fabric, started by torchrun or srun."""

    def __init__(self, fabric: Any) -> None:
        super().__init__(fabric.device)
        self.fabric = fabric
        self.rank, self.size = fabric.global_rank, fabric.world_size

    @torch.no_grad()
    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Sum all tensors as one buffer: one exchange instead of hundreds."""
        if not tensors:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        flat = self.fabric.all_reduce(flat, reduce_op="sum")
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        count = torch.tensor(float(flag), device=self.device)
        return bool(self.fabric.all_reduce(count, reduce_op="sum") > 0)

    def share(self, value: T) -> T:
        """The leader's value, on all processes."""
        return self.fabric.broadcast(value, src=0)

    def close(self) -> None:
        """Part from the other processes."""
        torch.distributed.destroy_process_group()


def started_processes() -> int:
    """Number of processes that torchrun or srun started for this program; 1 if only this one.

    A SLURM batch script runs alone, whatever number of tasks the job asked for: only a step that
    srun started has several.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1"))
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def join_team(device: str = "auto") -> Team:
    """The team of this process: alone, or with those torchrun or srun started.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "mps"; several processes use cpu or cuda, one GPU each.

    Raises
    ------
    ModelError
        If there are several processes but no Lightning Fabric, or no device for them.
    """
    size = started_processes()
    if size == 1:
        return Team(choose_device(device))
    kind = torch.device(device).type if device != "auto" else ""
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda"):
        raise ModelError(f"Several processes cannot train on '{device}'; choose cpu or cuda.")
    choose_device(kind)
    try:
        return Processes(_launch(kind, size))
    except ImportError:
        raise ModelError(
            "Training with several processes needs Lightning Fabric: "
            'install it with `pip install "napari-stylegan3d[train]"`.'
        ) from None
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"The {size} processes cannot train together ({reason(error)}); "
            'start them as docs/howto/train.md, "Several processes", shows.'
        ) from error


def _launch(kind: str, size: int) -> Any:
    """Lightning Fabric, with all processes connected."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    if "TORCHELASTIC_RUN_ID" in os.environ:
        environment: Any = TorchElasticEnvironment()
        nodes = size // int(os.environ["LOCAL_WORLD_SIZE"])
    else:
        environment = SLURMEnvironment(auto_requeue=False)
        nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
    try:
        fabric = Fabric(
            accelerator=kind,
            # They wait this long for the first process, which may label thousands of scans.
            strategy=DDPStrategy(timeout=timedelta(days=30)),
            devices=size // nodes,
            num_nodes=nodes,
            plugins=[environment],
        )
        fabric.launch()
    except MisconfigurationException as error:  # such as fewer GPUs than processes
        raise RuntimeError(str(error)) from error
    return fabric
