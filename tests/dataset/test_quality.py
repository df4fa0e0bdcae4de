"""What commonly goes wrong is seen: wrong contrast, half a brain, a cut, blur."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from stylegan3d.dataset.quality import Inspector, doubts_of, measure_scan, refusal
from stylegan3d.geometry.space import Space
from stylegan3d.scans import load_template, read_scan
from stylegan3d.scans.alignment import Template
from stylegan3d.scans.resampling import resample

MEAN_BRAIN = Path(__file__).parents[1] / "scans" / "mean-brain-4mm.nii.gz"


@pytest.fixture(scope="module")
def target():
    return load_template(MEAN_BRAIN)


@pytest.fixture(scope="module")
def brain(target):
    """A brain on the target's grid, uint8."""
    return np.where(target.template > 0.2, target.template * 255, 0).astype(np.uint8)


def judge(target, brain, **changes):
    """The refusal of a volume, or its warnings."""
    result = {
        "quality": 0.95,
        "brain_ml": float(np.count_nonzero(brain)) * 0.064,
        "measures": Inspector(target).measure(brain),
    }
    result["measures"] |= changes
    return refusal(result, 0.85) or doubts_of(result, 4.0)


def test_a_whole_brain_passes(target, brain):
    assert judge(target, brain) == []


def test_what_cannot_be_learned_from_is_refused(target, brain):
    inverted = np.where(brain > 0, 290 - brain.astype(int), 0).astype(np.uint8)
    assert "contrast of the mean brain" in judge(target, inverted)
    # The last of the axes runs upwards: nothing above the ventricles is left.
    topless = brain.copy()
    topless[:, :, 30:] = 0
    assert "cut off" in judge(target, topless)
    x = np.arange(brain.shape[0]) * 4.0 + target.space.affine[0, 3]  # mm to the right
    for side, lost in (("left", x < -30), ("right", x > 30)):
        half = brain * ~lost[:, None, None]
        assert f"less brain on the {side} side" in judge(target, half, cut_cm2=0)
    assert "few different values" in judge(target, brain, levels=8)
    assert "like a mask" in judge(target, brain, scan_levels=3)
    assert "cut off" in judge(target, brain, scan_cut_cm2=40)
    small = np.where(target.template > 0.7, brain, 0)
    assert "ml, but 600 to 2300" in judge(target, small, contrast=None)


def test_what_is_doubtful_is_kept_with_a_warning(target, brain):
    shaded = brain * np.linspace(0.6, 1.0, brain.shape[0])[:, None, None]
    (doubt,) = judge(target, shaded.astype(np.uint8))
    assert str(doubt).startswith("Check: The right side is brighter")
    assert "few grey values" in judge(target, brain, levels=40)[0].sentence
    assert "Grey and white" in judge(target, brain, contrast=0.7)[0].sentence
    assert "flat face" in judge(target, brain, cut_cm2=9)[0].sentence
    assert "Slices of 6 mm" in judge(target, brain, slice_mm=6.0)[0].sentence
    assert judge(target, brain, slice_mm=5.0) == []


def test_blur_shows_at_2_mm(target, brain):
    fine = target.space.resized((80, 112, 96))
    noise = np.random.RandomState(0).uniform(0.7, 1.3, fine.shape)
    sharp = resample(brain.astype(np.float32), target.space, fine) * noise
    sharp = np.where(resample(target.template, target.space, fine) > 0.2, sharp.clip(1, 255), 0)
    blurred = np.where(sharp > 0, ndimage.gaussian_filter(sharp, 1.0), 0)
    streaked = np.where(sharp > 0, ndimage.uniform_filter1d(sharp, 3, axis=2), 0)
    inspector = Inspector(Template(fine, resample(target.template, target.space, fine)))
    measures = [inspector.measure(v.astype(np.uint8)) for v in (sharp, blurred, streaked)]
    results = [{"quality": 0.95, "brain_ml": 1400.0, "measures": m} for m in measures]
    assert doubts_of(results[0], 2.0) == []
    assert "blurred;" in doubts_of(results[1], 2.0)[0].sentence
    assert "Blurred along one axis" in doubts_of(results[2], 2.0)[-1].sentence


@pytest.mark.parametrize("kept", [64, 44])
def test_a_field_of_view_that_ends_inside_the_brain_is_seen(target, brain, tmp_path, kept):
    """On a grid of its own, oriented otherwise, with the upper slices not scanned."""
    affine = np.diag([-3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = [80, -125, -92]
    space = Space((54, 74, kept), affine)
    data = resample(brain.astype(np.float32), target.space, space)
    data[data < 40] = 0
    nib.save(nib.Nifti1Image(np.rint(data * 4).astype(np.int16), affine), tmp_path / "a.nii.gz")
    aligned = read_scan(tmp_path / "a.nii.gz").align(target, skull="keep", bias_correction=False)
    found = measure_scan(aligned)
    assert (found["scan_cut_cm2"] > 20) == (kept == 44)
    assert found["slice_mm"] == 3.0
    assert found["scan_levels"] > 100
