"""Shared parts of the commands: options, model, progress and results.

Slow imports (above all torch) happen inside the commands, so that `--help` is fast. Options of
several commands are declared here, with one help text and default.
"""

from __future__ import annotations

import errno
import inspect
import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import partial, wraps
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin, get_type_hints

import typer

from stylegan3d import base
from stylegan3d.geometry.space import PLANES, Plane
from stylegan3d.projection.settings import Choices
from stylegan3d.recipe.model import TRUNCATION, Noise
from stylegan3d.recipe.recipe import Edit, Label, Recipe, Source, Truncation
from stylegan3d.settings.option import ExportSettings, options_of
from stylegan3d.storage.encoding import LONGEST_NUMBER, read_json, to_plain
from stylegan3d.storage.files import reason

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: What the program tells beside its results; libraries' own records go to a log file only.
log = logging.getLogger(__name__)


class Spoken(logging.Handler):
    """Prints on what is stderr now: progress as it is, all else with the program's name."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; progress lines only where there is no bar."""
        if record.levelno >= logging.WARNING:
            typer.echo(f"stylegan3d: {record.getMessage()}", err=True)
        elif not sys.stderr.isatty():
            typer.echo(record.getMessage(), err=True)


# Parse command-line text into parts of a recipe; RecipeError if invalid.

_MOST_NUMBERS = 100_000


def parse_numbers(text: str, called: str) -> list[int]:
    """Whole numbers from a list with ranges, both ends included: "0-3,7" -> [0, 1, 2, 3, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first = int(match[1][:LONGEST_NUMBER]) if match else 1
        last = int(match[2][:LONGEST_NUMBER] if match[2] else first) if match else 0
        if last < first:
            raise base.RecipeError(f"{part!r} in {called} is not a number or range such as 0-3,7.")
        if last - first + len(numbers) >= _MOST_NUMBERS:
            raise base.RecipeError(
                f"{called} has more than {_MOST_NUMBERS} numbers: ask for fewer."
            )
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def parse_noise(text: str) -> Noise:
    """The recipe's noise from "fixed", "none" or a seed."""
    if text == "fixed":
        return "fixed"
    if text == "none":
        return "none"
    if not text.isdecimal():
        raise base.RecipeError(f"{text!r} is not a noise setting: use fixed, none or a seed.")
    return int(text[:LONGEST_NUMBER])


