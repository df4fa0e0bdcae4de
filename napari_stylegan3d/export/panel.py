"""Export: the volume, the latent, pictures, a report, a film, the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QLineEdit,
    QProgressBar,
    QWidget,
)

from napari_stylegan3d.core.panel import Panel
from napari_stylegan3d.core.whose import scan_file_of
from napari_stylegan3d.core.worker import JobStatus, duration_in_words
from napari_stylegan3d.export.film import FilmPart
from napari_stylegan3d.export.jobs import AsDicom, Saved, Target
from napari_stylegan3d.export.picture import PicturePart
from napari_stylegan3d.export.recipe import RecipePart
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.settings.export import ExportSettings
from stylegan3d.settings.report import ReportSettings

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator


class ExportPanel(Panel):
    """File names follow the recipe until the user types one."""

    key = "Export"
    title = "Export"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.running = False
        self._generator: Generator | None = None
        self.folder = controls.named(
            QLineEdit(str(Path.home())), "export.folder", "Folder for all saved files."
        )
        self.browse = controls.push_button("…", "export.browse", "Choose the folder.")
        self.browse.setFixedWidth(controls.scaled(34))
        self.name = controls.named(
            QLineEdit(), "export.name", "File name of the volume; empty for the suggested name."
        )
        self.form = Form(ExportSettings, "export.")
        self.native = self.form.native("native")
        self.overwrite = self.form.native("overwrite")
        self.dicom = self.form.native("dicom")
        self.report_form = Form(ReportSettings, "export.", only=("html",))
        self.joins = controls.hint(name="export.dicom_study")
        button = controls.push_button
        self.save = button(
            "Save volume",
            "export.save",
            (
                "Save the current volume as NIfTI in full quality, with its recipe in a .json "
                "beside it."
            ),
            "primary",
        )
        self.save_latent = button(
            "Save latent",
            "export.save_latent",
            "Save the latent, to open it again or to mix it.",
        )
        self.save_edited = button(
            "Save edited scan",
            "export.save_edited",
            (
                "Save the edited scan as NIfTI on the grid of the scan itself, with what changed "
                "in it\nand how tissue moved in files beside it."
            ),
            "primary",
        )
        self.edited_name = controls.hint(name="export.edited_name")
        self.unlabelled = controls.hint(
            "Without edited labels, and so are report and film: save those under Labels.",
            name="export.unlabelled",
        )
        self.picture, self.film = PicturePart(), FilmPart(session)
        self.report = button(
            "Save report",
            "export.report",
            (
                "One page about this case, as PDF (A4) and as one HTML file: verdicts, views "
                "beside the scan, volumes on curves over age, recipe."
            ),
        )
        self.recipe = RecipePart(session)
        self.progress = controls.named(QProgressBar(), "export.progress", "Progress of saving.")
        self.cancel = button("Cancel", "export.cancel", "Stop; nothing is written.")
        self.progress_text = controls.hint(name="export.progress_text")
        self.done = controls.hint(name="export.done")
        self._lay_out()
        self._connect()
        self.show_recipe(session.recipe)

    def _lay_out(self) -> None:
        add = self.column.addWidget
        add(controls.heading("Save to"))
        self.column.addLayout(controls.row(self.folder, self.browse, stretch=0))
        add(self.overwrite)
        add(self.dicom)
        add(self.joins)
        add(controls.line())
        add(controls.heading("Volume"))
        add(self.save_edited)
        add(self.edited_name)
        self.column.addLayout(controls.form(("Name", self.name)))
        add(self.native)
        self.column.addLayout(controls.row(self.save, self.save_latent, stretch=0))
        add(self.unlabelled)
        add(controls.line())
        add(self.picture)
        add(controls.line())
        add(controls.heading("Report"))
        add(self.report_form.native("html"))
        add(self.report)
        add(controls.line())
        add(self.film)
        add(controls.line())
        add(self.recipe)
        self.column.addStretch(1)

    def footer(self) -> QWidget:
        """Progress and the last export; stays visible below the part that scrolls."""
        footer = QWidget()
        controls.stack(
            controls.row(self.progress, self.cancel, stretch=0),
            self.progress_text,
            self.done,
            on=footer,
            spacing=-1,
            margins=(14, 6, 14, 8),
        )
        for widget in (self.progress, self.cancel, self.progress_text):
            widget.hide()
        return footer

    def _connect(self) -> None:
        self.browse.clicked.connect(self._choose_folder)
        self.session.lookChanged.connect(lambda: self.show_recipe(self.session.recipe))
        self.film.changed.connect(self._enable)
        self.dicom.toggled.connect(self._show_study)
        self.session.caseChanged.connect(self._show_study)
        self.recipe.said.connect(self.done.setText)

    def show_recipe(self, recipe: Recipe) -> None:
        """Suggest a name, and offer the scan's own space where there is one."""
        shown = self.session.shown.drawn
        self.name.setPlaceholderText(self.volume_name(shown))
        edited = shown.is_edited_scan
        self._show_study()
        native = recipe.source.kind == "projected" and not edited
        self.native.setVisible(not edited)
        self.native.setEnabled(native)
        if not native:
            self.native.setChecked(False)
        self.save_edited.setVisible(edited)
        self.edited_name.setVisible(edited)
        if edited:
            name = self.volume_name(shown, native=True)
            self.edited_name.setText(f"{name}, on the scan's own grid")
        self.unlabelled.setVisible(self.session.shown.what == "painted")
        grid = "Save on the model's grid" if edited else "Save volume"
        self.save.setText(grid)
        self.save.setProperty("role", "" if edited else "primary")
        self.save.style().unpolish(self.save)
        self.save.style().polish(self.save)

    def show_model(self, generator: Generator) -> None:
        """Saving needs a model, and key frames are of one."""
        if generator is not self._generator:
            self._generator = generator
            self.film.clear()
        self._enable()

    def show_running(self, running: bool) -> None:
        """One thing is saved at a time."""
        self.running = running
        for widget in (self.progress, self.cancel, self.progress_text):
            widget.setVisible(running)
        if running:
            self.done.clear()
            self.progress.setRange(0, 1)
            self.progress.setValue(0)
            self.progress_text.setText("Starting…")
        self._enable()

    def show_progress(self, progress: JobStatus) -> None:
        """Show the progress and the remaining time."""
        self.progress.setRange(0, 1000)
        self.progress.setValue(round(1000 * progress.fraction))
        text = progress.text + (f", {progress.detail}" if progress.detail else "")
        if progress.remaining_s is not None:
            text += f", about {duration_in_words(progress.remaining_s)} left"
        self.progress_text.setText(text)

    def show_done(self, paths: list[Path]) -> None:
        """Show the written files."""
        self.done.setText("Saved\n" + "\n".join(path.name for path in paths))

    def _enable(self) -> None:
        ready = self.session.generator is not None and not self.running
        every = (self.save, self.save_edited, self.save_latent, self.picture.save, self.report)
        for widget in every:
            widget.setEnabled(ready)
        self.film.save.setEnabled(ready and self.film.can_save)

    def show_saved(self, saved: Saved) -> None:
        """Something was saved: from now on the recipe refers to the latents saved with it."""
        for old, new in saved.moved.items():
            self.session.replace_source(old, new)
        self.show_done(saved.paths)

    def path_of(self, name: str) -> Path:
        """A name in the chosen folder."""
        return Path(self.folder.text()).expanduser() / name

    def _series(self) -> tuple[str, AsDicom] | None:
        """The patient that the current brain is made from, and the DICOM series; None without.

        What is mixed of several patients is nobody's.
        """
        cases = [self.session.case_of(s) for s in self.session.shown.drawn.sources]
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
        own = "DICOM: a new study without a patient"
        joined = "DICOM: joins the patient and study of {name}"
        self.joins.setText(own if found is None else joined.format(name=found[0]))

    def _as_dicom(self) -> AsDicom | None:
        """Whether files are to be written as DICOM too."""
        if not self.form.value.dicom:
            return None
        found = self._series()
        return AsDicom() if found is None else found[1]

    def target(self, name: str) -> Target:
        """A name in the chosen folder, and how files are to be written there."""
        overwrite = self.form.value.overwrite
        return Target(self.path_of(name), overwrite, self.session.folder, self._as_dicom())

    def volume_name(self, recipe: Recipe, *, native: bool = False) -> str:
        """The name that the command line proposes too, before there is a latent file."""
        from stylegan3d.outputs import results

        return results.volume_name(recipe, native=native, scan=scan_file_of(self.session, recipe))

    def _choose_folder(self) -> None:
        folder = dialogs.choose_folder(self, "Save to", self.path_of(""))
        if folder is not None:
            self.folder.setText(str(folder))
