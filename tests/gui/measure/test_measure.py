"""The Measure box: volumes of what is shown, once it is shown in full, their labels, visits."""

import dataclasses
import threading
from types import SimpleNamespace
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QLocale
from qtpy.QtWidgets import QApplication

from napari_stylegan3d.app import walkthrough
from napari_stylegan3d.app.sessions import FOLDER_VARIABLE
from napari_stylegan3d.core.tissues import NAME
from napari_stylegan3d.measure.jobs import start_of
from napari_stylegan3d.measure.panel import reading_in_words, signed
from napari_stylegan3d.views.display import NAMES
from napari_stylegan3d.widgets import dialogs
from napari_stylegan3d.widgets.elided import InWords
from napari_stylegan3d.widgets.settings import unusual_z
from stylegan3d.base import Doubt
from stylegan3d.evaluation import visit_files
from stylegan3d.outputs import visits
from stylegan3d.outputs.visits import Visits
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source
from stylegan3d.scans import AlignedScan
from stylegan3d.scans.aligned import Halfway
from stylegan3d.scans.person import Person
from stylegan3d.segmentation import norms
from stylegan3d.segmentation.changes import Change
from stylegan3d.segmentation.classes import ALL_MEASURES, CLASSES, VOLUMES, value_text, volumes_ml
from stylegan3d.segmentation.numbers import Reading, numbers_of
from stylegan3d.session.store import OWNER, SessionFolder, kept_sessions
from stylegan3d.settings.option import ReportSettings
from stylegan3d.storage import places

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True

pytestmark = pytest.mark.usefixtures("segmenter")


@pytest.fixture
def box(window):
    """The box, unfolded, with the volumes of brain number 0."""
    part = window.explorer.measuring
    part.box.unfold()
    part.box.labels.setChecked(False)
    window.wait(lambda: is_fresh(window))
    yield part
    part.box.labels.setChecked(False)
    part.box.unfold(False)


def is_fresh(window):
    """Whether the table is that of the picture that is shown."""
    part, picture = window.explorer.measuring, window.explorer.comparison.picture
    return (
        not part._work.busy
        and part._asked is not None
        and part._asked.volume is picture.rendered.volume
        and part.measured is not None
    )


def shown(window, segmenter):
    """Volumes of the picture that is shown, as the engine counts them."""
    rendered = window.explorer.comparison.picture.rendered
    return segmenter.segment(rendered.volume, rendered.space).volumes


def number(window, name):
    return float(window.find(f"measure.{name}").text())


def ml(measures):
    """Millilitres of each tissue, of all measures."""
    return {name: measures[f"{name}_ml"] for name in VOLUMES}


def test_folded_away_it_measures_nothing(window):
    part = window.explorer.measuring
    assert not part.box.open
    window.set("browse.seed", 4)
    window.settle()
    assert part._asked is None
    assert not part._work.busy


def test_it_says_the_volumes_of_what_is_shown(window, box, segmenter):
    for seed in (0, 2):
        window.set("browse.seed", seed)
        window.settle()
        window.wait(lambda: is_fresh(window))
        for name, value in shown(window, segmenter).items():
            # ml: shown without decimals.
            assert number(window, f"{name}.ml") == pytest.approx(value, abs=0.51)
            assert window.find(f"measure.{name}.change").text() == "–"


def nothing_is_written(box):
    """Whether no figure stands in the box, nor in a tooltip, a curve, a layer or the clipboard."""
    cells = [*box.box.cells.values(), box.box.among, box.box.reading]
    clipboard = QApplication.clipboard()
    clipboard.setText("before")
    box._copy()
    return (
        box.measured is None
        and " ml" not in box.box.of.text()  # which says why
        and not any(sign.isdigit() for cell in cells for sign in cell.text())
        and not any("95 % band" in cell.toolTip() for cell in cells)
        and box.box.plot.curve is None
        and (box.layer.layer is None or not box.layer.layer.visible)
        and not box.box.copy.isEnabled()
        and clipboard.text() == "before"
    )


