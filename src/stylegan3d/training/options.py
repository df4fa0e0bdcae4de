"""Settings of the trainings.

No slow imports: the command line takes its options and defaults from here.

The training of a StyleGAN and the fit of an anatomy model have presets. The user sets them by a
JSON file, and `name=value` on the command line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

from stylegan3d.base import Json, ModelError
from stylegan3d.networks import config
from stylegan3d.segmentation.classes import LESIONS, REGIONS, STRUCTURES, TISSUES
from stylegan3d.settings.option import Option
from stylegan3d.storage.encoding import read_json
from stylegan3d.storage.files import reason

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


#: Edge in voxels of the window of the structural similarity.
WINDOW = 7
#: Options of all trainings.
Steps = Annotated[int, Option("Steps", "Number of training steps; new runs only.", (1,))]
Seed = Annotated[int, Option("Seed", "Seed of all randomness; new runs only.", (0,))]


def _batch(what: str) -> Option:
    text = f"{what} in each step, of all processes together; new runs only."
    return Option("Batch", text, (1,), flag="--batch")


#: Steps and learning rate of a flow that is distilled from a teacher, whose weights it starts from.
STRAIGHT_STEPS, STRAIGHT_RATE = 6000, 3e-4
#: Steps along a flow for every brain, and of one that was distilled.
FLOW_STEPS, STRAIGHT_FLOW_STEPS = 4, 1


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of any training.

    Attributes
    ----------
    validate_every : int
        Steps between measurements.
    save_seconds : float
        Interval between checkpoints.
    """

    steps: Steps = 4000
    learning_rate: float = 4e-4
    validate_every: int = 500
    save_seconds: float = 120.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        whole = "steps", "validate_every", "batch", "people", "crops", "cubes", "average_steps"
        for name in whole:
            if (value := getattr(self, name, 1)) < 1:
                raise ModelError(f"The setting {name} is {value}, but must be at least 1.")
        if not 0 <= self.learning_rate < float("inf"):
            raise ModelError(f"The learning rate is {self.learning_rate}, but must be 0 or more.")

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return self.learning_rate

    def memory(self, steps: int) -> float:
        """Decay of the averaged weights after this many steps."""
        raise NotImplementedError


@dataclass(frozen=True)
class RunSettings(TrainingSettings):
    """Settings of the training of one network.

    Attributes
    ----------
    learning_rate : float
        Maximum, reached after `warm_up` steps; then it falls along a cosine.
    decay : float
        Decay of the averaged weights, which are measured and exported.
    """

    weight_decay: float = 1e-4
    warm_up: int = 200
    decay: float = 0.998
    #: Final learning rate as a share of the maximum.
    last_rate: ClassVar[float] = 0.01

    def warmed_up(self, step: int) -> float:
        """Warm-up factor of the learning rate."""
        return min((step + 1) / self.warm_up, 1.0) if self.warm_up else 1.0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        left = max(self.last_rate, (1 + math.cos(math.pi * min(step / self.steps, 1.0))) / 2)
        return self.learning_rate * self.warmed_up(step) * left

    def memory(self, steps: int) -> float:
        """Decay of the averaged weights after this many steps.

        Less at the start, so that the initial weights are soon forgotten.
        """
        return min(self.decay, (1 + steps) / (10 + steps))


@dataclass(frozen=True)
class AutoencoderSettings(RunSettings):
    """Settings of one run.

    Attributes
    ----------
    people, crops : int
        Subjects per step, and crops per subject.
    side : int
        Edge of a crop in voxels, a multiple of `LATENT_FACTOR`; shorter axes are used completely.
    similarity : float
        Weight of 1 - SSIM relative to the mean squared error.
    divergence : float
        Weight of the Kullback-Leibler divergence, averaged over the latent's numbers.
    stretch : float
        Stretch of the augmentation, see `data`; half of the volumes are not stretched.
    """

    steps: Steps = 10_000
    people: Annotated[int, _batch("Subjects")] = 2
    crops: int = 2
    side: int = 48
    warm_up: int = 300
    similarity: float = 0.1
    divergence: float = 2e-5
    stretch: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < WINDOW or self.side % config.LATENT_FACTOR:
            raise _wrong_side(self.side, f"a multiple of {config.LATENT_FACTOR}")


