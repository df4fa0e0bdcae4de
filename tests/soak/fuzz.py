"""Spoiled files against every reader: each is read or refused in one sentence.

    python tests/soak/fuzz.py [--count 2000] [--readers latent,recipe] [--first 0] [--seconds 10]
                              [--memory 2500] [--every 20] [--record FILE]

Of each reader in `readers.py` so many spoiled files are read, the same ones each time, in a
process of their own that may not take more than `--memory` MB beyond what it has at the start. An
end other than a result or an error of the program's own, with a message of one line, is a failure:
another exception, a crash, more than `--seconds` seconds of processor time (six times that by the
clock), a file that was written. Every
`--every`th file also goes through the command line, which must end with status 0 or 2, say one
sentence and leave no file on failure. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from mutations import FOLDER, PIPE, Files, Link
from readers import Reader, model_on_disk, readers, readers_of_training, sample_of

LONGEST_MESSAGE = 1000
MESSAGES_KEPT = 12
#: How much longer than the processor's time the clock may take: other programs want it, too.
PATIENCE = 6


def all_readers() -> tuple[Reader, ...]:
    """All readers, also those of prepared data."""
    return (*readers(), *readers_of_training())


def lay_out(folder: Path, files: Files) -> None:
    """Write the files of a mutant to an empty folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is PIPE:
            os.mkfifo(path)
        elif content is FOLDER:
            path.mkdir()
        elif isinstance(content, Link):
            path.symlink_to(content.to)
        else:
            path.write_bytes(content)  # type: ignore[arg-type]


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder with its size and time."""
    found = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        found[str(path.relative_to(folder))] = (about.st_size, about.st_mtime_ns)
    return {name: about for name, about in found.items() if not (folder / name).is_dir()}


def complaint(message: str) -> str | None:
    """What is wrong with a message to a person; None if nothing is."""
    if not message.strip():
        return "an empty message"
    if "\n" in message.strip() or not message.strip().isprintable():
        return f"a message with control characters: {message[:200]!r}"
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters: {message[:100]!r}"
    if "Traceback" in message or not message.strip().endswith((".", ")", "…")):
        return f"a message that is no sentence: {message[-100:]!r}"
    return None


def read_one(reader: Reader, files: Files, folder: Path) -> tuple[str, str]:
    """How the reader takes the files: ("read" | "refused" | "failed", what it said)."""
    from stylegan3d.base import StyleGAN3DError

    lay_out(folder, files)
    before = listing(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(folder)
        ended, said = "read", ""
    except StyleGAN3DError as error:
        said = str(error)
        wrong = complaint(said)
        ended, said = ("refused", said) if wrong is None else ("failed", wrong)
    except BaseException:
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            raise
        ended, said = "failed", traceback.format_exc(limit=-6)
    if listing(folder) != before:
        ended, said = "failed", "a file was written or changed"
    return ended, said


def run_one(reader: Reader, files: Files, folder: Path) -> tuple[str, str]:
    """The same by way of the command line."""
    assert reader.words is not None
    from stylegan3d.cli import main

    lay_out(folder, files)
    before = listing(folder)
    out, err, status = io.StringIO(), io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(reader.words(folder, model_on_disk()))
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        return "failed", traceback.format_exc(limit=-6)
    if status not in (0, 2):
        return "failed", f"status {status}: {err.getvalue()[:500]}"
    if status == 0:
        return "read", ""
    wrong = complaint(err.getvalue())
    if wrong is None and listing(folder) != before:
        wrong = "a file was written although it failed"
    return ("refused", err.getvalue()) if wrong is None else ("failed", f"CLI: {wrong}")


def _work(name: str, numbers: range, every: int, memory_mb: int, results: Any) -> None:
    """In a process of its own: read the mutants, tell how each ended."""
    import torch

    torch.set_num_threads(1)
    reader = next(r for r in all_readers() if r.name == name)
    sample_of(reader)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "warm"
        folder.mkdir()
        # The sample itself must be read; what it imports counts as what there is at the start.
        lay_out(folder, sample_of(reader))
        reader.read(folder)
        used = _status_kb("VmSize") * 1024 + memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (used, used))
        start = _status_kb("VmHWM")
        for number in numbers:
            for way in (read_one, run_one):
                if way is run_one and (reader.words is None or number % every):
                    continue
                results.send(("begin", number, way.__name__, ""))
                folder = Path(place) / f"{number}-{way.__name__}"
                folder.mkdir()
                files = reader.mutant(number)
                began = time.process_time()
                ended, said = way(reader, files, folder)
                results.send((ended, number, time.process_time() - began, said))
                shutil.rmtree(folder, ignore_errors=True)
    results.send(("end", 0, (_status_kb("VmHWM") - start) / 1024, ""))


def _status_kb(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def fuzz(reader: Reader, numbers: range, seconds: float, memory: int, every: int) -> dict[str, Any]:
    """Counts of how the mutants ended, the slowest, the memory taken, and what failed."""
    count: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    refusals: Counter[str] = Counter()
    slowest, grown, at = 0.0, 0.0, numbers.start
    context = multiprocessing.get_context("spawn")
    while at < numbers.stop:
        ours, theirs = context.Pipe(duplex=False)
        left = range(at, numbers.stop)
        worker = context.Process(target=_work, args=(reader.name, left, every, memory, theirs))
        worker.start()
        theirs.close()
        limit = 120.0  # of making the sample
        try:
            while True:
                if not ours.poll(limit):
                    count["hangs"] += 1
                    failures.append((at, f"more than {limit:g} s"))
                    worker.kill()
                    break
                kind, number, took, said = ours.recv()
                limit = PATIENCE * seconds
                if kind == "begin":
                    at = number
                    continue
                if kind == "end":
                    at, grown = numbers.stop, max(grown, took)
                    break
                count[kind] += 1
                slowest = max(slowest, took)
                if took > seconds:
                    count["hangs"] += 1
                    failures.append((number, f"took {took:.1f} s"))
                if kind == "failed":
                    failures.append((number, said))
                if kind == "refused":
                    refusals[said[:300]] += 1
        except EOFError:
            worker.join()
            count["crashes"] += 1
            failures.append((at, f"the process ended with {worker.exitcode}"))
        worker.join()
        if at < numbers.stop:
            at += 1
    return {
        "reader": reader.name,
        "files": len(numbers),
        **{k: count[k] for k in ("read", "refused", "failed", "crashes", "hangs")},
        "slowest_s": round(slowest, 2),
        "memory_mb": round(grown),
        "failures": failures,
        "messages": [said for said, _ in refusals.most_common(MESSAGES_KEPT)],
    }


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="spoiled files per reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--readers", default="", help="names, separated by commas; all without")
    parser.add_argument("--seconds", type=float, default=10.0, help="that one file may take")
    parser.add_argument("--memory", type=int, default=2500, help="MB it may take")
    parser.add_argument("--every", type=int, default=20, help="of them by the command line")
    parser.add_argument("--messages", action="store_true", help="show what was said")
    parser.add_argument(
        "--record", type=Path, help="keep the table as JSON, adding to what is there"
    )
    options = parser.parse_args()
    wanted = [part.strip() for part in options.readers.split(",") if part.strip()]
    chosen = [r for r in (all_readers() if wanted else readers()) if not wanted or r.name in wanted]
    if wanted and len(chosen) != len(wanted):
        parser.error(f"The readers are: {', '.join(r.name for r in all_readers())}")
    numbers = range(options.first, options.first + options.count)
    rows = []
    for reader in chosen:
        began = time.perf_counter()
        row = fuzz(reader, numbers, options.seconds, options.memory, options.every)
        rows.append(row)
        told = ", ".join(f"{k} {row[k]}" for k in list(row)[1:9])
        print(f"{reader.name:18} {told} ({time.perf_counter() - began:.0f} s)", flush=True)
        shown: set[str] = set()
        for number, said in row["failures"]:
            if said[-80:] not in shown and len(shown) < 12:
                shown.add(said[-80:])
                print(f"    {number}: {said.rstrip()}", flush=True)
        for said in row["messages"] if options.messages else ():
            print(f"    “{said.strip()}”")
    if options.record:
        old = json.loads(options.record.read_text()) if options.record.is_file() else []
        options.record.write_text(json.dumps([*old, *rows], indent=1))
    sys.exit(any(row["failures"] for row in rows))


if __name__ == "__main__":
    main()
