"""A pack is whole or refused, whatever interrupts its writing or damages its files."""

import json
import math
import sys

import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.dataset import pack
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.geometry.space import Space


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: volumes_file(p).unlink(), r"volumes-\w+\.npy is missing"),
        (lambda p: (p / "dataset.json").write_text("{"), "damaged"),
        (lambda p: (p / "dataset.json").write_bytes(b"\xff\xfe"), "damaged"),
        (lambda p: change_table(p, table=[{"name": "a"}]), "damaged"),
        (lambda p: change_table(p, affine=None), "damaged"),
        (lambda p: volumes_file(p).write_bytes(b"x" * 300), "damaged"),
        (lambda p: volumes_file(p).write_bytes(b""), "damaged"),
        (lambda p: (p / "dataset.json").write_text('{"format": "x"}'), "not written by this"),
        (lambda p: (p / "dataset.json").write_text("[]"), "not written by this"),
        (lambda p: np.save(volumes_file(p), np.zeros((2, 3), np.uint8)), "does not fit"),
    ],
)
def test_a_damaged_pack_is_refused(tmp_path, damage, words):
    pack_of(tmp_path / "pack", 1, 2)
    damage(tmp_path / "pack")
    with pytest.raises(StyleGAN3DError, match=words + ".* delete the folder"):
        load_pack(tmp_path / "pack")


def volumes_file(pack):
    (file,) = pack.glob("volumes*.npy")
    return file


def change_table(pack, **changes):
    info = json.loads((pack / "dataset.json").read_text())
    (pack / "dataset.json").write_text(json.dumps(info | changes))


def pack_of(folder, *values):
    """A pack with one volume of each value, the last one to validate on."""
    rows = [{"name": f"sub-{v}", "value": v, "split": "train"} for v in values]
    rows[-1]["split"] = "validation"
    space = Space((4, 4, 4), np.eye(4))
    write_pack(folder, rows, lambda row: np.full((4, 4, 4), row["value"], np.uint8), space, {})


@pytest.mark.parametrize("broken", ["write_together", "template_bytes", "os.replace"])
def test_an_interruption_never_gives_rows_other_volumes(tmp_path, monkeypatch, broken):
    """As many volumes as before, so that their shape would not give it away."""
    pack_of(tmp_path, 1, 2, 3)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"stylegan3d.dataset.pack.{broken}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack_of(tmp_path, 7, 8, 9)
    pack = load_pack(tmp_path)
    assert pack.column("value") == [1, 2, 3]
    assert pack.volumes[:, 0, 0, 0].tolist() == [1, 2, 3]
    pack_of(tmp_path, 7, 8, 9)
    assert load_pack(tmp_path).volumes[:, 0, 0, 0].tolist() == [7, 8, 9]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["dataset.json", "template.nii.gz", volumes_file(tmp_path).name]


def test_a_pack_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    pack_of(tmp_path, 1, 2)
    monkeypatch.setattr(pack, "read_json", denied)
    with pytest.raises(StyleGAN3DError, match="check its permissions") as caught:
        load_pack(tmp_path)
    assert "delete" not in str(caught.value)


def test_the_table_of_many_is_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MANY_ROWS", 2)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(StyleGAN3DError, match=r"pip install 'napari-stylegan3d\[large\]'"):
            pack_of(tmp_path, 1, 2, 3)
    pytest.importorskip("pyarrow")
    rows = [
        {"split": "train", "age": 7.5, "n": 1, "doubts": [{"a": None}], "mixed": 1},
        {"split": "train", "age": math.nan, "n": None, "doubts": [], "mixed": "x"},
        {"split": "validation", "age": None, "n": 3, "doubts": [], "mixed": None, "sex": "F"},
    ]
    write_pack(tmp_path, rows, lambda row: np.zeros((2, 2, 2)), Space((2, 2, 2), np.eye(4)), {})
    found = load_pack(tmp_path).table
    told = {"split": "train", "age": 7.5, "n": 1, "doubts": [{"a": None}], "mixed": 1, "sex": None}
    assert found[0] == told
    assert (found[1]["age"], found[2]["n"], found[2]["sex"]) == (None, 3, "F")
    (file,) = tmp_path.glob("table-*.parquet")
    file.write_bytes(b"spoilt")
    with pytest.raises(StyleGAN3DError, match="is damaged"):
        load_pack(tmp_path)
    file.unlink()
    with pytest.raises(StyleGAN3DError, match=r"parquet is missing"):
        load_pack(tmp_path)
    pack_of(tmp_path, 1)
    assert not list(tmp_path.glob("table-*")), "the table of an earlier state is removed"
