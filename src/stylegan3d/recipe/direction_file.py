"""Direction files, and looking up the direction that an edit names.

Directions are described in `directions`; principal components are computed in
`model.random_latents`, directions of attributes in `directions.attributes`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import RecipeError
from stylegan3d.recipe.directions import Directions, split_direction
from stylegan3d.recipe.model import Model
from stylegan3d.storage.files import atomic_write_bytes
from stylegan3d.storage.jsontext import from_json
from stylegan3d.storage.tensorfiles import pack, read_bytes, unpack

KIND = "directions"
#: Sets of more numbers are saved in half precision.
LONG = 500_000


def save_directions(path: str | Path, directions: Directions, overwrite: bool = False) -> None:
    """Write directions to a `.safetensors` file, atomically; OutputError if that fails.

    Directions of long latents are stored in float16, which rotates none of them by more than a
    hundredth of a degree; in float32 they would be a large part of a model's size.
    """
    long = directions.vectors.size > LONG
    tensors = {
        "vectors": directions.vectors.astype(np.float16) if long else directions.vectors,
        "std": directions.std,
        "explained_variance": directions.explained_variance,
    }
    if directions.age_reading is not None:
        tensors["age_reading"] = directions.age_reading
    if directions.former:
        tensors["former"] = np.stack(list(directions.former.values()))
    if directions.seen:
        unknown = (np.nan, np.nan)
        seen = [directions.seen.get(name, unknown) for name in directions.names]
        tensors["seen"] = np.array(seen, np.float32)
    if directions.readings:
        tensors["readings"] = np.stack(list(directions.readings.values()))
    metadata = {
        "kind": KIND,
        "version": "1",
        "names": "\n".join(directions.names),
        "model_hash": directions.model_hash,
        "model_name": directions.model_name,
    }
    # Omitted where empty, so that files without them keep their bytes.
    if directions.descriptions:
        metadata["descriptions"] = json.dumps(directions.descriptions, ensure_ascii=False)
    if directions.checks:
        metadata["checks"] = json.dumps(directions.checks, ensure_ascii=False)
    if directions.former:
        metadata["former_names"] = "\n".join(directions.former)
    if directions.readings:
        metadata["reading_names"] = "\n".join(directions.readings)
    data = pack(tensors, metadata)
    atomic_write_bytes(path, data, overwrite=overwrite, suffixes=(".safetensors",))


def load_directions(
    path: str | Path, generator: Model | None = None, sha256: str | None = None
) -> Directions:
    """Read directions; refuse those of another model than `generator`.

    Raises
    ------
    RecipeError
        If the file is missing, damaged, not a directions file, made for another model, or does not
        have this sha256.
    """
    path = Path(path)
    data = read_bytes(path, RecipeError)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise RecipeError(
            f"{path} has changed since this recipe was made: find the file with the "
            f"sha256 {sha256[:8]}…, or edit the brain again."
        )
    tensors, metadata = unpack(data, kind=KIND, path=path, error=RecipeError)
    try:
        directions = Directions(
            tensors["vectors"],
            tensors["std"],
            tensors["explained_variance"],
            tuple(metadata["names"].split("\n")),
            metadata["model_hash"],
            metadata["model_name"],
            _decoded(metadata, "descriptions", "{}", dict),
            tuple(_decoded(metadata, "checks", "[]", list)),
            tensors.get("age_reading"),
            _by_name(tensors, metadata, "former", "former_names"),
            _seen(tensors, metadata),
            _by_name(tensors, metadata, "readings", "reading_names"),
        )
    except (KeyError, ValueError, TypeError):
        raise RecipeError(f"{path} lacks a part of a directions file: make it again.") from None
    except RecipeError as reason:
        raise RecipeError(f"{path} cannot be used. {reason}") from None
    if generator is not None and directions.model_hash != generator.hash:
        raise RecipeError(
            f"{path.name} belongs to the model {directions.model_name} "
            f"({directions.model_hash[:8]}), but {generator.name} ({generator.hash[:8]}) is "
            "loaded: load its own model, or find directions for this one."
        )
    return directions


def _by_name(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], rows: str, names: str
) -> dict[str, np.ndarray]:
    """Rows of a tensor by the names in an entry of the metadata; none in most files."""
    told = metadata.get(names, "")
    return dict(zip(told.split("\n"), tensors[rows], strict=True)) if told else {}


def _seen(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """Range of the training subjects by name, where it is known."""
    if "seen" not in tensors:
        return {}
    pairs = zip(metadata["names"].split("\n"), tensors["seen"], strict=True)
    return {name: (float(low), float(high)) for name, (low, high) in pairs if low <= high}


def _decoded(metadata: Mapping[str, str], key: str, default: str, kind: type) -> Any:
    """A JSON entry of the metadata; `default` where files of earlier versions lack it."""
    try:
        value = from_json(metadata.get(key, default))
    except ValueError:
        value = None
    # Descriptions are a mapping to text, checks a list of objects.
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(
        isinstance(item, str if kind is dict else dict) for item in items or ()
    ):
        raise RecipeError(f"Its {key} are damaged: make it again.")
    return value


def find_step(
    direction: str, generator: Model, sha256: str | None = None, former: bool = False
) -> np.ndarray:
    """One standard deviation along a direction, by its name as `Edit.direction` gives it.

    Parameters
    ----------
    direction : str
        A name in `generator.directions`, or `file.safetensors#name`.
    generator : Generator
    sha256 : str, optional
        Of the file, for `file.safetensors#name`.
    former : bool
        As the direction was when recipes had version 1, see `Edit.former`.

    Returns
    -------
    ndarray, shape (w_dim,), float32

    Raises
    ------
    RecipeError
        If there is no such direction, or the file is missing, damaged, changed or another model's.
    """
    file, name = split_direction(direction)
    if file is not None:
        return load_directions(file, generator, sha256).step(name)
    return generator.directions.step(direction, former)
