"""Training of a StyleGAN: the objective of StyleGAN2 in three dimensions.

Non-saturating logistic loss, lazy R1 and style-mixing regularisation (Karras et al. 2020, arXiv
1912.04958).

Every term is a mean over the whole batch: microbatches are weighted by their share, and gradients
summed over microbatches and processes. Random brains are monitored: their diversity beside that of
subjects.

A StyleGAN may have a teacher, a generator with an encoder: it takes over its latents, first learns
to draw its volumes and the people at their latents (`Lesson`), and is held to its coarse content
afterwards.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from stylegan3d.base import Json, ModelError, Progress
from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import eager, fast_dtype
from stylegan3d.directions.people import encoded
from stylegan3d.geometry.space import as_packed, draw_montage, to_display, unit
from stylegan3d.memory import keep_large_blocks
from stylegan3d.metrics.distances import Moments, expected_bmmd2, real_bmmd2
from stylegan3d.metrics.diversity import pair_correlation, pair_ms_ssim, random_pairs
from stylegan3d.model.family import HasNoiseMaps
from stylegan3d.model.generator import Generator
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, DiscriminatorConfig, GeneratorConfig
from stylegan3d.networks.deformation import Basis
from stylegan3d.networks.discriminator import Discriminator
from stylegan3d.networks.memo import Maps, Noise
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import (
    Dense,
    MappingNetwork,
    SynthesisNetwork,
    set_dense,
    set_gaussian,
)
from stylegan3d.recipe.model import encode_rows, label_dim, schema_of, seed_latents
from stylegan3d.storage.files import atomic_write_text
from stylegan3d.training.data import (
    MANY,
    AugmentProbability,
    Batches,
    Purpose,
    as_input,
    augmented,
    check_fit,
    check_mirror,
    fixed_volumes,
    generators_for,
    normal,
)
from stylegan3d.training.options import SETTINGS, StyleGANSettings, stylegan_2mm
from stylegan3d.training.run import How, Run, TrainingTask, train
from stylegan3d.training.team import Team


def discriminator_logistic(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), averaged (Goodfellow et al. 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_logistic(fake: Tensor) -> Tensor:
    """Non-saturating: -log sigmoid(D(G(z))), averaged (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E |grad_x D(x)|^2 on real volumes (Mescheder et al. 2018, arXiv 1801.04406, eq. 9).

    The factor gamma / 2 is the caller's.
    """
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3, 4)).mean()


#: Batches that are prepared while one is trained on.
AHEAD = 4
#: Learning rate, relative to the other weights', of what adds to the image directly: the constant
#: image and ToRGB's biases. It is not equalised: at the networks' rate every step would shake each
#: voxel by that rate.
IMAGE_SHARE = 0.03
R1_INTERVAL = 16
W_AVG_RATE = 0.005
MIXING_PROBABILITY = 0.9
#: What the layers add to the image starts at about what subjects differ by.
LAYERS_SHARE = 0.15
#: What is dark in all subjects starts this much darker, and stays dark, since it is cut off at -1.
DARK, DARKER = -0.97, 0.2
#: Voxels of the finest feature maps that a CPU computes together: those of one volume of 2 mm.
CACHED_VOXELS = 40 * 56 * 48


@dataclass(eq=False)
class Subjects:
    """What a training sees of its data.

    Attributes
    ----------
    batches : Batches
        Training volumes of this process.
    labels : Tensor or None
        Of the training subjects, [n, label_dim]; None for an unconditional generator.
    monitor : Monitor or None
        Measures the run, in the first process.
    tensorboard, board : bool, Board or None
        Whether and what writes for TensorBoard, from the first measurement on.
    teacher : Teacher or None
        Whom the network learns from.
    latest : dict of str to float
        Figures of the last step.
    stream : iterator or None
        The batches from the next step on, once there was one.
    """

    pack: Pack
    folder: Path
    batches: Batches
    labels: Tensor | None
    monitor: Monitor | None
    tensorboard: bool
    teacher: Teacher | None = None
    board: Board | None = None
    latest: dict[str, float] = field(default_factory=dict)
    stream: Iterator[Tensor] | None = None


@dataclass(frozen=True)
class StyleGANTask(TrainingTask[SynthesisNetwork, Subjects]):
    """How a StyleGAN is trained.

    Attributes
    ----------
    labels : list of dict
        Its labels, see `stylegan3d.recipe.model`; empty for an unconditional generator.
    teacher : str
        Hash of its teacher; empty if it has none.
    """

    settings: StyleGANSettings
    labels: list[Json]
    teacher: str = ""
    kind = "stylegan"
    kept = ("labels", "teacher")
    averaged = ("mapping", "synthesis")

    def networks(self) -> dict[str, nn.Module]:
        """Mapping, synthesis and discriminator."""
        return {
            "mapping": MappingNetwork(self.settings.generator).requires_grad_(not self.teacher),
            "synthesis": SynthesisNetwork(self.settings.generator),
            "discriminator": Discriminator(self.settings.discriminator),
        }

    def optimisers(self, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """One for all that makes the volume, one for the discriminator, one for lessons."""
        image: list[nn.Parameter] = []
        equalised: list[nn.Parameter] = []
        for name, parameter in networks["synthesis"].named_parameters():
            direct = name == "image_const" or (name.startswith("to_rgb") and name.count(".") == 2)
            (image if direct else equalised).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": equalised},
            {"params": image, "share": IMAGE_SHARE},
            {"params": [*networks["mapping"].parameters()]},
        ]
        adam, rate, betas = eager(torch.optim.Adam), self.settings.learning_rate, (0.0, 0.99)
        discriminator = [{"params": [*networks["discriminator"].parameters()]}]
        lessons = {"lessons": lesson_optimiser(networks["synthesis"])} if self.teacher else {}
        made = {"generator": groups, "discriminator": discriminator}
        return {name: adam(some, rate, betas) for name, some in made.items()} | lessons

    def extra(self, device: torch.device) -> Json:
        """Mean of w, and how much the discriminator's inputs are augmented."""
        p = 0.0 if self.settings.d_augment == "none" else self.settings.d_augment_p
        return {
            "w_avg": torch.zeros(self.settings.generator.w_dim, device=device),
            "augment": asdict(AugmentProbability(p)),
        }

    def prepare(
        self, source: tuple[Pack, Team, bool, Teacher | None], folder: Path, progress: Progress
    ) -> Subjects:
        """Batches of a dataset for a process of a team; the leader also measures the run."""
        pack, team, tensorboard, teacher = source
        if self.teacher != (teacher.generator.hash if teacher else ""):
            raise ModelError(
                f"The run in '{folder}' was begun with another teacher, or without one; give the "
                "same --teacher as then."
            )
        check_fit(self.settings.generator, pack)
        batches = Batches(pack, self.settings, np.concatenate(team.microbatches(self.settings)))
        labels = None
        if self.labels:
            people = [pack.table[row] for row in pack.indices("train")]
            labels = encode_rows(self.labels, people).to(team.device)
        monitor = None
        if team.leads:
            monitor = Monitor(pack, self.dtype(team.device))
            atomic_write_text(
                folder / SETTINGS, json.dumps(asdict(self.settings), indent=2), overwrite=True
            )
        return Subjects(pack, folder, batches, labels, monitor, tensorboard, teacher)

    def dtype(self, device: torch.device) -> torch.dtype:
        """Precision of the feature maps; "auto" is bfloat16 where the hardware multiplies it."""
        known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "auto": fast_dtype(device)}
        if (wanted := self.settings.precision) not in known:
            raise ModelError(f"The precision '{wanted}' is unknown; use {', '.join(known)}.")
        return known[wanted]

    @torch.no_grad()
    def begin(self, run: Run[Any], data: Subjects) -> None:
        """Let the image start at the mean brain, or at its mean intensity, and w at N(0, I)."""
        synthesis, config = run.networks["synthesis"], self.settings.generator
        mean = torch.from_numpy(data.pack.template.copy())[None, None] * 2 - 1
        if config.image_const:
            if data.teacher is None:
                mean = torch.where(mean < DARK, mean - DARKER, mean)
            synthesis.image_const.copy_((haar(mean) if config.head == "haar" else mean)[0])
            for rgb in synthesis.image_layers:
                rgb.conv.weight.mul_(LAYERS_SHARE)
        else:
            synthesis.image_layers[0].bias.fill_(float(mean.mean()))
        if data.teacher is not None:
            run.extra["teacher"] = data.teacher.introduce(run.networks["mapping"], data.pack)
            if config.noise_bands:
                drawing = data.teacher.generator.synthesis
                assert isinstance(drawing, HasNoiseMaps)
                (white,) = drawing.noise_maps("fixed")
                synthesis.noise.copy_(white)
            shared = run.extra["teacher"]
            data.teacher.shape(synthesis, shared["centre"], shared["scale"])
            return
        root = torch.eye(config.w_dim)
        set_gaussian(run.networks["mapping"], torch.zeros(config.w_dim), root)

    def step(self, run: Run[Any], data: Subjects) -> dict[str, float]:
        """A lesson, or one step of the generator and one of the discriminator."""
        if self.teacher and run.steps < self.settings.teacher_steps:
            data.latest = Lesson(run, data).train()
            return data.latest
        if data.stream is None:
            # A GPU is faster than one thread that augments; on a CPU more would be in its way.
            data.stream = data.batches.stream(run.steps, 1 if run.device.type == "cpu" else AHEAD)
        labels = None
        if data.labels is not None:
            rows = data.batches.indices(run.steps)
            labels = data.labels[np.searchsorted(data.batches.rows, rows)]
        data.latest = Step(run, next(data.stream), labels, data.labels, data.teacher).train()
        return data.latest

    def figures(self, run: Run[Any], data: Subjects, *, last: bool) -> dict[str, float]:
        """How much random brains differ, beside subjects; see `Monitor.measure`."""
        assert data.monitor is not None
        measured = data.monitor.measure(run, data.labels)
        if self.teacher:
            measured |= explained(run, data.pack)
        if data.tensorboard:
            data.board = data.board or Board(data.folder, run.steps)
            data.board.write(run, data.latest | measured, data.monitor)
        return measured

    def warning(self, figures: dict[str, float]) -> str:
        """See `alarm`."""
        return alarm(figures)

    def close(self, data: Subjects) -> None:
        """End the threads that prepare batches."""
        if data.stream is not None:
            data.stream.close()  # type: ignore[attr-defined]
        if data.board is not None:
            data.board.close()


