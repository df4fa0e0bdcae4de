"""How fluent the window is, and whether it keeps its memory: the real window, driven.

    python benchmarks/explorer.py [drag] [rest] [start] [memory] [--seconds 60] [--model FOLDER]

`drag` moves a slider twelve times a second and measures from the move until all three 2D views have
drawn a picture that is at least as new (previews count), how late the event loop is meanwhile, and
after the hand lets go how long until the full volume stands in all four views.
`rest` measures the event loop while volumes are rendered and nothing is painted.
`start` measures from the start of a process to its window and to its first brain.
`memory` moves sliders, changes seeds, and starts and cancels projections, and compares the memory
at the end with that after the first tenth.

A virtual screen is used where there is no display. Stop other work before: every figure is one of
the machine as a whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from napari_stylegan3d.__main__ import has_display, open_window
from napari_stylegan3d.virtual_screen import start_virtual_screen

PARTS = ("drag", "rest", "start", "memory")
PER_SECOND = 12.0
BEAT_MS = 10
# A slider of each kind, and its tab.
SLIDERS = {
    "browse.truncation": "Browse",
    "directions.strength.0": "Directions",
    "mix.group.middle": "Mix",
}
# Sliders are swept to and fro over this part of their way, so often a second.
SWEEP, SWEEPS_PER_SECOND = (0.25, 0.75), 0.2
MOVES, SEEDS, PROJECTIONS = 2000, 200, 50
PATIENCE_S = 120.0
MIB = 2**20


class Driver:
    """The window, its controls by name, and when its views were drawn.

    Attributes
    ----------
    drawn : when each of the four views last finished drawing, in seconds, by the view's name.
    waiting : moves that the 2D views do not show yet: when, and the recipe.
    latencies : how long each of the others took, in seconds.
    """

    def __init__(self, model: Path | None) -> None:
        self.viewer, self.explorer = open_window(model)
        explorer = self.explorer
        self.wait(lambda: explorer.comparison.picture is not None)
        self.wait(lambda: explorer.directions.rows and not explorer.models.warming.running)
        self.names = [view.name for view in explorer.views.views]
        self.drawn: dict[str, float] = {}
        self.waiting: list[tuple[float, Any]] = []
        self.latencies: list[float] = []
        self._shown: list[tuple[float, Any]] = []
        for view in explorer.views.views:
            swapped = view.canvas.canvas.native.frameSwapped
            swapped.connect(lambda name=view.name: self._on_drawn(name))
        explorer.rendering.shown.connect(self._on_shown)

    def find(self, name: str) -> Any:
        """The control of that object name."""
        from qtpy.QtWidgets import QWidget

        return self.explorer.findChild(QWidget, name)

    def wait(self, condition: Callable[[], Any]) -> None:
        """Let the window work until something is so."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                raise SystemExit("The window did not come to rest: try again on a quiet machine.")
            self.rest(0.005)

    @staticmethod
    def rest(seconds: float) -> None:
        """Let the window work for a while."""
        from qtpy.QtTest import QTest

        QTest.qWait(max(round(1000 * seconds), 1))

    def settle(self) -> None:
        """Wait for the full volume of the current recipe, and for the 3D view."""
        explorer = self.explorer
        self.wait(
            lambda: (
                not explorer.rendering.busy
                and explorer.comparison.recipe == explorer.session.recipe
                and not explorer.comparison.is_preview
            )
        )
        explorer.views.view("3D").follower.settle()
        self.rest(0.3)

    def _on_drawn(self, name: str) -> None:
        """Moves whose picture, or a newer one, all 2D views have drawn wait no longer."""
        self.drawn[name] = time.perf_counter()
        flat = min(self.drawn.get(name, 0.0) for name in self.names if name != "3D")
        seen = [recipe for when, recipe in self._shown if when < flat]
        self._shown = [entry for entry in self._shown if entry[0] >= flat]
        places = [i for i, (_, recipe) in enumerate(self.waiting) if recipe in seen]
        if places:
            done, self.waiting = self.waiting[: places[-1] + 1], self.waiting[places[-1] + 1 :]
            self.latencies += [flat - when for when, _ in done]

    def _on_shown(self, recipe: Any, _: Any) -> None:
        self._shown.append((time.perf_counter(), recipe))


