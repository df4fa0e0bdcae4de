"""A format stands in one table: one more is opened wherever scans are."""

import gzip
import hashlib
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.cohort.run import find_items, holds_scans
from stylegan3d.dataset.volume_set import read_set
from stylegan3d.scans import read_scan
from stylegan3d.scans.sources import find_sources
from stylegan3d.storage import formats
from stylegan3d.storage.encoding import read_bytes
from stylegan3d.storage.files import cell_number, sha256_of
from stylegan3d.storage.formats import Format, label_map_of, scan_stem


@pytest.fixture
def toy(monkeypatch):
    form = Format("toy", "scan", (".toy",))
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, form))


def volume(path: Path) -> Path:
    """A scan in that format."""
    data = np.random.default_rng(0).uniform(0, 500, (40, 44, 48)).astype(np.float32)
    image = nib.Nifti1Image(data, np.diag([-4.0, 4, 4, 1]))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes()))
    return path


@pytest.mark.usefixtures("toy")
def test_a_new_format_is_known_everywhere(tmp_path):
    path = volume(tmp_path / "sub-01" / "sub-01_T1w.toy")
    scan = read_scan(path)
    assert scan.data.shape == (40, 44, 48)
    assert "".join(scan.space.axcodes) == "LAS"
    assert scan_stem(path) == "sub-01"
    assert holds_scans(tmp_path)
    assert [item.path for item in find_items([tmp_path])] == [path]
    assert [source.name for source in find_sources(tmp_path).sources] == ["sub-01"]
    assert read_set(tmp_path, None).names == ["sub-01"]
    labels = shutil.copy(path, path.with_name("sub-01_dseg.toy"))
    assert label_map_of(path) == labels
    assert formats.is_scan(path)
    assert not formats.is_dicom(path)


def test_prepare_takes_what_can_be_opened(tmp_path):
    for name in ("a.mgh", "b.mgz", "c.hdr", "c.img", "d.nii", "e.nii.gz", "f.txt"):
        (tmp_path / name).touch()
    assert [source.name for source in find_sources(tmp_path).sources] == list("abcde")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.NII.GZ", "scan"),
        ("a.img", "scan"),
        ("a.dicom", "dicom"),
        ("a.safetensors", "tensors"),
        ("a.pickle", "checkpoint"),
        ("a.json", "record"),
        ("a.sg3d", "session"),
    ],
)
def test_a_name_speaks_for_a_format(name, kind):
    assert formats.is_kind(name, kind)
    assert formats.format_of("a.gz") is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no files of a kernel")
def test_a_sites_name_is_no_number():
    assert [cell_number(cell) for cell in ("1_2", "12", "1,5", "a")] == ["1_2", 12, 1.5, "a"]


def test_files_of_the_kernel_which_have_no_end_are_empty():
    """They say to have 0 bytes; reading some of them never ends."""
    path = Path("/proc/self/status")
    assert read_bytes(path, StyleGAN3DError) == b""
    assert sha256_of(path) == hashlib.sha256().hexdigest()
    assert not formats.is_dicom(path)
