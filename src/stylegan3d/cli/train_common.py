"""Shared parts of `stylegan3d train`: options, progress, and final output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import JsonOption, OverwriteOption, emit, progress, refuse
from stylegan3d.plain import Json

if TYPE_CHECKING:
    from stylegan3d.training.run import How, Run

NEW_ONLY = "is for new runs, not --resume"
STOPPED = "stopped before its end; continue with --resume"
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")]


@dataclass(frozen=True)
class Resumable:
    """Options of all kinds."""

    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of the run.")
    ] = False
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the trained model to this folder at the end."),
    ] = None
    overwrite: OverwriteOption = False
    as_json: JsonOption = False


@dataclass(frozen=True)
class Training(Resumable):
    """Options of all kinds that train networks."""

    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto"

    def check(self, ctx: typer.Context, *new_only: str, files: Sequence[str] = ()) -> None:
        """Check options before training: export files, and options not allowed with --resume.

        Parameters
        ----------
        ctx : typer.Context
        new_only : str
            Python names of options for new runs only.
        files : sequence of str
            Files written to the export folder; by default those of a generator.
        """
        from stylegan3d.checkpoints.folder import check_target
        from stylegan3d.storage.volumes import check_output

        if self.resume:
            refuse(ctx, NEW_ONLY, "steps", "seed", *new_only)
        if self.export is not None and files:
            check_output([self.export / name for name in files], self.overwrite)
        elif self.export is not None:
            check_target(self.export, self.overwrite)


@dataclass(frozen=True)
class Licensed(Training):
    """Options of kinds that export weights with a licence."""

    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Licence of the weights.", show_default="the data's"),
    ] = None


@dataclass(frozen=True)
class Named(Licensed):
    """Options of kinds that export a generator."""

    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the model.", show_default="the export folder's name"),
    ] = None


@dataclass(frozen=True)
class WithLabels(Named):
    """Options of kinds with labels."""

    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Labels to learn: columns of the data set's table, joined by commas, such as "
            "age,sex; for --export.",
        ),
    ] = None
    attribution: Annotated[
        str | None,
        typer.Option("--attribution", help="Attribution required by the data's licences."),
    ] = None

    def exporting(self) -> Json:
        """Arguments of the export."""
        assert self.export is not None
        return {
            "out": self.export,
            "name": self.name or self.export.name,
            "labels": [word.strip() for word in (self.labels or "").split(",") if word.strip()],
            "licence": self.licence,
            "attribution": self.attribution,
            "overwrite": self.overwrite,
        }


@dataclass(frozen=True, kw_only=True)
class Described(Licensed):
    """Options of kinds whose card can be given further entries."""

    about: Annotated[
        Path | None,
        typer.Option(
            "--about", help="JSON object with further entries of its card, such as limits."
        ),
    ] = None

    def exporting(self, notes: Json | None) -> Json:
        """Arguments of the export."""
        return {
            "folder": self.export,
            "licence": self.licence,
            "notes": notes,
            "overwrite": self.overwrite,
        }


_MAPS = typer.Option(
    "--maps",
    help="Folder with labels.tsv and subjects' label maps on the data set's grid, such as "
    "sub-01_dseg.nii.gz.",
)


@dataclass(frozen=True, kw_only=True)
class FromMaps(Described):
    """Options of kinds trained on label maps."""

    maps: Annotated[Path, _MAPS]


@dataclass(frozen=True, kw_only=True)
class WithMaps(Described):
    """Options of kinds that may be trained without label maps."""

    maps: Annotated[Path | None, _MAPS] = None


@contextmanager
def how_to_train(options: Training) -> Iterator[How]:
    """Training callbacks with a progress bar, or log lines without a terminal."""
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
            "resume": options.resume,
            "device": choose_device(options.device),
            "progress": show,
            "preparing": lambda done, total: bar(done, total, note="preparing the data"),
            "tell": lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        }


def conclude(
    run: Run[Any],
    out: Path,
    options: Training,
    write: Callable[[], object],
    *,
    word: str,
    lines: Callable[[dict[str, float]], list[str]],
    more: dict[str, Any] | None = None,
) -> None:
    """Export a finished run, and print the results.

    Parameters
    ----------
    out : Path
        Folder of the run.
    write : callable
        Export function.
    word : str
        Key of the figures in the JSON object.
    lines : callable
        Formats the figures.
    more : dict of str to object or None
        Further entries of the JSON object.
    """
    figures = {name: round(value, 4) for name, value in run.measured.items()}
    notes = [f"{out}: {run.steps} steps of training", *(lines(figures) if figures else [])]
    result = {"run": str(out), "steps": run.steps, word: figures, "export": None} | (more or {})
    if run.steps < run.settings.steps:
        notes.append(STOPPED)
    elif options.export is not None:
        write()
        result["export"] = str(options.export)
        notes.append(f"{options.export}: the trained model")
    emit(result, notes, as_json=options.as_json)
