"""Each patient has a history: other models, and other windows, keep every one of them."""

from __future__ import annotations

import json
import shutil
import threading

import nibabel as nib
import numpy as np
import pytest
from gui.conftest import label_maps
from tiny import tiny_generator
from tolerances import LAYERS

from napari_stylegan3d.app import sessions as restoring
from napari_stylegan3d.app.sessions import _again
from napari_stylegan3d.core.rendering import by_content
from napari_stylegan3d.history.strip import ASIDE
from stylegan3d.base import ScanError
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.snapshot import SavedScan, read_part
from stylegan3d.session.store import OWNER, Kept, SessionFolder, kept_sessions

UNPAINTED = True


def seed(number: int) -> Recipe:
    return Recipe(Source("seed", number), Truncation(0.7))


def mix_sources(window) -> list[str]:
    box = window.find("mix.source")
    return [box.itemText(index) for index in range(box.count())]


def texts(menu) -> list[str]:
    menu.aboutToShow.emit()
    return [action.text() for action in menu.actions()]


def test_the_strip_is_of_the_subject_before_until_it_follows(window, scan_file):
    session, strip = window.session, window.find("history.list")
    window.open_scan(scan_file)
    window.show("Synthetic brains")
    for number in (3, 4, 5):
        session.change(seed(number))
    window.settle()
    model, heard = strip.model(), []
    words = [model.words(row) for row in range(model.rowCount())]
    assert len(words) > 2

    def paint(_change):
        strip.grab()
        heard.append([model.words(row) for row in range(model.rowCount())])

    session.changed.connect(paint)
    window.show("sub-07")
    session.changed.disconnect(paint)
    assert heard[0] == words, "not those of a patient who has fewer"
    assert model.words(0) == "Scan sub-07"


def ended(window, folder) -> Kept:
    """The session as it is, as one that came to a sudden end."""
    kept = SessionFolder(folder)
    kept.write(window.explorer.sessions.state().stamped())
    (kept.path / OWNER).unlink()
    [found] = [one for one in kept_sessions(folder) if one.folder == kept.path]
    return found


