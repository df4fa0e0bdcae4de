"""What a comparison is made with: a recipe, a scan, or a reconstruction, with its voxels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.views.captions import NOBODY, Provenance
from napari_stylegan3d.views.display import DisplayArray, upright
from napari_stylegan3d.views.sides import Side
from stylegan3d.recipe.description import describe_recipe

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import Picture
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import AlignedScan


@dataclass(frozen=True, eq=False)
class Pinned:
    """A.

    Attributes
    ----------
    side : Side
        What is said on its picture.
    recipe : Recipe or None
        Of a brain; None for a scan.
    volume : ndarray, shape (X, Y, Z), or None
        On the generator's grid; None until it is rendered.
    shown : DisplayArray or None
        The same for the views.
    """

    side: Side
    recipe: Recipe | None = None
    volume: np.ndarray | None = None
    shown: DisplayArray | None = None

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"Scan: {self.side.name}" if self.side.kind == "scan" else self.side.title

    @classmethod
    def of_recipe(cls, recipe: Recipe, provenance: Provenance) -> Pinned:
        """A brain that has not been rendered yet, and its provenance."""
        return cls(side_of(recipe, "A", provenance), recipe)

    @classmethod
    def of_scan(cls, name: str, aligned: AlignedScan) -> Pinned:
        """A scan on the generator's grid."""
        shown = upright(aligned.volume, aligned.space.affine)
        return cls(Side("scan", name, letter="A", title=name), None, aligned.volume, shown)

    def with_picture(self, picture: Picture) -> Pinned:
        """The same brain, rendered."""
        return dataclasses.replace(self, volume=picture.rendered.volume, shown=picture.shown)


def side_of(recipe: Recipe, letter: str, provenance: Provenance = NOBODY) -> Side:
    """What is said on the picture of a recipe that is one of two."""
    kind, name, what = provenance.kind, provenance.name, provenance.what
    if kind == "scan":
        return Side("scan", name, letter=letter, title=name)
    if kind == "edited":
        return Side("edited", name, letter=letter, title=f"{name}, {what}")
    if kind == "reconstruction":
        text = f"Reconstruction of {name}"
        return Side(kind, letter=letter, title=", ".join(filter(None, (text, what))))
    if kind == "worn":
        return Side(kind, letter=letter, title=provenance.subject)
    return Side("generated", letter=letter, title=what or describe_recipe(recipe))
