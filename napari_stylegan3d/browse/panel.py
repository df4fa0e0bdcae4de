"""Browse: random brains by seed, how adventurous they are, and what the model is.

What the Browse panel opens and needs computed: the gallery, the latent map, an interpolation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QWidget

from napari_stylegan3d.browse.gallery import GalleryDialog, InterpolationBox
from napari_stylegan3d.browse.map import MapBox
from napari_stylegan3d.core.panel import Context, ExplorerPanel, why_not
from napari_stylegan3d.core.worker import LatestWins, beside_the_window
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import LARGEST_SEED, DecimalBox, Fold, SeedPicker
from stylegan3d.directions.people import NAMES
from stylegan3d.model.family import family_called
from stylegan3d.recipe.model import TRUNCATION, middle_of, number_range
from stylegan3d.recipe.recipe import Label, Recipe, Truncation
from stylegan3d.scans.person import SEXES
from stylegan3d.storage.places import PRIVACY

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import DisplayVolume
    from napari_stylegan3d.core.session import Session
    from stylegan3d.evaluation.privacy_index import Nearness, PrivacyIndex
    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator


OPEN, VALUE = "open", "value"
UNKNOWN = "n/a"
#: More bare numbers than this are left to recipes and the command line.
MOST_NUMBERS = 8
REACH = 10.0
#: How far from the mean of the training subjects a number may be set, in standard deviations.
REACH_SD = 4.0
ABOUT_NAMED = "Properties set to Any vary as in the training data."
ABOUT_NUMBERS = (
    "This model was trained with labels, but its file does not describe them. Without a "
    "label they are set to zero."
)
NOT_APPLIED = (
    "Only for random brains: projected scans and latent files already have a fixed latent."
)


class LabelBox(QWidget):
    """The label of the current recipe; hidden for models that were trained without."""

    #: Label or None
    labelChanged = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._fields: NamedLabels | NumberLabels | None = None
        self.note = controls.hint(name="browse.label_note")
        self._column = controls.stack(
            controls.line(), controls.heading("Generate for"), self.note, on=self, spacing=9
        )
        self.hide()

    def show_model(self, generator: Generator) -> None:
        """Make the controls for a model's labels."""
        if self._fields is not None:
            controls.discard(self._fields)
            self._fields = None
        size, schema = generator.label_dim, generator.card.get("labels")
        self.setVisible(bool(size))
        if not size:
            return
        self._fields = NamedLabels(schema) if schema else NumberLabels(size)
        self._fields.changed.connect(self.labelChanged)
        self._column.insertWidget(2, self._fields)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show the recipe's label."""
        if self._fields is None:
            return
        self._fields.show_label(recipe.label)
        self._fields.setEnabled(recipe.has_seed)
        self.note.setText(self._fields.about if recipe.has_seed else NOT_APPLIED)


class _Fields(QWidget):
    """Rows of a name and its controls."""

    #: Label or None
    changed = Signal(object)
    about = ""

    def __init__(self) -> None:
        super().__init__()
        self.rows = controls.grid(self, -1, 6, (1,))

    def show_label(self, label: Label | None) -> None:
        """Show a recipe's label without emitting signals."""
        raise NotImplementedError

    def _choice(self, index: int, tip: str) -> QComboBox:
        box = controls.combo(f"browse.label.{index}", tip)
        box.setMinimumContentsLength(3)  # beside a number
        box.activated.connect(self._on_chosen)
        return box

    def _number(self, index: int, limits: tuple[float, float], tip: str) -> QDoubleSpinBox:
        decimals = 0 if limits[1] - limits[0] >= 40 else 2
        low, high = (round(limit, decimals) for limit in limits)
        tip = f"{tip} ({low:g} to {high:g})."
        spin = controls.number(f"browse.label_value.{index}", tip, (low, high), decimals=decimals)
        spin.valueChanged.connect(self._on_number)
        return spin

    def _add(self, name: str, *fields: QWidget) -> None:
        row = self.rows.rowCount()
        self.rows.addWidget(QLabel(name), row, 0)
        for column, field in enumerate(fields, start=1):
            self.rows.addWidget(field, row, column, 1, 1 if len(fields) > 1 else 2)

    def _on_chosen(self, _: int) -> None:
        raise NotImplementedError

    def _on_number(self, _: float) -> None:
        self._on_chosen(0)