def test_another_model_and_back_keeps_history_projections_mix_and_earlier_sessions(
    window, sessions_folder, scan_file, model
):
    session, sessions = window.session, window.explorer.sessions
    session.change(seed(3))
    window.settle()
    session.favourites.add(seed(3), "mine")
    window.click("export.frames_add")
    case = window.project(scan_file)
    session.second = case.source
    session.change(session.recipe.replace(truncation=Truncation(0.5)))
    window.settle()
    states, recipe, shown = session.states, session.recipe, window.volume
    assert "Projected sub-07" in mix_sources(window)
    ended(window, sessions_folder)

    heard = []
    hear = lambda _: heard.append(session.recipe)  # noqa: E731
    session.modelChanged.connect(hear)
    window.open(tiny_generator(seed=3))
    session.modelChanged.disconnect(hear)
    assert heard == [None], "nobody is asked to draw with it what belongs to the one before"
    assert window.explorer.message.text() == ""
    assert session.states[: len(states)] == states, "nothing is gone"
    assert not session.can_undo, "what this model cannot show is no step of undo"
    assert session.recipe is None
    assert window.find("project.name").text() == "sub-07", "the scan stays open"
    assert window.captions == {"Scan: sub-07"}
    assert window.patients() == {"sub-07": "scan"}
    assert window.find("project.verdicts").isHidden(), "it was not projected into this model"
    assert not window.find("project.show.model").isEnabled()
    assert "Projected sub-07" not in mix_sources(window)
    assert session.favourites.items == ()
    assert window.find("export.frames").count() == 0
    window.click("history.show_favourites")
    assert "1 of other models" in [label.text() for label in (window.explorer.history.count,)]
    window.click("history.show_history")
    strip = window.find("history.list").model()
    at = len(states) - 1
    assert strip.index(at, 0).data(ASIDE), "it is drawn dimmed"
    assert f"Made with the model {model.name}" in strip.tip(at)
    before = session.state
    window.find("history.list").picked.emit(at)
    assert session.state == before, "the same latent is another brain here"
    patient = session.states
    window.show("Synthetic brains")
    session.change(seed(9))
    session.undo()
    session.change(seed(10))
    own = session.states
    assert own[:2] == [seed(0), seed(3)]
    assert own[-2:] == [seed(9), seed(10)], "what was undone is kept, too"

    window.open(model)
    assert session.recipe == seed(3), "where this model was left"
    assert session.states == own, "what the other model made is kept, too"
    window.show("sub-07")
    window.settle()
    assert session.recipe == recipe
    assert session.states == patient
    np.testing.assert_array_equal(window.volume, shown)
    assert [one.source for one in session.projected] == [case.source]
    assert session.second == case.source
    assert "Projected sub-07" in mix_sources(window)
    assert window.find("project.name").text() == "sub-07"
    assert window.find("project.ssim").text() == f"{case.assessment['similarity']['ssim']:.3f}"
    assert len(session.favourites.items) == 1
    assert window.find("export.frames").count() == 1
    assert session.key_frames("film") == (seed(3),)
    session.keep_key_frames("film", ())
    assert session.can_undo
    session.undo()
    window.settle()
    window.click("project.show.residual")
    window.settle()
    assert window.captions == {"sub-07: reconstruction − scan\nDifference – not for diagnosis"}
    session.favourites.restore({})

    window.wait(lambda: not sessions.looking.running)
    menu = window.find("explorer.open_model").menu()
    menu.aboutToShow.emit()
    (earlier,) = (a for a in menu.actions() if a.text() == "Earlier sessions")
    assert earlier.isEnabled()
    window.show("Synthetic brains")
    kept = ended(window, sessions_folder)
    window.begin_anew()
    sessions.restore(kept)
    window.settle()
    assert session.states == own
    assert window.recipe == seed(3)
    strip = window.find("history.list").model()
    foreign = own.index(seed(9))
    assert "Made with the model" in strip.tip(foreign), "steps of the other model are known"


def test_every_patient_of_a_session_comes_back(window, scan_file, second_file, tmp_path):
    first = window.project(scan_file)
    second = window.project(second_file)
    session = window.session
    states, position = session.states, session.history.position
    sessions, saved = window.explorer.sessions, tmp_path / "two patients.sg3d"
    for file in (scan_file, second_file):  # a session file names no folders
        (tmp_path / file.name).symlink_to(file)
    sessions.save_as(saved)
    window.wait(lambda: saved.exists() and not sessions.files.running)
    window.begin_anew()
    window.settle()
    assert window.find("project.name").text() == "No scan yet"
    sessions.open(saved)
    window.wait(lambda: len(session.states) > 1)
    assert window.find("project.name").text() == "sub-08"
    assert window.find("project.ssim").text() == f"{second.assessment['similarity']['ssim']:.3f}"
    window.settle()
    window.wait(lambda: session.placed is not None)
    assert session.history.position == position
    now, was = ([r and r.with_paths(by_content) for r in one] for one in (session.states, states))
    assert now == was
    assert [case.name for case in session.projected] == ["sub-07", "sub-08"]
    for case in (first, second):
        window.show(case.name)
        assert case.is_of(window.recipe.source)
        assert window.find("project.name").text() == case.name
        assert window.find("project.ssim").text() == f"{case.assessment['similarity']['ssim']:.3f}"
        window.settle()
        window.wait(lambda: session.placed is not None)
        window.click("project.show.scan")
        assert window.captions == {f"Scan: {case.name}"}
        np.testing.assert_array_equal(window.volume, case.aligned.volume)
        window.click("project.show.residual")
        window.settle()
        told = f"{case.name}: reconstruction − scan\nDifference – not for diagnosis"
        assert window.captions == {told}


@pytest.fixture
def held(monkeypatch):
    """Scans of a restored session are read only once this is set."""
    event = threading.Event()

    def wait(*args):
        assert event.wait(60)
        return _again(*args)

    monkeypatch.setattr(restoring, "_again", wait)
    yield event
    event.set()


