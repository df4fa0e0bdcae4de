"""The recipe: everything needed to reproduce a brain, as one small immutable value.

A recipe names a source (a seed, a latent file, a projected scan), the truncation, a mix with a
second source, edits along directions and the scan whose detail is shown. `Recipe.latent` turns it
into w and depends on nothing else, so history, comparisons, sidecars and command lines can all
store recipes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator

from stylegan3d.base import Doubt, Json, JsonView, RecipeError, ScanError
from stylegan3d.recipe.directions import move, split_direction
from stylegan3d.recipe.latents import Delta, Latent, find_step, load_latent, mixed, read_latent
from stylegan3d.recipe.model import (
    TRUNCATION,
    Label,
    MadeWith,
    Model,
    Noise,
    Truncation,
    check_seed,
    seed_latents,
)
from stylegan3d.storage.bids import place_of, root_of
from stylegan3d.storage.checked import Number, Share, Text, Whole, answering, checked, from_plain
from stylegan3d.storage.encoding import from_json, is_int, without_none
from stylegan3d.storage.files import sha256_of
from stylegan3d.storage.formats import last_part

if TYPE_CHECKING:
    import torch

#: Above this random brains are unlike people's; 1 is how people differ.
MOST_TRUNCATION = 1.5
#: Standard deviations by which an edit moves people no farther than people differ.
MOST_EDIT = 4.0
#: In so many folders beside a recipe's a file that it names is looked for.
MOST_FOLDERS = 500


class HasFile:
    """A part of a recipe that may name a file: its path, and the sha256 of what it held."""

    sha256: str | None

    @property
    def file(self) -> str | None:
        """The file, None without one."""
        raise NotImplementedError

    def with_file(self, path: str | Path, sha256: str | None) -> Self:
        """The same part with its file at another path."""
        raise NotImplementedError

    def within(self, folder: Path) -> Self:
        """The part with its path resolved against `folder`, if the file exists there.

        A file that was moved next to the recipe is found by its name; its sha256 is still checked.
        One in a folder beside the recipe's is found by its name and its sha256.
        """
        if self.file is None:
            return self
        return self.with_file(_found_in(folder, self.file, self.sha256), self.sha256)

    def relative_to(self, folder: Path) -> Self:
        """The part as written to a recipe file in `folder`.

        Its path is relative if the file is inside the folder; otherwise only the file name and
        sha256 are stored, since folder names may identify patients.
        """
        if self.file is None:
            return self
        path, inside = _seen_from(folder, self.file)
        there = not inside and not self.sha256 and Path(self.file).is_file()
        return self.with_file(path, sha256_of(Path(self.file)) if there else self.sha256)


@checked("source")
class Source(HasFile):
    """Where a brain comes from.

    Attributes
    ----------
    kind : str
        "seed" (a random brain), "latent" (a latent file) or "projected" (the latent file of a
        projected scan).
    seed : int or None
        0 to 2**32 - 1, for a seed.
    path : str or None
        The latent file, for the other kinds.
    sha256 : str or None
        Hash of the latent file; if given, a file that has changed is refused.
    """

    kind: Literal["seed", "latent", "projected"] = "seed"
    seed: Whole | None = None
    path: Text | None = None
    sha256: Text | None = None

    def __post_init__(self) -> None:
        if self.kind == "seed":
            check_seed(self.seed, "The seed")
            if self.path is not None or self.sha256 is not None:
                raise RecipeError("A seed has no file: give either a seed or a latent file.")
            return
        if self.seed is not None or self.path is None:
            raise RecipeError(f"A {self.kind} source needs the path of its latent file, no seed.")

    @classmethod
    def from_file(cls, path: str | Path) -> Source:
        """The source for a latent file: "projected" if it came from a scan, else "latent".

        Raises
        ------
        LatentError
            If the file cannot be read.
        """
        latent, sha256 = read_latent(path)
        return cls("latent" if latent.scan is None else "projected", path=str(path), sha256=sha256)

    def scan(self) -> Json | None:
        """The description of the projected scan; None for other sources."""
        return load_latent(self.path).scan if self.kind == "projected" and self.path else None

    def latent(self, generator: Model) -> Latent:
        """Read the latent file.

        Raises
        ------
        RecipeError
            If the file has changed since the source was made.
        LatentError
            If it is missing, damaged or of another model.
        """
        latent, sha256 = read_latent(str(self.path), generator)
        if self.sha256 is not None and self.sha256 != sha256:
            raise RecipeError(
                f"{self.path} has changed since this recipe was made: find the file with the "
                f"sha256 {self.sha256[:8]}…, or make a new recipe from this one."
            )
        return latent

    def is_same(self, other: Source) -> bool:
        """Whether both give one brain: the same seed, or the same latent file in any folder."""
        if self.seed is not None or other.seed is not None:
            return self.seed == other.seed
        if self.sha256 is not None and other.sha256 is not None:
            return self.sha256 == other.sha256
        return self.path == other.path

    @property
    def file(self) -> str | None:
        """The latent file, None of a seed."""
        return self.path

    def with_file(self, path: str | Path, sha256: str | None) -> Self:
        """The same source with its latent file at another path."""
        return dataclasses.replace(self, path=str(path), sha256=sha256)


@checked("mix")
class Mix:
    """A second source, and how much of it each layer takes.

    Attributes
    ----------
    source : Source
    strength : tuple of float
        One per layer, coarse first, 0 (the first source) to 1 (this one).
    """

    source: Source
    strength: tuple[Share, ...]

    def __post_init__(self) -> None:
        if not self.strength:
            raise RecipeError("A mix needs a list of strengths: give one per layer.")


@checked("detail")
class Detail:
    """A projected scan's own detail, which no generator knows: the finest style of all.

    Attributes
    ----------
    source : Source
        The projection of the scan.
    strength : float
        From 0 (the model's brain) to 1 (all of the scan's detail).
    """

    source: Source
    strength: Share = 1.0

    def __post_init__(self) -> None:
        if self.source.kind != "projected":
            raise RecipeError(
                "Detail comes from a scan: give the latent file of a projected scan as its source."
            )


@checked("edit")
class Edit(HasFile):
    """A step along a direction.

    Attributes
    ----------
    direction : str
        A name in `generator.directions`, such as "PC 1", or `file.safetensors#name`.
    strength : float
        In standard deviations of random brains along the direction.
    layers : tuple of int or None
        Half-open range (start, stop) of layers that move; None moves all.
    sha256 : str or None
        Hash of the directions file; if given, a file that has changed is refused.
    """

    direction: Text
    strength: Number
    layers: tuple[Whole, Whole] | None = None
    sha256: Text | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and self.file is None:
            raise RecipeError(
                "The sha256 of an edit goes with a directions file: copy both from its recipe."
            )
        if self.layers is not None and self.layers[0] >= self.layers[1]:
            raise RecipeError(
                "The layers of an edit must be two numbers, the first layer and the one after the "
                "last, such as [0, 4]."
            )

    @property
    def file(self) -> str | None:
        """The directions file; None for one of the generator's own directions."""
        return split_direction(self.direction)[0]

    def with_file(self, path: str | Path, sha256: str | None) -> Self:
        """The same edit with its directions file at another path."""
        direction = f"{path}#{split_direction(self.direction)[1]}"
        return dataclasses.replace(self, direction=direction, sha256=sha256)


