"""Process a cohort: skip finished scans, run the others, and report.

Records of finished scans let a stopped run resume; the work runs in this process, in several, or on
a Dask cluster.

The scans of a cohort and their output folders.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from stylegan3d.base import SILENT, Doubt, Json, JsonView, OutputError, Progress, StyleGAN3DError
from stylegan3d.measures.attributes import TOLD
from stylegan3d.memory import is_out_of_memory
from stylegan3d.pools import LOST, Here, open_pool
from stylegan3d.scans.person import person_of_file
from stylegan3d.scans.sources import find_sources
from stylegan3d.scans.verdicts import VERDICTS
from stylegan3d.storage.bids import entity, participant_of, place_of
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import read_json, to_json
from stylegan3d.storage.files import (
    NoLocks,
    atomic_write_text,
    only_run,
    output_errors,
    read_text,
    reason,
    sha256_of,
    table_text,
    try_lock,
    unlock,
    utf8,
)
from stylegan3d.storage.formats import result_stem, same_place, scan_stem, suffixes, without_folders

LISTS = (".txt", ".tsv", ".csv", ".list")


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One scan of a cohort.

    Attributes
    ----------
    name : str
        Unique and reproducible: path below the folder, or file name.
    path : Path
        Absolute.
    folder : str
        Folder of its results below the output folder; "" for that folder itself.
    mask : Path or None
        Mask of a region to fill in, in the scan's space.
    original : Path or None
        Of a latent file, the scan it was projected from, where that does not lie beside it.
    """

    name: str
    path: Path
    folder: str
    mask: Path | None = None
    original: Path | None = None

    def root(self, folder: Path) -> Path:
        """The output folder, from the folder of this scan's results in it."""
        below = len(Path(self.folder).parts)
        return folder.parents[below - 1] if below else folder

    @property
    def session(self) -> str:
        """BIDS label of the session, empty without."""
        return entity("ses", self.path)


def holds_scans(path: Path) -> bool:
    """Whether a path is a list or a folder of volume files.

    A folder without volume files is taken as DICOM.
    """
    if path.is_dir():
        return any(p.name.lower().endswith(suffixes("scan")) for p in path.rglob("*"))
    return path.suffix.lower() in LISTS


@answering
def find_items(paths: Sequence[Path], tell: Callable[[str], object] = _log.info) -> list[Item]:
    """The scans of folders (BIDS trees or plain ones), lists and single files, in order.

    A list is a text file with one scan per line, relative to the list's folder, optionally followed
    by a tab and its mask. Lines that start with # are ignored. Results of a folder's scans are
    written to the same subfolders of the output folder, as for BIDS derivatives; those of a list or
    of single files, and of a folder without subfolders, where BIDS has scans of these names
    (`sub-01/anat`), else to folders with their names. `tell` is told how many images of a folder
    are left out, and why.

    Raises
    ------
    StyleGAN3DError
        If there is no scan, or a list cannot be read.
    """
    items: list[Item] = []
    for path in map(Path, paths):
        if path.is_dir():
            items += _of_folder(path, tell)
        elif path.suffix.lower() in LISTS:
            items += [Item("", scan, "", mask) for scan, mask in lines_of(path)]
        else:
            items.append(Item("", path.absolute(), ""))
    items = named(list(dict.fromkeys(items)))
    if not items:
        raise StyleGAN3DError("There is no scan to project; give a folder, a list or scans.")
    return items


def people_of(items: Sequence[Item]) -> list[list[Item]]:
    """The scans of each person, in order; without a `sub-` label each scan is a person's only."""
    people: dict[str, list[Item]] = {}
    for item in items:
        people.setdefault(entity("sub", item.path) or str(item.path), []).append(item)
    return [sorted(scans, key=lambda item: str(item.path)) for scans in people.values()]


def _of_folder(folder: Path, tell: Callable[[str], object]) -> list[Item]:
    found = find_sources(folder)
    for why, many in Counter(why for _, why in found.left_out).items():
        tell(f"{folder}: images left out: {many}. {why}")
    files = [Path(source.file) for source in found.sources]
    # a.nii and a.mgz in one folder would write the same files; on Windows also A.nii and a.nii
    stems = Counter(same_place(str(file.parent / result_stem(file))) for file in files)
    names = Counter(same_place(str(file)) for file in files)
    items = []
    for file in files:
        place = file.parent
        if stems[same_place(str(file.parent / result_stem(file)))] > 1:
            place /= file.name.replace(".", "-")
        if names[same_place(str(file))] > 1:
            place /= hashlib.sha256(bytes(file)).hexdigest()[:8]
        # Of the folder of a subject or session only the names say where in a dataset it belongs.
        part = folder.absolute().name.startswith(("sub-", "ses-")) and place == file.parent
        bids = place_of(scan_stem(file))
        alone = place == Path() and bids not in {other.parent.as_posix() for other in files}
        below = bids if alone or (part and bids) else str(place)
        items.append(Item(file.as_posix(), (folder / file).absolute(), below))
    return items