def restore(window, folder, state):
    """End the session, and restore this state of it."""
    kept = SessionFolder(folder)
    kept.write(state.stamped())
    (kept.path / OWNER).unlink()
    window.explorer.projecting.forget_model()
    window.begin_anew()
    window.session.change(seed(99))
    window.settle()
    [found] = [one for one in kept_sessions(folder) if one.folder == kept.path]
    window.explorer.sessions.restore(found)


def go_to_patient(window, name: str) -> None:
    """Click a patient in the list."""
    window.show(name)
    assert window.find("project.name").text() == name


@pytest.mark.parametrize("there", [True, False])
def test_a_comparison_comes_back_with_another_patients_scan(
    window, scan_file, sessions_folder, tmp_path, notifications, there
):
    file = tmp_path / scan_file.name
    shutil.copy(scan_file, file)
    window.open_scan(file)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    comparing, session = window.explorer.comparing, window.session
    comparing.pin()
    volume = comparing.pinned.volume
    window.show("Synthetic brains")
    window.settle()
    window.click("compare.mode.side")
    state = window.explorer.sessions.state()
    if not there:
        file.unlink()
    restore(window, sessions_folder, state)
    if there:
        window.wait(lambda: comparing.pinned is not None and comparing.shows.mode == "side")
        np.testing.assert_array_equal(comparing.pinned.volume, volume)
        assert window.find("compare.a").text() == "Scan: sub-07"
        assert window.find("compare.mode.side").isChecked()
        assert session.key == "", "the synthetic brain stays on the screen"
        comparing.unpin()
    else:
        window.wait(lambda: any("compared as A" in text for text in notifications))
        assert comparing.pinned is None
    assert session.state.second is None
    assert session.state.comparison == "off"
    assert window.find("compare.mode.off").isChecked()


def test_a_scan_lies_where_it_lay_though_a_model_of_another_grid_was_opened_meanwhile(
    window, scan_file, sessions_folder, held, model
):
    window.open_scan(scan_file)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    window.set("project.shift.1", 4.0)
    window.settle()
    rigid = window.session.placed.rigid
    restore(window, sessions_folder, window.explorer.sessions.state())
    window.wait(lambda: window.explorer.sessions.scans.job.running)
    window.open(tiny_generator(seed=3, channels=(12, 8, 8)))
    assert window.explorer.rendering.loaded.generator.shape != model.shape
    held.set()
    window.settle()
    window.open(model)
    window.show("sub-07")
    window.wait(lambda: window.session.placed is not None)
    np.testing.assert_array_equal(window.session.placed.rigid, rigid)


def test_the_views_of_a_patient_whose_scan_is_gone_do_not_wait_for_it(
    window, scan_file, sessions_folder, tmp_path
):
    file = tmp_path / scan_file.name
    shutil.copy(scan_file, file)
    window.open_scan(file)
    state = window.explorer.sessions.state()
    file.unlink()
    restore(window, sessions_folder, state)
    window.wait(lambda: window.session.case.problem)
    assert window.views.views[0].crosshair.message == "No picture of sub-07"


def test_a_scan_that_has_moved_brings_back_all_that_was_made_of_it(
    window, scan_file, sessions_folder, tmp_path
):
    file, session = tmp_path / scan_file.name, window.session
    shutil.copy(scan_file, file)
    window.project(file)
    session.change(window.recipe.replace(edits=(Edit("PC 1", 2.0),)))
    window.settle()
    volume, states = np.array(window.volume), session.states
    state = window.explorer.sessions.state()
    file.unlink()
    restore(window, sessions_folder, state)
    window.wait(lambda: session.case.problem)
    window.wait(lambda: not window.explorer.rendering.busy)  # it has been tried, too
    window.explorer.open_scan(scan_file)  # where it lies now
    window.wait(lambda: session.case.aligned is not None)
    window.settle()
    assert session.states == states
    np.testing.assert_allclose(window.volume, volume, atol=LAYERS)
    assert window.captions == {"sub-07: PC 1 +2 sd\nEdited scan, not an acquired image"}


