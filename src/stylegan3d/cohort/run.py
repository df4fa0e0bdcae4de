"""Process a cohort: skip finished scans, run the others, and report."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylegan3d.cohort.pools import LOST, open_pool
from stylegan3d.cohort.records import (
    PROJECTIONS,
    Table,
    inputs_of,
    only_run,
    only_worker,
    read_record,
    record_path,
    write_record,
    write_table,
)
from stylegan3d.cohort.scans import Item
from stylegan3d.errors import OutputError, StyleGAN3DError
from stylegan3d.memory import is_out_of_memory
from stylegan3d.plain import Json, JsonView
from stylegan3d.progress import SILENT, Progress
from stylegan3d.storage.formats import without_folders
from stylegan3d.storage.volumes import atomic_write_text

_log = logging.getLogger(__name__)
# Tuning changes a generator, so each process handles one scan at a time.
_busy = threading.Lock()

# Project a scan: settings, scan, folder, overwrite -> files written and row of the table.
Work = Callable[[JsonView, Item, Path, bool], tuple[list[Path], Json]]

DONE, KEPT, FAILED = "done", "kept", "failed"


@dataclass(frozen=True)
class Job:
    """Input of a worker: settings as plain values, and the absolute output folder."""

    work: Work
    settings: JsonView
    out: Path
    table: Table = PROJECTIONS
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result of a cohort: one row per scan, in input order; see `records.Table`."""

    rows: list[Json]
    seconds: float

    def count(self, status: str) -> int:
        """Number of scans that are "done", "kept" from an earlier run, or "failed"."""
        return sum(row["status"] == status for row in self.rows)


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
        Told the scans done, total, and the name of the last one.

    Raises
    ------
    StyleGAN3DError
        If there are results with other settings (without `overwrite`), or no cluster.
    OutputError
        If another run is writing to this folder. Errors of single scans are in their rows.
    """
    started = time.perf_counter()
    out = out.absolute()
    job = Job(work, dict(settings), out, table, overwrite)
    with only_run(out, table):
        rows = {item: row for item in items if (row := _kept(job, item)) is not None}
        if not overwrite:
            _refuse_other_settings(job, [item for item in items if item not in rows])
        waiting = [item for item in items if item not in rows]
        progress(len(rows), len(items))
        write_table(out, table, [rows[item] for item in items if item in rows])
        with open_pool(jobs, scheduler, len(waiting)) as pool:
            for item, row in pool.each(do_one, job, waiting):
                rows[item] = row if row is not LOST else _failed(item, pool.loss)
                progress(len(rows), len(items), item.name)
                write_table(out, table, [rows[i] for i in items if i in rows])
    return Outcome([rows[item] for item in items], time.perf_counter() - started)


def do_one(job: Job, item: Item) -> Json:
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
        return _failed(item, str(error), time.perf_counter() - started)
    except Exception as error:  # one bad scan must not stop the others
        if is_out_of_memory(error):
            sentence = "There was not enough memory; run it again with fewer --jobs."
            return _failed(item, sentence, time.perf_counter() - started)
        _log.exception("The work on %s failed", item.name)
        reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        sentence = f"Unexpected error ({reason}); run it again with this scan alone and --debug."
        return _failed(item, sentence, time.perf_counter() - started)


def _do(job: Job, item: Item, started: float) -> Json:
    begun = record_path(job.out, item, job.table, "begun")
    inputs = inputs_of(item)
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
    write_record(job.out, item, job.table, job.settings, inputs, files, row)
    return row


def _kept(job: Job, item: Item) -> Json | None:
    """The row of a complete result with these inputs and settings; else None."""
    record = read_record(job.out, item, job.table)
    if record is None or record["settings"] != job.settings or record["inputs"] != inputs_of(item):
        return None
    return {**record["row"], "status": KEPT}


def _refuse_other_settings(job: Job, items: Sequence[Item]) -> None:
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


def _failed(item: Item, reason: str, seconds: float | None = None) -> Json:
    row = {**_named(item, FAILED), "error": without_folders(reason, _places(item))}
    return row | ({} if seconds is None else {"seconds": round(seconds, 2)})


def _places(item: Item) -> list[str]:
    return [str(path) for path in (item.path, item.mask, item.original) if path is not None]


def _named(item: Item, status: str) -> Json:
    """What every row says of its scan."""
    return {
        "participant_id": item.participant,
        "session_id": item.session,
        "name": item.name,
        "status": status,
        "scan": item.path.name,
    }