def lines_of(path: Path) -> list[tuple[Path, Path | None]]:
    """The files that a list names, absolute, each with the one that a tab sets off (.csv: a comma).

    Raises
    ------
    StyleGAN3DError
        If the list cannot be read.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise StyleGAN3DError(
            f"{path} cannot be read as a list of scans ({reason(error)}); give a text file with "
            "one path a line."
        ) from error
    found: list[tuple[Path, Path | None]] = []
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    for line in lines:
        cells = (cell.strip().strip("\"'") for cell in line.partition(separator)[::2])
        first, other = (
            (path.parent / Path(cell).expanduser()).absolute() if cell else None for cell in cells
        )
        if first is not None and not line.lstrip().startswith("#"):
            found.append((first, other))
    return found


def named(items: list[Item]) -> list[Item]:
    """Name items by their files, and number those of one name: their folders may name patients.

    Results of a file with a BIDS name that is there once go where BIDS has them.
    """
    stems = Counter(same_place(result_stem(item.path)) for item in items if not item.name)
    files = Counter(same_place(path.name) for path in {item.path for item in items})
    taken = {same_place(item.name) for item in items if item.name}
    numbered: dict[Path, str] = {}
    found = []
    for item in items:
        if not item.name:
            name = scan_stem(item.path)
            folder = place_of(name)
            if stems[same_place(result_stem(item.path))] > 1 or same_place(name) in taken:
                if item.path not in numbered:
                    if files[same_place(item.path.name)] == 1:  # a.nii beside a.mgz
                        name = re.sub(r"[^\w.-]+", "-", item.path.name).strip("-.")
                    else:
                        several = (f"{name}-{k}" for k in count(1))
                        name = next(n for n in several if same_place(n) not in taken | set(stems))
                    numbered[item.path] = name
                    taken.add(same_place(numbered[item.path]))
                folder = name = numbered[item.path]
            item = replace(item, name=name, folder=folder or name)
        found.append(item)
    alone = [item.folder in (item.name, place_of(item.name)) for item in found]
    keys = [
        same_place(item.name) if own else item.name for item, own in zip(found, alone, strict=True)
    ]
    twice = [item.name for item, key in zip(found, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise StyleGAN3DError(
            f"{twice[0]} is listed twice, in two folders or with two masks; project them into "
            "different output folders."
        )
    return found


RECORDS = ".cohort"


@dataclass(frozen=True)
class Table:
    """The table of a cohort, which also names the kind of work.

    Attributes
    ----------
    file : str
        Its name, in the output folder; empty where none is written, so that several runs may work
        in the folder at once.
    columns : tuple of str
    records : str
        Folder of the records, below the output folder: other work may write to that folder too.
    """

    file: str
    columns: tuple[str, ...]
    records: str = RECORDS


#: Of every table: whose scan a row is, how its work went; what follows is the work's own.
FIRST = ("participant_id", "session_id", "name", "status")
LAST = ("doubts", "seconds", "error", "scan")
PROJECTIONS = Table(
    "projections.tsv",
    (
        *FIRST,
        "ssim",
        "psnr",
        "ncc",
        "latent_distance",
        *VERDICTS,
        "headline",
        "findings",
        *(f"{what}_{key}" for what in ("scan", "reconstruction") for key in TOLD),
        "volumes_measured",
        *LAST,
        "report",
    ),
)


def record_path(out: Path, item: Item, table: Table, ending: str = "json") -> Path:
    """Path of a scan's record; other endings: "begun" (writing has started), "failed" (why)."""
    readable = "".join(c if c.isalnum() else "-" for c in item.name)[-60:]
    short = hashlib.sha256(utf8(item.name)).hexdigest()[:12]
    return out / table.records / f"{readable}-{short}.{ending}"


def inputs_of(item: Item) -> dict[str, str]:
    """Hashes of the inputs; a folder (DICOM) by its files' names, sizes and times; and whose."""
    hashes = {"scan": _hash(item.path)}
    for name, path in (("mask", item.mask), ("original", item.original)):
        if path is not None:
            hashes[name] = _hash(path)
    return hashes | {"person": str(person_of_file(item.path))}


def _place(item: Item) -> str:
    """Where a scan lies, not legible: folders may have a patient's name."""
    return hashlib.sha256(utf8(str(item.path.absolute()))).hexdigest()


def _hash(path: Path) -> str:
    if not path.is_dir():
        return sha256_of(path) if path.is_file() else "missing"
    files = sorted(p for p in path.rglob("*") if p.is_file())
    lines = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(repr(lines).encode()).hexdigest()


