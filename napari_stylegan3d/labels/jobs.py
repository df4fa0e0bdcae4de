"""The work behind the Labels box: plain functions for a thread, no Qt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.core.jobs import DerivedVolume, SharpenRequest, screen_dtype
from napari_stylegan3d.core.tissues import read_tissues
from napari_stylegan3d.core.worker import beside_the_window
from stylegan3d.base import Progress
from stylegan3d.session.annotations import EditedLabels
from stylegan3d.session.provenance import GENERATED, Provenance, provenance_of

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import DisplayController
    from napari_stylegan3d.core.session import Session
    from stylegan3d.geometry.space import Space
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.movement import Fading, Movement
    from stylegan3d.render.renderer import Rendered
    from stylegan3d.scans import AlignedScan

EDITED_LABELS = "edited labels"


@dataclass(frozen=True, eq=False)
class Base:
    """A brain whose labels are edited.

    Attributes
    ----------
    title : str
        Description.
    volume : ndarray, shape (X, Y, Z)
        Intensities; 1 is the 99.5th percentile.
    space : Space
        Its grid.
    provenance : Provenance
        The patient, and whether it was recorded, edited or generated.
    labels : ndarray, shape (X, Y, Z), uint8, or None
        Its tissues; None until they are segmented.
    origin : EditedLabels or None
        How it can be made again; None if it cannot.
    scan : SharpenRequest or None
        The scan that it shows, and what was done to that; None for a model's brain.
    """

    title: str
    volume: np.ndarray
    space: Space
    provenance: Provenance = GENERATED
    labels: np.ndarray | None = None
    origin: EditedLabels | None = None
    scan: SharpenRequest | None = None

    @property
    def edited(self) -> Provenance:
        """Provenance of the brain with edited labels."""
        told = self.provenance
        kind = "edited" if told.kind == "scan" else told.kind
        if told == GENERATED:
            return GENERATED
        return Provenance(kind, told.name, ", ".join(filter(None, (told.what, EDITED_LABELS))))

    @property
    def title_edited(self) -> str:
        """Description of the brain with edited labels."""
        return f"{self.title}, edited labels"

    @cached_property
    def fading(self) -> Fading | None:
        """Puts movements on the scan that it shows; None for a model's brain."""
        from stylegan3d.render.movement import Fading

        return None if self.scan is None else Fading(self.scan.aligned.brain_mask, self.space)

    @cached_property
    def made(self) -> DerivedVolume:
        """The brain before its labels are edited, to be shown and measured."""
        recipe = None if self.origin is None else self.origin.recipe
        of = self.scan.aligned if recipe is None and self.scan is not None else recipe
        return DerivedVolume(self.title, self.provenance, self.volume, of, scan=self.scan)

    def with_labels(self, labels: np.ndarray) -> Base:
        """The same brain with its labels."""
        return dataclasses.replace(self, labels=labels)


@dataclass(frozen=True, eq=False)
class Wish:
    """A request: painted labels, and how far to move a tissue's border after that.

    Attributes
    ----------
    base : Base
        The brain before, with its labels.
    labels : ndarray, shape (X, Y, Z), uint8
    tissue : int
        Index of the tissue.
    mm : float
        How far its border moves outwards.
    """

    base: Base
    labels: np.ndarray
    tissue: int = 0
    mm: float = 0.0

    @property
    def resizes(self) -> bool:
        """Whether it is of the slider, which changes labels; also back at 0 mm."""
        return bool(self.mm or self.tissue)

    def resized_labels(self) -> np.ndarray:
        """The labels after the border has been moved, uint8 (X, Y, Z)."""
        from stylegan3d.translation.files import resized

        if not self.mm:
            return self.labels
        structure = self.labels == self.tissue
        return resized(self.labels, structure, self.mm, self.base.space.voxel_size)


@dataclass(frozen=True, eq=False)
class EditedBrain:
    """Edited labels, uint8 (X, Y, Z), and the brain generated from them, float32 (X, Y, Z).

    `movement` is what was done to the brain, or to the scan that it shows, from its first edit on;
    None for nothing.
    """

    labels: np.ndarray
    volume: np.ndarray
    movement: Movement | None = None

    def made(self, base: Base) -> DerivedVolume:
        """The brain with edited labels, to be shown and measured."""
        scan, before = self.scan(base), base.made
        return DerivedVolume(base.title_edited, base.edited, self.volume, before.of, before, scan)

    def scan(self, base: Base) -> SharpenRequest | None:
        """The scan that it shows, and what was done to that; None for a model's brain."""
        if base.scan is None:
            return None
        return dataclasses.replace(
            base.scan, picture=self, movement=self.movement, volume=self.volume
        )


