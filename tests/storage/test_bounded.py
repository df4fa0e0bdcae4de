"""Files that may come from anyone are read as far as is useful, and never waited for."""

import ast
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.base import ModelError, ScanError
from stylegan3d.checkpoints.folder import read_folder
from stylegan3d.scans import read_scan
from stylegan3d.storage.files import held_bytes, read_file, read_rows, read_text

ROOT = Path(__file__).parents[2]
#: Files of this program's own, in folders of a run or of the system: what they hold is known.
OWN = {
    "src/stylegan3d/devices.py",
    "src/stylegan3d/checkpoints/folder.py",  # what is to be copied
    "src/stylegan3d/outputs/films.py",
    "src/stylegan3d/scans/dicom_process.py",  # what the system tells of its own memory
    "src/stylegan3d/storage/files.py",
    "src/stylegan3d/training/anatomy.py",
    "src/stylegan3d/training/flow.py",
    "src/stylegan3d/training/labels.py",
    "src/stylegan3d/training/synthetic.py",
    "napari_stylegan3d/app/guidance.py",  # the pages that come along
    "napari_stylegan3d/export/jobs.py",
}


def reads_whole(path):
    """Whether `path.read_bytes()` or `path.read_text(...)` is called; bounded ones are names."""
    text = path.read_text(encoding="utf-8")
    return ("read_bytes" in text or "read_text" in text) and any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("read_bytes", "read_text")
        and not any(isinstance(argument, ast.expr) for argument in node.args)
        for node in ast.walk(ast.parse(text))
    )


def test_no_file_of_a_stranger_is_read_whole_without_a_limit():
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "napari_stylegan3d")
        for path in (ROOT / folder).rglob("*.py")
        if reads_whole(path)
    }
    assert found == OWN


def test_what_is_no_regular_file_or_too_large_is_not_opened(tmp_path):
    pipe, link, large = (tmp_path / name for name in ("pipe", "link", "large"))
    os.mkfifo(pipe)
    link.symlink_to(link)
    with large.open("wb") as file:
        file.truncate(2**40)
    refused = {
        pipe: "pipe or a device",
        Path("/dev/zero"): "pipe or a device",
        link: "symbolic link",
        large: "1,099,512 MB",
        tmp_path: "directory",
    }
    for path, why in refused.items():
        with pytest.raises(OSError, match=why):
            read_file(path, 100)
    assert held_bytes(large) < 2**20


def test_texts_and_tables(tmp_path):
    file = tmp_path / "a.tsv"
    file.write_bytes(b"\xef\xbb\xbfname\tage\r\nanna\t7\r\n")
    assert read_text(file).startswith("name")
    assert read_rows(file) == [{"name": "anna", "age": "7"}]
    for coding in ("latin-1", "utf-16", "utf-8"):
        file.write_bytes("name\nZoë\n".encode(coding))
        assert read_rows(file) == [{"name": "Zoë"}]


def test_a_volume_of_holes_is_refused_before_it_is_read(tmp_path):
    header = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.diag([0.3, 0.3, 0.3, 1])).header
    header.set_data_shape((720, 720, 720))
    header["vox_offset"] = 352
    file = tmp_path / "a.nii"
    file.write_bytes(header.binaryblock + bytes(4))
    os.truncate(file, 352 + 2 * 720**3)
    with pytest.raises(ScanError, match="almost none of which were ever written"):
        read_scan(file)


def test_weights_and_cards_larger_than_any_are_not_read(tmp_path):
    card, weights = tmp_path / "card.json", tmp_path / "model.safetensors"
    card.write_text('{"format": "stylegan3d", "format_version": 1}')
    weights.touch()
    os.truncate(weights, 2**37)
    with pytest.raises(ModelError, match="137 GB, more than a model's file can be"):
        read_folder(tmp_path)
    os.truncate(card, 2**33)
    with pytest.raises(ModelError, match="cannot be read"):
        read_folder(tmp_path)