class NamedLabels(_Fields):
    """One row for each label that the model's card names."""

    about = ABOUT_NAMED

    def __init__(self, schema: list[Mapping[str, Any]]) -> None:
        super().__init__()
        self._choices: dict[str, QComboBox] = {}
        self._values: dict[str, QDoubleSpinBox] = {}
        for index, entry in enumerate(schema):
            name = str(entry["name"])
            told = NAMES.get(name, name)
            box = self._choices[name] = self._choice(index, f"{told} of the subject, or Any.")
            box.addItem("Any", OPEN)
            fields: list[QWidget] = [box]
            if entry["kind"] == "number":
                box.addItem("Value", VALUE)
                tip = f"{told}, in the units of the training data"
                if entry.get("unit"):
                    tip = f"{told} in {entry['unit']}, within the range of the training data"
                spin = self._values[name] = self._number(index, number_range(entry, REACH_SD), tip)
                spin.setSuffix(f" {entry['unit']}" if entry.get("unit") else "")
                controls.show_value(spin, middle_of(entry))
                fields.append(spin)
            for value in entry.get("values", []):
                box.addItem(SEXES.get(str(value), str(value)).capitalize(), str(value))
            if entry["missing"]:
                box.addItem("Unknown", UNKNOWN)
            self._add(told, *fields)

    def show_label(self, label: Label | None) -> None:
        """Show a recipe's label without emitting signals."""
        given = dict(label.values) if label else {}
        for name, box in self._choices.items():
            value = given.get(name)
            spin = self._values.get(name)
            is_number = spin is not None and value not in (None, UNKNOWN)
            if spin is not None:
                spin.setEnabled(is_number)
                number = float(value) if is_number else spin.value()  # type: ignore[arg-type]
                with QSignalBlocker(spin):
                    # A recipe may have any number: it is shown as it is, not moved into the range.
                    spin.setMaximum(max(spin.maximum(), number))
                    spin.setMinimum(min(spin.minimum(), number))
                    spin.setValue(number)
            controls.show_value(box, VALUE if is_number else OPEN if value is None else str(value))

    def _on_chosen(self, _: int) -> None:
        given: dict[str, Any] = {}
        for name, box in self._choices.items():
            chosen = box.currentData()
            if chosen != OPEN:
                given[name] = self._values[name].value() if chosen == VALUE else chosen
        self.changed.emit(Label.of(given) if given else None)


class NumberLabels(_Fields):
    """The bare numbers of a network that names no labels; a class is a single 1 among zeros."""

    about = ABOUT_NUMBERS

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._class = self._choice(0, "Generate for one class, or without a label.")
        self._class.addItem("Without a label", ())
        for index in range(size):
            self._class.addItem(f"Class {index}", tuple(float(i == index) for i in range(size)))
        if size > 1:
            self._add("Class", self._class)
        shown = size if size <= MOST_NUMBERS else 0
        self._spins = [
            self._number(i, (-REACH, REACH), f"Label component {i}, no unit") for i in range(shown)
        ]
        for index, spin in enumerate(self._spins):
            spin.setSingleStep(0.1)
            self._add(f"Component {index}" if size > 1 else "Label", spin)

    def show_label(self, label: Label | None) -> None:
        """Show a recipe's label without emitting signals."""
        numbers = label.numbers if label and any(label.numbers) else ()
        known = [self._class.itemData(i) for i in range(self._size + 1)]
        while self._class.count() > len(known):
            self._class.removeItem(self._class.count() - 1)
        if numbers not in known:
            self._class.addItem("Other values", numbers)
        controls.show_value(self._class, numbers)
        for spin, number in zip(self._spins, numbers or (0.0,) * self._size, strict=False):
            controls.show_value(spin, number)

    def _on_chosen(self, _: int) -> None:
        self._emit(self._class.currentData())

    def _on_number(self, _: float) -> None:
        self._emit(tuple(spin.value() for spin in self._spins))

    def _emit(self, numbers: tuple[float, ...]) -> None:
        self.changed.emit(Label(numbers=tuple(numbers)) if any(numbers) else None)


