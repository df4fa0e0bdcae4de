"""Convolution, separable low-pass resampling and the Haar transform, in three dimensions.

`conv3d` is fast on small grids and has correct gradients there.

Resampling follows upfirdn of Karras et al. 2020 (arXiv 1912.04958, appendix): insert zeros, pad,
correlate with a small low-pass filter, keep every n-th sample. The filter is separable, so a volume
is filtered one axis at a time.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

#: Of one volume, the numbers without its last axis that torch gives to oneDNN from on (its
#: `use_mkldnn`); fewer go through a kernel that takes two to ten times as long on one core
#: (`benchmarks/speed.py`).
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


CHANNELS_LAST = torch.channels_last_3d
#: Up to so many channels an image is resampled by matrix products.
FEW_CHANNELS = 8


# Values cached between calls are made outside inference mode, or they could not be differentiated
# through in a later call.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _axis_weights(
    taps: tuple[float, ...], channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Depthwise kernels [C, 1, K, 1, 1], [C, 1, 1, K, 1], [C, 1, 1, 1, K]."""
    f = torch.tensor(taps, dtype=torch.float32, device=device).to(dtype)
    k = len(taps)
    shapes = ((k, 1, 1), (1, k, 1), (1, 1, k))
    a, b, c = (f.reshape(1, 1, *s).expand(channels, 1, *s).contiguous() for s in shapes)
    return a, b, c


def _filter(
    x: Tensor, taps: tuple[float, ...], pad: tuple[int, int], bias: Tensor | None
) -> Tensor:
    """Depthwise correlation, one axis at a time; `x` is freed as soon as it has been read."""
    if x.shape[1] > 1:
        x = x.contiguous(memory_format=CHANNELS_LAST)
    left, right = pad
    if min(left, right) < 0:
        x = F.pad(x, (left, right) * 3)
        left = right = 0
    # Convolutions pad both ends alike: a tap of zero at the shorter end makes up the difference,
    # and saves a padded copy of the features.
    taps = (0.0,) * max(right - left, 0) + taps + (0.0,) * max(left - right, 0)
    reach = max(left, right)
    for axis, weight in enumerate(_axis_weights(taps, x.shape[1], x.dtype, x.device)):
        padding = [reach if a == axis else 0 for a in range(3)]
        x = F.conv3d(x, weight, bias if axis == 2 else None, padding=padding, groups=x.shape[1])
    return x


class _Fir(torch.autograd.Function):
    """Depthwise separable correlation at stride 1.

    Its gradient is the same operation with mirrored taps and complementary padding, so it can be
    differentiated any number of times (R1 and path length need two) and always runs as three
    one-dimensional convolutions, which the generic backward of a grouped convolution does not.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        taps: tuple[float, ...],
        pad: tuple[int, int],
        bias: Tensor | None = None,
    ) -> Tensor:
        ctx.taps, ctx.pad = taps, pad
        return _filter(x, taps, pad, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, Tensor | None]:
        reach = len(ctx.taps) - 1
        pad = (reach - ctx.pad[0], reach - ctx.pad[1])
        to_bias = grads[0].sum(dim=(0, 2, 3, 4)) if ctx.needs_input_grad[3] else None
        return _Fir.apply(grads[0], ctx.taps[::-1], pad, None), None, None, to_bias


def normalised_taps(kernel: Sequence[float], gain: float = 1.0) -> tuple[float, ...]:
    """One axis's taps: they sum to the cube root of `gain`, so that three axes make `gain`."""
    total = sum(kernel)
    return tuple(float(k) / total * gain ** (1 / 3) for k in kernel)


