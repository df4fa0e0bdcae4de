"""What the verbs share: options, the model, progress and results.

A verb's module has `register(app)`. Anything slow to import (torch above all) is imported inside
the verb, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from stylegan3d.storage.jsontext import to_plain

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="A generator's folder, a network file (.pkl) of the original 3D-StyleGAN, or the name "
        "of a generator that comes along, such as vae-t1-2mm; without it, the bundled brain "
        "generator.",
    ),
]
FrameOption = Annotated[
    str | None,
    typer.Option(
        "--frame",
        help="Where the voxels of a network of the original 3D-StyleGAN lie, for its file does not "
        "say it: directions of the array's axes and voxel size in mm, such as LIA:2 or "
        "RAS:1x1x1.5.",
        show_default="LIA, as FreeSurfer conforms scans",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace files of the same names.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, for scripts.")
]
NoiseOption = Annotated[
    str | None,
    typer.Option("--noise", help="Layer noise: fixed, none, or a seed.", show_default="fixed"),
]
TruncationOption = Annotated[
    float | None,
    typer.Option(
        "--truncation",
        help="Truncation psi of random brains: 0 the average brain, 1 the whole variety.",
        show_default="0.7",
    ),
]
NativeOption = Annotated[
    bool,
    typer.Option(
        "--native",
        help="Write in the grid, orientation and intensities of the scan it was projected from.",
    ),
]
OntoScanOption = Annotated[
    Path | None,
    typer.Option(
        "--onto-scan",
        help="Add what the edit or mix changes to this, the scan that was projected, so that its "
        "fine detail stays; writes the change alone and the edited reconstruction, too, all in the "
        "scan's own grid.",
    ),
]


class Skull(StrEnum):
    """What to do about the skull."""

    AUTO = "auto"
    EXTRACT = "extract"
    KEEP = "keep"


class Report(Protocol):
    """Tells a progress bar how far the work is."""

    def __call__(self, done: float, total: float | None = None, note: str = "") -> None:
        """`done` out of `total`, which stays what it was if left out; `note` says at what."""


def open_model(path: Path | None, frame: str | None = None) -> Generator:
    """The generator of the `--model` and `--frame` options; ModelError if it cannot be opened.

    If its voxels' place is only assumed, a line on stderr says so.
    """
    with progress("Opening the model"):
        from stylegan3d.model.loading import load

        generator = load(path, frame=frame)
    if generator.frame_note:
        typer.echo(f"stylegan3d: {generator.frame_note}", err=True)
    return generator


def model_entry(generator: Generator) -> dict[str, Any]:
    """What `--json` says of the generator that made a result."""
    entry = {"name": generator.name, "sha256": generator.hash}
    if generator.frame is not None:
        entry |= {"frame": str(generator.frame), "frame_note": generator.frame_note}
    return entry


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Report]:
    """A progress bar on stderr while the block runs; silent where nobody watches."""
    if not sys.stderr.isatty():
        yield _say_nothing
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, note="")

        def report(done: float, total: float | None = None, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield report


def emit(result: dict[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """Print a verb's result on stdout: one JSON object, or lines for people."""
    if as_json:
        typer.echo(json.dumps(to_plain(result), ensure_ascii=False, allow_nan=False))
        return
    for line in lines:
        typer.echo(line)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, such as further entries of a card; StyleGAN3DError if none."""
    from stylegan3d.errors import StyleGAN3DError

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StyleGAN3DError(
            f"{path} cannot be read as JSON ({type(error).__name__}); give a text file with one "
            "JSON object."
        ) from error
    if not isinstance(found, dict):
        raise StyleGAN3DError(f"{path} does not hold a JSON object; give one, in braces.")
    return found


def _say_nothing(done: float, total: float | None = None, note: str = "") -> None:
    pass
