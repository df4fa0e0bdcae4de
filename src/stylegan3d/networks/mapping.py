"""Mapping network: z -> w (Karras et al. 2019, arXiv 1812.04948, section 2)."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.layers import Dense


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
        return x
