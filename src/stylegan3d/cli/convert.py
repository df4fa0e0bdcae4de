"""`stylegan3d convert`: a network of the original 3D-StyleGAN as a model folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    OverwriteOption,
    emit,
    model_entry,
    open_model,
    progress,
)


class Precision(StrEnum):
    """How weights are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("convert")(convert_command)


def convert_command(
    network: Annotated[
        Path, typer.Argument(help="Network file (.pkl) of the original 3D-StyleGAN.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the model.")],
    frame: FrameOption = None,
    dtype: Annotated[
        Precision,
        typer.Option(
            "--dtype",
            help="How weights are stored: float32 makes the same images bit for bit, the others "
            "take half the space.",
        ),
    ] = Precision.FLOAT32,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a network of the original 3D-StyleGAN into a model folder, without TensorFlow.

    The file is read as data; nothing that it carries is run. It does not say where its voxels
    lie: without --frame, the axes and voxel size of FreeSurfer's conformed scans are assumed, and
    the model's card says so.

    Example: stylegan3d convert 2mm_f96.pkl my-model --frame LIA:2
    """
    from stylegan3d.geometry.frame import Frame
    from stylegan3d.model.converting import convert

    given = None if frame is None else Frame.parse(frame)
    with progress("Converting"):
        convert(network, out, frame=given, dtype=dtype.value, overwrite=overwrite)
    generator = open_model(out)
    size = " x ".join(map(str, generator.shape))
    emit(
        {"folder": str(out), "dtype": dtype.value, "model": model_entry(generator)},
        [f"{out}: {generator.name}, {size} voxels, frame {generator.frame}"],
        as_json=as_json,
    )