@pytest.mark.parametrize("there", [True, False])
def test_columns_come_back_each_with_its_own_subject(
    window, scan_file, sessions_folder, tmp_path, notifications, there
):
    file, session, panes = tmp_path / scan_file.name, window.session, window.views.panes
    shutil.copy(scan_file, file)
    window.explorer.panel("Compare")
    window.click("compare.mode.row")
    window.settle()
    window.click("compare.row_add")
    window.open_scan(file)
    window.click("project.align")
    window.wait(lambda: session.placed is not None and window.find("compare.row_add").isEnabled())
    window.click("compare.row_add")
    assert not window.find("compare.row_add").isEnabled(), "it is one already"
    window.show("Synthetic brains")
    session.change(seed(5))
    window.settle()
    before, titles = list(panes.panes), ["Seed 0", "Scan sub-07", "Seed 5"]
    assert [pane.title for pane in before] == titles
    state = window.explorer.sessions.state()
    window.begin_anew()
    assert panes.panes == ()
    assert window.find("compare.row_list").count() == 0
    if not there:
        file.unlink()
    restore(window, sessions_folder, state)
    if there:
        window.wait(lambda: len(panes.panes) == 3 and window.recipe == seed(5))
        window.settle()
        assert window.find("compare.mode.row").isChecked()
        assert [pane.title for pane in panes.panes] == titles
        for pane, was in zip(panes.panes, before, strict=True):
            np.testing.assert_array_equal(pane.layer.data, was.layer.data)
            np.testing.assert_array_equal(pane.layer.contrast_limits, was.layer.contrast_limits)
            assert (pane.provenance.kind, pane.provenance.name) == (
                was.provenance.kind,
                was.provenance.name,
            )
        session.close_patient(session.state.row[1].key)
    else:
        window.wait(lambda: any("Scan sub-07 could not be shown" in text for text in notifications))
        window.wait(lambda: len(panes.panes) == 2)
    assert [pane.title for pane in panes.panes] == ["Seed 0", "Seed 5"]
    window.click("compare.mode.off")
    assert panes.panes == ()


@pytest.mark.parametrize("there", [True, False])
def test_a_and_columns_that_are_edited_scans_wait_until_the_scan_is_read(
    window, scan_file, sessions_folder, tmp_path, notifications, held, there
):
    file, session, comparing = tmp_path / scan_file.name, window.session, window.explorer.comparing
    shutil.copy(scan_file, file)
    window.project(file)
    session.change(window.recipe.replace(edits=(Edit("PC 1", 2.0),)))
    window.settle()
    window.explorer.panel("Compare")
    window.click("compare.pin")
    window.click("compare.mode.row")
    window.wait(lambda: window.find("compare.row_add").isEnabled())
    window.click("compare.row_add")
    window.show("Synthetic brains")
    window.settle()
    window.wait(lambda: len(window.views.panes.panes) == 2)
    volume, layer = comparing.pinned.volume, window.views.panes.panes[0].layer
    state = window.explorer.sessions.state()
    if not there:
        file.unlink()
    restore(window, sessions_folder, state)
    window.settle()
    assert len(session.state.row) == 1
    assert comparing.pinned.shown is None
    held.set()
    if there:
        window.wait(lambda: len(window.views.panes.panes) == 2)
        window.wait(lambda: comparing.pinned.shown is not None)
        assert window.views.panes.panes[0].title == "Edited scan sub-07: PC 1 +2 sd"
        np.testing.assert_allclose(comparing.pinned.volume, volume, atol=LAYERS)
        again = window.views.panes.panes[0].layer
        np.testing.assert_allclose(again.data, layer.data, atol=LAYERS)
    else:
        window.wait(lambda: any("could not be shown as a column" in text for text in notifications))
        window.wait(lambda: comparing.pinned is None)
        assert session.state.row == ()
    assert window.find("compare.mode.row").isChecked()
    window.click("compare.mode.off")