@dataclass(frozen=True)
class EncoderSettings(RunSettings):
    """Settings of one run.

    Attributes
    ----------
    batch : int
        Random brains in each step.
    image : float
        Weight of the mean absolute error of volumes, beside the mean squared one of latents in
        units of their deviations.
    """

    steps: Steps = 4_000
    batch: Annotated[int, _batch("Random brains")] = 8
    learning_rate: float = 1e-3
    image: float = 1.0


@dataclass(frozen=True)
class DiffusionSettings(RunSettings):
    """Settings of one run.

    Attributes
    ----------
    people : int
        Subjects per step.
    middle, spread : float
        Log-normal distribution of the noise level as in Karras et al. 2022: median in standard
        deviations of latents, and standard deviation of its logarithm.
    """

    steps: Steps = 3_000
    people: Annotated[int, _batch("Subjects")] = 16
    middle: float = 1.0
    spread: float = 1.2
    weight_decay: float = 1e-2
    validate_every: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.middle, self.spread) <= 0:
            raise ModelError("The noise of a diffusion needs a middle and a spread above 0.")


@dataclass(frozen=True)
class FlowSettings(RunSettings):
    """Settings of one run; the learning rate falls linearly in the second half.

    Attributes
    ----------
    channels : tuple of int
        Widths of the network, see `Flow`.
    cubes, side : int
        Cubes per step, and their edge in voxels, a multiple of 8.
    noise : float
        Standard deviation of noise added to x0, in intensities of [-1, 1].
    straight : bool
        Distil a teacher's trajectories (`flow.py`) into one step.
    """

    channels: tuple[int, int, int] = (40, 64, 64)
    steps: Steps = 20_000
    cubes: Annotated[int, _batch("Cubes")] = 8
    side: int = 40
    learning_rate: float = 5e-4
    noise: float = 0.12
    straight: bool = False
    last_rate: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.channels) < 1:
            raise ModelError("A flow needs channels of 1 or more.")
        if self.side < 8 or self.side % 8:
            raise _wrong_side(self.side, "a multiple of 8")

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        left = 2 * (1 - step / self.steps)
        return self.learning_rate * self.warmed_up(step) * min(max(left, self.last_rate), 1.0)


@dataclass(frozen=True)
class MatchSettings:
    """How a flow is matched to its subjects, see `shape_matching.py`.

    Attributes
    ----------
    rounds : int
        How many times slopes are found.
    share : float
        How much of the change of the weights is exported, above 0 and at most 1. Tissue shapes come
        close to the subjects' with most of it; what is not measured suffers from the last of it.
    brains : int
        Random brains whose measures are compared with those of subjects.
    slopes : int
        Random brains from which slopes are found in each round.
    judged : int
        Random brains on which a step is judged.
    """

    rounds: Annotated[
        int, Option("Rounds", "Rounds of the search; more continue a finished one.", (1,))
    ] = 4
    share: Annotated[
        float,
        Option(
            "Share",
            "How much of the change of the weights is exported; a smaller share changes less.",
            (0.01, 1),
        ),
    ] = 0.75
    brains: int = 100
    slopes: int = 5
    judged: int = 30

    def __post_init__(self) -> None:
        if min(self.rounds, self.slopes, self.judged) < 1 or self.brains < 10:
            raise ModelError(
                "Matching a flow needs at least a round, a brain for slopes, one to judge, and ten "
                "to compare with subjects."
            )
        if not 0 < self.share <= 1:
            raise ModelError(f"The share of a change is above 0 and at most 1, not {self.share:g}.")


