"""The explorer: a dock with six tabs, and four views in the centre of the window.

Panels read and replace the session's recipe; this module connects them with rendering and views.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from napari.qt import QtViewer
from qtpy import QtGui, QtWidgets
from qtpy.QtCore import QEvent, QObject, QRectF, QSize, Qt, QTimer, Signal

from napari_stylegan3d.app.guidance import Guidance, painted_on
from napari_stylegan3d.app.models import ModelController
from napari_stylegan3d.app.qt_binding import refuse_broken_binding
from napari_stylegan3d.app.sessions import SessionController
from napari_stylegan3d.app.viewing import ViewsController
from napari_stylegan3d.browse.panel import BrowseController, BrowsePanel
from napari_stylegan3d.compare.controller import CompareController
from napari_stylegan3d.compare.panel import ComparePanel
from napari_stylegan3d.core.jobs import latent_of
from napari_stylegan3d.core.panel import Context, ExplorerPanel, Tabs
from napari_stylegan3d.core.rendering import DisplayController, Rendering, SharpenController
from napari_stylegan3d.core.scans import Dropped, Parking, files_in, what_are, what_is
from napari_stylegan3d.core.session import Session, report_done, report_error
from napari_stylegan3d.core.thumbnails import Thumbnails
from napari_stylegan3d.core.worker import LongJob, end_work
from napari_stylegan3d.directions.controller import DirectionsController
from napari_stylegan3d.directions.panel import DirectionsPanel
from napari_stylegan3d.export.panel import ExportController, ExportPanel
from napari_stylegan3d.history.strip import HistoryStrip, row_height
from napari_stylegan3d.labels.controller import LabelsBox, LabelsController
from napari_stylegan3d.measure.controller import MeasureController
from napari_stylegan3d.measure.panel import MeasureBox
from napari_stylegan3d.mix.panel import MixController, MixPanel
from napari_stylegan3d.project.controller import ProjectController
from napari_stylegan3d.project.panel import ProjectPanel
from napari_stylegan3d.views.look import LookModel, ViewLook
from napari_stylegan3d.views.stage import Stage
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Fold, Links, painting
from napari_stylegan3d.widgets.elided import ElidedLabel
from napari_stylegan3d.widgets.settings import LOOK, MEASURE, SAVE_FOLDER, WIDTH, settings
from napari_stylegan3d.widgets.theme import DARK, LIGHT, put_on
from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.geometry.space import BRIGHTEST
from stylegan3d.pages.shortening import told_apart
from stylegan3d.recipe.description import describe_recipe, from_text, read_recipe, to_link
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.provenance import NAME_LENGTH, brain_of, ground_of
from stylegan3d.session.snapshot import with_files_of
from stylegan3d.session.state import NOBODY
from stylegan3d.session.workspace import StateChange
from stylegan3d.storage.about import ORIGIN_NAMES

if TYPE_CHECKING:
    import napari

    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.geometry.space import Frame
    from stylegan3d.model.generator import Generator


LIST_WIDTH, FOLDED = 320, 54
KEY, STATUS, BAD = (Qt.ItemDataRole.UserRole + k for k in range(3))
MARGIN = 4
NO_IDENTITY = "No patient details: NIfTI, MGH and Analyze files store none."


class PatientDelegate(QtWidgets.QStyledItemDelegate):
    """The name, shortened in its middle, and beside it what is done and what runs."""

    def sizeHint(self, option: QtWidgets.QStyleOptionViewItem, _index: Any) -> QSize:
        """One line."""
        return QSize(0, QtGui.QFontMetrics(option.font).height() + MARGIN)

    def paint(
        self, painter: QtGui.QPainter | None, option: QtWidgets.QStyleOptionViewItem, index: Any
    ) -> None:
        """Draw one patient."""
        if painter is None:
            return
        style, rect = option.widget.style(), option.rect.adjusted(6, 1, -4, -1)
        style.drawPrimitive(
            QtWidgets.QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget
        )
        chosen = bool(option.state & QtWidgets.QStyle.StateFlag.State_Selected)
        group = (
            QtGui.QPalette.ColorRole.HighlightedText if chosen else QtGui.QPalette.ColorRole.Text
        )
        metrics, told = QtGui.QFontMetrics(option.font), index.data(STATUS)
        told = metrics.elidedText(told, Qt.TextElideMode.ElideRight, round(0.6 * rect.width()))
        left = rect.width() - metrics.horizontalAdvance(told) - 2 * MARGIN
        painter.save()
        painter.setPen(option.palette.color(group))
        name = metrics.elidedText(index.data(), Qt.TextElideMode.ElideMiddle, left)
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, name)
        if index.data(BAD):
            dark = option.palette.text().color().lightness() > 127
            painter.setPen(QtGui.QColor((DARK if dark else LIGHT).error))
        elif not chosen:
            painter.setOpacity(0.7)
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, told)
        painter.restore()


class PatientList(QtWidgets.QWidget):
    """The synthetic brains and every open patient; a click shows one.

    Parameters
    ----------
    session : Session
    task_of : callable
        What runs or waits for the patient with a key, in words; empty for nothing.
    """

    def __init__(self, session: Session, task_of: Callable[[str], str]) -> None:
        super().__init__()
        self.setObjectName("patients")
        self.session, self._task_of = session, task_of
        self.list = controls.named(QtWidgets.QListWidget(), "patients.list")
        self.list.setItemDelegate(PatientDelegate(self.list))
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFrameShape(QtWidgets.QListWidget.Shape.NoFrame)
        self.list.setUniformItemSizes(True)
        self.list.setVerticalScrollMode(QtWidgets.QListWidget.ScrollMode.ScrollPerPixel)
        self.identity = LongJob(
            self, self._show_identity, session.messages.slot("reading the patient's name")
        )
        self.fold(False)
        title = controls.label("Patients", "hint")
        controls.stack(title, self.list, on=self, spacing=0, margins=(6, 2, 0, 2))
        self.list.itemClicked.connect(lambda item: self._show(item.data(KEY)))
        self.list.itemActivated.connect(lambda item: self._show(item.data(KEY)))
        self.list.customContextMenuRequested.connect(self._open_menu)
        session.changed.connect(self._on_change)
        self.refresh()

    def fold(self, folded: bool) -> None:
        """As high as the history, or one patient high while that is folded."""
        height = controls.scaled(FOLDED) if folded else row_height()
        self.setFixedSize(controls.scaled(LIST_WIDTH), height)
        self.list.scrollToItem(self.list.currentItem())

    def refresh(self) -> None:
        """Show who is open, and what runs."""
        session = self.session
        rows = [(NOBODY, "Synthetic brains", describe_recipe(Recipe(session.synthetic.source)), "")]
        rows += [(c.key, c.name, self.status_of(c), str(c.path or "")) for c in session.patients]
        for case in session.arriving:
            told = f"not opened: {case.problem}" if case.problem else self._task_of(case.key)
            rows.append((case.key, case.name, told, case.problem or str(case.path or "")))
        refused = {case.key for case in session.arriving if case.problem}
        self._fit(len(rows))
        for row, (key, name, status, tip) in enumerate(rows):
            item = self.list.item(row)
            shown = told_apart(name, [other for _key, other, *_rest in rows], NAME_LENGTH)
            for role, value in (
                (Qt.ItemDataRole.DisplayRole, shown),
                (KEY, key),
                (STATUS, status),
                (BAD, key in refused),
                (Qt.ItemDataRole.ToolTipRole, "\n".join(filter(None, (name, status, tip)))),
                (Qt.ItemDataRole.AccessibleTextRole, f"{name}, {status}"),
            ):
                if item.data(role) != value:
                    item.setData(role, value)
            if key == session.key and self.list.currentRow() != row:
                self.list.setCurrentRow(row)

    def _on_change(self, change: StateChange) -> None:
        """A slider that is dragged changes nothing in the list, but for whom it shows."""
        told = not change.live and change.parts - {"annotations"}
        if change.another_subject or told:
            self.refresh()

    def status_of(self, case: Case) -> str:
        """What is done and what runs, in words."""
        if task := self._task_of(case.key):
            return task
        if case.key in self.session.ready:
            return "another projection is ready: show"
        if case.problem:
            return case.problem if case.scan else f"not opened: {case.problem}"
        done = "aligned" if self.session.fits(case) else ""
        if any(one.key == case.key for one in self.session.projected):
            done = "projected"
        elif case.scan is None and case.choice is not None:
            done = "read when it is shown"
        made = "" if case.origin == "acquired" else ORIGIN_NAMES[case.origin].lower()
        told = "scan" if case.choice is not None else "latent file"
        return ", ".join(filter(None, (made, done))) or told

    def menu(self, key: str) -> QtWidgets.QMenu:
        """What can be done with a patient."""
        menu = QtWidgets.QMenu(self)
        case = self.session.patient(key)
        if case is not None:
            menu.addAction("Show", lambda: self._show(key))
            menu.addAction("Name, ID and dates…", lambda: self._ask_identity(case))
        menu.addAction("Close", lambda: self._close(key))
        return menu

    def _close(self, key: str) -> None:
        """Close a patient, having asked if what was made of the scan goes too."""
        session, case = self.session, self.session.patient(key)
        made = any(one.key == key for one in session.projected)
        over = session.annotations_of(key)
        name = case.name if case else key
        text = f"Close {name}? This also discards its projection, edits, labels and regions."
        if not (made or over.mask or over.labels) or dialogs.confirm(self, "Close patient", text):
            self.session.close_patient(key)

    def _show(self, key: str) -> None:
        self.session.show(key)
        self.refresh()  # one that is being read stays unmarked

    def _open_menu(self, where: Any) -> None:
        item = self.list.itemAt(where)
        if item is not None and item.data(KEY) != NOBODY:
            menu = self.menu(item.data(KEY))
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.list.mapToGlobal(where))

    def _ask_identity(self, case: Case) -> None:
        if case.choice is None or not case.is_dicom:
            self._show_identity((case.name, NO_IDENTITY))
        elif not self.identity.running:
            self.identity.start(_read_identity, case.name, case.choice.path, case.choice.series)

    def _show_identity(self, told: tuple[str, str]) -> None:
        box = QtWidgets.QMessageBox(
            QtWidgets.QMessageBox.Icon.NoIcon, told[0], "\n".join(told), parent=self
        )
        box.setObjectName("patients.identity")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _fit(self, count: int) -> None:
        while self.list.count() > count:
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < count:
            self.list.addItem(QtWidgets.QListWidgetItem())


def _read_identity(report: Progress, name: str, path: Path, series: str | None) -> tuple[str, str]:
    """In a thread; what a DICOM header says, which is written to no file."""
    from stylegan3d.scans.dicom import identity_of

    report(0, 1)
    told = identity_of(path, series)
    return name, "\n".join(f"{label}: {value or 'not given'}" for label, value in told.items())


#: Command name of the paste shortcut.
PASTE = "key.paste"


UNKNOWN = (
    "cannot be opened here: drop a T1-weighted scan (NIfTI, MGH or a DICOM folder), a model, a "
    "latent, a recipe or a session. File > Open opens other images."
)


class OpenController(QObject):
    """Handles drops on explorer and views, and pasted recipes."""

    modelDropped = Signal(object)
    sessionDropped = Signal(object)
    #: Path
    scanDropped = Signal(object)

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self.session, self.messages = context.session, context.session.messages
        self.viewer = context.comparison.stage.viewer
        self._roots: list[QtWidgets.QWidget] = [context.dock]
        dialogs.DropOn(context.dock, files_in, self.drop)

    def begin(self, views: FourViews, links: Links) -> None:
        """Also handle drops on the views."""
        self._roots.append(views)
        links.callback(self._roots.remove, views)
        canvases = [view.canvas for view in views.views]
        links.callback(dialogs.DropOn(views, files_in, self.drop, *canvases).leave)
        links.connect(self.viewer.layers.selection.events.active, self._on_active)

    def drop(self, files: list[str]) -> None:
        """Open what was dropped, and say what of it cannot be opened."""
        known = {file: one for file in files if (one := what_is(file)) is not None}
        whole = what_are([*known])
        found = [*known.values()] if whole is None else [whole]
        together = len(found) == 1 or {one.kind for one in found} <= {"scan"}
        for one in found if together else ():
            self.open(one)
        gone = [file for file in files if not Path(file).exists()]
        refused = {
            "cannot be opened together: drop one of them.": [] if together else [*known],
            "cannot be found: check whether it was moved.": gone,
            UNKNOWN: [file for file in files if file not in known and file not in gone],
        }
        told = [
            f"{', '.join(Path(file).name for file in wrong)} {why}"
            for why, wrong in refused.items()
            if wrong
        ]
        if told:
            self.messages.fail(StyleGAN3DError(" ".join(told)), "opening the file")

    def open(self, dropped: Dropped) -> None:
        """Open a dropped item."""
        take: dict[str, Callable[[Path], object]] = {
            "model": self.modelDropped.emit,
            "session": self.sessionDropped.emit,
            "recipe": self.open_recipe,
            "latent": self.open_latent,
        }
        take.get(dropped.kind, self.scanDropped.emit)(dropped.path)

    def open_recipe(self, path: Path) -> None:
        """Open the recipe in a file or sidecar."""
        with self.messages.during("opening the recipe"):
            self._go_to(read_recipe(path), f"Opened the recipe of {path.name}")

    def open_latent(self, path: Path) -> None:
        """Show the brain of a latent file."""
        with self.messages.during("opening the latent"):
            recipe = self.session.with_source(Source.from_file(path))
            recipe = recipe.replace(mix=None, edits=(), model=None)
            self._go_to(recipe, f"Showing the brain of {path.name}")

    def paste(self) -> None:
        """Open a recipe from the clipboard: command, JSON or link."""
        with self.messages.during("pasting a recipe"):
            self._go_to(from_text(QtWidgets.QApplication.clipboard().text()), "Pasted")

    def copy_link(self) -> None:
        """Copy a link to the current recipe."""
        if self.session.generator is not None and self.session.recipe is not None:
            signed = self.session.recipe.signed(self.session.generator)
            QtWidgets.QApplication.clipboard().setText(to_link(signed))
            report_done(f"Link copied: {describe_recipe(signed)}.")

    def _go_to(self, recipe: Recipe, doing: str) -> None:
        generator = self.session.generator
        if generator is None:
            return
        there = (Recipe(one.source) for one in self.session.projected if one.source)
        recipe = with_files_of(recipe, [*self.session.states, *there])
        with self.messages.during("opening the recipe"):
            latent_of(recipe, generator, "rough")  # the picture is rendered later
            self.session.change(recipe)
            report_done(f"{doing}: {describe_recipe(recipe)}.")

    def _on_active(self, _: Any = None) -> None:
        """napari's Shapes layers paste shapes with the same key."""
        active = self.viewer.layers.selection.active
        for shortcut in (
            one for root in self._roots for one in root.findChildren(QtGui.QShortcut, PASTE)
        ):
            shortcut.setEnabled(not isinstance(active, Shapes))


