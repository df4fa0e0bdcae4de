"""Export: save the volume, the latent, the recipe and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QCheckBox, QLineEdit

from napari_stylegan3d import controls, dialogs
from napari_stylegan3d.notify import tell_error
from napari_stylegan3d.panels.panel import Panel
from napari_stylegan3d.saving import Saved, SaveRequest
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe import Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.session import Session
    from stylegan3d.generator import Generator

SUFFIX = ".nii.gz"


class ExportPanel(Panel):
    """Names follow the recipe until the person types one."""

    title = "Export"

    saveRequested = Signal(object)
    """SaveRequest"""
    screenshotRequested = Signal(object)
    """Path"""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.folder = QLineEdit(str(Path.home()))
        self.folder.setObjectName("export.folder")
        self.folder.setToolTip("Folder that everything on this page is saved in.")
        self.browse = controls.push_button("…", "export.browse", "Choose the folder.")
        self.browse.setFixedWidth(34)
        self.name = QLineEdit()
        self.name.setObjectName("export.name")
        self.name.setToolTip("Name of the volume's file; empty for the suggestion.")
        self.native = QCheckBox("Also in the scan's own space")
        self.native.setObjectName("export.native")
        self.native.setToolTip(
            "A second file on the grid, orientation and intensities of the projected scan."
        )
        self.overwrite = QCheckBox("Replace files of the same name")
        self.overwrite.setObjectName("export.overwrite")
        self.overwrite.setToolTip("Without this, a file that exists is never touched.")
        button = controls.push_button
        self.save = button(
            "Save volume",
            "export.save",
            "Save what is shown as NIfTI in full quality, with its recipe in a .json beside it.",
            "primary",
        )
        self.save_latent = button(
            "Save latent",
            "export.save_latent",
            "Save the point in the model's latent space, to load it again or mix it.",
        )
        self.screenshot = button(
            "Save picture", "export.screenshot", "Save the four views as they are, as PNG."
        )
        self.copy_command = button(
            "Copy command",
            "export.copy_command",
            "Copy a shell command that writes this very volume.",
        )
        self.copy_json = button("Copy JSON", "export.copy_json", "Copy the recipe as JSON.")
        self.open_recipe = button(
            "Open recipe…", "export.open_recipe", "Open a recipe, or a saved volume's .json."
        )
        self.done = controls.hint(name="export.done")
        self._lay_out()
        self._connect()
        self.show_recipe(session.recipe)

    def _lay_out(self) -> None:
        add = self.column.addWidget
        add(controls.heading("Save to"))
        self.column.addLayout(controls.row(self.folder, self.browse, stretch=0))
        add(self.overwrite)
        add(controls.line())
        add(controls.heading("Volume"))
        self.column.addLayout(controls.form(("Name", self.name)))
        add(self.native)
        add(self.save)
        add(controls.line())
        add(controls.heading("Latent and picture"))
        self.column.addLayout(controls.row(self.save_latent, self.screenshot))
        add(controls.line())
        add(controls.heading("Recipe"))
        add(controls.hint("All that is needed to make this volume again, bit for bit."))
        self.column.addLayout(controls.row(self.copy_command, self.copy_json))
        add(self.open_recipe)
        self.column.addStretch(1)
        add(self.done)

    def _connect(self) -> None:
        self.browse.clicked.connect(self._choose_folder)
        self.save.clicked.connect(self._save)
        self.save_latent.clicked.connect(self._save_latent)
        self.screenshot.clicked.connect(self._save_picture)
        self.copy_command.clicked.connect(
            lambda: self._copy(self.session.recipe.command(*self._model()), "Command")
        )
        self.copy_json.clicked.connect(lambda: self._copy(self.session.recipe.to_json(), "Recipe"))
        self.open_recipe.clicked.connect(self._open_recipe)

    def show_recipe(self, recipe: Recipe) -> None:
        """Suggest a name, and offer the scan's own space where there is one."""
        from stylegan3d.outputs import volume_name

        self.name.setPlaceholderText(volume_name(recipe))
        projected = recipe.source.kind == "projected"
        self.native.setEnabled(projected)
        if not projected:
            self.native.setChecked(False)

    def show_model(self, generator: Generator) -> None:
        """Saving needs a model."""
        self.save.setEnabled(True)

    def show_done(self, paths: list[Path]) -> None:
        """Say what was written."""
        self.done.setText("Saved\n" + "\n".join(path.name for path in paths))

    def show_saved(self, saved: Saved) -> None:
        """A volume was saved: from now on the recipe refers to the latents saved with it."""
        for old, new in saved.moved.items():
            self.session.replace_source(old, new)
        self.show_done(saved.paths)

    def path_of(self, name: str) -> Path:
        """A name in the chosen folder."""
        return Path(self.folder.text()).expanduser() / name

    def _model(self) -> tuple[str | None, str | None]:
        """Path and frame of the model for commands; None where they need no naming."""
        from stylegan3d.generator import bundled_model_path

        generator = self.session.generator
        if generator is None or generator.path in (None, bundled_model_path()):
            return None, None
        return str(generator.path), str(generator.frame) if generator.frame else None

    def _save(self) -> None:
        from stylegan3d.outputs import volume_name

        recipe = self.session.recipe
        name = self.name.text().strip() or volume_name(recipe)
        if not name.endswith(SUFFIX):
            name += SUFFIX
        native = None
        if self.native.isChecked():
            typed = bool(self.name.text().strip())
            native_name = name.replace(SUFFIX, f"_native{SUFFIX}") if typed else ""
            native = self.path_of(native_name or volume_name(recipe, native=True))
        overwrite, folder = self.overwrite.isChecked(), self.session.folder
        self.saveRequested.emit(SaveRequest(recipe, self.path_of(name), native, overwrite, folder))

    def _save_latent(self) -> None:
        from stylegan3d.latents import Latent, read_latent, save_latent
        from stylegan3d.outputs import volume_name

        recipe, generator = self.session.recipe, self.session.generator
        if generator is None:
            return
        stem = volume_name(recipe).removesuffix(SUFFIX)
        path = self.path_of(stem.removesuffix("_T1w") + "_latent.safetensors")
        plain = recipe.source.kind != "seed" and recipe.mix is None and not recipe.edits
        try:
            if plain:
                latent = read_latent(str(recipe.source.path), generator)[0]
            else:
                latent = Latent.of(
                    generator,
                    recipe.latent(generator),
                    noise=recipe.noise,
                    scan=recipe.scan(),
                    delta=recipe.delta(generator),
                )
            sha256 = save_latent(path, latent, overwrite=self.overwrite.isChecked())
        except StyleGAN3DError as error:
            self.done.setText(tell_error(error, "saving the latent"))
            return
        if plain:
            kind = recipe.source.kind
            self.session.replace_source(recipe.source, Source(kind, path=str(path), sha256=sha256))
        self.show_done([path])

    def _save_picture(self) -> None:
        from stylegan3d.outputs import volume_name

        name = volume_name(self.session.recipe).removesuffix(SUFFIX) + ".png"
        self.screenshotRequested.emit(self.path_of(name))

    def _copy(self, text: str, what: str) -> None:
        QApplication.clipboard().setText(text)
        note = ""
        sources = [self.session.recipe.source]
        if self.session.recipe.mix:
            sources.append(self.session.recipe.mix.source)
        folder = str(self.session.folder)
        if any(source.path and source.path.startswith(folder) for source in sources):
            note = " It needs the latent of the projected scan: save that too."
        self.done.setText(f"{what} copied.{note}")

    def _choose_folder(self) -> None:
        folder = dialogs.choose_folder(self, "Save to", self.path_of(""))
        if folder is not None:
            self.folder.setText(str(folder))

    def _open_recipe(self) -> None:
        from stylegan3d.recipe import read_recipe

        path = dialogs.open_file(self, "Open a recipe", dialogs.RECIPES)
        if path is None:
            return
        try:
            recipe = read_recipe(path)
            if self.session.generator is not None:
                recipe.check(self.session.generator)
                recipe.latent(self.session.generator)
        except StyleGAN3DError as error:
            self.done.setText(tell_error(error, "opening a recipe"))
            return
        self.session.change(recipe)
        self.done.setText(f"Opened {path.name}")
