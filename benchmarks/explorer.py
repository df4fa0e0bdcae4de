"""How fluent the window is, and whether it keeps its memory: the real window, driven.

    python benchmarks/explorer.py [drag] [edited] [turn] [compare] [rest] [start] [memory]
                                  [--seconds 60] [--model FOLDER] [--share 1]

`drag` moves a slider twelve times a second and measures from the move until all three 2D views have
drawn a picture that is at least as new (previews count), how late the event loop is meanwhile, and
after the hand lets go how long until the full volume stands in all four views. The processor time
of a move, of all threads, and how often the window was put together for it, say on a busy machine
too which of two versions does less.
`edited` does the same with a direction's slider after a scan was projected, so that each move
shows the edited scan, and prints the time a frame takes in the renderer, and the most memory that
the process took since it began, Measure included.
`turn` turns the 3D view with the mouse, in each rendering, in turns with all its pixels and with
those drawn while it moves, and measures from a move until the view has drawn it.
`compare` pins a brain, goes through all ways to compare it, with a slider moved in each, and prints
the longest time that the event loop was blocked by each step, and the most processor time of the
window's own thread between two beats of it.
`rest` measures the event loop while volumes are rendered and nothing is painted.
`start` measures from the start of a process to its window and to its first brain.
`memory` moves sliders, changes seeds, and starts and cancels projections, and compares the memory
at the end with that after the first tenth; with `--share` so much of it. It is read once the window
has handed back what a projection freed, a second after it; "in use" is what the program has asked
for and not freed, as the C library counts it.

A virtual screen is used where there is no display. Stop other work before: every figure is one of
the machine as a whole.

Further parts, each with `--help`: `gallery`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _program import run

from napari_stylegan3d.app.window import has_display
from napari_stylegan3d.browse.gallery import PAGE

# The driven window is one of the tests' tools.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from driven_window import Driver, Heartbeat, in_use, virtual_screen

PARTS = ("drag", "edited", "turn", "compare", "rest", "start", "memory")
PER_SECOND = 12.0
# A slider of each kind, and its tab.
SLIDERS = {
    "browse.truncation": "Browse",
    "directions.strength.0": "Directions",
    "mix.group.middle": "Mix",
}
# Sliders are swept to and fro over this part of their way, so often a second.
SWEEP, SWEEPS_PER_SECOND = (0.25, 0.75), 0.2
MOVES, SEEDS, PROJECTIONS = 2000, 200, 50
#: A projection that is cancelled has searched for so many steps.
SEARCHED = 3
MIB = 2**20
#: After an edit, until all that follows it is done.
RESTED_S = 4.0


def drag(driver: Driver, seconds: float) -> None:
    """Each slider in turn, twelve moves a second."""
    for name, title in SLIDERS.items():
        driver.explorer.panel(title)
        driver.settle()
        drag_one(driver, name, seconds / len(SLIDERS))


def edited(driver: Driver, seconds: float) -> None:
    """A direction's slider on a projected scan, and how long its frames take."""
    from napari_stylegan3d.core.scans import sample_path

    explorer = driver.explorer
    explorer.panel("Project")
    explorer.open_scan(sample_path("ucla-sub-04"))
    driver.wait(lambda: driver.find("project.start").isEnabled())
    box = driver.find("project.budget")
    box.setCurrentIndex(box.findData("draft"))
    driver.find("project.start").click()
    driver.wait(lambda: explorer.session.projected)
    explorer.panel("Directions")
    driver.settle()
    frames: list[float] = []

    def note(_recipe: Any, picture: Any) -> None:
        if picture.quality == "preview" and picture.rendered.movement is not None:
            frames.append(1000 * picture.rendered.seconds)

    explorer.rendering.shown.connect(note)
    drag_one(driver, "directions.strength.0", seconds)
    explorer.rendering.shown.disconnect(note)
    print(
        f"live frame of an edited scan: {len(frames)} frames, median {np.median(frames):.0f} ms, "
        f"p95 {np.quantile(frames, 0.95):.0f} ms",
        flush=True,
    )
    explorer.measuring.box.unfold()
    driver.wait(lambda: explorer.measuring.measured is not None)
    driver.rest(RESTED_S)  # the scan becomes sharp
    now, most = psutil.Process().memory_info().rss / MIB, peak_memory() / MIB
    print(f"memory with a projected scan: {now:.0f} MiB, {most:.0f} MiB at most", flush=True)


