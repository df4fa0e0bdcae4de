"""The part of Export that makes films: key frames, pace, planes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from napari_stylegan3d.core.lacks import offer
from napari_stylegan3d.core.worker import duration_in_words
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.keyframes import count_stills
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.settings.film import FilmSettings

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from napari_stylegan3d.core.thumbnails import Thumbnails

OWNER = "export.frames"
#: Object names of fields that are called otherwise in the settings.
NAMES = {"easing": "pace", "how": "way", "suffix": "kind"}
KEY = Qt.ItemDataRole.UserRole
THUMBNAIL = QSize(40, 40)
LIST_HEIGHT = 148


class FilmPart(QWidget):
    """A list of brains, the transition between them, and the button.

    Attributes
    ----------
    can_save : bool
        Whether there is all that a film needs.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._thumbnails: Thumbnails | None = None
        self._seconds_each = 0.0
        #: Items hold only a key: Qt copies dragged items, and cannot copy recipes.
        self._recipes: dict[int, Recipe] = {}
        self.frames = self._make_list()
        button = controls.push_button
        self.add = button("Add this brain", "export.frames_add", "Add the current brain.")
        self.favourites = button(
            "Add favourites",
            "export.frames_favourites",
            "Add all favourites, in their order.",
        )
        self.remove = button(
            "Remove", "export.frames_remove", "Remove the selected brain from the list."
        )
        self.form = Form(FilmSettings, "export.film_", NAMES)
        self.kind = self.form.native("suffix")
        self.save = button(
            "Save film",
            "export.film",
            "Save a film through these brains, with their recipes in a .json beside it.",
        )
        self.note = controls.hint(name="export.film_note")
        self._offered = False
        self.empty = controls.hint(
            "A film moves from brain to brain: add this brain, show another one, and add it too."
        )
        self._lay_out()
        self._connect()
        self._show()

    def use_thumbnails(self, thumbnails: Thumbnails) -> None:
        """Source of the list's thumbnails."""
        self._thumbnails = thumbnails
        thumbnails.ready.connect(self._on_thumbnail)

    def set_seconds_each(self, seconds: float) -> None:
        """Time per picture on this machine, for the estimate."""
        self._seconds_each = seconds
        self._show()

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The key frames."""
        return tuple(self._recipe_of(self.frames.item(row)) for row in range(self.frames.count()))

    @property
    def settings(self) -> FilmSettings:
        """Settings of the controls."""
        return self.form.value

    @property
    def frame_count(self) -> int:
        """Frames of the film in all."""
        settings = self.settings
        return count_stills(len(self.recipes), settings.frames_per_leg, settings.loop)

    def clear(self) -> None:
        """Another model: its brains are others."""
        self.frames.clear()
        self._recipes.clear()
        self._show()

    def add_recipes(self, *recipes: Recipe) -> None:
        """Put brains at the end of the list."""
        for recipe in recipes:
            item = QListWidgetItem(describe_recipe(recipe))
            item.setToolTip(f"{describe_recipe(recipe)}\nDrag it to another place in the film.")
            key = len(self._recipes)
            self._recipes[key] = recipe
            item.setData(KEY, key)
            item.setSizeHint(QSize(0, THUMBNAIL.height() + 6))
            image = self._thumbnails and self._thumbnails.image(recipe)
            if image:
                item.setIcon(_icon(image))
            self.frames.addItem(item)
        if self._thumbnails is not None:
            self._thumbnails.want(OWNER, self.recipes)
        self._show()

    def _make_list(self) -> QListWidget:
        frames = controls.named(
            QListWidget(),
            "export.frames",
            "Brains of the film, from top to bottom. Drag to reorder; double-click\nto show.",
        )
        frames.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        frames.setIconSize(THUMBNAIL)
        frames.setFixedHeight(controls.scaled(LIST_HEIGHT))
        frames.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # brains of a kind differ at the end
        return frames

    def _lay_out(self) -> None:
        controls.stack(
            controls.heading("Film"),
            self.empty,
            self.frames,
            controls.row(self.add, self.favourites, self.remove),
            self.form.layout(),
            self.form.native("loop"),
            self.note,
            self.save,
            on=self,
            spacing=9,
        )

    def _connect(self) -> None:
        self.add.clicked.connect(lambda: self.add_recipes(self.session.shown.drawn))
        self.favourites.clicked.connect(
            lambda: self.add_recipes(*(item.recipe for item in self.session.favourites.items))
        )
        self.remove.clicked.connect(self._remove)
        self.frames.itemSelectionChanged.connect(self._show)
        self.frames.itemDoubleClicked.connect(
            lambda item: self.session.change(self._recipe_of(item))
        )
        self.session.favourites.changed.connect(self._show)
        self.form.changed.connect(self._show)

    def _recipe_of(self, item: QListWidgetItem) -> Recipe:
        return self._recipes[int(item.data(KEY))]

    def _remove(self) -> None:
        for item in self.frames.selectedItems():
            self.frames.takeItem(self.frames.row(item))
        self._show()

    def _show(self, _event: Any = None) -> None:
        """Describe the film, or what is still missing for it."""
        if self.frames.count() and not self._offered:  # looking for ffmpeg takes a while
            self._offered = True
            offer(self.kind, ".mp4", _without_ffmpeg(), ".gif")
        self.empty.setVisible(not self.recipes)
        self.frames.setVisible(bool(self.recipes))
        self.remove.setEnabled(bool(self.frames.selectedItems()))
        self.favourites.setEnabled(bool(self.session.favourites.items))
        missing = "Add at least two brains." if len(self.recipes) < 2 else ""
        self.note.setText(missing or self._estimate())
        self.can_save = not missing
        self.changed.emit()

    def _estimate(self) -> str:
        frames = self.frame_count
        text = f"{frames} frames, {frames / self.settings.fps:.1f} s long"
        if self._seconds_each:
            took = duration_in_words(frames * self._seconds_each)
            text += f"; rendering takes about {took}"
        return text + "."

    def _on_thumbnail(self, recipe: Recipe, image: QImage) -> None:
        for row in range(self.frames.count()):
            if self._recipe_of(self.frames.item(row)) == recipe:
                self.frames.item(row).setIcon(_icon(image))


@cache
def _without_ffmpeg() -> str:
    """What is missing for an MP4, in a sentence; empty if nothing is."""
    from stylegan3d.outputs.films import NO_FFMPEG, has_ffmpeg

    return "" if has_ffmpeg() else NO_FFMPEG


def _icon(image: QImage) -> QIcon:
    return QIcon(QPixmap.fromImage(image))
