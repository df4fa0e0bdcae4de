"""A session of the explorer as plain data: history, favourites, and the view.

A session folder contains `session.json` and the latents of projected scans; `pack` puts both into
one zip file. Both are read with suspicion: nothing in them executes, sizes are bounded, and
whatever is not as it should be is refused in a sentence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from stylegan3d.base import Json, JsonView, RecipeError, SessionError
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import HasFile, Recipe
from stylegan3d.scans.dicom import uid_digest
from stylegan3d.storage.checked import checked, from_plain
from stylegan3d.storage.encoding import from_json, read_bytes, without_none
from stylegan3d.storage.formats import is_kind, last_part, without_folders

FILE = "session.json"
FORMAT, VERSION = "stylegan3d session", 2
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
    states : tuple of Recipe or None
        The histories of all subjects, one after the other.
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
    frames : mapping of str to tuple of Recipe
        Key frames, by what they are of and the sha256 of their model: "film 0123…", "path 0123…".

    Raises
    ------
    SessionError
        If there is no state.
    """

    states: tuple[Recipe | None, ...]
    model: MadeWith | None = None
    model_path: str | None = None
    frame: str | None = None
    favourites: Mapping[str, tuple[Favourite, ...]] = field(default_factory=dict)
    scan: str | None = None
    view: JsonView = field(default_factory=dict)
    saved: str = ""
    closed: bool = False
    frames: Mapping[str, tuple[Recipe, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.states:
            raise SessionError("A session needs at least one state.")

    @property
    def worth_keeping(self) -> bool:
        """Whether anything was done in it."""
        kept = (
            any(map(self.view.get, ("labels", "cases", "persons", "marks")))
            or self.scan is not None
        )
        return (
            kept or len(self.states) > 1 or any((*self.frames.values(), *self.favourites.values()))
        )

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
        states = tuple(recipe and recipe.with_paths(change) for recipe in self.states)
        frames = {of: tuple(r.with_paths(change) for r in some) for of, some in self.frames.items()}
        return dataclasses.replace(self, states=states, favourites=favourites, frames=frames)


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
    }
    # A history is encoded at each addition: earlier entries are cached.
    states = ",\n".join(_text(recipe, inside) for recipe in state.states)
    favourites = ",\n".join(
        f'{{"of": {json.dumps(model)}, "note": {json.dumps(item.note)}, '
        f'"recipe": {_text(item.recipe, inside)}}}'
        for model, items in state.favourites.items()
        for item in items
    )
    frames = ",\n".join(
        f'{{"of": {json.dumps(model)}, "recipe": {_text(recipe, inside)}}}'
        for model, recipes in state.frames.items()
        for recipe in recipes
    )
    lists = f'"frames": [{frames}],\n"favourites": [{favourites}],\n"states": [{states}]'
    return f"{json.dumps(head, allow_nan=False)[:-1]},\n{lists}}}\n".encode()


def _text(recipe: Recipe | None, folder: str) -> str:
    return "null" if recipe is None else _cached(recipe, recipe.model, folder)


@lru_cache(maxsize=50_000)
def _cached(recipe: Recipe, _model: object, folder: str) -> str:
    """The text of a recipe, which equals another one of another model."""
    return recipe.with_paths(lambda part: _named_in(part, Path(folder))).to_json()


def _named_in(part: HasFile, folder: Path) -> HasFile:
    """A source or an edit; a file inside `folder` gets a relative path."""
    path = file_of(part)
    return part if path is None or path.parent != folder else part.with_file(path.name, part.sha256)


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
            f"{called} was saved by another version of this program: open it with that."
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
    frames: dict[str, tuple[Recipe, ...]] = {}
    for item in plain.get("frames", ()):
        frames[item["of"]] = (*frames.get(item["of"], ()), recipe(item["recipe"]))
    names = ("model", "model_path", "frame", "scan", "view", "saved")
    return from_plain(
        SessionState,
        {name: plain[name] for name in names}
        | {"states": [one and recipe(one) for one in plain["states"]], "favourites": favourites}
        | {"frames": frames, "closed": plain["closed"] is True},
    )


def read_session(folder: Path) -> SessionState:
    """The session in a folder; SessionError if there is none or it is damaged."""
    return decode(read_bytes(folder / FILE, SessionError, LARGEST_JSON), folder, str(folder))


def file_of(part: HasFile) -> Path | None:
    """The file that a part of a recipe names, if it does."""
    return None if part.file is None else Path(part.file)


SUFFIX = ".sg3d"
#: All latents of a session together; one with a tuned network takes some megabytes.
LARGEST_FILE = 2_000_000_000
MOST_FILES = 10_000
#: Unpacked, an archive of latents grows by a tenth and one of text alone some thirtyfold; beyond
#: `SMALL` bytes more than this is not made by packing a session.
LARGEST_RATIO, SMALL = 100, 64_000_000
_LATENT = ".safetensors"
#: What zipfile raises for bytes that are no archive.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    ValueError,
    OSError,
    EOFError,
    KeyError,
    OverflowError,
)


