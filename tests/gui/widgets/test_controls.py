"""docs/controls.md lists what the window has, and every control explains itself."""

from __future__ import annotations

import re
from pathlib import Path

from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QWidget,
)

from napari_stylegan3d.directions.missing import MissingFiles
from stylegan3d.model.tiny import tiny_generator
from stylegan3d.segmentation.classes import VOLUMES

DOCUMENT = Path(__file__).parents[3] / "docs" / "controls.md"
NAME = re.compile(
    r"(explorer|measure|labels|views|history|browse|project|mix|directions|compare|export)\.[a-z_.0-9N]+"
)
INTERACTIVE = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)


def controls(window) -> dict[str, QWidget]:
    roots = (window.explorer, window.explorer.views)
    return {
        widget.objectName(): widget
        for root in roots
        for widget in root.findChildren(QWidget)
        if NAME.fullmatch(widget.objectName())
    }


def test_the_document_lists_exactly_the_windows_controls(window, model):
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if "| `" in line]
    listed = {re.search(r"`([^`]+)`", row)[1] for row in rows}
    names = set(controls(window))
    window.open(tiny_generator(label_dim=2))
    window.explorer.findChild(MissingFiles).show_files({"gone.safetensors": "It is not there."})
    names |= set(controls(window))
    silent = silent_controls(window)
    window.open(model)
    assert silent == []
    parts = {f"{name}{part}" for name in names for part in (".slider", ".value", ".reset")}
    rows_of_parts = {name for name in names if f"{name}.slider" in names}
    parts = {name for name in names if name.rsplit(".", 1)[0] in rows_of_parts and name in parts}
    parts -= {name for name in names if name.endswith(".more")}
    shown = {re.sub(r"\.\d+$", ".N", name) for name in names - parts}
    shown = {re.sub(r"^measure\.([a-z_]+)\.", kind_of_measure, name) for name in shown}
    # Those of a second image come with the first one that is opened: test_second.py.
    assert shown == {name for name in listed if not name.startswith("second.")}


def kind_of_measure(found: re.Match[str]) -> str:
    """Rows of tissues and of regions are listed once each."""
    if found[1] == "visits":
        return found[0]
    return "measure.TISSUE." if found[1] in VOLUMES else "measure.REGION."


def silent_controls(window) -> list[str]:
    """Controls without a tooltip, their own or that of the row they are in."""
    return [
        name
        for name, widget in controls(window).items()
        if isinstance(widget, INTERACTIVE)
        and not widget.toolTip()
        and not widget.parentWidget().toolTip()
    ]


def test_every_control_has_a_tooltip(window):
    assert silent_controls(window) == []


def test_every_slider_has_a_reset_that_works(window):
    window.set("browse.truncation", 1.0)
    window.set("mix.layer.0", 30)
    window.set("directions.strength.1", 2.5)
    for name, default in (
        ("browse.truncation", 0.7),
        ("mix.layer.0", 0),
        ("directions.strength.1", 0),
    ):
        window.click(f"{name}.reset")
        assert window.find(name).value() == default
