"""A folder of scans becomes a pack: what goes in, what is refused, and no work is done twice."""

import errno
import hashlib
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from studies import MEAN_BRAIN, make_study, prepared, save_prepared, save_raw, write_splits

from stylegan3d import pools
from stylegan3d.base import OutputError, StyleGAN3DError
from stylegan3d.cohort import preparation as preparing
from stylegan3d.cohort.preparation import prepare
from stylegan3d.dataset.pack import load_pack
from stylegan3d.scans import load_template
from stylegan3d.storage import files


@pytest.fixture(scope="module")
def target():
    return load_template(MEAN_BRAIN)


@pytest.fixture(scope="module")
def study(target, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("made") / "study", target)


@pytest.fixture
def folder(study, tmp_path):
    return shutil.copytree(study, tmp_path / "study")


@pytest.fixture(scope="module")
def told():
    """What was said while `finished` was made."""
    return []


@pytest.fixture(scope="module")
def finished(study, told, tmp_path_factory):
    """The pack of that study; do not change it."""
    out = tmp_path_factory.mktemp("finished") / "pack"
    prepare(study, out, progress=lambda *a: told.append(a))
    return out


@pytest.fixture
def ready(folder, target):
    """The study, its raw scan replaced by a prepared one: nothing has to be aligned."""
    save_prepared(folder / "sub-03_T1w.nii.gz", target, 3)
    return folder


@pytest.fixture
def known(finished, tmp_path):
    """A copy of it in the test's folder, so that only what is new has to be prepared."""
    return shutil.copytree(finished, tmp_path / "pack")


def digest(pack):
    files = sorted(path for path in pack.rglob("*") if path.is_file())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_prepare(study, finished, told, target):
    pack = load_pack(finished)
    assert pack.column("name") == ["sub-01", "sub-02", "sub-03"]
    assert pack.column("split") == ["train", "validation", "train"]
    assert pack.column("age") == [35.5, None, 20]
    assert pack.column("sex") == ["M", "F", None]
    assert pack.column("group") == ["a", "b", None]
    assert pack.column("prepared") == ["as it was", "as it was", "aligned"]
    assert pack.info["licences"] == ["CC0", "PDDL"]
    assert pack.volumes.dtype == np.uint8
    assert isinstance(pack.volumes, np.memmap)
    assert pack.space.same_as(target.space)
    np.testing.assert_array_equal(pack.volumes[0], prepared(target, 1))
    np.testing.assert_array_equal(pack.volumes[1], prepared(target, 2))
    aligned = pack.volumes[2] / 255
    assert np.corrcoef(aligned.ravel(), prepared(target, 3).ravel())[0, 1] > 0.95
    np.testing.assert_array_equal(pack.indices("train"), [0, 2])
    mean = pack.volumes[[0, 2]].mean(axis=0) / 255
    np.testing.assert_allclose(pack.template, mean, atol=1 / 255)  # a pack has steps of 1/255
    sha256 = hashlib.sha256((study / "sub-03_T1w.nii.gz").read_bytes()).hexdigest()
    assert pack.table[2]["sha256"] == sha256
    assert [(r["file"], "not a NIfTI image" in r["reason"]) for r in pack.info["refused"]] == [
        ("sub-04_T1w.nii.gz", True)
    ]
    assert [done for done, total, name in told] == [1, 2, 3, 4]
    assert not (finished / ".parts").exists()


def count_work(monkeypatch):
    worked = []
    original = preparing.prepare_volume

    def counting(job, path):
        worked.append(path.name)
        return original(job, path)

    monkeypatch.setattr(preparing, "prepare_volume", counting)
    return worked


def test_an_interrupted_run_goes_on_where_it_stopped(ready, tmp_path, monkeypatch):
    prepare(ready, tmp_path / "whole")

    def interrupt(done, total, name):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(ready, tmp_path / "pack", progress=interrupt)
    with pytest.raises(StyleGAN3DError, match="is not a prepared dataset"):
        load_pack(tmp_path / "pack")
    worked, steps = count_work(monkeypatch), []
    prepare(ready, tmp_path / "pack", progress=lambda *a: steps.append(a[:2]))
    assert worked == ["sub-03_T1w.nii.gz", "sub-04_T1w.nii.gz"]
    assert steps == [(2, 4), (3, 4), (4, 4)], "what was stored is not told as work"
    assert digest(tmp_path / "pack") == digest(tmp_path / "whole")


@pytest.mark.parametrize("linked", [False, True])
def test_it_is_all_there_after_the_same_command_wherever_it_lies(
    ready, known, tmp_path, monkeypatch, linked
):
    monkeypatch.chdir(tmp_path)
    out = Path("pack")
    if linked:
        out = tmp_path / "link"
        out.symlink_to(known)
    prepare(ready, out)
    before = digest(known)
    pack = prepare(ready, out)
    assert digest(known) == before
    assert len(pack.volumes) == 3


