"""A diffusion of latents: noise to the latents of an autoencoder, the same way each time.

The network estimates the latent beneath noise (Karras et al. 2022, arXiv 2206.00364), beginning at
the estimate of a normal distribution (`latent_gaussian.py`) and correcting it. Brains are drawn
along the probability flow without chance on the way (DDIM, Song et al. 2021, arXiv 2010.02502, with
the second-order multistep of DPM-Solver++, Lu et al. 2022, arXiv 2211.01095), so that a seed is
always the same brain, and a brain leads back to its noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.autoencoder import Convolution
from stylegan3d.networks.config import known_fields
from stylegan3d.networks.convolution import conv3d
from stylegan3d.networks.latent_gaussian import LatentGaussian
from stylegan3d.plain import Json

EMBEDDING = 128
FREQUENCIES = 16
# Groups of channels that are normalised together.
GROUPS = 8


@dataclass(frozen=True)
class DiffusionConfig:
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
            raise ModelError("A diffusion needs at least one channel, block and direction.")
        if any(width % GROUPS for width in self.channels):
            raise ModelError(f"The channels of a diffusion must be multiples of {GROUPS}.")
        if not 0 < self.least < self.most < math.inf:
            raise ModelError("A diffusion's least noise lies between zero and its most.")

    @property
    def w_dim(self) -> int:
        """Numbers of a latent."""
        return math.prod(self.latent)

    def to_dict(self) -> Json:
        """As a card holds it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DiffusionConfig:
        """Inverse of `to_dict`; TypeError, ValueError or ModelError for what cannot be one."""
        return cls(**known_fields(cls, data))


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
        self.embedding = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, EMBEDDING),
            nn.SiLU(),
            nn.Linear(EMBEDDING, EMBEDDING),
            nn.SiLU(),
        )
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
        self, x: Tensor, estimate: Tensor, sigma: Tensor, check: Callable[[], None] = lambda: None
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
        check: Callable[[], None] = lambda: None,
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
        self,
        z: Tensor,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Callable[[], None] = lambda: None,
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
        check: Callable[[], None] = lambda: None,
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

    def _drawn(
        self, x: Tensor, levels: list[float], dtype: torch.dtype, check: Callable[[], None]
    ) -> Tensor:
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

    def invert(
        self,
        w: Tensor,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Callable[[], None] = lambda: None,
        rounds: int = 3,
    ) -> Tensor:
        """Latents w [N, D] -> the z [N, D] that `draw` makes them of, nearly.

        The way back by the implicit step: x is sought from which the step would have come here, by
        `rounds` of fixed-point iteration.
        """
        levels = self.levels(steps)
        x = (w - self.center) / self.scale
        # The last step lands on the estimate itself and forgets the noise: there, none is assumed.
        for sigma, following in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
            if following == 0:
                continue
            arrived = x
            for _ in range(rounds):
                found = self._found(x, sigma, dtype, check)
                x = found + (sigma / following) * (arrived - found)
        return self.gaussian.to_normal(x, levels[0])

    def _found(
        self,
        x: Tensor,
        sigma: float,
        dtype: torch.dtype,
        check: Callable[[], None],
    ) -> Tensor:
        """The standardised latents beneath noisy ones; see `draw`."""
        noise = x.new_full((len(x),), sigma)
        linear = self.gaussian.denoise(x, noise)
        missed = self.missed(x, linear, noise, dtype, check)
        return linear + self.gaussian.error(noise).sqrt()[:, None] * missed
