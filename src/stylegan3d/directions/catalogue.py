"""All directions available with a model: its own and those of files, with the user's notes.

A direction is identified by its reference, the value of `Edit.direction`: the name of one of the
model's own directions, or `file.safetensors#name`. Notes (labels, pins, files in use) belong to the
user, not to the model, and are stored in a settings file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.base import Json, RecipeError, StyleGAN3DError
from stylegan3d.recipe.directions import Directions
from stylegan3d.recipe.latents import load_directions
from stylegan3d.recipe.recipe import Edit
from stylegan3d.storage.encoding import LARGEST, from_json, read_bytes
from stylegan3d.storage.files import atomic_write_bytes, sha256_of

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

ATTRIBUTES, COMPONENTS = "Attributes", "Principal components"


@dataclass(frozen=True, eq=False)
class CatalogueEntry:
    """One direction of the catalogue.

    Attributes
    ----------
    reference : str
        As in `Edit.direction`.
    name : str
        Its name in `directions`.
    directions : Directions
        Directions of the model or of the file.
    section : str
        Heading it is listed under: attributes, components, or the file's name.
    sha256 : str or None
        Hash of the file.
    """

    reference: str
    name: str
    directions: Directions
    section: str
    sha256: str | None = None

    @property
    def step(self) -> np.ndarray:
        """float32 `(w_dim,)`, one standard deviation."""
        return self.directions.step(self.name)

    @property
    def share(self) -> float:
        """Share of the variance of w, 0 to 1."""
        return float(self.directions.explained_variance[self.directions.names.index(self.name)])

    @property
    def check(self) -> Json:
        """Its check on held-out subjects; empty if there is none."""
        return next((told for told in self.directions.checks if told.get("name") == self.name), {})

    @property
    def attribute(self) -> str:
        """Its attribute, such as "ventricle_ml"; empty if unknown."""
        return str(self.check.get("attribute", ""))

    @property
    def description(self) -> str:
        """What it changes, with figures; may be empty."""
        return self.directions.descriptions.get(self.name, "")

    @property
    def summary(self) -> str:
        """What it changes, without figures; may be empty."""
        return self.directions.summary(self.name)

    @property
    def file(self) -> str | None:
        """The file it is from; None for the model's own."""
        return Edit(self.reference, 0.0).file

    def edit(self, strength: float, layers: tuple[int, int] | None = None) -> Edit:
        """A step along it, for a recipe."""
        return Edit(self.reference, strength, layers, self.sha256)

    def matches(self, text: str, label: str = "") -> bool:
        """Whether every word of `text` is in its name, label, section or description."""
        told = " ".join((self.name, label, self.section, self.description)).casefold()
        return all(word in told for word in text.casefold().split())


def own_entries(directions: Directions) -> list[CatalogueEntry]:
    """The model's own directions: attributes under one heading, components under another."""
    attributes = set(directions.attributes)
    return [
        CatalogueEntry(name, name, directions, ATTRIBUTES if name in attributes else COMPONENTS)
        for name in directions.names
    ]


def file_entries(path: str | Path, generator: Generator) -> list[CatalogueEntry]:
    """The directions of a file, by its absolute path.

    Raises
    ------
    RecipeError
        If it is missing, damaged or of another model.
    """
    path = Path(path).absolute()
    found = load_directions(path, generator)
    sha256 = sha256_of(path)
    section = path.name.removesuffix(".safetensors")
    return [CatalogueEntry(f"{path}#{name}", name, found, section, sha256) for name in found.names]


@dataclass(frozen=True)
class DirectionNotes:
    """The user's notes on a model's directions.

    Attributes
    ----------
    labels : mapping of str to str
        Custom names, by reference.
    pinned : tuple of str
        References of directions to list first.
    files : tuple of str
        Directions files in use with the model.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    pinned: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def label_of(self, entry: CatalogueEntry) -> str:
        """Displayed name of a direction."""
        return self.labels.get(entry.reference) or entry.name

    def labelled(self, reference: str, label: str) -> DirectionNotes:
        """With another label; an empty one removes it."""
        labels = {key: text for key, text in self.labels.items() if key != reference}
        label = " ".join(label.split())
        return dataclasses.replace(self, labels=labels | ({reference: label} if label else {}))

    def pin(self, reference: str, pinned: bool = True) -> DirectionNotes:
        """With a direction pinned or unpinned."""
        others = tuple(known for known in self.pinned if known != reference)
        return dataclasses.replace(self, pinned=(*others, reference) if pinned else others)

    def with_file(self, path: str) -> DirectionNotes:
        """With a file appended."""
        return dataclasses.replace(self, files=(*(f for f in self.files if f != path), path))

    def moved(self, path: str, to: str) -> DirectionNotes:
        """With a file replaced by another; notes on the old one are transferred."""

        def there(reference: str) -> str:
            edit = Edit(reference, 0.0)
            return edit.with_file(to, None).direction if edit.file == path else reference

        return DirectionNotes(
            {there(key): label for key, label in self.labels.items()},
            tuple(dict.fromkeys(map(there, self.pinned))),
            tuple(dict.fromkeys(to if file == path else file for file in self.files)),
        )

    def without_file(self, path: str) -> DirectionNotes:
        """Without a file and the notes on its directions."""

        def stays(reference: str) -> bool:
            return Edit(reference, 0.0).file != path

        return DirectionNotes(
            {key: label for key, label in self.labels.items() if stays(key)},
            tuple(filter(stays, self.pinned)),
            tuple(file for file in self.files if file != path),
        )


def read_notes(path: str | Path, model: str) -> DirectionNotes:
    """The notes on the model of this hash; empty if there are none.

    Raises
    ------
    RecipeError
        If the file cannot be read.
    """
    told = _read_all(Path(path)).get(model, {})
    try:
        return DirectionNotes(
            {str(key): str(label) for key, label in dict(told.get("labels", {})).items()},
            tuple(map(str, told.get("pinned", ()))),
            tuple(map(str, told.get("files", ()))),
        )
    except (TypeError, ValueError, AttributeError):
        raise _damaged(Path(path)) from None


def write_notes(path: str | Path, model: str, notes: DirectionNotes) -> None:
    """Save the notes on one model; those on others are kept.

    Raises
    ------
    RecipeError, OutputError
        If the file is damaged or cannot be written.
    """
    path = Path(path)
    every = _read_all(path) | {model: dataclasses.asdict(notes)}
    data = json.dumps(every, ensure_ascii=False, indent=1).encode()
    atomic_write_bytes(path, data, overwrite=True, suffixes=(".json",))


def _read_all(path: Path) -> Json:
    try:
        every = from_json(read_bytes(path, RecipeError, LARGEST)) if path.exists() else {}
    except (OSError, ValueError):
        raise _damaged(path) from None
    if not isinstance(every, dict):
        raise _damaged(path)
    return every


def _damaged(path: Path) -> StyleGAN3DError:
    return RecipeError(
        f"Your notes on directions ({path}) cannot be read: repair the file or delete it."
    )


def free_name(folder: Path, name: str, taken: Sequence[str] = ()) -> Path:
    """A free path in `folder` for a direction of this name, not in `taken`."""
    plain = "".join(c if c.isalnum() else "-" for c in name).strip("-").lower()[:60] or "direction"
    candidates = (f"{plain}{f'-{k}' if k else ''}.safetensors" for k in range(10_000))
    return next(p for c in candidates if not (p := folder / c).exists() and str(p) not in taken)