def test_a_finished_pack_takes_in_only_what_is_new(ready, target, tmp_path, monkeypatch):
    prepare(ready, tmp_path / "pack")
    before = digest(tmp_path / "pack")
    worked = count_work(monkeypatch)
    (volumes,) = (tmp_path / "pack").glob("volumes-*.npy")
    inode = volumes.stat().st_ino
    prepare(ready, tmp_path / "pack")
    assert worked == []
    assert volumes.stat().st_ino == inode, "volumes that are as they were are not written again"
    assert digest(tmp_path / "pack") == before
    save_prepared(ready / "sub-00_T1w.nii.gz", target, 7)
    pack = prepare(ready, tmp_path / "pack")
    assert worked == ["sub-00_T1w.nii.gz"]
    assert pack.column("name") == ["sub-00", "sub-01", "sub-02", "sub-03"]
    np.testing.assert_array_equal(pack.volumes[1], prepared(target, 1))
    prepare(ready, tmp_path / "pack", min_quality=0.8)
    assert len(worked) == 6  # other settings: everything anew


@pytest.mark.parametrize("where", ["cluster", pytest.param("processes", marks=pytest.mark.soak)])
def test_several_workers_give_the_same_pack(folder, finished, tmp_path, request, where):
    how = {"jobs": 2}
    if where == "cluster":
        how = {"scheduler": request.getfixturevalue("cluster")}
    prepare(folder, tmp_path / "two", **how)
    assert digest(tmp_path / "two") == digest(finished)


@pytest.mark.usefixtures("known")
def test_the_same_image_counts_once(folder, tmp_path):
    content = (folder / "sub-01_T1w.nii.gz").read_bytes()
    (folder / "sub-09_T1w.nii.gz").write_bytes(content)
    pack = prepare(folder, tmp_path / "pack")
    assert "sub-09" not in pack.column("name")
    assert any("is the same file as sub-01" in r["reason"] for r in pack.info["refused"])


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("raw", [False, True])
def test_what_is_in_doubt_of_a_scan_is_told_in_the_table(folder, target, tmp_path, raw):
    """A side left open, and that it was not acquired."""
    path = folder / "sub-01_T1w.nii.gz"
    (save_raw if raw else save_prepared)(path, target, 1)
    image = nib.load(path)
    image.set_qform(np.diag([-1, 1, 1, 1]) @ image.affine, 1)
    image.set_sform(image.affine, 1)
    image.header["descrip"] = b"SYNTHETIC not for diagnosis"
    nib.save(image, tmp_path / "new.nii.gz")
    (tmp_path / "new.nii.gz").replace(path)
    for other in {*folder.glob("sub-*.nii.gz")} - {path}:  # beside those it would be left out
        other.unlink()
    pack = prepare(folder, tmp_path / "pack")
    assert pack.table[0]["prepared"] == ("aligned" if raw else "as it was")
    for words in ("left and right may be swapped", "not an acquired one"):
        assert any(words in told["sentence"] for told in pack.table[0]["doubts"]), words


def test_a_poor_brain_is_refused(ready, target, tmp_path):
    poor = np.roll(prepared(target, 5), 2, axis=1)  # lies 8 mm too far to the front
    nib.save(nib.Nifti1Image(poor, target.space.affine), ready / "sub-05_T1w.nii.gz")
    pack = prepare(ready, tmp_path / "pack", min_quality=0.95)
    reasons = {r["file"]: r["reason"] for r in pack.info["refused"]}
    assert "is too little like the mean brain" in reasons["sub-05_T1w.nii.gz"]


def test_an_unexpected_failure_costs_one_file(ready, tmp_path, monkeypatch):
    def failing(path):
        if "sub-02" in path.name:
            raise RuntimeError(f"disk on fire: {path}")
        return original(path)

    original = preparing.read_scan
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "read_scan", failing)
        pack = prepare(ready, tmp_path / "pack")
    assert pack.column("name") == ["sub-01", "sub-03"]
    (told,) = (r["reason"] for r in pack.info["refused"] if "disk on fire" in r["reason"])
    assert str(tmp_path) not in told
    worked = count_work(monkeypatch)
    pack = prepare(ready, tmp_path / "pack")  # the fire is out
    assert pack.column("name") == ["sub-01", "sub-02", "sub-03"]
    assert worked == ["sub-02_T1w.nii.gz"]


def test_an_unexpected_failure_is_not_kept_for_a_run_that_goes_on(ready, tmp_path, monkeypatch):
    def failing(job, path):
        raise MemoryError

    def interrupt(done, total, name):
        if done == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "prepare_volume", failing)
        with pytest.raises(KeyboardInterrupt):
            prepare(ready, tmp_path / "pack", progress=interrupt)
    assert prepare(ready, tmp_path / "pack").column("name") == ["sub-01", "sub-02", "sub-03"]


def test_a_full_disk_stops_the_work_and_keeps_what_is_done(ready, tmp_path, monkeypatch):
    def full(path, data):
        if len(list((tmp_path / "pack" / ".parts").glob("*.npy"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, data)

    original = files._write_new
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_new", full)
        with pytest.raises(OutputError, match="disk is full"):
            prepare(ready, tmp_path / "pack")
    worked = count_work(monkeypatch)
    assert len(prepare(ready, tmp_path / "pack")) == 3
    assert "sub-01_T1w.nii.gz" not in worked


def test_an_output_that_cannot_be_written_is_refused_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "prepare_volume", lambda *a: pytest.fail("work was done"))
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError, match="file is a file, not a folder"):
        prepare(folder, tmp_path / "file" / "sub")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *a, **k: False)
        with pytest.raises(OutputError, match="No permission to write"):
            prepare(folder, tmp_path / "new" / "sub")

    def denied(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(OutputError, match="No permission to write"):
        prepare(folder, tmp_path / "new" / "sub")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "study"]


