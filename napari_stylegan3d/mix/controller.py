"""What the Mix panel opens and needs computed: its three pictures and the matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_stylegan3d.core.thumbnails import Gallery
from napari_stylegan3d.mix.matrix import Matrix
from stylegan3d.recipe.recipe import Mix

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.mix.panel import MixPanel
    from stylegan3d.recipe.recipe import Recipe


class MixController(QObject):
    """Brings the Mix panel together with the thumbnails."""

    def __init__(self, context: Context, panel: MixPanel) -> None:
        super().__init__(context.dock)
        self.panel, self.session = panel, context.session
        self.gallery = Gallery(context.thumbnails, "mix", self)
        self.matrix = Matrix(panel, context.thumbnails, context.dock)
        panel.matrix.clicked.connect(lambda: self.matrix.open_beside(panel))
        panel.seen.connect(self._on_seen)
        panel.pictures.first.clicked.connect(lambda: self._show_share(0.0))
        panel.pictures.second.clicked.connect(lambda: self._show_share(1.0))
        self.session.recipeChanged.connect(self._on_recipe)

    def shutdown(self) -> None:
        """Close what was opened."""
        self.matrix.hide()
        self.gallery.stop()

    def _on_seen(self, seen: bool) -> None:
        if seen:
            self._show()
        else:
            self.gallery.stop()

    def _on_recipe(self, _recipe: Recipe, live: bool) -> None:
        # While a slider moves the picture would be old before it is drawn.
        if not live and self.panel.isVisible():
            self._show()

    def _show(self) -> None:
        if self.session.generator is None:
            return
        self.gallery.show(self.panel.pictures.recipes(self.session))

    def _show_share(self, share: float) -> None:
        """All layers of A, or all of B."""
        mix = self.session.mix_or_none()
        strength = (share,) * len(mix.strength)
        self.session.change(self.session.recipe.replace(mix=Mix(mix.source, strength)))
