"""A convolution that is fast on small grids and has correct gradients there."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of one volume, the numbers without its last axis that torch gives to oneDNN from on (its
#: `use_mkldnn`); fewer go through a kernel that takes two to ten times as long on one core
#: (`benchmarks/small_volumes.py`).
GIVEN_TO_ONEDNN = 20480
#: Grids with a shorter axis are too small for kernels of reduced precision.
LEAST_SIDE = 3


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
) -> Tensor:
    """`torch.nn.functional.conv3d`; on a CPU by oneDNN for a single small volume, too, and in
    float32 where an axis has fewer than three voxels.

    There oneDNN's bfloat16 kernel (torch 2.13, AVX-512) adds uninitialised memory to the weight
    gradient, which is then occasionally wrong or NaN. The result has the requested precision.

    Parameters
    ----------
    x : Tensor, shape (N, I, X, Y, Z)
    weight : Tensor, shape (O, I, k, k, k)
    """
    low = _precision(x)
    if _is_withheld(x) and low == torch.float32 and not isinstance(padding, str):
        sizes: Any = (_three(padding), _three(stride), [1, 1, 1], 1)
        return torch.mkldnn_convolution(x, weight, bias, *sizes)
    reduced = low in (torch.bfloat16, torch.float16)
    if not reduced or min(x.shape[2:]) >= LEAST_SIDE or not torch.is_grad_enabled():
        return F.conv3d(x, weight, bias, stride, padding)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        return F.conv3d(x.float(), weight.float(), bias, stride, padding).to(low)


def _precision(x: Tensor) -> torch.dtype:
    """Precision of a convolution of x on a CPU; float32 on other devices."""
    if x.device.type != "cpu":
        return torch.float32
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _is_withheld(x: Tensor) -> bool:
    """Whether torch would not use oneDNN for this volume although it could."""
    size = x.shape[0] * x.shape[1] * x.shape[2] * x.shape[3]
    known = x.device.type == "cpu" and x.dtype == torch.float32
    ready = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return known and ready and x.shape[0] == 1 and size <= GIVEN_TO_ONEDNN


def _three(sizes: int | tuple[int, ...]) -> list[int]:
    return [sizes] * 3 if isinstance(sizes, int) else list(sizes)
