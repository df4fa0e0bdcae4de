"""No memory, no disk: a sentence, what was there stays, and the window goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from napari_stylegan3d.app.sessions import Autosave
from napari_stylegan3d.core import rendering
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.file import SessionState, read_session

TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


def seed(number: int) -> Recipe:
    return Recipe(Source("seed", number))


def said(window) -> str:
    return window.find("explorer.message").text()


@pytest.fixture
def cramped(window, monkeypatch):
    """The renderer of the window, without memory for a full volume until `set()`."""
    renderer, free = window.explorer.rendering.loaded.renderer, []
    render = renderer.render

    def short(w, quality="full", *args, **options):
        if quality == "full" and not free:
            raise RuntimeError(TORCH)
        return render(w, quality, *args, **options)

    monkeypatch.setattr(renderer, "render", short)
    return lambda: free.append(True)


def test_without_memory_for_the_full_volume_a_preview_is_shown(window, cramped, monkeypatch):
    shown = window.explorer.comparison
    window.session.change(seed(31))
    window.wait(lambda: shown.recipe == seed(31) and said(window))
    assert "Not enough memory for the full volume" in said(window)
    assert shown.is_preview
    assert window.views.readout.quality.text() == "preview"
    window.session.change(seed(32))  # the window goes on
    window.wait(lambda: shown.recipe == seed(32))
    assert shown.is_preview
    assert "Not enough memory" in said(window)
    cramped()
    window.wait(lambda: not window.explorer.rendering.busy)
    monkeypatch.setattr(window.explorer.rendering, "_cramped_until", 0.0)
    window.session.change(seed(33))
    window.settle()
    assert not shown.is_preview
    assert said(window) == ""


def test_full_volumes_are_tried_again_after_a_while(window, cramped):
    shown = window.explorer.comparison
    window.session.change(seed(34))
    window.wait(lambda: shown.recipe == seed(34) and said(window))
    cramped()
    assert 0 < rendering.CRAMPED_S <= 60
    window.explorer.rendering.request()
    window.settle()
    assert not shown.is_preview


def test_a_volume_that_finds_no_memory_leaves_no_file(window, cramped, tmp_path, notifications):
    window.explorer.panel("Export")
    window.find("export.folder").setText(str(tmp_path))
    window.click("export.save")
    window.wait(lambda: not window.explorer.exporting.job.running)
    window.wait(lambda: said(window))
    assert "not enough memory" in said(window)
    assert list(tmp_path.iterdir()) == []
    cramped()


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "The disk is full"),
        pytest.param(errno.EROFS, "is read-only", marks=pytest.mark.soak),
        (0, "is gone"),
    ],
)
def test_a_disk_that_refuses_an_export_costs_nothing(window, tmp_path, monkeypatch, number, says):
    folder, fsync = tmp_path / "drive", os.fsync
    folder.mkdir()
    window.session.change(seed(41))
    window.settle()
    states = list(window.session.states)
    window.explorer.panel("Export")
    window.find("export.folder").setText(str(folder))
    window.find("export.overwrite").setChecked(False)
    before = set(tmp_path.rglob("*"))

    def refuse(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if folder not in path.parents:
            return fsync(descriptor)  # of the session
        if number:
            raise OSError(number, os.strerror(number))
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        return fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        window.click("export.save")
        window.wait(lambda: not window.explorer.exporting.job.running)
        window.wait(lambda: said(window))
    assert says in said(window)
    assert "\n" not in said(window)
    assert set(tmp_path.rglob("*")) <= before
    assert list(window.session.states) == states
    assert window.recipe == seed(41)
    folder.mkdir(exist_ok=True)
    window.click("export.save")
    window.wait(lambda: not window.explorer.exporting.job.running)
    assert "Saved" in window.find("export.done").text()
    assert len(list(folder.glob("*.nii.gz"))) == 1


def test_a_session_that_cannot_be_saved_is_told_once_and_saved_later(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("STYLEGAN3D_SESSIONS", str(tmp_path))
    from qtpy.QtCore import QObject

    parent, states, told = QObject(), [seed(1), seed(2)], []
    autosave = Autosave(lambda: SessionState(tuple(states)), parent)
    autosave.failed.connect(told.append)
    autosave.now()
    qtbot.waitUntil(lambda: (autosave.folder.path / "session.json").exists())
    qtbot.waitUntil(lambda: not autosave._work.busy)
    with monkeypatch.context() as patch:

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "fsync", full)
        for number in (3, 4):
            states.append(seed(number))
            autosave.now()
            qtbot.waitUntil(lambda: not autosave._work.busy)
    assert len(told) == 1
    assert "disk is full" in str(told[0])
    assert len(read_session(autosave.folder.path).states) == 2, "what was saved stays"
    states.append(seed(5))
    autosave.now()
    qtbot.waitUntil(lambda: not autosave._work.busy)
    assert len(read_session(autosave.folder.path).states) == 5
    assert [p.name for p in autosave.folder.path.iterdir() if p.name.startswith(".")] == []
    autosave.shutdown()
