"""The strip of states, favourites, sessions, and the ways back from files and texts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from gui.conftest import label_maps
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QFont, QFontMetrics, QShortcut
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit
from tolerances import SUMS

from napari_stylegan3d.app.sessions import FOLDER_VARIABLE, Autosave
from napari_stylegan3d.core.scans import Dropped, what_are, what_is
from napari_stylegan3d.history.strip import ASIDE, CURRENT, FORK, STARRED, in_two_lines
from stylegan3d.outputs.results import save_rendered
from stylegan3d.recipe.description import from_link, from_text, to_link
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Edit, MadeWith, Mix, Recipe, Source, Truncation
from stylegan3d.render.renderer import Renderer
from stylegan3d.session.annotations import Region
from stylegan3d.session.case import Choice
from stylegan3d.session.file import Favourite, SessionState, read_session
from stylegan3d.session.snapshot import SavedScan, plain_of, read_part
from stylegan3d.session.state import NOBODY
from stylegan3d.session.store import OWNER, SessionFolder, kept_sessions

UNPAINTED = True


@pytest.fixture
def window(window: Any) -> Any:
    """No favourites are left from the test before."""
    window.session.favourites.restore({})
    window.explorer.say("")
    return window


def seed(number: int) -> Recipe:
    return Recipe(Source("seed", number), Truncation(0.7))


def walk(window: Any, *numbers: int) -> None:
    for number in numbers:
        window.session.change(seed(number))


def row_place(window: Any, strip: str, row: int) -> Any:
    view = window.find(strip)
    return view, view.visualRect(view.model().index(row, 0)).center()


def click_row(window: Any, strip: str, row: int) -> None:
    view, place = row_place(window, strip, row)
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)


def states(window: Any) -> list[str]:
    model = window.find("history.list").model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def test_every_state_is_in_the_strip_and_a_click_goes_back_to_it(window):
    walk(window, 1, 2)
    name = next(iter(window.explorer.directions.rows))
    window.session.change(seed(2).replace(edits=(Edit(name, 1.5),)))
    assert states(window) == ["Seed 0", "Seed 1", "Seed 2", f"{name} +1.5 sd"]
    window.settle()
    latest = window.volume
    click_row(window, "history.list", 1)
    window.settle()
    assert window.recipe == seed(1)
    model = window.find("history.list").model()
    assert [model.index(row, 0).data(CURRENT) for row in range(4)] == [False, True, False, False]
    assert [model.index(row, 0).data(ASIDE) for row in range(4)] == [False, False, True, True]
    window.click("explorer.redo")
    # Its picture is finished, but not yet taken, when the one after it is asked for.
    window.explorer.rendering.renders._executor.submit(int).result()
    window.click("explorer.redo")
    window.settle()
    np.testing.assert_array_equal(window.volume, latest)


def test_a_change_after_going_back_begins_a_branch(window, tmp_path):
    walk(window, 1, 2, 3)
    click_row(window, "history.list", 1)
    walk(window, 9)
    assert states(window) == ["Seed 0", "Seed 1", "Seed 2", "Seed 3", "Seed 9"]
    model = window.find("history.list").model()
    assert [model.index(row, 0).data(FORK) for row in range(5)] == [None] * 4 + [2]
    aside = [model.index(row, 0).data(ASIDE) for row in range(5)]
    assert aside == [False, False, True, True, False]
    tip = model.index(4, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert "Continues from state 2." in tip
    window.click("explorer.undo")
    assert window.recipe == seed(1), "what it was made from, not what is before it in the strip"
    window.click("explorer.redo")
    assert window.recipe == seed(9), "the branch that was visited last"
    window.explorer.sessions.save_as(tmp_path / "forked.sg3d")
    window.wait((tmp_path / "forked.sg3d").exists)
    window.wait(lambda: not window.explorer.sessions.files.running)
    window.begin_anew()
    drop(window.views, tmp_path / "forked.sg3d")
    window.wait(lambda: len(states(window)) == 5)
    assert list(window.session.history.parents) == [None, 0, 1, 2, 1]


def test_captions_tell_mixes_apart(window):
    group, *_ = window.session.layer_groups()
    strength = [0.0] * window.session.generator.num_layers
    window.session.change(seed(0).replace(mix=Mix(Source("seed", 7), tuple(strength))))
    for amount in (0.4, 0.6):
        for layer in group.layers:
            strength[layer] = amount
        window.session.change(seed(0).replace(mix=Mix(Source("seed", 7), tuple(strength))))
    assert states(window)[2:] == ["Mix: coarse of B 40 %", "Mix: coarse of B 60 %"]
    lines = in_two_lines(states(window)[2], window.find("history.list").fontMetrics(), 76)
    assert lines.endswith("40 %"), "the amount is not cut off"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("Removed: Ventricle volume", "Removed:\nVentricle …"),
        ("Projected ucla-sub-04, Detail of ucla-sub-04", "Projected\nucla-sub-04, …"),
        ("Ventricle volume +2 sd", "Ventricle\nvolume +2 sd"),
        ("Seed 21", "Seed 21"),
    ],
)
def test_titles_leave_out_whole_words(qapp, words, shown):
    """Half of "removed" says that something was moved."""
    metrics = QFontMetrics(QFont())
    width = metrics.horizontalAdvance("ucla-sub-04, …")
    assert in_two_lines(words, metrics, width) == shown


def test_arrow_keys_go_through_the_history(window):
    walk(window, 1, 2)
    view = window.find("history.list")
    view.setFocus()
    QTest.keyClick(view, Qt.Key.Key_Left)
    assert window.recipe == seed(1)
    QTest.keyClick(view, Qt.Key.Key_Home)
    assert window.recipe == seed(0)
    QTest.keyClick(view, Qt.Key.Key_End)
    assert window.recipe == seed(2)
    assert len(states(window)) == 3


def test_hovering_tells_what_changed(window):
    walk(window, 5)
    window.session.change(seed(5).replace(truncation=Truncation(1.0)))
    model = window.find("history.list").model()
    tip = model.index(2, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == "3 of 3: Truncation 1\nSeed 5"


def test_the_states_in_sight_get_their_thumbnails(window):
    window.paint()
    walk(window, 1, 2)
    window.settle()
    window.wait(lambda: window.explorer.thumbnails.image(seed(1)) is not None)


def test_the_strip_folds_away(window):
    tall = window.explorer.history.height()
    window.click("history.fold")
    assert not window.find("history.list").isVisible()
    window.wait(lambda: window.explorer.history.height() < tall)
    window.click("history.fold")
    QTest.qWait(50)
    assert window.find("history.list").isVisible()


def test_favourites_have_notes_and_can_be_let_go(window):
    walk(window, 4)
    window.click("history.star")
    assert window.session.favourites.items == (Favourite(seed(4)),)
    strip = window.find("history.list").model()
    assert [strip.index(row, 0).data(STARRED) for row in range(2)] == [False, True]
    window.click("history.show_favourites")
    window.click("history.note")
    field = window.find("history.favourites").findChild(QLineEdit, "history.note_field")
    QTest.keyClicks(field, "small ventricles")
    QTest.keyClick(field, Qt.Key.Key_Return)
    window.wait(lambda: window.session.favourites.items[0].note == "small ventricles")
    walk(window, 6)
    assert not window.find("history.remove").isEnabled(), "what is shown is no favourite"
    click_row(window, "history.favourites", 0)
    assert window.recipe == seed(4)
    window.click("history.remove")
    assert not window.session.favourites.items
    assert window.find("history.empty").isVisible()
    window.click("history.show_history")


def test_favourites_belong_to_their_model(window):
    favourites = window.session.favourites
    favourites.add(seed(4), "mine")
    own = window.session.generator.hash
    favourites.use_model("another")
    assert favourites.items == ()
    favourites.use_model(own)
    assert favourites.items == (Favourite(seed(4), "mine"),)


def test_a_link_is_copied_and_pasted_back(window):
    walk(window, 7)
    window.click("history.copy_link")
    link = QApplication.clipboard().text()
    assert from_link(link).model == MadeWith.of(window.session.generator)
    walk(window, 8)
    window.click("history.paste")
    assert window.recipe == seed(7)


@pytest.mark.parametrize("form", ["command", "json", "link"])
def test_what_was_copied_is_pasted_with_the_keyboard(window, form):
    recipe = seed(11).signed(window.session.generator)
    text = {"command": recipe.command(), "json": recipe.to_json(), "link": to_link(recipe)}[form]
    assert from_text(text) == seed(11)
    QApplication.clipboard().setText(text)
    window.explorer.activateWindow()
    window.find("explorer.tabs").setFocus()
    shortcut = window.explorer.findChild(QShortcut, "key.paste")
    shortcut.activated.emit()
    assert window.recipe == seed(11)


def test_a_text_field_keeps_its_own_paste(window):
    QApplication.clipboard().setText(to_link(seed(11)))
    window.explorer.panel("Export")
    field = window.find("export.name")
    field.setFocus()
    QTest.keySequence(field, "Ctrl+V")
    assert window.recipe == seed(0)
    assert field.text().startswith("stylegan3d:recipe?")
    field.clear()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "There is no recipe in this text"),
        ("stylegan3d generate --seed 5", "a command with --recipe"),
        ('{"source": {"seed": 1}, "colour": 1}', "no field 'colour'"),
        (to_link(seed(1).replace(model=MadeWith("f" * 64, "other"))), "made with the model other"),
        (seed(1).replace(edits=(Edit("No such", 1.0),)).to_json(), "no direction 'No such'"),
    ],
)
def test_what_cannot_be_pasted_is_told_in_a_sentence(window, notifications, text, says):
    QApplication.clipboard().setText(text)
    window.click("history.paste")
    assert says in window.find("explorer.message").text()
    assert says in notifications[-1]
    assert window.recipe == seed(0)


def test_captions_end_above_the_scroll_bar(window):
    shown = window.find("history.list")
    bar = shown.horizontalScrollBar()
    assert shown.height() - bar.sizeHint().height() >= shown.sizeHintForRow(0)


def drop(widget: Any, *paths: Path) -> QDropEvent:
    """Drag files onto a widget, and let go."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    held = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton
    enter = QDragEnterEvent(QPoint(5, 5), *held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, enter)
    event = QDropEvent(QPointF(5, 5), *held, Qt.KeyboardModifier.NoModifier)
    event.ignore()
    if enter.isAccepted():
        QApplication.sendEvent(widget, event)
    return event


