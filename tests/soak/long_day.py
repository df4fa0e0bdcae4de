"""Whether the window keeps its memory, threads, files and pace through a long day.

    python tests/soak/long_day.py [--changes 10000] [--loads 500] [--projections 100] [--parts 20]
                              [--model FOLDER | --small] [--minutes M] [--record FILE]
    python tests/soak/long_day.py --windows 3

The real window is driven: recipes are changed by its sliders, seeds and undo; models and scans are
opened; scans are projected as a draft, every second one cancelled. After each part its memory
(resident, after a garbage collection; the proportional share would change with other programs that
use the same libraries), threads, open files, timers and widgets are counted, and how long ten
changes take until their full volume is on the screen. "In use" is what the allocator has given out:
the rest of the memory it keeps for what comes.

The first tenth of the parts is the warm-up. The verdict compares the end with what follows it (the
medians of as many parts): memory may have grown by 3 %, threads, files, timers and widgets by none,
the pace by a quarter. The exit status is 1 if it did not hold.

`--small` takes a network of 8 mm, which is drawn by the same window in a tenth of the time.
`--minutes` ends after so long, at the end of a part; `--record` keeps the table as JSON, and adds
to one that is there, so that a long day can be made of several windows. A virtual screen is used
where there is no display.

`--windows` opens so many windows at once, a process each, with one folder of weights, of sessions
and of settings between them. Each is changed, opens models and scans, projects one as a draft,
saves its session and closes. What it saved must be its own, and the weights what they were.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
from driven_window import Driver, in_use, virtual_screen

from napari_stylegan3d.app.window import has_display
from stylegan3d.storage.files import atomic_write_text

MIB = 2**20
#: What may be more at the end than after the warm-up: shares, else counts.
TOLERATED = {"memory_mib": 0.03, "in_use_mib": 0.03, "latency_ms": 0.25}
#: Changes whose time to the full volume is measured, per part, and the seed of the first.
MEASURED, MEASURED_FROM = 10, 1_000_000
#: Brains that a window has of its own.
SEEDS = 10_000


@dataclass(frozen=True)
class Count:
    """What there is after a part; `done` are changes, loads and projections so far."""

    done: tuple[int, int, int]
    memory_mib: float
    in_use_mib: float
    threads: int
    files: int
    timers: int
    widgets: int
    latency_ms: float


class Day:
    """A window and what is done in it."""

    def __init__(self, driver: Driver, models: list[Path], scan: Path, window: int = 0) -> None:
        self.driver, self.models, self.scan = driver, models, scan
        self.first_seed = SEEDS * window
        self.done = [0, 0, 0]
        self._random = np.random.default_rng(0)
        self._projected = 0

    def part(self, changes: int, loads: int, projections: int) -> Count:
        """A part of the day, and what there is after it."""
        for number in range(max(changes, loads, projections)):
            if number < changes:
                self.change()
            if self._due(number, changes, loads):
                self.load()
            if self._due(number, changes, projections):
                self.project()
        latency = self.latency()
        return self.count(latency)

    @staticmethod
    def _due(number: int, of: int, times: int) -> bool:
        """Whether the `number`-th of `of` steps is one of `times` evenly spread ones."""
        of = max(of, times)
        return (number + 1) * times // of > number * times // of

    def change(self) -> None:
        """Another recipe, by one of the controls that make one."""
        driver, explorer, kind = self.driver, self.driver.explorer, self.done[0] % 8
        part = float(self._random.uniform(0.1, 0.9))
        if kind == 0:
            driver.find("browse.seed").setValue(
                self.first_seed + int(self._random.integers(1, SEEDS))
            )
        elif kind == 6 and explorer.session.can_undo:
            explorer.session.undo()
        elif kind == 7 and explorer.session.can_redo:
            explorer.session.redo()
        else:
            names = ("browse.truncation", "directions.strength.0", "mix.group.middle")
            slider = driver.find(f"{names[kind % 3]}.slider")
            slider.setValue(round(part * slider.maximum()))
        self.done[0] += 1
        if self.done[0] % 25 == 0:
            driver.settle()
        else:
            driver.rest(0.02)

    def load(self) -> None:
        """A model or a scan, in turn."""
        driver, explorer, number = self.driver, self.driver.explorer, self.done[1]
        self.done[1] += 1
        if number % 2:
            self.open_scan()
            return
        explorer.open_model(self.models[number // 2 % len(self.models)])
        driver.wait(lambda: not explorer.models.loading.running)
        driver.wait(lambda: explorer.directions.rows and not explorer.models.warming.running)
        driver.settle()

    def open_scan(self) -> None:
        """The scan, until it can be projected."""
        driver, explorer = self.driver, self.driver.explorer
        explorer.open_scan(self.scan)
        driver.wait(lambda: not explorer.projecting.opening.running)
        driver.wait(lambda: driver.find("project.start").isEnabled())
        driver.wait(lambda: not explorer.projecting.estimating.running)

    def project(self) -> None:
        """A projection as a draft; every second one is cancelled on its way."""
        driver, job = self.driver, self.driver.explorer.projecting.job
        self.done[2] += 1
        self.open_scan()
        box = driver.find("project.budget")
        box.setCurrentIndex(box.findData("draft"))
        driver.find("project.start").click()
        driver.wait(lambda: job.running)
        if self.done[2] % 2 == 0:
            driver.rest(float(self._random.uniform(0.2, 3.0)))
            if job.running:
                driver.find("project.cancel").click()
        driver.wait(lambda: not job.running)
        if self.done[2] % 2:
            self._projected += 1
            assert driver.explorer.session.projected, driver.explorer.message.text()
        driver.settle()

    def latency(self) -> float:
        """Median milliseconds from a change to its full volume in the views."""
        driver, explorer, taken = self.driver, self.driver.explorer, []
        explorer.panel("Browse")
        driver.settle()
        for number in range(MEASURED):
            began = time.perf_counter()
            driver.find("browse.seed").setValue(MEASURED_FROM + self.first_seed + number)
            driver.wait(self._is_shown)
            taken.append(1000 * (time.perf_counter() - began))
        return round(statistics.median(taken), 1)

    def _is_shown(self) -> bool:
        comparison = self.driver.explorer.comparison
        same = comparison.recipe == self.driver.explorer.session.recipe
        return same and not comparison.is_preview

    def count(self, latency: float) -> Count:
        """What there is now, at rest."""
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        self.driver.settle()
        self.driver.rest(1.2)  # the session is saved meanwhile
        gc.collect()
        process = psutil.Process()
        timers = sum(issubclass(type(thing), QTimer) for thing in gc.get_objects())
        timers += sum(len(w.findChildren(QTimer)) for w in QApplication.topLevelWidgets())
        return Count(
            (self.done[0], self.done[1], self.done[2]),
            round(process.memory_info().rss / MIB, 1),
            round(in_use() / MIB, 1),
            process.num_threads(),
            process.num_fds() if os.name == "posix" else process.num_handles(),
            timers,
            len(QApplication.allWidgets()),
            latency,
        )


def small_models(folder: Path) -> list[Path]:
    """Two networks of 8 mm whose mean brain is the bundled one's."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from tiny import tiny_generator

    from stylegan3d.checkpoints.folder import write_folder
    from stylegan3d.dataset.pack import template_bytes
    from stylegan3d.storage.places import TEMPLATE

    mean = bundled_template()
    blocks = mean.reshape(20, 4, 28, 4, 24, 4).mean(axis=(1, 3, 5)).astype(np.float32)
    folders = []
    for seed in (0, 1):
        generator = tiny_generator(seed)
        template = folder / f"template-{seed}.nii.gz"
        template.write_bytes(template_bytes(blocks, generator.space))
        tensors = {"w_avg": generator.w_avg}
        for part in ("mapping", "synthesis"):
            state = getattr(generator, part).state_dict()
            tensors |= {f"{part}.{key}": value for key, value in state.items()}
        space = {"shape": list(generator.shape), "affine": generator.affine.tolist()}
        card = {**generator.card, "space": space}
        folders.append(folder / f"small-{seed}")
        write_folder(folders[-1], card, tensors, extra_files={TEMPLATE: template})
    return folders


