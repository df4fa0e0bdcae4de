"""A small untrained generator, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stylegan3d.geometry.space import Space
from stylegan3d.model.family import Parts, family_name
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, config_of
from stylegan3d.networks.synthesis import MappingNetwork, SynthesisNetwork

#: Settings for which a model is taken to be an anatomy model.
OF_ANATOMY = {"image_const", "image_basis", "detail_basis", "fine_taps", "deformation"}


def with_levels(settings: dict[str, Any], levels: int, channels: tuple[int, ...]) -> dict[str, Any]:
    """The settings of an anatomy model with its levels, those of a StyleGAN with its channels."""
    anatomy = "channels" not in settings and any(map(settings.get, OF_ANATOMY))
    return {**({"levels": levels} if anatomy else {"channels": channels}), **settings}


def tiny_generator(seed: int = 0, **config: Any) -> Generator:
    """A small untrained generator with real networks, for tests and benchmarks.

    Its volumes have 20 x 28 x 24 voxels of 8 mm, the field of view of the bundled one.
    """
    settings = {"z_dim": 16, "w_dim": 16, "head": "haar", **with_levels(config, 2, (12, 8))}
    shape = config_of(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mapping = MappingNetwork(shape)
        anatomy = isinstance(shape, AnatomyConfig)
        synthesis = AnatomyNetwork(shape) if anatomy else SynthesisNetwork(shape)
        for layer in () if anatomy else synthesis.layers:
            torch.nn.init.constant_(layer.noise_strength, 0.1)
        for rgb in () if anatomy else synthesis.image_layers:
            rgb.conv.weight.data.mul_(0.15)  # the image then stays within the displayed range
        labels = torch.zeros(512, shape.label_dim) if shape.label_dim else None
        w_avg = mapping(torch.randn(512, shape.z_dim), labels).mean(dim=0).detach()
    grid = shape.image_grids[-1]
    full = Space((80, 112, 96), np.diag([2.0, 2.0, 2.0, 1.0]))
    card = {"name": f"tiny-{seed}", "architecture": {"generator": shape.to_dict()}}
    return Generator(
        Parts(shape, mapping, synthesis, w_avg),
        full.resized(grid),
        card=card,
        hash=f"tiny{seed}",
        family=family_name(card),
    )
