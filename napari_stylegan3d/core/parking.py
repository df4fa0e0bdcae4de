"""Moves scans of inactive cases to disk to save memory.

A case holds its scan: the whole head, the brain before and after resampling, about 70 MB. For all
but the current case these arrays are memory-mapped from unlinked temporary files, which disappear
with the process. A scan that is opened again shares the file of the first time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.core.worker import LongJob
from stylegan3d.progress import Progress

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.scans import AlignedScan
    from stylegan3d.scans.target import Template
    from stylegan3d.session.case import Case

#: Smaller arrays are not worth a file.
LEAST_BYTES = 2**19
#: Where in the file an array may begin.
_ALIGNED = 64

#: Arrays on disk by the hash of their content, as long as a case has them.
Kept = weakref.WeakValueDictionary[bytes, np.ndarray]


class Parking(QObject):
    """Moves the scans of inactive cases to disk, one patient at a time, off the GUI thread."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self.session = session
        self.job = LongJob(self)
        self.job.finished.connect(self._on_parked)
        self._done: weakref.WeakSet[Case] = weakref.WeakSet()
        self._kept: Kept = weakref.WeakValueDictionary()
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
            self.job.start(park, together, self.session.folder, self._kept)

    def _on_parked(self, result: list[tuple[Case, Case]]) -> None:
        for old, new in result:
            self.session.swap(old, new)
            self._done.add(new)
        self._look()


def park(report: Progress, cases: list[Case], folder: Path, kept: Kept) -> list[tuple[Case, Case]]:
    """Pairs of each case of one scan and its copy with the scan on disk.

    All arrays of a scan share one file, for each map of one keeps it open and a process may open
    only so many. Arrays that are in `kept` are taken from there, others are added.
    """
    report(0, 1)
    there: dict[int, np.ndarray] = {}
    places: dict[int, tuple[int, bytes]] = {}
    try:
        with tempfile.TemporaryFile(dir=folder) as file:

            def write(array: np.ndarray) -> np.ndarray:
                if array.nbytes >= LEAST_BYTES and not isinstance(array, np.memmap):
                    data = np.ascontiguousarray(array)
                    key = hashlib.sha256(f"{data.dtype.str} {data.shape} ".encode())
                    key.update(data.data)
                    known = kept.get(key.digest())
                    if known is not None:
                        there[id(array)] = known
                    else:
                        places[id(array)] = file.tell(), key.digest()
                        file.write(data.data)
                        file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
                return array

            _replaced(cases, write)
            file.flush()
            mapped = np.memmap(file, dtype=np.uint8, mode="c") if places else np.empty(0, np.uint8)
    except OSError:  # the disk is full
        return [(case, case) for case in cases]

    def read(array: np.ndarray) -> np.ndarray:
        if id(array) in places:
            place, key = places[id(array)]
            part = mapped[place:][: array.nbytes].view(array.dtype).reshape(array.shape)
            there[id(array)] = kept[key] = part
        return there.get(id(array), array)

    return list(zip(cases, _replaced(cases, read), strict=True))


def _replaced(cases: list[Case], replace: Callable[[np.ndarray], np.ndarray]) -> list[Case]:
    """Copies of cases with other arrays; what several share they share again."""
    known: dict[int, Any] = {}

    def once(thing: Any, make: Callable[[Any], Any]) -> Any:
        if thing is not None and id(thing) not in known:
            known[id(thing)] = make(thing)
        return None if thing is None else known[id(thing)]

    def array(old: Any) -> Any:
        return once(old, replace)

    def scan(old: Any) -> Any:
        return once(old, lambda s: dataclasses.replace(s, data=array(s.data)))

    def target(old: Template) -> Template:
        return once(old, lambda t: dataclasses.replace(t, template=array(t.template)))

    def aligned(old: AlignedScan) -> AlignedScan:
        prepared = old.prepared and dataclasses.replace(
            old.prepared,
            brain=array(old.prepared.brain),
            mask=array(old.prepared.mask),
            target=target(old.prepared.target),
        )
        return dataclasses.replace(
            old,
            volume=array(old.volume),
            brain_mask=array(old.brain_mask),
            prepared=prepared,
            scan=scan(old.scan),
        )

    def filled(old: Any) -> Any:
        return dataclasses.replace(old, volume=array(old.volume))

    return [
        dataclasses.replace(
            case,
            scan=scan(case.scan),
            layer=case.layer and (array(case.layer[0]), *case.layer[1:]),
            aligned=once(case.aligned, aligned),
            found=once(case.found, aligned),
            filled=case.filled
            and dataclasses.replace(case.filled, volume=array(case.filled.volume)),
            residual_z=array(case.residual_z),
        )
        for case in cases
    ]
