"""What recipes need of a model, and the model a recipe was made with.

A recipe is data and imports no networks; it uses the protocol `Model`, which every `Generator`
implements.

Sampling a random brain: seed, truncation, layer noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from stylegan3d.base import JsonView, RecipeError
from stylegan3d.recipe.directions import Directions
from stylegan3d.storage.checked import Number, Text, Whole, checked
from stylegan3d.storage.jsontext import is_int

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stylegan3d.geometry.space import Space


class Sizes(Protocol):
    """Sizes of a generator's latents and images."""

    @property
    def z_dim(self) -> int:
        """Size of the random input."""

    @property
    def w_dim(self) -> int:
        """Size of one row of w."""

    @property
    def num_layers(self) -> int:
        """Rows of w."""

    @property
    def label_dim(self) -> int:
        """Size of the label; 0 without."""

    @property
    def image_channels(self) -> int:
        """Channels of a volume."""


class Model(Sizes, Protocol):
    """What recipes, latents and directions need of a generator; see `Generator`."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def card(self) -> JsonView:
        """The model card."""

    @property
    def cannot(self) -> Mapping[str, str]:
        """Unsupported features, and why."""

    @property
    def can_invert(self) -> bool:
        """Whether it can compute the z of a w."""

    @property
    def draws_texture(self) -> bool:
        """Whether layer noise adds texture to every brain."""

    @property
    def directions(self) -> Directions:
        """Directions that ship with it."""

    @property
    def space(self) -> Space:
        """Its grid."""

    hash: str
    labels_hash: str
    device: torch.device

    def map(
        self,
        z: Tensor,
        label: Tensor | Mapping[str, float | str] | None = None,
        truncation: float = 1.0,
        truncation_layers: int | None = None,
    ) -> Tensor:
        """Map z [N, z_dim] to w [N, num_layers, w_dim]."""

    def invert(self, w: Tensor) -> Tensor:
        """Approximate the z [N, z_dim] of w [N, 1, w_dim]."""

    def mix(self, first: Tensor, second: Tensor, strength: Sequence[float] | Tensor) -> Tensor:
        """Mix two latents [num_layers, w_dim] evenly, with one strength per layer."""

    def tunable_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that pivotal tuning may change, by name."""

    def rows_of(self, name: str) -> range:
        """The rows of w that control the layer of such a tensor."""


@checked("model")
class MadeWith:
    """A model by the sha256 of its weights, and its name for messages.

    `labels` is the sha256 of labels that were learned after training, for recipes with such a
    label.

    Raises
    ------
    RecipeError
        If either is not text.
    """

    sha256: Text
    name: str = ""
    labels: str | None = None

    @classmethod
    def of(cls, generator: Model, labelled: bool = False) -> MadeWith:
        """Identify a loaded model; with its labels if `labelled`."""
        labels = generator.labels_hash if labelled else ""
        return cls(generator.hash, generator.name, labels or None)

    def check(self, generator: Model) -> None:
        """Raise RecipeError if `generator` is another model."""
        if self.sha256 == generator.hash and self.labels in (None, generator.labels_hash):
            return
        if self.sha256 == generator.hash:
            raise RecipeError(
                f"This recipe's label was generated with the labels {str(self.labels)[:8]} "
                f"of {generator.name}, now {generator.labels_hash[:8] or 'none'}: load "
                "the model with the former, or remove the model from the recipe."
            )
        raise RecipeError(
            f"This recipe was made with the model {self.name or 'with another hash'} "
            f"({self.sha256[:8]}), but {generator.name} ({generator.hash[:8]}) is loaded: load its "
            "own model, or remove the model from the recipe to see the same seed in this one."
        )


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
    label: Tensor | Mapping[str, float | str] | None = None,
) -> Tensor:
    """The w of seeds, [len(seeds), num_layers, w_dim].

    z is `numpy.random.RandomState(seed).randn(1, z_dim)`, so a seed gives the same latent as in
    every other StyleGAN program. `label` [1, label_dim] or by names applies to all; see
    `Generator.map`.
    """
    import torch

    rows = []
    for seed in seeds:
        check_seed(np.asarray(seed).item(), "A seed")
        z = seed_z(generator, seed)
        # One at a time: in a batch of another size a matrix product may round differently.
        rows.append(generator.map(z, label, truncation, truncation_layers))
    return torch.cat(rows)


def seed_z(generator: Model, seed: int) -> Tensor:
    """The z of a seed, [1, z_dim]; see `seed_latents`."""
    import torch

    return torch.from_numpy(np.random.RandomState(seed).randn(1, generator.z_dim)).float()
