"""How fast the wall of thumbnails fills, and what the main view pays for it.

    python benchmarks/wall.py [--rounds 8] [--model FOLDER]

Measures how long the first page takes while nothing else happens and how late the event loop is
meanwhile; then, in turn with the wall closed and while a page of it fills, how long it takes from a
new brain number to its first picture and to its full volume.

A virtual screen is used where there is no display. Stop other work before: every figure is one of
the machine as a whole.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from driven_window import virtual_screen
from explorer import Driver, Heartbeat

from napari_stylegan3d.app.window import has_display
from napari_stylegan3d.browse.gallery import PAGE

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


def main() -> None:
    """Open the window, measure, close it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    main()
