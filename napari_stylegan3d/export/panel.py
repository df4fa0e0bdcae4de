"""Export: the volume, the latent, pictures, a report, a film, the recipe.

Saving the current view: the logic of the Export tab.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy import QtWidgets
from qtpy.QtCore import QObject, QSize, Qt, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap, QShowEvent

from napari_stylegan3d.core.jobs import latent_of, own_path
from napari_stylegan3d.core.panel import Context, ExplorerPanel, offer
from napari_stylegan3d.core.session import Session, report_error
from napari_stylegan3d.core.worker import JobStatus, LongJob
from napari_stylegan3d.export import jobs
from napari_stylegan3d.export.jobs import AsDicom, ExportTarget, SavedFiles, pictured
from napari_stylegan3d.views.canvases import print_scale, view_picture
from napari_stylegan3d.views.display import KEY, engine_volume
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.forms import Form
from napari_stylegan3d.widgets.settings import SAVE_FOLDER, settings, unusual_z
from stylegan3d.base import OutputError, StyleGAN3DError, duration
from stylegan3d.recipe.description import describe_recipe, read_recipe, to_link
from stylegan3d.recipe.keyframes import check_key_frames, count_stills
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.figures import Look, lightbox
from stylegan3d.session.provenance import scan_file_of
from stylegan3d.settings.option import ExportSettings, FilmSettings, PictureSettings, ReportSettings
from stylegan3d.storage.files import OVERWRITE
from stylegan3d.storage.formats import portable

if TYPE_CHECKING:
    from napari_stylegan3d.core.thumbnails import Thumbnails
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.geometry.space import Plane, Upright
    from stylegan3d.model.generator import Generator


OWNER = "export.frames"
NEW_STUDY = "a new study; patient name SYNTHETIC^ plus the start of the file name"
NO_NAME = 'avoid / \\ : * ? " < > |, leading/trailing dots, device names (CON, NUL) and long names.'
#: Object names of fields that are called otherwise in the settings.
NAMES = {"easing": "pace", "how": "way", "suffix": "kind"}
FRAME = Qt.ItemDataRole.UserRole
THUMBNAIL = QSize(40, 40)
LIST_HEIGHT = 148


class FilmPart(QtWidgets.QWidget):
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
        self._recipes: list[Recipe] = []
        self.frames = controls.named(QtWidgets.QListWidget(), "export.frames")
        button = controls.push_button
        self.add = button("export.frames_add")
        self.favourites = button("export.frames_favourites")
        self.remove = button("export.frames_remove")
        self.form = Form(FilmSettings, "export.film_", NAMES)
        self.kind = self.form.native("suffix")
        self.save = button("export.film")
        self.note = controls.hint(name="export.film_note")
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

    def add_recipes(self, *recipes: Recipe) -> None:
        """Put brains at the end of the list."""
        for recipe in recipes:
            item = QtWidgets.QListWidgetItem(describe_recipe(recipe))
            item.setToolTip(f"{describe_recipe(recipe)}\nDrag it to another place in the film.")
            item.setData(FRAME, len(self._recipes))
            self._recipes.append(recipe)
            item.setSizeHint(QSize(0, THUMBNAIL.height() + 6))
            image = self._thumbnails and self._thumbnails.image(recipe)
            if image:
                item.setIcon(QIcon(QPixmap.fromImage(image)))
            self.frames.addItem(item)
        if self._thumbnails is not None:
            self._thumbnails.want(OWNER, self.recipes)
        self._keep()

    def showEvent(self, event: QShowEvent) -> None:
        """Offer the formats that can be written: to look for ffmpeg takes a while."""
        super().showEvent(event)
        offer(self.kind, ".mp4", _without_ffmpeg(), ".gif")
        self._show()

    def _lay_out(self) -> None:
        frames = self.frames
        frames.setDragDropMode(QtWidgets.QAbstractItemView.DragDropMode.InternalMove)
        frames.setIconSize(THUMBNAIL)
        frames.setFixedHeight(controls.scaled(LIST_HEIGHT))
        frames.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # brains of a kind differ at the end
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
        self.add.clicked.connect(
            lambda: self.add_recipes(*filter(None, (self.session.state.drawn,)))
        )
        self.favourites.clicked.connect(
            lambda: self.add_recipes(*(item.recipe for item in self.session.favourites.items))
        )
        self.remove.clicked.connect(self._remove)
        self.frames.itemSelectionChanged.connect(self._show)
        self.frames.itemDoubleClicked.connect(
            lambda item: self.session.change(self._recipe_of(item))
        )
        self.frames.model().rowsMoved.connect(self._keep)
        self.session.favourites.changed.connect(self._show)
        self.session.framesChanged.connect(self._take)
        self.session.modelChanged.connect(lambda _: self._take())
        self.form.changed.connect(self._show)

    def _take(self) -> None:
        """Show the session's key frames."""
        if (kept := self.session.key_frames("film")) != self.recipes:
            self.frames.clear()
            self.add_recipes(*kept)
        self._show()

    def _keep(self) -> None:
        """The session's key frames are those of the list."""
        self.session.keep_key_frames("film", self.recipes)

    def _recipe_of(self, item: QtWidgets.QListWidgetItem) -> Recipe:
        return self._recipes[int(item.data(FRAME))]

    def _remove(self) -> None:
        for item in self.frames.selectedItems():
            self.frames.takeItem(self.frames.row(item))
        self._keep()

    def _show(self, *_event: object) -> None:
        """Describe the film, or what is still missing for it."""
        self.empty.setVisible(not self.recipes)
        self.frames.setVisible(bool(self.recipes))
        self.remove.setEnabled(bool(self.frames.selectedItems()))
        self.favourites.setEnabled(bool(self.session.favourites.items))
        missing = "Add at least two brains." if len(self.recipes) < 2 else ""
        lacking = _without_ffmpeg() if self.isVisible() else ""
        self.note.setText(f"{missing or self._estimate()} {lacking}".strip())
        self.can_save = not missing
        self.changed.emit()

    def _estimate(self) -> str:
        settings: FilmSettings = self.form.value
        frames = count_stills(len(self.recipes), settings.frames_per_leg, settings.loop)
        text = f"{frames} frames, {frames / settings.fps:.1f} s long"
        if self._seconds_each:
            text += f"; rendering takes about {duration(frames * self._seconds_each)}"
        return text + "."

    def _on_thumbnail(self, recipe: Recipe, image: QImage) -> None:
        for row in range(self.frames.count()):
            if self._recipe_of(self.frames.item(row)) == recipe:
                self.frames.item(row).setIcon(QIcon(QPixmap.fromImage(image)))