def parse_label(text: str | None) -> Label | None:
    """A label from "age=70,sex=F" or, for a model without named labels, "0,1"."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    named = [part.split("=", 1) for part in parts if "=" in part]
    names = {name.strip() for name, _ in named}
    try:
        if not named:
            return Label(numbers=tuple(float(part) for part in parts))
        if len(names) != len(parts):
            raise ValueError
    except ValueError:
        raise base.RecipeError(
            f"{text!r} is not a label: give each label of the model once, such as age=70,sex=F, or "
            "its numbers, such as 0,1."
        ) from None
    return Label(values=tuple((name.strip(), _number_or_text(value)) for name, value in named))


def _number_or_text(text: str) -> int | float | str:
    """A number if formatting it gives the same text: 07 may be the name of a site."""
    text = text.strip()
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(text)
            if str(number) == text:
                return number
    return text


def parse_source(text: str) -> Source:
    """A seed if the text is a whole number, else a latent file."""
    if text.isdecimal():
        return Source("seed", int(text[:LONGEST_NUMBER]))
    return Source.from_file(text)


def parse_strengths(strength: str | None, layers: str | None, num_layers: int) -> tuple[float, ...]:
    """Mix strengths, one per layer.

    Parameters
    ----------
    strength : str or None
        One number for all layers, or one per layer, such as "1,1,0.5,0".
    layers : str or None
        Layers to mix, such as "0-3"; the others have strength 0. With it, `strength` is a single
        number, by default 1.
    num_layers : int
    """
    if strength is None:
        strength = "0.5" if layers is None else "1"
    try:
        values = [float(part) for part in strength.split(",")]
    except ValueError:
        raise base.RecipeError(
            f"{strength!r} is not a mix strength: give a number from 0 to 1, or one per layer."
        ) from None
    if layers is None:
        return tuple(values * num_layers if len(values) == 1 else values)
    chosen = parse_numbers(layers, "--layers")
    if len(values) != 1 or max(chosen) >= num_layers:
        raise base.RecipeError(
            f"--layers takes numbers from 0 to {num_layers - 1} and requires a single --strength."
        )
    return tuple(values[0] if layer in chosen else 0.0 for layer in range(num_layers))


def parse_edits(texts: Sequence[str]) -> tuple[Edit, ...]:
    """Edits from texts such as "PC 1=2.0" or, for layers 0 to 3 only, "PC 1=2.0@0-3"."""
    return tuple(_parse_edit(text) for text in texts)


def _parse_edit(text: str) -> Edit:
    match = re.fullmatch(r"(.+)=\s*([^=@]+?)\s*(?:@\s*(\d+)\s*-\s*(\d+)\s*)?", text)
    try:
        if match is None:
            raise ValueError
        strength = float(match[2])
    except ValueError:
        raise base.RecipeError(
            f'{text!r} is not an edit: give a direction and a strength, such as "PC 1=2.0".'
        ) from None
    numbers = [int(digits[:LONGEST_NUMBER]) for digits in match.group(3, 4) if digits]
    layers = (numbers[0], numbers[1] + 1) if numbers else None
    return Edit(match[1].strip(), strength, layers)


def parse_point(text: str | None) -> tuple[float, float, float] | None:
    """Millimetres (RAS+) from "0,-20,10"."""
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
        if not all(map(math.isfinite, (x, y, z))):
            raise ValueError
    except ValueError:
        raise base.RecipeError(
            f"{text!r} is not a point: give three coordinates in mm, such as 0,-20,10."
        ) from None
    return x, y, z


def parse_planes(text: str) -> tuple[Plane, ...]:
    """Planes from "axial,coronal"."""
    words = [part.strip().lower() for part in text.split(",")]
    chosen = tuple(plane for word in words for plane in PLANES if plane == word)
    if len(chosen) != len(words) or len(set(chosen)) != len(chosen):
        raise base.RecipeError(f"{text!r} are not planes: use {', '.join(PLANES)}, once each.")
    return chosen


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
            raise base.StyleGAN3DError(f"{flag} {problem}.")
        return value

    help_ = f"{text[:-1]} ({allowed_words})." if allowed_words else text
    return typer.Option(flag, help=help_, callback=allowed, show_default=show_default)


ModelOption = Annotated[
    Path | None,
    typer.Option(
        help="Model to use: a model folder, the name of a bundled model such as vae-t1-2mm, or a "
        "network file (.pkl) of the original 3D-StyleGAN.",
        show_default="the bundled brain generator",
    ),
]


def _use_device(ctx: typer.Context, name: str) -> str:
    if name != "auto":
        from stylegan3d.devices import DEVICE, choose_device

        ctx.call_on_close(partial(os.environ.update, {DEVICE: os.environ.get(DEVICE, "auto")}))
        os.environ[DEVICE] = str(choose_device(name))
    return name


DeviceOption = Annotated[
    str, typer.Option("--device", callback=_use_device, help="auto, cpu, cuda or mps.")
]
FrameOption = Annotated[
    str | None,
    typer.Option(
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
        help="Truncation psi of random brains: 0 is the average brain, 1 the full variety."
    ),
]
SeedsOption = Annotated[str | None, typer.Option(help="Random brains by seed, such as 0-3,7.")]
ScansOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="The scan whose own detail recipes show, if it is not beside its latent file; "
        "may be repeated."
    ),
]
SkullOption = Annotated[str, described(Choices, "skull")]
SeriesOption = Annotated[str | None, described(Choices, "series")]
JobsOption = Annotated[
    int,
    typer.Option("--jobs", "-j", min=1, help="Scans processed in parallel, 3 GB of memory each."),
]
SchedulerOption = Annotated[
    str | None, typer.Option(help="Address of a Dask cluster to work on, one task per scan.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        help="Cache of results computed from scans (brain masks, bias fields, alignments, "
        "features), to speed up later runs. Treat it as patient data.",
        show_default="no cache",
        envvar="STYLEGAN3D_CACHE",
    ),
]
NetworkOption = Annotated[
    Path | None,
    typer.Option(help="Folder of a network you trained.", show_default="the bundled network"),
]


class Sex(StrEnum):
    """Of a person in a scan."""

    F = "F"
    M = "M"


AgeOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=120,
        help="Age in years, for percentiles (18 to 80).",
        show_default="as the scan's files say, if they do",
    ),
]
SexOption = Annotated[
    Sex | None,
    typer.Option(case_sensitive=False, help="Sex, for percentiles.", show_default="as for --age"),
]
NormsOption = Annotated[
    Path | None,
    typer.Option(
        help="Norms of your own: a table of people (.csv, .tsv) with age, sex and the measures of "
        "`stylegan3d segment`, or a .json file of norms.",
        show_default="those of the bundled networks",
    ),
]
DataArgument = Annotated[Path, typer.Argument(help="Dataset made by `stylegan3d prepare`.")]


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


def open_model(
    path: str | Path | None, frame: str | None = None, device: str = "auto"
) -> Generator:
    """The generator of the `--model` and `--frame` options; ModelError if it cannot be opened.

    Warns on stderr if its frame is assumed, or its export was cut off.
    """
    with progress("Opening the model"):
        from stylegan3d.model.generator import load

        generator = load(path, frame=frame, device=device)
    print_doubts(generator.doubts)
    return generator


#: What answers doubts of a kind.
TURNS = ("sides", "turned")
HINTS = dict.fromkeys(TURNS, "If that is wrong, correct the header.") | {
    "model-axes": "Give the right ones with --frame if that is wrong.",
    "contrast": "Structures of any MR contrast are labelled by segment --structures.",
}
#: The same where a verb has --orientation.
ORIENTED = HINTS | dict.fromkeys(
    TURNS,
    "If that is wrong, give --orientation: sform, qform or the directions of the array's axes, "
    "such as LAS.",
)


def print_doubts(
    doubts: Iterable[base.Doubt | base.Json], name: str = "", hints: base.JsonView = HINTS
) -> None:
    """Print doubts on stderr, with what answers them."""
    of = f"{name}: " if name else ""
    for doubt in map(base.Doubt.read, doubts):
        log.warning("%s", f"{of}{doubt} {hints.get(doubt.kind, '')}".rstrip())


def model_entry(generator: Generator) -> base.Json:
    """The entry of a generator in `--json` output."""
    entry: base.Json = {"name": generator.name, "sha256": generator.hash}
    if generator.frame is not None:
        entry["frame"] = str(generator.frame)
    if generator.frame is not None or generator.doubts:
        entry["doubts"] = generator.doubts
    return entry


#: Progress in lines: what is new after some seconds, the same after more of them.
NEW_S, SAME_S = 5.0, 30.0


class ProgressLines:
    """Progress as lines of the log: what is done of all, the rate, what has passed and is left."""

    def __init__(self, title: str) -> None:
        self.title, self.text = title, ""
        self.last: tuple[Any, ...] = ()
        self.began = self.since = self.told = self.moved = monotonic()
        self.first = 0.0

    def __call__(self, done: float, total: float, text: str, detail: str) -> None:
        """See `Progress.__call__`."""
        now = monotonic()
        if not self.last or total != self.last[1] or done < self.last[0]:
            self.since, self.first = now, done  # another phase: its rate is its own
        self.moved = self.moved if self.last and done == self.last[0] else now
        self.last = done, total, text, detail
        if now - self.told < (SAME_S if text == self.text else NEW_S):
            return
        self.told, self.text = now, text
        whole = f"{round(done, 2):.12g} of {total:.12g}"
        parts = [whole if total > 1 else f"{done / total:.0%}"] if total else []
        parts += [*filter(None, (text, detail)), f"{base.duration(now - self.began)} elapsed"]
        if done >= total > 0:
            parts.append("finishing")
        elif total and done > self.first:
            each = (self.moved - self.since) / (done - self.first)
            parts += [f"{each:.3g} s each"] if total > 1 else []
            left = each * (total - done) - (now - self.moved)
            parts.append(f"about {base.duration(max(left, 0))} left")
        log.info("%s: %s", self.title, ", ".join(parts))

    def repeat(self, over: Event) -> None:
        """Tell the last again and again, as often as lines are told, until it is over."""
        while not over.wait(5.0):
            self(*(self.last or (0, 0, "", "")))


@contextmanager
def progress(title: str) -> Iterator[base.Progress]:
    """Progress while the block runs: a bar on a terminal, else (in notebooks, too) lines."""
    lines, began, over = ProgressLines(title), monotonic(), Event()
    Thread(target=lines.repeat, args=(over,), daemon=True).start()
    with ExitStack() as ended:
        ended.callback(over.set)
        ended.callback(lambda: log.debug("%s took %.1f s", title, monotonic() - began))
        notebook = "JPY_PARENT_PID" in os.environ  # a terminal to commands, but it draws no bars
        if notebook or not sys.stderr.isatty() or not log.isEnabledFor(logging.INFO):
            yield base.Progress(lines)
            return
        from rich import progress as rich
        from rich.console import Console

        text, passed, left = rich.TextColumn, rich.TimeElapsedColumn, rich.TimeRemainingColumn
        columns = [text("{task.description}"), rich.BarColumn(), passed(), text("passed,")]
        ends = [left(), text("left"), text("{task.fields[note]}")]
        bar = rich.Progress(*columns, *ends, console=Console(stderr=True), transient=True)
        task = ended.enter_context(bar).add_task(title, total=None, note="")

        def tell(done: float, total: float, text: str, detail: str) -> None:
            note = ", ".join(filter(None, (text, detail)))
            bar.update(task, completed=done, total=total, note=note)
            lines(done, total, text, detail)

        yield base.Progress(tell)


def emit(result: base.Json, lines: Iterable[str], *, as_json: bool) -> None:
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
        raise base.OutputError(
            f"The result cannot be printed ({error.strerror}): redirect it to a file."
        ) from error


def read_object(path: Path) -> base.Json:
    """The JSON object in a file, such as entries of a card; StyleGAN3DError if there is none."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise base.StyleGAN3DError(
            f"{path} cannot be read as JSON ({reason(error)}); give a text file with one "
            "JSON object."
        ) from error
    if not isinstance(found, dict):
        raise base.StyleGAN3DError(f"{path} does not contain a JSON object; give one, in braces.")
    return found


