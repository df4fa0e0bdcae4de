"""A session as one zip file: `session.json` and its latents."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from stylegan3d.errors import SessionError
from stylegan3d.plain import Json, JsonView
from stylegan3d.recipe.recipe import Edit, Source
from stylegan3d.scans.series import uid_digest
from stylegan3d.session.file import FILE, SessionState, decode, encode, file_of, with_file
from stylegan3d.storage.formats import is_kind
from stylegan3d.storage.names import last_part, without_folders
from stylegan3d.storage.tensorfiles import read_bytes

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

    A session file is handed on: of scans, label maps and the model it has the names alone, not the
    folders, which may name patients and users; of DICOM series the hash of the UID, which may hold
    a date.

    Raises
    ------
    SessionError
        If a latent is missing.
    """
    files: dict[str, bytes] = {}
    names: dict[str, str] = {}

    def taken(part: Source | Edit) -> Source | Edit:
        path = file_of(part)
        if path is None:
            return part
        if str(path) not in names:
            data = read_bytes(path, SessionError)
            # Files of the same name from several folders are distinguished by their content.
            plain = re.sub(r"[^\w.-]", "-", path.name)  # what any system takes
            names[str(path)] = f"{hashlib.sha256(data).hexdigest()[:8]}-{plain}"
            files[names[str(path)]] = data
        return with_file(part, str(folder / names[str(path)]))

    plain = _handed_on(state.with_paths(taken))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, encode(plain, folder))
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def unpack(path: Path, folder: Path) -> tuple[SessionState, dict[Path, bytes]]:
    """The session in a file made by `pack`, and its latents, not yet written to `folder`.

    Scans, label maps and the model are looked for beside the file, and nowhere else.

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

    def found(part: Source | Edit) -> Source | Edit:
        inner = file_of(part)
        # `pack` has put in all there is: a name that leads elsewhere is nobody's to follow.
        return part if inner is None else with_file(part, str(folder / inner.name))

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
    return dataclasses.replace(state, scan=scan, model_path=model)


def _files(view: JsonView) -> Iterator[tuple[Json, Json]]:
    """Choice of a scan's file, and the case or second image that holds it.

    "scan" is of old sessions.
    """
    cases = view.get("cases")
    for case in [view.get("scan"), *(cases if isinstance(cases, list) else [])]:
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