def pack(state: SessionState, folder: Path) -> bytes:
    """Pack the session in `folder`, with all latents and directions it needs, as a zip file.

    A session file is handed on: of scans, label maps, norms and the model it has the names alone,
    not the folders, which may name patients and users; of DICOM series the hash of the UID, which
    may hold a date.

    Raises
    ------
    SessionError
        If a latent is missing.
    """
    files: dict[str, bytes] = {}
    names: dict[str, str] = {}

    def taken(part: HasFile) -> HasFile:
        path = file_of(part)
        if path is None:
            return part
        if str(path) not in names:
            data = read_bytes(path, SessionError)
            # Files of the same name from several folders are distinguished by their content.
            name = re.sub(r"[^\w.-]", "-", path.stem).lstrip(".") + _LATENT  # what any system takes
            others = {known.casefold(): content for known, content in files.items()}
            if name == FILE or others.get(name.casefold(), data) != data:
                name = f"{hashlib.sha256(data).hexdigest()[:8]}-{name}"
            files[name], names[str(path)] = data, name
        return part.with_file(str(folder / names[str(path)]), part.sha256)

    plain = _handed_on(state.with_paths(taken))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, encode(plain, folder))
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unpack(path: Path, folder: Path) -> tuple[SessionState, dict[Path, bytes]]:
    """The session in a file made by `pack`, and its latents, not yet written to `folder`.

    Scans, label maps, norms and the model are looked for beside the file, and nowhere else.

    Raises
    ------
    SessionError
        If the file is no session, is damaged, or would be unpacked to something huge.
    """
    data = read_bytes(path, SessionError, LARGEST_FILE)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(archive, path, len(data))
            content = {info.filename: archive.read(info) for info in archive.infolist()}
    except _BROKEN:
        raise SessionError(f"{path} is damaged or not a session: choose another file.") from None
    if FILE not in content:
        raise SessionError(f"{path} is not a session of stylegan3d: choose another file.")
    state = decode(content.pop(FILE), folder, str(path))

    def found(part: HasFile) -> HasFile:
        inner = file_of(part)
        # `pack` has put in all there is: a name that leads elsewhere is nobody's to follow.
        return part if inner is None else part.with_file(str(folder / inner.name), part.sha256)

    state = _beside(state.with_paths(found), path.absolute().parent)
    return state, {folder / name: data for name, data in content.items()}


def _handed_on(state: SessionState) -> SessionState:
    """Without folders; see `pack`."""
    places = [text for text in (state.scan, state.model_path) if text is not None]
    view = without_folders(dict(state.view), places)
    for choice, case in _files(view):
        if not is_kind(str(choice.get("path")), "scan"):  # DICOM, whose folder may be a name
            choice["path"] = case.get("name") or "dicom"
        if isinstance(choice.get("series"), str):
            choice["series"] = uid_digest(choice["series"])
    scan, model = (None if t is None else last_part(t) for t in (state.scan, state.model_path))
    return dataclasses.replace(state, scan=scan, model_path=model, view=view)


def _beside(state: SessionState, place: Path) -> SessionState:
    """With files in the folder `place`; `state` was just read and is changed."""

    def there(text: Any) -> str:
        return str(place / (last_part(text) if isinstance(text, str) else ""))

    for choice, case in _files(state.view):
        choice["path"] = there(choice.get("path"))
        labels = case.get("labels")
        case["labels"] = [there(text) for text in labels] if isinstance(labels, list) else []
    scan, model = (t if t is None else there(t) for t in (state.scan, state.model_path))
    norms = {"norms": there(state.view["norms"])} if state.view.get("norms") else {}
    return dataclasses.replace(state, scan=scan, model_path=model, view={**state.view, **norms})


def _files(view: JsonView) -> Iterator[tuple[Json, Json]]:
    """Choice of a scan's file, and the case or second image that holds it."""
    cases = view.get("cases")
    for case in cases if isinstance(cases, list) else ():
        for held in (case, case.get("second") if isinstance(case, dict) else None):
            if isinstance(held, dict) and isinstance(held.get("choice"), dict):
                yield held["choice"], held


def _check(archive: zipfile.ZipFile, path: Path, packed: int) -> None:
    infos = archive.infolist()
    size = sum(info.file_size for info in infos)
    most = min(LARGEST_FILE, SMALL + LARGEST_RATIO * packed)
    if len(infos) > MOST_FILES or size > most:
        raise SessionError(f"{path} is far too large for a session: choose another file.")
    names = Counter(info.filename for info in infos)
    for info in infos:
        name = info.filename
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SessionError(f"{path} is not compressed like a session: choose another file.")
        plain = PurePosixPath(name).name == name and not name.startswith(".")
        plain = plain and name.isprintable() and not set(name) & set('\\/:*?"<>|')
        if not plain or not (name == FILE or name.endswith(_LATENT)) or names[name] > 1:
            raise SessionError(
                f"{path} contains files that do not belong to a session: choose another file."
            )
