"""The process that reads DICOM files with pydicom and dcm2niix; `dicom` starts it and asks it.

A request is one line of JSON, the answer another; what exceeds the request's limit of time or the
process's of memory ends it. Whatever a file does to the readers (a crash, an
endless loop, a bomb), it does to this process and to dcm2niix alone, and when the program that asks
is killed, both end and leave no file behind.

dcm2niix gets each slice as a file of its own that holds pixels and place and nothing of a person.
So frames of all kinds (enhanced, concatenated, shuffled, in files without a preamble) come to it as
the plainest there is, and it has no choice of what to merge.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dcm2niix
import numpy as np
import psutil
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGExtended12Bit

Json = dict[str, Any]

#: Memory that reading a header may take beyond what is in use: bytes, and times the file's size. A
#: damaged length of an element may claim far more.
HEADER_BYTES, HEADER_TIMES = 256_000_000, 4
#: How often memory and time are looked at, and what is waited beyond a limit for that look.
LOOK_S, SPARE_S = 0.2, 5.0
#: Exit statuses: a request took too long, or too much memory.
SLOW, LARGE = 3, 4
#: Values of elements beyond so many bytes are not read with a header; words are cut.
LARGEST_VALUE, LONGEST_WORDS = 100_000, 1000
#: Frames of a file, and their pixels; a long functional series has some ten thousand slices.
MOST_FRAMES, MOST_PIXELS = 100_000, 4_000_000_000
PIXELS = 0x7FE00010
#: Where frames of a file with several say what other files say at their top: sequence and name.
GROUPS = {
    "ImagePositionPatient": ("PlanePositionSequence", "ImagePositionPatient"),
    "ImageOrientationPatient": ("PlaneOrientationSequence", "ImageOrientationPatient"),
    "PixelSpacing": ("PixelMeasuresSequence", "PixelSpacing"),
    "RescaleSlope": ("PixelValueTransformationSequence", "RescaleSlope"),
    "RescaleIntercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "ImageType": ("MRImageFrameTypeSequence", "FrameType"),
    "ComplexImageComponent": ("MRImageFrameTypeSequence", "ComplexImageComponent"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "TemporalPositionIdentifier": ("FrameContentSequence", "TemporalPositionIndex"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
}
SHARED, OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
#: What an image says of its pixels.
GRID = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
COLOURS = ("SamplesPerPixel", "PhotometricInterpretation")
#: No settings of the user's, original names, types, and values; all in one volume.
OPTIONS = (
    *("-g", "i", "-b", "n", "-f", "volume", "-z", "n"),
    *("-l", "o", "-m", "y", "-p", "n", "-x", "i"),
)


def main(arguments: Sequence[str]) -> None:
    """Answer requests until there are no more; the argument is the most memory, in bytes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what codecs print is no answer
    most = int(arguments[0])
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    requests: queue.SimpleQueue[Json] = queue.SimpleQueue()
    work = _Conversion()
    threading.Thread(target=_listen, args=(requests, work), daemon=True).start()
    threading.Thread(target=_watch, args=(most, work), daemon=True).start()
    try:
        while True:
            answers.write(json.dumps(_answer(requests.get(), most, work)) + "\n")
            answers.flush()
    except OSError:  # nobody reads it: leaving by itself would cut short what `_listen` does then
        work.end(0)


def _answer(request: Json, most: int, work: _Conversion) -> Json:
    work.until = time.monotonic() + request["limit"]
    # Ends what holds the interpreter, too.
    faulthandler.dump_traceback_later(request["limit"] + SPARE_S, exit=True)
    begun = time.process_time()
    try:
        if "slices" in request:
            _limit_memory(most)
            record = work.convert(request["slices"], request["folder"])
        else:
            _limit_memory(min(most, _enough_for_header(request["path"])))
            record = _header(Path(request["path"]), request["words"])
    except MemoryError:
        record = {"memory": True}
    except Exception as error:  # whatever it is, the next file may be sound
        record = {"failed": type(error).__name__}
    work.until = math.inf
    faulthandler.cancel_dump_traceback_later()
    return {**record, "seconds": time.process_time() - begun}


