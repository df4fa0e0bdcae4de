"""Settings of the trainings, except those of generators (`config.py`).

No slow imports: the command line takes its options and defaults from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Self

from stylegan3d.base import Json, ModelError
from stylegan3d.networks.config import LATENT_FACTOR
from stylegan3d.segmentation.classes import LESIONS, REGIONS, STRUCTURES, TISSUES
from stylegan3d.settings.option import Option

#: Edge in voxels of the window of the structural similarity.
WINDOW = 7
#: Options of all trainings.
Steps = Annotated[int, Option("Steps", "Number of training steps; new runs only.", low=1)]
Seed = Annotated[int, Option("Seed", "Seed of all randomness; new runs only.", low=0)]
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
        if self.steps < 1 or self.validate_every < 1:
            raise ModelError(
                "A run needs at least one step: set steps and validate_every to 1 or more."
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        return self.learning_rate

    def memory(self, steps: int) -> float:
        """Decay of the averaged weights after this many steps."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `asdict`; unknown entries are ignored."""
        known = {entry.name for entry in fields(cls)}
        kept: Json = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known
        }
        return cls(**kept)


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
        done = min(step / self.steps, 1.0)
        left = max(self.last_rate, (1 + math.cos(math.pi * done)) / 2)
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
        Stretch of the augmentation, see `augment`; half of the volumes are not stretched.
    """

    steps: Steps = 10_000
    people: int = 2
    crops: int = 2
    side: int = 48
    warm_up: int = 300
    similarity: float = 0.1
    divergence: float = 2e-5
    stretch: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.people, self.crops) < 1:
            raise ModelError("A step needs at least one volume: set people and crops to 1 or more.")
        if self.side < WINDOW or self.side % LATENT_FACTOR:
            raise _wrong_side(self.side, f"a multiple of {LATENT_FACTOR}")


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
    batch: int = 8
    learning_rate: float = 1e-3
    image: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise ModelError("A step needs at least one brain: set batch to 1 or more.")


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
    people: int = 16
    middle: float = 1.0
    spread: float = 1.2
    weight_decay: float = 1e-2
    validate_every: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.people < 1:
            raise ModelError("A step needs at least one subject: set people to 1 or more.")
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
    cubes: int = 8
    side: int = 40
    learning_rate: float = 5e-4
    noise: float = 0.12
    straight: bool = False
    last_rate: ClassVar[float] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.cubes, *self.channels) < 1:
            raise ModelError("A flow needs cubes and channels of 1 or more.")
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
        int, Option("Rounds", "Rounds of the search; more than it had continue it.", low=1)
    ] = 4
    share: Annotated[
        float,
        Option(
            "Share",
            "How much of the change of the weights is exported; less spoils less.",
            low=0.01,
            high=1,
        ),
    ] = 0.75
    brains: int = 100
    slopes: int = 5
    judged: int = 14

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
                "FreeSurfer's codes: give their folder in place of a data set",
                LESIONS.name: "lesions, simulated in healthy subjects; without maps",
            },
        ),
    ] = TISSUES.name
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

    people: int = 2
    crops: int = 2
    side: int = 48
    learning_rate: float = 6e-4
    similarity: float = 0.2
    gamma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.people, self.crops) < 1:
            raise ModelError("A step needs at least one volume: set people and crops to 1 or more.")
        if self.side < WINDOW:
            raise _wrong_side(self.side, f"{WINDOW} or more")


@dataclass(frozen=True)
class LabelSettings:
    """Which labels, and from how much; see `stylegan3d.training.labels.learn_labels`."""

    labels: Annotated[
        str,
        Option(
            "Labels",
            "Columns of the data set's table joined by commas, and volumes measured in the scans: "
            "brain_ml, ventricle_ml, grey_ml, white_ml.",
        ),
    ] = "age,sex"
    brains: Annotated[
        int,
        Option(
            "Random brains",
            "Their tissue volumes are measured; with 0, only latents are used.",
            low=0,
        ),
    ] = 600


def _wrong_side(side: int, instead: str) -> ModelError:
    return ModelError(f"Training pieces cannot have {side} voxels a side: set side to {instead}.")
