"""Export of a trained autoencoder to a model folder.

Latents of random brains are sampled from the normal distribution of the training subjects' latents
along its leading principal directions (compare probabilistic principal component analysis, Tipping,
Bishop 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegan3d.checkpoints.folder import check_target
from stylegan3d.dataset.pack import TEMPLATE, Pack
from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import to_display
from stylegan3d.model.families.autoencoder import VAE
from stylegan3d.model.generator import Generator
from stylegan3d.networks.autoencoder import Autoencoder, LatentEncoder
from stylegan3d.progress import Progress
from stylegan3d.training.autoencoder import AutoencoderRun
from stylegan3d.training.calibration import TOES, toed
from stylegan3d.training.export import card_of, finish
from stylegan3d.training.labels import check_columns, learn_labels

#: Number of principal directions of the latents.
COMPONENTS = 200
# Least standard deviation of a latent's number, as a share of the median.
LEAST_DEVIATION = 0.05
# Number of subjects used to find the ends of the toe.
TOED = 24


def export_autoencoder(
    run: AutoencoderRun,
    pack: Pack,
    out: str | Path,
    name: str,
    *,
    labels: Sequence[str] = (),
    licence: str | None = None,
    attribution: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Generator:
    """Export the averaged networks of a run to a model folder, and load it.

    Parameters
    ----------
    run : AutoencoderRun
        Run of the autoencoder.
    pack : Pack
        The data set of the run.
    out : path-like
        Output folder.
    name : str
        Name of the model.
    labels : sequence of str
        Labels to learn: columns of the data set's table, such as "age" and "sex"; see
        `stylegan3d.training.labels`.
    licence : str or None
        Licence of the weights; by default the licences of the training data, joined.
    attribution : str or None
        Attribution required by the data's licences.
    overwrite : bool
        Replace an existing model.
    progress : callable or None
        Called with subjects encoded and total.

    Raises
    ------
    ModelError, OutputError
        If there are fewer than three subjects, a column is unusable, or the folder cannot be
        written.
    """
    out = Path(out)
    check_target(out, overwrite)
    network = run.average
    rows = [pack.table[row] for row in pack.indices("train")]
    if len(rows) < 3:
        raise ModelError("Two subjects are too few for a distribution; train on more.")
    if labels:
        check_columns(pack, labels)
    latents = people_latents(LatentEncoder(network), pack, progress)
    mean = latents.mean(dim=0)
    around = latents - mean
    # For a few hundred long rows: from the Gram matrix.
    values, vectors = torch.linalg.eigh(around @ around.T)
    count = min(COMPONENTS, len(rows) - 1)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    components = (vectors.T @ around) / (len(latents) - 1) ** 0.5
    deviations = around.square().sum(dim=0).div(len(latents) - 1).sqrt()
    deviations = deviations.clamp(min=LEAST_DEVIATION * float(deviations.median()))
    kept = float(components.square().sum() / around.square().sum() * (len(latents) - 1))
    tensors = {f"decoder.{k}": v.half() for k, v in network.decoder.state_dict().items()}
    tensors |= {
        "mean": network.mean.half(),
        "prior.mean": mean,
        "prior.components": components.half(),
        "deviations": deviations.half(),
        "toe.ends": toe_ends(network, pack),
    }
    encoder = {k: v.half() for k, v in network.encoder.state_dict().items()}
    shape, settings = run.recipe.shape, run.recipe.settings
    c, x, y, z = shape.latent_shape
    architecture = {
        "family": VAE,
        "autoencoder": shape.to_dict(),
        "description": (
            f"It works on Haar bands and has a latent of {c} channels on a {x} x {y} x {z} "
            f"grid; its layers have {shape.channels} channels. Random brains have latents drawn "
            f"from the normal distribution of the subjects', along its first {count} principal "
            "directions."
        ),
    }
    training = {
        "steps_done": run.steps,
        "settings": asdict(settings),
        "measured": run.measured,
        "variance_kept": round(kept, 4),
        "description": (
            f"{run.steps} x {settings.people * settings.crops} crops of {settings.side} "
            "voxels, mirrored, their contrast varied and half of them slightly stretched: mean "
            "squared error, structural similarity and the divergence of the latents from a normal "
            f"distribution. The principal directions hold {100 * kept:.0f} % of the variance of "
            "the training subjects' latents, including mirrored ones."
        ),
    }
    card = card_of(pack, name, licence, architecture, training, attribution)
    tensors, encoder = ({k: v.cpu() for k, v in part.items()} for part in (tensors, encoder))
    template = pack.path / TEMPLATE
    generator = finish(out, card, tensors, encoder, template, pack, overwrite=overwrite)
    if not labels:
        return generator
    # The latent of a subject is the mean over the original and its mirror image.
    people = latents.reshape(len(rows), 2, -1).mean(dim=1).cpu()
    return learn_labels(out, pack, labels, latents=people, overwrite=True)


@torch.inference_mode()
def toe_ends(network: Autoencoder, pack: Pack) -> Tensor:
    """Ends [2] of the toe that minimise the mean squared error of reconstructions.

    A decoder produces ripples in the dark background around a brain.
    """
    rows = pack.indices("train")[:: max(1, len(pack.indices("train")) // TOED)]
    people = [pack.volumes[row].astype(np.float32) / 255 for row in rows]
    made = []
    for person in people:
        volume = torch.from_numpy(person)[None, None].to(network.mean.device) * 2 - 1
        made.append(to_display(network.decode(network.encode(volume)[0]))[0])
    pairs = list(zip(made, people, strict=True))
    errors = [
        np.mean([np.square(toed(one, end / 2, end) - true).mean() for one, true in pairs])
        for end in TOES
    ]
    best = float(TOES[int(np.argmin(errors))])
    return torch.tensor([best / 2, best] if best else [-1.0, 0.0])


@torch.inference_mode()
def people_latents(encode: LatentEncoder, pack: Pack, progress: Progress | None = None) -> Tensor:
    """Latents of the training subjects and their mirror images, float32 [2 N, w_dim]."""
    rows = pack.indices("train")
    found = []
    for done, row in enumerate(rows, 1):
        volume = torch.from_numpy(pack.volumes[row].astype(np.float32) / 255)[None, None] * 2 - 1
        both = (volume, volume.flip(2))
        found += [encode(v.to(encode.mean.device))[0, 0].cpu() for v in both]
        if progress:
            progress(done, len(rows))
    return torch.stack(found)