T = TypeVar("T")


#: The tabs from left to right with their controllers; a new feature is added here.
FEATURES: tuple[tuple[type[ExplorerPanel], Callable[[Context, Any], object]], ...] = (
    (BrowsePanel, BrowseController),
    (ProjectPanel, ProjectController),
    (MixPanel, MixController),
    (DirectionsPanel, DirectionsController),
    (ComparePanel, CompareController),
    (ExportPanel, ExportController),
)


def the(kind: type[T], among: tuple[object, ...]) -> T:
    """The only object of a type."""
    (found,) = (one for one in among if isinstance(one, kind))
    return found


DOCKS = ("layer list", "layer controls")


class Docked(QtWidgets.QWidget):
    """Calls `begin` when shown in a napari window, and `close_explorer` when that closes."""

    def __init__(self) -> None:
        super().__init__()
        self._window: QtWidgets.QMainWindow | None = None
        self._begun = self._closed = False

    def begin(self, window: QtWidgets.QMainWindow) -> None:
        """The window is available."""
        raise NotImplementedError

    def close_explorer(self) -> None:
        """The window or the dock was closed; may be called more than once."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Disconnect from the window, so that this widget does not keep it alive."""
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Call `begin` when shown for the first time."""
        super().showEvent(event)
        if not self._begun:
            self._begun = True
            QTimer.singleShot(0, self._begin)

    def event(self, event: QEvent) -> bool:
        """Detect when napari removes the dock."""
        if event.type() == QEvent.Type.ParentChange and self._window and self.parent() is None:
            self.close_explorer()
            self.deleteLater()  # PySide6 does not collect what is connected to a function of itself
        return super().event(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Detect when the window closes: a plugin's own closeEvent is never called."""
        # A visible window may still refuse to close; once hidden it is closing.
        closing = event.type() == QEvent.Type.Close and not watched.isVisible()
        hidden = isinstance(event, QtGui.QHideEvent) and not event.spontaneous()
        if watched is self._window and (closing or hidden):
            self.close_explorer()
        return False

    def _begin(self) -> None:
        window = self.window()
        if self._closed or not isinstance(window, QtWidgets.QMainWindow):
            return
        if window.findChild(QtViewer) is None:
            return
        self._window = window
        window.installEventFilter(self)
        QtWidgets.QApplication.instance().aboutToQuit.connect(self.close_explorer)
        self.begin(window)


