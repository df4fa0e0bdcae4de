"""Whose brain is this: several patients in the real window, also while jobs run.

Panel, views and verdict are about one patient at any time, or say in words that they are not.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from private import private_in
from qtpy.QtWidgets import QApplication
from tolerances import FLOAT32, SUMS

from stylegan3d import scans
from stylegan3d.errors import ScanError
from stylegan3d.scans import read_scan
from stylegan3d.session.case import Choice

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


@pytest.fixture
def kept() -> dict[str, Any]:
    return {}


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
    assert text(window, "project.ssim") == f"{case.similarity['ssim']:.3f}"
    assert text(window, "project.sentence") == case.assessment["sentence"]
    assert f"(correlation {case.aligned.quality:.2f})" in text(window, "project.quality")
    for note in case.remarks:
        assert note in text(window, "project.notes") or case.assessment["sentence"] in note
    assert window.explorer.comparison.scan_path == case.path
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
    assert window.find("project.verdict").isHidden()
    for key in ("edited", "model", "difference", "residual", "movement"):
        assert not window.find(f"project.show.{key}").isEnabled()


def entry_of(window, case: Any) -> int:
    """The step of the history that shows a projection."""
    states = window.session.history.states
    return next(k for k, entry in enumerate(states) if case.is_of(entry.recipe.source))


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


@pytest.mark.parametrize("projected", [False, True])
def test_project_waits_while_another_scan_is_read(window, patients, monkeypatch, projected):
    first, second, third = patients
    if projected:
        case = window.project(first)
    else:
        open_patient(window, first)
    gate = Gate(monkeypatch)
    window.explorer.open_scan(second)
    window.explorer.open_scan(third)
    for name in ("project.start", "project.align"):
        assert not window.find(name).isEnabled()
    told = text(window, "project.arriving")
    assert window.find("project.arriving").isVisibleTo(window.explorer.project)
    assert "Reading sub-08" in told
    assert "Project waits until it is read" in told
    assert "still show sub-07" in told
    assert "sub-08" in text(window, "project.waits")
    assert "being read" in window.find("project.start").toolTip()
    window.explorer.projecting.start("w+", "draft", "")
    window.explorer.projecting.align()
    assert not window.explorer.projecting.job.running, "not by another way either"
    assert text(window, "project.name") == "sub-07"
    if projected:
        assert_is_about(window, case)
    else:
        assert window.captions == {"Scan: sub-07"}
    gate.open()
    window.wait(lambda: text(window, "project.name") == "sub-09")
    assert window.captions == {"Scan: sub-09"}
    assert_has_no_result(window)
    assert window.find("project.arriving").isHidden()
    assert window.find("project.start").isEnabled()
    window.click("explorer.undo")
    assert text(window, "project.name") == "sub-08"
    assert window.captions == {"Scan: sub-08"}
    window.click("explorer.undo")
    window.settle()
    assert text(window, "project.name") == "sub-07"
    if projected:
        assert_is_about(window, case)


def test_a_scan_that_cannot_be_read_leaves_the_patient_and_says_why(window, patients, tmp_path):
    case = window.project(patients[0])
    broken = tmp_path / "sub-66_T1w.nii.gz"
    broken.write_bytes(b"this is no scan")
    window.explorer.open_scan(broken)
    window.wait(lambda: "was not opened" in text(window, "project.arriving"))
    assert "sub-66" in text(window, "project.arriving")
    assert "still show sub-07" in text(window, "project.arriving")
    assert window.find("project.start").isEnabled(), "nothing is read any more"
    assert_is_about(window, case)
    open_patient(window, patients[1])
    assert window.find("project.arriving").isHidden()


@pytest.mark.parametrize("button", ["project.align", "project.start"])
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
    window.click("browse.next")
    window.settle()
    assert window.captions == {"Synthetic – not for diagnosis"}
    window.click("project.show.scan")
    assert window.captions == {"Scan: sub-08"}, "it can be shown again"
    assert window.volume.max() > 500, "in its own units, as it was not aligned"
    assert window.session.go_to(entry_of(window, case))
    window.settle()
    assert_is_about(window, case)
    assert "CT" not in text(window, "project.quality")
    window.click("explorer.redo")
    assert text(window, "project.name") == "sub-08"
    assert "looks like CT" in text(window, "project.quality"), "with its reason"
    assert window.captions == {"Scan: sub-08"}


def test_the_history_brings_the_patient_of_that_time(window, patients):
    first = window.project(patients[0])
    second = window.project(patients[1])
    assert first.similarity != second.similarity
    assert_is_about(window, second)
    open_patient(window, patients[2])
    window.click("project.align")
    window.wait(lambda: window.find("project.quality").text())
    assert_has_no_result(window)
    third = len(window.session.states) - 1
    for case in (first, second, first):
        assert window.session.go_to(entry_of(window, case))
        window.settle()
        assert window.captions == {f"Scan: {case.name}"}
        assert_is_about(window, case)
    window.session.go_to(third)
    assert text(window, "project.name") == "sub-09"
    assert window.captions == {"Scan: sub-09"}
    assert window.find("project.quality").text(), "it is still aligned"
    assert_has_no_result(window)


def test_a_person_may_look_at_another_patient_while_one_is_projected(window, patients):
    first = window.project(patients[0])
    open_patient(window, patients[1])
    window.choose("project.budget", "thorough")
    window.click("project.start")
    window.wait(lambda: window.find("project.progress").value() > 0)
    assert window.session.go_to(entry_of(window, first))
    window.settle()
    brain = window.volume
    assert_is_about(window, first)
    seen = []
    window.wait(lambda: seen.append(text(window, "project.estimate")) or len(set(seen[-400:])) > 3)
    assert any("sub-08" in words for words in seen), "whose projection goes on is said"
    np.testing.assert_array_equal(window.volume, brain, "no picture of it comes in between")
    assert text(window, "project.name") == "sub-07"
    window.click("project.cancel")
    window.wait(lambda: not window.explorer.projecting.job.running)
    assert_is_about(window, first)
    window.click("explorer.redo")
    assert text(window, "project.name") == "sub-08"
    window.choose("project.budget", "draft")
    window.click("project.start")
    assert window.session.go_to(entry_of(window, first))
    window.wait(lambda: len(window.session.projected) == 2)
    window.settle()
    assert_is_about(window, window.session.projected[-1])
    assert text(window, "project.name") == "sub-08"


def test_a_scan_dropped_during_a_projection_changes_nothing(window, patients, notifications):
    open_patient(window, patients[0])
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.explorer.open_scan(patients[1])
    assert "Wait or cancel" in notifications[-1]
    window.wait(lambda: window.session.projected)
    window.settle()
    assert_is_about(window, window.session.projected[0])
    assert text(window, "project.name") == "sub-07"


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
    assert len([name for name in names if "_run-" in name]) >= 5, " ".join(names)
    assert private_in(out) == set()
    window.session.go_to(entry_of(window, first))
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


def test_labels_of_one_patient_are_not_seen_over_another(window, patients, lesion):
    open_patient(window, patients[0])
    window.explorer.open_scan(lesion)
    window.wait(lambda: "lesion" in window.viewer.layers)
    layer = window.viewer.layers["lesion"]
    open_patient(window, patients[1])
    assert not layer.visible
    assert window.explorer.projecting.labels.paths == []
    assert offered_regions(window) == []
    window.click("explorer.undo")
    assert layer.visible
    assert window.explorer.projecting.labels.paths == [lesion]
    assert offered_regions(window) == ["lesion"]
    # Painted on, it is no file any more, and still that patient's.
    layer.paint((0, 0, 0), 3)
    assert window.explorer.projecting.labels.paths == []
    window.click("explorer.redo")
    assert not layer.visible
    assert offered_regions(window) == []
    window.click("explorer.undo")
    assert layer.visible
    assert len(offered_regions(window)) == 2


@pytest.mark.parametrize("beside", [False, True])
def test_a_label_map_belongs_to_the_patient_it_was_opened_for(
    window, patients, lesion, monkeypatch, notifications, beside
):
    open_patient(window, patients[0])
    open_patient(window, patients[1])
    window.click("explorer.undo")
    gate, projecting = Gate(monkeypatch), window.explorer.projecting
    if beside:
        projecting.second.open(Choice(lesion))
    else:
        window.explorer.open_scan(lesion)
    window.click("explorer.redo")
    assert text(window, "project.name") == "sub-08"
    gate.open()
    window.wait(lambda: "lesion" in window.viewer.layers)
    layer = window.viewer.layers["lesion"]
    assert not layer.visible
    assert projecting.labels.paths == []
    assert not is_offered_as_mask(window)
    assert "it belongs to sub-07" in notifications[-1]
    window.click("explorer.undo")
    assert layer.visible
    assert projecting.labels.paths == [lesion]
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
    assert window.explorer.projecting.labels.paths == [lesion]


def test_labels_stay_with_the_results_of_a_scan_that_is_read_again(window, patients, lesion):
    case, labels = window.project(patients[0]), window.explorer.projecting.labels
    window.explorer.open_scan(lesion)
    window.wait(lambda: labels.paths == [lesion])
    window.explorer.open_scan(patients[0])
    window.wait(lambda: window.session.case.key != case.key)
    assert labels.paths == []
    window.click("explorer.undo")
    assert window.session.case.key == case.key
    assert labels.paths == [lesion]
    assert window.viewer.layers["lesion"].visible


def test_a_region_that_was_cleared_does_not_come_back_with_its_patient(window, patients):
    open_patient(window, patients[1])
    open_patient(window, patients[0])
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    window.click("project.fill")
    painting = window.explorer.projecting.painting
    painting.layer.paint(tuple(n // 2 for n in painting.layer.data.shape), 1)

    def look_at_the_other() -> None:
        window.click("explorer.undo")
        assert text(window, "project.name") == "sub-08"
        assert painting.region() is None
        window.click("explorer.redo")

    look_at_the_other()
    assert painting.region() is not None
    painting.clear()
    look_at_the_other()
    assert painting.region() is None
