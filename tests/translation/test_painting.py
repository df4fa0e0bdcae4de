"""Painting, repainting, resizing structures, and label maps as they come."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_phantoms import INTENSITIES, SPACE, VALUES, brain, tissues
from scipy import ndimage
from tolerances import SUMS

from stylegan3d.base import OutputError, ScanError, StyleGAN3DError
from stylegan3d.networks.deformation import resize
from stylegan3d.render.editable import EditableScan, Original
from stylegan3d.render.movement import LEAST_JACOBIAN, Movement
from stylegan3d.scans import read_scan
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.resampling import pack_mask
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.segmentation.classes import CLASSES, REGIONS, region_of_label
from stylegan3d.translation.card import RegionTable
from stylegan3d.translation.files import Relabelled, Resize, place_map, resized, save_relabelled
from stylegan3d.translation.painter import REACH_MM, Repainted, load_painter

VOXEL = SPACE.voxel_size


@pytest.fixture(scope="module")
def painter(painter_folder):
    return load_painter(painter_folder, device="cpu")


def file_of(folder, labels, affine=SPACE.affine, dtype=np.int16):
    path = folder / "map_dseg.nii.gz"
    nib.Nifti1Image(np.asarray(labels, dtype), affine).to_filename(path)
    return path


def test_there_is_nothing_away_from_the_labels(painter):
    labels = tissues(0.6)
    made = painter.paint(labels)
    assert made.dtype == np.float32
    assert made[ndimage.distance_transform_edt(labels == 0) > 3].max() == 0
    assert made[labels == 3].mean() > made[labels == 2].mean() > made[labels == 4].mean()


def test_maps_that_cannot_be_painted_are_refused(painter):
    for labels, sentence in (
        (np.zeros(SPACE.shape, np.uint8), "is empty"),
        (np.ones((4, 4, 4), np.uint8), "expects maps of 20 x 24 x 16 voxels, but this one has 4"),
        (np.full(SPACE.shape, 9, np.uint8), "contains the label 9"),
    ):
        with pytest.raises(StyleGAN3DError, match=sentence):
            painter.paint(labels)


def test_a_repainted_brain_is_itself_where_no_label_changed(painter):
    before = tissues()
    volume = brain(before, 3) / np.float32(255)
    assert np.array_equal(painter.repaint(volume, before, before).volume, volume)
    after = before.copy()
    after[14:16, 11:13, 8:10] = 4
    made = painter.repaint(volume, before, after).volume
    far = ndimage.distance_transform_edt(after == before, VOXEL) > REACH_MM
    assert far.sum() > 1000
    assert np.array_equal(made[far], volume[far])
    changed = after != before
    contrast = painter.contrast_of(volume, before)
    # As it paints the whole map, but for what it was not shown.
    assert abs(made - painter.paint(after, None, contrast))[changed].mean() < 0.05
    assert made[changed].mean() < volume[changed].mean() - 0.2


def test_edited_labels_move_the_scan_itself_and_come_after_other_edits(painter):
    """A scan twice as fine as the painter's grid, in units of 400."""
    before = tissues()
    volume = brain(before, 3) / np.float32(255)
    fine = SPACE.resized(tuple(2 * n for n in SPACE.shape))
    data = 400 * enlarged(volume, fine.shape)
    described = {
        "shape": list(fine.shape),
        "affine": fine.affine.tolist(),
        "rigid": np.eye(4).tolist(),
        "model_affine": SPACE.affine.tolist(),
        "intensity_scale": 400.0,
        "brain_mask": pack_mask(before > 0),
    }
    scan = EditableScan(Original(data, described, volume), SPACE)
    after = resized(before, before == 4, 3.0, VOXEL)
    made = painter.repaint(volume, before, after)
    moved = scan.placed(made.movement)
    assert moved.jacobian.min() > 0
    assert moved.gained_ml[after == 4].sum() > 0.5, "tissue gave way"
    assert 1 < moved.moved_mm.max() < 10
    assert (moved.covered[(after != before)] > 0).any()
    edited = scan.edited(moved) / 400
    inner = ndimage.distance_transform_edt(before > 0, VOXEL) > 6
    expected = enlarged(made.volume, fine.shape)
    within = enlarged(inner.astype(np.float32), fine.shape) > 0.9
    assert np.abs(edited - expected)[within].mean() < 0.02
    assert np.abs(data / 400 - expected)[within].mean() > 0.04
    far = ndimage.distance_transform_edt(after == before, VOXEL) > REACH_MM + 8
    same = enlarged(far.astype(np.float32), fine.shape) == 1
    assert same.sum() > 1000
    assert np.array_equal(edited[same], data[same] / 400)
    # After a shift of all by a voxel, labels that were shifted, too: the same, shifted.
    shift = np.zeros((3, *SPACE.shape), np.float32)
    shift[1] = VOXEL[1]
    first = Movement(shift, np.zeros(SPACE.shape, np.float32), SPACE)
    rolled = painter.repaint(*(np.roll(image, -1, 1) for image in (volume, before, after)))
    both = rolled.movement.after(first)
    # Displacements after one another are interpolated.
    np.testing.assert_allclose(scan.frame(both)[inner], rolled.volume[inner], atol=0.01)
    # Neither of two folds, but one after the other does.
    shift[1] = -0.95 * VOXEL[1] * np.sin(np.arange(24) * np.pi / 6)[:, None] * 6 / np.pi
    squeezed = Movement(shift, np.zeros(SPACE.shape, np.float32), SPACE)
    assert squeezed.jacobian.min() > LEAST_JACOBIAN > squeezed.after(squeezed).jacobian.min()
    twice = Repainted(volume, squeezed).on_scan(scan.fading, squeezed)
    assert twice.jacobian.min() >= LEAST_JACOBIAN


