"""Shows the picture that was chosen above the views, and where an edit moves tissue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.core.change_maps import show_movement
from napari_stylegan3d.project.looks import NO_EDIT
from napari_stylegan3d.views.display import upright
from stylegan3d.recipe.recipe import Detail

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.project.looks import LookBar
    from napari_stylegan3d.views.arrows import Field

UNUSUAL = "Difference, in usual errors"
#: The colours end at so many times the usual error.
LIMIT_Z = 10.0


class LookController(QObject):
    """Brings the switch above the views together with the session and the stage."""

    def __init__(self, context: Context, bar: LookBar) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.bar = bar
        #: Whether a map of ours lies over the scan, and its arrows.
        self._mapped = False
        self._field: Field | None = None
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
            if self._mapped and overlay.field is self._field:  # else it is another's by now
                overlay.hide()
            self._mapped, self._field = False, None
            return
        self._mapped = True
        assert picture is not None
        told = show_movement(overlay, moved, picture.rendered.volume)
        self._field = overlay.field
        self.bar.show_movement(told or NO_EDIT)

    def _show_unusual(self) -> bool:
        """Colour what stands out in the scan of the session's result; whether that is known."""
        from stylegan3d.projection.residual import THRESHOLD

        case = self.session.result
        if case is None or case.aligned is None or case.residual_z is None:
            return False
        z = np.where(np.abs(case.residual_z) >= THRESHOLD, case.residual_z, 0)
        shown = upright(z.astype(np.float32), case.aligned.space.affine)
        self._mapped, self._field = True, None
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
