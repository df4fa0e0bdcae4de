"""Training of a latent diffusion.

Noise of random strength is added to a subject's latent; the network predicts the residual of the
Gaussian estimate of the latent, in units of its expected error, so that every noise level has the
same weight (`networks/latent_diffusion.py`).

Principal directions fitted to a subject describe it better than unseen subjects: a network that
corrects such estimates would learn to trust them too much. So subjects are divided into folds, and
each is estimated with the Gaussian of the other folds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Unpack, cast

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import SILENT, ModelError, Progress, followed
from stylegan3d.checkpoints.folder import read_folder
from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import unit
from stylegan3d.model.families.autoencoder import DIFFUSION, VAE
from stylegan3d.model.generator import Generator
from stylegan3d.networks.autoencoder import LatentEncoder, LatentSynthesis
from stylegan3d.networks.latent_diffusion import DiffusionConfig, LatentDiffusion, LatentGaussian
from stylegan3d.storage.files import atomic_file
from stylegan3d.training.autoencoder import finish_labelled, never_zero, people_latents
from stylegan3d.training.data import as_input, augment, digest_of, in_epoch
from stylegan3d.training.export import ModelTarget, card_of
from stylegan3d.training.labels import check_columns
from stylegan3d.training.options import DiffusionSettings, by
from stylegan3d.training.run import How, Run, TrainingTask, device_of, train

FOLDS = 5
#: Variants of each subject: original, mirrored, and slightly stretched ones.
STRETCHED = 6
# Least residual variance besides the directions, as a share of the variance.
LEAST_REST = 1e-3


@dataclass(frozen=True, eq=False)
class SubjectLatents:
    """Standardised latents of the training subjects.

    Attributes
    ----------
    latents : ndarray, shape (subjects, variants, D), float16
        The first two variants are the original and the mirror image.
    center, scale : Tensor, shape (D,)
        Parameters of the standardisation.
    folds : ndarray, shape (subjects,)
        Fold of each subject.
    gaussians : list of LatentGaussian
        For each fold, fitted to the other folds.
    all : LatentGaussian
        Fitted to all subjects.
    """

    latents: np.ndarray
    center: Tensor
    scale: Tensor
    folds: np.ndarray
    gaussians: list[LatentGaussian]
    all: LatentGaussian

    def standardised(self, rows: np.ndarray, variants: np.ndarray) -> Tensor:
        """[len(rows), D] float32."""
        w = torch.from_numpy(self.latents[rows, variants].astype(np.float32))
        return (w - self.center) / self.scale

    def denoise(self, x: Tensor, sigma: Tensor, rows: np.ndarray) -> Tensor:
        """Gaussian estimates of these subjects' noisy latents from the other folds, [N, D]."""
        out = torch.empty_like(x)
        for fold in np.unique(self.folds[rows]):
            of = torch.from_numpy(np.flatnonzero(self.folds[rows] == fold))
            out[of] = self.gaussians[fold].denoise(x[of], sigma[of])
        return out


