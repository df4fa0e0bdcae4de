"""Augmented latents of subjects with cross-fitted Gaussian estimates.

Principal directions fitted to a subject describe it better than unseen subjects: a network that
corrects such estimates would learn to trust them too much. So subjects are divided into folds, and
each is estimated with the Gaussian of the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.networks.autoencoder import LatentEncoder
from stylegan3d.networks.latent_gaussian import LatentGaussian
from stylegan3d.progress import Progress
from stylegan3d.storage.files import atomic_file
from stylegan3d.training.augment import augment

FOLDS = 5
#: Variants of each subject: original, mirrored, and slightly stretched ones.
STRETCHED = 6
# Least standard deviation of a latent's number, as a share of the median.
LEAST_DEVIATION = 0.05
# Least residual variance besides the directions, as a share of the variance.
LEAST_REST = 1e-3


@dataclass(frozen=True, eq=False)
class People:
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
            f"A diffusion needs at least {FOLDS} subjects, but there are {people}: add more scans."
        )
    return 2 * (people - -(-people // FOLDS)) - 1


def people_of(latents: np.ndarray, directions: int) -> People:
    """Fit to latents [subjects, variants, D], with at most `most_directions`."""
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
    # Variances along a direction are those of held-out subjects.
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
    # Directions with hardly any variance are not exactly orthogonal.
    return torch.linalg.qr((best.T @ rows).T).Q.T.float().contiguous()


@torch.inference_mode()
def varied_latents(
    encode: LatentEncoder,
    pack: Pack,
    path: Path,
    seed: int,
    progress: Progress | None = None,
) -> np.ndarray:
    """Latents of the training subjects and their variants, float16 [subjects, variants, D].

    Cached in the file `path`, since encoding takes minutes.
    """
    rows = pack.indices("train")
    size = (len(rows), 2 + STRETCHED, int(np.prod(_latent_of(encode, pack).shape)))
    if path.is_file():
        try:
            kept = np.load(path, mmap_mode="r")
        except ValueError:  # truncated
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
