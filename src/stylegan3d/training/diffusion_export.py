"""Export of a trained latent diffusion to a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from stylegan3d.checkpoints.folder import check_target, read_folder
from stylegan3d.dataset.pack import TEMPLATE, Pack
from stylegan3d.model.families.diffusion import DIFFUSION
from stylegan3d.model.generator import Generator
from stylegan3d.progress import Progress
from stylegan3d.training.autoencoder_export import people_latents
from stylegan3d.training.diffusion import DiffusionRun, encoder_of
from stylegan3d.training.export import card_of, finish
from stylegan3d.training.labels import check_columns, learn_labels

#: Network evaluations for a latent, and for a preview.
STEPS, PREVIEW_STEPS = 20, 6
# Least standard deviation of a latent's number, as a share of the median.
LEAST_DEVIATION = 0.05


def export_diffusion(
    run: DiffusionRun,
    pack: Pack,
    stage: Generator,
    out: str | Path,
    name: str,
    *,
    labels: Sequence[str] = (),
    licence: str | None = None,
    attribution: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Generator:
    """Export the averaged network of a run with its autoencoder to a model folder, and load it.

    Parameters
    ----------
    run : DiffusionRun
        Run of the diffusion.
    pack, stage : Pack, Generator
        The data set and the autoencoder of the run.
    out : path-like
        Output folder.
    name : str
        Name of the model.
    labels : sequence of str
        Labels to learn: columns of the data set's table, such as "age" and "sex", or volumes; see
        `learn_labels`.
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
        If the autoencoder differs, a column is unusable, or the folder cannot be written.
    """
    out = Path(out)
    check_target(out, overwrite)
    run.recipe.check_stage(stage, pack)
    encode = encoder_of(stage, pack)
    if labels:
        check_columns(pack, labels)
    network = run.average.cpu()
    latents = people_latents(encode, pack, progress)
    deviations = latents.std(dim=0)
    deviations = deviations.clamp(min=LEAST_DEVIATION * float(deviations.median()))
    assert stage.folder is not None  # other families than StyleGAN always have a folder
    files = read_folder(stage.folder)
    kept = ("decoder.", "mean", "toe.")
    tensors = {k: v for k, v in files.tensors.items() if k.startswith(kept)}
    exact = ("center", "scale", "gaussian.variances", "gaussian.rest", "gaussian.middle")
    for key, value in network.state_dict().items():
        tensors[f"diffusion.{key}"] = value if key in exact else value.half()
    tensors["deviations"] = deviations.half()
    card = card_of(
        pack, name, licence, _architecture(run, stage), _training(run, stage), attribution
    )
    template = pack.path / TEMPLATE
    encoder: dict[str, Tensor] | None = files.encoder
    generator = finish(out, card, tensors, encoder, template, pack, overwrite=overwrite)
    if not labels:
        return generator
    # The latent of a subject is the mean over the original and its mirror image.
    people = latents.reshape(len(latents) // 2, 2, -1).mean(dim=1)
    return learn_labels(out, pack, labels, latents=people, overwrite=True)


def _architecture(run: DiffusionRun, stage: Generator) -> dict[str, object]:
    shape = run.recipe.shape
    a, b = shape.channels
    c, x, y, z = shape.latent
    return {
        "family": DIFFUSION,
        "autoencoder": stage.card["architecture"]["autoencoder"],
        "diffusion": shape.to_dict(),
        "steps": STEPS,
        "preview_steps": PREVIEW_STEPS,
        "description": (
            f"A diffusion in the latents of {stage.name}, {c} channels on a {x} x {y} x {z} grid: "
            f"a U-Net ({a} and {b} channels) corrects the estimate from a normal distribution with "
            f"{shape.directions} principal directions. Sampling is deterministic: {STEPS} steps "
            f"from a seed's noise to its brain, {PREVIEW_STEPS} for a preview."
        ),
    }


def _training(run: DiffusionRun, stage: Generator) -> dict[str, object]:
    settings = run.recipe.settings
    return {
        "steps_done": run.steps,
        "settings": asdict(settings),
        "measured": run.measured,
        "autoencoder": {"name": stage.name} | dict(stage.card["training"]),
        "description": (
            f"{run.steps} x {settings.people} latents of subjects, original, mirrored or "
            "slightly stretched, with noise of random strength. For each subject, the normal "
            "distribution was fitted to other subjects only. The autoencoder was "
            f"trained before: {stage.card['training']['description']}"
        ),
    }