def read_record(out: Path, item: Item, table: Table) -> Json | None:
    """The record of a scan if all its results exist unchanged."""
    return _read_record(out, record_path(out, item, table))


def _read_record(out: Path, path: Path) -> Json | None:
    # A missing or damaged record, or a missing result.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = read_json(path)
        if all((out / name).stat().st_size == size for name, size in record["files"].items()):
            return record
    return None


def row_of(out: Path, item: Item, table: Table) -> Json:
    """What is recorded of a scan: its results, or why it has none."""
    if record := read_record(out, item, table):
        return record["row"]
    with suppress(OSError, ValueError):
        return read_json(record_path(out, item, table, "failed"))
    why = f"It has no results yet: run the participant level for {participant_of(item.path)}."
    return failed(item, why) | {"status": "missing"}


def write_record(
    job: CohortJob, item: Item, inputs: Mapping[str, str], files: Sequence[Path], row: JsonView
) -> None:
    """Record that a scan is done; `files` are its results, below the output folder."""
    sizes = {str(path.relative_to(job.out)): path.stat().st_size for path in files}
    record = {"settings": job.settings, "inputs": inputs, "place": _place(item)}
    text = to_json(record | {"files": sizes, "row": row})
    atomic_write_text(record_path(job.out, item, job.table), text, overwrite=True)
    with suppress(OSError):
        for ending in ("begun", "failed"):
            record_path(job.out, item, job.table, ending).unlink(missing_ok=True)


def write_table(out: Path, table: Table, rows: Sequence[JsonView]) -> None:
    """Write the table with a row per scan; missing values are "n/a", as in BIDS."""
    if not table.file:
        return
    cells = ([_cell(row.get(column)) for column in table.columns] for row in rows)
    atomic_write_text(out / table.file, table_text([table.columns, *cells], "\t"), overwrite=True)


def _cell(value: Any) -> str:
    if value is None or value in ("", []) or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    if isinstance(value, list):
        told = (Doubt.read(one) if isinstance(one, dict) else one for one in value)
        value = " | ".join(map(str, told))
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


@contextmanager
def only_worker(out: Path, item: Item, table: Table) -> Iterator[None]:
    """Lock one scan; waits while a worker that the scheduler considers lost still has it."""
    path = record_path(out, item, table, "lock")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        with suppress(NoLocks):  # without locks, a scan submitted twice is processed twice
            while not try_lock(file):
                time.sleep(0.5)
        try:
            yield
        finally:
            unlock(file)


# Tuning changes a generator, so each process handles one scan at a time.
_busy = threading.Lock()

# Project a scan: settings, scan, folder, overwrite -> files written and row of the table.
Work = Callable[[JsonView, Item, Path, bool], tuple[list[Path], Json]]

DONE, KEPT, FAILED = "done", "kept", "failed"


