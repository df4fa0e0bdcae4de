"""One projection as an optimisation problem: variables, target and objective.

The objective is a multi-resolution difference and a prior on the latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import BRIGHTEST, filled_box, to_display
from stylegan3d.measures.similarity import SSIM_K1, SSIM_K2, SSIM_SIGMA, SSIM_TRUNCATE
from stylegan3d.memory import keep_large_blocks
from stylegan3d.model.family import held
from stylegan3d.model.generator import Generator, network_of, tunable
from stylegan3d.model.random_latents import diagonal, is_long
from stylegan3d.networks.memo import Noise
from stylegan3d.networks.resampling import along_axes, gaussian_matrix
from stylegan3d.networks.synthesis import LeveledSynthesis
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.operators import Identity
from stylegan3d.recipe.latents import NOISE, Delta
from stylegan3d.recipe.model import seed_latents

SAMPLES = 4096
PRIOR_SEED = 0
# As a share of the largest deviation, so that no direction is excluded.
LEAST_DEVIATION = 1e-2


def multiscale_mse(made: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """Mean squared error at full resolution and after each of `scales - 1` halvings, averaged.

    At full resolution an edge that is off by one voxel costs as much as one that is off by five;
    the coarse terms distinguish them and provide a useful gradient.

    Parameters
    ----------
    made, target : Tensor, shape (N, C, X, Y, Z)
    scales : int
        At most as many as the grid permits.
    """
    total, used = F.mse_loss(made, target), 1
    while used < scales and min(made.shape[2:]) >= 4:
        made, target = F.avg_pool3d(made, 2), F.avg_pool3d(target, 2)
        total, used = total + F.mse_loss(made, target), used + 1
    return total / used


class MaskedSSIM:
    """Mean structural similarity to one volume inside a mask; differentiable.

    The same number as in `measures.similarity` (Wang et al. 2004), computed only where the mask
    needs it: the Gaussian window is one small matrix per axis, from the mask's bounding box with a
    margin to the box.

    Parameters
    ----------
    target : Tensor, shape (1, 1, X, Y, Z)
        Values in [-1, 1].
    mask : ndarray, shape (X, Y, Z), bool
        Not empty.
    """

    def __init__(self, target: Tensor, mask: np.ndarray) -> None:
        self._windows: list[Tensor] = []
        seen: list[slice] = []
        box = filled_box(mask)
        for length, side in zip(mask.shape, box, strict=True):
            window, place = _gaussian_rows(length, side)
            self._windows.append(window.to(target.device))
            seen.append(place)
        self._seen = (slice(None), slice(None), *seen)
        weight = torch.from_numpy(mask[box]).to(target.device, torch.float32)
        self._weight = weight / weight.sum()
        self._target = self._displayed(target)
        blurred = along_axes(torch.cat([self._target, self._target.square()], 1), self._windows)
        self._mean = blurred[:, :1]
        self._variance = blurred[:, 1:] - self._mean.square()

    def __call__(self, made: Tensor) -> Tensor:
        """Similarity of [1, 1, X, Y, Z] in [-1, 1] to the target; 1 if equal."""
        x = self._displayed(made)
        three = torch.cat([x, x.square(), x * self._target], dim=1)
        mean, square, product = along_axes(three, self._windows).split(1, dim=1)
        variance, covariance = square - mean.square(), product - mean * self._mean
        c1, c2 = SSIM_K1**2, SSIM_K2**2
        luminance = (2 * mean * self._mean + c1) / (mean.square() + self._mean.square() + c1)
        structure = (2 * covariance + c2) / (variance + self._variance + c2)
        return (luminance * structure * self._weight).sum()

    def _displayed(self, image: Tensor) -> Tensor:
        """The image in display units, cropped to what the windows cover."""
        return ((image[self._seen] + 1) / 2).clamp(0, BRIGHTEST)


def _gaussian_rows(length: int, rows: slice) -> tuple[Tensor, slice]:
    """Gaussian windows around voxels of an axis, mirrored at its ends.

    Returns
    -------
    tuple of (Tensor, slice)
        Matrix [rows, columns], and the voxels that the columns stand for.
    """
    reach = int(SSIM_TRUNCATE * SSIM_SIGMA + 0.5)
    windows = gaussian_matrix(length, SSIM_SIGMA, "reflect", SSIM_TRUNCATE)
    columns = slice(max(rows.start - reach, 0), min(rows.stop + reach, length))
    return windows[rows, columns].clone(), columns


@dataclass(frozen=True)
class LatentPrior:
    """The distribution of w over random brains, as a Gaussian.

    Attributes
    ----------
    mean : Tensor, shape (w_dim,)
    root : Tensor, shape (w_dim, w_dim)
        w = mean + root @ u with u ~ N(0, I) (eigenvectors times their standard deviations, the
        smallest raised so that no direction is excluded). For long latents the diagonal, [w_dim].
    inverse : Tensor
        Inverse of `root`, of the same shape.
    """

    mean: Tensor
    root: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, generator: Generator) -> LatentPrior:
        """Fit to `SAMPLES` mapped z; for long latents the family's own statistics."""
        if is_long(generator):
            mean, deviations = diagonal(generator)
            deviations = deviations.clamp(min=float(deviations.max()) * LEAST_DEVIATION)
            return cls(mean, deviations, 1 / deviations)
        z = np.random.RandomState(PRIOR_SEED).randn(SAMPLES, generator.z_dim)
        w = generator.map(torch.from_numpy(z).float())[:, 0]
        values, vectors = torch.linalg.eigh(torch.cov(w.T))
        deviations = values.clamp(min=float(values.max()) * LEAST_DEVIATION**2).sqrt()
        root = vectors * deviations
        return cls(w.mean(dim=0), root, (vectors / deviations).T)

    @property
    def is_diagonal(self) -> bool:
        """Whether the covariance is diagonal, as for long latents."""
        return self.root.ndim == 1

    def whiten(self, w: Tensor) -> Tensor:
        """w [..., w_dim] -> u [..., w_dim], standard normal for random brains."""
        away = w - self.mean
        return away * self.inverse if self.is_diagonal else away @ self.inverse.T

    def color(self, u: Tensor) -> Tensor:
        """Inverse of `whiten`."""
        return self.mean + (u * self.root if self.is_diagonal else u @ self.root.T)

    @property
    def deviations(self) -> Tensor:
        """Standard deviation of each component of w, [w_dim]."""
        return self.root if self.is_diagonal else self.root.square().sum(dim=1).sqrt()

    def distance(self, w: Tensor) -> float:
        """Root mean square of the whitened latent: about 1 for a random brain.

        The Mahalanobis distance divided by sqrt(w_dim), over all rows of w [..., w_dim].
        """
        return float(self.whiten(w).square().mean().sqrt())