def fir3d(
    x: Tensor,
    kernel: Sequence[float],
    pad: tuple[int, int],
    gain: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Low-pass filter a volume with the outer product of `kernel` with itself.

    Parameters
    ----------
    x : Tensor, shape (N, C, X, Y, Z)
    kernel : sequence of float
        Taps of one axis; the product is normalised to sum to `gain`.
    pad : tuple of int
        Zeros before and after each axis; negative numbers crop.
    bias : Tensor, shape (C,), or None
        Added to the result at no price.

    Returns
    -------
    Tensor
        [N, C, X', Y', Z'] with X' = X + sum(pad) - len(kernel) + 1.
    """
    # Correlation with the mirrored filter, as a convolution is defined.
    taps = normalised_taps(kernel, gain)[::-1]
    if torch.is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad)):
        return _Fir.apply(x, taps, pad, bias)
    # Passed on without keeping hold of it: features of a large network take hundreds of MB.
    handed_over = [x]
    del x
    return _filter(handed_over.pop(), taps, pad, bias)


def upsample_image(
    x: Tensor, kernel: Sequence[float], gain: float = 8.0, nearest: bool = False
) -> Tensor:
    """Double every axis: zeros between the samples, then the low-pass filter.

    With `nearest` each sample stands twice instead of once beside a zero; the filter then smooths
    what has its full amplitude already, and `gain` multiplies it. (A quirk of the original
    3D-StyleGAN.)
    """
    n, c, *grid = x.shape
    if c <= FEW_CHANNELS:
        taps = normalised_taps(kernel, gain)
        return along_axes(x, [doubling_matrix(m, taps, nearest, x.device) for m in grid])
    if nearest:
        spread = F.interpolate(x, scale_factor=2, mode="nearest")
    else:
        spread = x.new_zeros(n, c, *(2 * s for s in grid))
        spread[:, :, ::2, ::2, ::2] = x
    k = len(kernel)
    return fir3d(spread, kernel, ((k + 1) // 2, (k - 2) // 2), gain=gain)


def along_axes(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply every axis of [N, C, X, Y, Z] by a matrix [new length, length].

    A separable resampling as three matrix products: for a few channels that takes a fraction of the
    time of generic interpolation or of depthwise convolution, and so does its gradient.
    """
    a, b, c = (m.to(x) for m in matrices)
    y = b @ (x @ c.T)
    n, channels, first = x.shape[:3]
    y = a @ y.reshape(n, channels, first, -1)
    return y.reshape(n, channels, len(a), len(b), len(c))


def smooth(field: Tensor, deviation: ArrayLike, border: str = "nearest") -> Tensor:
    """Gaussian of `deviation` voxels (along each axis), [N, C, X, Y, Z]; `border` as of SciPy."""
    deviations = np.broadcast_to(np.asarray(deviation, float), 3).tolist()
    sides = zip(field.shape[2:], deviations, strict=True)
    return along_axes(field, [gaussian_matrix(n, sigma, border) for n, sigma in sides])


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def gaussian_matrix(length: int, deviation: float, border: str, truncate: float = 4.0) -> Tensor:
    """[length, length] that smooths along an axis; all but the first as of SciPy's filter."""
    from scipy.ndimage import gaussian_filter1d

    eye = np.eye(length, dtype=np.float32)
    return torch.from_numpy(gaussian_filter1d(eye, deviation, 0, mode=border, truncate=truncate))


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def doubling_matrix(
    length: int, taps: tuple[float, ...], nearest: bool, device: torch.device
) -> Tensor:
    """[2 length, length] one axis of `upsample_image`."""
    k = len(taps)
    matrix = torch.zeros(2 * length, length)
    for row in range(2 * length):
        for j in range(k):
            # The filter begins (k + 1) // 2 samples before the row, in a signal twice as long.
            place = row + j - (k + 1) // 2
            if 0 <= place < 2 * length and (nearest or place % 2 == 0):
                matrix[row, place // 2] += taps[k - 1 - j]
    return matrix.to(device)


def downsample_image(x: Tensor, kernel: Sequence[float], shifted: bool = False) -> Tensor:
    """Halve every axis: low-pass filter, then every second sample.

    `shifted` pads one sample more in front, as the original 3D-StyleGAN does.
    """
    k = len(kernel)
    first = (k + 1) // 2 if shifted else (k - 1) // 2
    return fir3d(x, kernel, (first, (k - 2) // 2))[:, :, ::2, ::2, ::2]


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _hadamard(dtype: torch.dtype, device: torch.device) -> Tensor:
    """[8, 8] signs: row = band, column = corner of the 2x2x2 block, both with x slowest."""
    h = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    return torch.kron(torch.kron(h, h), h).to(device=device, dtype=dtype)


def haar(x: Tensor) -> Tensor:
    """Split a volume into eight Haar bands on the half grid.

    Parameters
    ----------
    x : Tensor, shape (N, C, 2X, 2Y, 2Z)

    Returns
    -------
    Tensor, shape (N, 8 C, X, Y, Z)
        The first C channels are the mean of each 2x2x2 block, i.e. the image at half resolution on
        the same intensity scale.
    """
    n, c, a, b, d = x.shape
    blocks = x.reshape(n, c, a // 2, 2, b // 2, 2, d // 2, 2)
    blocks = blocks.permute(0, 3, 5, 7, 1, 2, 4, 6).reshape(n, 8, -1)
    bands = (_hadamard(x.dtype, x.device) / 8) @ blocks  # of a power of two: the same bits
    return bands.reshape(n, 8 * c, a // 2, b // 2, d // 2)


def inverse_haar(bands: Tensor) -> Tensor:
    """Inverse of `haar`: [N, 8 C, X, Y, Z] -> [N, C, 2X, 2Y, 2Z]."""
    n, c8, a, b, d = bands.shape
    c = c8 // 8
    blocks = _hadamard(bands.dtype, bands.device) @ bands.reshape(n, 8, -1)
    blocks = blocks.reshape(n, 2, 2, 2, c, a, b, d).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return blocks.reshape(n, c, 2 * a, 2 * b, 2 * d)


def fine_bands(low: Tensor, taps: Sequence[float]) -> Tensor:
    """The seven fine Haar bands predicted from a low band by a linear filter.

    A band that is fine along an axis is the difference of two halves of a block, and neighbouring
    blocks say much of it: an odd filter along that axis. Of bands fine along several axes it is the
    filters' product.

    Parameters
    ----------
    low : Tensor, shape (N, C, X, Y, Z)
    taps : sequence of float
        The filter's later half: a block's second half is darker than its first by twice
        `sum(taps[i] * (low[-1 - i] - low[1 + i]))` of the blocks beside it.

    Returns
    -------
    Tensor, shape (N, 7 C, X, Y, Z)
        In the order of `haar`.
    """
    n, c, x, y, z = low.shape
    a, b, d = (odd_matrix(m, tuple(taps), low.device).to(low) for m in (x, y, z))
    along_z = low @ d.T
    plane = torch.stack([low, along_z, b @ low, b @ along_z], dim=1)
    along_x = (a @ plane.reshape(n, 4 * c, x, -1)).reshape(plane.shape)
    return torch.cat([plane[:, 1:], along_x], dim=1).reshape(n, 7 * c, x, y, z)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def odd_matrix(length: int, taps: tuple[float, ...], device: torch.device) -> Tensor:
    """[length, length] one axis of `fine_bands`; the border is repeated."""
    matrix = torch.zeros(length, length)
    for row in range(length):
        for i, tap in enumerate(taps, 1):
            matrix[row, max(row - i, 0)] += tap
            matrix[row, min(row + i, length - 1)] -= tap
    return matrix.to(device)
