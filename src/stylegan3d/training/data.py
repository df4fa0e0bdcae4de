"""Batches of augmented volumes, prepared in the background and reproducible after resuming.

Random numbers depend only on the run's seed, the step and the sample. Each sample of the global
batch has its own generator for each purpose. So a step does not depend on earlier steps or on the
distribution of samples to processes and microbatches.

Augmentation of training volumes: mirror, small smooth stretching, gamma; and for discriminators.

A few scans become a continuum of plausible ones. Deformations are small, since the generator
reproduces what it sees.

A discriminator's inputs are augmented too, real and fake alike: with few subjects it memorises
them. As long as most volumes stay unaugmented, the generator does not learn to make augmented ones.
Karras et al. 2020 (arXiv 2006.06676) adapt the probability p to the discriminator's overfitting
("adaptive"); Zhao et al. 2020 (arXiv 2006.10738) keep it constant ("fixed"). All operations are
differentiable, so that the generator can be trained through them.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from stylegan3d.base import ModelError
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import unit
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.training.options import StyleGANSettings

CONTROL_POINTS = 5
SCALE_DEVIATION = 0.02


def augment(
    volume: Tensor,
    generator: torch.Generator,
    *,
    mirror: bool = True,
    stretch: float = 1.0,
    gamma: float = 0.06,
) -> Tensor:
    """Augment one volume.

    Parameters
    ----------
    volume : Tensor, shape (1, X, Y, Z)
        Values in [0, 1], x to the patient's right.
    generator : torch.Generator
        Random generator, for reproducible steps.
    mirror : bool
        Flip left-right with probability 1/2.
    stretch : float
        Standard deviation, in voxels, of the displacement of five control points along each axis,
        half of it that of a shift; axes are also scaled, with a deviation of 2 %.
    gamma : float
        Intensities are raised to a power in [1 - gamma, 1 + gamma].

    Returns
    -------
    Tensor, shape (1, X, Y, Z)
        Values in [0, 1].
    """
    if mirror and torch.rand((), generator=generator) < 0.5:
        volume = volume.flip(1)
    if stretch > 0:
        for axis in (1, 2, 3):
            volume = stretch_axis(volume, axis, generator, stretch)
    if gamma > 0:
        power = 1 + gamma * (2 * torch.rand((), generator=generator) - 1)
        volume = volume.clamp(min=0) ** power
    return volume


def stretch_axis(volume: Tensor, axis: int, generator: torch.Generator, strength: float) -> Tensor:
    """Resample one axis of a [1, X, Y, Z] volume through a random smooth, monotone map.

    Linear interpolation along one axis is a matrix product, at a hundredth of the cost of a
    free-form deformation, which would dominate training time.
    """
    n = volume.shape[axis]
    points = torch.randn(CONTROL_POINTS, generator=generator) * strength
    shift = torch.randn((), generator=generator) * strength / 2
    scale = 1 + SCALE_DEVIATION * min(strength, 1.0) * torch.randn((), generator=generator)
    smooth = F.interpolate(points[None, None], size=n, mode="linear", align_corners=True)[0, 0]
    middle = (n - 1) / 2
    source = (torch.arange(n) - middle) * scale + middle + smooth + shift
    # Row i has the two weights of the samples around source[i]; zero outside.
    weights = (1 - (source[:, None] - torch.arange(n)[None]).abs()).clamp(min=0)
    return torch.movedim(torch.tensordot(weights, volume, dims=([1], [axis])), 0, axis).contiguous()


ROTATION = math.radians(10)  # largest angle about each axis
LOG2_SCALE = 0.1  # standard deviation
TRANSLATION = 1 / 8  # largest shift, of the grid
OFFSET, LOG2_CONTRAST, LOG2_GAMMA = 0.1, 0.25, 0.25  # standard deviations
GAMMA_FLOOR = 0.05
CUTOUT = 1 / 2  # side of the box, of the grid's
ADJUST_EVERY = 4  # steps, as in the paper
# Beyond about 0.8 augmentations leak into the generator's volumes, according to the paper.
LARGEST_P = 0.8
# p increases while the mean sign of the scores of real volumes is above, and decreases below.
TARGET = 0.6


@dataclass
class AugmentProbability:
    """Probability of each operation, and statistics of the discriminator since the last change.

    Attributes
    ----------
    p : float
        Probability of each operation.
    sign_sum, sign_steps : float, int
        Sum of E[sign D(real)] and number of steps.
    """

    p: float = 0.0
    sign_sum: float = 0.0
    sign_steps: int = 0

    def adjust(self, real_sign: float, batch: int, images: int) -> None:
        """Adapt p after a step (arXiv 2006.06676, section 3, r_t = E[sign D(real)]).

        Parameters
        ----------
        real_sign : float
            Mean sign of the discriminator's scores of the step's real volumes.
        batch : int
            Volumes of the step.
        images : int
            Volumes in which p can go from 0 to 1.
        """
        self.sign_sum += real_sign
        self.sign_steps += 1
        if self.sign_steps < ADJUST_EVERY:
            return
        r = self.sign_sum / self.sign_steps
        change = math.copysign(self.sign_steps * batch / images, r - TARGET)
        self.p = min(max(self.p + change, 0.0), LARGEST_P)
        self.sign_sum, self.sign_steps = 0.0, 0


def augmented(volumes: Tensor, p: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Apply each operation to each volume with probability p.

    Parameters
    ----------
    volumes : Tensor, shape (N, 1, X, Y, Z)
        Values in [-1, 1], -1 for background.
    p : float
        Probability of each operation; a mirrored volume is mirrored with p / 2.
    generators : sequence of torch.Generator
        One per volume. An operation's numbers do not depend on p.

    Returns
    -------
    Tensor, shape (N, 1, X, Y, Z)
    """
    if p <= 0:
        return volumes
    made = []
    for volume, generator in zip(volumes, generators, strict=True):
        operations = []
        for draw in _DRAWS:
            wanted = torch.rand((), generator=generator) < p
            operation = draw(generator, volume.shape[1:])
            if wanted:
                operations.append(operation)
        if operations:
            u = (volume + 1) / 2  # so that 0 is background
            for operation in operations:
                u = operation(u)
            volume = u * 2 - 1
        made.append(volume)
    return torch.stack(made)


