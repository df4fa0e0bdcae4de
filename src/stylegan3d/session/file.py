"""A session of the explorer as plain data: history, favourites, and the view.

A session folder contains `session.json` and the latents of projected scans;
`session_archive` puts both into one file. Both are read with suspicion: nothing in them executes,
sizes are bounded, and whatever is not as it should be is refused in a sentence.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from stylegan3d.errors import RecipeError, SessionError
from stylegan3d.plain import Json, JsonView
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.storage.checked import Whole, checked, from_plain
from stylegan3d.storage.jsontext import from_json, without_none
from stylegan3d.storage.tensorfiles import read_bytes

FILE = "session.json"
FORMAT, VERSION = "stylegan3d session", 1
#: A history of a hundred thousand states has half of this.
LARGEST_JSON = 100_000_000


@checked("favourite", SessionError)
class Favourite:
    """A recipe worth coming back to, and why."""

    recipe: Recipe
    note: str = ""


@checked("session", SessionError)
class SessionState:
    """Everything needed to continue a session.

    Attributes
    ----------
    states, position : tuple of Recipe, int
        The history, and the index of the current entry.
    model : MadeWith or None
        Whose recipes they are.
    model_path, frame : str or None
        Where the model was opened from (None: the one that comes along), and where its voxels
        lie, such as "LIA:2", if that had to be said.
    favourites : mapping of str to tuple of Favourite
        By the sha256 of their model.
    scan : str or None
        Path of the scan that was open.
    view : mapping
        The view, as plain data.
    saved : str
        When, as ISO 8601 in UTC.
    closed : bool
        Whether the window was closed as usual. If not, it came to a sudden end.

    Raises
    ------
    SessionError
        If there is no state, or the position is none of them.
    """

    states: tuple[Recipe, ...]
    position: Whole
    model: MadeWith | None = None
    model_path: str | None = None
    frame: str | None = None
    favourites: Mapping[str, tuple[Favourite, ...]] = field(default_factory=dict)
    scan: str | None = None
    view: JsonView = field(default_factory=dict)
    saved: str = ""
    closed: bool = False

    def __post_init__(self) -> None:
        if self.position >= len(self.states):
            raise SessionError("A session needs at least one state, and a position among them.")

    @property
    def worth_keeping(self) -> bool:
        """Whether anything was done in it."""
        edited = bool(self.view.get("labels"))
        kept = edited or self.scan is not None
        return kept or len(self.states) > 1 or any(self.favourites.values())

    @property
    def age_s(self) -> float:
        """Seconds since it was saved; infinite if that is not known."""
        try:
            saved = datetime.fromisoformat(self.saved)
            return (datetime.now(UTC) - saved).total_seconds()
        except (ValueError, TypeError):
            return float("inf")

    def stamped(self, *, closed: bool = False) -> SessionState:
        """The same, saved now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return dataclasses.replace(self, saved=now, closed=closed)

    def with_paths(self, change: Callable[[Any], Any]) -> SessionState:
        """The session with `change(part)` for each part of its recipes that can name a file."""
        favourites = {
            model: tuple(Favourite(i.recipe.with_paths(change), i.note) for i in items)
            for model, items in self.favourites.items()
        }
        states = tuple(recipe.with_paths(change) for recipe in self.states)
        return dataclasses.replace(self, states=states, favourites=favourites)


def encode(state: SessionState, folder: Path) -> bytes:
    """The content of `session.json` in `folder`; paths inside it are relative."""
    inside = str(folder)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "saved": state.saved,
        "closed": state.closed,
        "model": state.model and without_none(dataclasses.asdict(state.model)),
        "model_path": state.model_path,
        "frame": state.frame,
        "scan": state.scan,
        "view": dict(state.view),
        "position": state.position,
    }
    # A history is encoded at each addition: earlier entries are cached.
    states = ",\n".join(_text(recipe, inside) for recipe in state.states)
    favourites = ",\n".join(
        f'{{"of": {json.dumps(model)}, "note": {json.dumps(item.note)}, '
        f'"recipe": {_text(item.recipe, inside)}}}'
        for model, items in state.favourites.items()
        for item in items
    )
    text = json.dumps(head, allow_nan=False)[:-1]
    return f'{text},\n"favourites": [{favourites}],\n"states": [{states}]}}\n'.encode()


@lru_cache(maxsize=50_000)
def _text(recipe: Recipe, folder: str) -> str:
    return recipe.with_paths(lambda part: _named_in(part, Path(folder))).to_json()


def _named_in(part: Source | Edit, folder: Path) -> Source | Edit:
    """A source or an edit; a file inside `folder` gets a relative path."""
    path = file_of(part)
    return part if path is None or path.parent != folder else with_file(part, path.name)


def decode(data: bytes, folder: Path, called: str) -> SessionState:
    """The session of a `session.json`; latents are looked for in `folder`.

    Raises
    ------
    SessionError
        If it is none, or damaged; `called` so in the sentence.
    """
    if len(data) > LARGEST_JSON:
        raise SessionError(f"{called} is far too large for a session: choose another one.")
    try:
        plain = from_json(data, LARGEST_JSON)
    except ValueError:
        raise SessionError(f"{called} is damaged or not a session: choose another one.") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise SessionError(f"{called} is not a session of stylegan3d: choose another one.")
    if plain.get("version") != VERSION:
        raise SessionError(
            f"{called} was saved by a later version of this program: update it to open it."
        )
    try:
        return _state(plain, folder)
    except (RecipeError, SessionError, KeyError, TypeError, ValueError, AttributeError):
        raise SessionError(f"{called} lacks a part of a session: choose another one.") from None


def _state(plain: Json, folder: Path) -> SessionState:
    def recipe(data: Any) -> Recipe:
        return Recipe.from_dict(data).with_paths(lambda part: part.within(folder))

    favourites: dict[str, tuple[Favourite, ...]] = {}
    for item in plain["favourites"]:
        kept = Favourite(recipe(item["recipe"]), item["note"])
        favourites[item["of"]] = (*favourites.get(item["of"], ()), kept)
    names = ("position", "model", "model_path", "frame", "scan", "view", "saved")
    return from_plain(
        SessionState,
        {name: plain[name] for name in names}
        | {"states": list(map(recipe, plain["states"])), "favourites": favourites}
        | {"closed": plain["closed"] is True},
    )


def read_session(folder: Path) -> SessionState:
    """The session in a folder; SessionError if there is none or it is damaged."""
    return decode(read_bytes(folder / FILE, SessionError, LARGEST_JSON), folder, str(folder))


def file_of(part: Source | Edit) -> Path | None:
    """The file that a part of a recipe names, if it does."""
    name = part.path if isinstance(part, Source) else part.file
    return None if name is None else Path(name)


def with_file(part: Source | Edit, path: str) -> Source | Edit:
    """The part with its file at another place."""
    if isinstance(part, Source):
        return dataclasses.replace(part, path=path)
    return part.with_file(path, part.sha256)
