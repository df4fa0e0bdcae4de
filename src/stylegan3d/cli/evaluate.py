"""`stylegan3d evaluate`: how good synthetic brains are, each figure beside that of real ones."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    emit,
    open_model,
    progress,
)

if TYPE_CHECKING:
    from stylegan3d.dataset.pack import Pack
    from stylegan3d.evaluation.material import EvaluationSettings
    from stylegan3d.evaluation.subject import Subject
    from stylegan3d.model.generator import Generator

# Written out, so that `--help` need not import torch.
PARTS = (
    "fidelity, two_sample, slices, diversity, plausibility, anatomy, utility, privacy, "
    "membership, edits, conditions, reconstruction, speed"
)
BESIDE = "Synthetic brains beside real ones"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A generator's folder, a network file (.pkl) of the original 3D-StyleGAN, or a "
            "folder of NIfTI volumes that any other model made.",
            show_default="the bundled generator",
        ),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Argument(
            metavar="REAL",
            help="Real brains: a data set made by `stylegan3d prepare`, or a folder of NIfTI "
            "volumes on one grid.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The same as REAL.")] = None,
    model: ModelOption = None,
    frame: FrameOption = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help=f"Parts, joined by commas: {PARTS}.",
            show_default="all but slices and speed",
        ),
    ] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Measure speed too.")] = False,
    samples: Annotated[
        int, typer.Option("--samples", min=4, help="Random brains for all parts but privacy.")
    ] = 200,
    privacy_samples: Annotated[
        int, typer.Option("--privacy-samples", min=2, help="Random brains for privacy.")
    ] = 400,
    truncation: Annotated[
        float, typer.Option("--truncation", min=0, help="Truncation psi of random brains.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The random brains are numbered from here.")
    ] = 0,
    limit_validation: Annotated[
        int | None,
        typer.Option("--limit-validation", min=1, help="Reconstruct so many people at most."),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            help="Of the projection: draft, standard, thorough, or none to leave it out.",
        ),
    ] = "standard",
    inception: Annotated[
        Path | None,
        typer.Option(
            "--inception",
            help="Weights of Inception v3 (TorchScript or a state dict): measure FID of slices.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", help="Folder to keep the features of real brains in, for next time."
        ),
    ] = None,
    montage: Annotated[
        Path | None,
        typer.Option("--montage", help="Write a picture of synthetic beside real brains (.png)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for report.html and report.json, where an evaluation that was stopped is "
            "taken up again; or a name that ends in .json, for that alone.",
        ),
    ] = None,
    card: Annotated[
        bool,
        typer.Option("--card", help="Add the figures and a montage to the model's own card."),
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a generator, or volumes of any other one: are they faithful, diverse, private?

    Each figure has a confidence interval and stands beside the same figure between real people.

    Example: stylegan3d evaluate my-model prepared --out evaluated
    """
    from stylegan3d.evaluation.evaluation import evaluate_material, finish, open_material
    from stylegan3d.evaluation.outputs import pictures_of, report_files
    from stylegan3d.storage.locks import only_run
    from stylegan3d.storage.volumes import atomic_write_bytes, write_together

    subject, real = _places(subject, real, model, data)
    folder, files = _check_files(out, montage, overwrite)
    settings = _settings(
        only,
        speed,
        inception,
        samples=samples,
        privacy_samples=privacy_samples,
        truncation=truncation,
        seed=seed,
        limit_validation=limit_validation,
        budget=None if budget == "none" else budget,
        cache=cache,
    )
    opened, pack = _open(subject, real, frame)
    if card:
        _check_card(opened)
    with nullcontext() if folder is None else only_run(folder):
        with progress("Evaluating") as bar:

            def tell(what: str, done: int, total: int) -> None:
                bar(done, total, note=what)

            material = open_material(opened, pack, settings, tell, folder)
            report = evaluate_material(material)
            wanted = folder is not None or montage is not None or card
            pictures = pictures_of(material, report) if wanted else {}
        # The report first: what may fail below must not cost the evaluation.
        write_together(report_files(files, report, pictures), overwrite=overwrite)
        if montage is not None:
            atomic_write_bytes(montage, pictures[BESIDE], overwrite=overwrite)
        if card:
            _add_to_card(material.generator, report, pictures[BESIDE])
        finish(material)
    _show(report, as_json)


