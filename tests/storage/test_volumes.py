"""Saved volumes: where other programs place them, that bytes repeat, that nothing half is left."""

import errno
import gzip
import json
import os
import stat
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from tolerances import QFORM_MM, SFORM_MM

from stylegan3d.base import OutputError
from stylegan3d.storage import files
from stylegan3d.storage.files import (
    atomic_write_bytes,
    atomic_write_text,
    check_output,
    write_together,
)
from stylegan3d.storage.volumes import write_volume

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.2, 0.3) @ np.diag([2.0, 1.5, 1.0]), [-20, 31, -7.5]
)


def phantom(shape=(4, 5, 6)):
    """An image no flip or turn maps onto itself."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 100 - 0.05


def all_orientations():
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        yield nib.orientations.inv_ornt_aff(np.column_stack([axes, signs]), (4, 5, 6))


def write(path, data=None, affine=OBLIQUE, **options):
    options = {"description": "of a test", "sidecar": {"Recipe": {"seed": 1}}, **options}
    write_volume(path, phantom() if data is None else data, affine, **options)


def listing(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_nibabel_and_itk_place_every_voxel_alike(tmp_path):
    path = tmp_path / "a.nii.gz"
    for turned in all_orientations():
        affine = OBLIQUE @ turned
        write(path, affine=affine, overwrite=True)
        image, itk = nib.load(path), sitk.ReadImage(str(path))
        np.testing.assert_allclose(image.affine, affine, atol=SFORM_MM)
        for index in ((0, 0, 0), (3, 0, 0), (0, 4, 0), (0, 0, 5), (3, 4, 5)):
            lps = np.array(itk.TransformIndexToPhysicalPoint(index))
            ras = nib.affines.apply_affine(image.affine, index)
            np.testing.assert_allclose(lps * [-1, -1, 1], ras, atol=QFORM_MM)
            assert itk[index] == image.dataobj[index] == phantom()[index]


def test_sform_and_qform_agree_and_the_header_says_what_it_is(tmp_path):
    write(tmp_path / "a.nii.gz", description="by stylegan3d " + "long " * 30)
    header = nib.load(tmp_path / "a.nii.gz").header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=QFORM_MM)
    assert header["sform_code"] == header["qform_code"] == 2
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_data_dtype() == np.float32
    assert header["magic"] == b"n+1"
    assert header["descrip"].item().startswith(b"SYNTHETIC not for diagnosis; by stylegan3d")
    assert len(header["descrip"].item()) <= 79
    sidecar = json.loads((tmp_path / "a.json").read_text())
    assert sidecar == {"Recipe": {"seed": 1}, "SyntheticImage": True}


def test_a_sheared_grid_keeps_its_sform_and_claims_no_qform(tmp_path):
    affine = OBLIQUE.copy()
    affine[:3, 1] += 0.3 * affine[:3, 0]
    write(tmp_path / "a.nii.gz", affine=affine, xform_code=1)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (1, 0)
    np.testing.assert_allclose(header.get_sform(), affine, atol=SFORM_MM)


def test_a_measured_image_is_not_called_synthetic(tmp_path):
    write(tmp_path / "a.nii.gz", synthetic=False)
    assert b"SYNTHETIC" not in nib.load(tmp_path / "a.nii.gz").header["descrip"].item()
    assert json.loads((tmp_path / "a.json").read_text())["SyntheticImage"] is False


def test_numbers_are_kept_as_given(tmp_path):
    data = phantom() - 3
    write(tmp_path / "a.nii.gz", data)
    np.testing.assert_array_equal(nib.load(tmp_path / "a.nii.gz").get_fdata(), data)
    write(tmp_path / "m.nii.gz", data > -2)
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint8


def test_the_bytes_repeat_and_hold_no_time(tmp_path, monkeypatch):
    write(tmp_path / "a.nii.gz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    write(tmp_path / "b.nii.gz", np.asfortranarray(phantom()))
    first = (tmp_path / "a.nii.gz").read_bytes()
    assert first == (tmp_path / "b.nii.gz").read_bytes()
    assert first[4:8] == bytes(4)  # gzip's time stamp
    assert not first[3] & 8  # no file name in gzip's header
    assert len(gzip.decompress(first)) == 352 + phantom().nbytes
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"data": np.zeros((4, 5))}, "three axes"),
        ({"data": np.zeros((4, 5, 0))}, "three axes"),
        ({"data": np.full((2, 2, 2), np.nan)}, "NaN"),
        ({"affine": np.zeros((4, 4))}, "not a voxel grid"),
        ({"affine": np.eye(3)}, "not a voxel grid"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path, options, says):
    with pytest.raises(OutputError, match=says):
        write(tmp_path / "new" / "a.nii.gz", **options)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["a.nii", "a.png", ".nii.gz", "a"])
def test_names_must_say_what_they_are(tmp_path, name):
    with pytest.raises(OutputError, match=r"must end in \.nii\.gz"):
        write(tmp_path / name)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("taken", ["a.nii.gz", "a.json"])
def test_neither_file_is_replaced_without_being_told(tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(OutputError, match=f"{taken} exists already"):
        write(tmp_path / "a.nii.gz")
    assert listing(tmp_path) == [taken]
    assert (tmp_path / taken).read_text() == "precious"
    write(tmp_path / "a.nii.gz", overwrite=True)
    assert listing(tmp_path) == ["a.json", "a.nii.gz"]
    assert json.loads((tmp_path / "a.json").read_text())["SyntheticImage"]


def test_a_file_that_appears_meanwhile_survives(tmp_path, monkeypatch):
    write_new = files._write_new

    def other_program_is_quicker(path, data):
        (tmp_path / "a.json").write_text("precious")
        write_new(path, data)

    monkeypatch.setattr(files, "_write_new", other_program_is_quicker)
    with pytest.raises(OutputError, match="exists already"):
        write_together({tmp_path / "a.nii.gz": b"1", tmp_path / "a.json": b"2"})
    assert listing(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "precious"


def fail_on_call(monkeypatch, owner, name, call, error):
    """Let the function raise `error` on its `call`-th call."""
    original, calls = getattr(owner, name), []

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize("function", ["_write_new", "_place"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "No permission to write"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_failure_leaves_everything_as_it_was(
    tmp_path, monkeypatch, function, overwrite, call, error, says
):
    folder = tmp_path / "new" / "folder"
    before = []
    if overwrite:
        write(folder / "a.nii.gz", phantom() + 1)
        before = [(folder / name).read_bytes() for name in ("a.nii.gz", "a.json")]
    fail_on_call(monkeypatch, files, function, call, error)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError
    with pytest.raises(expected, match=says):
        write(folder / "a.nii.gz", overwrite=overwrite)
    if overwrite:
        assert listing(folder) == ["a.json", "a.nii.gz"]
        assert [(folder / name).read_bytes() for name in ("a.nii.gz", "a.json")] == before
    else:
        assert listing(tmp_path) == []


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write(tmp_path / "a.nii.gz")
    write(tmp_path / "a.nii.gz", phantom() + 1, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "a.nii.gz")
    assert listing(tmp_path) == ["a.json", "a.nii.gz"]
    assert nib.load(tmp_path / "a.nii.gz").get_fdata().max() == pytest.approx(phantom().max() + 1)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    for path in (tmp_path / "out" / "a.nii.gz", tmp_path / "out" / "deeper" / "a.nii.gz"):
        with pytest.raises(OutputError, match="not a folder"):
            write(path)
        with pytest.raises(OutputError, match="out is a file, not a folder"):
            check_output([path])
    assert listing(tmp_path) == ["out"]


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "a.nii.gz").mkdir()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is a folder"):
            write(tmp_path / "a.nii.gz", overwrite=overwrite)
    assert listing(tmp_path) == ["a.nii.gz"]


def test_names_the_system_does_not_take_are_refused(tmp_path):
    path = tmp_path / ("long" * 100) / "a.nii.gz"
    for attempt in (lambda: write(path), lambda: check_output([path])):
        with pytest.raises(OutputError, match="could not be written"):
            attempt()
    assert listing(tmp_path) == []


def test_check_output_refuses_before_the_work(tmp_path, monkeypatch):
    check_output([tmp_path / "not" / "yet" / "a.json"])
    assert listing(tmp_path) == []
    (tmp_path / "a.json").write_text("x")
    with pytest.raises(OutputError, match="exists already"):
        check_output([tmp_path / "a.json"])
    check_output([tmp_path / "a.json"], overwrite=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="No permission to write in"):
        check_output([tmp_path / "not" / "yet" / "a.json"])


def test_files_get_the_permissions_of_any_new_file(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write_bytes(tmp_path / "a", b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_text_is_utf8(tmp_path):
    atomic_write_text(tmp_path / "a.txt", "Härkönen\n")
    assert (tmp_path / "a.txt").read_bytes() == "Härkönen\n".encode()