def test_nothing_of_a_brain_stays_when_another_comes_and_all_of_it_is_back_with_it(
    window, box, monkeypatch
):
    window.session.know(window.session.person[1], Person(50, "F"))
    box.box.labels.setChecked(True)
    assert box.layer.layer.visible
    written = {name: cell.text() for name, cell in box.box.cells.items()}
    assert written["grey.z"] not in ("–", "…")
    here = window.recipe
    asked = []
    monkeypatch.setattr(box._work, "submit", asked.append)
    window.session.change(Recipe(Source("seed", 7)))
    assert nothing_is_written(box), "in the same turn"
    assert window.find("measure.grey.ml").text() == "…"
    assert box.box.person == Person()
    window.settle()
    window.wait(lambda: box._asked is not None)
    # As a sharper picture of the same brain does, and another limit.
    window.explorer.comparison.viewChanged.emit("")
    window.set("measure.unusual", 3)
    assert nothing_is_written(box)
    assert window.find("measure.of").text() == "Measuring…"
    window.set("measure.unusual", ReportSettings.unusual_z)
    window.session.change(here)
    assert {name: cell.text() for name, cell in box.box.cells.items()} == written, "at once"
    assert box.box.person == Person(50, "F")
    window.settle()
    window.wait(lambda: box.layer.layer.visible)
    assert window.find("measure.copy").isEnabled()
    assert len(asked) == 1
    monkeypatch.undo()


def test_figures_that_come_late_are_kept_for_their_own_brain(window, box, monkeypatch):
    late = []
    monkeypatch.setattr(box._work, "submit", late.append)
    window.session.change(Recipe(Source("seed", 31)))
    window.settle()
    window.wait(lambda: late)
    window.session.change(Recipe(Source("seed", 32)))
    window.settle()
    window.wait(lambda: len(late) == 2)
    box._on_measured(late[0], box._work._function(late[0]))
    assert nothing_is_written(box)
    window.session.change(Recipe(Source("seed", 31)))
    assert window.find("measure.of").text().startswith("Seed 31")
    assert any(sign.isdigit() for sign in window.find("measure.grey.ml").text())
    monkeypatch.undo()


def test_it_says_that_it_works_and_the_worked_case_waits_for_a_volume(window, box):
    step = next(step for step in walkthrough.STEPS if step.target == "measure.fold")
    context, header = SimpleNamespace(dock=window.explorer), window.find("measure.fold")
    assert step.done(context, header)
    box._kept.clear()
    box._forget()
    box._update()
    assert window.find("measure.of").text() == "Measuring…"
    assert window.find("measure.grey.ml").text() == "…"
    told = window.explorer._task_of
    assert told(window.session.key) == "measuring…", "as the list of patients says"
    assert not told("another patient")
    assert not step.done(context, header)
    window.wait(lambda: is_fresh(window))
    assert window.find("measure.of").text() != "Measuring…"
    assert step.done(context, header)


def test_the_list_says_of_everybody_who_is_measured_or_waits(window, box, scan_file, monkeypatch):
    window.open_scan(scan_file)
    mine, go, measure = window.session.key, threading.Event(), box._work._function
    monkeypatch.setattr(box._work, "_function", lambda of: (go.wait(), measure(of))[1])
    window.click("project.align")
    window.wait(lambda: box._work.busy)
    window.show("Synthetic brains")
    box._kept.clear()
    window.session.change(Recipe(Source("seed", 33)))
    window.wait(lambda: box._work.request_of(None).title == "Seed 33")
    told = [window.explorer._task_of(key) for key in (mine, window.session.key)]
    go.set()
    assert told == ["measuring…"] * 2
    window.wait(lambda: not box._work.busy)
    assert not any(map(window.explorer._task_of, (mine, window.session.key)))


