"""The Export tab in the real window: pictures, films and reports, whole or not at all."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from qtpy.QtTest import QTest
from tolerances import FLOAT32

from napari_stylegan3d.widgets import dialogs
from napari_stylegan3d.widgets.settings import unusual_z
from stylegan3d.base import OutputError
from stylegan3d.outputs import dicom
from stylegan3d.recipe import latents
from stylegan3d.recipe.description import read_recipe
from stylegan3d.recipe.recipe import Edit, Recipe, Source

#: What is asked is what is shown, but where a test paints.
UNPAINTED = True
#: How tall the window can be at least depends on all that was ever opened in it.
OWN_WINDOW = True


@pytest.fixture
def export(window, tmp_path):
    """The Export tab, saving to an empty folder; as it comes for other files' tests."""
    window.explorer.panel("Export")
    window.find("export.folder").setText(str(tmp_path))
    window.find("export.overwrite").setChecked(False)
    window.session.keep_key_frames("film", ())
    window.choose("export.film_kind", ".gif")
    window.set("export.film_seconds", 0.5)
    window.set("export.film_fps", 4)
    yield window.explorer.export
    for name in ("export.overwrite", "export.dicom"):
        window.find(name).setChecked(False)


def saved(window) -> str:
    window.wait(lambda: not window.explorer.exporting.job.running)
    return window.find("export.done").text()


def picture(window, folder: Path, view: str, size: str = "screen") -> np.ndarray:
    window.choose("export.picture_view", view)
    window.choose("export.picture_size", size)
    window.click("export.screenshot")
    assert "Saved" in saved(window)
    (path,) = folder.glob("*.png")
    pixels = np.asarray(Image.open(path).convert("RGB"), float)
    assert read_recipe(Path(f"{path}.json")) == window.recipe
    path.unlink()
    Path(f"{path}.json").unlink()
    return pixels


def test_a_view_is_saved_as_it_is_seen(window, export, tmp_path):
    window.paint()
    seen = window.pixels("Axial")
    saved_picture = picture(window, tmp_path, "Axial")
    assert saved_picture.shape == seen.shape
    # But for the crosshair, which Qt paints over the canvas, the very same.
    different = np.abs(saved_picture - seen).max(axis=-1) > 40
    assert 0 < different.mean() < 0.05


