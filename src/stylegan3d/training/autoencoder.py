"""Training of a variational autoencoder, resumable at any moment.

What a latent gives back is to look like the brain that went in (mean squared error and structural
similarity inside the brain, Wang et al. 2004), and latents are drawn towards a normal distribution
(Kingma, Welling 2014, arXiv 1312.6114, eq. 10), only so far that reconstructions do not suffer, as
in latent diffusion (Rombach et al. 2022, arXiv 2112.10752). Every step draws from its own seed, so
that a resumed run goes on as if it had not been interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.errors import ModelError
from stylegan3d.intensity import BRIGHTEST
from stylegan3d.measures.similarity import similarity
from stylegan3d.networks.autoencoder import FACTOR, Autoencoder, AutoencoderConfig
from stylegan3d.networks.resampling import haar
from stylegan3d.storage.checkpoint import begin_or_resume, load_checkpoint
from stylegan3d.storage.locks import only_run
from stylegan3d.training.augment import augment
from stylegan3d.training.averaged_run import AveragedRun

Progress = Callable[[int, int, dict[str, float]], None]
Place = tuple[slice, slice, slice]
# Of the structural similarity: a window of seven voxels, and Wang's constants.
WINDOW, C1, C2 = 7, 0.01**2, 0.03**2
#: People set aside that are measured on the way, at most; all of them at the end.
MEASURED = 9


@dataclass(frozen=True)
class AutoencoderTraining:
    """Settings of one run.

    Attributes
    ----------
    steps : of training; people : in each; crops : of each of them; side : of a crop in voxels, a
        multiple of `FACTOR`; a shorter axis of the volumes is taken whole.
    learning_rate : highest; it falls along a cosine.
    similarity : weight of one minus the structural similarity, beside the mean squared error.
    divergence : weight of the Kullback-Leibler divergence, a mean over the latent's numbers.
    stretch : of the augmentation, see `augment`; half of the volumes are not stretched.
    decay : of the averaged weights, which are what is measured and shipped.
    """

    steps: int = 10_000
    people: int = 2
    crops: int = 2
    side: int = 48
    learning_rate: float = 4e-4
    weight_decay: float = 1e-4
    warm_up: int = 300
    similarity: float = 0.1
    divergence: float = 2e-5
    stretch: float = 1.0
    decay: float = 0.998
    validate_every: int = 500
    save_seconds: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.people, self.crops, self.validate_every) < 1:
            raise ModelError("A run needs at least one step of one volume; ask for more.")
        if self.side < WINDOW or self.side % FACTOR:
            raise ModelError(f"Crops of {self.side} voxels: take a multiple of {FACTOR}.")


class AutoencoderRun(AveragedRun[Autoencoder]):
    """Network, average, optimiser and counters between two steps."""

    def __init__(
        self, shape: AutoencoderConfig, config: AutoencoderTraining, device: torch.device
    ) -> None:
        torch.manual_seed(config.seed)
        super().__init__(
            Autoencoder(shape),
            device,
            total=config.steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warm_up=config.warm_up,
            decay=config.decay,
        )
        self.shape, self.config = shape, config

    def begin(self, pack: Pack) -> None:
        """Start from the mean brain."""
        mean = torch.from_numpy(pack.template).float()[None, None] * 2 - 1
        for network in (self.network, self.average):
            network.mean.copy_(haar(mean))

    def step(self, volume: Tensor, places: list[Place]) -> dict[str, float]:
        """Learn from crops [N, 1, X, Y, Z] in [-1, 1] of these places; the parts of the loss."""
        config = self.config
        source = torch.Generator().manual_seed(config.seed * 1_000_003 + self.steps)
        low = fast_dtype(self.device) == torch.bfloat16
        usual = torch.cat([self.network.mean[(..., *_halved(place))] for place in places])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            mean, log_variance = self.network.encode(volume, usual)
            noise = torch.randn(mean.shape, generator=source).to(self.device)
            made = self.network.decode(mean + (0.5 * log_variance).exp() * noise, usual)
        error = F.mse_loss(made, volume)
        unlike = 1 - mean_ssim(made, volume)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = error + config.similarity * unlike + config.divergence * divergence
        self.learn(loss)
        parts = {"error": error, "unlike": unlike, "divergence": divergence}
        return {name: float(value.detach()) for name, value in parts.items()}

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        self.save_as(folder, {"shape": self.shape.to_dict(), "config": asdict(self.config)})

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> AutoencoderRun:
        """Resume from a run's folder; if its last checkpoint is damaged from the one before it.

        Raises
        ------
        ModelError
            If there is no run, or its checkpoints are damaged.
        """

        def build(data: dict[str, Any]) -> AutoencoderRun:
            config = AutoencoderTraining(**data["config"])
            run = cls(AutoencoderConfig.from_dict(data["shape"]), config, device)
            run.fill(data)
            return run

        run, note = load_checkpoint(folder, device, build)
        run.note = note
        return run


def mean_ssim(made: Tensor, true: Tensor) -> Tensor:
    """Structural similarity of [N, 1, X, Y, Z] in [-1, 1], averaged where the true ones are bright.

    With a plain cube as window: what is trained with it, not what is reported.
    """
    made, true = (made + 1) / 2, (true + 1) / 2
    five = torch.cat([made, true, made.square(), true.square(), made * true], dim=1)
    inner = WINDOW // 2
    for window in ((WINDOW, 1, 1), (1, WINDOW, 1), (1, 1, WINDOW)):
        five = F.avg_pool3d(five, window, 1)
    a, b, aa, bb, ab = five.split(1, dim=1)
    mask = (true > 0)[:, :, inner:-inner, inner:-inner, inner:-inner]
    luminance = (2 * a * b + C1) / (a.square() + b.square() + C1)
    structure = (2 * (ab - a * b) + C2) / (aa - a.square() + bb - b.square() + C2)
    return (luminance * structure * mask).sum() / mask.sum().clamp(min=1)


@torch.inference_mode()
def measure(network: Autoencoder, pack: Pack, count: int | None = None) -> dict[str, float]:
    """Medians over people set aside, `count` of them at most: "ssim" and "psnr" inside the brain.

    {} where nobody is set aside.
    """
    rows = pack.indices("validation")[:count]
    device = network.mean.device
    found = []
    for row in rows:
        true = pack.volumes[row].astype(np.float32) / 255
        volume = torch.from_numpy(true)[None, None].to(device) * 2 - 1
        made = (network.decode(network.encode(volume)[0]) + 1) / 2
        shown = made[0, 0].clamp(0, BRIGHTEST).cpu().numpy()
        found.append(similarity(shown, true, true > 0))
    return {k: float(np.median([f[k] for f in found])) for k in found[0]} if found else {}


def train_autoencoder(
    pack: Pack,
    folder: Path,
    shape: AutoencoderConfig | None = None,
    config: AutoencoderTraining | None = None,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> AutoencoderRun:
    """Train an autoencoder on a packed data set.

    Parameters
    ----------
    pack : the data set; people set aside are only measured on.
    folder : of the run; its checkpoint is written there.
    shape, config : of a new run; its volumes have the pack's shape.
    resume : go on with the run in `folder`.
    progress : called after each step.
    tell : called with a sentence if the last checkpoint was damaged and the one before it is used.

    Raises
    ------
    ModelError
        If there is nothing to resume, a new run would replace another, or the grid does not fit.
    OutputError
        If the folder cannot be written to, or another run writes to it.
    """
    device = device or torch.device("cpu")

    def begin() -> AutoencoderRun:
        chosen = shape or AutoencoderConfig(pack.space.shape)
        run = AutoencoderRun(chosen, config or AutoencoderTraining(), device)
        run.begin(pack)
        return run

    with only_run(folder):
        run = begin_or_resume(
            folder,
            begin,
            lambda: AutoencoderRun.load(folder, device),
            resume=resume,
            tell=tell,
        )
        if tuple(run.shape.shape) != tuple(pack.space.shape):
            raise ModelError(
                f"The run is of volumes of {run.shape.shape} voxels, but the data set's have "
                f"{pack.space.shape}; resume it with the data set it began with."
            )
        _go_on(run, pack, folder, progress)
    return run


def _go_on(run: AutoencoderRun, pack: Pack, folder: Path, progress: Progress | None) -> None:
    """Train until the last step."""
    started = saved = time.monotonic()
    before = run.seconds
    while run.steps < run.config.steps:
        crops, places = draw(pack, run.config, run.steps)
        figures = run.step(crops.to(run.device), places)
        run.seconds = before + time.monotonic() - started
        last = run.steps == run.config.steps
        if last or run.steps % run.config.validate_every == 0:
            run.measured = measure(run.average, pack, None if last else MEASURED)
            figures |= run.measured
        if last or time.monotonic() - saved > run.config.save_seconds:
            run.save(folder)
            saved = time.monotonic()
        if progress:
            progress(run.steps, run.config.steps, figures)


def draw(pack: Pack, config: AutoencoderTraining, step: int) -> tuple[Tensor, list[Place]]:
    """The crops of one step, augmented, [N, 1, X, Y, Z] in [-1, 1], and where they lie.

    Every person once before anybody again; a crop's middle lies in the mean brain.
    """
    people = pack.indices("train")
    shape = pack.space.shape
    sides = [min(config.side, n) for n in shape]
    inside = np.argwhere(pack.template > 0.1)
    crops: list[Tensor] = []
    places: list[Place] = []
    for number in range(step * config.people, (step + 1) * config.people):
        epoch, place = divmod(number, len(people))
        order = np.random.default_rng([config.seed, epoch]).permutation(len(people))
        rng = np.random.default_rng([config.seed, 1, number])
        source = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        volume = torch.from_numpy(pack.volumes[people[order[place]]].astype(np.float32) / 255)
        stretch = config.stretch if rng.random() < 0.5 else 0.0
        volume = augment(volume[None], source, stretch=stretch, gamma=0.1)
        for middle in rng.choice(inside, config.crops):
            starts = [
                min(max(round((m - side / 2) / FACTOR), 0), (n - side) // FACTOR) * FACTOR
                for m, side, n in zip(middle, sides, shape, strict=True)
            ]
            x, y, z = (slice(a, a + side) for a, side in zip(starts, sides, strict=True))
            crops.append(volume[:, x, y, z])
            places.append((x, y, z))
    return torch.stack(crops) * 2 - 1, places


def _halved(place: Place) -> Place:
    """A place on the grid of the Haar bands."""
    x, y, z = (slice(s.start // 2, s.stop // 2) for s in place)
    return x, y, z