def calm_down(window: QtWidgets.QMainWindow, viewer: ViewerModel, links: Links) -> None:
    """Hide napari's layer docks and status bar, until `links` close.

    They stay in the Window menu. Viewers that already have layers are not changed.
    """
    if len(viewer.layers):
        return
    docks = [
        dock for dock in window.findChildren(QtWidgets.QDockWidget) if dock.objectName() in DOCKS
    ]
    for part in (*docks, window.statusBar()):
        if not part.isHidden():
            part.hide()
            links.callback(part.show)


#: Maximum width of the dock.
WIDEST = 900


class Memory(QObject):
    """Restores window settings, and saves them when the window closes.

    Parameters
    ----------
    dock : QWidget
        The dock, whose width is saved.
    folder : QLineEdit
        Field of the output folder.
    measure : Fold
        Its expanded state is saved.
    """

    def __init__(self, dock: QtWidgets.QWidget, folder: QtWidgets.QLineEdit, measure: Fold) -> None:
        super().__init__(dock)
        self.dock, self.folder, self.measure = dock, folder, measure
        self._looks: LookModel | None = None

    def begin(self, window: QtWidgets.QMainWindow, looks: LookModel) -> None:
        """Restore the settings of window and views."""
        self._looks = looks
        kept = settings()
        width = int(kept.value(WIDTH, 0, type=int))
        dock = controls.above(self.dock, QtWidgets.QDockWidget)
        if dock is not None and self.dock.minimumWidth() <= width <= WIDEST:
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        folder = str(kept.value(SAVE_FOLDER, ""))
        if folder and Path(folder).is_dir():
            self.folder.setText(folder)
        self.measure.unfold(bool(kept.value(MEASURE, False, type=bool)))
        look = _look(str(kept.value(LOOK, "")))
        if look is not None:
            looks.set(look)

    def save(self) -> None:
        """Save the settings, once."""
        if self._looks is None:
            return
        kept = settings()
        kept.setValue(WIDTH, self.dock.width())
        kept.setValue(SAVE_FOLDER, self.folder.text())
        kept.setValue(MEASURE, self.measure.open)
        kept.setValue(LOOK, json.dumps(self._looks.look.as_dict()))
        self._looks = None