SIDES = ("right", "left", "anterior", "posterior", "superior", "inferior")
WORDS = {side[0].upper(): side for side in SIDES}
#: The usual ones, and whose they are.
COMMON = {
    "LIA": "FreeSurfer",
    "RAS": "NIfTI",
    "LAS": "radiological NIfTI",
    "LPS": "DICOM, ITK",
    "PIR": "sagittal series",
    "LSA": "coronal series",
}
ASSUMED = (
    "The model's file does not contain its orientation and voxel size; the values below "
    "are assumed. If the head lies on its side, faces the wrong way or has the wrong size, "
    "correct them:"
)
CHOSEN = "The model's file does not contain its orientation and voxel size. Set to:"
#: Millimetres.
VOXEL_LIMITS = (0.05, 50.0)


def axis_codes() -> list[str]:
    """The 48 possible orientations of three array axes, common ones first."""
    every = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)]
    return [*COMMON, *sorted(set(every) - set(COMMON))]


def axes_in_words(code: str) -> str:
    """Such as 'LIA · left, down, forward (FreeSurfer)'."""
    words = ", ".join(WORDS[letter] for letter in code)
    return f"{code} · {words}" + (f" ({COMMON[code]})" if code in COMMON else "")


class Millimetres(DecimalBox):
    """A size with as many decimals as it needs: 2, or 0.9375."""

    def textFromValue(self, value: float) -> str:
        """The number as it is written."""
        return f"{value:.{self.decimals()}f}".rstrip("0").rstrip(".")


class FrameBox(QWidget):
    """Directions of the array axes and size of the voxels; hidden for models that know theirs."""

    #: Frame
    frameChanged = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._first: Space | None = None
        self._network: object = None
        self.note = controls.hint(name="browse.frame_note")
        self.axes = controls.combo(
            "browse.frame_axes", entries=((axes_in_words(code), code) for code in axis_codes())
        )
        self.sizes = [self._make_size(axis) for axis in range(3)]
        self.cubic = controls.check("browse.frame_cubic")
        self.reset = controls.tool_button(
            "browse.frame_reset",
            controls.RESET_GLYPH,
            "Reset axes and voxel sizes to those at opening.",
        )
        self._lay_out()
        self._connect()
        self.hide()

    def _make_size(self, axis: int) -> QDoubleSpinBox:
        low, high = VOXEL_LIMITS
        tip = f"Voxel size along array axis {axis + 1}, in mm ({low:g} to {high:g})."
        spin = controls.named(Millimetres(), f"browse.frame_voxel_size.{axis}", tip)
        spin.setDecimals(4)
        spin.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        return controls.limited(spin, low, high, 0.1, " mm")

    def _lay_out(self) -> None:
        column = controls.stack(self.note, on=self, spacing=9)
        sizes = QWidget()
        sizes.setToolTip("Voxel size along the three array axes, in mm.")
        sizes.setLayout(controls.row(*self.sizes, self.cubic))
        column.addLayout(controls.form(("Axes", self.axes), ("Voxel size", sizes)))
        told = controls.hint("This changes the position of the image, not its data.")
        column.addLayout(controls.row(told, self.reset, stretch=0))

    def _connect(self) -> None:
        self.axes.currentIndexChanged.connect(self._emit)
        for spin in self.sizes:
            spin.valueChanged.connect(self._emit)
        self.cubic.toggled.connect(self._on_cubic)
        self.reset.clicked.connect(self._reset)

    def show_model(self, generator: Generator) -> None:
        """Offer the frame of a model that was opened or placed again."""
        self.setVisible(generator.frame is not None)
        self.note.setText(ASSUMED if generator.frame_doubt else CHOSEN)
        if generator.synthesis is not self._network:
            self._network, self._first = generator.synthesis, generator.space
            self._set_cubic(_is_cubic(generator.space))
        self._show(generator.space)

    def _show(self, space: Space) -> None:
        """Show the axes and sizes of a space without emitting signals."""
        controls.show_value(self.axes, "".join(space.axcodes))
        if not _is_cubic(space):
            self._set_cubic(False)
        for spin, size in zip(self.sizes, space.voxel_size, strict=True):
            controls.show_value(spin, size)
        self.reset.setEnabled(self._first is not None and not space.same_as(self._first))

    def _set_cubic(self, cubic: bool) -> None:
        """Whether there is one size for all three: then the others follow the first."""
        controls.show_value(self.cubic, cubic)
        controls.enable(not cubic, *self.sizes[1:])

    def _on_cubic(self, equal: bool) -> None:
        self._set_cubic(equal)
        if equal:
            self._emit()

    def _reset(self) -> None:
        if self._first is not None:
            self._set_cubic(_is_cubic(self._first))
            self._show(self._first)
            self._emit()

    def _emit(self) -> None:
        from stylegan3d.geometry.space import Frame

        if self.cubic.isChecked():
            for spin in self.sizes[1:]:
                controls.show_value(spin, self.sizes[0].value())
        x, y, z = (spin.value() for spin in self.sizes)
        self.frameChanged.emit(Frame(self.axes.currentData(), (x, y, z)))


