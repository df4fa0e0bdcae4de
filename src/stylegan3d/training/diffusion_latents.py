"""People's latents, varied, and what is known of their distribution without looking at the person.

Principal directions of a person's own latents describe them better than anybody else's: a network
that corrects such estimates would learn to trust them too much. The subjects are therefore dealt
into folds, and the Gaussian that a person is estimated with comes from the other folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.networks.autoencoder import LatentEncoder
from stylegan3d.networks.latent_gaussian import LatentGaussian
from stylegan3d.storage.files import atomic_file
from stylegan3d.training.augment import augment

FOLDS = 5
#: Of each subject: as scanned, mirrored, and so many stretched a little.
STRETCHED = 6
# Of a number's spread among subjects, the least that counts, as a share of the median.
LEAST_DEVIATION = 0.05
# Of the variance of a number, what is taken for left beside the directions at the least.
LEAST_REST = 1e-3


@dataclass(frozen=True, eq=False)
class People:
    """Standardised latents of the subjects to learn from.

    Attributes
    ----------
    latents : ndarray, shape (subjects, variants, D), float16
        The first two are as scanned, and mirrored.
    center, scale : Tensor, shape (D,)
        That they were standardised with.
    folds : ndarray, shape (subjects,)
        Folds of each subject.
    gaussians : list of LatentGaussian
        For each fold, from the subjects of the others.
    all : LatentGaussian
        From everybody.
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
        """What others' Gaussian says of these subjects' noisy latents, [N, D]."""
        out = torch.empty_like(x)
        for fold in np.unique(self.folds[rows]):
            of = torch.from_numpy(np.flatnonzero(self.folds[rows] == fold))
            out[of] = self.gaussians[fold].denoise(x[of], sigma[of])
        return out


def most_directions(people: int) -> int:
    """Principal directions that so many subjects with their mirror images have in every fold.

    Raises
    ------
    ModelError
        If there are too few subjects for folds.
    """
    if people < FOLDS:
        raise ModelError(
            f"A diffusion learns from {FOLDS} people at the least, but there are {people}: add "
            "more scans."
        )
    return 2 * (people - -(-people // FOLDS)) - 1


def people_of(latents: np.ndarray, directions: int) -> People:
    """What is known of latents [subjects, variants, D], `most_directions` at the most."""
    count = len(latents)
    plain = torch.from_numpy(latents[:, :2].astype(np.float32))
    center = plain.mean(dim=(0, 1))
    scale = (plain - center).square().mean(dim=(0, 1)).sqrt()
    scale = scale.clamp(min=LEAST_DEVIATION * float(scale.median()))
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
    # Of subjects who had no part in a direction it has the variance that will be met.
    spread = torch.stack(variances).mean(dim=0).sort(descending=True).values
    rest = torch.stack(rests).mean().clamp(min=LEAST_REST)
    spread = spread.clamp(min=float(rest))
    gaussians = [LatentGaussian.of(basis, spread, rest) for basis in bases]
    everybody = LatentGaussian.of(principal(plain.flatten(0, 1), directions), spread, rest)
    return People(latents, center, scale, folds, gaussians, everybody)


def principal(rows: Tensor, count: int) -> Tensor:
    """Orthonormal principal directions [count, D] of rows [N, D] about zero."""
    rows = rows.double()
    _, vectors = torch.linalg.eigh(rows @ rows.T)
    best = vectors.flip(1)[:, :count]
    # Where next to nothing is left the directions found so are not quite at right angles.
    return torch.linalg.qr((best.T @ rows).T).Q.T.float().contiguous()


@torch.inference_mode()
def varied_latents(
    encode: LatentEncoder,
    pack: Pack,
    path: Path,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Latents of the training subjects and of variants of theirs, float16 [subjects, variants, D].

    They are kept in the file `path`, for encoding takes minutes, and read from there if they are
    as many as these.
    """
    rows = pack.indices("train")
    size = (len(rows), 2 + STRETCHED, int(np.prod(_latent_of(encode, pack).shape)))
    if path.is_file():
        try:
            kept = np.load(path, mmap_mode="r")
        except ValueError:  # cut short
            kept = None
        if kept is not None and kept.shape == size:
            return np.asarray(kept)
    found = np.empty(size, np.float16)
    for done, row in enumerate(rows):
        volume = torch.from_numpy(pack.volumes[row].astype(np.float32) / 255)[None]
        variants = [volume, volume.flip(1)]
        for variant in range(STRETCHED):
            source = torch.Generator().manual_seed(seed * 1_000_003 + done * STRETCHED + variant)
            variants.append(augment(volume, source, stretch=1.0, gamma=0.06))
        for place, one in enumerate(variants):
            found[done, place] = encode(one[None] * 2 - 1)[0, 0].numpy()
        if progress:
            progress(done + 1, len(rows))
    with atomic_file(path) as file:
        np.save(file, found)
    return found


@torch.inference_mode()
def _latent_of(encode: LatentEncoder, pack: Pack) -> Tensor:
    volume = torch.from_numpy(pack.template).float()[None, None] * 2 - 1
    return encode(volume)[0, 0]
