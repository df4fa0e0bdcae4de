"""What must hold of a model's card before networks are built as it says.

A card is text that anybody can change. Sizes in it are compared with the weights that lie beside
it before memory is set aside for networks of these sizes; what the program reads later on, such as
labels, is looked at here, where it can still be refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan3d.errors import ModelError
from stylegan3d.recipe.label_schema import LOG, label_dim
from stylegan3d.recipe.plain import finite_number, is_int

#: Of any number or list in an architecture, and of any network's levels.
LARGEST_NUMBER, LONGEST_LIST, MOST_LEVELS = 65_536, 64, 12
#: How much larger the networks may be than the weights: a family's estimate is a rough one.
SLACK = 4
LEAST_WEIGHTS = 4_000_000  # of networks this small nothing is asked
#: Entries that are lists of tables, or tables, where a card has them.
LISTS = ("training_data", "directions")
TABLES = ("architecture", "space", "quality", "evaluation", "training", "intensity", "trust")


def check_card(card: Mapping[str, Any]) -> None:
    """Refuse a card whose tables are none; what its family needs of it, that family checks.

    Raises
    ------
    ValueError, KeyError
        With the half of a sentence that says why.
    """
    for name in TABLES:
        if card.get(name) is not None and not isinstance(card[name], Mapping):
            raise ValueError(f"the card's {name} is no table")
    for name in LISTS:
        rows = card.get(name)
        if rows is not None and not (
            isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)
        ):
            raise ValueError(f"the card's {name} is no list of tables")


def check_numbers(plan: Mapping[str, Any], largest: int = LARGEST_NUMBER) -> None:
    """Every setting is a word, a number of a sensible size, or a list of such numbers."""
    for name, value in plan.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if len(values) > LONGEST_LIST:
            raise ValueError(f"the architecture's {name} has {len(values)} entries")
        for number in values:
            if value is number and isinstance(number, (str, bool)):
                continue
            if finite_number(number) is None or abs(number) > largest:
                raise ValueError(f"the architecture's {name} is no number of a sensible size")


def far_larger(needed: int, weights: int) -> bool:
    """Whether networks of so many numbers are far larger than the weights there are."""
    return needed > LEAST_WEIGHTS and needed > SLACK * weights


def whole_numbers(plan: Mapping[str, Any], name: str, default: tuple[int, ...]) -> list[int]:
    """A list of positive whole numbers in an architecture, not an empty one."""
    values = plan.get(name, default)
    if not isinstance(values, (list, tuple)) or not all(is_int(n) and n > 0 for n in values):
        raise ValueError(f"the architecture's {name} are no positive whole numbers")
    return list(values) or [1]


def check_labels(schema: Any, size: Any) -> None:
    """The labels are as `recipe.label_schema` describes them, as many as the network takes."""
    if schema is None:
        return
    if not isinstance(schema, list) or not all(isinstance(entry, Mapping) for entry in schema):
        raise ValueError("the card's labels are no list of tables")
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
                raise ValueError(f"the label {name} is on no scale that is known")
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
