"""What grows, shrinks and fills masks does what scipy's own, which takes longer, does."""

import numpy as np
import pytest
from scipy import ndimage

from stylegan3d.geometry.space import dilated, eroded, filled


@pytest.fixture(params=[0.02, 0.5, 0.98])
def mask(request):
    """Voxels at random, few or nearly all, also at the edges of the grid."""
    return np.random.default_rng(0).random((9, 7, 8)) < request.param


@pytest.mark.parametrize("steps", [1, 3])
def test_masks_grow_and_shrink_by_faces(mask, steps):
    before = mask.copy()
    grown, shrunk = dilated(mask, steps), eroded(mask, steps)
    np.testing.assert_array_equal(grown, ndimage.binary_dilation(mask, iterations=steps))
    np.testing.assert_array_equal(shrunk, ndimage.binary_erosion(mask, iterations=steps))
    np.testing.assert_array_equal(mask, before)


def test_holes_are_filled_and_bays_are_not(mask):
    np.testing.assert_array_equal(filled(mask), ndimage.binary_fill_holes(mask))
    box = np.zeros((5, 5, 5), bool)
    box[1:4, 1:4, 1:4] = True
    box[2, 2, 2] = False
    assert filled(box)[2, 2, 2]
    box[2, 2, 3:] = False
    assert not filled(box)[2, 2, 2]
