"""Keys, help, first steps, and what the window remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtCore import QPoint, QRect, Qt, QUrl
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QLabel, QMenu, QWidget

from napari_stylegan3d.app import keys, worked_case
from napari_stylegan3d.app.guidance import SEEN
from napari_stylegan3d.app.memory import Memory
from napari_stylegan3d.app.welcome import STEPS
from napari_stylegan3d.widgets import dialogs
from napari_stylegan3d.widgets.settings import last_folder, note_folder, settings
from stylegan3d.recipe.recipe import Recipe


def press(window, name: str) -> None:
    """A shortcut of the panels; without a window manager no window is active, so Qt is not asked
    which widget has the focus.
    """
    wanted = QKeySequence(name)
    (shortcut,) = (s for s in window.explorer.findChildren(QShortcut) if s.key() == wanted)
    shortcut.activated.emit()
    QTest.qWait(20)


def test_every_command_in_the_table_exists(window):
    named = set(window.explorer.guidance.commands)
    assert {row.command for row in keys.TABLE if row.command} <= named


def test_no_key_is_given_twice():
    given = [one.strip() for row in keys.TABLE if row.command for one in row.keys.split(" or ")]
    assert len(given + list(keys.TAB_KEYS)) == len({*given, *keys.TAB_KEYS})


def test_keys_work_in_the_panels(window):
    for name, seed in (("Alt+Right", 1), ("Ctrl+Z", 0), ("Ctrl+Shift+Z", 1), ("Alt+Left", 0)):
        press(window, name)
        assert window.recipe.source.seed == seed, name
    press(window, "Alt+2")
    assert window.explorer.tabs.currentIndex() == 1
    press(window, "Ctrl+D")
    assert [item.recipe for item in window.session.favourites.items] == [window.recipe]
    window.session.favourites.remove(0)


def test_help_lists_the_whole_table(window):
    press(window, "F1")
    dialog = window.explorer.guidance.help
    assert dialog.isVisible()
    said = {label.text() for label in dialog.findChildren(QLabel)}
    for row in keys.TABLE:
        assert {row.keys, row.does} <= said
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
    window.click("explorer.help")
    assert dialog.isVisible()
    dialog.findChild(QAbstractButton, "explorer.keys.close").click()
    assert not dialog.isVisible()


def test_the_first_steps_lead_through_the_tabs_and_do_not_come_again(window):
    settings().setValue(SEEN, False)
    guidance = window.explorer.guidance
    guidance.greet()
    tabs = window.explorer.tabs
    seen = []
    for _ in range(3):
        seen.append(tabs.tabText(tabs.currentIndex()))
        window.click("welcome.next")
    assert seen == ["Browse", "Project", "Directions"]
    assert guidance.welcome is None
    assert settings().value(SEEN, type=bool)
    guidance.greet()
    assert guidance.welcome is None


@pytest.mark.parametrize("how", ["welcome.skip", "browse.next"])
def test_the_first_steps_go_away_by_skip_or_by_anything_done(window, how):
    window.explorer.guidance.show_welcome()
    box = window.views.findChild(QWidget, "welcome")
    assert box.isVisible()
    window.click(how)
    assert window.explorer.guidance.welcome is None
    assert window.views.findChild(QWidget, "welcome") is None


def test_the_first_steps_leave_the_window_usable_and_lie_within_it(window):
    window.explorer.guidance.show_welcome()
    box = window.explorer.guidance.welcome
    assert window.views.rect().contains(box.geometry())
    window.explorer.panel("Directions")
    assert window.explorer.guidance.welcome is box
    window.click("welcome.skip")


def test_the_first_steps_are_about_the_tab_in_front(window):
    window.explorer.guidance.show_welcome()
    box = window.explorer.guidance.welcome
    for tab, number in (("Directions", 2), ("Browse", 0), ("Project", 1)):
        window.explorer.panel(tab)
        assert box.number == number
        assert box.heading.text() == STEPS[number][1]
    window.explorer.panel("Compare")
    assert window.explorer.guidance.welcome is None
    assert window.explorer.tabs.currentIndex() == 4
    window.explorer.panel("Directions")
    assert window.views.findChild(QWidget, "welcome") is None


def test_the_first_steps_cover_no_plane_and_show_all_their_text(window):
    window.explorer.guidance.show_welcome()
    box = window.explorer.guidance.welcome
    for _ in STEPS:
        QTest.qWait(30)
        place = QRect(box.mapTo(window.views, QPoint(0, 0)), box.size())
        for name in ("Axial", "Sagittal"):
            canvas = window.views.view(name).canvas
            taken = QRect(canvas.mapTo(window.views, QPoint(0, 0)), canvas.size())
            assert not taken.intersects(place), name
        assert box.text.heightForWidth(box.text.width()) <= box.text.height()
        window.click("welcome.next")


def test_the_worked_case_waits_for_each_step_and_points_to_its_control(window, scan_file):
    guidance = window.explorer.guidance
    guidance.show_welcome()
    window.click("welcome.case")
    case = guidance.case
    assert guidance.welcome is None
    for step in worked_case.STEPS:
        window.find(step.target)  # each control is there
    QTest.qWait(400)
    assert case.number == 0, "it waits"
    assert case.mark.isVisible()
    window.open_scan(scan_file)
    window.wait(lambda: case.number == 1)
    window.choose("project.budget", "draft")
    window.wait(lambda: case.number == 2)
    case.look()
    start, frame = window.find("project.start"), case.mark
    corner = start.mapTo(frame.parentWidget(), QPoint(0, 0))
    assert frame.geometry().contains(QRect(corner, start.size()))
    while case.step is not None and case.step.target != "measure.fold":
        window.click("case.skip")
    window.click("measure.fold")
    case.look()
    assert case.step.target == "measure.fold", "there is no volume yet"
    window.click("case.skip")
    assert case.step.target == "export.report"
    window.click("measure.fold")
    window.click("case.leave")
    assert guidance.case is None
    assert window.views.findChild(QWidget, "case") is None


def test_every_panel_opens_its_page_of_the_guide(window):
    guidance = window.explorer.guidance
    for panel in window.explorer.panels:
        window.explorer.panel(panel.key)
        window.click("explorer.guide")
        assert guidance.guide.pages.section() == panel.key.lower()
    for name in ("measure", "labels"):
        window.click(f"{name}.guide")
        assert guidance.guide.pages.section() == name
    pages = guidance.guide.pages
    pages.follow(QUrl("segmentation.md#in-the-window"))
    assert pages.source().fileName() == "segmentation.md"
    assert pages.section() == "in-the-window"
    guidance.guide.close()


def test_napari_help_menu_leads_to_both(window):
    menu = next(
        action.menu()
        for action in window.viewer.window._qt_window.menuBar().actions()
        if isinstance(action.menu(), QMenu) and action.text().replace("&", "") == "Help"
    )
    entries = {action.text(): action for action in menu.actions()}
    entries["Explorer: first steps"].trigger()
    assert window.explorer.guidance.welcome is not None
    window.click("welcome.skip")
    entries["Explorer: keys and mouse"].trigger()
    assert window.explorer.guidance.help.isVisible()
    window.explorer.guidance.help.close()


def test_the_window_is_found_as_it_was_left(window, tmp_path):
    explorer, views = window.explorer, window.views
    window.find("export.folder").setText(str(tmp_path))
    views.set_convention("neurological")
    explorer.measuring.box.unfold()
    explorer.memory.close()
    explorer.measuring.box.unfold(False)
    window.find("export.folder").setText(str(Path.home()))
    views.set_convention("radiological")
    again = Memory(explorer, explorer.export.folder, explorer.measuring.box)
    again.begin(explorer.window(), views.looks)
    assert window.find("export.folder").text() == str(tmp_path)
    assert views.convention == "neurological"
    assert explorer.measuring.box.open
    explorer.measuring.box.unfold(False)
    views.set_convention("radiological")
    explorer.memory.begin(explorer.window(), views.looks)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"layout": "upside down"}'])
def test_settings_that_make_no_sense_are_passed_over(window, text):
    settings().setValue("look", text)
    settings().setValue("dock_width", 100_000)
    explorer, looks = window.explorer, window.views.looks
    memory = Memory(explorer, explorer.export.folder, explorer.measuring.box)
    memory.begin(explorer.window(), looks)
    assert looks.look.layout == "four"


def test_a_question_for_a_file_begins_where_the_last_ended(monkeypatch, tmp_path, qapp):
    asked = []

    def answer(parent, title, start, kinds):
        asked.append(start)
        return str(tmp_path / "a.json"), ""

    monkeypatch.setattr(dialogs.QFileDialog, "getOpenFileName", answer)
    assert dialogs.open_file(None, "x", "*") == tmp_path / "a.json"
    dialogs.open_file(None, "x", "*")
    assert asked[-1] == str(tmp_path)
    note_folder(tmp_path / "gone" / "x")
    assert last_folder() == ""


def test_the_panels_can_be_reached_by_tab(window):
    """From control to control of every tab, and back to the first."""
    window.explorer.activateWindow()
    for panel in window.explorer.panels:
        window.explorer.panel(panel.key)
        QTest.qWait(20)
        wanted = {
            widget.objectName()
            for widget in panel.findChildren(QWidget)
            if widget.isVisible()
            and widget.isEnabled()
            and isinstance(widget, QAbstractButton)
            and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
            and widget.objectName()
        }
        reached = set()
        widget = panel
        for _ in range(3000):
            widget = widget.nextInFocusChain()
            reached.add(widget.objectName())
            if widget is panel:
                break
        assert wanted <= reached, panel.title
    assert window.recipe == Recipe()
