"""Moves scans of inactive cases to disk to save memory.

A case holds its scan: the whole head, the brain before and after resampling, about 70 MB. For all
but the current case these arrays are memory-mapped from unlinked temporary files, which disappear
with the process.
"""

from __future__ import annotations

import dataclasses
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.core.worker import LongJob, Report

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.case import Case

#: Smaller arrays are not worth a file.
LEAST_BYTES = 2**19


class Parking(QObject):
    """Moves the scans of inactive cases to disk, one patient at a time, off the GUI thread."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self.session = session
        self.job = LongJob(self)
        self.job.finished.connect(self._on_parked)
        self._done: weakref.WeakSet[Case] = weakref.WeakSet()
        session.projectedChanged.connect(self._look)
        session.caseChanged.connect(self._look)

    def shutdown(self) -> None:
        """Stop; scans not on disk yet stay in memory."""
        self.job.shutdown()

    def _look(self) -> None:
        """Park the next patient, if there is one."""
        now = self.session.case
        if self.job.running or now is None:
            return
        others = [c for c in self.session.cases if c.scan is not None and c.scan is not now.scan]
        waiting = [case for case in others if case not in self._done]
        if waiting:
            first = waiting[0]
            together = [case for case in waiting if case.scan is first.scan]
            self.job.start(park, together, self.session.folder)

    def _on_parked(self, result: list[tuple[Case, Case]]) -> None:
        for old, new in result:
            self.session.swap(old, new)
            self._done.add(new)
        self._look()


def park(report: Report, cases: list[Case], folder: Path) -> list[tuple[Case, Case]]:
    """Pairs of each case of one scan and its copy with the scan on disk."""
    report(0, 1)
    known: dict[int, Any] = {}
    return [(case, _parked_case(case, folder, known)) for case in cases]


def _parked_case(case: Case, folder: Path, known: dict[int, Any]) -> Case:
    def once(thing: Any, make: Callable[[Any], Any]) -> Any:
        """Convert an object that several cases share only once, by identity."""
        if thing is not None and id(thing) not in known:
            known[id(thing)] = make(thing)
        return None if thing is None else known[id(thing)]

    def array(old: np.ndarray) -> np.ndarray:
        return once(old, lambda a: on_disk(a, folder))

    def scan(old: Any) -> Any:
        return once(old, lambda s: dataclasses.replace(s, data=array(s.data)))

    def aligned(old: AlignedScan) -> AlignedScan:
        prepared = old.prepared and dataclasses.replace(
            old.prepared, brain=array(old.prepared.brain), mask=array(old.prepared.mask)
        )
        return dataclasses.replace(
            old,
            volume=array(old.volume),
            brain_mask=array(old.brain_mask),
            prepared=prepared,
            scan=scan(old.scan),
        )

    layer = case.layer and (array(case.layer[0]), *case.layer[1:])
    return dataclasses.replace(
        case,
        scan=scan(case.scan),
        layer=layer,
        aligned=once(case.aligned, aligned),
        found=once(case.found, aligned),
    )


def on_disk(array: np.ndarray, folder: Path) -> np.ndarray:
    """The array, memory-mapped from an unlinked file; unchanged if the disk is full."""
    if array.nbytes < LEAST_BYTES or isinstance(array, np.memmap):
        return array
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            np.ascontiguousarray(array).tofile(file)
            file.flush()
            return np.memmap(file, dtype=array.dtype, mode="c", shape=array.shape)
    except OSError:
        return array
