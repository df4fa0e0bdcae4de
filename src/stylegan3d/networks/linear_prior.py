"""A normal distribution of latents, of low rank, for everybody or for people with some labels.

Principal components of people's latents with what is known of the people: the distribution for an
age or a sex is that of the linear Gaussian model given the label (Bishop 2006, "Pattern
Recognition and Machine Learning", eq. 2.81, 2.82).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Of a score's variance, what labels leave open at the least.
LEAST_LEFT = 1e-3
# A label vector's part is open if no number of it is further from that of nobody in particular.
SAME = 1e-5


@dataclass(frozen=True)
class LabelKnowledge:
    """How the labels of people and the scores of their latents go together.

    Attributes
    ----------
    sizes : numbers of each label in the label vector, which begins with one that is constant.
    average : [L] the vector that leaves everything open, see `stylegan3d.labels`.
    spread : [L, L] covariance of label vectors.
    shared : [K, L] covariance of standardised scores with label vectors.
    """

    sizes: tuple[int, ...]
    average: Tensor
    spread: Tensor
    shared: Tensor

    @classmethod
    def of(
        cls, scores: Tensor, labels: Tensor, sizes: Sequence[int], average: Tensor
    ) -> LabelKnowledge:
        """From people.

        Parameters
        ----------
        scores : [people, K], standardised. What could be chance (a covariance below two standard
            errors) is taken for none: hundreds of scores would add up to a change that says nothing
            of the label.
        labels : [people, L]
        """
        count = len(scores)
        y = labels - labels.mean(dim=0)
        spread = y.T @ y / (count - 1)
        shared = (scores - scores.mean(dim=0)).T @ y / (count - 1)
        chance = 2 / count**0.5 * scores.std(dim=0)[:, None] * y.std(dim=0)[None]
        return cls(tuple(sizes), average, spread, shared * (shared.abs() > chance))


class LinearPrior(nn.Module):
    """Standard normal z [N, K], label [N, L] or None -> latents w [N, w_dim].

    Parameters
    ----------
    z_dim, w_dim : K, and numbers of a latent.
    sizes : of the labels, as in `LabelKnowledge`; empty for a model without labels.
    """

    mean: Tensor
    components: Tensor
    average: Tensor
    spread: Tensor
    shared: Tensor

    def __init__(self, z_dim: int, w_dim: int, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.register_buffer("mean", torch.zeros(w_dim))
        # Principal directions, each as long as one standard deviation.
        self.register_buffer("components", torch.zeros(z_dim, w_dim))
        if self.sizes:
            length = 1 + sum(self.sizes)
            self.register_buffer("average", torch.zeros(length))
            self.register_buffer("spread", torch.zeros(length, length))
            self.register_buffer("shared", torch.zeros(z_dim, length))

    @property
    def label_dim(self) -> int:
        """Numbers of a label vector; 0 without labels."""
        return 1 + sum(self.sizes) if self.sizes else 0

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """What a label leaves open is drawn as among all people."""
        if label is not None and self.sizes:
            z = torch.stack([self._given(*pair) for pair in zip(z, label, strict=True)])
        return self.mean + z @ self.components

    def _given(self, z: Tensor, label: Tensor) -> Tensor:
        """Scores [K] of somebody with this label, from those of somebody."""
        known = self.given(label)
        if known is None:
            return z
        shift, axes, left = known
        return z + axes @ ((left - 1) * (axes.T @ z)) + shift

    def given(self, label: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """What a label [L] says of the scores of those who have it; None if it says nothing.

        Returns
        -------
        Their mean [K], the orthonormal axes [K, A] along which they differ less than people do, and
        the share of their standard deviation that is left along each, [A].
        """
        apart = label - self.average
        places = self._places(apart)
        if not len(places):
            return None
        spread = self.spread[places][:, places]
        weights = self.shared[:, places] @ torch.linalg.pinv(spread, hermitian=True)
        values, vectors = torch.linalg.eigh(spread)
        explained = weights @ (vectors * values.clamp(min=0).sqrt())
        axes, lengths, _ = torch.linalg.svd(explained, full_matrices=False)
        left = (1 - lengths.square()).clamp(min=LEAST_LEFT).sqrt()
        return weights @ apart[places], axes, left

    def _places(self, apart: Tensor) -> Tensor:
        """Indices of those numbers of the label vector whose labels are given."""
        places: list[int] = []
        start = 1
        for size in self.sizes:
            if bool((apart[start : start + size].abs() > SAME).any()):
                places += range(start, start + size)
            start += size
        return torch.tensor(places, dtype=torch.long, device=apart.device)
