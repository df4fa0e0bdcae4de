"""`stylegan3d train-flow`: a generator learns the last step from its brains to people's."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, emit, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("train-flow")(train_flow_command)


def train_flow_command(
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder of a generator made by `train --export`, `train-vae` or "
            "`train-diffusion`. A flow that it has is trained on."
        ),
    ],
    data: Annotated[Path, typer.Argument(help="Prepared data set of people's brains.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            help="Folder of the run of a trained flow: learn to go its way in one step.",
        ),
    ] = None,
    begin_with: Annotated[
        str | None,
        typer.Option(
            "--begin-with",
            help="Flow to begin with, also that of another generator: folder of its run or of a "
            "generator, or the name of a bundled one; new runs only.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            help="Of training; new runs only.",
            show_default="20000, with a teacher 6000",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of all randomness; new runs only.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the generator with its flow here at the end."),
    ] = None,
    flow_steps: Annotated[
        int | None,
        typer.Option(
            "--flow-steps",
            min=1,
            max=64,
            help="Steps along it for every brain.",
            show_default="4, with a teacher 1",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the generator in the export folder.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a flow from a generator's soft brains to sharp ones.

    Example: stylegan3d train-flow my-model prepared --out runs/flow

    Then: stylegan3d train-flow my-model prepared --out runs/fast --teacher runs/flow --export sharp
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.devices import choose_device
    from stylegan3d.errors import ModelError
    from stylegan3d.model.loading import load
    from stylegan3d.training.flow import (
        FlowRecipe,
        FlowSettings,
        flow_of,
        start_of,
        start_of_run,
        train_flow,
    )
    from stylegan3d.training.flow_cubes import Source
    from stylegan3d.training.flow_export import export_with_flow
    from stylegan3d.training.flow_pairs import make_pairs
    from stylegan3d.training.flow_ways import make_ways, straight_config
    from stylegan3d.training.run import load_run

    if begin_with and teacher is not None:
        raise typer.BadParameter("--begin-with is for flows without a teacher")
    given = {"--steps": steps, "--seed": seed, "--begin-with": begin_with}
    for name, value in given.items():
        if resume and value is not None:
            raise typer.BadParameter(f"{name} is for new runs, not --resume")
    if export is not None:  # before the training, not after
        check_target(export, overwrite)
    pack = load_pack(data)
    generator, known, config = load(model, device=device), None, FlowSettings(seed=seed or 0)
    start = flow_of(generator) if begin_with is None else start_of(begin_with)
    if begin_with and start is None:
        raise ModelError(
            f"{begin_with} has no flow to begin with: name a generator that has one, or the folder "
            "of a flow's run."
        )
    if start is not None:
        config = replace(config, channels=start.channels)
    with progress("Making pairs") as bar:
        if teacher is None:
            pairs: Source = make_pairs(generator, pack, out, report=bar)
        else:
            known = load_run(FlowRecipe, teacher, choose_device(device))
            pairs = make_ways(generator, known, pack, out, report=bar)
            config, start = straight_config(known, seed or 0), start_of_run(known)
    config = replace(config, steps=steps or config.steps)
    with progress("Training") as bar:

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            note = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            bar(done, total, note=note)
            if not sys.stderr.isatty() and (len(figures) > 1 or done % 100 == 0):
                typer.echo(f"{done} of {total} steps, {note}", err=True)

        run = train_flow(
            pairs,
            out,
            config,
            start=start,
            resume=resume,
            device=choose_device(device),
            progress=show,
            tell=lambda sentence: typer.echo(f"stylegan3d: {sentence}", err=True),
        )
    errors = {name: round(value, 4) for name, value in run.measured.items()}
    lines = [
        f"{out}: {run.steps} steps of training",
        *(f"  people set aside, {name}: {value:.3f}" for name, value in errors.items()),
    ]
    result = {"run": str(out), "steps": run.steps, "errors": errors}
    if export is not None:
        export_with_flow(run, model, pack, export, steps=flow_steps, overwrite=overwrite)
        lines.append(f"{export}: the generator with its flow")
    emit(result | {"export": export and str(export)}, lines, as_json=as_json)
