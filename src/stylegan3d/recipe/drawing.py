"""Sampling a random brain: seed, truncation, layer noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stylegan3d.errors import RecipeError
from stylegan3d.recipe.model import Model
from stylegan3d.storage.checked import Number, Whole, checked
from stylegan3d.storage.jsontext import is_int

if TYPE_CHECKING:
    from torch import Tensor

Noise = Literal["fixed", "none"] | int
#: Psi of random brains, where nothing else is chosen.
TRUNCATION = 0.7
LARGEST_SEED = 2**32 - 1  # what numpy.random.RandomState takes


@checked("truncation")
class Truncation:
    """Truncation of random latents: `w_avg + psi * (w - w_avg)`.

    Attributes
    ----------
    psi : float
        0 is the average brain, 1 the whole variety, more than 1 exaggerates.
    cutoff : int or None
        Only layers below it are truncated; None truncates all.
    """

    psi: Number = 1.0
    cutoff: Whole | None = None


def check_seed(value: Any, called: str) -> None:
    """Raise RecipeError, naming the value `called`, if it is not a valid seed."""
    if not is_int(value) or not 0 <= value <= LARGEST_SEED:
        raise RecipeError(f"{called} must be a whole number from 0 to {LARGEST_SEED}.")


def seed_latents(
    generator: Model,
    seeds: Sequence[int],
    truncation: float = 1.0,
    truncation_layers: int | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """The w of seeds, [len(seeds), num_layers, w_dim].

    z is `numpy.random.RandomState(seed).randn(1, z_dim)`, so a seed gives the same latent as in
    every other StyleGAN program. `label` [1, label_dim] applies to all; see `Generator.map`.
    """
    import torch

    rows = []
    for seed in seeds:
        z = seed_z(generator, seed)
        # One at a time: in a batch of another size a matrix product may round differently.
        rows.append(generator.map(z, label, truncation, truncation_layers))
    return torch.cat(rows)


def seed_z(generator: Model, seed: int) -> Tensor:
    """The z of a seed, [1, z_dim]; see `seed_latents`."""
    import torch

    return torch.from_numpy(np.random.RandomState(seed).randn(1, generator.z_dim)).float()
