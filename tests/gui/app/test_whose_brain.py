"""Whatever is done in whatever order, each name in the window is that of its subject."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QWidget

from napari_stylegan3d.project import result
from napari_stylegan3d.widgets import dialogs
from stylegan3d.base import OutputError
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.case import Choice

#: What is asked is what is shown, but where a test paints.
UNPAINTED = True

NAMES = ("alpha", "beta", "gamma")
#: What speaks of several patients, or of what was done: lists, offers and messages.
OF_SEVERAL = (
    "patients",
    "explorer.message",
    "views.toast",
    "project.arriving",
    "project.waits",
    "mix.",
    "compare.",
    "second.join",
    "export.done",
    "directions.people",
    "browse.map",
)


@pytest.fixture
def files(window, scan_file, tmp_path):
    image = nib.load(scan_file)
    draw = np.random.default_rng(0)
    found = {}
    for name in NAMES:
        data = np.asarray(image.dataobj, np.float32)
        data = data * (1 + 0.02 * draw.standard_normal(data.shape).astype(np.float32))
        found[name] = tmp_path / f"sub-{name}_T1w.nii.gz"
        nib.save(nib.Nifti1Image(data, image.affine), found[name])
        nib.save(nib.Nifti1Image(1 - data, image.affine), overlay_of(found[name]))
    yield found
    window.explorer.projecting.job.cancel()
    window.wait(lambda: not window.explorer.projecting.job.running)
    window.begin_anew()


def overlay_of(path: Path) -> Path:
    """Another image of the same patient, on the same grid."""
    return path.with_name(path.name.replace("T1w", "FLAIR"))


def texts(window) -> list[tuple[str, str]]:
    """Every text that is seen, with the name of its control or of the nearest that has one."""
    found = []
    for root in (window.explorer, window.explorer.views):
        for widget in root.findChildren(QWidget):
            if not widget.isVisible():
                continue
            text = ""
            if isinstance(widget, QLabel | QAbstractButton | QLineEdit):
                text = widget.text()
                if isinstance(widget, QLineEdit):
                    text += widget.placeholderText()
            elif isinstance(widget, QComboBox):
                text = widget.currentText()
            if text:
                named: Any = widget
                notified = False
                while named is not None and not named.objectName():
                    # A notification has its name a moment after it appears.
                    notified = isinstance(named, NapariQtNotification)
                    named = None if notified else named.parentWidget()
                name = named.objectName() if named else "views.toast" if notified else ""
                found.append((name, text))
    return found


def check(window) -> None:
    """Nobody else is named anywhere, and the subject is where it must be."""
    session, case = window.session, window.session.case
    own = "" if case is None else case.name.removeprefix("sub-")
    others = [name for name in NAMES if name != own]
    # Of a pair that of B, which is the subject: A may be anybody's.
    captions = [("caption", caption.partition("\nB ")[2] or caption) for caption in window.captions]
    title = [("title", window.viewer.title)]
    for where, text in (*texts(window), *captions, *title):
        if where.startswith(OF_SEVERAL):
            continue
        for other in others:
            assert other not in text, f"{where} names {other} beside {own or 'nobody'}: {text!r}"
    listed = window.explorer.patients.list
    assert listed.currentItem().text() == ("Synthetic brains" if case is None else case.name)
    if case is not None:
        assert case.name in window.find("project.name").text()
    export = window.explorer.export
    drawn = session.state.drawn
    if drawn is not None:
        proposed = export.volume_name(drawn)
        assert not any(other in proposed for other in others)
        assert not own or own in proposed
    if session.recipe is not None and case is not None:
        assert session.recipe.label is None
    columns, row = window.find("compare.row_list"), session.state.row
    assert columns.count() == len(row)
    shown = [pane.title for pane in window.views.panes.panes[:-1]] if row else []
    for at, column in enumerate(row):
        own = "" if column.case is None else column.case.name.removeprefix("sub-")
        title = columns.item(at).toolTip()
        assert [name for name in NAMES if name in title] == [own][: bool(own)], title
        if session.state.comparison == "row" and len(shown) == len(row):
            assert shown[at] == title


class Doctor:
    """What a person does, at random."""

    def __init__(self, window, files, seed: int) -> None:
        self.window, self.files, self.draw = window, files, random.Random(seed)
        self.actions = [
            self.open,
            self.open,
            self.show,
            self.show,
            self.nobody,
            self.project,
            self.project,
            self.edit,
            self.edit,
            self.seed,
            self.undo,
            self.redo,
            self.look,
            self.tab,
            self.pin,
            self.columns,
            self.wait,
            self.measure,
            self.labels,
            self.lay_over,
            self.paint,
            self.type_an_age,
        ]

    def step(self) -> str:
        action = self.draw.choice(self.actions)
        action()
        QTest.qWait(self.draw.choice((0, 0, 20, 150)))
        check(self.window)
        return action.__name__

    def open(self) -> None:
        self.window.explorer.open_scan(self.files[self.draw.choice(NAMES)])

    def show(self) -> None:
        cases = self.window.session.patients
        if cases:
            self.window.explorer.patients._show(self.draw.choice(cases).key)

    def nobody(self) -> None:
        self.window.explorer.patients._show("")

    def project(self) -> None:
        self.window.choose("project.budget", "draft")
        button = self.window.find("project.start")
        if button.isEnabled():
            button.click()

    def edit(self) -> None:
        panel = self.window.explorer.directions
        rows = list(panel.rows)
        if rows:
            live = self.draw.random() < 0.3
            panel._set(self.draw.choice(rows), self.draw.uniform(-1, 1), live)

    def seed(self) -> None:
        self.window.set("browse.seed", self.draw.randrange(3))

    def undo(self) -> None:
        self.window.session.undo()

    def redo(self) -> None:
        self.window.session.redo()

    def look(self) -> None:
        segments = self.window.explorer.projecting.looks.segments
        can = [key for key, button in segments.items() if button.isEnabled()]
        if can and self.window.session.case is not None:
            segments[self.draw.choice(can)].click()

    def tab(self) -> None:
        keys = [panel.title for panel in self.window.explorer.panels]
        self.window.explorer.panel(self.draw.choice(keys))

    def pin(self) -> None:
        if self.window.session.recipe is not None:
            self.window.explorer.comparing.pin()
            self.window.explorer.comparing.set_mode(self.draw.choice(("off", "curtain")))

    def columns(self) -> None:
        comparing = self.window.explorer.comparing
        if self.draw.random() < 0.3:
            comparing.row.remove()
        comparing.row.add()
        comparing.set_mode(self.draw.choice(("off", "row", "row")))

    def wait(self) -> None:
        QTest.qWait(600)

    def measure(self) -> None:
        header = self.window.explorer.measuring.box.header
        header.setChecked(not header.isChecked())

    def labels(self) -> None:
        part = self.window.explorer.relabelling
        if part.base is None and self.window.find("labels.take").isEnabled():
            part._take()
        elif part.base is not None:
            part.box.resize_row.change_to(self.draw.choice((-4.0, 0.0, 4.0)))

    def lay_over(self) -> None:
        case = self.window.session.case
        if case is not None and case.scan is not None:
            self.window.explorer.projecting.second.open(Choice(overlay_of(case.path)))

    def paint(self) -> None:
        projecting, session = self.window.explorer.projecting, self.window.session
        if session.placed is not None and self.window.find("project.fill").isEnabled():
            self.window.find("project.fill").setChecked(True)
            layer = projecting.painting.layer
            if layer is not None:
                layer.paint(tuple(self.draw.randrange(2, n - 2) for n in layer.data.shape), 1)
                assert session.annotations.mask.data.any()

    def type_an_age(self) -> None:
        self.window.set("measure.age", self.draw.randrange(20, 80))


def drive(window, files, seed: int, steps: int) -> None:
    doctor, done = Doctor(window, files, seed), []
    for _ in range(steps):
        try:
            done.append(doctor.step())
        except AssertionError as error:
            raise AssertionError(f"after {', '.join(done[-12:])}: {error}") from error


def test_each_name_is_that_of_the_subject(window, files):
    drive(window, files, 0, 30)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 3))
def test_each_name_is_that_of_the_subject_for_long(window, files, seed):
    drive(window, files, seed, 200)


def test_years_typed_for_one_patients_visits_stay_with_that_patient(
    window, scan_file, second_file, tmp_path
):
    other = tmp_path / "x_T1w.nii.gz"
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image((data // 2).astype(np.int16), image.affine), other)
    for file, name in ((scan_file, "sub-07"), (second_file, "sub-08"), (other, "x")):
        window.explorer.open_scan(file)
        window.wait(lambda name=name: window.find("project.name").text() == name)
    dialog = window.explorer.measuring.visiting.dialog

    def typed(name, years, order):
        window.show(name)
        found = [dialog.other.itemText(k) for k in range(dialog.other.count())]
        dialog.other.setCurrentIndex(found.index(other.name))
        dialog.years.setValue(years)
        dialog.order.setCurrentIndex(order)

    window.show("sub-07")
    window.explorer.measuring.box.unfold(True)
    window.click("measure.visits")
    typed("sub-07", 2.0, 0)
    typed("sub-08", 7.0, 1)
    window.show("sub-07")
    assert (dialog.years.value(), dialog.order.currentIndex()) == (2.0, 0)
    window.set("measure.age", 61)
    assert dialog.person.text().startswith("61 years")
    window.show("Synthetic brains")
    assert dialog.person.text().startswith("age unknown")


def test_figures_of_a_comparison_are_gone_with_the_patient(window, scan_file, second_file):
    first = window.project(scan_file)
    window.project(second_file)
    window.explorer.panel("Compare")
    window.explorer.comparing.pin(Recipe(Source("seed", 5)))
    told = window.explorer.compare.figures.labels["ssim"]
    window.wait(lambda: told.text() != "–")
    window.session.show(first.key)
    assert told.text() == "–"  # in the same turn


def test_a_latent_that_is_gone_is_asked_for_once_and_its_scan_is_shown(
    window, scan_file, notifications
):
    case = window.project(scan_file)
    window.show("Synthetic brains")
    window.settle()
    Path(case.source.path).unlink()
    rendering, asked = window.explorer.rendering, []
    rendering._kept.clear()
    submit = rendering.renders.submit
    rendering.renders.submit = lambda request: (asked.append(request), submit(request))
    window.show("sub-07")
    window.wait(lambda: window.session.state.what == "scan" and window.captions)
    QTest.qWait(300)
    assert len(asked) == 1
    assert any("sub-07" in caption for caption in window.captions)


def test_a_scan_that_comes_while_a_folder_is_chosen_changes_nothing_of_what_is_saved(
    window, scan_file, second_file, tmp_path, monkeypatch
):
    window.open_scan(scan_file)
    window.click("project.align")
    window.wait(lambda: window.session.placed is not None)
    project = window.explorer.projecting
    window.explorer.project.paint.fill.setChecked(True)
    window.wait(lambda: project.painting.layer is not None)
    layer = project.painting.layer
    layer.data_setitem(tuple(np.array([[n // 2] for n in layer.data.shape])), 1)
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: window.session.projected)
    window.settle()
    used = []
    monkeypatch.setattr(
        result,
        "save_filled",
        lambda report, loaded, case, recipe, folder: used.append(recipe) or (),
    )

    def choose(*_):
        window.wait(lambda: window.session.case.name == "sub-08")
        return tmp_path

    monkeypatch.setattr(dialogs, "choose_folder", choose)
    project.open(Choice(second_file))
    window.click("project.save_filled")
    window.wait(lambda: used)
    assert used[0].source == window.session.projected[-1].source


def test_a_scan_that_comes_while_an_age_is_typed_waits_in_the_list(window, scan_file, second_file):
    window.open_scan(scan_file)
    window.explorer.projecting.open(Choice(second_file))
    window.set("measure.age", 6)
    window.wait(lambda: "sub-08" in window.patients())
    window.wait(lambda: not window.explorer.projecting.opening.running)
    assert window.session.case.name == "sub-07"
    window.set("measure.age", 61)
    first, second = window.session.patients
    assert window.session.person_in(first.scan)[0].age == 61
    assert window.session.person_in(second.scan)[0].age != 1


def test_a_job_that_fails_beside_another_patient_names_its_own(window, scan_file, second_file):
    window.open_scan(scan_file)
    first, go = window.session.case, threading.Event()

    def work(report, *_):
        go.wait(10)
        raise OutputError("The disk is full: free some space, then try again.")

    window.explorer.projecting._queue(first, work)
    window.explorer.open_scan(second_file)
    window.wait(lambda: window.session.case.name == "sub-08")
    go.set()
    window.wait(lambda: "disk is full" in window.explorer.message.text())
    assert window.explorer.message.text().startswith("sub-07: ")
    window.explorer.say("")
