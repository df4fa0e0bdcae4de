"""MS-SSIM against a slow version; pairs of alike and unlike brains."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d
from tolerances import FLOAT32, LAYERS

from stylegan3d.base import StyleGAN3DError
from stylegan3d.metrics.diversity import (
    EXPONENTS,
    member_correlations,
    ms_ssim,
    pair_correlation,
    pair_ms_ssim,
    random_pairs,
    scales_of,
)


def naive_ms_ssim(a: np.ndarray, b: np.ndarray, scales: int) -> float:
    """Wang et al. 2003, eq. 7, with scipy's filters and pooling by reshape."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(x):
        for axis in range(3):
            x = correlate1d(x, window, axis)
        return x[5:-5, 5:-5, 5:-5]

    exponents = np.array(EXPONENTS[:scales]) / sum(EXPONENTS[:scales])
    result = 1.0
    for scale in range(scales):
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
        term = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
        if scale == scales - 1:
            term = term * (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
        result *= term.mean() ** exponents[scale]
        x, y, z = (n // 2 for n in a.shape)
        a, b = (
            v[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))
            for v in (a, b)
        )
    return float(result)


def test_ms_ssim_equals_the_slow_version() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((26, 31, 24))
    b = np.clip(a + rng.normal(0, 0.2, a.shape), 0, 1)
    assert scales_of(a.shape) == 2
    assert ms_ssim(a, b) == pytest.approx(naive_ms_ssim(a, b, 2), abs=LAYERS)
    assert ms_ssim(a, a) == pytest.approx(1, abs=FLOAT32)


@pytest.mark.parametrize(
    ("shape", "scales"), [((80, 112, 96), 3), ((160, 224, 192), 4), ((20, 28, 24), 1)]
)
def test_as_many_scales_as_the_window_fits_into(shape: tuple[int, ...], scales: int) -> None:
    assert scales_of(shape) == scales


def test_a_grid_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(StyleGAN3DError, match="at least 11 voxels"):
        scales_of((10, 20, 20))


def test_pairs_differ_and_are_all_there_are_at_most() -> None:
    assert len(set(random_pairs(12, 20))) == 20
    assert len(random_pairs(4, 20)) == 6
    assert random_pairs(12, 20) == random_pairs(12, 20) != random_pairs(12, 20, seed=1)


def test_a_collapsed_set_is_more_alike_than_a_varied_one(blobs: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 6, blobs.shape, dtype=np.uint8)
    collapsed = np.clip(blobs[:1].astype(int) + noise, 0, 255).astype(np.uint8)
    pairs = random_pairs(len(blobs), 10)
    assert pair_ms_ssim(collapsed, pairs).mean() > pair_ms_ssim(blobs, pairs).mean() + 0.05
    mask = blobs.mean(axis=0) > 12
    assert pair_correlation(collapsed, mask) > pair_correlation(blobs, mask) + 0.05


def test_pair_correlation_is_the_mean_over_all_pairs(blobs: np.ndarray) -> None:
    mask = blobs.mean(axis=0) > 12
    matrix = np.corrcoef(np.stack([b[mask] for b in blobs]).astype(float))
    expected = matrix[np.triu_indices(len(blobs), 1)].mean()
    assert pair_correlation(blobs, mask) == pytest.approx(expected, abs=FLOAT32)
    others = (matrix.sum(axis=1) - 1) / (len(blobs) - 1)
    assert member_correlations(blobs, mask) == pytest.approx(others, abs=FLOAT32)
