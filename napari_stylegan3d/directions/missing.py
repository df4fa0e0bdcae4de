"""Directions files that cannot be used any more: what is wrong, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls


class MissingFiles(QWidget):
    """One row per missing file, with buttons to find and to forget it; hidden if none is missing.

    Rows are `directions.missing.N`, their buttons `directions.find.N` and `directions.forget.N`.
    """

    findRequested = Signal(str)
    """The file's path, as it was noted."""
    forgetRequested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[QWidget] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(14, 0, 14, 0)
        self._column.setSpacing(6)
        self.hide()

    def show_files(self, problems: Mapping[str, str]) -> None:
        """Show files by their paths, with what is wrong with each in a sentence."""
        for row in self._rows:
            row.setParent(None)
            row.deleteLater()
        self._rows = [self._make(*item) for item in enumerate(problems.items())]
        for row in self._rows:
            self._column.addWidget(row)
        self.setVisible(bool(self._rows))

    def _make(self, index: int, file: tuple[str, str]) -> QWidget:
        path, problem = file
        told = controls.named(
            QLabel(f"{Path(path).name} is not available."), f"directions.missing.{index}", problem
        )
        told.setProperty("role", "caution")
        told.setWordWrap(True)
        find = controls.push_button(
            "Locate…",
            f"directions.find.{index}",
            "Locate the file; its settings are kept.",
        )
        forget = controls.push_button(
            "Remove",
            f"directions.forget.{index}",
            "Remove the file from the list; edits along its directions stay in the recipe.",
        )
        find.clicked.connect(partial(self.findRequested.emit, path))
        forget.clicked.connect(partial(self.forgetRequested.emit, path))
        row = QWidget()
        row.setLayout(controls.row(told, find, forget, stretch=0))
        return row
