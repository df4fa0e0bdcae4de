"""Computes positions of brains on the latent map, off the GUI thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.jobs import latent_of
from napari_stylegan3d.core.worker import LatestWins, LongJob, Report

if TYPE_CHECKING:
    from stylegan3d.directions.latent_map import Survey
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

#: Number of cached positions.
KEPT = 500


@dataclass(frozen=True, eq=False)
class _Request:
    survey: Survey
    generator: Generator
    recipes: tuple[Recipe, ...]


class Places(QObject):
    """The survey of a model's random brains, and the positions of requested recipes."""

    surveyed = Signal()
    located = Signal()
    """Requested positions are available."""
    failed = Signal(object)
    """The exception, if there is no survey."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.survey: Survey | None = None
        self._generator: Generator | None = None
        self._known: OrderedDict[Recipe, np.ndarray | None] = OrderedDict()
        self._surveying = LongJob(self)
        self._locating = LatestWins(locate, self)
        self._surveying.finished.connect(self._on_surveyed)
        self._surveying.failed.connect(self.failed)
        self._surveying.cancelled.connect(self._start)
        self._locating.ready.connect(self._on_located)
        self._locating.failed.connect(lambda _, error: self.failed.emit(error))

    def use(self, generator: Generator) -> None:
        """Survey a model whose directions are known; nothing is done for one that was surveyed."""
        if self._generator is not None and self._generator.hash == generator.hash:
            self._generator = generator
            return
        self.survey, self._generator = None, generator
        self._known.clear()
        if self._surveying.running:
            self._surveying.cancel()
        else:
            self._start()

    def forget(self, generator: Generator) -> None:
        """Another model is loaded; its directions are not known yet."""
        if self._generator is not None and self._generator.hash != generator.hash:
            self.survey, self._generator = None, None
            self._known.clear()

    def knows(self, recipe: Recipe) -> bool:
        """Whether a brain was looked for."""
        return recipe in self._known

    def of(self, recipe: Recipe) -> np.ndarray | None:
        """Position of a brain along all axes, in sd; None if not known (yet)."""
        return self._known.get(recipe)

    def want(self, recipes: Sequence[Recipe]) -> None:
        """Find the places of those that are not known; `located` is emitted then."""
        missing = tuple(recipe for recipe in recipes if recipe not in self._known)
        if missing and self.survey is not None and self._generator is not None:
            self._locating.submit(_Request(self.survey, self._generator, missing))

    def shutdown(self) -> None:
        """Stop; results of running jobs are discarded."""
        self._surveying.shutdown()
        self._locating.shutdown()

    def _start(self) -> None:
        if self._generator is not None:
            self._surveying.start(survey_of, self._generator)

    def _on_surveyed(self, survey_and_model: tuple[Survey, Generator]) -> None:
        survey, generator = survey_and_model
        if self._generator is None or generator.hash != self._generator.hash:
            self._start()
            return
        self.survey = survey
        self.surveyed.emit()

    def _on_located(self, request: _Request, places: list[np.ndarray | None]) -> None:
        if request.survey is not self.survey:
            return
        self._known.update(zip(request.recipes, places, strict=True))
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        self.located.emit()


def survey_of(_report: Report, generator: Generator) -> tuple[Survey, Generator]:
    """The survey of a generator, for a `LongJob`."""
    from stylegan3d.directions.latent_map import Survey, contours

    survey = Survey.of(generator)
    # The libraries behind the lines of density take a while to import: not on the GUI thread.
    if len(survey.names) >= 2:
        contours(survey.points[:, :2])
    return survey, generator


def locate(request: _Request) -> list[np.ndarray | None]:
    """Place of each recipe; None for one whose files are gone."""
    from stylegan3d.errors import StyleGAN3DError

    places: list[np.ndarray | None] = []
    for recipe in request.recipes:
        try:
            places.append(request.survey.locate(latent_of(recipe, request.generator)))
        except StyleGAN3DError:
            places.append(None)
    return places