PRIOR_WEIGHT = {"w": 2e-4, "w+": 4e-4, "w+noise": 4e-4}
# Number of random brains to which an operator with unknown parameters is adapted.
KNOWN_BRAINS = 16
# Weight of 1 - SSIM inside the brain, relative to the squared difference.
SSIM_WEIGHT = 0.115


class Problem:
    """The target at every level, the latent (and noise maps) being fitted.

    Attributes
    ----------
    u : Tensor, shape (num_layers or 1, w_dim)
        The latent in whitened coordinates, each principal direction of w in its own standard
        deviations, so that one step size suits all.
    noise : Noise
        One map per layer, None for layers without; optimised with `fit_noise`. For a family without
        maps, the noise as given.
    start : Tensor or None
        Where the search begins: "encoder", "average" or "given".
    """

    def __init__(
        self,
        generator: Generator,
        volume: np.ndarray,
        mask: np.ndarray,
        space: str,
        noise: Noise,
        channel: int,
        operator: Operator,
        data: Tensor | None = None,
        *,
        fit_noise: bool = False,
        start: Tensor | None = None,
    ) -> None:
        keep_large_blocks()
        self.generator = generator
        self.space = space
        self.channel = channel
        self.prior = LatentPrior.of(generator)
        self.dtype = fast_dtype(generator.device)
        self.operator = operator
        self.scan = self._image(volume)
        self.target = operator.observe(self.scan) if data is None else data.to(self.scan)
        self.ssim = MaskedSSIM(self.scan, mask) if isinstance(operator, Identity) else None
        self.noise = held(generator.synthesis, noise)
        if operator.adapts:
            operator.adapt(self._random_brains(), self.target)
        self.initial = self._initial() if start is None else self._given(start)
        self.u = self.prior.whiten(self.initial).clone().requires_grad_(True)
        if fit_noise:
            generator.require("noise_maps")
            maps = [m for m in self.maps if m is not None]
            self.noise = [m.clone().requires_grad_(True) for m in maps]

    @torch.no_grad()
    def _random_brains(self) -> Tensor:
        """[KNOWN_BRAINS, 1, X, Y, Z]"""
        latents = seed_latents(self.generator, range(KNOWN_BRAINS))
        return torch.cat([self.synthesize(w) for w in latents])

    @torch.no_grad()
    def _initial(self) -> Tensor:
        """The encoder's estimate or the average brain, whichever is closer; [L or 1, D]"""
        rows = 1 if self.space == "w" else self.generator.num_layers
        candidates = {"average": self.generator.w_avg.expand(rows, -1)}
        if self.generator.encoder is not None:
            whole = self.operator.fill(self.scan, self._image(self.mean_brain()))
            guess = self.generator.encoder(whole)[0]
            candidates["encoder"] = guess if rows > 1 else guess.mean(dim=0, keepdim=True)
        losses = {k: float(self.difference(self.synthesize(w))) for k, w in candidates.items()}
        self.start = min(losses, key=lambda k: losses[k])
        return candidates[self.start]

    def _given(self, w: Tensor) -> Tensor:
        """[num_layers, w_dim] chosen by the caller -> [L or 1, D]"""
        self.start = "given"
        w = w.to(self.generator.device, torch.float32)
        return w.mean(dim=0, keepdim=True) if self.space == "w" else w

    def _image(self, volume: np.ndarray) -> Tensor:
        """(X, Y, Z) in [0, 1] -> [1, 1, X, Y, Z] in [-1, 1]"""
        image = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))
        return image[None, None].to(self.generator.device) * 2 - 1

    @torch.no_grad()
    def simulate(self, brain: np.ndarray) -> np.ndarray:
        """The simulated scan (X, Y, Z) in [0, 1] of a brain."""
        if isinstance(self.operator, Identity):
            return brain
        return ((self.operator.simulate(self._image(brain))[0, 0] + 1) / 2).cpu().numpy()

    def rows(self, w: Tensor) -> Tensor:
        """[L or 1, D] -> [L, D]"""
        return w.expand(self.generator.num_layers, -1)

    @property
    def w(self) -> Tensor:
        """Current w, [L, D]."""
        return self.rows(self.prior.color(self.u.detach()))

    @property
    def maps(self) -> list[Tensor | None]:
        """The noise maps; empty for a family without."""
        return self.noise if isinstance(self.noise, list) else []

    @property
    def fitted_noise(self) -> list[Tensor]:
        """The noise maps that are optimised, if any."""
        return [m for m in self.maps if m is not None and m.requires_grad]

    def synthesize(
        self,
        w: Tensor,
        level: int = -1,
        dtype: torch.dtype | None = None,
        synthesis: LeveledSynthesis | None = None,
    ) -> Tensor:
        """[L or 1, D] -> the matched channel, [1, 1, X, Y, Z], with another network if given.

        In this machine's fastest precision unless `dtype` is given.
        """
        network = synthesis or self.generator.synthesis
        made = network(self.rows(w)[None], self.noise, level, dtype or self.dtype)
        return made[:, self.channel : self.channel + 1]

    def difference(self, made: Tensor) -> Tensor:
        """Difference between an image of any level and the scan."""
        factor = self.scan.shape[2] // made.shape[2]
        operator = self.operator.coarse(factor) if factor > 1 else self.operator
        assert operator is not None  # the plan has no coarse levels then
        target = F.avg_pool3d(self.target, factor) if factor > 1 else self.target
        loss = multiscale_mse(operator(made), target)
        if factor > 1 or self.ssim is None:
            return loss
        return loss + SSIM_WEIGHT * (1 - self.ssim(made))

    def objective(self, made: Tensor) -> Tensor:
        """Difference of an image of the current latent, plus the latent's prior term."""
        return self.difference(made) + self.u.square().mean() * PRIOR_WEIGHT[self.space]

    @torch.no_grad()
    def normalise_noise(self) -> None:
        """Normalise fitted noise maps to zero mean and unit variance, like random noise."""
        for noise in self.fitted_noise:
            noise -= noise.mean()
            noise /= noise.square().mean().sqrt().clamp(min=1e-8)

    def delta(self, changed: Mapping[str, Tensor] | None = None) -> Delta | None:
        """The delta of fitted noise maps and of the weights `changed`."""
        after = dict(changed or {})
        if not after and not self.fitted_noise:
            return None
        network = network_of(self.generator)
        if self.fitted_noise:
            after |= dict(zip(noise_names(network), self.fitted_noise, strict=True))
        return Delta.between(tunable(network), after)

    @torch.no_grad()
    def best(
        self, candidates: list[tuple[Tensor, Delta | None]], noise: Noise
    ) -> tuple[Tensor, Delta | None, np.ndarray]:
        """The best of several results in full precision, as it will be shown.

        Parameters
        ----------
        candidates : list of tuple of (Tensor, Delta or None)
            Latents [L or 1, D] with their deltas.
        noise : Noise
            Layer noise they are shown with.

        Returns
        -------
        tuple of (Tensor, Delta or None, ndarray)
            w [L, D] on the CPU, its delta, its volume (X, Y, Z) in display units.
        """
        found: tuple[float, Tensor, Delta | None, Tensor] | None = None
        for w, delta in candidates:
            shown = self.generator if delta is None else self.generator.tuned(delta)
            made = shown.synthesis(self.rows(w)[None], noise, -1, torch.float32)
            loss = float(self.difference(made[:, self.channel : self.channel + 1]))
            if found is None or loss < found[0]:
                found = loss, w, delta, made
        assert found is not None
        _, w, delta, made = found
        return (self.rows(w).detach().cpu().clone(), delta, to_display(made, self.channel)[0])

    @torch.no_grad()
    def mean_brain(self) -> np.ndarray:
        """The average brain (X, Y, Z) in the matched channel."""
        if self.channel == 0:
            return self.generator.template
        average = self.rows(self.generator.w_avg[None])
        made = self.generator.synthesis(average[None], "none", -1, torch.float32)
        return to_display(made, self.channel)[0]


def noise_names(synthesis: LeveledSynthesis) -> list[str]:
    """Names of the stored noise maps, in the order of `LeveledSynthesis.noise_maps`."""
    by_map = {id(m): k for k, m in synthesis.named_buffers() if k.endswith(NOISE)}
    return [by_map[id(m)] for m in synthesis.stored_noise]
