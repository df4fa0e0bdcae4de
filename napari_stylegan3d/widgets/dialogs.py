"""File dialogs; in one place, so that tests can replace them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy import QtWidgets
from qtpy.QtCore import QEvent, QObject, QPoint
from qtpy.QtGui import QDropEvent

from napari_stylegan3d.widgets.controls import name_for_readers
from napari_stylegan3d.widgets.settings import last_folder, note_folder
from stylegan3d.storage.formats import patterns

LATENTS = "Latent files (*.safetensors)"
RECIPES = "Recipes and sidecars (*.json)"
SESSIONS = "Sessions (*.sg3d)"
VOLUMES = "Volumes (*.nii.gz)"
PICTURES = "Pictures (*.png)"
DIRECTIONS = "Directions files (*.safetensors)"
NORMS = "Norms (*.csv *.tsv *.json);;All files (*)"
TABLES = "Tables of values (*.csv *.tsv *.txt);;All files (*)"
#: What a name gets that is typed without it.
ENDINGS = {SESSIONS: ".sg3d", VOLUMES: ".nii.gz", PICTURES: ".png", DIRECTIONS: ".safetensors"}


def scans() -> str:
    """The kinds of files that hold scans."""
    return f"Scans ({patterns('scan', 'dicom')});;All files (*)"


def checkpoints() -> str:
    """The kinds of files that hold networks of other programs."""
    return f"Official checkpoints ({patterns('checkpoint')});;All files (*)"


def open_file(parent: QtWidgets.QWidget, title: str, kinds: str) -> Path | None:
    """A file to open, or None if cancelled."""
    path, _ = QtWidgets.QFileDialog.getOpenFileName(parent, title, last_folder(), kinds)
    return _noted(path)


def offer_scans(
    button: QtWidgets.QPushButton, title: str, opened: Callable[[Path], object]
) -> None:
    """Give a button a menu to open a scan: a file, or a folder of DICOM files."""

    def ask(folder: bool) -> None:
        path = (
            choose_folder(button, "Open a folder of DICOM files", Path.home())
            if folder
            else open_file(button, title, scans())
        )
        if path is not None:
            opened(path)

    menu = QtWidgets.QMenu(button)
    menu.addAction("A file…", lambda: ask(False))
    menu.addAction("A DICOM folder…", lambda: ask(True))
    button.setMenu(menu)


def choose_folder(parent: QtWidgets.QWidget, title: str, start: Path) -> Path | None:
    """A folder, or None."""
    path = QtWidgets.QFileDialog.getExistingDirectory(parent, title, str(start))
    return Path(path) if path else None


def save_file(parent: QtWidgets.QWidget, title: str, kinds: str) -> Path | None:
    """A name to save under, with its ending, or None; asks before one that exists."""
    typed, _filter = QtWidgets.QFileDialog.getSaveFileName(parent, title, last_folder(), kinds)
    path = _noted(typed)
    ending = ENDINGS[kinds]
    if path is None or path.name.endswith(ending):
        return path
    # The dialog has asked about the name as it was typed only.
    path = path.with_name(path.name + ending)
    free = not path.exists() or confirm(parent, title, f"{path.name} already exists. Replace it?")
    return path if free else None


def confirm(parent: QtWidgets.QWidget, title: str, question: str) -> bool:
    """Whether the answer to a question is yes."""
    return (
        QtWidgets.QMessageBox.question(parent, title, question)
        == QtWidgets.QMessageBox.StandardButton.Yes
    )


def open_beside(dialog: QtWidgets.QDialog, widget: QtWidgets.QWidget, down: int = 0) -> None:
    """Open a dialog left of a widget, over the views, so many pixels below its upper edge.

    Enter is not the buttons': a person who types a number or goes through pictures presses it too.
    """
    for button in dialog.findChildren(QtWidgets.QPushButton):
        button.setAutoDefault(False)
    corner = widget.mapToGlobal(QPoint(0, 0))
    left = corner.x() - dialog.frameGeometry().width() - 12
    dialog.move(max(left, 0), max(corner.y() + down, 0))
    name_for_readers(dialog)
    dialog.show()
    dialog.raise_()


def _noted(path: str) -> Path | None:
    """The next question begins in the folder of this answer."""
    if not path:
        return None
    note_folder(Path(path))
    return Path(path)


#: Events of files that are over a widget.
DRAGGED = QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop


class DropOn(QObject):
    """Event filter that lets files be dropped on a widget, and marks it while they are over it.

    Parameters
    ----------
    widget : QWidget
        Owns the filter.
    find : callable
        Finds in a drag what can be opened here; nothing is left to others.
    take : callable
        Called with what was found, when it is dropped.
    parts : QWidget
        Parts of the widget on which it is dropped as well.
    """

    def __init__(
        self,
        widget: QtWidgets.QWidget,
        find: Callable[[QDropEvent], Any],
        take: Callable[[Any], object],
        *parts: QtWidgets.QWidget,
    ) -> None:
        super().__init__(widget)
        self._find, self._take, self._widgets = find, take, (widget, *parts)
        self.mark = QtWidgets.QRubberBand(QtWidgets.QRubberBand.Shape.Rectangle, widget)
        for one in self._widgets:
            one.setAcceptDrops(True)
            one.installEventFilter(self)

    def leave(self) -> None:
        """Let nothing be dropped any longer."""
        for widget in self._widgets:
            widget.removeEventFilter(self)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Take drags and drops of what can be opened."""
        kind = None if event is None else event.type()
        if kind == QEvent.Type.DragLeave:
            self.mark.hide()
        if not isinstance(event, QDropEvent) or kind not in DRAGGED:
            return False
        # What is moved over it was looked at when it came.
        found = self.mark.isVisible() if kind == QEvent.Type.DragMove else self._find(event)
        if not found:
            return False
        event.acceptProposedAction()
        self.mark.setGeometry(self._widgets[0].rect())
        self.mark.setVisible(kind != QEvent.Type.Drop)
        if kind == QEvent.Type.Drop:
            self._take(found)
        return True
