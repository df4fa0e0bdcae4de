"""Paths through latent space: interpolation between the brains of several recipes.

The recipes are key frames; a leg connects two neighbours. Frames between are interpolated
linearly in W: seeds, mixes, edits and projected scans all have a w, and the mapping network
unfolds W so that equal steps there are about equal changes of the image (Karras et al., "A
style-based generator architecture", CVPR 2019, section 4.1, who measure path length along
straight lines in W and great circles in Z).

Between two seeds, spherical interpolation in Z is the alternative. Random z lie near a sphere,
whose inside the generator never saw; every z on the great circle is as likely as its ends, so the
midpoint is as far from the average brain as they are, while the midpoint in W is closer to it.
Legs with a mix, an edit or a latent file have no z and are interpolated in W, unless the
generator can invert w (a latent diffusion can, `Generator.invert`).

A walk between brains in which every step is a recipe.

Every point on the straight line in W between two brains is itself a recipe: an equal mix of both
sources in all layers, and interpolated edit strengths. So a step can be kept, edited, saved and
repeated like any other brain. Where two brains cannot be joined like this (one is a mix, or their
truncations differ), `between_recipes` says why; `joined` replaces them by latent files, which can
always be joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stylegan3d.base import RecipeError
from stylegan3d.recipe.latents import Delta, Latent, mixed, save_latent
from stylegan3d.recipe.model import Model, Noise, seed_z
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source, Truncation
from stylegan3d.storage.formats import Name, scan_stem

if TYPE_CHECKING:
    from torch import Tensor


Easing = Literal["linear", "in-out"]
How = Literal["linear", "spherical"]
EASINGS: tuple[Easing, ...] = ("linear", "in-out")
WAYS: tuple[How, ...] = ("linear", "spherical")
#: Below this sine of their angle, two vectors are interpolated linearly.
SMALL_SINE = 1e-4


@dataclass(frozen=True, eq=False)
class Moment:
    """A brain to render: all that `render.recipes.render_moment` needs.

    Attributes
    ----------
    w : Tensor, shape (num_layers, w_dim)
    delta : Delta or None
        Tuning of the projected latents.
    noise, channel : Noise, int
        As of a recipe.
    detail : Detail or None
        The scan whose own detail is shown, if any is.
    is_edited_scan : bool
        Whether the detail is that of the brain itself: an edited scan.
    """

    w: Tensor
    delta: Delta | None = None
    noise: Noise = "fixed"
    channel: int = 0
    detail: Detail | None = None
    is_edited_scan: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Still(Moment):
    """One frame of a path: tuning interpolated, noise of the nearer key frame.

    Attributes
    ----------
    shows : tuple of Recipe
        The key frame, or both between two.
    """

    shows: tuple[Recipe, ...]


def between(w_a: Tensor, w_b: Tensor, t: float, how: How = "linear") -> Tensor:
    """Interpolate between two latents.

    Parameters
    ----------
    w_a, w_b : Tensor, shape (..., dim)
        Of equal shape.
    t : float
        0 gives `w_a`, 1 gives `w_b`, both exactly; not limited to that range.
    how : How
        "linear": on the straight line, for w. "spherical": along the great circle between the
        vectors of the last axis, their lengths changing evenly (Shoemake 1985), for z; where two
        vectors are parallel or opposite, on the straight line.
    """
    import torch

    _check_choice(how, WAYS, "way between two brains")
    line = torch.lerp(w_a, w_b.to(w_a), float(t))
    if how == "linear":
        return line
    lengths = w_a.norm(dim=-1, keepdim=True), w_b.norm(dim=-1, keepdim=True)
    a, b = w_a / lengths[0], w_b.to(w_a) / lengths[1]
    angle = torch.acos((a * b).sum(dim=-1, keepdim=True).clamp(-1, 1))
    sine = torch.sin(angle)
    circle = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / sine
    circle = circle * torch.lerp(*lengths, float(t))
    return torch.where((sine > SMALL_SINE) & torch.isfinite(circle), circle, line)


def detail_between(first: Detail | None, second: Detail | None, t: float) -> Detail | None:
    """The detail at share `t` of the way; None where nothing of any is left.

    Of one scan its strength changes evenly. Of two scans that of the first is gone by the middle,
    where that of the second sets in: no picture shows the detail of two people.
    """
    if first is not None and second is not None and not first.source.is_same(second.source):
        if t < 0.5:
            return detail_between(first, None, 2 * t)
        return detail_between(None, second, 2 * t - 1)
    ends = [0.0 if end is None else end.strength for end in (first, second)]
    strength = (1 - t) * ends[0] + t * ends[1]
    nearer = second if first is None else first
    return None if nearer is None or not strength else replace(nearer, strength=strength)


def eased(t: float, easing: Easing) -> float:
    """Eased interpolation parameter for linear time `t`, both 0 to 1.

    "linear" keeps a constant speed; "in-out" starts and ends at rest (3 t^2 - 2 t^3), so that the
    eye has time for each key frame.
    """
    _check_choice(easing, EASINGS, "easing")
    return t * t * (3 - 2 * t) if easing == "in-out" else t


def count_stills(key_frames: int, frames: int, loop: bool = False) -> int:
    """Number of frames that `stills` yields."""
    return key_frames * frames if loop else (key_frames - 1) * frames + 1


def stills(
    recipes: Sequence[Recipe],
    generator: Model,
    frames: int,
    easing: Easing = "in-out",
    *,
    how: How = "linear",
    loop: bool = False,
) -> Iterator[Still]:
    """The frames of a path through the brains of several recipes.

    Parameters
    ----------
    recipes : sequence of Recipe
        Key frames, two or more, all of the same image channel.
    frames : int
        Frames per leg, from 1; each key frame is reached exactly.
    easing : Easing
        Speed along each leg, see `eased`.
    how : How
        Interpolation between two seeds of the same truncation and label, or between any brains of a
        generator that can invert latents; see the module's docstring.
    loop : bool
        Whether a last leg leads back to the first key frame. The first frame is then not repeated,
        so that a film loops smoothly.

    Raises
    ------
    RecipeError
        Before the first frame, if there are fewer than two key frames or a recipe does not fit.
    LatentError
        If a latent file of a recipe is missing or belongs to another model.
    """
    check_key_frames(recipes, generator)
    _check_choice(easing, EASINGS, "easing")
    _check_choice(how, WAYS, "way between two brains")
    if frames < 1:
        raise RecipeError("A leg of a path has at least one frame: ask for 1 or more.")
    return _stills(recipes, generator, frames, easing, how, loop)


def check_key_frames(recipes: Sequence[Recipe], generator: Model) -> None:
    """Raise RecipeError if these cannot be key frames of a path of this generator."""
    if len(recipes) < 2:
        raise RecipeError("A path leads from one brain to another: give at least two.")
    if len({recipe.channel for recipe in recipes}) > 1:
        raise RecipeError("The brains of a path must show the same image channel: choose one.")
    for recipe in recipes:
        recipe.check(generator)


def _stills(
    recipes: Sequence[Recipe], generator: Model, frames: int, easing: Easing, how: How, loop: bool
) -> Iterator[Still]:
    stops = [*recipes, recipes[0]] if loop else list(recipes)
    for first, second in pairwise(stops):
        way = _Leg(first, second, generator, how)
        for frame in range(frames):
            yield way.at(eased(frame / frames, easing))
    if not loop:
        yield way.at(1.0)


class _Leg:
    """A leg from one recipe to the next; both ends are resolved once."""

    def __init__(self, first: Recipe, second: Recipe, generator: Model, how: How) -> None:
        self.first, self.second, self.generator = first, second, generator
        self.w = first.latent(generator), second.latent(generator)
        self.delta = first.delta(generator), second.delta(generator)
        seeds = _both_seeds(first, second)
        self.round = how == "spherical" and (seeds or generator.can_invert)
        if self.round:
            self.z = _z(first, generator, seeds), _z(second, generator, seeds)
        self.seeds = seeds

    def at(self, t: float) -> Still:
        """The frame at `t` (0 to 1) of the leg."""
        nearer = self.first if t < 0.5 else self.second
        detail = detail_between(self.first.detail, self.second.detail, t)
        met = {0.0: (self.first,), 1.0: (self.second,)}.get(t, (self.first, self.second))
        return Still(
            self._w(t),
            self._delta(t),
            nearer.shown_noise(self.generator),
            nearer.channel,
            detail,
            detail is not None and all(detail.source.is_same(end.source) for end in met),
            shows=met,
        )

    def _w(self, t: float) -> Tensor:
        if not self.round or t in (0.0, 1.0):
            return between(*self.w, t)
        import torch

        recipe, generator = self.first, self.generator
        z = between(*self.z, t, "spherical")
        with torch.no_grad():
            if not self.seeds:  # an inverted z reproduces its brain
                return generator.map(z)[0]
            label = None if recipe.label is None else recipe.label.encode(generator)
            psi, cutoff = recipe.truncation.psi, recipe.truncation.cutoff
            return generator.map(z, label, psi, cutoff)[0]

    def _delta(self, t: float) -> Delta | None:
        first, second = self.delta
        if first is second or (first and second and first.digest == second.digest):
            return first  # the same object, so that the renderer need not prepare another
        share = (float(t),) * self.generator.num_layers
        return mixed(first, second, share, self.generator.rows_of)


def _both_seeds(first: Recipe, second: Recipe) -> bool:
    """Whether both brains are seeds that differ in nothing but z."""
    plain = all(
        recipe.source.seed is not None and recipe.mix is None and not recipe.edits
        for recipe in (first, second)
    )
    return plain and first.truncation == second.truncation and first.label == second.label


def _z(recipe: Recipe, generator: Model, seed: bool) -> Tensor:
    """[1, z_dim] of a seed, as `seed_latents` draws it, or of the brain itself."""
    if not seed:
        return generator.invert(recipe.latent(generator)[None])
    assert recipe.source.seed is not None
    return seed_z(generator, recipe.source.seed)


def _check_choice(value: str, known: Sequence[str], called: str) -> None:
    if value not in known:
        raise RecipeError(f"{value!r} is not a {called}: use {' or '.join(known)}.")


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
    legs = range(len(kept) - 1)
    for index in (*legs, *reversed(legs)):  # what becomes a latent changes the leg before it
        try:
            check_walk(kept[index : index + 2], generator)
        except RecipeError:
            for at in (index, index + 1):
                kept[at] = as_latent(kept[at], generator, folder)
    check_walk(kept, generator)
    return tuple(kept)


def as_latent(recipe: Recipe, generator: Model, folder: Path) -> Recipe:
    """The same brain from a latent file, which is written to `folder`."""
    if recipe.source.seed is None and recipe.worn_mix is None and not recipe.edits:
        return recipe
    source, noise = recipe.source, recipe.shown_noise(generator)
    stem = f"seed-{source.seed:04d}" if source.seed is not None else scan_stem(str(source.path))
    mark = sha256(recipe.to_json().encode()).hexdigest()[:8]
    latent = Latent.of(
        generator, recipe.latent(generator), noise=noise, delta=recipe.delta(generator)
    )
    path = folder / str(Name(stem, f"walk{mark}", "latent", extension=".safetensors"))
    found = Source("latent", path=str(path), sha256=save_latent(path, latent, overwrite=True))
    return Recipe(found, noise=noise, channel=recipe.channel, detail=recipe.detail)


def _needs_seed(recipe: Recipe) -> bool:
    """Whether truncation and label matter."""
    mix = recipe.worn_mix
    return recipe.source.seed is not None or (mix is not None and mix.source.seed is not None)


def _truncation(a: Recipe, b: Recipe, t: float) -> Truncation:
    """Truncation of the brain it applies to; interpolated between two brains of one source."""
    if not _needs_seed(a) or not _needs_seed(b):
        return a.truncation if _needs_seed(a) else b.truncation
    if a.truncation == b.truncation:
        return a.truncation
    same = a.source == b.source and a.worn_mix is None and b.worn_mix is None
    if same and a.truncation.cutoff == b.truncation.cutoff:
        # w = w_avg + psi (w - w_avg) is linear in psi.
        psi = _lerp(a.truncation.psi, b.truncation.psi, t)
        return replace(a.truncation, psi=psi)
    raise RecipeError("The two brains have different truncations: give both the same.")


def _sources(a: Recipe, b: Recipe, t: float, num_layers: int) -> tuple:
    """Source and mix between two brains."""
    if a.source == b.source:
        return a.source, _strengths(a.worn_mix, b.worn_mix, t)
    if a.worn_mix is None and b.worn_mix is None:
        return a.source, Mix(b.source, (t,) * num_layers)
    raise RecipeError(
        "One of the two brains is itself a mix, and a recipe cannot mix three brains: "
        "save it as a latent file, or walk between brains that are not mixed."
    )


def _strengths(a: Mix | None, b: Mix | None, t: float) -> Mix | None:
    """Between two mixes of the same first source, if their second one is the same too."""
    known = a or b
    if known is None:
        return None
    if a is not None and b is not None and a.source != b.source:
        raise RecipeError(
            "The two brains are mixes with different brains, and a recipe cannot mix three brains: "
            "walk between brains that are not mixed, or mixed with the same one."
        )
    zero = (0.0,) * len(known.strength)
    pairs = zip(a.strength if a else zero, b.strength if b else zero, strict=True)
    return replace(known, strength=tuple(_lerp(x, y, t) for x, y in pairs))


def _edits(a: Recipe, b: Recipe, t: float) -> tuple[Edit, ...]:
    """The edits of both, weighted; equal ones are merged."""
    strengths: dict[Edit, float] = {}
    for recipe, share in ((a, 1 - t), (b, t)):
        for edit in recipe.edits:
            along = replace(edit, strength=1.0)
            strengths[along] = strengths.get(along, 0.0) + share * edit.strength
    return tuple(replace(e, strength=s) for e, s in strengths.items() if s)


def _lerp(a: float, b: float, t: float) -> float:
    # In this form equal ends are returned unchanged, bit for bit.
    return a + t * (b - a)
