"""Every control explains itself, has a name for screen readers, and is reached with Tab."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
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
#: What is reached depends on all that was ever opened in it.
OWN_WINDOW = True
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


def walked(window, tab, most=300):
    """What the Tab key leads to in turn, once round."""
    explorer, main = window.explorer, window.viewer.window._qt_window
    explorer.panel(tab)
    explorer.header.setFocus()
    seen = []
    for _ in range(most):
        explorer.focusNextPrevChild(True)
        if main.focusWidget() in seen:
            break
        seen.append(main.focusWidget())
    return seen


def test_the_tab_key_goes_round_the_whole_window(window):
    seen = walked(window, "Browse")
    names = [widget.objectName() for widget in seen]
    for name in ("browse.seed", "measure.fold", "views.tools", "views.menu", "history.fold"):
        assert name in names
    canvases = {view.canvas.canvas.native for view in window.views.views}
    ours = [w for w in seen if window.explorer.isAncestorOf(w) or window.views.isAncestorOf(w)]
    assert canvases <= set(ours)
    assert {view for view in canvases if "view" not in view.accessibleName()} == set()
    unnamed = [w for w in ours if not w.accessibleName() and not getattr(w, "text", str)()]
    assert unnamed == []


def test_the_window_fits_a_small_screen_after_it_was_wide(window):
    main, looks = window.viewer.window._qt_window, window.explorer.projecting.looks
    main.resize(1600, 800)
    looks.setVisible(True)
    looks.segments["filled"].setVisible(True)
    QTest.qWait(50)
    assert "Superior" in " ".join(label.text() for label in window.views.readout.position)
    main.resize(1024, 700)
    QTest.qWait(50)
    assert main.width() == 1024
    looks.refresh()
    main.resize(1280, 800)


def test_what_was_made_later_has_its_place_in_the_round(window):
    """Sliders of a model come where they are seen, not after all that was there before them."""
    names = [widget.objectName() for widget in walked(window, "Mix")]
    first = next(i for i, name in enumerate(names) if name.startswith("mix.group."))
    assert names.index("mix.preset") < first < names.index("mix.swap")


def test_the_control_that_tab_leads_to_is_outlined_until_a_click(window):
    main = window.viewer.window._qt_window
    handle, seed = main.windowHandle(), window.find("browse.seed")
    ring = window.explorer.viewing.focus_ring
    ring._watch(handle)

    def outlined(widget):
        QApplication.instance().focusChanged.emit(None, widget)
        return [ring.parent() for ring in main.findChildren(QWidget, "focus") if ring.isVisible()]

    window.explorer.panel("Browse")
    assert outlined(seed) == []
    QTest.keyClick(handle, Qt.Key.Key_Tab)
    for name in ("browse.seed", "browse.truncation.slider", "views.menu", "history.list"):
        assert outlined(window.find(name)) == [window.find(name)]
    slider = window.find("browse.truncation.slider")
    bare = slider.grab().toImage()
    outlined(slider)
    ringed = slider.grab().toImage()
    width, height = bare.width(), bare.height()
    points = [(x, y) for x in range(width) for y in range(height)]
    changed = [x for x, y in points if bare.pixelColor(x, y) != ringed.pixelColor(x, y)]
    assert 0 < max(changed) - min(changed) <= height + 2, "at its handle, which stays to be seen"
    assert outlined(main) == [], "what is napari's is left as it is"
    outlined(seed)
    QTest.mouseClick(handle, Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert outlined(seed) == []


def test_keys_of_commands_work_while_a_text_is_typed(window, tmp_path):
    main = window.explorer.window()
    handle, name = main.windowHandle(), window.find("export.name")
    window.explorer.panel("Export")
    main.activateWindow()
    name.setFocus()
    QTest.qWait(50)
    window.find("export.folder").setText(str(tmp_path))
    QTest.keyClick(handle, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    window.wait(lambda: list(tmp_path.glob("*.nii.gz")))
    window.wait(lambda: not window.explorer.exporting.job.running)