# Groups of options: commands take dataclasses, whose fields become options.
#
# The fields are described by typer (`Annotated[…, typer.Option(…)]`) or, if shared with the
# window's forms and Python, by an `Option` of `stylegan3d.settings`.

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Convert a command for typer: each dataclass parameter is replaced by its fields."""
    hints = get_type_hints(verb, include_extras=True)
    groups = {
        name: (kind, list(_parameters(kind)))
        for name, kind in hints.items()
        if isinstance(kind, type) and is_dataclass(kind)
    }
    own = inspect.signature(verb).parameters.items()
    parameters = [
        *(p.replace(annotation=hints[name], kind=KEYWORD) for name, p in own if name not in groups),
        *(option for _, options in groups.values() for option in options),
    ]

    @wraps(verb)
    def called(**values: Any) -> None:
        for name, (kind, options) in groups.items():
            values[name] = kind(**{option.name: values.pop(option.name) for option in options})
        verb(**values)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {found.name: found.annotation for found in parameters}
    return called


def _parameters(group: type) -> Iterator[inspect.Parameter]:
    """The options of a dataclass; fields without description are skipped."""
    hints = get_type_hints(group, include_extras=True)
    settings = {known.name: known for known in options_of(group)}
    for field in fields(group):
        hint, known = hints[field.name], settings.get(field.name)
        if known is not None:
            if known.option.flag is None:
                continue
            kind = str if get_origin(known.kind) is Literal else known.kind
            hint = Annotated[kind, described(group, field.name)]
        elif get_origin(hint) is not Annotated:
            continue
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield inspect.Parameter(field.name, KEYWORD, default=default, annotation=hint)


@dataclass(frozen=True)
class ModelChoice:
    """Options that select the generator."""

    model: ModelOption = None
    frame: FrameOption = None

    def open(self) -> Generator:
        """The generator; see `open_model`."""
        return open_model(self.model, self.frame)


@dataclass(frozen=True)
class Result(ModelChoice):
    """Options for generator, device, overwriting and output format."""

    device: DeviceOption = "auto"
    overwrite: OverwriteOption = False
    as_json: JsonOption = False


@dataclass(frozen=True)
class Written(Result):
    """The same with an output folder."""

    out: OutOption = Path()


@dataclass(frozen=True)
class Volumes(Written):
    """Options for writing volumes."""

    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Write in the projected scan's native space: its grid, orientation and "
            "intensities.",
        ),
    ] = False
    scan: Annotated[
        Path | None,
        typer.Option(
            help="Edit this scan itself, the one that was projected: its own detail moves along. "
            "Also writes what changed, the map of movement and the edited reconstruction, in "
            "native space."
        ),
    ] = None
    detail: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="How much of the scan's own detail is shown: 0 is the model's brain, 1 the edited "
            "scan.",
            show_default="1 with --scan or --detail-of, else 0",
        ),
    ] = None
    detail_of: Annotated[
        Path | None,
        typer.Option(
            help="Latent file of a projected scan; the brain gets its detail. The scan is beside "
            "it, or is given with --scan."
        ),
    ] = None


@dataclass(frozen=True)
class Drawn:
    """Options of random brains."""

    truncation: TruncationOption = TRUNCATION
    noise: Annotated[
        str, typer.Option(help="Layer noise: fixed, none, or a seed for random noise.")
    ] = "fixed"

    def recipe(self) -> Recipe:
        """A recipe of these options, with a placeholder source."""
        return Recipe(truncation=Truncation(self.truncation), noise=parse_noise(self.noise))


@dataclass(frozen=True)
class LabelledOptions(Drawn):
    """Options of random brains with label and image channel."""

    label: Annotated[
        str | None,
        typer.Option(
            help="Labels of random brains, for a conditional model: values such as age=70,sex=F, "
            "or the label's numbers, such as 0,1."
        ),
    ] = None
    channel: Annotated[int, described(Choices, "channel")] = 0

    def recipe(self) -> Recipe:
        """See `Drawn.recipe`."""
        return super().recipe().replace(label=parse_label(self.label), channel=self.channel)


@dataclass(frozen=True)
class ReadingOptions:
    """How volumes are read, and labelled by which network."""

    network: NetworkOption = None
    device: DeviceOption = "auto"
    skull: SkullOption = Choices.skull
    index: Annotated[int | None, described(Choices, "volume")] = None
    series: SeriesOption = None
    orientation: Annotated[str | None, described(Choices, "orientation")] = None
    overwrite: OverwriteOption = False
    as_json: JsonOption = False