def peak_memory() -> int:
    """The most bytes of memory that this process took so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def drag_one(driver: Driver, name: str, seconds: float) -> None:
    """Latency of one slider, the loop's delay meanwhile, and the full volume afterwards."""
    slider, comparison = driver.find(f"{name}.slider"), driver.explorer.comparison
    driver.waiting, driver.latencies, driver.frames, moves = [], [], 0, 0
    began, worked = time.perf_counter(), time.process_time()
    slider.setSliderDown(True)
    with Heartbeat() as heart:
        for due, part in wave(seconds):
            driver.rest(max(began + due - time.perf_counter(), 0.0))
            before = driver.explorer.session.recipe
            slider.setValue(round(part * slider.maximum()))
            recipe = driver.explorer.session.recipe
            if recipe is not before:  # a hand that turns rests for a moment: nothing is to be seen
                moves += 1
                driver.waiting.append((time.perf_counter(), recipe))
    worked = (time.process_time() - worked) / max(moves, 1)
    frames = driver.frames / max(moves, 1)
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
        f"{np.quantile(late, 0.99):.0f} ms; {1000 * worked:.0f} ms of processor time and "
        f"{frames:.1f} drawings of the window a move; full volume in all views "
        f"{1000 * full:.0f} ms after letting go; "
        f"the last move {'IS NOT' if driver.waiting else 'is'} on the screen",
        flush=True,
    )


def wave(seconds: float) -> Iterator[tuple[float, float]]:
    """When each move is due, and where the slider is then as a part of its way."""
    for index in range(int(seconds * PER_SECOND)):
        due = index / PER_SECOND
        low, high = SWEEP
        phase = 2 * np.pi * SWEEPS_PER_SECOND * due
        yield due, (low + high) / 2 + (high - low) / 2 * float(np.sin(phase))


def turn(driver: Driver, seconds: float) -> None:
    """Until a move of the mouse is seen in the 3D view, in full and as it is drawn meanwhile."""
    from napari_stylegan3d.views.follower import MODES

    views = driver.explorer.views
    view, turning = views.view("3D"), views.view("3D").turning
    canvas = view.canvas.canvas.native
    for rendering in MODES:
        views.looks.change(rendering=rendering)
        driver.settle()
        took: dict[bool, list[float]] = {False: [], True: []}
        worked = {False: 0.0, True: 0.0}
        end = time.perf_counter() + seconds / len(MODES)
        while time.perf_counter() < end:
            for fewer in (False, True):
                turning.enabled = fewer
                mouse(canvas, "press")
                for step in range(1, 6):
                    began, cpu = time.perf_counter(), time.process_time()
                    mouse(canvas, "move", 12 * step)
                    driver.wait(lambda since=began: driver.drawn.get("3D", 0.0) > since)
                    if step > 1:  # the first one is drawn before it is known as a turn
                        took[fewer].append(1000 * (time.perf_counter() - began))
                        worked[fewer] += 1000 * (time.process_time() - cpu)
                mouse(canvas, "release", 60)
                driver.rest(0.05)
        words = [
            f"{name} median {np.median(took[fewer]):.0f} ms, p95 "
            f"{np.quantile(took[fewer], 0.95):.0f} ms, {worked[fewer] / len(took[fewer]):.0f} ms "
            "of processor time"
            for fewer, name in ((False, "all pixels"), (True, "as shown"))
        ]
        print(f"turning, {rendering}, {canvas.width()}x{canvas.height()}: " + "; ".join(words))
    views.looks.change(rendering="attenuated_mip")


