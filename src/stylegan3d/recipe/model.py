"""What recipes need of a model, and the model a recipe was made with.

A recipe is data and imports no networks; it uses the protocol `Model`, which every `Generator`
implements.

Sampling a random brain: seed, truncation, layer noise.

Labels of a recipe, for a conditional generator, are encoded as the vector that the networks take.

The vector is [1, part of the first label, part of the second, …] / sqrt(1 + number of labels). A
number is standardised with the mean and standard deviation of the training subjects; a category has
one component per value. Where a label was missing for some of the training subjects, its part ends
with an indicator: 1 for them, their other components 0. The leading 1 lets a discriminator, whose
score is the product of features with this vector (Miyato, Koyama 2018, arXiv 1802.05637), judge a
volume without its label too; the factor keeps the vector's length about 1, as the mapping expects.

A model's card keeps the schema as `labels`, one entry per label::

    {"name": "age", "kind": "number", "mean": 43.1, "sd": 15.2, "missing": false, "average": [0.0]}
    {"name": "sex", "kind": "category", "values": ["F", "M"], "missing": false,
     "average": [0.55, 0.45]}

`average` is the mean of the label's part over the training subjects. Labels that are learned after
training (`training.labels`) have more: `"scale": "log"` if mean and deviation are those of the
logarithm, `"range": [18, 82]` and number (`"people"`) of the subjects it was learned from, its
`"unit"`, `"explained"`, the share of its variance predicted in left-out training subjects, and
`"told_by"`, what it is predicted from: "latents" or "tissue volumes".
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from stylegan3d.base import Json, JsonView, ModelError, RecipeError
from stylegan3d.recipe.directions import Directions
from stylegan3d.storage.checked import Number, Text, Whole, checked
from stylegan3d.storage.encoding import finite_number, is_int, short_repr

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stylegan3d.geometry.space import Space


class Sizes(Protocol):
    """Sizes of a generator's latents and images."""

    @property
    def z_dim(self) -> int:
        """Size of the random input."""

    @property
    def w_dim(self) -> int:
        """Size of one row of w."""

    @property
    def num_layers(self) -> int:
        """Rows of w."""

    @property
    def label_dim(self) -> int:
        """Size of the label; 0 without."""

    @property
    def image_channels(self) -> int:
        """Channels of a volume."""


class Model(Sizes, Protocol):
    """What recipes, latents and directions need of a generator; see `Generator`."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def card(self) -> JsonView:
        """The model card."""

    @property
    def cannot(self) -> Mapping[str, str]:
        """Unsupported features, and why."""

    @property
    def can_invert(self) -> bool:
        """Whether it can compute the z of a w."""

    @property
    def draws_texture(self) -> bool:
        """Whether layer noise adds texture to every brain."""

    @property
    def directions(self) -> Directions:
        """Directions that ship with it."""

    @property
    def space(self) -> Space:
        """Its grid."""

    hash: str
    labels_hash: str
    device: torch.device

    def map(
        self,
        z: Tensor,
        label: Tensor | Mapping[str, float | str] | None = None,
        truncation: float = 1.0,
        truncation_layers: int | None = None,
    ) -> Tensor:
        """Map z [N, z_dim] to w [N, num_layers, w_dim]."""

    def invert(self, w: Tensor) -> Tensor:
        """Approximate the z [N, z_dim] of w [N, 1, w_dim]."""

    def mix(self, first: Tensor, second: Tensor, strength: Sequence[float] | Tensor) -> Tensor:
        """Mix two latents [num_layers, w_dim] evenly, with one strength per layer."""

    def tunable_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that pivotal tuning may change, by name."""

    def rows_of(self, name: str) -> range:
        """The rows of w that control the layer of such a tensor."""


