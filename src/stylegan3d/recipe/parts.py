"""The parts of a recipe: source, mix, edit and detail, each checked when it is made."""

from __future__ import annotations

import dataclasses
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stylegan3d.errors import RecipeError, ScanError
from stylegan3d.recipe.latents import Latent, mix, read_latent
from stylegan3d.recipe.model import Model, check_seed
from stylegan3d.storage.bids import place_of, root_of
from stylegan3d.storage.bounded import sha256_of
from stylegan3d.storage.checked import Number, Share, Text, Whole, checked
from stylegan3d.storage.formats import last_part

if TYPE_CHECKING:
    import torch

#: In so many folders beside a recipe's a file that it names is looked for.
MOST_FOLDERS = 500


@checked("source")
class Source:
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

    def within(self, folder: Path) -> Source:
        """The source with its path resolved against `folder`, if the file exists there.

        A latent file that was moved next to the recipe is found by its name; its sha256 is still
        checked. One in a folder beside the recipe's is found by its name and its sha256.
        """
        if self.path is None:
            return self
        return dataclasses.replace(self, path=_found_in(folder, self.path, self.sha256))

    def relative_to(self, folder: Path) -> Source:
        """The source as written to a recipe file in `folder`.

        Its path is relative if the file is inside the folder; otherwise only the file name and
        sha256 are stored, since folder names may identify patients.
        """
        if self.path is None:
            return self
        path, inside = _seen_from(folder, self.path)
        sha256 = self.sha256 if inside else self.sha256 or _sha256_if_there(self.path)
        return dataclasses.replace(self, path=path, sha256=sha256)


@checked("mix")
class Mix:
    """A second source, and how much of it each layer takes.

    Attributes
    ----------
    source : Source
    strength : tuple of float
        One per layer, coarse first, 0 (the first source) to 1 (this one).
    straight : bool
        True for mixes of recipes up to version 2: latents on a straight line. Other mixes change
        the brain evenly with the strengths, see `Generator.mix`.
    """

    source: Source
    strength: tuple[Share, ...]
    straight: bool = False

    def __post_init__(self) -> None:
        if not self.strength:
            raise RecipeError("A mix needs a list of strengths: give one per layer.")

    def between(self, first: torch.Tensor, second: torch.Tensor, generator: Model) -> torch.Tensor:
        """The mix of two latents [num_layers, w_dim]."""
        import torch

        if self.straight:
            return mix(first, second, torch.tensor(self.strength).to(first))
        return generator.mix(first, second, self.strength)


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
class Edit:
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
    former : bool or None
        True for one of the model's own directions as it was in recipes of version 1.
    """

    direction: Text
    strength: Number
    layers: tuple[Whole, Whole] | None = None
    sha256: Text | None = None
    former: Literal[True] | None = None

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

    def of_version_1(self) -> Edit:
        """The edit as a recipe of version 1 means it."""
        return self if self.file else dataclasses.replace(self, former=True)

    @property
    def file(self) -> str | None:
        """The directions file; None for one of the generator's own directions."""
        return split_direction(self.direction)[0]

    def with_file(self, path: str | Path, sha256: str | None) -> Edit:
        """The same edit with its directions file at another path."""
        direction = f"{path}#{split_direction(self.direction)[1]}"
        return dataclasses.replace(self, direction=direction, sha256=sha256)

    def within(self, folder: Path) -> Edit:
        """Like `Source.within`, for the directions file."""
        if self.file is None:
            return self
        return self.with_file(_found_in(folder, self.file, self.sha256), self.sha256)

    def relative_to(self, folder: Path) -> Edit:
        """Like `Source.relative_to`, for the directions file."""
        if self.file is None:
            return self
        path, inside = _seen_from(folder, self.file)
        sha256 = self.sha256 if inside else self.sha256 or _sha256_if_there(self.file)
        return self.with_file(path, sha256)


def split_direction(direction: str) -> tuple[str | None, str]:
    """File and name of `file.safetensors#name`; None and the name of any other direction."""
    file, mark, name = direction.rpartition("#")
    return (file, name) if mark and file.endswith(".safetensors") else (None, direction)


def _found_in(folder: Path, path: str, sha256: str | None) -> str:
    """The path resolved against `folder`, or the file of that name in it; unchanged if neither.

    A bare name with a hash, as recipes name files elsewhere, is looked for in the folders around,
    and where BIDS has a file of this name in them and in the data set of the folder.
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


def _sha256_if_there(path: str) -> str | None:
    return sha256_of(Path(path)) if Path(path).is_file() else None
