"""The work behind the Labels box: plain functions for a thread, no Qt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.core.cores import beside_the_window
from napari_stylegan3d.core.jobs import screen_dtype
from napari_stylegan3d.core.tissues import read_tissues
from napari_stylegan3d.core.worker import Report
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space
    from stylegan3d.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Origin:
    """What a brain can be had from again.

    Attributes
    ----------
    recipe, model : Recipe or None, str
        Of a synthetic brain, and the sha256 of its model; None and "" for the scan that is open.
    edits : tuple of tuple of ndarray
        Labels (before, after), uint8 (X, Y, Z), of the edits it has behind it, each made on the
        brain that fitted the one before.
    """

    recipe: Recipe | None
    model: str = ""
    edits: tuple[tuple[np.ndarray, np.ndarray], ...] = ()


@dataclass(frozen=True, eq=False)
class Base:
    """A brain whose labels are edited.

    Attributes
    ----------
    title : str
        What it is, in words.
    volume, space : ndarray, Space, shape (X, Y, Z)
        Intensities, 1 the 99.5th percentile, and their grid.
    scan : bool
        Whether it was measured, not made.
    labels : ndarray, shape (X, Y, Z), uint8, or None
        Its tissues; None until they were read.
    origin : Origin or None
        What it can be had from again; None if it cannot.
    """

    title: str
    volume: np.ndarray
    space: Space
    scan: bool = False
    labels: np.ndarray | None = None
    origin: Origin | None = None

    def with_labels(self, labels: np.ndarray) -> Base:
        """The same brain, whose tissues are known."""
        return dataclasses.replace(self, labels=labels)


@dataclass(frozen=True, eq=False)
class Wish:
    """What is wanted: labels as painted, and how far a tissue's border is to be moved then.

    Attributes
    ----------
    base : Base
        The brain before, with its labels.
    labels : ndarray, shape (X, Y, Z), uint8
    tissue, mm : int, float
        Index of the tissue, and how far its border moves outwards.
    """

    base: Base
    labels: np.ndarray
    tissue: int = 0
    mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """Labels after an edit, uint8 (X, Y, Z), and the brain that fits, float32 (X, Y, Z)."""

    labels: np.ndarray
    volume: np.ndarray


def read_labels(base: Base) -> Base:
    """The same brain with its tissues as the tissue network reads them; on other grids an error."""
    from stylegan3d.translation.painter import bundled_painter

    bundled_painter().check_grid(base.space)
    with beside_the_window():
        found = read_tissues(base.volume, base.space)
    return base.with_labels(found.labels)


def fit(wish: Wish) -> Fitted:
    """Move the border, and paint the brain that fits."""
    from stylegan3d.translation.edits import resized
    from stylegan3d.translation.painter import bundled_painter

    base, labels = wish.base, wish.labels
    assert base.labels is not None
    with beside_the_window():
        if wish.mm:
            structure = labels == wish.tissue
            labels = resized(labels, structure, wish.mm, base.space.voxel_size)
        volume = bundled_painter().repaint(base.volume, base.labels, labels, dtype=screen_dtype())
    return Fitted(labels, volume)


def save_fitted(report: Report, wish: Wish, path: Path) -> list[Path]:
    """Paint in full precision; write the brain and its labels, both with sidecars, or nothing.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    from stylegan3d.translation.files import save_relabelled
    from stylegan3d.translation.painter import bundled_painter

    base = wish.base
    assert base.labels is not None
    report(0, 1, _("Generating the brain"))
    # The dialog has asked whether a file may be replaced.
    return save_relabelled(
        path, bundled_painter(), base.title, base.volume, base.labels, wish.labels
    )