def relabelled(suffix="T1w", mm=3.0):
    """A scan on the painter's grid whose ventricle was resized by hand."""
    before = tissues()
    volume = brain(before, 3) / np.float32(255)
    scan = ScanData(400 * volume, SPACE.affine, {}, Path(f"sub-07_{suffix}.nii.gz"), "00")
    aligned = AlignedScan(volume, SPACE, np.eye(4), 1.0, before > 0, 400.0, [], scan)
    after = resized(before, before == 4, mm, VOXEL)
    return Relabelled("sub-07", volume, before, after, aligned)


@pytest.mark.parametrize(
    ("suffix", "typed", "stem", "labels"),
    [
        ("T1w", "sub-07_desc-a_T1w", "sub-07_desc-a", "sub-07_desc-a"),
        ("T1w", "sub-07_T1w", "sub-07_desc-edited", "sub-07"),
        ("T1w", "my brain", "my brain_desc-edited", "my brain"),
        (
            "FLAIR",
            "sub-07_desc-editedScan_FLAIR",
            "sub-07_desc-editedScan",
            "sub-07_desc-editedScanFLAIR",
        ),
        ("FLAIR", "sub-07_desc-b_run-2_FLAIR", "sub-07_run-2_desc-b", "sub-07_run-2_desc-bFLAIR"),
        ("FLAIR", "sub-07_desc-c", "sub-07_desc-c", "sub-07_desc-c"),
    ],
)
def test_what_lies_beside_an_edited_scan_has_its_contrast_and_desc(
    painter, tmp_path, suffix, typed, stem, labels
):
    found = save_relabelled(tmp_path / f"{typed}.nii.gz", painter, relabelled(suffix))
    names = [typed, f"{labels}_dseg"]
    names += [f"{stem}{what}_{suffix}" for what in ("Change", "Movement")]
    endings = (".nii.gz", ".json")
    assert {path.name for path in tmp_path.iterdir()} == {n + e for n in names for e in endings}
    assert [path.name for path in found] == [f"{name}.nii.gz" for name in names[:2]]


