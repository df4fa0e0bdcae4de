"""How A and B are shown together in the views: side by side, curtain, flicker, difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_stylegan3d.views.captions import KEY, OVERLAY
from napari_stylegan3d.views.curtain import SwipeLine
from napari_stylegan3d.views.display import DisplayArray
from napari_stylegan3d.views.sides import ComparedPair, Side
from napari_stylegan3d.views.twins import Twins
from napari_stylegan3d.views.veil import SwipeLayer

if TYPE_CHECKING:
    from napari_stylegan3d.compare.pinned import Pinned
    from napari_stylegan3d.views.four import FourViews
    from napari_stylegan3d.views.look import ViewLook
    from napari_stylegan3d.views.stage import Stage

DIFFERENCE_LABEL = "B − A"
#: Defaults of the threshold and the rate.
THRESHOLD, RATE_HZ, CURTAIN_AT = 0.05, 1.0, 0.5


class ComparedViews(QObject):
    """One mode at a time; "off" leaves nothing behind.

    Parameters
    ----------
    views : FourViews
        The four.
    stage : Stage
        Shows B.
    """

    curtainMoved = Signal(float)
    """The line was dragged: share of the field of view from the left, 0 to 1."""

    def __init__(self, views: FourViews, stage: Stage) -> None:
        super().__init__(views)
        self.views, self.stage = views, stage
        self.mode = "off"
        self.veil, self.twins = SwipeLayer(views.viewer, views.views), Twins(views)
        self.threshold, self._rate_hz, self._at = THRESHOLD, RATE_HZ, CURTAIN_AT
        self._lines: list[SwipeLine] = []
        self._curtain: dict[int, float] = {}
        self._flicker = QTimer(self)
        self._flicker.timeout.connect(self._turn)
        stage.levelsChanged.connect(self._follow_levels)
        views.looks.changed.connect(self._on_look)

    def show(self, mode: str, a: Pinned, b: Side, b_shown: DisplayArray) -> None:
        """Show A beside, before or under B in this mode."""
        if a.shown is None:
            return
        if mode != self.mode:
            self.clear(for_good=False)
            self.mode = mode
        if mode == "side":
            self.twins.show(a.shown, a.side, self.stage.limits)
        elif mode == "curtain":
            self._show_curtain(a, b)
        elif mode == "flicker":
            was = self.veil.layer is None or self.veil.is_aside or self.veil.layer.visible
            self.veil.show(a.shown, a.side, self.stage.limits, was)
            self.set_rate(self._rate_hz)
        elif mode == "difference" and a.shown.data.shape == b_shown.data.shape:
            changed = DisplayArray(b_shown.data - a.shown.data, b_shown.scale, b_shown.translate)
            overlay = self.stage.overlay
            overlay.show(changed, DIFFERENCE_LABEL, "fraction of white", self._limit())
            overlay.set_threshold(self.threshold)
            if overlay.layer is not None:  # the 3D view has no colours, and says B alone
                pair = ComparedPair.of(a.side, b, ("", "colours show B − A"))
                overlay.layer.metadata = {OVERLAY: True, KEY: pair}
        self.views.refresh()

    def clear(self, *, for_good: bool = True) -> None:
        """B alone, as it was seen before; `for_good` unless another mode follows."""
        self._flicker.stop()
        for line in self._lines:
            line.close_links()
        self._lines.clear()
        self.veil.hide() if for_good else self.veil.put_aside()
        self.twins.hide()
        legend = self.stage.overlay.legend
        if self.mode == "difference" and legend is not None and legend.label == DIFFERENCE_LABEL:
            self.stage.overlay.hide()
        self.mode = "off"

    def close(self) -> None:
        """Disconnect everything before the views are closed."""
        self.clear()
        self.twins.close()
        self.stage.levelsChanged.disconnect(self._follow_levels)
        self.views.looks.changed.disconnect(self._on_look)

    def lift(self, lifted: bool) -> None:
        """Hide or show again whatever overlays the stage's picture."""
        if self.mode == "flicker":
            self._flicker.stop() if lifted else self.set_rate(self._rate_hz)
        if not self.veil.is_aside:
            self.veil.set_visible(not lifted)
        layer = self.stage.overlay.layer
        if self.mode == "difference" and layer is not None:
            layer.visible = not lifted
        for line in self._lines:
            line.setVisible(not lifted)

    def set_rate(self, rate_hz: float) -> None:
        """Show A and B so many times a second each."""
        self._rate_hz = rate_hz
        if self.mode == "flicker":
            self._flicker.start(round(500 / rate_hz))

    def set_threshold(self, share: float) -> None:
        """Colour only differences above this share of white."""
        self.threshold = share
        if self.mode == "difference":
            self.stage.overlay.set_threshold(share)

    def set_curtain(self, share: float) -> None:
        """Hang the line at this share of the field of view from the left of the screen."""
        self._at = share
        for line in self._lines:
            low, high, _ = self.views.viewer.dims.range[line.axis]
            share_of_axis = 1 - share if line.is_mirrored else share
            self._curtain[line.axis] = low + share_of_axis * (high - low)
        self._hang()

    def _show_curtain(self, a: Pinned, b: Side) -> None:
        assert a.shown is not None
        self.veil.show(
            a.shown, ComparedPair.of(a.side, b, ("left", "right")), self.stage.limits, True
        )
        if not self._lines:
            for view in self.views.views:
                if view.plane:
                    native = view.canvas.canvas.native
                    line = SwipeLine(native, view.model, view.plane.order[2])
                    line.moved.connect(self._drag)
                    self._lines.append(line)
            self.set_curtain(self._at)
        self._hang()

    def _drag(self, axis: int, position_mm: float) -> None:
        line = next(line for line in self._lines if line.axis == axis)
        low, high, _ = self.views.viewer.dims.range[axis]
        share = (min(max(position_mm, low), high) - low) / (high - low)
        self._at = 1 - share if line.is_mirrored else share
        self._curtain[axis] = position_mm
        self._hang()
        self.curtainMoved.emit(self._at)

    def _hang(self) -> None:
        for line in self._lines:
            line.set_position(self._curtain[line.axis])
        if self.mode == "curtain":
            self.veil.hang(self._curtain)

    def _turn(self) -> None:
        """Switch to the other one of A and B; nothing switches while hidden."""
        window = self.views.window()
        layer = self.veil.layer
        if layer is not None and self.views.isVisible() and not window.isMinimized():
            self.veil.set_visible(not layer.visible)

    def _limit(self) -> float:
        """Where the colours end: the same for every pair, so that pairs can be compared."""
        low, high = self.stage.limits
        return (high - low) / 2

    def _follow_levels(self) -> None:
        if self.mode in ("curtain", "flicker"):
            self.veil.set_limits(self.stage.limits)
        elif self.mode == "side":
            self.twins.set_limits(self.stage.limits)

    def _on_look(self, look: ViewLook, before: ViewLook) -> None:
        """Left is another side now."""
        if self.mode == "curtain" and look.facing != before.facing:
            self._hang()
