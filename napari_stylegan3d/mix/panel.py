"""Mix: take structures of some sizes from a second brain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QGridLayout, QToolButton, QWidget

from napari_stylegan3d.core.context import report_error
from napari_stylegan3d.core.panel import ExplorerPanel, why_not
from napari_stylegan3d.core.thumbnails import PictureButton
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import SeedPicker
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.model.layers import WHOLE, LayerGroup
from stylegan3d.pages.shortening import shortened
from stylegan3d.recipe.description import describe_source
from stylegan3d.recipe.mixing import PRESETS, solo, strengths
from stylegan3d.recipe.recipe import Detail, Mix, Recipe, Source
from stylegan3d.session.provenance import subject_of

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator

DETAIL_PERCENT = (0.0, 100.0, 1.0, 100.0)


class DetailBox(QWidget):
    """A list of the projected scans, and a slider."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.source = controls.combo(
            "mix.detail",
            "Whose detail is shown: a projected scan's, which moves along with the brain, or none.",
        )
        self.strength = controls.SliderRow(
            "mix.detail_strength",
            "Detail",
            DETAIL_PERCENT,
            " %",
            "How much of the scan's own detail is shown.\n0 %: the model's brain, 100 %: all.",
            label_width=48,
        )
        self.note = controls.hint(name="mix.detail_note")
        controls.stack(self.source, self.strength, self.note, on=self, spacing=5)
        self.source.activated.connect(self._on_source)
        self.strength.valueChanged.connect(self._on_strength)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show whose detail a recipe has."""
        detail = recipe.detail
        sources = [case.source for case in self.session.projected if case.source is not None]
        current = None if detail is None else self._known(detail.source, sources)
        if current is not None and current not in sources:
            sources.append(current)
        entries = [(self._name(source), source) for source in sources]
        controls.fill(self.source, [("None: the model's brain", None), *entries], current)
        self.strength.set_value(100.0 if detail is None else 100 * detail.strength)
        self.strength.setEnabled(detail is not None)
        self.note.setText(self._words(recipe))

    def _words(self, recipe: Recipe) -> str:
        detail = recipe.detail
        if detail is None:
            if not self.session.projected:
                return "Project a scan to show its own detail here."
            return ""
        name = self._name(detail.source)
        if detail.source.is_same(recipe.source):
            return f"The detail of {name} moves along with what is edited and mixed."
        return subject_of(self.session, recipe)

    def _name(self, source: Source) -> str:
        case = self.session.case_of(source)
        return "" if case is None else case.name

    @staticmethod
    def _known(source: Source, sources: list[Source]) -> Source:
        """A source as the list has it."""
        return next((known for known in sources if known.is_same(source)), source)

    def _on_source(self, index: int) -> None:
        source = self.source.itemData(index)

        def worn(recipe: Recipe) -> Recipe:
            strength = 1.0 if recipe.worn_detail is None else recipe.worn_detail.strength
            return recipe.replace(detail=None if source is None else Detail(source, strength))

        self.session.edit(worn)

    def _on_strength(self, percent: float, live: bool) -> None:
        def worn(recipe: Recipe) -> Recipe:
            detail = recipe.detail and Detail(recipe.detail.source, percent / 100)
            return recipe.replace(detail=detail)

        self.session.edit(worn, live=live, gesture="mix.detail_strength")


PERCENT = (0.0, 100.0, 1.0, 0.0)


class GroupRow(QWidget):
    """One slider for a group of layers, which opens to one slider per layer."""

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


FILE = "file"
SIDE = 88
#: Letters of a word under a picture, such as the name of a patient: two lines.
WORD_LENGTH = 22


class MixPictures(QWidget):
    """Three pictures with their names: A + B → mix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = PictureButton("mix.picture.first", "Brain A: click to show it unmixed.", SIDE)
        self.second = PictureButton(
            "mix.picture.second", "Brain B: click to show it unmixed.", SIDE
        )
        self.result = PictureButton("mix.picture.result", "The mix of A and B.", SIDE)
        self.names = [controls.hint(name=f"mix.{name}") for name in ("first", "second", "result")]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(3)
        for column, button in enumerate((self.first, self.second, self.result)):
            grid.addWidget(button, 0, 2 * column, Qt.AlignmentFlag.AlignHCenter)
            name = self.names[column]
            name.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            name.setFixedWidth(controls.scaled(SIDE + 4))
            grid.addWidget(name, 1, 2 * column, Qt.AlignmentFlag.AlignTop)
        for column, sign in ((1, "+"), (3, "→")):
            label = controls.heading(sign)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            grid.addWidget(label, 0, column)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)

    def name(self, first: str, second: str) -> None:
        """Describe A and B."""
        for label, text in zip(self.names, (f"A: {first}", f"B: {second}", "Mix"), strict=True):
            label.setText(" ".join(shortened(word, WORD_LENGTH) for word in text.split()))
            label.setToolTip(text)

    def recipes(self, session: Session) -> dict[PictureButton, Recipe]:
        """What each picture shows: A and B unmixed and unedited, and the mix as it is."""
        second = session.with_source(session.mix_or_none().source)
        return {
            self.result: session.brain,
            self.first: session.brain.replace(mix=None, edits=()),
            self.second: second.replace(mix=None, edits=()),
        }


