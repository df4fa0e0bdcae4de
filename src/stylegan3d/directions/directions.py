"""Directions in w: ways to change a brain, each with a name and a natural unit of length.

Principal components of w over many random brains, as in Härkönen et al. (2020), "GANSpace:
Discovering Interpretable GAN Controls", section 2: sample z, map to w, take the eigenvectors of the
covariance. One unit of an edit is one standard deviation of the population along the direction.
Directions fitted to attributes of people are made in `attribute_directions.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.directions.direction_set import Directions, join, move
from stylegan3d.errors import RecipeError
from stylegan3d.model.random_latents import diagonal, is_long, random_w
from stylegan3d.recipe.parts import split_direction
from stylegan3d.storage.jsontext import from_json
from stylegan3d.storage.tensorfiles import pack, read_bytes, unpack
from stylegan3d.storage.volumes import atomic_write_bytes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

__all__ = [
    "Directions",
    "find_step",
    "join",
    "load_directions",
    "move",
    "pca_directions",
    "random_w",
    "save_directions",
]

KIND = "directions"
#: How many principal components to keep, and of how many random brains to take them.
COMPONENTS, SAMPLES = 20, 10_000
#: Sets of more numbers are saved in half precision.
LONG = 500_000
#: Of longer latents a few random brains must do: no more of their numbers are held at once.
_MOST_NUMBERS = 24_000_000


def save_directions(path: str | Path, directions: Directions, overwrite: bool = False) -> None:
    """Write directions to a `.safetensors` file, atomically; OutputError if that cannot be done.

    Those of long latents are kept in half precision, whose rounding turns none by a hundredth of a
    degree, for there they would be a good part of a model.
    """
    long = directions.vectors.size > LONG
    tensors = {
        "vectors": directions.vectors.astype(np.float16) if long else directions.vectors,
        "std": directions.std,
        "explained_variance": directions.explained_variance,
    }
    metadata = {
        "kind": KIND,
        "version": "1",
        "names": "\n".join(directions.names),
        "model_hash": directions.model_hash,
        "model_name": directions.model_name,
    }
    # Left out where there is nothing to say, so that a file without them stays as it ever was.
    if directions.descriptions:
        metadata["descriptions"] = json.dumps(directions.descriptions, ensure_ascii=False)
    if directions.checks:
        metadata["checks"] = json.dumps(directions.checks, ensure_ascii=False)
    data = pack(tensors, metadata)
    atomic_write_bytes(path, data, overwrite=overwrite, suffixes=(".safetensors",))


def load_directions(
    path: str | Path, generator: Generator | None = None, sha256: str | None = None
) -> Directions:
    """Read directions, and refuse them if they belong to another model than `generator`.

    Raises
    ------
    RecipeError
        If the file is missing, damaged, no directions file, another model's, or not the one with
        this sha256.
    """
    path = Path(path)
    data = read_bytes(path, RecipeError)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise RecipeError(
            f"{path} has changed since this recipe was made: find the file with the sha256 "
            f"{sha256[:8]}…, or make the edit anew."
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


def _decoded(metadata: Mapping[str, str], key: str, default: str, kind: type) -> Any:
    """A JSON part of the metadata, which files of earlier versions lack."""
    try:
        value = from_json(metadata.get(key, default))
    except ValueError:
        value = None
    # Of descriptions the values count, of checks the items themselves.
    items = value.values() if isinstance(value, dict) else value
    if not isinstance(value, kind) or not all(
        isinstance(item, str if kind is dict else dict) for item in items or ()
    ):
        raise RecipeError(f"Its {key} are damaged: make it again.")
    return value


def find_step(direction: str, generator: Generator, sha256: str | None = None) -> np.ndarray:
    """One standard deviation along a direction, by its name as `Edit.direction` gives it.

    Parameters
    ----------
    direction : str
        A name in `generator.directions`, or `file.safetensors#name`.
    generator : Generator
    sha256 : str, optional
        Of the file, for `file.safetensors#name`.

    Returns
    -------
    np.ndarray
        float32 `(w_dim,)`.

    Raises
    ------
    RecipeError
        If there is no such direction, or the file is missing, damaged, changed or another model's.
    """
    file, name = split_direction(direction)
    if file is not None:
        return load_directions(file, generator, sha256).step(name)
    return generator.directions.step(direction)


def pca_directions(
    generator: Generator, components: int = COMPONENTS, samples: int = SAMPLES, seed: int = 0
) -> Directions:
    """Principal components of w over random brains (GANSpace), or those its family knows.

    Parameters
    ----------
    generator : Generator
    components : int
        How many to keep; at most `w_dim`, or as many as the family knows.
    samples : int
        Random brains to map, more than `components`; fewer are mapped of long latents.
    seed : int
        Seed of the z vectors, drawn as `numpy.random.RandomState(seed).randn(samples, z_dim)`.

    Returns
    -------
    Directions
        "PC 1" first. An eigenvector has no sign of its own; here its largest entry is positive.

    Raises
    ------
    RecipeError
        If there are too few samples or no components.
    """
    if generator.components is not None and components >= 1:
        return _of_family(generator, components)
    components = min(components, generator.w_dim)
    if is_long(generator):
        samples = min(samples, max(_MOST_NUMBERS // generator.w_dim, 2 * components))
    if not 1 <= components < samples:
        raise RecipeError(
            f"{components} components cannot be found in {samples} samples: "
            "ask for at least one component and for more samples than components."
        )
    if is_long(generator):
        return _of_few(generator, components, random_w(generator, samples, seed))
    from sklearn.decomposition import PCA

    pca = PCA(n_components=components, svd_solver="full")
    pca.fit(random_w(generator, samples, seed))
    variances = pca.explained_variance_
    return _numbered(generator, pca.components_, variances, pca.explained_variance_ratio_)


def _of_family(generator: Generator, count: int) -> Directions:
    """The first of the components that the generator's family gives."""
    assert generator.components is not None
    steps = generator.components[:count].double().cpu().numpy()
    variances = np.square(steps).sum(axis=1)
    if not (variances > 0).all():
        raise RecipeError(f"A principal component of {generator.name} is 0: get the model anew.")
    whole = float(diagonal(generator)[1].double().square().sum())
    return _numbered(
        generator,
        steps / np.sqrt(variances)[:, None],
        variances,
        variances / max(whole, variances.sum()),
    )


def _of_few(generator: Generator, count: int, w: np.ndarray) -> Directions:
    """Components of w `(n, w_dim)` of fewer brains than numbers, by their inner products."""
    w = w - w.mean(axis=0)
    squares, mixtures = np.linalg.eigh(w @ w.T)
    squares, mixtures = squares[::-1][:count], mixtures[:, ::-1][:, :count]
    if not squares[-1] > 0:
        raise RecipeError(f"Random brains differ in fewer than {count} ways: ask for fewer.")
    shares = squares / np.square(w).sum()
    vectors = (mixtures / np.sqrt(squares)).T @ w
    return _numbered(generator, vectors, squares / (len(w) - 1), shares)


def _numbered(
    generator: Generator, vectors: np.ndarray, variances: np.ndarray, shares: np.ndarray
) -> Directions:
    """Components as "PC 1" and so on, each with its largest entry positive."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], axis=1)
    return Directions(
        vectors * np.sign(largest),
        np.sqrt(variances),
        shares,
        tuple(f"PC {k + 1}" for k in range(len(vectors))),
        generator.hash,
        generator.name,
    )
