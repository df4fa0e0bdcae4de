"""Mix: take structures of some sizes from a second brain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QToolButton, QVBoxLayout, QWidget

from napari_stylegan3d import controls, dialogs
from napari_stylegan3d.notify import tell_error
from napari_stylegan3d.panels.panel import Panel
from napari_stylegan3d.panels.seeds import SeedPicker
from napari_stylegan3d.session import LayerGroup
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe import Mix, Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.session import Session
    from stylegan3d.generator import Generator

PERCENT = (0.0, 100.0, 1.0, 0.0)
FILE = "file"


class GroupRow(QWidget):
    """One slider for a group of layers, which opens to one slider per layer."""

    def __init__(
        self,
        group: LayerGroup,
        set_layers: Callable[[tuple[int, ...], float, bool, str], None],
    ) -> None:
        super().__init__()
        key = f"mix.group.{group.name.lower()}"
        self.group = group
        self.all = controls.SliderRow(
            key,
            group.name,
            PERCENT,
            " %",
            f"{group.name} structures ({group.size_in_words}): {group.meaning}.\n"
            "0 % keeps the first brain, 100 % takes the second.",
            label_width=54,
        )
        self.more = QToolButton()
        self.more.setObjectName(f"{key}.more")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolTip("Show one slider for each layer of the network in this group.")
        self.layers = {
            index: controls.SliderRow(
                f"mix.layer.{index}",
                f"Layer {index} · {size:.0f} mm",
                PERCENT,
                " %",
                f"Layer {index} of the network governs structures of about {size:.0f} mm.",
                label_width=112,
            )
            for index, size in zip(group.layers, group.sizes_mm, strict=True)
        }
        self.details = QWidget()
        details = QVBoxLayout(self.details)
        details.setContentsMargins(26, 0, 0, 4)
        details.setSpacing(4)
        for index, slider in self.layers.items():
            details.addWidget(slider)
            slider.valueChanged.connect(
                lambda value, live, i=index: set_layers((i,), value, live, f"mix.layer.{i}")
            )
        self.details.hide()
        self.all.valueChanged.connect(
            lambda value, live: set_layers(group.layers, value, live, key)
        )
        self.more.toggled.connect(self._open)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addLayout(controls.row(self.more, self.all, stretch=1))
        caption = controls.hint(f"{group.size_in_words}: {group.meaning}")
        caption.setContentsMargins(26, 0, 0, 0)
        column.addWidget(caption)
        column.addWidget(self.details)

    def show_strengths(self, strength: tuple[float, ...]) -> None:
        """Show percentages; the group's slider stands at the mean of its layers."""
        for index, slider in self.layers.items():
            slider.set_value(100 * strength[index])
        values = [100 * strength[index] for index in self.layers]
        self.all.set_value(round(sum(values) / len(values)))

    def _open(self, opened: bool) -> None:
        self.more.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.details.setVisible(opened)


