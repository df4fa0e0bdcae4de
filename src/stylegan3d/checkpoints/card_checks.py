"""Checks of a model's card before networks are built from it.

A card is text that anybody can change. Sizes in it are compared with the weights that lie beside
it before memory is set aside for networks of these sizes; what the program reads later on, such as
labels, is looked at here, where it can still be refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

from stylegan3d.plain import JsonView
from stylegan3d.storage.jsontext import finite_number, is_int

#: Of any number or list in an architecture, and of any network's levels.
LARGEST_NUMBER, LONGEST_LIST, MOST_LEVELS = 65_536, 64, 12
#: How much larger the networks may be than the weights: a family's estimate is a rough one.
SLACK = 4
LEAST_WEIGHTS = 4_000_000  # networks this small are not checked
#: Entries that are lists of tables, or tables, where a card has them.
LISTS = ("training_data", "directions")
TABLES = ("architecture", "space", "quality", "evaluation", "training", "intensity", "trust")


def check_card(card: JsonView) -> None:
    """Refuse a card whose tables are none; what its family needs of it, that family checks.

    Raises
    ------
    ValueError, KeyError
        With the reason as half a sentence.
    """
    for name in TABLES:
        missing = card.get(name) is None and (name != "architecture" or name not in card)
        if not missing and not isinstance(card[name], Mapping):
            raise ValueError(f"the card's {name} is not a table")
    for name in LISTS:
        rows = card.get(name)
        if rows is not None and not (
            isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)
        ):
            raise ValueError(f"the card's {name} is not a list of tables")


def check_numbers(plan: JsonView, largest: int = LARGEST_NUMBER) -> None:
    """Every setting is a word, a number of a sensible size, or a list of such numbers."""
    for name, value in plan.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if len(values) > LONGEST_LIST:
            raise ValueError(f"the architecture's {name} has {len(values)} entries")
        for number in values:
            if value is number and isinstance(number, (str, bool)):
                continue
            if finite_number(number) is None or abs(number) > largest:
                raise ValueError(f"the architecture's {name} is not a number of a sensible size")


def far_larger(needed: int, weights: int) -> bool:
    """Whether networks of so many numbers are far larger than the weights there are."""
    return needed > LEAST_WEIGHTS and needed > SLACK * weights


def whole_numbers(plan: JsonView, name: str, default: tuple[int, ...]) -> list[int]:
    """A list of positive whole numbers in an architecture, not an empty one."""
    values = plan.get(name, default)
    if not isinstance(values, (list, tuple)) or not all(is_int(n) and n > 0 for n in values):
        raise ValueError(f"the architecture's {name} are not positive whole numbers")
    return list(values) or [1]
