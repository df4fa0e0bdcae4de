"""The program `stylegan3d`: its commands."""

import errno
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from stylegan3d.base import STOP_SIGNALS, StyleGAN3DError
from stylegan3d.cli import evaluate, model, recipes, render, scans, train
from stylegan3d.cli.common import Spoken, log
from stylegan3d.memory import is_out_of_memory
from stylegan3d.storage.files import output_errors

NO_MEMORY = (
    "there was not enough memory, and the current result was not written: close other programs, "
    "use fewer --jobs, or use a machine with more."
)
INTERRUPTED = 130  # as typer has it
#: What begins anew if it was stopped.
AT_ONCE = ("generate", "mix", "directions", "compare", "synthesize", "render", "model", "info")
PACKAGE_LOG = logging.getLogger("stylegan3d")
app = typer.Typer(
    name="stylegan3d",
    help="Generate, project, mix and edit 3D brains. Synthetic - not for diagnosis.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from stylegan3d.storage.about import version

        typer.echo(f"stylegan3d {version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also say how long each step took.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress, only warnings, errors and results.")
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log", help="Append all messages, with times, to this file.")
    ] = None,
) -> None:
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    log.setLevel("WARNING" if quiet else "DEBUG" if verbose else "INFO")
    if log_file is not None:
        with output_errors(log_file):
            written = logging.FileHandler(log_file, encoding="utf-8")
        written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        PACKAGE_LOG.addHandler(written)


for _panel, _verbs in {
    "Brains": (recipes.generate, recipes.mix, recipes.edit, recipes.directions, evaluate.compare),
    "Scans": (scans.project, scans.segment, scans.synthesize),
    "Models": (scans.prepare, evaluate.evaluate, model.info),
}.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
app.add_typer(render.app, name="render", rich_help_panel="Brains")
app.add_typer(model.app, name="model", rich_help_panel="Models")
app.add_typer(train.app, name="train", rich_help_panel="Models")


def main(
    arguments: Sequence[str] | None = None, run: Callable[..., int | None] | None = None
) -> None:
    """Run the program, or another one; exits with 0, 2 for user errors, 1 for bugs, 130 stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    if not debug:
        # Warnings of libraries are not for the user.
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.NullHandler())
    if arguments is None:  # the program itself; a training that saves its steps catches them
        for number in {*STOP_SIGNALS} - {signal.SIGINT}:
            signal.signal(number, signal.default_int_handler)
    before, spoken = list(PACKAGE_LOG.handlers), Spoken()
    log.addHandler(spoken)
    try:
        run = run or _program()
        status = run(args=words or ["--help"], prog_name="stylegan3d", standalone_mode=False)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
    except typer.Abort:
        status = 1
    except KeyboardInterrupt:
        status = INTERRUPTED
        verb = next((word for word in words if word in _program().commands), "")
        new = verb == "train" and "--resume" not in words
        again = ", once steps were saved with --resume and without --preset," if new else ""
        goes_on = "" if verb in AT_ONCE else f", and the same command{again} continues"
        log.error("stopped; what is finished is kept%s.", goes_on)
    except Exception as error:
        sentence = _sentence(error)
        if debug and sentence is None:
            raise
        status = 1 if sentence is None else 2
        if sentence is None:
            reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            sentence = (
                f"unexpected error ({reason}); run `stylegan3d --debug …` and report what it shows."
            )
        log.error("%s", sentence)
    finally:
        log.removeHandler(spoken)
        for handler in set(PACKAGE_LOG.handlers).difference(before):
            PACKAGE_LOG.removeHandler(handler)
            handler.close()
    sys.exit(status or 0)


@cache
def _program() -> TyperGroup:
    """All commands with their options. Who calls `main` again need not wait for them again."""
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    return program


def _sentence(error: Exception) -> str | None:
    """The message of a user error; None for a bug."""
    if is_out_of_memory(error):
        return NO_MEMORY
    if isinstance(error, StyleGAN3DError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror}): choose another file or folder."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG):
        # Of what is printed, which Python would try again at the end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return f"The result cannot be printed ({error.strerror}): redirect it to a file."
    if hasattr(error, "format_message"):  # prefix added by the parser
        wrong = error.format_message().removeprefix("Invalid value: ").rstrip(".")
        wrong = wrong.replace(": Value error, ", ": ")
        asked = getattr(getattr(error, "ctx", None), "command_path", "stylegan3d")
        return f"{' '.join(wrong.split())}; see `{asked} --help`."
    return None
