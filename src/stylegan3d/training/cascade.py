"""Training of the flows of a cascade (`networks/cascade.py`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.networks.cascade import CascadeFlow
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.storage.checkpoint import CHECKPOINT
from stylegan3d.training.cascade_data import Examples, Finest, Layouts, People
from stylegan3d.training.flow import LEAST_FAST
from stylegan3d.training.options import CascadeSettings
from stylegan3d.training.run import How, Recipe, Run, device_of, load_run, train

# Bands that a flow of each scale draws.
DRAWN: dict[str, int] = {"layout": Layouts.drawn, "fine": Finest.drawn}
# Times at which the error is measured, and examples measured there.
TIMES, MEASURED = (0.25, 0.5, 0.75), 24
# End of the name of an error on people that were learned from.
LEARNED = ", learned"


class CascadeRecipe(Recipe[CascadeFlow, Examples]):
    """How a flow of a cascade is trained.

    Parameters
    ----------
    settings : CascadeSettings
        Settings of the run.
    model : str
        Hash of the generator whose coarse images it learns beside.
    """

    kind = "cascade"
    options = CascadeSettings
    settings: CascadeSettings
    betas: ClassVar[tuple[float, float]] = (0.9, 0.99)

    def __init__(self, settings: CascadeSettings, model: str) -> None:
        self.settings, self.model = settings, model

    def network(self) -> CascadeFlow:
        """A new flow."""
        return CascadeFlow(self.settings.channels, DRAWN[self.settings.scale])

    def prepare(self, source: People, folder: Path, progress: Progress | None) -> Examples:
        """Whole brains, or cubes."""
        if source.generator.hash != self.model:
            raise ModelError(
                "This run was begun with another generator; resume it with that one, or start anew."
            )
        if self.settings.scale == "layout":
            return Layouts(source, self.settings.bend, progress)
        return Finest(source, self.settings.side)

    def start(self, network: CascadeFlow, data: Examples) -> None:
        """Know how much is drawn."""
        network.spread.copy_(data.spread)

    def loss(
        self, network: CascadeFlow, data: Examples, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Of one batch, at times that crowd in the middle (Esser et al. 2024, arXiv 2403.03206)."""
        rng = np.random.default_rng([self.settings.seed, step])
        batch = data.draw(rng, self.settings.batch, training=True)
        times = 1 / (1 + np.exp(-rng.standard_normal(self.settings.batch)))
        loss = self._loss(network, batch, times, rng)
        return loss, {"loss": loss}

    def measure(self, average: CascadeFlow, data: Examples, *, last: bool) -> dict[str, float]:
        """Error of the averaged network by time, on people set aside and on those learned from.

        Names of the second end with `LEARNED`; the first are missing if nobody is set aside.
        """
        found = {}
        size = self.settings.batch
        for training in (True,) if data.training.all() else (False, True):
            # The same examples in every run: runs are compared by these figures.
            examples = data.draw(np.random.default_rng(0), MEASURED, training=training)
            for when in TIMES:
                rng, losses = np.random.default_rng(0), []
                for first in range(0, MEASURED, size):
                    batch = _some(examples, slice(first, first + size))
                    count = len(batch[0])
                    losses += [float(self._loss(average, batch, np.full(count, when), rng))] * count
                found[f"error at {when:g}" + (LEARNED if training else "")] = float(np.mean(losses))
        return found

    def _loss(
        self,
        network: CascadeFlow,
        batch: tuple[Tensor, Tensor, Tensor],
        times: np.ndarray,
        rng: np.random.Generator,
    ) -> Tensor:
        device = device_of(network)
        bands, seen, places = (x.to(device) for x in batch)
        end = network.beyond(bands, seen)
        start, more = (_normal(rng, end) for _ in range(2))
        end = end + self.settings.floor * more
        t = torch.from_numpy(times.astype(np.float32)).to(device)
        between = torch.lerp(start, end, t[:, None, None, None, None])
        small = 2 * min(end.shape[2:]) < LEAST_FAST
        fast = torch.float32 if small else fast_dtype(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast == torch.bfloat16):
            velocity = network.velocity(between, seen, t, places)
        return (velocity - (end - start)).square().mean()

    def to_dict(self) -> Json:
        """For a checkpoint."""
        return super().to_dict() | {"model": self.model}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        return cls(**cls._known(data), model=data["model"])


CascadeRun = Run[CascadeRecipe]


def _some(examples: tuple[Tensor, Tensor, Tensor], rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Some of many examples; all may share their places."""
    bands, seen, places = examples
    return bands[rows], seen[rows], places if len(places) == 1 else places[rows]


def _normal(rng: np.random.Generator, like: Tensor) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), np.float32)).to(like.device)


def finish(run: Path, out: Path, steps: int) -> None:
    """Begin a run that goes on where another is, with a learning rate that falls to zero.

    A network that is still learning fast draws noise where there is none; a tenth to a fifth of the
    steps at a falling rate removes it (Hu et al. 2024, arXiv 2404.06395). The other run stays as it
    is and can go on.

    Parameters
    ----------
    run, out : Path
        Folders of the run and of the new one, which `train_cascade` resumes.
    steps : int
        How many more.

    Raises
    ------
    ModelError
        If there is no run, it is finished already, or there is one in `out`.
    """
    if (out / CHECKPOINT).exists():
        raise ModelError(f"'{out}' holds a run; continue with --resume, or choose another folder.")
    begun = load_run(CascadeRecipe, run, torch.device("cpu"))
    settings = begun.recipe.settings
    if settings.falls_from is not None:
        raise ModelError(f"'{run}' is a finishing run itself; give the run that it began with.")
    begun.recipe.settings = replace(settings, steps=begun.steps + steps, falls_from=begun.steps)
    begun.save(out)


def train_cascade(
    people: People,
    folder: Path,
    settings: CascadeSettings | None = None,
    **how: Unpack[How],
) -> CascadeRun:
    """Train one flow of a cascade.

    Parameters
    ----------
    people : People
        The data set, and the generator that makes the coarse images.
    folder : Path
        Folder of the run.
    settings : CascadeSettings
        Settings of a new run.
    how : How
        See `stylegan3d.training.run.train`, also for what is raised.
    """

    def begin() -> CascadeRecipe:
        return CascadeRecipe(settings or CascadeSettings(), people.generator.hash)

    return train(CascadeRecipe, begin, people, folder, **how)