def saved_volume(window: Any, folder: Path, recipe: Recipe) -> Path:
    generator = window.session.generator
    path = folder / "seed-0021_desc-synthetic_T1w.nii.gz"
    rendered = Renderer(generator).render(recipe.latent(generator), "full")
    save_rendered(path, rendered, recipe, generator)
    return path


def test_a_saved_volume_dropped_on_a_view_leads_back_to_its_state(window, tmp_path):
    name = next(iter(window.explorer.directions.rows))
    recipe = seed(21).replace(edits=(Edit(name, -1.0),))
    path = saved_volume(window, tmp_path, recipe)
    for target in (window.views, window.views.view("Axial").canvas, window.explorer):
        window.session.change(Recipe())
        assert drop(target, path).isAccepted()
        assert window.recipe == recipe
    window.settle()


def test_a_latent_that_is_dropped_is_shown(window, tmp_path):
    generator = window.session.generator
    path = tmp_path / "mine_latent.safetensors"
    w = seed(33).latent(generator)
    save_latent(path, Latent.of(generator, w))
    drop(window.views, path)
    assert window.recipe.source.path == str(path)
    np.testing.assert_array_equal(window.recipe.latent(generator).numpy(), w.numpy())
    about = {"path": "sub-09_T1w.nii.gz", "sha256": "0" * 64}
    path = tmp_path / "sub-09_desc-edited_latent.safetensors"
    save_latent(path, Latent.of(generator, w, scan=about))
    drop(window.views, path)
    assert window.patients() == {"sub-09_desc-edited": "latent file"}


