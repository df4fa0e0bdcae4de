"""Labels learned after training, for a mapping network that was trained without.

Random latents of a generator of any family are moved to the conditional distribution of a linear
Gaussian model (`linear_prior`), along the few directions of w that predict labels. Along all other
directions, and without a label, w stays the same bit for bit.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stylegan3d.model.family import HasInverse, HasVariations
from stylegan3d.networks.linear_prior import LabelKnowledge, given

#: Shorter directions are ignored.
LEAST = 1e-9


class LabelledMapping(nn.Module):
    """z [N, z_dim], label [N, L] or None -> w [N, w_dim].

    Parameters
    ----------
    mapping : nn.Module
        z -> w, without labels.
    sizes : sequence of int
        Length of each label's part of the label vector.
    told : mapping of str to Tensor
        Tensors of `tensors_of`.

    Raises
    ------
    KeyError, ValueError
        If tensors are missing, or do not fit the labels or each other.
    """

    centre: Tensor
    read: Tensor
    write: Tensor
    average: Tensor
    spread: Tensor
    shared: Tensor

    def __init__(
        self, mapping: nn.Module, sizes: Sequence[int], told: Mapping[str, Tensor], w_dim: int
    ) -> None:
        super().__init__()
        self.mapping = mapping
        self.sizes = tuple(sizes)
        length, axes = 1 + sum(sizes), told["shared"].shape[0]
        shapes = {
            "centre": (w_dim,),
            "read": (w_dim, axes),
            "write": (axes, w_dim),
            "average": (length,),
            "spread": (length, length),
            "shared": (axes, length),
        }
        for name, shape in shapes.items():
            if tuple(told[name].shape) != shape:
                raise ValueError(f"labels: {name} has shape {tuple(told[name].shape)}, not {shape}")
            self.register_buffer(name, told[name].float())

    @property
    def label_dim(self) -> int:
        """Length of a label vector."""
        return 1 + sum(self.sizes)

    def invert(self, w: Tensor) -> Tensor:
        """z of latents without a label, if the mapping can be inverted; see `HasInverse`."""
        assert isinstance(self.mapping, HasInverse)
        return self.mapping.invert(w)

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """See `HasVariations`, if the mapping supports it."""
        assert isinstance(self.mapping, HasVariations)
        return self.mapping.varied(w, z, strength)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map z to w; parts of a label that are left out are sampled as among all subjects."""
        w = self.mapping(z, None)
        return w if label is None else self.moved(w, label)

    def moved(self, w: Tensor, label: Tensor) -> Tensor:
        """Move w [N, ..., w_dim] to the distribution of labels [N, L].

        A truncated w is moved so that it is truncated towards the mean for its label instead, so
        truncation does not change a requested age.
        """
        if bool((label == label[:1]).all()):
            return self._moved(w, label[0])
        return torch.stack([self._moved(*pair) for pair in zip(w, label, strict=True)])

    def _moved(self, w: Tensor, label: Tensor) -> Tensor:
        """Move w [..., w_dim] to the distribution of one label."""
        scores = (w - self.centre) @ self.read
        there = given(scores, label, self.sizes, self.average, self.spread, self.shared)
        # Not by adding zero: -0.0 + 0.0 changes the sign.
        return w if there is scores else w + (there - scores) @ self.write


def tensors_of(known: LabelKnowledge, centre: Tensor, components: Tensor) -> dict[str, Tensor]:
    """The tensors of a `LabelledMapping`, float32.

    Parameters
    ----------
    known : LabelKnowledge
        Relation of labels to scores along the components.
    centre : Tensor, shape (w_dim,)
        Mean of w among random brains.
    components : Tensor, shape (K, w_dim)
        Orthogonal directions of w, each as long as one standard deviation.
    """
    axes, lengths, _ = torch.linalg.svd(known.shared.double(), full_matrices=False)
    axes = axes[:, lengths > LEAST]
    rows = components.double()
    return {
        "centre": centre.float(),
        "read": (rows.T / rows.square().sum(dim=1) @ axes).float().contiguous(),
        "write": (axes.T @ rows).float().contiguous(),
        "average": known.average.float(),
        "spread": known.spread.float(),
        "shared": (axes.T @ known.shared.double()).float().contiguous(),
    }
