"""Frozen dataclasses whose fields are checked, whether Python or a file gives them.

The types here are for the fields of such classes. pydantic checks them; what is wrong is said in
one sentence of this program's errors.
"""

import inspect
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from functools import cache, wraps
from os import PathLike
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args

import numpy as np
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from stylegan3d.base import RecipeError, StyleGAN3DError
from stylegan3d.storage.encoding import finite_number, is_int, short_repr

T = TypeVar("T")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value


def _number(value: Any) -> float:
    number = finite_number(value)
    if number is None:
        raise ValueError("must be a finite number")
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError("must be between 0 and 1")
    return number


def _whole(value: Any) -> int:
    if not is_int(value) or value < 0:
        raise ValueError("must be a whole number from 0")
    return int(value)


#: Text that is not empty; a finite number, as float; one from 0 to 1; a whole number from 0.
Text = Annotated[str, BeforeValidator(_text)]
Number = Annotated[float, BeforeValidator(_number)]
Share = Annotated[float, BeforeValidator(_share)]
Whole = Annotated[int, BeforeValidator(_whole)]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def checked(
    called: str, error: type[StyleGAN3DError] = RecipeError
) -> Callable[[type[T]], type[T]]:
    """Make a frozen dataclass of which every field is checked when it is made.

    Parameters
    ----------
    called : str
        What a user calls such a thing, such as "mix".
    error : type
        What is raised for a value that is not allowed.
    """

    def decorated(kind: type[T]) -> type[T]:
        made: Any = dataclass(kind, frozen=True, config=ConfigDict(extra="forbid"))
        check, names = made.__init__, [part.name for part in fields(made)]

        def __init__(self: Any, *values: Any, **named: Any) -> None:
            try:
                # pydantic would tell the place of a value without its name.
                check(self, **dict(zip(names[: len(values)], values, strict=True)), **named)
            except ValidationError as reason:
                raise error(_sentence(reason, called)) from None

        made.__init__ = __init__
        made.called, made.error = called, error
        return made

    return decorated


#: What goes for types in annotations; a float may be a whole number, but no "0.5".
_LIKE: dict[str, tuple[Any, ...]] = {
    "None": (type(None),),
    "int": (numbers.Integral,),
    "float": (numbers.Real,),
    "bool": (bool, np.bool_),
    "Path": (PathLike,),
    "Sequence": (list, tuple, range, np.ndarray),
    "tuple": (list, tuple, np.ndarray),
    "Mapping": (Mapping,),
}
#: Those of which a value is an instance by its class's name. Of all others anything is taken.
NAMED = {"str", "ndarray", "Tensor", "Generator", "Scan", "Recipe", "Latent", "Directions", "Space"}
NAMED |= {"SpatialImage", "Pack", "Rendered", "Frame", "Delta", "AlignedScan", "Segmenter"}
NAMED |= {"Operator", "ScanData", "Choices", "Yardstick", "Progress"}


#: An annotation of so many numbers.
_NUMBERS = re.compile(r"(?:^|\| )tuple\[((?:float|int)(?:, (?:float|int))*)\]")


