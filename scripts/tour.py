"""A tour of the explorer that operates itself and saves pictures and volumes.

    python scripts/tour.py --out tour-output    what `make run` does without a display
    python scripts/tour.py --gif tour.gif       the same as a film

It operates the real window by the object names of its controls.
"""

from __future__ import annotations

import argparse
import html
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tour_film import film
from tour_stops import STOPS, Tour, TourError

from napari_stylegan3d.app.window import (
    BrokenBindingError,
    add_model_options,
    has_display,
    open_window,
)
from stylegan3d.storage.files import atomic_write_text

OUT = "tour-output"
SIZE = (1600, 1000)
PAGE = """<!doctype html>
<meta charset="utf-8">
<title>StyleGAN 3D: a tour of the explorer</title>
<style>
body {{ margin: 2em auto; max-width: 1100px; font: 16px/1.5 sans-serif; background: #23242b;
       color: #f0f1f2; }}
figure {{ margin: 0 0 2.5em; }}
img {{ width: 100%; border-radius: 6px; }}
figcaption {{ margin-top: .4em; color: #c3c8ce; }}
a {{ color: #8fa8ff; }}
</style>
<h1>A tour of the explorer</h1>
<p>Synthetic images: not for diagnosis.</p>
{figures}
<h2>Files</h2>
<ul>
{files}
</ul>
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tour; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        if args.virtual or not has_display():
            virtual_screen()
        walk(args)
    except (BrokenBindingError, TourError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="tour.py",
        description="Walk through the explorer by itself; leaves screenshots and volumes.",
        epilog="example: python scripts/tour.py --out tour-output",
    )
    result.add_argument("--out", type=Path, default=Path(OUT), help=f"folder; default: {OUT}")
    result.add_argument(
        "--gif", type=Path, help="instead, make a film of twenty seconds, such as tour.gif"
    )
    add_model_options(result)
    result.add_argument(
        "--virtual", action="store_true", help="use a virtual screen even where there is a display"
    )
    return result


def virtual_screen() -> None:
    """Make a virtual screen the display of this process and its children.

    It ends with its last client, not before: without it Qt would crash on the way out.

    Raises
    ------
    TourError
        If Xvfb is missing or does not start.
    """
    from pyvirtualdisplay import Display
    from pyvirtualdisplay.abstractdisplay import XStartError

    try:
        Display(size=SIZE, color_depth=24, extra_args=["-terminate"]).start()
    except (FileNotFoundError, XStartError) as error:
        raise TourError(
            f"There is no display, and Xvfb, which draws without one, did not start ({error}): "
            "install it (apt-get install xvfb) or run this where there is a display."
        ) from error
    # Qt's offscreen platform has no OpenGL of its own; the X11 one draws on Xvfb.
    os.environ["QT_QPA_PLATFORM"] = "xcb"


def walk(args: argparse.Namespace) -> None:
    """Open the window, run the tour or make the film, close."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stylegan3d-tour-") as home:
        as_on_the_first_day(Path(home))
        _walk(args.out, args.model, args.frame, args.gif)
    print(f"It took {(time.monotonic() - started) / 60:.1f} min.")


def as_on_the_first_day(home: Path) -> None:
    """Use a separate folder for settings and sessions of this process."""
    os.environ["XDG_CONFIG_HOME"] = str(home)
    os.environ["NAPARI_CONFIG"] = str(home / "napari.yaml")
    os.environ["STYLEGAN3D_SESSIONS"] = str(home / "sessions")


def _walk(out: Path, model: Path | None, frame: str | None, gif: Path | None) -> None:
    viewer, explorer = open_window(model, frame=frame)
    try:
        tour = Tour(viewer, explorer, out.absolute())
        if gif is not None:
            film(tour, gif)
            print(f"{gif}: {gif.stat().st_size / 1e6:.1f} MB")
            return
        for stop in STOPS:
            stop(tour)
        write_page(out, tour.pictures)
    finally:
        viewer.close()
    print(f"{len(tour.pictures)} pictures and the saved files are in {out};")
    print(f"open {out / 'index.html'} to look through them.")


def write_page(out: Path, pictures: Sequence[tuple[str, str]]) -> Path:
    """Write `index.html` with (file, text) pictures and links to the other files of the folder."""
    figures = "\n".join(
        f'<figure><img src="{file}" alt="{html.escape(text)}">'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
        for file, text in pictures
    )
    others = sorted(p.name for p in out.iterdir() if p.suffix not in (".png", ".html"))
    files = "\n".join(f'<li><a href="{html.escape(n)}">{html.escape(n)}</a></li>' for n in others)
    path = out / "index.html"
    atomic_write_text(path, PAGE.format(figures=figures, files=files), overwrite=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
