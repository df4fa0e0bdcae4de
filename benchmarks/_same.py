"""Two ways of the same work are timed only as long as they give the same."""

from __future__ import annotations

import torch
from torch import Tensor

#: Results may differ so much, as a share of the largest: float32 sums in another order.
SAME = 1e-4


def share_apart(one: Tensor, other: Tensor) -> float:
    """Largest difference of two tensors as a share of the largest number of the second."""
    return float((one - other).abs().max() / other.abs().max())


def require(share: float, what: str, most: float = SAME) -> None:
    """SystemExit if a share by which two results differ is larger than `most`, or NaN."""
    if not share <= most:
        raise SystemExit(
            f"{what}: the results differ by {share:.1e}, and {most:g} is allowed. "
            "The two do not do the same work: no times."
        )


def require_same(one: Tensor, other: Tensor, what: str, most: float = SAME) -> None:
    """SystemExit if two results differ by more than `most` of the largest number."""
    if one.shape != other.shape:
        raise SystemExit(f"{what}: the shapes differ, {tuple(one.shape)} and {tuple(other.shape)}.")
    with torch.no_grad():
        require(share_apart(one, other), what, most)
