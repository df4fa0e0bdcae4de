"""Training of a latent diffusion.

Noise of random strength is added to a subject's latent; the network predicts the residual of the
Gaussian estimate of the latent, in units of its expected error, so that every noise level has the
same weight (`networks/latent_diffusion.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

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
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.training.diffusion_latents import (
    People,
    most_directions,
    people_of,
    varied_latents,
)
from stylegan3d.training.draws import in_epoch
from stylegan3d.training.options import DiffusionSettings
from stylegan3d.training.run import (
    How,
    Recipe,
    Run,
    device_of,
    train,
)

if TYPE_CHECKING:
    from stylegan3d.networks.autoencoder import LatentSynthesis

# Noise levels at which held-out subjects are measured.
STRENGTHS = (0.2, 0.7, 2.0, 7.0)


@dataclass(frozen=True, eq=False)
class Latents:
    """Training data of a diffusion.

    Attributes
    ----------
    people : People
        Training subjects.
    held : Tensor
        Standardised latents of the held-out subjects, [N, D]; N may be 0.
    """

    people: People
    held: Tensor


@dataclass(frozen=True)
class DiffusionRecipe(Recipe[LatentDiffusion, Latents]):
    """Training recipe of a diffusion.

    Attributes
    ----------
    shape : DiffusionConfig
        Shape of the network.
    stage : str
        Name of the latents, see `stage_key`.
    """

    shape: DiffusionConfig
    settings: DiffusionSettings
    stage: str
    kind = "diffusion"
    options = DiffusionSettings
    shapes = DiffusionConfig

    def check_stage(self, stage: Generator, pack: Pack) -> None:
        """Raise ModelError if the run was started with another autoencoder or data set."""
        if self.stage != stage_key(stage, pack):
            raise ModelError(
                f"The run was begun with another autoencoder than {stage.name}, or another data "
                "set; resume it with those, or begin a new one."
            )

    def network(self) -> LatentDiffusion:
        """A new network."""
        return LatentDiffusion(self.shape)

    def prepare(
        self, source: tuple[Pack, Generator], folder: Path, progress: Progress | None
    ) -> Latents:
        """Latents of a data set from an autoencoder, cached in the run's folder."""
        pack, stage = source
        self.check_stage(stage, pack)
        encode = encoder_of(stage, pack)
        path = folder / f"latents-{self.stage}.npy"
        latents = varied_latents(encode, pack, path, self.settings.seed, progress)
        people = people_of(latents, self.shape.directions)
        return Latents(people, _held(encode, pack, people))

    def start(self, network: LatentDiffusion, data: Latents) -> None:
        """Set the latents' distribution."""
        network.center.copy_(data.people.center)
        network.scale.copy_(data.people.scale)
        network.gaussian.load_state_dict(data.people.all.state_dict())

    def loss(
        self, network: LatentDiffusion, data: Latents, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on subjects' latents; 1 is that of the Gaussian estimate alone."""
        settings, people = self.settings, data.people
        rng = np.random.default_rng([settings.seed, step])
        rows = dealt(len(people.latents), settings.people, step, settings.seed)
        variants = rng.integers(people.latents.shape[1], size=len(rows))
        clean = people.standardised(rows, variants)
        strengths = settings.middle * np.exp(settings.spread * rng.standard_normal(len(rows)))
        strengths = strengths.clip(self.shape.least, self.shape.most)
        sigma = torch.from_numpy(strengths.astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), dtype=np.float32))
        noisy = clean + sigma[:, None] * noise
        linear = people.denoise(noisy, sigma, rows)
        loss = _loss(network, clean, noisy, linear, sigma).mean()
        return loss, {"loss": loss}

    def measure(self, average: LatentDiffusion, data: Latents, *, last: bool) -> dict[str, float]:
        """Loss of the averaged network on held-out subjects, by noise level."""
        held, found = data.held, {}
        device = device_of(average)
        for strength in STRENGTHS if len(held) else ():
            source = torch.Generator().manual_seed(self.settings.seed)
            sigma = torch.full((len(held),), strength)
            noisy = held + strength * torch.randn(held.shape, generator=source)
            linear = average.gaussian.to("cpu").denoise(noisy, sigma)
            average.gaussian.to(device)
            loss = _loss(average, held, noisy, linear, sigma)
            found[f"at {strength:g}"] = float(loss.mean())
        return found

    def to_dict(self) -> Json:
        """For a checkpoint."""
        return super().to_dict() | {"stage": self.stage}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        return cls(**cls._known(data), stage=data["stage"])


