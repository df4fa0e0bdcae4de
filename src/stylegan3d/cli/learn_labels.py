"""`stylegan3d learn-labels`: a trained model learns to draw brains of an age, a sex, a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, emit, model_entry, progress
from stylegan3d.training.labels import BRAINS


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("learn-labels")(learn_labels_command)


def learn_labels_command(
    model: Annotated[
        Path, typer.Argument(help="Folder of a model with an encoder, trained without labels.")
    ],
    data: Annotated[Path, typer.Argument(help="The prepared data set it was trained on.")],
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            help="Columns of the data set's table, joined by commas, and volumes, which are "
            "measured: brain_ml, ventricle_ml, grey_ml, white_ml.",
        ),
    ] = "age,sex",
    brains: Annotated[
        int,
        typer.Option(
            "--brains",
            min=0,
            help="Random brains whose tissue volumes are measured; 0 to go by latents alone.",
        ),
    ] = BRAINS,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write.", show_default="the model's own folder"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the model there, or labels that it has learned."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn what brains of an age, a sex or a volume are like, from people with these.

    No weight changes: without a label every seed gives the brain it gave before.

    Example: stylegan3d learn-labels my-model prepared --labels age,sex

    Then: stylegan3d generate --model my-model --seeds 1-3 --label age=70 --out brains
    """
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.labels import learn_labels

    pack = load_pack(data)
    names = [name.strip() for name in labels.split(",") if name.strip()]
    with progress("Reading brains") as bar:
        generator = learn_labels(
            model, pack, names, out, brains=brains, overwrite=overwrite, report=bar
        )
    schema = generator.card["labels"]
    lines = [
        f"{generator.folder}: {', '.join(entry['name'] for entry in schema)}",
        *(
            f"  {entry['name']}: {100 * entry['explained']:.0f} % of it is told by "
            f"{entry['told_by']} of people left out ({entry['people']} people)"
            for entry in schema
        ),
    ]
    result = {"model": model_entry(generator), "folder": str(generator.folder), "labels": schema}
    emit(result, lines, as_json=as_json)
