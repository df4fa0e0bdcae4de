"""The process that decodes DICOM files with GDCM; `dicom_decoder` starts it and asks it.

Run as a script by itself, so that it starts quickly. A request is one line of JSON, the answer
another, followed by as many bytes of intensities (float32, in GDCM's order) as it says. Whatever a
file does to GDCM (a crash, an endless loop, a bomb), it does to this process alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import SimpleITK as sitk

from stylegan3d.base import Json

#: Memory that reading a header may take beyond what is in use: bytes, and times the file's size.
#: GDCM reads the whole file for it. A damaged length of an element may claim far more, which the
#: system would fill with zeros for seconds before it is found not to be there.
HEADER_BYTES, HEADER_TIMES = 256_000_000, 4


def main(arguments: Sequence[str]) -> None:
    """Answer requests until there are no more; the argument is the most memory, in bytes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what codecs print is no answer
    most = int(arguments[0])
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    _limit_memory(most)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _limit_memory(most if request["pixels"] else min(most, _enough_for_header(request["path"])))
        _answer(answers, request)


def _enough_for_header(path: str) -> float:
    """Bytes of memory, what is in use included; infinite where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        in_use = pages * os.sysconf("SC_PAGE_SIZE")
        return in_use + HEADER_BYTES + HEADER_TIMES * Path(path).stat().st_size
    except (OSError, ValueError):
        return float("inf")


def _limit_memory(most: float) -> None:
    """Let the system refuse more, where it can; elsewhere the parent watches."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (int(most), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an image of memory names the patient


def _answer(answers: BinaryIO, request: dict[str, Any]) -> None:
    pixels: Any = b""
    try:
        if request["pixels"]:
            image = sitk.ReadImage(request["path"], sitk.sitkFloat32, imageIO="GDCMImageIO")
            pixels = sitk.GetArrayViewFromImage(image).data.cast("B")
            record: Json = {}
        else:
            record = _header(request["path"], request["tags"])
    except MemoryError:
        record = {"memory": True}
    except Exception as error:  # whatever it is, the next file may be sound
        # GDCM's own words are about its source code and addresses.
        record = {"memory": "allocat" in str(error)} if request["pixels"] else {}
        record["failed"] = True
    answers.write(json.dumps(record | {"bytes": len(pixels)}).encode() + b"\n")
    answers.write(pixels)
    answers.flush()


def _header(path: str, tags: list[str]) -> Json:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(path)
    reader.ReadImageInformation()
    found = {tag: reader.GetMetaData(tag) for tag in tags if reader.HasMetaDataKey(tag)}
    return {
        "header": found,
        "shape": reader.GetSize(),
        "components": reader.GetNumberOfComponents(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
