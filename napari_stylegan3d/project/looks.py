"""The switch above the views: the scan, the edited scan, the model's brain, and what differs."""

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QObject, QSize, Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QWidget

from napari_stylegan3d.core.change_maps import show_movement
from napari_stylegan3d.core.panel import UNPROJECTED, Context
from napari_stylegan3d.core.session import Session
from napari_stylegan3d.views.display import upright
from napari_stylegan3d.views.layers import Field
from napari_stylegan3d.widgets import controls
from stylegan3d.recipe.recipe import Detail

#: Key, words, tooltip and shortcut of each picture; the first ones are brains, the others maps.
SEGMENTS = controls.texts("looks")
#: Beside the bar, and between brains and maps.
MARGIN_PX, GAP_PX = 8, 10
MAPS = ("unusual", "difference", "residual", "movement")
NO_EDIT = "There is no edit yet: nothing moves. Move a slider under Directions or Mix."


class LookBar(QWidget):
    """Which picture of the patient is shown; there while a patient is looked at."""

    #: A key of `SEGMENTS`.
    viewRequested = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("project.looks")
        self.session = session
        self.told = controls.hint(
            name="project.movement",
            tip="Volume that tissue gains and loses through the edits, and how far it moves.",
        )
        controls.stack(
            self._make_segments(),
            self.told,
            on=self,
            spacing=3,
            margins=(MARGIN_PX, 4, MARGIN_PX, 4),
        )
        self.show_movement(None)
        self.refresh()
        session.caseChanged.connect(self.refresh)
        session.projectedChanged.connect(self.refresh)
        session.lookChanged.connect(self.refresh)
        session.recipeChanged.connect(lambda *_: self.refresh())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the maps below the brains where there is no room beside them."""
        super().resizeEvent(event)
        room = sum(row.minimumSize().width() for row in self._rows)
        wide = room + GAP_PX + 2 * MARGIN_PX <= self.width()
        self._segments.setSpacing(GAP_PX if wide else 1)
        way = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        self._segments.setDirection(way)

    def minimumSizeHint(self) -> QSize:
        """As wide as the wider of both rows."""
        room = max(row.minimumSize().width() for row in self._rows)
        return QSize(room + 2 * MARGIN_PX, super().minimumSizeHint().height())

    def _make_segments(self) -> QBoxLayout:
        self._rows = QHBoxLayout(), QHBoxLayout()
        self._segments = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        for stretch, row in enumerate(self._rows):
            row.setSpacing(1)
            self._segments.addLayout(row, stretch)
        brains, maps = self._rows
        entries = ((key, text, f"{tip}\n{keys}".strip()) for key, text, tip, keys in SEGMENTS)
        self.segments = controls.segments("project.show", entries, self.viewRequested.emit)
        for key, button in self.segments.items():
            button.setMinimumWidth(0)
            (maps if key in MAPS else brains).addWidget(button)
        for row in self._rows:
            row.setAlignment(Qt.AlignmentFlag.AlignLeft)
        return self._segments

    def show_view(self, view: str) -> None:
        """Mark which of them is shown; none if it is something else."""
        group = self.segments["scan"].group()
        group.setExclusive(view in self.segments)
        for key, button in self.segments.items():
            button.setChecked(key == view)
        group.setExclusive(True)

    def show_movement(self, words: str | None) -> None:
        """Say what moves; None while something else is looked at."""
        self.told.setText(words or "")
        self.told.setVisible(words is not None)

    def refresh(self) -> None:
        """Offer what there is of the patient."""
        session, case, result = self.session, self.session.case, self.session.result
        recipe = session.recipe
        detail = None if recipe is None else recipe.worn_detail
        worn = detail is not None and case is not None and case.is_of(detail.source)
        compared = result is not None and result.aligned is not None
        filled = result.filled if result is not None and compared else None
        there = {
            "scan": case is not None and (case.layer is not None or session.placed is not None),
            "edited": worn or compared,
            "model": worn or result is not None,
            "filled": filled is not None,
            "unusual": compared and result is not None and result.residual_z is not None,
            "difference": worn and compared,
            "residual": compared,
            "movement": worn,
        }
        missing = UNPROJECTED if result is None else NOT_WORN if compared else NOT_READ
        own = {"scan": NOT_READ, "unusual": LOST if compared else missing}
        for key, button in self.segments.items():
            controls.allow("" if there[key] else own.get(key, missing), button)
        self.segments["filled"].setVisible(there["filled"])
        if filled is not None:
            self.segments["filled"].setText(filled.what.capitalize())
        self.setVisible(case is not None)  # it has nothing to say of a random brain


NOT_READ = "The scan itself is not loaded: wait until it is read and aligned, or open its file."
NOT_WORN = "Press Edited scan first: this map is for the edited scan."
#: Of a restored session.
LOST = "Sessions do not keep the deviation map: project the scan again to see it."
UNUSUAL = "Residual z"
#: The colours end at this residual z.
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
        context.links.connect(self.comparison.viewChanged, self._on_view)

    def look(self, key: str) -> None:
        """Show a picture of the patient."""
        session = self.session
        if key != "edited":
            session.look(key)  # type: ignore[arg-type]
            return
        result, recipe = session.result, session.recipe
        if result and result.source and recipe and not recipe.worn_detail:
            session.change(recipe.replace(detail=Detail(result.source)))
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
        from stylegan3d.projection.assessment import THRESHOLD

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