#: Channels of the networks that label, by what they label.
WIDTHS = dict.fromkeys((TISSUES.name, REGIONS.name, LESIONS.name), (32, 48, 64, 64)) | {
    STRUCTURES.name: (64, 96, 128, 128, 128)
}


@dataclass(frozen=True)
class SegmentationSettings(RunSettings):
    """Settings of one run.

    Attributes
    ----------
    widths : tuple of int
        Channels of the network, see `TissueNetwork`; those of `WIDTHS` by default.
    average_steps : float
        Half-life, in steps, of the averaged weights; it takes the place of `decay`.
    """

    widths: tuple[int, ...] = ()
    scheme: Annotated[
        str,
        Option(
            "Labels",
            "What the network learns.",
            choices={
                TISSUES.name: "tissues, as labels.tsv assigns them",
                REGIONS.name: "regions, from maps with the numbers of the Neuromorphometrics "
                "protocol (as MUSE has them)",
                STRUCTURES.name: "structures in images of any contrast, made from label maps with "
                "FreeSurfer's codes: give their folder in place of a dataset",
                LESIONS.name: "lesions, simulated in healthy subjects; without maps",
            },
        ),
    ] = TISSUES.name
    batch: Annotated[int, _batch("Volumes")] = 1
    learning_rate: float = 3e-3
    warm_up: int = 100
    average_steps: float = 100.0
    save_seconds: float = 60.0
    last_rate: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            object.__setattr__(self, "widths", WIDTHS[self.scheme])

    def memory(self, steps: int) -> float:
        """Decay of the weight average after a number of steps."""
        return 0.5 ** (1 / min(self.average_steps, 0.1 * (steps - 1) + 1))


@dataclass(frozen=True)
class TranslationSettings(RunSettings):
    """Settings of one run.

    Attributes
    ----------
    people, crops : int
        Subjects in each step, and crops of each.
    side : int
        Edge of a crop in voxels, a multiple of the network's; a shorter axis of the volumes is
        taken whole.
    similarity : float
        Weight of one minus the structural similarity, beside the absolute error.
    gamma : float
        Intensities are raised to a power in [1 - gamma, 1 + gamma].
    """

    people: Annotated[int, _batch("Subjects")] = 2
    crops: int = 2
    side: int = 48
    learning_rate: float = 6e-4
    similarity: float = 0.2
    gamma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side < WINDOW:
            raise _wrong_side(self.side, f"{WINDOW} or more")


@dataclass(frozen=True)
class LabelSettings:
    """Which labels, and from how much; see `stylegan3d.training.labels.learn_labels`."""

    labels: Annotated[
        str,
        Option(
            "Labels",
            "Columns of the dataset's table joined by commas, and volumes measured in the scans: "
            "brain_ml, ventricle_ml, grey_ml, white_ml.",
        ),
    ] = "age,sex"
    brains: Annotated[
        int,
        Option(
            "Random brains",
            "Their tissue volumes are measured; with 0, only latents are used.",
            (0,),
        ),
    ] = 600


def _wrong_side(side: int, instead: str) -> ModelError:
    return ModelError(f"Training pieces cannot have {side} voxels a side: set side to {instead}.")


# Least-squares fit over the canonical brains of the bundled model's 222 subjects, all axes
# together: the low band explains 0.42 to 0.48 of the variance of bands that are fine along one
# axis.
FINE_TAPS = (0.2254, -0.0784, 0.0246)
Mirror = Annotated[
    bool,
    Option("Mirror", "Train on mirror images too; new runs only.", flag="--mirror/--no-mirror"),
]
FitOn = Annotated[
    int,
    Option(
        "Fit on",
        "Training subjects to fit to, chosen for spread; 0: all, but at most 2000. New runs only.",
        (0,),
    ),
]


