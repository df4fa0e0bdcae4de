"""Parse command-line text into parts of a recipe; RecipeError if invalid."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from stylegan3d.errors import RecipeError
from stylegan3d.geometry.slicing import PLANES, Plane
from stylegan3d.recipe.model import Noise
from stylegan3d.recipe.recipe import Edit, Label, Source
from stylegan3d.storage.jsontext import LONGEST_NUMBER

_MOST_NUMBERS = 100_000


def parse_numbers(text: str, called: str) -> list[int]:
    """Whole numbers from a list with ranges, both ends included: "0-3,7" -> [0, 1, 2, 3, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first = int(match[1][:LONGEST_NUMBER]) if match else 1
        last = int(match[2][:LONGEST_NUMBER] if match[2] else first) if match else 0
        if last < first:
            raise RecipeError(f"{part!r} in {called} is not a number or range such as 0-3,7.")
        if last - first + len(numbers) >= _MOST_NUMBERS:
            raise RecipeError(
                f"{called} asks for more than {_MOST_NUMBERS}: ask for fewer at once."
            )
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def parse_noise(text: str) -> Noise:
    """The recipe's noise from "fixed", "none" or a seed."""
    if text == "fixed":
        return "fixed"
    if text == "none":
        return "none"
    if not text.isdecimal():
        raise RecipeError(f"{text!r} is not a noise setting: use fixed, none or a seed.")
    return int(text[:LONGEST_NUMBER])


def parse_label(text: str | None) -> Label | None:
    """A label from "age=70,sex=F" or, for a model without named labels, "0,1"."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    named = [part.split("=", 1) for part in parts if "=" in part]
    names = {name.strip() for name, _ in named}
    try:
        if not named:
            return Label(numbers=tuple(float(part) for part in parts))
        if len(names) != len(parts):
            raise ValueError
    except ValueError:
        raise RecipeError(
            f"{text!r} is not a label: give each label of the model once, such as age=70,sex=F, or "
            "its numbers, such as 0,1."
        ) from None
    return Label(values=tuple((name.strip(), _number_or_text(value)) for name, value in named))


def _number_or_text(text: str) -> int | float | str:
    """A number if formatting it gives the same text: 07 may be the name of a site."""
    text = text.strip()
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text:
            return number
    return text


def parse_source(text: str) -> Source:
    """A seed if the text is a whole number, else a latent file."""
    if text.isdecimal():
        return Source("seed", int(text[:LONGEST_NUMBER]))
    return Source.from_file(text)


def parse_strengths(strength: str | None, layers: str | None, num_layers: int) -> tuple[float, ...]:
    """Mix strengths, one per layer.

    Parameters
    ----------
    strength : str or None
        One number for all layers, or one per layer, such as "1,1,0.5,0".
    layers : str or None
        Layers to mix, such as "0-3"; the others have strength 0. With it, `strength` is a single
        number, by default 1.
    num_layers : int
    """
    if strength is None:
        strength = "0.5" if layers is None else "1"
    try:
        values = [float(part) for part in strength.split(",")]
    except ValueError:
        raise RecipeError(
            f"{strength!r} is not a mix strength: give a number from 0 to 1, or one per layer."
        ) from None
    if layers is None:
        return tuple(values * num_layers if len(values) == 1 else values)
    chosen = parse_numbers(layers, "--layers")
    if len(values) != 1 or max(chosen) >= num_layers:
        raise RecipeError(
            f"--layers takes numbers from 0 to {num_layers - 1} and goes with a single --strength."
        )
    return tuple(values[0] if layer in chosen else 0.0 for layer in range(num_layers))


def parse_edits(texts: Sequence[str]) -> tuple[Edit, ...]:
    """Edits from texts such as "PC 1=2.0" or, for layers 0 to 3 only, "PC 1=2.0@0-3"."""
    return tuple(_parse_edit(text) for text in texts)


def _parse_edit(text: str) -> Edit:
    match = re.fullmatch(r"(.+)=\s*([^=@]+?)\s*(?:@\s*(\d+)\s*-\s*(\d+)\s*)?", text)
    try:
        if match is None:
            raise ValueError
        strength = float(match[2])
    except ValueError:
        raise RecipeError(
            f'{text!r} is not an edit: give a direction and a strength, such as "PC 1=2.0".'
        ) from None
    numbers = [int(digits[:LONGEST_NUMBER]) for digits in match.group(3, 4) if digits]
    layers = (numbers[0], numbers[1] + 1) if numbers else None
    return Edit(match[1].strip(), strength, layers)


def parse_point(text: str | None) -> tuple[float, float, float] | None:
    """Millimetres (RAS+) from "0,-20,10"."""
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
        if not all(map(math.isfinite, (x, y, z))):
            raise ValueError
    except ValueError:
        raise RecipeError(
            f"{text!r} is not a point: give three coordinates in mm, such as 0,-20,10."
        ) from None
    return x, y, z


def parse_planes(text: str) -> tuple[Plane, ...]:
    """Planes from "axial,coronal"."""
    words = [part.strip().lower() for part in text.split(",")]
    chosen = tuple(plane for word in words for plane in PLANES if plane == word)
    if len(chosen) != len(words) or len(set(chosen)) != len(chosen):
        raise RecipeError(f"{text!r} are not planes: use {', '.join(PLANES)}, once each.")
    return chosen