def read_labels(base: Base) -> Base:
    """The same brain with tissues from the tissue network; an error on other grids."""
    from stylegan3d.translation.painter import bundled_painter

    bundled_painter().check_grid(base.space)
    with beside_the_window():
        found = read_tissues(base.volume, base.space)
    return base.with_labels(found.labels)


def fit(wish: Wish) -> EditedBrain:
    """Move the border, and generate the brain for the new labels."""
    from stylegan3d.translation.painter import bundled_painter

    base = wish.base
    assert base.labels is not None
    with beside_the_window():
        labels = wish.resized_labels()
        made = bundled_painter().repaint(base.volume, base.labels, labels, dtype=screen_dtype())
        moved = made.movement
        if base.scan is not None and base.fading is not None:
            worn = base.provenance.kind == "worn"
            moved = made.on_scan(base.fading, base.scan.movement, worn=worn)
    return EditedBrain(labels, made.volume, moved)


def save_fitted(report: Progress, wish: Wish, path: Path) -> list[Path]:
    """Generate in full precision; write the brain and its labels, both with sidecars, or nothing.

    A scan is edited on its own grid; what changed and what moved are written beside it.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    from stylegan3d.translation.files import Relabelled, save_relabelled
    from stylegan3d.translation.painter import bundled_painter

    base = wish.base
    assert base.labels is not None
    report(0, 1, "Generating the brain")
    edit = Relabelled(base.title, base.volume, base.labels, wish.resized_labels())
    if base.scan is not None and base.edited.kind == "edited":
        known = base.scan
        edit = dataclasses.replace(
            edit, scan=known.aligned, movement=known.movement, strength=known.strength
        )
    # The dialog has already confirmed that an existing file may be replaced.
    return save_relabelled(path, bundled_painter(), edit)


UNREADY = "Wait for the full volume, then segment it."
UNPLACED = "Align the scan first (Project): labels are edited on the model's grid."


def base_of(comparison: DisplayController, session: Session) -> tuple[Base | None, str]:
    """The brain or the aligned scan shown, or why its labels cannot be edited."""
    recipe, generator = comparison.recipe, session.generator
    if comparison.view == "scan":
        placed = comparison.placed
        if placed is None:
            return None, UNPLACED
        return of_scan(*placed), ""
    picture = comparison.picture
    if picture is None or recipe is None or generator is None or picture.quality != "full":
        return None, UNREADY
    base = of_recipe(recipe, picture.rendered, generator.hash, provenance_of(session, recipe))
    return dataclasses.replace(base, scan=comparison.of_picture), ""


def of_scan(name: str, aligned: AlignedScan) -> Base:
    """A scan on the model's grid."""
    provenance = Provenance("scan", name, origin=aligned.scan.origin)
    title = f"{provenance.scan_words} {name}"
    scan = SharpenRequest(aligned, aligned)
    origin = EditedLabels(None, scan=aligned.scan.sha256, rigid=aligned.rigid)
    return Base(title, aligned.volume, aligned.space, provenance, origin=origin, scan=scan)


def of_recipe(
    recipe: Recipe, rendered: Rendered, model: str, provenance: Provenance = GENERATED
) -> Base:
    """A brain of a model, which is identified by its sha256, or a scan edited with it."""
    from stylegan3d.recipe.description import describe_recipe

    origin = EditedLabels(recipe, model)
    title = describe_recipe(recipe)
    return Base(title, rendered.volume, rendered.space, provenance, origin=origin)


def relabelled(base: Base, fitted: EditedBrain) -> Base:
    """The generated brain as a base for further edits; its tissues have not been read yet."""
    origin = base.origin
    if origin is not None and base.labels is not None:
        edits = (*origin.edits, (base.labels, fitted.labels))
        origin = dataclasses.replace(origin, edits=edits)
    scan = fitted.scan(base)
    volume = fitted.volume
    return Base(base.title_edited, volume, base.space, base.edited, origin=origin, scan=scan)
