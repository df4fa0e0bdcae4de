"""Measures against phantoms whose volumes and shapes are known."""

import nibabel as nib
import numpy as np
import pytest
from phantoms import SPACE, head
from tolerances import FLOAT32, LAYERS

from stylegan3d.geometry.space import Space
from stylegan3d.measures import attributes
from stylegan3d.measures.attributes import MEASURES, measure_volume


def ellipsoid_ml(size=1.0):
    return 4 / 3 * np.pi * np.prod(attributes.FRAME_SPREAD_MM * np.sqrt(5) * size) / 1000


def test_volumes_are_those_of_the_phantom():
    told = measure_volume(head(), SPACE)
    offset, factor = attributes.CALIBRATION["brain_ml"]
    # Voxels of 4 mm on an ellipsoid's edge.
    assert (told["brain_ml"] - offset) / factor == pytest.approx(ellipsoid_ml(), rel=0.005)
    white = (head() > 0.8).sum() * 0.064
    offset, factor = attributes.CALIBRATION["white_ml"]
    assert (told["white_ml"] - offset) / factor == pytest.approx(white)
    offset, factor = attributes.CALIBRATION["ventricle_ml"]
    dark = ((head() > 0) & (head() < 0.4)).sum() * 0.064
    assert (told["ventricle_ml"] - offset) / factor == pytest.approx(dark)
    assert set(told) == {measure.key for measure in MEASURES}


def test_each_measure_follows_what_it_names_alone():
    plain = measure_volume(head(), SPACE)
    ventricle = measure_volume(head(ventricle=2.0), SPACE)
    assert ventricle["ventricle_ml"] > 1.5 * plain["ventricle_ml"]
    assert ventricle["brain_ml"] == pytest.approx(plain["brain_ml"])
    larger = measure_volume(head(size=1.1), SPACE)
    assert larger["brain_ml"] > 1.25 * plain["brain_ml"]
    assert larger["length"] == pytest.approx(plain["length"], abs=0.005)  # voxels of 4 mm
    longer = measure_volume(head(stretch=(1, 1.1, 1)), SPACE)
    assert longer["length"] > plain["length"] + 0.04
    assert longer["width"] < plain["width"]
    white = measure_volume(head(white=0.8), SPACE)
    assert white["white_ml"] > 1.2 * plain["white_ml"]
    assert white["grey_ml"] < plain["grey_ml"]


def test_a_sulcus_at_the_border_is_no_ventricle():
    volume = head()
    plain = measure_volume(volume, SPACE)["ventricle_ml"]
    volume[:, :20, :][volume[:, :20, :] > 0] = 0.3  # fluid all over the back
    assert measure_volume(volume, SPACE)["ventricle_ml"] < plain + 30


def test_scale_axes_and_grid_do_not_matter():
    told = measure_volume(head(), SPACE)
    assert measure_volume(head(scale=37), SPACE) == pytest.approx(told, rel=LAYERS)
    turned = nib.as_closest_canonical(nib.Nifti1Image(head(), SPACE.affine)).slicer[:, :, :]
    flipped = np.flip(turned.get_fdata(), 0)
    affine = SPACE.affine @ nib.orientations.inv_ornt_aff([[0, -1], [1, 1], [2, 1]], SPACE.shape)
    again = measure_volume(flipped, Space(SPACE.shape, affine))
    assert again == pytest.approx(told, rel=FLOAT32, abs=FLOAT32)
    fine = SPACE.resized((80, 112, 96))
    finer = measure_volume(head(fine), fine)
    # Voxels of other size on the edge of a small structure.
    assert finer["ventricle_ml"] == pytest.approx(told["ventricle_ml"], rel=0.03)
    # Voxels of other size on the edge.
    assert finer["brain_ml"] == pytest.approx(told["brain_ml"], rel=0.005)


@pytest.mark.parametrize("value", [0.0, 0.7, np.nan])
def test_what_is_no_brain_measures_nothing(value):
    told = measure_volume(np.full(SPACE.shape, value), SPACE)
    assert all(np.isnan(number) for number in told.values())
