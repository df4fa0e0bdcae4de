"""A day of many scans: those that are not open lie on the disk, and are read from there.

A projection keeps its scan: the whole head, the brain before it was resampled, the brain on the
model's grid, some 70 MB. Of all but the scan that was projected last, these are mapped from files
without a name, which go away with the window, however it ends.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.core.worker import LongJob, Report

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Projected, Session
    from stylegan3d.scans import AlignedScan

#: Smaller arrays are not worth a file.
LEAST_BYTES = 2**19


class Parking(QObject):
    """Puts scans of earlier projections on the disk, one at a time, off the GUI thread."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self.session = session
        self.job = LongJob(self)
        self.job.finished.connect(self._on_parked)
        self._done: list[Projected] = []
        session.projectedChanged.connect(self._look)

    def shutdown(self) -> None:
        """Stop; what is not on the disk yet stays in memory."""
        self.job.shutdown()

    def _look(self) -> None:
        """Park the next one, if there is one."""
        projected = self.session.projected
        self._done = [p for p in self._done if any(p is other for other in projected)]
        if self.job.running or len(projected) < 2:
            return
        newest = projected[-1].aligned.scan
        for old in projected[:-1]:
            if old.aligned.scan is not newest and not any(old is p for p in self._done):
                self.job.start(park, old, self.session.folder)
                return

    def _on_parked(self, result: tuple[Projected, Projected]) -> None:
        old, new = result
        self.session.projected = [new if p is old else p for p in self.session.projected]
        self._done.append(new)
        self._look()


def park(report: Report, old: Projected, folder: Path) -> tuple[Projected, Projected]:
    """A projection, and the same with its scan on the disk."""
    report(0, 1)
    known: dict[int, np.ndarray] = {}
    aligned = parked(old.aligned, folder, known)
    found = aligned if old.found is old.aligned else parked(old.found, folder, known)
    return old, dataclasses.replace(old, aligned=aligned, found=found)


def parked(
    aligned: AlignedScan | None, folder: Path, known: dict[int, np.ndarray]
) -> AlignedScan | None:
    """The same scan with its large arrays on the disk; `known` are those that are, by identity."""
    if aligned is None:
        return None

    def moved(array: np.ndarray) -> np.ndarray:
        if id(array) not in known:
            known[id(array)] = on_disk(array, folder)
        return known[id(array)]

    def with_moved(thing: Any, *names: str) -> Any:
        return dataclasses.replace(thing, **{name: moved(getattr(thing, name)) for name in names})

    prepared = aligned.prepared and with_moved(aligned.prepared, "brain", "mask")
    scan = with_moved(aligned.scan, "data")
    return dataclasses.replace(
        with_moved(aligned, "volume", "brain_mask"), prepared=prepared, scan=scan
    )


def on_disk(array: np.ndarray, folder: Path) -> np.ndarray:
    """The same numbers, mapped from a file without a name; the array itself if there is no room."""
    if array.nbytes < LEAST_BYTES or isinstance(array, np.memmap):
        return array
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            np.ascontiguousarray(array).tofile(file)
            file.flush()
            return np.memmap(file, dtype=array.dtype, mode="c", shape=array.shape)
    except OSError:
        return array
