"""`Directions`: named vectors in w along which brains are edited, each with a unit of length."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.base import Json, RecipeError
from stylegan3d.geometry.space import Shown
from stylegan3d.storage.checked import answering

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False, repr=False)
class Directions(Shown):
    """K named directions in a generator's w space.

    Attributes
    ----------
    vectors : ndarray, shape (K, w_dim), float32
        Each of length one.
    std : ndarray, shape (K,), float32
        Length of one unit. For a principal component: the standard deviation of random brains along
        it. For an attribute: the step that changes the attribute by one standard deviation of
        random brains.
    explained_variance : ndarray, shape (K,), float32
        Share of the variance of w, 0 to 1.
    names : tuple of str
        K different names such as "PC 1".
    model_hash, model_name : str
        The generator they were found in.
    descriptions : mapping of str to str
        What a direction changes, by its name, such as "larger head (r = 0.93)"; may be empty.
    checks : tuple of dict
        How well the direction of each attribute did on held-out subjects, as plain data (see
        `directions.attributes`); may be empty.
    age_reading : ndarray, shape (w_dim + 1,), float32, or None
        Weights of w and a constant, which together predict a brain's age in years.
    seen : mapping of str to (float, float)
        Lowest and highest `position` of the training subjects, by name; may be empty.
    readings : mapping of str to ndarray, shape (w_dim,), float32
        Weights of w that give the position along the direction of an attribute, by name.
    """

    vectors: np.ndarray
    std: np.ndarray
    explained_variance: np.ndarray
    names: tuple[str, ...]
    model_hash: str = ""
    model_name: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Json, ...] = ()
    age_reading: np.ndarray | None = None
    seen: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    readings: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("vectors", "std", "explained_variance"):
            object.__setattr__(self, part, frozen(getattr(self, part)))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "descriptions", dict(self.descriptions))
        object.__setattr__(self, "checks", tuple(self.checks))
        rows = {k: np.array(v, dtype=np.float32) for k, v in self.readings.items()}
        object.__setattr__(self, "readings", rows)
        if any(row.shape != self.vectors.shape[-1:] for row in rows.values()):
            raise RecipeError("The readings do not fit these directions.")
        object.__setattr__(self, "seen", dict(self.seen))
        if self.age_reading is not None:
            reading = frozen(self.age_reading)
            if reading.shape != (self.vectors.shape[-1] + 1,) or not np.isfinite(reading).all():
                raise RecipeError("The weights that predict the age do not fit these directions.")
            object.__setattr__(self, "age_reading", reading)
        count = len(self.names)
        shapes = (self.std.shape, self.explained_variance.shape, self.vectors.shape[:1])
        if self.vectors.ndim != 2 or any(shape != (count,) for shape in shapes):
            raise RecipeError("These directions are incomplete: each needs a vector and a std.")
        with np.errstate(over="ignore", invalid="ignore"):
            steps = self.vectors * self.std[:, None]
        finite = np.isfinite(steps).all() and np.isfinite(self.explained_variance).all()
        if len(set(self.names)) != count or not finite:
            raise RecipeError(
                "These directions are unusable: names repeat or numbers are not finite."
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the directions that were fitted to an attribute."""
        checked = {check.get("name") for check in self.checks}
        return tuple(name for name in self.names if name in checked)

    def summary(self, name: str) -> str:
        """The description without the figures in brackets; empty where there is none."""
        return re.sub(r" ?\([^()]*\)", "", self.descriptions.get(name, ""))

    @answering
    def called(self, name: str) -> str:
        """The name of a direction as it is written here, from one in any letter case.

        Itself if there is none, or more than one.
        """
        if name in self.names:
            return name
        found = [one for one in self.names if one.casefold() == name.casefold()]
        return found[0] if len(found) == 1 else name

    def step(self, name: str) -> np.ndarray:
        """float32 `(w_dim,)`: one standard deviation along the direction of that name.

        Raises
        ------
        RecipeError
            If there is no such direction.
        """
        if name not in self.names:
            raise RecipeError(
                f"There is no direction {name!r} here: use one of {_listing(self.names)}."
            )
        k = self.names.index(name)
        return self.vectors[k] * self.std[k]

    @answering
    def position(self, name: str, w: np.ndarray) -> float:
        """Where w `(w_dim,)` is along a direction, in its units; only differences have a meaning.

        The value that the attribute's `readings` predict, or else the projection onto it.
        """
        step = self.step(name).astype(np.float64)
        reading = self.readings.get(name, step / max(float(step @ step), 1e-30))
        if np.shape(w) != reading.shape:
            raise RecipeError(f"w has shape {np.shape(w)}; one brain's has {reading.shape}.")
        return float(np.asarray(w, np.float64) @ reading)

    @answering
    def edit(
        self, w: torch.Tensor, name: str, strength: float, layers: tuple[int, int] | None = None
    ) -> torch.Tensor:
        """`w` `(..., num_layers, w_dim)` moved by `strength` standard deviations, as a new tensor.

        `layers` is the half-open range of layers that move; None moves all.
        """
        step, rows = self.step(name), w.shape[-2] if w.ndim > 1 else 0
        start, stop = layers or (0, rows)
        fits = w.shape[-1:] == step.shape and 0 <= start < stop <= rows
        if not fits or not math.isfinite(strength):
            raise RecipeError(
                f"Latents of {tuple(w.shape)} numbers cannot be moved by {strength:g} along {name}"
                + (f" in layers {start} to {stop}." if layers else ".")
            )
        return move(w, step, strength, layers)


def frozen(values: Any, dtype: type = np.float32) -> np.ndarray:
    """A copy of numbers, a tensor's as well, that cannot be written."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float().numpy()
    array: np.ndarray = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array


def join(first: Directions, second: Directions) -> Directions:
    """The directions of both, those of `first` first; they must be of one generator.

    Raises
    ------
    RecipeError
        If they are of two models, or a name is in both.
    """
    if first.model_hash != second.model_hash:
        raise RecipeError(
            f"Directions of the models {first.model_name} and {second.model_name} cannot be "
            "joined: take those of one model."
        )
    return Directions(
        np.concatenate([first.vectors, second.vectors]),
        np.concatenate([first.std, second.std]),
        np.concatenate([first.explained_variance, second.explained_variance]),
        first.names + second.names,
        first.model_hash,
        first.model_name,
        {**first.descriptions, **second.descriptions},
        first.checks + second.checks,
        first.age_reading if first.age_reading is not None else second.age_reading,
        {**first.seen, **second.seen},
        {**first.readings, **second.readings},
    )


def move(
    w: torch.Tensor, step: np.ndarray, strength: float, layers: tuple[int, int] | None = None
) -> torch.Tensor:
    """`w` `(..., num_layers, w_dim)` plus `strength * step` in the layers `[start, stop)`."""
    import torch

    start, stop = layers if layers is not None else (0, w.shape[-2])
    moved = w.clone()
    moved[..., start:stop, :] += strength * torch.from_numpy(step).to(w)
    return moved


def split_direction(direction: str) -> tuple[str | None, str]:
    """File and name of `file.safetensors#name`; None and the name of any other direction."""
    file, mark, name = direction.rpartition("#")
    return (file, name) if mark and file.endswith(".safetensors") else (None, direction)


def _listing(names: tuple[str, ...]) -> str:
    """The names for a message, shortened where there are many."""
    return ", ".join(names[:6]) + (f", … {names[-1]}" if len(names) > 6 else "")