def test_an_edit_is_counted_from_the_brain_before_it(window, box, segmenter):
    before = shown(window, segmenter)
    window.set("directions.strength.0", 3)
    window.settle()
    window.wait(lambda: is_fresh(window) and box.measured.before is not None)
    after = shown(window, segmenter)
    for name, value in after.items():
        # ml: shown without decimals.
        assert number(window, f"{name}.change") == pytest.approx(value - before[name], abs=0.51)
    name = max(before, key=lambda name: abs(after[name] - before[name]))
    percent = 100 * (after[name] - before[name]) / before[name]
    assert abs(percent) > 0.1
    # Shown with one decimal.
    assert number(window, f"{name}.percent") == pytest.approx(percent, abs=0.06)
    window.click("measure.copy")
    rows = QApplication.clipboard().text().splitlines()
    assert rows[0].startswith("# Seed 0")
    (row,) = [row for row in rows if row.startswith("Brain tissue")]
    cells = dict(zip(rows[1].split("\t"), row.split("\t"), strict=True))
    # The table has two decimals.
    assert float(cells["change"]) == pytest.approx(after["brain"] - before["brain"], abs=0.01)
    box.measured.before.update(hippocampus_asymmetry=2.0)
    window.set("measure.age", 50)
    window.choose("measure.sex", "F")
    usual = QLocale()
    QLocale.setDefault(QLocale("de_DE"))
    window.click("measure.copy")
    QLocale.setDefault(usual)
    table = [row.split("\t") for row in QApplication.clipboard().text().splitlines()[1:]]
    written = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
    assert all(row["change_percent"] == "" for row in written if row["unit"] == "%")
    assert {row["percentile"] for row in written} >= {box.box.cells["grey.percentile"].text()}
    (row,) = [row for row in written if row["measure"].startswith("Brain tissue")]
    assert row["change"] == cells["change"].replace(".", ",")