def _look(text: str) -> ViewLook | None:
    """Parse a saved look; None if missing or of another version."""
    try:
        plain = json.loads(text)
        return ViewLook.from_dict(plain) if isinstance(plain, dict) else ViewLook()
    except (ValueError, TypeError, KeyError):
        return None


#: After the first brain, a layer for a second volume is made.
RESERVE_MS = 1000
#: Delay before the busy line appears.
PATIENCE_MS = 300
#: Interval of the animation. Every step repaints the whole window, which is expensive without a
#: graphics card and keeps waiting whom it is to console.
STEP_MS = 500
#: Length of the moving segment, and its step, as shares of the line.
PIECE, PACE = 0.3, 0.2


class BusyLine(QtWidgets.QProgressBar):
    """An indeterminate progress line."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setRange(0, 1)
        self.setValue(0)
        self._steps: int | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._step)

    @property
    def moves(self) -> bool:
        """Whether it is animated."""
        return self._steps is not None

    def set_busy(self, busy: bool) -> None:
        """Set whether something is running, from now on: what came so far is on the screen."""
        self._timer.stop()
        if self.moves:
            self._steps = None
            self.update()
        if busy:
            self._timer.start(PATIENCE_MS)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the line and the segment."""
        super().paintEvent(event)
        if self._steps is None:
            return
        left = (self._steps * PACE) % (1 + PIECE) - PIECE
        with painting(self, smooth=False) as painter:
            piece = QRectF(left * self.width(), 0, PIECE * self.width(), self.height())
            painter.fillRect(piece, self.palette().color(QtGui.QPalette.ColorRole.Highlight))

    def _step(self) -> None:
        self._steps = 1 + (self._steps or 0)
        self._timer.setInterval(STEP_MS)
        self.update()