@dataclass(frozen=True)
class CohortJob:
    """Input of a worker: settings as plain values, and the absolute output folder."""

    work: Work
    settings: JsonView
    out: Path
    table: Table = PROJECTIONS
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result of a cohort: one row per scan, in input order; see `Table`."""

    rows: list[Json]
    seconds: float

    def count(self, status: str) -> int:
        """Number of scans that are "done", "kept" from an earlier run, or "failed"."""
        return sum(row["status"] == status for row in self.rows)


@answering
def run_cohort(
    items: Sequence[Item],
    out: Path,
    work: Work,
    settings: JsonView,
    *,
    table: Table = PROJECTIONS,
    jobs: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Outcome:
    """Process every scan that is not done yet.

    Parameters
    ----------
    items : sequence of Item
        The scans, from `find_items`.
    out : Path
        Folder of the results, with the table.
    work : Work
        See `Work`; an importable function.
    settings : mapping of str to object
        Plain values that determine the result, including the model's hash.
    table : Table
        What the table of this work is called, and its columns.
    jobs : int
        Processes on this machine.
    scheduler : str or None
        Address of a Dask scheduler; the workers must see the same files.
    overwrite : bool
        Replace results with other settings, and unrelated files.
    progress : Progress
        Told the scans done, total, and the name of the one that began or ended last.

    Raises
    ------
    StyleGAN3DError
        If there are results with other settings (without `overwrite`), or no cluster.
    OutputError
        If another run is writing to this folder. Errors of single scans are in their rows.
    """
    started = time.perf_counter()
    out = out.absolute()
    job = CohortJob(work, dict(settings), out, table, overwrite)
    with only_run(out, out / table.records / "lock") if table.file else nullcontext():
        rows = {item: row for item in items if (row := _kept(job, item)) is not None}
        if not overwrite:
            _refuse_other_settings(job, [item for item in items if item not in rows])
        waiting = [item for item in items if item not in rows]
        progress(len(rows), len(items))
        mine = {record_path(out, item, table) for item in items}
        others = sorted({*(out / table.records).glob("*.json")} - mine)
        before = [record["row"] for path in others if (record := _read_record(out, path))]
        write_table(out, table, [*before, *(rows[item] for item in items if item in rows)])

        def begun() -> Iterator[Item]:
            for item in waiting:
                progress(len(rows), len(items), item.name)
                yield item

        with open_pool(jobs, scheduler, len(waiting)) as pool:
            each = begun() if isinstance(pool, Here) else waiting
            for item, row in pool.each(do_one, job, each):
                rows[item] = row if row is not LOST else failed(item, pool.loss)
                if rows[item]["status"] == FAILED:  # to tell why, later and elsewhere
                    path = record_path(out, item, table, "failed")
                    atomic_write_text(path, to_json(rows[item]), overwrite=True)
                progress(len(rows), len(items), item.name)
                write_table(out, table, [*before, *(rows[i] for i in items if i in rows)])
    return Outcome([rows[item] for item in items], time.perf_counter() - started)


def do_one(job: CohortJob, item: Item) -> Json:
    """Process one scan and return its row of the table. Never raises.

    A scheduler may resubmit a scan whose worker was lost; finished work is not repeated.
    """
    started = time.perf_counter()
    try:
        with _busy, only_worker(job.out, item, job.table):
            kept = _kept(job, item)
            if kept is not None:
                return kept | {"status": DONE}
            return _do(job, item, started)
    except StyleGAN3DError as error:
        return failed(item, str(error).replace(f"{job.out}/", ""), time.perf_counter() - started)
    except Exception as error:  # one bad scan must not stop the others
        if is_out_of_memory(error):
            sentence = "There was not enough memory; run it again with fewer --jobs."
            return failed(item, sentence, time.perf_counter() - started)
        _log.exception("The work on %s failed", item.name)
        reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        sentence = f"Unexpected error ({reason}); run it again with this scan alone and --debug."
        return failed(item, sentence, time.perf_counter() - started)


def _do(job: CohortJob, item: Item, started: float) -> Json:
    begun = record_path(job.out, item, job.table, "begun")
    inputs = inputs_of(item)
    known = read_record(job.out, item, job.table) or {}
    another = known.get("place") not in (None, _place(item))
    if another and known["inputs"]["scan"] != inputs["scan"] and not job.overwrite:
        raise OutputError(
            "There are results of another scan of this name here: write to another folder, or give "
            "--overwrite to replace them."
        )
    # Existing files are ours if a run has started to write them.
    ours = begun.exists() or record_path(job.out, item, job.table).exists()
    if not ours:
        atomic_write_text(begun, "", overwrite=True)
    try:
        files, record = job.work(job.settings, item, job.out / item.folder, ours or job.overwrite)
    except Exception:
        if not ours:  # nothing was written; existing files are not ours
            begun.unlink(missing_ok=True)
        raise
    seconds = round(time.perf_counter() - started, 2)
    # Tables are handed on: they say where a result lies in their folder, and no other folder.
    record = {
        key: value.relative_to(job.out).as_posix() if isinstance(value, Path) else value
        for key, value in record.items()
    }
    row = {**_named(item, DONE), **without_folders(record, _places(item)), "seconds": seconds}
    write_record(job, item, inputs, files, row)
    return row


def _kept(job: CohortJob, item: Item) -> Json | None:
    """The row of a complete result with these inputs and settings; else None."""
    record = read_record(job.out, item, job.table)
    if record is None or record["settings"] != job.settings or record["inputs"] != inputs_of(item):
        return None
    return {**record["row"], "status": KEPT}


def _refuse_other_settings(job: CohortJob, items: Sequence[Item]) -> None:
    for item in items:
        record = read_record(job.out, item, job.table)
        if record is None:
            continue
        old, new = record["settings"], job.settings
        names = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if names:
            raise OutputError(
                f"{job.out} holds a result for {item.name} with another {' and '.join(names)}: add "
                "--overwrite to replace such results, or choose another output folder."
            )


def failed(item: Item, reason: str, seconds: float | None = None) -> Json:
    """The row of a scan without results, and why."""
    row = {**_named(item, FAILED), "error": without_folders(reason, _places(item))}
    return row | ({} if seconds is None else {"seconds": round(seconds, 2)})


def _places(item: Item) -> list[str]:
    return [str(path) for path in (item.path, item.mask, item.original) if path is not None]


def _named(item: Item, status: str) -> Json:
    """What every row says of its scan."""
    return {
        "participant_id": participant_of(item.path),
        "session_id": item.session,
        "name": item.name,
        "status": status,
        "scan": item.path.name,
    }