def answering(function: Callable[..., T]) -> Callable[..., T]:
    """`function`, answering what it cannot take in a sentence instead of failing inside.

    Types are known by their names in the annotations, of which some are never imported; a named
    `Literal` stands for its values.

    Raises
    ------
    StyleGAN3DError
        If an argument is missing, unknown or of another type, or a volume is not on its space.
    """
    signature, title = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
    names, wanted = inspect.unwrap(function).__globals__, dict[str, list[str]]()
    counts: dict[str, int] = {}
    for name, one in signature.parameters.items():
        kind = one.annotation
        text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
        text = re.sub(r"(?:[A-Za-z_]\w*\.)+", "", text)
        if found := _NUMBERS.search(text):
            counts[name] = found[1].count(",") + 1
        if one.kind != one.VAR_KEYWORD:
            kinds = re.sub(r"\[.*?\](?= \||$)", "", text).split(" | ")
            values = get_args(names.get(text, kind)) if len(kinds) == 1 else ()
            wanted[name] = [repr(v) for v in values if isinstance(v, str)] or [
                "Generator" if kind in ("Model", "Population") else kind for kind in kinds
            ]

    @wraps(function)
    def called(*values: Any, **named: Any) -> T:
        try:
            given = signature.bind(*values, **named).arguments
        except TypeError as reason:
            raise StyleGAN3DError(f"{title}: {reason}.") from None
        for name, kinds in wanted.items():
            if name in given and not _fits(value := given[name], kinds):
                raise StyleGAN3DError(
                    f"{title}: {name} must be {' or '.join(kinds)}, "
                    f"not {type(value).__name__} ({short_repr(value)})."
                )
        for name, count in counts.items():
            value = given.get(name)
            if not isinstance(value, _LIKE["tuple"]):
                continue
            finite = [isinstance(one, numbers.Real) and math.isfinite(one) for one in value]
            if finite != [True] * count:
                raise StyleGAN3DError(
                    f"{title}: {name} must be {count} finite numbers, not {short_repr(value)}."
                )
        has, wants = (getattr(given.get(name), "shape", None) for name in ("volume", "space"))
        if wants is not None and has not in (None, wants):
            raise StyleGAN3DError(
                f"{title}: the volume has {has} voxels, but its space {wants}: give "
                "one brain and its own grid."
            )
        volume: Any = given.get("volume")
        floats = isinstance(volume, np.ndarray) and volume.dtype.kind == "f"
        if floats and not np.isfinite(volume).all():
            raise StyleGAN3DError(f"{title}: the volume contains NaN or infinity.")
        return function(*values, **named)

    return called


def _fits(value: Any, kinds: Sequence[str]) -> bool:
    """Whether a value may be of one of the annotated types."""
    names = set(kinds)
    types = {kind.__name__ for kind in type(value).__mro__}
    names -= {"int", "float"} if isinstance(value, bool) else set()  # to Python it is a number
    like = any(isinstance(value, _LIKE.get(name, ())) for name in names)
    unknown = {name for name in names - NAMED - _LIKE.keys() if name[0] != "'"}
    return like or bool(types & names or unknown or repr(value) in names)


def from_plain(kind: type[T], data: Any) -> T:
    """A `checked` class of plain data: objects by the names of their fields, lists for tuples.

    Raises
    ------
    StyleGAN3DError
        The error of the class, if anything is missing, unknown or not allowed.
    """
    told: Any = kind
    try:
        return adapter(told).validate_python(data)
    except ValidationError as reason:
        raise told.error(_sentence(reason, told.called)) from None


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Reads and writes values of a type; made once."""
    return TypeAdapter(kind)


def _sentence(reason: ValidationError, called: str) -> str:
    """The first of the errors; all that is missing at once."""
    errors = reason.errors(include_url=False)
    where, what = errors[0]["loc"], errors[0]["type"]
    owner, name = _named(where[:-1], called), where[-1] if where else ""
    if what == "missing" and isinstance(name, str):
        lacking = [str(e["loc"][-1]) for e in errors if e["type"] == what]
        return f"{owner} lacks {' and '.join(lacking)}: add it."
    if what == "unexpected_keyword_argument":
        return f"{owner} has no field {short_repr(name)}: correct its name, or leave it out."
    given = short_repr(errors[0]["input"])
    if what == "dataclass_type":
        kind = f"a {errors[0]['ctx']['class_name']}, in JSON an object in braces"
        return f"{_named(where, called)} must be {kind}, not {given}."
    if what == "tuple_type":
        must = "must be a list"
    elif what in ("missing", "too_long"):
        must = "has too few numbers" if what == "missing" else "has too many numbers"
    elif what == "value_error":
        must = str(errors[0]["ctx"]["error"])
    else:
        must = errors[0]["msg"].replace("Input should", "must")
    if not isinstance(name, str):
        owner, name = _named(where[:-2], called), where[-2]
    return f"{owner}'s {name} {must}, not {given}."


def _named(where: Sequence[str | int], called: str) -> str:
    """What the part at a place is called: "A source", and "An edit" for one of the edits."""
    names = [part for part in where if isinstance(part, str)]
    if names:
        called = names[-1] if isinstance(where[-1], str) else names[-1].removesuffix("s")
    return f"{'An' if called[0] in 'aeiou' else 'A'} {called}"
