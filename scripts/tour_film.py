"""The tour as a film of twenty seconds: `python scripts/tour.py --gif tour.gif`.

It operates the real window like the tour, and takes a picture of it for each frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from tour_stops import SAMPLE, Tour

from stylegan3d.storage.files import atomic_file

#: Width in pixels, and frames in a second.
WIDTH, RATE = 840, 5
#: Colours of the palette: greys of brains, and the few of the window.
COLOURS = 96


class Film:
    """Frames of the window.

    Parameters
    ----------
    tour : Tour
        Operates the window.
    """

    def __init__(self, tour: Tour) -> None:
        self.tour = tour
        self.frames: list[Image.Image] = []
        self.seconds: list[float] = []

    def take(self, seconds: float = 1 / RATE) -> None:
        """A frame of the window once it is idle, shown this long."""
        self.tour.wait_for(lambda: not self.tour.explorer.rendering.busy, "the picture")
        self.tour.rest(0.15)
        pixels = self.tour.viewer.window.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(np.asarray(pixels)[..., :3])
        height = round(WIDTH * picture.height / picture.width)
        self.frames.append(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))
        self.seconds.append(seconds)

    def sweep(self, name: str, values: Iterable[float]) -> None:
        """A frame for each value of a control."""
        for value in values:
            self.tour.set(name, float(value))
            self.take()

    def write(self, path: Path) -> None:
        """Write the frames as GIF, in one palette."""
        sheet = Image.new("RGB", (WIDTH, sum(f.height for f in self.frames[::4])))
        top = 0
        for frame in self.frames[::4]:
            sheet.paste(frame, (0, top))
            top += frame.height
        palette = sheet.quantize(COLOURS)
        first, *rest = (
            frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames
        )
        with atomic_file(path) as file:
            first.save(
                file,
                format="GIF",
                save_all=True,
                append_images=rest,
                duration=[round(1000 * s) for s in self.seconds],
                loop=0,
                optimize=True,
            )


def film(tour: Tour, path: Path) -> None:
    """Browse, project a scan, edit it, see where it moves, compare; then write the film."""
    from napari_stylegan3d.core.scans import sample_path

    explorer, shots = tour.explorer, Film(tour)
    tour.wait_for(lambda: explorer.comparison.picture is not None, "the first brain")
    tour.wait_for(lambda: explorer.guidance.card, "the first steps")
    tour.click("welcome.skip")
    tour.wait_for_thumbnails()
    shots.take(1.0)
    for _ in range(5):
        tour.click("browse.next")
        shots.take(0.5)
    shots.sweep("browse.truncation", (0.5, 0.3, 0.0, 0.4, 0.7, 1.0))
    explorer.open_scan(sample_path(SAMPLE))
    tour.wait_for(lambda: tour.find("project.start").isEnabled(), "the scan")
    shots.take(1.0)
    tour.click("project.start")
    tour.wait_for(lambda: explorer.session.projected, "the projection")
    shots.take(1.5)
    tour.click("project.show.model")
    shots.take(1.0)
    tour.click("project.show.edited")
    explorer.panel("Directions")
    tour.wait_for(lambda: explorer.directions.rows, "the directions")
    names = [row.entry.name for row in explorer.directions.rows.values()]
    strength = f"directions.strength.{next(k for k, n in enumerate(names) if 'entric' in n)}"
    shots.sweep(strength, (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 2.0, 1.0, 0.0, -1.0, 0.0, 1.0, 2.0, 3.0))
    shots.take(0.8)
    tour.click("project.show.movement")
    tour.wait_for(lambda: explorer.stage.overlay.legend, "the map")
    shots.take(2.0)
    tour.click("project.show.edited")
    explorer.panel("Compare")
    tour.click("compare.pin")
    tour.set(strength, -1.0)
    tour.click("compare.mode.curtain")
    shots.take(0.6)
    shots.sweep("compare.curtain", (45, 40, 35, 30, 35, 40, 45, 50, 55, 60, 65, 70, 60, 50))
    shots.take(1.0)
    tour.click("compare.mode.off")
    shots.write(path)
