"""Help: list of keys, first steps, and their menu entries."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import napari
from napari.layers import Labels
from napari.utils.notifications import show_info
from qtpy import QtGui, QtWidgets
from qtpy.QtCore import QObject, Qt, QUrl, Signal

from napari_stylegan3d.app.walkthrough import GuidedExample, StepCard, Welcome
from napari_stylegan3d.compare.controller import HELD, HELD_IN_VIEWS
from napari_stylegan3d.core.panel import Context, Tabs
from napari_stylegan3d.core.session import Session
from napari_stylegan3d.project.looks import SEGMENTS
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.views.layers import KEYS, WAYS
from napari_stylegan3d.views.marks import NAMES
from napari_stylegan3d.views.stage import PRESETS
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import Fold
from napari_stylegan3d.widgets.settings import settings
from napari_stylegan3d.widgets.theme import DARK, LIGHT

Commands = Mapping[str, Callable[[], object]]
#: Commands of open explorers, by the identity of their viewer model.
_OPEN: dict[int, Commands] = {}


def commands_of(
    session: Session,
    tabs: Tabs,
    roots: Callable[[], Sequence[QtWidgets.QWidget]],
) -> dict[str, Callable[[], object]]:
    """Commands of an explorer, by the names in `TABLE`.

    Parameters
    ----------
    session, tabs : Session, Tabs
        Of the explorer.
    roots : callable
        Widgets whose children include the controls.
    """
    press = partial(_press, roots)

    def save() -> None:
        tabs.bring("Export")
        press("export.save")

    named: dict[str, Callable[[], object]] = {
        "undo": partial(press, "explorer.undo"),
        "redo": partial(press, "explorer.redo"),
        "next": partial(press, "browse.next"),
        "previous": partial(press, "browse.previous"),
        "dice": partial(press, "browse.dice"),
        "favourite": session.add_favourite,
        "save": save,
        "reset_views": partial(press, "views.reset"),
        "turn_second": partial(_press_next, roots, [f"second.show.{key}" for key, *_ in WAYS]),
    }
    for key, *_rest in SEGMENTS:
        named[f"show_{key}"] = partial(press, f"project.show.{key}")
    for number in range(tabs.count()):
        named[f"tab_{number}"] = partial(_bring, tabs, number)
    for fold in ("measure", "labels"):
        named[fold] = partial(press, f"{fold}.fold", focus=True)
    return named


def _bring(tabs: Tabs, number: int) -> None:
    """Bring a tab to the front, from which Tab leads to its controls."""
    tabs.setCurrentIndex(number)
    tabs.tabBar().setFocus(Qt.FocusReason.ShortcutFocusReason)


def painted_on(viewer: napari.viewer.ViewerModel) -> Labels | None:
    """The labels for which a brush is in hand."""
    active = viewer.layers.selection.active
    return active if isinstance(active, Labels) and str(active.mode) != "pan_zoom" else None


def _command(name: str) -> Callable[[napari.viewer.Viewer], None]:
    """What an entry of the manifest runs: a command of the explorer that is open in a viewer."""

    def run(viewer: napari.viewer.Viewer) -> None:
        named = _OPEN.get(id(getattr(viewer, "__wrapped__", viewer)))
        if named is None:
            show_info("Open the explorer first: Plugins > StyleGAN 3D > Explorer.")
            return
        named[name]()

    return run


undo, redo, save, reset_views = map(_command, ("undo", "redo", "save", "reset_views"))
next_brain, previous_brain, random_brain = map(_command, ("next", "previous", "dice"))
show_help, show_welcome, show_case = map(_command, ("help", "welcome", "case"))
keep_favourite, compare = _command("favourite"), _command("tab_4")


def _press_next(roots: Callable[[], Sequence[QtWidgets.QWidget]], names: Sequence[str]) -> None:
    """Press the button after the one that is down, in a row where one always is."""
    every = [button for root in roots() for button in root.findChildren(QtWidgets.QAbstractButton)]
    down = {button.objectName() for button in every if button.isChecked()}
    for name, following in zip(names, (*names[1:], names[0]), strict=True):
        if name in down:
            _press(roots, following)
            return


def _press(
    roots: Callable[[], Sequence[QtWidgets.QWidget]], name: str, *, focus: bool = False
) -> None:
    """Trigger a control, if it is enabled; with `focus`, Tab goes on from it."""
    found = (root.findChild(QtWidgets.QAbstractButton, name) for root in roots())
    button = next((button for button in found if button is not None), None)
    if button is not None and button.isEnabled():
        button.click()
        if focus:
            button.setFocus(Qt.FocusReason.ShortcutFocusReason)


@dataclass(frozen=True)
class Row:
    """One key or gesture.

    Attributes
    ----------
    group : str
        Heading.
    keys : str
        Such as "Ctrl+Z"; several for one command are separated by " or ".
    does : str
        Description.
    command : str
        Name of the command; empty if handled elsewhere.
    everywhere : bool
        Whether it applies to the whole window, whatever has the focus.
    """

    group: str
    keys: str
    does: str
    command: str = ""
    everywhere: bool = False


def _rows() -> Iterator[Row]:
    """Of `texts.toml`; those of the pictures of a patient stand before others of the scan."""
    named = {"held": HELD, "held_in_views": HELD_IN_VIEWS, "turn": KEYS}
    for group, keys, *rest in controls.texts("keys"):
        if keys == "{turn}":
            for key, text, _tip, held in SEGMENTS:
                yield from [Row(group, held, f"show {text}", f"show_{key}")] if held else []
        yield Row(group, keys.format(**named), *rest)


TABLE = tuple(_rows())
#: Keys of the tabs by position.
TAB_KEYS = tuple(f"Alt+{number}" for number in range(1, 7))


def install(
    parent: QtWidgets.QWidget, commands: Mapping[str, Callable[[], object]]
) -> list[QtGui.QShortcut]:
    """Install the table's shortcuts on a widget and its children.

    Parameters
    ----------
    parent : QWidget
        Owns them.
    commands : mapping of str to callable
        Callbacks by command name; other rows are skipped.
    """
    made = []
    for row in TABLE:
        if row.command not in commands:
            continue
        for keys in row.keys.split(" or "):
            shortcut = _shortcut(parent, keys, commands[row.command], row.everywhere)
            shortcut.setObjectName(f"key.{row.command}")
            made.append(shortcut)
    for number, keys in enumerate(TAB_KEYS):
        tab = commands.get(f"tab_{number}")
        if tab is not None:
            made.append(_shortcut(parent, keys, tab, False))
    return made


def _shortcut(
    parent: QtWidgets.QWidget, keys: str, command: Callable[[], object], everywhere: bool
) -> QtGui.QShortcut:
    shortcut = QtGui.QShortcut(QtGui.QKeySequence(keys), parent)
    within = Qt.ShortcutContext.WidgetWithChildrenShortcut
    shortcut.setContext(Qt.ShortcutContext.WindowShortcut if everywhere else within)
    shortcut.activated.connect(command)
    return shortcut


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


class Pages(QtWidgets.QTextBrowser):
    """Markdown pages with links among them; pictures are as wide as the page at most."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QtGui.QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.anchorClicked.connect(self.follow)

    def open_at(self, file: Path, section: str) -> None:
        """Show a page from the heading with this slug on, or from its begin."""
        url = QUrl.fromLocalFile(str(file))
        if self.source() != url:
            self.setSource(url, QtGui.QTextDocument.ResourceType.MarkdownResource)
            self._color_links()
        self.document().setTextWidth(self.viewport().width())
        block = self._heading(section)
        bar = self.verticalScrollBar()
        layout = self.document().documentLayout()
        bar.setValue(0 if block is None else round(layout.blockBoundingRect(block).top()))

    def section(self) -> str:
        """Slug of the heading at the top of the window."""
        top = self.verticalScrollBar().value() + self.document().documentMargin() + 1
        layout = self.document().documentLayout()
        above = takewhile(lambda b: layout.blockBoundingRect(b).top() <= top, self._blocks())
        headings = [slug(b.text()) for b in above if b.blockFormat().headingLevel()]
        return headings[-1] if headings else ""

    def follow(self, link: QUrl) -> None:
        """Go to a section or another page; the rest opens in the browser."""
        target = self.source().resolved(link)
        file = Path(target.toLocalFile())
        if target.isLocalFile() and file.suffix == ".md" and file.is_file():
            self.open_at(file, target.fragment())
        elif not target.isLocalFile():
            QtGui.QDesktopServices.openUrl(target)

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Load a picture no wider than the page; one that is not there is left out."""
        if kind != QtGui.QTextDocument.ResourceType.ImageResource.value:
            return super().loadResource(kind, name)
        image = QtGui.QImage(self.source().resolved(name).toLocalFile())
        if image.isNull():
            return QtGui.QImage(1, 1, QtGui.QImage.Format.Format_ARGB32)
        wide = min(image.width(), self.viewport().width() - MARGIN_PX)
        return image.scaledToWidth(wide, Qt.TransformationMode.SmoothTransformation)

    def _color_links(self) -> None:
        """Qt's own blue cannot be read on a dark page."""
        self.ensurePolished()
        dark = self.palette().text().color().lightness() > 127
        link = QtGui.QTextCharFormat()
        link.setForeground(QtGui.QColor(DARK.accent_hover if dark else LIGHT.accent))
        places: list[tuple[int, int]] = []
        for block in self._blocks():
            part = block.begin()
            while not part.atEnd():
                fragment = part.fragment()
                if fragment.charFormat().isAnchor():
                    places.append((fragment.position(), fragment.length()))
                part += 1
        cursor = QtGui.QTextCursor(self.document())
        for start, length in places:
            cursor.setPosition(start)
            cursor.setPosition(start + length, QtGui.QTextCursor.MoveMode.KeepAnchor)
            cursor.mergeCharFormat(link)

    def _blocks(self) -> Iterator[QtGui.QTextBlock]:
        block = self.document().begin()
        while block.isValid():
            yield block
            block = block.next()

    def _heading(self, section: str) -> QtGui.QTextBlock | None:
        headings = (block for block in self._blocks() if block.blockFormat().headingLevel())
        return next((block for block in headings if slug(block.text()) == section), None)