@checked("model")
class MadeWith:
    """A model by the sha256 of its weights, and its name for messages.

    `labels` is the sha256 of labels that were learned after training, for recipes with such a
    label.

    Raises
    ------
    RecipeError
        If either is not text.
    """

    sha256: Text
    name: str = ""
    labels: str | None = None

    @classmethod
    def of(cls, generator: Model, labelled: bool = False) -> MadeWith:
        """Identify a loaded model; with its labels if `labelled`."""
        labels = generator.labels_hash if labelled else ""
        return cls(generator.hash, generator.name, labels or None)

    def check(self, generator: Model) -> None:
        """Raise RecipeError if `generator` is another model."""
        if self.sha256 == generator.hash and self.labels in (None, generator.labels_hash):
            return
        if self.sha256 == generator.hash:
            raise RecipeError(
                f"This recipe's label was generated with the labels {str(self.labels)[:8]} "
                f"of {generator.name}, now {generator.labels_hash[:8] or 'none'}: load the model "
                "with the previous labels, or remove the model from the recipe."
            )
        raise RecipeError(
            f"This recipe was made with the model {self.name or 'with another hash'} "
            f"({self.sha256[:8]}), but {generator.name} ({generator.hash[:8]}) is loaded: load its "
            "own model, or remove the model from the recipe to see the same seed in this one."
        )


Noise = Literal["fixed", "none"] | int
#: Psi of random brains, where nothing else is chosen.
TRUNCATION = 0.7
LARGEST_SEED = 2**32 - 1  # what numpy.random.RandomState takes


@checked("truncation")
class Truncation:
    """Truncation of random latents: `w_avg + psi * (w - w_avg)`.

    Attributes
    ----------
    psi : float
        0 is the average brain, 1 the whole variety, more than 1 exaggerates.
    cutoff : int or None
        Only layers below it are truncated; None truncates all.
    """

    psi: Number = 1.0
    cutoff: Whole | None = None


def check_seed(value: Any, called: str) -> None:
    """Raise RecipeError, naming the value `called`, if it is not a valid seed."""
    if not is_int(value) or not 0 <= value <= LARGEST_SEED:
        raise RecipeError(f"{called} must be a whole number from 0 to {LARGEST_SEED}.")


def seed_latents(
    generator: Model,
    seeds: Sequence[int],
    truncation: float = 1.0,
    truncation_layers: int | None = None,
    label: Tensor | Mapping[str, float | str] | None = None,
) -> Tensor:
    """The w of seeds, [len(seeds), num_layers, w_dim].

    z is `numpy.random.RandomState(seed).randn(1, z_dim)`, so a seed gives the same latent as in
    every other StyleGAN program. `label` [1, label_dim] or by names applies to all; see
    `Generator.map`. Recipes, the window and the command line truncate to 0.7 by default.

    Raises
    ------
    RecipeError
        If there is no seed, or one is negative or too large.
    """
    import torch

    rows = []
    if not len(seeds):
        raise RecipeError("seed_latents: give at least one seed.")
    for seed in seeds:
        check_seed(seed, "A seed")
        z = seed_z(generator, seed)
        # One at a time: in a batch of another size a matrix product may round differently.
        rows.append(generator.map(z, label, truncation, truncation_layers))
    return torch.cat(rows)


def seed_z(generator: Model, seed: int) -> Tensor:
    """The z of a seed, [1, z_dim]; see `seed_latents`."""
    import torch

    return torch.from_numpy(np.random.RandomState(seed).randn(1, generator.z_dim)).float()


Schema = Sequence[JsonView]

MOST_CATEGORIES = 32
CATEGORY = ":category"
LOG = "log"
MISSING = (None, "", "n/a", "N/A", "nan", "NaN", "unknown")


def encode_labels(schema: Schema, values: Mapping[str, Any] | None = None) -> Tensor:
    """The label vector of one subject.

    Parameters
    ----------
    schema : Schema
        `card["labels"]` of a generator.
    values : mapping of str to object or None
        Name to number or category, such as ``{"age": 70, "sex": "F"}``. A label that is left out is
        set to the average of the training subjects. None is "not known", which needs a generator
        that was trained with such subjects.

    Returns
    -------
    Tensor, shape (1, label_dim), float32
        For `Generator.map(z, label=…)`.

    Raises
    ------
    ModelError
        If the generator has no such label or does not know the value.
    """
    import torch

    values = dict(values or {})
    vector = [1.0]
    for entry in schema:
        if entry["name"] in values:
            vector += _part(entry, values.pop(entry["name"]))
        else:
            vector += entry["average"]
    if values:
        known = ", ".join(entry["name"] for entry in schema)
        raise ModelError(
            f"The generator has no label '{next(iter(values))}'; "
            + (f"its labels are: {known}." if known else "it was trained without labels.")
        )
    return torch.tensor([vector]) / math.sqrt(1 + len(schema))