def _found_in(folder: Path, path: str, sha256: str | None) -> str:
    """The path resolved against `folder`, or the file of that name in it; unchanged if neither.

    A bare name with a hash, as recipes name files elsewhere, is looked for in the folders around,
    and where BIDS has a file of this name in them and in the dataset of the folder.
    """
    try:
        for candidate in (folder / path, folder / last_part(path)):
            if candidate.exists():
                return str(candidate)
        if sha256 is not None and path == last_part(path):
            outer = Path(os.path.abspath(folder)).parent
            near = [outer, *islice((f for f in outer.iterdir() if f.is_dir()), MOST_FOLDERS)]
            below = dict.fromkeys(("", place_of(path)))
            for candidate in (f / b / path for f in (root_of(folder), *near) for b in below):
                if candidate.is_file() and sha256_of(candidate) == sha256:
                    return str(candidate)
    except (OSError, ValueError, ScanError):  # no valid file name, or nothing that may be read
        pass
    return path


def leads_out(folder: Path, path: str) -> bool:
    """Whether a path, resolved against `folder` if relative, is outside it.

    Judged by its name alone: links inside the folder are trusted.
    """
    inner, outer = os.path.abspath(folder / path), os.path.abspath(folder)
    return not Path(inner).is_relative_to(outer)


def _seen_from(folder: Path, path: str) -> tuple[str, bool]:
    """The path relative to `folder` and True if it is inside, else the file name and False."""
    file, outer = Path(os.path.abspath(path)), os.path.abspath(folder)
    inside = file.is_relative_to(outer)
    return (file.relative_to(outer).as_posix() if inside else file.name), inside


__all__ = ["Detail", "Edit", "Label", "MadeWith", "Mix", "Recipe", "Source", "Truncation"]