def mouse(widget: Any, what: str, dx: int = 0) -> None:
    """Press, move or release the left button, so far right of the middle of a widget."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    kinds = QEvent.Type
    kind = {
        "press": kinds.MouseButtonPress,
        "move": kinds.MouseMove,
        "release": kinds.MouseButtonRelease,
    }[what]
    place = QPointF(widget.width() / 2 + dx, widget.height() / 2)
    none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
    event = QMouseEvent(
        kind,
        place,
        widget.mapToGlobal(place),
        none if what == "move" else left,
        none if what == "release" else left,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def compare(driver: Driver) -> None:
    """The longest time that each step of a comparison blocks the event loop."""
    explorer = driver.explorer
    slider = driver.find("browse.truncation.slider")

    def measured(step: str, act: Callable[[], Any]) -> None:
        with Heartbeat() as heart:
            driver.rest(0.2)
            act()
            driver.settle()
            driver.rest(0.5)
        blocked[step] = 1000 * max(heart.delays)
        print(
            f"compare, {step}: blocked for {blocked[step]:.0f} ms at most, own work "
            f"{1000 * max(heart.worked):.0f} ms",
            flush=True,
        )

    def move() -> None:
        slider.setSliderDown(True)
        for _, part in wave(1.0):
            slider.setValue(round(part * slider.maximum()))
            driver.rest(1 / PER_SECOND)
        slider.setSliderDown(False)

    blocked: dict[str, float] = {}
    measured("slider alone", move)
    measured("open the panel", lambda: explorer.panel("Compare"))
    measured("pin", driver.find("compare.pin").click)
    measured("another seed", lambda: driver.find("browse.seed").setValue(7))
    for mode in ("side", "curtain", "flicker", "difference", "row"):
        measured(mode, driver.find(f"compare.mode.{mode}").click)
        measured(f"{mode}, slider", move)
        measured(f"{mode}, swap", driver.find("compare.swap").click)
    measured("unpin", driver.find("compare.unpin").click)
    worst = max(blocked, key=lambda step: blocked[step])
    print(f"compare: blocked for {blocked[worst]:.0f} ms at most, by {worst}", flush=True)


def rest(driver: Driver, seconds: float) -> None:
    """The event loop while volumes are made in the background and none is shown."""
    from stylegan3d.recipe.recipe import Recipe, Source

    loaded = driver.explorer.rendering.loaded
    done, stopped = [0], [False]

    def work(report: Any) -> None:
        while not stopped[0]:
            w = Recipe(Source("seed", done[0])).latent(loaded.generator)
            loaded.renderer.render(w)
            done[0] += 1

    from napari_stylegan3d.core.worker import LongJob

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
    """Three processes of their own, the first to warm the disk's cache and to compile modules."""
    compiled = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            picture = str(Path(folder) / "first.png")
            command = [sys.executable, "-m", "napari_stylegan3d", "--timing"]
            command += ["--screenshot", picture, *(["--model", str(model)] if model else [])]
            run = subprocess.run(command, capture_output=True, text=True, check=True, env=compiled)
        print("start:", ", ".join(run.stdout.splitlines()[:2]), flush=True)


def memory(driver: Driver, share: float) -> None:
    """Moves, seeds, projections with cancel; the memory after each tenth of this share of all."""
    from napari_stylegan3d.core.scans import sample_path

    explorer = driver.explorer
    slider = driver.find("browse.truncation.slider")
    explorer.open_scan(sample_path("ucla-sub-04"))
    driver.wait(lambda: driver.find("project.start").isEnabled())
    held = []
    moves, seeds, projections = (
        max(round(share * count / 10), 1) for count in (MOVES, SEEDS, PROJECTIONS)
    )
    for tenth in range(10):
        for _, part in wave((moves + 0.5) / PER_SECOND):
            slider.setValue(round(part * slider.maximum()))
            driver.rest(0.01)
        for seed in range(seeds):
            driver.find("browse.seed").setValue(tenth * seeds + seed)
            driver.settle()
        for _ in range(projections):
            project_and_cancel(driver)
        driver.settle()
        driver.rest(RESTED_S)  # what it freed is given back
        held.append((psutil.Process().memory_info().rss / MIB, in_use() / MIB))
        resident, used = held[-1]
        print(
            f"memory after {10 * (tenth + 1)} %: {resident:.0f} MiB, {used:.0f} MiB in use",
            flush=True,
        )
    (before, used_before), (after, used) = held[0], held[-1]
    print(
        f"memory: {after / before - 1:+.1%} against that after the first tenth, in use "
        f"{used / used_before - 1:+.1%}"
    )


