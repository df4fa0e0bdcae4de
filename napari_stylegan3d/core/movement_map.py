"""Where edits move tissue to: a map of the change of volume, with arrows, and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_stylegan3d.views.arrows import Field
from napari_stylegan3d.views.display import upright

if TYPE_CHECKING:
    from napari_stylegan3d.views.overlays import DifferenceOverlay
    from stylegan3d.geometry.space import Space
    from stylegan3d.render.movement import Movement

CHANGE = "Volume change"
#: The colours end at this change, in %, so that maps of all patients can be compared.
LIMIT_PERCENT = 50.0
#: Share of a voxel that is brain, to count it.
HALF = 0.5


def show_movement(overlay: DifferenceOverlay, moved: Movement, volume: np.ndarray) -> str:
    """Draw a movement over a brain (X, Y, Z); what it does, in figures, empty for nothing."""
    affine, brain = moved.space.affine, brain_on(moved.space, volume)
    shown = upright(volume_change(moved) * brain, affine)
    # Tissue moves from where it was read: the other way than the map leads.
    field = Field(-moved.displacement * brain, affine)
    overlay.show(shown, CHANGE, "%", LIMIT_PERCENT, field)
    return in_words(moved, brain)


def volume_change(moved: Movement) -> np.ndarray:
    """How much larger tissue has become, in % (X, Y, Z); below 0: smaller."""
    return np.asarray(100 / moved.jacobian - 100, np.float32)


def brain_on(space: Space, volume: np.ndarray) -> np.ndarray:
    """Where a volume (X, Y, Z) shows brain, on a grid of the same extent; bool."""
    import torch
    import torch.nn.functional as F

    inside = torch.from_numpy((volume > 0).astype(np.float32))[None, None]
    return (F.interpolate(inside, space.shape, mode="area")[0, 0] > HALF).numpy()


def in_words(moved: Movement, brain: np.ndarray) -> str:
    """What an edit moves in the brain (X, Y, Z), in figures; empty if nothing moves."""
    if not (moved.displacement * brain).any():
        return ""
    gained = moved.gained_ml * brain
    far = moved.moved_mm[brain]
    return (
        f"Tissue gains {float(gained[gained > 0].sum()):.1f} ml and loses "
        f"{-float(gained[gained < 0].sum()):.1f} ml; it moves by {float(np.median(far)):.1f} mm in "
        "the "
        f"median, {float(far.max()):.1f} mm at most. Arrows are drawn 3 times as long."
    )
