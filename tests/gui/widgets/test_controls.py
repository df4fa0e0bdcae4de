"""Every control explains itself, and stands on the page that lists them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QWidget,
)
from tiny import tiny_generator

from napari_stylegan3d.directions.panel import MissingFiles

SCRIPT = Path(__file__).parents[3] / "scripts" / "site" / "controls.py"
NAME = re.compile(
    r"(explorer|measure|labels|views|history|patients|browse|project|mix|directions|compare|export)\.[a-z_.0-9N]+"
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


def test_the_page_lists_every_control(window, model):
    window.open(tiny_generator(label_dim=2))
    window.explorer.findChild(MissingFiles).show_files({"gone.safetensors": "It is not there."})
    shown, silent = controls(window), silent_controls(window)
    page = runpy.run_path(str(SCRIPT))["tables"](shown.values())
    window.open(model)
    assert silent == []
    rows = re.findall(r"^\| `([^`]+)` \| [a-z ]+ \| \S", page, flags=re.MULTILINE)
    assert len(rows) == len(set(rows)), "a control twice"
    missing = {
        name
        for name, widget in shown.items()
        if isinstance(widget, INTERACTIVE)
        and not {re.sub(r"\.\d+(?=\.|$)", ".N", n) for n in (name, name.rpartition(".")[0])}
        & {*rows}
    }
    assert missing == set()
    assert {"browse.seed", "directions.strength.N", "export.save"} <= {*rows}


def numbered(name: str) -> str:
    """N in place of the number of a row."""
    return re.sub(r"\.\d+(?=\.|$)", ".N", name)


def silent_controls(window) -> list[str]:
    """Controls without a tooltip, their own or that of the row they are in."""
    return [
        name
        for name, widget in controls(window).items()
        if isinstance(widget, INTERACTIVE)
        and not widget.toolTip()
        and not widget.parentWidget().toolTip()
    ]


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


def test_the_wheel_changes_no_value_without_the_focus(window):
    for name, widget in controls(window).items():
        if not isinstance(widget, QAbstractSlider | QAbstractSpinBox | QComboBox):
            continue
        if widget.hasFocus():
            continue
        before = value_of(widget)
        for angle in (120, -120):
            QApplication.sendEvent(widget, wheel(widget, angle))
            assert value_of(widget) == before, f"{name} changed by the wheel"
    tabs = window.explorer.tabs.tabBar()
    front = tabs.currentIndex()
    for angle in (120, -120):
        QApplication.sendEvent(tabs, wheel(tabs, angle))
        assert tabs.currentIndex() == front


def value_of(widget: QWidget) -> object:
    return widget.currentIndex() if isinstance(widget, QComboBox) else widget.value()


def wheel(widget: QWidget, angle: int) -> QWheelEvent:
    at = QPointF(widget.rect().center())
    return QWheelEvent(
        at,
        QPointF(widget.mapToGlobal(widget.rect().center())),
        QPoint(),
        QPoint(0, angle),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
