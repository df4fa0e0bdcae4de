"""A pose in words."""

import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.scans.pose import NO_POSE, Pose, parse_pose


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ("auto", NO_POSE)),
        ("keep", ("keep", NO_POSE)),
        ("0,-2.5,4", ("auto", Pose((0, -2.5, 4)))),
        ("0,0,4:10,0,-3", ("auto", Pose((0, 0, 4), (10, 0, -3)))),
        ("centre:0,0,4", ("centre", Pose((0, 0, 4)))),
        (" Keep:1,2,3", ("keep", Pose((1, 2, 3)))),
    ],
)
def test_words_become_a_pose(text, expected):
    assert parse_pose(text) == expected


@pytest.mark.parametrize("text", ["", "up", "1,2", "1,2,3,4", "1,2,3:4", "0,0,0:0,0,0:0,0,0"])
def test_other_words_are_refused(text):
    with pytest.raises(StyleGAN3DError, match="is not a pose"):
        parse_pose(text)


@pytest.mark.parametrize("text", ["0,0,61", "0,0,0:46,0,0", "nan,0,0", "inf,0,0"])
def test_too_far_is_refused(text):
    with pytest.raises(StyleGAN3DError, match="up to 60 mm"):
        parse_pose(text)