def bundled_template() -> np.ndarray:
    """The mean brain of the bundled generator."""
    from stylegan3d.storage.places import TEMPLATE, bundled_model_path

    return np.asarray(nib.load(bundled_model_path() / TEMPLATE).dataobj, dtype=np.float32)


def a_scan(folder: Path, name: str) -> Path:
    """The mean brain as a scan: no skull to extract, in the time of which nothing would happen."""
    from stylegan3d.storage.places import TEMPLATE, bundled_model_path

    image = nib.load(bundled_model_path() / TEMPLATE)
    path = folder / f"{name}_T1w.nii.gz"
    data = np.rint(900 * np.asarray(image.dataobj)).astype(np.int16)
    nib.Nifti1Image(data, image.affine).to_filename(path)
    return path


def verdict(counts: list[Count], warm_up: int) -> list[str]:
    """What grew more than it may after the warm-up; empty if nothing.

    Medians of as many parts as the warm-up had are compared: those that follow it and the last,
    for the allocator and a machine that others use make one part differ from the next.
    """
    first, last = counts[warm_up : 2 * warm_up], counts[-warm_up:]
    wrong = []
    for name in (field.name for field in fields(Count) if field.name != "done"):
        old, new = (statistics.median(getattr(c, name) for c in some) for some in (first, last))
        if new > old * (1 + TOLERATED.get(name, 0.0)):
            wrong.append(f"{name} grew from {old:g} to {new:g}")
    return wrong


def tell(count: Count) -> None:
    """A row of the table."""
    changes, loads, projections = count.done
    print(
        f"{changes:8d} {loads:6d} {projections:6d} "
        f"{count.memory_mib:10.1f} {count.in_use_mib:7.1f} {count.threads:8d} "
        f"{count.files:6d} {count.timers:7d} {count.widgets:8d} {count.latency_ms:8.0f}",
        flush=True,
    )


