"""Ageing in years: the slider moves Age, says what to expect, and colours what is not known."""

import pytest

from stylegan3d.recipe.recipe import Recipe, Source


def test_years_are_an_edit_along_age(window, ageing):
    assert ageing.isVisible()
    assert window.find("directions.age").value() == 50
    assert "±\u00a09\u00a0years" in window.find("directions.age_how").text()
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
    window.find("directions.years.reset").click()
    window.settle()
    assert window.session.recipe.edits == ()


def test_ages_that_are_not_known_are_orange(window, ageing):
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


def test_an_age_that_was_entered_is_that_of_this_brain_alone(window, ageing):
    age = window.find("directions.age")
    age.setValue(65)
    assert window.find("directions.age_how").text() == "as entered"
    assert ageing.unknown.known == (-45, 5)
    window.find("directions.years").change_to(-10)
    window.settle()
    assert age.value() == 65
    window.session.change(Recipe(Source("seed", 77)))
    window.settle()
    assert age.value() == 50
    assert "apparent age" in window.find("directions.age_how").text()


def test_a_model_that_knows_no_ages_has_no_such_slider(window):
    assert not window.explorer.directions.ageing.isVisible()
