"""What the kinds of `stylegan3d train` share: options, progress, and what is printed at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import emit, progress

if TYPE_CHECKING:
    from stylegan3d.training.run import How, Run

NEW_ONLY = "is for new runs, not --resume"
STOPPED = "stopped before its end; continue with --resume"

RunOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue from the last checkpoint of the run.")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of all randomness; new runs only.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
ExportOption = Annotated[
    Path | None, typer.Option("--export", help="Write the trained model to this folder at the end.")
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", help="Name of the model.", show_default="the export folder's name"),
]
LicenceOption = Annotated[
    str | None,
    typer.Option("--licence", help="Licence of the weights.", show_default="the data's"),
]
AttributionOption = Annotated[
    str | None,
    typer.Option("--attribution", help="Whom users must name, if the data's licences ask for it."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="Columns of the data set's table that random brains can be drawn for, joined by "
        "commas, such as age,sex; for --export.",
    ),
]
MapsOption = Annotated[
    Path,
    typer.Option(
        "--labels",
        help="Folder with labels.tsv and label maps of people on the data set's grid, such as "
        "sub-01_dseg.nii.gz.",
    ),
]
AboutOption = Annotated[
    Path | None,
    typer.Option("--about", help="JSON object with further entries of its card, such as limits."),
]


def steps_option(default: str) -> Any:
    """The option `--steps` of a kind with this many by default."""
    return typer.Option(
        "--steps", min=1, help="Training steps; new runs only.", show_default=default
    )


def columns(words: str | None) -> list[str]:
    """Names joined by commas."""
    return [word.strip() for word in (words or "").split(",") if word.strip()]


@contextmanager
def how_to_train(resume: bool, device: str) -> Iterator[How]:
    """How to train, with a progress bar, or on a log a line now and then."""
    from stylegan3d.devices import choose_device

    fewest = sys.maxsize
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            nonlocal fewest
            fewest = min(fewest, len(figures))
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note=note)
            measured = len(figures) > fewest or done == total
            if not sys.stderr.isatty() and (measured or done % 100 == 0):
                typer.echo(f"{done} of {total} steps, {note}", err=True)

        yield {
            "resume": resume,
            "device": choose_device(device),
            "progress": show,
            "preparing": lambda done, total: bar(done, total, note="preparing the data"),
            "tell": lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        }


def conclude(
    run: Run[Any],
    out: Path,
    export: Path | None,
    write: Callable[[], object],
    *,
    word: str,
    lines: Callable[[dict[str, float]], list[str]],
    as_json: bool,
    more: dict[str, Any] | None = None,
) -> None:
    """Export a finished run, and print what came of it.

    Parameters
    ----------
    out, export : Path, Path or None
        Folders of the run and of what it is exported to.
    write : callable
        Exports it.
    word : str
        Key of the figures in the JSON object.
    lines : callable
        Words the figures.
    more : dict of str to object or None
        Further entries of the JSON object.
    """
    figures = {name: round(value, 4) for name, value in run.measured.items()}
    told = [f"{out}: {run.steps} steps of training", *(lines(figures) if figures else [])]
    result = {"run": str(out), "steps": run.steps, word: figures, "export": None} | (more or {})
    if run.steps < run.settings.steps:
        told.append(STOPPED)
    elif export is not None:
        write()
        result["export"] = str(export)
        told.append(f"{export}: the trained model")
    emit(result, told, as_json=as_json)