class GuideWindow(QtWidgets.QDialog):
    """The guide beside the window, non-modal."""

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("explorer.guide_window")
        self.setWindowTitle("User guide")
        self.pages = controls.named(Pages(), "explorer.guide_pages")
        close = controls.push_button("explorer.guide_close")
        close.clicked.connect(self.close)
        controls.dialog(self.pages, controls.row(QtWidgets.QWidget(), close, stretch=0), on=self)
        self.resize(*(controls.scaled(length) for length in SIZE))

    def open_at(self, section: str) -> None:
        """Show a section, such as "browse"."""
        self.show()
        self.raise_()
        self.pages.open_at(page_of(section), section)


SEEN = "welcome_seen"
HELP_TITLE = "Keys and mouse"
#: Headings of the left column; the others are on the right.
LEFT = ("Changes", "Brains", "Scan", "Window")


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

    #: Something was done which ends the first steps.
    done = Signal()

    def __init__(
        self,
        context: Context,
        tabs: Tabs,
        button: QtWidgets.QAbstractButton,
        paste: Callable[[], object],
        folds: Sequence[Fold] = (),
    ) -> None:
        super().__init__(context.dock)
        self.context, self.tabs, self.paste = context, tabs, paste
        self.viewer = context.comparison.stage.viewer
        self.views: FourViews | None = None
        self.commands: Commands = {}
        self.help: QtWidgets.QDialog | None = None
        self.card: StepCard | None = None
        self.guide: GuideWindow | None = None
        button.clicked.connect(self.show_help)
        tabs.guide.clicked.connect(self.show_guide)
        for fold in folds:
            fold.guideRequested.connect(self.open_guide)
        context.session.recipeChanged.connect(self.done)

    def begin(self, window: QtWidgets.QMainWindow, views: FourViews) -> None:
        """Install in window and views."""
        self.views = views
        dock = self.context.dock
        named = commands_of(self.context.session, self.tabs, lambda: (dock, views))
        named |= {"paste": self.paste, "help": self.show_help, "welcome": self.show_welcome}
        named["case"] = self.show_case
        install(dock, named)
        named |= {
            f"preset_{name}": partial(views.readout.presetChosen.emit, name) for name in PRESETS
        }
        named |= {f"tool_{kind}": partial(views.marks.take, kind) for kind in NAMES}
        named["delete_mark"] = views.marks.delete
        install(views, {name: command for name, command in named.items() if name != "help"})
        self.commands = named
        links = self.context.links
        links.callback(setattr, self, "views", None)
        links.callback(self._end_card)
        _OPEN[id(self.viewer)] = named
        links.callback(_OPEN.pop, id(self.viewer), None)
        entries = window.menuBar().actions()
        menu = next((e.menu() for e in entries if e.text().replace("&", "") == "Help"), None)
        if menu is not None:
            for text, command in (
                ("Explorer: keys and mouse", self.show_help),
                ("Explorer: first steps", self.show_welcome),
                ("Explorer: guided example, 3 minutes", self.show_case),
                ("Explorer: user guide", self.show_guide),
            ):
                action = QtGui.QAction(text, self)
                action.triggered.connect(command)
                menu.addAction(action)
                links.callback(menu.removeAction, action)

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
        self.open_guide(self.tabs.panels[self.tabs.currentIndex()].title.lower())

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
    def _has_focus(*roots: QtWidgets.QWidget | None) -> bool:
        now = QtWidgets.QApplication.focusWidget()
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


def help_dialog(parent: QtWidgets.QWidget) -> QtWidgets.QDialog:
    """All keys and gestures in two columns."""
    dialog = controls.named(QtWidgets.QDialog(parent), "explorer.keys")
    dialog.setWindowTitle(HELP_TITLE)
    columns = controls.stack(), controls.stack()
    for name, rows in groupby(TABLE, lambda row: row.group):
        column = columns[0 if name in LEFT else 1]
        column.addWidget(controls.heading(name))
        grid = controls.grid(across=18, down=5, wide=(1,))
        grid.setContentsMargins(0, 0, 0, 14)
        for number, row in enumerate(rows):
            grid.addWidget(controls.label(row.keys, "figure"), number, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(QtWidgets.QLabel(row.does), number, 1)
        column.addLayout(grid)
    for column in columns:
        column.addStretch(1)
    close = controls.push_button("explorer.keys.close")
    close.clicked.connect(dialog.close)
    controls.stack(
        controls.row(*columns, spacing=36),
        controls.row(QtWidgets.QLabel(), close, stretch=0),
        on=dialog,
        spacing=-1,
        margins=(20, 18, 20, 14),
    )
    return dialog
