"""Every control explains itself, has a name for screen readers, and is reached with Tab."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)

INTERACTIVE = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
)
TABS = ("Browse", "Project", "Mix", "Directions", "Compare", "Export")


def interactive(root: QWidget) -> list[QWidget]:
    """Controls of ours; Qt's own parts of them are left out, which have no object name."""
    return [
        widget
        for widget in (root, *root.findChildren(QWidget))
        if isinstance(widget, INTERACTIVE)
        and not isinstance(widget, QScrollBar)
        and "." in widget.objectName()
    ]


def lacks(widget: QWidget) -> str:
    """What a person who cannot see, or has no mouse, would miss."""
    name = widget.accessibleName()
    if not name and isinstance(widget, QAbstractButton):
        name = widget.text()
    missing = []
    if not (widget.toolTip() or widget.parentWidget().toolTip()):
        missing.append("tooltip")
    if not any(sign.isalpha() for sign in name):
        missing.append("name")
    if not widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        missing.append("Tab")
    return ", ".join(missing)


def told(root: QWidget) -> dict[str, str]:
    found = {widget.objectName(): lacks(widget) for widget in interactive(root)}
    assert found
    return {name: missing for name, missing in found.items() if missing}


@pytest.mark.parametrize("tab", TABS)
def test_a_panels_controls_are_reachable(window, tab):
    assert told(window.explorer.panel(tab)) == {}


def test_what_is_around_the_panels_is_reachable(window):
    explorer = window.explorer
    for root in (explorer.header, explorer.history, explorer.views, explorer.relabelling.box):
        assert told(root) == {}


@pytest.mark.parametrize(
    ("tab", "button", "name"),
    [
        ("Browse", "browse.wall", "browse.wall_window"),
        ("Mix", "mix.open_matrix", "mix.matrix_window"),
        ("Directions", "directions.new", "directions.new_window"),
    ],
)
def test_the_windows_beside_are_reachable(window, tab, button, name):
    window.explorer.panel(tab)
    window.click(button)
    beside = window.find(name)
    assert told(beside) == {}
    beside.hide()


def test_the_tab_key_goes_round_the_whole_window(window):
    explorer, main = window.explorer, window.viewer.window._qt_window
    explorer.panel("Browse")
    explorer.header.setFocus()
    seen = set()
    for _ in range(300):
        explorer.focusNextPrevChild(True)
        seen.add(main.focusWidget().objectName())
    for name in ("browse.seed", "measure.fold", "views.tools", "views.menu", "history.fold"):
        assert name in seen
