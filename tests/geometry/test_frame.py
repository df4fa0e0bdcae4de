"""Frames: text there and back, and where their voxels lie."""

import nibabel as nib
import numpy as np
import pytest
from tolerances import DOUBLE

from stylegan3d.base import ModelError
from stylegan3d.geometry.space import Frame, assumed_frame


@pytest.mark.parametrize(
    ("text", "axes", "size"),
    [
        ("LIA:2", "LIA", (2, 2, 2)),
        ("ras:1x1x1.5", "RAS", (1, 1, 1.5)),
        (" PSR:0.75 ", "PSR", (0.75, 0.75, 0.75)),
    ],
)
def test_text_is_read_and_written(text, axes, size):
    frame = Frame.parse(text)
    assert (frame.axes, frame.voxel_size) == (axes, size)
    assert str(frame) == text.strip().replace("ras", "RAS")
    assert Frame.parse(str(frame)) == frame


def test_any_size_survives_being_written():
    frame = Frame("LIA", (224 / 96, 0.1, 7 / 3))
    assert Frame.parse(str(frame)) == frame


@pytest.mark.parametrize(
    "text", ["", "LIA", "LIA:", "LIA:0", "LIA:-1", "LIA:1x2", "LRA:1", "LIAS:1", "LIX:2", "LIA:1e9"]
)
def test_what_is_no_frame_is_refused(text):
    with pytest.raises(ModelError, match=r"LIA"):
        Frame.parse(text)


def test_axes_lead_where_their_letters_say():
    """A voxel step along each axis, against nibabel."""
    for code in ("LIA", "RAS", "PSR", "AIL", "SPL", "IRP"):
        space = Frame(code, (1.0, 2.0, 3.0)).space((4, 5, 6))
        assert "".join(nib.aff2axcodes(space.affine)) == code
        assert space.voxel_size == (1.0, 2.0, 3.0)
        np.testing.assert_allclose(space.center_mm, 0, atol=DOUBLE)
    left = Frame("LIA", (2.0, 2.0, 2.0)).space((80, 96, 112)).affine
    np.testing.assert_allclose(left @ [0, 0, 0, 1], [79, -111, 95, 1])
    np.testing.assert_allclose(left @ [79, 95, 111, 1], [-79, 111, -95, 1])


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((80, 96, 112), 2.0),
        ((160, 192, 224), 1.0),
        ((20, 24, 28), 8.0),
        ((128, 128, 128), 2.0),
        ((64, 64, 64), 4.0),
        ((80, 112, 96), 2.0),
        ((96, 112, 80), 2.0),
    ],
)
def test_the_assumed_frame_is_freesurfers(shape, size):
    frame = assumed_frame(shape)
    assert frame.axes == "LIA"
    assert frame.voxel_size == (size, size, size)
