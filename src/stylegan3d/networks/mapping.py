"""Mapping network: z -> w (Karras et al. 2019, arXiv 1812.04948, section 2)."""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.layers import Dense

#: Points that a curve passes through.
KNOTS = 9
#: The hidden units of `set_gaussian` are this many standard deviations above zero.
HEADROOM = 7.0


class SizeCurves(nn.Module):
    """Piecewise linear curves along some directions of w.

    What a mapping network sends z to is nearly Gaussian; sizes of heads and ventricles are not.
    Each curve is a function of a size, a linear function of w, and w is moved until the size is
    what the curve says. At first nothing is moved; see `training/flow_export.py`.

    Attributes
    ----------
    centre : Tensor, shape (w_dim,)
        Mean of w.
    read : Tensor, shape (w_dim, M)
        Linear functions of w - centre: the sizes.
    write : Tensor, shape (M, w_dim)
        Shifts of w that change one size by one, and no other.
    knots, values : Tensor, shape (M, K)
        Sizes, and what they become. Beyond the first and the last a curve is continued straight.
    """

    centre: Tensor
    read: Tensor
    write: Tensor
    knots: Tensor
    values: Tensor

    def __init__(self, count: int, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(w_dim))
        self.register_buffer("read", torch.zeros(w_dim, count))
        self.register_buffer("write", torch.zeros(count, w_dim))
        self.register_buffer("knots", torch.linspace(-1, 1, KNOTS).repeat(count, 1))
        self.register_buffer("values", self.knots.clone())

    def forward(self, w: Tensor) -> Tensor:
        """[N, w_dim] -> [N, w_dim]"""
        size = (w - self.centre) @ self.read
        place = torch.searchsorted(self.knots[:, 1:-1].contiguous(), size.T.contiguous())
        slopes = self.values.diff(dim=1) / self.knots.diff(dim=1)
        knot, value, slope = (
            table.gather(1, place).T for table in (self.knots, self.values, slopes)
        )
        return w + (value + (size - knot) * slope - size) @ self.write


class MappingNetwork(nn.Module):
    """Normalise z, then dense layers with leaky ReLU at a reduced learning rate.

    A label is embedded to the size of z and concatenated before the normalisation.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.label_dim = config.label_dim
        if config.label_dim:
            self.embed = nn.Parameter(torch.randn(config.label_dim, config.z_dim))
        inputs = config.z_dim * (2 if config.label_dim else 1)
        self.normalize = config.normalize_z
        hidden = config.mapping_width or config.w_dim
        widths = [inputs, *[hidden] * (config.mapping_layers - 1), config.w_dim]
        last = config.mapping_layers - 1
        self.layers = nn.ModuleList(
            Dense(
                a,
                b,
                lr_multiplier=config.mapping_lr_multiplier,
                activate=i < last or not config.mapping_linear_output,
            )
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )

        self.curves = SizeCurves(config.size_curves, config.w_dim) if config.size_curves else None

    @property
    def typed_layers(self) -> list[Dense]:
        """The layers, as what they are."""
        return cast("list[Dense]", list(self.layers))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [N, label_dim] -> w [N, w_dim]"""
        x = z
        if self.label_dim:
            assert label is not None, "a conditional mapping network needs a label"
            x = torch.cat([x, label.to(x.dtype) @ self.embed], dim=1)
        if self.normalize:
            x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x if self.curves is None else self.curves(x)


@torch.no_grad()
def set_gaussian(mapping: MappingNetwork, mean: Tensor, root: Tensor) -> None:
    """Make the mapping send z ~ N(0, I) to N(mean, root root^T), exactly for all but rare z.

    The hidden layers are set to the identity and kept where leaky ReLU is linear by an offset that
    the last layer takes off again; training bends the map from there.

    Parameters
    ----------
    mean : Tensor, shape (w_dim,)
    root : Tensor, shape (w_dim, w_dim)
        Its columns in the order of importance (z may have fewer entries).

    Raises
    ------
    ModelError
        If the network's shape cannot be linear (one layer, or an activated output).
    """
    layers = mapping.typed_layers
    if len(layers) < 2 or layers[-1].activate:
        raise ModelError(
            "Only a mapping network of two or more layers with a linear output can start at a "
            "Gaussian; set mapping_linear_output."
        )
    first = layers[0]
    used = min(root.shape[1], first.weight.shape[1])
    root = F.pad(root[:, :used], (0, first.weight.shape[1] - used))
    offset = HEADROOM * root.norm(dim=1) + 1e-3
    _set_dense(first, root, offset)
    identity = torch.eye(len(mean))
    for layer in layers[1:-1]:
        _set_dense(layer, identity, torch.zeros_like(mean))
    _set_dense(layers[-1], identity, mean - offset)


def _set_dense(layer: Dense, weight: Tensor, bias: Tensor) -> None:
    """Effective weight and bias, before the activation's gain of sqrt(2)."""
    gain = math.sqrt(2) if layer.activate else 1.0
    scale = layer.lr_multiplier / math.sqrt(layer.weight.shape[1])
    layer.weight.copy_(weight / gain / scale)
    layer.bias.copy_(bias / gain / layer.lr_multiplier)
