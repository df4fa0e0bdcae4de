"""A convolution whose gradients can be trusted on tiny grids, too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Grids with a shorter axis are too small for kernels of reduced precision.
LEAST_SIDE = 3


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
) -> Tensor:
    """`torch.nn.functional.conv3d`, in float32 on a CPU where an axis has fewer than three voxels.

    There oneDNN's bfloat16 kernel (of torch 2.13, on AVX-512) adds memory that nobody has written
    to the gradient of the weight, which is then wrong or not a number, now and then. The result has
    the precision it would have had.

    Parameters
    ----------
    x : [N, I, X, Y, Z]
    weight : [O, I, k, k, k]
    """
    low = _precision(x)
    reduced = low in (torch.bfloat16, torch.float16)
    if not reduced or min(x.shape[2:]) >= LEAST_SIDE or not torch.is_grad_enabled():
        return F.conv3d(x, weight, bias, stride, padding)
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        return F.conv3d(x.float(), weight.float(), bias, stride, padding).to(low)


def _precision(x: Tensor) -> torch.dtype:
    """What a convolution of x calculates in on a CPU; float32 on other devices."""
    if x.device.type != "cpu":
        return torch.float32
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