class MixPanel(ExplorerPanel):
    """The second source and its strength per layer."""

    key = "Mix"
    title = "Mix"
    edits = True

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.pictures = MixPictures()
        self.source = controls.combo("mix.source", "Source of the second brain, B.")
        self.seed = SeedPicker("mix")
        self.preset = controls.combo("mix.preset", "Common mixes of A and B.")
        self.layers_note = controls.hint("", "mix.layers_note")
        self.groups: list[GroupRow] = []
        self.detail = DetailBox(session)
        self._group_box = controls.stack(spacing=12)
        self.swap = controls.push_button("Swap", "mix.swap", "Exchange A and B.")
        self.reset = controls.push_button(
            "Reset", "mix.reset", "Take nothing from the second brain."
        )
        self.matrix = controls.push_button(
            "Matrix…",
            "mix.open_matrix",
            "Mix several brains with several others and choose one.",
        )
        self._lay_out()
        self._connect()
        self.show_recipe(session.brain)

    def _lay_out(self) -> None:
        section = partial(controls.section, self.column)
        section("", self.pictures)
        section("Second brain, B", self.source, self.seed)
        section("Take from B", self.preset, self.layers_note, self._group_box)
        section("Detail of a scan", self.detail)
        buttons = controls.row(self.swap, self.reset, self.matrix)
        buttons.addStretch(1)
        section("", buttons)
        self.column.addStretch(1)

    def _connect(self) -> None:
        session = self.session
        self.seed.seedChanged.connect(lambda seed: self._set_second(Source("seed", seed)))
        self.source.activated.connect(self._on_source)
        self.preset.activated.connect(self._on_preset)
        self.swap.clicked.connect(self._swap)
        self.reset.clicked.connect(self._reset)
        session.projectedChanged.connect(lambda: self.show_recipe(session.brain))

    def show_model(self, generator: Generator) -> None:
        """One group of sliders for each size of structures the model has, or one for all."""
        reason = why_not(generator, "layers")
        self.layers_note.setText(reason)
        self.layers_note.setVisible(bool(reason))
        for group_row in self.groups:
            self._group_box.removeWidget(group_row)
            group_row.setParent(None)
            group_row.deleteLater()
        self.groups = [GroupRow(g, self._set_layers) for g in self.session.layer_groups()]
        for index, group_row in enumerate(self.groups):
            self._group_box.addWidget(group_row)
            controls.name_for_readers(group_row)
            group_row.solo.clicked.connect(
                lambda _=False, k=index: self._take(
                    solo(k, [row.group.layers for row in self.groups])
                )
            )
        controls.join_tab_order(self.preset, *self.groups)
        self._list_presets()

    def show_recipe(self, recipe: Recipe) -> None:
        """Show both sources and the strengths."""
        mix = self.session.mix_or_none()
        self.pictures.name(self.name_of(recipe.source), self.name_of(mix.source))
        self._list_sources(mix.source)
        self.seed.setVisible(mix.source.kind == "seed")
        if mix.source.seed is not None:
            self.seed.set_seed(mix.source.seed)
        for group_row in self.groups:
            if max(group_row.layers) < len(mix.strength):
                group_row.show_strengths(mix.strength)
        self._show_preset(mix.strength)
        self.detail.show_recipe(recipe)
        self.reset.setEnabled(any(mix.strength))

    def name_of(self, source: Source) -> str:
        """What a source is called."""
        projected = self.session.find_projected(source)
        if projected:
            return f"Projected {projected.name}"
        return describe_source(source)

    def _list_sources(self, current: Source) -> None:
        sources = [p.source for p in self.session.projected if p.source is not None]
        if current.kind != "seed" and current not in sources:
            sources.append(current)
        entries = [
            ("A random brain", "seed"),
            *((self.name_of(source), source) for source in sources),
            ("From a latent file…", FILE),
        ]
        controls.fill(self.source, entries, "seed" if current.kind == "seed" else current)

    def _list_presets(self) -> None:
        """The usual mixes, where the model has layers of three sizes."""
        layers = [row.group.layers for row in self.groups]
        presets = [
            (preset.name, strengths(preset.shares, layers), preset.meaning)
            for preset in (PRESETS if len(layers) == 3 else ())
        ]
        controls.fill(self.preset, [("Presets", None), *presets])
        self.preset.setVisible(self.preset.count() > 1)

    def _show_preset(self, strength: tuple[float, ...]) -> None:
        controls.show_value(self.preset, strength)
        with QSignalBlocker(self.preset):
            self.preset.setItemText(0, "Custom" if any(strength) else "Presets")

    def _on_preset(self, index: int) -> None:
        strength = self.preset.itemData(index)
        if strength is None:
            self._show_preset(self.session.mix_or_none().strength)
        else:
            self._take(tuple(strength))

    def _on_source(self, index: int) -> None:
        choice = self.source.itemData(index)
        if choice == FILE:
            choice = self._ask_for_latent()
        if choice == "seed":
            choice = Source("seed", self.seed.spin.value())
        if isinstance(choice, Source):
            self._set_second(choice)
        else:
            self.show_recipe(self.session.brain)

    def _ask_for_latent(self) -> Source | None:
        path = dialogs.open_file(self, "Second brain from a latent file", dialogs.LATENTS)
        if path is None:
            return None
        try:
            return Source.from_file(path)
        except StyleGAN3DError as error:
            report_error(error, "opening a latent file")
            return None

    def _set_second(self, source: Source) -> None:
        self.session.second = source
        mix = self.session.mix_or_none()
        changed = Mix(source, mix.strength)
        self.session.edit(lambda recipe: recipe.replace(mix=changed), gesture="mix.seed")

    def _take(self, strength: tuple[float, ...]) -> None:
        mix = Mix(self.session.mix_or_none().source, strength)
        self.session.edit(lambda recipe: recipe.replace(mix=mix))

    def _set_layers(
        self, layers: tuple[int, ...], gesture: str, percent: float, live: bool
    ) -> None:
        mix = self.session.mix_or_none()
        strength = tuple(
            percent / 100 if index in layers else value for index, value in enumerate(mix.strength)
        )
        recipe = self.session.brain.replace(mix=Mix(mix.source, strength))
        self.session.change(recipe, live=live, gesture=gesture)

    def _swap(self) -> None:
        recipe, mix = self.session.brain, self.session.mix_or_none()
        self.session.second = recipe.source
        swapped = self.session.with_source(mix.source)
        self.session.change(swapped.replace(mix=Mix(recipe.source, mix.strength)))

    def _reset(self) -> None:
        self.session.second = self.session.mix_or_none().source
        self.session.edit(lambda recipe: recipe.replace(mix=None))
