"""What the kinds of training have in common: their options, and how they train and report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from stylegan3d.cli.common import (
    DataArgument,
    JsonOption,
    OverwriteOption,
    emit,
    progress,
    read_object,
    refuse,
)
from stylegan3d.cli.groups import grouped
from stylegan3d.plain import Json
from stylegan3d.progress import Progress

if TYPE_CHECKING:
    from stylegan3d.training.run import How, Run

NEW_ONLY = "is for new runs, not --resume"
STOPPED = "stopped before its end; continue with --resume"
RunOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")]


@dataclass(frozen=True)
class Plan:
    """One training that a kind has prepared.

    Attributes
    ----------
    train : callable
        Trains, see `stylegan3d.training.run.train`.
    export : callable
        Writes the model of a finished run.
    lines : callable
        The figures in words.
    more : dict of str to object
        Further entries of the JSON object.
    """

    train: Callable[..., Run[Any]]
    export: Callable[[Run[Any], Progress], object]
    lines: Callable[[dict[str, float]], list[str]]
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class NoSettings:
    """Settings of a kind whose options are all its own."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of training: its options, its help (the docstring), and how it uses them.

    Attributes
    ----------
    settings : type
        Settings whose fields are options too.
    word : str
        Key of the figures in the JSON object.
    fixed, new_only : tuple of str
        Names of options that are for new runs only: of nearly all kinds, and of this one.
    files : tuple of str
        What an export writes; empty for a generator's folder.
    """

    settings: ClassVar[type] = NoSettings
    word: ClassVar[str] = "measured"
    fixed: ClassVar[tuple[str, ...]] = ("steps", "seed")
    new_only: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    data: DataArgument
    out: RunOption
    device: str = "cpu"
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of the run.")
    ] = False
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the trained model to this folder at the end."),
    ] = None
    overwrite: OverwriteOption = False
    as_json: JsonOption = False

    def plan(self, settings: Any) -> Plan:
        """Read the data and prepare the training; `settings` are of the class `settings`."""
        raise NotImplementedError

    def check(self, ctx: typer.Context, *new_only: str) -> None:
        """Check, before anything is read, the folder of the export and what --resume excludes."""
        from stylegan3d.checkpoints.folder import check_target
        from stylegan3d.storage.volumes import check_output

        if self.resume:
            refuse(ctx, NEW_ONLY, *self.fixed, *self.new_only, *new_only)
        if self.export is not None and self.files:
            check_output([self.export / name for name in self.files], self.overwrite)
        elif self.export is not None:
            check_target(self.export, self.overwrite)

    @property
    def target(self) -> Path:
        """Folder of the export, if there is one."""
        assert self.export is not None
        return self.export


@dataclass(frozen=True, kw_only=True)
class Training(Kind):
    """A kind that may use an accelerator."""

    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto"


@dataclass(frozen=True, kw_only=True)
class Licensed(Training):
    """A kind that exports weights with a licence."""

    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Licence of the weights.", show_default="the data's"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Named(Licensed):
    """A kind that exports a generator."""

    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the model.", show_default="the export folder's name"),
    ] = None
    attribution: Annotated[
        str | None,
        typer.Option("--attribution", help="Attribution required by the data's licences."),
    ] = None

    def exporting(self) -> Json:
        """Arguments of the export."""
        return {
            "out": self.target,
            "name": self.name or self.target.name,
            "licence": self.licence,
            "attribution": self.attribution,
            "overwrite": self.overwrite,
        }


@dataclass(frozen=True, kw_only=True)
class WithLabels(Named):
    """A kind with labels."""

    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Labels to learn: columns of the data set's table, joined by commas, such as "
            "age,sex; for --export.",
        ),
    ] = None

    def exporting(self) -> Json:
        """Arguments of the export."""
        words = [word.strip() for word in (self.labels or "").split(",") if word.strip()]
        return super().exporting() | {"labels": words}


MapsOption = typer.Option(
    "--maps",
    help="Folder with labels.tsv and subjects' label maps on the data set's grid, such as "
    "sub-01_dseg.nii.gz.",
)


@dataclass(frozen=True, kw_only=True)
class FromMaps(Licensed):
    """A kind that learns from label maps, and whose card can be given further entries."""

    maps: Annotated[Path | None, MapsOption] = None
    about: Annotated[
        Path | None,
        typer.Option(
            "--about", help="JSON object with further entries of its card, such as limits."
        ),
    ] = None

    def exporting(self) -> Json:
        """Arguments of the export."""
        return {
            "folder": self.export,
            "licence": self.licence,
            "notes": None if self.about is None else read_object(self.about),
            "overwrite": self.overwrite,
        }


def verb_of(kind: type[Kind]) -> Callable[..., None]:
    """The command that trains a kind."""

    def verb(ctx: typer.Context, options: Kind, settings: Any) -> None:
        options.check(ctx)
        plan = options.plan(settings)
        with _how(options) as how:
            run = plan.train(**how)
        if run.team.leads:
            _conclude(run, options, plan)

    verb.__annotations__ |= {"options": kind, "settings": kind.settings}
    return grouped(verb)


@contextmanager
def _how(options: Kind) -> Iterator[How]:
    """Training callbacks with a progress bar, or log lines without a terminal."""
    from stylegan3d.devices import choose_device

    fewest = sys.maxsize
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            nonlocal fewest
            fewest = min(fewest, len(figures))
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note)
            measured = len(figures) > fewest or done == total
            if not sys.stderr.isatty() and (measured or done % 100 == 0):
                typer.echo(f"{done} of {total} steps, {note}", err=True)

        yield {
            "resume": options.resume,
            "device": choose_device(options.device),
            "progress": show,
            "preparing": bar.part(0, 1, text=lambda _: "preparing the data"),
            "tell": lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        }


def _conclude(run: Run[Any], options: Kind, plan: Plan) -> None:
    """Export a finished run, and print the results."""
    figures = {name: round(value, 4) for name, value in run.measured.items()}
    notes = [f"{options.out}: {run.steps} steps of training"]
    notes += plan.lines(figures) if figures else []
    result = {"run": str(options.out), "steps": run.steps, options.word: figures, "export": None}
    result |= plan.more
    if run.steps < run.settings.steps:
        notes.append(STOPPED)
    elif options.export is not None:
        with progress("Exporting") as bar:
            plan.export(run, bar)
        result["export"] = str(options.export)
        notes.append(f"{options.export}: the trained model")
    emit(result, notes, as_json=options.as_json)
