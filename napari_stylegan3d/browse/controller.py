"""What the Browse panel opens and needs computed: the gallery, the latent map, an interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.browse.gallery import GalleryDialog
from napari_stylegan3d.browse.panel import CHECKING, UNCHECKED
from napari_stylegan3d.core.worker import LatestWins, beside_the_window

if TYPE_CHECKING:
    from napari_stylegan3d.browse.panel import BrowsePanel, PrivacyBox
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.jobs import DisplayVolume
    from stylegan3d.evaluation.privacy_index import Nearness, PrivacyIndex
    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

OF_SCAN = "This is a scan: choose Reconstruction above the views, then check."


@dataclass(frozen=True, eq=False)
class CheckedBrain:
    """A brain to be checked, (X, Y, Z) on its grid, and the file to check it against."""

    volume: np.ndarray
    space: Space
    index: Path


class Checker:
    """Reads an index once, and compares brains to it."""

    def __init__(self) -> None:
        self._read: tuple[Path, PrivacyIndex] | None = None

    def __call__(self, subject: CheckedBrain) -> Nearness:
        """`StyleGAN3DError` if the index cannot be read or is of another grid."""
        from stylegan3d.evaluation.privacy_index import load_index

        if self._read is None or self._read[0] != subject.index:
            self._read = subject.index, load_index(subject.index)
        with beside_the_window():
            return self._read[1].check(subject.volume, subject.space)


class PrivacyCheck(QObject):
    """What the button of the Privacy part does; what it found goes with the brain."""

    def __init__(self, context: Context, box: PrivacyBox) -> None:
        super().__init__(context.dock)
        self.messages, self.box = context.messages, box
        self.session, self.comparison = context.session, context.comparison
        self._index: Path | None = None
        #: The brain that is being checked; the result of any other is out of date.
        self._asked: CheckedBrain | None = None
        #: Whether the button was pressed before the brain was there in full.
        self._waiting = False
        self._work = LatestWins(Checker(), self)
        self._work.ready.connect(self._on_checked)
        self._work.failed.connect(self._on_failed)
        box.check.clicked.connect(self._ask)
        self.session.recipeChanged.connect(self._on_recipe)
        self.session.modelChanged.connect(self._on_model)
        context.render.shown.connect(self._on_picture)

    def _on_model(self, generator: Generator) -> None:
        from stylegan3d.evaluation.privacy_index import FILE

        self._forget()
        path = generator.folder / FILE if generator.folder is not None else None
        self._index = path if path is not None and path.is_file() else None
        self.box.offer(self._index is not None)

    def _on_recipe(self, _: Recipe, __: bool) -> None:
        if self._index is not None:
            self._forget()
            self.box.say(UNCHECKED)

    def _on_picture(self, recipe: Recipe, picture: DisplayVolume) -> None:
        wanted = recipe == self.session.state.drawn
        if self._waiting and picture.quality == "full" and wanted:
            self._submit(picture)

    def _forget(self) -> None:
        self._asked, self._waiting = None, False

    def _ask(self) -> None:
        """Check the brain of the recipe, now or as soon as it is there in full."""
        drawn = self.session.state.drawn
        if drawn is None or drawn.worn_detail is not None:
            self.box.say(OF_SCAN)
            return
        self.box.say(CHECKING)
        picture = self.comparison.picture
        if picture is not None and self.comparison.is_current:
            self._submit(picture)
        else:
            self._waiting = True

    def _submit(self, picture: DisplayVolume) -> None:
        assert self._index is not None
        self._waiting = False
        self._asked = CheckedBrain(picture.rendered.volume, picture.rendered.space, self._index)
        self._work.submit(self._asked)

    def _on_checked(self, subject: CheckedBrain, found: Nearness) -> None:
        if subject is self._asked:
            self.box.show_nearness(found)

    def _on_failed(self, subject: CheckedBrain, error: Exception) -> None:
        from stylegan3d.errors import StyleGAN3DError

        if subject is not self._asked:
            return
        known = isinstance(error, StyleGAN3DError)
        self.box.say(str(error) if known else UNCHECKED)
        if not known:
            self.messages.fail(error, "checking privacy")


class BrowseController(QObject):
    """Brings the Browse panel together with what works behind it."""

    def __init__(self, context: Context, panel: BrowsePanel) -> None:
        super().__init__(context.dock)
        self.session, self.panel = context.session, panel
        self.wall = GalleryDialog(context.session, context.thumbnails, context.dock)
        self.privacy = PrivacyCheck(context, panel.privacy)
        panel.wall.clicked.connect(lambda: self.wall.open_beside(panel))
        panel.keep_edits.toggled.connect(self.wall.refresh)
        panel.walk.use(context.thumbnails)
        context.links.callback(panel.walk.stop)
        context.links.callback(panel.map.places.set_seen, False)

    def survey(self) -> None:
        """The model's directions are known: compute the positions of its random brains."""
        generator = self.session.generator
        if generator is not None:
            self.panel.map.places.use(generator)
