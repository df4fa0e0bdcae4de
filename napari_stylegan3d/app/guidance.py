"""Help: list of keys, first steps, and their menu entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QVBoxLayout,
    QWidget,
)

from napari_stylegan3d.app import commands, keys
from napari_stylegan3d.app.guide import GuideWindow
from napari_stylegan3d.app.welcome import Welcome
from napari_stylegan3d.app.worked_case import WorkedCase
from napari_stylegan3d.views.levels import PRESETS
from napari_stylegan3d.views.marks import NAMES
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.settings import settings

if TYPE_CHECKING:
    from napari_stylegan3d.app.header import Header
    from napari_stylegan3d.app.tabs import Tabs
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.widgets.fold import Fold

SEEN = "welcome_seen"
HELP_TITLE = "Keys and mouse"
#: Headings of the left column; the others are on the right.
LEFT = (keys.EDITING, keys.BRAINS, keys.SCAN, keys.WINDOW)


class Guidance(QObject):
    """Installs keys and help entries in the window, and removes them again.

    Parameters
    ----------
    context : Context
        The window's services.
    tabs, header : Tabs, Header
        Targets of the first steps and keys.
    paste : callable
        Action of the paste key.
    folds : sequence of Fold
        Panels below the tabs that have a page of the guide.
    """

    done = Signal()
    """Something was done which ends the first steps."""

    def __init__(
        self,
        context: Context,
        tabs: Tabs,
        header: Header,
        paste: Callable[[], object],
        folds: Sequence[Fold] = (),
    ) -> None:
        super().__init__(context.dock)
        self.context, self.tabs, self.paste = context, tabs, paste
        self.viewer = context.comparison.stage.viewer
        self.views: FourViews | None = None
        self.commands: commands.Commands = {}
        self.help: QDialog | None = None
        self.welcome: Welcome | None = None
        self.case: WorkedCase | None = None
        self.guide: GuideWindow | None = None
        self._actions: list[QAction] = []
        self._menu: QMenu | None = None
        header.help.clicked.connect(self.show_help)
        tabs.guide.clicked.connect(self.show_guide)
        for fold in folds:
            fold.guideRequested.connect(self.open_guide)
        context.session.recipeChanged.connect(self.done)

    def begin(self, window: QMainWindow, views: FourViews) -> None:
        """Install in window and views."""
        self.views = views
        dock = self.context.dock
        named = commands.commands_of(
            self.context.session, self.viewer, self.tabs, lambda: (dock, views)
        )
        named |= {"paste": self.paste, "help": self.show_help, "welcome": self.show_welcome}
        named["case"] = self.show_case
        keys.install(dock, named)
        named |= {
            f"preset_{name}": partial(views.readout.presetChosen.emit, name) for name in PRESETS
        }
        named |= {f"tool_{kind}": partial(views.marks.take, kind) for kind in NAMES}
        named["delete_mark"] = views.marks.delete
        here = {name: command for name, command in named.items() if name != "help"}
        keys.install(views, here)
        self.commands = named
        commands.remember(self.viewer, named)
        self._menu = _help_menu(window)
        if self._menu is not None:
            for text, command in (
                ("Explorer: keys and mouse", self.show_help),
                ("Explorer: first steps", self.show_welcome),
                ("Explorer: worked case, 3 minutes", self.show_case),
                ("Explorer: user guide", self.show_guide),
            ):
                action = QAction(text, self)
                action.triggered.connect(command)
                self._menu.addAction(action)
                self._actions.append(action)

    def close(self) -> None:
        """Restore the window."""
        commands.forget(self.viewer)
        for action in self._actions:
            if self._menu is not None:
                self._menu.removeAction(action)
        self._actions.clear()
        self._menu = None
        if self.help is not None:
            self.help.close()
            self.help.deleteLater()
            self.help = None
        if self.guide is not None:
            self.guide.close()
            self.guide.deleteLater()
            self.guide = None
        self._end_welcome()
        self._end_case()
        self.views = None

    def show_help(self) -> None:
        """Show the list of keys and gestures, non-modal."""
        if self.help is None:
            self.help = help_dialog(self.context.dock)
        self.help.show()
        self.help.raise_()
        self.help.activateWindow()

    def show_welcome(self) -> None:
        """Show the first steps on the picture."""
        if self.views is None:
            return
        self._end_welcome()
        self._end_case()
        self.welcome = Welcome(self.views, self.tabs)
        self.welcome.caseWanted.connect(self.show_case)
        self.done.connect(self.welcome.finished)
        self.welcome.finished.connect(self._end_welcome)

    def show_case(self) -> None:
        """Begin the worked case."""
        if self.views is None:
            return
        self._end_welcome()
        self._end_case()
        self.case = WorkedCase(self.context, self.tabs, self.views)
        self.case.finished.connect(self._end_case)

    def show_guide(self) -> None:
        """Open the guide at the section of the panel in front."""
        self.open_guide(self.tabs.panels[self.tabs.currentIndex()].key.lower())

    def open_guide(self, section: str) -> None:
        """Open the guide at a section, such as "browse"."""
        if self.guide is None:
            self.guide = GuideWindow(self.context.dock)
        self.guide.open_at(section)

    def greet(self) -> None:
        """Show the first steps unless seen before."""
        if not settings().value(SEEN, False, type=bool):
            self.show_welcome()
        elif not self._has_focus(self.context.dock, self.views):
            self._focus_tabs()

    @staticmethod
    def _has_focus(*roots: QWidget | None) -> bool:
        now = QApplication.focusWidget()
        return now is not None and any(
            root is not None and root.isAncestorOf(now) for root in roots
        )

    def _focus_tabs(self) -> None:
        """Keys work in the panels and views only while something in them has the focus."""
        self.tabs.tabBar().setFocus(Qt.FocusReason.OtherFocusReason)

    def _end_case(self) -> None:
        if self.case is not None:
            case, self.case = self.case, None
            had_focus = self._has_focus(case.card)
            case.close()
            if had_focus:
                self._focus_tabs()

    def _end_welcome(self) -> None:
        if self.welcome is not None:
            settings().setValue(SEEN, True)
            welcome, self.welcome = self.welcome, None
            self.done.disconnect(welcome.finished)
            had_focus = self._has_focus(welcome)
            welcome.dismiss()
            if had_focus:
                self._focus_tabs()


def help_dialog(parent: QWidget) -> QDialog:
    """All keys and gestures in two columns."""
    dialog = controls.named(QDialog(parent), "explorer.keys")
    dialog.setWindowTitle(HELP_TITLE)
    columns = (QVBoxLayout(), QVBoxLayout())
    for column in columns:
        column.setSpacing(6)
    for name, rows in keys.groups():
        column = columns[0 if name in LEFT else 1]
        column.addWidget(controls.heading(name))
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(5)
        grid.setContentsMargins(0, 0, 0, 14)
        for number, row in enumerate(rows):
            key = QLabel(row.keys)
            key.setProperty("role", "figure")
            grid.addWidget(key, number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(QLabel(row.does), number, 1)
        grid.setColumnStretch(1, 1)
        column.addLayout(grid)
    beside = QHBoxLayout()
    beside.setSpacing(36)
    for column in columns:
        column.addStretch(1)
        beside.addLayout(column)
    close = controls.push_button("Close", "explorer.keys.close", "Close this list (Esc).")
    close.clicked.connect(dialog.close)
    controls.stack(
        beside,
        controls.row(QLabel(), close, stretch=0),
        on=dialog,
        spacing=-1,
        margins=(20, 18, 20, 14),
    )
    return dialog


def _help_menu(window: QMainWindow) -> QMenu | None:
    """napari's own Help menu."""
    for action in window.menuBar().actions():
        if action.text().replace("&", "") == "Help":
            return action.menu()
    return None
