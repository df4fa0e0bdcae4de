"""The recipe: everything needed to reproduce a brain, as one small immutable value.

A recipe names a source (a seed, a latent file, a projected scan), the truncation, a mix with a
second source, edits along directions and the scan whose detail is shown. `Recipe.latent` turns it
into w and depends on nothing else, so history, comparisons, sidecars and command lines can all
store recipes.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from stylegan3d.errors import RecipeError
from stylegan3d.plain import Json
from stylegan3d.recipe.direction_file import find_step
from stylegan3d.recipe.directions import move
from stylegan3d.recipe.label import Label
from stylegan3d.recipe.latents import Delta, Latent, load_latent, mixed
from stylegan3d.recipe.model import (
    TRUNCATION,
    MadeWith,
    Model,
    Noise,
    Truncation,
    check_seed,
    seed_latents,
)
from stylegan3d.recipe.parts import Detail, Edit, Mix, Source
from stylegan3d.storage.checked import Whole, checked, from_plain
from stylegan3d.storage.jsontext import from_json, is_int, without_none

if TYPE_CHECKING:
    import torch

__all__ = ["Detail", "Edit", "Label", "MadeWith", "Mix", "Recipe", "Source", "Truncation"]

#: In recipes of version 1, directions of age and volumes did not hold the outer contour fixed; up
#: to version 2, mixes were straight. Without a mix, recipes are still written as version 2.
VERSION = 3
STRAIGHT_MIXES = 2


def _label_of(data: Any) -> Label | None:
    return None if data is None else Label.of(data)


def _noise_of(data: Any) -> Noise:
    if data not in ("fixed", "none"):
        check_seed(data, 'Noise other than "fixed" and "none"')
    return data


@checked("recipe")
class Recipe:
    """What to show; see the module's docstring.

    Attributes
    ----------
    source : Source
    truncation : Truncation
        Applies to seeds, also to one that is mixed in; never to latent files and projected scans.
    mix : Mix or None
    edits : tuple of Edit
        Applied after the mix, in order.
    noise : Noise
        "fixed", "none", or the seed of the layer noise.
    channel : int
        Which channel of the image is shown and saved, from 0.
    label : Label or None
        For conditional generators: the label of seeds, also of one that is mixed in; latent files
        ignore it. Plain data are accepted. None means unconditional.
    detail : Detail or None
        A scan's own detail, which moves along with the anatomy. If the scan is the recipe's own
        source, this shows the edited scan; otherwise a brain with that scan's detail. It is not
        part of w.
    model : MadeWith or None
        The model it was made with; other models refuse the recipe. None if unknown. Ignored when
        recipes are compared.

    Raises
    ------
    RecipeError
        If a part is not valid for any generator. What depends on the generator (numbers of layers,
        names of directions) is checked by `check` and `latent`.
    """

    source: Source = field(default_factory=lambda: Source("seed", 0))
    truncation: Truncation = field(default_factory=lambda: Truncation(TRUNCATION))
    mix: Mix | None = None
    edits: tuple[Edit, ...] = ()
    noise: Annotated[Noise, BeforeValidator(_noise_of)] = "fixed"
    channel: Whole = 0
    label: Annotated[Label | None, BeforeValidator(_label_of)] = None
    detail: Detail | None = None
    model: MadeWith | None = field(default=None, compare=False)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with other values in the named fields; RecipeError for a field it lacks."""
        return dataclasses.replace(self, **changes)

    def signed(self, generator: Model) -> Recipe:
        """The same recipe with its model recorded, for export."""
        return self.replace(model=MadeWith.of(generator, self.label is not None))

    def check(self, generator: Model) -> None:
        """Raise RecipeError if the recipe is of another model or does not fit `generator`."""
        if self.model is not None:
            self.model.check(generator)
        layers, name = generator.num_layers, generator.name
        channels = generator.image_channels
        if self.channel >= channels:
            raise RecipeError(
                f"The recipe shows image channel {self.channel}, but the images of {name} have "
                f"{channels}: choose " + (f"0 to {channels - 1}." if channels > 1 else "0.")
            )
        if self.label is not None:
            self.label.encode(generator)
        cutoff = self.truncation.cutoff
        if "layers" in generator.cannot and self._names_layers():
            raise RecipeError(
                f"The recipe names layers, but {name} has no per-layer styles: truncate, mix and "
                "edit the whole brain."
            )
        if cutoff is not None and cutoff > layers:
            raise RecipeError(
                f"The truncation cutoff {cutoff} is more than the {layers} layers of {name}: "
                f"choose 0 to {layers}."
            )
        if self.mix is not None and len(self.mix.strength) != layers:
            raise RecipeError(
                f"The mix has {len(self.mix.strength)} strengths, but {name} has {layers} layers: "
                "give one per layer."
            )
        for edit in self.edits:
            if edit.layers is not None and edit.layers[1] > layers:
                raise RecipeError(
                    f"An edit reaches to layer {edit.layers[1]}, but {name} has {layers} layers: "
                    f"choose a range within [0, {layers}]."
                )
            find_step(edit.direction, generator, edit.sha256, bool(edit.former))

    def _names_layers(self) -> bool:
        """Whether it addresses single layers."""
        mixed = 1 if self.mix is None else len(self.mix.strength)
        edited = (edit.layers[1] for edit in self.edits if edit.layers is not None)
        return max(self.truncation.cutoff or 0, mixed, *edited) > 1

    def latent(self, generator: Model, start: Latent | None = None) -> torch.Tensor:
        """The w of the recipe, `(num_layers, w_dim)` float32; deterministic.

        Parameters
        ----------
        generator : Generator
        start : Latent, optional
            Used instead of the source's latent, for example if that is not saved yet.

        Raises
        ------
        RecipeError
            If the recipe does not fit the generator or a latent file has changed.
        LatentError
            If a latent file is missing, damaged or of another model.
        """
        import torch

        self.check(generator)
        with torch.no_grad():
            w = start.to_w(generator) if start else self._source_w(self.source, generator)
            if self.mix is not None:
                second = self._source_w(self.mix.source, generator)
                w = self.mix.between(w, second, generator)
            for edit in self.edits:
                step = find_step(edit.direction, generator, edit.sha256, bool(edit.former))
                w = move(w, step, edit.strength, edit.layers)
        return w

    def delta(self, generator: Model, start: Latent | None = None) -> Delta | None:
        """The tuning that belongs to `latent`, mixed layer by layer; None if there is none."""
        first = start.delta if start else self._source_delta(self.source, generator)
        if self.mix is None:
            return first
        second = self._source_delta(self.mix.source, generator)
        return mixed(first, second, self.mix.strength, generator.rows_of)

    @property
    def has_seed(self) -> bool:
        """Whether one of its sources is a seed, to which truncation and label apply."""
        return any(source.seed is not None for source in self.sources)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The brains that take part: its source, the one mixed in, the scan of its detail."""
        more = [part.source for part in (self.mix, self.detail) if part is not None]
        return self.source, *more

    @property
    def worn_detail(self) -> Detail | None:
        """The detail that is shown; None where there is none, or none of its strength."""
        return self.detail if self.detail is not None and self.detail.strength else None

    @property
    def is_edited_scan(self) -> bool:
        """Whether it shows a scan itself, edited or not; else a brain, in whatever detail."""
        detail = self.worn_detail
        return detail is not None and detail.source.is_same(self.source)

    @property
    def changes(self) -> bool:
        """Whether a mix or an edit makes the brain differ from that of the source."""
        mixed = self.mix is not None and any(self.mix.strength)
        return mixed or any(edit.strength for edit in self.edits)

    def shown_noise(self, generator: Model) -> Noise:
        """The noise to render it with: projected scans are rendered without added texture.

        For a mix, the brain with the larger share decides.
        """
        share = 0.0 if self.mix is None else sum(self.mix.strength) / len(self.mix.strength)
        source = self.mix.source if self.mix is not None and share > 0.5 else self.source
        plain = source.kind == "projected" and generator.draws_texture
        return "none" if plain else self.noise

    def scan(self) -> Json | None:
        """The description of the projected scan; None for other sources."""
        if self.source.kind != "projected" or self.source.path is None:
            return None
        return load_latent(self.source.path).scan

    def to_dict(self) -> Json:
        """Plain data, without unset parts."""
        even = self.mix is not None and not self.mix.straight
        plain = {"version": VERSION if even else STRAIGHT_MIXES, **dataclasses.asdict(self)}
        if self.mix is not None:
            del plain["mix"]["straight"]
        plain["channel"] = self.channel or None
        plain["label"] = self.label and self.label.to_plain()
        return without_none(plain)

    @classmethod
    def from_dict(cls, data: Any) -> Recipe:
        """Inverse of `to_dict`; RecipeError for invalid data."""
        version = data.get("version", VERSION) if isinstance(data, dict) else VERSION
        if not is_int(version) or not 1 <= version <= VERSION:
            raise RecipeError(
                f"This recipe has version {str(version)[:40]}, which this program does not know: "
                "update it."
            )
        if isinstance(data, dict):
            data = {name: value for name, value in data.items() if name != "version"}
            if "source" not in data:
                raise RecipeError("This recipe lacks a source: give a seed or a latent file.")
        recipe = from_plain(cls, data)
        if version <= STRAIGHT_MIXES and recipe.mix is not None:
            recipe = recipe.replace(mix=dataclasses.replace(recipe.mix, straight=True))
        if version == 1:
            recipe = recipe.replace(edits=tuple(edit.of_version_1() for edit in recipe.edits))
        return recipe

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives back an equal recipe."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe of a JSON text; RecipeError if it is not one."""
        try:
            data = from_json(text)
        except ValueError as reason:
            raise RecipeError(
                f"This recipe is not valid JSON ({str(reason)[:100]}): copy it again."
            ) from None
        return cls.from_dict(data)

    def command(self, model: str | None = None, frame: str | None = None) -> str:
        """The shell command that reproduces this volume.

        `model` is given unless it is the bundled one; `frame`, the voxel orientation and size, for
        a model whose file does not say.
        """
        words = ["stylegan3d", "generate", "--recipe", self.to_json()]
        words += ["--model", model] if model else []
        return shlex.join(words + (["--frame", frame] if frame else []))

    def with_paths(self, change: Any) -> Recipe:
        """The recipe with `change(part)` for each part that can name a file: sources and edits."""
        mix, detail = (
            part and dataclasses.replace(part, source=change(part.source))
            for part in (self.mix, self.detail)
        )
        edits = tuple(change(edit) for edit in self.edits)
        return self.replace(source=change(self.source), mix=mix, edits=edits, detail=detail)

    def _source_w(self, source: Source, generator: Model) -> torch.Tensor:
        """(num_layers, w_dim) of one source."""
        if source.seed is not None:
            psi, cutoff = self.truncation.psi, self.truncation.cutoff
            label = None if self.label is None else self.label.encode(generator)
            return seed_latents(generator, [source.seed], psi, cutoff, label=label)[0]
        return source.latent(generator).to_w(generator)

    def _source_delta(self, source: Source, generator: Model) -> Delta | None:
        return None if source.seed is not None else source.latent(generator).delta
