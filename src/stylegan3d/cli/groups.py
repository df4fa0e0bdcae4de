"""Groups of options: commands take dataclasses, whose fields become options.

The fields are described by typer (`Annotated[…, typer.Option(…)]`) or, if shared with the window's
forms and Python, by an `Option` of `stylegan3d.settings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin, get_type_hints

from stylegan3d.cli.common import (
    ChannelOption,
    DetailOfOption,
    DetailOption,
    FrameOption,
    JsonOption,
    LabelOption,
    ModelOption,
    NativeOption,
    NoiseOption,
    OutOption,
    OverwriteOption,
    ScanOption,
    TruncationOption,
    described,
    open_model,
)
from stylegan3d.cli.parsing import parse_label, parse_noise
from stylegan3d.recipe.model import TRUNCATION
from stylegan3d.recipe.recipe import Recipe, Truncation
from stylegan3d.settings.option import options_of

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

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
    """Options for generator, overwriting and output format."""

    overwrite: OverwriteOption = False
    as_json: JsonOption = False


@dataclass(frozen=True)
class Written(Result):
    """The same with an output folder."""

    out: OutOption = Path()


@dataclass(frozen=True)
class Volumes(Written):
    """Options for writing volumes."""

    native: NativeOption = False
    scan: ScanOption = None
    detail: DetailOption = None
    detail_of: DetailOfOption = None


@dataclass(frozen=True)
class Drawn:
    """Options of random brains."""

    truncation: TruncationOption = TRUNCATION
    noise: NoiseOption = "fixed"

    def recipe(self) -> Recipe:
        """A recipe of these options, with a placeholder source."""
        return Recipe(truncation=Truncation(self.truncation), noise=parse_noise(self.noise))


@dataclass(frozen=True)
class Labelled(Drawn):
    """Options of random brains with label and image channel."""

    label: LabelOption = None
    channel: ChannelOption = 0

    def recipe(self) -> Recipe:
        """See `Drawn.recipe`."""
        return super().recipe().replace(label=parse_label(self.label), channel=self.channel)
