"""User settings of a run: a JSON file, and `name=value` on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import typed, unknown_setting
from stylegan3d.plain import Json
from stylegan3d.storage.jsontext import read_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")
#: Settings of a run, in its folder.
SETTINGS = "settings.json"
# What decides which volumes a step sees or what its networks are cannot change midway.
FIXED = ("generator", "discriminator", "batch", "seed", "mirror", "conditions")


def read_settings(kind: type[S], path: str | Path) -> S:
    """Settings of a kind of training from a JSON file, such as the `settings.json` of a run.

    Settings missing in the file have their defaults.

    Raises
    ------
    ModelError
        If the file cannot be read, or a setting is unknown or of the wrong type.
    """
    path = Path(path)
    try:
        data = read_json(path)
    except OSError as error:
        raise ModelError(
            f"The settings '{path}' cannot be read ({error.strerror}); check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The settings '{path}' are not JSON ({str(error).splitlines()[0]}); correct the file."
        ) from error
    return typed(kind, data)


def change_settings(settings: S, words: Sequence[str], flags: Mapping[str, Any] | None = None) -> S:
    """Settings changed by words such as "r1_gamma=5" or "generator.channels=[64,32]".

    Values are JSON; what is no JSON is text. `flags` are further changes, by name, and count more.

    Raises
    ------
    ModelError
        If a word is no `name=value`, the setting is unknown, or its value is of the wrong type.
    """
    data = asdict(settings)
    for name, value in _pairs(words):
        *path, last = name.split(".")
        place: Any = data
        for i, step in enumerate([*path, last]):
            if not isinstance(place, dict) or step not in place:
                raise unknown_setting(".".join([*path, last][: i + 1]), step, place)
            if i < len(path):
                place = place[step]
        place[last] = value
    return typed(type(settings), data | dict(flags or {}))


def changed_settings(kind: type, words: Sequence[str]) -> Json:
    """Changes to the settings of a resumed run from such words, by name.

    Raises
    ------
    ModelError
        As `change_settings`, or if a setting cannot change midway.
    """
    hints = get_type_hints(kind)
    changes = {}
    for name, value in _pairs(words):
        if name.split(".")[0] in FIXED:
            raise ModelError(
                f"The setting {name} of a resumed run cannot change; start a new run for it."
            )
        if name not in hints:
            raise unknown_setting(name, name, hints)
        changes[name] = typed(hints[name], value, name)
    return changes


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not name:
            raise ModelError(f"'{word}' is not a setting: write name=value, such as r1_gamma=5.")
        try:
            yield name, json.loads(text)
        except ValueError:
            yield name, text
