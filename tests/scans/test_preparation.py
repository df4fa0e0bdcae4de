"""Steps of the preparation: told, timed, kept on disk, left out; poses found and moved by hand."""

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tolerances import DOUBLE, FLOAT32

from stylegan3d.base import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import Scan, extraction, read_scan
from stylegan3d.scans.intensity import contrast_in_brain
from stylegan3d.scans.scan import MOST_ENTRIES, SUFFIX, StepCache, averaged, key_of
from stylegan3d.storage.encoding import packed_arrays


@pytest.fixture(scope="module")
def scan(phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "DOE_JANE.nii.gz"
    nib.save(phantom.image(), path)
    return read_scan(path)


@pytest.fixture(scope="module")
def aligned(scan, target):
    return scan.align(target, bias_correction=False)


def pose_of(angles, shift, center):
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    return nib.affines.from_matvec(turn, center - turn @ center + np.array(shift))


def test_every_step_says_what_it_did_and_how_long_it_took(scan, target):
    aligned = scan.align(target)
    assert [step.name for step in aligned.record] == ["brain", "bias", "pose", "grid"]
    assert [step.how for step in aligned.record] == ["kept", "done", "done", "done"]
    assert all(step.seconds > 0 for step in aligned.record)
    assert aligned.steps == [note for step in aligned.record for note in step.notes]
    assert aligned.quality > 0.9
    assert aligned.quality_in_words in (
        "good",
        "as good as the training brains",
    )
    assert "poor" in replace(aligned, quality=0.3).quality_in_words


def test_what_was_done_before_is_taken_from_disk(scan, target, tmp_path):
    first = scan.align(target, cache=tmp_path / "cache")
    again = scan.align(target, cache=tmp_path / "cache")
    assert [step.how for step in again.record] == ["cached", "cached", "cached", "done"]
    np.testing.assert_array_equal(first.volume, again.volume)
    np.testing.assert_array_equal(first.rigid, again.rigid)
    assert first.steps == again.steps
    # And without a cache, twice the same.
    anew = scan.align(target)
    np.testing.assert_array_equal(first.volume, anew.volume)
    np.testing.assert_array_equal(first.rigid, anew.rigid)
    for entry in (tmp_path / "cache").iterdir():
        assert "DOE" not in entry.name
        assert b"DOE" not in entry.read_bytes()


def test_another_scan_setting_or_target_is_another_entry(scan, target, tmp_path):
    def hows(scan, target, **settings):
        aligned = scan.align(target, cache=tmp_path, **settings)
        return [step.how for step in aligned.record]

    hows(scan, target, bias_correction=False)
    assert hows(scan, target, bias_correction=False) == ["cached", "cached", "done"]
    moved = replace(scan, affine=pose_of((0, 0, 0), (5, 0, 0), np.zeros(3)) @ scan.affine)
    assert "cached" not in hows(moved, target, bias_correction=False)
    other = replace(scan, data=scan.data * np.float32(1.5))  # another volume of the same file
    assert "cached" not in hows(other, target, bias_correction=False)
    wider = replace(target, template=np.sqrt(target.template))
    assert hows(scan, wider, bias_correction=False) == ["cached", "done", "done"]
    assert hows(scan, target)[1] == "done"


def test_damaged_entries_are_made_anew(scan, target, tmp_path):
    settings = {"bias_correction": False, "cache": tmp_path}
    first = scan.align(target, **settings)
    for entry in tmp_path.glob(f"*{SUFFIX}"):
        entry.write_bytes(entry.read_bytes()[:-100])
    again = scan.align(target, **settings)
    assert [step.how for step in again.record][:2] == ["kept", "done"]
    np.testing.assert_array_equal(first.volume, again.volume)
    assert [step.how for step in scan.align(target, **settings).record][:2] == ["cached"] * 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other", "shape", "name", "pickle"])
def test_no_damaged_entry_is_believed(tmp_path, damage):
    cache, key = StepCache(tmp_path), key_of("x", 1)
    cache.put(key, a=np.random.RandomState(0).rand(20, 30))
    shapes = {"a": (20, 30)}
    assert cache.get(key, shapes) is not None
    (entry,) = tmp_path.iterdir()
    raw = bytearray(entry.read_bytes())
    if damage == "flipped":
        raw[len(raw) // 3] ^= 0xFF
    content = {"cut": raw[: len(raw) // 2], "empty": b"", "other": b"not a zip file at all"}
    entry.write_bytes(bytes(content.get(damage, raw)))
    if damage in ("shape", "name", "pickle"):
        other = np.array([{}]) if damage == "pickle" else np.zeros(3)
        arrays = {"b" if damage == "name" else "a": other}
        if damage == "pickle":
            np.savez(entry.open("wb"), **arrays)
        else:
            entry.write_bytes(packed_arrays(arrays))
        shapes = shapes if damage == "shape" else {"a": None}
    assert cache.get(key, shapes) is None


def test_a_cache_that_cannot_be_written_is_told_and_not_needed(scan, target, tmp_path):
    (tmp_path / "file").write_text("in the way")
    aligned = scan.align(target, bias_correction=False, cache=tmp_path / "file")
    assert any("could not be cached" in step for step in map(str, aligned.steps))
    assert aligned.quality > 0.9


def test_the_cache_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr("stylegan3d.scans.scan.MOST_ENTRIES", 3)
    cache = StepCache(tmp_path)
    for number in range(5):
        cache.put(key_of("x", number), a=np.arange(number))
    assert len(list(tmp_path.iterdir())) == 3
    assert cache.get(key_of("x", 4), {"a": (4,)}) is not None
    assert MOST_ENTRIES > 3


def test_steps_can_be_left_out(scan, target, aligned):
    assert [step.name for step in aligned.record] == ["brain", "pose", "grid"]
    generator = SimpleNamespace(space=target.space, template=target.template)
    kept = scan.align(generator, bias_correction=False, pose="keep")
    assert kept.prepared.target is not generator, "which may go while the scan is kept"
    np.testing.assert_array_equal(kept.rigid, np.eye(4))
    assert [step.how for step in kept.record][:2] == ["kept", "kept"]
    with pytest.raises(ScanError, match="pose is 'perhaps'"):
        scan.align(target, pose="perhaps")


def test_a_pose_found_by_hand_is_refined(scan, target, aligned):
    turned = pose_of((0, 0, 80), (40, -30, 20), np.zeros(3))
    odd = replace(scan, affine=turned @ scan.affine)
    start = odd.align(target, bias_correction=False, pose="centre")
    middles = [np.argwhere(a.brain_mask).mean(axis=0) for a in (start, aligned)]
    # Voxels: both masks lie about the middle of the grid.
    np.testing.assert_allclose(*middles, atol=3)
    assert start.quality < aligned.quality - 0.1
    assert np.allclose(start.rigid[:3, :3], np.eye(3))
    by_hand = start.nudged((0, 0, 0), (0, 0, -65))
    found = by_hand.refined()
    # mm: a search of the registration from another start.
    np.testing.assert_allclose(found.rigid @ turned, aligned.rigid, atol=0.5)
    assert found.quality == pytest.approx(aligned.quality, abs=0.005)  # the optimum is flat
    assert [step.name for step in found.record] == ["brain", "pose", "nudge", "nudge", "grid"]
    assert "rotated by 15." in found.record[-2].notes[0]


def test_a_nudge_moves_the_brain_as_told(aligned):
    def middle(result):
        return nib.affines.apply_affine(
            result.space.affine, np.argwhere(result.brain_mask).mean(axis=0)
        )

    moved = aligned.nudged((6, -3, 4))
    # mm, part of a voxel: a mask's centre by its voxels.
    np.testing.assert_allclose(middle(moved) - middle(aligned), (6, -3, 4), atol=0.5)
    assert moved.quality < aligned.quality
    assert any("Moved manually by 7.8 mm, 0.0 degrees." in step for step in map(str, moved.steps))
    back = moved.nudged((-6, 3, -4))
    np.testing.assert_allclose(back.rigid, aligned.rigid, atol=DOUBLE)
    assert back.quality == pytest.approx(aligned.quality, abs=FLOAT32)
    turned = aligned.nudged(rotation_deg=(0, 0, 20))
    # mm, part of a voxel: a mask's centre by its voxels.
    np.testing.assert_allclose(middle(turned), middle(aligned), atol=0.5)
    # The largest ball is at the right; a turn to the left takes it to the front.
    place = nib.affines.apply_affine(turned.rigid @ np.linalg.inv(aligned.rigid), [38, -25, 15])
    assert place[1] > -25 + 8
    with pytest.raises(ScanError, match="entirely outside"):
        aligned.nudged((500, 0, 0))


def test_only_what_was_prepared_is_moved(aligned):
    bare = replace(aligned, prepared=None)
    for move in (bare.nudged, bare.refined, lambda: bare.posed(np.eye(4))):
        with pytest.raises(ScanError, match=r"call Scan\.align first"):
            move()


def test_what_was_moved_by_hand_goes_home(aligned, phantom):
    moved = aligned.nudged((5, 4, -3), (3, 0, -8))
    native = moved.to_native(moved.volume)
    assert phantom.distances(native).max() < 3


def test_odd_poses_are_found(phantom, target, tmp_path):
    """A small share of benchmarks/alignment.py: up to 30 degrees round each axis, 40 mm."""
    draw = np.random.RandomState(0)
    image = phantom.image()
    scan = Scan(np.asarray(image.dataobj), image.affine, {}, tmp_path / "a.nii", "0")
    settings = {"skull": "keep", "bias_correction": False}
    first = scan.align(target, **settings)
    for _ in range(4):
        pose = pose_of(draw.uniform(-30, 30, 3), draw.uniform(-40, 40, 3), np.array([0, -20, 10]))
        odd = replace(scan, affine=pose @ scan.affine).align(target, **settings)
        points = np.argwhere(first.brain_mask)[::50]
        places = nib.affines.apply_affine(np.linalg.inv(first.rigid) @ first.space.affine, points)
        error = nib.affines.apply_affine(odd.rigid @ pose, places) - nib.affines.apply_affine(
            first.rigid, places
        )
        assert np.linalg.norm(error, axis=1).mean() < 2


@pytest.fixture
def head(phantom, tmp_path):
    """The phantom in noisy air, so that it does not count as extracted."""
    data = phantom.on(phantom.space)
    noise = np.random.RandomState(0).uniform(1, 20, data.shape).astype(np.float32)
    return Scan(data + noise, phantom.space.affine, {}, tmp_path / "a.nii", "0")


def test_a_head_that_lies_otherwise_than_said_is_looked_at_again(
    head, target, monkeypatch, tmp_path
):
    seen = []

    def extract(data, space):
        seen.append(space)
        return data > 50

    monkeypatch.setattr(extraction, "extract_brain", extract)
    upright = head.align(target, bias_correction=False)
    assert len(seen) == 1
    pose = pose_of((0, 0, 90), (0, 0, 0), np.array([0, -20, 10]))
    lying = replace(head, affine=pose @ head.affine)
    told = cycle(["Of the first.", "Of the second."])
    monkeypatch.setattr("stylegan3d.scans.scan.edge_notes", lambda *_: [next(told)])
    aligned = lying.align(target, bias_correction=False, cache=tmp_path / "cache")
    notes = " ".join(map(str, aligned.notes))
    assert "Of the second." in notes, "the mask that is used"
    assert "Of the first." not in notes, "the discarded one"
    assert seen[1].axcodes == lying.space.axcodes
    assert seen[2].axcodes == ("R", "A", "S")
    assert any("extracted again, upright" in step for step in map(str, aligned.steps))
    assert np.corrcoef(aligned.volume.ravel(), upright.volume.ravel())[0, 1] > 0.97
    again = lying.align(target, bias_correction=False, cache=tmp_path / "cache")
    assert len(seen) == 3
    np.testing.assert_array_equal(again.volume, aligned.volume)


def test_a_second_look_that_finds_no_brain_changes_nothing(head, target, monkeypatch):
    seen = []

    def extract(data, space):
        seen.append(space)
        if len(seen) == 2:  # air, as deepbet once found it
            return (data <= 50) & (np.indices(data.shape)[1] < 12)
        return data > 50

    monkeypatch.setattr(extraction, "extract_brain", extract)
    upright = head.align(target, bias_correction=False)
    seen.clear()
    pose = pose_of((0, 0, 90), (0, 0, 0), np.array([0, -20, 10]))
    air = np.pad(head.data, 40, mode="edge")
    affine = pose @ head.affine @ nib.affines.from_matvec(np.eye(3), [-40, -40, -40])
    aligned = replace(head, data=air, affine=affine).align(target, bias_correction=False)
    assert len(seen) == 2
    assert np.prod(seen[1].shape) < 0.35 * air.size * 27, "only the head around the brain"
    assert not any("extracted again" in step for step in map(str, aligned.steps))
    assert np.corrcoef(aligned.volume.ravel(), upright.volume.ravel())[0, 1] > 0.97


def test_a_head_that_is_not_found_is_looked_at_alone_and_tilted(head, target, monkeypatch):
    tried = []

    def extract(data, space):
        tried.append(data.shape)
        if len(tried) < 3:
            raise ScanError("no brain")
        return data > 50

    monkeypatch.setattr(extraction, "extract_brain", extract)
    air = np.pad(head.data, 20, mode="edge")
    affine = head.affine @ nib.affines.from_matvec(np.eye(3), [-20, -20, -20])
    steps = [
        *map(str, replace(head, data=air, affine=affine).align(target, bias_correction=False).steps)
    ]
    assert tried[0] == air.shape
    assert len(tried) == 4  # as it lies, alone, tilted, and upright when the pose is known
    assert np.prod(tried[1]) < 0.7 * air.size * 27  # millimetres, without the air
    assert any("air around the head was cropped" in step for step in steps)


def test_a_head_that_is_never_found_is_refused_for_the_first_reason(head, target, monkeypatch):
    reasons = iter(["first", *"23456789"])

    def extract(data, space):
        raise ScanError(next(reasons))

    monkeypatch.setattr(extraction, "extract_brain", extract)
    with pytest.raises(ScanError, match="first"):
        head.align(target)


BALL = Space((60, 70, 50), np.diag([-3.0, 3, 3, 1]))


def ball(middle=(30, 35, 25)) -> np.ndarray:
    """A brain of 140 x 160 x 130 mm."""
    away = (np.indices(BALL.shape).T - middle) / (23, 27, 21.5)
    return np.linalg.norm(away, axis=-1).T < 1


def test_where_the_brain_reaches_the_edge_is_said():
    mask = ball()
    assert extraction.edge_notes(mask, BALL) == []
    mask[28:33, 30:35, :10] = True  # 2.3 cm2
    assert "brain stem" in str(extraction.edge_notes(mask, BALL)[0])
    mask[20:40, 20:40, 40:] = True
    (note,) = extraction.edge_notes(mask, BALL)
    assert (note.kind, note.severity) == ("field-of-view", "ask")
    assert note.sentence.startswith(
        "The brain reaches the edge of the field of view at the top and"
    )
    assert "give a scan of the whole brain" in note.sentence
    (note,) = extraction.edge_notes(ball((42, 35, 25)), BALL)
    assert list(note.figures["edge_cm2"]) == ["L"]


@pytest.mark.parametrize("code", "LRAPSI")
def test_a_brain_cut_off_within_the_field_of_view_is_asked_about(code):
    axis = "LRAPSI".index(code) // 2
    mask = ball()
    along = np.indices(BALL.shape)[axis]
    if code not in "RPI":  # the first axis runs to the left
        along = -along
    mask &= along >= np.sort(along[mask])[round(20 / BALL.voxel_ml)]
    (note,) = extraction.edge_notes(mask, BALL)
    assert (note.kind, note.severity) == ("cut", "ask")
    assert list(note.figures["face_cm2"]) == [code]
    # Estimated from the face, as of a ball: brains are longer than wide.
    assert note.figures["ml"] == pytest.approx(20, rel=0.5)


def test_the_order_of_tissues_tells_the_contrast(target):
    template, mask = target.template, target.template > 0.1
    assert contrast_in_brain(template, template, mask) == "T1-weighted"
    assert contrast_in_brain(np.where(mask, 1 - template, 0), template, mask) == "T2-weighted"
    assert contrast_in_brain(template * 0, template, mask * 0) == ""


def test_very_fine_voxels_are_averaged_and_stay_where_they_are():
    grid = Space((61, 40, 30), np.diag([0.31, 0.45, -0.31, 1.0]))
    x, y, z = np.indices(grid.shape)
    ramp = (grid.affine[:3, :3] @ np.array([x, y, z]).reshape(3, -1)).sum(axis=0)
    scan = Scan(ramp.reshape(grid.shape).astype(np.float32), grid.affine, {}, Path("a.nii"), "")
    seen = averaged(scan)
    assert seen.data.shape == (30, 40, 15)
    places = nib.affines.apply_affine(seen.affine, np.argwhere(np.ones(seen.data.shape)))
    # float32 sums of blocks, about 30.
    np.testing.assert_allclose(seen.data.ravel(), places.sum(axis=1), atol=FLOAT32 * 100)
    coarse = replace(scan, affine=np.diag([0.5, 0.5, 0.5, 1.0]))
    assert averaged(coarse) is coarse
