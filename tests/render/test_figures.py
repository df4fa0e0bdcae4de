"""Pictures show the right slice the right way round, to scale, and say what they are."""

from __future__ import annotations

import io
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stylegan3d.base import OutputError
from stylegan3d.geometry.space import NORMAL, PLANES, Space, Upright, cut
from stylegan3d.render.figures import (
    Look,
    colors,
    draw_planes,
    draw_slice,
    face,
    legible,
    lightbox,
    png_bytes,
)

AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
AFFINE[:3, 3] = [-19, -40, -30]
SPACE = Space((20, 28, 16), AFFINE)
#: A bright voxel and where it lies.
VOXEL, POINT = (14, 20, 5), (9.0, 20.0, -10.0)


@pytest.fixture
def dot() -> np.ndarray:
    volume = np.zeros(SPACE.shape, np.float32)
    volume[VOXEL] = 1
    return volume


def turned(volume: np.ndarray, axes: str) -> Upright:
    """The same volume with its array axes in another order."""
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axes)
    )
    image = nib.Nifti1Image(volume, AFFINE).as_reoriented(turn)
    return Upright.of(np.asarray(image.dataobj), Space(image.shape, image.affine))


@pytest.mark.parametrize("axes", ["RAS", "LIA", "PSR", "LPI"])
@pytest.mark.parametrize("convention", ["radiological", "neurological"])
def test_a_point_is_found_at_its_millimetres(dot, axes, convention):
    volume = turned(dot, axes)
    for plane in PLANES:
        axis = NORMAL[plane]
        piece = cut(volume, plane, POINT[axis], convention)
        assert piece.mm == pytest.approx(POINT[axis])
        ((row, column),) = np.argwhere(piece.picture > 0)
        rows, columns = piece.picture.shape
        across, up = (a for a in range(3) if a != axis)
        # Every fourth orientation letter says which world direction its edge lies in.
        at_right = piece.letters[1] in "RAS"
        expected = VOXEL[across] if at_right else columns - 1 - VOXEL[across]
        assert (row, column) == (rows - 1 - VOXEL[up], expected)
        assert piece.pixel_mm == (AFFINE[up, up], AFFINE[across, across])
        other = cut(volume, plane, POINT[axis] + AFFINE[axis, axis], convention)
        assert other.picture.max() == 0


def test_conventions_mirror_left_and_right_and_nothing_else(dot):
    volume = turned(dot, "RAS")
    for plane, letters in (("axial", "LRAP"), ("coronal", "LRSI"), ("sagittal", "APSI")):
        assert "".join(cut(volume, plane, convention="neurological").letters) == letters


def test_a_place_outside_is_a_sentence(dot):
    with pytest.raises(OutputError, match=r"no slice at 90 mm.*-30 to 30 mm"):
        cut(turned(dot, "RAS"), "axial", 90.0)


def test_pictures_are_to_scale(dot):
    piece = cut(turned(dot, "RAS"), "coronal")
    assert draw_slice(piece, Look(pixels_per_mm=3)).size == (20 * 2 * 3, 16 * 4 * 3)