def test_scores_follow_age_and_sex_and_stay_with_the_person(window, box, tmp_path, monkeypatch):
    """The window shows what the engine says, to the last digit; a second brain has its own age."""
    assert window.find("measure.grey.z").text() == "–"
    assert "need age and sex" in window.find("measure.among").text()
    assert not window.find("measure.plot").isVisible()
    window.set("measure.age", 50)
    window.choose("measure.sex", "F")
    expected = numbers_of(box.measured.measures, Person(50, "F"))
    for name, cell in (
        ("grey_ml", "grey"),
        ("left_hippocampus_ml", "hippocampus.left"),
        ("hippocampus_asymmetry", "hippocampus.asymmetry"),
    ):
        z_cell = f"{cell}_z" if "." in cell else f"{cell}.z"
        value_cell = cell if "." in cell else f"{cell}.ml"
        assert box.box.cells[z_cell].text() == expected.scores[name].words[0]
        assert box.box.cells[value_cell].text() == value_text(name, expected.measures[name])
    z = abs(expected.scores["grey_ml"].z)
    for beyond, bold in ((1.0, z > 1), (5.0, z > 5)):
        window.set("measure.unusual", beyond)
        assert box.box.cells["grey.z"].font().bold() == bold
        assert unusual_z() == beyond, "reports mark the same"
    window.set("measure.unusual", ReportSettings.unusual_z)
    plot = window.find("measure.plot")
    assert plot.isVisible()
    assert plot.curve.age == 50
    assert plot.curve.value == expected.measures["ventricle_ml"]
    assert not plot.grab().toImage().isNull()
    seed = window.find("browse.seed").value()
    window.set("browse.seed", 21)
    window.settle()
    window.wait(lambda: is_fresh(window))
    assert window.find("measure.age").value() == 0
    window.set("browse.seed", seed)
    window.settle()
    window.wait(lambda: is_fresh(window))
    assert window.find("measure.age").value() == 50
    table = tmp_path / "ours.csv"
    heads = ",".join(("age", "sex", *ALL_MEASURES))
    rng = np.random.default_rng(1)
    rows = [
        f"{20 + i},{'FM'[i % 2]},"
        + ",".join(f"{v:.3f}" for v in rng.normal(50, 5, len(ALL_MEASURES)))
        for i in range(60)
    ]
    table.write_text("\n".join([heads, *rows]))
    choice = window.find("measure.norms")
    for path, told in ((tmp_path / "none.csv", "holds no norms"), (table, "")):
        monkeypatch.setattr(dialogs, "open_file", lambda *_, path=path: path)
        choice.setCurrentIndex(choice.count() - 1)
        choice.activated.emit(choice.count() - 1)
        window.wait(lambda: not box._norms.busy)
        assert told in window.find("explorer.message").text()
    assert choice.currentText() == "60 people of ours.csv"
    ours = numbers_of(box.measured.measures, Person(50, "F"), norms.read_norms(table))
    assert box.box.cells["grey.z"].text() == ours.scores["grey_ml"].words[0]
    assert "ours.csv" in window.find("measure.among").text()
    assert window.session.norms.name == "60 people of ours.csv", "reports take these"
    sessions = window.explorer.sessions
    kept = sessions.state().view["norms"]
    assert kept == str(table)
    for file in ("", kept, ""):
        sessions._show_view({"norms": file})
        window.wait(lambda: not box._norms.busy)
        assert (window.session.norms is None) == (file == ""), "a session has its own"
        assert choice.currentIndex() == int(file != "")
        box.choose_norms(kept)
        window.wait(lambda: not box._norms.busy)
    sessions._show_view({"norms": str(tmp_path / "gone.csv")})
    window.wait(lambda: not box._norms.busy)
    assert window.session.norms is None, "nor does it take those of the session before"
    assert "gone.csv" in window.find("explorer.message").text()
    assert choice.currentText() == "gone.csv (not read)"
    assert sessions.state().view["norms"] == str(tmp_path / "gone.csv"), "it may be back next time"
    sessions._show_view({})
    window.wait(lambda: not box._norms.busy)
    assert box.box.cells["grey.z"].text() == expected.scores["grey_ml"].words[0]
    window.set("measure.age", 90)
    assert "18 to 80 years" in window.find("measure.among").text()
    assert window.find("measure.grey.z").text() == "–"
    window.set("measure.age", 0)


def test_nothing_is_measured_while_a_hand_drags(window, box):
    slider = window.find("browse.truncation").slider
    slider.setSliderDown(True)
    slider.setValue(slider.value() - 12)
    assert nothing_is_written(box)
    window.settle()
    assert box._asked is None
    slider.setSliderDown(False)
    window.wait(lambda: is_fresh(window))


def test_labels_lie_over_the_planes_and_go_with_the_brain_they_belong_to(window, box, segmenter):
    window.click("measure.labels")
    window.wait(lambda: box.layer.layer is not None and box.layer.layer.visible)
    layer = window.viewer.layers[NAME]
    assert np.array_equal(layer.data, box.measured.labels)
    assert volumes_ml(layer.data, box.measured.space) == pytest.approx(ml(box.measured.measures))
    point = np.argwhere(layer.data == np.bincount(layer.data.ravel())[1:].argmax() + 1)[0]
    window.viewer.dims.point = layer.data_to_world(tuple(point))
    names = layer.features["name"]
    assert names[int(layer.data[tuple(point)])] in window.find("views.intensity").text()
    window.set("browse.seed", 9)
    assert not layer.visible
    window.wait(lambda: is_fresh(window) and layer.visible)
    assert np.array_equal(layer.data, box.measured.labels)
    window.click("measure.labels")
    assert not layer.visible
    assert window.find("views.intensity").text().count("·") == 0


