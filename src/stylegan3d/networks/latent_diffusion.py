"""A diffusion of latents: noise to the latents of an autoencoder, the same way each time.

The network estimates the latent beneath noise (Karras et al. 2022, arXiv 2206.00364), beginning at
the estimate of a normal distribution (`LatentGaussian`) and correcting it. Brains are drawn
along the probability flow without chance on the way (DDIM, Song et al. 2021, arXiv 2010.02502, with
the second-order multistep of DPM-Solver++, Lu et al. 2022, arXiv 2211.01095), so that a seed is
always the same brain, and a brain leads back to its noise.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.base import ModelError, current_effort
from stylegan3d.devices import measured_dtype
from stylegan3d.networks.autoencoder import Convolution
from stylegan3d.networks.config import Config
from stylegan3d.networks.flow import embedding_of
from stylegan3d.networks.memo import Check
from stylegan3d.networks.resampling import conv3d

EMBEDDING = 128
FREQUENCIES = 16
# Groups of channels that are normalised together.
GROUPS = 8
#: Rounds of fixed-point iteration for each step of the way back.
ROUNDS = 3


@dataclass(frozen=True)
class DiffusionConfig(Config):
    """Shape of the network and of the way from noise.

    Attributes
    ----------
    latent : tuple of int
        [C, X, Y, Z] of the autoencoder's latents.
    channels : tuple of int
        Widths on the latents' grid and on its half.
    blocks : int
        Residual blocks on each, on the way down and once more on the way up.
    directions : int
        Directions of the normal distribution, see `LatentGaussian`.
    most, least : float
        Noise at which the network begins and ends, in standard deviations of latents.
    """

    latent: tuple[int, int, int, int] = (16, 10, 14, 12)
    channels: tuple[int, int] = (96, 192)
    blocks: int = 2
    directions: int = 64
    most: float = 20.0
    least: float = 0.1

    def __post_init__(self) -> None:
        if min(*self.latent, *self.channels, self.blocks, self.directions) < 1:
            raise ModelError("Diffusion needs at least one channel, block and direction.")
        if any(width % GROUPS for width in self.channels):
            raise ModelError(f"The channels of a diffusion must be multiples of {GROUPS}.")
        if not 0 < self.least < self.most < math.inf:
            raise ModelError("Minimum diffusion noise must lie between zero and the maximum.")

    @property
    def w_dim(self) -> int:
        """Numbers of a latent."""
        return math.prod(self.latent)


class TimedBlock(nn.Module):
    """x plus two convolutions of it; how much noise there is scales and shifts between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.GroupNorm(GROUPS, channels)
        self.first = Convolution(channels, channels)
        self.between = nn.GroupNorm(GROUPS, channels)
        self.second = Convolution(channels, channels)
        self.time = nn.Linear(EMBEDDING, 2 * channels)
        for parameter in (*self.time.parameters(), *self.second.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[N, channels, X, Y, Z], [N, EMBEDDING] -> the same shape."""
        gain, shift = self.time(time)[:, :, None, None, None].chunk(2, dim=1)
        inner = self.first(F.silu(self.before(x)))
        inner = self.between(inner) * (1 + gain) + shift
        out: Tensor = x + self.second(F.silu(inner))
        return out


class Attention(nn.Module):
    """Every place looks at every other (Vaswani et al. 2017), four heads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = 4
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.ask = nn.Linear(channels, 3 * channels)
        self.answer = nn.Linear(channels, channels)
        for parameter in self.answer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, X, Y, Z], the same shape."""
        n, c = x.shape[:2]
        places = self.norm(x).flatten(2).transpose(1, 2)
        parts = self.ask(places).view(n, -1, 3, self.heads, c // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value)
        found = self.answer(found.transpose(1, 2).reshape(n, -1, c))
        return x + found.transpose(1, 2).reshape(x.shape)


class Correction(nn.Module):
    """The U-Net: noisy latents and the Gaussian's estimate to what that estimate misses."""

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        a, b = config.channels
        c, *grid = config.latent
        self.embedding = embedding_of(2 * FREQUENCIES, EMBEDDING)
        self.stem = Convolution(2 * c, a)
        # Brains are aligned: every place has its own meaning.
        self.places = nn.Parameter(torch.zeros(1, a, *grid))
        self.down = nn.ModuleList(TimedBlock(a) for _ in range(config.blocks))
        self.halve = Convolution(a, b, 2)
        self.deep = nn.ModuleList(TimedBlock(b) for _ in range(2 * config.blocks))
        self.attention = Attention(b)
        self.narrow = nn.Conv3d(b, a, 1)
        self.up = nn.ModuleList(TimedBlock(a) for _ in range(config.blocks))
        self.head = Convolution(a, c)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, x: Tensor, estimate: Tensor, sigma: Tensor, check: Check = lambda: None
    ) -> Tensor:
        """[N, C, X, Y, Z] twice, sigma [N] -> [N, C, X, Y, Z], in units of the residual.

        `check` is called between the layers; what it raises ends the work.
        """
        octaves = torch.exp(torch.linspace(-1.5, 2, FREQUENCIES, device=x.device))
        angles = sigma.log()[:, None] * octaves
        time = self.embedding(torch.cat([angles.sin(), angles.cos()], dim=1))
        scaled = x / (1 + sigma.square()).sqrt()[:, None, None, None, None]
        fine = self.stem(torch.cat([scaled, estimate], dim=1)) + self.places
        for block in self.down:
            fine = block(fine, time)
            check()
        half = self.halve(fine)
        for number, block in enumerate(self.deep):
            if 2 * number == len(self.deep):
                half = self.attention(half)
            half = block(half, time)
            check()
        # Odd axes: the half of 7 is 4, its double 8.
        back = F.interpolate(
            conv3d(half, self.narrow.weight, self.narrow.bias), scale_factor=2, mode="nearest"
        )
        x_size, y_size, z_size = fine.shape[2:]
        fine = fine + back[:, :, :x_size, :y_size, :z_size]
        for block in self.up:
            fine = block(fine, time)
            check()
        return self.head(F.silu(fine)).float()


