"""The description of one option: what a form, `--help` and a check need to know of it.

An option is declared in the type of a field of a frozen dataclass:

    seconds: Annotated[float, Option("Transition", "From brain to brain.", unit="s", low=0.1)]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NewType, get_args, get_origin, get_type_hints

from stylegan3d.errors import OutputError

#: A number that is chosen by sliding; the window registers its row for it with magicgui.
Sliding = NewType("Sliding", float)


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    label : str
        One to three words, for a form.
    help : str
        A sentence or two, for tooltips and `--help`.
    unit : str
        Of a number; empty for none.
    low, high : float or None
        The range of a number, both ends included.
    step : float or None
        Of a number in a form.
    choices : mapping or None
        Values that are allowed, each with the words for it.
    flag : str or None
        On the command line; empty for one after the field's name, None for none.
    """

    label: str
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: Mapping[Any, str] | None = None
    flag: str | None = ""

    @property
    def range(self) -> str:
        """The range in words, such as "0.1 to 60 s" or "at least 1"; empty if there is none."""
        if self.low is None:
            return ""
        ends = f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"
        return f"{ends}{self.unit and ' '}{self.unit}"

    def problem(self, value: Any) -> str:
        """Why a value is invalid, such as "is 0, but must be 1 to 60"; empty if valid.

        None is a value that was left out.
        """
        if value is None:
            return ""
        if self.choices is not None and value not in self.choices:
            return f"is {value!r}, but must be one of {', '.join(map(str, self.choices))}"
        low, high = self.low, self.high
        if (low is not None and value < low) or (high is not None and value > high):
            return f"is {value}, but must be {self.range}"
        return ""


@dataclass(frozen=True)
class Described:
    """A field of a settings class with its option."""

    name: str
    kind: type
    option: Option
    default: Any


def options_of(settings: type) -> Iterator[Described]:
    """The options of a settings class, in the order of its fields; others are left out."""
    hints = get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            kind, *notes = get_args(hint)
            for option in (note for note in notes if isinstance(note, Option)):
                yield Described(field.name, kind, option, field.default)


def check_options(settings: Any) -> None:
    """Refuse a value that its option does not allow.

    Raises
    ------
    OutputError
        One sentence with the option, its value and the allowed ones.
    """
    for described in options_of(type(settings)):
        problem = described.option.problem(getattr(settings, described.name))
        if problem:
            raise OutputError(f"{described.name} {problem}.")