def test_the_crosshair_may_lie_where_there_is_no_tissue(window, box):
    window.click("measure.labels")
    layer = window.viewer.layers[NAME]
    background, tissue = (np.argwhere((layer.data > 0) == there)[0] for there in (False, True))
    window.viewer.dims.point = layer.data_to_world(tissue)
    named = layer.metadata[NAMES][int(layer.data[tuple(tissue)])]
    assert window.views.readout.intensity.text().endswith(f" · {named}")
    window.viewer.dims.point = layer.data_to_world(background)
    said = window.views.readout.intensity.text()
    assert said
    assert " · " not in said


def test_the_labels_have_a_colour_and_a_name_each(window, box):
    window.click("measure.labels")
    window.wait(lambda: NAME in window.viewer.layers)
    layer = window.viewer.layers[NAME]
    colors = {tuple(layer.colormap.map(index)) for index in range(len(CLASSES))}
    assert len(colors) == len(CLASSES)
    assert layer.colormap.map(0)[3] == 0
    assert len(set(layer.features["name"])) == len(CLASSES)
    # The 3D view shows the brain, not the labels around it.
    copies = [c for c in window.views.view("3D").model.layers if c.name == NAME]
    assert copies == []


def test_a_scan_is_measured_once_it_is_aligned(window, box, scan_file):
    window.open_scan(scan_file)
    window.wait(lambda: window.find("measure.of").text().startswith("Align the scan"))
    assert not window.find("measure.copy").isEnabled()
    assert window.find("measure.grey.ml").text() == "–"


def judged(case, level, sentence):
    """The case with a verdict on its acquisition, and a finding."""
    verdicts = {"acquisition": {"level": level, "sentence": sentence}}
    finding = {"place": "left frontal lobe", "ml": 2.0, "peak_z": 1.4, "center_mm": [0, 0, 0]}
    told = {**case.assessment, "verdicts": verdicts, "findings": [finding]}
    return dataclasses.replace(case, assessment=told)


def test_nothing_is_measured_in_a_scan_whose_acquisition_is_unsuitable(window, box, scan_file):
    case = window.project(scan_file)
    window.wait(lambda: is_fresh(window))
    for sentence, why in (
        ("The scan covers only 88 % of the brain.", "the scan covers only 88 % of the brain"),
        (
            "The model was not trained on this contrast: do not interpret the reconstruction.",
            "the model was not trained on this contrast",
        ),
    ):
        red = judged(case, "red", sentence)
        window.session.swap(case, red)
        case = red
        for what in ("recipe", "scan", "model"):
            window.session.look(what)
            assert nothing_is_written(box)
            told = window.find("measure.of").text()
            assert told.endswith(f"withheld: the acquisition is unsuitable ({why}).")
            window.settle()
            assert nothing_is_written(box)
    window.explorer.panel("Project")
    window.session.projectedChanged.emit()
    assert window.find("project.finding.0").isHidden(), "it cannot be judged"
    window.session.go_to(0)  # before it was projected, the scan was as unsuitable
    assert window.find("measure.of").text() == told
    assert nothing_is_written(box)
    amber = judged(case, "amber", "Sharper.")
    window.session.swap(case, amber)
    window.session.go_to(len(window.session.history.states) - 1)
    window.session.look("recipe")
    window.settle()
    window.wait(lambda: box.measured is not None)
    assert "withheld" not in window.find("measure.of").text()


def test_a_grid_the_network_does_not_know_is_told(window, box, segmenter):
    segmenter.card["space"]["voxel_mm"] = [2.0, 2.0, 2.0]
    try:
        window.set("browse.seed", 11)
        window.wait(lambda: "segments volumes of 2 x 2 x 2 mm" in window.find("measure.of").text())
        assert window.find("measure.grey.ml").text() == "–"
    finally:
        segmenter.card["space"]["voxel_mm"] = [8.0, 8.0, 8.0]
    window.set("browse.seed", 12)
    window.wait(lambda: is_fresh(window) and window.find("measure.of").text() == "Seed 12")


