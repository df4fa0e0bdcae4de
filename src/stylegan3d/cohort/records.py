"""Records of a cohort's results, the table, and locks.

A record is written after the results, so a scan with a record is complete. Records are in the
folder `.cohort` of the output folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan3d.cohort.scans import Item
from stylegan3d.measures.tissue_volumes import TOLD
from stylegan3d.plain import Json, JsonView
from stylegan3d.projection.words import VERDICTS
from stylegan3d.storage import locks
from stylegan3d.storage.bounded import sha256_of
from stylegan3d.storage.files import atomic_write_text, output_errors
from stylegan3d.storage.jsontext import read_json, to_json

RECORDS = ".cohort"


@dataclass(frozen=True)
class Table:
    """The table of a cohort, which also names the kind of work.

    Attributes
    ----------
    file : str
        Its name, in the output folder.
    columns : tuple of str
    records : str
        Folder of the records, below the output folder: other work may write to that folder too.
    """

    file: str
    columns: tuple[str, ...]
    records: str = RECORDS


#: Of every table: whose scan a row is, how its work went; what follows is the work's own.
FIRST = ("participant_id", "session_id", "name", "status")
LAST = ("warnings", "seconds", "error", "scan")
PROJECTIONS = Table(
    "projections.tsv",
    (
        *FIRST,
        "ssim",
        "psnr",
        "ncc",
        "latent_distance",
        "verdict",
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
    """Path of a scan's record; with the ending "begun", the marker that writing has started."""
    readable = "".join(c if c.isalnum() else "-" for c in item.name)[-60:]
    return out / table.records / f"{readable}-{_short(item.name)}.{ending}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def inputs_of(item: Item) -> dict[str, str]:
    """Hashes of the inputs; a folder (DICOM) by its files' names, sizes and times."""
    hashes = {"scan": _hash(item.path)}
    for name, path in (("mask", item.mask), ("original", item.original)):
        if path is not None:
            hashes[name] = _hash(path)
    return hashes


def _hash(path: Path) -> str:
    if not path.is_dir():
        if not path.is_file():
            return "missing"
        return sha256_of(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    lines = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(repr(lines).encode()).hexdigest()


def read_record(out: Path, item: Item, table: Table) -> Json | None:
    """The record of a scan if all its results exist unchanged."""
    try:
        record = read_json(record_path(out, item, table))
        sizes = record["files"]
        if all((out / name).stat().st_size == size for name, size in sizes.items()):
            return record
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # missing or damaged record, or a missing result
    return None


def write_record(
    out: Path,
    item: Item,
    table: Table,
    settings: JsonView,
    inputs: Mapping[str, str],
    files: Sequence[Path],
    row: JsonView,
) -> None:
    """Record that a scan is done; `files` are its results, below `out`."""
    sizes = {str(path.relative_to(out)): path.stat().st_size for path in files}
    record = {"settings": settings, "inputs": inputs, "files": sizes, "row": row}
    atomic_write_text(record_path(out, item, table), to_json(record), overwrite=True)
    with suppress(OSError):
        record_path(out, item, table, "begun").unlink(missing_ok=True)


def write_table(out: Path, table: Table, rows: Sequence[JsonView]) -> None:
    """Write the table with a row per scan; missing values are "n/a", as in BIDS."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(table.columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in table.columns])
    atomic_write_text(out / table.file, text.getvalue(), overwrite=True)


def _cell(value: Any) -> str:
    if value is None or value in ("", []):
        return "n/a"
    if isinstance(value, list):
        value = " | ".join(map(str, value))
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(text.split())


def only_run(out: Path, table: Table) -> AbstractContextManager[None]:
    """Lock the output folder for this run; OutputError if another run has it."""
    return locks.only_run(out, out / table.records / "lock")


@contextmanager
def only_worker(out: Path, item: Item, table: Table) -> Iterator[None]:
    """Lock one scan; waits while a worker that the scheduler considers lost still has it."""
    path = record_path(out, item, table, "lock")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        with suppress(locks.NoLocks):  # without locks, a scan submitted twice is processed twice
            while not locks.try_lock(file):
                time.sleep(0.5)
        try:
            yield
        finally:
            locks.unlock(file)
