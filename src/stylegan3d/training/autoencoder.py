"""Training of a variational autoencoder, and of an encoder for any finished generator.

The loss is mean squared error and structural similarity inside the brain (Wang et al. 2004), plus
the divergence of latents from a normal distribution (Kingma, Welling 2014, arXiv 1312.6114, eq. 10)
with a small weight, as in latent diffusion (Rombach et al. 2022, arXiv 2112.10752).

Latents of random brains are sampled from the normal distribution of the training subjects' latents
along its leading principal directions (compare probabilistic principal component analysis, Tipping,
Bishop 1999).

An encoder is trained on the generator's own random brains. Their latents are known, so it learns
the regression from volumes to w; and what the generator makes of the encoded latent is compared
with the brain, since latents that differ may look alike (Tov et al. 2021, arXiv 2102.02766, train
on both). No scan is needed; subjects that were set aside say how well scans are encoded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.base import SILENT, Json, ModelError, Progress, followed
from stylegan3d.checkpoints.folder import check_target, read_folder
from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import BRIGHTEST, to_display, unit
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.families.autoencoder import VAE
from stylegan3d.model.generator import Generator
from stylegan3d.networks.autoencoder import Autoencoder, AutoencoderConfig, LatentEncoder
from stylegan3d.networks.config import LATENT_FACTOR, EncoderConfig, GeneratorConfig
from stylegan3d.networks.encoder import Encoder
from stylegan3d.networks.resampling import along_axes, haar
from stylegan3d.recipe.model import LARGEST_SEED, seed_latents
from stylegan3d.training.data import MANY, as_input, augment, check_fit, fixed_volumes, in_epoch
from stylegan3d.training.export import TOES, ModelTarget, card_anew, card_of, finish, halves, toed
from stylegan3d.training.labels import check_columns, learn_labels
from stylegan3d.training.options import WINDOW, AutoencoderSettings, EncoderSettings
from stylegan3d.training.run import How, Run, TrainingTask, train

Place = tuple[slice, slice, slice]
# Wang's constants of the structural similarity.
C1, C2 = 0.01**2, 0.03**2
#: Maximum number of held-out subjects measured during training; all at the end.
MEASURED = 9


@dataclass(frozen=True)
class AutoencoderTask(TrainingTask[Autoencoder, Pack]):
    """Training task of an autoencoder; `shape` is the network's."""

    shape: AutoencoderConfig
    settings: AutoencoderSettings
    kind = "vae"
    batch_of = "people"

    def network(self) -> Autoencoder:
        """A new autoencoder."""
        return Autoencoder(self.shape)

    def prepare(self, source: Pack, folder: Path, progress: Progress) -> Pack:
        """The dataset, checked to have the run's grid."""
        if tuple(self.shape.shape) != tuple(source.space.shape):
            raise ModelError(
                f"The run was begun with volumes of {self.shape.shape} voxels, but the dataset's "
                f"have {source.space.shape}; resume it with the dataset it began with."
            )
        return source

    def start(self, network: Autoencoder, data: Pack) -> None:
        """Start from the mean brain."""
        mean = torch.from_numpy(data.template).float()[None, None] * 2 - 1
        network.mean.copy_(haar(mean))

    def loss(
        self, network: Autoencoder, data: Pack, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on crops of these subjects."""
        settings = self.settings
        device = network.mean.device
        crops, places = draw(data, settings, step, samples)
        volume = crops.to(device)
        source = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        low = fast_dtype(device) == torch.bfloat16
        bands = [[slice(s.start // 2, s.stop // 2) for s in place] for place in places]
        usual = torch.cat([network.mean[..., x, y, z] for x, y, z in bands])
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            mean, log_variance = network.encode(volume, usual)
            noise = torch.randn(settings.people, settings.crops, *mean.shape[1:], generator=source)
            noise = noise[samples].flatten(0, 1).to(device)
            made = network.decode(mean + (0.5 * log_variance).exp() * noise, usual)
        error = F.mse_loss(made, volume)
        unlike = 1 - mean_ssim(made, volume)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = error + settings.similarity * unlike + settings.divergence * divergence
        return loss, {"error": error, "unlike": unlike, "divergence": divergence}

    def measure(self, average: Autoencoder, data: Pack, *, last: bool) -> dict[str, float]:
        """Similarity of reconstructions of held-out subjects."""
        return measure(average, data, None if last else MEASURED)


AutoencoderRun = Run[AutoencoderTask]


def mean_ssim(made: Tensor, true: Tensor) -> Tensor:
    """Structural similarity of [N, 1, X, Y, Z] in [-1, 1], the mean of those over bright voxels.

    With a cubic window, as a training loss, not for reporting.
    """
    made, true = (made + 1) / 2, (true + 1) / 2
    five = torch.cat([made, true, made.square(), true.square(), made * true], dim=1)
    inner = WINDOW // 2
    # Pooling gives the same, but its gradient took longer than all else of a step.
    windows = [torch.ones(n, n).tril().triu(1 - WINDOW)[WINDOW - 1 :] for n in five.shape[2:]]
    five = along_axes(five, windows) / WINDOW**3
    a, b, aa, bb, ab = five.split(1, dim=1)
    mask = (true > 0)[:, :, inner:-inner, inner:-inner, inner:-inner]
    luminance = (2 * a * b + C1) / (a.square() + b.square() + C1)
    structure = (2 * (ab - a * b) + C2) / (aa - a.square() + bb - b.square() + C2)
    found = (luminance * structure * mask).flatten(1).sum(dim=1)
    return (found / mask.flatten(1).sum(dim=1).clamp(min=1)).mean()


@torch.inference_mode()
def measure(network: Autoencoder, pack: Pack, count: int | None = None) -> dict[str, float]:
    """Medians over at most `count` held-out subjects: "ssim" and "psnr" inside the brain.

    {} without held-out subjects.
    """
    rows = pack.indices("validation")[:count]
    device = network.mean.device
    found = []
    for row in rows:
        true = unit(pack.volumes[row])
        volume = torch.from_numpy(true)[None, None].to(device) * 2 - 1
        made = (network.decode(network.encode(volume)[0]) + 1) / 2
        found.append(similarity(made[0, 0].clamp(0, BRIGHTEST).cpu().numpy(), true, true > 0))
    return {k: float(np.median([f[k] for f in found])) for k in found[0]} if found else {}


def train_autoencoder(
    pack: Pack,
    folder: Path,
    shape: AutoencoderConfig | None = None,
    settings: AutoencoderSettings | None = None,
    **how: Unpack[How],
) -> AutoencoderRun:
    """Train an autoencoder on a packed dataset.

    Parameters
    ----------
    pack : Pack
        The dataset.
    folder : Path
        Folder of the run.
    shape, settings : AutoencoderConfig or None, AutoencoderSettings or None
        Of a new run; its volumes have the pack's shape.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """

    def begin() -> AutoencoderTask:
        chosen = shape or AutoencoderConfig(pack.space.shape)
        return AutoencoderTask(chosen, settings or AutoencoderSettings())

    return train(AutoencoderTask, begin, pack, folder, **how)


def draw(
    pack: Pack, settings: AutoencoderSettings, step: int, samples: range
) -> tuple[Tensor, list[Place]]:
    """Augmented crops of subjects of one step, [N, 1, X, Y, Z] in [-1, 1], and their positions.

    Each subject is used once per epoch; crops are centred inside the mean brain.
    """
    people = pack.indices("train")
    inside = np.argwhere(pack.template > 0.1)
    crops: list[Tensor] = []
    places: list[Place] = []
    for number in (step * settings.people + sample for sample in samples):
        row = people[in_epoch(number, len(people), settings.seed)]
        rng = np.random.default_rng([settings.seed, 1, number])
        source = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
        volume = torch.from_numpy(unit(pack.volumes[row]))
        stretch = settings.stretch if rng.random() < 0.5 else 0.0
        volume = augment(volume[None], source, stretch=stretch, gamma=0.1)
        for middle in rng.choice(inside, settings.crops):
            places.append(crop_around(middle, settings.side, pack.space.shape, LATENT_FACTOR))
            crops.append(volume[:, *places[-1]])
    return torch.stack(crops) * 2 - 1, places


def crop_around(middle: np.ndarray, side: int, shape: Sequence[int], multiple: int) -> Place:
    """Position of a crop around a voxel, in steps of `multiple`; shorter axes are whole."""
    sides = [min(side, n) for n in shape]
    starts = [
        min(max(round((m - s / 2) / multiple), 0), (n - s) // multiple) * multiple
        for m, s, n in zip(middle, sides, shape, strict=True)
    ]
    x, y, z = (slice(a, a + s) for a, s in zip(starts, sides, strict=True))
    return x, y, z


#: Number of principal directions of the latents.
COMPONENTS = 200
# Least standard deviation of a latent's number, as a share of the median.
LEAST_DEVIATION = 0.05
# Number of subjects used to find the ends of the toe.
TOED = 24


def never_zero(deviations: Tensor) -> Tensor:
    """Standard deviations, none of them far below the usual one."""
    return deviations.clamp(min=LEAST_DEVIATION * float(deviations.median()))


def export_autoencoder(
    run: AutoencoderRun,
    pack: Pack,
    to: ModelTarget,
    *,
    labels: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Generator:
    """Export the averaged networks of a run to a model folder, and load it.

    Parameters
    ----------
    run : AutoencoderRun
        Run of the autoencoder.
    pack : Pack
        The dataset of the run.
    to : ModelTarget
        The folder, and what its card says.
    labels : sequence of str
        Labels to learn: columns of the dataset's table, such as "age" and "sex"; see
        `stylegan3d.training.labels`.
    progress : callable or None
        Called with subjects encoded and total.

    Raises
    ------
    ModelError, OutputError
        If there are fewer than three subjects, a column is unusable, or the folder cannot be
        written.
    """
    to.check()
    network = run.average
    rows = [pack.table[row] for row in pack.indices("train")]
    if len(rows) < 3:
        raise ModelError("Two subjects are too few for a distribution; train on more.")
    if labels:
        check_columns(pack, labels)
    latents = people_latents(LatentEncoder(network), pack, progress)
    mean = latents.mean(dim=0)
    around = latents - mean
    count = min(COMPONENTS, len(rows) - 1)
    _, lengths, axes = torch.linalg.svd(around, full_matrices=False)
    components = axes[:count] * lengths[:count, None] / (len(latents) - 1) ** 0.5
    deviations = never_zero(latents.std(dim=0))
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
    shape, settings = run.task.shape, run.task.settings
    c, x, y, z = shape.latent_shape
    architecture = {
        "family": VAE,
        "autoencoder": shape.to_dict(),
        "description": (
            f"It works on Haar bands and has a latent of {c} channels on a {x} x {y} x {z} grid; "
            f"its layers have {shape.channels} channels. Random brains have latents drawn from the "
            f"normal distribution of the subjects', along its first {count} principal directions."
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
    card = card_of(pack, to, architecture, training)
    tensors, encoder = ({k: v.cpu() for k, v in part.items()} for part in (tensors, encoder))
    return finish_labelled(to, card, tensors, encoder, pack, labels, latents)


def finish_labelled(
    to: ModelTarget,
    card: Json,
    tensors: dict[str, Tensor],
    encoder: dict[str, Tensor] | None,
    pack: Pack,
    labels: Sequence[str],
    latents: Tensor,
) -> Generator:
    """`finish` a generator, which then learns `labels`, if any, from those of `people_latents`.

    The latent of a subject is the mean over the original and its mirror image.
    """
    out, wait = to.folder, bool(labels)
    made = finish(out, card, tensors, encoder, pack, overwrite=to.overwrite, labels_follow=wait)
    if not labels:
        return made
    people = latents.reshape(len(latents) // 2, 2, -1).mean(dim=1).cpu()
    return learn_labels(out, pack, labels, latents=people, overwrite=True)


@torch.inference_mode()
def toe_ends(network: Autoencoder, pack: Pack) -> Tensor:
    """Ends [2] of the toe that minimise the mean squared error of reconstructions.

    A decoder produces ripples in the dark background around a brain.
    """
    rows = pack.indices("train")[:: max(1, len(pack.indices("train")) // TOED)]
    people = [unit(pack.volumes[row]) for row in rows]
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
def people_latents(encode: LatentEncoder, pack: Pack, progress: Progress = SILENT) -> Tensor:
    """Latents of the training subjects and their mirror images, float32 [2 N, w_dim]."""
    rows = pack.indices("train")
    found = []
    for row in followed(rows, progress):
        volume = as_input(pack.volumes[row])[None]
        both = (volume, volume.flip(2))
        found += [encode(v.to(encode.mean.device))[0, 0].cpu() for v in both]
    return torch.stack(found)


#: Feature channels of the finest level; each coarser one has twice as many, up to the most.
FINEST, MOST = 24, 128
#: Random brains whose latents' spread is the unit of errors.
SAMPLES = 512
#: Seeds of the training, outside the usual range.
FIRST_SEED = 2_000_000


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
        self, network: Encoder, data: EncoderData, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of latents in their deviations, and of the volumes made from them."""
        settings, generator = self.settings, data.generator
        past = (settings.seed * settings.steps + step) * settings.batch
        first = FIRST_SEED + past % (LARGEST_SEED - FIRST_SEED - settings.batch)
        with torch.no_grad():
            seeds = range(first + samples.start, first + samples.stop)
            w = seed_latents(generator, seeds).to(generator.device)
            made = [generator.synthesize(row[None], k) for k, row in zip(seeds, w, strict=True)]
            volumes = torch.cat(made)
        found = network(volumes)
        latent = ((found - w) / data.deviations.to(w)).square().mean()
        image = (generator.synthesis(found, "none", -1, generator.dtype) - volumes).abs().mean()
        loss = latent + settings.image * image
        return loss, {"loss": loss, "latent": latent, "image": image}

    def measure(self, average: Encoder, data: EncoderData, *, last: bool) -> dict[str, float]:
        """Medians over held-out subjects, encoded and generated, inside the brain."""
        volumes = fixed_volumes(data.pack, "validation", MANY if last else MEASURED)
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
        A dataset, whose held-out subjects are measured.
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
        The dataset that it was trained on.
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