def test_changes_are_counted_from_before_the_edits_else_from_before_the_mix():
    plain = Recipe()
    mix = Mix(Source("seed", 3), (0.5, 0.0))
    mixed = plain.replace(mix=mix)
    edited = mixed.replace(edits=(Edit("PC 1", 1.0),))
    assert start_of(plain) is None
    assert start_of(plain.replace(mix=Mix(Source("seed", 3), (0.0, 0.0)))) is None
    assert start_of(mixed) == plain
    assert start_of(edited) == mixed


def test_numbers_are_written_with_their_sign():
    assert [signed(v, 1) for v in (1.26, -0.5, 0.04, -0.04)] == ["+1.3", "-0.5", "0.0", "0.0"]


def test_an_edited_scan_is_measured_beside_the_scan(window, scan_file, segmenter, box):
    case = window.project(scan_file)
    window.session.change(window.recipe.replace(edits=(Edit("PC 1", 3.0),)))
    window.settle()
    window.wait(lambda: is_fresh(window) and box.measured.before is not None)
    assert ml(box.measured.measures) == pytest.approx(shown(window, segmenter))
    scan = segmenter.segment(case.aligned.volume, case.aligned.space).volumes
    assert ml(box.measured.before) == pytest.approx(scan)
    assert ml(box.measured.measures) != pytest.approx(scan)
    told = window.find("measure.of").text()
    assert told == "Edited scan sub-07: PC 1 +3 sd; changes relative to: Scan sub-07"
    window.click("project.show.model")
    window.settle()
    window.wait(lambda: is_fresh(window) and "Reconstruction" in window.find("measure.of").text())
    assert ml(box.measured.measures) == pytest.approx(shown(window, segmenter))


@pytest.fixture
def earlier(scan_file, tmp_path):
    """An earlier scan of the person in `scan_file`."""
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj)
    path = tmp_path / "sub-07_ses-1_T1w.nii.gz"
    nib.Nifti1Image((0.9 * data).astype(np.int16), image.affine).to_filename(path)
    return path


@pytest.fixture
def engine(window, monkeypatch):
    """Stands in for the engine: waits to be let go, then finds larger ventricles."""
    asked, go = [], threading.Event()
    space = window.session.generator.space

    def found(first, second, *, progress, **options):
        visits.check_pair(first, second)
        asked.append((first.path.name, second.path.name, options))
        while not go.wait(0.01):
            progress(0.2, 1.0, "Aligning")
        percent = np.zeros(space.shape, np.float32)
        percent[2, 3, 4] = 20
        one, other = (
            AlignedScan(percent, space, np.eye(4), 1.0, percent > 0, 1.0, [], scan)
            for scan in (first, second)
        )
        pair = Halfway(one, other, (percent, 2 * percent), 0.0, 0.0, 1.0)
        changes = {"ventricle_ml": Change("ventricle_ml", 20.0, 24.0, 2.0, 0.4)}
        notes = [Doubt("head-size", "ask", "Look at the borders.")]
        middle, labels = np.ones_like(percent), cast(Any, None)
        person, years = options["person"], options["years"]
        of = options["repeats"] or norms.bundled_repeats()
        return Visits(pair, middle, labels, percent, changes, person, years, of, notes)

    monkeypatch.setattr(visits, "visits_of_scans", found)
    return SimpleNamespace(asked=asked, go=go)