def number_range(entry: JsonView, deviations: float) -> tuple[float, float]:
    """Permitted range of a number: that of the subjects, else so many deviations from the mean."""
    if "range" in entry:
        low, high = entry["range"]
        return float(low), float(high)
    reach = deviations * float(entry["sd"])
    return float(entry["mean"]) - reach, float(entry["mean"]) + reach


def middle_of(entry: JsonView) -> float:
    """Mean of a number over subjects; the geometric mean on a logarithmic scale."""
    mean = float(entry["mean"])
    return math.exp(mean) if entry.get("scale") == LOG else mean


def label_dim(schema: Schema) -> int:
    """Length of the label vector; 0 without labels."""
    return 1 + sum(len(entry["average"]) for entry in schema) if schema else 0


def schema_of(rows: Sequence[JsonView], names: Sequence[str]) -> list[Json]:
    """The schema of labels from a table of training subjects.

    Parameters
    ----------
    rows : sequence of mapping of str to object
        One per volume.
    names : sequence of str
        Columns. One that holds numbers only is a number, unless its name is followed by
        ":category", as in "site:category".

    Raises
    ------
    ModelError
        If a column is missing or unusable as a label.
    """
    return [_entry(rows, name) for name in names]


def encode_rows(schema: Schema, rows: Sequence[JsonView]) -> Tensor:
    """Label vectors [n, label_dim] of subjects from a table."""
    import torch

    names = [entry["name"] for entry in schema]
    return torch.cat([encode_labels(schema, {n: row.get(n) for n in names}) for row in rows])


def known_schema(
    rows: Sequence[JsonView], names: Sequence[str], logarithmic: Sequence[str] = ()
) -> list[Json]:
    """The schema of labels that are learned from the subjects with known values only.

    Parameters
    ----------
    rows, names : sequence of mapping of str to object, sequence of str
        As for `schema_of`.
    logarithmic : sequence of str
        Columns to take on a logarithmic scale.

    Raises
    ------
    ModelError
        As for `schema_of`, and if a logarithmic column has values that are not positive.
    """
    schema = []
    for name in names:
        column = name.removesuffix(CATEGORY)
        known = [row for row in rows if not _is_missing(row.get(column))]
        (entry,) = schema_of(known or rows, [name])
        if entry["kind"] == "number" and name in logarithmic:
            values, limits = [float(row[column]) for row in known], entry["range"]
            if limits[0] <= 0:
                raise ModelError(f"The label '{name}' has values that are not positive.")
            (entry,) = schema_of([{name: math.log(value)} for value in values], [name])
            entry |= {"scale": LOG, "range": limits}
        schema.append(entry)
    return schema


def encode_known(schema: Schema, rows: Sequence[JsonView]) -> Tensor:
    """Label vectors [n, label_dim] of subjects; NaN where a label is unknown."""
    import torch

    vectors = []
    for row in rows:
        known = {
            e["name"]: row.get(e["name"]) for e in schema if not _is_missing(row.get(e["name"]))
        }
        vector, start = encode_labels(schema, known)[0], 1
        for entry in schema:
            size = len(entry["average"])
            if entry["name"] not in known:
                vector[start : start + size] = torch.nan
            start += size
        vectors.append(vector)
    return torch.stack(vectors)


