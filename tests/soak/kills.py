"""Work that is killed without warning, again and again, until it comes to its end all the same.

    python tests/soak/kills.py [KIND …] [--rounds 10] [--seed 0] [--minutes M]

Kinds are `window` and those of `tests/doomed.py`. A round of work kills its process at random
moments, starts it again each time, lets it end at last, and compares what came of it with work that
was never killed: it must be the same, and nothing half written may be left. A round of the window
kills it at a random moment of one stage (start, drag, project, export, save) and looks what the
next start offers: every state that was older than six seconds. Prints a row for each kind; the exit
status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import atexit
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import doomed
import doomed_window
from driven_window import virtual_screen

from napari_stylegan3d.app.window import has_display
from stylegan3d.storage.files import sweep

#: A process is killed so often before it may come to its end.
MOST_KILLS = 4
#: Seconds within which it is killed, after Python has started.
WITHIN_S = 8.0
PATIENCE_S = 900.0


def work(kind: str, place: Path, draw: random.Random) -> tuple[int, list[str]]:
    """One round: how often it was killed, and what is wrong."""
    folder = place / f"{kind}-killed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "inputs").symlink_to(place / "inputs")
    kills = 0
    while kills < MOST_KILLS:
        process = doomed.start(kind, folder, draw.choice((0.0, 0.1, 0.4)))
        end = time.monotonic() + draw.uniform(1.5, WITHIN_S)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        doomed.kill(process)
        kills += 1
    status = to_its_end(kind, folder)
    if status != 0:
        return kills, [f"it ended with status {status}"]
    wrong = []
    whole = place / "whole"
    found, expected = (repr(doomed.outcome(kind, f)) for f in (folder, whole))
    if found.replace(str(folder), "") != expected.replace(str(whole), ""):
        wrong.append("the outcome differs")
    for inner in (folder / kind, *(folder / kind).rglob("*")):
        if inner.is_dir():
            sweep(inner)
    wrong += [f"half written: {path.name}" for path in doomed.half_written(folder / kind)]
    return kills, wrong


def to_its_end(kind: str, folder: Path) -> int | None:
    """Do the work without killing it; its exit status, None if it takes far too long."""
    process = doomed.start(kind, folder, 0.0)
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        doomed.kill(process)
        return None


def window(place: Path, draw: random.Random) -> tuple[int, list[str]]:
    """One round of the window: killed once."""
    folder = place / "window"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "inputs").symlink_to(place / "inputs")
    stage = draw.choice(doomed_window.STAGES)
    survived = doomed_window.kill(folder, stage, draw.uniform(0.0, 5.0))
    found = doomed_window.look(folder)
    wrong = []
    if survived > 1 and not found["offered"]:
        wrong.append(f"killed in {stage}: the session was not offered")
    if found["states"] < survived:
        wrong.append(f"killed in {stage}: {found['states']} of {survived} states came back")
    if found["message"]:
        wrong.append(found["message"])
    wrong += [f"half written: {path.name}" for path in doomed.half_written(folder)]
    return 1, wrong


def main() -> int:
    """Read the command line, kill, and tell."""
    every = ("window", *doomed.KINDS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(every)}")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so long")
    args = parser.parse_args()
    kinds = args.kinds or every
    if set(kinds) - set(every):
        parser.error(f"kinds are {', '.join(every)}")
    if "window" in kinds and not has_display():
        atexit.register(virtual_screen(lasting=True).stop)
    failed = False
    ends = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        place = doomed.make_inputs(Path(folder))
        for kind in kinds:
            draw, kills, rounds, wrong = random.Random(f"{args.seed} {kind}"), 0, 0, []
            if kind != "window":
                (place / "whole").mkdir(exist_ok=True)
                if not (place / "whole" / "inputs").exists():
                    (place / "whole" / "inputs").symlink_to(place / "inputs")
                if to_its_end(kind, place / "whole") != 0:
                    wrong.append("it does not even end when it is left alone")
            while rounds < args.rounds and time.monotonic() < ends:
                more, found = window(place, draw) if kind == "window" else work(kind, place, draw)
                kills, rounds, wrong = kills + more, rounds + 1, wrong + found
            told = "nothing lost" if not wrong else "; ".join(sorted(set(wrong)))
            print(f"{kind:14s} {rounds:3d} rounds, killed {kills:3d} times: {told}", flush=True)
            failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