def _places(
    subject: Path | None, real: Path | None, model: Path | None, data: Path | None
) -> tuple[Path | None, Path]:
    """What to evaluate (None for the bundled generator) and the real brains."""
    from stylegan3d.errors import StyleGAN3DError

    if (subject and model) or (real and data):
        raise StyleGAN3DError(
            "MODEL and REAL are given twice: leave out --model and --data, or the words."
        )
    if real is None and data is None:
        raise StyleGAN3DError(
            "There are no real brains to compare to: give MODEL and REAL, such as `stylegan3d "
            "evaluate my-model prepared`, or --data alone for the bundled generator."
        )
    return subject or model, Path(real or data or "")


def _open(subject: Path | None, real: Path, frame: str | None) -> tuple[Subject, Pack]:
    """What is evaluated, and the real brains."""
    from stylegan3d.checkpoints.places import CARD
    from stylegan3d.dataset.volume_sets import holds_volumes, open_real, read_set
    from stylegan3d.evaluation.subject import GeneratorSubject, VolumesSubject

    with progress("Reading real brains") as bar:
        pack = open_real(real, bar)
    made = subject is not None and subject.is_dir() and not (subject / CARD).exists()
    if subject is None or not made or not holds_volumes(subject):
        return GeneratorSubject(open_model(subject, frame)), pack
    with progress("Reading synthetic brains") as bar:
        return VolumesSubject(read_set(subject, pack.space, pack.template, bar)), pack


def _check_card(subject: Subject) -> None:
    """Refuse a card that no page can be written from, before any work is done."""
    from stylegan3d.errors import ModelError
    from stylegan3d.model.card import check_card

    if subject.generator is None:
        raise ModelError(
            f"'{subject.name}' is a folder of volumes without a card to write in: leave out --card."
        )
    check_card(subject.generator)


def _add_to_card(generator: Generator, report: dict[str, Any], picture: bytes) -> None:
    from dataclasses import asdict

    from stylegan3d.checkpoints.folder import add_to_card
    from stylegan3d.checkpoints.places import MONTAGE
    from stylegan3d.evaluation.material import PARTS
    from stylegan3d.evaluation.summary import figures
    from stylegan3d.model.card import card_text
    from stylegan3d.storage.volumes import atomic_write_bytes

    assert generator.folder is not None
    atomic_write_bytes(generator.folder / MONTAGE, picture, overwrite=True)
    # Parts that were measured before and not now stay.
    found = dict(generator.card.get("evaluation", {}))
    for part in PARTS:
        if part in report:
            found[part] = [
                {
                    key: value
                    for key, value in asdict(row).items()
                    if value is not None or key == "reached"
                }
                for row in figures({part: report[part]})
            ]
    add_to_card(generator.folder, {"evaluation": found, "montage": MONTAGE}, card_text)


def _check_files(
    out: Path | None, montage: Path | None, overwrite: bool
) -> tuple[Path | None, tuple[Path, ...]]:
    """The folder to evaluate into, if any, and the files of the report; refuse what could not be
    written, before the work.
    """
    from stylegan3d.errors import OutputError
    from stylegan3d.storage.volumes import check_output

    if montage is not None and montage.suffix != ".png":
        raise OutputError(f"{montage} does not end in .png; give it a name that does.")
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    if out is not None and out.suffix == ".json":
        files = (out,)
    elif out is not None:
        folder, files = out, (out / "report.json", out / "report.html")
    check_output([*files, *([] if montage is None else [montage])], overwrite)
    return folder, files


def _settings(
    only: str | None, speed: bool, inception: Path | None, **given: Any
) -> EvaluationSettings:
    from stylegan3d.evaluation.material import EvaluationSettings

    parts = EvaluationSettings.parts if only is None else tuple(p.strip() for p in only.split(","))
    if inception is not None and only is None:
        parts = (*parts, "slices")
    if speed and "speed" not in parts:
        parts = (*parts, "speed")
    return EvaluationSettings(parts=parts, inception=inception, **given)


def _show(report: dict[str, Any], as_json: bool) -> None:
    """The report as one JSON object, or its figures as a table."""
    from stylegan3d.evaluation.summary import figures

    rows = figures(report)
    if as_json:
        emit(report | {"figures": rows}, (), as_json=True)
        return
    from rich.console import Console
    from rich.table import Table

    from stylegan3d.evaluation.words import alarms

    table = Table(title=f"{report['model']['name']} ({report['model']['hash'][:8]})")
    for column in ("figure", "synthetic", "real vs real", "compared", "aim", ""):
        table.add_column(column)
    marks = {None: "", True: "[green]reached[/]", False: "[red]missed[/]"}
    for row in rows:
        table.add_row(row.name, row.synthetic, row.real, row.compared, row.aim, marks[row.reached])
    Console().print(table)
    for part, why in report["left_out"].items():
        typer.echo(f"Left out: {part}. {why}")
    for text in [*report["notes"], *alarms(report)]:
        typer.echo(text)
