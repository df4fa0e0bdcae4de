"""A variational autoencoder of volumes (Kingma, Welling 2014, arXiv 1312.6114).

Its latent is a coarse grid of channels, with an eighth of the volume's resolution, as in latent
diffusion (Rombach et al. 2022, arXiv 2112.10752). Both networks work on Haar bands: half the grid
and eight times the channels, which is several times as fast on a CPU.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.base import ModelError
from stylegan3d.networks.config import LATENT_CHANNELS, LATENT_FACTOR, Config, Grid
from stylegan3d.networks.flow import Flow, Toe
from stylegan3d.networks.memo import Maps, Memo, Noise, NoMemo, drawn_noise
from stylegan3d.networks.resampling import CHANNELS_LAST, conv3d, haar, inverse_haar

# Limits of the log variance, so that its exponential fits reduced precision.
LOG_VARIANCE = (-20.0, 1.0)
# Initial log variance: with more noise a decoder learns to ignore the latent.
FIRST_LOG_VARIANCE = -6.0
# Seed of the fixed texture noise, which is regenerated since it would be larger than the flow.
FIXED_NOISE = 0


@dataclass(frozen=True)
class AutoencoderConfig(Config):
    """Shape of an autoencoder.

    Attributes
    ----------
    shape : Grid
        Voxels of a volume, each a multiple of `LATENT_FACTOR`.
    latent_channels : int
        Channels of the latent.
    channels : tuple of int
        Widths at half, quarter and an eighth of the resolution.
    blocks : tuple of int
        Residual blocks of the decoder at each resolution; the encoder has one each.
    """

    shape: Grid = (80, 112, 96)
    latent_channels: int = LATENT_CHANNELS
    channels: tuple[int, int, int] = (32, 64, 96)
    blocks: tuple[int, int, int] = (1, 2, 3)

    def __post_init__(self) -> None:
        if any(n < LATENT_FACTOR or n % LATENT_FACTOR for n in self.shape):
            raise ModelError(
                f"An autoencoder takes volumes whose axes are multiples of {LATENT_FACTOR} voxels, "
                f"not {' x '.join(map(str, self.shape))}; prepare the dataset on such a grid."
            )
        if min(self.latent_channels, *self.channels) < 1 or min(self.blocks) < 0:
            raise ModelError("An autoencoder has at least one channel everywhere.")

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """[C, X/8, Y/8, Z/8]"""
        x, y, z = (n // LATENT_FACTOR for n in self.shape)
        return self.latent_channels, x, y, z

    @property
    def w_dim(self) -> int:
        """Size of a latent."""
        return math.prod(self.latent_shape)


class Convolution(nn.Conv3d):
    """3x3x3 convolution in the precision of its input, or that of autocast."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z] -> [N, outputs, X / stride, ...]"""
        x = x.contiguous(memory_format=CHANNELS_LAST)
        weight = self.weight.to(x.dtype).contiguous(memory_format=CHANNELS_LAST)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return conv3d(x, weight, bias, self.stride, self.padding)


class ResidualBlock(nn.Module):
    """Residual block with two convolutions, the second initialised to zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = Convolution(channels, channels)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, X, Y, Z], the same shape."""
        return x + self.second(F.silu(self.first(F.silu(x))))


