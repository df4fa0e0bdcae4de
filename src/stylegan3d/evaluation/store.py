"""What an evaluation has finished, kept in its folder, so that a stopped one is taken up again.

Each piece is a file that is either whole or not there, named after what it depends on: nothing
stale is ever taken for what is asked.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.storage.arrayfiles import BROKEN, read_arrays
from stylegan3d.storage.jsontext import from_json, to_json, to_plain
from stylegan3d.storage.volumes import atomic_write_bytes


class Store:
    """Arrays and results by name and key; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def array(self, name: str, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array kept under this name and key, else the one `make` gives, kept from now on."""
        if self.folder is None:
            return make()
        file = self.folder / f"{name}-{digest_of(key)}.npz"
        try:
            return read_arrays(file, ["array"])["array"]
        except BROKEN:
            pass  # not there, or damaged: made again
        made = make()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, array=made)
        atomic_write_bytes(file, buffer.getvalue(), overwrite=True)
        return made

    def result(self, name: str, key: object, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The same for results in JSON's types; what `make` gives is returned as it is read."""
        if self.folder is None:
            return dict(to_plain(make()))
        file = self.folder / f"{name}-{digest_of(key)}.json"
        try:
            return dict(from_json(file.read_bytes(), 100_000_000))
        except (OSError, ValueError, TypeError):
            pass
        made = dict(to_plain(make()))
        atomic_write_bytes(file, to_json(made).encode(), overwrite=True)
        return made

    def forget(self, name: str) -> None:
        """Remove what is kept under a name, whatever its key."""
        if self.folder is not None:
            for file in self.folder.glob(f"{name}-*.npz"):
                file.unlink(missing_ok=True)


def digest_of(key: object) -> str:
    """Sixteen hexadecimal digits of something whose `repr` tells it from others."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


@cache
def measures_id() -> str:
    """Of the text of all measures: a result of other ones is not taken up again."""
    content = hashlib.sha256()
    engine = Path(__file__).parents[1]
    for room in ("evaluation", "measures", "metrics"):
        for file in sorted((engine / room).glob("*.py")):
            content.update(file.read_bytes())
    return content.hexdigest()[:16]
