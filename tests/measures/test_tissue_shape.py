"""The figures of tissue shape see what a reader sees: holes, islands, ribbons, mottle."""

import numpy as np
import pytest
from scipy import ndimage

from stylegan3d.geometry.space import Space
from stylegan3d.measures.tissue_shape import (
    TISSUE_SHAPE,
    depth_in_hull,
    islands_and_holes,
    mixture_labels,
    tissue_shape,
    tissue_shapes,
)

SHAPE = (64, 72, 60)


@pytest.fixture(scope="module")
def space() -> Space:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1)
    return Space(SHAPE, affine)


def phantom(thickness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of white matter in a ribbon so many voxels thick, float32, and its labels."""
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    x, y, z = axes
    folds = 1.5 * np.sin(x / 2) * np.sin(y / 2) * np.sin(z / 2)
    depth = 26 - np.sqrt((x * 1.05) ** 2 + (y * 0.85) ** 2 + (z * 1.1) ** 2) + folds
    labels = np.select([depth > thickness, depth > 0], [3, 2], 0).astype(np.uint8)
    volume = np.select([labels == 3, labels == 2], [0.9, 0.6], 0.0)
    return ndimage.gaussian_filter(volume, 0.5).astype(np.float32), labels


def test_islands_and_holes_are_counted() -> None:
    ring = np.zeros((7, 7, 5), bool)
    ring[1:6, 1:6, 2] = True
    ring[3, 3, 2] = False
    shell = np.ones((3, 3, 3), bool)
    shell[1, 1, 1] = False
    assert islands_and_holes(ring) == (1, 1)
    assert islands_and_holes(shell) == (1, 1)
    both = np.zeros((7, 7, 12), bool)
    both[..., :5] = ring
    both[:3, :3, 8:11] = shell
    assert islands_and_holes(both) == (2, 2)


def test_every_measure_is_finite_and_scanners_differ_little(space: Space) -> None:
    volume, labels = phantom()
    found = tissue_shape(volume, labels, space)
    assert list(found) == list(TISSUE_SHAPE)
    assert np.isfinite(list(found.values())).all()
    # Another gain of the scanner, in the voxels of a pack.
    dimmer = tissue_shape((volume * 0.8 * 255).round().astype(np.uint8), labels, space)
    for key, value in found.items():
        # The volume is rounded to 1/255.
        assert dimmer[key] == pytest.approx(value, rel=0.05, abs=0.03), key


def test_each_fault_is_seen_by_its_figure(space: Space) -> None:
    volume, labels = phantom()
    good = tissue_shape(volume, labels, space)
    thick = tissue_shape(*phantom(5.0), space)
    assert thick["thickness"] > good["thickness"] + 2
    rng = np.random.default_rng(0)
    white = ndimage.binary_erosion(labels == 3, iterations=2)
    speckled = np.where(white & (rng.random(SHAPE) < 0.01), 0.5, volume)
    assert tissue_shape(speckled, labels, space)["holes"] > good["holes"] + 0.5
    mottle = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.0)
    mottled = np.where(labels > 0, volume + 0.3 * mottle, 0).astype(np.float32)
    uneven = tissue_shape(mottled, labels, space)
    assert uneven["white_uneven"] > 1.3 * good["white_uneven"]
    assert uneven["separation"] < good["separation"]
    blurred = ndimage.gaussian_filter(volume, 1.5)
    assert tissue_shape(blurred, labels, space)["gradient"] < 0.8 * good["gradient"]


def test_a_cleft_is_a_sulcus_and_one_side_is_unlike_the_other(space: Space) -> None:
    volume, labels = phantom()
    good = tissue_shape(volume, labels, space)
    cleft, where = volume.copy(), labels.copy()
    cleft[40:42, :, 30:] = 0
    where[40:42, :, 30:] = 0
    cut = tissue_shape(cleft, where, space)
    assert cut["sulcal_share"] > good["sulcal_share"]
    assert cut["sulcal_depth"] > good["sulcal_depth"]
    assert cut["likeness"] < good["likeness"]


def test_intensities_alone_tell_tissues(space: Space) -> None:
    volume, labels = phantom()
    labels[26:38, 30:42, 26:34] = 1
    noisy = np.where(labels == 1, 0.3, volume) + 0.02 * np.random.default_rng(0).normal(size=SHAPE)
    noisy = np.where(labels > 0, noisy, 0)
    found = mixture_labels(noisy)
    assert np.array_equal(found > 0, labels > 0)
    assert np.mean(found[labels > 0] == labels[labels > 0]) > 0.9
    (row,) = tissue_shapes([noisy], space, labeller="mixture")
    assert np.array_equal(row, list(tissue_shape(noisy, found, space).values()))
    assert not mixture_labels(np.zeros(SHAPE)).any()


def test_nothing_is_made_up_where_a_tissue_is_missing(space: Space) -> None:
    volume, labels = phantom()
    found = tissue_shape(volume, np.where(labels == 3, 2, labels).astype(np.uint8), space)
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("mm", [(2.0, 2.0, 2.0), (1.0, 2.0, 3.0)])
def test_a_brain_without_folds_has_no_sulci(mm: tuple[float, float, float]) -> None:
    """Its hull is itself, however closely the grid fits around it."""
    sides = [2 * round(half / side) + 1 for half, side in zip((65, 85, 60), mm, strict=True)]
    place = np.meshgrid(*(np.linspace(-1, 1, n) for n in sides), indexing="ij")
    solid = sum(axis**2 for axis in place) <= 1
    depth = depth_in_hull(solid, np.array(mm))
    assert depth.shape == tuple(n + 2 for n in solid.shape)
    assert ((depth > 0) & ~np.pad(solid, 1)).sum() == 0