def _is_cubic(space: Space) -> bool:
    return len({round(size, 4) for size in space.voxel_size}) == 1


ABOUT = (
    "Is this brain close to a training brain? Only features are compared, 448 numbers for\n"
    "each brain; the model contains no training images."
)
MISSING = "This model includes no features of its training brains."
UNCHECKED = "This brain has not been checked."
CHECKING = "Checking…"


class PrivacyBox(QWidget):
    """A sentence, and a button that asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.told = controls.hint(UNCHECKED, "browse.privacy")
        self.told.setToolTip(ABOUT)
        self.check = controls.push_button("browse.privacy_check")
        controls.stack(controls.row(self.told, self.check, stretch=0), on=self, spacing=-1)
        self.offer(False)

    def offer(self, possible: bool) -> None:
        """Whether the model lets brains be checked."""
        self.check.setEnabled(possible)
        self.say(UNCHECKED if possible else MISSING)

    def say(self, text: str, tip: str = ABOUT) -> None:
        """Replace the text shown with a sentence."""
        self.told.setText(text)
        self.told.setToolTip(tip)


def in_words(found: Nearness) -> str:
    """Such as "Closest of 222 training brains: farther than 93 % of unrelated subjects."."""
    start = f"Closest of {found.people} training brains"
    if found.farther_than == 0:
        return f"{start}: closer than any of {found.strangers} unrelated subjects."
    if found.farther_than == 1:
        return f"{start}: farther than all of {found.strangers} unrelated subjects."
    # 99.6 % of strangers are not all of them.
    percent = min(max(round(100 * found.farther_than), 1), 99)
    return f"{start}: farther than {percent} % of unrelated subjects."


def details(found: Nearness) -> str:
    """What the sentence means."""
    image = "the mirror image of one of them" if found.mirrored else "one of them"
    return (
        f"Feature distance {found.distance:.3f}, to {image}. Unrelated subjects are real subjects "
        "compared with\nall training subjects except themselves. A copy would be closer than all "
        "of them; a few per cent\nis not unusual."
    )


SEEDED = "seeded"
NOISE_TIP = (
    "Random fine texture that the latent does not determine: fixed, none, or generated\n"
    "from a seed."
)
NO_TEXTURE = "Scans are shown without random texture."


def truncation_in_words(psi: float) -> str:
    """What a truncation means for the picture."""
    if psi < 0.05:
        return "The average brain: every seed gives the same brain."
    if psi < 0.5:
        return "Close to the average brain: little variety, few artefacts."
    if psi < 0.85:
        return "Typical brains: moderate variety, few artefacts."
    if psi <= 1.02:
        return "The full variety of the model, including artefacts."
    return "Beyond the training data: expect artefacts."


class BrowsePanel(ExplorerPanel):
    """Seed, label, truncation, noise and image channel of the current brain; the model."""

    title = "Browse"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.seed = SeedPicker("browse")
        self.wall = controls.push_button("browse.wall")
        self.keep_edits = controls.check("browse.keep_edits")
        self.truncation = controls.SliderRow(
            "browse.truncation",
            "",
            (0.0, 1.5, 0.01, TRUNCATION),
            tip=(
                "Truncation (psi, no unit): 0 is the average brain, 1 the full variety.\n"
                "It has no effect on projected scans and latent files."
            ),
        )
        self.meaning = controls.hint(name="browse.meaning")
        self.cutoff = controls.combo("browse.cutoff")
        self.noise, self.noise_seed = (
            controls.combo(
                "browse.noise",
                NOISE_TIP,
                (("Fixed", "fixed"), ("None", "none"), ("From seed", SEEDED)),
            ),
            controls.whole_number("browse.noise_seed", "", (0, LARGEST_SEED)),
        )
        self.noise_note = controls.hint("", "browse.noise_note")
        self.label = LabelBox()
        self.channel = controls.combo("browse.channel")
        self.channels = self._make_channels()
        self.map, self.walk = MapBox(session), InterpolationBox(session)
        self.privacy = PrivacyBox()
        self.about = controls.hint("", "browse.about")
        self.frame = FrameBox()
        self._lay_out()
        self._connect()
        self.show_recipe(session.brain)

    def _lay_out(self) -> None:
        section = partial(controls.section, self.column)
        told = controls.hint("A seed always gives the same brain.")
        beside = controls.row(told, self.wall, stretch=0)
        section("Seed", self.seed, beside, self.keep_edits, self.label)
        cutoff = controls.form(("Applies to", self.cutoff))
        section("Truncation", self.truncation, self.meaning, cutoff, self.channels)
        for fold in self._make_folds():
            section("", fold)
        self.column.addStretch(1)

    def _make_folds(self) -> tuple[Fold, ...]:
        """What needs room, or is needed seldom."""
        where = Fold(
            "Latent map",
            "browse.map_fold",
            "Position of this brain among random ones; click to move it.",
            unfolded=True,
        )
        where.column.addWidget(self.map)
        way = Fold(
            "Interpolation",
            "browse.walk_fold",
            "From this brain to others, or from favourite to favourite.",
        )
        way.column.addWidget(self.walk)
        texture = Fold("Fine texture", "browse.texture_fold", "Random detail of the image.")
        texture.column.addLayout(controls.row(self.noise, self.noise_seed, stretch=0))
        texture.column.addWidget(self.noise_note)
        near = Fold("Privacy", "browse.privacy_fold", ABOUT)
        near.column.addWidget(self.privacy)
        self.about_fold = Fold("About this model", "browse.about_fold", "Size, data and licence.")
        controls.section(self.about_fold.column, "", self.about, self.frame)
        return where, way, texture, near, self.about_fold

    def _make_channels(self) -> QWidget:
        """The image channels, with their heading; hidden for models with one."""
        part = QWidget()
        controls.stack(
            controls.line(),
            controls.heading("Image"),
            controls.form(("Channel", self.channel)),
            on=part,
            spacing=9,
        )
        part.hide()
        return part

    def _connect(self) -> None:
        self.seed.seedChanged.connect(self._on_seed)
        self.keep_edits.toggled.connect(partial(setattr, self.session, "keep_edits"))
        self.truncation.valueChanged.connect(self._on_truncation)
        self.cutoff.currentIndexChanged.connect(self._on_cutoff)
        self.noise.currentIndexChanged.connect(self._on_noise)
        self.noise_seed.valueChanged.connect(self._on_noise)
        self.label.labelChanged.connect(self._on_label)
        self.channel.currentIndexChanged.connect(self._on_channel)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show seed, truncation and noise of the recipe."""
        if recipe.source.seed is not None:
            self.seed.set_seed(recipe.source.seed)
        self.truncation.set_value(recipe.truncation.psi)
        self.truncation.setEnabled(recipe.has_seed)
        self.meaning.setText(
            truncation_in_words(recipe.truncation.psi)
            if self.truncation.isEnabled()
            else NOT_APPLIED
        )
        controls.show_value(self.cutoff, recipe.truncation.cutoff)
        seeded = not isinstance(recipe.noise, str)
        controls.show_value(self.noise, SEEDED if seeded else recipe.noise)
        self.noise_seed.setVisible(seeded)
        if seeded:
            controls.show_value(self.noise_seed, min(int(recipe.noise), self.noise_seed.maximum()))
        if self.session.generator is not None:
            self.show_texture(self.session.generator)
        self.label.show_recipe(recipe)
        controls.show_value(self.channel, recipe.channel)

    def show_model(self, generator: Generator) -> None:
        """Show the model's options and description."""
        self.show_texture(generator)
        sizes = [
            (f"Structures down to {min(group.sizes_mm):.0f} mm", group.layers[-1] + 1)
            for group in self.session.layer_groups()[:-1]
        ]
        controls.fill(self.cutoff, [("All sizes of structures", None), *sizes])
        self.label.show_model(generator)
        controls.join_tab_order(self.keep_edits, self.label)
        count = generator.config.image_channels
        controls.fill(self.channel, [(f"{k + 1} of {count}", k) for k in range(count)])
        self.channels.setVisible(count > 1)
        self.about.setText(describe_model(generator))
        self.frame.show_model(generator)
        if generator.doubts:  # axes may be wrong, and then the picture appears rotated
            self.about_fold.unfold()

    def show_texture(self, generator: Generator) -> None:
        """Offer layers and noise where they change the image, not for scans shown without."""
        recipe = self.session.brain
        why = why_not(generator, "layers") or NOT_APPLIED * (not recipe.has_seed)
        controls.allow(why, self.cutoff)
        reason = why_not(generator, "noise")
        if not reason and recipe.shown_noise(generator) != recipe.noise:
            reason = NO_TEXTURE
        controls.allow(reason, self.noise, self.noise_seed)
        controls.show_text(self.noise_note, reason)

    def _on_seed(self, seed: int) -> None:
        self.session.change(self.session.numbered(seed), gesture="browse.seed")

    def _on_truncation(self, psi: float, live: bool) -> None:
        truncation = dataclasses.replace(self.session.brain.truncation, psi=psi)
        recipe = self.session.brain.replace(truncation=truncation)
        self.session.change(recipe, live=live, gesture="browse.truncation")

    def _on_cutoff(self, _: int) -> None:
        recipe = self.session.brain
        truncation = Truncation(recipe.truncation.psi, self.cutoff.currentData())
        self.session.change(recipe.replace(truncation=truncation))

    def _on_noise(self, _: int) -> None:
        kind = self.noise.currentData()
        noise = self.noise_seed.value() if kind == SEEDED else kind
        self.session.change(self.session.brain.replace(noise=noise), gesture="browse.noise")

    def _on_label(self, label: Label | None) -> None:
        recipe = self.session.brain.replace(label=label)
        self.session.change(recipe, gesture="browse.label")

    def _on_channel(self, _: int) -> None:
        recipe = self.session.brain.replace(channel=self.channel.currentData())
        self.session.change(recipe, gesture="browse.channel")