def _entry(rows: Sequence[JsonView], name: str) -> Json:
    column = name.removesuffix(CATEGORY)
    given = [row.get(column) for row in rows]
    known = [value for value in given if not _is_missing(value)]
    if not known:
        columns = sorted({key for row in rows for key in row})
        raise ModelError(
            f"The dataset's table has no column '{column}', so it cannot be a condition; its "
            f"columns are: {', '.join(columns)}."
        )
    entry: Json = {"name": column}
    numbers = [n for n in map(_number, known) if n is not None]
    if name == column and len(numbers) == len(known):
        mean = sum(numbers) / len(numbers)
        sd = math.sqrt(sum((n - mean) ** 2 for n in numbers) / len(numbers))
        entry |= {"kind": "number", "mean": mean, "sd": sd}
        entry["range"] = [min(numbers), max(numbers)]
        different = 2 if sd > 0 else 1
    else:
        categories = sorted({str(value) for value in known})
        entry |= {"kind": "category", "values": categories}
        different = len(categories)
    if different < 2:
        raise ModelError(
            f"All training subjects have the same '{column}', so it cannot be a condition."
        )
    if entry["kind"] == "category" and different > MOST_CATEGORIES:
        raise ModelError(
            f"The column '{column}' has {different} different values, too many for a condition: "
            f"use at most {MOST_CATEGORIES} categories, or numbers."
        )
    entry["missing"] = len(known) < len(given)
    parts = [_part(entry, value) for value in given]
    entry["average"] = [sum(column) / len(parts) for column in zip(*parts, strict=True)]
    return entry


def _part(entry: JsonView, value: Any) -> list[float]:
    """Components of one label."""
    name = entry["name"]
    indicator = [0.0] if entry["missing"] else []
    if _is_missing(value):
        if not entry["missing"]:
            raise ModelError(
                f"The label '{name}' is missing, but it was known for all training "
                "subjects: give a value."
            )
        size = 1 if entry["kind"] == "number" else len(entry["values"])
        return [0.0] * size + [1.0]
    if entry["kind"] == "number":
        number = _number(value)
        if number is None:
            raise ModelError(f"The label '{name}' is {value!r}, but it must be a number.")
        if entry.get("scale") == LOG:
            if number <= 0:
                raise ModelError(f"The label '{name}' is {value}, but it must be more than 0.")
            number = math.log(number)
        return [(number - entry["mean"]) / entry["sd"], *indicator]
    if str(value) not in entry["values"]:
        raise ModelError(
            f"The label '{name}' is {value!r}, but the generator knows only: "
            f"{', '.join(entry['values'])}."
        )
    return [float(str(value) == known) for known in entry["values"]] + indicator


def _is_missing(value: Any) -> bool:
    return value in MISSING or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    """A finite number from a table's cell; None if it is something else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def check_labels(schema: Any, size: Any) -> None:
    """Raise ModelError unless labels are as this module describes and fit the network."""
    if schema is None:
        return
    if not isinstance(schema, list) or not all(isinstance(entry, Mapping) for entry in schema):
        raise ValueError("the card's labels are not a list of tables")
    for entry in schema:
        name, average = entry.get("name"), entry.get("average")
        if not isinstance(name, str) or not name or not isinstance(entry.get("missing"), bool):
            raise ValueError("a label of the card has no name")
        if not isinstance(average, list) or any(finite_number(x) is None for x in average):
            raise ValueError(f"the label {name} has no average")
        if entry.get("kind") == "number":
            parts = [finite_number(entry.get(k)) for k in ("mean", "sd")]
            if None in parts or not parts[1] or parts[1] < 0:
                raise ValueError(f"the label {name} has no mean and deviation")
            if entry.get("scale") not in (None, LOG):
                raise ValueError(f"the label {name} is on an unknown scale")
            reach = [finite_number(x) for x in entry.get("range", [0, 1])]
            if len(reach) != 2 or None in reach or not reach[0] < reach[1]:  # type: ignore[operator]
                raise ValueError(f"the label {name} has no range")
            length = 1
        else:
            values = entry.get("values")
            if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
                raise ValueError(f"the label {name} has no values")
            length = len(values)
        if len(average) != length + entry["missing"]:
            raise ValueError(f"the label {name} has an average of another length")
    if label_dim(schema) != size:
        raise ModelError(
            f"The model's card has labels of {label_dim(schema)} numbers, but its network takes "
            f"{size}; the card is wrong."
        )


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
        numbers = tuple(map(finite_number, self.numbers))
        if None in numbers:
            given = short_repr(self.numbers)
            raise RecipeError(f"A label's numbers must be finite numbers, not {given}.")
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
    return name, getattr(value, "item", lambda: value)()  # of numpy