StyleGANRun = Run[StyleGANTask]


def train_stylegan(
    pack: Pack,
    folder: Path,
    settings: StyleGANSettings | None = None,
    *,
    teacher: Generator | None = None,
    tensorboard: bool = False,
    **how: Unpack[How],
) -> StyleGANRun:
    """Train a StyleGAN.

    Where torchrun or srun started several processes, all call this and train together.

    Parameters
    ----------
    pack : Pack
        The dataset.
    folder : Path
        Folder of the run.
    settings : StyleGANSettings or None
        Settings of a new run; by default those of the preset stylegan-2mm.
    teacher : Generator or None
        Whom it learns from, also when the run is resumed. It needs an encoder, and a mapping
        network with a linear output and no labels of its training.
    tensorboard : bool
        Also write TensorBoard logs to the folder `tensorboard` in `folder`.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """
    keep_large_blocks()
    if tensorboard:
        Board.check()
    team = how.get("team") or Team(how.get("device") or torch.device("cpu"))
    how["team"] = team
    known = None if teacher is None else Teacher(teacher)

    def begin() -> StyleGANTask:
        chosen = settings or stylegan_2mm()
        if known is not None:
            chosen = known.pupil(chosen)
        elif chosen.generator.warps or chosen.generator.textures:
            raise ModelError("Only a teacher gives warps and textures: name one, or leave them 0.")
        team.microbatches(chosen)
        check_fit(chosen.generator, pack)
        check_mirror(pack, chosen.mirror)
        schema = schema_of([pack.table[r] for r in pack.indices("train")], chosen.conditions)
        dim = label_dim(schema)
        chosen = replace(
            chosen,
            generator=replace(chosen.generator, label_dim=dim),
            discriminator=replace(chosen.discriminator, label_dim=dim),
        )
        return StyleGANTask(chosen, schema, teacher.hash if teacher else "")

    return train(StyleGANTask, begin, (pack, team, tensorboard, known), folder, **how)


