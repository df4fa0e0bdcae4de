"""What is no brain fails, and for the right reason."""

import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.tissue_shape import tissue_mixture
from stylegan3d.metrics.plausibility import (
    CHECKS,
    PlausibilityLimits,
    measure_brain,
    measure_brains,
    pass_rate,
)


@pytest.fixture(scope="module")
def limits(blobs: np.ndarray, space: Space) -> PlausibilityLimits:
    return PlausibilityLimits.of(measure_brains(blobs, space))


def reasons(volume: np.ndarray, space: Space, limits: PlausibilityLimits) -> list[str]:
    return list(pass_rate([measure_brain(volume, space)], limits)["reasons"])


def test_those_who_set_the_limits_pass(
    blobs: np.ndarray, space: Space, limits: PlausibilityLimits
) -> None:
    result = pass_rate(measure_brains(blobs, space), limits)
    assert result["passed"] == result["n"] == 12
    assert result["rate"] == 1
    assert result["reasons"] == {}


def test_a_second_piece_fails(blobs: np.ndarray, space: Space, limits: PlausibilityLimits) -> None:
    volume = blobs[0].copy()
    volume[:2, :2, :2] = 150
    assert CHECKS["connected"][0] in reasons(volume, space, limits)


def test_a_stray_voxel_passes(blobs: np.ndarray, space: Space, limits: PlausibilityLimits) -> None:
    volume = blobs[0].copy()
    volume[0, 0, 0] = 150
    assert reasons(volume, space, limits) == []


def test_a_brain_too_small_fails(
    blobs: np.ndarray, space: Space, limits: PlausibilityLimits
) -> None:
    volume = np.zeros_like(blobs[0])
    volume[5:15, 7:21, 6:18] = blobs[0][::2, ::2, ::2]
    assert CHECKS["brain_ml"][0] in reasons(volume, space, limits)


def test_lost_and_perfect_symmetry_both_fail(
    blobs: np.ndarray, space: Space, limits: PlausibilityLimits
) -> None:
    half = blobs[0].copy()
    half[:9] //= 3
    mirrored = (blobs[0].astype(int) + blobs[0][::-1]) // 2
    for volume in (half, mirrored.astype(np.uint8)):
        assert CHECKS["asymmetry"][0] in reasons(volume, space, limits)


def test_asymmetry_is_measured_along_the_axis_from_left_to_right(
    blobs: np.ndarray, space: Space
) -> None:
    turned = Space((28, 20, 24), space.affine[:, [1, 0, 2, 3]])
    volume = np.swapaxes(blobs[0], 0, 1)
    assert measure_brain(volume, turned).asymmetry == pytest.approx(
        measure_brain(blobs[0], space).asymmetry
    )


def test_a_brain_of_one_tissue_fails(
    blobs: np.ndarray, space: Space, limits: PlausibilityLimits
) -> None:
    noise = np.random.default_rng(0).normal(150, 12, blobs[0].shape)
    volume = np.where(blobs[0] > 0, noise, 0).astype(np.uint8)
    assert CHECKS["grey_white"][0] in reasons(volume, space, limits)


def test_an_empty_volume_fails_everything(space: Space, limits: PlausibilityLimits) -> None:
    found = pass_rate([measure_brain(np.zeros(space.shape), space)], limits)
    assert found["passed"] == 0
    assert set(found["reasons"]) == {text for text, _ in CHECKS.values()}


def test_three_gaussians_are_found() -> None:
    rng = np.random.default_rng(0)
    parts = [(0.3, 0.06, 3000), (0.6, 0.05, 9000), (0.85, 0.04, 6000)]
    values = np.concatenate([rng.normal(m, s, n) for m, s, n in parts]).clip(0, 1)
    found = tissue_mixture(values)
    order = found.means_.ravel().argsort()
    # Fitted to 18,000 random values.
    assert np.allclose(found.means_.ravel()[order], [0.3, 0.6, 0.85], atol=0.01)
    # Fitted to 18,000 random values.
    assert np.allclose(found.covariances_.ravel()[order] ** 0.5, [0.06, 0.05, 0.04], atol=0.01)
    # Fitted to 18,000 random values.
    assert np.allclose(found.weights_[order], [1 / 6, 1 / 2, 1 / 3], atol=0.02)


def test_limits_need_people() -> None:
    with pytest.raises(StyleGAN3DError, match="at least two training"):
        PlausibilityLimits.of([])