def test_another_patient_is_never_chosen_as_the_second_visit(
    window, scan_file, second_file, earlier
):
    window.explorer.open_scan(second_file)
    window.wait(lambda: window.session.case is not None)
    other = window.session.key
    window.explorer.open_scan(scan_file)
    window.wait(lambda: window.session.key not in ("", other))
    mine = window.session.key
    window.click("measure.visits")
    visiting = window.explorer.measuring.visiting
    dialog = visiting.dialog
    assert [dialog.other.itemText(k) for k in range(dialog.other.count())] == [second_file.name]
    assert dialog.other.currentIndex() == -1
    assert dialog.other.findChild(InWords).shown().startswith("Choose the scan"), "what is asked"
    assert not dialog.start.isEnabled()
    window.explorer.open_scan(earlier)
    window.wait(lambda: window.session.key not in ("", mine) and len(window.session.patients) == 3)
    window.session.show(mine)
    assert dialog.other.currentText() == earlier.name, "of the same name"
    assert dialog.start.isEnabled()
    dialog.hide()
    beside = window.session.patients[0].scan
    visiting.second = lambda _key: beside
    visiting._chosen.clear()
    dialog.show()
    visiting._show()
    assert dialog.other.currentText() == second_file.name, "the overlay is of the same patient"
    dialog.hide()
    visiting.second = window.explorer.projecting.second.scan_of


@pytest.mark.parametrize("how", ["killed", pytest.param("closed", marks=pytest.mark.soak)])
def test_ages_are_there_again_after_a_restart(window, scan_file, tmp_path, monkeypatch, how):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "sessions"))
    sessions, measuring = window.explorer.sessions, window.explorer.measuring.box
    window.project(scan_file)
    saved, state = [], sessions.autosave._state
    window.wait(lambda: not sessions.autosave._gather.isActive())

    def noted():
        saved.append(state())
        return saved[-1]

    monkeypatch.setattr(sessions.autosave, "_state", noted)
    window.set("measure.age", 61)
    window.choose("measure.sex", "M")
    window.wait(lambda: saved)
    assert {"of": window.session.case.sha256, "age": 61.0, "sex": "M"} in saved[-1].view["persons"]
    window.session.change(Recipe(Source("seed", 3)))
    window.set("measure.age", 34)
    mixed = Recipe(Source("seed", 3), mix=Mix(Source("seed", 4), (0.5,) * 10))
    window.session.know(window.session.person_of(mixed)[1], Person(20, "F"))
    kept = SessionFolder(tmp_path / "sessions")
    kept.write(sessions.state().stamped(closed=how == "closed"))
    path = kept.path
    if how == "killed":
        (path / OWNER).unlink()
    else:
        kept.leave()
    (found,) = [k for k in kept_sessions(tmp_path / "sessions") if k.folder == path]
    window.explorer.projecting.forget_model()
    window.begin_anew()
    assert measuring.person == Person()
    sessions.restore(found)
    window.wait(lambda: window.recipe == Recipe(Source("seed", 3)))
    assert measuring.person == Person(34)
    (case,) = window.session.patients  # the scan and its projection are one patient's
    window.session.show(case.key)
    window.wait(lambda: window.session.placed is not None)
    assert measuring.person == Person(61, "M")
    assert window.session.person_of(window.recipe)[0] == Person(61, "M"), "reports take it"