@dataclass(frozen=True)
class StyleGANSettings(TrainingSettings):
    """All settings of the training of a StyleGAN.

    Attributes
    ----------
    generator, discriminator : GeneratorConfig, DiscriminatorConfig
        The networks.
    conditions : tuple of str
        Labels: columns of the dataset's table, such as ("age", "sex"); see
        `stylegan3d.recipe.model`. Empty for an unconditional generator.
    learning_rate : float
        Adam's, of generator and discriminator.
    average_steps : float
        Half-life of the averaged weights, in steps.
    r1_gamma : float
        Weight of the gradient penalty on real volumes.
    d_augment : {"none", "fixed", "adaptive"}
        Augmentation of the discriminator's inputs, see `data.py`: "none", "fixed"
        (with probability `d_augment_p`) or "adaptive" (starting at it).
    d_augment_p : float
        Probability of each operation.
    d_augment_images : int
        For "adaptive": number of volumes in which the probability can go from 0 to 1.
    teacher_steps : int
        How many of the first steps are spent on learning to draw a teacher's volumes and people,
        if there is a teacher; see `stylegan.Lesson`.
    anchor : float
        After these: weight of the mean absolute difference from the teacher's volumes of the same
        latents, in what is coarser than the grid of the second level (16 mm).
    """

    __pydantic_config__ = config.STRICT
    generator: config.GeneratorConfig = field(default_factory=config.GeneratorConfig)
    discriminator: config.DiscriminatorConfig = field(default_factory=config.DiscriminatorConfig)
    conditions: tuple[str, ...] = ()
    steps: Annotated[int, Option("Steps", "Number of training steps.", (1,))] = 25_000
    learning_rate: float = 2e-3
    batch: Annotated[int, _batch("Volumes")] = 16
    accumulate: Annotated[
        int, Option("Microbatches", "Microbatches per process, to save memory.", (1,))
    ] = 1
    average_steps: float = 125.0
    validate_every: int = 60
    save_seconds: float = 300.0
    r1_gamma: float = 0.1
    mirror: Mirror = True
    d_augment: Literal["none", "fixed", "adaptive"] = "none"
    d_augment_p: float = 0.0
    d_augment_images: int = 500_000
    teacher_steps: int = 6_000
    anchor: float = 20.0
    precision: Annotated[
        Literal["auto", "bfloat16", "float32"],
        Option(
            "Precision",
            "Precision of the feature maps; weights stay float32.",
            choices={
                "auto": "bfloat16 where it is fast",
                "bfloat16": "bfloat16",
                "float32": "float32",
            },
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        group, packed = self.discriminator.mbstd_group, self.discriminator.packed
        if packed < 1 or group < 1 or group % packed or self.batch % packed:
            raise ModelError(
                f"A discriminator that judges {packed} volumes together (discriminator.packed) "
                "needs a batch and groups (discriminator.mbstd_group) that are multiples of that "
                f"number, not {self.batch} and {group}."
            )
        if self.batch < 2 or (self.batch > group and self.batch % group):
            raise ModelError(
                f"A batch of {self.batch} cannot be trained on: it must be 2 to {group}, or a "
                f"multiple of {group}."
            )
        if isinstance(self.generator, config.AnatomyConfig):
            raise ModelError(
                "These are settings of another kind of network; fit it with `train anatomy`."
            )
        if not 1 <= self.accumulate <= self.batch // self.group:
            raise ModelError(
                f"A batch of {self.batch} in groups of {self.group} (discriminator.mbstd_group) "
                f"has 1 to {self.batch // self.group} microbatches, not {self.accumulate}."
            )
        image, seen = self.generator.image_grids[-1], config.seen_grid(self.discriminator)
        if image != seen:
            raise ModelError(
                f"The discriminator sees {by(seen)} voxels, but the generator makes {by(image)}: "
                "make discriminator.base, channels and head fit."
            )
        if not 0 <= self.d_augment_p <= 1 or self.d_augment_images < 1:
            raise ModelError(
                "The setting d_augment_p is a probability from 0 to 1, d_augment_images a positive "
                "number of volumes."
            )
        if self.d_augment == "fixed" and self.d_augment_p == 0:
            raise ModelError(
                "The discriminator's fixed augmentation does nothing: set d_augment_p above 0, "
                "or d_augment to none."
            )

    @property
    def group(self) -> int:
        """Group size of the minibatch standard deviation."""
        return min(self.discriminator.mbstd_group, self.batch)

    def memory(self, steps: int) -> float:
        """Decay of the averaged weights; their half-life is shorter at the start."""
        return 0.5 ** (1 / min(self.average_steps, 0.1 * steps + 1 / self.batch))


@dataclass(frozen=True)
class AnatomySettings:
    """All settings of the fit of an anatomy model.

    Attributes
    ----------
    generator, encoder : AnatomyConfig, EncoderConfig
        The networks.
    conditions : tuple of str
        Labels, as those of `StyleGANSettings`.
    detail_gain : float
        Gain of the detail images of an exported generator, which compensates for interpolation.
    calibrate : bool
        Whether an exported generator with detail images is calibrated, see `export.py`.
    """

    __pydantic_config__ = config.STRICT
    generator: config.AnatomyConfig
    encoder: config.EncoderConfig
    conditions: tuple[str, ...] = ()
    seed: Seed = 0
    mirror: Mirror = True
    detail_gain: float = 1.3
    calibrate: bool = True
    fit_on: FitOn = 0

    def __post_init__(self) -> None:
        generator, encoder = self.generator, self.encoder
        if not isinstance(generator, config.AnatomyConfig) or not generator.deformation:
            raise ModelError(
                "These are settings of another kind of network; train it with `train stylegan`."
            )
        if not (generator.image_const and generator.image_basis):
            raise ModelError("An anatomy model needs a constant image and images: image_basis.")
        if encoder.kind != "fitting":
            raise ModelError("An anatomy model is fitted with an encoder of the kind `fitting`.")
        if encoder.w_dim != generator.w_dim or encoder.num_layers != generator.num_layers:
            raise ModelError(
                f"The encoder gives {encoder.num_layers} rows of {encoder.w_dim} numbers, but the "
                f"generator takes {generator.num_layers} of {generator.w_dim}: make "
                "encoder.num_layers and encoder.w_dim fit."
            )

    def to_dict(self) -> Json:
        """Plain data for JSON."""
        return asdict(self)


def anatomy(
    levels: int, *, images: int = 128, details: int = 32, velocities: int = 128
) -> AnatomySettings:
    """An anatomy model of so many levels, base images, detail images and velocity fields."""
    latent = velocities + images + details
    generator = config.AnatomyConfig(
        base=(5, 7, 6),
        levels=levels,
        z_dim=latent,
        w_dim=latent,
        head="haar",
        image_const=True,
        image_basis=images,
        detail_basis=details,
        fine_taps=FINE_TAPS,
        deformation=velocities,
        deformation_level=2,
        mapping_linear_output=True,
    )
    encoder = config.EncoderConfig(kind="fitting", w_dim=latent, num_layers=generator.num_layers)
    return AnatomySettings(generator, encoder)


def brain_2mm() -> AnatomySettings:
    """80 x 112 x 96 voxels of 2 mm."""
    return anatomy(4)


def brain_1mm() -> AnatomySettings:
    """160 x 224 x 192 voxels of 1 mm, with fewer images, to save memory."""
    return anatomy(5, images=64, details=16)


def stylegan(channels: tuple[int, ...], seen: tuple[int, ...], **changes: Any) -> StyleGANSettings:
    """A StyleGAN2 that starts at the mean brain; channels of generator and discriminator."""
    base: config.Grid = (5, 7, 6)
    generator = config.GeneratorConfig(
        base=base,
        channels=channels,
        base_input="dense",
        image_const=True,
        head="haar",
        mapping_linear_output=True,
    )
    discriminator = config.DiscriminatorConfig(
        base=base, channels=seen, head="haar", packed=4, mbstd_group=16
    )
    return StyleGANSettings(
        generator=generator, discriminator=discriminator, d_augment="adaptive", **changes
    )


def stylegan_4mm() -> StyleGANSettings:
    """40 x 56 x 48 voxels of 4 mm, for a CPU."""
    return stylegan((96, 48, 16), (128, 64, 32), steps=18_750)


def stylegan_2mm() -> StyleGANSettings:
    """80 x 112 x 96 voxels of 2 mm, for a GPU.

    The gradient penalty grows with the number of voxels (Karras et al. 2020, arXiv 2006.06676).
    """
    return stylegan(
        (128, 128, 80, 40), (128, 96, 64, 32), steps=25_000, average_steps=312.5, r1_gamma=0.8
    )


def tiny() -> StyleGANSettings:
    """20 x 28 x 24 voxels: runs in seconds, for tests."""
    whole = stylegan((16, 12), (16, 12), steps=75, batch=4, validate_every=10)
    return replace(
        whole,
        generator=replace(whole.generator, z_dim=16, w_dim=16, base_input="const"),
        discriminator=replace(whole.discriminator, packed=1, mbstd_group=4),
        d_augment="none",
    )


def by(grid: Sequence[int]) -> str:
    """A grid in words, such as "80 x 112 x 96"."""
    return " x ".join(map(str, grid))


#: The presets of each kind, by name; the first is its default.
PRESETS: dict[str, dict[str, Any]] = {
    "anatomy": {"brain-2mm": brain_2mm, "brain-4mm": partial(anatomy, 3), "brain-1mm": brain_1mm},
    "stylegan": {"stylegan-2mm": stylegan_2mm, "stylegan-4mm": stylegan_4mm, "tiny": tiny},
}


S = TypeVar("S", bound="DataclassInstance")
#: Settings of a run, in its folder.
SETTINGS = "settings.json"
# What decides which volumes a step sees or what its networks are cannot change midway.
FIXED = ("generator", "discriminator", "batch", "seed", "mirror", "conditions")


def read_settings(kind: type[S], path: str | Path) -> S:
    """Settings of a kind of training from a JSON file, such as the `settings.json` of a run.

    Settings missing in the file have their defaults.

    Raises
    ------
    ModelError
        If the file cannot be read, or a setting is unknown or of the wrong type.
    """
    path = Path(path)
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The settings '{path}' cannot be read as JSON ({reason(error)}); correct the file."
        ) from error
    return config.typed(kind, data)


def change_settings(settings: S, words: Sequence[str], flags: Mapping[str, Any] | None = None) -> S:
    """Settings changed by words such as "r1_gamma=5" or "generator.channels=[64,32]".

    Values are JSON; what is no JSON is text. `flags` are further changes, by name, and count more.

    Raises
    ------
    ModelError
        If a word is no `name=value`, the setting is unknown, or its value is of the wrong type.
    """
    data = asdict(settings)
    for name, value in _pairs(words):
        *path, last = name.split(".")
        place: Any = data
        for i, step in enumerate([*path, last]):
            if not isinstance(place, dict) or step not in place:
                raise config.unknown_setting(".".join([*path, last][: i + 1]), step, place)
            if i < len(path):
                place = place[step]
        place[last] = value
    return config.typed(type(settings), data | dict(flags or {}))


def changed_settings(kind: type, words: Sequence[str]) -> Json:
    """Changes to the settings of a resumed run from such words, by name.

    Raises
    ------
    ModelError
        As `change_settings`, or if a setting cannot change midway.
    """
    hints = get_type_hints(kind)
    changes = {}
    for name, value in _pairs(words):
        if name.split(".")[0] in FIXED:
            raise ModelError(
                f"The setting {name} of a resumed run cannot change; start a new run for it."
            )
        if name not in hints:
            raise config.unknown_setting(name, name, hints)
        changes[name] = config.typed(hints[name], value, name)
    return changes


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not name:
            raise ModelError(f"'{word}' is not a setting: write name=value, such as r1_gamma=5.")
        try:
            yield name, json.loads(text)
        except ValueError:
            yield name, text