class Autoencoder(nn.Module):
    """Encoder and decoder."""

    mean: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.channels
        latent = config.latent_channels
        one, two, three = config.blocks
        self.encoder = nn.Sequential(
            Convolution(8, a),
            ResidualBlock(a),
            Convolution(a, b, 2),
            ResidualBlock(b),
            Convolution(b, c, 2),
            ResidualBlock(c),
            ResidualBlock(c),
            Convolution(c, 2 * latent),
        )
        last = self.encoder[-1]
        assert isinstance(last, Convolution)
        assert last.bias is not None
        nn.init.constant_(last.bias[latent:], FIRST_LOG_VARIANCE)
        self.decoder = nn.Sequential(
            Convolution(latent, c),
            *(ResidualBlock(c) for _ in range(three)),
            Convolution(c, b),
            nn.Upsample(scale_factor=2),
            *(ResidualBlock(b) for _ in range(two)),
            Convolution(b, a),
            nn.Upsample(scale_factor=2),
            *(ResidualBlock(a) for _ in range(one)),
            nn.SiLU(),
            Convolution(a, 8),
        )
        # The mean brain, to which the decoder learns the difference.
        self.register_buffer("mean", torch.zeros(1, 8, *(n // 2 for n in config.shape)))

    def encode(self, volume: Tensor, usual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents, float32 [N, C, X/8, Y/8, Z/8].

        Parameters
        ----------
        volume : Tensor, shape (N, 1, X, Y, Z)
            Values in [-1, 1], whole or crops.
        usual : Tensor or None
            Bands [N, 8, X/2, Y/2, Z/2] of the mean brain at the crops.
        """
        bands = haar(volume) - (self.mean if usual is None else usual)
        mean, log_variance = self.encoder(bands).float().chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(self, latent: Tensor, usual: Tensor | None = None) -> Tensor:
        """Latents [N, C, X/8, Y/8, Z/8] to volumes, float32 [N, 1, X, Y, Z], about in [-1, 1]."""
        bands = self.decoder(latent).float() + (self.mean if usual is None else usual)
        return inverse_haar(bands)


class LatentSynthesis(nn.Module):
    """Flat latents [N, 1, w_dim] to volumes; a `family.Synthesis`.

    Parameters
    ----------
    autoencoder : Autoencoder
        Autoencoder with the decoder.
    flow : Flow or None
        Adds texture to the decoder's blurred brains; not used without noise.
    flow_steps : int
        Steps along the flow.

    Attributes
    ----------
    toe : Toe
        Removes the decoder's ripples in the background.
    """

    mean: Tensor

    def __init__(
        self, autoencoder: Autoencoder, flow: Flow | None = None, flow_steps: int = 1
    ) -> None:
        super().__init__()
        self.latent_shape = autoencoder.config.latent_shape
        self.decoder = autoencoder.decoder
        self.toe = Toe()
        self.flow, self.flow_steps = flow, flow_steps
        self.register_buffer("mean", autoencoder.mean)
        if flow is not None:
            (fixed,) = drawn_noise([flow.noise], FIXED_NOISE)
            assert fixed is not None
            flow.noise.copy_(fixed)

    @property
    def has_noise(self) -> bool:
        """Whether noise has an effect."""
        return self.draws_texture

    @property
    def draws_texture(self) -> bool:
        """Whether there is a flow, see `family.DrawsTexture`."""
        return self.flow is not None

    def forward(
        self,
        w: Tensor,
        noise: Noise | Maps = "fixed",
        level: int = -1,
        dtype: torch.dtype = torch.float32,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """[N, 1, X, Y, Z] float32; there is no coarser image. A draft has no texture."""
        if level not in (0, -1):
            raise ModelError("An autoencoder makes volumes of one size only.")
        latent = w.reshape(len(w), *self.latent_shape).to(dtype)
        image: Tensor = self.toe(inverse_haar(self.decoder(latent).float() + self.mean))
        if self.flow is None or noise == "none" or draft:
            return image
        (added,) = drawn_noise([self.flow.noise], cast("Noise", noise), len(w))
        assert added is not None
        check = (memo or NoMemo()).check
        check()
        # One by one, so that a volume does not depend on the rest of its batch.
        pairs = zip(image.split(1), added.expand(image.shape).split(1), strict=True)
        return torch.cat([self.flow(*pair, self.flow_steps, dtype, check) for pair in pairs])


class LatentEncoder(nn.Module):
    """Volumes [N, 1, X, Y, Z] to the means of their latents, [N, 1, w_dim]."""

    mean: Tensor

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.encoder = autoencoder.encoder
        self.register_buffer("mean", autoencoder.mean)

    def forward(self, volume: Tensor) -> Tensor:
        """Encode volumes independently of each other."""
        bands = haar(volume) - self.mean
        mean: Tensor = self.encoder(bands).float().chunk(2, dim=1)[0]
        return mean.flatten(1)[:, None]
