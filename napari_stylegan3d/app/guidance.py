"""Help: list of keys, first steps, and their menu entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QUrl, Signal
from qtpy.QtGui import (
    QAction,
    QColor,
    QDesktopServices,
    QImage,
    QTextBlock,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextOption,
)
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_stylegan3d.app import keys
from napari_stylegan3d.app.walkthrough import GuidedExample, StepCard, Welcome
from napari_stylegan3d.views.marks import NAMES
from napari_stylegan3d.views.stage import PRESETS
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.settings import settings
from napari_stylegan3d.widgets.theme import DARK, LIGHT

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.panel import Tabs
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.widgets.controls import Fold

#: An installed program has the pages in a folder of its own, without pictures; a checkout in docs.
FOLDERS = (Path(__file__).parents[1] / "guide", Path(__file__).parents[2] / "docs")
#: In either, where the pages on the window are.
PART = "window"
SIZE = (860, 760)
#: Room beside a picture.
MARGIN_PX = 40


def guide_pages() -> list[Path]:
    """The pages on the window."""
    return next(pages for folder in FOLDERS if (pages := sorted((folder / PART).glob("*.md"))))


def page_of(section: str) -> Path:
    """The page that has a heading with this slug, of the highest level there is."""

    def level(page: Path) -> int:
        headings = re.findall(r"^(#+) (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        return min((len(signs) for signs, text in headings if slug(text) == section), default=9)

    return min(guide_pages(), key=level)


def slug(heading: str) -> str:
    """What links to a heading are called, such as "what-an-edit-changed"."""
    kept = "".join(sign for sign in heading.lower() if sign.isalnum() or sign in " -_")
    return kept.replace(" ", "-")


class Pages(QTextBrowser):
    """Markdown pages with links among them; pictures are as wide as the page at most."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.anchorClicked.connect(self.follow)

    def open_at(self, file: Path, section: str) -> None:
        """Show a page from the heading with this slug on, or from its begin."""
        url = QUrl.fromLocalFile(str(file))
        if self.source() != url:
            self.setSource(url, QTextDocument.ResourceType.MarkdownResource)
            self._color_links()
        self.document().setTextWidth(self.viewport().width())
        block = self._heading(section)
        bar = self.verticalScrollBar()
        layout = self.document().documentLayout()
        bar.setValue(0 if block is None else round(layout.blockBoundingRect(block).top()))

    def section(self) -> str:
        """Slug of the heading at the top of the window."""
        top, found = self.verticalScrollBar().value() + self.document().documentMargin() + 1, ""
        layout, block = self.document().documentLayout(), self.document().begin()
        while block.isValid() and layout.blockBoundingRect(block).top() <= top:
            if block.blockFormat().headingLevel():
                found = slug(block.text())
            block = block.next()
        return found

    def follow(self, link: QUrl) -> None:
        """Go to a section or another page; the rest opens in the browser."""
        target = self.source().resolved(link)
        file = Path(target.toLocalFile())
        if target.isLocalFile() and file.suffix == ".md" and file.is_file():
            self.open_at(file, target.fragment())
        elif not target.isLocalFile():
            QDesktopServices.openUrl(target)

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Load a picture no wider than the page; one that is not there is left out."""
        if kind != QTextDocument.ResourceType.ImageResource.value:
            return super().loadResource(kind, name)
        image = QImage(self.source().resolved(name).toLocalFile())
        if image.isNull():
            return QImage(1, 1, QImage.Format.Format_ARGB32)
        wide = min(image.width(), self.viewport().width() - MARGIN_PX)
        return image.scaledToWidth(wide, Qt.TransformationMode.SmoothTransformation)

    def _color_links(self) -> None:
        """Qt's own blue cannot be read on a dark page."""
        self.ensurePolished()
        dark = self.palette().text().color().lightness() > 127
        link = QTextCharFormat()
        link.setForeground(QColor(DARK.accent_hover if dark else LIGHT.accent))
        places: list[tuple[int, int]] = []
        block = self.document().begin()
        while block.isValid():
            part = block.begin()
            while not part.atEnd():
                fragment = part.fragment()
                if fragment.charFormat().isAnchor():
                    places.append((fragment.position(), fragment.length()))
                part += 1
            block = block.next()
        cursor = QTextCursor(self.document())
        for start, length in places:
            cursor.setPosition(start)
            cursor.setPosition(start + length, QTextCursor.MoveMode.KeepAnchor)
            cursor.mergeCharFormat(link)

    def _heading(self, section: str) -> QTextBlock | None:
        block = self.document().begin()
        while block.isValid():
            if block.blockFormat().headingLevel() and slug(block.text()) == section:
                return block
            block = block.next()
        return None


