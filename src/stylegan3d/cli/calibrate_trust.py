"""`stylegan3d calibrate-trust`: what is usual of people, so that a projection knows what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, ModelOption, emit, model_entry, open_model, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("calibrate-trust")(calibrate_trust)


def calibrate_trust(
    data: Annotated[
        Path,
        typer.Argument(help="The prepared data set of the model, with people set aside."),
    ],
    model: ModelOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what was found; leave the card as it is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write into a model's card from where on a scan is one that the model does not know.

    People set aside for validation show what is usual; `stylegan3d train` does this on export.

    Example: stylegan3d calibrate-trust prepared --model my-model
    """
    from stylegan3d.checkpoints.folder import add_to_card
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.model.card import card_text, check_card
    from stylegan3d.projection.calibration import calibrate

    pack = load_pack(data)
    generator = open_model(model)
    if not dry_run:
        check_card(generator)
    with progress("Calibrating") as report:
        entry = calibrate(generator, pack, progress=report)
    if not dry_run:
        assert generator.folder is not None
        add_to_card(generator.folder, {"trust": entry}, card_text)
    check = entry["check"]
    lines = [
        f"{entry['people']} people; close up to a strangeness of {entry['close']:.2f}, outside "
        f"from {entry['outside']:.2f}",
        f"kinds the model does not know, made of these people, are told apart with an area under "
        f"the curve of {check['auc']:.3f}; {100 * check['others_outside']:.0f} % of them and "
        f"{100 * check['people_outside']:.0f} % of the people are called outside",
        *(f"  {kind}: {score:.1f}" for kind, score in check["median_strangeness"].items()),
    ]
    emit({"trust": entry, "model": model_entry(generator)}, lines, as_json=as_json)
