"""Intermediate results of an evaluation on disk, from which a stopped one resumes.

Each piece is an atomically written file, named by a hash of everything it depends on, the code of
the measures included, so stale results are never used.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from stylegan3d.plain import Json
from stylegan3d.storage.arrayfiles import BROKEN, read_arrays
from stylegan3d.storage.jsontext import read_json, to_json, to_plain
from stylegan3d.storage.volumes import atomic_write_bytes

# Rooms on whose code the figures depend: tissue volumes and shapes are those of labelled brains.
MEASURING = ("evaluation", "measures", "metrics", "segmentation")


class Store:
    """Arrays and results by name and key; without a folder nothing is stored."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def array(self, name: str, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The stored array with this name and key; otherwise that of `make`, which is stored."""
        if self.folder is None:
            return make()
        file = self.folder / f"{name}-{digest_of(key)}.npz"
        try:
            return read_arrays(file, ["array"])["array"]
        except BROKEN:
            pass  # missing or damaged: computed again
        made = make()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, array=made)
        atomic_write_bytes(file, buffer.getvalue(), overwrite=True)
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
            for file in self.folder.glob(f"{name}-*.npz"):
                file.unlink(missing_ok=True)


def digest_of(key: object) -> str:
    """Sixteen hexadecimal digits from an object's `repr` and from `measures_id`."""
    return hashlib.sha256(repr((measures_id(), key)).encode()).hexdigest()[:16]


@cache
def measures_id() -> str:
    """Hash of the source code of all measures, so that results of other versions are not reused."""
    content = hashlib.sha256()
    engine = Path(__file__).parents[1]
    for room in MEASURING:
        for file in sorted((engine / room).glob("*.py")):
            content.update(file.read_bytes())
    return content.hexdigest()[:16]