def test_only_the_file_that_was_chosen_is_replaced(painter, tmp_path):
    """Each of somebody else's is kept, and nothing is written if one is there."""
    chosen = tmp_path / "sub-07_desc-a_T1w.nii.gz"
    save_relabelled(chosen, painter, relabelled())
    save_relabelled(tmp_path / "sub-07_desc-b_T1w.nii.gz", painter, relabelled(mm=-1.5))
    saved = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(saved) == 16
    sidecar = chosen.with_name("sub-07_desc-a_T1w.json")
    beside = [path for path in saved if "desc-a" in path.name and path not in (chosen, sidecar)]
    assert len(beside) == 6
    for path in beside:
        path.unlink()
    for path in beside:
        path.write_bytes(b"of somebody else")
        with pytest.raises(OutputError, match=f"^{path.name} exists already and was") as told:
            save_relabelled(chosen, painter, relabelled(mm=2.0))
        assert "\n" not in str(told.value)
        assert path.read_bytes() == b"of somebody else"
        assert chosen.read_bytes() == saved[chosen]
        path.unlink()
    save_relabelled(chosen, painter, relabelled(mm=2.0))
    assert chosen.read_bytes() != saved[chosen]
    assert sidecar.read_bytes() != saved[sidecar]
    for path, content in saved.items():
        assert "desc-a" in path.name or path.read_bytes() == content


def test_a_brain_is_replaced_with_what_was_saved_with_it(painter, tmp_path):
    chosen = tmp_path / "sub-07_desc-a_T1w.nii.gz"
    again = tmp_path / "again" / chosen.name
    save_relabelled(chosen, painter, relabelled())
    save_relabelled(chosen, painter, relabelled(mm=2.0))
    again.parent.mkdir()
    save_relabelled(again, painter, relabelled(mm=2.0))
    names = sorted(path.name for path in again.parent.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    for name in names:
        assert (tmp_path / name).read_bytes() == (again.parent / name).read_bytes()


def test_labels_that_were_changed_since_are_not_replaced(painter, tmp_path):
    chosen = tmp_path / "sub-07_desc-a_T1w.nii.gz"
    _, labels = save_relabelled(chosen, painter, relabelled())
    nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_filename(labels)
    saved = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=f"^{labels.name} exists already and was not saved with"):
        save_relabelled(chosen, painter, relabelled(mm=2.0))
    assert saved == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_nothing_of_the_brain_before_is_left_beside_another(painter, tmp_path):
    chosen = tmp_path / "sub-07_desc-a_T1w.nii.gz"
    save_relabelled(chosen, painter, relabelled())
    saved = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"^sub-07_desc-aChange_T1w\.json was saved with"):
        save_relabelled(chosen, painter, replace(relabelled(), scan=None))
    assert saved == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("sidecar", ["", "[]", "{}", '{"SavedWith": 3}', '{"SavedWith": {"a": 1}}'])
def test_a_sidecar_of_another_program_names_nothing_to_replace(painter, tmp_path, sidecar):
    chosen = tmp_path / "sub-07_desc-a_T1w.nii.gz"
    _, labels = save_relabelled(chosen, painter, relabelled())
    chosen.with_name("sub-07_desc-a_T1w.json").write_text(sidecar)
    with pytest.raises(OutputError, match=f"^{labels.name} exists already"):
        save_relabelled(chosen, painter, relabelled(mm=2.0))


@pytest.mark.parametrize(
    ("typed", "there"),
    [
        ("larger", "larger.nii.gz"),
        ("larger.nii", "larger.nii.gz"),
        ("larger.nii.gz", "larger.json"),
        ("larger_T1w.nii.gz", "larger_dseg.nii.gz"),
    ],
)
def test_a_brain_replaces_no_file_of_a_name_that_was_not_typed(painter, tmp_path, typed, there):
    edit = replace(relabelled(), scan=None)
    (tmp_path / there).write_bytes(b"of somebody else")
    with pytest.raises(OutputError, match=f"^{there} exists already"):
        save_relabelled(tmp_path / typed, painter, edit)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_bytes() == b"of somebody else"


def enlarged(volume, shape):
    return resize(torch.from_numpy(volume)[None, None], shape)[0, 0].numpy()


def ball(radius, shape=(40, 40, 40), middle=(20, 20, 20)):
    places = np.indices(shape) - np.reshape(middle, (3, 1, 1, 1))
    return (places**2).sum(axis=0) < radius**2


