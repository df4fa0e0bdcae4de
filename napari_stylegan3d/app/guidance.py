"""Help for the person at the window: the list of keys, the first steps, and the way to both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QVBoxLayout,
)

from napari_stylegan3d.app import commands, keys
from napari_stylegan3d.app.welcome import Welcome
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.settings import settings
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer

SEEN = "welcome_seen"
HELP_TITLE = _("Keys and mouse")
#: Headings of the list's left column; the others stand at the right.
LEFT = (keys.EDITING, keys.BRAINS, keys.WINDOW)


class Guidance(QObject):
    """Installs keys and help entries once there is a window, and takes them off again."""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(explorer)
        self.explorer = explorer
        self.help: QDialog | None = None
        self.welcome: Welcome | None = None
        self._actions: list[QAction] = []
        self._menu: QMenu | None = None
        explorer.ready.connect(self._greet)

    def begin(self, window: QMainWindow) -> None:
        """The window and the views are there."""
        explorer = self.explorer
        named = commands.commands_of(explorer)
        keys.install(explorer, named)
        assert explorer.views is not None
        here = {name: command for name, command in named.items() if name != "help"}
        keys.install(explorer.views, here)
        commands.remember(explorer)
        explorer.header.help.clicked.connect(self.show_help)
        self._menu = _help_menu(window)
        if self._menu is not None:
            for text, command in (
                (_("Explorer: keys and mouse"), self.show_help),
                (_("Explorer: first steps"), self.show_welcome),
            ):
                action = QAction(text, self)
                action.triggered.connect(command)
                self._menu.addAction(action)
                self._actions.append(action)

    def close(self) -> None:
        """Leave the window as it was."""
        commands.forget(self.explorer)
        for action in self._actions:
            if self._menu is not None:
                self._menu.removeAction(action)
        self._actions.clear()
        self._menu = None
        if self.help is not None:
            self.help.close()
            self.help.deleteLater()
            self.help = None
        self._end_welcome()

    def show_help(self) -> None:
        """The list of keys and gestures, beside which one can go on working."""
        if self.help is None:
            self.help = help_dialog(self.explorer)
        self.help.show()
        self.help.raise_()
        self.help.activateWindow()

    def show_welcome(self) -> None:
        """The first steps, on the picture."""
        views = self.explorer.views
        if views is None:
            return
        self._end_welcome()
        self.welcome = Welcome(views, self.explorer)
        self.welcome.finished.connect(self._end_welcome)

    def _greet(self) -> None:
        if not settings().value(SEEN, False, type=bool):
            self.show_welcome()

    def _end_welcome(self) -> None:
        if self.welcome is not None:
            settings().setValue(SEEN, True)
            welcome, self.welcome = self.welcome, None
            welcome.dismiss()


def help_dialog(parent: Explorer) -> QDialog:
    """All keys and gestures in two columns."""
    dialog = QDialog(parent)
    dialog.setObjectName("explorer.keys")
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
    close = controls.push_button(_("Close"), "explorer.keys.close", _("Close this list (Esc)."))
    close.clicked.connect(dialog.close)
    whole = QVBoxLayout(dialog)
    whole.setContentsMargins(20, 18, 20, 14)
    whole.addLayout(beside)
    whole.addLayout(controls.row(QLabel(), close, stretch=0))
    return dialog


def _help_menu(window: QMainWindow) -> QMenu | None:
    """napari's own Help menu."""
    for action in window.menuBar().actions():
        if action.text().replace("&", "") == "Help":
            return action.menu()
    return None