class MixPanel(Panel):
    """The second source and its strength per layer."""

    title = "Mix"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.source = QComboBox()
        self.source.setObjectName("mix.source")
        self.source.setToolTip("Where the second brain comes from.")
        self.seed = SeedPicker("mix")
        self.groups: list[GroupRow] = []
        self._group_box = QVBoxLayout()
        self._group_box.setSpacing(12)
        self.swap = controls.push_button(
            "Swap brains", "mix.swap", "The second brain becomes the first, and the other way."
        )
        self.reset = controls.push_button(
            "Reset", "mix.reset", "Take nothing from the second brain."
        )
        self.first = controls.hint(name="mix.first")
        self._lay_out()
        self.seed.seedChanged.connect(lambda seed: self._set_second(Source("seed", seed)))
        self.source.activated.connect(self._on_source)
        self.swap.clicked.connect(self._swap)
        self.reset.clicked.connect(self._reset)
        session.projectedChanged.connect(lambda: self.show_recipe(session.recipe))
        self.show_recipe(session.recipe)

    def _lay_out(self) -> None:
        add = self.column.addWidget
        add(controls.heading("First brain"))
        add(self.first)
        add(controls.line())
        add(controls.heading("Second brain"))
        add(self.source)
        add(self.seed)
        add(controls.line())
        add(controls.heading("Take from the second brain"))
        self.column.addLayout(self._group_box)
        self.column.addLayout(controls.row(self.swap, self.reset, stretch=0))
        self.column.addStretch(1)

    def show_model(self, generator: Generator) -> None:
        """One group of sliders for each size of structures the model has."""
        for group_row in self.groups:
            self._group_box.removeWidget(group_row)
            group_row.setParent(None)
            group_row.deleteLater()
        self.groups = [GroupRow(g, self._set_layers) for g in self.session.layer_groups()]
        for group_row in self.groups:
            self._group_box.addWidget(group_row)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show both sources and the strengths."""
        mix = self.session.mix_or_none()
        self.first.setText(self._name(recipe.source))
        self._list_sources(mix.source)
        self.seed.setVisible(mix.source.kind == "seed")
        if mix.source.seed is not None:
            self.seed.set_seed(mix.source.seed)
        for group_row in self.groups:
            if max(group_row.layers) < len(mix.strength):
                group_row.show_strengths(mix.strength)
        self.reset.setEnabled(any(mix.strength))

    def _list_sources(self, current: Source) -> None:
        with QSignalBlocker(self.source):
            self.source.clear()
            self.source.addItem("A random brain", "seed")
            sources = [p.source for p in self.session.projected]
            if current.kind != "seed" and current not in sources:
                sources.append(current)
            for source in sources:
                self.source.addItem(self._name(source), source)
            self.source.addItem("From a latent file…", FILE)
            wanted = "seed" if current.kind == "seed" else current
            index = next(i for i in range(self.source.count()) if self.source.itemData(i) == wanted)
            self.source.setCurrentIndex(index)

    def _name(self, source: Source) -> str:
        if source.kind == "seed":
            return f"Random brain number {source.seed}"
        projected = self.session.find_projected(source)
        if projected:
            return f"Reconstruction of {projected.name}"
        return f"Latent {str(source.path).replace(chr(92), '/').rsplit('/', 1)[-1]}"

    def _on_source(self, index: int) -> None:
        choice = self.source.itemData(index)
        if choice == FILE:
            choice = self._ask_for_latent()
        if choice == "seed":
            choice = Source("seed", self.seed.spin.value())
        if isinstance(choice, Source):
            self._set_second(choice)
        else:
            self.show_recipe(self.session.recipe)

    def _ask_for_latent(self) -> Source | None:
        path = dialogs.open_file(self, "Second brain from a latent file", dialogs.LATENTS)
        if path is None:
            return None
        try:
            return Source.from_file(path)
        except StyleGAN3DError as error:
            tell_error(error, "opening a latent file")
            return None

    def _set_second(self, source: Source) -> None:
        self.session.second = source
        mix = self.session.mix_or_none()
        recipe = self.session.recipe.replace(mix=Mix(source, mix.strength))
        self.session.change(recipe, gesture="mix.seed")

    def _set_layers(
        self, layers: tuple[int, ...], percent: float, live: bool, gesture: str
    ) -> None:
        mix = self.session.mix_or_none()
        strength = tuple(
            percent / 100 if index in layers else value for index, value in enumerate(mix.strength)
        )
        recipe = self.session.recipe.replace(mix=Mix(mix.source, strength))
        self.session.change(recipe, live=live, gesture=gesture)

    def _swap(self) -> None:
        recipe, mix = self.session.recipe, self.session.mix_or_none()
        self.session.second = recipe.source
        self.session.change(recipe.replace(source=mix.source, mix=Mix(recipe.source, mix.strength)))

    def _reset(self) -> None:
        self.session.second = self.session.mix_or_none().source
        self.session.change(self.session.recipe.replace(mix=None))