@cache
def _without_ffmpeg() -> str:
    """What is missing for an MP4, in a sentence; empty if nothing is."""
    from stylegan3d.outputs.films import NO_FFMPEG, has_ffmpeg

    return "" if has_ffmpeg() else NO_FFMPEG


class PicturePart(QtWidgets.QWidget):
    """What to draw, how large, and the button."""

    def __init__(self) -> None:
        super().__init__()
        self.form = Form(PictureSettings, "export.picture_")
        self.view = self.form.native("view")
        self.save = controls.push_button("export.screenshot")
        controls.stack(
            controls.heading("Picture"), self.form.layout(), self.save, on=self, spacing=9
        )


class RecipePart(QtWidgets.QWidget):
    """Copies the recipe as command, JSON or link; opens one from a file."""

    #: What was done, or why not.
    said = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        button = controls.push_button
        self.copy_command = button("export.copy_command")
        self.copy_json = button("export.copy_json")
        self.copy_link = button("export.copy_link")
        self.open_recipe = button("export.open_recipe")
        controls.stack(
            controls.heading("Recipe"),
            controls.hint("Everything needed to reproduce this volume, bit for bit."),
            controls.row(self.copy_command, self.copy_json, self.copy_link),
            self.open_recipe,
            on=self,
            spacing=9,
        )
        self.copy_command.clicked.connect(
            lambda: self._copy(self._recipe().command(*self._model()), "Command")
        )
        self.copy_json.clicked.connect(lambda: self._copy(self._recipe().to_json(), "Recipe"))
        self.copy_link.clicked.connect(lambda: self._copy(to_link(self._recipe()), "Link"))
        self.open_recipe.clicked.connect(self._open_recipe)

    def _recipe(self) -> Recipe:
        """The recipe with the name of its model: in another one it would be another brain."""
        generator, recipe = self.session.generator, self.session.brain
        return recipe if generator is None else recipe.signed(generator)

    def _model(self) -> tuple[str | None, str | None]:
        """Path and frame of the model for commands; None where they need no naming."""
        generator = self.session.generator
        path = own_path(generator)
        if generator is None or path is None:
            return None, None
        return str(path), str(generator.frame) if generator.frame else None

    def _copy(self, text: str, what: str) -> None:
        QtWidgets.QApplication.clipboard().setText(text)
        note = ""
        folder = str(self.session.folder)
        sources = self.session.brain.sources
        if any(source.path and source.path.startswith(folder) for source in sources):
            note = " It needs the latent of the projected scan: save that too."
        self.said.emit(f"{what} copied.{note}")

    def _open_recipe(self) -> None:

        path = dialogs.open_file(self, "Open a recipe", dialogs.RECIPES)
        if path is None:
            return
        try:
            recipe = read_recipe(path)
            if self.session.generator is not None:
                recipe.check(self.session.generator)
                latent_of(recipe, self.session.generator, "rough")  # the picture comes later
        except StyleGAN3DError as error:
            self.said.emit(report_error(error, "opening a recipe"))
            return
        self.session.change(recipe)
        self.said.emit(f"Opened {path.name}")


