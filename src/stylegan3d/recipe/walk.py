"""A walk between brains in which every step is a recipe.

Every point on the straight line in W between two brains is itself a recipe: an equal mix of both
sources in all layers, and interpolated edit strengths. So a step can be kept, edited, saved and
repeated like any other brain. Where two brains cannot be joined like this (one is a mix, or their
truncations differ), `between_recipes` says why; `joined` replaces them by latent files, which can
always be joined.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from stylegan3d.errors import RecipeError
from stylegan3d.recipe.keyframes import detail_between
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.model import Model
from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation
from stylegan3d.storage.formats import scan_stem


def walk(stops: Sequence[Recipe], position: float, num_layers: int) -> Recipe:
    """The brain at a position of a walk.

    Parameters
    ----------
    stops : sequence of Recipe
        Two recipes or more, reached exactly.
    position : float
        0, the first stop, to 1, the last; every leg takes the same share.
    num_layers : int
        Number of layers of the generator.

    Raises
    ------
    RecipeError
        If there are too few stops, or two of them cannot be joined.
    """
    leg, t = leg_at(len(stops), position)
    return between_recipes(stops[leg], stops[leg + 1], t, num_layers)


def leg_at(stops: int, position: float) -> tuple[int, float]:
    """The leg of a walk (from 0) at a position 0 to 1, and the position on that leg, 0 to 1."""
    if stops < 2:
        raise RecipeError("A walk leads from one brain to another: add at least two.")
    along = min(max(position, 0.0), 1.0) * (stops - 1)
    leg = min(int(along), stops - 2)
    return leg, along - leg


def between_recipes(a: Recipe, b: Recipe, t: float, num_layers: int) -> Recipe:
    """The recipe at `t` (0 to 1) on the straight line in W from one brain to another.

    Noise cannot be interpolated and is that of the nearer brain.

    Raises
    ------
    RecipeError
        If no recipe can describe that brain.
    """
    if t <= 0:
        return a
    if t >= 1:
        return b
    if a.channel != b.channel:
        raise RecipeError("The two brains show different image channels: choose the same one.")
    truncation = _truncation(a, b, t)
    source, mix = _sources(a, b, t, num_layers)
    label = a.label if _needs_seed(a) else b.label
    if _needs_seed(a) and _needs_seed(b) and a.label != b.label:
        raise RecipeError("The two brains have different labels: give both the same.")
    noise = (a if t < 0.5 else b).noise
    detail = detail_between(a.detail, b.detail, t)
    return Recipe(source, truncation, mix, _edits(a, b, t), noise, a.channel, label, detail)


def check_walk(stops: Sequence[Recipe], generator: Model) -> None:
    """Raise RecipeError if two neighbours cannot be joined."""
    for first, second in pairwise(stops):
        between_recipes(first, second, 0.5, generator.num_layers)


def joined(stops: Sequence[Recipe], generator: Model, folder: Path) -> tuple[Recipe, ...]:
    """The stops, changed so that all neighbours can be joined.

    Stops that differ in truncation, label or mix become latent files in `folder`: the same brains,
    with truncation, mix and edits baked into the latent.

    Raises
    ------
    RecipeError
        If two neighbours show different image channels.
    OutputError
        If a latent cannot be written.
    """
    kept = list(stops)
    for index in range(len(kept) - 1):
        try:
            check_walk(kept[index : index + 2], generator)
        except RecipeError:
            for at in (index, index + 1):
                kept[at] = as_latent(kept[at], generator, folder)
    check_walk(kept, generator)
    return tuple(kept)


def as_latent(recipe: Recipe, generator: Model, folder: Path) -> Recipe:
    """The same brain from a latent file, which is written to `folder`."""
    if recipe.source.seed is None and _plain(recipe) and not recipe.edits:
        return recipe
    source, noise = recipe.source, recipe.shown_noise(generator)
    stem = f"seed-{source.seed:04d}" if source.seed is not None else scan_stem(str(source.path))
    mark = sha256(recipe.to_json().encode()).hexdigest()[:8]
    latent = Latent.of(
        generator,
        recipe.latent(generator),
        noise=noise,
        delta=recipe.delta(generator),
    )
    path = folder / f"{stem.partition('_desc-')[0]}_desc-walk{mark}_latent.safetensors"
    found = Source("latent", path=str(path), sha256=save_latent(path, latent, overwrite=True))
    return Recipe(found, noise=noise, channel=recipe.channel, detail=recipe.detail)


def _needs_seed(recipe: Recipe) -> bool:
    """Whether truncation and label matter."""
    mixed = recipe.mix is not None and any(recipe.mix.strength)
    seeds = recipe.source.seed is not None
    return seeds or bool(mixed and recipe.mix and recipe.mix.source.seed is not None)


def _plain(recipe: Recipe) -> bool:
    return recipe.mix is None or not any(recipe.mix.strength)


def _truncation(a: Recipe, b: Recipe, t: float) -> Truncation:
    """Truncation of the brain it applies to; interpolated between two brains of one source."""
    if not _needs_seed(a) or not _needs_seed(b):
        return a.truncation if _needs_seed(a) else b.truncation
    if a.truncation == b.truncation:
        return a.truncation
    same = a.source == b.source and _plain(a) and _plain(b)
    if same and a.truncation.cutoff == b.truncation.cutoff:
        # w = w_avg + psi (w - w_avg) is linear in psi.
        psi = _lerp(a.truncation.psi, b.truncation.psi, t)
        return dataclasses.replace(a.truncation, psi=psi)
    raise RecipeError("The two brains have different truncations: give both the same.")


def _sources(a: Recipe, b: Recipe, t: float, num_layers: int) -> tuple:
    """Source and mix between two brains."""
    if a.source == b.source:
        return a.source, _strengths(a.mix, b.mix, t)
    if _plain(a) and _plain(b):
        return a.source, Mix(b.source, (t,) * num_layers)
    raise RecipeError(
        "One of the two brains is itself a mix, and a recipe cannot mix three brains: "
        "save it as a latent file, or walk between brains that are not mixed."
    )


def _strengths(a: Mix | None, b: Mix | None, t: float) -> Mix | None:
    """Between two mixes of the same first source, if their second one is the same too."""
    a = a if a is not None and any(a.strength) else None
    b = b if b is not None and any(b.strength) else None
    known = a or b
    if known is None:
        return None
    if a is not None and b is not None and a.source != b.source:
        raise RecipeError(
            "The two brains are mixes with different brains, and a recipe cannot mix "
            "three brains: walk between brains that are not mixed, or mixed with the "
            "same one."
        )
    if a is not None and b is not None and a.straight != b.straight:
        raise RecipeError(
            "One of the two mixes is of an older version, which mixes differently: set its "
            "strengths again."
        )
    zero = (0.0,) * len(known.strength)
    pairs = zip(a.strength if a else zero, b.strength if b else zero, strict=True)
    return dataclasses.replace(known, strength=tuple(_lerp(x, y, t) for x, y in pairs))


def _edits(a: Recipe, b: Recipe, t: float) -> tuple[Edit, ...]:
    """The edits of both, weighted; equal ones are merged."""
    strengths: dict[Edit, float] = {}
    for recipe, share in ((a, 1 - t), (b, t)):
        for edit in recipe.edits:
            along = dataclasses.replace(edit, strength=1.0)
            strengths[along] = strengths.get(along, 0.0) + share * edit.strength
    return tuple(dataclasses.replace(e, strength=s) for e, s in strengths.items() if s)


def _lerp(a: float, b: float, t: float) -> float:
    # In this form equal ends are returned unchanged, bit for bit.
    return a + t * (b - a)
