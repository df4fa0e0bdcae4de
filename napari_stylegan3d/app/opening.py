"""Coming back to what a file, a link or a copied command was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import QApplication

from napari_stylegan3d.core.dropped import Dropped, DropTarget
from napari_stylegan3d.core.messages import tell_done
from napari_stylegan3d.widgets.text import _
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.networks.effort import effort
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.recipe.text import from_text, read_recipe, to_link

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer
    from napari_stylegan3d.views.four import FourViews

#: Name of the shortcuts of that command.
PASTE = "key.paste"


class Opening(QObject):
    """Takes what is dropped on the explorer or its views, and recipes that are pasted."""

    failed = Signal(object, str)
    """(exception, what was being done)"""

    def __init__(self, explorer: Explorer) -> None:
        super().__init__(explorer)
        self.explorer, self.session = explorer, explorer.session
        self._target = DropTarget(self.open, self)
        explorer.setAcceptDrops(True)
        explorer.installEventFilter(self._target)
        explorer.history.copyRequested.connect(self.copy_link)
        explorer.history.pasteRequested.connect(self.paste)

    def begin(self, views: FourViews) -> None:
        """Take drops on the views too; what is none of ours is left to napari."""
        views.setAcceptDrops(True)
        for widget in (views, *(view.canvas for view in views.views)):
            widget.installEventFilter(self._target)
        self.explorer.viewer.layers.selection.events.active.connect(self._on_active)

    def let_go(self, views: FourViews) -> None:
        """Before the views go: napari's own canvas stays."""
        for view in views.views:
            view.canvas.removeEventFilter(self._target)
        self.explorer.viewer.layers.selection.events.active.disconnect(self._on_active)

    def open(self, dropped: Dropped) -> None:
        """Open whatever it is."""
        explorer, path = self.explorer, dropped.path
        if dropped.kind == "model":
            explorer.open_model(path)
        elif dropped.kind == "session":
            explorer.sessions.open(path)
        elif dropped.kind == "recipe":
            self.open_recipe(path)
        elif dropped.kind == "latent":
            self.open_latent(path)
        else:
            explorer.open_scan(path)

    def open_recipe(self, path: Path) -> None:
        """Return to the state that a recipe's file or a volume's sidecar tells of."""
        try:
            recipe = read_recipe(path)
        except StyleGAN3DError as error:
            self.failed.emit(error, _("opening the recipe"))
        else:
            self._go_to(recipe, _("Back at what {name} was made from").format(name=path.name))

    def open_latent(self, path: Path) -> None:
        """Show the brain of a latent file."""
        try:
            recipe = self.session.recipe.replace(
                source=Source.from_file(path), mix=None, edits=(), model=None
            )
        except StyleGAN3DError as error:
            self.failed.emit(error, _("opening the latent"))
        else:
            self._go_to(recipe, _("Showing the brain of {name}").format(name=path.name))

    def paste(self) -> None:
        """Return to the state whose recipe was copied as a command, as JSON or as a link."""
        try:
            recipe = from_text(QApplication.clipboard().text())
        except StyleGAN3DError as error:
            self.failed.emit(error, _("pasting a recipe"))
        else:
            self._go_to(recipe, _("Pasted"))

    def copy_link(self) -> None:
        """Put a link to the current state on the clipboard."""
        if self.session.generator is not None:
            signed = self.session.recipe.signed(self.session.generator)
            QApplication.clipboard().setText(to_link(signed))
            tell_done(_("Link copied: {recipe}.").format(recipe=describe_recipe(signed)))

    def _go_to(self, recipe: Recipe, doing: str) -> None:
        generator = self.session.generator
        if generator is None:
            return
        try:
            with effort("rough"):  # only whether it can be had: the picture comes later
                recipe.latent(generator)
        except StyleGAN3DError as error:
            self.failed.emit(error, _("opening the recipe"))
            return
        self.session.change(recipe)
        tell_done(f"{doing}: {describe_recipe(recipe)}.")

    def _on_active(self, _: Any = None) -> None:
        """napari's Shapes layers paste shapes with the same key."""
        active = self.explorer.viewer.layers.selection.active
        roots = [root for root in (self.explorer, self.explorer.views) if root is not None]
        for shortcut in (one for root in roots for one in root.findChildren(QShortcut, PASTE)):
            shortcut.setEnabled(not isinstance(active, Shapes))