Operation = Callable[[Tensor], Tensor]


def _draw_mirror(generator: torch.Generator, grid: torch.Size) -> Operation:
    flip = bool(torch.rand((), generator=generator) < 0.5)
    return lambda u: u.flip(1) if flip else u


def _draw_affine(generator: torch.Generator, grid: torch.Size) -> Operation:
    angles = (2 * torch.rand(3, generator=generator) - 1) * ROTATION
    scales = 2 ** (LOG2_SCALE * torch.randn(3, generator=generator))
    return partial(apply_affine, matrix=rotation(angles) @ torch.diag(scales))


def _draw_translate(generator: torch.Generator, grid: torch.Size) -> Operation:
    most = [int(n * TRANSLATION) for n in grid]
    shift = [int(torch.randint(-m, m + 1, (), generator=generator)) for m in most]
    return partial(translate, shift=shift)


def _draw_intensity(generator: torch.Generator, grid: torch.Size) -> Operation:
    offset, contrast, gamma = torch.randn(3, generator=generator).tolist()
    return partial(
        change_intensity,
        offset=OFFSET * offset,
        contrast=2 ** (LOG2_CONTRAST * contrast),
        gamma=2 ** (LOG2_GAMMA * gamma),
    )


def _draw_cutout(generator: torch.Generator, grid: torch.Size) -> Operation:
    return partial(cut_out, center=torch.rand(3, generator=generator).tolist())


_DRAWS = (_draw_mirror, _draw_affine, _draw_translate, _draw_intensity, _draw_cutout)


def rotation(angles: Tensor) -> Tensor:
    """[3, 3] rotation about the first, then the second, then the third axis, in radians."""
    return torch.from_numpy(Rotation.from_euler("xyz", angles.tolist()).as_matrix()).float()


def apply_affine(u: Tensor, matrix: Tensor) -> Tensor:
    """Resample a [1, X, Y, Z] volume about its centre, with 0 outside.

    Parameters
    ----------
    matrix : Tensor
        [3, 3], from positions in the result to positions in `u`, relative to the centre.
    """
    size = torch.tensor(u.shape[1:], dtype=torch.float32)
    # Normalised coordinates are from -1 to 1 along each axis, last axis first.
    normalised = matrix * size[None] / size[:, None]
    theta = F.pad(normalised.flip(0, 1), (0, 1))[None].to(u)
    grid = F.affine_grid(theta, [1, 1, *u.shape[1:]], align_corners=False)
    return F.grid_sample(u[None], grid, padding_mode="zeros", align_corners=False)[0]


def translate(u: Tensor, shift: Sequence[int]) -> Tensor:
    """Shift a [1, X, Y, Z] volume by whole voxels, filling with 0."""
    return F.pad(u, [n for s in reversed(shift) for n in (s, -s)])


def change_intensity(u: Tensor, offset: float, contrast: float, gamma: float) -> Tensor:
    """Gamma, contrast about the mean, offset.

    The power's argument is bounded away from zero to keep the gradient finite; below zero, which
    only occurs in fakes, the curve is linear.
    """
    u = u * (u.clamp(min=0) + GAMMA_FLOOR) ** (gamma - 1)
    mean = u.mean()
    return (u - mean) * contrast + mean + offset


def cut_out(u: Tensor, center: Sequence[float]) -> Tensor:
    """Set a box of half the grid's side, around `center` in [0, 1], to 0, clipped to the grid."""
    mask = torch.ones_like(u)
    box: list[slice] = [slice(None)]
    for n, c in zip(u.shape[1:], center, strict=True):
        half = n * CUTOUT / 2
        box.append(slice(max(round(c * n - half), 0), max(round(c * n + half), 0)))
    mask[tuple(box)] = 0
    return u * mask