def describe_model(generator: Generator) -> str:
    """Size, training data and intended use, from the model's card, and whether it is unfinished."""
    size = " × ".join(str(n) for n in generator.shape)
    voxel = sorted({f"{v:.4g}" for v in generator.voxel_size})
    kind, card = family_called(generator.family).title, generator.card
    lines = [f"{size} voxels of {' × '.join(voxel)} mm.", f"Kind: {kind}."]
    sources = [s for s in card.get("training_data", []) if s.get("source")]
    if sources:
        people = sum(s.get("people", 0) for s in sources)
        names = ", ".join(s["source"].split(",")[0] for s in sources)
        lines.append(f"Trained on {people} subjects: {names}.")
    else:
        lines.append("The training data are unknown.")
    lines += [str(card["intended_use"])] if card.get("intended_use") else []
    lines += [f"Licence: {card['licence']}"] if card.get("licence") else []
    lines += [doubt.sentence for doubt in generator.doubts if doubt.kind == "unfinished"]
    return "\n\n".join(lines)


OF_SCAN = "This is a scan: choose Reconstruction above the views, then check."


@dataclass(frozen=True, eq=False)
class CheckedBrain:
    """A brain to be checked, (X, Y, Z) on its grid, and the file to check it against."""

    volume: np.ndarray
    space: Space
    index: Path