def most_directions(people: int) -> int:
    """Maximum number of principal directions with so many subjects and their mirror images.

    Raises
    ------
    ModelError
        If there are too few subjects.
    """
    if people < FOLDS:
        raise ModelError(
            f"Diffusion needs at least {FOLDS} subjects, but there are {people}: add more scans."
        )
    return 2 * (people - -(-people // FOLDS)) - 1


def people_of(latents: np.ndarray, directions: int) -> SubjectLatents:
    """Fit to latents [subjects, variants, D], with at most `most_directions`."""
    count = len(latents)
    plain = torch.from_numpy(latents[:, :2].astype(np.float32))
    center = plain.mean(dim=(0, 1))
    scale = never_zero((plain - center).square().mean(dim=(0, 1)).sqrt())
    plain = (plain - center) / scale
    folds = np.random.default_rng(0).permutation(count) % FOLDS
    bases, variances, rests = [], [], []
    for fold in range(FOLDS):
        own = torch.from_numpy(folds == fold)
        basis = principal(plain[~own].flatten(0, 1), directions)
        held = plain[own].flatten(0, 1)
        along = held @ basis.T
        left = held.square().sum() - along.square().sum()
        bases.append(basis)
        variances.append(along.square().mean(dim=0))
        rests.append(left / (len(held) * (held.shape[1] - directions)))
    # Variances along a direction are those of held-out subjects.
    spread = torch.stack(variances).mean(dim=0).sort(descending=True).values
    rest = torch.stack(rests).mean().clamp(min=LEAST_REST)
    spread = spread.clamp(min=float(rest))
    gaussians = [LatentGaussian.of(basis, spread, rest) for basis in bases]
    everybody = LatentGaussian.of(principal(plain.flatten(0, 1), directions), spread, rest)
    return SubjectLatents(latents, center, scale, folds, gaussians, everybody)


def principal(rows: Tensor, count: int) -> Tensor:
    """Orthonormal principal directions [count, D] of rows [N, D] about zero."""
    return torch.linalg.svd(rows.double(), full_matrices=False).Vh[:count].float().contiguous()


@torch.inference_mode()
def varied_latents(
    encode: LatentEncoder, pack: Pack, path: Path, seed: int, progress: Progress = SILENT
) -> np.ndarray:
    """Latents of the training subjects and their variants, float16 [subjects, variants, D].

    Cached in the file `path`, since encoding takes minutes.
    """
    rows = pack.indices("train")
    template = torch.from_numpy(pack.template).float()[None, None] * 2 - 1
    size = (len(rows), 2 + STRETCHED, encode(template)[0, 0].numel())
    if path.is_file():
        try:
            kept = np.load(path, mmap_mode="r")
        except ValueError:  # truncated
            kept = None
        if kept is not None and kept.shape == size:
            return np.asarray(kept)
    found = np.empty(size, np.float16)
    for done, row in enumerate(followed(rows, progress)):
        volume = torch.from_numpy(unit(pack.volumes[row]))[None]
        variants = [volume, volume.flip(1)]
        for variant in range(STRETCHED):
            source = torch.Generator().manual_seed(seed * 1_000_003 + done * STRETCHED + variant)
            variants.append(augment(volume, source, stretch=1.0, gamma=0.06))
        for place, one in enumerate(variants):
            found[done, place] = encode(one[None] * 2 - 1)[0, 0].numpy()
    with atomic_file(path) as file:
        np.save(file, found)
    return found


# Noise levels at which held-out subjects are measured.
STRENGTHS = (0.2, 0.7, 2.0, 7.0)


@dataclass(frozen=True, eq=False)
class Latents:
    """Training data of a diffusion.

    Attributes
    ----------
    people : SubjectLatents
        Training subjects.
    held : Tensor
        Standardised latents of the held-out subjects, [N, D]; N may be 0.
    """

    people: SubjectLatents
    held: Tensor


@dataclass(frozen=True)
class DiffusionTask(TrainingTask[LatentDiffusion, Latents]):
    """Training task of a diffusion.

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
    kept = ("stage",)
    batch_of = "people"

    def check_stage(self, stage: Generator, pack: Pack) -> None:
        """Raise ModelError if the run was started with another autoencoder or dataset."""
        if self.stage != stage_key(stage, pack):
            raise ModelError(
                f"The run was begun with another autoencoder than {stage.name}, or another "
                "dataset; resume it with those, or begin a new one."
            )

    def network(self) -> LatentDiffusion:
        """A new network."""
        return LatentDiffusion(self.shape)

    def prepare(self, source: tuple[Pack, Generator], folder: Path, progress: Progress) -> Latents:
        """Latents of a dataset from an autoencoder, cached in the run's folder."""
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
        self, network: LatentDiffusion, data: Latents, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on subjects' latents; 1 is that of the Gaussian estimate alone."""
        settings, people = self.settings, data.people
        rng = np.random.default_rng([settings.seed, step])
        rows = dealt(len(people.latents), settings.people, step, settings.seed)
        clean = people.standardised(rows, rng.integers(people.latents.shape[1], size=len(rows)))
        strengths = settings.middle * np.exp(settings.spread * rng.standard_normal(len(rows)))
        strengths = strengths.clip(self.shape.least, self.shape.most)
        sigma = torch.from_numpy(strengths.astype(np.float32))
        noise = torch.from_numpy(rng.standard_normal(tuple(clean.shape), dtype=np.float32))
        noisy = clean + sigma[:, None] * noise
        clean, noisy, sigma = clean[samples], noisy[samples], sigma[samples]
        linear = people.denoise(noisy, sigma, rows[samples])
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
            found[f"at {strength:g}"] = float(_loss(average, held, noisy, linear, sigma).mean())
        return found


DiffusionRun = Run[DiffusionTask]


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
        The dataset.
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

    def begin() -> DiffusionTask:
        chosen = shape or DiffusionConfig(cast("LatentSynthesis", stage.synthesis).latent_shape)
        most = most_directions(len(pack.indices("train")))
        chosen = replace(chosen, directions=min(chosen.directions, most))
        return DiffusionTask(chosen, settings or DiffusionSettings(), stage_key(stage, pack))

    return train(DiffusionTask, begin, (pack, stage), folder, **how)


def encoder_of(stage: Generator, pack: Pack) -> LatentEncoder:
    """The encoder of an autoencoder; ModelError if it does not fit the dataset."""
    if not isinstance(stage.encoder, LatentEncoder) or stage.family != VAE:
        raise ModelError(
            f"{stage.name} is not a variational autoencoder with an encoder: a diffusion learns "
            "the latents of one that `stylegan3d train vae` made."
        )
    if tuple(stage.shape) != tuple(pack.space.shape):
        raise ModelError(
            f"The autoencoder {stage.name} is for volumes of {by(stage.shape)} voxels, the "
            f"dataset's have {by(pack.space.shape)}; train one on this dataset first."
        )
    return stage.encoder


def stage_key(stage: Generator, pack: Pack) -> str:
    """Key of the latents of these subjects from this autoencoder."""
    assert isinstance(stage.encoder, LatentEncoder)
    weights = (values.cpu().float().numpy() for values in stage.encoder.state_dict().values())
    volumes = (pack.volumes[row] for row in pack.indices("train"))
    return digest_of(chain(weights, volumes))[:16]


@torch.inference_mode()
def _held(encode: LatentEncoder, pack: Pack, people: SubjectLatents) -> Tensor:
    """Standardised latents of the held-out subjects, [N, D]; N may be 0."""
    found = [encode(as_input(pack.volumes[row])[None]) for row in pack.indices("validation")]
    if not found:
        return torch.empty(0, len(people.center))
    return ((torch.cat(found)[:, 0] - people.center) / people.scale).clone()


#: Network evaluations for a latent, and for a preview.
STEPS, PREVIEW_STEPS = 20, 6


def export_diffusion(
    run: DiffusionRun,
    pack: Pack,
    stage: Generator,
    to: ModelTarget,
    *,
    labels: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Generator:
    """Export the averaged network of a run with its autoencoder to a model folder, and load it.

    Parameters
    ----------
    run : DiffusionRun
        Run of the diffusion.
    pack, stage : Pack, Generator
        The dataset and the autoencoder of the run.
    to : ModelTarget
        The folder, and what its card says.
    labels : sequence of str
        Labels to learn: columns of the dataset's table, such as "age" and "sex", or volumes; see
        `learn_labels`.
    progress : callable or None
        Called with subjects encoded and total.

    Raises
    ------
    ModelError, OutputError
        If the autoencoder differs, a column is unusable, or the folder cannot be written.
    """
    to.check()
    run.task.check_stage(stage, pack)
    encode = encoder_of(stage, pack)
    if labels:
        check_columns(pack, labels)
    network = run.average.cpu()
    latents = people_latents(encode, pack, progress)
    deviations = never_zero(latents.std(dim=0))
    files = read_folder(stage.needed_folder())
    kept = ("decoder.", "mean", "toe.")
    tensors = {k: v for k, v in files.tensors.items() if k.startswith(kept)}
    exact = ("center", "scale", "gaussian.variances", "gaussian.rest", "gaussian.middle")
    for key, value in network.state_dict().items():
        tensors[f"diffusion.{key}"] = value if key in exact else value.half()
    tensors["deviations"] = deviations.half()
    card = card_of(pack, to, _architecture(run, stage), _training(run, stage))
    return finish_labelled(to, card, tensors, files.encoder, pack, labels, latents)


def _architecture(run: DiffusionRun, stage: Generator) -> dict[str, object]:
    shape = run.task.shape
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
    settings = run.task.settings
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
