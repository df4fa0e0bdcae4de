"""`napari-stylegan3d [FILE]`: napari with the explorer open."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stylegan3d.app.qt_binding import BrokenBindingError, refuse_broken_binding

if TYPE_CHECKING:
    import napari

    from napari_stylegan3d.app.explorer import Explorer

TITLE = "StyleGAN 3D explorer"
SIZE = (1500, 950)
NO_DISPLAY = (
    "There is no display to open a window on: use the command line (stylegan3d --help), or in a "
    "checkout `make run`, which walks through the explorer on a virtual screen."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Open the explorer; returns the exit status."""
    args = parser().parse_args(argv)
    if not has_display():
        print(NO_DISPLAY, file=sys.stderr)
        return 2
    for path in (args.file, args.model):
        if path is not None and not path.exists():
            print(f"{path} does not exist: check the name.", file=sys.stderr)
            return 2
    if args.frame is not None and (wrong := wrong_frame(args.frame)):
        print(wrong, file=sys.stderr)
        return 2
    try:
        viewer, explorer = open_window(args.model, frame=args.frame)
    except BrokenBindingError as error:
        print(error, file=sys.stderr)
        return 2
    if args.timing:
        report_timing(explorer)
    if args.file is not None:
        explorer.ready.connect(lambda: explorer.open_scan(args.file))
    if args.screenshot is not None:
        explorer.ready.connect(lambda: leave_with_screenshot(viewer, args.screenshot))
    import napari

    napari.run()
    return 0


def add_model_options(result: argparse.ArgumentParser) -> None:
    """Options of the model and its frame."""
    result.add_argument(
        "--model",
        type=Path,
        help="a model folder or an official checkpoint (.pkl); default: the bundled model",
    )
    result.add_argument(
        "--frame",
        help="where the voxels of an official checkpoint lie: axes and size in mm, such as LIA:2",
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="napari-stylegan3d",
        description="Explore a 3D generative model of the brain in napari.",
        epilog="example: napari-stylegan3d scan_T1w.nii.gz --model network.pkl --frame LIA:2",
    )
    result.add_argument("file", nargs="?", type=Path, help="a scan to open in the Project tab")
    add_model_options(result)
    result.add_argument(
        "--timing", action="store_true", help="print startup times for window and first brain"
    )
    result.add_argument(
        "--screenshot", type=Path, help="save a picture of the first brain here, and quit"
    )
    return result


def wrong_frame(text: str) -> str:
    """Error of a `--frame`, in one sentence; empty if valid."""
    from stylegan3d.base import ModelError
    from stylegan3d.geometry.space import Frame

    try:
        Frame.parse(text)
    except ModelError as error:
        return str(error)
    return ""


def has_display() -> bool:
    """Whether a window can be opened."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(
    model: Path | None = None, size: tuple[int, int] = SIZE, frame: str | None = None
) -> tuple[napari.Viewer, Explorer]:
    """A napari window with the explorer docked; the model is loaded once it is shown.

    Raises
    ------
    BrokenBindingError
        If the Qt binding cannot be used; Qt is not imported then.
    """
    refuse_broken_binding()
    from napari_stylegan3d.core.jobs import SELDOM

    gc.set_threshold(*SELDOM)
    import napari

    from napari_stylegan3d.app.explorer import Explorer

    viewer = napari.Viewer(title=TITLE, show=False, show_welcome_screen=False)
    explorer = Explorer(viewer, model, frame)
    viewer.window.add_dock_widget(
        explorer, name="Explorer", area="right", add_vertical_stretch=False
    )
    viewer.window.show()
    fit_to_screen(viewer, size)
    return viewer, explorer


def fit_to_screen(viewer: napari.Viewer, size: tuple[int, int]) -> None:
    """Resize the window, no larger than the screen."""
    from qtpy.QtWidgets import QApplication

    screen = QApplication.primaryScreen().availableGeometry()
    viewer.window.resize(min(size[0], screen.width()), min(size[1], screen.height()))


def report_timing(explorer: Explorer) -> None:
    """Print seconds since the process started, at the window and at the first brain."""
    from qtpy.QtCore import QTimer

    QTimer.singleShot(0, lambda: print(f"window: {since_start():.2f} s", flush=True))
    explorer.ready.connect(lambda: print(f"first brain: {since_start():.2f} s", flush=True))


def since_start() -> float:
    """Seconds since the process started, including Python's start-up."""
    import psutil

    return time.time() - psutil.Process().create_time()


def leave_with_screenshot(viewer: napari.Viewer, path: Path) -> None:
    """Save the whole window once the 3D view has settled, and close."""
    from qtpy.QtCore import QTimer

    def save() -> None:
        viewer.window.screenshot(str(path), canvas_only=False, flash=False)
        viewer.close()

    QTimer.singleShot(1500, save)
