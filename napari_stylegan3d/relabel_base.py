"""What is shown, as a brain whose labels can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stylegan3d.relabelled import Base
from napari_stylegan3d.text import _

if TYPE_CHECKING:
    from napari_stylegan3d.comparison import Comparison
    from napari_stylegan3d.session import Session

UNREADY = _("Wait for the full picture, then take its labels.")
UNPLACED = _("Align the scan first (Project): labels are edited on the model's grid.")


def base_of(comparison: Comparison, session: Session) -> tuple[Base | None, str]:
    """The brain or the aligned scan that is shown, or why its labels cannot be taken."""
    from stylegan3d.describe import describe_recipe

    recipe = comparison.recipe
    if comparison.view == "scan":
        projected = recipe and session.find_projected(recipe.source)
        placed = (projected.name, projected.aligned) if projected else comparison.placed
        if placed is None:
            return None, UNPLACED
        title = _("Scan {name}").format(name=placed[0])
        return Base(title, placed[1].volume, placed[1].space, True), ""
    picture = comparison.picture
    if picture is None or recipe is None or picture.quality != "full":
        return None, UNREADY
    rendered = picture.rendered
    return Base(describe_recipe(recipe), rendered.volume, rendered.space), ""