def test_a_latent_of_another_model_is_refused_in_a_sentence(window, tmp_path):
    path = tmp_path / "other_latent.safetensors"
    generator = window.session.generator
    w = np.zeros((generator.num_layers, generator.w_dim), np.float32)
    save_latent(path, Latent(w, "W+", "f" * 64, "another model"))
    drop(window.views, path)
    assert "another model" in window.find("explorer.message").text()
    assert window.recipe == seed(0)


def test_a_volume_without_a_recipe_is_opened_as_a_scan(window, scan_file):
    drop(window.views, scan_file)
    window.wait(lambda: window.explorer.comparison.view == "scan")


@pytest.mark.parametrize("name", ["letter.txt", "photo.png", "table.csv"])
def test_what_cannot_be_opened_is_refused_in_a_sentence(window, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"nothing of ours")
    for target in (window.explorer, window.views.view("Coronal").canvas):
        window.explorer.say("")
        assert drop(target, path).isAccepted()
        assert window.find("explorer.message").text().startswith(f"{name} cannot be opened here")


def test_what_can_be_opened_is_though_other_files_are_dropped_with_it(window, tmp_path, scan_file):
    letter, missing = tmp_path / "letter.txt", tmp_path / "moved.nii.gz"
    letter.touch()
    drop(window.views, letter, scan_file, missing)
    told = window.find("explorer.message").text()
    assert told.startswith("moved.nii.gz cannot be found")
    assert " letter.txt cannot be opened here" in told
    assert scan_file.name not in told
    window.wait(lambda: window.explorer.comparison.view == "scan")
    recipe = tmp_path / "seed.json"
    recipe.write_text(seed(1).to_json())
    drop(window.views, recipe, scan_file)
    assert "cannot be opened together" in window.find("explorer.message").text()


