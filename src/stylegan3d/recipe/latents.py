"""Typed latent files: a point in latent space, with the space and the generator it belongs to.

A file of bare numbers can be fed to the wrong network, or a w mistaken for a z, and still give a
picture, only the wrong one. So a latent file records its space, the hash of its model and how it
was made, and other models refuse it.

Delta: what pivotal tuning changes in a generator so that it reproduces one scan.

Pivotal tuning (Roich et al. 2021, arXiv 2106.05744) fits a few weights, and layer noise can be
fitted likewise. Both are stored with the latent, as float16 differences to the model's weights; the
model's own file is never changed. So is a scan's own noise (`projection/search.py`), as what it
adds to the constant image.

Direction files, and looking up the direction that an edit names.

Directions are described in `directions`; principal components are computed in
`model.random_latents`, directions of attributes in `directions.attributes`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.base import Json, LatentError, ModelError, RecipeError, brief_repr
from stylegan3d.recipe.directions import Directions, frozen, split_direction
from stylegan3d.recipe.model import Model, Noise, Truncation, check_seed
from stylegan3d.storage.encoding import from_json, pack, read_bytes, to_plain, unpack
from stylegan3d.storage.files import atomic_write_bytes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


NOISE = "noise"
#: The constant image in the common anatomy.
CONSTANT = "image_const"
#: Of a flow that is open for a scan's own noise, which is then in the constant image.
OPENED = "flow.opened"


@dataclass(frozen=True, eq=False)
class Delta:
    """Differences to the weights and stored noise maps of one generator's synthesis network.

    Attributes
    ----------
    tensors : mapping of str to ndarray
        Name in the network's state (such as "image_const" or "levels.3.plain.noise") to float16
        array of that tensor's shape, to be added to it.

    Raises
    ------
    LatentError
        If it is empty or not finite.
    """

    tensors: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if not self.tensors:
            raise LatentError("A tuning changes at least one weight or noise map of its model.")
        kept = {}
        for name, values in sorted(self.tensors.items()):
            kept[name] = frozen(values, np.float16)
            if not np.isfinite(kept[name]).all():
                raise LatentError("This tuning contains NaN or infinity: create it again.")
        object.__setattr__(self, "tensors", kept)

    @classmethod
    def between(cls, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Delta:
        """The differences between tensors of the same names."""
        return cls({k: (after[k] - before[k]).detach().cpu().numpy() for k in after})

    @property
    def noise(self) -> dict[str, np.ndarray]:
        """The part that belongs to noise maps."""
        return {k: v for k, v in self.tensors.items() if k.endswith(NOISE)}

    @property
    def has_own_noise(self) -> bool:
        """Whether it holds the own noise of a scan, or of a mix of scans."""
        return OPENED in self.tensors

    @cached_property
    def digest(self) -> str:
        """sha256 of names and numbers; equal for equal deltas."""
        code = hashlib.sha256()
        for name, values in self.tensors.items():
            code.update(f"{name}{values.shape}".encode())
            code.update(values.tobytes())
        return code.hexdigest()

    def check(self, generator: Model, called: str = "This tuning") -> None:
        """Raise LatentError, naming the tuning `called`, if it does not fit the generator."""
        reason = generator.cannot.get("tuning")
        if reason is not None:
            raise LatentError(f"{called} does not fit {generator.name}. {reason}")
        shapes = generator.tunable_shapes()
        for name, values in self.tensors.items():
            if shapes.get(name) != values.shape:
                raise LatentError(
                    f"{called} changes '{name}', which {generator.name} does not have in that "
                    "form: make it again with this model."
                )


def mixed(
    first: Delta | None,
    second: Delta | None,
    strength: Sequence[float],
    rows_of: Callable[[str], range],
) -> Delta | None:
    """Interpolate from one delta (strength 0) to another (strength 1), layer by layer.

    None stands for an untuned generator. Each tensor follows the mean strength of the rows of w
    that its layer reads, see `Generator.rows_of`. The own noise of a scan follows an arc: half-way
    on a straight line the sum of two unrelated noises would be too weak, and folds blurred.
    """
    if first is None and second is None:
        return None
    tensors: dict[str, np.ndarray] = {}
    for delta, is_second in ((first, False), (second, True)):
        for name, values in (delta.tensors if delta else {}).items():
            share = float(np.mean([strength[row] for row in rows_of(name)]))
            weight = share if is_second else 1 - share
            if delta and delta.has_own_noise and name == CONSTANT:
                weight = math.sin(weight * math.pi / 2)
            part = values.astype(np.float32) * weight
            tensors[name] = tensors[name] + part if name in tensors else part
    return Delta(tensors)


KIND = "latent"
# Version 2 has a delta, without which a program would show a different brain.
PLAIN, WITH_DELTA = "1", "2"
DELTA = "delta."
SPACES = ("Z", "W", "W+")


@dataclass(frozen=True, eq=False)
class Latent:
    """A point in the latent space of one generator.

    Attributes
    ----------
    w : ndarray
        float32: `(num_layers, w_dim)` in W and W+ (in W all rows are equal), `(z_dim,)` in Z.
        Tensors are accepted and copied.
    space : str
        "Z", "W" or "W+".
    model_hash : str
        sha256 of the generator's weights.
    model_name : str
        Name of that generator, for messages.
    truncation, truncation_layers : float, int or None
        Truncation psi and cutoff. A latent in Z is mapped with them; one in W or W+ has them
        applied already and only records them.
    noise : Noise
        Layer noise the latent was found with: "fixed", "none" or a seed.
    scan : dict or None
        The projected scan, from `AlignedScan.describe()` (path, sha256, shape, affine, rigid, ...),
        so that a result can be resampled to the scan's native space.
    delta : Delta or None
        Tuning of the generator that belongs to the latent.

    Raises
    ------
    LatentError
        If the numbers do not fit the space or are not finite.
    """

    __repr__ = brief_repr

    w: np.ndarray
    space: str
    model_hash: str
    model_name: str
    truncation: float = 1.0
    truncation_layers: int | None = None
    noise: Noise = "fixed"
    scan: Json | None = None
    delta: Delta | None = None

    def __post_init__(self) -> None:
        values = frozen(self.w)
        object.__setattr__(self, "w", values)
        if self.space not in SPACES:
            raise LatentError(f"{self.space!r} is not a latent space: use Z, W or W+.")
        if values.ndim != (1 if self.space == "Z" else 2) or values.size == 0:
            raise LatentError(
                f"A latent in {self.space} cannot have the shape {values.shape}: Z has "
                "one vector, W and W+ one vector per layer."
            )
        if not np.isfinite(values).all():
            raise LatentError("This latent contains NaN or infinity: create it again.")
        if self.space == "W" and not (values == values[:1]).all():
            raise LatentError("A latent in W has equal vectors in all layers: save it as W+.")

    @classmethod
    def of(cls, generator: Model, w: Any, space: str = "W+", **made: Any) -> Latent:
        """A latent of `generator`; `made` are the remaining attributes."""
        return cls(w, space, generator.hash, generator.name, **made)

    def to_w(self, generator: Model) -> torch.Tensor:
        """The latent as `(num_layers, w_dim)` on the generator's device.

        Raises
        ------
        LatentError
            If the latent belongs to another generator.
        """
        import torch

        self.check(generator)
        values = torch.from_numpy(self.w.copy()).to(generator.device)
        if self.space != "Z":
            return values
        with torch.no_grad():
            return generator.map(
                values[None], truncation=self.truncation, truncation_layers=self.truncation_layers
            )[0]

    def check(self, generator: Model, called: str = "This latent") -> None:
        """Raise LatentError, naming the latent `called`, if it does not belong to `generator`."""
        if self.model_hash != generator.hash:
            raise LatentError(
                f"{called} belongs to the model {self.model_name} ({self.model_hash[:8]}), but "
                f"{generator.name} ({generator.hash[:8]}) is loaded: load its own model, or make "
                "the latent again with this one."
            )
        rows = (generator.num_layers, generator.w_dim)
        expected = (generator.z_dim,) if self.space == "Z" else rows
        if self.w.shape != expected:
            raise LatentError(
                f"{called} has the shape {self.w.shape}, but {generator.name} needs {expected} "
                f"in {self.space}: make the latent again with this model."
            )
        if self.delta is not None:
            self.delta.check(generator, f"The tuning in {called[:1].lower() + called[1:]}")


def latent_bytes(latent: Latent) -> bytes:
    """The content of the latent's file; equal latents give equal bytes."""
    metadata = {
        "kind": KIND,
        "version": PLAIN if latent.delta is None else WITH_DELTA,
        "space": latent.space,
        "model_hash": latent.model_hash,
        "model_name": latent.model_name,
        "truncation": json.dumps(latent.truncation),
        "truncation_layers": json.dumps(latent.truncation_layers),
        "noise": json.dumps(latent.noise),
        "scan": json.dumps(to_plain(latent.scan), sort_keys=True),
    }
    changes = {} if latent.delta is None else latent.delta.tensors
    return pack({"w": latent.w, **{DELTA + k: v for k, v in changes.items()}}, metadata)


