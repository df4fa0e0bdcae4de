"""Whose brain a recipe shows and what was done to it, in words, for captions and titles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_stylegan3d.views.captions import Provenance
from stylegan3d.recipe.description import describe_changes, describe_recipe
from stylegan3d.recipe.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Source

#: What is subtracted in a difference.
EDITED_MINUS_SCAN, MODEL_MINUS_SCAN = "edited − scan", "model − scan"
FILLED = "filled in by the model"


def name_of(session: Session, source: Source) -> str:
    """The patient behind a projection; empty for a brain that is nobody's."""
    case = session.case_of(source)
    return "" if case is None else case.name


def scan_file_of(session: Session, recipe: Recipe) -> Path | None:
    """The file of the scan that a recipe starts from, if that scan is open and aligned."""
    case = session.case_of(recipe.source)
    return None if case is None or case.aligned is None else case.aligned.scan.path


def subject_of(session: Session, recipe: Recipe) -> str:
    """What the picture of a recipe shows, in a few words for panels and tables."""
    return in_words(provenance_of(session, recipe)) or describe_recipe(recipe)


def in_words(told: Provenance) -> str:
    """What a picture of this provenance shows; empty for a random brain."""
    if told.kind == "scan":
        return f"Scan {told.name}"
    if told.kind == "edited":
        return f"Edited scan {told.name}: {told.what}"
    if told.kind == "reconstruction":
        words = f"Reconstruction of {told.name}"
        return ", ".join(filter(None, (words, told.what)))
    return told.subject if told.kind == "worn" else told.what


def provenance_of(session: Session, recipe: Recipe, *, amounts: bool = True) -> Provenance:
    """What the picture of a recipe shows: a scan, an edited one, a reconstruction, or nobody.

    Without `amounts` edits are named only.
    """
    detail, name, changes = recipe.worn_detail, name_of(session, recipe.source), ""
    if detail is None:
        changes = describe_changes(recipe, amounts=amounts)
        return Provenance("reconstruction", name, changes) if name else Provenance("generated")
    if not recipe.is_edited_scan:
        brain = f"the brain of {name}" if name else "another brain"
        changes = describe_changes(recipe.replace(detail=None), amounts=amounts)
        whose = name_of(session, detail.source)
        return Provenance("worn", whose, ", ".join(filter(None, (brain, changes))))
    changes = describe_changes(recipe, amounts=amounts)
    return Provenance("edited", name, changes) if changes else Provenance("scan", name)


def brain_of(session: Session) -> str:
    """The brain that is on the screen, whatever was done to it: a patient, or a number.

    A scan that is not aligned lies elsewhere than its reconstruction, and is named for it.
    """
    shown, case = session.shown, session.case
    if shown.what == "scan" and case is not None:
        if session.placed is not None:
            return case.name
        return f"{case.name} as acquired"
    return name_of(session, shown.recipe.source) or describe_recipe(Recipe(shown.recipe.source))
