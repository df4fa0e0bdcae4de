"""What can be chosen for a film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_stylegan3d.widgets.text import _
from stylegan3d.recipe.keyframes import Easing, How, count_stills
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from stylegan3d.geometry.slicing import Plane

PLANES: tuple[tuple[str, tuple[Plane, ...]], ...] = (
    (_("three planes"), ("axial", "coronal", "sagittal")),
    (_("axial"), ("axial",)),
    (_("coronal"), ("coronal",)),
    (_("sagittal"), ("sagittal",)),
)
KINDS = (("MP4", ".mp4"), ("GIF", ".gif"), (_("PNG, moving"), ".png"), ("WebP", ".webp"))
PACES: tuple[tuple[str, Easing], ...] = ((_("resting at each"), "in-out"), (_("even"), "linear"))
WAYS: tuple[tuple[str, How], ...] = (
    (_("straight"), "linear"),
    (_("round, keeping variety"), "spherical"),
)


@dataclass(frozen=True)
class FilmSettings:
    """What the controls say; see `stylegan3d.outputs.films.Film`."""

    recipes: tuple[Recipe, ...]
    seconds: float
    fps: int
    easing: Easing
    how: How
    loop: bool
    planes: tuple[Plane, ...]
    suffix: str

    @property
    def frames(self) -> int:
        """Pictures in all."""
        return count_stills(len(self.recipes), max(round(self.seconds * self.fps), 1), self.loop)
