"""What was made from one reading of a scan stays with it when its sides are swapped."""

import threading

import nibabel as nib
import numpy as np
import pytest
from open_sides import in_doubt

from napari_stylegan3d.labels.controller import EditedBrain, of_scan
from napari_stylegan3d.measure.jobs import VisitPair
from napari_stylegan3d.project import controller
from stylegan3d.base import ScanError
from stylegan3d.recipe.model import MadeWith
from stylegan3d.scans import read_scan
from stylegan3d.scans.person import Person
from stylegan3d.session.file import decode, encode
from stylegan3d.session.snapshot import of_session

UNPAINTED = True


@pytest.fixture
def in_doubt_file(scan_file, tmp_path):
    """A scan whose header leaves open which side is left."""
    affine = np.diag([-3.0, 3, 3, 1.0])
    affine[:3, 3] = [75, -95, -80]
    return in_doubt(tmp_path / "sub-09_T1w.nii.gz", np.asarray(nib.load(scan_file).dataobj), affine)


def opened(window, path):
    session, count = window.session, len(window.session.patients)
    window.explorer.open_scan(path)
    window.wait(lambda: len(session.patients) > count)
    return session.key


def swap_sides(window):
    window.explorer.projecting.open(window.session.case.choice.oriented("qform"))
    window.wait(lambda: window.session.case.choice.orientation == "qform")


def test_a_failed_job_does_not_undo_the_answer(window, in_doubt_file, monkeypatch):
    session, projecting, ready = window.session, window.explorer.projecting, threading.Event()

    def fails(*_):
        ready.wait(20)
        raise ScanError("no brain found")

    monkeypatch.setattr(controller, "align_scan", fails)
    opened(window, in_doubt_file)
    window.click("project.align")
    swap_sides(window)
    ready.set()
    window.wait(lambda: not projecting.job.running)
    assert session.case.choice.orientation == "qform"


def test_a_label_map_lies_on_the_scan_as_it_is_read_now(window, in_doubt_file, tmp_path):
    session, projecting = window.session, window.explorer.projecting
    opened(window, in_doubt_file)
    image = nib.load(in_doubt_file)
    lesion = np.zeros(image.shape, np.uint8)
    lesion[10:14, 30:34, 25:29] = 1
    window.click("project.align")
    window.wait(lambda: session.placed is not None)
    swap_sides(window)
    projecting.open(
        controller.Choice(in_doubt(tmp_path / "x" / "les.nii.gz", lesion, image.affine))
    )
    window.wait(lambda: session.annotations.maps)
    layer = projecting.labels.newest
    middle = np.argwhere(np.asarray(layer.data) > 0).mean(axis=0) * layer.scale + layer.translate
    right = (session.case.scan.affine @ [11.5, 31.5, 26.5, 1])[:3]
    np.testing.assert_allclose(middle, right, atol=3)  # a voxel of the scan


def test_a_restored_session_reads_each_step_as_it_was_read(window, in_doubt_file):
    session, restorer = window.session, window.explorer.sessions.scans
    opened(window, in_doubt_file)
    window.click("project.start")
    window.wait(lambda: session.projected, 120_000)
    window.settle()
    swap_sides(window)
    window.click("project.align")
    window.wait(lambda: session.placed is not None)
    state, folder = window.explorer.sessions.state(), session.folder
    back = decode(encode(state, folder), folder, "x")
    restorer.forget()
    session.restore(of_session(back, MadeWith.of(session.generator))[0])
    window.wait(lambda: session.case.scan is not None and not restorer.job.running)
    window.click("explorer.undo")
    window.wait(lambda: session.case.scan is not None and not restorer.job.running)
    read = [case for case in session.cases if case.scan is not None]
    assert {case.choice.orientation for case in read} == {None, "qform"}
    for case in read:
        again = read_scan(case.path, orientation=case.choice.orientation)
        np.testing.assert_array_equal(case.scan.affine, again.affine)


def test_edited_labels_leave_with_the_reading_they_were_edited_on(window, in_doubt_file):
    session, relabelling = window.session, window.explorer.relabelling
    opened(window, in_doubt_file)
    window.click("project.align")
    window.wait(lambda: session.placed is not None)
    base = of_scan("sub-09", session.placed)
    before = np.zeros(base.volume.shape, np.uint8)
    after = before.copy()
    after[3:5, 3:5, 3:5] = 1
    relabelling.take_up(session.key, base.with_labels(before), EditedBrain(after, base.volume))
    relabelling._tell(session.key)
    assert session.annotations.labels is not None
    swap_sides(window)
    assert session.annotations.labels is None
    assert relabelling.base is None


def test_visits_are_compared_anew_when_either_was_read_otherwise(in_doubt_file, tmp_path):
    one, other = read_scan(in_doubt_file), read_scan(in_doubt_file, orientation="qform")
    told = True, None, Person(), "", None, tmp_path
    assert not VisitPair("a", "a", one, one, *told).is_as(VisitPair("a", "a", one, other, *told))


def test_a_label_map_asked_for_beside_nobody_is_nobodys(window, scan_file, tmp_path):
    session, image = window.session, nib.load(scan_file)
    lesion = (np.asarray(image.dataobj) > 300).astype(np.uint8)
    nib.save(nib.Nifti1Image(lesion, image.affine), tmp_path / "lesion.nii.gz")
    key = opened(window, scan_file)
    session.show("")
    window.explorer.projecting.open(controller.Choice(tmp_path / "lesion.nii.gz"))
    session.show(key)
    window.wait(lambda: not window.explorer.projecting._to_open)
    assert not session.annotations_of(key).maps
    window.viewer.layers.remove("lesion")


def test_the_next_patient_is_not_called_paused(window, scan_file, second_file, monkeypatch):
    session, projecting, ready = window.session, window.explorer.projecting, threading.Event()

    def slow(report, *_):
        while not ready.wait(0.02):
            report(0.5, 1, "Aligning")
        raise ScanError("no brain found")

    monkeypatch.setattr(controller, "align_scan", slow)
    first = opened(window, scan_file)
    window.click("project.align")
    window.wait(lambda: projecting._progress is not None)
    projecting._pause(True)
    opened(window, second_file)
    window.click("project.align")
    session.close_patient(first)
    window.wait(lambda: len(projecting._tasks) == 1 and projecting._progress is not None)
    told = projecting.panel.pause.isChecked(), projecting.panel.estimate.text()
    ready.set()
    window.wait(lambda: not projecting.job.running)
    assert told[0] is False
    assert "Paused" not in told[1]
