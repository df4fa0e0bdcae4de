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
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from stylegan3d.errors import RecipeError
from stylegan3d.recipe.delta import Delta, mixed
from stylegan3d.recipe.drawing import Noise, seed_z
from stylegan3d.recipe.model import Model
from stylegan3d.recipe.parts import Detail
from stylegan3d.recipe.recipe import Recipe

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
    leg : int
        From key frame `leg` to the one after it.
    t : float
        How far along the leg, 0 to 1, after easing.
    """

    leg: int
    t: float


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
    recipes: Sequence[Recipe],
    generator: Model,
    frames: int,
    easing: Easing,
    how: How,
    loop: bool,
) -> Iterator[Still]:
    stops = [*recipes, recipes[0]] if loop else list(recipes)
    for leg, (first, second) in enumerate(pairwise(stops)):
        way = _Leg(first, second, generator, how)
        for frame in range(frames):
            t = eased(frame / frames, easing)
            yield way.at(t, leg)
    if not loop:
        yield way.at(1.0, leg)


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

    def at(self, t: float, leg: int) -> Still:
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
            leg=leg,
            t=t,
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
