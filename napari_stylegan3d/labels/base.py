"""The brain or scan shown, as one whose labels can be edited."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from napari_stylegan3d.core.jobs import Unsharp
from napari_stylegan3d.core.provenance import provenance_of
from napari_stylegan3d.labels.jobs import Base, Fitted, Origin
from napari_stylegan3d.views.captions import NOBODY, Provenance

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import Comparison
    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.renderer import Rendered
    from stylegan3d.scans import AlignedScan

UNREADY = "Wait for the full volume, then segment it."
UNPLACED = "Align the scan first (Project): labels are edited on the model's grid."


def base_of(comparison: Comparison, session: Session) -> tuple[Base | None, str]:
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
    title = f"Scan {name}"
    provenance = Provenance("scan", name)
    scan = Unsharp(aligned, aligned)
    origin = Origin(None, scan=aligned.scan.sha256, rigid=aligned.rigid)
    return Base(title, aligned.volume, aligned.space, provenance, origin=origin, scan=scan)


def of_recipe(
    recipe: Recipe, rendered: Rendered, model: str, provenance: Provenance = NOBODY
) -> Base:
    """A brain of a model, which is identified by its sha256, or a scan edited with it."""
    from stylegan3d.recipe.description import describe_recipe

    origin = Origin(recipe, model)
    title = describe_recipe(recipe)
    return Base(title, rendered.volume, rendered.space, provenance, origin=origin)


def relabelled(base: Base, fitted: Fitted) -> Base:
    """The generated brain as a base for further edits; its tissues have not been read yet."""
    origin = base.origin
    if origin is not None and base.labels is not None:
        edits = (*origin.edits, (base.labels, fitted.labels))
        origin = dataclasses.replace(origin, edits=edits)
    scan = fitted.scan(base)
    volume = fitted.volume
    return Base(base.title_edited, volume, base.space, base.edited, origin=origin, scan=scan)