def test_what_changed_is_shown_for_its_patient_alone(
    window, scan_file, second_file, earlier, engine, tmp_path, monkeypatch
):
    monkeypatch.setattr(places, "sites_folder", lambda: tmp_path)
    norms.save_site_repeats("ward", norms.Repeats("the ward's", {"ventricle_ml": 2.0}))
    window.open_scan(scan_file)
    mine = window.session.key
    box = window.explorer.measuring.box
    box.unfold()
    window.set("measure.age", 62)
    window.choose("measure.sex", "F")
    window.click("measure.visits")
    visiting = window.explorer.measuring.visiting
    dialog, overlay = visiting.dialog, window.explorer.comparison.stage.overlay
    assert dialog.windowTitle() == "Longitudinal comparison of sub-07"
    assert not dialog.start.isEnabled(), "there is no other scan"
    dialog.openRequested.emit(second_file)
    window.wait(lambda: dialog.start.isEnabled())
    assert dialog.other.currentText() == second_file.name, "it was chosen"
    window.click("measure.visits_start")
    window.wait(lambda: "two different people, by their names" in dialog.told.text())

    dialog.openRequested.emit(earlier)
    window.wait(lambda: dialog.other.currentText() == earlier.name and dialog.start.isEnabled())
    assert "62 years, female" in dialog.person.text()
    window.set("measure.visits_years", 2)
    window.choose("measure.visits_site", "ward")
    window.click("measure.visits_start")
    window.wait(lambda: dialog.told.text() == "Aligning: 20 %")
    window.click("measure.visits_cancel")
    window.wait(lambda: dialog.told.text() == "Cancelled.")
    window.click("measure.visits_start")
    window.wait(lambda: len(engine.asked) == 2)
    window.explorer.open_scan(second_file)  # another patient meanwhile
    window.wait(lambda: dialog.windowTitle() == "Longitudinal comparison of sub-08")
    engine.go.set()
    window.wait(lambda: not visiting.job.running)
    second = window.session.key
    *names, options = engine.asked[-1]
    assert tuple(names) == (earlier.name, scan_file.name)
    assert (options["person"], options["years"]) == (Person(60.0, "F"), 2.0)
    assert options["repeats"].name == "the ward's"
    (compared,) = visiting.found.values()
    assert compared.pair.other.data.size == 0, "scans take memory"
    assert dialog.table.rowCount() == 0
    assert not dialog.maps.isEnabled()
    assert box.person == Person()

    window.session.show(mine)
    assert box.person == Person(62.0, "F")
    row = [dialog.table.item(0, column).text() for column in range(8)]
    assert row == ["Ventricles (ml)", "20.0", "24.0", "+4.00", "+18.2", "+9.1", "±2.00", "+0.40"]
    assert dialog.table.item(0, 0).font().bold()
    assert "Look at the borders" in dialog.told.text()
    assert visiting._compared is compared
    turned = SimpleNamespace(affine=-compared.pair.scan.affine)  # read again, its sides swapped
    assert not compared.pair.is_as(dataclasses.replace(visiting._pair, scan=turned))
    for name, other, was in (("measure.visits_years", 3, 2), ("measure.age", 80, 62)):
        window.set(name, other)
        assert dialog.table.rowCount() == 0, "it was of another age or time"
        assert "press Compare visits again" in dialog.told.text()
        assert not dialog.save.isEnabled()
        window.set(name, was)
        assert dialog.table.rowCount() == 1
    files = f"Baseline: {earlier.name}\nFollow-up: {scan_file.name}"
    assert window.find("measure.visits_files").text() == files
    for kind, unit in (("volume", "%"), ("intensity", "")):
        window.choose("measure.visits_map", kind)
        window.wait(lambda unit=unit: overlay.legend is not None and overlay.legend.unit == unit)
        assert np.abs(overlay.layer.data).max() > 1
    window.session.show(second)
    assert overlay.legend is None
    assert window.find("measure.visits_files").isHidden()
    window.session.show(mine)
    window.choose("measure.visits_map", "volume")
    window.wait(lambda: overlay.legend is not None)

    saved = []

    def save(found, folder):
        saved.append(found.names)
        return [folder / "page.html"]

    monkeypatch.setattr(visit_files, "save_visits", save)
    monkeypatch.setattr(dialogs, "choose_folder", lambda *_: tmp_path)
    window.click("measure.visits_save")
    window.wait(lambda: dialog.told.text() == f"Saved: {tmp_path / 'page.html'}")
    assert saved == [(earlier.name, scan_file.name)]
    dialog.hide()
    assert overlay.legend is None
    box.unfold(False)


def test_no_apparent_age_is_told_below_those_of_the_norms():
    read = Reading(4.0, 0.0, 17.0, 0.02, "site not calibrated")
    assert "Apparent age by volumes below 18, where the norms begin; female" in (
        reading_in_words(read)
    )
