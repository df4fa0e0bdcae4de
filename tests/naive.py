"""Naive references shared by the tests: slow, obvious, float64."""

import itertools

import numpy as np


def naive_conv3d(x, weight, padding):
    """Correlation of x (I, X, Y, Z) with weight (O, I, k, k, k)."""
    padded = np.pad(x, [(0, 0)] + [(padding, padding)] * 3)
    k = weight.shape[-1]
    size = [s - k + 1 for s in padded.shape[1:]]
    out = np.zeros((weight.shape[0], *size))
    for a, b, c in itertools.product(range(k), repeat=3):
        window = padded[:, a : a + size[0], b : b + size[1], c : c + size[2]]
        out += np.einsum("oi,ixyz->oxyz", weight[:, :, a, b, c], window)
    return out


def naive_upfirdn(x, kernel, up=1, down=1, pad=(0, 0), gain=1.0):
    """Karras et al. 2020, appendix B: insert zeros, pad, convolve, decimate; x (N, C, X, Y, Z)."""
    x = np.asarray(x, dtype=np.float64)
    n, c, *grid = x.shape
    spread = np.zeros((n, c, *(s * up for s in grid)))
    spread[:, :, ::up, ::up, ::up] = x
    padded = np.pad(spread, [(0, 0), (0, 0)] + [pad] * 3)
    f = np.asarray(kernel, dtype=np.float64)
    full = f[:, None, None] * f[None, :, None] * f[None, None, :]
    full = full / full.sum() * gain
    k = len(f)
    size = [s - k + 1 for s in padded.shape[2:]]
    out = np.zeros((n, c, *size))
    for i, j, m in itertools.product(range(k), repeat=3):
        # A convolution: the filter is mirrored.
        tap = full[k - 1 - i, k - 1 - j, k - 1 - m]
        out += tap * padded[:, :, i : i + size[0], j : j + size[1], m : m + size[2]]
    return out[:, :, ::down, ::down, ::down]
