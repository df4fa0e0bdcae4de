"""`stylegan3d train KIND`: a data set becomes a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli import train_generator
from stylegan3d.cli.common import (
    DataArgument,
    JsonOption,
    OverwriteOption,
    progress,
    read_object,
    refuse,
)
from stylegan3d.cli.train_common import (
    NEW_ONLY,
    AboutOption,
    AttributionOption,
    ColumnsOption,
    DeviceOption,
    ExportOption,
    LicenceOption,
    MapsOption,
    NameOption,
    ResumeOption,
    RunOption,
    SeedOption,
    columns,
    conclude,
    how_to_train,
    steps_option,
)

app = typer.Typer(
    help="Train a model on a prepared data set.\n\nAll kinds stop cleanly on Ctrl-C or SIGTERM and "
    "continue with --resume.\n\nExample: stylegan3d train anatomy prepared --out runs/brains"
)
for _kind, _help in train_generator.HELP.items():
    app.command(_kind, help=_help)(train_generator.train_generator)


@app.command()
def vae(
    ctx: typer.Context,
    data: DataArgument,
    out: RunOption,
    resume: ResumeOption = False,
    steps: Annotated[int | None, steps_option("10000")] = None,
    latent_channels: Annotated[
        int | None,
        typer.Option(
            "--latent-channels",
            min=1,
            max=256,
            help="Numbers for each cube of eight voxels: more keep more of a brain, fewer are "
            "easier to draw at random; new runs only.",
            show_default="16",
        ),
    ] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    export: ExportOption = None,
    labels: ColumnsOption = None,
    name: NameOption = None,
    licence: LicenceOption = None,
    attribution: AttributionOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a variational autoencoder: it encodes a scan at once and reconstructs it closely.

    Example: stylegan3d train vae prepared --out runs/vae --export my-vae
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.networks.autoencoder import AutoencoderConfig
    from stylegan3d.training.autoencoder import AutoencoderSettings, train_autoencoder
    from stylegan3d.training.autoencoder_export import export_autoencoder

    if resume:
        refuse(ctx, NEW_ONLY, "steps", "seed", "latent_channels")
    if export is not None:  # before the training, not after
        check_target(export, overwrite)
    pack = load_pack(data)
    settings = AutoencoderSettings(seed=seed or 0)
    settings = replace(settings, steps=steps or settings.steps)
    shape = None
    if not resume:
        x, y, z = pack.space.shape
        shape = AutoencoderConfig((x, y, z))
        shape = replace(shape, latent_channels=latent_channels or shape.latent_channels)
    with how_to_train(resume, device) as how:
        run = train_autoencoder(pack, out, shape, settings, **how)

    def write() -> None:
        assert export is not None
        with progress("Encoding people") as bar:
            export_autoencoder(
                run,
                pack,
                export,
                name or export.name,
                labels=columns(labels),
                licence=licence,
                attribution=attribution,
                overwrite=overwrite,
                progress=bar,
            )

    def lines(figures: dict[str, float]) -> list[str]:
        alike = f"SSIM {figures['ssim']:.3f}, PSNR {figures['psnr']:.2f} dB"
        return [f"  people set aside: {alike} inside the brain"]

    conclude(run, out, export, write, word="measured", lines=lines, as_json=as_json)


@app.command()
def diffusion(
    ctx: typer.Context,
    data: DataArgument,
    out: RunOption,
    autoencoder: Annotated[
        str,
        typer.Option(
            "--autoencoder",
            help="Model of `stylegan3d train vae` whose latents are learned; a folder, or the name "
            "of a bundled one.",
        ),
    ],
    resume: ResumeOption = False,
    steps: Annotated[int | None, steps_option("3000")] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    export: ExportOption = None,
    labels: ColumnsOption = None,
    name: NameOption = None,
    licence: LicenceOption = None,
    attribution: AttributionOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a latent diffusion: random brains as sharp as its autoencoder can make them.

    Example: stylegan3d train diffusion prepared --autoencoder my-vae --out run --export my-model
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.model.loading import load
    from stylegan3d.training.diffusion import DiffusionSettings, train_diffusion
    from stylegan3d.training.diffusion_export import export_diffusion

    if resume:
        refuse(ctx, NEW_ONLY, "steps", "seed")
    if export is not None:  # before the training, not after
        check_target(export, overwrite)
    pack = load_pack(data)
    stage = load(autoencoder, device="cpu")
    settings = DiffusionSettings(seed=seed or 0)
    settings = replace(settings, steps=steps or settings.steps)
    with how_to_train(resume, device) as how:
        run = train_diffusion(pack, stage, out, settings=settings, **how)

    def write() -> None:
        assert export is not None
        with progress("Encoding people") as bar:
            export_diffusion(
                run,
                pack,
                stage,
                export,
                name or export.name,
                labels=columns(labels),
                licence=licence,
                attribution=attribution,
                overwrite=overwrite,
                progress=bar,
            )

    def lines(figures: dict[str, float]) -> list[str]:
        told = ", ".join(f"{value:.3f} {name}" for name, value in figures.items())
        return [f"  people set aside: error, times that of a normal distribution, by noise: {told}"]

    conclude(run, out, export, write, word="measured", lines=lines, as_json=as_json)


@app.command()
def flow(
    ctx: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Model folder, made by `train anatomy`, `train vae` or `train diffusion` with "
            "--export. A flow that it has is trained further."
        ),
    ],
    data: DataArgument,
    out: RunOption,
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
    resume: ResumeOption = False,
    steps: Annotated[int | None, steps_option("20000, with a teacher 6000")] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    export: ExportOption = None,
    flow_steps: Annotated[
        int | None,
        typer.Option(
            "--flow-steps",
            min=1,
            max=64,
            help="Steps along the flow for every brain.",
            show_default="4, with a teacher 1",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a flow from a generator's soft brains to sharp ones.

    Example: stylegan3d train flow my-model prepared --out runs/flow

    Then: stylegan3d train flow my-model prepared --out runs/fast --teacher runs/flow --export sharp
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
    if resume:
        refuse(ctx, NEW_ONLY, "steps", "seed", "begin_with")
    if export is not None:  # before the training, not after
        check_target(export, overwrite)
    pack = load_pack(data)
    generator, settings = load(model, device=device), FlowSettings(seed=seed or 0)
    start = flow_of(generator) if begin_with is None else start_of(begin_with)
    if begin_with and start is None:
        raise ModelError(
            f"{begin_with} has no flow to begin with: name a generator that has one, or the folder "
            "of a flow's run."
        )
    if start is not None:
        settings = replace(settings, channels=start.channels)
    with progress("Making pairs") as bar:
        if teacher is None:
            pairs: Source = make_pairs(generator, pack, out, report=bar)
        else:
            known = load_run(FlowRecipe, teacher, choose_device(device))
            pairs = make_ways(generator, known, pack, out, report=bar)
            settings, start = straight_config(known, seed or 0), start_of_run(known)
    settings = replace(settings, steps=steps or settings.steps)
    with how_to_train(resume, device) as how:
        run = train_flow(pairs, out, settings, start=start, **how)

    def write() -> None:
        assert export is not None
        export_with_flow(run, model, pack, export, steps=flow_steps, overwrite=overwrite)

    def lines(figures: dict[str, float]) -> list[str]:
        return [f"  people set aside, {name}: {value:.3f}" for name, value in figures.items()]

    conclude(run, out, export, write, word="errors", lines=lines, as_json=as_json)


@app.command()
def segmentation(
    ctx: typer.Context,
    data: DataArgument,
    labels: MapsOption,
    out: RunOption,
    resume: ResumeOption = False,
    steps: Annotated[int | None, steps_option("4000")] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    export: ExportOption = None,
    licence: LicenceOption = None,
    about: AboutOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the network behind `stylegan3d segment` on people with label maps.

    Example: stylegan3d train segmentation prepared --labels brains --out runs/tissues
    """
    from stylegan3d.checkpoints.network_folder import PAGE
    from stylegan3d.checkpoints.places import CARD, MODEL
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.storage.volumes import check_output
    from stylegan3d.training.segmentation import SegmentationSettings, train_segmentation
    from stylegan3d.training.segmentation_data import load_labelled
    from stylegan3d.training.segmentation_export import export_segmentation

    if resume:
        refuse(ctx, NEW_ONLY, "steps", "seed")
    if export is not None:  # before the training, not after
        check_output([export / name for name in (CARD, MODEL, PAGE)], overwrite)
    notes = None if about is None else read_object(about)
    brains = load_labelled(load_pack(data), labels)
    settings = SegmentationSettings(seed=seed or 0)
    settings = replace(settings, steps=steps or settings.steps)
    with how_to_train(resume, device) as how:
        run = train_segmentation(brains, out, settings, **how)

    def write() -> None:
        assert export is not None
        with progress("Measuring") as bar:
            export_segmentation(
                run, brains, export, licence=licence, notes=notes, overwrite=overwrite, progress=bar
            )

    def lines(figures: dict[str, float]) -> list[str]:
        dice = [f"  Dice of {name}: {value:.3f}" for name, value in figures.items()]
        return [f"  {brains.training} people to learn from", *dice]

    more = {"training": brains.training}
    conclude(run, out, export, write, word="dice", lines=lines, as_json=as_json, more=more)