class LatentDiffusion(nn.Module):
    """Everything between noise and latents.

    Attributes
    ----------
    center, scale : Tensor, shape (D,)
        Latents are standardised with them.
    gaussian : LatentGaussian
        Gaussian of standardised latents.
    correction : Correction
        The network.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("center", torch.zeros(config.w_dim))
        self.register_buffer("scale", torch.ones(config.w_dim))
        self.gaussian = LatentGaussian(config.directions, config.w_dim)
        self.correction = Correction(config)

    def missed(
        self,
        x: Tensor,
        estimate: Tensor,
        sigma: Tensor,
        dtype: torch.dtype = torch.float32,
        check: Check = lambda: None,
    ) -> Tensor:
        """What a Gaussian's estimate [N, D] of the latents beneath x [N, D] misses, [N, D].

        In units of the error that is expected of it, `LatentGaussian.error`.
        """
        shape = (len(x), *self.config.latent)
        low = dtype != torch.float32
        with torch.autocast(x.device.type, dtype if low else None, enabled=low):
            found: Tensor = self.correction(x.view(shape), estimate.view(shape), sigma, check)
        return found.flatten(1)

    def levels(self, steps: int) -> list[float]:
        """Noise at each step, from the most to the least, in equal ratios; the last is 0."""
        ratio = self.config.least / self.config.most
        way = [self.config.most * ratio ** (k / max(steps - 1, 1)) for k in range(steps)]
        return [*way, 0.0]

    def draw(
        self, z: Tensor, steps: int, dtype: torch.dtype = torch.float32, check: Check = lambda: None
    ) -> Tensor:
        """Standard normal z [N, D] -> latents w [N, D], float32.

        Parameters
        ----------
        steps : int
            Evaluations of the network.
        dtype : torch.dtype
            Precision of the network's feature maps.
        check : callable
            Called between layers; what it raises ends the work.
        """
        levels = self.levels(steps)
        return self._drawn(self.gaussian.from_normal(z, levels[0]), levels, dtype, check)

    def varied(
        self,
        w: Tensor,
        z: Tensor,
        sigma: float,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Check = lambda: None,
    ) -> Tensor:
        """Latents w [N, D] with noise z [N, D], standard normal, taken off again (Meng et al. 2022,
        SDEdit, arXiv 2108.01073): brains like them, made as random ones are.

        Parameters
        ----------
        sigma : float
            Sigma of the noise, in standard deviations of latents, at least.
        steps, dtype, check : int, torch.dtype, callable
            See `draw`; of the steps those below sigma are gone.
        """
        levels = self.levels(steps)
        first = max((k for k, level in enumerate(levels[:-1]) if level >= sigma), default=0)
        x = (w - self.center) / self.scale + levels[first] * z
        return self._drawn(x, levels[first:], dtype, check)

    def _drawn(self, x: Tensor, levels: list[float], dtype: torch.dtype, check: Check) -> Tensor:
        """Latents w beneath x, which has noise of the first of the levels."""
        before: Tensor | None = None
        for number, (sigma, following) in enumerate(pairwise(levels)):
            found = self._found(x, sigma, dtype, check)
            target = found
            if before is not None and following > 0:
                # Second order: where the estimate is going, from the last two of them.
                done = math.log(levels[number - 1] / sigma)
                share = math.log(sigma / following) / (2 * done)
                target = found + share * (found - before)
            x = target + (following / sigma) * (x - target)
            before = found
        return self.center + x * self.scale

    def invert(self, w: Tensor, steps: int, check: Check = lambda: None) -> Tensor:
        """Latents w [N, D] -> the z [N, D] that `draw` makes them of, nearly.

        The way back by the implicit step: x is sought from which the step would have come here, by
        `ROUNDS` of fixed-point iteration.
        """
        levels = self.levels(steps)
        x = (w - self.center) / self.scale
        # The last step lands on the estimate itself and forgets the noise: there, none is assumed.
        for sigma, following in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
            if following == 0:
                continue
            arrived = x
            for _ in range(ROUNDS):
                found = self._found(x, sigma, torch.float32, check)
                x = found + (sigma / following) * (arrived - found)
        return self.gaussian.to_normal(x, levels[0])

    def _found(self, x: Tensor, sigma: float, dtype: torch.dtype, check: Check) -> Tensor:
        """The standardised latents beneath noisy ones; see `draw`."""
        noise = x.new_full((len(x),), sigma)
        linear = self.gaussian.denoise(x, noise)
        missed = self.missed(x, linear, noise, dtype, check)
        return linear + self.gaussian.error(noise).sqrt()[:, None] * missed


class LatentGaussian(nn.Module):
    """Normal distribution of latents, each element standardised, and what noise makes of it.

    Along the principal directions of subjects' latents the variances are known, and one number
    stands for that of everything else. The mean of what lies beneath noise (Wiener's filter) and
    the way of the probability flow from the noise to a latent follow in closed form, so that a
    network has only to learn what is left (compare Wang, Vastola 2024, arXiv 2412.09726).

    Parameters
    ----------
    directions : int
        K, number of principal directions.
    numbers : int
        D, size of a latent.

    Attributes
    ----------
    basis : Tensor, shape (K, D)
        Orthonormal.
    variances : Tensor, shape (K,)
        Along them.
    rest : Tensor
        The variance in every direction that is orthogonal to all of these.
    middle : Tensor, shape (K,)
        Mean along them; that of the rest is zero.
    """

    basis: Tensor
    variances: Tensor
    rest: Tensor
    middle: Tensor

    def __init__(self, directions: int, numbers: int) -> None:
        super().__init__()
        self.register_buffer("basis", torch.zeros(directions, numbers))
        self.register_buffer("variances", torch.ones(directions))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("middle", torch.zeros(directions))

    @classmethod
    def of(
        cls, basis: Tensor, variances: Tensor, rest: Tensor, middle: Tensor | None = None
    ) -> LatentGaussian:
        """With these values."""
        made = cls(*basis.shape).to(basis.device)
        made.basis, made.variances, made.rest = basis, variances, rest
        if middle is not None:
            made.middle = middle
        return made

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, D] -> [N, K] along the directions, and the residual, [N, D]."""
        along = x @ self.basis.T
        return along, x - along @ self.basis

    def join(self, along: Tensor, left: Tensor) -> Tensor:
        """Inverse of `split`."""
        return left + along @ self.basis

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Posterior mean of the latents [N, D] given x [N, D] with noise of sigma [N]."""
        along, left = self.split(x)
        noise = sigma.square()[:, None]
        gain = self.variances / (self.variances + noise)
        along = self.middle + gain * (along - self.middle)
        return self.join(along, left * (self.rest / (self.rest + noise)))

    def error(self, sigma: Tensor) -> Tensor:
        """Mean squared error of `denoise` for a number, [N], if this were the distribution."""
        noise = sigma.square()[:, None]
        count, numbers = self.basis.shape
        along = (self.variances * noise / (self.variances + noise)).sum(dim=1)
        rest = (numbers - count) * (self.rest * noise / (self.rest + noise))[:, 0]
        return (along + rest) / numbers

    def from_normal(self, z: Tensor, sigma: float) -> Tensor:
        """Standard normal z [N, D] to latents with noise of sigma.

        It is where the probability flow (Song et al. 2021, arXiv 2011.13456) carries pure noise:
        the same numbers give the same latent at any sigma.
        """
        along, left = self.split(z)
        along = self.middle + along * (self.variances + sigma**2).sqrt()
        return self.join(along, left * (self.rest + sigma**2).sqrt())

    def to_normal(self, x: Tensor, sigma: float) -> Tensor:
        """Inverse of `from_normal`."""
        along, left = self.split(x)
        along = (along - self.middle) / (self.variances + sigma**2).sqrt()
        return self.join(along, left / (self.rest + sigma**2).sqrt())


#: Number of cached latents; with 27,000 numbers each takes a tenth of a megabyte.
KEPT = 256


class DiffusionMapping(nn.Module):
    """Standard normal z [N, D] -> latents w [N, D], with the requested effort, the recent cached.

    Parameters
    ----------
    diffusion : LatentDiffusion
        The networks.
    steps, preview_steps : int
        Network evaluations for a latent, and for a preview.
    """

    def __init__(self, diffusion: LatentDiffusion, steps: int, preview_steps: int) -> None:
        super().__init__()
        self.diffusion, self.steps, self.preview_steps = diffusion, steps, preview_steps
        self._kept: OrderedDict[tuple[bytes, bool], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map one by one, so that a latent does not depend on its batch."""
        return torch.stack([self._one(row) for row in z])

    def invert(self, w: Tensor) -> Tensor:
        """Latents [N, D] -> z [N, D], approximately."""
        return self.diffusion.invert(w, self.steps, check=current_effort().check)

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """See `family.HasVariations`."""
        sigma = strength / max(1 - strength**2, 1e-6) ** 0.5
        dtype = measured_dtype(z.device)
        return self.diffusion.varied(w, z, sigma, self.steps, dtype, current_effort().check)

    def _one(self, z: Tensor) -> Tensor:
        effort = current_effort()
        if effort.care == "rough":
            x = self.diffusion.gaussian.from_normal(z[None], 0.0)[0]
            return self.diffusion.center + x * self.diffusion.scale
        preview = effort.care == "preview"
        name = hashlib.sha256(z.detach().cpu().contiguous().numpy().tobytes()).digest()
        # A full-quality latent can be used for a preview, too.
        for quick in (False, True) if preview else (False,):
            known = self._known((name, quick))
            if known is not None:
                return known
        steps = self.preview_steps if preview else self.steps
        dtype = measured_dtype(z.device) if preview else torch.float32
        with torch.no_grad():
            w = self.diffusion.draw(z[None], steps, dtype, effort.check)[0]
        self._keep((name, preview), w)
        return w

    def _known(self, key: tuple[bytes, bool]) -> Tensor | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: tuple[bytes, bool], w: Tensor) -> None:
        with self._lock:
            self._kept[key] = w
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