def test_what_a_path_is(tmp_path, scan_file, model):
    def made(name: str, content: bytes | str = b"") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    slice_ = made("IM0001", bytes(128) + b"DICM")
    other = made("IM0002", bytes(128) + b"DICM")
    assert what_is(made("a.json", seed(1).to_json())).kind == "recipe"
    assert what_is(made("b.json", "{")) is None
    assert what_is(made("c.json", '{"RepetitionTime": 2}')) is None
    assert what_is(made("d.sg3d")).kind == "session"
    assert what_is(made("e.pkl")).kind == "model"
    assert what_is(made("f.txt")) is None
    assert what_is(made("g.safetensors")) is None
    assert what_is(tmp_path / "missing.nii") is None
    assert what_is(scan_file) == Dropped("scan", scan_file)
    assert what_is(slice_) == Dropped("dicom", slice_)
    assert what_is(tmp_path) == Dropped("dicom", tmp_path)
    assert what_are([slice_, other]) == Dropped("dicom", tmp_path)
    assert what_are([slice_, scan_file]) is None
    assert what_is(made("h.mgh")).kind == "scan"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "h.json")  # what reads it waits for ever
    assert what_is(tmp_path / "h.mgh").kind == "scan"
    deep = made("deep.nii.gz")
    made("deep.json", "[" * 100_000)
    assert what_is(deep).kind == "scan"


def crashed_session(folder: Path, generator: Any, *numbers: int) -> Path:
    """A session whose process is gone."""
    kept = SessionFolder(folder)
    recipes = tuple(seed(number) for number in numbers)
    favourites = {generator.hash: (Favourite(recipes[-1], "the one"),)}
    view = {"tab": "Mix", "convention": "neurological", "point_mm": [0.0, 0.0, 0.0]}
    parents = [None, *range(len(numbers) - 1)]
    view["histories"] = [{"of": NOBODY, "position": 1, "parents": parents}]
    state = SessionState(
        recipes,
        MadeWith.of(generator),
        None,
        None,
        favourites,
        None,
        view,
        frames={f"film {generator.hash}": recipes[1:]},
    ).stamped()
    kept.write(state)
    (kept.path / OWNER).unlink()
    return kept.path


