"""Conjugate gradients for images: what tuning and restoration have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor], right: Tensor, iterations: int, tolerance: float = 0.0
) -> Tensor:
    """The x with normal(x) = right, nearly, from x = 0 (Hestenes, Stiefel 1952).

    Parameters
    ----------
    normal : callable
        Linear, symmetric and positive, from a tensor to one of its shape.
    right : Tensor
        The right-hand side.
    iterations : int
        At most so many applications of `normal`.
    tolerance : float
        Enough is a residual of so small a share of `right`'s length.
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