def test_nothing_usable_writes_nothing(tmp_path, target):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "a.nii.gz").write_text("no")
    with pytest.raises(StyleGAN3DError, match="None of the 1 scans"):
        prepare(folder, tmp_path / "pack", target=target)
    assert not (tmp_path / "pack").exists()


def test_folders_that_cannot_be_used(folder, tmp_path, target):
    with pytest.raises(StyleGAN3DError, match="is not a folder"):
        prepare(tmp_path / "missing", tmp_path / "pack", target=target)
    (tmp_path / "none").mkdir()
    with pytest.raises(StyleGAN3DError, match="holds no NIfTI"):
        prepare(tmp_path / "none", tmp_path / "pack", target=target)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(StyleGAN3DError, match="contains other files"):
        prepare(folder, tmp_path / "full")
    with pytest.raises(StyleGAN3DError, match="is a file"):
        prepare(folder, tmp_path / "full" / "thesis.txt")


@pytest.mark.usefixtures("known")
def test_people_held_out_are_in_no_pack(folder, tmp_path):
    copy = (folder / "sub-02_T1w.nii.gz").read_bytes()
    (folder / "sub-09_T1w.nii.gz").write_bytes(copy)  # by another name it is as much of a leak
    write_splits(folder, s01="Train", s02="TEST", s03="dev", s09="train")
    pack = prepare(folder, tmp_path / "pack")
    assert pack.column("name") == ["sub-01", "sub-03"]
    assert pack.column("split") == ["train", "validation"]
    reasons = {r["file"]: r["reason"] for r in pack.info["refused"]}
    assert "holds it out" in reasons["sub-02_T1w.nii.gz"]
    assert "holds it out" in reasons["sub-09_T1w.nii.gz"]
    # The table decides anew each time, about who was in and about who was out.
    (folder / "sub-09_T1w.nii.gz").unlink()
    write_splits(folder, s01="holdout", s02="train", s03="valid")
    pack = prepare(folder, tmp_path / "pack")
    assert pack.column("name") == ["sub-02", "sub-03"]


@pytest.mark.parametrize("value", ["tset", "training set", "1"])
def test_a_split_that_is_not_known_is_refused(folder, tmp_path, value):
    write_splits(folder, s01=value)
    with pytest.raises(StyleGAN3DError, match=r"participants\.tsv has .* in the column split"):
        prepare(folder, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


@pytest.mark.usefixtures("known")
def test_a_series_is_refused_with_what_can_be_done_here(folder, target, tmp_path):
    series = np.stack([target.template, target.template], -1)
    nib.save(nib.Nifti1Image(series, target.space.affine), folder / "sub-07_T1w.nii.gz")
    pack = prepare(folder, tmp_path / "pack")
    assert "save that one as a file of its own" in pack.info["refused"][-1]["reason"]


@pytest.mark.usefixtures("known")
def test_what_cannot_be_opened_costs_one_file(folder, tmp_path):
    (folder / "sub-08_T1w.nii.gz").symlink_to(folder / "gone.nii.gz")
    pack = prepare(folder, tmp_path / "pack")
    assert len(pack) == 3
    assert "sub-08_T1w.nii.gz cannot be opened" in pack.info["refused"][-1]["reason"]
    save_prepared(folder / "gone.nii.gz", load_template(MEAN_BRAIN), 8)
    assert len(prepare(folder, tmp_path / "pack")) == 4


@pytest.mark.usefixtures("known")
def test_several_scans_of_a_person_and_strangers_are_told(folder, target, tmp_path):
    save_prepared(folder / "sub-02_ses-2_T1w.nii.gz", target, 8)
    notes = prepare(folder, tmp_path / "pack").info["notes"]
    assert notes[0].startswith("1 subject has several scans: sub-02 (2);")
    assert notes[1].startswith("participants.tsv has no row for sub-04;")
    with (folder / "participants.tsv").open("a") as table:
        table.write("sub-99\ttrain\n")
    notes = prepare(folder, tmp_path / "pack").info["notes"]
    assert notes[2] == "No scan was found of sub-99 in participants.tsv."


def test_a_process_that_was_killed_is_told_in_a_sentence(folder, tmp_path, monkeypatch):
    class Killed(ThreadPoolExecutor):
        def __init__(self, jobs, *options):
            super().__init__(jobs)

        def submit(self, *work):
            future = Future()
            future.set_exception(BrokenProcessPool("terminated abruptly"))
            return future

    monkeypatch.setattr(pools, "ProcessPoolExecutor", Killed)
    with pytest.raises(StyleGAN3DError, match="fewer --jobs"):
        prepare(folder, tmp_path / "pack", jobs=2)
