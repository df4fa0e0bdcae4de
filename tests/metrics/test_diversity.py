"""MS-SSIM against a slow version in two forms; pairs of alike and unlike brains."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.metrics.diversity import (
    EXPONENTS,
    both_ms_ssim,
    member_correlations,
    ms_ssim,
    ms_ssim_3dstylegan,
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


def naive_terms(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean SSIM and mean of contrast times structure; the largest odd window that fits."""

    def blur(x):
        for axis, n in enumerate(x.shape):
            half = min(11, n - 1 + n % 2) // 2
            window = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * 1.5**2))
            x = correlate1d(x, window / window.sum(), axis)
        cut = tuple(slice(h, n - h) for n in x.shape for h in [min(11, n - 1 + n % 2) // 2])
        return x[cut]

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    structure = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
    luminance = (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
    return float((luminance * structure).mean()), float(structure.mean())


def halved(v: np.ndarray) -> np.ndarray:
    x, y, z = (n // 2 for n in v.shape)
    cut = v[: 2 * x, : 2 * y, : 2 * z]
    return cut.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))


def test_ms_ssim_equals_the_slow_version() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((26, 31, 24))
    b = np.clip(a + rng.normal(0, 0.2, a.shape), 0, 1)
    assert scales_of(a.shape) == 2
    assert ms_ssim(a, b) == pytest.approx(naive_ms_ssim(a, b, 2), abs=LAYERS)
    assert ms_ssim(a, a) == pytest.approx(1, abs=FLOAT32)


def test_the_product_of_3dstylegan_counts_the_last_scale_four_times() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((34, 40, 37))
    b = np.clip(a + rng.normal(0, 0.2, a.shape), 0, 1)
    last, contrast, x, y = 0.0, [], a, b
    for _ in range(5):
        last, structure = naive_terms(x, y)
        contrast.append(structure)
        x, y = (halved(v) for v in (x, y))
    factors = [c**e * last ** EXPONENTS[4] for c, e in zip(contrast[:4], EXPONENTS, strict=False)]
    assert ms_ssim_3dstylegan(a, b) == pytest.approx(np.prod(factors), abs=LAYERS)
    assert both_ms_ssim(a, b) == pytest.approx((ms_ssim(a, b), ms_ssim_3dstylegan(a, b)))
    assert ms_ssim_3dstylegan(a, a) == pytest.approx(1, abs=SUMS)
    small = a[:12, :12, :12]
    assert np.isnan(both_ms_ssim(small, small)[1])
    with pytest.raises(StyleGAN3DError, match="at least 16 voxels"):
        ms_ssim_3dstylegan(small, small)


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
    assert pair_ms_ssim(collapsed, 10).mean() > pair_ms_ssim(blobs, 10).mean() + 0.05
    mask = blobs.mean(axis=0) > 12
    assert pair_correlation(collapsed, mask) > pair_correlation(blobs, mask) + 0.05


def test_pair_correlation_is_the_mean_over_all_pairs(blobs: np.ndarray) -> None:
    mask = blobs.mean(axis=0) > 12
    matrix = np.corrcoef(np.stack([b[mask] for b in blobs]).astype(float))
    expected = matrix[np.triu_indices(len(blobs), 1)].mean()
    assert pair_correlation(blobs, mask) == pytest.approx(expected, abs=FLOAT32)
    others = (matrix.sum(axis=1) - 1) / (len(blobs) - 1)
    assert member_correlations(blobs, mask) == pytest.approx(others, abs=FLOAT32)
