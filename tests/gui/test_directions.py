"""What the panel of directions says of each."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from qtpy.QtWidgets import QLabel

AGE = {"name": "Age", "attribute": "age", "unit": "years", "mae": 7.58, "baseline": 15.3}
TOLD = "+13 years per sd, head size held fixed (r = 0.84 on 27 people not used)"


@pytest.fixture
def fitted(window):
    """The panel with an attribute before the components; the window as it was afterwards."""
    panel, generator = window.explorer.directions, window.session.generator
    found = generator.directions
    directions = dataclasses.replace(
        found,
        names=("Age", *found.names[:-1]),
        descriptions={"Age": TOLD, "PC 1": "larger egg (r = 0.93)"},
        checks=(AGE,),
    )
    panel.show_model(generator)
    panel.show_directions(SimpleNamespace(directions=directions))
    yield window
    panel.show_model(generator)
    panel.show_directions(generator)


def headings(window) -> list[str]:
    labels = window.explorer.directions.findChildren(QLabel)
    return [label.text() for label in labels if label.property("role") == "heading"]


def test_components_say_what_they_change(window):
    assert window.find("directions.meaning.0").text() == "larger egg"
    assert "larger egg (r = 0.93)" in window.find("directions.strength.0").toolTip()
    assert headings(window) == ["Principal components"]
    with pytest.raises(AssertionError):
        window.find("directions.meaning.1")


def test_attributes_come_under_their_own_heading(fitted):
    assert headings(fitted) == ["Attributes", "Principal components"]
    row = fitted.find("directions.strength.0")
    assert row.label.text() == "Age"
    tip = row.toolTip()
    assert TOLD in tip
    assert "7.58 years (always saying the mean: 15.3 years)" in tip
    text = fitted.find("directions.meaning.0").text()
    assert text == "+13 years per sd, head size held fixed"
    assert fitted.find("directions.strength.1").label.text().startswith("PC 1 · ")
    assert fitted.find("directions.meaning.1").text() == "larger egg"


def test_another_model_takes_headings_and_meanings_away(window):
    panel, generator = window.explorer.directions, window.session.generator
    panel.show_model(generator)
    assert headings(window) == []
    assert panel.waiting.isVisibleTo(panel)
    panel.show_directions(generator)
    assert headings(window) == ["Principal components"]