@pytest.mark.soak
def test_labels_and_mask_are_kept_for_every_patient_and_restored_to_their_own(
    window, sessions_folder, scan_file, second_file, held, tmp_path
):
    session, projecting = window.session, window.explorer.projecting
    image, lesion = nib.load(scan_file), tmp_path / "lesion.nii.gz"
    marked = np.zeros(image.shape, np.uint8)
    marked[20:26, 30:36, 25:31] = 1
    nib.Nifti1Image(marked, image.affine).to_filename(lesion)

    def align(path) -> None:
        window.explorer.open_scan(path)
        name = path.name.split("_")[0]
        window.wait(lambda: window.find("project.name").text() == name)
        window.click("project.align")
        window.wait(lambda: session.placed is not None)

    align(second_file)
    align(scan_file)
    window.explorer.open_scan(lesion)
    window.wait(lambda: label_maps(window) == [lesion])
    window.click("project.fill")
    layer = projecting.painting.layer
    layer.paint(tuple(n // 2 for n in layer.data.shape), 1)
    painted = projecting.painting.region().data

    def kept_of(name: str) -> SavedScan:
        plain = json.loads(json.dumps(window.explorer.sessions.state().view["cases"]))
        [one] = [one for one in (read_part(SavedScan, one) for one in plain) if one.name == name]
        return one

    def assert_is_kept() -> None:
        assert kept_of("sub-07").labels == (lesion,)
        np.testing.assert_array_equal(kept_of("sub-07").painted.data, painted)
        assert kept_of("sub-08").labels == ()
        assert kept_of("sub-08").painted is None

    assert_is_kept()
    go_to_patient(window, "sub-08")
    assert_is_kept()
    go_to_patient(window, "sub-07")
    state = window.explorer.sessions.state()
    window.viewer.layers.remove("lesion")

    restore(window, sessions_folder, state)
    assert window.find("project.name").text() == "sub-07"
    window.wait(lambda: window.explorer.sessions.scans.job.running)
    assert_is_kept()
    go_to_patient(window, "sub-08")
    held.set()
    window.wait(lambda: session.placed is not None)
    assert window.find("project.name").text() == "sub-08"
    assert "lesion" not in window.viewer.layers
    assert window.find("second.mask").isHidden(), "it is no lesion of this patient"
    assert projecting.painting.region() is None
    assert_is_kept()
    go_to_patient(window, "sub-07")
    window.wait(lambda: "lesion" in window.viewer.layers)
    assert window.viewer.layers["lesion"].visible
    assert label_maps(window) == [lesion]
    np.testing.assert_array_equal(projecting.painting.region().data, painted)
    assert_is_kept()
    window.viewer.layers.remove("lesion")


@pytest.mark.parametrize("moved", [True, False])
def test_label_maps_come_back_once_however_their_scan_does(
    window, sessions_folder, scan_file, tmp_path, moved
):
    """After a crash, and in a window that has the patient open."""
    own, lesion = tmp_path / "own" / scan_file.name, tmp_path / "lesion.nii.gz"
    own.parent.mkdir()
    shutil.copy(scan_file, own)
    image = nib.load(own)
    marked = np.zeros(image.shape, np.uint8)
    marked[20:26, 30:36, 25:31] = 1
    nib.Nifti1Image(marked, image.affine).to_filename(lesion)

    def maps() -> list[str]:
        return [one.name for one in window.viewer.layers if "lesion" in one.name and one.visible]

    window.open_scan(own)
    window.explorer.open_scan(lesion)
    window.wait(lambda: len(maps()) == 1)
    state = window.explorer.sessions.state()
    if moved:
        there = tmp_path / scan_file.name
        own.rename(there)
        restore(window, sessions_folder, state)
        window.wait(lambda: window.session.case and window.session.case.problem)
        assert maps() == []
        window.explorer.open_scan(there)
    else:
        window.explorer.sessions._go_on(state, SessionFolder(sessions_folder))
    window.wait(lambda: window.session.case and window.session.case.scan is not None)
    window.wait(lambda: len(maps()) == 1)
    window.settle()
    assert len(maps()) == 1
    assert label_maps(window) == [lesion]
    window.viewer.layers.remove("lesion")


def test_a_label_map_that_cannot_be_read_again_is_told_and_stays_part_of_the_session(
    window, sessions_folder, scan_file, tmp_path
):
    session = window.session
    image, lesion = nib.load(scan_file), tmp_path / "lesion.nii.gz"
    window.explorer.open_scan(scan_file)
    window.wait(lambda: window.find("project.name").text() == "sub-07")
    marked = np.zeros(image.shape, np.uint8)
    marked[20:26, 30:36, 25:31] = 1
    nib.Nifti1Image(marked, image.affine).to_filename(lesion)
    window.explorer.open_scan(lesion)
    window.wait(lambda: label_maps(window) == [lesion])
    state = window.explorer.sessions.state()
    window.viewer.layers.remove("lesion")
    lesion.unlink()
    restore(window, sessions_folder, state)
    window.wait(lambda: lesion.name in window.explorer.message.text())
    assert session.case.scan is not None
    [case] = json.loads(json.dumps(window.explorer.sessions.state().view["cases"]))
    assert case["labels"] == [str(lesion)], "the file may be back the next time"


def test_restored_patients_whose_files_have_one_name_are_still_told_apart(
    window, sessions_folder, scan_file, held, tmp_path
):
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj)
    files = [tmp_path / folder / scan_file.name for folder in "abc"]
    for number, file in enumerate(files):
        file.parent.mkdir()
        changed = np.where(data > 0, data + number, 0).astype(np.int16)
        nib.Nifti1Image(changed, image.affine).to_filename(file)

    def open_as(file, name: str) -> None:
        window.explorer.open_scan(file)
        window.wait(lambda: window.find("project.name").text() == name)

    def names() -> list[str]:
        return [one["name"] for one in window.explorer.sessions.state().view["cases"]]

    open_as(files[0], "sub-07")
    open_as(files[1], "sub-07 (2)")
    restore(window, sessions_folder, window.explorer.sessions.state())
    assert window.find("project.name").text() == "sub-07 (2)"
    open_as(files[2], "sub-07 (3)")
    held.set()
    for name, number in (("sub-07 (2)", 1), ("sub-07", 0)):
        go_to_patient(window, name)
        window.wait(lambda: window.session.case.scan is not None)
        assert window.session.case.path == files[number]
        assert window.find("project.name").text() == name
        assert sorted(names()) == ["sub-07", "sub-07 (2)", "sub-07 (3)"]
    window.settle()


def test_the_strip_is_that_of_the_subject_on_the_screen(window, scan_file):
    def steps() -> list[str]:
        strip = window.find("history.list").model()
        return [strip.index(row, 0).data() for row in range(strip.rowCount())]

    window.session.change(seed(4))
    assert steps() == ["Seed 0", "Seed 4"]
    window.open_scan(scan_file)
    assert steps() == ["Scan sub-07"]
    for name in ("explorer.undo", "explorer.redo"):
        assert not window.find(name).isEnabled()
    window.show("Synthetic brains")
    window.settle()
    assert window.captions == {"Seed 4\nSynthetic – not for diagnosis"}
    assert steps() == ["Seed 0", "Seed 4"]
    window.click("explorer.undo")
    assert window.recipe == seed(0)
    assert not window.find("explorer.undo").isEnabled()
    window.show("sub-07")
    assert window.captions == {"Scan: sub-07"}
    assert steps() == ["Scan sub-07"]
    window.show("Synthetic brains")
    assert window.recipe == seed(0), "as it was left"


def test_another_patients_file_of_the_same_name_is_not_taken_for_the_scan(scan_file, tmp_path):
    case = Case("sub-07", Choice(scan_file), stored_sha256="0" * 64)
    with pytest.raises(ScanError, match="is not the scan of sub-07"):
        _again(lambda *_: None, None, [case], tmp_path)
