"""Effect of an edit on one brain: volumes, location of change, reversibility.

All numbers come from two rendered volumes and two latents, so they show what an edit does to this
brain, not what its direction does on average.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from stylegan3d.measures.attributes import BRAIN, TOLD, VOLUMES, Tissues, read_tissues
from stylegan3d.measures.regions import region_masks

if TYPE_CHECKING:
    import torch

    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe

#: A voxel has changed if its intensity differs by more than this share of the display range.
THRESHOLD = 0.1
#: Region of an attribute, as in `Tissues.masks`, and the margin in mm around it. Age, sex and head
#: size concern the whole brain.
ABOUT = {
    "ventricle_ml": ("ventricles", 4.0),
    "grey_ml": ("grey matter", 2.0),
    "white_ml": ("white matter", 2.0),
}
MOST_REGIONS = 3


@dataclass(frozen=True)
class EditEffect:
    """Differences between two brains.

    Attributes
    ----------
    before, after : dict of str to float
        Millilitres by the keys of `attributes.VOLUMES`; NaN where unknown.
    how : str
        How they were measured, see `Tissues.how`.
    changed_mm3 : float
        Volume of the voxels that differ by more than `THRESHOLD`.
    region : str
        Region of the edited attribute ("ventricles"); empty for the whole brain.
    outside : float or None
        Share of the total change (sum of absolute differences) outside the region and its margin,
        0 to 1; None without a region, or if nothing changed.
    where : tuple of (str, float)
        The regions that changed most, by mean absolute difference.
    """

    before: dict[str, float]
    after: dict[str, float]
    how: str
    changed_mm3: float
    region: str
    outside: float | None
    where: tuple[tuple[str, float], ...]


def measure_effect(
    before: np.ndarray,
    after: np.ndarray,
    space: Space,
    attribute: str = "",
    check: Callable[[], None] = lambda: None,
    dtype: torch.dtype | None = None,
    withheld: str = "",
) -> EditEffect:
    """Compare a brain before and after an edit.

    Parameters
    ----------
    before, after : ndarray, shape (X, Y, Z)
        As from `Renderer.render`: 0 outside the brain, 1 the brightest tissue.
    space : Space
        Their grid.
    attribute : str
        Edited attribute, a key of `ABOUT`; others concern the whole brain.
    check : callable, optional
        Called about every quarter of a second; raises to cancel.
    dtype, withheld : torch.dtype, str
        See `read_tissues`.
    """
    change = np.abs(np.subtract(after, before, dtype=np.float32))
    check()
    tissues_before = read_tissues(before, space, dtype=dtype, withheld=withheld)
    check()
    tissues_after = read_tissues(after, space, dtype=dtype, withheld=withheld)
    check()
    near = surroundings(attribute, tissues_before, tissues_after, space)
    outside = share_outside(change, near)
    check()
    return EditEffect(
        tissues_before.volumes,
        tissues_after.volumes,
        tissues_after.how,
        1000 * space.voxel_ml * int(np.count_nonzero(change > THRESHOLD)),
        ABOUT[attribute][0] if near is not None else "",
        outside,
        _where(change, (before > BRAIN) | (after > BRAIN), space),
    )


def surroundings(
    attribute: str, before: Tissues, after: Tissues, space: Space
) -> np.ndarray | None:
    """bool (X, Y, Z): the region that an edit of an attribute should change.

    Its tissue in either brain, with the margin of `ABOUT`; None for attributes of the whole brain,
    and if there is none of that tissue.
    """
    name, margin_mm = ABOUT.get(attribute, ("", 0.0))
    found = [tissues.masks[name] for tissues in (before, after) if name in tissues.masks]
    if not found or not np.any(found):
        return None
    distance = ndimage.distance_transform_edt(~np.any(found, axis=0), sampling=space.voxel_size)
    return distance <= margin_mm


def share_outside(change: np.ndarray, near: np.ndarray | None) -> float | None:
    """Share of the total change (X, Y, Z) outside `near`; None if there is none."""
    total = float(np.sum(change, dtype=np.float64))
    if near is None or not total:
        return None
    return 1 - float(change[near].sum(dtype=np.float64)) / total


def _where(change: np.ndarray, mask: np.ndarray, space: Space) -> tuple[tuple[str, float], ...]:
    """The regions of the brain that changed most."""
    flat = change.ravel()
    means = {name: float(flat[index].mean()) for name, index in region_masks(mask, space).items()}
    first = sorted(means, key=lambda name: -means[name])[:MOST_REGIONS]
    return tuple((name, means[name]) for name in first if means[name] > 0)


@dataclass(frozen=True)
class WayBack:
    """Reversibility of an edit.

    Attributes
    ----------
    in_w : float
        Root mean square difference in w between the start and the result of the edit followed by
        its opposite, as a share of the edit. Below 1e-6 (rounding) it is exact.
    found : float or None
        Length of the edit as estimated by the encoder from the two volumes, as a share of its true
        length; None for a generator without an encoder, or an edit of length zero.
    astray : float or None
        Error after undoing the edit starting from the encoder's estimate of the edited volume,
        relative to its estimate of the volume before, as a share of the edit.
    """

    in_w: float
    found: float | None = None
    astray: float | None = None


def without_edits(recipe: Recipe, direction: str | None = None) -> Recipe:
    """The recipe before its edits, or before those along one direction."""
    kept = tuple(e for e in recipe.edits if direction is not None and e.direction != direction)
    return recipe.replace(edits=kept)


def way_back(
    recipe: Recipe,
    generator: Generator,
    before: np.ndarray | None = None,
    after: np.ndarray | None = None,
    direction: str | None = None,
) -> WayBack:
    """Undo an edit in w and, with an encoder, from the rendered volumes.

    Parameters
    ----------
    recipe : Recipe
        Recipe with the edit.
    before, after : ndarray, optional
        The rendered brain without and with it; if missing, only w is tested.
    direction : str, optional
        The edit in question; all by default.
    """
    start = without_edits(recipe, direction)
    edits = [e for e in recipe.edits if e not in start.edits]
    opposite = tuple(dataclasses.replace(e, strength=-e.strength) for e in reversed(edits))
    w_start = start.latent(generator).double()
    way = recipe.latent(generator).double() - w_start
    returned = recipe.replace(edits=recipe.edits + opposite).latent(generator).double()
    length = float(way.norm())
    if not length:
        return WayBack(0.0)
    in_w = float((returned - w_start).norm()) / length
    if generator.encoder is None or before is None or after is None:
        return WayBack(in_w)
    from stylegan3d.model.generator import encoded_volumes

    first, second = encoded_volumes(generator, [before, after]).to(way)
    seen = second - first
    found = float((seen * way).sum() / way.square().sum())
    return WayBack(in_w, found, float((seen - way).norm()) / length)


def effect_lines(effect: EditEffect, back: WayBack | None = None) -> list[str]:
    """The results in sentences."""
    ml = effect.changed_mm3 / 1000
    size = f"{ml:.1f}" if ml < 100 else f"{ml:.0f}"
    lines = [f"{size} ml differ by more than {100 * THRESHOLD:.0f} %."]
    if effect.outside is not None:
        lines[0] = lines[0][:-1] + (
            f"; {100 * effect.outside:.0f} % of the total change is outside the {effect.region}."
        )
    if effect.where:
        parts = ", ".join(f"{name} {100 * change:.1f} %" for name, change in effect.where)
        lines.append(f"Changed most, on average: {parts}.")
    lines.append(f"Volumes {effect.how}.")
    if back is not None:
        lines.append(_way_in_words(back))
    return lines


def _way_in_words(back: WayBack) -> str:
    text = "Set back to 0 sd, it is exactly the brain from before"
    if back.in_w >= 1e-6:
        text = f"Set back to 0 sd, it misses the brain from before by {100 * back.in_w:.1f} %"
    if back.found is None or back.astray is None:
        return f"{text}. How much of it the picture shows is not known: the model has no encoder."
    return (
        f"{text}. Judged by the picture alone, the change looks {100 * back.found:.0f} % as large "
        f"as it is, and undoing it by what is seen leaves an error of {100 * back.astray:.0f} % of "
        "it."
    )


def rows_of(effect: EditEffect) -> list[tuple[str, float, float]]:
    """(name, before, after) in ml of the volumes in `TOLD`, for a table."""
    return [(VOLUMES[key], effect.before[key], effect.after[key]) for key in TOLD]
