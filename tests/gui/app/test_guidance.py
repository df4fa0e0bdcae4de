"""Keys, help, first steps, and what the window remembers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from qtpy.QtCore import QPoint, QRect, Qt, QTimer, QUrl
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QLabel, QMenu, QWidget

from napari_stylegan3d.app import guidance as keys
from napari_stylegan3d.app import walkthrough
from napari_stylegan3d.app.explorer import Memory
from napari_stylegan3d.app.guidance import SEEN
from napari_stylegan3d.app.walkthrough import FIRST_STEPS
from napari_stylegan3d.project import panel as project_panel
from napari_stylegan3d.widgets import dialogs
from napari_stylegan3d.widgets.settings import last_folder, note_folder, settings
from napari_stylegan3d.widgets.theme import is_outlined
from stylegan3d.recipe.recipe import Recipe

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True

pytestmark = pytest.mark.usefixtures("segmenter")


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


def test_no_key_is_given_twice_nor_is_one_of_naparis(window):
    given = [one.strip() for row in keys.TABLE if row.command for one in row.keys.split(" or ")]
    assert len(given + list(keys.TAB_KEYS)) == len({*given, *keys.TAB_KEYS})
    menus = window.viewer.window._qt_window.menuBar().actions()
    actions = [action for menu in menus for action in menu.menu().actions()]
    taken = {shortcut.toString() for action in actions for shortcut in action.shortcuts()}
    assert "Alt+S" in taken, "napari's keys are not found"
    taken |= {QKeySequence.mnemonic(menu.text()).toString() for menu in menus}
    assert taken.isdisjoint({*given, *keys.TAB_KEYS})


def test_keys_work_in_the_panels(window):
    for name, seed in (("Alt+Right", 1), ("Ctrl+Z", 0), ("Ctrl+Shift+Z", 1), ("Alt+Left", 0)):
        press(window, name)
        assert window.recipe.source.seed == seed, name
    press(window, "Alt+2")
    assert window.explorer.tabs.currentIndex() == 1
    press(window, "Ctrl+D")
    assert [item.recipe for item in window.session.favourites.items] == [window.recipe]
    window.session.favourites.remove(0)


def test_commands_of_the_palette_work_the_open_explorer(window, notifications):
    viewer, explorer, session = window.viewer, window.explorer, window.session
    keys.undo(object())
    assert "Open the explorer first" in notifications[0]
    keys.next_brain(viewer)
    assert session.recipe.source.seed == 1
    keys.undo(viewer)
    assert session.recipe.source.seed == 0
    keys.redo(viewer)
    keys.previous_brain(viewer)
    assert session.recipe.source.seed == 0
    keys.keep_favourite(viewer)
    assert session.favourites.items[0].recipe == session.recipe
    session.favourites.restore({})
    keys.compare(viewer)
    assert explorer.tabs.tabText(explorer.tabs.currentIndex()) == "Compare"
    explorer.comparing.unpin()
    keys.show_help(viewer)
    assert explorer.guidance.help.isVisible()
    explorer.guidance.help.close()


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
    assert guidance.card is None
    assert settings().value(SEEN, type=bool)
    guidance.greet()
    assert guidance.card is None


@pytest.mark.parametrize("how", ["welcome.skip", "browse.next"])
def test_the_first_steps_go_away_by_skip_or_by_anything_done(window, how):
    window.explorer.guidance.show_welcome()
    box = window.views.findChild(QWidget, "welcome")
    assert box.isVisible()
    window.click(how)
    assert window.explorer.guidance.card is None
    assert window.views.findChild(QWidget, "welcome") is None


def test_the_first_steps_leave_the_window_usable_and_lie_within_it(window):
    window.explorer.guidance.show_welcome()
    box = window.explorer.guidance.card
    assert window.views.rect().contains(box.geometry())
    window.explorer.panel("Directions")
    assert window.explorer.guidance.card is box
    window.click("welcome.skip")


def test_the_first_steps_are_about_the_tab_in_front(window):
    window.explorer.guidance.show_welcome()
    box = window.explorer.guidance.card
    for tab, number in (("Directions", 2), ("Browse", 0), ("Project", 1)):
        window.explorer.panel(tab)
        assert box.number == number
        assert box.heading.text() == FIRST_STEPS[number].heading
    window.explorer.panel("Compare")
    assert window.explorer.guidance.card is None
    assert window.explorer.tabs.currentIndex() == 4
    window.explorer.panel("Directions")
    assert window.views.findChild(QWidget, "welcome") is None


def test_the_first_steps_cover_no_plane_and_show_all_their_text(window, request):
    main = window.viewer.window._qt_window
    request.addfinalizer(partial(main.resize, main.size()))
    main.resize(1280, 800)
    QTest.qWait(30)
    window.explorer.guidance.show_welcome()
    box = window.explorer.guidance.card
    for _ in FIRST_STEPS:
        QTest.qWait(30)
        place = QRect(box.mapTo(window.views, QPoint(0, 0)), box.size())
        for name in ("Axial", "Sagittal"):
            canvas = window.views.view(name).canvas
            taken = QRect(canvas.mapTo(window.views, QPoint(0, 0)), canvas.size())
            assert not taken.intersects(place), name
        assert box.text.heightForWidth(box.text.width()) <= box.text.height()
        window.click("welcome.next")


class Keyboard:
    """Keys that are typed into the window, wherever the focus is."""

    def __init__(self, window):
        self.window, self.main = window, window.viewer.window._qt_window
        self.main.activateWindow()
        window.wait(lambda: QApplication.activeWindow() is self.main)

    def type(self, *names: str) -> None:
        for name in names:
            one = QKeySequence(name)[0]
            QTest.keyClick(self.main.windowHandle(), one.key(), one.keyboardModifiers())

    def tab_to(self, name: str, key: str = "Tab", most: int = 25) -> None:
        """Press Tab until a control has the focus, which is then outlined."""
        for _ in range(most):
            self.type(key)
            now = QApplication.focusWidget()
            if now.objectName() == name:
                break
        assert now.objectName() == name, f"{name} is more than {most} steps away"
        assert is_outlined(now)

    def choose_first(self) -> None:
        """Open the menu of the button with the focus, and choose its first entry."""
        QTimer.singleShot(50, lambda: self.type("Down", "Return"))
        self.type("Space")


def test_the_worked_case_is_done_by_keys_alone_and_each_step_is_noticed(
    window, ageing, scan_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(project_panel, "sample_path", lambda _key: scan_file)
    window.find("export.folder").setText(str(tmp_path))
    guidance, keyboard = window.explorer.guidance, Keyboard(window)
    tab_to, type_ = keyboard.tab_to, keyboard.type
    guidance.show_welcome()
    tab_to("welcome.case", "Shift+Tab")
    type_("Space")
    case = guidance.card
    assert isinstance(case, walkthrough.GuidedExample)

    def open_sample():
        tab_to("project.sample")
        keyboard.choose_first()

    def draft():
        tab_to("project.budget")
        type_("D")

    def project():
        tab_to("project.start")
        type_("Space")

    def choose_a():
        type_("Alt+5")
        tab_to("compare.choose")
        keyboard.choose_first()

    def draw_curtain():
        tab_to("compare.mode.off")
        type_("Right", "Right")
        case.look()
        assert case.step.target == "compare.mode.curtain", "the line was not moved"
        tab_to("compare.curtain.slider")
        type_(*["Right"] * 5)

    def end_comparison():
        tab_to("compare.mode.curtain", "Shift+Tab")
        type_("Left", "Left")

    def age():
        type_("Alt+4")
        tab_to("directions.years.slider")
        type_(*["Right"] * 9)
        case.look()
        assert case.step.target == "directions.years", "it is not moved far enough"
        type_("Right")

    def report():
        type_("Alt+6")
        tab_to("export.report")
        type_("Space")

    deeds = (
        *(open_sample, draft, project, lambda: type_("Ctrl+3")),
        *(choose_a, draw_curtain, end_comparison, lambda: type_("Ctrl+2")),
        *(age, lambda: type_("Alt+7"), report),
    )
    for number, (step, deed) in enumerate(zip(walkthrough.STEPS, deeds, strict=True)):
        case.look()
        assert case.step == step, "it waits, and leaves none out"
        frame, control = case.mark, case.control()
        seen = control.visibleRegion().boundingRect()
        place = QRect(control.mapTo(frame.parentWidget(), seen.topLeft()), seen.size())
        assert frame.isVisible()
        assert frame.geometry().contains(place), step.target
        deed()
        window.wait(lambda number=number: case.number > number)
    assert case.step is None
    assert list(tmp_path.glob("*.pdf"))
    type_("Alt+7", "Alt+1")
    assert not window.explorer.measuring.box.open
    tab_to("case.skip", "Shift+Tab")
    type_("Space")
    assert guidance.card is None
    type_("Alt+2")
    assert window.explorer.tabs.currentIndex() == 1, "keys work when the card is gone"


def contrast(one, other) -> float:
    """Of two colours, as in WCAG 2: 1 to 21."""

    def luminance(color) -> float:
        parts = (color.redF(), color.greenF(), color.blueF())
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_panel_opens_its_page_of_the_guide(window):
    guidance = window.explorer.guidance
    for panel in window.explorer.panels:
        window.explorer.panel(panel.title)
        window.click("explorer.guide")
        assert guidance.guide.pages.section() == panel.title.lower()
    for name in ("measure", "labels"):
        window.click(f"{name}.guide")
        assert guidance.guide.pages.section() == name
    pages = guidance.guide.pages
    window.explorer.panel("Project")
    window.click("explorer.guide")
    link = pages.document().find("How scans are prepared").charFormat()
    assert link.isAnchor()
    assert contrast(link.foreground().color(), pages.palette().base().color()) > 3, "read easily"
    pages.follow(QUrl("../howto/norms.md#how-good-the-labels-are"))
    assert pages.source().fileName() == "norms.md"
    assert pages.section() == "how-good-the-labels-are"
    guidance.guide.close()


def test_napari_help_menu_leads_to_both(window):
    menu = next(
        action.menu()
        for action in window.viewer.window._qt_window.menuBar().actions()
        if isinstance(action.menu(), QMenu) and action.text().replace("&", "") == "Help"
    )
    entries = {action.text(): action for action in menu.actions()}
    entries["Explorer: first steps"].trigger()
    assert window.explorer.guidance.card is not None
    window.click("welcome.skip")
    entries["Explorer: keys and mouse"].trigger()
    assert window.explorer.guidance.help.isVisible()
    window.explorer.guidance.help.close()


def test_the_window_is_found_as_it_was_left(window, tmp_path):
    explorer, views = window.explorer, window.views
    window.find("export.folder").setText(str(tmp_path))
    views.looks.change(convention="neurological")
    explorer.measuring.box.unfold()
    explorer.memory.save()
    explorer.measuring.box.unfold(False)
    window.find("export.folder").setText(str(Path.home()))
    views.looks.change(convention="radiological")
    again = Memory(explorer, explorer.export.folder, explorer.measuring.box)
    again.begin(explorer.window(), views.looks)
    assert window.find("export.folder").text() == str(tmp_path)
    assert views.looks.look.convention == "neurological"
    assert explorer.measuring.box.open
    explorer.measuring.box.unfold(False)
    views.looks.change(convention="radiological")
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

    monkeypatch.setattr(dialogs.QtWidgets.QFileDialog, "getOpenFileName", answer)
    assert dialogs.open_file(None, "x", "*") == tmp_path / "a.json"
    dialogs.open_file(None, "x", "*")
    assert asked[-1] == str(tmp_path)
    note_folder(tmp_path / "gone" / "x")
    assert last_folder() == ""


def test_the_panels_can_be_reached_by_tab(window):
    """From control to control of every tab, and back to the first."""
    window.explorer.activateWindow()
    for panel in window.explorer.panels:
        window.explorer.panel(panel.title)
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