def test_the_session_is_saved_by_itself(window, sessions_folder):
    walk(window, 1, 2, 3)
    window.session.favourites.add(seed(2), "a note")
    folder = window.explorer.sessions.autosave.folder
    window.wait(lambda: folder.exists and (folder.path / "session.json").exists())
    window.wait(lambda: len(read_session(folder.path).states) == 4)
    state = read_session(folder.path)
    assert state.states[-1] == seed(3)
    assert not state.closed
    assert folder.path not in [kept.folder for kept in kept_sessions(sessions_folder)]


def test_a_session_that_ended_unexpectedly_is_offered_and_restored(window, sessions_folder):
    sessions, generator = window.explorer.sessions, window.session.generator
    folder = crashed_session(sessions_folder, generator, 51, 52, 53)
    sessions._look()
    window.wait(lambda: window.find("explorer.restore_bar").isVisible())
    assert "ended unexpectedly" in window.find("explorer.restore_text").text()
    assert "3 states, 1 favourite" in window.find("explorer.restore_text").text()
    window.click("explorer.restore")
    window.settle()
    assert list(window.session.states) == [seed(51), seed(52), seed(53)]
    assert window.recipe == seed(52)
    assert window.session.favourites.items == (Favourite(seed(53), "the one"),)
    assert window.explorer.export.film.recipes == (seed(52), seed(53))
    assert window.views.looks.look.convention == "neurological"
    assert window.explorer.tabs.panels[window.explorer.tabs.currentIndex()].title == "Mix"
    assert not folder.exists(), "the session is this window's now"
    assert not window.find("explorer.restore_bar").isVisible()
    walk(window, 54)
    mine = sessions.autosave.folder
    window.wait(lambda: read_session(mine.path).states[-1] == seed(54))


def test_how_to_search_is_restored_with_a_session(window, sessions_folder):
    search, sessions = window.explorer.project.search, window.explorer.sessions
    asked = ("w+", "draft", "", "")
    search.show_wishes(asked)
    state = sessions.state()
    search.show_wishes(("w", "standard", "", ""))
    assert search.wishes != asked
    sessions._go_on(state, SessionFolder(sessions_folder))
    assert search.wishes == asked
    search.show_wishes(("no such space", None, 7, "nowhere"))
    assert search.wishes == asked
    search.show_wishes(("w+", "standard", "", ""))


def test_a_scan_of_a_session_without_histories_is_a_patient_of_its_own(
    window, sessions_folder, scan_file
):
    kept = SessionFolder(sessions_folder)
    model = MadeWith.of(window.session.generator)
    case = {"choice": {"path": str(scan_file)}, "name": "sub-07", "key": "a"}
    view = {"cases": [case], "steps": [{}, {}, {"what": "scan", "case": 0}]}
    kept.write(SessionState((seed(1), seed(2), None), model, view=view).stamped())
    (kept.path / OWNER).unlink()
    [session] = [k for k in kept_sessions(sessions_folder) if k.folder == kept.path]
    window.explorer.sessions.restore(session)
    window.settle()
    assert window.captions == {"Seed 2\nSynthetic – not for diagnosis"}
    assert window.recipe == seed(2)
    assert window.find("project.name").text() == "No scan yet"
    assert window.patients() == {"sub-07": "read when it is shown"}
    window.show("sub-07")
    assert window.recipe is None
    window.wait(lambda: window.captions == {"Scan: sub-07"})
    assert window.session.case.path == scan_file
    assert window.patients() == {"sub-07": "scan"}
    window.show("Synthetic brains")
    window.settle()
    assert window.captions == {"Seed 2\nSynthetic – not for diagnosis"}
    assert window.recipe == seed(2)