def _listen(requests: queue.SimpleQueue[Json], work: _Conversion) -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    work.end(0)  # the program that asks is gone


def _watch(most: int, work: _Conversion) -> None:
    """End what takes too long, or too much memory where the system sets no limit."""
    own = psutil.Process()
    while True:
        time.sleep(LOOK_S)
        if work.until == math.inf:  # nothing is asked, and looking takes milliseconds
            continue
        if time.monotonic() > work.until:
            work.end(SLOW)
        with contextlib.suppress(psutil.Error):
            if sum(one.memory_info().rss for one in (own, *own.children())) > most:
                work.end(LARGE)


def _enough_for_header(path: str) -> float:
    """Bytes of memory, what is in use included; infinite where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        in_use = pages * os.sysconf("SC_PAGE_SIZE")
        return in_use + HEADER_BYTES + HEADER_TIMES * Path(path).stat().st_size
    return math.inf


def _limit_memory(most: float) -> None:
    """Let the system refuse more, where it can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (int(most), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an image of memory names the patient


def _header(path: Path, words: list[str]) -> Json:
    """What a file says by these keywords, all of it and each of its frames."""
    tags: list[Any] = [*words, *GRID, *COLOURS, "NumberOfFrames", SHARED, OWN, PIXELS]
    ds = pydicom.dcmread(path, force=True, defer_size=LARGEST_VALUE, specific_tags=tags)
    top = {word: text for word in (*words, *GRID, *COLOURS) if (text := _text(ds, word))}
    if "Rows" not in top or "Columns" not in top:
        # An image without them was cut short in its header; a report has none.
        about = getattr(ds, "file_meta", {})  # which alone says that it is a disc's index
        kind = _text(ds, "SOPClassUID") or str(about.get("MediaStorageSOPClassUID", ""))
        return {"damaged": not kind or "Image Storage" in UID(kind).name, "failed": True}
    count = _text(ds, "NumberOfFrames")
    frames = max(1, int(count)) if count.isdecimal() else 1
    groups = list(ds.get(OWN) or [])
    # A file of 10 MB can claim a thousand million frames, or fewer than it describes.
    pixels = frames * int(top["Rows"]) * int(top["Columns"])
    if frames > MOST_FRAMES or pixels > MOST_PIXELS or frames < len(groups):
        return {"damaged": True, "failed": True}
    own: list[Any] = []
    if frames > 1 or OWN in ds:
        top.pop("ImagePositionPatient", None)  # of which frame?
        top |= _of_groups((ds.get(SHARED) or [pydicom.Dataset()])[0])
        own = [_of_groups(group) for group in groups]
    own += [{}] * (frames - len(own))
    return {"top": top, "bytes": _bytes(ds, path), "frames": own}


def _bytes(ds: pydicom.Dataset, path: Path) -> list[int] | None:
    """How many bytes of pixels a file claims and has; None where it is compressed or has none."""
    raw: Any = ds.get_item(PIXELS, keep_deferred=True)
    if raw is None:
        return [0, 0]
    if not isinstance(raw, RawDataElement) or raw.length == 0xFFFFFFFF:
        return None
    if ds.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1.99":
        return [raw.length, raw.length if raw.value is None else len(raw.value)]
    return [raw.length, min(raw.length, path.stat().st_size - raw.value_tell)]


def _of_groups(groups: pydicom.Dataset) -> Json:
    """What the functional groups of a frame say."""
    found = {}
    for word, (sequence, name) in GROUPS.items():
        with contextlib.suppress(LookupError, TypeError, AttributeError, ValueError):
            if text := _text(groups[sequence].value[0], name):
                found[word] = text
    return found


def _text(ds: pydicom.Dataset, word: str) -> str:
    """An element as text, its parts with backslashes between them; empty if it is no text."""
    try:
        value = ds.get(word)
    except Exception:  # pydicom raises what the bytes make Python raise
        return ""
    if value is None or isinstance(value, (bytes, pydicom.Sequence)):
        return ""
    parts = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    text = "\\".join(str(part) for part in parts)[:LONGEST_WORDS].strip(" \0")
    return text.encode("utf-8", "replace").decode("utf-8")


class _Conversion:
    """A conversion: its folder, and dcm2niix while it runs."""

    def __init__(self) -> None:
        self.folder, self.until = "", math.inf
        self.process: subprocess.Popen[str] | None = None

    def convert(self, slices: list[Any], folder: str) -> Json:
        """Write slices, in their order, and let dcm2niix make a volume of them: its warnings."""
        self.folder = tempfile.tempdir = folder
        for place, ds in enumerate(_written(slices)):
            ds.save_as(Path(folder, f"{place:05}.dcm"), enforce_file_format=True)
        words = [dcm2niix.bin, *OPTIONS, "-o", folder, folder]
        told, pipe = subprocess.STDOUT, subprocess.PIPE
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=told, text=True, errors="replace"
        )
        output = self.process.communicate()[0]
        return {"status": self.process.returncode, "told": output.splitlines()}

    def end(self, status: int) -> None:
        """End dcm2niix and this process, and leave no file."""
        if self.process is not None:
            self.process.kill()
        while self.folder and os.path.exists(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(status)


def _written(slices: list[Any]) -> Iterator[pydicom.Dataset]:
    """A dataset of each slice: [path, frame, place]; without a place one that stays as it is."""
    ds, last = pydicom.FileDataset("", {}), ""
    for number, (path, frame, place) in enumerate(slices):
        if path != last:
            ds, last = pydicom.dcmread(path, force=True), path
        if place:
            yield _slice(ds, frame, number, place)
            continue
        # A mosaic, whose private elements dcm2niix knows.
        for element in list(ds.group_dataset(0x0010)):  # the patient
            del ds[element.tag]
        yield ds


def _slice(ds: pydicom.Dataset, frame: int, number: int, place: Json) -> pydicom.Dataset:
    """A frame as an image of one slice, without anything else."""
    made = pydicom.Dataset()
    for word in GRID:
        setattr(made, word, ds[word].value)
    for word, value in place.items():
        setattr(made, word, value)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"2.25.1.{number + 1}"
    made.SeriesInstanceUID = made.StudyInstanceUID = "2.25.1"
    made.Modality, made.ImageType = "MR", ["ORIGINAL", "PRIMARY"]
    made.SeriesNumber, made.InstanceNumber = 1, number + 1
    made.file_meta = FileMetaDataset()
    syntax = ds.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    if syntax.is_encapsulated:
        made.file_meta.TransferSyntaxUID = syntax
        count = int(ds.get("NumberOfFrames") or 1)
        made.PixelData = encapsulate([get_frame(ds.PixelData, frame, number_of_frames=count)])
        made["PixelData"].is_undefined_length = True
        return _by_gdcm(made) if syntax == JPEGExtended12Bit else made
    kind = f"{'iu'[not made.PixelRepresentation]}{made.BitsAllocated // 8}"
    size = made.Rows * made.Columns
    order = "<" if ds.original_encoding[1] else ">"
    pixels = np.frombuffer(ds.PixelData, order + kind, size, frame * size * int(kind[1:]))
    unused = made.BitsAllocated - made.BitsStored  # bits that may hold an overlay
    return _plain(made, (pixels.astype(f"<{kind}") << unused) >> unused)


def _plain(made: pydicom.Dataset, pixels: np.ndarray) -> pydicom.Dataset:
    """With these pixels, which are not compressed."""
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    return made


def _by_gdcm(made: pydicom.Dataset) -> pydicom.Dataset:
    """Decoded by GDCM: JPEG of 12 bits, which dcm2niix does not know."""
    import SimpleITK as sitk

    file = Path(tempfile.gettempdir(), "jpeg")
    made.save_as(file, enforce_file_format=True)
    image = sitk.ReadImage(str(file), imageIO="GDCMImageIO")
    file.unlink()
    return _plain(made, sitk.GetArrayFromImage(image).astype("<u2"))


if __name__ == "__main__":
    main(sys.argv[1:])