@app.command()
def translation(
    ctx: typer.Context,
    data: DataArgument,
    labels: MapsOption,
    out: RunOption,
    resume: ResumeOption = False,
    steps: Annotated[int | None, steps_option("4000")] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            "--segmentation",
            help="Folder of the tissue network that reads everybody's tissues.",
            show_default="the bundled network",
        ),
    ] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    export: ExportOption = None,
    licence: LicenceOption = None,
    about: AboutOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the network behind `stylegan3d paint` on people, some of them with label maps.

    Example: stylegan3d train translation prepared --labels brains --out runs/paint
    """
    from stylegan3d.checkpoints.network_folder import PAGE
    from stylegan3d.checkpoints.places import CARD, MODEL, MONTAGE
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.segmentation.inference import load_segmenter
    from stylegan3d.storage.volumes import check_output
    from stylegan3d.training.translation import train_translation
    from stylegan3d.training.translation_crops import TranslationSettings
    from stylegan3d.training.translation_data import load_painted
    from stylegan3d.training.translation_export import export_translation

    if resume:
        refuse(ctx, NEW_ONLY, "steps", "seed")
    if export is not None:  # before the training, not after
        check_output([export / name for name in (CARD, MODEL, PAGE, MONTAGE)], overwrite)
    notes = None if about is None else read_object(about)
    segmenter = load_segmenter(network)
    with progress("Reading the tissues") as bar:
        people = load_painted(load_pack(data), labels, segmenter, bar)
    settings = TranslationSettings(seed=seed or 0)
    settings = replace(settings, steps=steps or settings.steps)
    with how_to_train(resume, device) as how:
        run = train_translation(people, out, settings=settings, **how)

    def write() -> None:
        assert export is not None
        with progress("Measuring") as bar:
            export_translation(
                run,
                people,
                segmenter,
                export,
                licence=licence,
                notes=notes,
                overwrite=overwrite,
                progress=bar,
            )

    count = len(people.pack.indices("train"))

    def lines(figures: dict[str, float]) -> list[str]:
        alike = [f"  {name} of people set aside: {value:.3f}" for name, value in figures.items()]
        return [f"  {count} people to learn from", *alike]

    more = {"training": count}
    conclude(run, out, export, write, word="measured", lines=lines, as_json=as_json, more=more)
