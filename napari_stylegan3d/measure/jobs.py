"""The work behind the Measure box: plain functions for a thread, no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.core.cores import beside_the_window
from napari_stylegan3d.core.jobs import Loaded, render_beside
from napari_stylegan3d.core.tissues import segmenter
from stylegan3d.segmentation.words import Person

if TYPE_CHECKING:
    from collections.abc import Hashable

    from stylegan3d.geometry.space import Space
    from stylegan3d.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Subject:
    """What is to be measured.

    Attributes
    ----------
    title : str
        Description.
    volume : ndarray, shape (X, Y, Z)
        Intensities.
    space : Space
        Its grid.
    start : Recipe or None
        The brain that its changes are counted from; None if there is none.
    loaded : Loaded or None
        The model to render it with.
    against : str
        Description of the brain that its changes are counted from.
    person : Person
        Whose brain it is, as far as the scan's files or the recipe tell.
    key : str
        The same for all pictures of one person.
    """

    title: str
    volume: np.ndarray
    space: Space
    start: Recipe | None = None
    loaded: Loaded | None = None
    against: str = ""
    person: Person = field(default_factory=Person)
    key: Hashable = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """The volumes of what is shown.

    Attributes
    ----------
    title, network : str
        What was measured, and by what.
    measures : dict of str to float
        All of `stylegan3d.segmentation.numbers.ALL_MEASURES`.
    networks : tuple of str
        SHA-256 of the networks that measured.
    before : dict of str to float or None
        The measures before editing or mixing; None if it was neither.
    labels : ndarray, shape (X, Y, Z), uint8
    space : Space
        Their grid.
    against : str
        Description of what was measured before.
    """

    title: str
    network: str
    measures: dict[str, float]
    networks: tuple[str, ...]
    before: dict[str, float] | None
    labels: np.ndarray
    space: Space
    against: str = ""


def start_of(recipe: Recipe) -> Recipe | None:
    """The brain before editing; if not edited, before mixing; None for a plain one.

    Of an edited scan it is the scan itself.
    """
    if recipe.is_edited_scan and recipe.changes:
        return recipe.replace(mix=None, edits=())
    if recipe.edits:
        return recipe.replace(edits=())
    if recipe.mix is not None and any(recipe.mix.strength):
        return recipe.replace(mix=None)
    return None


class Measurer:
    """Labels and volumes; caches the reference brain of the last comparison."""

    def __init__(self) -> None:
        self._start: tuple[Loaded, Recipe, dict[str, float]] | None = None

    def __call__(self, subject: Subject) -> Measured:
        """Measure a subject; `StyleGAN3DError` if the networks do not know its grid."""
        from stylegan3d.segmentation.numbers import label_brain

        network = segmenter()
        with beside_the_window():
            found = label_brain(subject.volume, subject.space)
            before = self._before(subject)
        return Measured(
            subject.title,
            f"{network.name} {network.hash[:8]}",
            found.measures,
            found.networks,
            before,
            found.tissues.labels,
            found.tissues.space,
            subject.against,
        )

    def _before(self, subject: Subject) -> dict[str, float] | None:
        from stylegan3d.segmentation.numbers import label_brain

        start, loaded = subject.start, subject.loaded
        if start is None or loaded is None:
            return None
        if self._start is not None and self._start[0] is loaded and self._start[1] == start:
            return self._start[2]
        rendered = render_beside((loaded, start)).rendered
        measures = label_brain(rendered.volume, rendered.space).measures
        self._start = (loaded, start, measures)
        return measures
