"""`stylegan3d train KIND`: train a model on a dataset.

A kind is one class: its options, and what it prepares of them. One function trains, exports and
reports, whatever the kind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from stylegan3d.base import Json, ModelError, Progress, StyleGAN3DError
from stylegan3d.cli import common
from stylegan3d.networks.config import LATENT_CHANNELS
from stylegan3d.storage.places import CARD, MODEL, MONTAGE, PAGE
from stylegan3d.training.options import (
    FLOW_STEPS,
    PRESETS,
    SETTINGS,
    STRAIGHT_FLOW_STEPS,
    STRAIGHT_STEPS,
    AnatomySettings,
    AutoencoderSettings,
    DiffusionSettings,
    EncoderSettings,
    FlowSettings,
    MatchSettings,
    SegmentationSettings,
    StyleGANSettings,
    TranslationSettings,
    by,
    change_settings,
    changed_settings,
    read_settings,
)

if TYPE_CHECKING:
    from stylegan3d.dataset.pack import Pack
    from stylegan3d.training.export import ModelTarget
    from stylegan3d.training.run import How, Run
    from stylegan3d.training.segmentation import LabelledBrains
    from stylegan3d.training.synthetic import SyntheticBrains
    from stylegan3d.training.team import Team

NEW_ONLY = "is for new runs: leave it out with --resume"
STOPPED = "stopped before its end; continue with --resume"


def _likeness(figures: dict[str, float]) -> list[str]:
    """How closely held-out subjects are reconstructed, in words."""
    text = f"SSIM {figures['ssim']:.3f}, PSNR {figures['psnr']:.2f} dB"
    return [f"  held-out subjects: {text} inside the brain"]


@dataclass(frozen=True)
class PreparedTraining:
    """One training that a kind has prepared.

    Attributes
    ----------
    train : callable
        Trains, see `stylegan3d.training.run.train`.
    export : callable
        Writes the model of a finished run.
    lines : callable
        The figures in words.
    more : dict of str to object
        Further entries of the JSON object.
    """

    train: Callable[..., Run[Any]]
    export: Callable[[Run[Any], Progress], object]
    lines: Callable[[dict[str, float]], list[str]] = _likeness
    more: Json = field(default_factory=dict)


@dataclass(frozen=True)
class NoSettings:
    """Settings of a kind whose options are all its own."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of training: its options, its help (the docstring), and how it uses them.

    Attributes
    ----------
    settings : type
        Settings whose fields are options too.
    word : str
        Key of the figures in the JSON object.
    fixed, new_only : tuple of str
        Names of options that are for new runs only: of nearly all kinds, and of this one.
    together, goes_on : bool
        Whether several processes can train together, and the same command resumes a run.
    files : tuple of str
        What an export writes, in this order; empty for a generator's folder.
    healthy : str
        How the figures that are told should go.
    """

    settings: ClassVar[type] = NoSettings
    word: ClassVar[str] = "measured"
    fixed: ClassVar[tuple[str, ...]] = ("steps", "seed", "batch", "people", "cubes")
    new_only: ClassVar[tuple[str, ...]] = ()
    together: ClassVar[bool] = True
    goes_on: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    healthy: ClassVar[str] = "The loss should fall, fast at first, then more slowly."
    data: common.DataArgument
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")]
    device: common.DeviceOption = "auto"
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of the run.")
    ] = False
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the trained model to this folder at the end."),
    ] = None
    overwrite: common.OverwriteOption = False
    as_json: common.JsonOption = False

    def plan(self, settings: Any) -> PreparedTraining:
        """Read the data and prepare the training; `settings` are of the class `settings`.

        Several processes call it with a device each, the first before the others.
        """
        raise NotImplementedError

    def outcome(self, settings: Any) -> tuple[Json, list[str]] | None:
        """Train, export, and tell of it as a JSON object and in words; None beside a leader."""
        from stylegan3d.training.team import join_team

        team = join_team(self.device)
        mine = replace(self, device=str(team.device))
        with _leader_speaks(team):
            plan = team.leader_first(lambda: mine.plan(settings))
            with _how(mine, team) as how:
                run = plan.train(**how)
        return _concluded(run, self, plan) if team.leads else None

    def check(self, ctx: typer.Context) -> None:
        """Check, before anything is read, the folder of the export and what --resume excludes."""
        from stylegan3d.checkpoints.folder import check_target, is_cut_off
        from stylegan3d.storage.files import check_output
        from stylegan3d.training.run import check_new
        from stylegan3d.training.team import started_processes

        if self.resume:
            begun, given = self.begun(str(ctx.info_name)), ctx.params
            other = [n for n in (*self.fixed, *self.new_only) if begun.get(n) != given.get(n)]
            common.refuse(ctx, NEW_ONLY, *other)
        elif not self.goes_on:
            check_new(self.out)
        if self.export is not None and self.files:
            replaced = self.overwrite or is_cut_off(self.export, self.files)
            check_output([self.export / name for name in self.files], replaced)
        elif self.export is not None:
            check_target(self.export, self.overwrite)
        if not self.together and started_processes() > 1:
            raise ModelError(
                f"`train {ctx.info_name}` works in one process: start it without torchrun or srun."
            )

    def begun(self, kind: str) -> Json:
        """Settings of the run of this kind that is resumed; ModelError if there is none."""
        from stylegan3d.training.run import settings_of

        return settings_of(self.out, kind)

    def pack(self) -> Pack:
        """The dataset."""
        from stylegan3d.dataset.pack import load_pack

        return load_pack(self.data)

    @property
    def target(self) -> Path:
        """Folder of the export, if there is one."""
        assert self.export is not None
        return self.export


@dataclass(frozen=True, kw_only=True)
class Licensed(Kind):
    """A kind that exports weights with a licence."""

    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Licence of the weights.", show_default="the data's"),
    ] = None

    @property
    def to(self) -> ModelTarget:
        """The folder of the export, and what its card says."""
        from stylegan3d.training.export import ModelTarget

        return ModelTarget(self.target, licence=self.licence, overwrite=self.overwrite)


@dataclass(frozen=True, kw_only=True)
class Named(Licensed):
    """A kind that exports a generator."""

    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the model.", show_default="the export folder's name"),
    ] = None
    attribution: Annotated[
        str | None,
        typer.Option("--attribution", help="Attribution required by the data's licences."),
    ] = None

    @property
    def to(self) -> ModelTarget:
        """See `Licensed.to`."""
        return replace(super().to, name=self.name or "", attribution=self.attribution)


@dataclass(frozen=True, kw_only=True)
class WithLabels(Named):
    """A kind with labels."""

    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Labels to learn: columns of the dataset's table, joined by commas, such as "
            "age,sex; for --export.",
        ),
    ] = None

    @property
    def columns(self) -> list[str]:
        """The labels to learn."""
        return [word.strip() for word in (self.labels or "").split(",") if word.strip()]


MapsOption = typer.Option(
    "--maps",
    help="Folder with labels.tsv and subjects' label maps on the dataset's grid, such as "
    "sub-01_dseg.nii.gz.",
)


@dataclass(frozen=True, kw_only=True)
class FromMaps(Licensed):
    """A kind that learns from label maps, and whose card can be given further entries."""

    maps: Annotated[Path | None, MapsOption] = None
    about: Annotated[
        Path | None,
        typer.Option(
            "--about", help="JSON object with further entries of its card, such as limits."
        ),
    ] = None

    @property
    def notes(self) -> Json | None:
        """Further entries of the card."""
        return None if self.about is None else common.read_object(self.about)


def verb_of(kind: type[Kind]) -> Callable[..., None]:
    """The command that trains a kind."""

    def verb(ctx: typer.Context, options: Kind, settings: Any) -> None:
        options.check(ctx)
        told = options.outcome(settings)
        if told is not None:
            common.emit(*told, as_json=options.as_json)

    verb.__annotations__ |= {"options": kind, "settings": kind.settings}
    return common.grouped(verb)


@contextmanager
def _how(options: Kind, team: Team) -> Iterator[How]:
    """Training callbacks: progress with the figures of the losses."""
    with common.progress("Training") as bar:
        common.log.info("%s", options.healthy)

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            bar(done, total, "", ", ".join(f"{k} {value:.3f}" for k, value in figures.items()))

        yield {
            "resume": options.resume,
            "team": team,
            "progress": show,
            "preparing": bar.part(0, 1, text=lambda _: "preparing the data"),
            "tell": common.log.warning,
        }


def _concluded(run: Run[Any], options: Kind, plan: PreparedTraining) -> tuple[Json, list[str]]:
    """Export a finished run; what it came to, as a JSON object and in words."""
    figures = {name: round(value, 4) for name, value in run.measured.items()}
    notes = [f"{options.out}: {run.steps} steps of training"]
    notes += plan.lines(figures) if figures else []
    result = {"run": str(options.out), "steps": run.steps, options.word: figures, "export": None}
    result |= plan.more
    if run.steps < run.settings.steps:
        notes.append(STOPPED)
    elif options.export is not None:
        with common.progress("Exporting") as bar:
            plan.export(run, bar)
        result["export"] = str(options.export)
        notes.append(f"{options.export}: the trained model")
    return result, notes


#: Default of an option that a preset sets.
PRESET = "the preset's"
app = typer.Typer(
    help="Train a model on a prepared dataset.\n\nAll kinds stop cleanly on Ctrl-C or SIGTERM and "
    "continue with --resume.\n\nExample: stylegan3d train anatomy prepared --out runs/brains"
)


def _preset(kind: str) -> Any:
    """The option for the preset of a kind."""
    sizes = "; ".join(
        f"{name} ({by(preset().generator.image_grids[-1])} voxels)"
        for name, preset in PRESETS[kind].items()
    )

    def known(name: str | None) -> str | None:
        if name is not None and name not in PRESETS[kind]:
            raise typer.BadParameter(f"'{name}' is unknown; choose {', '.join(PRESETS[kind])}.")
        return name

    return typer.Option(
        "--preset",
        callback=known,
        help=f"Networks: {sizes}; new runs only.",
        show_default=next(iter(PRESETS[kind])),
    )


ConfigOption = typer.Option(
    "--config", help="Settings of a new run as JSON, such as the settings.json of another."
)
SetOption = typer.Option(
    "--set", metavar="NAME=VALUE", help="Change one setting; may be given several times."
)


def _chosen(
    kind: str, preset: str | None, config: Path | None, words: list[str] | None, flags: Json
) -> Any:
    """Settings of a new run of a kind: those of a preset or file, with changes."""

    if preset is not None and config is not None:
        raise typer.BadParameter("--config holds the networks too: leave out --preset")
    chosen = PRESETS[kind][preset or next(iter(PRESETS[kind]))]()
    if config is not None:
        chosen = read_settings(type(chosen), config)
    return change_settings(chosen, words or [], _given(flags))


def _given(flags: Json) -> Json:
    return {name: value for name, value in flags.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class FitAnatomy(Named):
    """Fit an anatomy model: a deformation of the mean brain, and its appearance.

    Subjects are registered to their mean. An interrupted fit continues when the same command is
    given again, or with --resume. `train flow` adds the texture.

    Example: stylegan3d train anatomy prepared --out runs/brains --export my-model
    """

    new_only = ("preset", "config", "words", "mirror", "fit_on")
    together, goes_on = False, True
    device: str = "cpu"  # no option: it is fitted there
    preset: Annotated[str | None, _preset("anatomy")] = None
    config: Annotated[Path | None, ConfigOption] = None
    words: Annotated[list[str] | None, SetOption] = None
    seed: Annotated[int | None, common.described(AnatomySettings, "seed", PRESET)] = None
    mirror: Annotated[bool | None, common.described(AnatomySettings, "mirror", PRESET)] = None
    fit_on: Annotated[int | None, common.described(AnatomySettings, "fit_on", PRESET)] = None
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", "-j", min=1, help="Processes for registration.", show_default="one per core"
        ),
    ] = None
    scheduler: common.SchedulerOption = None

    def begun(self, kind: str) -> Json:
        """See `Kind.begun`."""
        if not (self.out / SETTINGS).exists():
            raise ModelError(f"There is no training run to resume in '{self.out}'.")
        return asdict(read_settings(AnatomySettings, self.out / SETTINGS))

    def outcome(self, settings: Any) -> tuple[Json, list[str]]:
        """See `Kind.outcome`."""
        from stylegan3d.training.anatomy import fit_anatomy
        from stylegan3d.training.export import export_anatomy

        chosen = None
        if not self.resume:
            flags = {"seed": self.seed, "mirror": self.mirror, "fit_on": self.fit_on}
            chosen = _chosen("anatomy", self.preset, self.config, self.words, flags)
        with common.progress("Registering subjects") as bar:
            found = fit_anatomy(
                self.pack(),
                self.out,
                chosen,
                jobs=self.jobs,
                scheduler=self.scheduler,
                progress=bar,
                tell=common.log.warning,
            )
        count = len(found.pack.indices("train"))
        notes = [f"{self.out}: an anatomy model of {count} subjects"]
        result: Json = {"run": str(self.out), "subjects": count, "export": None}
        if self.export is not None:
            with common.progress("Exporting"):
                made = export_anatomy(found, self.to)
            result |= {"export": str(self.export), "quality": made.card["quality"]}
            notes.append(f"{self.export}: the model '{made.name}'")
        return result, notes


@dataclass(frozen=True, kw_only=True)
class TrainStyleGAN(Named):
    """Train a StyleGAN2 in three dimensions.

    With a teacher, seeds and rows of w mean the same in both. It first learns to draw the teacher's
    brains, and subjects at their latents there, and then keeps the teacher's coarse content.

    Example: stylegan3d train stylegan prepared --out runs/gan --export my-gan
    """

    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            help="Anatomy model to learn from: a folder, or the name of a bundled one; with "
            "--resume, the same as before.",
        ),
    ] = None

    preset: Annotated[str | None, _preset("stylegan")] = None
    config: Annotated[Path | None, ConfigOption] = None
    words: Annotated[list[str] | None, SetOption] = None
    seed: Annotated[int | None, common.described(StyleGANSettings, "seed", PRESET)] = None
    steps: Annotated[int | None, common.described(StyleGANSettings, "steps", PRESET)] = None
    batch: Annotated[int | None, common.described(StyleGANSettings, "batch", PRESET)] = None
    accumulate: Annotated[int | None, common.described(StyleGANSettings, "accumulate", PRESET)] = (
        None
    )
    precision: Annotated[str | None, common.described(StyleGANSettings, "precision", PRESET)] = None
    mirror: Annotated[bool | None, common.described(StyleGANSettings, "mirror", PRESET)] = None
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves and pictures for TensorBoard.")
    ] = False
    new_only = ("preset", "config", "seed", "batch", "mirror")
    fixed = ()
    healthy = (
        "The scores of real and random brains should stay within a few units of each other, the "
        "losses neither near 0 nor rising, and the diversity between 0.5 and 1.6."
    )

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        from stylegan3d.training.export import export_stylegan
        from stylegan3d.training.flow_export import export_pupil
        from stylegan3d.training.stylegan import train_stylegan

        flags = {k: getattr(self, k) for k in ("steps", "accumulate", "precision")}
        pack = self.pack()
        teacher = common.open_model(self.teacher, device=self.device) if self.teacher else None
        chosen, changes = None, {}
        if self.resume:
            changes = changed_settings(StyleGANSettings, self.words or []) | _given(flags)
        else:
            flags |= {k: getattr(self, k) for k in ("seed", "batch", "mirror")}
            chosen = _chosen("stylegan", self.preset, self.config, self.words, flags)
        more: Json = {"teacher": teacher, "tensorboard": self.tensorboard, "changes": changes}
        return PreparedTraining(
            partial(train_stylegan, pack, self.out, chosen, **more),
            lambda run, _: (
                export_pupil(run, pack, self.to, teacher)
                if teacher
                else export_stylegan(run, pack, self.to)
            ),
            lambda figures: [
                f"  random brains differ {figures['diversity']:.2f} times as much as subjects"
            ],
        )


@contextmanager
def _leader_speaks(team: Team) -> Iterator[None]:
    """Of processes that train together only the first says anything; they part at the end."""
    if not team.leads:
        common.log.setLevel(logging.ERROR)
    try:
        yield
    except StyleGAN3DError:
        if team.leads:
            raise
        raise typer.Exit(2) from None
    finally:
        team.close()


@dataclass(frozen=True, kw_only=True)
class TrainAutoencoder(WithLabels):
    """Train a variational autoencoder: encodes a scan in one pass and reconstructs it closely.

    Example: stylegan3d train vae prepared --out runs/vae --export my-vae
    """

    settings = AutoencoderSettings
    new_only = ("latent_channels",)
    latent_channels: Annotated[
        int,
        typer.Option(
            "--latent-channels",
            min=1,
            max=256,
            help="Channels of the latent: more preserve more detail, fewer are easier to "
            "sample; new runs only.",
        ),
    ] = LATENT_CHANNELS

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        from stylegan3d.networks.autoencoder import AutoencoderConfig
        from stylegan3d.training.autoencoder import export_autoencoder, train_autoencoder

        pack = self.pack()
        x, y, z = pack.space.shape
        shape = None if self.resume else AutoencoderConfig((x, y, z), self.latent_channels)
        return PreparedTraining(
            partial(train_autoencoder, pack, self.out, shape, settings),
            lambda run, bar: export_autoencoder(
                run, pack, self.to, labels=self.columns, progress=bar
            ),
        )


@dataclass(frozen=True, kw_only=True)
class TrainDiffusion(WithLabels):
    """Train a latent diffusion model: random brains as sharp as its autoencoder allows.

    Example: stylegan3d train diffusion prepared --autoencoder my-vae --out run --export my-model
    """

    settings = DiffusionSettings
    autoencoder: Annotated[
        str,
        typer.Option(
            "--autoencoder",
            help="Model of `stylegan3d train vae` whose latents are learned; a folder, or the name "
            "of a bundled one.",
        ),
    ]

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        from stylegan3d.training.diffusion import export_diffusion, train_diffusion

        pack, stage = self.pack(), common.open_model(self.autoencoder, device="cpu")
        return PreparedTraining(
            partial(train_diffusion, pack, stage, self.out, settings=settings),
            lambda run, bar: export_diffusion(
                run, pack, stage, self.to, labels=self.columns, progress=bar
            ),
            lambda figures: [
                "  held-out subjects: error relative to a normal distribution, by noise: "
                + ", ".join(f"{value:.3f} {name}" for name, value in figures.items())
            ],
        )


@dataclass(frozen=True, kw_only=True)
class _WithModel:
    """A kind that goes on from a generator."""

    model: Annotated[Path, typer.Argument(help="Model folder, as written by --export.")]


@dataclass(frozen=True, kw_only=True)
class TrainEncoder(Kind, _WithModel):
    """Train an encoder for a generator on its own random brains: it finds a scan in one pass.

    Example: stylegan3d train encoder my-gan prepared --out runs/encoder --export my-gan-encoding
    """

    settings = EncoderSettings

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        from stylegan3d.training.autoencoder import export_encoder, train_encoder

        pack, generator = self.pack(), common.open_model(self.model, device=self.device)
        return PreparedTraining(
            partial(train_encoder, generator, pack, self.out, settings),
            lambda run, _: export_encoder(
                run, self.model, pack, self.target, overwrite=self.overwrite
            ),
        )


@dataclass(frozen=True, kw_only=True)
class TrainFlow(Kind, _WithModel):
    """Train a flow that sharpens a generator's brains; an existing one is trained further.

    Example: stylegan3d train flow my-model prepared --out runs/flow

    Then: stylegan3d train flow my-model prepared --out runs/fast --teacher runs/flow --export sharp
    """

    word = "errors"
    new_only = ("init_from",)
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher", help="Folder of a trained flow's run, to distil it into one step."
        ),
    ] = None
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from",
            help="Flow to start from, even from another generator: folder of its run or of a "
            "generator, or the name of a bundled one; new runs only.",
        ),
    ] = None
    seed: Annotated[int, common.described(FlowSettings, "seed")] = FlowSettings.seed
    steps: Annotated[
        int | None,
        common.described(
            FlowSettings, "steps", f"{FlowSettings.steps}, with a teacher {STRAIGHT_STEPS}"
        ),
    ] = None
    cubes: Annotated[
        int | None, common.described(FlowSettings, "cubes", f"{FlowSettings.cubes}")
    ] = None
    flow_steps: Annotated[
        int | None,
        typer.Option(
            "--flow-steps",
            min=1,
            max=64,
            help="Steps along the flow for every brain.",
            show_default=f"{FLOW_STEPS}, with a teacher {STRAIGHT_FLOW_STEPS}",
        ),
    ] = None

    def check(self, ctx: typer.Context) -> None:
        """See `Kind.check`."""
        if self.init_from and self.teacher is not None:
            raise typer.BadParameter("--init-from is for flows without a teacher")
        super().check(ctx)
        if self.resume and self.begun("flow")["straight"] != (self.teacher is not None):
            raise ModelError(
                f"The run in '{self.out}' was begun with a --teacher that is missing now, or "
                "without one; resume it as it was begun."
            )

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        import torch

        from stylegan3d.training import flow
        from stylegan3d.training.flow_export import export_with_flow
        from stylegan3d.training.run import load_run

        pack, generator = self.pack(), common.open_model(self.model, device=self.device)
        settings = FlowSettings(seed=self.seed)
        start = flow.flow_of(generator) if self.init_from is None else flow.start_of(self.init_from)
        if self.init_from and start is None:
            raise ModelError(
                f"{self.init_from} has no flow to start from: name a generator that has one, or "
                "the folder of a flow's run."
            )
        if start is not None:
            settings = replace(settings, channels=start.channels)
        if not self.resume and self.teacher is None:
            flow.check_flow(generator, pack)
            flow.check_cubes(pack, settings)
        with common.progress("Making pairs") as bar:
            if self.teacher is None:
                pairs: flow.FlowSource = flow.make_pairs(generator, pack, self.out, report=bar)
            else:
                known = load_run(flow.FlowTask, self.teacher, torch.device(self.device))
                pairs = flow.make_trajectories(generator, known, pack, self.out, report=bar)
                settings, start = flow.straight_config(known, self.seed), flow.start_of_run(known)
        settings = replace(settings, **_given({"steps": self.steps, "cubes": self.cubes}))
        write = partial(export_with_flow, steps=self.flow_steps, overwrite=self.overwrite)
        return PreparedTraining(
            partial(flow.train_flow, pairs, self.out, settings, start=start),
            lambda run, _: write(run, self.model, pack, self.target),
            lambda figures: [
                f"  held-out subjects, {name}: {value:.3f}" for name, value in figures.items()
            ],
        )


@dataclass(frozen=True, kw_only=True)
class FitStatistics(Kind, _WithModel):
    """Change a model's flow until its random brains have the subjects' tissue morphology.

    It runs on the CPU.

    Example: stylegan3d train fit-statistics my-model prepared --out runs/fit --export fitted
    """

    settings = MatchSettings
    together = False
    device: str = "cpu"

    def outcome(self, settings: Any) -> tuple[Json, list[str]]:
        """See `Kind.outcome`."""
        from stylegan3d.training.flow_export import export_matched
        from stylegan3d.training.shape_matching import match_flow

        pack, generator = self.pack(), common.open_model(self.model, device="cpu")
        found = match_flow(
            generator, pack, self.out, settings=settings, resume=self.resume, report=common.log.info
        )
        notes = [
            f"{self.out}: {found.steps} {'step' if found.steps == 1 else 'steps'}; squared "
            f"distance from subjects {found.after:.2f}, before {found.before:.2f}"
        ]
        result = {
            "run": str(self.out),
            "steps": found.steps,
            "distance": {"before": found.before, "after": found.after},
            "export": None,
        }
        if not found.finished:
            notes.append(STOPPED)
        elif self.export is not None:
            export_matched(
                found, self.model, pack, self.export, share=settings.share, overwrite=self.overwrite
            )
            result["export"] = str(self.export)
            notes.append(f"{self.export}: the fitted model")
        return result, notes


@dataclass(frozen=True, kw_only=True)
class TrainSegmentation(FromMaps):
    """Train the network of `stylegan3d segment` on subjects with label maps.

    With --scheme lesions, train the network that finds lesions: on simulated ones, without maps.

    With --scheme structures, train a network for images of any contrast on images made from a
    folder of label maps (SynthSeg, Billot et al. 2023).

    Example: stylegan3d train segmentation prepared --maps brains --out runs/tissues
    """

    settings = SegmentationSettings
    word = "dice"
    new_only = ("init_from",)
    files = (MODEL, PAGE, CARD)
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            help="Folder of a network to start from; its output layer too if it has the same "
            "labels. New runs only.",
        ),
    ] = None

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        from stylegan3d.segmentation.inference import read_network
        from stylegan3d.training.segmentation import export_segmentation, train_segmentation

        notes = self.notes
        start = None if self.init_from is None else read_network(self.init_from)
        if start is not None:
            settings = replace(settings, widths=start.widths)
        brains = self._brains(settings.scheme)
        return PreparedTraining(
            partial(train_segmentation, brains, self.out, settings, start),
            lambda run, bar: export_segmentation(run, brains, self.to, notes=notes, progress=bar),
            lambda figures: [
                f"  {brains.training} training subjects",
                *(f"  Dice of {name}: {value:.3f}" for name, value in figures.items()),
            ],
            {"training": brains.training},
        )

    def _brains(self, scheme: str) -> LabelledBrains | SyntheticBrains:
        """The subjects with their labels."""
        from stylegan3d.devices import choose_device
        from stylegan3d.segmentation.classes import LESIONS, SCHEMES, STRUCTURES
        from stylegan3d.segmentation.inference import load_segmenter
        from stylegan3d.training.lesions import simulated_lesions
        from stylegan3d.training.segmentation import load_labelled
        from stylegan3d.training.synthetic import synthetic_brains

        if scheme == STRUCTURES.name:
            return synthetic_brains(self.data, self.out / "heads", choose_device(self.device))
        if scheme == LESIONS.name:
            with common.progress("Labelling tissues") as bar:
                return simulated_lesions(self.pack(), load_segmenter(), bar)
        if self.maps is None:
            raise StyleGAN3DError(f"To learn {scheme}, give the label maps with --maps.")
        return load_labelled(self.pack(), self.maps, SCHEMES[scheme])


@dataclass(frozen=True, kw_only=True)
class TrainTranslation(FromMaps):
    """Train the network of `stylegan3d synthesize` on subjects, some of them with label maps.

    Example: stylegan3d train translation prepared --maps brains --out runs/labels-to-t1
    """

    settings = TranslationSettings
    files = (MODEL, MONTAGE, PAGE, CARD)
    maps: Annotated[Path, MapsOption] = field()  # not the None of the class above
    network: Annotated[
        Path | None,
        typer.Option(
            "--segmentation",
            help="Folder of the tissue network that segments the subjects.",
            show_default="the bundled network",
        ),
    ] = None

    def plan(self, settings: Any) -> PreparedTraining:
        """See `Kind.plan`."""
        from stylegan3d.segmentation.inference import load_segmenter
        from stylegan3d.training.translation import (
            export_translation,
            load_painted,
            train_translation,
        )

        notes, segmenter = self.notes, load_segmenter(self.network)
        with common.progress("Reading the tissues") as bar:
            people = load_painted(self.pack(), self.maps, segmenter, bar)
        count = len(people.pack.indices("train"))
        return PreparedTraining(
            partial(train_translation, people, self.out, settings=settings),
            lambda run, bar: export_translation(
                run, people, segmenter, self.to, notes=notes, progress=bar
            ),
            lambda figures: [
                f"  {count} training subjects",
                *(f"  {name} of held-out subjects: {v:.3f}" for name, v in figures.items()),
            ],
            {"training": count},
        )


#: Every kind, by its name on the command line.
KINDS: dict[str, type[Kind]] = {
    "anatomy": FitAnatomy,
    "stylegan": TrainStyleGAN,
    "vae": TrainAutoencoder,
    "diffusion": TrainDiffusion,
    "encoder": TrainEncoder,
    "flow": TrainFlow,
    "fit-statistics": FitStatistics,
    "segmentation": TrainSegmentation,
    "translation": TrainTranslation,
}
for _name, _kind in KINDS.items():
    app.command(_name, help=_kind.__doc__)(verb_of(_kind))
