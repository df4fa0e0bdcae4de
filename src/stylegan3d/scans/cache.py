"""Results of slow steps on disk, so that a scan that was prepared once is ready at once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import OutputError
from stylegan3d.geometry.space import Space
from stylegan3d.storage.arrayfiles import BROKEN, read_arrays
from stylegan3d.storage.volumes import atomic_write_bytes, output_errors

# To be raised whenever a step's result changes: what older versions left is not found then.
VERSION = 2
# Some 1 MB each; the oldest make room.
MOST_ENTRIES = 300
SUFFIX = ".step.npz"


class StepCache:
    """A folder of arrays by key; without a folder it keeps nothing.

    An entry that is damaged, of another version or from a program that was stopped counts as not
    there, and is written again. A folder that cannot be written to costs time, not the result: it
    is told in `problem`.

    Parameters
    ----------
    folder : path-like or None
        Made when the first entry is written, for the user alone to read. It holds
        masks and poses under hashes, no names.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.problem = ""

    def get(self, key: str, shapes: Mapping[str, tuple[int, ...] | None]) -> dict[str, Any] | None:
        """The arrays of an entry, or None; `shapes` names what it must hold, None for any shape."""
        if self.folder is None:
            return None
        try:
            found = read_arrays(self.folder / f"{key}{SUFFIX}", shapes)
        except BROKEN:
            return None
        if any(found[name].shape != shape for name, shape in shapes.items() if shape is not None):
            return None
        return found

    def put(self, key: str, **arrays: np.ndarray) -> None:
        """Keep arrays under a key."""
        if self.folder is None:
            return
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # stubs know one keyword
        try:
            with output_errors(self.folder):
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # for the user alone
            path = self.folder / f"{key}{SUFFIX}"
            atomic_write_bytes(path, content.getvalue(), overwrite=True)
        except OutputError as error:
            self.problem = str(error)
        self._make_room()

    def _make_room(self) -> None:
        assert self.folder is not None
        with suppress(OSError):  # another program may clear the folder at the same time
            entries = sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
            for path in entries[:-MOST_ENTRIES]:
                path.unlink(missing_ok=True)


def key_of(step: str, *parts: Any) -> str:
    """A key from a step's name and everything its result depends on."""
    digest = hashlib.sha256(f"{VERSION} {step}".encode())
    for part in parts:
        if isinstance(part, Space):
            part = (list(part.shape), np.asarray(part.affine, dtype=np.float64).tolist())
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\0")
    return f"{step}-{digest.hexdigest()[:32]}"
