"""Scans of earlier projections leave the memory, and are the same when they are looked at."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pytest

from napari_stylegan3d.core import scans
from napari_stylegan3d.core.scans import Parking, park
from napari_stylegan3d.core.session import Session
from napari_stylegan3d.core.worker import end_work
from stylegan3d.geometry.space import Space
from stylegan3d.recipe.recipe import Source
from stylegan3d.scans import AlignedScan, Scan
from stylegan3d.scans.aligned import PreparedBrain
from stylegan3d.scans.alignment import Template
from stylegan3d.session.case import Case, Choice

UNPAINTED = True
SHAPE = (64, 64, 64)
MEAN = np.random.default_rng(0).uniform(size=SHAPE).astype(np.float32)


def projected(number: int, scan: Scan | None = None) -> Case:
    space = Space(SHAPE, np.eye(4))
    draw = np.random.default_rng(number)
    if scan is None:
        data = draw.normal(size=SHAPE).astype(np.float32)
        scan = Scan(data, np.eye(4), {}, Path(f"sub-{number}.nii.gz"), str(number))
    volume = draw.uniform(size=SHAPE).astype(np.float32)
    mask = volume > 0.5
    prepared = PreparedBrain(volume, mask, space, Template(space, MEAN.copy()))
    aligned = AlignedScan(volume, space, np.eye(4), 0.9, mask, 1.0, [], scan, prepared)
    source = Source("projected", path=f"{number}.safetensors", sha256=f"{number:064}")
    choice = Choice(scan.path)
    return Case(f"sub-{number}", choice, scan, found=aligned, aligned=aligned, source=source)


@pytest.fixture
def session(qtbot, tmp_path):
    session = Session()
    session.make_folder = lambda: tmp_path
    session.parking = Parking(session, session)
    yield session
    end_work(session)


def project(session, case):
    """Open a scan and project it."""
    session.open_case(case.as_read())
    session.add_projected(case)


def test_all_but_the_scan_projected_last_leave_the_memory(session, qtbot, tmp_path):
    first = projected(1)
    kept = first.aligned.scan.data.copy(), first.aligned.volume.copy()
    gone = weakref.ref(first.aligned.scan)
    project(session, first)
    del first
    project(session, projected(2))
    last = projected(3)
    project(session, last)
    qtbot.waitUntil(lambda: isinstance(session.projected[1].aligned.volume, np.memmap))
    qtbot.waitUntil(lambda: not session.parking.job.running)
    assert gone() is None
    one = session.projected[0]
    assert np.array_equal(one.aligned.scan.data, kept[0])
    assert np.array_equal(one.aligned.volume, kept[1])
    assert one.found is one.aligned
    means = [case.aligned.prepared.target.template for case in session.projected[:2]]
    assert isinstance(means[0], np.memmap)
    assert means[0] is means[1], "the mean brain that both were aligned with"
    assert np.array_equal(means[0], MEAN)
    assert isinstance(one.aligned.scan.data, np.memmap)
    assert session.projected[2] is last
    assert not isinstance(last.aligned.scan.data, np.memmap)
    assert list(tmp_path.iterdir()) == [], "no person's brain lies about"
    one.aligned.scan.data[0] = 0  # as code does that works in place: of no consequence elsewhere


def test_a_scan_projected_again_stays_in_memory(session, qtbot):
    first = projected(1)
    project(session, first)
    project(session, projected(2, first.aligned.scan))
    assert not session.parking.job.running
    assert session.projected[0] is first


def test_without_room_on_the_disk_it_stays_in_memory(tmp_path, monkeypatch):
    case = projected(1)
    for place in (tmp_path / "gone", tmp_path):
        ((old, new),) = park(lambda *_: None, [case], place, WeakValueDictionary())
        assert old is new is case

        def full(**_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(scans.tempfile, "TemporaryFile", full)


def test_all_of_a_scan_is_in_one_open_file(tmp_path):
    """A day's scans would otherwise reach the number of files that a process may open."""
    case = replace(projected(1), residual_z=np.ones(SHAPE), layer=(np.ones(SHAPE), {}, "image"))
    ((_, new),) = park(lambda *_: None, [case], tmp_path, WeakValueDictionary())
    arrays = {
        "scan": (case.scan.data, new.scan.data),
        "volume": (case.aligned.volume, new.aligned.volume),
        "z": (case.residual_z, new.residual_z),
        "layer": (case.layer[0], new.layer[0]),
    }
    for name, (was, now) in arrays.items():
        assert isinstance(now, np.memmap), name
        assert now.dtype == was.dtype, name
        assert np.array_equal(was, now), name
    assert len({id(now._mmap) for _, now in arrays.values()}) == 1


def test_a_scan_opened_again_takes_no_second_file(tmp_path):
    """A person compares and goes back all day, with the same few scans."""
    kept = WeakValueDictionary()
    ((_, first),) = park(lambda *_: None, [projected(1)], tmp_path, kept)
    ((_, again),) = park(lambda *_: None, [projected(1)], tmp_path, kept)
    ((_, other),) = park(lambda *_: None, [projected(2)], tmp_path, kept)
    assert again.scan.data is first.scan.data
    assert again.aligned.volume is first.aligned.volume
    assert not np.shares_memory(other.scan.data, first.scan.data)
    assert np.array_equal(other.scan.data, projected(2).scan.data)
    del first, again
    assert len(kept) == 3, "what no case has any more was kept"
