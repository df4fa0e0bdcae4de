"""The work behind the Measure box: plain functions for a thread, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.core.cores import beside_the_window
from napari_stylegan3d.core.jobs import Loaded, render_beside
from napari_stylegan3d.core.tissues import read_tissues, segmenter

if TYPE_CHECKING:
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
    """

    title: str
    volume: np.ndarray
    space: Space
    start: Recipe | None = None
    loaded: Loaded | None = None
    against: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """The volumes of what is shown.

    Attributes
    ----------
    title, network : str
        What was measured, and by what.
    volumes : dict of str to float
        Millilitres of each tissue and of "brain".
    percentiles : dict of str to float
        Their percentiles among subjects, 0 to 100.
    before : dict of str to float or None
        The volumes before editing or mixing; None if it was neither.
    labels : ndarray, shape (X, Y, Z), uint8
    space : Space
        Their grid.
    against : str
        Description of what was measured before.
    """

    title: str
    network: str
    volumes: dict[str, float]
    percentiles: dict[str, float]
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
        """Measure a subject; `StyleGAN3DError` if the network does not know its grid."""
        network = segmenter()
        with beside_the_window():
            found = read_tissues(subject.volume, subject.space)
            before = self._before(subject)
        volumes = found.volumes
        percentiles = {n: network.percentile(f"{n}_ml", ml) for n, ml in volumes.items()}
        return Measured(
            subject.title,
            f"{network.name} {network.hash[:8]}",
            volumes,
            percentiles,
            before,
            found.labels,
            found.space,
            subject.against,
        )

    def _before(self, subject: Subject) -> dict[str, float] | None:
        start, loaded = subject.start, subject.loaded
        if start is None or loaded is None:
            return None
        if self._start is not None and self._start[0] is loaded and self._start[1] == start:
            return self._start[2]
        rendered = render_beside((loaded, start)).rendered
        found = read_tissues(rendered.volume, rendered.space)
        self._start = (loaded, start, found.volumes)
        return found.volumes
