"""One group of layers in the Mix panel: how much of it comes from the second brain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QToolButton, QWidget

from napari_stylegan3d.core.session import WHOLE, LayerGroup
from napari_stylegan3d.widgets import controls

PERCENT = (0.0, 100.0, 1.0, 0.0)


class GroupRow(QWidget):
    """One slider for a group of layers, which opens to one slider per layer."""

    soloed = Signal()
    """This group alone should come from the second brain."""

    def __init__(
        self,
        group: LayerGroup,
        set_layers: Callable[[tuple[int, ...], str, float, bool], None],
    ) -> None:
        super().__init__()
        key = f"mix.group.{group.key}"
        self.group, whole = group, group.key == WHOLE[0]
        self.all = controls.SliderRow(
            key,
            group.name,
            PERCENT,
            " %",
            (
                "{meaning}.\n0 %: first brain, 100 %: second brain."
                if whole
                else (
                    "{name} structures ({sizes}): {meaning}.\n"
                    "0 %: first brain, 100 %: second brain."
                )
            ).format(name=group.name, sizes=group.size_in_words, meaning=group.meaning),
            label_width=48,
        )
        self.more = controls.named(QToolButton(), f"{key}.more")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolTip("Show one slider for each layer of the network in this group.")
        self.solo = controls.tool_button(
            "Solo",
            f"{key}.solo",
            f"Take only the {group.name.lower()} structures from the second brain.",
        )
        self.layers = {
            index: controls.SliderRow(
                f"mix.layer.{index}",
                f"Layer {index} · {size:.0f} mm",
                PERCENT,
                " %",
                f"Layer {index} of the network controls structures of about {size:.0f} mm.",
                label_width=112,
            )
            for index, size in zip(group.layers, group.sizes_mm, strict=True)
            if index not in group.silent
        }
        self._lay_out(group.meaning if whole else f"{group.size_in_words}: {group.meaning}")
        for part in (self.more, self.solo):
            part.setVisible(not whole)
        for index, slider in self.layers.items():
            slider.valueChanged.connect(partial(set_layers, (index,), f"mix.layer.{index}"))
        self.all.valueChanged.connect(partial(set_layers, group.layers, key))
        self.more.toggled.connect(self._open)
        self.solo.clicked.connect(self.soloed)

    def _lay_out(self, about: str) -> None:
        self.details = QWidget()
        controls.stack(*self.layers.values(), on=self.details, spacing=4, margins=(26, 0, 0, 4))
        self.details.hide()
        column = controls.stack(
            controls.row(self.more, self.all, self.solo, stretch=1), on=self, spacing=3
        )
        caption = controls.hint(about)
        caption.setContentsMargins(26, 0, 0, 0)
        column.addWidget(caption)
        column.addWidget(self.details)

    def show_strengths(self, strength: tuple[float, ...]) -> None:
        """Show percentages; the group's slider shows the mean of its layers."""
        for index, slider in self.layers.items():
            slider.set_value(100 * strength[index])
        values = [100 * strength[index] for index in self.layers]
        self.all.set_value(round(sum(values) / len(values)))
        others = any(v for index, v in enumerate(strength) if index not in self.group.layers)
        self.solo.setEnabled(others or min(values) < 100)

    def _open(self, opened: bool) -> None:
        self.more.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.details.setVisible(opened)
