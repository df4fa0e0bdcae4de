"""Brain that is missing from a scan, and what was left around it."""

from dataclasses import replace

import numpy as np
import pytest
from bundled import bundled, random_brain
from scipy import ndimage

from stylegan3d.base import ScanError, StyleGAN3DError, doubts_in
from stylegan3d.cohort.preparation import Job, prepare_volume
from stylegan3d.geometry.space import Space, eroded, filled
from stylegan3d.model.generator import load
from stylegan3d.outputs.labels import lesions_of_scan, segment_scan
from stylegan3d.outputs.visits import named_doubts
from stylegan3d.projection.assessment import looked_over, outline_doubts, whole_guess
from stylegan3d.projection.projector import search
from stylegan3d.projection.scanner import compare_outline, find_dark
from stylegan3d.projection.settings import Choices
from stylegan3d.projection.signs import first_guess
from stylegan3d.scans import read_scan
from stylegan3d.scans.aligned import AlignedScan, PreparedBrain, on_grid
from stylegan3d.scans.alignment import load_template
from stylegan3d.scans.verdicts import doubts_of_scan
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.storage.places import TEMPLATE, bundled_model_path
from stylegan3d.storage.volumes import write_volume


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


@pytest.fixture(scope="module")
def scans(target, tmp_path_factory):
    """A random brain, whole and without the lower frontal lobes, as prepared scans."""
    brain = random_brain(3) / np.float32(255)
    y, z = (target.space.affine[i, i] * np.indices(brain.shape)[i] for i in (1, 2))
    y, z = y + target.space.affine[1, 3], z + target.space.affine[2, 3]
    folder, found = tmp_path_factory.mktemp("scans"), []
    for name, shown in (("whole", brain), ("cut", np.where(y > 42 + 0.35 * z, 0, brain))):
        path = folder / f"sub-{name}_T1w.nii.gz"
        write_volume(path, shown, target.space.affine, description="a brain", sidecar={})
        found.append(path)
    return found


def test_whatever_measures_a_scan_tells_that_brain_is_missing(scans, target, tmp_path):
    """Structures: see `tests/cli/test_structures.py`."""
    whole, cut = map(read_scan, scans)

    def labelled(scan):
        return segment_scan(bundled_segmenter(), scan).doubts

    def prepared(scan):
        return prepare_volume(Job(target, "auto", True, 0.8, tmp_path), scan.path)[1]["doubts"]

    for scan in (labelled(whole), prepared(whole)):
        assert "brain-missing" not in [doubt.kind for doubt in scan]
    for doubts in (labelled(cut), prepared(cut), lesions_of_scan(cut).doubts):
        (told,) = (doubt for doubt in doubts if doubt.kind == "brain-missing")
        assert "frontal lobe" in str(told)
        assert told.severity == "ask"


