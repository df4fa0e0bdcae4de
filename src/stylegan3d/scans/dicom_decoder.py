"""Decode DICOM files in a process of their own, with limits on its memory and time.

GDCM is C++ that trusts files: a damaged or hostile one may crash it, keep it busy without end or
fill the memory. Here that ends the process that decodes (`dicom_process`), never the window. One
process is kept warm for the next file; intensities come back through its output, not by way of a
file, so that nothing of a patient is left on a disk.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from stylegan3d.errors import ScanError
from stylegan3d.plain import Json
from stylegan3d.storage.bounded import held_bytes

#: Not imported: it is a script that loads GDCM, which nothing else here needs.
SCRIPT = Path(__file__).with_name("dicom_process.py")
#: Memory of the process: as much as a file of `MAX_VOXELS` takes. The program holds nothing of the
#: file meanwhile, so that reading takes at most 2.5 GB in both.
MOST_BYTES = 2_300_000_000
#: Seconds for one file, and how many of its bytes at least are read in one.
SECONDS, BYTES_PER_S = 8.0, 20_000_000
#: How often memory is looked at while an answer is waited for.
_LOOK_S = 0.2
_Answer = tuple[Json, bytearray]


class NotDecoded(ScanError):
    """A file that GDCM refuses, or that took the process down or to its limits.

    Attributes
    ----------
    ended : bool
        Whether the process had to be ended.
    """

    def __init__(self, message: str, *, ended: bool = False) -> None:
        super().__init__(message)
        self.ended = ended


class _Decoder:
    """One process, started when it is first asked and again after it ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._owner = 0

    def start(self) -> subprocess.Popen[bytes]:
        """The process, which begins to load while its caller does something else."""
        process = self._process
        # A process that was forked off shares pipes with its parent, which would mix the answers.
        if process is not None and self._owner == os.getpid() and process.poll() is None:
            return process
        words = [sys.executable, "-P", str(SCRIPT), str(MOST_BYTES)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self._process = process = subprocess.Popen(
            words,
            stdin=pipe,
            stdout=pipe,
            stderr=nowhere,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._owner, self._answers = os.getpid(), queue.SimpleQueue()
        assert process.stdout is not None
        threading.Thread(target=_pass_on, args=(process.stdout, self._answers), daemon=True).start()
        return process

    def ask(self, path: Path, request: dict[str, Any]) -> _Answer:
        """An answer about a file; NotDecoded if there is none within the limits."""
        with self._turn:
            process = self.start()
            line = json.dumps(request | {"path": str(path)}).encode() + b"\n"
            assert process.stdin is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answer, why = self._wait(process, _seconds_for(path))
            except OSError:
                answer, why = None, "ends the decoder"
            if answer is None:
                self.stop()
                raise NotDecoded(
                    f"{path} {why}: it is damaged or was made to do so; leave it out or export it "
                    "again.",
                    ended=True,
                )
        return answer

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[_Answer | None, str]:
        """The answer, or why there is none."""
        import psutil

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                answer = self._answers.get(timeout=_LOOK_S)
            except queue.Empty:
                try:
                    if psutil.Process(process.pid).memory_info().rss < MOST_BYTES:
                        continue
                except psutil.Error:
                    continue  # it has ended: its output says so in a moment
                return None, f"takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode"
            return answer, "crashes the decoder"
        return None, f"takes more than {seconds:.0f} s to decode"

    def stop(self) -> None:
        """End the process, if it is ours."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was not sent yet
                    continue


def _seconds_for(path: Path) -> float:
    try:
        return SECONDS + held_bytes(path) / BYTES_PER_S
    except OSError:
        return SECONDS


def _pass_on(output: IO[bytes], answers: queue.SimpleQueue[_Answer | None]) -> None:
    """Read answers, for which a pipe cannot be waited with a limit on every system."""
    try:
        for line in output:
            told = json.loads(line)
            pixels = bytearray(told["bytes"])
            if output.readinto(pixels) != len(pixels):  # type: ignore[attr-defined]
                break
            answers.put((told, pixels))
    except (OSError, ValueError, KeyError, MemoryError):
        pass  # closed, or cut short by the end of the process
    answers.put(None)


_decoder = _Decoder()
atexit.register(_decoder.stop)


def warm_up() -> None:
    """Start the process, so that it loads while files are looked for."""
    with _decoder._turn:
        _decoder.start()


def header_of(path: Path, tags: Sequence[str]) -> Json:
    """What GDCM reads of a file's header.

    Returns
    -------
    dict
        `header` (tag to text, of those that are there), `shape` (columns, rows …) and
        `components`.

    Raises
    ------
    NotDecoded
        If it is not an image (a report, a directory), or ends the process.
    """
    told, _ = _decoder.ask(path, {"pixels": False, "tags": list(tags)})
    if "failed" in told:
        raise NotDecoded(f"{path} is not a DICOM image that can be read; give another file.")
    return told


def pixels_of(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """The intensities of a file, float32 (columns, rows, frames), rescaled.

    Raises
    ------
    NotDecoded
        If they cannot be decoded, or are of another shape.
    """
    told, pixels = _decoder.ask(path, {"pixels": True})
    if told.get("memory"):
        raise NotDecoded(
            f"{path} takes more than {MOST_BYTES / 1e9:.3g} GB of memory to decode; give a smaller "
            "series, or export it again."
        )
    if "failed" in told or len(pixels) != 4 * math.prod(shape):
        raise NotDecoded(
            f"{path} is damaged or cut short and cannot be read (its pixel data cannot be "
            "decoded); copy or export it again."
        )
    return np.frombuffer(pixels, np.float32).reshape(shape[::-1]).T
