"""Browse: random brains by number, how adventurous they are, and what the model is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_stylegan3d.browse.condition import LabelBox
from napari_stylegan3d.browse.frame import FrameBox
from napari_stylegan3d.browse.map import MapBox
from napari_stylegan3d.browse.privacy import ABOUT, PrivacyBox
from napari_stylegan3d.browse.walk import WalkBox
from napari_stylegan3d.core.lacks import why_not
from napari_stylegan3d.core.panel import Panel
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.fold import Fold
from napari_stylegan3d.widgets.seeds import LARGEST_SEED, SeedPicker
from stylegan3d.model.registry import family_called
from stylegan3d.recipe.drawing import TRUNCATION
from stylegan3d.recipe.recipe import Label, Recipe, Truncation

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.model.generator import Generator

SEEDED = "seeded"
CUTOFF_TIP = "Sizes of structures that truncation affects."
NOISE_TIP = (
    "Random fine texture that the latent does not determine: fixed, none, or generated\n"
    "from a seed."
)
NO_TEXTURE = "Scans are shown without random texture."
NOISE_SEED_TIP = "Seed of the texture (no unit)."


def truncation_in_words(psi: float) -> str:
    """What a truncation means for the picture."""
    if psi < 0.05:
        return "The average brain: every number gives the same brain."
    if psi < 0.5:
        return "Close to the average brain: little variety, few artefacts."
    if psi < 0.85:
        return "Typical brains: moderate variety, few artefacts."
    if psi <= 1.02:
        return "The full variety of the model, including artefacts."
    return "Beyond the training data: expect artefacts."


class BrowsePanel(Panel):
    """Seed, label, truncation, noise and image channel of the current brain; the model."""

    key = "Browse"
    title = "Browse"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.seed = SeedPicker("browse")
        self.wall = controls.push_button("Wall…", "browse.wall", "Many random brains side by side.")
        self.keep_edits = controls.check(
            "Take edits and mix along",
            "browse.keep_edits",
            "On: the next number is edited and mixed like this one.\n"
            "Off: edits and mix belong to their brain, and return with its number.",
        )
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
        self.cutoff = controls.combo("browse.cutoff", CUTOFF_TIP)
        self.noise, self.noise_seed = (
            controls.combo(
                "browse.noise",
                NOISE_TIP,
                (("Fixed", "fixed"), ("None", "none"), ("From seed", SEEDED)),
            ),
            controls.whole_number("browse.noise_seed", NOISE_SEED_TIP, (0, LARGEST_SEED)),
        )
        self.noise_note = controls.hint("", "browse.noise_note")
        self.label = LabelBox()
        self.channel = controls.combo(
            "browse.channel", "Channel of the model's image that is shown and saved."
        )
        self.channels = self._make_channels()
        self.map, self.walk = MapBox(session), WalkBox(session)
        self.privacy = PrivacyBox()
        self.about = controls.hint("", "browse.about")
        self.frame = FrameBox()
        self._lay_out()
        self._connect()
        self.show_recipe(session.recipe)

    def _lay_out(self) -> None:
        add = self.column.addWidget
        add(controls.heading("Brain number"))
        add(self.seed)
        told = controls.hint("A number always gives the same brain.")
        self.column.addLayout(controls.row(told, self.wall, stretch=0))
        add(self.keep_edits)
        add(self.label)
        add(controls.line())
        add(controls.heading("Variety"))
        add(self.truncation)
        add(self.meaning)
        self.column.addLayout(controls.form(("Applies to", self.cutoff)))
        add(self.channels)
        for fold in self._make_folds():
            add(controls.line())
            add(fold)
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
            "Walk between brains",
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
        for part in (self.about, self.frame):
            self.about_fold.column.addWidget(part)
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
        self.keep_edits.toggled.connect(self._on_keep_edits)
        self.truncation.valueChanged.connect(self._on_truncation)
        self.cutoff.currentIndexChanged.connect(self._on_cutoff)
        self.noise.currentIndexChanged.connect(self._on_noise)
        self.noise_seed.valueChanged.connect(self._on_noise)
        self.label.labelChanged.connect(self._on_label)
        self.channel.currentIndexChanged.connect(self._on_channel)

    def _on_keep_edits(self, keep: bool) -> None:
        self.session.keep_edits = keep

    def show_recipe(self, recipe: Recipe) -> None:
        """Show seed, truncation and noise of the recipe."""
        if recipe.source.seed is not None:
            self.seed.set_seed(recipe.source.seed)
        self.truncation.set_value(recipe.truncation.psi)
        self.truncation.setEnabled(recipe.has_seed)
        self.meaning.setText(
            truncation_in_words(recipe.truncation.psi)
            if self.truncation.isEnabled()
            else "Not for projected scans and latent files: they already have a fixed latent."
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
        self._explain_cutoff(why_not(generator, "layers"))
        self.label.show_model(generator)
        controls.join_tab_order(self.keep_edits, self.label)
        count = generator.config.image_channels
        controls.fill(self.channel, [(f"{k + 1} of {count}", k) for k in range(count)])
        self.channels.setVisible(count > 1)
        self.about.setText(describe_model(generator))
        self.frame.show_model(generator)
        if generator.frame_note:  # it may be wrong, and then the picture appears rotated
            self.about_fold.unfold()

    def show_texture(self, generator: Generator) -> None:
        """Offer noise where it changes the image, not for scans that are shown without."""
        recipe = self.session.recipe
        reason = why_not(generator, "noise")
        if not reason and recipe.shown_noise(generator) != recipe.noise:
            reason = NO_TEXTURE
        for control, tip in ((self.noise, NOISE_TIP), (self.noise_seed, NOISE_SEED_TIP)):
            control.setEnabled(not reason)
            control.setToolTip(reason or tip)
        self.noise_note.setText(reason)
        self.noise_note.setVisible(bool(reason))

    def _explain_cutoff(self, reason: str) -> None:
        """Without per-layer styles there is nothing to choose."""
        self.cutoff.setEnabled(not reason)
        self.cutoff.setToolTip(reason or CUTOFF_TIP)

    def _on_seed(self, seed: int) -> None:
        self.session.change(self.session.numbered(seed), gesture="browse.seed")

    def _on_truncation(self, psi: float, live: bool) -> None:
        recipe = self.session.recipe
        truncation = dataclasses.replace(recipe.truncation, psi=psi)
        self.session.change(
            recipe.replace(truncation=truncation), live=live, gesture="browse.truncation"
        )

    def _on_cutoff(self, _: int) -> None:
        recipe = self.session.recipe
        truncation = Truncation(recipe.truncation.psi, self.cutoff.currentData())
        self.session.change(recipe.replace(truncation=truncation))

    def _on_noise(self, _: int) -> None:
        kind = self.noise.currentData()
        noise = self.noise_seed.value() if kind == SEEDED else kind
        self.session.change(self.session.recipe.replace(noise=noise), gesture="browse.noise")

    def _on_label(self, label: Label | None) -> None:
        recipe = self.session.recipe.replace(label=label)
        self.session.change(recipe, gesture="browse.label")

    def _on_channel(self, _: int) -> None:
        recipe = self.session.recipe.replace(channel=self.channel.currentData())
        self.session.change(recipe, gesture="browse.channel")


def describe_model(generator: Generator) -> str:
    """Size, training data and intended use, from the model's card."""
    size = " × ".join(str(n) for n in generator.shape)
    voxel = sorted({f"{v:.4g}" for v in generator.voxel_size})
    lines = ["{size} voxels of {voxel} mm.".format(size=size, voxel=" × ".join(voxel))]
    lines.append(f"Kind: {family_called(generator.family).title}.")
    card = generator.card
    sources = [s for s in card.get("training_data", []) if s.get("source")]
    if sources:
        people = sum(s.get("people", 0) for s in sources)
        names = ", ".join(s["source"].split(",")[0] for s in sources)
        lines.append(f"Trained on {people} subjects: {names}.")
    else:
        lines.append("The training data are unknown.")
    lines += [str(card["intended_use"])] if card.get("intended_use") else []
    lines += ["Licence: {licence}".format(licence=card["licence"])] if card.get("licence") else []
    return "\n\n".join(lines)
