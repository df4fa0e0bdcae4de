"""Data-consistent restoration: measured data are kept, the generator fills in the rest.

The generator's volume G(w) is close to the brain, but every detail is slightly off. The restored
volume is x = G(w) + d with the smoothest change d that makes it consistent with the data,

    d = argmin |A d - (y - A G(w))|^2 + smoothness * |Laplace d|^2,

so the data decide where there are any, and the generator elsewhere. With G(w) = 0 the same formula
is plain interpolation of the data. For blurred data and thick slices G(w) is weighted by less than
1 (`Operator.faith`).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from scipy.sparse.linalg import cg
from torch import Tensor

from stylegan3d.projection.forward import Mask, Masked, Operator, conjugate_gradients
from stylegan3d.projection.operators import Identity, KSpace

SMOOTHNESS = 1e-3
ITERATIONS = 200
ENOUGH = 1e-4


@torch.no_grad()
def restore(
    operator: Operator,
    made: Tensor,
    data: Tensor,
    *,
    faith: float | None = None,
    smoothness: float = SMOOTHNESS,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Make a reconstruction consistent with the data.

    Parameters
    ----------
    operator : Operator
        A linear operator bound to the grid (`Operator.on`).
    made : Tensor, shape (1, 1, X, Y, Z)
        The generator's volume, in [-1, 1].
    data : Tensor
        In the operator's range.
    faith : float or None
        Weight of the generator's own detail, 0 (plain interpolation of the data) to 1; by default
        the operator's optimum.
    smoothness : float
        Weight of the squared Laplacian of the change, which is otherwise undetermined.
    iterations : int
        Maximum number of conjugate-gradient steps.

    Returns
    -------
    Tensor, shape (1, 1, X, Y, Z)
        The data themselves for the identity; `made` for non-linear operators (a contrast change).
    """
    if isinstance(operator, Identity):
        return data.clone()
    if not operator.linear:
        return made
    # Everything is linear and preserves constants: a weaker G(w) only contributes less detail.
    made = (made + 1) * (operator.faith if faith is None else faith) - 1
    rest = data - operator(made)
    if isinstance(operator, Masked):
        # Data inside the masked part are extrapolated smoothly from its border.
        hole = (operator.weights == 0).expand_as(rest)[0, 0].cpu().numpy()
        rest = torch.from_numpy(harmonic_fill(rest[0, 0].cpu().numpy(), hole)).to(rest)[None, None]
        operator = operator.operator
    if isinstance(operator, Mask) and operator.mask is not None:
        change = harmonic_fill(rest[0, 0].cpu().numpy(), operator.mask)
        return made + torch.from_numpy(change).to(made)[None, None]
    if isinstance(operator, KSpace):
        return made + rest  # A is an orthogonal projection: the closest image with these lines
    return made + _smoothest(operator, rest, smoothness, iterations)


def harmonic_fill(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replace the masked part by the harmonic surface through its border (Laplace's equation).

    Used for seamless blending (Perez, Gangnet and Blake 2003, "Poisson image editing"). At the edge
    of the grid its normal derivative is zero.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z)
    mask : ndarray, shape (X, Y, Z), bool
        Where to fill.

    Returns
    -------
    ndarray, shape (X, Y, Z), float32
        Equal to `values` outside the mask.
    """
    filled = np.asarray(values, dtype=np.float32).copy()
    number = np.full(mask.shape, -1, dtype=np.int64)
    count = int(mask.sum())
    number[mask] = np.arange(count)
    degree, known = np.zeros(count), np.zeros(count)
    rows, columns = [], []
    for axis in range(3):
        for here, there in _neighbours(axis):
            unknown = mask[here]
            own, other = number[here][unknown], number[there][unknown]
            degree[own] += 1
            inner = other >= 0
            rows.append(own[inner])
            columns.append(other[inner])
            known[own[~inner]] += filled[there][unknown][~inner]
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(count, count))
    # A mask without any border leaves the level undetermined: the tiny term sets it to 0.
    matrix = sparse.diags(degree + 1e-9) - links
    inverse = sparse.diags(1 / (degree + 1e-9))
    filled[mask] = cg(matrix, known, rtol=1e-5, maxiter=2000, M=inverse)[0]
    return filled


def _neighbours(axis: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Slices of the voxels that have a neighbour before or after them, and of that neighbour."""
    lower, upper = [slice(None)] * 3, [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    return [(tuple(lower), tuple(upper)), (tuple(upper), tuple(lower))]


def _smoothest(operator: Operator, rest: Tensor, smoothness: float, iterations: int) -> Tensor:
    """Conjugate gradients on (A^T A + smoothness L^T L) d = A^T rest; L is the Laplacian."""

    def normal(change: Tensor) -> Tensor:
        rough = _laplacian(_laplacian(change))
        return operator.adjoint(operator(change)) + smoothness * rough

    return conjugate_gradients(normal, operator.adjoint(rest), iterations, ENOUGH)


def _laplacian(x: Tensor) -> Tensor:
    """Sum over neighbours of (x - neighbour), [N, C, X, Y, Z]; symmetric, Neumann border."""
    padded = F.pad(x, (1,) * 6, mode="replicate")
    inner = slice(1, -1)
    total = 6 * x
    for axis in range(3):
        for end in (slice(None, -2), slice(2, None)):
            i, j, k = (end if other == axis else inner for other in range(3))
            total = total - padded[..., i, j, k]
    return total