class Purpose(IntEnum):
    """Purpose of a generator; different purposes never share numbers."""

    DATA = 0
    LATENT = 2
    NOISE = 3
    AUGMENT_GENERATOR = 8
    AUGMENT_REAL = 9
    AUGMENT_FAKE = 10


CPU = torch.device("cpu")


def generators_for(
    seed: int, step: int, purpose: Purpose, samples: Iterable[int], device: torch.device = CPU
) -> list[torch.Generator]:
    """One random generator per sample of the global batch.

    On the CPU their numbers are independent of the device that uses them. For whole volumes of
    noise the CPU is too slow compared with a GPU, hence `device`.
    """
    found = []
    for sample in samples:
        words = np.random.SeedSequence((seed, step, int(purpose), int(sample))).generate_state(2)
        found.append(torch.Generator(device).manual_seed(int(words[0]) << 32 | int(words[1])))
    return found


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """Hexadecimal SHA-256 of the values of arrays, one after another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def in_epoch(number: int, count: int, *seed: int) -> int:
    """Which of `count` subjects a draw is: each once before any again, in new orders."""
    epoch, place = divmod(number, count)
    return int(np.random.default_rng([*seed, epoch]).permutation(count)[place])


def normal(
    generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device
) -> Tensor:
    """Standard normal numbers [len(generators), *shape]."""
    rows = [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
    return torch.stack(rows).to(device)


#: Of the augmentation of training volumes, see `augment`.
STRETCH, GAMMA = 0.7, 0.06


class Batches:
    """Endless batches of training volumes.

    Volumes and augmentation of a step depend only on seed and step number. Every epoch uses each
    volume once, in a new order.

    Parameters
    ----------
    samples : sequence of int, ndarray or None
        Numbers of this process's samples in each batch; all by default.
    """

    def __init__(
        self,
        pack: Pack,
        config: StyleGANSettings,
        samples: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self.pack = pack
        self.settings = config
        self.samples = np.arange(config.batch) if samples is None else np.asarray(samples)
        self.rows = pack.indices("train")

    def indices(self, step: int) -> np.ndarray:
        """Pack rows of this process's samples in the batch of `step`."""
        places = step * self.settings.batch + self.samples
        n, seed = len(self.rows), self.settings.seed
        return np.array([self.rows[in_epoch(int(place), n, seed)] for place in places])

    def batch(self, step: int) -> Tensor:
        """[samples, 1, X, Y, Z] in [-1, 1]"""
        settings = self.settings
        volumes = []
        generators = generators_for(settings.seed, step, Purpose.DATA, self.samples)
        for generator, row in zip(generators, self.indices(step), strict=True):
            volume = torch.from_numpy(unit(self.pack.volumes[row]))[None]
            volumes.append(
                augment(volume, generator, mirror=settings.mirror, stretch=STRETCH, gamma=GAMMA)
            )
        return torch.stack(volumes) * 2 - 1

    def stream(self, start: int, ahead: int = 1) -> Iterator[Tensor]:
        """Batches from step `start` on, prefetching `ahead` batches."""
        with ThreadPoolExecutor(ahead) as pool:
            pending: deque[Future[Tensor]] = deque()
            try:
                for step in count(start):
                    pending.append(pool.submit(self.batch, step))
                    if len(pending) > ahead:
                        yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def check_fit(config: GeneratorConfig, pack: Pack) -> None:
    """Raise ModelError if a generator makes other volumes than those of a dataset."""
    shape = config.image_grids[-1]
    if tuple(pack.space.shape) != shape:
        raise ModelError(
            f"The dataset has volumes of {pack.space.shape} voxels, but this preset makes "
            f"{shape}; choose another preset or prepare the scans on that grid."
        )
    if not len(pack.indices("train")):
        raise ModelError("The dataset has no training volumes; mark some as split 'train'.")


def check_mirror(pack: Pack, mirror: bool) -> None:
    """Raise ModelError if volumes that cannot be mirrored left to right are to be."""
    sideways = pack.space.axcodes[0] not in "LR"
    off_center = abs(pack.space.center_mm[0]) > pack.space.voxel_size[0] / 2
    if mirror and (sideways or off_center):
        raise ModelError(
            "The dataset's grid is not symmetric about the mid-sagittal plane along its first "
            "axis, so its volumes cannot be mirrored left to right; train with --no-mirror."
        )


def as_input(volumes: np.ndarray) -> Tensor:
    """Volumes of a dataset, uint8 (..., X, Y, Z), as networks see them: [1, ...] in [-1, 1]."""
    return torch.from_numpy(unit(volumes))[None] * 2 - 1


#: So many subjects stand for all of a large dataset where figures are measured.
MANY = 100


def fixed_volumes(pack: Pack, split: str, limit: int = MANY) -> Tensor:
    """At most `limit` volumes of a split, without augmentation, [n, 1, X, Y, Z] in [-1, 1]."""
    return as_input(pack.volumes[pack.indices(split, limit)]).transpose(0, 1)
