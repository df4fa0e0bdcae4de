"""A small untrained generator, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stylegan3d.geometry.space import Space
from stylegan3d.model.family import Parts, family_name
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, config_of, is_anatomy
from stylegan3d.networks.synthesis import MappingNetwork, SynthesisNetwork


def tiny_generator(seed: int = 0, **config: Any) -> Generator:
    """A small untrained generator with real networks, for tests and benchmarks.

    Its volumes have 20 x 28 x 24 voxels of 8 mm, the field of view of the bundled one.
    """
    levels = {"channels": (), "levels": 2} if is_anatomy(config) else {"channels": (12, 8)}
    settings = {**levels, "z_dim": 16, "w_dim": 16, "head": "haar", **config}
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
