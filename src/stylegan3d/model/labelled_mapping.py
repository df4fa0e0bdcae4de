"""A mapping network that was trained without labels, and what was learned of labels afterwards.

Random latents of a generator of any family are moved to where subjects with a label are: along the
few directions of w that labels know of, to the conditional distribution of the linear Gaussian
model (`linear_prior`). Along all others, and where no label is given, every w stays bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stylegan3d.model.family import HasInverse, HasVariations
from stylegan3d.networks.linear_prior import LabelKnowledge, given

#: Of directions that labels know of, those shorter than this say nothing.
LEAST = 1e-9


class LabelledMapping(nn.Module):
    """z [N, z_dim], label [N, L] or None -> w [N, w_dim].

    Parameters
    ----------
    mapping : nn.Module
        z -> w, without labels.
    sizes : sequence of int
        Numbers of each label in the label vector.
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
        """Numbers of a label vector."""
        return 1 + sum(self.sizes)

    def invert(self, w: Tensor) -> Tensor:
        """z of latents without a label, where the mapping can tell; see `HasInverse`."""
        assert isinstance(self.mapping, HasInverse)
        return self.mapping.invert(w)

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """See `HasVariations`, where the mapping has them."""
        assert isinstance(self.mapping, HasVariations)
        return self.mapping.varied(w, z, strength)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """What a label leaves open is drawn as among all subjects."""
        w = self.mapping(z, None)
        return w if label is None else self.moved(w, label)

    def moved(self, w: Tensor, label: Tensor) -> Tensor:
        """w [N, ..., w_dim] of subjects with labels [N, L], from that of anybody.

        Of a w pulled towards the mean of all (truncation) it makes one pulled towards the mean of
        subjects with that label: they stay as old as they were to be.
        """
        if bool((label == label[:1]).all()):
            return self._moved(w, label[0])
        return torch.stack([self._moved(*pair) for pair in zip(w, label, strict=True)])

    def _moved(self, w: Tensor, label: Tensor) -> Tensor:
        """w [..., w_dim] of somebody with this label, from that of somebody."""
        scores = (w - self.centre) @ self.read
        there = given(scores, label, self.sizes, self.average, self.spread, self.shared)
        # Not by adding nothing: -0.0 + 0.0 has another sign.
        return w if there is scores else w + (there - scores) @ self.write


def tensors_of(known: LabelKnowledge, centre: Tensor, components: Tensor) -> dict[str, Tensor]:
    """What a `LabelledMapping` is told, float32.

    Parameters
    ----------
    known : LabelKnowledge
        Known of scores along the components.
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