DiffusionRun = Run[DiffusionRecipe]


def _loss(
    network: LatentDiffusion, clean: Tensor, noisy: Tensor, linear: Tensor, sigma: Tensor
) -> Tensor:
    """[N]"""
    device = device_of(network)
    clean, noisy, linear, sigma = (x.to(device) for x in (clean, noisy, linear, sigma))
    expected = network.gaussian.error(sigma)
    missed = network.missed(noisy, linear, sigma, fast_dtype(device))
    error = clean - linear - expected.sqrt()[:, None] * missed
    return error.square().mean(dim=1) / expected


def dealt(people: int, count: int, step: int, seed: int) -> np.ndarray:
    """Subjects of a step; every subject is used once per epoch."""
    numbers = range(step * count, (step + 1) * count)
    return np.array([in_epoch(number, people, seed, 1) for number in numbers])


def train_diffusion(
    pack: Pack,
    stage: Generator,
    folder: Path,
    shape: DiffusionConfig | None = None,
    settings: DiffusionSettings | None = None,
    **how: Unpack[How],
) -> DiffusionRun:
    """Train a diffusion on the latents of an autoencoder.

    Parameters
    ----------
    pack : Pack
        The data set.
    stage : Generator
        The autoencoder, a generator of the family "vae" with its encoder.
    folder : Path
        Folder of the run.
    shape, settings : DiffusionConfig or None, DiffusionSettings or None
        Network and settings of a new run; with few subjects there are fewer principal directions.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """
    encoder_of(stage, pack)

    def begin() -> DiffusionRecipe:
        chosen = shape or DiffusionConfig(cast("LatentSynthesis", stage.synthesis).latent_shape)
        most = most_directions(len(pack.indices("train")))
        chosen = replace(chosen, directions=min(chosen.directions, most))
        return DiffusionRecipe(chosen, settings or DiffusionSettings(), stage_key(stage, pack))

    return train(DiffusionRecipe, begin, (pack, stage), folder, **how)


def encoder_of(stage: Generator, pack: Pack) -> LatentEncoder:
    """The encoder of an autoencoder; ModelError if it does not fit the data set."""
    if not isinstance(stage.encoder, LatentEncoder) or stage.family != VAE:
        raise ModelError(
            f"{stage.name} is not a variational autoencoder with an encoder: a diffusion learns "
            "the latents of one that `stylegan3d train vae` made."
        )
    if tuple(stage.shape) != tuple(pack.space.shape):
        raise ModelError(
            f"The autoencoder {stage.name} is for volumes of {_size(stage.shape)} voxels, the data "
            f"set's have {_size(pack.space.shape)}; train one on this data set first."
        )
    return stage.encoder


def _size(grid: Sequence[int]) -> str:
    return " x ".join(map(str, grid))


def stage_key(stage: Generator, pack: Pack) -> str:
    """Key of the latents of these subjects from this autoencoder."""
    assert isinstance(stage.encoder, LatentEncoder)
    digest = hashlib.sha256()
    for values in stage.encoder.state_dict().values():
        digest.update(values.cpu().float().numpy().tobytes())
    for row in pack.indices("train"):
        digest.update(np.ascontiguousarray(pack.volumes[row]).tobytes())
    return digest.hexdigest()[:16]


@torch.inference_mode()
def _held(encode: LatentEncoder, pack: Pack, people: People) -> Tensor:
    """Standardised latents of the held-out subjects, [N, D]; N may be 0."""
    found = [
        encode(torch.from_numpy(pack.volumes[row].astype(np.float32) / 255)[None, None] * 2 - 1)
        for row in pack.indices("validation")
    ]
    if not found:
        return torch.empty(0, len(people.center))
    return ((torch.cat(found)[:, 0] - people.center) / people.scale).clone()
