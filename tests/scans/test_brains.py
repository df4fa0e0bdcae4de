"""Two real scans: brain extraction, alignment, intensities, and what looks wrong is said."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from tolerances import DOUBLE, FLOAT32, LAYERS, SUMS

from stylegan3d.base import Progress, ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.projection.assessment import refusal
from stylegan3d.scans import Scan, Template, extraction, load_template, read_scan
from stylegan3d.scans.aligned import EXPECTED_CONTRAST, NAMED_CONTRAST, contrast_doubts
from stylegan3d.scans.extraction import extract_brain, extracted_mask
from stylegan3d.scans.intensity import USUAL, contrast_agreement, normalise, usual_contrast
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan import field_on, log_bias_field, working_grid


@pytest.fixture(scope="session")
def head(samples):
    return read_scan(samples / "ucla-sub-04_T1w.nii.gz")


@pytest.fixture(scope="session")
def brain(samples):
    return read_scan(samples / "novosibirsk-sub-09_T1w.nii.gz")


@pytest.fixture(scope="module")
def coarse(brain):
    """The same in every second voxel: whatever is said of it is said sooner."""
    data = np.ascontiguousarray(brain.data[::2, ::2, ::2])
    return replace(brain, data=data, affine=brain.affine @ np.diag([2.0, 2, 2, 1]))


def test_samples_are_small_and_named_with_their_licence(samples):
    text = (samples / "README.md").read_text(encoding="utf-8")
    scans = sorted(samples.glob("*.nii.gz"))
    assert len(scans) == 2
    for path in scans:
        assert path.stat().st_size < 2_500_000
        assert path.name in text
    assert "PDDL" in text
    assert "CC0" in text


def test_a_head_is_told_from_an_extracted_brain(head, brain):
    assert extracted_mask(head.data, head.space) is None
    litres = extracted_mask(brain.data, brain.space).sum() * brain.space.voxel_ml / 1000
    assert litres == pytest.approx(1.296, abs=0.02)  # litres: voxels at the border


def test_background_need_not_be_zero(brain):
    shifted = extracted_mask(brain.data - 1000, brain.space)
    np.testing.assert_array_equal(shifted, extracted_mask(brain.data, brain.space))


def test_a_slice_without_signal_takes_only_itself_away(brain):
    data = brain.data.copy()
    data[:, data.shape[1] // 2] = extraction.background(data)
    kept, whole = (extracted_mask(one, brain.space) for one in (data, brain.data))
    lost = whole & ~kept
    assert lost.sum() < 1.1 * whole[:, data.shape[1] // 2].sum()  # and holes beside it


@pytest.mark.parametrize("codes", [pytest.param("LAS", marks=pytest.mark.soak), "PIR"])
def test_extraction_finds_the_brain_in_any_orientation(head, codes):
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(head.affine), nib.orientations.axcodes2ornt(codes)
    )
    image = nib.Nifti1Image(head.data, head.affine).as_reoriented(turn)
    mask = extract_brain(image.get_fdata(dtype=np.float32), Space(image.shape, image.affine))
    assert mask.shape == image.shape
    litres = mask.sum() * Space(image.shape, image.affine).voxel_ml / 1000
    assert litres == pytest.approx(1.292, abs=0.03)  # what the source of this person's data says
    center = nib.affines.apply_affine(image.affine, np.argwhere(mask).mean(axis=0))
    # mm: extraction by a network; the centre is to be found in any orientation.
    np.testing.assert_allclose(center, CENTER_OF_HEAD, atol=2)


# Middle of sub-04's brain in RAS mm, from the extraction in the file's own orientation.
CENTER_OF_HEAD = (1.2, -18.2, -3.0)


@pytest.mark.soak
def test_a_whole_head_arrives_in_the_models_space(head, target):
    heard = []
    aligned = head.align(target, progress=Progress(lambda done, *_: heard.append(done)))
    assert aligned.quality > 0.92
    assert "Brain extracted with deepbet." in aligned.steps
    assert not [step for step in map(str, aligned.steps) if step.startswith("Check:")]
    assert heard == sorted(heard)
    assert len(heard) >= 3
    litres = np.count_nonzero(aligned.brain_mask) * aligned.space.voxel_ml / 1000
    # Resampled to the model's grid; voxels at the border.
    assert litres == pytest.approx(1.292, rel=0.05)
    assert_contract(aligned, target)


def test_an_extracted_brain_is_kept_as_it_is(coarse, target):

    class Model(Template):
        """As a generator, it holds much besides the two."""

    aligned = coarse.align(Model(target.space, target.template))
    assert type(aligned.prepared.target) is Template, "each scan would keep its model in memory"
    assert aligned.quality > 0.93
    assert aligned.steps[0].startswith("The brain was extracted already")
    assert_contract(aligned, target)
    native = aligned.to_native(aligned.volume).get_fdata()
    inside = coarse.data > 0
    assert np.corrcoef(native[inside], coarse.data[inside])[0, 1] > 0.8  # by way of 4 mm


def assert_contract(aligned, target):
    volume, mask = aligned.volume, aligned.brain_mask
    assert volume.dtype == np.float32
    assert volume.shape == target.space.shape
    assert volume.min() == 0
    assert volume.max() == 1
    assert not volume[~mask].any()
    # A percentile among a finite number of voxels.
    assert np.mean(volume[mask] == 1) == pytest.approx(0.005, abs=0.001)
    np.testing.assert_allclose(aligned.rigid[3], [0, 0, 0, 1])
    np.testing.assert_allclose(
        aligned.rigid[:3, :3] @ aligned.rigid[:3, :3].T, np.eye(3), atol=DOUBLE
    )


def test_another_contrast_is_pointed_out(coarse, target):
    inside = coarse.data > 0
    inverted = np.where(inside, coarse.data.max() - coarse.data, 0).astype(np.float32)
    scan = Scan(inverted, coarse.affine, coarse.geometry, coarse.path, coarse.sha256)
    scan = replace(scan, contrast="FLAIR")  # as its name says
    steps = [*map(str, scan.align(target, bias_correction=False).steps)]
    judged = [step for step in steps if "T1-weighted scan" in step or "less similar" in step]
    assert "not that of a T1-weighted scan" in judged[0], "what explains the others first"
    assert "by its name or timing it is FLAIR" in judged[0]


def test_what_is_called_a_flair_has_to_look_more_like_a_t1_image(coarse, target):
    aligned = coarse.align(target, bias_correction=False)
    volume, mask = aligned.volume, aligned.brain_mask
    rng = np.random.default_rng(0)
    noisy = np.where(mask, volume + rng.normal(0, 0.25, volume.shape).astype(np.float32), 0)
    agreement = contrast_agreement(noisy, target.template, mask)
    assert EXPECTED_CONTRAST < agreement < NAMED_CONTRAST, "as some FLAIR images do"
    kinds = [
        [doubt.severity for doubt in contrast_doubts(noisy, target.template, mask, called)]
        for called in ("", "T1-weighted", "FLAIR", "T2-weighted")
    ]
    assert kinds == [[], [], ["refuse"], ["refuse"]]
    figures = {"coverage": {"value": 1.0}}
    doubts = contrast_doubts(noisy, target.template, mask, "FLAIR")
    assert refusal(figures, noisy, target.template, mask) is None
    assert refusal(figures, noisy, target.template, mask, doubts).kind == "contrast"


def test_a_label_map_is_named_as_one_at_once(brain, target):
    labels = np.round(3 * brain.data / brain.data.max()).astype(np.float32)
    blocks = np.kron(labels[::8, ::8, ::8], np.ones((8, 8, 8), np.float32))
    with pytest.raises(ScanError, match="is a label map or a mask, not a scan"):
        replace(brain, data=blocks).align(target)


def test_a_header_that_is_half_a_turn_wrong_is_corrected_with_a_warning(coarse, target):
    turned = replace(coarse, affine=np.diag([-1.0, -1, 1, 1]) @ coarse.affine)
    found = turned.align(target, bias_correction=False)
    assert any("may have left and right swapped" in step for step in map(str, found.steps))
    assert found.quality > 0.9


def test_z_scores_are_refused_in_words(coarse, target):
    inside = coarse.data > 0
    scores = (coarse.data - coarse.data[inside].mean()) / coarse.data[inside].std()
    data = np.where(inside, scores, scores.min()).astype(np.float32)
    with pytest.raises(ScanError, match="like z-scores"):
        replace(coarse, data=data).align(target, bias_correction=False)


def test_a_brain_cut_off_is_pointed_out(coarse, target):
    box = np.argwhere(coarse.data > 0)
    low = box.min(axis=0)
    affine = coarse.affine @ nib.affines.from_matvec(np.eye(3), low + np.array([0, 0, 15]))
    data = np.ascontiguousarray(coarse.data[low[0] :, low[1] :, low[2] + 15 :])
    scan = Scan(data, affine, coarse.geometry, coarse.path, coarse.sha256)
    steps = [*map(str, scan.align(target, skull="keep", bias_correction=False).steps)]
    assert any("reaches the edge of the field of view" in step for step in steps)


def test_what_is_no_brain_is_refused(target, tmp_path):
    data = np.zeros((60, 60, 60), np.float32)
    data[25:35, 25:35, 25:35] = 100 + np.random.RandomState(0).rand(10, 10, 10)
    nib.save(nib.Nifti1Image(data, np.diag([3.0, 3, 3, 1])), tmp_path / "box.nii.gz")
    with pytest.raises(ScanError, match="27 ml"):
        read_scan(tmp_path / "box.nii.gz").align(target, skull="keep")
    with pytest.raises(ScanError, match="must be one of"):
        read_scan(tmp_path / "box.nii.gz").align(target, skull="maybe")


def test_negative_brains_are_refused(brain, target):
    data = brain.data - np.float32(5000)
    scan = Scan(data, brain.affine, brain.geometry, brain.path, brain.sha256)
    with pytest.raises(ScanError, match="negative"):
        scan.align(target)


def test_noise_is_refused_by_the_alignment(target, tmp_path):
    data = np.zeros((50, 50, 50), np.float32)
    data[5:45, 5:45, 20:35] = np.random.RandomState(0).uniform(0, 1, (40, 40, 15))
    nib.save(nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1])), tmp_path / "slab.nii.gz")
    with pytest.raises(ScanError, match="does not match"):
        read_scan(tmp_path / "slab.nii.gz").align(target, skull="keep", bias_correction=False)


def test_bias_correction_takes_out_a_gradient(phantom, whole_bias):
    space = phantom.space
    data = resample(phantom.brain.template, phantom.brain.space, space) * 600
    mask = data > 60
    slope = np.linspace(-0.15, 0.15, space.shape[1], dtype=np.float32)[None, :, None]

    def bias_field(data):
        grid = working_grid(mask & (data > 0), space)
        return field_on(log_bias_field(data, mask, space, grid), grid, space)

    before = bias_field(data)
    after = bias_field(data * np.exp(slope))
    # Its mean is 1, not that of its logarithm.
    assert np.log(before[mask]).mean() == pytest.approx(0, abs=0.01)
    change = np.log(after / before)[mask]
    planted = np.broadcast_to(slope, space.shape)[mask]
    assert np.corrcoef(change, planted)[0, 1] > 0.9


def test_normalise():
    data = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    mask = data >= 500
    volume, scale = normalise(data, mask)
    assert scale == pytest.approx(np.percentile(data[mask], 99.5))
    np.testing.assert_allclose(volume[mask], np.minimum(data[mask] / scale, 1), rtol=FLOAT32)
    assert not volume[~mask].any()


def test_any_rising_contrast_becomes_the_usual_one():
    brain = np.random.RandomState(0).gamma(4.0, 0.05, (20, 20, 20)).astype(np.float32)
    brain[:5] = 0
    inside = brain > 0
    usual = usual_contrast(brain)
    assert not usual[~inside].any()
    steps = np.linspace(0, 100, len(USUAL))
    # Between voxels of a random brain percentiles are interpolated.
    np.testing.assert_allclose(np.percentile(usual[inside], steps), USUAL, atol=2e-3)
    # The curve is straight between 21 percentiles: exact for a straight change alone.
    for other, error in ((brain**0.7, 0.05), (0.4 + 0.1 * brain, 1e-3)):
        np.testing.assert_allclose(usual_contrast(other * inside), usual, atol=error)
    assert not usual_contrast(np.zeros((3, 3, 3), np.float32)).any()


def test_resampling_does_not_alias():
    """Stripes finer than the new grid become grey, where plain interpolation keeps them."""
    fine = Space((64, 64, 64), np.diag([1.0, 1, 1, 1]))
    stripes = np.zeros(fine.shape, np.float32)
    stripes[::2] = 1
    coarse = fine.resized((16, 16, 16))
    grey = resample(stripes, fine, coarse)[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(grey, 0.5, atol=0.02)  # what a filter of finite length lets through


def test_resampling_to_the_same_grid_changes_nothing(target):
    same = resample(target.template, target.space, target.space)
    np.testing.assert_allclose(same, target.template, atol=SUMS)


def test_template_scales(tmp_path, target):
    for name, data in (
        ("u1", np.rint(target.template * 255).astype(np.uint8)),
        ("f4", target.template),
        ("other", target.template * 800),
    ):
        nib.save(nib.Nifti1Image(data, target.space.affine), tmp_path / f"{name}.nii.gz")
        found = load_template(tmp_path / f"{name}.nii.gz")
        assert isinstance(found, Template)
        assert np.corrcoef(found.template.ravel(), target.template.ravel())[0, 1] > 0.999
        assert 0.9 < found.template.max() <= 1
    with pytest.raises(ScanError, match="does not exist"):
        load_template(tmp_path / "missing.nii.gz")


class Failing:
    """Stands in for deepbet."""

    def __init__(self, error):
        self.error = error

    def run(self, image):
        raise self.error


def test_its_networks_take_less_memory_and_find_the_same():
    network = extraction.deepbet().bbox_model
    x = torch.randn(1, 1, 64, 64, 128, generator=torch.manual_seed(0))
    with torch.no_grad():
        expected = network._script(x)[0, 1]
    # Probabilities of noise, after twenty layers.
    torch.testing.assert_close(network(x)[0, 1], expected, atol=5 * LAYERS, rtol=0)


def test_only_a_missing_brain_is_called_one(head, monkeypatch):
    missing = Failing(AssertionError("Not enough foreground to calculate bounding box"))
    monkeypatch.setattr(extraction, "deepbet", lambda: missing)
    with pytest.raises(ScanError, match="No brain was found"):
        extraction.extract_brain(head.data, head.space)
    memory = Failing(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    monkeypatch.setattr(extraction, "deepbet", lambda: memory)
    with pytest.raises(RuntimeError, match="allocate"):
        extraction.extract_brain(head.data, head.space)