#: The first of those that are read had other mixes.
VERSIONS = 2, 3


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
    label: Annotated[
        Label | None, BeforeValidator(lambda one: None if one is None else Label.of(one))
    ] = None
    detail: Detail | None = None
    model: MadeWith | None = field(default=None, compare=False)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with other values in the named fields; RecipeError for a field it lacks."""
        return dataclasses.replace(self, **changes)

    def signed(self, generator: Model) -> Recipe:
        """The same recipe with its model recorded, for export."""
        return self.replace(model=MadeWith.of(generator, self.label is not None))

    def doubts(self, generator: Model) -> list[Doubt]:
        """What of it lies beyond the people whom `generator` learned from."""
        found, psi = [], self.truncation.psi
        if not 0 <= psi <= MOST_TRUNCATION:
            sentence = (
                f"The truncation {psi:g} is outside 0 to {MOST_TRUNCATION:g}, beyond normal "
                "variation: expect artefacts."
            )
            found.append(Doubt("truncation", "tell", sentence, {"truncation": psi}))
        for edit in self.edits:
            name, sd = split_direction(edit.direction)[1], edit.strength
            if abs(sd) > MOST_EDIT:
                sentence = (
                    f"The edit of {name} by {sd:+g} sd is outside {-MOST_EDIT:g} to {MOST_EDIT:g}, "
                    "beyond normal variation: expect artefacts."
                )
                found.append(Doubt("edit", "tell", sentence, {name: sd}))
        schema = {entry["name"]: entry for entry in generator.card.get("labels") or []}
        for name, value in self.label.values if self.label else ():
            low, high = schema[name].get("range", (-math.inf, math.inf))
            if not isinstance(value, str) and not low <= value <= high:
                unit = schema[name].get("unit", "")
                sentence = (
                    f"The label {name} {value:g} is outside {low:g} to {high:g} {unit}".rstrip()
                    + f", the range that {generator.name} learned from."
                )
                found.append(Doubt("label", "tell", sentence, {name: value}))
        return found

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
            find_step(edit.direction, generator, edit.sha256)

    def _names_layers(self) -> bool:
        """Whether it addresses single layers."""
        mixed = 1 if self.mix is None else len(self.mix.strength)
        edited = (edit.layers[1] for edit in self.edits if edit.layers is not None)
        return max(self.truncation.cutoff or 0, mixed, *edited) > 1

    @answering
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
                w = generator.mix(w, self._source_w(self.mix.source, generator), self.mix.strength)
            for edit in self.edits:
                step = find_step(edit.direction, generator, edit.sha256)
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
        return self.source, *[part.source for part in (self.mix, self.detail) if part is not None]

    @property
    def worn_detail(self) -> Detail | None:
        """The detail that is shown; None where there is none, or none of its strength."""
        return self.detail if self.detail is not None and self.detail.strength else None

    @property
    def worn_mix(self) -> Mix | None:
        """The mix that is shown; None where there is none, or none of its source."""
        return self.mix if self.mix is not None and any(self.mix.strength) else None

    @property
    def is_edited_scan(self) -> bool:
        """Whether it shows a scan itself, edited or not; else a brain, in whatever detail."""
        detail = self.worn_detail
        return detail is not None and detail.source.is_same(self.source)

    @property
    def changes(self) -> bool:
        """Whether a mix or an edit makes the brain differ from that of the source."""
        return self.worn_mix is not None or any(edit.strength for edit in self.edits)

    def shown_noise(self, generator: Model) -> Noise:
        """The noise to render it with: projected scans are rendered without added texture.

        For a mix, the brain with the larger share decides.
        """
        share = 0.0 if self.mix is None else sum(self.mix.strength) / len(self.mix.strength)
        source = self.mix.source if self.mix is not None and share > 0.5 else self.source
        plain = source.kind == "projected" and generator.draws_texture
        return "none" if plain else self.noise

    def scan(self) -> Json | None:
        """The description of the projected scan that it starts from, see `Source.scan`."""
        return self.source.scan()

    def scans(self, own: JsonView | None = None) -> list[JsonView]:
        """The descriptions of all projected scans that take part, `own` for that of its source."""
        others = [s for s in dict.fromkeys(self.sources) if own is None or s != self.source]
        return [scan for scan in (own, *(s.scan() for s in others)) if scan is not None]

    def to_dict(self) -> Json:
        """Plain data, without unset parts."""
        plain = {"version": VERSIONS[-1], **dataclasses.asdict(self)}
        plain["channel"] = self.channel or None
        plain["label"] = self.label and self.label.to_plain()
        return without_none(plain)

    @classmethod
    def from_dict(cls, data: Any) -> Recipe:
        """Inverse of `to_dict`; RecipeError for invalid data."""
        if isinstance(data, dict):
            version = data.get("version", VERSIONS[-1])
            if not is_int(version) or version not in VERSIONS[1 if data.get("mix") else 0 :]:
                raise RecipeError(
                    f"This recipe has version {str(version)[:40]}, which this program does not "
                    f"read: update it, or make a recipe of version {VERSIONS[-1]}."
                )
            data = {name: value for name, value in data.items() if name != "version"}
            if "source" not in data:
                raise RecipeError("This recipe lacks a source: give a seed or a latent file.")
        return from_plain(cls, data)

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

    def relative_to(self, folder: Path) -> Recipe:
        """The recipe as written to a file in `folder`; see `Source.relative_to`."""
        return self.with_paths(lambda part: part.relative_to(folder))

    def _source_w(self, source: Source, generator: Model) -> torch.Tensor:
        """(num_layers, w_dim) of one source."""
        if source.seed is not None:
            psi, cutoff = self.truncation.psi, self.truncation.cutoff
            label = None if self.label is None else self.label.encode(generator)
            return seed_latents(generator, [source.seed], psi, cutoff, label=label)[0]
        return source.latent(generator).to_w(generator)

    def _source_delta(self, source: Source, generator: Model) -> Delta | None:
        return None if source.seed is not None else source.latent(generator).delta
