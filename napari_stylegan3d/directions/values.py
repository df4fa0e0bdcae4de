"""A table of values of brains, to find the direction along which a value grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.widgets import controls, dialogs
from stylegan3d.errors import RecipeError, StyleGAN3DError
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.directions.value_table import ValueTable

ABOUT_TABLE = (
    "A CSV or TSV file with a header. The first column names the brains: a number, a "
    "latent file (.safetensors, in the folder of the table), or a scan projected in this "
    "session. The other columns contain values; empty cells and n/a are missing. Numbers "
    "are brains at the current truncation. At least 24 subjects are needed; a column "
    "participant_id says which scans are of the same one."
)


class ValuesForm(QWidget):
    """Opens a table and chooses one of its columns."""

    changed = Signal()
    named = Signal(str)
    """Name of the column that was chosen."""
    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.table: ValueTable | None = None
        self.open = controls.push_button(
            "Open a table…", "directions.new_table", "Choose a CSV or TSV file of values."
        )
        self.open.setAutoDefault(False)
        self.path = controls.hint(name="directions.new_path")
        self.column = controls.combo(
            "directions.new_column", "Column that the direction is fitted to."
        )
        column = controls.stack(
            controls.hint(ABOUT_TABLE),
            controls.row(self.open, self.path, stretch=1),
            controls.form(("Values", self.column)),
            on=self,
            spacing=9,
            margins=(2, 8, 2, 2),
        )
        column.addStretch(1)
        self.open.clicked.connect(self._open)
        self.column.activated.connect(self._on_column)

    def lacks(self) -> str:
        """What is missing for a direction; empty for nothing."""
        return "" if self.table is not None else "Open a table of values first."

    def recipes(self, session: Session) -> tuple[list[Recipe], np.ndarray, list[str]]:
        """The brains of the table as they are shown now, their values and their subjects.

        Raises
        ------
        RecipeError, LatentError
            If there is no table, or a brain or value in it is none.
        """
        if self.table is None:
            raise RecipeError(self.lacks())
        values = self.table.values(self.column.currentText())
        projected = {scan.name: scan.source for scan in session.projected if scan.source}
        plain = session.recipe.replace(mix=None, edits=(), detail=None)
        sources = self.table.sources(projected)
        return [plain.replace(source=s) for s in sources], values, self.table.subjects(sources)

    def _open(self) -> None:
        from stylegan3d.directions.value_table import read_value_table

        path = dialogs.open_file(self, "Open a table of values", dialogs.TABLES)
        if path is None:
            return
        try:
            self.table = read_value_table(path)
        except StyleGAN3DError as error:
            self.failed.emit(error)
            return
        self.path.setText(f"{path.name}: {len(self.table.brains)} brains")
        self.column.clear()
        self.column.addItems(list(self.table.columns))
        self._on_column()

    def _on_column(self, _: int = 0) -> None:
        self.changed.emit()
        self.named.emit(self.column.currentText())
