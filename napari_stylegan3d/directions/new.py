"""A new direction: from two groups of favourites, or from a table of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QDialog, QLineEdit, QTabWidget, QWidget

from napari_stylegan3d.core.context import sentence
from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.directions.groups import FavouriteGroups
from napari_stylegan3d.directions.jobs import make_between, make_of_values
from napari_stylegan3d.directions.values import ValuesForm
from napari_stylegan3d.widgets import controls, dialogs
from stylegan3d.errors import StyleGAN3DError

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from stylegan3d.recipe.directions import Directions


class NewDirection(QDialog):
    """A window beside the panel: choose, find, read how well it holds, keep.

    Parameters
    ----------
    parent : QWidget
        The dock.
    """

    found = Signal(object)
    """Directions: a new direction that the user keeps."""

    def __init__(self, session: Session, thumbnails: Thumbnails, parent: QWidget) -> None:
        super().__init__(parent)
        self.session = session
        self.setObjectName("directions.new_window")
        self.setWindowTitle("New direction")
        self.job = LongJob(self)
        self._directions: Directions | None = None
        self.name = controls.named(
            QLineEdit(), "directions.new_name", "Name of the new direction; 1 to 120 characters."
        )
        self.name.setPlaceholderText("e.g. Cortical atrophy")
        self.groups = FavouriteGroups(session, thumbnails, self)
        self.values = ValuesForm()
        self.tabs = controls.named(QTabWidget(), "directions.new_tabs")
        self.tabs.addTab(self.groups, "From favourites")
        self.tabs.addTab(self.values, "From a table")
        self.told = controls.hint(name="directions.new_text")
        self.find = controls.push_button("Compute", "directions.new_find", "", "primary")
        self.keep = controls.push_button(
            "Add", "directions.new_keep", "Add the direction to your list."
        )
        self._lay_out()
        self._connect()
        self._offer()

    def _lay_out(self) -> None:
        column = controls.stack(
            controls.form(("Name", self.name)),
            self.tabs,
            self.told,
            on=self,
            stretch=1,
            spacing=9,
            margins=(14, 12, 14, 12),
        )
        buttons = controls.row(self.find, self.keep)
        buttons.insertStretch(0, 1)
        column.addLayout(buttons)
        for button in (self.find, self.keep):
            button.setAutoDefault(False)
        self.setMinimumSize(controls.scaled(460), controls.scaled(460))

    def _connect(self) -> None:
        self.find.clicked.connect(self._find)
        self.keep.clicked.connect(self._keep)
        self.job.finished.connect(self._on_found)
        self.job.failed.connect(self._on_failed)
        self.job.runningChanged.connect(lambda _running: self._offer())
        self.tabs.currentChanged.connect(lambda _: self._forget())
        self.groups.changed.connect(self._forget)
        self.values.changed.connect(self._forget)
        self.values.failed.connect(lambda error: self._on_failed(error))
        self.values.named.connect(self._suggest)
        self.session.modelChanged.connect(lambda _: self.hide())

    def open_beside(self, widget: QWidget) -> None:
        """Open left of a widget, over the views."""
        self._forget()
        self.groups.refresh()
        self._offer()
        if self.values.table is None:
            self.told.setText(self.groups.lacks())
        self.resize(controls.scaled(480), controls.scaled(520))
        dialogs.open_beside(self, widget)

    def hideEvent(self, event: QHideEvent) -> None:
        """The dialog was closed: cancel the job."""
        self.job.cancel()
        self.groups.stop()
        super().hideEvent(event)

    def shutdown(self) -> None:
        """Close; the result of a running job is discarded."""
        self.hide()
        self.job.shutdown()

    def _suggest(self, name: str) -> None:
        if not self.name.text():
            self.name.setText(name.replace("_", " ").capitalize())

    def _forget(self) -> None:
        self._directions = None
        self.told.clear()
        self.keep.setEnabled(False)
        self._offer()

    def _offer(self) -> None:
        """A direction needs brains."""
        source = self.groups if self.tabs.currentWidget() is self.groups else self.values
        self.find.setEnabled(not source.lacks() and not self.job.running)
        self.find.setToolTip(source.lacks() or "Compute and validate the direction.")

    def _find(self) -> None:
        from stylegan3d.directions.custom import checked_name

        self._forget()
        generator = self.session.generator
        if generator is None:
            return
        work: tuple[Any, ...]
        try:
            name = checked_name(self.name.text())
            if self.tabs.currentWidget() is self.groups:
                work = (make_between, generator, *self.groups.recipes(), name)
            else:
                work = (make_of_values, generator, *self.values.recipes(self.session), name)
        except StyleGAN3DError as error:
            self._on_failed(error)
            return
        self.told.setText("Computing the direction…")
        self.job.start(*work)

    def _on_found(self, directions: Directions) -> None:
        self._directions = directions
        name = directions.names[0]
        record = directions.checks[0] if directions.checks else {}
        self.told.setText(f"{name}: {directions.descriptions.get(name, '')}. {verdict(record)}")
        self.keep.setEnabled(True)

    def _on_failed(self, error: Exception) -> None:
        self._forget()
        self.told.setText(sentence(error, "computing the direction"))

    def _keep(self) -> None:
        if self._directions is not None:
            self.found.emit(self._directions)
            self.name.clear()
            self.hide()


def verdict(told: dict[str, Any]) -> str:
    """What the check means, in a sentence."""
    figure, chance = told.get("auc", told.get("r")), told.get("chance")
    if figure is None or chance is None:
        return "Not validated."
    if "auc" in told and "r" in told:
        figure = told["r"]
    if figure <= chance:
        return "Not better than chance: the direction may be meaningless. More brains are needed."
    return f"Better than chance ({chance:.2f}) in brains not used for the fit."
