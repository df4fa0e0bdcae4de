"""Scans in the window: read, dropped, and moved to disk while another is shown."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtGui import QDropEvent

from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.views.display import KEY, upright
from stylegan3d.base import Progress, ScanError
from stylegan3d.session.provenance import Provenance
from stylegan3d.storage.encoding import read_json
from stylegan3d.storage.formats import format_of, is_dicom, is_kind, scan_stem, without_suffix

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.scans.alignment import Template
    from stylegan3d.session.case import Case, Choice

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
        self.job = LongJob(self, self._on_parked)
        self._done: weakref.WeakSet[Case] = weakref.WeakSet()
        self._kept: Kept = weakref.WeakValueDictionary()
        session.projectedChanged.connect(self._look)
        session.caseChanged.connect(self._look)

    def _look(self) -> None:
        """Park the next patient, if there is one."""
        if self.job.running:
            return
        here = None if self.session.case is None else self.session.case.scan
        others = [c for c in self.session.cases if c.scan is not None and c.scan is not here]
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


Kind = Literal["model", "session", "recipe", "latent", "scan", "dicom"]
#: Maximum size of a recipe or sidecar in bytes.
LARGEST_JSON = 4_000_000
CARD = "card.json"


@dataclass(frozen=True)
class Dropped:
    """A path and its kind.

    For a volume saved by this program, `kind` is "recipe" and `path` its sidecar. For DICOM, `path`
    is the file or folder for `Explorer.open_scan`.
    """

    kind: Kind
    path: Path


def what_is(path: str | Path) -> Dropped | None:
    """Identify a path; None if it cannot be opened."""
    path = Path(path)
    if path.is_dir():
        is_model = is_kind(path, "checkpoint") or (path / CARD).is_file()
        return Dropped("model" if is_model else "dicom", path)
    if not path.is_file():
        return None
    form = format_of(path)
    kind = None if form is None else form.kind
    if kind == "scan":
        sidecar = path.with_name(without_suffix(path.name) + ".json")
        return Dropped("recipe", sidecar) if _holds_recipe(sidecar) else Dropped("scan", path)
    if kind == "session":
        return Dropped("session", path)
    if kind == "record":
        return Dropped("recipe", path) if _holds_recipe(path) else None
    if kind == "tensors":
        return _tensors(path)
    if kind == "checkpoint":
        return Dropped("model", path)
    return Dropped("dicom", path) if is_dicom(path) else None


def what_are(paths: Sequence[str | Path]) -> Dropped | None:
    """Identify several paths: a single item, or the slices of one DICOM folder."""
    if len(paths) == 1:
        return what_is(paths[0])
    files = [Path(path) for path in paths]
    folders = {file.parent for file in files}
    if len(folders) == 1 and all(file.is_file() and is_dicom(file) for file in files):
        return Dropped("dicom", folders.pop())
    return None


def scan_in(event: QDropEvent) -> Path | None:
    """The scan that is being dragged or dropped; None if it is anything else."""
    dropped = what_are(files) if (files := files_in(event)) else None
    return dropped.path if dropped is not None and dropped.kind in ("scan", "dicom") else None


def files_in(event: QDropEvent) -> list[str]:
    """The local files that are dragged or dropped; none if anything else is among them."""
    urls = event.mimeData().urls()
    files = [url.toLocalFile() for url in urls if url.isLocalFile()]
    return files if len(files) == len(urls) else []


def _tensors(path: Path) -> Dropped | None:
    """A latent file, or the weights in a model's folder."""
    from stylegan3d.storage.encoding import kind_of

    if kind_of(path) == "latent":
        return Dropped("latent", path)
    return Dropped("model", path.parent) if (path.parent / CARD).is_file() else None


def _holds_recipe(path: Path) -> bool:
    """Whether a JSON file is a recipe, or a sidecar that holds one."""
    try:
        data = read_json(path, LARGEST_JSON)
    except (OSError, ValueError):
        return False
    if not isinstance(data, dict):
        return False
    recipe = data.get("Recipe") if "SyntheticImage" in data else data
    return isinstance(recipe, dict) and "source" in recipe


#: Cache of preparation steps in the session's folder, so that reopening a scan is fast.
STEPS_FOLDER = "steps"


@dataclass(frozen=True)
class Several:
    """A choice to make: the question and the entries for `Chooser.ask`."""

    question: str
    entries: list[tuple[str, object, str]]


def read_choice(choice: Choice | Path) -> Scan | Several:
    """Read and check an image; it may turn out to be several."""
    from stylegan3d.scans import SeveralSeries, SeveralVolumes, read_scan
    from stylegan3d.session.case import Choice

    choice = Choice(choice) if isinstance(choice, Path) else choice

    try:
        return read_scan(choice.path, choice.volume, choice.series, choice.orientation)
    except SeveralSeries as error:
        if not any(series.usable for series in error.series):
            raise
        return Several(
            f"{choice.path.name} contains {len(error.series)} series:",
            [_series_entry(series, choice) for series in error.series],
        )
    except SeveralVolumes as error:
        entries: list[tuple[str, object, str]] = [
            (f"Volume {index}", dataclasses.replace(choice, volume=index), "")
            for index in range(error.count)
        ]
        return Several(f"{choice.path.name} is a series of {error.count} volumes:", entries)


def _series_entry(series: Any, choice: Choice) -> tuple[str, object, str]:
    number = "?" if series.number is None else series.number
    text = f"{number}: {series.description or 'unnamed'}\n{series.summary}, {series.key}"
    problem = ""
    if not series.usable:
        problem = sentence(series.problem or "it is a localiser, not a whole head")
    return text, dataclasses.replace(choice, series=series.uid), problem


def sentence(words: str) -> str:
    """Capitalise the first letter and end with a full stop."""
    return words[:1].upper() + words[1:].rstrip(".") + "."


#: Key in the manifest to the start of the file's name in `samples/`.
SAMPLES = {"ucla-sub-04": "UCLA, subject 04", "novosibirsk-sub-09": "Novosibirsk, subject 09"}


def sample_path(key: str) -> Path:
    """Path of a sample scan.

    Raises
    ------
    ScanError
        If the installation lacks it.
    """

    folder = Path(str(importlib.resources.files("napari_stylegan3d"))) / "samples"
    found = sorted(folder.glob(f"{key}*.nii.gz"))
    if not found:
        raise ScanError(f"The sample scan {key} is missing: install napari-stylegan3d again.")
    return found[0]


LayerTuple = tuple[np.ndarray, dict[str, Any], str]
#: Share of the intensity range of a raw scan that is shown black.
NOISE_SHARE = 0.05


#: Key of what is in doubt about a layer, in its metadata.
DOUBTS = "stylegan3d-doubts"


def scan_layer(scan: Any) -> LayerTuple:
    """An image layer for a scan in RAS orientation, with its own intensities."""
    shown = upright(scan.data, scan.affine)
    name = scan_stem(scan.path)
    # The brightest half percent is vessels and fat and should not darken the brain. Black is
    # slightly above the lowest values, which are noise around the head.
    low, high = np.percentile(scan.data[::2, ::2, ::2], (0.5, 99.5))
    low += NOISE_SHARE * (high - low)
    meta = {
        **shown.layer_kwargs(),
        "name": name,
        "colormap": "gray",
        "contrast_limits": (float(low), float(max(high, low + 1e-6))),
        "interpolation2d": "linear",
        "rendering": "attenuated_mip",
        "metadata": {
            KEY: Provenance("scan", name, origin=scan.origin),
            "path": str(scan.path),
            DOUBTS: list(scan.doubts),
        },
    }
    return shown.data, meta, "image"
