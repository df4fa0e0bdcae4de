"""`stylegan3d train KIND`: train a model on a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli import train_generator
from stylegan3d.cli.common import DataArgument, described, emit, progress, read_object
from stylegan3d.cli.groups import grouped
from stylegan3d.cli.train_common import (
    STOPPED,
    FromMaps,
    Resumable,
    RunOption,
    Training,
    WithLabels,
    WithMaps,
    conclude,
    how_to_train,
)
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.networks.config import LATENT_CHANNELS
from stylegan3d.training.options import (
    FLOW_STEPS,
    STRAIGHT_FLOW_STEPS,
    STRAIGHT_STEPS,
    AutoencoderSettings,
    DiffusionSettings,
    FlowSettings,
    MatchSettings,
    SegmentationSettings,
    TranslationSettings,
)

app = typer.Typer(
    help="Train a model on a prepared data set.\n\nAll kinds stop cleanly on Ctrl-C or SIGTERM and "
    "continue with --resume.\n\nExample: stylegan3d train anatomy prepared --out runs/brains"
)
for _kind, _help in train_generator.HELP.items():
    app.command(_kind, help=_help)(train_generator.train_generator)


@app.command()
@grouped
def vae(
    ctx: typer.Context,
    data: DataArgument,
    out: RunOption,
    options: WithLabels,
    settings: AutoencoderSettings,
    latent_channels: Annotated[
        int,
        typer.Option(
            "--latent-channels",
            min=1,
            max=256,
            help="Channels of the latent: more preserve more detail, fewer are easier to "
            "sample; new runs only.",
        ),
    ] = LATENT_CHANNELS,
) -> None:
    """Train a variational autoencoder: encodes a scan in one pass and reconstructs it closely.

    Example: stylegan3d train vae prepared --out runs/vae --export my-vae
    """
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.networks.autoencoder import AutoencoderConfig
    from stylegan3d.training.autoencoder import train_autoencoder
    from stylegan3d.training.autoencoder_export import export_autoencoder

    options.check(ctx, "latent_channels")
    pack = load_pack(data)
    shape = None
    if not options.resume:
        x, y, z = pack.space.shape
        shape = AutoencoderConfig((x, y, z), latent_channels)
    with how_to_train(options) as how:
        run = train_autoencoder(pack, out, shape, settings, **how)

    def write() -> None:
        with progress("Encoding subjects") as bar:
            export_autoencoder(run, pack, **options.exporting(), progress=bar)

    def lines(figures: dict[str, float]) -> list[str]:
        alike = f"SSIM {figures['ssim']:.3f}, PSNR {figures['psnr']:.2f} dB"
        return [f"  held-out subjects: {alike} inside the brain"]

    conclude(run, out, options, write, word="measured", lines=lines)


@app.command()
@grouped
def diffusion(
    ctx: typer.Context,
    data: DataArgument,
    out: RunOption,
    options: WithLabels,
    settings: DiffusionSettings,
    autoencoder: Annotated[
        str,
        typer.Option(
            "--autoencoder",
            help="Model of `stylegan3d train vae` whose latents are learned; a folder, or the name "
            "of a bundled one.",
        ),
    ],
) -> None:
    """Train a latent diffusion model: random brains as sharp as its autoencoder allows.

    Example: stylegan3d train diffusion prepared --autoencoder my-vae --out run --export my-model
    """
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.model.loading import load
    from stylegan3d.training.diffusion import train_diffusion
    from stylegan3d.training.diffusion_export import export_diffusion

    options.check(ctx)
    pack = load_pack(data)
    stage = load(autoencoder, device="cpu")
    with how_to_train(options) as how:
        run = train_diffusion(pack, stage, out, settings=settings, **how)

    def write() -> None:
        with progress("Encoding subjects") as bar:
            export_diffusion(run, pack, stage, **options.exporting(), progress=bar)

    def lines(figures: dict[str, float]) -> list[str]:
        text = ", ".join(f"{value:.3f} {name}" for name, value in figures.items())
        return [f"  held-out subjects: error relative to a normal distribution, by noise: {text}"]

    conclude(run, out, options, write, word="measured", lines=lines)


@app.command()
@grouped
def flow(
    ctx: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Model folder, made by `train anatomy`, `train vae` or `train diffusion` with "
            "--export. An existing flow is trained further."
        ),
    ],
    data: DataArgument,
    out: RunOption,
    options: Training,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            help="Folder of a trained flow's run, to distil it into one step.",
        ),
    ] = None,
    begin_with: Annotated[
        str | None,
        typer.Option(
            "--begin-with",
            help="Flow to start from, also of another generator: folder of its run or of a "
            "generator, or the name of a bundled one; new runs only.",
        ),
    ] = None,
    seed: Annotated[int, described(FlowSettings, "seed")] = FlowSettings.seed,
    steps: Annotated[
        int | None,
        described(FlowSettings, "steps", f"{FlowSettings.steps}, with a teacher {STRAIGHT_STEPS}"),
    ] = None,
    flow_steps: Annotated[
        int | None,
        typer.Option(
            "--flow-steps",
            min=1,
            max=64,
            help="Steps along the flow for every brain.",
            show_default=f"{FLOW_STEPS}, with a teacher {STRAIGHT_FLOW_STEPS}",
        ),
    ] = None,
) -> None:
    """Train a flow that sharpens a generator's brains.

    Example: stylegan3d train flow my-model prepared --out runs/flow

    Then: stylegan3d train flow my-model prepared --out runs/fast --teacher runs/flow --export sharp
    """
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.devices import choose_device
    from stylegan3d.errors import ModelError
    from stylegan3d.model.loading import load
    from stylegan3d.training.flow import (
        FlowRecipe,
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
    options.check(ctx, "begin_with")
    pack = load_pack(data)
    device, settings = options.device, FlowSettings(seed=seed)
    generator = load(model, device=device)
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
            settings, start = straight_config(known, seed), start_of_run(known)
    settings = replace(settings, steps=steps or settings.steps)
    with how_to_train(options) as how:
        run = train_flow(pairs, out, settings, start=start, **how)

    def write() -> None:
        assert options.export is not None
        overwrite = options.overwrite
        export_with_flow(run, model, pack, options.export, steps=flow_steps, overwrite=overwrite)

    def lines(figures: dict[str, float]) -> list[str]:
        return [f"  held-out subjects, {name}: {value:.3f}" for name, value in figures.items()]

    conclude(run, out, options, write, word="errors", lines=lines)


@app.command()
@grouped
def match(
    model: Annotated[
        Path,
        typer.Argument(help="Model folder, made by `train anatomy` or `train flow` with --export."),
    ],
    data: DataArgument,
    out: RunOption,
    options: Resumable,
    settings: MatchSettings,
) -> None:
    """Change a model's flow until its random brains have the tissue shapes of the subjects.

    It runs on the CPU.

    Example: stylegan3d train match my-model prepared --out runs/match --export my-matched-model
    """
    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.model.loading import load
    from stylegan3d.training.flow_export import export_matched
    from stylegan3d.training.shape_matching import match_flow

    if options.export is not None:
        check_target(options.export, options.overwrite)
    pack, generator = load_pack(data), load(model, device="cpu")
    found = match_flow(
        generator,
        pack,
        out,
        settings=settings,
        resume=options.resume,
        report=lambda sentence: typer.echo(sentence, err=True),
    )
    notes = [
        f"{out}: {found.steps} {'step' if found.steps == 1 else 'steps'}; squared distance from "
        f"subjects {found.after:.2f}, before {found.before:.2f}"
    ]
    result = {
        "run": str(out),
        "steps": found.steps,
        "distance": {"before": found.before, "after": found.after},
        "export": None,
    }
    if not found.finished:
        notes.append(STOPPED)
    elif options.export is not None:
        export, share = options.export, settings.share
        export_matched(found, model, pack, export, share=share, overwrite=options.overwrite)
        result["export"] = str(export)
        notes.append(f"{export}: the matched model")
    emit(result, notes, as_json=options.as_json)


@app.command()
@grouped
def segmentation(
    ctx: typer.Context,
    data: DataArgument,
    out: RunOption,
    options: WithMaps,
    settings: SegmentationSettings,
    begin_with: Annotated[
        Path | None,
        typer.Option(
            "--begin-with",
            help="Folder of a network to start from; its output layer too if it has the same "
            "labels. New runs only.",
        ),
    ] = None,
) -> None:
    """Train the network of `stylegan3d segment` on subjects with label maps.

    With --scheme lesions, train the network that finds lesions: on simulated ones, without maps.

    Example: stylegan3d train segmentation prepared --maps brains --out runs/tissues
    """
    from stylegan3d.checkpoints.network_folder import PAGE
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.segmentation.card import read_network
    from stylegan3d.segmentation.inference import load_segmenter
    from stylegan3d.segmentation.lesions import LESIONS
    from stylegan3d.segmentation.schemes import SCHEMES
    from stylegan3d.storage.places import CARD, MODEL
    from stylegan3d.training.lesions import SimulatedLesions, simulated_lesions
    from stylegan3d.training.lesions_export import export_lesions
    from stylegan3d.training.segmentation import train_segmentation
    from stylegan3d.training.segmentation_data import LabelledBrains, load_labelled
    from stylegan3d.training.segmentation_export import export_segmentation

    options.check(ctx, "begin_with", files=(CARD, MODEL, PAGE))
    notes = None if options.about is None else read_object(options.about)
    start = None if begin_with is None else read_network(begin_with)
    brains: LabelledBrains | SimulatedLesions
    if settings.scheme == LESIONS.name:
        with progress("Labelling tissues") as bar:
            brains = simulated_lesions(load_pack(data), load_segmenter(), bar)
    elif options.maps is None:
        raise StyleGAN3DError(f"To learn {settings.scheme}, give the label maps with --maps.")
    else:
        brains = load_labelled(load_pack(data), options.maps, SCHEMES[settings.scheme])
    with how_to_train(options) as how:
        run = train_segmentation(brains, out, settings, start, **how)

    def write() -> None:
        with progress("Measuring") as bar:
            if isinstance(brains, SimulatedLesions):
                export_lesions(run, brains, **options.exporting(notes), progress=bar)
            else:
                export_segmentation(run, brains, **options.exporting(notes), progress=bar)

    def lines(figures: dict[str, float]) -> list[str]:
        dice = [f"  Dice of {name}: {value:.3f}" for name, value in figures.items()]
        return [f"  {brains.training} training subjects", *dice]

    more = {"training": brains.training}
    conclude(run, out, options, write, word="dice", lines=lines, more=more)


@app.command()
@grouped
def translation(
    ctx: typer.Context,
    data: DataArgument,
    out: RunOption,
    options: FromMaps,
    settings: TranslationSettings,
    network: Annotated[
        Path | None,
        typer.Option(
            "--segmentation",
            help="Folder of the tissue network that segments the subjects.",
            show_default="the bundled network",
        ),
    ] = None,
) -> None:
    """Train the network of `stylegan3d paint` on subjects, some of them with label maps.

    Example: stylegan3d train translation prepared --maps brains --out runs/paint
    """
    from stylegan3d.checkpoints.network_folder import PAGE
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.segmentation.inference import load_segmenter
    from stylegan3d.storage.places import CARD, MODEL, MONTAGE
    from stylegan3d.training.translation import train_translation
    from stylegan3d.training.translation_data import load_painted
    from stylegan3d.training.translation_export import export_translation

    options.check(ctx, files=(CARD, MODEL, PAGE, MONTAGE))
    notes = None if options.about is None else read_object(options.about)
    segmenter = load_segmenter(network)
    with progress("Reading the tissues") as bar:
        people = load_painted(load_pack(data), options.maps, segmenter, bar)
    with how_to_train(options) as how:
        run = train_translation(people, out, settings=settings, **how)

    def write() -> None:
        with progress("Measuring") as bar:
            export_translation(run, people, segmenter, **options.exporting(notes), progress=bar)

    count = len(people.pack.indices("train"))

    def lines(figures: dict[str, float]) -> list[str]:
        alike = [f"  {name} of held-out subjects: {value:.3f}" for name, value in figures.items()]
        return [f"  {count} training subjects", *alike]

    conclude(run, out, options, write, word="measured", lines=lines, more={"training": count})