class Checker:
    """Reads an index once, and compares brains to it."""

    def __init__(self) -> None:
        self._read: tuple[Path, PrivacyIndex] | None = None

    def __call__(self, subject: CheckedBrain) -> Nearness:
        """`StyleGAN3DError` if the index cannot be read or is of another grid."""
        from stylegan3d.evaluation.privacy_index import load_index

        if self._read is None or self._read[0] != subject.index:
            self._read = subject.index, load_index(subject.index)
        with beside_the_window():
            return self._read[1].check(subject.volume, subject.space)


class PrivacyCheck(QObject):
    """What the button of the Privacy part does; what it found goes with the brain."""

    def __init__(self, context: Context, box: PrivacyBox) -> None:
        super().__init__(context.dock)
        self.box = box
        self.session, self.comparison = context.session, context.comparison
        self._index: Path | None = None
        #: The brain that is being checked; the result of any other is out of date.
        self._asked: CheckedBrain | None = None
        #: Whether the button was pressed before the brain was there in full.
        self._waiting = False
        self._work = LatestWins(Checker(), self, self._on_checked, self._on_failed)
        box.check.clicked.connect(self._ask)
        self.session.recipeChanged.connect(self._on_recipe)
        self.session.lookChanged.connect(self._on_recipe)
        self.session.modelChanged.connect(self._on_model)
        context.render.shown.connect(self._on_picture)

    def _on_model(self, generator: Generator) -> None:
        self._forget()
        path = generator.folder / PRIVACY if generator.folder is not None else None
        self._index = path if path is not None and path.is_file() else None
        self.box.offer(self._index is not None)

    def _on_recipe(self, *_: object) -> None:
        if self._index is not None:
            self._forget()
            self.box.say(UNCHECKED)

    def _on_picture(self, recipe: Recipe, picture: DisplayVolume) -> None:
        wanted = recipe == self.session.state.drawn
        if self._waiting and picture.quality == "full" and wanted:
            self._submit(picture)

    def _forget(self) -> None:
        self._asked, self._waiting = None, False

    def _ask(self) -> None:
        """Check the brain of the recipe, now or as soon as it is there in full."""
        drawn = self.session.state.drawn
        if drawn is None or drawn.worn_detail is not None:
            self.box.say(OF_SCAN)
            return
        self.box.say(CHECKING)
        picture = self.comparison.picture
        if picture is not None and self.comparison.is_current:
            self._submit(picture)
        else:
            self._waiting = True

    def _submit(self, picture: DisplayVolume) -> None:
        assert self._index is not None
        self._waiting = False
        self._asked = CheckedBrain(picture.rendered.volume, picture.rendered.space, self._index)
        self._work.submit(self._asked)

    def _on_checked(self, subject: CheckedBrain, found: Nearness) -> None:
        if subject is self._asked:
            self.box.say(in_words(found), f"{ABOUT}\n{details(found)}")

    def _on_failed(self, subject: CheckedBrain, error: Exception) -> None:
        if subject is self._asked:
            said = self.session.messages.said(error, "checking privacy")
            self.box.say(said or UNCHECKED)


class BrowseController(QObject):
    """Brings the Browse panel together with what works behind it."""

    def __init__(self, context: Context, panel: BrowsePanel) -> None:
        super().__init__(context.dock)
        self.session, self.panel = context.session, panel
        self.wall = GalleryDialog(context.session, context.thumbnails, context.dock)
        self.privacy = PrivacyCheck(context, panel.privacy)
        panel.wall.clicked.connect(lambda: self.wall.open_beside(panel))
        panel.keep_edits.toggled.connect(self.wall.refresh)
        panel.walk.use(context.thumbnails)
        context.links.callback(panel.walk.stop)
        context.links.callback(panel.map.places.set_seen, False)

    def survey(self) -> None:
        """The model's directions are known: compute the positions of its random brains."""
        generator = self.session.generator
        if generator is not None:
            self.panel.map.places.use(generator)