@dataclass(frozen=True)
class Part:
    """One microbatch.

    Attributes
    ----------
    samples : ndarray
        Numbers in the whole batch.
    real : Tensor, shape (N, 1, X, Y, Z)
        Values in [-1, 1].
    labels : Tensor, shape (N, label_dim), or None
        None for an unconditional generator.
    share : float
        N divided by the size of the whole batch.
    """

    samples: np.ndarray
    real: Tensor
    labels: Tensor | None
    share: float


class Step:
    """One step of generator and discriminator.

    Parameters
    ----------
    run : Run
        A run of `StyleGANTask`.
    real : Tensor, shape (N, 1, X, Y, Z)
        This process's samples of the batch, values in [-1, 1].
    labels : Tensor, shape (N, label_dim), or None
        Labels of `real`, if the generator is conditional.
    people : Tensor, shape (n, label_dim), or None
        Labels of all training subjects, from which those of random brains are drawn.
    teacher : Teacher or None
        Whose coarse content random brains are held to.
    """

    def __init__(
        self,
        run: StyleGANRun,
        real: Tensor,
        labels: Tensor | None = None,
        people: Tensor | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.run, self.people, self.teacher = run, people, teacher
        self.settings: StyleGANSettings = run.task.settings
        self.mapping, self.synthesis = run.networks["mapping"], run.networks["synthesis"]
        self.discriminator = run.networks["discriminator"]
        self.dtype = run.task.dtype(run.device)
        self.augment = AugmentProbability(**run.extra["augment"])
        if self.settings.d_augment == "fixed":
            self.augment.p = self.settings.d_augment_p
        self.sums: dict[str, Tensor] = {}
        self.w = torch.zeros_like(run.extra["w_avg"])
        self.parts, start = [], 0
        for samples in run.team.microbatches(self.settings):
            some = slice(start, start + len(samples))
            start += len(samples)
            known = None if labels is None else labels[some].to(run.device)
            share = len(samples) / self.settings.batch
            self.parts.append(Part(samples, real[some].to(run.device), known, share))

    def train(self) -> dict[str, float]:
        """Do it; returns figures, means over the whole batch."""
        settings, extra = self.settings, self.run.extra
        self._step_discriminator(self._step_generator())
        values = self._figures()
        # Each random brain has two latents.
        extra["w_avg"] = extra["w_avg"].lerp(self.w / (2 * settings.batch), W_AVG_RATE)
        sign = values.pop("real_sign")
        if settings.d_augment == "adaptive":
            self.augment.adjust(sign, settings.batch, settings.d_augment_images)
            extra["augment"] = asdict(self.augment)
        return values | {"d_augment_p": self.augment.p}

    def random_rows(
        self, samples: Sequence[int] | np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """w of random brains, some with style mixing.

        Style-mixing regularisation: from a random layer on, the rows come from a second latent
        (Karras et al. 2019, arXiv 1812.04948, section 3.1). The labels of a conditional generator
        are sampled from the training subjects.

        Parameters
        ----------
        samples : sequence of int or ndarray
            Numbers in the batch, which with seed and step determine the latents.

        Returns
        -------
        tuple of (Tensor, Tensor, (Tensor or None))
            Rows [N, num_layers, w_dim], w of both latents of all [2 N, w_dim], labels [N,
            label_dim].
        """
        config, count, device = self.settings.generator, len(samples), self.run.device
        layers = config.num_layers
        generators = generators_for(self.settings.seed, self.run.steps, Purpose.LATENT, samples)
        z = normal(generators, (2, config.z_dim), device)
        cuts = [int(torch.randint(1, layers, (), generator=g)) for g in generators]
        mixed = [float(torch.rand((), generator=g)) < MIXING_PROBABILITY for g in generators]
        labels = None
        if self.people is not None:
            people = [int(torch.randint(len(self.people), (), generator=g)) for g in generators]
            labels = self.people[people]
        both = None if labels is None else labels.repeat(2, 1)
        w = self.mapping(z.transpose(0, 1).flatten(0, 1), both)
        first, second = w[:count], w[count:]
        cut = torch.tensor([c if m else layers for c, m in zip(cuts, mixed, strict=True)])
        take_second = (torch.arange(layers)[None] >= cut[:, None]).to(device)
        return torch.where(take_second[:, :, None], second[:, None], first[:, None]), w, labels

    def scores(self, seen: Tensor, labels: Tensor | None) -> Tensor:
        """Logits [N / packed] of the discriminator, with groups of neighbours in the batch."""
        packed = self.settings.discriminator.packed
        order = _group_order(len(seen) // packed, self.settings.group // packed)
        volumes = [pack * packed + k for pack in order for k in range(packed)]
        ordered = None if labels is None else labels[volumes]
        return self.discriminator(seen[volumes], ordered, self.dtype)[np.argsort(order)]

    def _add(self, name: str, value: Tensor, share: float) -> None:
        """Add one microbatch's mean; stays on the device to avoid synchronisation."""
        value = value.detach().float() * share
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _figures(self) -> dict[str, float]:
        """Means over all processes; the sum of w too."""
        names = sorted(self.sums)
        stacked = torch.stack([self.sums[name] for name in names])
        self.run.team.sum_([stacked, self.w])
        return dict(zip(names, stacked.tolist(), strict=True))

    def _seen(self, volumes: Tensor, samples: np.ndarray, purpose: Purpose) -> Tensor:
        """Volumes [N, 1, X, Y, Z] as the discriminator sees them."""
        if self.settings.d_augment == "none":
            return volumes
        generators = generators_for(self.settings.seed, self.run.steps, purpose, samples)
        return augmented(volumes, self.augment.p, generators)

    def _step_generator(self) -> list[tuple[Tensor, Tensor | None]]:
        """Step of synthesis and mapping; returns the random brains with their labels."""
        optimiser = self.run.optimisers["generator"]
        optimiser.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        fakes = [self._add_generator_gradient(part) for part in self.parts]
        self.discriminator.requires_grad_(True)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self.run.team.sum_gradients(parameters)
        optimiser.step()
        return fakes

    def _add_generator_gradient(self, part: Part) -> tuple[Tensor, Tensor | None]:
        """Accumulate the gradient of one microbatch; returns its random brains and their labels."""
        rows, w, labels = self.random_rows(part.samples)
        self.w += w.detach().sum(dim=0)
        # As it is shown; scans have nothing below either.
        fake = self._volumes(rows, part.samples).clamp(min=-1)
        seen = self._seen(fake, part.samples, Purpose.AUGMENT_GENERATOR)
        loss = generator_logistic(self.scores(seen, labels))
        self._add("generator", loss, part.share)
        if self.teacher is not None:
            grid = self.settings.generator.grid(1)
            taught = self.teacher.volumes(rows, self.run, level=-2)
            coarse, wanted = (F.adaptive_avg_pool3d(x, grid) for x in (fake, taught))
            away = (coarse - wanted).abs().mean()
            self._add("anchor", away, part.share)
            loss = loss + self.settings.anchor * away
        (part.share * loss).backward()
        return fake.detach(), labels

    def _volumes(self, rows: Tensor, samples: np.ndarray) -> Tensor:
        """Volumes with random noise, in chunks that suit the device."""
        made = []
        step = at_once(self.run.device, self.settings.generator, len(rows))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            made.append(self.synthesis(rows[some], self._noise(samples[some]), -1, self.dtype))
        return torch.cat(made)

    def _noise(self, samples: np.ndarray) -> Maps:
        """Random noise maps of these samples of the batch."""
        device, grids = self.run.device, [m.shape[1:] for m in self.synthesis.stored_noise]
        place = (self.settings.seed, self.run.steps, Purpose.NOISE, samples)
        generators = generators_for(*place, device)
        return [normal(generators, grid, device) for grid in grids]

    def _step_discriminator(self, fakes: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Step of the discriminator: its loss, and R1 at intervals."""
        optimiser, settings = self.run.optimisers["discriminator"], self.settings
        optimiser.zero_grad(set_to_none=True)
        for part, (fake, labels) in zip(self.parts, fakes, strict=True):
            real = self._seen(part.real, part.samples, Purpose.AUGMENT_REAL)
            score_real = partial(self.scores, labels=part.labels)
            real_score = score_real(real)
            fake = self._seen(fake, part.samples, Purpose.AUGMENT_FAKE)
            fake_score = self.scores(fake, labels)
            loss = discriminator_logistic(real_score, fake_score)
            (loss * part.share).backward()
            self._add("discriminator", loss, part.share)
            self._add("real_score", real_score.mean(), part.share)
            self._add("fake_score", fake_score.mean(), part.share)
            self._add("real_sign", real_score.sign().mean(), part.share)
            if self.run.steps % R1_INTERVAL == 0 and settings.r1_gamma:
                penalty = r1_penalty(score_real, real)
                (penalty * part.share * settings.r1_gamma / 2 * R1_INTERVAL).backward()
                self._add("r1", penalty, part.share)
        self.run.team.sum_gradients(self.discriminator.parameters())
        optimiser.step()


#: Learning rates in lessons, relative to the others': of most weights, and of those that add to
#: the image directly.
LESSON_SHARE, LESSON_IMAGE_SHARE = 5.0, 1.0
#: Errors are squared in this unit; those of the detail bands, which are small, count more, and
#: those of coarser images than the one that is learned less.
LESSON_UNIT, DETAIL_WEIGHT, COARSER_WEIGHT = 0.2, 9.0, 0.5
LESSON_CLIP, LAST_LESSON = 10.0, 0.01
#: Width of a pupil's dense base, which would be most of its weights otherwise.
PUPIL_RANK = 64
#: Channels of a pupil's discriminator, which judges patches by their Haar bands.
PATCH_CHANNELS = (64, 16)
#: Random brains that say how far the teacher's latents spread.
SPREAD = 512


@dataclass(frozen=True)
class Teacher:
    """A generator from which a StyleGAN takes over its latents.

    The pupil's w is the teacher's in standard deviations from the mean. What is needed of it is in
    the run, as `extra["teacher"]`: "centre" and "scale" [w_dim], and the pupil's w of the training
    subjects and then of their mirror images, "people" [2 n, w_dim], and of those that were set
    aside, "held_out".
    """

    generator: Generator

    def __post_init__(self) -> None:
        generator = self.generator
        generator.require("encode")
        if not isinstance(generator.config, GeneratorConfig) or not (
            generator.config.mapping_linear_output and not generator.config.label_dim
        ):
            raise ModelError(
                f"'{generator.name}' cannot teach a StyleGAN: that takes a mapping network with a "
                "linear output, trained without labels, such as an anatomy model's."
            )

    def pupil(self, settings: StyleGANSettings) -> StyleGANSettings:
        """Settings of a StyleGAN with the teacher's latents; ModelError if it cannot have them."""
        known, generator = self.generator.config, settings.generator
        assert isinstance(known, GeneratorConfig)
        if settings.conditions:
            raise ModelError(
                "With a teacher no labels are trained: leave out conditions, and learn labels "
                "afterwards with `stylegan3d model labels`."
            )
        if generator.num_layers != known.num_layers or generator.wiring != "skip":
            raise ModelError(
                f"The teacher has {known.num_layers} rows of w, the StyleGAN {generator.num_layers}"
                ": choose a preset of the same grid, with the `skip` wiring."
            )
        shared = ("z_dim", "w_dim", "size_curves", "normalize_z")
        names = (*shared, *(n for n in vars(known) if n.startswith("mapping_")))
        taken = {name: getattr(known, name) for name in names}
        drawn = generator.head == "haar" and self.generator.has_noise
        taken |= {"noise_bands": drawn, "base_rank": PUPIL_RANK if known.w_dim > PUPIL_RANK else 0}
        taken |= {"flow_channels": (), "flow_curves": False}  # it has the teacher's when exported
        if isinstance(known, AnatomyConfig) and known.deformation:
            taken |= {"warps": known.deformation, "warp_level": known.deformation_level}
            taken["textures"] = known.detail_basis if drawn and known.detail_slope else 0
        judge = settings.discriminator
        if generator.head == "haar" and not judge.patches:
            # What a brain is as a whole the teacher says.
            grid = generator.grid(max(generator.num_levels - 2, 0))
            judge = DiscriminatorConfig(
                grid, PATCH_CHANNELS, head="haar", mbstd_group=1, mbstd_channels=0, patches=True
            )
        return replace(settings, generator=replace(generator, **taken), discriminator=judge)

    def introduce(self, mapping: MappingNetwork, pack: Pack) -> dict[str, Tensor]:
        """Let a mapping network give the teacher's w, standardised; returns what the run keeps."""
        teacher = self.generator
        centre = teacher.w_avg.cpu()
        spread = seed_latents(teacher, range(SPREAD))[:, 0].cpu()
        scale = spread.std(dim=0).clamp(min=1e-3)
        own = teacher.mapping
        state = (own.mapping if isinstance(own, LabelledMapping) else own).state_dict()
        state = {name: value.cpu().clone() for name, value in state.items()}
        last = f"layers.{len(mapping.typed_layers) - 1}"
        state[f"{last}.weight"] /= scale[:, None]
        rate = mapping.typed_layers[-1].lr_multiplier
        state[f"{last}.bias"] = (state[f"{last}.bias"] - centre / rate) / scale
        if mapping.curves is not None:
            state["curves.centre"] = (state["curves.centre"] - centre) / scale
            state["curves.read"] *= scale[:, None]
            state["curves.write"] /= scale
        mapping.load_state_dict(state)

        def latents(split: str, *, flipped: bool = False) -> Tensor:
            found = []
            for row in pack.indices(split, None if split == "train" else MANY):
                volume = unit(pack.volumes[row])
                volume = np.flip(volume, pack.space.sideways).copy() if flipped else volume
                found.append(torch.from_numpy(encoded(teacher, volume)).float())
            return (torch.stack(found) - centre) / scale if found else centre[:0]

        found = {
            "centre": centre,
            "scale": scale,
            "people": torch.cat([latents("train"), latents("train", flipped=True)]),
            "held_out": latents("validation"),
        }
        device = next(mapping.parameters()).device
        return {name: value.to(device) for name, value in found.items()}

    @torch.no_grad()
    def volumes(
        self, rows: Tensor, run: StyleGANRun, level: int = -1, noise: Noise | Maps = "none"
    ) -> Tensor:
        """The teacher's volumes, or those of a coarser level, of the pupil's w and noise.

        A pupil that warps its image reads noise before: the teacher, who adds it afterwards, is
        given it at the same places of the anatomy.
        """
        shared, device = run.extra["teacher"], self.generator.device
        known = self.generator.synthesis
        w = (rows * shared["scale"] + shared["centre"]).to(device)
        if isinstance(noise, list) and isinstance(known, AnatomyNetwork):
            noise = [m if m is None else known.noise_there(w, m.to(device)) for m in noise]
        return self.generator.synthesize(w, noise, level).to(rows.device)

    def shape(self, synthesis: SynthesisNetwork, centre: Tensor, scale: Tensor) -> None:
        """Give a pupil the teacher's deformation, mean and details, of w in standard deviations.

        The slope of the details' sigmoid is in their images.
        """
        config, known = synthesis.config, self.generator.synthesis
        if not config.warps:
            return
        assert isinstance(known, AnatomyNetwork)

        def follow(style: Dense, basis: Basis, own: Basis, part: slice, gain: float = 1.0) -> None:
            weight = scale.new_zeros(len(own.weight), len(scale))
            weight[:, part] = scale[part].diag()
            set_dense(style, weight, centre[part])
            basis.set_fields(own.fields * gain, own.inside)

        warp = synthesis.warp
        follow(warp.style, warp.basis, known.velocity_basis, slice(config.warps))
        warp.const.copy_(known.velocity_const)
        if known.config.toe:
            warp.toe.ends.copy_(known.image_toe.ends)
        if config.image_const and known.config.image_const:
            synthesis.image_const.copy_(known.image_const)
        if config.textures:
            texture, shape = synthesis.texture, known.detail_texture
            details = known.config.details
            follow(texture.style, texture.basis, known.detail_basis, details, shape.slope)
            texture.shape.load_state_dict(shape.state_dict())
            texture.shape.contrast.mul_(scale)
            texture.shape.centre.sub_(centre).div_(scale)


def lesson_optimiser(synthesis: nn.Module) -> torch.optim.Optimizer:
    """Of all weights but the constant image, which is the mean brain."""
    image: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in synthesis.named_parameters():
        if name == "image_const":
            continue
        direct = name.startswith("to_rgb") and "style" not in name
        (image if direct else others).append(parameter)
    shares = ((others, LESSON_SHARE), (image, LESSON_IMAGE_SHARE))
    groups = [{"params": some, "share": share} for some, share in shares]
    return eager(torch.optim.Adam)(groups, betas=(0.9, 0.99))


class Lesson(Step):
    """One step of a StyleGAN that learns to draw what its teacher draws, and people.

    Half of the batch are people at the latents that the teacher's encoder finds, the others the
    teacher's random brains, some with style mixing, so that rows of w mean the same to both; and so
    does noise, at the finest level (pairs of noise and volume: Luhman and Luhman 2021, arXiv
    2101.02388). The squared error is learned level by level, coarse to fine (distillation: Hinton
    et al. 2015, arXiv 1503.02531).
    """

    def __init__(self, run: StyleGANRun, data: Subjects) -> None:
        settings, pack = run.task.settings, data.pack
        rows, samples = data.batches.indices(run.steps), data.batches.samples
        place = np.searchsorted(data.batches.rows, rows)
        real = as_input(pack.volumes[rows]).transpose(0, 1)
        generators = generators_for(settings.seed, run.steps, Purpose.DATA, samples)
        for i, generator in enumerate(generators):
            if settings.mirror and float(torch.rand((), generator=generator)) < 0.5:
                real[i] = real[i].flip(1 + pack.space.sideways)
                place[i] += len(data.batches.rows)
        self.place = dict(zip(samples.tolist(), place.tolist(), strict=True))
        super().__init__(run, real, teacher=data.teacher)

    def train(self) -> dict[str, float]:
        """Do it; returns its figures."""
        run, optimiser = self.run, self.run.optimisers["lessons"]
        done = run.steps / self.settings.teacher_steps
        for group in optimiser.param_groups:
            group["lr"] *= max(LAST_LESSON, (1 + math.cos(math.pi * done)) / 2)
        last = self.settings.generator.num_levels - 1
        stop = min(last, 1 + int(done * last))
        optimiser.zero_grad(set_to_none=True)
        for part in self.parts:
            rows, maps, wanted = self._examples(part, level=-1 if stop == last else -2)
            loss = self._error(self.synthesis.images(rows, stop, self.dtype, maps), wanted)
            (loss * part.share).backward()
            self._add("lesson", loss, part.share)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        run.team.sum_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, LESSON_CLIP)
        optimiser.step()
        return self._figures()

    def _examples(self, part: Part, level: int) -> tuple[Tensor, Maps, Tensor]:
        """w [N, num_layers, w_dim] and noise, and the volumes at a level that they should give."""
        rows, _, _ = self.random_rows(part.samples)
        known = torch.from_numpy(part.samples % 2 == 0)
        drawn = level == -1 and self.settings.generator.noise_bands
        maps = self._noise(part.samples) if drawn else self.synthesis.noise_maps("none")
        random = (~known).float()[:, None, None, None, None]
        maps = [m if m is None else m * random.to(m) for m in maps]  # people have none
        assert self.teacher is not None
        wanted = part.real if level == -1 else F.avg_pool3d(part.real, 2)
        if not known.all():
            noise = [None if m is None else m[~known] for m in maps]
            made = self.teacher.volumes(rows[~known], self.run, level, noise if drawn else "none")
            wanted[~known] = made.clamp(-1, 1)
        place = [self.place[int(sample)] for sample in part.samples[known.numpy()]]
        rows[known] = self.run.extra["teacher"]["people"][place][:, None]
        return rows, maps, wanted

    def _error(self, images: Sequence[Tensor], wanted: Tensor) -> Tensor:
        """Squared error of the images of all levels, of which the last is compared in all bands."""
        last = images[-1]
        if last.shape[1] > 1:
            bands = haar(wanted)
            low, detail = bands[:, :1], bands[:, 1:]
            loss = DETAIL_WEIGHT * (last[:, 1:] - detail).square().mean()
        else:
            low, loss = wanted, last.new_zeros(())
        for image in images:
            x, y, z = image.shape[2:]
            error = (image[:, :1] - F.adaptive_avg_pool3d(low, (x, y, z))).square().mean()
            loss = loss + error * (1.0 if image is last else COARSER_WEIGHT)
        return loss / LESSON_UNIT**2


@torch.no_grad()
def explained(run: StyleGANRun, pack: Pack) -> dict[str, float]:
    """Share of the variance about the mean brain that is right in people who were set aside.

    At the latents that the teacher's encoder finds: "explained_coarse" at four times the voxel
    size, "explained_low" at twice, "explained_detail" of what is finer.
    """
    synthesis, shared = run.averages["synthesis"], run.extra["teacher"]
    mean = haar(torch.from_numpy(pack.template.copy())[None, None] * 2 - 1)
    sums = np.zeros((3, 2))
    layers = run.task.settings.generator.num_layers
    for w, volume in zip(shared["held_out"], fixed_volumes(pack, "validation"), strict=True):
        made = synthesis(w.expand(1, layers, -1), "none", -1, run.task.dtype(run.device))
        drawn, person = haar(made.float().cpu().clamp(-1, 1)) - mean, haar(volume[None]) - mean
        coarse = [F.avg_pool3d(x[:, :1], 2) for x in (drawn, person)]
        pairs = (coarse, (drawn[:, :1], person[:, :1]), (drawn[:, 1:], person[:, 1:]))
        sums += [[float((a - b).square().sum()), float(b.square().sum())] for a, b in pairs]
    names = ("explained_coarse", "explained_low", "explained_detail")
    shares = 1 - sums[:, 0] / sums[:, 1].clip(1e-9)
    return dict(zip(names, shares.tolist(), strict=True))


def at_once(device: torch.device, generator: GeneratorConfig, count: int) -> int:
    """How many of `count` volumes to synthesise together.

    On a CPU as many as keep their feature maps in the cache: one of 2 mm, eight of 4 mm. A single
    small one would be slow, since torch convolves it with a kernel that takes ten times as long.
    """
    if device.type != "cpu":
        return count
    voxels = math.prod(generator.grid(generator.num_levels - 1))
    return min(max(CACHED_VOXELS // voxels, 1), count)


def _group_order(count: int, group: int) -> Sequence[int]:
    """Order of samples such that `minibatch_stddev` groups neighbours.

    It groups every (count / group)-th sample.
    """
    if count <= group:
        return range(count)
    return np.arange(count).reshape(-1, group).T.ravel().tolist()


SAMPLES, PAIRS = 8, 6
# Diversity is 1 if random brains differ as much as subjects. Blur, which is unavoidable with few
# training subjects, also makes brains more similar: 0.6 is usual, less than 0.5 is not.
TOO_ALIKE, TOO_UNLIKE = 0.5, 1.6


class Monitor:
    """Measures a run on fixed subjects, latents and noise.

    Attributes
    ----------
    real, fake : ndarray, shape (n, X, Y, Z), uint8
        Subjects, and the random brains of the last measurement.
    mask : ndarray, shape (X, Y, Z), bool
        The mean brain.
    """

    def __init__(self, pack: Pack, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.space = pack.space
        self.mask = pack.template > 0.05
        # Diversity requires at least two subjects.
        split = "validation" if len(pack.indices("validation")) > 1 else "train"
        self.real = np.array(pack.volumes[pack.indices(split, SAMPLES)])
        self.fake = self.real[:0]
        self.of_people = variety(self.real, self.mask)
        self.moments = Moments.of(self.real)

    @torch.no_grad()
    def measure(self, run: Run[Any], labels: Tensor | None) -> dict[str, float]:
        """Measure a run of a StyleGAN.

        Parameters
        ----------
        run : Run
            The run.
        labels : Tensor, shape (n, label_dim), or None
            Labels of the training subjects, if the generator is conditional.

        Returns
        -------
        dict of str to float
            "pair_correlation" and "ms_ssim" of random brains, the same of subjects with "_real",
            and "diversity", (1 - pair_correlation) / (1 - pair_correlation_real); "bmmd2" of random
            brains to subjects, and "bmmd2_real" of subjects to other subjects.
        """
        self.fake = self._samples(run, labels)
        if len(self.real) < 2:
            return {}
        values = variety(self.fake, self.mask)
        values |= {f"{name}_real": value for name, value in self.of_people.items()}
        people = values["pair_correlation_real"]
        values["diversity"] = (1 - values["pair_correlation"]) / max(1 - people, 1e-6)
        values["bmmd2"] = expected_bmmd2(Moments.of(self.fake), self.moments)
        values["bmmd2_real"] = real_bmmd2(self.moments)
        return values

    def _samples(self, run: Run[Any], people: Tensor | None) -> np.ndarray:
        """Random brains of fixed latents, each with fixed noise of its own, uint8 [n, X, Y, Z]."""
        generator = run.task.settings.generator
        z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
        labels = None
        if people is not None:
            labels = people[np.linspace(0, len(people) - 1, SAMPLES).round().astype(int)]
        w = run.averages["mapping"](z.to(run.device), labels)
        rows = w[:, None].expand(-1, generator.num_layers, -1)
        synthesis = run.averages["synthesis"]
        made = [synthesis(row, k, -1, self.dtype) for k, row in enumerate(rows.split(1))]
        return as_packed(to_display(torch.cat(made)))


def variety(volumes: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Similarity within a set of volumes; empty for a single one."""
    if len(volumes) < 2:
        return {}
    return {
        "pair_correlation": pair_correlation(volumes, mask),
        "ms_ssim": float(pair_ms_ssim(volumes, random_pairs(len(volumes), PAIRS)).mean()),
    }


def alarm(values: dict[str, float]) -> str:
    """A warning if random brains are much more or much less similar than subjects, else ""."""
    diversity = values.get("diversity")
    if diversity is None or TOO_ALIKE <= diversity <= TOO_UNLIKE:
        return ""
    correlations = (
        f"pair correlation {values['pair_correlation']:.2f}, "
        f"of real brains {values['pair_correlation_real']:.2f}"
    )
    if diversity < TOO_ALIKE:
        return (
            f"random brains are too similar ({correlations}): if it gets worse the generator is "
            "collapsing, so stop, and start a new run with more volumes judged together "
            "(discriminator.packed)."
        )
    return (
        f"random brains differ more than real ones ({correlations}): they are noisy, so train "
        "longer."
    )


TENSORBOARD = "tensorboard"
SHOWN = 4


class Board:
    """Writes a run's events."""

    @staticmethod
    def check() -> None:
        """Raise ModelError if TensorBoard is not installed."""
        if find_spec("tensorboard") is None:
            raise ModelError(
                "--tensorboard needs TensorBoard: install it with "
                '`pip install "napari-stylegan3d[train]"`.'
            )

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides events of a killed run after its last checkpoint.
        self.writer = SummaryWriter(str(out / TENSORBOARD), purge_step=step)

    def write(self, run: Run[Any], values: dict[str, float], monitor: Monitor) -> None:
        """Write what was measured."""
        step = run.steps
        for name, value in values.items():
            self.writer.add_scalar(f"figures/{name}", value, step)
        for name, optimiser in run.optimisers.items():
            for number, group in enumerate(optimiser.param_groups):
                self.writer.add_scalar(f"rate/{name}_{number}", group["lr"], step)
        for name, volumes in (("synthetic", monitor.fake), ("real", monitor.real)):
            inside = volumes[:, monitor.mask] / 255
            self.writer.add_histogram(f"intensity/{name}", inside, step)
        columns: dict[str, Sequence[np.ndarray]] = {
            "synthetic - not for diagnosis": list(monitor.fake[:SHOWN]),
            "real": list(monitor.real[:SHOWN]),
        }
        picture = Image.open(io.BytesIO(draw_montage(columns, monitor.space)))
        self.writer.add_image("brains", np.asarray(picture), step, dataformats="HW")
        self.writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()
