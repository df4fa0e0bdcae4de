"""Training of a diffusion of latents, resumable at any moment.

A latent of a person gets noise of a random strength; the network is asked for what the Gaussian
estimate of the latent misses, in units of the error that is expected of it, so that every strength
counts the same (`networks/latent_diffusion.py`). Every step draws from its own seed, so that a
resumed run goes on as if it had not been interrupted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.model.families.autoencoder import VAE
from stylegan3d.model.generator import Generator
from stylegan3d.networks.autoencoder import LatentEncoder
from stylegan3d.networks.latent_diffusion import DiffusionConfig, LatentDiffusion
from stylegan3d.storage.checkpoint import begin_or_resume, load_checkpoint
from stylegan3d.storage.locks import only_run
from stylegan3d.training.averaged_run import AveragedRun
from stylegan3d.training.diffusion_latents import (
    People,
    most_directions,
    people_of,
    varied_latents,
)

if TYPE_CHECKING:
    from stylegan3d.networks.autoencoder import LatentSynthesis

Progress = Callable[[int, int, dict[str, float]], None]
# Strengths of noise at which people set aside are measured.
STRENGTHS = (0.2, 0.7, 2.0, 7.0)


@dataclass(frozen=True)
class DiffusionTraining:
    """Settings of one run.

    Attributes
    ----------
    steps : of training; people : in each.
    middle, spread : of the noise's strength, which is log-normal as in Karras et al. 2022: median
        in standard deviations of latents, and standard deviation of its logarithm.
    learning_rate : highest; it falls along a cosine.
    decay : of the averaged weights, which are what is measured and shipped.
    """

    steps: int = 3_000
    people: int = 16
    middle: float = 1.0
    spread: float = 1.2
    learning_rate: float = 4e-4
    weight_decay: float = 1e-2
    warm_up: int = 200
    decay: float = 0.998
    validate_every: int = 250
    save_seconds: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.people, self.validate_every) < 1:
            raise ModelError("A run needs at least one step of one person; ask for more.")
        if min(self.middle, self.spread) <= 0:
            raise ModelError("The noise of a diffusion has a strength and a spread above zero.")


class DiffusionRun(AveragedRun[LatentDiffusion]):
    """Networks, optimiser and counters between two steps."""

    def __init__(
        self, shape: DiffusionConfig, config: DiffusionTraining, stage: str, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        super().__init__(
            LatentDiffusion(shape),
            device,
            total=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warm_up=config.warm_up,
            decay=config.decay,
        )
        self.shape, self.config, self.stage = shape, config, stage

    def begin(self, people: People) -> None:
        """Take over what is known of the latents' distribution."""
        for network in (self.network, self.average):
            network.center.copy_(people.center)
            network.scale.copy_(people.scale)
            network.gaussian.load_state_dict(people.all.state_dict())

    def check_stage(self, stage: Generator, pack: Pack) -> None:
        """ModelError if the run was begun with another autoencoder or data set."""
        if self.stage != stage_key(stage, pack):
            raise ModelError(
                f"The run was begun with another autoencoder than {stage.name}, or another data "
                "set; resume it with those, or begin a new one."
            )

    def step(self, people: People) -> float:
        """Learn from people's latents; the loss, of which 1 is that of the Gaussian alone."""
        config = self.config
        rng = np.random.default_rng([config.seed, self.steps])
        rows = dealt(len(people.latents), config.people, self.steps, config.seed)
        variants = rng.integers(people.latents.shape[1], size=len(rows))
        clean = people.standardised(rows, variants)
        strengths = config.middle * np.exp(config.spread * rng.standard_normal(len(rows)))
        strengths = strengths.clip(self.shape.least, self.shape.most)
        sigma = torch.from_numpy(strengths.astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), dtype=np.float32))
        noisy = clean + sigma[:, None] * noise
        linear = people.denoise(noisy, sigma, rows)
        dtype = fast_dtype(self.device)
        loss = self._loss(self.network, clean, noisy, linear, sigma, dtype).mean()
        self.learn(loss)
        return float(loss.detach())

    @torch.no_grad()
    def validate(self, held: Tensor) -> dict[str, float]:
        """Loss of the averaged network on standardised latents [N, D], by strength of noise."""
        found = {}
        for strength in STRENGTHS:
            source = torch.Generator().manual_seed(self.config.seed)
            sigma = torch.full((len(held),), strength)
            noisy = held + strength * torch.randn(held.shape, generator=source)
            linear = self.average.gaussian.to("cpu").denoise(noisy, sigma)
            self.average.gaussian.to(self.device)
            loss = self._loss(self.average, held, noisy, linear, sigma, fast_dtype(self.device))
            found[f"at {strength:g}"] = float(loss.mean())
        return found

    def _loss(
        self,
        network: LatentDiffusion,
        clean: Tensor,
        noisy: Tensor,
        linear: Tensor,
        sigma: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        """[N]"""
        clean, noisy, linear, sigma = (x.to(self.device) for x in (clean, noisy, linear, sigma))
        expected = network.gaussian.error(sigma)
        missed = network.missed(noisy, linear, sigma, dtype)
        error = clean - linear - expected.sqrt()[:, None] * missed
        return error.square().mean(dim=1) / expected

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        settings = {"shape": self.shape.to_dict(), "config": asdict(self.config)}
        self.save_as(folder, settings | {"stage": self.stage})

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> DiffusionRun:
        """Resume from a run's folder; if its last checkpoint is damaged from the one before it.

        Raises
        ------
        ModelError
            If there is no run, or its checkpoints are damaged.
        """

        def build(data: dict[str, Any]) -> DiffusionRun:
            shape = DiffusionConfig.from_dict(data["shape"])
            run = cls(shape, DiffusionTraining(**data["config"]), data["stage"], device)
            run.fill(data)
            return run

        run, note = load_checkpoint(folder, device, build)
        run.note = note
        return run


def dealt(people: int, count: int, step: int, seed: int) -> np.ndarray:
    """Which people a step learns from: every one once before anybody again."""
    rows = []
    for number in range(step * count, (step + 1) * count):
        epoch, place = divmod(number, people)
        rows.append(np.random.default_rng([seed, 1, epoch]).permutation(people)[place])
    return np.array(rows)


def train_diffusion(
    pack: Pack,
    stage: Generator,
    folder: Path,
    shape: DiffusionConfig | None = None,
    config: DiffusionTraining | None = None,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    progress: Progress | None = None,
    encoding: Callable[[int, int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> DiffusionRun:
    """Train a diffusion of the latents of an autoencoder.

    Parameters
    ----------
    pack : the data set; people set aside are only measured on.
    stage : the autoencoder, a generator of the family "vae" with its encoder.
    folder : of the run; its checkpoint is written there.
    shape, config : of a new run.
    resume : go on with the run in `folder`.
    progress : called after each step; encoding : with people encoded and people in all, before.
    tell : called with a sentence if the last checkpoint was damaged and the one before it is used.

    Raises
    ------
    ModelError
        If there is nothing to resume, a new run would replace another, or the autoencoder does not
        fit the data set or the run.
    OutputError
        If the folder cannot be written to, or another run writes to it.
    """
    device = device or torch.device("cpu")
    encode = encoder_of(stage, pack)
    key = stage_key(stage, pack)
    config = config or DiffusionTraining()
    with only_run(folder):

        def begin() -> DiffusionRun:
            latent = cast("LatentSynthesis", stage.synthesis).latent_shape
            chosen = shape or DiffusionConfig(latent)
            most = most_directions(len(pack.indices("train")))
            chosen = replace(chosen, directions=min(chosen.directions, most))
            return DiffusionRun(chosen, config, key, device)

        run = begin_or_resume(
            folder, begin, lambda: DiffusionRun.load(folder, device), resume=resume, tell=tell
        )
        run.check_stage(stage, pack)
        path = folder / f"latents-{key}.npy"
        latents = varied_latents(encode, pack, path, run.config.seed, encoding)
        people = people_of(latents, run.shape.directions)
        if not run.steps:
            run.begin(people)
        _go_on(run, people, _held(encode, pack, people), folder, progress)
    return run


def encoder_of(stage: Generator, pack: Pack) -> LatentEncoder:
    """The encoder of an autoencoder; ModelError if there is none that fits the data set."""
    if not isinstance(stage.encoder, LatentEncoder) or stage.family != VAE:
        raise ModelError(
            f"{stage.name} is no variational autoencoder with its encoder: a diffusion learns the "
            "latents of one that `stylegan3d train-vae` made."
        )
    if tuple(stage.shape) != tuple(pack.space.shape):
        raise ModelError(
            f"The autoencoder {stage.name} is for volumes of {_told(stage.shape)} voxels, the data "
            f"set's have {_told(pack.space.shape)}; train one on this data set first."
        )
    return stage.encoder


def _told(grid: Sequence[int]) -> str:
    return " x ".join(map(str, grid))


def stage_key(stage: Generator, pack: Pack) -> str:
    """A name for latents of these people by this autoencoder."""
    assert isinstance(stage.encoder, LatentEncoder)
    digest = hashlib.sha256()
    for values in stage.encoder.state_dict().values():
        digest.update(values.cpu().float().numpy().tobytes())
    for row in pack.indices("train"):
        digest.update(np.ascontiguousarray(pack.volumes[row]).tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def _held(encode: LatentEncoder, pack: Pack, people: People) -> Tensor:
    """Standardised latents of the people set aside, [N, D]; N may be 0."""
    found = [
        encode(torch.from_numpy(pack.volumes[row].astype(np.float32) / 255)[None, None] * 2 - 1)
        for row in pack.indices("validation")
    ]
    if not found:
        return torch.empty(0, len(people.center))
    return ((torch.cat(found)[:, 0] - people.center) / people.scale).clone()


def _go_on(
    run: DiffusionRun, people: People, held: Tensor, folder: Path, progress: Progress | None
) -> None:
    """Train until the last step."""
    started = saved = time.monotonic()
    before = run.seconds
    while run.steps < run.config.steps:
        figures = {"loss": run.step(people)}
        run.seconds = before + time.monotonic() - started
        last = run.steps == run.config.steps
        if len(held) and (last or run.steps % run.config.validate_every == 0):
            run.measured = run.validate(held)
            figures |= run.measured
        if last or time.monotonic() - saved > run.config.save_seconds:
            run.save(folder)
            saved = time.monotonic()
        if progress:
            progress(run.steps, run.config.steps, figures)