class ExportPanel(ExplorerPanel):
    """File names follow the recipe until the user types one."""

    title = "Export"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.running = False
        self.folder = controls.named(QtWidgets.QLineEdit(str(Path.home())), "export.folder")
        self.browse = controls.push_button("export.browse")
        self.browse.setFixedWidth(controls.scaled(34))
        self.name = controls.named(QtWidgets.QLineEdit(), "export.name")
        self.form = Form(ExportSettings, "export.")
        self.native = self.form.native("native")
        self.overwrite = self.form.native("overwrite")
        self.dicom = self.form.native("dicom")
        self.report_form = Form(ReportSettings, "export.", only=("html",))
        self.joins = controls.hint(name="export.dicom_study")
        button = controls.push_button
        self.save = button("export.save", role="primary")
        self.save_latent = button("export.save_latent")
        self.save_edited = button("export.save_edited", role="primary")
        self.edited_name = controls.hint(name="export.edited_name")
        self.unlabelled = controls.hint(
            "Volume, report and film leave out edited labels: save those under Labels.",
            name="export.unlabelled",
        )
        self.picture, self.film = PicturePart(), FilmPart(session)
        self.report = button("export.report")
        self.recipe = RecipePart(session)
        self.progress = controls.named(QtWidgets.QProgressBar(), "export.progress")
        self.cancel = button("export.cancel")
        self.progress_text = controls.hint(name="export.progress_text")
        self.done = controls.hint(name="export.done")
        self._lay_out()
        self._connect()
        self.show_recipe(session.recipe)

    def _lay_out(self) -> None:
        section = partial(controls.section, self.column)
        folder = controls.row(self.folder, self.browse, stretch=0)
        section("Save to", folder, self.overwrite, self.dicom, self.joins)
        name = controls.form(("Name", self.name))
        save = controls.row(self.save, self.save_latent, stretch=0)
        section(
            "Volume", self.save_edited, self.edited_name, name, self.native, save, self.unlabelled
        )
        section("", self.picture)
        section("Report", self.report_form.native("html"), self.report)
        section("", self.film)
        section("", self.recipe)
        self.column.addStretch(1)

    def footer(self) -> QtWidgets.QWidget:
        """Progress and the last export; stays visible below the part that scrolls."""
        bar = controls.row(self.progress, self.cancel, stretch=0)
        footer = controls.footer(bar, self.progress_text, self.done)
        controls.reveal(False, self.progress, self.cancel, self.progress_text)
        return footer

    def _connect(self) -> None:
        self.browse.clicked.connect(self._choose_folder)
        self.session.lookChanged.connect(lambda: self.show_recipe(self.session.recipe))
        # A name that was typed is of one subject.
        self.session.changed.connect(lambda c: self.name.clear() if c.another_subject else None)
        self.film.changed.connect(self._enable)
        self.dicom.toggled.connect(self._show_study)
        self.session.caseChanged.connect(self._show_study)
        self.recipe.said.connect(self.done.setText)

    def show_recipe(self, _recipe: Recipe | None) -> None:
        """Suggest a name, and offer the scan's own space where there is one."""
        recipe, shown = self.session.recipe, self.session.state.drawn
        self._enable()
        self._show_study()
        if recipe is None or shown is None:
            self.name.setPlaceholderText("Project this scan to save volumes of it")
            controls.reveal(False, self.save_edited, self.edited_name, self.unlabelled)
            return
        self.name.setPlaceholderText(self.volume_name(shown))
        edited = shown.is_edited_scan
        native = recipe.source.kind == "projected" and not edited
        self.native.setVisible(not edited)
        self.native.setEnabled(native)
        if not native:
            self.native.setChecked(False)
        controls.reveal(edited, self.save_edited, self.edited_name)
        if edited:
            name = self.volume_name(shown, native=True)
            self.edited_name.setText(f"{name}, on the scan's own grid")
        self.unlabelled.setVisible(self.session.state.what == "painted")
        grid = "Save on the model's grid" if edited else "Save volume"
        self.save.setText(grid)
        controls.set_role(self.save, "" if edited else "primary")

    def show_model(self, _generator: Generator) -> None:
        """Saving needs a model."""
        self._enable()

    def show_running(self, running: bool) -> None:
        """One thing is saved at a time."""
        self.running = running
        controls.reveal(running, self.progress, self.cancel, self.progress_text)
        if running:
            self.progress.setRange(0, 1)
            self.progress.setValue(0)
            self.progress_text.setText("Starting…")
        self._enable()

    def show_progress(self, progress: JobStatus) -> None:
        """Show the progress and the remaining time."""
        self.progress.setRange(0, 1000)
        self.progress.setValue(round(1000 * progress.fraction))
        self.progress_text.setText(progress.in_words)

    def _enable(self) -> None:
        ready = self.session.generator is not None and not self.running
        projected = ready and self.session.recipe is not None
        self.picture.save.setEnabled(ready)
        copies = self.recipe.copy_command, self.recipe.copy_json, self.recipe.copy_link
        controls.enable(self.session.recipe is not None, *copies)
        buttons = self.save, self.save_edited, self.save_latent, self.report, self.film.add
        controls.enable(projected, *buttons)
        self.film.save.setEnabled(ready and self.film.can_save)

    def show_saved(self, saved: SavedFiles) -> None:
        """Something was saved: from now on the recipe refers to the latents saved with it."""
        for old, new in saved.moved.items():
            self.session.replace_source(old, new)
        self.done.setText("Saved\n" + "\n".join(path.name for path in saved.paths))

    def path_of(self, name: str) -> Path:
        """A name in the chosen folder; OutputError without one: where would the file be?"""
        folder = os.path.expanduser(self.folder.text().strip())
        if not os.path.isabs(folder):
            raise OutputError(
                "Save to needs the full path of a folder: choose one with the button beside it."
            )
        return Path(folder, name)

    def typed_name(self) -> str:
        """What was typed as a name, without its ending; OutputError if no file can be called so."""
        stem = self.name.text().strip().removesuffix(".gz").removesuffix(".nii")
        if stem.startswith(".") or stem != portable(stem):
            raise OutputError(f"{stem[:40]} cannot be the name of a file: {NO_NAME}")
        return stem

    def _series(self) -> tuple[str, AsDicom] | None:
        """The patient that the current brain is made from, and the DICOM series; None without.

        What is mixed of several patients is nobody's.
        """
        drawn = self.session.state.drawn
        sources = () if drawn is None else drawn.sources
        cases = [self.session.case_of(s) for s in sources] or [self.session.case]
        keys = {None if case is None else case.key for case in cases}
        case = cases[0]
        if len(keys) != 1 or case is None or case.choice is None or not case.is_dicom:
            return None
        return case.name, AsDicom(case.choice.path, case.choice.series)

    def _show_study(self) -> None:
        """Say whose study DICOM files join, before they are written."""
        wanted = self.dicom.isChecked()
        self.joins.setVisible(wanted)
        if not wanted:  # looking at the series reads files, and recipes change many times a second
            return
        found = self._series()
        joined = "" if found is None else f"joins the patient and study of {found[0]}"
        self.joins.setText(f"DICOM: {joined or NEW_STUDY}")

    def target(self, name: str) -> ExportTarget:
        """A name in the chosen folder, and how files are to be written there."""
        settings, dicom = self.form.value, None
        if settings.dicom:
            found = self._series()
            dicom = AsDicom() if found is None else found[1]
        return ExportTarget(self.path_of(name), settings.overwrite, self.session.folder, dicom)

    def volume_name(self, recipe: Recipe, *, native: bool = False) -> str:
        """The name that the command line proposes too, before there is a latent file."""
        from stylegan3d.outputs import results

        return results.volume_name(recipe, native=native, scan=scan_file_of(self.session, recipe))

    def _choose_folder(self) -> None:
        folder = dialogs.choose_folder(self, "Save to", Path(self.folder.text()))
        if folder is not None:
            self.folder.setText(str(folder))