class GuideWindow(QDialog):
    """The guide beside the window, non-modal."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("explorer.guide_window")
        self.setWindowTitle("User guide")
        self.pages = controls.named(
            Pages(), "explorer.guide_pages", "The user guide; links lead to its other pages."
        )
        close = controls.push_button("Close", "explorer.guide_close", "Close (Esc).")
        close.clicked.connect(self.close)
        column = QVBoxLayout(self)
        column.addWidget(self.pages)
        column.addLayout(controls.row(QWidget(), close, stretch=0))
        self.resize(*(controls.scaled(length) for length in SIZE))

    def open_at(self, section: str) -> None:
        """Show a section, such as "browse"."""
        self.show()
        self.raise_()
        self.pages.open_at(page_of(section), section)


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
    tabs : Tabs
        Targets of the first steps and keys.
    button : QAbstractButton
        Opens the list of keys.
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
        button: QAbstractButton,
        paste: Callable[[], object],
        folds: Sequence[Fold] = (),
    ) -> None:
        super().__init__(context.dock)
        self.context, self.tabs, self.paste = context, tabs, paste
        self.viewer = context.comparison.stage.viewer
        self.views: FourViews | None = None
        self.commands: keys.Commands = {}
        self.help: QDialog | None = None
        self.card: StepCard | None = None
        self.guide: GuideWindow | None = None
        self._actions: list[QAction] = []
        self._menu: QMenu | None = None
        button.clicked.connect(self.show_help)
        tabs.guide.clicked.connect(self.show_guide)
        for fold in folds:
            fold.guideRequested.connect(self.open_guide)
        context.session.recipeChanged.connect(self.done)

    def begin(self, window: QMainWindow, views: FourViews) -> None:
        """Install in window and views."""
        self.views = views
        dock = self.context.dock
        named = keys.commands_of(
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
        keys.remember(self.viewer, named)
        self._menu = _help_menu(window)
        if self._menu is not None:
            for text, command in (
                ("Explorer: keys and mouse", self.show_help),
                ("Explorer: first steps", self.show_welcome),
                ("Explorer: guided example, 3 minutes", self.show_case),
                ("Explorer: user guide", self.show_guide),
            ):
                action = QAction(text, self)
                action.triggered.connect(command)
                self._menu.addAction(action)
                self._actions.append(action)

    def close(self) -> None:
        """Restore the window."""
        keys.forget(self.viewer)
        for action in self._actions:
            if self._menu is not None:
                self._menu.removeAction(action)
        self._actions.clear()
        self._menu = None
        for dialog in (self.help, self.guide):
            if dialog is not None:
                dialog.close()
                dialog.deleteLater()
        self.help = self.guide = None
        self._end_card()
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
        self._end_card()
        self.card = card = Welcome(self.views, self.tabs)
        card.case.clicked.connect(self.show_case)
        self.done.connect(card.finished)
        card.finished.connect(self._end_card)

    def show_case(self) -> None:
        """Begin the guided example."""
        if self.views is None:
            return
        self._end_card()
        self.card = GuidedExample(self.context, self.tabs, self.views)
        self.card.finished.connect(self._end_card)

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

    def _end_card(self) -> None:
        if self.card is None:
            return
        card, self.card = self.card, None
        if isinstance(card, Welcome):
            settings().setValue(SEEN, True)
            self.done.disconnect(card.finished)
        had_focus = self._has_focus(card)
        card.dismiss()
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
            key = controls.label(row.keys, "figure")
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
