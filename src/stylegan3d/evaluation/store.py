"""Intermediate results of an evaluation on disk, from which a stopped one resumes.

Each piece is an atomically written file, named by a hash of everything it depends on, the version
of the measures included, so stale results are never used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stylegan3d.plain import Json, JsonView
from stylegan3d.storage.files import atomic_write_bytes
from stylegan3d.storage.jsontext import read_json, to_json, to_plain
from stylegan3d.storage.tensorfiles import packed_arrays, read_arrays

#: Version of all measures: increase it when a figure of the same brains would now be another.
MEASURES = "1"
#: Ids that reports carry from when the measures were identified by their source, by version.
FORMER = {"7783fd69f5a284f8": "1"}


class Store:
    """Arrays and results by name and key; without a folder nothing is stored."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def array(self, name: str, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The stored array with this name and key; otherwise that of `make`, which is stored."""
        if self.folder is None:
            return make()
        file = self.folder / f"{name}-{digest_of(key)}.z"
        found = read_arrays(file, ["array"])
        if found is not None:
            return found["array"]
        made = make()
        atomic_write_bytes(file, packed_arrays({"array": made}), overwrite=True)
        return made

    def result(self, name: str, key: object, make: Callable[[], Json]) -> Json:
        """The same for JSON data; returns the result of `make` as read back."""
        if self.folder is None:
            return dict(to_plain(make()))
        file = self.folder / f"{name}-{digest_of(key)}.json"
        try:
            return dict(read_json(file, 100_000_000))
        except (OSError, ValueError, TypeError):
            pass
        made = dict(to_plain(make()))
        atomic_write_bytes(file, to_json(made).encode(), overwrite=True)
        return made

    def forget(self, name: str) -> None:
        """Remove everything stored under a name."""
        if self.folder is not None:
            for file in self.folder.glob(f"{name}-*.z"):
                file.unlink(missing_ok=True)


def digest_of(key: object) -> str:
    """Sixteen hexadecimal digits from an object's `repr` and from `MEASURES`."""
    return hashlib.sha256(repr((MEASURES, key)).encode()).hexdigest()[:16]


def measures_of(report: JsonView) -> str:
    """Version of the measures that a report was made with."""
    known = str(report["program"]["measures"])
    return FORMER.get(known, known)