class Header(QtWidgets.QWidget):
    """Model name, model menu, undo, redo, busy line."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ElidedLabel("Loading the model…", "explorer.model", "model")
        self.open = controls.tool_button("explorer.open_model")
        self.open.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.open.setProperty("role", "menu")
        self.undo = controls.tool_button("explorer.undo")
        self.redo = controls.tool_button("explorer.redo")
        for button in (self.undo, self.redo):
            button.setEnabled(False)
            button.setProperty("role", "step")
        self.help = controls.tool_button("explorer.help")
        self.busy = controls.named(BusyLine(), "explorer.busy")
        top = controls.row(self.model, self.open, self.undo, self.redo, self.help, stretch=0)
        top.setContentsMargins(14, 8, 10, 6)
        controls.stack(top, self.busy, on=self, spacing=0)

    @property
    def menu(self) -> QtWidgets.QMenu:
        """Menu of the button beside the model's name."""
        menu = self.open.menu()
        assert menu is not None
        return menu

    def set_loading(self, name: str) -> None:
        """Another model is being loaded."""
        self.model.setText("Loading…")
        self.model.setToolTip(name)
        self.open.setEnabled(False)
        self.busy.set_busy(True)

    def set_model(self, generator: Generator | None) -> None:
        """Show the model's name."""
        self.open.setEnabled(True)
        self.model.setText(generator.name if generator is not None else "No model")
        if generator is not None:
            size = " × ".join(str(n) for n in generator.shape)
            self.model.setToolTip(f"{size} voxels, on {generator.device}")


MIN_WIDTH = 376
#: Height in which there is room for a panel, Measure and Labels.
BOTH_PX = 850


