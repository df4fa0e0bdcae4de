"""What recipes need of a model, and the model a recipe was made with.

A recipe is data and imports no networks; it uses the protocol `Model`, which every `Generator`
implements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from stylegan3d.errors import RecipeError
from stylegan3d.plain import JsonView
from stylegan3d.recipe.directions import Directions
from stylegan3d.storage.checked import Text, checked

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Sizes(Protocol):
    """Sizes of a generator's latents and images."""

    @property
    def z_dim(self) -> int:
        """Size of the random input."""
        ...

    @property
    def w_dim(self) -> int:
        """Size of one row of w."""
        ...

    @property
    def num_layers(self) -> int:
        """Rows of w."""
        ...

    @property
    def label_dim(self) -> int:
        """Size of the label; 0 without."""
        ...

    @property
    def image_channels(self) -> int:
        """Channels of a volume."""
        ...


class Model(Sizes, Protocol):
    """What recipes, latents and directions need of a generator; see `Generator`."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def card(self) -> JsonView:
        """The model card."""
        ...

    @property
    def cannot(self) -> Mapping[str, str]:
        """Unsupported features, and why."""
        ...

    @property
    def can_invert(self) -> bool:
        """Whether it can compute the z of a w."""
        ...

    @property
    def draws_texture(self) -> bool:
        """Whether layer noise adds texture to every brain."""
        ...

    @property
    def directions(self) -> Directions:
        """Directions that ship with it."""
        ...

    hash: str
    labels_hash: str
    device: torch.device

    def map(
        self,
        z: Tensor,
        label: Tensor | None = None,
        truncation: float = 1.0,
        truncation_layers: int | None = None,
    ) -> Tensor:
        """Map z [N, z_dim] to w [N, num_layers, w_dim]."""
        ...

    def invert(self, w: Tensor) -> Tensor:
        """Approximate the z [N, z_dim] of w [N, 1, w_dim]."""
        ...

    def mix(self, first: Tensor, second: Tensor, strength: Sequence[float] | Tensor) -> Tensor:
        """Mix two latents [num_layers, w_dim] evenly, with one strength per layer."""
        ...

    def tunable_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that pivotal tuning may change, by name."""
        ...

    def rows_of(self, name: str) -> range:
        """The rows of w that control the layer of such a tensor."""
        ...


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
