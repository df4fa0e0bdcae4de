"""Training of an encoder for a finished generator, on the generator's own random brains.

Of a random brain the latent is known, so the encoder learns the regression from volumes to w; and
what the generator makes of the encoded latent is compared with the brain, since latents that differ
may look alike (Tov et al. 2021, arXiv 2102.02766, train on both). No scan is needed; subjects that
were set aside say how well scans are encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import ModelError, Progress
from stylegan3d.checkpoints.folder import check_target, read_folder
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import to_display
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator
from stylegan3d.networks.config import EncoderConfig, GeneratorConfig
from stylegan3d.networks.encoder import Encoder
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.data import check_fit, fixed_volumes
from stylegan3d.training.export import card_anew, finish, halves
from stylegan3d.training.options import EncoderSettings
from stylegan3d.training.run import How, Run, TrainingTask, train

#: Feature channels of the finest level; each coarser one has twice as many, up to the most.
FINEST, MOST = 24, 128
#: Random brains whose latents' spread is the unit of errors.
SAMPLES = 512
#: Seeds of the training, outside the usual range.
FIRST_SEED = 2_000_000
MEASURED = 9


@dataclass(eq=False)
class EncoderData:
    """A generator, and what its encoder is trained and measured with.

    Attributes
    ----------
    deviations : Tensor, shape (w_dim,)
        Spread of random latents.
    """

    generator: Generator
    pack: Pack
    deviations: Tensor


@dataclass(frozen=True)
class EncoderTask(TrainingTask[Encoder, EncoderData]):
    """How an encoder is trained.

    Attributes
    ----------
    shape : EncoderConfig
        The network.
    model : str
        Hash of the generator.
    """

    shape: EncoderConfig
    settings: EncoderSettings
    model: str
    kind = "encoder"
    options = EncoderSettings
    shapes = EncoderConfig
    kept = ("model",)

    def network(self) -> Encoder:
        """A new network."""
        return Encoder(self.shape)

    def prepare(
        self, source: tuple[Generator, Pack], folder: Path, progress: Progress
    ) -> EncoderData:
        """The generator, checked to be that of the run."""
        generator, pack = source
        if generator.hash != self.model:
            raise ModelError(
                f"The run in '{folder}' was begun with another generator than {generator.name}; "
                "resume it with that, or begin a new one."
            )
        latents = seed_latents(generator, range(SAMPLES))[:, 0]
        return EncoderData(generator, pack, latents.std(dim=0).clamp(min=1e-6))

    def loss(
        self, network: Encoder, data: EncoderData, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of latents in their deviations, and of the volumes made from them."""
        settings, generator = self.settings, data.generator
        first = FIRST_SEED + (settings.seed * settings.steps + step) * settings.batch
        with torch.no_grad():
            seeds = range(first, first + settings.batch)
            w = seed_latents(generator, seeds).to(generator.device)
            made = [generator.synthesize(row[None], k) for k, row in zip(seeds, w, strict=True)]
            volumes = torch.cat(made)
        found = network(volumes)
        latent = ((found - w) / data.deviations.to(w)).square().mean()
        image = (generator.synthesize(found, "none") - volumes).abs().mean()
        loss = latent + settings.image * image
        return loss, {"loss": loss, "latent": latent, "image": image}

    def measure(self, average: Encoder, data: EncoderData, *, last: bool) -> dict[str, float]:
        """Medians over held-out subjects, encoded and generated, inside the brain."""
        volumes = fixed_volumes(data.pack, "validation", None if last else MEASURED)
        scores = []
        for volume in volumes.split(1):
            w = average(volume.to(data.generator.device))
            made, real = (to_display(x)[0] for x in (data.generator.synthesize(w, "none"), volume))
            scores.append(similarity(made, real, real > 0.05))
        return {k: float(np.median([s[k] for s in scores])) for k in ("psnr", "ssim") if scores}


EncoderRun = Run[EncoderTask]


def train_encoder(
    generator: Generator,
    pack: Pack,
    folder: Path,
    settings: EncoderSettings | None = None,
    **how: Unpack[How],
) -> EncoderRun:
    """Train an encoder for a generator.

    Parameters
    ----------
    generator : Generator
        A StyleGAN or an anatomy model; others are made with an encoder.
    pack : Pack
        A data set, whose held-out subjects are measured.
    folder : Path
        Folder of the run.
    settings : EncoderSettings or None
        Settings of a new run.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """
    config = generator.config
    if not isinstance(config, GeneratorConfig):
        raise ModelError(
            f"{generator.name} is made with an encoder of its own; StyleGANs and anatomy models "
            "can be given another."
        )
    check_fit(config, pack)

    def begin() -> EncoderTask:
        widths = [min(FINEST * 2**k, MOST) for k in range(config.num_levels)]
        shape = EncoderConfig(
            base=config.base,
            channels=tuple(reversed(widths)),
            w_dim=config.w_dim,
            num_layers=config.num_layers,
            image_channels=config.image_channels,
            head=config.head,
        )
        return EncoderTask(shape, settings or EncoderSettings(), generator.hash)

    return train(EncoderTask, begin, (generator, pack), folder, **how)


def export_encoder(
    run: EncoderRun, model: str | Path, pack: Pack, out: str | Path, *, overwrite: bool = False
) -> Generator:
    """Write a generator with a new encoder; its weights, hash and latents stay.

    Parameters
    ----------
    run : EncoderRun
        The encoder's.
    model : path-like
        Folder of the generator.
    pack : Pack
        The data set that it was trained on.
    out : path-like
        Output folder; may be the same.

    Returns
    -------
    Generator
        The generator with its encoder.
    """
    out, model = Path(out), Path(model)
    check_target(out, overwrite)
    files = read_folder(model)
    # Earlier figures and files belong to the old encoder.
    card = card_anew(files.card)
    card["architecture"] = card["architecture"] | {"encoder": run.task.shape.to_dict()}
    told = {"steps_done": run.steps, "batch": run.task.settings.batch, "measured": run.measured}
    card["training"] = card["training"] | {"encoder": told}
    encoder = halves({k: v.cpu() for k, v in run.average.state_dict().items()})
    return finish(out, card, files.tensors, encoder, pack, overwrite=overwrite, before=files)
