"""The program `stylegan3d`: one verb per module."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from stylegan3d.cli import (
    animate,
    calibrate_trust,
    compare_models,
    convert,
    directions,
    evaluate,
    generate,
    info,
    learn_labels,
    mix,
    paint,
    picture,
    prepare,
    privacy_index,
    project,
    report,
    segment,
    train,
    train_diffusion,
    train_flow,
    train_segmentation,
    train_translation,
    train_vae,
)
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.memory import is_out_of_memory

NO_MEMORY = (
    "there was not enough memory, and the result at work was not written: close other programs, "
    "use fewer --jobs, or a machine with more."
)
app = typer.Typer(
    name="stylegan3d",
    help="Synthesise, project, mix and edit 3D brains with a StyleGAN. Not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from stylegan3d.about import version

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
) -> None:
    pass


for _verb in (
    generate,
    mix,
    project,
    directions,
    picture,
    animate,
    report,
    segment,
    paint,
    prepare,
    train,
    train_diffusion,
    train_flow,
    train_segmentation,
    train_translation,
    train_vae,
    learn_labels,
    evaluate,
    privacy_index,
    calibrate_trust,
    compare_models,
    convert,
    info,
):
    _verb.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; exits with status 0, 2 for what the user can mend, 1 for a defect."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    if not debug:
        # Libraries warn about themselves; what concerns the user is in the results.
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(args=words, prog_name="stylegan3d")
    except Exception as error:
        if debug and not isinstance(error, StyleGAN3DError):
            raise
        if is_out_of_memory(error):
            typer.echo(f"stylegan3d: {NO_MEMORY}", err=True)
            sys.exit(2)
        if isinstance(error, StyleGAN3DError):
            typer.echo(f"stylegan3d: {error}", err=True)
            sys.exit(2)
        reason = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        typer.echo(
            f"stylegan3d: unexpected error ({reason}); run it as "
            "`stylegan3d --debug …` and report what it shows.",
            err=True,
        )
        sys.exit(1)
