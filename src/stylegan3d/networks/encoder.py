"""Encoder: volume -> w, the start of projection."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.base import ModelError
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, EncoderConfig
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.resampling import CHANNELS_LAST, conv3d, haar
from stylegan3d.networks.synthesis import LeveledSynthesis


class EncoderBlock(nn.Module):
    """Strided convolution, group normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(8 if outputs % 8 == 0 else 1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z] -> [N, outputs, X / stride, ...]; weights follow x's precision."""
        weight = self.conv.weight.to(x.dtype).contiguous(memory_format=CHANNELS_LAST)
        bias = None if self.conv.bias is None else self.conv.bias.to(x.dtype)
        y = conv3d(x, weight, bias, self.conv.stride, self.conv.padding)
        y = F.group_norm(
            y, self.norm.num_groups, self.norm.weight.to(y.dtype), self.norm.bias.to(y.dtype)
        )
        return F.leaky_relu(y, 0.2)


class Encoder(nn.Module):
    """Strided convolutions down to the base grid, then dense layers to w.

    The last feature map is flattened, not averaged, to keep positions. The result is one row of w
    for all layers, plus a correction per layer that starts at zero (Tov et al. 2021, arXiv
    2102.02766: staying near W keeps a latent editable).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.image_channels * (8 if config.head == "haar" else 1)
        widths = [inputs, *config.channels[::-1]]
        last = len(config.channels) - 1
        # Number of halvings between the (band) grid and the base grid.
        self.blocks = nn.ModuleList(
            EncoderBlock(a, b, stride=2 if i < last else 1)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        flat = config.channels[0] * math.prod(config.base)
        self.hidden = nn.Linear(flat, 2 * config.w_dim)
        self.mean = nn.Linear(2 * config.w_dim, config.w_dim)
        self.offsets = nn.Linear(2 * config.w_dim, config.num_layers * config.w_dim)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)

    def features(self, pyramid: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Bands or image [N, C, X, Y, Z] -> [N, 2 w_dim]"""
        x = pyramid.to(dtype).contiguous(memory_format=CHANNELS_LAST)
        for block in self.blocks:
            x = block(x)
        return F.leaky_relu(self.hidden(x.float().flatten(1)), 0.2)

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim]"""
        config = self.config
        pyramid = haar(image) if config.head == "haar" else image
        h = self.features(pyramid, dtype)
        mean = self.mean(h)
        return mean[:, None] + self.offsets(h).unflatten(1, (config.num_layers, config.w_dim))


def build_encoder(
    config: EncoderConfig, synthesis: LeveledSynthesis, teacher: AnatomyConfig | None = None
) -> Encoder | FittingEncoder | TaughtEncoder:
    """Build the encoder of a configuration for a generator; with a teacher that one's."""
    if teacher is not None:
        return TaughtEncoder(config, teacher)
    if config.kind != "fitting":
        return Encoder(config)
    if not isinstance(synthesis, AnatomyNetwork):
        raise ModelError("A fitting encoder needs an anatomy model, whose deformation it finds.")
    return FittingEncoder(config, synthesis)


class FittingEncoder(nn.Module):
    """Volume -> w via the common anatomy of a generator: estimate the deformation, undo it, fit.

    Shape and appearance cannot be estimated at once, since the basis images belong to the common
    anatomy. So the weights of the velocity fields are estimated from the coarse volume, by a linear
    map learned by regression, as in active appearance models (Cootes, Edwards, Taylor 2001, PAMI
    23(6)), and the volume is warped to the common anatomy. The weights of the basis images are
    then a projection. Details are omitted, since the detail images cannot represent a scan's own
    texture.

    Attributes
    ----------
    start : torch.nn.Linear
        From the coarse volume (minus `start_mean`, inside the velocity basis) to weights.
    """

    start_mean: Tensor

    def __init__(self, config: EncoderConfig, synthesis: AnatomyNetwork) -> None:
        super().__init__()
        self.config = config
        # Not a submodule, since its weights are saved with the generator.
        self._synthesis = (synthesis,)
        fields, coarse = synthesis.config.deformation, synthesis.velocity_basis.weight.shape[2]
        self.start = nn.Linear(coarse, fields)
        self.register_buffer("start_mean", torch.zeros(coarse))
        nn.init.zeros_(self.start.weight)
        nn.init.zeros_(self.start.bias)
        self.requires_grad_(False)

    @property
    def synthesis(self) -> AnatomyNetwork:
        """The generator's synthesis network."""
        return self._synthesis[0]

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim]; `dtype` is ignored."""
        weights = self.start(self.coarse(image))
        inside = self.inside(self.canonical(image, weights))
        w = torch.cat([weights, self.synthesis.image_basis.weights_of(inside)], dim=1)
        w = F.pad(w, (0, self.synthesis.config.w_dim - w.shape[1]))
        return w[:, None].expand(-1, self.synthesis.config.num_layers, -1)

    def coarse(self, image: Tensor) -> Tensor:
        """[N, 1, X, Y, Z] -> [N, voxels inside the velocity basis], the input of `start`."""
        basis = self.synthesis.velocity_basis
        low = resize(image[:, :1], basis.inside.shape)
        return low.flatten(1)[:, basis.inside.flatten()] - self.start_mean

    def canonical(self, image: Tensor, weights: Tensor) -> Tensor:
        """Warp a volume to the common anatomy, at the last level's resolution.

        Parameters
        ----------
        image : Tensor, shape (N, 1, X, Y, Z)
            Values in [-1, 1].
        weights : Tensor, shape (N, fields)
            Weights of the velocity basis.

        Returns
        -------
        Tensor
            [N, 1, X', Y', Z'] minus the generator's constant image.
        """
        synthesis = self.synthesis
        config = synthesis.config
        grid = config.grid(config.num_levels - 1)
        velocity = synthesis.velocity_const + synthesis.velocity_basis(weights)
        displacement = resize(exponential(-velocity), grid)
        moved = warp(resize(image, grid), displacement)
        return moved - synthesis.image_const[None, : config.image_channels]

    def inside(self, canonical: Tensor) -> Tensor:
        """[N, 1, X, Y, Z] -> [N, voxels inside the image basis]"""
        return canonical.flatten(1)[:, self.synthesis.image_basis.inside.flatten()]

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: object) -> None:
        # The number of voxels inside the bases depends on the data.
        stored = state.get(f"{prefix}start.weight")
        if stored is not None:
            layer = nn.Linear(stored.shape[1], stored.shape[0])
            self.start = layer.to(stored.device).requires_grad_(False)
        mean = state.get(f"{prefix}start_mean")
        if mean is not None:
            self.start_mean = torch.zeros_like(self.start_mean).new_zeros(mean.shape)
        super()._load_from_state_dict(state, prefix, *args)


class TaughtEncoder(nn.Module):
    """The encoder of a teacher, whose latents the pupil has in deviations from their mean.

    It holds what of the teacher's anatomy that encoder reads.

    Attributes
    ----------
    centre, scale : Tensor, shape (w_dim,)
        Mean and standard deviation of the teacher's random latents.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, config: EncoderConfig, teacher: AnatomyConfig) -> None:
        super().__init__()
        self.config = config
        self.anatomy = AnatomyNetwork(teacher).requires_grad_(False)
        self.encoder = FittingEncoder(config, self.anatomy)
        self.register_buffer("centre", torch.zeros(teacher.w_dim))
        self.register_buffer("scale", torch.ones(teacher.w_dim))

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim] of the pupil."""
        return (self.encoder(image, dtype) - self.centre) / self.scale