class Explorer(Docked):
    """The dock widget.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Injected by napari.
    model : Path, Generator or None
        A model folder, an official checkpoint (.pkl), or a generator; None for the bundled one.
    frame : str or None
        Voxel orientation and size of a checkpoint, such as "LIA:2".
    """

    #: The first brain is on the screen.
    ready = Signal()

    def __init__(
        self,
        napari_viewer: napari.viewer.Viewer,
        model: Path | Generator | None = None,
        frame: str | None = None,
    ) -> None:
        refuse_broken_binding()  # as a plugin: napari shows why it does not open
        super().__init__()
        self.setObjectName("explorer")
        # napari passes a proxy whose layers are proxies, too; identity needs the real ones.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._model = model
        self._frame: Frame | str | None = frame
        put_on(self, self.viewer)  # before it has parts
        self._is_ready = False
        #: What renders the model whose first brain was seen.
        self._seen_of: object = None
        self.viewing: ViewsController | None = None
        self.views: FourViews | None = None
        self.session = Session(self)
        self.stage = Stage(self.viewer)
        self.rendering = Rendering(self.session, self)
        self.thumbnails = Thumbnails(self.session, self.rendering, self)
        self.comparison = DisplayController(self.session, self.stage)
        self.sharpening = SharpenController(self.comparison, self.rendering, self)
        self.messages = self.session.messages
        parts = self.session, self.rendering, self.thumbnails, self.comparison
        self.context = Context(self, *parts)
        links = self.context.links
        links.enter_context(self.session.links)
        # Late: napari collects garbage for every layer that goes.
        links.callback(gc.unfreeze)
        links.callback(gc.set_threshold, *gc.get_threshold())
        links.callback(self.stage.clear)
        self.tabs = Tabs([panel(self.session) for panel, _controller in FEATURES])
        self.panels = self.tabs.panels
        self.browse, self.project = the(BrowsePanel, self.panels), the(ProjectPanel, self.panels)
        self.mix, self.directions = the(MixPanel, self.panels), the(DirectionsPanel, self.panels)
        self.compare, self.export = the(ComparePanel, self.panels), the(ExportPanel, self.panels)
        self._open_rooms()
        self.models = ModelController(
            self.context, self.browsing, self.directions, self.projecting, self.exporting
        )
        self._lay_out()
        self.history = HistoryStrip(self.session, self.thumbnails)
        self.patients = PatientList(self.session, self._task_of)
        self.sessions = SessionController(
            self.context,
            self.tabs,
            self.projecting,
            self.relabelling,
            self.export.folder,
            self.header.menu,
        )
        self.layout().insertWidget(1, self.sessions.bar)
        self.opening = OpenController(self.context)
        folds = (self.measuring.box, self.relabelling.box)
        self.guidance = Guidance(
            self.context, self.tabs, self.header.help, self.opening.paste, folds
        )
        self.memory = Memory(self, self.export.folder, self.measuring.box)
        self._connect()

    def _open_rooms(self) -> None:
        """Create the panels' controllers."""
        context = self.context
        pairs = zip(FEATURES, self.panels, strict=True)
        self.controllers = tuple(made(context, panel) for (_panel, made), panel in pairs)
        self.browsing = the(BrowseController, self.controllers)
        self.mixing = the(MixController, self.controllers)
        self.directing = the(DirectionsController, self.controllers)
        self.projecting = the(ProjectController, self.controllers)
        self.comparing = the(CompareController, self.controllers)
        self.exporting = the(ExportController, self.controllers)
        self.measuring = MeasureController(context, MeasureBox())
        visiting, second = self.measuring.visiting, self.projecting.second
        visiting.second = second.scan_of
        visiting.mapWanted.connect(second.show_patient)
        second.box.visits.clicked.connect(lambda: visiting.open(second.box.visits))
        self.relabelling = LabelsController(context, LabelsBox())
        self.parking = Parking(self.session, self)

    def panel(self, title: str) -> QtWidgets.QWidget:
        """Bring a tab to the front by its panel's title, and return the panel."""
        return self.tabs.bring(title)

    def open_scan(self, path: str | Path) -> None:
        """Open a scan in the Project tab: a file, or a folder of DICOM files."""
        self.panel("Project")
        self.projecting.open(Choice(Path(path)))

    def open_model(self, path: Path | None, frame: Frame | str | None = None) -> None:
        """Open another model: a folder, an official checkpoint, or None for the bundled one.

        The current model stays until it is loaded, or if loading fails.
        """
        if self._window is None:
            self._model, self._frame = path, frame
        else:
            self.models.open(path, frame)

    def close_explorer(self) -> None:
        """Stop all jobs and restore napari's window; may be called more than once."""
        if self._closed:
            return
        self._closed = True
        self.memory.save()
        self.sessions.autosave.shutdown()
        end_work(self, *([] if self.views is None else [self.views]))
        self.header.busy.set_busy(False)
        self.context.links.close()
        self.viewing = self.views = self.exporting.views = self.sessions.views = None
        self.let_go()
        self.projecting.second.views = None

    def _lay_out(self) -> None:
        self.setMinimumWidth(controls.scaled(MIN_WIDTH))
        self.header = Header()
        self.header.open.setMenu(self.models.menu(self))
        self.message = controls.hint(name="explorer.message", role="error")
        self.message.setContentsMargins(14, 4, 14, 8)
        self.message.hide()
        column = controls.stack(
            self.header, self.tabs, self.measuring.box, self.relabelling.box, on=self, spacing=0
        )
        for part in (self.tabs, self.measuring.box, self.relabelling.box):
            column.setStretchFactor(part, 1)  # a part that is open takes no more than its share
        measure, labels = self.measuring.box, self.relabelling.box
        for box in (measure, labels):  # no panel stretches below them
            box.setSizePolicy(
                QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Maximum
            )
        measure.header.toggled.connect(partial(self._make_room, labels))
        labels.header.toggled.connect(partial(self._make_room, measure))
        # A session does not fold what the user has unfolded.
        self.relabelling.resumed.connect(lambda: labels.unfold(not (measure.open and self._low)))
        column.addWidget(self.message)

    @property
    def _low(self) -> bool:
        return self.isVisible() and self.height() < controls.scaled(BOTH_PX)

    def _make_room(self, other: Fold, unfolded: bool) -> None:
        """In a low window Measure and Labels are not unfolded together."""
        if unfolded and self._low:
            other.unfold(False)

    def _connect(self) -> None:
        session = self.session
        session.changed.connect(self._on_change)
        session.historyChanged.connect(self._show_history)
        session.lookChanged.connect(self._show_history)
        session.recipeChanged.connect(self._on_recipe)
        self.header.undo.clicked.connect(self._undo)
        self.relabelling.changed.connect(self._show_history)
        self.header.redo.clicked.connect(self._redo)
        self.rendering.busyChanged.connect(self.header.busy.set_busy)
        self.rendering.shown.connect(self._on_picture)
        self.rendering.failed.connect(lambda _: self.comparison.blank())
        self.rendering.failed.connect(self.messages.slot("rendering"))
        self.rendering.cramped.connect(self.say)
        self.messages.failed.connect(self._fail)
        self.messages.cleared.connect(lambda: self.say(""))
        session.modelChanged.connect(self._on_model)
        self.models.started.connect(self._on_loading)
        self.models.imported.connect(self._on_imported)
        self.history.link.clicked.connect(self.opening.copy_link)
        self.history.paste.clicked.connect(self.opening.paste)
        self.opening.modelDropped.connect(self.open_model)
        self.sessions.modelWanted.connect(self.open_model)
        self.sessions.normsWanted.connect(self.measuring.choose_norms)
        self.models.refused.connect(self.sessions.give_up)
        self.models.loading.failed.connect(lambda _: self.sessions.give_up())
        self.opening.sessionDropped.connect(self.sessions.open)
        self.opening.scanDropped.connect(self.open_scan)
        self.ready.connect(self.guidance.greet)
        reserving = controls.single_shot(self, self.stage.overlay.reserve, RESERVE_MS)
        self.ready.connect(reserving.start)
        self.context.links.callback(reserving.stop)
        self.projecting.job.runningChanged.connect(self.guidance.done)
        self.comparison.viewChanged.connect(self._on_view)
        self.history.pinRequested.connect(self._pin)
        self.history.fold.toggled.connect(self.patients.fold)
        self.projecting.progressed.connect(self.patients.refresh)
        overlay = self.projecting.second.reading.busyChanged
        for busy in (self.measuring.busyChanged, self.relabelling.busyChanged, overlay):
            busy.connect(self.patients.refresh, Qt.ConnectionType.QueuedConnection)
        self.context.links.connect(self.viewer.layers.events.inserted, self._on_layer)
        self.context.links.connect(self.viewer.layers.events.removed, self.stage.bring_back)
        self.context.links.connect(self.viewer.layers.selection.events.active, self._on_brush)

    def begin(self, window: QtWidgets.QMainWindow) -> None:
        """Install the views and load the model."""
        links = self.context.links
        calm_down(window, self.viewer, links)
        self.viewing = ViewsController(window, self.comparison, self, links)
        self.viewing.pace(self.rendering)
        self.views = self.viewing.views
        self.views.set_message("Loading the model…")
        self.views.layout().insertWidget(0, self.projecting.looks)
        self.views.layout().insertWidget(1, self.projecting.second.bar)
        self.projecting.second.drawn.connect(self.views.refresh)
        below = QtWidgets.QWidget()
        controls.stack(controls.row(self.patients, self.history, stretch=1), on=below, spacing=0)
        self.views.layout().addWidget(below)
        self.opening.begin(self.views, links)
        self.exporting.views = self.sessions.views = self.views
        self.context.links.connect(self.session.closing, self.views.marks.drop)
        self.context.links.connect(self.views.marks.changed, self.sessions.autosave.soon)
        self.comparing.begin(self.views)
        self.projecting.second.views = self.views
        self.guidance.begin(window, self.views)
        self.memory.begin(window, self.views.looks)
        for part in (self, self.views):
            controls.name_for_readers(part)
        self.views.hold()
        self.models.open(self._model, self._frame)
        self._model = None  # once there, it lasts until another is opened

    def _on_picture(self, recipe: Any, picture: Any) -> None:
        self.comparison.set_picture(recipe, picture)
        self.header.busy.set_busy(self.rendering.busy)
        if not self._is_ready:
            QTimer.singleShot(0, self._on_first_picture)
        last = picture.quality == "full" or self.rendering.is_cramped
        if last and self._seen_of is not self.rendering.renders:
            self._seen_of = self.rendering.renders
            QTimer.singleShot(0, self._on_first_brain)

    def _on_change(self, change: StateChange) -> None:
        """Say in the views whose picture is to come, until it is there."""
        case = change.now.case
        text = f"Rendering {'a brain' if case is None else case.name}…"
        if lacks := case is not None and case.scan is None:
            text = f"No picture of {case.name}" if case.problem else f"Reading {case.name}…"
        if self.views is not None and (change.another_subject or lacks):
            self.views.set_message(text)

    def _on_recipe(self, _recipe: Recipe | None, live: bool) -> None:
        self.say("")
        if self.views is not None:
            self.views.set_dragged(live)

    def _task_of(self, key: str) -> str:
        """What is being done for a patient, in words."""
        parts = self.projecting, self.relabelling, self.measuring
        return next(filter(None, (part.task_of(key) for part in parts)), "")

    def _pin(self, recipe: Recipe) -> None:
        """Compare with an entry of the history."""
        self.panel(self.compare.title)
        self.comparing.pin(recipe)

    def _on_first_picture(self) -> None:
        if not (self._closed or self._is_ready):
            self._is_ready = True
            self.ready.emit()

    def _on_first_brain(self) -> None:
        if self._closed:
            return
        self.stage.fit_white(self.comparison.share_above(1.0))
        if self.rendering.loaded is not None:
            self.models.warm_up(self.rendering.loaded, self.session.brain)

    def _on_view(self, _view: str) -> None:
        if self.views is not None and self.viewing is not None:
            self.viewing.show_title()
            self.views.marks.set_whose(brain_of(self.session), ground_of(self.session))
            self.views.refresh()
            readout, ours = self.views.readout, self.comparison.is_picture
            readout.quality.setText("preview" if ours and self.comparison.is_preview else "")
            readout.show_clipped(self.comparison.share_above(BRIGHTEST) if ours else 0.0)

    def _undo(self) -> None:
        """Undo an edit of labels while they are edited, a stroke of another brush, or a change."""
        part = self.relabelling
        (part if part.can_undo else self._other_brush or self.session).undo()

    def _redo(self) -> None:
        """Redo what was undone there."""
        part = self.relabelling
        (part if part.can_redo else self._other_brush or self.session).redo()

    @property
    def _other_brush(self) -> Labels | None:
        """The labels for which a brush is in hand, but those to edit, which have steps of undo."""
        labels = painted_on(self.viewer)
        return None if labels is self.relabelling.drawing.layer else labels

    def _show_history(self) -> None:
        paints, part, session = self._other_brush is not None, self.relabelling, self.session
        self.header.undo.setEnabled(paints or part.can_undo or session.can_undo)
        self.header.redo.setEnabled(paints or part.can_redo or session.can_redo)

    def _on_brush(self, _: object) -> None:
        """Offer strokes to undo while a brush is in hand."""
        if isinstance(active := self.viewer.layers.selection.active, Labels):
            active.events.mode.connect(self._show_history)
        self._show_history()

    def _on_layer(self, event: Any) -> None:
        """Take over a scan opened by napari (File > Open, samples, a drop on a view).

        Its layer stays in napari's list, hidden: the explorer shows the scan itself.
        """
        path = event.value.metadata.get("path")
        if path and event.value is not self.stage.layer:
            event.value.visible = False
            QTimer.singleShot(0, partial(self.open_scan, path))

    def _on_model(self, generator: Generator) -> None:
        self.header.set_model(generator)
        self.tabs.setEnabled(True)
        # While a brain is drawn: napari reads what units there are with its first image in some.
        Image(np.zeros((1, 1, 1)), units=("mm",) * 3)
        # A scan that was not projected has no picture of the model to wait for.
        if self.session.recipe is None and self.rendering.loaded is not None:
            self.models.warm_up(self.rendering.loaded, self.session.brain)

    def _on_loading(self, name: str) -> None:
        self.say("")
        self.header.set_loading(name)
        if self.views is not None and self.comparison.picture is None:
            self.views.set_message("Loading the model…")

    def _on_imported(self) -> None:
        if self.views is not None:
            self.views.release()

    def _fail(self, error: Exception, doing: str) -> None:
        self.say(report_error(error, doing))
        if not self.models.loading.running:
            self.header.set_model(self.session.generator)
        self.header.busy.set_busy(self.rendering.busy)
        if self.views is not None and self.comparison.picture is None:
            self.views.release()
            self.views.set_message("No model" if self.session.generator is None else "No picture")

    def say(self, text: str) -> None:
        """Show an error below the tabs until the next action."""
        if self.viewing is not None:
            self.viewing.toasts.told = text
        controls.show_text(self.message, text)
