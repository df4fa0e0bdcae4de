"""Ageing in years: the slider moves Age, says what to expect, and colours what is not known."""

from functools import partial

import pytest
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_stylegan3d.widgets.controls import above
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.scans.person import Person

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True


def test_years_are_an_edit_along_age(window, ageing):
    assert ageing.isVisible()
    window.set("directions.age", 50)
    window.find("directions.years").change_to(15)
    window.settle()
    (edit,) = window.session.recipe.edits
    assert (edit.direction, edit.strength) == ("Age", pytest.approx(1.5))
    assert window.find("directions.strength.0").value() == pytest.approx(1.5)
    told = window.find("directions.age_text").text()
    assert "Ventricles at 65 years: 28 ml" in told
    assert "extrapolated" not in told
    window.find("directions.strength.0").change_to(2.5)
    window.settle()
    assert ageing.years.value() == pytest.approx(25)
    assert "75 years is extrapolated" in window.find("directions.age_text").text()
    panel = window.explorer.directions
    half = window.session.generator.num_layers // 2
    panel.set_layers("Age", (0, half))  # moves the brain by half as much
    window.settle()
    # The slider has whole years.
    assert ageing.years.value() == pytest.approx(12.5, abs=0.5)
    window.find("directions.years").change_to(10)
    window.settle()
    assert window.session.recipe.edits[0].strength == pytest.approx(2)
    panel.set_layers("Age", (0, half), own=False)
    window.find("directions.years.reset").click()
    window.settle()
    assert window.session.recipe.edits == ()


def test_ages_that_are_not_known_are_orange(window, ageing):
    window.paint()
    window.set("directions.age", 50)
    assert ageing.unknown.known == (-30, 20)
    left, right = ageing.unknown.spans()
    width = ageing.unknown.width()
    assert left[0] == 0
    assert 0 < left[1] < width / 4  # -40 to -30 of -40 to 40
    assert width * 0.6 < right[0] < width * 0.9
    assert right[1] == width
    shot = ageing.years.slider.grab().toImage()
    ageing.unknown.hide()
    plain = ageing.years.slider.grab().toImage()
    ageing.unknown.show()
    y = shot.height() // 4
    colour, before = (image.pixelColor(right[0] + 4, y) for image in (shot, plain))
    assert colour != before
    assert colour.red() > colour.green() > colour.blue(), "orange"
    assert shot.pixel(width // 2 + 20, y) == plain.pixel(width // 2 + 20, y)


def test_no_age_is_guessed_beside_that_of_measure_and_one_entered_is_of_this_brain_alone(
    window, ageing
):
    window.session.change(Recipe(Source("seed", 76)))
    window.settle()
    age = window.find("directions.age")
    age.setValue(65)
    assert ageing.unknown.known == (-45, 5)
    window.find("directions.years").change_to(-10)
    window.settle()
    assert age.value() == 65
    window.session.change(Recipe(Source("seed", 77)))
    window.settle()
    assert age.text() == "unknown"
    window.find("directions.years").change_to(30)
    window.settle()
    assert ageing.unknown.spans() == []
    assert window.find("directions.age_text").isHidden()


def test_the_age_typed_in_measure_is_the_age_now_and_the_other_way_round(window, ageing):
    measuring, now = window.explorer.measuring.box, window.find("directions.age")
    window.choose("measure.sex", "F")
    window.set("measure.age", 62.5)
    assert now.value() == 62.5
    assert ageing.unknown.known == (-42.5, 7.5)
    now.setValue(30)
    assert measuring.person == Person(30, "F")
    window.find("directions.years").change_to(10)
    window.settle()
    assert "Ventricles at 40 years" in window.find("directions.age_text").text()
    assert measuring.person == Person(30, "F"), "it is of the brain before the edit"
    assert window.session.person_of(window.recipe)[0] == Person(30, "F"), "reports take it"
    window.click("directions.age_forget")
    assert now.text() == "unknown"
    assert measuring.person == Person(None, "F")


def test_the_age_of_a_patient_is_one_everywhere_and_a_differing_header_is_remarked(
    window, ageing, scan_file, second_file, monkeypatch
):
    beside = scan_file.with_name("sub-07_T1w.json")
    beside.write_text('{"PatientAge": "042Y", "PatientSex": "F"}')
    try:
        window.explorer.open_scan(scan_file)
        window.wait(lambda: window.session.case is not None)
        window.explorer.measuring.box.unfold()
        mine, says = window.session.key, window.find("measure.header")
        assert window.explorer.measuring.box.person == Person(42, "F")
        assert says.isHidden()
        window.set("measure.age", 47.5)
        assert says.text() == "The scan's files say 42 years."
        window.choose("measure.sex", "M")
        assert says.text() == "The scan's files say 42 years, female."
        window.explorer.open_scan(second_file)
        window.wait(lambda: window.session.key not in ("", mine))
        assert window.explorer.measuring.box.person == Person()
        assert says.isHidden()
        window.session.show(mine)
        assert window.explorer.measuring.box.person == Person(47.5, "M")
        window.project(scan_file)
        assert window.find("directions.age").value() == 47.5
        saved = []
        monkeypatch.setattr(window.explorer.exporting.job, "start", lambda *a: saved.append(a))
        window.explorer.exporting._save_report()
        assert saved[0][-1]["person"] == Person(47.5, "M")
    finally:
        beside.unlink()
        window.explorer.measuring.box.unfold(False)
        window.session.show("")


def test_a_model_that_knows_no_ages_has_no_such_slider(window):
    assert not window.explorer.directions.ageing.isVisible()


def test_in_a_low_window_one_thing_scrolls_at_most(window, ageing, request):
    main = window.viewer.window._qt_window
    request.addfinalizer(partial(main.resize, main.size()))
    measure = window.explorer.measuring.box
    request.addfinalizer(partial(measure.unfold, False))
    main.resize(1366, 768)
    measure.unfold()
    QTest.qWait(50)
    panel = window.explorer.directions
    assert panel.list.verticalScrollBar().isVisible()
    assert not above(panel, QScrollArea).verticalScrollBar().isVisible()