@pytest.mark.parametrize("mm", [-3.0, -1.5, 2.0, 4.0])
def test_a_ball_is_resized_by_as_many_millimetres(mm):
    labels = np.where(ball(18), 3, 0).astype(np.uint8)
    labels[ball(6)] = 4
    found = resized(labels, labels == 4, mm, (1.0, 1.0, 1.0))
    radius = (3 * (found == 4).sum() / (4 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(6 + mm, abs=0.4)  # voxels of 1 mm
    assert np.array_equal(found == 0, labels == 0)


@pytest.mark.parametrize("mm", [-1.5, -1.0, -0.5])
def test_less_than_half_a_voxel_is_something(mm):
    labels = np.where(ball(18), 3, 0).astype(np.uint8)
    labels[ball(6)] = 4
    sizes = [(resized(labels, labels == 4, d, (2, 2, 2)) == 4).sum() for d in (mm + 0.5, mm)]
    assert 0.5 * sizes[0] < sizes[1] < sizes[0]


@pytest.mark.parametrize(("layers", "mm"), [(2, -1.0), (1, -0.5), (4, -1.0)])
def test_a_sheet_gets_thinner_and_does_not_vanish(layers, mm):
    labels = np.full((30, 30, 12), 3, np.uint8)
    labels[..., 4 : 4 + layers] = 4
    left = (resized(labels, labels == 4, mm, (2, 2, 2)) == 4).sum() / 900
    assert 0.5 * layers <= left <= 0.8 * layers


def test_what_lies_around_is_pushed_along():
    labels = np.where(ball(19), 3, 0).astype(np.uint8)
    labels[ball(10) & ~ball(8)] = 2
    labels[ball(5)] = 4
    found = resized(labels, labels == 4, 3.0, (1.0, 1.0, 1.0))
    away = np.sqrt(((np.indices(labels.shape) - 20) ** 2).sum(axis=0))
    before, after = away[labels == 2].mean(), away[found == 2].mean()
    assert before + 1 < after < before + 3
    assert (found == 2).sum() > 0.7 * (labels == 2).sum(), "it is not painted over"


def test_two_parts_that_grow_into_each_other_leave_nothing_between():
    labels = np.where(ball(19), 3, 0).astype(np.uint8)
    labels[ball(5, middle=(14, 20, 20)) | ball(5, middle=(27, 20, 20))] = 4
    found = resized(labels, labels == 4, 3.0, (1.0, 1.0, 1.0))
    assert (found[14:28, 20, 20] == 4).all()


def test_specks_stay_and_wrong_wishes_are_refused():
    labels = np.where(ball(19), 3, 0).astype(np.uint8)
    labels[ball(6)] = 4
    labels[20, 20, 34] = 4
    found = resized(labels, labels == 4, 3.0, (1.0, 1.0, 1.0))
    assert (found[:, :, 32:] == 4).sum() == 1
    assert np.array_equal(resized(labels, labels == 4, 0.0, (1.0, 1.0, 1.0)), labels)
    with pytest.raises(StyleGAN3DError, match="10 mm at most, not by 11 mm"):
        resized(labels, labels == 4, 11.0, (1.0, 1.0, 1.0))
    with pytest.raises(StyleGAN3DError, match="This structure is not in"):
        resized(labels, labels == 5, 1.0, (1.0, 1.0, 1.0))
    assert Resize.parse("ventricle=-1.5") == Resize("ventricle", -1.5)
    for text in ("bone=3", "ventricle", "grey=nan", "=2"):
        with pytest.raises(StyleGAN3DError, match="is not a change of a tissue"):
            Resize.parse(text)


def test_a_map_on_the_grid_is_taken_as_it_is(painter, tmp_path):
    labels = tissues()
    placed = place_map(read_scan(file_of(tmp_path, labels)), painter)
    assert np.array_equal(placed.tissues, labels)
    assert placed.regions is None
    codes = np.array(VALUES)[labels]
    placed = place_map(read_scan(file_of(tmp_path, codes)), painter)
    assert np.array_equal(placed.tissues, labels)
    assert np.array_equal(placed.regions, painter.regions.group_of(codes))
    made = painter.paint(placed.tissues, placed.regions)
    assert placed.to_native(made, painter) is made
    # FreeSurfer's code of a structure of each tissue: fluid, cortex, white matter, ventricle, stem.
    codes = np.array([0, 24, 42, 41, 43, 16])[labels]
    codes[labels == 3] = np.where(np.arange((labels == 3).sum()) % 2, 2, 41)
    placed = place_map(read_scan(file_of(tmp_path, codes)), painter)
    assert np.array_equal(placed.tissues, labels)
    assert placed.regions is None


def test_a_map_of_another_orientation_comes_to_lie_in_place_and_goes_back(painter, tmp_path):
    labels = tissues()
    turned = nib.as_closest_canonical(nib.Nifti1Image(labels, SPACE.affine)).as_reoriented(
        np.array([[1, -1], [2, 1], [0, -1]])
    )
    path = file_of(tmp_path, np.asarray(turned.dataobj), turned.affine)
    placed = place_map(read_scan(path), painter, pose="keep")
    assert np.array_equal(placed.tissues, labels)
    made = painter.paint(placed.tissues)
    back = nib.Nifti1Image(placed.to_native(made, painter), turned.affine)
    assert back.shape == turned.shape
    assert np.allclose(nib.as_closest_canonical(back).get_fdata(), made, atol=SUMS)
    assert np.array_equal(placed.labels_to_native(labels, painter), np.asarray(turned.dataobj))


def test_finer_voxels_become_the_tissue_most_of_them_are(painter, tmp_path):
    labels = tissues()
    fine = labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    space = SPACE.resized((40, 48, 32))
    # A single voxel among eight is a hole that the seven outvote.
    fine[20, 24, 16] = 1
    placed = place_map(read_scan(file_of(tmp_path, fine, space.affine)), painter, pose="keep")
    assert (placed.tissues == labels).mean() > 0.97
    assert placed.tissues[10, 12, 8] == labels[10, 12, 8]


@pytest.mark.parametrize(
    ("change", "dtype", "sentence"),
    [
        (lambda a: np.where(a == 5, 99, a), np.int16, "contains the label"),
        (lambda a: a * 0.5, np.float32, "not whole or below 0"),
        (lambda a: np.where(a == 5, -5, a.astype(int)), np.int16, "not whole or below 0"),
    ],
)
def test_other_files_are_refused_in_a_sentence(painter, tmp_path, change, dtype, sentence):
    path = file_of(tmp_path, change(tissues()), dtype=dtype)
    with pytest.raises(ScanError, match=sentence):
        place_map(read_scan(path), painter)


def test_a_map_elsewhere_is_refused_where_it_is_to_be_kept(painter, tmp_path):
    affine = SPACE.affine.copy()
    affine[:3, 3] += 1000
    scan = read_scan(file_of(tmp_path, tissues(), affine))
    with pytest.raises(ScanError, match="entirely outside"):
        place_map(scan, painter, pose="keep")


def test_the_means_of_people_are_those_of_the_phantoms(painter):
    # The figures come from the phantoms' people, each with a contrast of his own.
    assert painter.usual[:5] == pytest.approx(INTENSITIES[1:], abs=0.03)


def test_a_painter_of_the_regions_takes_the_numbers_of_the_protocol(painter_folder, tmp_path):
    """As `segment --regions` writes regions, or as the protocol has them; and no other number."""
    painter = load_painter(painter_folder, device="cpu")
    rows = [[i, n, CLASSES[REGIONS.tissues[i]]] for i, n in enumerate(REGIONS.classes) if i]
    painter.regions = RegionTable.from_list(rows)
    where = {1: 46, 2: 177, 3: 45, 4: 51, 5: 35}
    own = {tissue: region_of_label()[number] for tissue, number in where.items()}
    found = []
    for codes in (own, where):
        labels = np.array([0, *codes.values()])[tissues()]
        found.append(place_map(read_scan(file_of(tmp_path, labels)), painter, pose="keep"))
        assert np.array_equal(found[-1].tissues, tissues())
        assert "5 labels, taken as regions." in found[-1].notes
    assert np.array_equal(found[0].regions, found[1].regions)
    assert len(np.unique(found[0].regions)) == 6
    labels[labels == where[5]] = 72
    vermis = place_map(read_scan(file_of(tmp_path, labels)), painter, kind="regions", pose="keep")
    assert (vermis.tissues[tissues() == 5] == CLASSES.index("grey")).all()
    labels[labels == 72] = 77
    with pytest.raises(ScanError, match="contains the label 77, which is not one of the regions"):
        place_map(read_scan(file_of(tmp_path, labels)), painter)
