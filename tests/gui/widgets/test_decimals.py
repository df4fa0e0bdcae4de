"""A number means the same typed with a comma or a point, in any language of the system."""

import ast
from pathlib import Path

import pytest
from qtpy.QtCore import QLocale
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import QApplication, QToolTip

from napari_stylegan3d.browse.panel import Millimetres
from napari_stylegan3d.widgets.controls import TEXT_MARGIN_PX, DecimalBox

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def box(qtbot) -> DecimalBox:
    box = DecimalBox()
    qtbot.addWidget(box)
    box.setRange(-10, 10)
    box.setDecimals(2)
    box.setSuffix(" mm.")
    box.setPrefix("v, ")
    return box


@pytest.mark.parametrize("language", ["C", "de_DE", "tr_TR", "en_US", "fr_CH"])
@pytest.mark.parametrize(
    ("text", "value"), [("0.7", 0.7), ("0,7", 0.7), ("-2.25", -2.25), ("-2,25", -2.25), ("5", 5.0)]
)
def test_both_signs_are_taken(qtbot, box, language: str, text: str, value: float) -> None:
    box.setLocale(QLocale(language))
    box.show()
    box.selectAll()
    qtbot.keyClicks(box.lineEdit(), text)
    box.interpretText()
    assert box.value() == value
    sign = QLocale(language).decimalPoint()
    assert box.text() == f"v, {value:.2f} mm.".replace(
        f"{value:.2f}", f"{value:.2f}".replace(".", sign)
    )


@pytest.mark.parametrize("language", ["C", "de_DE"])
@pytest.mark.parametrize("text", ["0.7", "0,7"])
def test_both_signs_can_be_pasted(qtbot, box, language: str, text: str) -> None:
    box.setLocale(QLocale(language))
    box.selectAll()
    QApplication.clipboard().setText(text)
    box.lineEdit().paste()
    box.interpretText()
    assert box.value() == 0.7


def test_the_longest_number_fits_in_bold(qtbot, box):
    """As numbers beyond what a direction was fitted for are shown."""
    bold = QFont(box.font())
    bold.setBold(True)
    box.show()
    box.resize(box.minimumSizeHint())
    room = box.lineEdit().width() - 2 * TEXT_MARGIN_PX
    assert QFontMetrics(bold).horizontalAdvance("v, -10.00 mm.") <= room


def test_a_number_beyond_the_range_is_told_and_not_changed_in_silence(qtbot, box, monkeypatch):
    box.setRange(18, 79)
    told = []
    monkeypatch.setattr(QToolTip, "showText", lambda _at, text, _box: told.append(text))
    box.show()
    box.selectAll()
    qtbot.keyClicks(box.lineEdit(), "80")
    box.interpretText()
    assert box.value() == 79
    assert told == ["80 is outside the range: v, 18.00 mm. to v, 79.00 mm.."]


@pytest.mark.parametrize("text", ["1.2.3", "1.234,5", "two"])
def test_what_is_no_number_changes_nothing(qtbot, box, text: str) -> None:
    box.setLocale(QLocale("de_DE"))
    box.setValue(3)
    box.lineEdit().setText(text)
    box.interpretText()
    assert box.value() == 3


def test_voxel_sizes_take_both_signs(qtbot) -> None:
    box = Millimetres()
    qtbot.addWidget(box)
    box.setRange(0.1, 10)
    for language in ("C", "de_DE"):
        for text in ("1.5", "1,5"):
            box.setLocale(QLocale(language))
            box.setValue(1)
            box.selectAll()
            qtbot.keyClicks(box.lineEdit(), text)
            box.interpretText()
            assert box.value() == 1.5


def test_no_other_box_is_used() -> None:
    """Qt's own reads 0,7 as 7 where it expects a point."""
    made = [
        f"{file.name}:{node.lineno}"
        for file in (ROOT / "napari_stylegan3d").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "QDoubleSpinBox"
    ]
    assert made == []