def project_and_cancel(driver: Driver) -> None:
    """Start a projection and stop it once its search is on the way.

    However busy the machine is: what is imported and kept by a later stage would else be counted
    with whichever tenth is the first to come so far.
    """
    from stylegan3d.projection.settings import PHASES

    job, steps = driver.explorer.projecting.job, [0]

    def count(progress: Any) -> None:
        steps[0] += progress.text == PHASES["search"]

    job.progressed.connect(count)
    driver.find("project.start").click()
    driver.wait(lambda: steps[0] >= SEARCHED)
    driver.find("project.cancel").click()
    driver.wait(lambda: not job.running)
    job.progressed.disconnect(count)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="of dragging, in all")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of what `memory` does")
    args = parser.parse_args()
    parts = args.parts or PARTS
    if set(parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    if not has_display():
        virtual_screen()
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
    if "edited" in parts:
        edited(driver, args.seconds / 3)
    if "turn" in parts:
        turn(driver, args.seconds / 3)
    if "compare" in parts:
        compare(driver)
    if "rest" in parts:
        rest(driver, args.seconds / 3)
    if "memory" in parts:
        memory(driver, args.share)
    driver.viewer.close()


#: Numbers that no page before has shown.
FRESH, SEEDS = 100_000, 1000


#: The wall has begun to fill by then.
BEGUN_S = 0.4


def fill(driver: Driver) -> None:
    """The first page, with nothing else going on."""
    wall, image = driver.explorer.browsing.wall, driver.explorer.thumbnails.image
    driver.settle()
    began = time.perf_counter()
    with Heartbeat() as heart:
        driver.find("browse.wall").click()
        driver.wait(lambda: all(image(recipe) is not None for recipe in wall.recipes()))
    took, late = time.perf_counter() - began, 1000 * np.array(heart.delays)
    print(
        f"wall of {PAGE}: full after {took:.1f} s; event loop late, p95 "
        f"{np.quantile(late, 0.95):.0f} ms, p99 {np.quantile(late, 0.99):.0f} ms",
        flush=True,
    )
    wall.hide()


def new_brain(driver: Driver, seed: int) -> tuple[float, float]:
    """Seconds from a new number to its first picture, and to its full volume."""
    seen: list[tuple[float, str]] = []

    def note(_: Any, picture: Any) -> None:
        seen.append((time.perf_counter(), picture.quality))

    shown = driver.explorer.rendering.shown
    shown.connect(note)
    began = time.perf_counter()
    driver.find("browse.seed").setValue(seed)
    driver.wait(lambda: any(quality == "full" for _, quality in seen))
    shown.disconnect(note)
    full = next(when for when, quality in seen if quality == "full")
    return seen[0][0] - began, full - began


def beside(driver: Driver, rounds: int) -> None:
    """New brains with the wall closed and while it fills, in turn."""
    wall = driver.explorer.browsing.wall
    alone, filling = [], []
    for index in range(rounds):
        wall.hide()
        driver.settle()
        alone.append(new_brain(driver, SEEDS + index))
        driver.settle()
        wall.open_beside(driver.explorer.browse)
        wall.turn_to(FRESH + index * PAGE)
        driver.rest(BEGUN_S)
        filling.append(new_brain(driver, 2 * SEEDS + index))
    for words, times in (("wall closed", alone), ("wall filling", filling)):
        first, full = 1000 * np.median(np.array(times), axis=0)
        print(f"{words}: first picture {first:.0f} ms, full volume {full:.0f} ms (medians)")


def gallery() -> None:
    """How fast the wall of thumbnails fills, and what the main view pays for it.

        python benchmarks/explorer.py gallery [--rounds 8] [--model FOLDER]

    Measures how long the first page takes while nothing else happens and how late the event loop is
    meanwhile; then, in turn with the wall closed and while a page of it fills, how long it takes
    from a
    new brain number to its first picture and to its full volume.

    A virtual screen is used where there is no display. Stop other work before: every figure is one
    of
    the machine as a whole.
    """
    parser = argparse.ArgumentParser(description=gallery.__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="brains of each kind; default: 8")
    parser.add_argument("--model", type=Path, help="a model folder; default: the bundled one")
    args = parser.parse_args()
    if not has_display():
        virtual_screen()
    driver = Driver(args.model)
    fill(driver)
    beside(driver, args.rounds)
    driver.viewer.close()
    driver.rest(0.2)


if __name__ == "__main__":
    run(main, gallery)
