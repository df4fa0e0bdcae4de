"""Computes positions of brains on the latent map in blocks, off the GUI thread."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.worker import LatestWins, LongJob
from stylegan3d.progress import Cancelled, Progress, effort

if TYPE_CHECKING:
    from stylegan3d.directions.latent_map import Survey
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

#: Number of cached positions.
KEPT = 500
#: Positions are handed over after this time, the others follow.
BLOCK_S = 0.05


@dataclass(frozen=True, eq=False)
class _Request:
    survey: Survey
    generator: Generator
    recipes: tuple[Recipe, ...]
    stop: threading.Event


class Places(QObject):
    """The survey of a model's random brains, and the positions of requested recipes.

    Works only while the map is `seen`: both come in blocks, end at once when it is left, and go on
    where they stood.
    """

    surveyed = Signal()
    """The first brains of a model's survey are there."""
    grown = Signal()
    """There are more."""
    located = Signal()
    """Requested positions are available."""
    failed = Signal(object)
    """The exception, if there is no survey."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.survey: Survey | None = None
        self._generator: Generator | None = None
        self._known: OrderedDict[Recipe, np.ndarray | None] = OrderedDict()
        self._wanted: tuple[Recipe, ...] = ()
        self._seen = False
        #: Set when the positions under way are no longer needed.
        self._stop = threading.Event()
        self._surveying = LongJob(self)
        self._locating = LatestWins(locate, self)
        self._surveying.came.connect(self._on_block)
        self._surveying.failed.connect(self.failed)
        self._surveying.cancelled.connect(self._survey)
        self._locating.ready.connect(self._on_located)
        self._locating.failed.connect(self._on_not_located)

    @property
    def is_complete(self) -> bool:
        """Whether all random brains are there."""
        if self.survey is None:
            return False
        from stylegan3d.directions.latent_map import SAMPLES

        return len(self.survey.points) >= SAMPLES

    def use(self, generator: Generator) -> None:
        """Survey a model whose directions are known; nothing is done for one that was surveyed."""
        if self._generator is not None and self._generator.hash == generator.hash:
            self._generator = generator
            return
        self.survey, self._generator = None, generator
        self._known.clear()
        self._surveying.cancel()
        self._survey()

    def forget(self, generator: Generator) -> None:
        """Another model is loaded; its directions are not known yet."""
        if self._generator is not None and self._generator.hash != generator.hash:
            self.survey, self._generator = None, None
            self._known.clear()
            self._surveying.cancel()

    def set_seen(self, seen: bool) -> None:
        """Go on while the map is looked at, and stop when it is left."""
        self._seen = seen
        if seen:
            self._survey()
            self._locate()
        else:
            self._surveying.cancel()
            self._stop.set()

    def knows(self, recipe: Recipe) -> bool:
        """Whether a brain was looked for."""
        return recipe in self._known

    def of(self, recipe: Recipe) -> np.ndarray | None:
        """Position of a brain along all axes, in sd; None if not known (yet)."""
        return self._known.get(recipe)

    def want(self, recipes: Sequence[Recipe]) -> None:
        """Find the places of those that are not known; `located` is emitted for each block."""
        # No more than are kept: otherwise the first would be forgotten and looked for again.
        wanted = tuple(dict.fromkeys(recipes))[:KEPT]
        if wanted != self._wanted:
            self._wanted = wanted
            self._stop.set()
        if self._stop.is_set() or not self._locating.busy:
            self._locate()

    def shutdown(self) -> None:
        """Stop; results of running jobs are discarded."""
        self._stop.set()
        self._surveying.shutdown()
        self._locating.shutdown()

    def _survey(self) -> None:
        if self._generator is not None and self._seen and not self.is_complete:
            self._surveying.start(grow, self._generator, self.survey)

    def _locate(self) -> None:
        missing = tuple(recipe for recipe in self._wanted if recipe not in self._known)
        if missing and self.survey is not None and self._generator is not None and self._seen:
            self._stop = threading.Event()
            self._locating.submit(_Request(self.survey, self._generator, missing, self._stop))

    def _on_block(self, block: tuple[Generator, Survey]) -> None:
        generator, survey = block
        if self._generator is None or generator.hash != self._generator.hash:
            return
        first, self.survey = self.survey is None, survey
        (self.surveyed if first else self.grown).emit()

    def _on_located(self, request: _Request, places: list[np.ndarray | None]) -> None:
        if self._generator is None or request.generator.hash != self._generator.hash:
            return
        self._known.update(zip(request.recipes, places, strict=False))
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        self.located.emit()
        if not self._locating.busy:
            self._locate()

    def _on_not_located(self, _request: _Request, error: Exception) -> None:
        if not isinstance(error, Cancelled):
            self.failed.emit(error)


def grow(report: Progress, generator: Generator, known: Survey | None) -> None:
    """Sample a generator's random brains in blocks, for a `LongJob`; each is handed over."""
    from stylegan3d.directions.latent_map import SAMPLES, Survey, contours

    survey = known or Survey.begun(generator)
    with effort("rough", report.check):
        for grown in survey.growing(generator):
            # The libraries behind the lines of density take a while to import: not on the GUI
            # thread.
            if survey is not known and len(grown.names) >= 2:
                contours(grown.points[:, :2])
            known = survey
            report.hand_over((generator, grown))
            report(len(grown.points), SAMPLES)


def locate(request: _Request) -> list[np.ndarray | None]:
    """Places of the first recipes, as many as `BLOCK_S` allows; None if a file is gone."""
    from stylegan3d.errors import StyleGAN3DError

    check = Progress(cancelled=request.stop.is_set).check
    places: list[np.ndarray | None] = []
    began = time.monotonic()
    for recipe in request.recipes:
        check()
        try:
            with effort("preview", check):
                places.append(request.survey.locate(recipe.latent(request.generator)))
        except StyleGAN3DError:
            places.append(None)
        if time.monotonic() - began > BLOCK_S:
            break
    return places
