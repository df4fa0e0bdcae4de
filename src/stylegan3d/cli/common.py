"""Shared parts of the commands: options, model, progress and results.

Slow imports (above all torch) happen inside the commands, so that `--help` is fast. Options of
several commands are declared here, with one help text and default.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.errors import OutputError, StyleGAN3DError
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.settings import Choices
from stylegan3d.settings.export import ExportSettings
from stylegan3d.settings.option import options_of
from stylegan3d.storage.jsontext import read_json, to_plain

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def described(settings: type, name: str, show_default: str | bool = True) -> Any:
    """The command-line option of a field of typed settings.

    Parameters
    ----------
    settings : type
        A class of `stylegan3d.settings`.
    name : str
        Name of the field.
    show_default : str or bool
        Default in words, if the command's is another.
    """
    known = next(known for known in options_of(settings) if known.name == name)
    option = known.option
    flag = option.flag or f"--{name.replace('_', '-')}"
    allowed_words = option.range
    if option.choices is not None:
        allowed_words = "; ".join(
            str(value) if word.casefold() == str(value) else f"{value}: {word}"
            for value, word in option.choices.items()
        )
    label, text = option.label, option.help
    words = len(label.split())
    if known.kind is bool and words > 2:  # such as "Return to the first brain"
        text = f"{label}. {text}"
    elif known.kind is not bool and words < 3 and label.casefold() not in text.casefold():
        text = f"{label}: {text[0].lower()}{text[1:]}"

    def allowed(value: Any) -> Any:
        problem = option.problem(value)
        if problem:
            raise StyleGAN3DError(f"{flag} {problem}.")
        return value

    help_ = f"{text[:-1]} ({allowed_words})." if allowed_words else text
    return typer.Option(flag, help=help_, callback=allowed, show_default=show_default)


ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="Model to use: a model folder, the name of a bundled model such as vae-t1-2mm, or a "
        "network file (.pkl) of the original 3D-StyleGAN.",
        show_default="the bundled brain generator",
    ),
]
FrameOption = Annotated[
    str | None,
    typer.Option(
        "--frame",
        help="Axes and voxel size (mm) of a network file of the original 3D-StyleGAN, which does "
        "not record them, such as LIA:2 or RAS:1x1x1.5.",
        show_default="LIA, FreeSurfer's orientation",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Output folder.")]
OverwriteOption = Annotated[bool, described(ExportSettings, "overwrite")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object, for scripts.")
]
TruncationOption = Annotated[
    float,
    typer.Option(
        "--truncation",
        help="Truncation psi of random brains: 0 is the average brain, 1 the full variety.",
    ),
]
NoiseOption = Annotated[
    str, typer.Option("--noise", help="Layer noise: fixed, none, or a seed for random noise.")
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        help="Labels of random brains, for a conditional model: values such as age=70,sex=F, or "
        "the label's numbers, such as 0,1.",
    ),
]
ChannelOption = Annotated[int, described(Choices, "channel")]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", help="Random brains by seed, such as 0-3,7.")
]
NativeOption = Annotated[
    bool,
    typer.Option(
        "--native",
        help="Write in the projected scan's native space: its grid, orientation and intensities.",
    ),
]
ScanOption = Annotated[
    Path | None,
    typer.Option(
        "--scan",
        help="Edit this scan itself, the one that was projected: its own detail moves along. Also "
        "writes what changed, the map of movement and the edited reconstruction, in native space.",
    ),
]
DetailOption = Annotated[
    float | None,
    typer.Option(
        "--detail",
        min=0.0,
        max=1.0,
        help="How much of the scan's own detail is shown: 0 is the model's brain, 1 the edited "
        "scan.",
        show_default="1 with --scan or --detail-of, else 0",
    ),
]
DetailOfOption = Annotated[
    Path | None,
    typer.Option(
        "--detail-of",
        help="Latent file of a projected scan; the brain gets its detail. The scan lies beside "
        "it, or is given with --scan.",
    ),
]
ScansOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--scan",
        help="The scan whose own detail recipes show, if it does not lie beside its latent file; "
        "may be repeated.",
    ),
]
SkullOption = Annotated[str, described(Choices, "skull")]
VolumeOption = Annotated[int | None, described(Choices, "volume")]
SeriesOption = Annotated[str | None, described(Choices, "series")]
OrientationOption = Annotated[str | None, described(Choices, "orientation")]
JobsOption = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, help="Scans processed in parallel, 3 GB of memory each."),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Cache of results computed from scans (brain masks, bias fields, alignments, "
        "features), to speed up later runs. Treat it as patient data.",
        show_default="no cache",
    ),
]
NetworkOption = Annotated[
    Path | None,
    typer.Option(
        "--network", help="Folder of a network you trained.", show_default="the bundled network"
    ),
]


class Sex(StrEnum):
    """Of a person in a scan."""

    F = "F"
    M = "M"


AgeOption = Annotated[
    float | None,
    typer.Option(
        "--age",
        min=0,
        max=120,
        help="Age in years, for percentiles (18 to 80).",
        show_default="as the scan's files say, if they do",
    ),
]
SexOption = Annotated[
    Sex | None,
    typer.Option(
        "--sex", case_sensitive=False, help="Sex, for percentiles.", show_default="as for --age"
    ),
]
NormsOption = Annotated[
    Path | None,
    typer.Option(
        "--norms",
        help="Norms of your own: a table of people (.csv, .tsv) with age, sex and the measures of "
        "`stylegan3d segment`, or a .json file of norms.",
        show_default="those of the bundled networks",
    ),
]
DataArgument = Annotated[Path, typer.Argument(help="Data set made by `stylegan3d prepare`.")]


def refuse(ctx: typer.Context, why: str, *names: str) -> None:
    """Raise BadParameter if one of these options was given on the command line.

    Parameters
    ----------
    ctx : typer.Context
    why : str
        Reason, such as "needs --fit".
    names : str
        Python names of the parameters.
    """
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{parameter.opts[0]} {why}.")


def open_model(path: Path | None, frame: str | None = None) -> Generator:
    """The generator of the `--model` and `--frame` options; ModelError if it cannot be opened.

    Warns on stderr if its frame is assumed.
    """
    with progress("Opening the model"):
        from stylegan3d.model.loading import load

        generator = load(path, frame=frame)
    if generator.frame_note:
        typer.echo(f"stylegan3d: {generator.frame_note}", err=True)
    return generator


def model_entry(generator: Generator) -> Json:
    """The entry of a generator in `--json` output."""
    entry = {"name": generator.name, "sha256": generator.hash}
    if generator.frame is not None:
        entry |= {"frame": str(generator.frame), "frame_note": generator.frame_note}
    return entry


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A progress bar on stderr while the block runs; silent unless stderr is a terminal."""
    if not sys.stderr.isatty():
        yield SILENT
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, note="")

        def tell(done: float, total: float, text: str, detail: str) -> None:
            note = ", ".join(filter(None, (text, detail)))
            bar.update(task, completed=done, total=total, note=note)

        yield Progress(tell)


def emit(result: Json, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a command's result on stdout: one JSON object, or lines of text.

    Raises
    ------
    OutputError
        If stdout cannot be written to, such as on a full disk.
    """
    if as_json:
        lines = [json.dumps(to_plain(result), ensure_ascii=False, allow_nan=False)]
    try:
        for line in lines:
            typer.echo(line)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # the reader, such as `head`, has closed the pipe
        # Otherwise Python would flush the buffer at exit and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(
            f"The result cannot be printed ({error.strerror}): redirect it to a file."
        ) from error


def read_object(path: Path) -> Json:
    """The JSON object in a file, such as entries of a card; StyleGAN3DError if there is none."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise StyleGAN3DError(
            f"{path} cannot be read as JSON ({type(error).__name__}); give a text file with one "
            "JSON object."
        ) from error
    if not isinstance(found, dict):
        raise StyleGAN3DError(f"{path} does not contain a JSON object; give one, in braces.")
    return found
