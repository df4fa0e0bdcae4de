"""Shows the picture that was chosen above the views, and where an edit moves tissue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.project.looks import NO_EDIT
from napari_stylegan3d.views.arrows import Field
from napari_stylegan3d.views.display import upright
from napari_stylegan3d.widgets.text import _
from stylegan3d.recipe.recipe import Detail

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.project.looks import LookBar
    from stylegan3d.geometry.space import Space
    from stylegan3d.render.movement import Movement

CHANGE = _("Volume change")
#: The colours end at this change, in %, so that maps of all patients can be compared.
LIMIT_PERCENT = 50.0
UNUSUAL = _("Difference, in usual errors")
#: The colours end at so many times the usual error.
LIMIT_Z = 10.0
#: Share of a voxel that is brain, to count it.
HALF = 0.5


class Looking(QObject):
    """Brings the switch above the views together with the session and the stage."""

    def __init__(self, context: Context, bar: LookBar) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.bar = bar
        self._mapped = False
        bar.viewRequested.connect(self.look)
        self.comparison.viewChanged.connect(self._on_view)

    def shutdown(self) -> None:
        """The views go: what is drawn from now on is not shown."""
        self.comparison.viewChanged.disconnect(self._on_view)

    def look(self, key: str) -> None:
        """Show a picture of the patient."""
        session = self.session
        if key != "edited":
            session.look(key)  # type: ignore[arg-type]
            return
        result = session.result
        if session.recipe.worn_detail is None and result is not None and result.source is not None:
            session.change(session.recipe.replace(detail=Detail(result.source)))
        session.look("recipe")

    def _on_view(self, view: str) -> None:
        self.bar.show_view(view)
        picture = self.comparison.picture
        moved = None if picture is None or view != "movement" else picture.rendered.movement
        overlay = self.comparison.stage.overlay
        if moved is None:
            self.bar.show_movement(None)
            if view == "unusual" and self._show_unusual():
                return
            if self._mapped:
                self._mapped = False
                overlay.hide()
            return
        self._mapped = True
        assert picture is not None
        affine, brain = moved.space.affine, brain_on(moved.space, picture.rendered.volume)
        shown = upright(volume_change(moved) * brain, affine)
        # Tissue moves from where it was read: the other way than the map leads.
        field = Field(-moved.displacement * brain, affine)
        overlay.show(shown, CHANGE, "%", LIMIT_PERCENT, field)
        self.bar.show_movement(in_words(moved, brain))

    def _show_unusual(self) -> bool:
        """Colour what stands out in the scan of the session's result; whether that is known."""
        from stylegan3d.projection.residual import THRESHOLD

        case = self.session.result
        if case is None or case.aligned is None or case.residual_z is None:
            return False
        z = np.where(np.abs(case.residual_z) >= THRESHOLD, case.residual_z, 0)
        shown = upright(z.astype(np.float32), case.aligned.space.affine)
        self._mapped = True
        self.comparison.stage.overlay.show(shown, UNUSUAL, "", LIMIT_Z)
        return True

    def go_to(self, center_mm: Sequence[float]) -> None:
        """Show what stands out in the scan, with the crosshair at a place in RAS mm."""
        case = self.session.result
        # A restored session has the findings, but not the voxels.
        self.session.look("scan" if case is None or case.residual_z is None else "unusual")
        dims = self.comparison.stage.viewer.dims
        if dims.ndim == len(center_mm):
            dims.point = tuple(center_mm)


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
    """What an edit moves in the brain (X, Y, Z), in figures."""
    if not (moved.displacement * brain).any():
        return NO_EDIT
    gained = moved.gained_ml * brain
    far = moved.moved_mm[brain]
    return _(
        "Tissue gains {more:.1f} ml and loses {less:.1f} ml; it moves by {median:.1f} mm in the "
        "median, {most:.1f} mm at most. Arrows are drawn 3 times as long."
    ).format(
        more=float(gained[gained > 0].sum()),
        less=-float(gained[gained < 0].sum()),
        median=float(np.median(far)),
        most=float(far.max()),
    )
