"""`stylegan3d-tour`: walk through the explorer by itself, and leave pictures and volumes.

It works the real window through the object names of its controls, as a person or a test would, so
the pictures show what a person would see.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stylegan3d.app.qt_binding import BrokenBindingError
from napari_stylegan3d.app.tour_page import write_page
from napari_stylegan3d.app.tour_stops import STOPS
from napari_stylegan3d.app.virtual_screen import NoScreenError, start_virtual_screen
from napari_stylegan3d.app.window import add_model_options, has_display, open_window

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_stylegan3d.app.explorer import Explorer

OUT = "tour-output"
#: Longer than anything in the tour takes on two cores.
PATIENCE_S = 1800.0
#: The 3D view follows once changes have settled.
SETTLE_S = 1.0
#: Small pictures are all there when none came for so long; the longest wait for them.
QUIET_S, THUMBNAILS_S = 2.5, 30.0


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
        self._drawn_at = 0.0

    def run(self) -> None:
        """All stops, in order."""
        self.explorer.thumbnails.ready.connect(self._on_thumbnail)
        for stop in STOPS:
            stop(self)

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

    def shoot(self, name: str, text: str, *, errors: bool = True) -> None:
        """Save a picture of the whole window once it rests."""
        for _ in range(2):
            self.wait_for(lambda: not self.explorer.rendering.busy, name, errors=errors)
            self.rest(SETTLE_S / 2)
        path = self._file(name, text)
        self.viewer.window.screenshot(str(path), canvas_only=False, flash=False)

    def shoot_window(self, window: QWidget, name: str, text: str) -> None:
        """Save a picture of a window beside the main one, and close it."""
        self.wait_for(window.isVisible, name)
        self.rest(SETTLE_S / 2)
        window.grab().save(str(self._file(name, text)))
        window.close()

    def wait_for_thumbnails(self) -> None:
        """Let small pictures appear until there come no more."""
        self._drawn_at = time.monotonic()
        end = self._drawn_at + THUMBNAILS_S
        self.wait_for(
            lambda: time.monotonic() > min(self._drawn_at + QUIET_S, end), "the small pictures"
        )

    def wait_for(self, condition: Callable[[], Any], what: str, *, errors: bool = True) -> None:
        """Let the window work until something is so.

        Raises
        ------
        TourError
            If the explorer reports an error (unless one is expected), or it takes too long.
        """
        end = time.monotonic() + PATIENCE_S
        while not condition():
            self.rest(0.02)
            if errors and self.explorer.message.text():
                raise TourError(self.explorer.message.text())
            if time.monotonic() > end:
                raise TourError(f"Waiting for {what} took too long: run the tour again.")

    def _on_thumbnail(self, *_: object) -> None:
        self._drawn_at = time.monotonic()

    def _file(self, name: str, text: str) -> Path:
        file = f"{len(self.pictures) + 1:02d}-{name}.png"
        self.pictures.append((file, text))
        print(f"{file}: {text}", flush=True)
        return self.out / file

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
    except (BrokenBindingError, NoScreenError, TourError, OSError) as error:
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
    with tempfile.TemporaryDirectory(prefix="stylegan3d-tour-") as home:
        as_on_the_first_day(Path(home))
        _walk(out, model, frame)
    print(f"It took {(time.monotonic() - started) / 60:.1f} min.")


def as_on_the_first_day(home: Path) -> None:
    """Settings and sessions of this process go to a folder of its own."""
    os.environ["XDG_CONFIG_HOME"] = str(home)
    os.environ["NAPARI_CONFIG"] = str(home / "napari.yaml")
    os.environ["STYLEGAN3D_SESSIONS"] = str(home / "sessions")


def _walk(out: Path, model: Path | None, frame: str | None) -> None:
    viewer, explorer = open_window(model, frame=frame)
    try:
        tour = Tour(viewer, explorer, out.absolute())
        tour.run()
        write_page(out, tour.pictures)
    finally:
        viewer.close()
    print(f"{len(tour.pictures)} pictures and the saved files are in {out};")
    print(f"open {out / 'index.html'} to look through them.")


if __name__ == "__main__":
    sys.exit(main())
