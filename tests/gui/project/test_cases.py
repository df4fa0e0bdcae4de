"""Whose brain is this: several patients in the real window, also while jobs run.

Panel, views and verdict are about one patient at any time, or say in words that they are not.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from gui.conftest import label_maps
from private import private_in
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from tolerances import FLOAT32, SUMS

from napari_stylegan3d.project.panel import answers_of
from napari_stylegan3d.widgets import dialogs
from stylegan3d import scans
from stylegan3d.base import ScanError
from stylegan3d.geometry.space import Frame
from stylegan3d.scans import read_scan
from stylegan3d.scans.verdicts import VERDICTS
from stylegan3d.session.case import Choice

UNPAINTED = True
NAMES = ("sub-07", "sub-08", "sub-09")


@pytest.fixture(scope="module")
def patients(scan_file, tmp_path_factory) -> list[Path]:
    """Three people whose brains differ; the first is `scan_file`."""
    folder = tmp_path_factory.mktemp("patients")
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj).astype(np.float32)
    paths = [scan_file]
    for number, name in enumerate(NAMES[1:], start=1):
        waves = np.sin(np.indices(data.shape)[number - 1] / (3 + number))
        path = folder / f"{name}_T1w.nii.gz"
        changed = np.where(data > 0, data + 40 * waves, 0).clip(0, None)
        nib.Nifti1Image(changed.astype(np.int16), image.affine).to_filename(path)
        paths.append(path)
    return paths


def text(window, name: str) -> str:
    return window.find(name).text()


def open_patient(window, path: Path) -> None:
    """Open a scan, and wait until it is on the screen."""
    name = path.name.split("_")[0]
    window.explorer.open_scan(path)
    window.wait(lambda: text(window, "project.name") == name)
    assert window.captions == {f"Scan: {name}"}


def assert_is_about(window, case: Any) -> None:
    """All that the panel says is of this projected case, and so are its pictures."""
    assert text(window, "project.name") == case.name
    assert text(window, "project.patient") == case.name
    assert text(window, "project.ssim") == f"{case.assessment['similarity']['ssim']:.3f}"
    verdict = case.assessment["verdicts"]["reconstruction"]
    assert text(window, "project.verdict.reconstruction.reason") == verdict["sentence"]
    assert f"(correlation {case.aligned.quality:.2f})" in text(window, "project.quality")
    others = [doubt.sentence for doubt in case.doubts if doubt.kind not in VERDICTS]
    assert text(window, "project.notes") == "\n".join(others)
    assert window.session.case.path == case.path
    window.click("project.show.scan")
    assert window.captions == {f"Scan: {case.name}"}
    np.testing.assert_allclose(window.volume, case.aligned.volume, atol=FLOAT32)
    window.click("project.show.residual")
    window.settle()
    difference = window.volume
    window.click("project.show.model")
    window.settle()
    np.testing.assert_allclose(difference, window.volume - case.aligned.volume, atol=SUMS)
    window.click("project.show.edited")
    window.settle()
    assert window.captions == {f"Scan: {case.name}"}
    np.testing.assert_array_equal(window.volume, case.aligned.volume)


def assert_has_no_result(window) -> None:
    assert window.find("project.verdicts").isHidden()
    for key in ("edited", "model", "difference", "residual", "movement"):
        assert not window.find(f"project.show.{key}").isEnabled()


class Gate:
    """Scans are read only once it is opened."""

    def __init__(self, monkeypatch) -> None:
        self._event = threading.Event()
        monkeypatch.setattr(scans, "read_scan", self._read)

    def _read(self, *args):
        assert self._event.wait(60)
        return read_scan(*args)

    def open(self) -> None:
        self._event.set()


@pytest.mark.parametrize("projected", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_patient_is_worked_on_while_other_scans_are_read(
    window, patients, monkeypatch, notifications, projected
):
    first, second, third = patients
    if projected:
        case = window.project(first)
    else:
        open_patient(window, first)
    gate = Gate(monkeypatch)
    window.explorer.open_scan(second)
    window.explorer.open_scan(third)
    assert window.find("project.arriving").isVisibleTo(window.explorer.project)
    assert text(window, "project.arriving") == "Reading sub-09_T1w.nii.gz…"
    told = window.patients()
    assert told["sub-08_T1w.nii.gz"] == "being read…"
    assert told["sub-09_T1w.nii.gz"] == "waiting to be read"
    for name in ("project.start", "project.align"):
        assert window.find(name).isEnabled()
    assert text(window, "project.name") == "sub-07"
    if projected:
        assert_is_about(window, case)
    else:
        window.click("project.align")
        window.wait(lambda: window.session.placed is not None)
        assert window.captions == {"Scan: sub-07"}
    gate.open()
    window.wait(lambda: not window.session.arriving)
    assert window.find("project.arriving").isHidden()
    assert list(window.patients()) == list(NAMES)
    if projected:
        assert text(window, "project.name") == "sub-09", "nothing was done since it was asked for"
    else:
        assert text(window, "project.name") == "sub-07", "its work is not interrupted"
        assert window.captions == {"Scan: sub-07"}
        for told, name in zip(notifications[-2:], NAMES[1:], strict=True):
            assert told == f"{name} is open: choose it in the list of patients to see it."
    for name in ("sub-08", "sub-09"):
        window.show(name)
        assert text(window, "project.name") == name
        assert window.captions == {f"Scan: {name}"}
        assert_has_no_result(window)
        assert window.find("project.start").isEnabled()
        assert not window.find("explorer.undo").isEnabled(), "undo never leads to another patient"
    window.show("sub-07")
    window.settle()
    if projected:
        assert_is_about(window, case)
    else:
        assert text(window, "project.quality")


def test_a_scan_that_cannot_be_read_leaves_the_patient_and_says_why(
    window, patients, tmp_path, monkeypatch
):
    case = window.project(patients[0])
    broken = tmp_path / "sub-66_T1w.nii.gz"
    broken.write_bytes(b"this is no scan")
    window.explorer.open_scan(broken)
    window.wait(lambda: "sub-66" in text(window, "explorer.message"))
    assert window.find("project.arriving").isHidden(), "it is told once, until the next action"
    told = window.patients()
    assert list(told) == ["sub-07", broken.name]
    assert told[broken.name].startswith("not opened: ")
    window.show(broken.name)
    assert window.find("project.start").isEnabled(), "nothing is read any more"
    assert_is_about(window, case)
    open_patient(window, patients[1])
    assert broken.name in window.patients()
    assert not text(window, "explorer.message")
    (refused,) = window.session.arriving
    (*_, close) = window.explorer.patients.menu(refused.key).actions()
    close.trigger()
    assert list(window.patients()) == ["sub-07", "sub-08"]
    assert window.captions == {"Scan: sub-08"}
    asked = []
    monkeypatch.setattr(dialogs, "confirm", lambda *words: asked.append(words))
    (*_, close) = window.explorer.patients.menu(case.key).actions()
    close.trigger()
    assert list(window.patients()) == ["sub-07", "sub-08"]
    assert "Close sub-07? This also discards its projection" in asked[0][-1]


@pytest.mark.parametrize(
    "button", ["project.align", pytest.param("project.start", marks=pytest.mark.soak)]
)
def test_a_refused_scan_stays_with_its_reason(window, patients, monkeypatch, button):
    case = window.project(patients[0])
    open_patient(window, patients[1])

    def refuse(*_):
        raise ScanError("The scan looks like CT: give a T1-weighted one.")

    with monkeypatch.context() as patch:
        patch.setattr("stylegan3d.scans.scan.align_rigid", refuse)
        window.click(button)
        window.wait(lambda: "looks like CT" in text(window, "project.quality"))
    window.wait(lambda: not window.explorer.projecting.job.running)
    assert text(window, "project.name") == "sub-08"
    assert window.captions == {"Scan: sub-08"}
    assert window.find("project.show.scan").isChecked()
    assert_has_no_result(window)
    assert "looks like CT" in window.patients()["sub-08"]
    window.click("browse.next")
    window.settle()
    assert window.captions == {"Seed 1\nSynthetic – not for diagnosis"}
    assert text(window, "project.name") == "No scan yet"
    assert "CT" not in text(window, "project.quality")
    window.show("sub-08")
    assert window.captions == {"Scan: sub-08"}, "it can be shown again"
    assert window.volume.max() > 500, "in its own units, as it was not aligned"
    window.show("sub-07")
    window.settle()
    assert_is_about(window, case)
    assert "CT" not in text(window, "project.quality")
    window.show("sub-08")
    assert text(window, "project.name") == "sub-08"
    assert "looks like CT" in text(window, "project.quality"), "with its reason"
    assert window.captions == {"Scan: sub-08"}


def test_the_list_brings_each_patient_as_it_was_left(window, patients):
    first = window.project(patients[0])
    second = window.project(patients[1])
    assert first.assessment["similarity"] != second.assessment["similarity"]
    open_patient(window, patients[2])
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    assert_has_no_result(window)
    told = window.patients()
    assert told == {"sub-07": "projected", "sub-08": "projected", "sub-09": "aligned"}
    for case in (first, second):
        window.show(case.name)
        window.settle()
        assert window.captions == {f"Scan: {case.name}"}
        assert_is_about(window, case)
        while window.find("explorer.undo").isEnabled():
            window.click("explorer.undo")
            assert text(window, "project.name") == case.name
        assert_has_no_result(window)
        window.click("explorer.redo")
        window.settle()
        assert text(window, "project.ssim") == f"{case.assessment['similarity']['ssim']:.3f}"
        np.testing.assert_array_equal(window.volume, case.aligned.volume)
    window.show(first.name)
    window.settle()
    assert_is_about(window, first)
    window.show("sub-09")
    assert text(window, "project.name") == "sub-09"
    assert window.captions == {"Scan: sub-09"}
    assert window.find("project.quality").text(), "it is still aligned"
    assert_has_no_result(window)


def test_the_list_assumes_what_the_reader_assumed():
    geometry = {"sform_code": 0, "qform_code": 0, "assumed": "LIA"}
    first, *others = answers_of(SimpleNamespace(scan=SimpleNamespace(geometry=geometry)))
    assert first == ("Unknown: assume LIA", None)
    assert ("Axes LAS", "LAS") in others
    assert ("Axes LIA", "LIA") not in others


def test_a_scan_is_moved_while_another_patient_is_projected(window, patients):
    open_patient(window, patients[0])
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    open_patient(window, patients[1])
    window.choose("project.budget", "thorough")
    window.click("project.start")
    window.wait(lambda: window.find("project.pause").isEnabled())
    window.click("project.pause")
    window.show("sub-07")
    window.set("project.shift.0", 5.0)
    window.wait(lambda: window.session.case.pose.shift_mm[0] == 5.0)
    window.show("sub-08")
    window.click("project.cancel")
    window.wait(lambda: not window.explorer.projecting.job.running)


def test_a_person_may_look_at_another_patient_while_one_is_projected(
    window, patients, notifications
):
    first = window.project(patients[0])
    open_patient(window, patients[1])
    window.choose("project.budget", "thorough")
    window.click("project.start")
    window.wait(lambda: window.find("project.pause").isEnabled())
    window.show("sub-07")
    window.settle()
    brain, seen = window.volume, []
    assert_is_about(window, first)
    for name in ("project.cancel", "project.progress", "project.estimate"):
        assert window.find(name).isHidden(), "nothing is done for this patient"
    window.wait(lambda: seen.append(window.patients()["sub-08"]) or len(set(seen)) > 2)
    assert all(words.startswith("projecting, ") for words in seen), "how far it is, is said"
    np.testing.assert_array_equal(window.volume, brain, "no picture of it comes in between")
    assert text(window, "project.name") == "sub-07"
    window.show("sub-08")
    assert window.find("project.progress").value() > 0, "as far as it is, at once"
    window.click("project.pause")
    window.show("sub-07")
    window.settle()
    assert text(window, "project.name") == "sub-07"
    np.testing.assert_array_equal(window.volume, brain)
    window.show("sub-08")
    assert text(window, "project.pause") == "Continue"
    assert text(window, "project.estimate") == "Paused"
    assert window.find("project.pause").isEnabled()
    window.click("project.pause")
    assert text(window, "project.estimate") == "Continuing…"
    window.click("project.cancel")
    window.wait(lambda: not window.explorer.projecting.job.running)
    assert window.captions == {"Scan: sub-08"}
    assert window.patients()["sub-08"] == "scan"
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.show("sub-07")
    window.wait(lambda: len(window.session.projected) == 2)
    assert notifications[-1] == "sub-08 is projected: choose it in the list of patients."
    window.settle()
    assert_is_about(window, first)
    assert window.patients()["sub-08"] == "projected"
    window.show("sub-08")
    window.settle()
    assert_is_about(window, window.session.projected[-1])
    assert text(window, "project.name") == "sub-08"


def test_a_scan_opened_during_a_projection_is_shown_and_its_work_waits(
    window, patients, notifications, monkeypatch
):
    projecting = window.explorer.projecting
    open_patient(window, patients[0])
    window.choose("project.budget", "thorough")
    window.click("project.start")
    window.wait(lambda: window.session.state.what == "search")
    window.explorer.open_scan(patients[1])
    window.wait(lambda: text(window, "project.name") == "sub-08")
    assert window.captions == {"Scan: sub-08"}
    assert projecting.job.running, "that of sub-07"
    window.click("project.align")
    assert text(window, "project.waits") == "Waiting: sub-07 is being worked on first."
    assert window.find("project.waits").isVisibleTo(window.explorer.project)
    assert window.patients()["sub-08"] == "waiting"
    assert not window.find("project.start").isEnabled()
    window.click("project.cancel")
    assert window.find("project.waits").isHidden()
    assert window.patients()["sub-08"] == "scan"
    assert projecting.job.running, "nobody cancelled that of sub-07"
    window.click("project.align")
    window.show("sub-07")
    window.click("project.cancel")
    window.wait(lambda: window.patients() == {"sub-07": "scan", "sub-08": "aligned"})
    assert window.captions == {"Scan: sub-07"}
    assert text(window, "project.name") == "sub-07"
    assert text(window, "project.quality") == ""
    window.show("sub-08")
    assert window.session.placed is not None
    assert window.captions == {"Scan: sub-08"}
    # Another model, or other axes of it, ends the work, unless the answer is no, says so, and
    # knows no place of theirs.
    window.click("project.start")
    asked, models, sessions = [], window.explorer.models, window.explorer.sessions
    monkeypatch.setattr(dialogs, "confirm", lambda *words: asked.append(words[-1]))
    monkeypatch.setattr(sessions, "_waiting", ("a session that wants another model", None))
    window.explorer.open_model(None)
    window.explorer.browse.frame.frameChanged.emit(Frame("LAS", (9.0, 9.0, 9.0)))
    stopped = "would stop what is running or queued for sub-08. Continue?"
    assert asked == [f"{what} {stopped}" for what in ("Another model", "Other axes or voxel sizes")]
    assert window.find("browse.frame_axes").currentData() == "RAS"
    assert projecting.job.running
    assert not models.loading.running
    assert sessions._waiting is None, "it does not wait for the next model"
    projecting.forget_model()
    assert notifications[-1].startswith("Stopped: the model changed: sub-08.")
    monkeypatch.setattr(window.session, "fits", lambda case: False)
    window.wait(lambda: not projecting.job.running)
    window.explorer.patients.refresh()
    assert window.patients() == {"sub-07": "scan", "sub-08": "scan"}


def test_closing_a_patient_ends_its_work_and_takes_all_of_it_away(window, patients, lesion):
    session = window.session
    open_patient(window, patients[1])
    open_patient(window, patients[0])
    key = session.key
    window.explorer.open_scan(lesion)
    window.wait(lambda: label_maps(window) == [lesion])
    window.choose("project.budget", "thorough")
    window.click("project.start")
    window.wait(lambda: session.state.what == "search")
    window.show("sub-08")
    window.click("project.align")
    (*_, close) = window.explorer.patients.menu(key).actions()
    close.trigger()
    assert list(window.patients()) == ["sub-08"]
    assert "lesion" not in window.viewer.layers
    window.wait(lambda: session.placed is not None)
    assert not session.projected
    assert key not in session.histories
    assert list(window.patients()) == ["sub-08"], "it does not come back when its work ends"
    assert window.captions == {"Scan: sub-08"}


def hand_on(window, out: Path) -> None:
    """Report, picture, recipe, link and session of what is shown, and the captions, in a folder."""
    out.mkdir()
    window.explorer.panel("Export")
    window.find("export.folder").setText(str(out))
    window.choose("export.picture_view", "lightbox-axial")
    for button in ("export.report", "export.screenshot"):
        window.click(button)
        window.wait(lambda: not window.explorer.exporting.job.running)
    for button in ("export.copy_command", "export.copy_json", "history.copy_link"):
        window.click(button)
        (out / f"{button}.txt").write_text(QApplication.clipboard().text())
    (out / "captions.txt").write_text("\n".join(window.captions))
    window.explorer.sessions.save_as(out / "session.sg3d")
    window.wait((out / "session.sg3d").exists)
    window.explorer.panel("Project")


def test_two_patients_whose_files_have_one_name_are_told_apart_without_their_folders(
    window, patients, tmp_path, caplog
):
    caplog.set_level("DEBUG")
    files = [tmp_path / name / "19700101" / "sub-07_T1w.nii.gz" for name in ("JANE^A", "JANE^B")]
    for file, scan in zip(files, patients, strict=False):
        file.parent.mkdir(parents=True)
        file.write_bytes(scan.read_bytes())
    first = window.project(files[0])
    window.explorer.open_scan(files[1])
    window.wait(lambda: text(window, "project.name") == "sub-07 (2)")
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: len(window.session.projected) == 2)
    window.settle()
    second = window.session.projected[-1]
    assert_is_about(window, second)
    assert first.source.path != second.source.path, "each latent has a file of its own"
    out = tmp_path / "out"
    hand_on(window, out)
    (out / "log.txt").write_text(caplog.text)
    names = sorted(path.name for path in out.iterdir())
    assert len([name for name in names if "_rec-" in name]) >= 5, " ".join(names)
    assert private_in(out) == set()
    window.show("sub-07")
    window.settle()
    assert_is_about(window, first)


@pytest.fixture
def lesion(window, patients, tmp_path):
    """A label map of the first patient, whose layer is removed afterwards."""
    image = nib.load(patients[0])
    data = np.zeros(image.shape, np.uint8)
    data[20:26, 30:36, 25:31] = 1
    path = tmp_path / "lesion.nii.gz"
    nib.Nifti1Image(data, image.affine).to_filename(path)
    yield path
    if "lesion" in window.viewer.layers:
        window.viewer.layers.remove("lesion")


def is_offered_as_mask(window) -> bool:
    return window.find("second.mask").isVisibleTo(window.explorer.project)


def offered_regions(window) -> list[str]:
    """What can be a region besides what is painted."""
    box = window.find("project.region")
    return [box.itemText(index) for index in range(1, box.count())]


def test_labels_of_the_synthetic_brains_are_laid_over_no_patient(window, patients, lesion):
    window.explorer.open_scan(lesion)
    window.wait(lambda: "lesion" in window.viewer.layers)
    layer = window.viewer.layers["lesion"]
    open_patient(window, patients[0])
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    assert not layer.visible
    assert offered_regions(window) == []
    assert label_maps(window) == []
    window.show("Synthetic brains")
    assert layer.visible


def test_a_map_that_lies_there_twice_is_forgotten_with_its_last_layer(window, patients, lesion):
    open_patient(window, patients[0])
    for count in (1, 2):
        window.explorer.open_scan(lesion)
        window.wait(
            lambda count=count: sum("lesion" in x.name for x in window.viewer.layers) == count
        )
    for left in ([lesion], []):
        window.viewer.layers.remove(next(x for x in window.viewer.layers if "lesion" in x.name))
        assert label_maps(window) == left


def test_of_a_closed_patient_no_picture_is_shown_again(window, patients):
    open_patient(window, patients[0])
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    window.settle()
    edited = window.recipe
    assert edited.worn_detail is not None
    window.session.close_patient(window.session.key)
    window.settle()
    window.session.change(edited)
    window.wait(lambda: "is not open" in window.find("explorer.message").text())
    window.show("Synthetic brains")


def test_labels_of_one_patient_are_not_seen_over_another(window, patients, lesion, notifications):
    open_patient(window, patients[0])
    window.explorer.open_scan(lesion)
    window.wait(lambda: "lesion" in window.viewer.layers)
    layer = window.viewer.layers["lesion"]
    open_patient(window, patients[1])
    assert not layer.visible
    assert label_maps(window) == []
    assert offered_regions(window) == []
    window.show("sub-07")
    assert layer.visible
    assert label_maps(window) == [lesion]
    assert offered_regions(window) == ["lesion"]
    # Painted on, it is still that patient's, and its file comes back with the session.
    layer.paint((0, 0, 0), 3)
    layer.paint((1, 1, 1), 3)
    assert [told for told in notifications if "A session keeps its file as it was" in told] == [
        notifications[-1]
    ]
    assert label_maps(window) == [lesion]
    window.show("sub-08")
    assert not layer.visible
    assert offered_regions(window) == []
    window.show("sub-07")
    assert layer.visible
    assert len(offered_regions(window)) == 2
    window.viewer.layers.remove(layer)
    assert label_maps(window) == []


@pytest.mark.parametrize("beside", [pytest.param(False, marks=pytest.mark.soak), True])
def test_a_label_map_belongs_to_the_patient_it_was_opened_for(
    window, patients, lesion, monkeypatch, notifications, beside
):
    open_patient(window, patients[0])
    open_patient(window, patients[1])
    window.show("sub-07")
    gate, projecting = Gate(monkeypatch), window.explorer.projecting
    if beside:
        projecting.second.open(Choice(lesion))
    else:
        window.explorer.open_scan(lesion)
    window.show("sub-08")
    assert text(window, "project.name") == "sub-08"
    gate.open()
    window.wait(lambda: "lesion" in window.viewer.layers)
    layer = window.viewer.layers["lesion"]
    assert not layer.visible
    assert label_maps(window) == []
    assert not is_offered_as_mask(window)
    assert "it belongs to sub-07" in notifications[-1]
    window.show("sub-07")
    assert layer.visible
    assert label_maps(window) == [lesion]
    assert is_offered_as_mask(window)


def test_a_label_map_opened_after_a_scan_belongs_to_that_scan(
    window, patients, lesion, monkeypatch
):
    open_patient(window, patients[1])
    gate = Gate(monkeypatch)
    window.explorer.open_scan(patients[0])
    window.explorer.open_scan(lesion)
    gate.open()
    window.wait(lambda: "lesion" in window.viewer.layers)
    assert text(window, "project.name") == "sub-07"
    assert window.viewer.layers["lesion"].visible
    assert label_maps(window) == [lesion]


def test_a_scan_that_is_opened_again_is_shown_as_it_was_left(window, patients, lesion):
    case = window.project(patients[0])
    window.explorer.open_scan(lesion)
    window.wait(lambda: label_maps(window) == [lesion])
    steps = window.session.states
    for other in (False, True):
        if other:
            open_patient(window, patients[1])
            assert label_maps(window) == []
        window.explorer.open_scan(patients[0])
        assert window.session.arriving
        window.wait(lambda: not window.session.arriving)
        window.settle()
        assert window.session.case.key == case.key
        assert window.session.case.source == case.source
        assert window.session.states == steps, "no new step"
        assert window.captions == {"Scan: sub-07"}
        assert label_maps(window) == [lesion]
        assert window.viewer.layers["lesion"].visible
    assert_is_about(window, case)
    assert list(window.patients()) == ["sub-07", "sub-08"]


def test_the_focus_stays_at_the_projection(window, patients):
    open_patient(window, patients[0])
    window.choose("project.budget", "draft")
    main, start = window.explorer.window(), window.find("project.start")
    start.setFocus()
    window.click("project.start")
    assert main.focusWidget() is window.find("project.cancel")
    window.click("project.cancel")
    window.wait(start.isEnabled)
    assert main.focusWidget() is start
    panel = window.explorer.project
    finding = panel.result.lights.findings[0]
    panel.result.show()
    for widget in (panel.result.lights, finding):
        widget.setVisible(True)
    panel._scroll_to_result()
    assert main.focusWidget() is finding, "the next key leads through the result"


def test_long_names_push_nothing_out_of_a_panel(window, patients, tmp_path):
    for number, path in enumerate(patients[:2]):
        name = f"sub-{number}{'0123456789' * 9}_T1w.nii.gz"
        (tmp_path / name).write_bytes(path.read_bytes())
        window.project(tmp_path / name)
    for panel in window.explorer.panels:
        window.explorer.panel(panel.title)
        QTest.qWait(50)
        viewport = panel.parentWidget()
        wide = {
            child.objectName(): child.minimumSizeHint().width()
            for child in panel.findChildren(QWidget)
            if child.isVisible() and child.minimumSizeHint().width() > viewport.width() - 28
        }
        assert panel.width() <= viewport.width(), (panel.title, wide)
        assert panel.minimumSizeHint().width() <= window.explorer.minimumWidth(), panel.title


def test_measure_leaves_the_panels_their_share(window):
    explorer = window.explorer
    before = explorer.tabs.height()
    explorer.measuring.box.unfold()
    window.wait(lambda: explorer.tabs.height() < before)
    QTest.qWait(50)
    assert explorer.tabs.height() >= explorer.measuring.box.height() - 1
    explorer.measuring.box.unfold(False)
    window.wait(lambda: explorer.tabs.height() == before)
