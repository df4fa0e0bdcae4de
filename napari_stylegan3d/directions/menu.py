"""The menus of the Directions panel: that of one direction, and that of all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QPoint, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QAbstractButton, QInputDialog, QMenu, QWidget

from stylegan3d.directions.catalogue import DirectionNotes, Entry

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.directions.layers import EditLayers
    from napari_stylegan3d.directions.row import DirectionRow


def ask_label(parent: QWidget, name: str, label: str) -> str | None:
    """The user's own name for a direction; None if cancelled."""
    text, given = QInputDialog.getText(
        parent,
        "Rename the direction",
        f"Your name for {name} (empty for the original; recipes keep {name}):",
        text=label,
    )
    return text if given else None


class DirectionMenus(QObject):
    """Menus that are made when they are opened."""

    freed = Signal(object)
    """Entry that should be made orthogonal to the others in use."""
    saved = Signal(object)
    """Entries to save to a file."""
    opened = Signal()
    """A directions file should be opened."""
    compared = Signal()
    """Groups of people should be compared."""
    dropped = Signal(object)
    """Entry whose file should leave the list."""

    noted = Signal(object)
    """DirectionNotes: the user pinned or renamed a direction."""
    limited = Signal(str, object, bool)
    """(reference, layers, whether they are its own): other layers were chosen for a direction."""

    def __init__(
        self, parent: QWidget, more: QAbstractButton, session: Session, limits: EditLayers
    ) -> None:
        super().__init__(parent)
        self._parent, self._more = parent, more
        self.session, self.limits = session, limits
        self.notes = DirectionNotes()
        #: The directions that are listed, by their references.
        self.entries: dict[str, Entry] = {}
        more.clicked.connect(self._open_common)

    def open(self, row: DirectionRow) -> None:
        """Open the menu of one direction under its button."""
        self._pop_up(self.of_row(row), row.menu)

    def of_row(self, row: DirectionRow) -> QMenu:
        """What can be done with one direction."""
        entry = row.entry
        menu = QMenu(self._parent)
        menu.setToolTipsVisible(True)
        menu.addAction("Rename…", partial(self._rename, entry))
        pinned = entry.reference in self.notes.pinned
        text = "Unpin" if pinned else "Pin to the top"
        menu.addAction(text, partial(self._pin, entry, not pinned))
        if len(self.limits.spans()) > 1:
            self._add_layers(menu, entry)
        menu.addSeparator()
        free = menu.addAction("Orthogonal to the others in use", partial(self.freed.emit, entry))
        free.setEnabled(bool(self.others_in_use(entry)))
        free.setToolTip(
            "Make a new direction that is orthogonal to the others in use (Gram-Schmidt in w)."
        )
        menu.addAction("Save to a file…", partial(self.saved.emit, [entry]))
        if entry.file is not None:
            menu.addAction("Remove its file from the list", partial(self.dropped.emit, entry))
        return menu

    def common(self) -> QMenu:
        """What can be done with all of them."""
        menu = QMenu(self._parent)
        menu.addAction("Open a directions file…", self.opened.emit)
        used = self.in_use()
        menu.addAction("Save directions in use…", partial(self.saved.emit, used)).setEnabled(
            bool(used)
        )
        menu.addSeparator()
        menu.addAction("Compare groups of people…", self.compared.emit)
        return menu

    def in_use(self) -> list[Entry]:
        """Directions that are not at 0."""
        return [
            self.entries[edit.direction]
            for edit in self.session.recipe.edits
            if edit.direction in self.entries
        ]

    def others_in_use(self, entry: Entry) -> list[Entry]:
        """Directions that are not at 0, but for one."""
        return [other for other in self.in_use() if other.reference != entry.reference]

    def _add_layers(self, menu: QMenu, entry: Entry) -> None:
        limits, reference = self.limits, entry.reference
        layers = menu.addMenu("Applies to")
        own = reference in limits.own
        actions = [
            ("Same as the others", partial(self.limited.emit, reference, None, False), not own)
        ]
        actions += [
            (
                text,
                partial(self.limited.emit, reference, span, True),
                own and limits.of(reference) == span,
            )
            for text, span in limits.spans()
        ]
        for text, act, chosen in actions:
            action = QAction(text, layers)
            action.setCheckable(True)
            action.setChecked(chosen)
            action.triggered.connect(lambda _=False, do=act: do())
            layers.addAction(action)

    def _open_common(self) -> None:
        self._pop_up(self.common(), self._more)

    def _pop_up(self, menu: QMenu, button: QWidget) -> None:
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(button.mapToGlobal(QPoint(0, button.height())))

    def _rename(self, entry: Entry) -> None:
        notes = self.notes
        label = ask_label(self._parent, entry.name, notes.labels.get(entry.reference, ""))
        if label is not None:
            self.noted.emit(notes.labelled(entry.reference, label))

    def _pin(self, entry: Entry, pinned: bool) -> None:
        self.noted.emit(self.notes.pin(entry.reference, pinned))
