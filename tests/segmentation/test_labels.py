"""Classes and their volumes."""

import numpy as np
import pytest
from labelled_phantoms import tissues

from stylegan3d.geometry.space import Space
from stylegan3d.segmentation.classes import (
    asymmetry_percent,
    count_classes,
    side_volumes,
    volumes_ml,
)


def test_volumes_are_voxels_times_their_size():
    labels = tissues()
    space = Space(labels.shape, np.diag([2.0, 3.0, 4.0, 1.0]))
    found = volumes_ml(labels, space)
    for index, name in enumerate(("csf", "grey", "white", "ventricle", "other"), 1):
        assert found[name] == pytest.approx((labels == index).sum() * 24 / 1000)
    assert found["brain"] == pytest.approx(found["grey"] + found["white"] + found["other"])
    with pytest.raises(ValueError, match="label 9"):
        count_classes(np.array([0, 9]))


@pytest.mark.parametrize("flipped", [False, True])
def test_halves_lie_left_and_right_of_the_middle_of_the_world(flipped):
    """Whichever way the array's first axis runs, and with a plane of voxels on the middle."""
    labels = np.zeros((5, 1, 1), np.uint8)
    labels[:, 0, 0] = (2, 2, 2, 3, 3)
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[0, 3] = -20
    if flipped:
        labels, affine[0, 0], affine[0, 3] = labels[::-1], -10.0, 20.0
    left, right = side_volumes(labels, Space(labels.shape, affine))
    assert (left["grey"], left["white"]) == pytest.approx((2.5, 0.0))
    assert (right["grey"], right["white"]) == pytest.approx((0.5, 2.0))
    assert asymmetry_percent(left["grey"], right["grey"]) == pytest.approx(200 * 2 / 3)
    assert asymmetry_percent(0, 0) == 0
