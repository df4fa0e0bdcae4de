"""Disk cache of slow preparation steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import OutputError
from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json
from stylegan3d.storage.files import make_private
from stylegan3d.storage.tensorfiles import packed_arrays, read_arrays
from stylegan3d.storage.volumes import atomic_write_bytes, output_errors

# Increase whenever a step's result changes, to invalidate older entries.
VERSION = 2
# About 1 MB each; the oldest are evicted.
MOST_ENTRIES = 300
SUFFIX = ".step.z"


class StepCache:
    """A folder of arrays by key; without a folder nothing is cached.

    Damaged, outdated or incomplete entries count as missing and are written again. If the folder is
    not writable, results are unaffected and `problem` has the reason.

    Parameters
    ----------
    folder : path-like or None
        Made when the first entry is written, or tightened, so that only the user can read it. It
        contains masks and poses under hashes, no names.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.problem = ""

    def get(self, key: str, shapes: Mapping[str, tuple[int, ...] | None]) -> Json | None:
        """The arrays of an entry, or None; `shapes` are those required, None for any shape."""
        if self.folder is None:
            return None
        found = read_arrays(self.folder / f"{key}{SUFFIX}", shapes)
        if found is None or any(
            found[name].shape != shape for name, shape in shapes.items() if shape is not None
        ):
            return None
        return found

    def put(self, key: str, **arrays: np.ndarray) -> None:
        """Store arrays under a key."""
        if self.folder is None:
            return
        try:
            with output_errors(self.folder):
                make_private(self.folder)
            path = self.folder / f"{key}{SUFFIX}"
            atomic_write_bytes(path, packed_arrays(arrays), overwrite=True)
        except OutputError as error:
            self.problem = str(error)
        self._make_room()

    def _make_room(self) -> None:
        assert self.folder is not None
        with suppress(OSError):  # another process may clear the folder concurrently
            entries = sorted(self.folder.glob("*.step.*"), key=lambda path: path.stat().st_mtime)
            for path in entries[:-MOST_ENTRIES]:
                path.unlink(missing_ok=True)


def key_of(step: str, *parts: Any) -> str:
    """Key from a step's name and everything its result depends on."""
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