def test_a_restored_scan_is_aligned_as_it_was(window, sessions_folder, scan_file, tmp_path):
    explorer, session = window.explorer, window.session
    projecting = explorer.projecting
    window.open_scan(scan_file)
    labels = label_map_of(scan_file, tmp_path / "lesion.nii.gz")
    explorer.open_scan(labels)
    window.wait(lambda: label_maps(window) == [labels])
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    window.set("project.shift.1", 4.0)
    window.click("project.fill")
    layer = projecting.painting.layer
    layer.paint(tuple(n // 2 for n in layer.data.shape), 1)
    painted = projecting.painting.region().data
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: session.projected)
    window.settle()
    (before,) = session.projected
    window.click("project.show.residual")
    window.settle()
    difference, told = window.volume, window.find("project.ssim").text()
    kept = SessionFolder(sessions_folder)
    kept.write(explorer.sessions.state().stamped())
    (kept.path / OWNER).unlink()
    projecting.forget_model()
    window.begin_anew()
    walk(window, 99)  # else this window's session is not worth its latents
    assert "lesion" not in window.viewer.layers, "it went with its patient"
    window.settle()
    assert not session.projected
    assert projecting.painting.region() is None
    assert not window.find("project.show.residual").isEnabled()
    [ended] = [k for k in kept_sessions(sessions_folder) if k.folder == kept.path]
    explorer.sessions.restore(ended)
    assert window.find("project.ssim").text() == told, "the result is there before the scan is"
    window.wait(lambda: session.placed is not None)
    window.settle()
    assert window.captions == {"Scan: sub-07"}
    (after,) = session.projected
    np.testing.assert_array_equal(after.aligned.rigid, before.aligned.rigid)
    np.testing.assert_array_equal(after.aligned.volume, before.aligned.volume)
    assert after.assessment["verdicts"] == before.assessment["verdicts"]
    assert window.find("project.shift.1").value() == 4.0
    assert window.find("project.ssim").text() == told
    window.click("project.show.residual")
    window.settle()
    np.testing.assert_array_equal(window.volume, difference)
    np.testing.assert_array_equal(projecting.painting.region().data, painted)
    assert label_maps(window) == [labels]
    np.testing.assert_array_equal(after.filled.region.data, before.filled.region.data)
    window.click("project.show.filled")
    window.wait(lambda: np.allclose(window.volume, before.filled.volume, atol=SUMS))
    window.viewer.layers.remove("lesion")


def label_map_of(scan_file, path):
    """A file of labels on a scan's grid: 1 in its middle."""
    scan = nib.load(scan_file)
    data = np.zeros(scan.shape, np.uint8)
    data[tuple(slice(n // 2 - 3, n // 2 + 3) for n in scan.shape)] = 1
    nib.Nifti1Image(data, scan.affine).to_filename(path)
    return path


def test_a_region_is_kept_as_it_is():
    data = np.random.default_rng(0).random((5, 6, 7)) > 0.5
    for of_scan in (False, True):
        region = Region(data, np.diag([2.0, 2.0, 3.0, 1.0]), of_scan)
        plain = plain_of(SavedScan(Choice(Path("a.nii.gz")), painted=region))
        again = read_part(SavedScan, json.loads(json.dumps(plain))).painted
        np.testing.assert_array_equal(again.data, region.data)
        assert again.of_scan == of_scan
        np.testing.assert_array_equal(again.affine, region.affine)


@pytest.mark.parametrize(
    "damage",
    [{"bits": "!"}, {"bits": "AAAA"}, {"shape": [5, 6]}, {"shape": [9, 9, 9]}, {"affine": [1, 2]}],
)
def test_a_damaged_region_is_left_aside(damage):
    region = Region(np.ones((5, 6, 7), bool), np.eye(4))
    kept = SavedScan(Choice(Path("a.nii.gz")), painted=region)
    plain = plain_of(kept)
    again = read_part(SavedScan, {**plain, "painted": {**plain["painted"], **damage}})
    assert again.painted is None
    assert read_part(SavedScan, plain).painted is not None


@pytest.mark.parametrize(
    "damage",
    [
        {"rigid": [[1, 2], [3, 4]]},
        {"choice": {"path": 3}},
        {"pose": {"shift_mm": ["far", 0, 0], "turn_deg": [0, 0, 0]}},
        {"results": 5},
        {"labels": 5},
    ],
)
def test_a_damaged_alignment_is_left_aside(damage):
    whole = plain_of(SavedScan(Choice(Path("a.nii.gz")), "auto", np.eye(4)))
    assert read_part(SavedScan, whole).how == "auto"
    found = read_part(SavedScan, {**whole, **damage})
    assert found is None or (found.how, found.rigid) == ("", None)


def test_starting_anew_keeps_the_session_in_the_menu(window, sessions_folder):
    sessions = window.explorer.sessions
    folder = crashed_session(sessions_folder, window.session.generator, *range(61, 72))
    sessions._look()
    window.wait(lambda: window.find("explorer.restore_bar").isVisible())
    window.click("explorer.start_anew")
    assert not window.find("explorer.restore_bar").isVisible()
    window.wait(lambda: not sessions.looking.running)
    assert read_session(folder).closed
    menu = window.find("explorer.open_model").menu()
    menu.aboutToShow.emit()
    [earlier] = [action.menu() for action in menu.actions() if action.text() == "Earlier sessions"]
    [entry] = [a for a in earlier.actions() if "11 states" in a.text()]
    entry.trigger()
    assert window.recipe == seed(62)


def test_a_session_of_a_model_that_is_gone_is_told_in_a_sentence(window, sessions_folder):
    kept = SessionFolder(sessions_folder)
    gone = MadeWith("f" * 64, "old model")
    kept.write(SessionState((seed(1), seed(2)), gone, "/no/such/model").stamped())
    (kept.path / OWNER).unlink()
    [session] = [k for k in kept_sessions(sessions_folder) if k.state.model == gone]
    window.explorer.sessions.restore(session)
    assert "old model" in window.find("explorer.message").text()
    assert window.recipe == seed(0)
    kept.remove()


def test_a_session_is_saved_to_a_file_and_opened_again(window, tmp_path):
    walk(window, 71, 72)
    window.session.favourites.add(seed(72), "kept")
    window.session.keep_key_frames("film", (seed(71),))
    walk_box = window.explorer.browse.walk
    walk_box.show_stops((seed(71), seed(72)))
    path = tmp_path / "mine"
    window.explorer.sessions.save_as(path)
    saved = tmp_path / "mine.sg3d"
    window.wait(saved.exists)
    window.wait(lambda: not window.explorer.sessions.files.running)
    walk(window, 73)
    window.session.favourites.restore({})
    window.session.keep_key_frames("film", ())
    walk_box.show_stops(())
    drop(window.views, saved)
    window.wait(lambda: window.recipe == seed(72))
    assert list(window.session.states)[-2:] == [seed(71), seed(72)]
    assert window.session.favourites.items == (Favourite(seed(72), "kept"),)
    assert window.session.key_frames("film") == (seed(71),)
    assert walk_box.stops == (seed(71), seed(72))
    walk_box.show_stops(())


def test_a_damaged_session_file_is_told_in_a_sentence(window, tmp_path):
    path = tmp_path / "broken.sg3d"
    path.write_bytes(b"PK\x03\x04")
    drop(window.views, path)
    window.wait(lambda: window.find("explorer.message").text())
    assert "damaged" in window.find("explorer.message").text()


def test_what_was_done_last_is_saved_when_the_window_closes(qapp, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    from qtpy.QtCore import QObject

    states_ = [seed(1), seed(2)]
    owner = QObject()
    autosave = Autosave(lambda: SessionState(tuple(states_)), owner)
    autosave.now()
    states_.append(seed(3))
    autosave.shutdown()
    [kept] = kept_sessions(tmp_path)
    assert kept.state.closed
    assert len(kept.state.states) == 3
    nothing = Autosave(lambda: SessionState((seed(1),)), owner)
    nothing.now()
    nothing.shutdown()
    assert len(kept_sessions(tmp_path)) == 1, "a window in which nothing was done leaves nothing"


def test_the_current_state_stays_in_sight_while_the_window_becomes_narrower(window):
    states = window.find("history.list")
    for seed in range(40, 60):
        window.session.change(window.recipe.replace(source=Source("seed", seed)))
    states.resize(900, states.height())
    QTest.qWait(20)
    states.resize(300, states.height())
    QTest.qWait(20)
    assert states.visualRect(states.currentIndex()).right() <= states.viewport().width()
