"""The part of Export that saves, copies and opens recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QWidget

from napari_stylegan3d.core.jobs import latent_of, own_path
from napari_stylegan3d.core.messages import report_error
from napari_stylegan3d.widgets import controls, dialogs
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.text import to_link

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Recipe


class RecipePart(QWidget):
    """Copies the recipe as command, JSON or link; opens one from a file."""

    said = Signal(str)
    """What was done, or why not."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        button = controls.push_button
        self.copy_command = button(
            "Copy command",
            "export.copy_command",
            "Copy a shell command that writes this volume.",
        )
        self.copy_json = button("Copy JSON", "export.copy_json", "Copy the recipe as JSON.")
        self.copy_link = button(
            "Copy link",
            "export.copy_link",
            "Copy the recipe as a link, for a message; paste it in the explorer with Ctrl+V.",
        )
        self.open_recipe = button(
            "Open recipe…", "export.open_recipe", "Open a recipe, or a saved volume's .json."
        )
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
        generator = self.session.generator
        return self.session.recipe if generator is None else self.session.recipe.signed(generator)

    def _model(self) -> tuple[str | None, str | None]:
        """Path and frame of the model for commands; None where they need no naming."""
        generator = self.session.generator
        path = own_path(generator)
        if generator is None or path is None:
            return None, None
        return str(path), str(generator.frame) if generator.frame else None

    def _copy(self, text: str, what: str) -> None:
        QApplication.clipboard().setText(text)
        note = ""
        sources = [self.session.recipe.source]
        if self.session.recipe.mix:
            sources.append(self.session.recipe.mix.source)
        folder = str(self.session.folder)
        if any(source.path and source.path.startswith(folder) for source in sources):
            note = " It needs the latent of the projected scan: save that too."
        self.said.emit(f"{what} copied.{note}")

    def _open_recipe(self) -> None:
        from stylegan3d.recipe.text import read_recipe

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
