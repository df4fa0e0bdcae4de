"""A family in one file: a linear model of brains, as principal components of images would give it.

image = mean + weights @ basis, where the latent is a sum of components with these weights. One row,
one resolution, no noise, no discriminator; the encoder is least squares.
"""

import numpy as np
import torch
from torch import nn

from stylegan3d.checkpoints.folder import check_numbers, write_folder
from stylegan3d.geometry.space import Space
from stylegan3d.model.family import OneRow, Parts

NO_NOISE = "A linear model has no texture that could be drawn anew."
SPACE = Space((20, 28, 24), np.diag([8.0, 8.0, 8.0, 1.0]))
COMPONENTS = 6


class Mapping(nn.Module):
    def __init__(self, components):
        super().__init__()
        self.register_buffer("components", components)

    def forward(self, z, label=None):
        return z @ self.components


class Synthesis(nn.Module):
    def __init__(self, mean, basis, components):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.register_buffer("components", components)

    def forward(self, w, noise="fixed", level=-1, dtype=torch.float32, **_):
        size = self.components.square().sum(dim=1)
        weights = w[:, 0] @ self.components.T / size
        image = weights.to(dtype) @ self.basis.flatten(1).to(dtype)
        return (self.mean + image.float().reshape(len(w), *self.mean.shape))[:, None]


class Encoder(nn.Module):
    def __init__(self, synthesis):
        super().__init__()
        self.synthesis = synthesis

    def forward(self, image):
        rest = (image[:, 0] - self.synthesis.mean).flatten(1)
        weights = torch.linalg.lstsq(self.synthesis.basis.flatten(1).T, rest.T).solution.T
        return (weights @ self.synthesis.components)[:, None]


class Linear:
    name, title = "toy-linear", "linear model"

    def check(self, card, tensors, encoder):
        plan = card["architecture"]
        check_numbers({k: v for k, v in plan.items() if k != "family"})
        if tuple(tensors["components"].shape) != (plan["z_dim"], plan["w_dim"]):
            raise ValueError("its components are of another size")

    def build(self, card, tensors, encoder):
        plan = card["architecture"]
        components = tensors["components"]
        synthesis = Synthesis(tensors["mean"], tensors["basis"], components)
        return Parts(
            OneRow(plan["z_dim"], plan["w_dim"], tuple(tensors["mean"].shape)),
            Mapping(components),
            synthesis,
            torch.zeros(plan["w_dim"]),
            encoder=Encoder(synthesis),
            cannot={"noise": NO_NOISE},
            deviations=components.square().sum(dim=0).sqrt(),
            components=components,
        )


def egg():
    """(X, Y, Z) in [0, 1]: an egg that is the same along no axis."""
    x, y, z = (
        SPACE.voxel_size[axis] * (np.indices(SPACE.shape)[axis] - (SPACE.shape[axis] - 1) / 2)
        for axis in range(3)
    )
    size = np.sqrt((x / 62) ** 2 + (y / (80 + 0.1 * z)) ** 2 + (z / (62 - 0.15 * y)) ** 2)
    inside = 1 / (1 + np.exp((size - 1) * 25))
    dark = 0.5 * np.exp(-((x - 15) ** 2 + (y - 10) ** 2 + z**2) / 400)
    folds = 0.15 * np.sin(x / 9) * np.cos(y / 13 + z / 11) + 0.1 * np.sin(z / 10)
    return np.clip(inside * (0.8 + folds - dark), 0, 1)


def save(folder, w_dim=40, name="toy"):
    """Write a model; returns its folder."""
    random = np.random.RandomState(3)
    mean = egg()
    places = np.indices(SPACE.shape).reshape(3, -1) / 8
    waves = np.sin(random.randn(COMPONENTS, 3) @ places + random.rand(COMPONENTS, 1) * 6)
    basis = 0.2 * mean * waves.reshape(-1, *SPACE.shape)
    # At right angles, the first the longest.
    components = np.linalg.qr(random.randn(w_dim, COMPONENTS))[0].T
    components *= np.linspace(3, 1, COMPONENTS)[:, None]
    tensors = {"mean": 2 * mean - 1, "basis": 2 * basis, "components": components}
    card = {
        "name": name,
        "architecture": {"family": "toy-linear", "z_dim": COMPONENTS, "w_dim": w_dim},
        "space": {
            "shape": list(SPACE.shape),
            "affine": SPACE.affine.tolist(),
            "axes": "RAS",
            "description": "Where it was made.",
        },
        "modality": "None",
        "training_data": [{"source": "none", "people": 0, "licence": "none"}],
        "training": {"description": "It was made, not trained."},
        "licence": "CC0",
        "intended_use": "Tests.",
    }
    write_folder(
        folder, card, {k: torch.from_numpy(v).float().contiguous() for k, v in tensors.items()}
    )
    return folder
