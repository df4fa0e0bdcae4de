"""Labels of a recipe, for conditional generators."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylegan3d.errors import ModelError, RecipeError
from stylegan3d.plain import Json
from stylegan3d.recipe.label_schema import encode_labels
from stylegan3d.recipe.model import Model
from stylegan3d.storage.jsontext import finite_number, short_repr

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = "n/a"
LONGEST_NAME = 40


@dataclass(frozen=True)
class Label:
    """The label of a conditional generator; either `values` or `numbers`.

    Attributes
    ----------
    values : tuple of (name, value)
        For a generator whose card names its labels, such as `(("age", 70), ("sex", "F"))`. A label
        that is left out is not conditioned on; "n/a" is "not known".
    numbers : tuple of float
        The label vector itself, for a network without named labels, such as official checkpoints.

    Raises
    ------
    RecipeError
        If it has both or neither, or a value is neither text nor a finite number.
    """

    values: tuple[tuple[str, str | int | float], ...] = ()
    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.values) == bool(self.numbers):
            raise RecipeError(
                'A label is either named values, such as {"age": 70}, or a list of numbers.'
            )
        checked = [_check_value(name, value) for name, value in self.values]
        object.__setattr__(self, "values", tuple(sorted(checked, key=lambda pair: pair[0])))
        numbers = tuple(_check_number(value) for value in self.numbers)
        object.__setattr__(self, "numbers", numbers)

    @classmethod
    def of(cls, data: Any) -> Label:
        """The label of plain data: a mapping of names to values, or a list of numbers."""
        if isinstance(data, Label):
            return data
        if isinstance(data, Mapping):
            return cls(values=tuple(data.items()))
        if isinstance(data, (list, tuple)):
            return cls(numbers=tuple(data))
        raise RecipeError(
            f"A recipe's label cannot be {short_repr(data)}: "
            "give named values or a list of numbers."
        )

    def to_plain(self) -> Json | list[float]:
        """Inverse of `of`, for JSON."""
        return dict(self.values) if self.values else list(self.numbers)

    def encode(self, generator: Model) -> Tensor:
        """[1, label_dim] for `Generator.map`; RecipeError if the generator has no such label."""
        import torch

        size, name = generator.label_dim, generator.name
        schema = generator.card.get("labels")
        if not size:
            raise RecipeError(
                f"{name} was trained without labels: leave out the label, or load another model."
            )
        if schema and self.numbers:
            known = ", ".join(entry["name"] for entry in schema)
            raise RecipeError(f"{name} names its labels: give values for some of {known}.")
        if schema:
            try:
                return encode_labels(schema, dict(self.values))
            except ModelError as reason:
                raise RecipeError(str(reason)) from None
        if len(self.numbers) != size:
            given = f"{len(self.numbers)} numbers" if self.numbers else "named values"
            raise RecipeError(
                f"{name} takes a label of {size} numbers, but the recipe has {given}: "
                f"write for example {','.join(['1', *['0'] * (size - 1)][:6])}{',…' * (size > 6)}."
            )
        return torch.tensor([self.numbers], dtype=torch.float32)

    @property
    def in_a_name(self) -> str:
        """Letters and digits for a file's name: "age70sexF"; "class1" for (0, 1, 0)."""
        if sorted(self.numbers) == [0.0] * (len(self.numbers) - 1) + [1.0] and self.numbers[1:]:
            return f"class{self.numbers.index(1.0)}"
        words = [f"{name}{value}" for name, value in self.values]
        words = words or ["and".join(f"{number:g}" for number in self.numbers)]
        text = "".join(words).replace("n/a", "unknown").replace(".", "p").replace("-", "minus")
        text = re.sub(r"[^A-Za-z0-9]", "", text)
        if len(text) <= LONGEST_NAME:
            return text
        return hashlib.sha256(repr(self.to_plain()).encode()).hexdigest()[:8]


def _check_value(name: Any, value: Any) -> tuple[str, str | int | float]:
    if not isinstance(name, str) or not name:
        raise RecipeError("The names in a label must be text, such as age.")
    if value is None:
        return name, UNKNOWN  # JSON's null would be taken for "not set"
    if not isinstance(value, str) and finite_number(value) is None:
        raise RecipeError(
            f"The label {name} must be text or a finite number, not {short_repr(value)}."
        )
    return name, value


def _check_number(value: Any) -> float:
    number = finite_number(value)
    if number is None:
        raise RecipeError(f"A label's numbers must be finite numbers, not {short_repr(value)}.")
    return number