def test_letters_caption_and_bar_are_drawn_where_asked():
    piece = cut(
        Upright.of(np.zeros((60, 60, 60), np.float32), Space((60,) * 3, np.eye(4) * 2)), "axial"
    )
    empty = Look(caption="", letters=False, scale_bar=False)
    assert np.asarray(draw_slice(piece, empty)).max() == 0
    height, width = np.asarray(draw_slice(piece, empty)).shape[:2]
    places = {
        "letters": (slice(height // 3, 2 * height // 3), slice(0, width // 6)),
        "caption": (slice(3 * height // 4, None), slice(0, width // 2)),
        "scale_bar": (slice(3 * height // 4, None), slice(width // 2, None)),
    }
    for name, place in places.items():
        options = {"caption": "", "letters": False, "scale_bar": False, name: True}
        if name == "caption":
            options["caption"] = "Synthetic"
        drawn = np.asarray(draw_slice(piece, Look(**options)))
        assert drawn[place].max() > 150, name


@pytest.mark.parametrize("place", ["title", "caption", "strip"])
def test_no_two_names_look_alike(dot, place):
    names = ("Muller", "Müller", "Möller", "Mu\u0308ller", "Kołodżiej", "Kołodziej", "日", "本")
    shown = []
    for name in names:
        look = Look(12, caption="" if place == "title" else name, scale_bar=False)
        if place == "strip":
            picture = draw_planes(turned(dot, "RAS"), look, crop=True)
        else:
            piece = cut(turned(dot, "RAS"), "axial")
            picture = draw_slice(piece, look, name if place == "title" else "")
        shown.append(np.asarray(picture).tobytes())
    assert shown[1] == shown[3], "a letter and its accent, composed or not"
    assert len(set(shown)) == len(names) - 1
    assert legible("Müller", face().charToGlyph) == "Müller"


def test_differences_are_blue_and_orange_about_black():
    blue, black, orange = colors(np.array([-1.0, 0.0, 1.0]), (-0.5, 0.5), diverging=True)
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert black.max() == 0
    assert colors(np.array([-1.0, 0.25, 9.0, np.nan]), (0.0, 0.5), False)[:, 0].tolist() == [
        0,
        128,
        255,
        0,
    ]


def test_a_difference_is_cut_out_where_there_is_more_or_less():
    data = np.zeros((20, 20, 20), np.float32)
    data[5, 5, 5], data[15, 15, 15] = 1, -1
    around = Upright.of(data, Space(data.shape, np.eye(4)))
    assert np.ptp(around.extent_mm(0)) == 10


def test_three_planes_meet_in_one_point(dot):
    volume = turned(dot, "RAS")
    plain = Look(caption="", letters=False, scale_bar=False)
    drawn = np.asarray(draw_planes(volume, plain, at_mm=POINT))[..., 0]
    # A dot in each of the three, none in planes that miss it; titles are at the top edge.
    widths = [cut(volume, plane).size_mm[0] * plain.pixels_per_mm for plane in PLANES]
    edges = np.cumsum([0, *widths]).astype(int)
    thirds = [drawn[30:, a:b].max() for a, b in pairwise(edges)]
    assert min(thirds) > 150
    missed = np.asarray(
        draw_planes(volume, plain, at_mm=(POINT[0] + 2, POINT[1] + 3, POINT[2] + 4))
    )
    assert missed[30:].max() == 0


def test_caption_and_scale_bar_stand_below_slices_without_room(dot):
    volume = turned(dot, "RAS")
    bare = draw_planes(volume, Look(caption="", scale_bar=False), crop=True)
    told = draw_planes(volume, Look(), crop=True)
    assert told.crop((0, 0, *bare.size)) == bare, "they cover neither the brain nor a letter"
    below = np.asarray(told.crop((0, bare.height, *told.size)))
    assert below[:, : told.width // 2].max() > 100
    assert below[:, told.width // 2 :].max() > 100


def test_a_second_image_colours_its_own_place_and_nothing_else(dot):
    grey = Upright.of(np.full(SPACE.shape, 0.5, np.float32), SPACE)
    look = Look(4.0, letters=False, scale_bar=False, caption="")
    plain = np.asarray(draw_planes(grey, look, at_mm=POINT), int)
    laid = draw_planes(grey, look, at_mm=POINT, over=Upright.of(dot, SPACE))
    changed = np.asarray(laid, int) - plain
    alone = np.asarray(draw_planes(Upright.of(dot, SPACE), look, at_mm=POINT), int)
    there = (alone.max(axis=2) > 128) & (np.abs(changed).max(axis=2) > 0)
    assert (changed[there][:, 0] > 30).all()  # more red
    assert (changed[there][:, 2] < 0).all()  # less blue
    far = (alone.max(axis=2) == 0) & (plain.max(axis=2) > 0)
    assert np.abs(changed[far]).max() < 12  # the overshoot of bicubic enlarging
    assert there.sum() > 100


def test_a_lightbox_goes_through_the_whole_brain():
    volume = np.zeros((20, 28, 30), np.float32)
    volume[4:16, 6:22, 5:25] = np.linspace(0.3, 1, 20)
    space = Space(volume.shape, np.eye(4) * 2)
    plain = Look(caption="", letters=False, scale_bar=False)
    drawn = lightbox(Upright.of(volume, space), "axial", plain, slices=4, columns=2)
    cells = np.asarray(drawn)[..., 0].astype(float)
    width, height = cells.shape[1] // 2, (cells.shape[0] - 3 * 16) // 2
    middles = [
        cells[r * height + height // 2, c * width + width // 2] for r in (0, 1) for c in (0, 1)
    ]
    assert sorted(middles) == middles
    assert middles[0] > 80
    assert middles[-1] > 220
    assert len(set(middles)) == 4


def test_a_lightbox_has_no_more_slices_than_the_brain():
    volume = np.zeros((8, 8, 8), np.float32)
    volume[2:6, 2:6, 2:5] = 1
    space = Space((8, 8, 8), np.eye(4) * 5)
    small = lightbox(Upright.of(volume, space), "axial", Look(), slices=50, columns=50)
    three = lightbox(Upright.of(volume, space), "axial", Look(), slices=3, columns=3)
    assert small.size == three.size
    with pytest.raises(OutputError, match="1 to 200"):
        lightbox(Upright.of(volume, space), "axial", Look(), slices=0)


def test_a_png_knows_its_size_and_what_it_shows(dot):
    picture = draw_planes(turned(dot, "RAS"), Look())
    data = png_bytes(picture, dpi=300, description="Brücke – synthetic")
    assert data == png_bytes(picture, dpi=300, description="Brücke – synthetic")
    read = Image.open(io.BytesIO(data))
    assert read.info["dpi"] == pytest.approx((300, 300), abs=0.1)  # PNG counts whole dots per metre
    assert read.text["Description"] == "Brücke – synthetic"
