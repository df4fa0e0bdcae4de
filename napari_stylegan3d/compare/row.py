"""Up to four brains or patients side by side: those that were added, and the one that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_stylegan3d.core.provenance import subject_of
from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.slices import NUMBERS, Pane
from napari_stylegan3d.widgets import controls

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import DisplayController
    from napari_stylegan3d.views.four import FourViews

#: Besides the brain that is shown.
MOST = len(NUMBERS) - 1
ROWS_SEEN = 3


class RowBox(QWidget):
    """The brains of the row, with buttons to add and remove them."""

    def __init__(self) -> None:
        super().__init__()
        self.list = controls.named(
            QListWidget(), "compare.row_list", "The brains beside the current one, from the left."
        )
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setFixedHeight((ROWS_SEEN + 1) * self.list.fontMetrics().lineSpacing())
        self.add = controls.push_button(
            "Add current picture",
            "compare.row_add",
            "Keep what is shown as a column; then open another brain or patient.",
        )
        self.remove = controls.push_button(
            "Remove", "compare.row_remove", "Remove the selected column, or the last."
        )
        self.note = controls.hint(name="compare.row_note")
        controls.stack(
            self.list, controls.row(self.add, self.remove, stretch=0), self.note, on=self
        )

    def show_row(self, names: list[str], why_not: str) -> None:
        """List the columns; `why_not` says why the current picture cannot be added."""
        self.list.clear()
        for number, name in zip(NUMBERS, names, strict=False):
            item = QListWidgetItem(f"{number}: {name}", self.list)
            item.setToolTip(name)
        self.add.setEnabled(not why_not)
        self.remove.setEnabled(bool(names))
        controls.show_text(self.note, why_not)


class RowController(QObject):
    """Holds the columns that were added, and shows them with the current picture.

    Each column is a picture as it was shown, with its own caption: whose it is does not change when
    another patient is opened.
    """

    def __init__(self, comparison: DisplayController, box: RowBox, parent: QObject) -> None:
        super().__init__(parent)
        self.comparison, self.box = comparison, box
        self.views: FourViews | None = None
        self._kept: list[Pane] = []
        self.shown = False
        box.add.clicked.connect(self.add)
        box.remove.clicked.connect(lambda: self.remove(box.list.currentRow()))
        comparison.viewChanged.connect(self._follow)
        comparison.stage.levelsChanged.connect(self._on_levels)
        self._follow()

    def begin(self, views: FourViews) -> None:
        """The views are there."""
        self.views = views

    def show(self, shown: bool) -> None:
        """Show the columns instead of the four views, or end that."""
        self.shown = shown
        self._follow()

    def add(self) -> None:
        """Keep the current picture as a column."""
        current = self._current
        if current is None or self._why_not():
            return
        layer = current.layer
        self._kept.append(
            Pane(
                Image(
                    layer.data,
                    scale=layer.scale,
                    translate=layer.translate,
                    colormap=layer.colormap,
                    contrast_limits=layer.contrast_limits,
                ),
                current.provenance,
                current.title,
            )
        )
        self._follow()

    def remove(self, place: int) -> None:
        """Remove a column by its place; -1 for the last."""
        if self._kept:
            self._kept.pop(place if 0 <= place < len(self._kept) else -1)
        self._follow()

    def clear(self) -> None:
        """Remove all columns, such as for another model, whose space is another."""
        self._kept.clear()
        self._follow()

    def shutdown(self) -> None:
        """Disconnect, before the views are closed."""
        self.comparison.viewChanged.disconnect(self._follow)
        self.comparison.stage.levelsChanged.disconnect(self._on_levels)
        self._kept.clear()
        self.views = None

    @property
    def _current(self) -> Pane | None:
        """What is on the screen."""
        shown = self.comparison
        layer = shown.stage.layer
        told = None if layer is None else layer.metadata.get(KEY)
        if layer is None or not isinstance(told, Provenance):
            return None
        title = told.caption.split("\n")[0]
        if shown.is_picture and shown.recipe is not None:
            title = subject_of(shown.session, shown.recipe)
        return Pane(layer, told, title)

    def _why_not(self) -> str:
        """Why the current picture cannot be a column beside others; empty if it can."""
        session = self.comparison.session
        if len(self._kept) >= MOST:
            return "Four brains fit: remove one to add another."
        if session.shown.what == "scan" and session.placed is None:
            return "Align the scan first: until then it is not in the same space as the others."
        if self._current is None or self.comparison.is_preview:
            return "Wait for the full volume."
        return ""

    def _follow(self, _view: str = "") -> None:
        names = [pane.title for pane in self._kept]
        self.box.show_row(names, self._why_not())
        current = self._current
        if self.views is not None:
            panes = [*self._kept, current] if self.shown and current is not None else []
            self.views.show_row(panes)

    def _on_levels(self) -> None:
        if self.shown and self.views is not None:
            for pane in self._kept:
                if not is_difference(pane):
                    pane.layer.contrast_limits = self.comparison.stage.limits
            self.views.panes.update()


def is_difference(pane: Pane) -> bool:
    """Whether a column shows a difference, which has colours of its own."""
    return pane.provenance.kind == "difference"
