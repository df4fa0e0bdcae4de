"""Killed without warning in the middle, work goes on where it stopped and ends as if it had not."""

import random
import shutil
import subprocess
import sys
import time

import doomed
import numpy as np
import pytest

from stylegan3d.base import OutputError
from stylegan3d.storage.files import LOCK, only_run, sweep

#: `make test` kills one of these and a training; `make soak` all, many times.
KINDS = ("prepare", "evaluate", "cohort", "privacy")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, request):
    study_of = 8 if request.config.getoption("soak") else 3
    return doomed.make_inputs(tmp_path_factory.mktemp("doomed"), study_of=study_of) / "inputs"


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
    doomed.kill(process)
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


def ended(kind, folder, processes):
    """What work comes to that nobody kills any more."""
    if processes == 1:
        doomed.work(kind, folder)
    else:
        process = doomed.start(kind, folder, 0.0, processes)
        process.communicate(timeout=600)
        assert process.returncode == 0
    return doomed.outcome(kind, folder)


def killed_in_time(kind, folder, processes, draw):
    """Whether work that goes on was killed at a random point before it came to its end."""

    def saved():
        return {path: path.stat().st_mtime_ns for path in doomed.begun(kind, folder)}

    before = saved()
    process = doomed.start(kind, folder, 0.1, processes)
    assert process.stdout.readline() == b"begun\n"
    if draw.random() < 0.8:  # the others are killed before they come to a step
        wait_for(lambda: process.poll() is not None or saved() != before)
    try:
        process.wait(draw.uniform(0, 1.0))
    except subprocess.TimeoutExpired:
        doomed.kill(process)
        return True
    assert process.returncode == 0
    return False


def empty(folder, inputs):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "inputs").symlink_to(inputs)
    return folder


@pytest.mark.parametrize(
    ("kind", "processes", "kills"),
    [
        ("encoder", 1, 1),
        *(pytest.param(kind, 1, 10, marks=pytest.mark.soak) for kind in doomed.LEARNING),
        *(pytest.param(kind, 2, 10, marks=pytest.mark.soak) for kind in doomed.TRAININGS),
    ],
)
def test_training_that_is_killed_comes_to_the_same_weights(
    kind, processes, kills, inputs, tmp_path
):
    """At random points, from the first piece of data on; what ends before it is begun anew."""
    if processes > 1:
        pytest.importorskip("lightning_fabric")
    expected = ended(kind, empty(tmp_path / "whole", inputs), processes)
    draw, done, points = random.Random(f"{kind} {processes}"), 0, []
    while done < kills:
        killed = empty(tmp_path / "killed", inputs)
        while done < kills:
            if not killed_in_time(kind, killed, processes, draw):
                points.append("ended")
                break
            done += 1
            points.append(doomed.reached(kind, killed))
        assert ended(kind, killed, processes) == expected
        assert not list(killed.rglob(LOCK))
    print(f"{kind}: {processes} processes killed {done} times after steps {points}")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.soak] * (k != "flow")) for k in doomed.TRAININGS],
)
def test_two_processes_train_as_one(kind, inputs, tmp_path):
    pytest.importorskip("lightning_fabric")
    one, two = (ended(kind, empty(tmp_path / str(n), inputs), n) for n in (1, 2))
    assert one.keys() == two.keys()
    for name in (name for name in one if isinstance(one[name], bytes) and one[name] != two[name]):
        a, b = (np.frombuffer(values[name], np.float32) for values in (one, two))
        # Sums in another order differ by some 1e-6, which the optimiser's steps may enlarge.
        np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(b).max(), err_msg=name)


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
    host, _, began, rest = locks.mine().split("-")
    gone = "-".join(["0" * 6, "999999999", began, rest])
    (tmp_path / LOCK).write_text(f"{gone} process 999999999 on nowhere, since 2026-01-01 10:00")
    with pytest.raises(OutputError, match="process 999999999 on nowhere"), only_run(tmp_path):
        pass
    gone = "-".join([host, "999999999", began, rest])
    (tmp_path / LOCK).write_text(f"{gone} process 999999999 on here, since 2026-01-01 10:00")
    with only_run(tmp_path):
        assert str(locks.os.getpid()) in (tmp_path / LOCK).read_text()
    parent = locks.os.getppid()
    again = "-".join([host, f"{parent}", began, rest])  # its number is used again
    (tmp_path / LOCK).write_text(f"{again} process {parent} on here, since 2026-01-01 10:00")
    with only_run(tmp_path):
        pass
    known = "-".join([host, f"{parent}", locks.process_began(parent), rest])
    (tmp_path / LOCK).write_text(f"{known} process {parent} on here, since 2026-01-01 10:00")
    with pytest.raises(OutputError, match=f"process {parent}"), only_run(tmp_path):
        pass


def test_a_run_that_comes_to_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), only_run(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
