"""Arrays on disk that are filled item by item and resume after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegan3d.errors import ModelError
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.storage.locks import only_run
from stylegan3d.storage.volumes import atomic_write_text, output_errors

# Items between flushes.
REMEMBERED = 20


@dataclass(frozen=True)
class FilledFile:
    """An array: file name, shape (items first) and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: type


def fill_files(
    folder: Path,
    info: str,
    key: Json,
    files: list[FilledFile],
    fill: Callable[[list[np.ndarray], int], None],
    report: Progress | None = None,
) -> list[np.ndarray]:
    """Fill arrays with the same number of items, resuming if interrupted.

    Parameters
    ----------
    folder, info : Path, str
        Their folder, and the name of the progress file.
    key : dict of str to object
        Identifies their content.
    fill : callable
        Writes one item to the open arrays.
    report : callable or None
        Called with items done and total.

    Returns
    -------
    list of ndarray
        The memory-mapped arrays.

    Raises
    ------
    ModelError
        If the folder contains arrays with another key.
    OutputError
        If the folder cannot be written to, or another run is writing to it.
    """
    with only_run(folder):
        done, arrays = _opened(folder, folder / info, key, files)
        count = files[0].shape[0]
        for index in range(done, count):
            fill(arrays, index)
            if (index + 1) % REMEMBERED == 0 or index + 1 == count:
                with output_errors(folder):
                    for array in arrays:
                        array.flush()  # type: ignore[attr-defined]
                told = json.dumps(key | {"done": index + 1})
                atomic_write_text(folder / info, told, overwrite=True)
            if report:
                report(index + 1, count)
    return arrays


def _opened(
    folder: Path, info: Path, key: Json, files: list[FilledFile]
) -> tuple[int, list[np.ndarray]]:
    """Number of items done, and the arrays."""
    paths = [folder / file.name for file in files]
    if info.exists() and all(path.exists() for path in paths):
        known = json.loads(info.read_text(encoding="utf-8"))
        done = int(known.pop("done"))
        if known != key:
            raise ModelError(
                f"The folder '{folder}' holds the pairs of another generator or data set; "
                "choose another folder for this run."
            )
        return done, [np.lib.format.open_memmap(path, "r+") for path in paths]
    with output_errors(folder):
        return 0, [
            np.lib.format.open_memmap(path, "w+", file.dtype, file.shape)
            for path, file in zip(paths, files, strict=True)
        ]
