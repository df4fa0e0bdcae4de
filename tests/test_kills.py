"""Killed without warning in the middle, work goes on where it stopped and ends as if it had not."""

import random
import shutil
import subprocess
import sys
import time

import doomed
import pytest

from stylegan3d.base import OutputError
from stylegan3d.storage.files import LOCK, only_run, sweep

#: `make test` kills one of these; `make soak` all, many times, and a training (`test_stylegan.py`).
KINDS = ("prepare", "evaluate", "cohort", "privacy")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return doomed.make_inputs(tmp_path_factory.mktemp("doomed")) / "inputs"


def wait_for(condition, patience_s=120):
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "kind", ["prepare", *(pytest.param(kind, marks=pytest.mark.soak) for kind in KINDS[1:])]
)
def test_killed_work_goes_on_and_ends_as_if_it_had_not_been(kind, inputs, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
        (folder / "inputs").symlink_to(inputs)
    process = doomed.start(kind, killed, 0.4)
    wait_for(lambda: doomed.begun(kind, killed) or process.poll() is not None)
    assert process.poll() is None, "it was to be killed in the middle"
    time.sleep(random.Random(kind).uniform(0, 0.3))
    process.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in doomed.begun(kind, killed)}
    assert finished
    doomed.work(kind, killed)
    again = {p: p.stat().st_mtime_ns for p in finished if p.exists()}
    assert again == {p: finished[p] for p in again}, "work was done twice"
    doomed.work(kind, whole)
    told = [repr(doomed.outcome(kind, folder)) for folder in (killed, whole)]
    assert told[0].replace(str(killed), "") == told[1].replace(str(whole), "")
    for folder in (killed / kind).rglob("*"):
        if folder.is_dir():
            sweep(folder)
    assert doomed.half_written(killed / kind) == []
    assert not list(killed.rglob(LOCK))


HOLD = """
import sys, time
from pathlib import Path
from stylegan3d.storage.files import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        ("train", ""),
        ("segmentation", ""),
        ("flow", ""),
        ("autoencoder", ""),
        ("prepare", "pack"),
        ("evaluate", "out"),
        ("privacy", "model/.privacy-index"),
    ],
)
def test_a_second_run_on_a_folder_is_told_who_has_it(kind, folder, inputs, tmp_path, capsys):
    (tmp_path / "inputs").symlink_to(inputs)
    if kind == "privacy":
        shutil.copytree(inputs / "model", tmp_path / kind / "model")
    held = tmp_path / kind / folder
    words = [sys.executable, "-c", HOLD, str(held)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises((OutputError, SystemExit)) as refused:
            doomed.work(kind, tmp_path)
        told = str(refused.value) + capsys.readouterr().err
        assert f"Another run (process {other.pid} on " in told
        assert "wait until it has ended, or choose another output folder" in told
        other.kill()
    with only_run(held):  # what is left by a process that is gone holds nobody up
        pass
    assert not (held / LOCK).exists()


def test_a_lock_without_locks_goes_by_the_process_it_names(tmp_path, monkeypatch):
    """As on a network file system that has none."""
    from stylegan3d.storage import files as locks

    def none(*_):
        raise locks.NoLocks

    monkeypatch.setattr(locks, "try_lock", none)
    (tmp_path / LOCK).write_text("process 999999999 on nowhere, since 2026-01-01 10:00")
    with pytest.raises(OutputError, match="process 999999999 on nowhere"), only_run(tmp_path):
        pass
    here = locks.socket.gethostname()
    (tmp_path / LOCK).write_text(f"process 999999999 on {here}, since 2026-01-01 10:00")
    with only_run(tmp_path):
        assert str(locks.os.getpid()) in (tmp_path / LOCK).read_text()
    parent = locks.os.getppid()
    (tmp_path / LOCK).write_text(f"process {parent} on {here}, since 2026-01-01 10:00")
    with pytest.raises(OutputError, match=f"process {parent}"), only_run(tmp_path):
        pass


def test_a_run_that_comes_to_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), only_run(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
