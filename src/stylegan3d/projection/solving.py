"""Conjugate gradients for images, used by tuning and restoration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor], right: Tensor, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """Solve normal(x) = right approximately, from x = 0 (Hestenes, Stiefel 1952).

    Parameters
    ----------
    normal : callable
        Linear, symmetric and positive definite; returns a tensor of the same shape.
    right : Tensor
        The right-hand side.
    iterations : int
        Maximum number of applications of `normal`.
    tolerance : float
        Stop at this residual, as a share of the norm of `right`.
    """
    solution, residual = torch.zeros_like(right), right.clone()
    direction, size = residual.clone(), _dot(residual, residual)
    enough = tolerance**2 * size
    for _ in range(iterations):
        if not size > enough:
            break
        image = normal(direction)
        step = size / _dot(direction, image)
        solution += step * direction
        residual -= step * image
        size, before = _dot(residual, residual), size
        direction = residual + (size / before) * direction
    return solution


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum(dtype=torch.float64))