def several(count: int, model: Path) -> int:
    """So many windows at once; 1 if one of them failed or changed what is not its own."""
    from stylegan3d.storage.files import sha256_of

    def weights() -> dict[str, str]:
        return {str(path): sha256_of(path) for path in model.rglob("*") if path.is_file()}

    before, wrong = weights(), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = [sys.executable, __file__, "--changes", "40", "--loads", "3", "--projections", "1"]
        words += ["--parts", "1", "--model", str(model), "--together", str(folder)]
        windows = [subprocess.Popen([*words, "--window", str(n)]) for n in range(count)]
        for number, window in enumerate(windows):
            problem = f"ended with {window.returncode}" if window.wait() else saved(folder, number)
            if problem:
                wrong.append(f"window {number} {problem}")
        wrong += [f"{path} is left behind" for path in folder.rglob(".*.part")]
    if before != weights():
        wrong.append("the folder of weights changed")
    print(f"{count} windows at once: {'; '.join(wrong) or 'each saved its own session'}.")
    return 1 if wrong else 0


def saved(folder: Path, window: int) -> str:
    """What is wrong with the session that a window saved; empty if nothing is."""
    from stylegan3d.session.file import unpack

    state, _ = unpack(folder / f"{window}.sg3d", folder / f"{window}")
    sources = [recipe.source for recipe in state.states]
    found = {source.seed % MEASURED_FROM // SEEDS for source in sources if source.seed}
    if found != {window}:
        return f"saved brains of the windows {sorted(found)}"
    projected = {Path(s.path).name for s in sources if s.kind == "projected" and s.path}
    mine = all(patient(window) in name for name in projected)
    return "" if projected and mine else f"saved the projections {sorted(projected)}"


def patient(window: int) -> str:
    """The name of the patient whose scan a window opens."""
    return f"sub-{window + 1:02}"


def main() -> int:
    """Drive the window, print the table and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=500)
    parser.add_argument("--projections", type=int, default=100)
    parser.add_argument("--parts", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=0, help="parts; 0 for a tenth of them")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--small", action="store_true", help="two networks of 8 mm")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so long")
    parser.add_argument("--record", type=Path, help="JSON file with the tables of all runs so far")
    parser.add_argument("--windows", type=int, help="so many at once, for a short while")
    parser.add_argument("--window", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--together", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    from stylegan3d.storage.places import bundled_model_path

    if args.windows:
        return several(args.windows, args.model or bundled_model_path())
    if not has_display():
        virtual_screen()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        common = args.together or folder
        os.environ["STYLEGAN3D_SESSIONS"] = str(common / "sessions")
        os.environ["XDG_CONFIG_HOME"] = str(common / "settings")
        from napari.qt import get_qapp

        _ = get_qapp()  # without a client a virtual screen would end
        models = small_models(folder) if args.small else [args.model or bundled_model_path()]
        driver = Driver(models[0])
        scan = a_scan(folder, patient(args.window))
        counts = run(Day(driver, models, scan, args.window), args)
        if args.together is not None:
            driver.explorer.sessions.save_as(common / f"{args.window}.sg3d")
            driver.wait(lambda: not driver.explorer.sessions.files.running)
        driver.viewer.close()
        driver.rest(0.2)
    if args.together is not None:
        return 0
    if args.record is not None:
        add_to(args.record, models[0].name, counts)
    warm_up = args.warm_up or max(len(counts) // 10, 1)
    if len(counts) < 3 * warm_up:
        print("too short for a verdict: give more --parts or fewer of them as --warm-up")
        return 1
    wrong = verdict(counts, warm_up)
    growth = counts[-1].memory_mib / counts[warm_up - 1].memory_mib - 1
    print(f"memory {growth:+.1%} since the warm-up of {warm_up} of {len(counts)} parts; ", end="")
    print("it held." if not wrong else f"IT DID NOT HOLD: {'; '.join(wrong)}.")
    return 1 if wrong else 0


def run(day: Day, args: argparse.Namespace) -> list[Count]:
    """The parts of the day, as many as there is time for."""
    counts: list[Count] = []
    ends = time.monotonic() + 60 * args.minutes
    print(" changes  loads  proj.  memory MiB  in use  threads  files  timers  widgets  full ms")
    for number in range(args.parts):
        shares = [
            (number + 1) * total // args.parts - number * total // args.parts
            for total in (args.changes, args.loads, args.projections)
        ]
        counts.append(day.part(*shares))
        tell(counts[-1])
        if time.monotonic() > ends:
            break
    return counts


def add_to(path: Path, model: str, counts: list[Count]) -> None:
    """Add this table to those of earlier runs."""
    tables = json.loads(path.read_text()) if path.exists() else []
    tables.append({"model": model, "counts": [asdict(count) for count in counts]})
    atomic_write_text(path, json.dumps(tables, indent=1), overwrite=True)


if __name__ == "__main__":
    sys.exit(main())
