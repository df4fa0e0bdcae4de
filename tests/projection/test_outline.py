"""Brain that is missing from a scan, and what was left around it."""

import numpy as np
import pytest
from scipy import ndimage

from stylegan3d.projection.scanner import compare_outline, find_dark
from stylegan3d.scans.alignment import load_template
from stylegan3d.storage.places import TEMPLATE, bundled_model_path


@pytest.fixture(scope="module")
def target():
    return load_template(bundled_model_path() / TEMPLATE)


def cut(mask: np.ndarray, order: np.ndarray, ml: float, voxel_ml: float) -> np.ndarray:
    """Without so much of a mask (X, Y, Z), in the order of the values."""
    limit = np.sort(order[mask])[round(ml / voxel_ml)]
    return mask & (order >= limit)


def test_a_whole_brain_lacks_nothing(target):
    mask = target.template > 0.2
    for brain in (mask, ndimage.binary_dilation(mask), ndimage.binary_erosion(mask)):
        told = compare_outline(target.template, brain, target.space)
        assert not told.missing
        assert not told.surplus


@pytest.mark.parametrize(
    ("axis", "sign", "place"), [(1, -1, "frontal lobe"), (2, 1, "cerebellum"), (1, 1, "occipital")]
)
def test_what_is_cut_off_is_named_with_its_size(target, axis, sign, place):
    mask = target.template > 0.2
    order = sign * np.indices(mask.shape)[axis]
    told = compare_outline(
        target.template, cut(mask, order, 60, target.space.voxel_ml), target.space
    )
    assert not told.surplus
    assert place in next(iter(told.missing))
    assert 25 < sum(told.missing.values()) < 65


def test_a_bite_is_seen_whole_and_left_meninges_are_surplus(target):
    mask = target.template > 0.2
    # Around a point at the left surface, half-way up.
    center = np.array([8, mask.shape[1] // 2, mask.shape[2] // 2])
    away = np.linalg.norm(np.indices(mask.shape).T - center, axis=-1).T
    bitten = compare_outline(
        target.template, cut(mask, away, 20, target.space.voxel_ml), target.space
    )
    # Its rim is at the depth to which outlines differ anyway.
    assert sum(bitten.missing.values()) == pytest.approx(20, rel=0.3)
    assert all(name.startswith("left") for name in bitten.missing)
    whole = ndimage.binary_dilation(mask, iterations=4)
    told = compare_outline(target.template, mask | (whole & (away < 14)), target.space)
    assert told.surplus
    assert not told.missing


def test_signal_loss_is_found_and_a_cavity_is_none(target):
    expected, mask = target.template, target.template > 0.2
    ventricles = np.zeros_like(mask)
    fluid = mask & (expected < np.percentile(expected[mask], 5))
    level = float(np.median(expected[fluid]))
    center = np.array(mask.shape) * (0.7, 0.6, 0.6)
    inside = np.linalg.norm(np.indices(mask.shape).T - center, axis=-1).T < 6.7
    found = {}
    for name, signal in (("whole", None), ("cavity", level), ("loss", 0.02)):
        volume = expected if signal is None else np.where(inside, signal, expected)
        found[name] = find_dark(
            volume.astype(np.float32), expected, mask, ventricles, fluid, target.space
        )
    assert found["whole"] == found["cavity"] == {}
    # At its rim the signal is blurred with the brain beside it.
    assert sum(found["loss"].values()) == pytest.approx(10, rel=0.4)
    assert all(name.startswith("right") for name in found["loss"])