SUFFIX, REPLACE = ".nii.gz", "tick Replace files of the same name"
#: Pixels per mm of a film and of a lightbox twice as large as on the screen.
SCREEN_SCALE = 2.0


def printed(volume: Upright, plane: Plane, look: Look) -> Any:
    """A lightbox as wide as pictures are printed, whatever the width of the head."""
    scale = look.pixels_per_mm * print_scale(lightbox(volume, plane, look).width)
    return lightbox(volume, plane, replace(look, pixels_per_mm=scale))


class ExportController(QObject):
    """Runs one export at a time as a long job, and reports its progress to the panel."""

    def __init__(self, context: Context, panel: ExportPanel) -> None:
        super().__init__(context.dock)
        self.panel, self.session = panel, context.session
        self.render, self.comparison = context.render, context.comparison
        self.messages = context.session.messages
        #: While there are any.
        self.views: FourViews | None = None
        self.job = LongJob(self, panel.show_saved, self._fail, progressed=panel.show_progress)
        self.job.cancelled.connect(lambda: panel.done.setText("Cancelled. Nothing was saved."))
        self.job.runningChanged.connect(panel.show_running)
        self.job.runningChanged.connect(self._note_folder)
        panel.cancel.clicked.connect(self.job.cancel)
        #: What the job is about.
        self._saving: list[Any] = []
        context.session.closing.connect(self._on_closing)
        for button, save in (
            (panel.save, self._save_volume),
            (panel.save_edited, self._save_edited),
            (panel.save_latent, self._save_latent),
            (panel.picture.save, self._save_picture),
            (panel.film.save, self._save_film),
            (panel.report, self._save_report),
        ):
            button.clicked.connect(partial(self._begin, save))
        panel.film.use_thumbnails(context.thumbnails)
        context.render.shown.connect(self._on_shown)

    def _note_folder(self, running: bool) -> None:
        """Where something is being saved: after a sudden end, the next start clears up there."""
        if running:
            settings().setValue(SAVE_FOLDER, self.panel.folder.text())

    def _on_shown(self, _recipe: Any, picture: Any) -> None:
        if picture.quality == "full":
            self.panel.film.set_seconds_each(picture.rendered.seconds)

    @property
    def _drawn(self) -> Any:
        """What is saved; without it the buttons are disabled."""
        drawn = self.session.state.drawn
        assert drawn is not None
        return drawn

    def _begin(self, save: Callable[[], None], _clicked: bool = False) -> None:
        """Start to save, and tell no longer of what was saved, or failed, before."""
        self.messages.cleared.emit()
        self.panel.done.setText("")
        with self.messages.during("saving"):
            save()

    def _fail(self, error: Exception) -> None:
        """Report an error; what may be asked for has a name in the window."""
        if isinstance(error, OutputError):
            error = OutputError(str(error).replace(OVERWRITE, REPLACE))
        self.messages.fail(error, "saving")

    def _on_closing(self, key: str) -> None:
        """Of a patient who is closed nothing is saved any more."""
        if any(self.session.is_of(key, one) for one in self._saving):
            self.job.cancel()

    def _start(self, save: Callable[..., jobs.SavedFiles], name: str, *what: Any) -> None:
        self._saving = [shown for one in what for shown in getattr(one, "recipes", [one])]
        self.job.start(save, self.render.loaded, self.panel.target(name), *what)

    def _save_volume(self) -> None:
        panel, recipe = self.panel, self._drawn
        typed, native = panel.typed_name(), None
        name = f"{typed}{SUFFIX}" if typed else panel.volume_name(recipe)
        if panel.form.value.native:
            beside = f"{typed}_native{SUFFIX}"
            native = panel.path_of(beside if typed else panel.volume_name(recipe, native=True))
        self._start(jobs.save_volume, name, recipe, native)

    def _save_edited(self) -> None:
        recipe = self._drawn
        self._start(jobs.save_edited, self.panel.volume_name(recipe, native=True), recipe)

    def _save_latent(self) -> None:
        from stylegan3d.outputs.results import name_beside

        recipe = self.session.brain
        scan = scan_file_of(self.session, recipe)
        self._start(jobs.save_latent, name_beside(recipe, "latent.safetensors", scan=scan), recipe)

    def _save_picture(self) -> None:

        if self.views is None or self.render.loaded is None:
            return
        settings: PictureSettings = self.panel.picture.form.value
        shown = pictured(self.comparison, alone=settings.plane is not None)
        picture = self._picture(settings)
        size = "" if settings.size == "screen" else f"-{settings.size}"
        self._start(jobs.save_picture, shown.name(settings.what + size), shown, picture)

    def _picture(self, settings: PictureSettings) -> QImage | Callable[[], Any]:
        """A picture of the window, or a function that draws a lightbox."""
        from napari_stylegan3d.views.four import all_pictures

        views = self.views
        assert views is not None
        if settings.plane is not None:
            return self._lightbox(settings)
        view = None if settings.view == "all" else views.view(settings.view)
        if view is not None and not view.canvas.isVisible():
            raise OutputError(
                f"The {settings.view} view is not on the screen: show it first (View menu)."
            )
        scale = {"screen": 1.0, "double": 2.0, "print": 0.0}[settings.size]
        return all_pictures(views, scale) if view is None else view_picture(view.canvas, scale)

    def _lightbox(self, settings: PictureSettings) -> Callable[[], Any]:
        """What draws a lightbox of the volume on the stage, as bright as it is shown."""

        assert settings.plane is not None
        layer = self.comparison.stage.layer
        if layer is None:
            raise OutputError("Nothing to save yet: wait for the first brain.")
        provenance = layer.metadata[KEY]
        low, high = layer.contrast_limits
        views = self.views
        look = Look(
            1.0 if settings.size == "screen" else SCREEN_SCALE,
            (low, high),
            "radiological" if views is None else views.looks.look.convention,
            provenance.kind == "difference",
            provenance.one_line.replace("–", "-").replace("·", "|"),
        )
        volume = engine_volume(layer)
        draw = printed if settings.size == "print" else lightbox
        return partial(draw, volume, settings.plane, look)

    def _save_film(self) -> None:
        from stylegan3d.outputs.films import Film

        views, session = self.views, self.session
        recipes, settings = self.panel.film.recipes, self.panel.film.form.value
        convention = views.looks.look.convention if views else "radiological"
        look = Look(SCREEN_SCALE, convention=convention)
        film = Film(recipes, settings, settings.planes, self._crosshair(), look)
        if session.generator is not None:
            check_key_frames(film.recipes, session.generator)
        stem = self.panel.volume_name(recipes[0]).removesuffix(SUFFIX)
        self._start(jobs.save_film, f"{stem}_{film.name}{settings.suffix}", film)

    def _crosshair(self) -> tuple[float, float, float] | None:
        """The point that the slices pass through, if inside the model's field of view."""
        views, generator = self.views, self.session.generator
        if views is None or generator is None or len(views.viewer.dims.point) != 3:
            return None
        x, y, z = (float(value) for value in views.viewer.dims.point)
        index = np.linalg.inv(generator.affine) @ (x, y, z, 1.0)
        inside = ((index[:3] >= 0) & (index[:3] <= np.array(generator.shape) - 1)).all()
        return (x, y, z) if inside else None

    def _save_report(self) -> None:
        from stylegan3d.outputs.report import report_name

        session = self.session
        recipe, projected = self._drawn, session.result
        case = session.case_of(recipe.source)
        about: dict[str, Any] = {
            "name": "",
            "scan": None,
            "trust": None,
            "person": session.person_of(recipe)[0],
            "header_age": case.scan.person.age if case is not None and case.scan else None,
            "norms": session.norms,
        }
        if projected is not None:
            about |= {
                "name": projected.name,
                "scan": projected.aligned.volume if projected.aligned else None,
                "trust": projected.assessment,
            }
        name = report_name(recipe, scan=scan_file_of(session, recipe))
        settings = replace(self.panel.report_form.value, unusual_z=unusual_z())
        self._start(jobs.save_report, name, settings, recipe, about)