def save_latent(path: str | Path, latent: Latent, overwrite: bool = False) -> str:
    """Write a latent file, atomically.

    Parameters
    ----------
    path : path-like
        A name that ends in `.safetensors`.
    latent : Latent
    overwrite : bool
        Replace a file of that name.

    Returns
    -------
    str
        sha256 (hex) of the file's bytes, as stored in a recipe's `Source`.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    data = latent_bytes(latent)
    atomic_write_bytes(path, data, overwrite=overwrite, suffixes=(".safetensors",))
    return hashlib.sha256(data).hexdigest()


def load_latent(path: str | Path, generator: Model | None = None) -> Latent:
    """Read a latent file; refuse one of another model than `generator`.

    Raises
    ------
    LatentError
        If the file is missing, damaged, not a latent file, or of another model.
    """
    return read_latent(path, generator)[0]


def read_latent(path: str | Path, generator: Model | None = None) -> tuple[Latent, str]:
    """`load_latent` together with the sha256 of the very bytes that were read."""
    path = Path(path)
    data = read_bytes(path, LatentError)
    tensors, metadata = unpack(
        data, kind=KIND, path=path, error=LatentError, versions=(PLAIN, WITH_DELTA)
    )
    try:
        latent = Latent(
            tensors["w"],
            metadata["space"],
            metadata["model_hash"],
            metadata["model_name"],
            **_made(metadata),
            delta=_delta(tensors) if metadata["version"] == WITH_DELTA else None,
        )
    except (KeyError, ValueError, TypeError, OverflowError):
        raise LatentError(f"{path} lacks a part of a latent file: make it again.") from None
    except LatentError as reason:
        raise LatentError(f"{path} cannot be used. {reason}") from None
    if generator is not None:
        latent.check(generator, called=path.name)
    return latent, hashlib.sha256(data).hexdigest()


def _made(metadata: dict[str, str]) -> Json:
    """How the latent was made; checked now, since errors would only surface much later."""
    made = {k: from_json(metadata[k]) for k in ("truncation", "truncation_layers", "noise", "scan")}
    try:
        Truncation(made["truncation"], made["truncation_layers"])
        if made["noise"] not in ("fixed", "none"):
            check_seed(made["noise"], "The layer noise")
    except RecipeError as reason:
        raise LatentError(str(reason)) from None
    if made["scan"] is not None and not isinstance(made["scan"], dict):
        raise LatentError("Its description of the scan is invalid: project the scan again.")
    return made


def _delta(tensors: dict[str, np.ndarray]) -> Delta:
    return Delta({k.removeprefix(DELTA): v for k, v in tensors.items() if k.startswith(DELTA)})


def mix(w_a: Tensor, w_b: Tensor, strength: float | Sequence[float] | Tensor) -> Tensor:
    """Style mixing: row by row from `w_a` (strength 0) to `w_b` (strength 1), linearly.

    Parameters
    ----------
    w_a, w_b : Tensor, shape (..., num_layers, w_dim)
    strength : float, sequence of float or Tensor
        One number from 0 to 1, or one per layer.
    """
    import torch

    try:
        s = torch.as_tensor(strength, dtype=w_a.dtype, device=w_a.device)
    except (TypeError, ValueError):
        raise ModelError(f"Mixing strengths are numbers from 0 to 1, not {strength}.") from None
    if w_a.shape[-2:] != w_b.shape[-2:] or not bool(((s >= 0) & (s <= 1)).all()):
        raise ModelError(
            f"Latents of {tuple(w_a.shape)} and {tuple(w_b.shape)} numbers cannot be mixed with "
            f"strength {strength}: give two latents of one generator, and strengths from 0 to 1."
        )
    if s.shape not in ((), w_a.shape[-2:-1]):
        raise ModelError(
            f"There are {s.numel()} mixing strengths for {w_a.shape[-2]} layers; give one "
            "for each layer, or a single one."
        )
    s = s[..., None]
    mixed = torch.lerp(w_a, w_b.to(w_a), s.expand_as(w_a))
    if not bool(mixed.isfinite().all()):
        raise ModelError("One of the latents contains NaN or infinity: give finite numbers.")
    return mixed


DIRECTIONS_KIND = "directions"
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
    if directions.seen:
        unknown = (np.nan, np.nan)
        seen = [directions.seen.get(name, unknown) for name in directions.names]
        tensors["seen"] = np.array(seen, np.float32)
    if directions.readings:
        tensors["readings"] = np.stack(list(directions.readings.values()))
    metadata = {
        "kind": DIRECTIONS_KIND,
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
    tensors, metadata = unpack(data, kind=DIRECTIONS_KIND, path=path, error=RecipeError)
    told = metadata.get("reading_names", "")
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
            _seen(tensors, metadata),
            dict(zip(told.split("\n"), tensors["readings"], strict=True)) if told else {},
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


def _seen(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """Range of the training subjects by name, where it is known."""
    if "seen" not in tensors:
        return {}
    pairs = zip(metadata["names"].split("\n"), tensors["seen"], strict=True)
    return {name: (float(low), float(high)) for name, (low, high) in pairs if low <= high}


def _decoded(metadata: Mapping[str, str], key: str, default: str, kind: type) -> Any:
    """A JSON entry of the metadata; `default` where the file has none."""
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


def find_step(direction: str, generator: Model, sha256: str | None = None) -> np.ndarray:
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
    ndarray, shape (w_dim,), float32

    Raises
    ------
    RecipeError
        If there is no such direction, or the file is missing, damaged, changed or another model's.
    """
    file, name = split_direction(direction)
    if file is not None:
        return load_directions(file, generator, sha256).step(name)
    return generator.directions.step(direction)