def test_a_brain_that_lies_in_another_models_grid_is_refused(scans, target):
    mine = read_scan(scans[0]).align(target)
    finer = replace(mine.space, affine=mine.space.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    with pytest.raises(StyleGAN3DError, match="2 mm"):
        segment_scan(bundled_segmenter(), replace(mine, space=finer))


@pytest.mark.parametrize("shift_mm", [0.0, 1.0])  # a border of whole voxels, and of their parts
def test_a_brain_that_was_stripped_too_tightly_is_told(scans, target, shift_mm):
    scan, pose = read_scan(scans[0]), np.eye(4)
    pose[:3, 3] = shift_mm
    whole, found = filled(scan.data > 0), []
    without_fluid = scan.data > 0.4 * scan.data.max()  # on purpose
    for mask in (whole, eroded(whole, 3), without_fluid):
        brain = np.where(mask, scan.data, 0).astype(np.float32)
        placed = on_grid(scan, PreparedBrain(brain, mask, target.space, target), pose, ())
        found.append([str(doubt) for doubt in outline_doubts(placed)])
    assert not any("surface" in text for text in [*found[0], *found[2]])
    (told,) = (text for text in found[1] if "surface" in text)
    assert "Cortex may have been removed" in told


def test_what_is_missing_is_filled_in_until_its_size_is_seen(scans, target):
    """The encoder takes a brain without its top for a flatter one, and draws that."""
    brain = read_scan(scans[0]).data.astype(np.float32)
    mask, z = brain > 0, np.indices(brain.shape)[2]
    low = z < np.quantile(z[mask], 0.85)
    cut_off = (mask & ~low).sum() * target.space.voxel_ml
    shown, seen = np.where(low, brain, 0), mask & low
    found = {}
    for name, guess in (
        ("first", first_guess(bundled(), shown, target.template)),
        ("whole", whole_guess(bundled(), shown, seen)),
    ):
        found[name] = compare_outline(guess.volume, seen, target.space)
    assert sum(found["first"].missing.values()) < 0.5 * cut_off
    # In 27 people 55 to 104 % of what was cut off in seven ways.
    assert sum(found["whole"].missing.values()) == pytest.approx(cut_off, rel=0.35)
    assert not found["whole"].surplus
    same = whole_guess(bundled(), brain, mask), first_guess(bundled(), brain, target.template)
    np.testing.assert_array_equal(same[0].volume, same[1].volume)


def test_an_autoencoder_that_draws_the_cut_does_not_hide_it(scans, target):
    """Neither where a scan is looked over nor where its projection is judged."""
    aligned, model = (
        aligned_as_it_is(scans[1], target),
        load("vae-t1-2mm"),
    )
    assert "brain-missing" in [doubt.kind for doubt in outline_doubts(aligned, model)]
    done = search(model, aligned, aligned, Choices(budget="draft", steps=1))
    assert "brain-missing" in [doubt.kind for doubt in done.doubts]


def test_what_covers_too_little_of_the_brain_is_not_trained_on(scans, target, tmp_path):
    brain, path = read_scan(scans[1]).data.astype(np.float32), tmp_path / "sub-low_T1w.nii.gz"
    x, z = (
        target.space.affine[i, i] * np.indices(brain.shape)[i] + target.space.affine[i, 3]
        for i in (0, 2)
    )
    low = np.where(z > 50 - 0.2 * abs(x), 0, brain)
    write_volume(path, low, target.space.affine, description="a brain", sidecar={})
    with pytest.raises(ScanError, match=r"sub-low_T1w.nii.gz covers only 8\d % of the brain; give"):
        prepare_volume(Job(target, "auto", True, 0.8, tmp_path), path)


def aligned_as_it_is(path, target):
    """A prepared scan that lies on the grid of the target."""
    scan = read_scan(path)
    volume, mask = scan.data.astype(np.float32), scan.data > 0
    prepared = PreparedBrain(volume, mask, target.space, target)
    return AlignedScan(volume, target.space, np.eye(4), 1.0, mask, 1.0, [], scan, prepared)


def test_a_projected_scan_carries_it_into_its_files(scans, target):
    aligned = aligned_as_it_is(scans[1], target)
    done = search(bundled(), aligned, aligned, Choices(budget="draft", steps=1))
    assert "brain-missing" in [doubt.kind for doubt in doubts_of_scan(done.aligned.describe())]
    assert [doubt.kind for doubt in done.doubts].count("brain-missing") == 1
    assert sum("is missing" in doubt.sentence for doubt in done.doubts) == 1, "nor by the verdict"


def test_an_aligned_scan_carries_it_until_its_pose_changes(scans, target):
    aligned = aligned_as_it_is(scans[1], target)
    kinds = [doubt.kind for doubt in looked_over(aligned).doubts]
    assert "brain-missing" in kinds
    assert [doubt.kind for doubt in named_doubts(aligned)] == kinds
    again = looked_over(aligned).posed(np.eye(4))
    assert "brain-missing" not in [doubt.kind for doubt in doubts_in(again.steps)]
    # What is aligned to a mean brain that lies elsewhere cannot be compared.
    moved = Space(target.space.shape, target.space.affine + np.outer([1, 0, 0, 0], [0, 0, 0, 40]))
    assert not outline_doubts(replace(aligned, space=moved))