class Heartbeat:
    """How late the event loop is: a timer that should fire every 10 ms."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.delays: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def __enter__(self) -> Heartbeat:
        self._due = time.perf_counter() + BEAT_MS / 1000
        self._timer.start(BEAT_MS)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.delays.append(max(now - self._due, 0.0))
        self._due = now + BEAT_MS / 1000


def drag(driver: Driver, seconds: float) -> None:
    """Each slider in turn, twelve moves a second."""
    for name, title in SLIDERS.items():
        driver.explorer.panel(title)
        driver.settle()
        drag_one(driver, name, seconds / len(SLIDERS))


def drag_one(driver: Driver, name: str, seconds: float) -> None:
    """Latency of one slider, the loop's delay meanwhile, and the full volume afterwards."""
    slider, comparison = driver.find(f"{name}.slider"), driver.explorer.comparison
    driver.waiting, driver.latencies = [], []
    began = time.perf_counter()
    slider.setSliderDown(True)
    with Heartbeat() as heart:
        for due, part in wave(seconds):
            driver.rest(max(began + due - time.perf_counter(), 0.0))
            slider.setValue(round(part * slider.maximum()))
            driver.waiting.append((time.perf_counter(), driver.explorer.session.recipe))
    newest, released = driver.explorer.session.recipe, time.perf_counter()
    slider.setSliderDown(False)
    driver.wait(lambda: comparison.recipe == newest and not comparison.is_preview)
    handed = time.perf_counter()
    driver.wait(lambda: min(driver.drawn.get(name, 0.0) for name in driver.names) > handed)
    full, took = max(driver.drawn.values()) - released, np.array(driver.latencies)
    late = 1000 * np.array(heart.delays)
    print(
        f"{name}: {len(took)} moves; until the 2D views show it, median "
        f"{1000 * np.median(took):.0f} ms, p95 {1000 * np.quantile(took, 0.95):.0f} ms; "
        f"event loop late, p95 {np.quantile(late, 0.95):.0f} ms, p99 "
        f"{np.quantile(late, 0.99):.0f} ms; full volume in all views {1000 * full:.0f} ms after "
        f"letting go; the last move {'IS NOT' if driver.waiting else 'is'} on the screen",
        flush=True,
    )


def wave(seconds: float) -> Iterator[tuple[float, float]]:
    """When each move is due, and where the slider is then as a part of its way."""
    for index in range(int(seconds * PER_SECOND)):
        due = index / PER_SECOND
        low, high = SWEEP
        phase = 2 * np.pi * SWEEPS_PER_SECOND * due
        yield due, (low + high) / 2 + (high - low) / 2 * float(np.sin(phase))


def rest(driver: Driver, seconds: float) -> None:
    """The event loop while volumes are made in the background and none is shown."""
    from stylegan3d.recipe import Recipe, Source

    loaded = driver.explorer.rendering.loaded
    done, stopped = [0], [False]

    def work(report: Any) -> None:
        while not stopped[0]:
            w = Recipe(Source("seed", done[0])).latent(loaded.generator)
            loaded.renderer.render(w)
            done[0] += 1

    from napari_stylegan3d.worker import LongJob

    driver.settle()
    job = LongJob(driver.explorer)
    job.start(work)
    with Heartbeat() as heart:
        driver.rest(seconds)
    stopped[0] = True
    driver.wait(lambda: not job.running)
    job.shutdown()
    late = 1000 * np.array(heart.delays)
    print(
        f"nothing painted, {done[0]} volumes made: event loop late, p95 "
        f"{np.quantile(late, 0.95):.0f} ms, p99 {np.quantile(late, 0.99):.0f} ms, "
        f"most {late.max():.0f} ms",
        flush=True,
    )


def start(model: Path | None) -> None:
    """Three processes of their own, the first to warm the disk's cache."""
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            picture = str(Path(folder) / "first.png")
            command = [sys.executable, "-m", "napari_stylegan3d", "--timing"]
            command += ["--screenshot", picture, *(["--model", str(model)] if model else [])]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
        print("start:", ", ".join(run.stdout.splitlines()[:2]), flush=True)


def memory(driver: Driver) -> None:
    """Moves, seeds, projections with cancel; the memory after each tenth of all."""
    from napari_stylegan3d.samples import sample_path

    explorer = driver.explorer
    slider = driver.find("browse.truncation.slider")
    explorer.open_scan(sample_path("ucla-sub-04"))
    driver.wait(lambda: driver.find("project.start").isEnabled())
    process, held = psutil.Process(), []
    for tenth in range(10):
        for _, part in wave(MOVES / 10 / PER_SECOND):
            slider.setValue(round(part * slider.maximum()))
            driver.rest(0.01)
        for seed in range(SEEDS // 10):
            driver.find("browse.seed").setValue(tenth * SEEDS + seed)
            driver.settle()
        for _ in range(PROJECTIONS // 10):
            project_and_cancel(driver)
        driver.settle()
        held.append(process.memory_info().rss / MIB)
        print(f"memory after {10 * (tenth + 1)} %: {held[-1]:.0f} MiB", flush=True)
    print(f"memory: {held[-1] / held[0] - 1:+.1%} against that after the first tenth")


def project_and_cancel(driver: Driver) -> None:
    """Start a projection and stop it once its search is on the way."""
    job = driver.explorer.projecting.job
    driver.find("project.start").click()
    driver.wait(lambda: job.running)
    driver.rest(3.0)
    driver.find("project.cancel").click()
    driver.wait(lambda: not job.running)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="of dragging, in all")
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    parts = args.parts or PARTS
    if set(parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    if not has_display():
        start_virtual_screen()
    # From now on the screen has a client, without which a virtual one would end.
    from napari.qt import get_qapp

    _ = get_qapp()
    if "start" in parts:
        start(args.model)
    if set(parts) == {"start"}:
        return
    driver = Driver(args.model)
    if "drag" in parts:
        drag(driver, args.seconds)
    if "rest" in parts:
        rest(driver, args.seconds / 3)
    if "memory" in parts:
        memory(driver)
    driver.viewer.close()


if __name__ == "__main__":
    main()