def test_a_larger_picture_shows_the_same_more_finely(window, export, tmp_path):
    small = picture(window, tmp_path, "Axial")
    large = picture(window, tmp_path, "Axial", "double")
    assert large.shape[:2] == tuple(2 * n for n in small.shape[:2])
    rows, columns = small.shape[:2]
    shrunk = large.reshape(rows, 2, columns, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.97
    again = picture(window, tmp_path, "Axial")
    assert np.abs(again - small).mean() < 1, "the screen is as it was"


def test_all_views_stand_in_one_picture(window, export, tmp_path):
    one, whole = picture(window, tmp_path, "Axial"), picture(window, tmp_path, "all")
    rows, columns = one.shape[:2]
    # Grey levels: graphics round colours.
    np.testing.assert_allclose(whole[:rows, :columns], one, atol=3)
    assert whole.shape[0] > 1.8 * rows
    assert whole.shape[1] > 1.8 * columns


@pytest.mark.parametrize("view", ["Coronal", "all", "lightbox-axial", "lightbox-sagittal"])
def test_a_print_is_18_cm_wide_at_300_dpi(window, export, tmp_path, view):
    window.choose("export.picture_view", view)
    for size in ("print", "screen"):  # each has a file of its own
        window.choose("export.picture_size", size)
        window.click("export.screenshot")
        assert "Saved" in saved(window)
    (path,) = tmp_path.glob("*-print.png")
    printed = Image.open(path)
    # mm: whole pixels and whole dots per metre.
    assert printed.width / printed.info["dpi"][0] * 25.4 == pytest.approx(180, abs=0.5)


def test_a_lightbox_is_drawn_of_what_is_shown(window, export, tmp_path):
    drawn = picture(window, tmp_path, "lightbox-axial")
    assert drawn.max() > 150
    assert drawn.shape[1] > 300


def test_a_picture_of_a_scan_does_not_say_synthetic(window, export, tmp_path, scan_file):
    window.open_scan(scan_file)
    window.explorer.panel("Export")
    window.choose("export.picture_view", "lightbox-axial")
    window.click("export.screenshot")
    saved(window)
    (path,) = tmp_path.glob("*.png.json")
    assert json.loads(path.read_text())["SyntheticImage"] is False


def saved_picture(window, folder: Path) -> tuple[str, dict]:
    """Name and sidecar of a picture of all views, which are removed again."""
    window.explorer.panel("Export")
    window.choose("export.picture_view", "all")
    window.choose("export.picture_size", "screen")
    window.click("export.screenshot")
    assert "Saved" in saved(window)
    (path,) = folder.glob("*.png")
    told = json.loads(Path(f"{path}.json").read_text())
    path.unlink()
    Path(f"{path}.json").unlink()
    return path.name, told


def test_a_picture_is_named_after_the_scan_that_is_shown(
    window, export, tmp_path, scan_file, second_file
):
    window.open_scan(scan_file)
    name, told = saved_picture(window, tmp_path)
    assert name == "sub-07_T1w_all.png"
    assert told["Sources"] == ["sub-07_T1w.nii.gz"]
    window.project(second_file)
    window.open_scan(scan_file)
    assert window.recipe is None, "a scan that was not projected has none of anybody else's"
    name, told = saved_picture(window, tmp_path)
    assert name == "sub-07_T1w_all.png"
    assert told["Sources"] == ["sub-07_T1w.nii.gz"]
    assert told["SourceSHA256"] == window.session.case.sha256
    assert told["SyntheticImage"] is False
    assert "Recipe" not in told


def test_a_scan_beside_a_brain_of_the_model_is_no_picture_of_a_scan_alone(
    window, export, tmp_path, scan_file
):
    window.set("browse.seed", 3)
    window.settle()
    window.explorer.panel("Compare")
    window.click("compare.pin")
    window.open_scan(scan_file)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    window.click("compare.mode.side")
    name, told = saved_picture(window, tmp_path)
    assert name.startswith("sub-07")
    assert told["SyntheticImage"] is True
    assert told["Comparison"]["Mode"] == "side"
    assert told["Comparison"]["Recipe"]["source"]["seed"] == 3
    window.explorer.panel("Compare")
    window.click("compare.unpin")


def test_a_typed_name_is_of_one_patient(window, export, scan_file, second_file):
    window.open_scan(scan_file)
    window.find("export.name").setText("sub-07_followup")
    window.explorer.open_scan(second_file)
    window.wait(lambda: window.find("project.name").text() == "sub-08")
    assert window.find("export.name").text() == ""


def test_a_picture_waits_for_the_brain_that_it_is_named_after(window, export, tmp_path):
    window.set("browse.seed", 8)
    window.click("export.screenshot")
    assert "Wait for the full volume" in window.explorer.message.text()
    assert not list(tmp_path.iterdir())
    window.settle()
    assert saved_picture(window, tmp_path)[0].startswith("seed-0008_")


def test_a_scan_beside_a_synthetic_brain_is_no_picture_of_a_real_scan(
    window, export, tmp_path, scan_file
):
    case = window.project(scan_file)
    scan = window.session.recipe
    assert scan.worn_detail is not None
    name, told = saved_picture(window, tmp_path)
    assert told["SyntheticImage"] is False
    assert "Comparison" not in told
    comparing = window.explorer.comparing
    comparing.pin(scan.replace(detail=None))
    comparing.set_mode("side")
    window.settle()
    window.wait(lambda: comparing.pinned.shown is not None)
    again, told = saved_picture(window, tmp_path)
    assert again == name
    assert told["SyntheticImage"] is True
    assert told["Comparison"]["Mode"] == "side"
    assert told["Comparison"]["Recipe"]["source"]["sha256"] == scan.source.sha256
    comparing.pin_scan(case)
    _name, told = saved_picture(window, tmp_path)
    assert told["SyntheticImage"] is False
    assert told["Comparison"]["Scan"] == "sub-07"
    comparing.unpin()


def test_a_picture_of_columns_tells_of_each(window, export, tmp_path, scan_file):
    window.explorer.panel("Compare")
    window.click("compare.mode.row")
    window.settle()
    window.click("compare.row_add")
    window.open_scan(scan_file)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    window.settle()
    name, told = saved_picture(window, tmp_path)
    assert name == "seed-0000_sub-07_comparison_all.png"
    assert told["SyntheticImage"] is True
    assert told["Sources"] == ["sub-07_T1w.nii.gz"]
    assert "real scan" not in told["Description"]
    seed, scan = told["Comparison"]["Columns"]
    assert (seed["Name"], seed["SyntheticImage"]) == ("Seed 0", True)
    assert seed["Recipe"]["source"]["seed"] == 0
    assert (scan["Name"], scan["SyntheticImage"]) == ("Scan sub-07", False)
    assert scan["SourceSHA256"] == window.session.case.sha256
    window.explorer.panel("Compare")
    window.click("compare.row_add")
    window.find("compare.row_list").setCurrentRow(0)
    window.click("compare.row_remove")
    window.show("Synthetic brains")
    window.session.change(Recipe(Source("seed", 5)))
    window.settle()
    name, told = saved_picture(window, tmp_path)
    assert name == "sub-07_seed-0005_comparison_all.png"
    assert told["Sources"] == ["sub-07_T1w.nii.gz"], "the patient of the column"
    assert Recipe.from_dict(told["Recipe"]) == Recipe(Source("seed", 5))
    window.explorer.comparing.set_mode("off")
    window.session.line_up(())


def test_a_film_through_three_brains(window, export, tmp_path):
    assert not window.find("export.film").isEnabled()
    for seed in (1, 2, 3):
        window.set("browse.seed", seed)
        window.click("export.frames_add")
    assert "5 frames" in window.find("export.film_note").text()
    window.click("export.film")
    assert not window.find("export.save").isEnabled(), "one thing at a time"
    assert "film.gif" in saved(window)
    (film,) = tmp_path.glob("*.gif")
    assert Image.open(film).n_frames == 5
    told = json.loads(Path(f"{film}.json").read_text())
    assert [recipe["source"]["seed"] for recipe in told["Recipes"]] == [1, 2, 3]
    assert not window.find("export.progress").isVisible()


def test_key_frames_are_moved_looked_at_and_removed(window, export):
    recipes = [Recipe(Source("seed", number)) for number in (4, 5, 6)]
    export.film.add_recipes(*recipes)
    frames = window.find("export.frames")
    item = frames.takeItem(2)
    frames.insertItem(0, item)
    assert [recipe.source.seed for recipe in export.film.recipes] == [6, 4, 5]
    frames.itemDoubleClicked.emit(frames.item(1))
    assert window.recipe == recipes[0]
    assert not window.find("export.frames_remove").isEnabled()
    frames.setCurrentRow(1)
    window.click("export.frames_remove")
    assert [recipe.source.seed for recipe in export.film.recipes] == [6, 5]


def test_favourites_become_key_frames(window, export):
    assert not window.find("export.frames_favourites").isEnabled()
    wanted = [Recipe(Source("seed", number)) for number in (7, 8)]
    for recipe in wanted:
        window.session.favourites.add(recipe)
    window.click("export.frames_favourites")
    assert list(export.film.recipes) == wanted
    while window.session.favourites.items:
        window.session.favourites.remove(0)


def test_a_cancelled_film_leaves_nothing(window, export, tmp_path):
    export.film.add_recipes(Recipe(Source("seed", 1)), Recipe(Source("seed", 2)))
    window.set("export.film_seconds", 60)
    window.click("export.film")
    window.wait(lambda: window.find("export.progress").value() > 0)
    window.click("export.cancel")
    assert "Cancelled" in saved(window)
    assert list(tmp_path.iterdir()) == []


def test_a_film_of_a_patient_who_is_closed_ends(window, export, tmp_path, monkeypatch):
    mine = Recipe(Source("seed", 2))
    export.film.add_recipes(Recipe(Source("seed", 1)), mine)
    window.set("export.film_seconds", 60)
    window.click("export.film")
    window.wait(lambda: window.find("export.progress").value() > 0)
    window.session.closing.emit("another patient")
    assert window.explorer.exporting.job.running
    asked = []
    monkeypatch.setattr(dialogs, "confirm", lambda *words: asked.append(words[-1]))
    window.explorer.open_model(None)
    assert asked == ["Another model would stop what is being saved. Continue?"]
    assert window.explorer.exporting.job.running
    monkeypatch.setattr(window.session, "is_of", lambda key, one: one == mine)
    window.session.closing.emit("a patient")
    monkeypatch.undo()
    assert "Nothing was saved" in saved(window)
    assert list(tmp_path.iterdir()) == []


def test_a_film_never_overwrites_unasked(window, export, tmp_path, notifications):
    export.film.add_recipes(Recipe(Source("seed", 1)), Recipe(Source("seed", 2)))
    precious = tmp_path / "seed-0001_desc-synthetic_T1w_film.gif"
    precious.write_bytes(b"precious")
    window.click("export.film")
    window.wait(lambda: notifications)
    assert "exists already" in notifications[0]
    assert window.find("export.overwrite").text() in notifications[0]
    saved(window)
    assert precious.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == [precious.name]


@pytest.mark.parametrize("folder", ["", "here", "~no-such-user"])
def test_nothing_is_saved_to_a_folder_that_was_not_chosen(window, export, folder, notifications):
    window.find("export.folder").setText(folder)
    window.click("export.save_latent")
    assert "Save to needs" in notifications[0]
    assert not window.explorer.exporting.job.running


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a?", "NUL", "a.", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused(window, export, tmp_path, name, notifications):
    window.find("export.name").setText(name)
    window.click("export.save")
    assert f"{name[:40]} cannot be the name" in notifications[0]
    window.find("export.name").setText("sub.nii")
    window.click("export.save")
    saved(window)
    window.find("export.name").clear()
    assert [path.name for path in tmp_path.glob("*.gz")] == ["sub.nii.gz"]


def test_only_the_last_outcome_of_saving_is_told(window, export, tmp_path):
    told, error = window.find("export.done"), window.explorer.message
    taken = tmp_path / "taken"
    taken.touch()
    for folder, fails in ((tmp_path, False), (taken, True), (tmp_path / "new", False)):
        window.find("export.folder").setText(str(folder))
        window.click("export.save_latent")
        saved(window)
        assert ("Saved" in told.text(), bool(error.text())) == (not fails, fails)
    window.explorer.messages.fail(OutputError("It was not saved."), "saving")
    window.explorer.messages.saved([taken])
    assert not error.text()


def test_without_ffmpeg_the_panel_says_what_to_do(window, export, monkeypatch):
    from napari_stylegan3d.export import panel as export_film

    export_film._without_ffmpeg.cache_clear()
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    window.choose("export.film_kind", ".mp4")
    export.film.hide()
    export.film.show()
    box = window.find("export.film_kind")
    item = box.model().item(box.findData(".mp4"))
    assert not item.isEnabled()
    assert "ffmpeg" in item.toolTip()
    assert box.currentData() == ".gif"
    assert "ffmpeg" in window.find("export.film_note").text()
    export.film.add_recipes(Recipe(), Recipe(Source("seed", 2)))
    assert window.find("export.film").isEnabled()
    export_film._without_ffmpeg.cache_clear()


def test_a_latent_is_written_beside_the_window(window, export, tmp_path, monkeypatch):
    threads = []

    def noted(*args, **options):
        threads.append(threading.current_thread())
        return write(*args, **options)

    write = latents.save_latent
    monkeypatch.setattr(latents, "save_latent", noted)
    window.set("browse.seed", 9)
    window.click("export.save_latent")
    assert not window.find("export.save_latent").isEnabled(), "one thing at a time"
    (path,) = [tmp_path / name for name in saved(window).splitlines()[1:]]
    expected = window.recipe.latent(window.session.generator)
    np.testing.assert_allclose(latents.load_latent(path).w, expected, atol=FLOAT32)
    assert threads
    assert threading.main_thread() not in threads
    # The noise on the screen is saved, not that of a latent that it was opened from.
    window.session.change(Recipe(Source.from_file(path), noise=77))
    window.settle()
    window.find("export.folder").setText(str(tmp_path / "again"))
    window.click("export.save_latent")
    (again,) = [tmp_path / "again" / name for name in saved(window).splitlines()[1:]]
    assert latents.load_latent(again).noise == 77
    window.find("export.folder").setText(str(tmp_path))
    window.session.undo()
    path.write_bytes(b"precious")
    window.click("export.save_latent")
    window.wait(lambda: window.find("explorer.message").text())
    assert "exists already" in window.find("explorer.message").text()
    assert path.read_bytes() == b"precious"


def test_a_report_of_the_case(window, export, tmp_path):
    window.set("browse.seed", 5)
    window.click("export.report")
    assert "report.pdf" in saved(window)
    (page,) = tmp_path.glob("*.pdf")
    assert page.read_bytes().startswith(b"%PDF")
    told = json.loads(Path(f"{page}.json").read_text())
    assert told["Recipe"]["source"]["seed"] == 5
    assert told["MarkedBeyondZ"] == unusual_z()
    assert "Seed 5" in page.with_suffix(".html").read_text()


def test_the_window_lives_while_a_film_is_made(window, export):
    export.film.add_recipes(Recipe(Source("seed", 1)), Recipe(Source("seed", 2)))
    window.set("export.film_seconds", 20)
    window.click("export.film")
    window.set("browse.seed", 11)
    window.settle()
    assert window.explorer.comparison.recipe.source.seed == 11
    QTest.qWait(1)
    window.click("export.cancel")
    saved(window)


def send(folder: Path, scan_file: Path, name: str, brighter: float) -> Path:
    """A patient's DICOM series, as a scanner sends it, of voxels of 6 mm."""
    image = nib.load(scan_file).slicer[::2, ::2, ::2]
    data = np.asarray(image.dataobj).astype(np.float32)
    data = np.where(data > 0, data + brighter * np.sin(np.indices(data.shape)[1] / 2), 0)
    text = {"SyntheticImage": False}
    scan = dicom.SavedFile(name, np.rint(data.clip(0)).astype(np.int16), image.affine, text)
    slices = dicom.series_of(scan, plane="coronal")
    for one in slices:
        one.PatientName, one.PatientID, one.ImageType = name, f"id-{name}", ["ORIGINAL", "PRIMARY"]
    for path, content in dicom.encoded(slices, folder / name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / name


def test_dicom_joins_the_study_of_whose_brain_it_is(window, export, tmp_path, scan_file):
    """Two patients in one session: each file goes to its own; a random brain's to nobody's."""
    patients = {n: send(tmp_path / "in", scan_file, n, k) for n, k in (("A", 0), ("B", 40))}
    recipes = {}
    for name, folder in patients.items():
        window.explorer.open_scan(folder)
        window.wait(lambda f=folder: window.session.case and window.session.case.path == f)
        before = len(window.session.projected)
        window.choose("project.budget", "draft")
        window.click("project.start")
        window.wait(lambda n=before: len(window.session.projected) > n)
        window.settle()
        recipes[name] = window.recipe
    window.click("export.dicom")
    for name in ("A", "B"):  # B was opened last
        window.session.change(recipes[name].replace(edits=(Edit("PC 1", 1.5),)))
        window.settle()
        case = window.session.case_of(recipes[name].source)
        assert case.path == patients[name]
        assert window.find("export.dicom_study").text().endswith(f"study of {case.name}")
        out = tmp_path / f"out-{name}"
        window.find("export.folder").setText(str(out))
        window.find("export.overwrite").setChecked(True)
        window.click("export.save_edited")
        assert "Saved" in saved(window)
        slices = [pydicom.dcmread(path) for path in out.rglob("MR*.dcm")]
        own = pydicom.dcmread(next(patients[name].glob("*.dcm")))
        assert len(slices) == len(list(patients[name].glob("*.dcm")))
        assert {(str(s.PatientName), s.StudyInstanceUID) for s in slices} == {
            (name, own.StudyInstanceUID)
        }
        assert {s.SyntheticData for s in slices} == {"YES"}
    window.set("browse.seed", 5)
    told = window.find("export.dicom_study").text()
    window.find("export.folder").setText(str(tmp_path / "nobody"))
    window.click("export.save")
    assert "Saved" in saved(window)
    found = pydicom.dcmread(next((tmp_path / "nobody").rglob("MR*.dcm")))
    assert str(found.PatientName) == "SYNTHETIC^seed-0005"
    assert "patient name SYNTHETIC^ plus the start of the file name" in told
