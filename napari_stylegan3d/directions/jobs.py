"""Long work on directions as plain functions, for `LongJob` and `LatestWins`: no Qt."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_stylegan3d.core.jobs import Loaded, latent_of, screen_dtype
from napari_stylegan3d.core.worker import step_back
from stylegan3d.progress import Progress

if TYPE_CHECKING:
    from stylegan3d.directions.catalogue import CatalogueEntry
    from stylegan3d.directions.edit_effects import EditEffect, WayBack
    from stylegan3d.directions.value_table import ValueTable
    from stylegan3d.evaluation.groups import GroupComparison
    from stylegan3d.evaluation.settings import GroupSettings
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions
    from stylegan3d.recipe.recipe import Recipe, Source
    from stylegan3d.render.renderer import Renderer

#: Of the thread that measures; pictures are drawn at 10.
NICENESS = 19
#: Number of unedited brains that are cached; users switch between few of them.
KEPT = 3
#: Bytes of layers the renderer of these keeps.
LAYERS_KEPT = 0


@dataclass(frozen=True, eq=False)
class EffectRequest:
    """What to measure: the brain as it is shown, against the one without an edit.

    Attributes
    ----------
    recipe, after : Recipe, ndarray
        What is shown, and its volume at full resolution.
    direction : str or None
        Reference of the edit that is taken away; None for all.
    attribute : str
        What that edit is about, see `edit_effects.ABOUT`.
    stop : threading.Event
        Set when the result is no longer needed.
    made_of : Hashable
        Equal for all requests that would find the same.
    """

    recipe: Recipe
    after: np.ndarray
    loaded: Loaded
    direction: str | None
    attribute: str
    stop: threading.Event
    made_of: Hashable = None


@dataclass(frozen=True, eq=False)
class MeasuredEffect:
    """What was found, and the difference after minus before, (X, Y, Z)."""

    effect: EditEffect
    back: WayBack
    change: np.ndarray


@dataclass(frozen=True, eq=False)
class SeenRequest:
    """A brain without its edits, and the directions along which to look for it."""

    recipe: Recipe
    generator: Generator
    entries: tuple[CatalogueEntry, ...]


def seen_from(request: SeenRequest) -> dict[str, tuple[float, float]]:
    """How far the training subjects reach to both sides of a brain, in sd, by reference.

    Directions of which that is not known are left out; all of them, if the brain cannot be made.
    """
    from stylegan3d.errors import StyleGAN3DError

    try:
        w = latent_of(request.recipe, request.generator)
    except StyleGAN3DError:  # the views say why
        return {}
    mean, found = w.detach().double().cpu().numpy().mean(axis=0), {}
    for entry in request.entries:
        seen = entry.directions.seen.get(entry.name)
        if seen is not None:
            at = entry.directions.position(entry.name, mean)
            found[entry.reference] = (seen[0] - at, seen[1] - at)
    return found


@dataclass(frozen=True, eq=False)
class Compared:
    """Groups of people compared.

    Attributes
    ----------
    found : GroupComparison
    generator : Generator
        Of their latents.
    about : dict
        Table and model, for the files.
    told : str
        The result in sentences.
    contrasts : list of str
        What is compared with what.
    changes : list of ndarray
        For each, the difference in percent of volume, 0 where none is found, on the model's grid.
    """

    found: GroupComparison
    generator: Generator
    about: dict[str, Any]
    told: str
    contrasts: list[str]
    changes: list[np.ndarray]

    def average(self, folder: Path) -> Source:
        """The average of all brains, as a latent file in a folder."""
        import torch

        from stylegan3d.recipe.latents import Latent, save_latent
        from stylegan3d.recipe.recipe import Source

        assert self.found.mean is not None
        latent = Latent.of(self.generator, torch.from_numpy(self.found.mean).float())
        name = sha256(self.found.mean.tobytes()).hexdigest()[:8]
        path = folder / f"average-{name}_latent.safetensors"
        return Source("latent", path=str(path), sha256=save_latent(path, latent, overwrite=True))


def compare_people(
    report: Progress,
    generator: Generator,
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    projected: Mapping[str, Source],
    settings: GroupSettings,
) -> Compared:
    """Compare groups of subjects, as `stylegan3d compare` does."""
    from stylegan3d.evaluation.groups import (
        compare_table,
        contrasts,
        difference,
        summarised,
        verdict_of,
    )

    doing = "Measuring brains"
    found = compare_table(
        table,
        by,
        hold_fixed,
        generator,
        projected=projected,
        settings=settings,
        report=report.part(0, len(table.brains), len(table.brains), text=lambda _: doing),
    )
    names, changes = contrasts(found), []
    for k in range(len(names)):
        assert found.average is not None
        effect, sure = difference(found, k, found.average, generator.space)
        changes.append(np.where(sure, effect, 0).astype(np.float32))
    model = {"name": generator.name, "sha256": generator.hash}
    about = {"Table": table.path.name, "Model": model}
    text = " ".join([verdict_of(summarised(found)), *found.notes])
    if found.direction is not None:
        text += f" The direction: {verdict(found.direction.checks[0]).lower()}"
    return Compared(found, generator, about, text, names, changes)


def save_compared(report: Progress, compared: Compared, folder: Path) -> Path:
    """Write the files of a comparison to a folder; the path of its page."""
    from stylegan3d.evaluation.groups import save_comparison

    report(0, 1, "Saving")
    save_comparison(compared.found, folder, compared.generator, compared.about, overwrite=False)
    return folder / "groups.html"


class EffectMeasurer:
    """Renders brains without edits and measures; one thread uses it."""

    def __init__(self) -> None:
        self._renderer: tuple[Loaded, Renderer] | None = None
        self._before: OrderedDict[Recipe, np.ndarray] = OrderedDict()

    def __call__(self, request: EffectRequest) -> MeasuredEffect:
        """Measure; `Cancelled` if the request is not wanted any more."""
        from stylegan3d.directions.edit_effects import measure_effect, way_back

        generator = request.loaded.generator

        check = Progress(cancelled=request.stop.is_set).check
        before = self._rendered(request)
        effect = measure_effect(
            before, request.after, generator.space, request.attribute, check, screen_dtype()
        )
        check()
        back = way_back(request.recipe, generator, before, request.after, request.direction)
        return MeasuredEffect(effect, back, request.after - before)

    def _rendered(self, request: EffectRequest) -> np.ndarray:
        from stylegan3d.directions.edit_effects import without_edits
        from stylegan3d.render.recipes import render_recipe

        if self._renderer is None or self._renderer[0].renderer is not request.loaded.renderer:
            from napari_stylegan3d.core.worker import on_cores

            on_cores(1)
            step_back(NICENESS)
            self._renderer = request.loaded, request.loaded.renderer.companion(LAYERS_KEPT)
            self._before.clear()
        start = without_edits(request.recipe, request.direction)
        if start not in self._before:
            rendered = render_recipe(
                self._renderer[1], start, progress=Progress(cancelled=request.stop.is_set)
            )
            self._before[start] = rendered.volume
            while len(self._before) > KEPT:
                self._before.popitem(last=False)
        self._before.move_to_end(start)
        return self._before[start]


def make_between(
    report: Progress,
    generator: Generator,
    less: Sequence[Recipe],
    more: Sequence[Recipe],
    name: str,
) -> Directions:
    """The direction from one group of brains to another."""
    from stylegan3d.directions.custom import direction_between
    from stylegan3d.directions.value_table import latents_of_recipes, subject_of

    report(0, 2, "Computing the direction")
    less_of, more_of = ([subject_of(recipe.source) for recipe in group] for group in (less, more))
    w_less, w_more = (latents_of_recipes(generator, recipes) for recipes in (less, more))
    report(1, 2, "Computing the direction")
    return direction_between(generator, w_less, w_more, name, (less_of, more_of))


def verdict(told: dict[str, Any]) -> str:
    """What the check means, in a sentence."""
    figure, chance = told.get("auc", told.get("r")), told.get("chance")
    if figure is None or chance is None:
        return "Not validated."
    if "auc" in told and "r" in told:
        figure = told["r"]
    if figure <= chance:
        return "Not better than chance: the direction may be meaningless. More brains are needed."
    return f"Better than chance ({chance:.2f}) in brains not used for the fit."


def make_free(
    report: Progress,
    generator: Generator,
    entry: CatalogueEntry,
    others: Sequence[CatalogueEntry],
    told_as: str,
) -> Directions:
    """A direction without its parts along others."""
    from stylegan3d.directions.custom import orthogonalised

    report(0, 1, "Computing the direction")
    steps = [other.step for other in others]
    return orthogonalised(generator, entry.directions, entry.name, steps, told_as)


def keep(report: Progress, folder: Path, directions: Directions) -> Path:
    """Write a direction to a new file among the user's own."""
    from stylegan3d.directions.catalogue import free_name
    from stylegan3d.recipe.latents import save_directions

    report(0, 1, "Saving the direction")
    path = free_name(folder, directions.names[0])
    save_directions(path, directions)
    return path


def joined(entries: Sequence[CatalogueEntry], labels: Sequence[str]) -> Directions:
    """Directions of the catalogue as one set, by their user-given names."""
    from functools import reduce

    from stylegan3d.directions.custom import renamed
    from stylegan3d.recipe.directions import join

    each = [renamed(e.directions, e.name, label) for e, label in zip(entries, labels, strict=True)]
    return reduce(join, each)


def save_entries(
    report: Progress, path: Path, entries: Sequence[CatalogueEntry], labels: Any
) -> Path:
    """Write directions to a file the user chose, replacing an existing one."""
    from stylegan3d.recipe.latents import save_directions

    report(0, 1, "Saving the directions")
    save_directions(path, joined(entries, labels), overwrite=True)
    return path
