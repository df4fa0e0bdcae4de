"""A list of entries to choose one of."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_stylegan3d.widgets import controls

#: Visible rows of the list of series or volumes.
ROWS_SEEN = 5


class Chooser(QWidget):
    """A list of the scans in a folder or file, to choose from.

    Parameters
    ----------
    name : str
        Its controls are called `name.question`, `name.choice` and `name.choose`.
    """

    chosen = Signal(object)
    """What the entry stands for."""

    def __init__(self, name: str = "project") -> None:
        super().__init__()
        self.question = controls.hint(name=f"{name}.question")
        self.list = controls.named(
            QListWidget(), f"{name}.choice", "Select one and open it, or double-click."
        )
        self.list.setWordWrap(True)
        self.open = controls.push_button(
            "Open selected", f"{name}.choose", "Open the selected entry.", "primary"
        )
        controls.stack(self.question, self.list, self.open, on=self)
        self.open.clicked.connect(self._open)
        self.list.itemDoubleClicked.connect(lambda _: self._open())
        self.list.currentItemChanged.connect(lambda *_: self._refresh())
        self.hide()

    def ask(self, question: str, entries: list[tuple[str, object, str]]) -> None:
        """Show entries (text, data, reason why it cannot be opened or "")."""
        self.question.setText(question)
        self.list.clear()
        for text, data, problem in entries:
            item = QListWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, data)
            if problem:
                item.setFlags(Qt.ItemFlag.NoItemFlags)
                item.setToolTip(problem)
            self.list.addItem(item)
            if not problem and self.list.currentItem() is None:
                self.list.setCurrentItem(item)
        # Line wrapping is known only once the list is on the screen.
        lines = sum(3 if "\n" in text else 1 for text, _, _ in entries[:ROWS_SEEN])
        self.list.setFixedHeight((lines + 1) * self.list.fontMetrics().lineSpacing())
        self._refresh()
        self.show()

    def _refresh(self) -> None:
        self.open.setEnabled(self.list.currentItem() is not None)

    def _open(self) -> None:
        item = self.list.currentItem()
        if item is not None and item.flags() & Qt.ItemFlag.ItemIsEnabled:
            self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))
