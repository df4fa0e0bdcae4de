"""`stylegan3d-tour`: walk through the explorer by itself, and leave pictures and volumes.

It works the real window through the object names of its controls, as a person or a test would, so
the pictures show what a person would see.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stylegan3d.__main__ import add_model_options, has_display, open_window
from napari_stylegan3d.tour_page import write_page
from napari_stylegan3d.virtual_screen import NoScreenError, start_virtual_screen

if TYPE_CHECKING:
    import napari

    from napari_stylegan3d.explorer import Explorer

OUT = "tour-output"
SAMPLE = "ucla-sub-04"
SECOND_SEED = 7
#: Longer than anything in the tour takes on two cores.
PATIENCE_S = 1800.0
#: The 3D view follows once changes have settled.
SETTLE_S = 1.0


class TourError(Exception):
    """The tour could not go on; the message is one sentence."""


class Tour:
    """Works an explorer by the names of its controls.

    Parameters
    ----------
    viewer, explorer
        The open window.
    out
        Folder for pictures and files.
    """

    def __init__(self, viewer: napari.Viewer, explorer: Explorer, out: Path) -> None:
        self.viewer, self.explorer, self.out = viewer, explorer, out
        self.pictures: list[tuple[str, str]] = []
        self._errors: list[str] = []

    def run(self) -> None:
        """All steps, in order."""
        self.first_brain()
        self.browse()
        self.project()
        self.mix()
        self.push()
        self.save()

    def first_brain(self) -> None:
        """The window with its first brain."""
        self.wait_for(lambda: self.explorer.comparison.picture is not None, "the first brain")
        self.shoot("first-brain", "The explorer opens with a synthetic brain.")
        self.shoot("explorer", "", numbered=False)

    def browse(self) -> None:
        """Another brain, more variety, another convention."""
        self.click("browse.next")
        self.shoot("another-brain", "The next number is another brain.")
        self.set("browse.truncation", 1.0)
        self.shoot("more-variety", "Truncation 1: the full variety the model has learned.")
        self.set("browse.truncation", 0.0)
        self.shoot("average-brain", "Truncation 0: the average brain.")
        self.set("browse.truncation", 0.7)

    def project(self) -> None:
        """A real scan, its projection, and the comparison of the two."""
        from napari_stylegan3d.samples import sample_path

        self.explorer.open_scan(sample_path(SAMPLE))
        self.wait_for(lambda: self.find("project.start").isEnabled(), "the scan")
        self.shoot("real-scan", "A real scan, as it was recorded; its caption says so.")
        self.choose("project.budget", "draft")
        self.click("project.start")
        self.wait_for(lambda: self.explorer.session.projected, "the projection")
        self.shoot("reconstruction", "Its projection: the synthetic brain most like it.")
        self.click("project.show.scan")
        self.shoot("aligned-scan", "The real scan, as the model sees it.")
        self.click("project.show.difference")
        self.shoot("difference", "Reconstruction minus scan.")
        self.click("project.show.reconstruction")

    def mix(self) -> None:
        """Coarse structures of the projected scan, fine ones of another brain."""
        self.explorer.panel("Mix")
        self.set("mix.seed", SECOND_SEED)
        self.set("mix.group.fine", 100)
        self.set("mix.group.middle", 50)
        self.shoot("mix", "Coarse structures of the scan's brain, fine ones of another.")

    def push(self) -> None:
        """Along the first direction, both ways."""
        self.explorer.panel("Directions")
        self.wait_for(lambda: self.explorer.directions.rows, "the directions")
        name = next(iter(self.explorer.directions.rows))
        for strength, word in ((-2.0, "back"), (2.0, "forth")):
            self.set("directions.strength.0", strength)
            self.shoot(f"direction-{word}", f"{name} at {strength:+.0f} standard deviations.")

    def save(self) -> None:
        """The volume in both spaces, the latent, the recipe."""
        self.explorer.panel("Export")
        self.find("export.folder").setText(str(self.out))
        self.find("export.overwrite").setChecked(True)
        self.find("export.native").setChecked(True)
        self.click("export.save")
        self.wait_for(lambda: not self.explorer.exporting.job.running, "saving")
        self.click("export.save_latent")
        self.shoot("saved", "Saved as NIfTI in both spaces, with the recipe beside it.")

    def find(self, name: str) -> Any:
        """The control of that object name."""
        from qtpy.QtWidgets import QWidget

        for root in (self.explorer, self.explorer.views):
            widget = root and root.findChild(QWidget, name)
            if widget is not None:
                return widget
        raise TourError(f"The window has no control named {name}.")

    def click(self, name: str) -> None:
        """Press a button."""
        self.find(name).click()

    def set(self, name: str, value: float) -> None:
        """Type a number into a spin box, or the number beside a slider."""
        widget = self.find(name)
        getattr(widget, "spin", widget).setValue(value)

    def choose(self, name: str, data: Any) -> None:
        """Choose an entry of a list by its data."""
        box = self.find(name)
        box.setCurrentIndex(box.findData(data))

    def shoot(self, name: str, text: str, numbered: bool = True) -> None:
        """Save a picture of the whole window once it rests."""
        self.wait_for(lambda: not self.explorer.rendering.busy, name)
        self.rest(SETTLE_S)
        self.wait_for(lambda: not self.explorer.rendering.busy, name)
        file = f"{len(self.pictures) + 1:02d}-{name}.png" if numbered else f"{name}.png"
        self.viewer.window.screenshot(str(self.out / file), canvas_only=False, flash=False)
        if numbered:
            self.pictures.append((file, text))
            print(f"{file}: {text}", flush=True)

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        """Let the window work until something is so; TourError if the explorer reports an error."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            self.rest(0.02)
            if self.explorer.message.text():
                raise TourError(self.explorer.message.text())
            if time.monotonic() > end:
                raise TourError(f"Waiting for {what} took too long: run the tour again.")

    @staticmethod
    def rest(seconds: float) -> None:
        """Let the window work for a while."""
        from qtpy.QtTest import QTest

        QTest.qWait(round(1000 * seconds))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tour; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.virtual or not has_display():
            start_virtual_screen()
        walk(args.out, args.model, args.frame)
    except (NoScreenError, TourError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="stylegan3d-tour",
        description="Walk through the explorer by itself; leaves screenshots and volumes.",
        epilog="example: stylegan3d-tour --out tour-output",
    )
    result.add_argument("--out", type=Path, default=Path(OUT), help=f"folder; default: {OUT}")
    add_model_options(result)
    result.add_argument(
        "--virtual", action="store_true", help="use a virtual screen even where there is a display"
    )
    return result


def walk(out: Path, model: Path | None, frame: str | None = None) -> None:
    """Open the window, take the tour, write the page, close."""
    started = time.monotonic()
    viewer, explorer = open_window(model, frame=frame)
    try:
        tour = Tour(viewer, explorer, out.absolute())
        tour.run()
        write_page(out, tour.pictures)
    finally:
        viewer.close()
    minutes = (time.monotonic() - started) / 60
    print(f"{len(tour.pictures)} pictures and the saved files are in {out} ({minutes:.1f} min);")
    print(f"open {out / 'index.html'} to look through them.")


if __name__ == "__main__":
    sys.exit(main())
