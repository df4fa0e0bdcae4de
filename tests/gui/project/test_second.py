"""A second image is laid over the patient it was opened for, and over no other."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from napari_stylegan3d.views.display import KEY, MADE_COLOR, OVER, RECORDED_COLOR, color_of
from napari_stylegan3d.views.four import brightness, value_at, voxel_at
from napari_stylegan3d.views.marks import Mark
from stylegan3d.base import ScanError
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.case import Choice
from stylegan3d.session.provenance import UNCONFIRMED

UNPAINTED = True
#: Where the header of the FLAIR is wrong, in mm.
OFF_MM = np.array([3.0, -2.0, 2.5])


@pytest.fixture(scope="module")
def flair_file(scan_file, tmp_path_factory):
    """Another contrast of `scan_file`, whose header puts it elsewhere."""
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj).astype(np.float32)
    affine = nib.affines.from_matvec(np.eye(3), OFF_MM) @ image.affine
    path = tmp_path_factory.mktemp("flair") / "sub-07_FLAIR.nii.gz"
    flair = np.where(data > 0, 900 - data, 0)
    nib.Nifti1Image(flair.astype(np.int16), affine).to_filename(path)
    return path


@pytest.fixture(scope="module")
def lesion_file(scan_file, tmp_path_factory):
    image = nib.load(scan_file)
    marked = np.zeros(image.shape, np.uint8)
    marked[20:26, 30:36, 25:31] = 1
    path = tmp_path_factory.mktemp("lesion") / "sub-07_lesion.nii.gz"
    nib.Nifti1Image(marked, image.affine).to_filename(path)
    return path


def lay(window, path):
    """Open a second image, and wait until it was placed or refused."""
    seconds = window.explorer.projecting.second
    seconds.open(Choice(path))
    told = window.explorer._task_of(window.session.key)
    assert told == "overlay being read…", "as the list of patients says"
    done = lambda: not (seconds.reading.busy or seconds.placing.busy)  # noqa: E731
    window.wait(lambda: done() and window.find("second.note").text()[:7] != "Reading")
    return seconds


def refusing(choice):
    raise ScanError(f"{choice.path.name} cannot be read.")


def lain_over(window, mark=OVER):
    """The layer of the second image in the main viewer; None if there is none."""
    layers = reversed(window.viewer.layers)
    return next((layer for layer in layers if mark in layer.metadata and layer.visible), None)


def levels_in_words(limits):
    low, high = limits
    return f"W/L {brightness(high - low)} / {brightness((high + low) / 2)}"


def test_it_follows_its_patient_and_is_named_with_every_picture(
    window, scan_file, second_file, flair_file, lesion_file, tmp_path, monkeypatch
):
    window.open_scan(scan_file)
    seconds = lay(window, flair_file)
    shift = seconds.current.image.rigid[:3, 3]
    middle = window.session.case.scan.space.center_mm
    moved = seconds.current.image.rigid[:3, :3] @ (middle + OFF_MM) + shift
    assert np.linalg.norm(moved - middle) < 0.5
    flat = [view.labels.caption for view in window.views.views if view.plane]
    assert all("sub-07\nOverlay: sub-07_FLAIR\n" + UNCONFIRMED in caption for caption in flat)
    colors = [color_of(view.labels.provenance) for view in window.views.views if view.plane]
    assert colors == [MADE_COLOR] * 3, "nothing approves of it"
    window.find("second.same").setChecked(True)
    assert not any(UNCONFIRMED in caption for caption in window.captions)
    assert {color_of(view.labels.provenance) for view in window.views.views} == {RECORDED_COLOR}
    window.click("second.show.second")
    assert window.views.views[0].labels.caption == "Overlay only: sub-07_FLAIR\nPatient: sub-07"
    of_scan = levels_in_words(window.explorer.stage.limits)
    assert window.find("views.levels").text() == levels_in_words(
        lain_over(window, KEY).contrast_limits
    )
    assert window.find("views.levels").text() != of_scan
    assert not window.find("views.white").isEnabled(), "it is the scan's, which is not in sight"
    window.explorer.stage.take_preset("full")
    window.explorer.stage.drag_levels(window.explorer.stage.levels, 40.0, 10.0)

    # What is measured in it is its own, and is named so when it is copied.
    marks, middle_mm = window.views.marks, tuple(window.viewer.dims.point)
    ball = Mark("sphere", 2, middle_mm, (middle_mm[0], middle_mm[1] + 12.0, middle_mm[2]))
    alone = marks.figures(ball)
    assert alone.picture == "Overlay only: sub-07_FLAIR · Patient: sub-07"
    assert value_at(window.viewer, middle_mm) == voxel_at(lain_over(window, KEY), middle_mm)
    window.click("second.show.overlay")
    assert window.find("views.levels").text() == of_scan
    assert marks.figures(ball).picture.startswith("Scan: sub-07")
    assert abs(marks.figures(ball).mean - alone.mean) > 1, "the scan's are other intensities"
    window.click("second.show.second")

    # Beside the scan, with its own window; what lies over it is not there then.
    window.click("second.show.side")
    panes = window.views.panes
    flair, patient = panes.panes
    assert panes.isVisible()
    assert [lines[0] for lines in panes.captions()] == ["1: sub-07_FLAIR", "2: sub-07"]
    assert patient.layer is window.explorer.stage.layer
    assert lain_over(window) is None
    assert flair.layer.contrast_limits != patient.layer.contrast_limits
    window.show("Synthetic brains")
    assert not panes.panes, "it goes with its patient"
    window.show("sub-07")
    window.wait(lambda: len(panes.panes) == 2)
    window.click("second.show.overlay")
    assert not panes.panes

    # It is the first that is offered as another visit, and makes way for a map of what changed.
    window.click("second.visits")
    visiting = window.explorer.measuring.visiting
    assert window.find("measure.visits_other").currentText() == flair_file.name
    visiting._on_map("volume")
    assert lain_over(window) is None
    visiting.dialog.hide()
    window.click("second.show.overlay")

    # Aligned: dark where the scan is bright, on its grid.
    projecting = window.explorer.projecting
    projecting.align()
    window.wait(lambda: window.session.placed is not None and not seconds.placing.busy)
    window.wait(lambda: lain_over(window) is not None)
    layer, scan = lain_over(window), window.session.placed
    step = [a // b for a, b in zip(layer.data.shape, scan.volume.shape, strict=True)]
    assert set(step) == {round(max(scan.space.voxel_size) / layer.scale[0])}
    bright = scan.volume > 0.5
    from stylegan3d.geometry.space import Space

    there = seconds.current.image.on(Space(scan.space.shape, scan.space.affine), scan.rigid)
    assert np.corrcoef(there[bright], scan.volume[bright])[0, 1] < -0.9

    # Pictures that are compared say what they are, but not what lies over them: nothing does.
    window.session.compare("side", Recipe())
    assert lain_over(window) is None
    assert not window.find("second.bar").isVisible()
    window.session.compare("off", None)
    assert lain_over(window) is not None

    # A map of labels beside it becomes the mask with one press.
    lay(window, lesion_file)
    assert seconds.current.name == "sub-07_FLAIR"
    window.click("second.mask")
    assert window.find("project.fill").isChecked()
    assert "sub-07_lesion" in window.find("project.region").currentText()

    # A file that is refused leaves what was there, and says why.
    lay(window, tmp_path / "gone.nii.gz")
    assert "gone.nii.gz does not exist" in window.find("second.note").text()
    assert seconds.current.name == "sub-07_FLAIR"

    # Another patient has none; the list brings it back with its patient.
    window.explorer.open_scan(second_file)
    window.wait(lambda: window.find("project.name").text() == "sub-08")
    assert seconds.current is None
    assert lain_over(window) is None
    assert window.find("second.name").text() == "No overlay"
    assert not window.find("second.bar").isVisible()
    window.show("sub-07")
    window.wait(lambda: lain_over(window) is not None)
    assert window.find("second.name").text() == "sub-07_FLAIR"
    kept = dataclasses.replace(seconds.current, image=None)

    # Those of two patients are read in turn, whoever is on the screen.
    seconds.open(Choice(flair_file))
    window.show("sub-08")
    seconds.open(Choice(flair_file))
    told = {window.explorer._task_of(case.key) for case in window.session.patients}
    assert told == {"overlay being read…"}
    window.wait(lambda: not seconds.reading.busy)
    assert window.find("second.name").text() == "sub-07_FLAIR"
    found = [window.session.annotations_of(case.key) for case in window.session.patients]
    assert [lies.overlay.image is not None for lies in found] == [True, True]
    window.click("second.remove")
    window.show("sub-07")

    # A new patient's scan can be laid over the one before instead, and both are named; where it
    # is refused it stays a patient. No other patient is asked.
    assert not window.find("second.join").isVisible(), "sub-08 was opened, not sub-07"
    window.show("sub-08")
    assert window.find("project.name").text() == "sub-08"
    with monkeypatch.context() as broken:
        broken.setattr("napari_stylegan3d.project.overlay.read_choice", refusing)
        window.click("second.join")
        window.wait(lambda: "cannot be read" in window.find("second.note").text())
    assert list(window.patients()) == ["sub-07", "sub-08"]
    window.show("sub-08")
    window.click("second.join")
    lay(window, flair_file)
    assert list(window.patients()) == ["sub-07", "sub-08"], "another one was asked for since"
    window.show("sub-08")
    window.click("second.join")
    window.wait(lambda: window.find("second.name").text() == "sub-08_T1w")
    window.wait(lambda: lain_over(window) is not None)
    assert window.find("project.name").text() == "sub-07"
    assert list(window.patients()) == ["sub-07"], "it is an overlay now, and no patient"
    assert "Scan: sub-07\nOverlay: sub-08_T1w\n" + UNCONFIRMED in window.captions
    window.click("second.remove")
    assert lain_over(window) is None

    # An earlier session brings its own, unless the file is another one by now.
    annotate, key = window.session.annotate, window.session.key
    annotate(key, overlay=dataclasses.replace(kept, how="header"))
    window.wait(lambda: lain_over(window) is not None)
    assert seconds.current.same
    seconds.remove()
    annotate(key, overlay=dataclasses.replace(kept, sha256="0" * 64))
    window.wait(lambda: "not the overlay" in window.find("second.note").text())
    assert lain_over(window) is None
    seconds.remove()
