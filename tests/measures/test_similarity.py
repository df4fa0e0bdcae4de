"""Similarity against the definitions and against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity
from tolerances import SUMS

from stylegan3d.measures.similarity import similarity, ssim_map


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    a = rng.random((14, 16, 15)).astype(np.float32)
    return a, np.clip(a + 0.1 * rng.standard_normal(a.shape), 0, 1).astype(np.float32)


def test_ssim_is_scikit_images(pair):
    a, b = pair
    _, expected = structural_similarity(
        a,
        b,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = (slice(6, -6),) * 3  # away from the border, which each pads its own way
    np.testing.assert_allclose(ssim_map(a, b)[inside], expected[inside], atol=1e-4)


def test_figures_are_taken_inside_the_mask(pair):
    a, b = pair
    mask = np.zeros(a.shape, bool)
    mask[4:10, 4:10, 4:10] = True
    figures = similarity(a, b, mask)
    x, y = a[mask].astype(float), b[mask].astype(float)
    assert figures["mae"] == pytest.approx(np.abs(x - y).mean(), rel=SUMS)
    assert figures["psnr"] == pytest.approx(-10 * np.log10(((x - y) ** 2).mean()), rel=SUMS)
    assert figures["ncc"] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=SUMS)
    changed = np.where(mask, a, 0.0)
    assert similarity(changed, b, mask)["mae"] == figures["mae"]


def test_identical_volumes(pair):
    a, _ = pair
    figures = similarity(a, a, a > 0)
    assert figures["psnr"] == float("inf")
    assert figures["ssim"] == pytest.approx(1)
    assert figures["ncc"] == pytest.approx(1)
