"""Opening recipes, latents, links and pasted commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import QApplication, QWidget

from napari_stylegan3d.core.context import report_done
from napari_stylegan3d.core.jobs import latent_of
from napari_stylegan3d.core.scans import Dropped, DropTarget
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.description import describe_recipe, from_text, read_recipe, to_link
from stylegan3d.recipe.recipe import Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.views.four import FourViews

#: Command name of the paste shortcut.
PASTE = "key.paste"


class OpenController(QObject):
    """Handles drops on explorer and views, and pasted recipes."""

    modelDropped = Signal(object)
    sessionDropped = Signal(object)
    scanDropped = Signal(object)
    """Path"""

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self.session, self.messages = context.session, context.messages
        self.viewer = context.comparison.stage.viewer
        self._roots: list[QWidget] = [context.dock]
        self._target = DropTarget(self.open, self._refuse, self)
        context.dock.setAcceptDrops(True)
        context.dock.installEventFilter(self._target)

    def begin(self, views: FourViews) -> None:
        """Also handle drops on the views."""
        self._roots.append(views)
        views.setAcceptDrops(True)
        for widget in (views, *(view.canvas for view in views.views)):
            widget.installEventFilter(self._target)
        self.viewer.layers.selection.events.active.connect(self._on_active)

    def let_go(self, views: FourViews) -> None:
        """Disconnect from the views."""
        self._roots.remove(views)
        for view in views.views:
            view.canvas.removeEventFilter(self._target)
        self.viewer.layers.selection.events.active.disconnect(self._on_active)

    def open(self, dropped: Dropped) -> None:
        """Open a dropped item."""
        path = dropped.path
        if dropped.kind == "model":
            self.modelDropped.emit(path)
        elif dropped.kind == "session":
            self.sessionDropped.emit(path)
        elif dropped.kind == "recipe":
            self.open_recipe(path)
        elif dropped.kind == "latent":
            self.open_latent(path)
        else:
            self.scanDropped.emit(path)

    def _refuse(self, names: str) -> None:
        problem = (
            "{names} cannot be opened here: drop a T1-weighted scan (NIfTI, MGH or a DICOM "
            "folder), a model, a latent, a recipe or a session. File > Open shows other images."
        )
        self.messages.fail(StyleGAN3DError(problem.format(names=names)), "opening the file")

    def open_recipe(self, path: Path) -> None:
        """Open the recipe in a file or sidecar."""
        try:
            recipe = read_recipe(path)
        except StyleGAN3DError as error:
            self.messages.fail(error, "opening the recipe")
        else:
            self._go_to(recipe, f"Opened the recipe of {path.name}")

    def open_latent(self, path: Path) -> None:
        """Show the brain of a latent file."""
        try:
            recipe = self.session.with_source(Source.from_file(path))
            recipe = recipe.replace(mix=None, edits=(), model=None)
        except StyleGAN3DError as error:
            self.messages.fail(error, "opening the latent")
        else:
            self._go_to(recipe, f"Showing the brain of {path.name}")

    def paste(self) -> None:
        """Open a recipe from the clipboard: command, JSON or link."""
        try:
            recipe = from_text(QApplication.clipboard().text())
        except StyleGAN3DError as error:
            self.messages.fail(error, "pasting a recipe")
        else:
            self._go_to(recipe, "Pasted")

    def copy_link(self) -> None:
        """Copy a link to the current recipe."""
        if self.session.generator is not None:
            signed = self.session.recipe.signed(self.session.generator)
            QApplication.clipboard().setText(to_link(signed))
            report_done(f"Link copied: {describe_recipe(signed)}.")

    def _go_to(self, recipe: Recipe, doing: str) -> None:
        generator = self.session.generator
        if generator is None:
            return
        try:
            latent_of(recipe, generator, "rough")  # the picture is rendered later
        except StyleGAN3DError as error:
            self.messages.fail(error, "opening the recipe")
            return
        self.session.change(recipe)
        report_done(f"{doing}: {describe_recipe(recipe)}.")

    def _on_active(self, _: Any = None) -> None:
        """napari's Shapes layers paste shapes with the same key."""
        active = self.viewer.layers.selection.active
        for shortcut in (
            one for root in self._roots for one in root.findChildren(QShortcut, PASTE)
        ):
            shortcut.setEnabled(not isinstance(active, Shapes))
