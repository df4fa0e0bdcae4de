"""Settings of a training run, stored with every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from stylegan3d.errors import ModelError
from stylegan3d.networks.anatomy_config import AnatomyConfig, config_of
from stylegan3d.networks.config import (
    DiscriminatorConfig,
    EncoderConfig,
    GeneratorConfig,
    Grid,
    known_fields,
)
from stylegan3d.plain import Json
from stylegan3d.settings.option import Option
from stylegan3d.training.options import Seed

#: Operations that augment the inputs of the discriminator, see `judge_augment.py`.
PARTS = ("mirror", "affine", "translate", "intensity", "cutout")
# Least-squares fit over the canonical brains of the bundled model's 222 subjects, all axes
# together: the low band explains 0.42 to 0.48 of the variance of bands that are fine along one
# axis.
FINE_TAPS = (0.2254, -0.0784, 0.0246)


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run.

    Training has two phases. *Reconstruction*: encoder -> w -> synthesis, which trains both networks
    directly with few scans. *Adversarial*: the StyleGAN2 objective with a reconstruction term. An
    anatomy model without layers has neither: it consists of its initialisation and a flow.

    Attributes
    ----------
    generator : GeneratorConfig
        Generator of a StyleGAN (`GeneratorConfig`) or of an anatomy model (`AnatomyConfig`).
    conditions : tuple of str
        Labels: columns of the data set's table, such as ("age", "sex"); see
        `stylegan3d.recipe.label`. Empty for an unconditional generator.
    coarse_images : int
        Volumes of the reconstruction phase that train all levels but the finest, which is much
        faster.
    generator_lr, encoder_lr, discriminator_lr : float
        Adam learning rates in the reconstruction phase (for the discriminator throughout); those of
        generator and encoder are multiplied by `adversarial_lr_scale` in the adversarial phase.
    final_lr_fraction : float
        Final learning rate of the reconstruction phase as a share of the initial, along a cosine.
    kl_weight : float
        Weight of the divergence of latents from a unit Gaussian (Kingma, Welling 2014).
    adversarial_weight : float
        Weight of the generator's logistic loss relative to reconstruction.
    reconstructed_share : float
        Share of fakes in the adversarial phase that reconstruct scans by the encoder; 0 is plain
        StyleGAN2, whose encoder is not trained.
    generator_beta1 : float
        Adam's decay of the gradients' average, for generator, mapping and encoder; 0 in StyleGAN2.
    adversarial_loss : {"logistic", "relativistic"}
        Non-saturating logistic loss as in StyleGAN2, or relativistic pairing, see `losses.py`.
    r1_gamma, r2_gamma, r1_interval : float, float, int
        Zero-centred gradient penalties on real and on generated volumes, and their interval in
        steps.
    path_length_weight, path_length_interval : float, int
        StyleGAN2's regulariser (arXiv 1912.04958, eq. 4).
    mixing_probability : float
        Share of random brains with style mixing.
    silent_layers : int
        Number of layers, the finest first, that add no noise.
    ema_images : float
        Half-life of the averaged weights in volumes.
    clip_gradient : float
        Maximum gradient norm of generator, mapping and encoder.
    stretch, gamma : float
        Augmentation of the training volumes, see `augment.py`.
    d_augment : {"none", "fixed", "adaptive"}
        Augmentation of the discriminator's inputs, see `judge_augment.py`: "none", "fixed" (with
        probability `d_augment_p`) or "adaptive" (starting at it).
    d_augment_p : float
        Probability of each operation.
    d_augment_target, d_augment_images : float, int
        For "adaptive": target of the mean sign of the discriminator's scores on training volumes,
        and number of volumes in which p can go from 0 to 1.
    d_augment_parts : tuple of str
        Operations.
    patches : int
        Cubes per volume in a step of the texture phase, see `texture.py`.
    detail_gain : float
        Gain of the detail images of an exported generator, which compensates for interpolation.
    calibrate : bool
        Whether an exported generator with deformation and detail images is calibrated, see
        `calibration.py`.
    checkpoint_minutes : float
        Interval of checkpoints.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    conditions: tuple[str, ...] = ()
    seed: Seed = 0
    batch: Annotated[
        int,
        Option("Batch", "Volumes in each step, of all processes together; new runs only.", low=1),
    ] = 4
    accumulate: Annotated[
        int, Option("Microbatches", "Microbatches per process, to save memory.", low=1)
    ] = 1
    warm_start_images: Annotated[
        int,
        Option(
            "Warm start",
            "Number of training volumes in the reconstruction phase.",
            low=0,
            flag="--warm-start",
        ),
    ] = 8000
    coarse_images: int = 0
    total_images: Annotated[
        int, Option("Volumes", "Total number of training volumes.", low=0, flag="--images")
    ] = 12000
    generator_lr: float = 0.02
    encoder_lr: float = 5e-4
    discriminator_lr: float = 3e-3
    adversarial_lr_scale: float = 0.4
    final_lr_fraction: float = 0.1
    kl_weight: float = 1e-5
    adversarial_weight: float = 0.1
    reconstructed_share: float = 0.5
    generator_beta1: float = 0.9
    adversarial_loss: Literal["logistic", "relativistic"] = "logistic"
    r1_gamma: float = 10.0
    r2_gamma: float = 0.0
    r1_interval: int = 16
    path_length_weight: float = 2.0
    path_length_interval: int = 8
    path_length_decay: float = 0.01
    mixing_probability: float = 0.9
    silent_layers: int = 0
    ema_images: float = 500.0
    clip_gradient: float = 1.0
    mirror: Annotated[
        bool,
        Option("Mirror", "Train on mirror images too; new runs only.", flag="--mirror/--no-mirror"),
    ] = True
    stretch: float = 0.7
    gamma: float = 0.06
    d_augment: Literal["none", "fixed", "adaptive"] = "none"
    d_augment_p: float = 0.0
    d_augment_target: float = 0.6
    d_augment_images: int = 20_000
    d_augment_parts: tuple[str, ...] = PARTS
    patches: int = 2
    detail_gain: float = 1.0
    calibrate: bool = True
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
    checkpoint_minutes: float = 5.0
    log_images: int = 200

    def __post_init__(self) -> None:
        group, packed = self.discriminator.mbstd_group, self.discriminator.packed
        if packed < 1 or group % packed or self.batch % packed:
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
        if self.total_images < 0 or self.warm_start_images < 0:
            raise ModelError("The numbers of volumes to train on must not be negative.")
        if self.total_images and self.deformed and not self.generator.channels:
            raise ModelError(
                "An anatomy model without layers learns nothing from volumes after its start: set "
                "generator.channels, such as [96,96,48,32], or total_images to 0."
            )
        if not 1 <= self.accumulate <= self.batch // self.group:
            raise ModelError(
                f"A batch of {self.batch} in groups of {self.group} (discriminator.mbstd_group) "
                f"has 1 to {self.batch // self.group} microbatches, not {self.accumulate}."
            )
        if not (0 <= self.reconstructed_share < 1 and 0 <= self.generator_beta1 < 1):
            raise ModelError(
                "The settings reconstructed_share and generator_beta1 must be at least 0 and below "
                "1."
            )
        if self.reconstructed_share and self.group < 2:
            raise ModelError(
                "A group of one volume cannot hold a reconstruction and a random brain: set "
                "discriminator.mbstd_group to 2 or more, or reconstructed_share to 0."
            )
        layers = len(self.generator.noise_grids) if self.generator.channels else 0
        if not 0 <= self.silent_layers <= layers:
            raise ModelError(
                f"The generator has {layers} layers that can add noise, so silent_layers is 0 to "
                f"{layers}."
            )
        if not self.reconstructed_share:
            self._check_plain()
        self._check_encoder()
        self._check_judge()

    def _check_plain(self) -> None:
        """Check that the generator needs no reconstructions."""
        if isinstance(self.generator, AnatomyConfig) and self.generator.linear_dim:
            raise ModelError(
                "A generator that starts at principal components or with a deformation is trained "
                "with reconstructions: set reconstructed_share above 0, or choose the preset "
                "stylegan-4mm."
            )
        if self.warm_start_images:
            raise ModelError(
                "Without reconstructions there is no reconstruction phase: set warm_start_images "
                "to 0, or reconstructed_share above 0."
            )

    def _check_encoder(self) -> None:
        """Check that the encoder fits the generator."""
        generator, encoder = self.generator, self.encoder
        if encoder.w_dim != generator.w_dim or encoder.num_layers != generator.num_layers:
            raise ModelError(
                f"The encoder gives {encoder.num_layers} rows of {encoder.w_dim} numbers, but the "
                f"generator takes {generator.num_layers} of {generator.w_dim}: make "
                "encoder.num_layers and encoder.w_dim fit."
            )
        if encoder.kind == "fitting":
            if not self.deformed:
                raise ModelError("A fitting encoder needs a generator with a deformation.")
            return
        if _seen(encoder) != generator.image_grids[-1]:
            raise ModelError(
                f"The encoder reads {_by(_seen(encoder))} voxels, but the generator makes "
                f"{_by(generator.image_grids[-1])}: make encoder.base, channels and head fit."
            )

    def _check_judge(self) -> None:
        """Check the discriminator's input size and augmentation."""
        image, seen = self.generator.image_grids[-1], self.judge_grid
        if any(n > m for n, m in zip(seen, image, strict=True)):
            raise ModelError(
                f"The discriminator sees {_by(seen)} voxels, but the generator makes only "
                f"{_by(image)}: make discriminator.base smaller."
            )
        if self.adversarial_loss not in ("logistic", "relativistic"):
            raise ModelError(
                f"The setting adversarial_loss is '{self.adversarial_loss}'; choose logistic or "
                "relativistic."
            )
        if self.d_augment not in ("none", "fixed", "adaptive"):
            raise ModelError(
                f"The setting d_augment is '{self.d_augment}'; choose none, fixed or adaptive."
            )
        if self.d_augment == "adaptive" and self.adversarial_loss == "relativistic":
            raise ModelError(
                "Adaptive augmentation follows the sign of scores, which has no meaning with "
                "adversarial_loss=relativistic: set d_augment to none or fixed."
            )
        strangers = sorted(set(self.d_augment_parts) - set(PARTS))
        if strangers:
            raise ModelError(
                f"The discriminator's augmentation '{strangers[0]}' is unknown; "
                f"choose from {', '.join(PARTS)}."
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
    def deformed(self) -> bool:
        """Whether the generator has a deformation, initialised from the data's anatomy."""
        return isinstance(self.generator, AnatomyConfig) and self.generator.deformation > 0

    @property
    def group(self) -> int:
        """Group size of the minibatch standard deviation."""
        return min(self.discriminator.mbstd_group, self.batch)

    @property
    def reconstructed_in_group(self) -> int:
        """How many fakes of each group reconstruct scans in the adversarial phase."""
        if not self.reconstructed_share:
            return 0
        return min(max(int(self.group * self.reconstructed_share), 1), self.group - 1)

    @property
    def judge_grid(self) -> Grid:
        """Grid of the discriminator's input: a whole volume or, with a smaller base, a patch."""
        return _seen(self.discriminator)

    @property
    def patched(self) -> bool:
        """Whether the discriminator sees patches."""
        return self.judge_grid != self.generator.image_grids[-1]

    def with_patch(self, voxels: int) -> TrainConfig:
        """A copy whose discriminator sees cubes with an edge of `voxels`.

        Raises
        ------
        ModelError
            If its levels do not allow such a patch, or the volume is smaller.
        """
        factor = self.judge_grid[0] // self.discriminator.base[0]
        if voxels < factor or voxels % factor:
            raise ModelError(
                f"The discriminator's patch cannot have {voxels} voxels a side: it must be a "
                f"multiple of {factor}."
            )
        side = voxels // factor
        return self.with_(discriminator=replace(self.discriminator, base=(side, side, side)))

    def to_dict(self) -> Json:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """Inverse of `to_dict`."""
        parts: dict[str, Any] = {
            "generator": config_of,
            "discriminator": DiscriminatorConfig.from_dict,
            "encoder": EncoderConfig.from_dict,
        }
        values = known_fields(cls, data)
        return cls(**{k: parts[k](v) if k in parts else v for k, v in values.items()})

    def with_(self, **changes: Any) -> TrainConfig:
        """A copy with some settings changed."""
        return replace(self, **changes)


def brain_2mm() -> TrainConfig:
    """80 x 112 x 96 voxels of 2 mm: an anatomy model without layers, for a CPU.

    Training layers (`generator.channels`, `warm_start_images`) requires a GPU.
    """
    base, velocities, images, details = (5, 7, 6), 128, 128, 32
    latent = velocities + images + details
    return TrainConfig(
        generator=AnatomyConfig(
            base=base,
            levels=4,
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
        ),
        # The discriminator sees cubes of 96 mm.
        discriminator=DiscriminatorConfig(
            base=(3, 3, 3), channels=(96, 96, 48, 24), head="haar", detail_gain=12.0
        ),
        encoder=EncoderConfig(kind="fitting", w_dim=latent, num_layers=8, corrections=0),
        warm_start_images=0,
        total_images=0,
        batch=8,
        generator_lr=2e-3,
        discriminator_lr=1e-3,
        final_lr_fraction=0.2,
        adversarial_weight=0.3,
        ema_images=500.0,
        detail_gain=1.3,
    )


def brain_4mm() -> TrainConfig:
    """40 x 56 x 48 voxels of 4 mm: brain_2mm without its finest level, at an eighth of the cost."""
    fine = brain_2mm()
    assert isinstance(fine.generator, AnatomyConfig)
    generator = replace(fine.generator, levels=3)
    return fine.with_(
        generator=generator,
        discriminator=replace(fine.discriminator, channels=fine.discriminator.channels[:-1]),
        encoder=replace(fine.encoder, num_layers=generator.num_layers),
    )


def brain_1mm() -> TrainConfig:
    """160 x 224 x 192 voxels of 1 mm: brain_2mm with a finer level and layers; for a GPU.

    With fewer basis images, to save memory.
    """
    coarse, basis = brain_2mm(), 64
    assert isinstance(coarse.generator, AnatomyConfig)
    generator = replace(
        coarse.generator,
        channels=(96, 96, 48, 32, 16),
        refine_layers=2,
        image_basis=basis,
        detail_basis=16,
    )
    return coarse.with_(
        generator=generator,
        discriminator=replace(coarse.discriminator, channels=(*coarse.discriminator.channels, 12)),
        encoder=replace(coarse.encoder, num_layers=generator.num_layers),
        warm_start_images=100_000,
        total_images=400_000,
        ema_images=5000.0,
        d_augment="adaptive",
        d_augment_images=200_000,
    )


def tiny() -> TrainConfig:
    """20 x 28 x 24 voxels: runs in seconds, for tests.

    Linear images and layers without a deformation.
    """
    base, latent = (5, 7, 6), 16
    return TrainConfig(
        generator=AnatomyConfig(
            base=base,
            channels=(16, 12),
            z_dim=latent,
            w_dim=latent,
            head="haar",
            image_const=True,
            image_basis=4,
            mapping_linear_output=True,
        ),
        discriminator=DiscriminatorConfig(base=base, channels=(16, 12), head="haar"),
        encoder=EncoderConfig(base=base, channels=(16, 12), w_dim=latent, num_layers=4, linear=4),
        warm_start_images=200,
        coarse_images=40,
        total_images=300,
        log_images=40,
    )


def stylegan_2mm() -> TrainConfig:
    """80 x 112 x 96 voxels of 2 mm: a StyleGAN2 with a Haar head and an encoder; for a GPU."""
    base = (5, 7, 6)
    generator = GeneratorConfig(base=base, head="haar", mapping_linear_output=True)
    return TrainConfig(
        generator=generator,
        discriminator=DiscriminatorConfig(base=base, head="haar"),
        encoder=EncoderConfig(base=base, w_dim=generator.w_dim, num_layers=generator.num_layers),
        batch=16,
        warm_start_images=50_000,
        total_images=400_000,
        ema_images=5000.0,
        d_augment="adaptive",
        d_augment_images=200_000,
    )


def stylegan_4mm() -> TrainConfig:
    """40 x 56 x 48 voxels of 4 mm: a StyleGAN2 that starts at the mean brain, for a CPU."""
    base: Grid = (5, 7, 6)
    generator = AnatomyConfig(
        base=base,
        channels=(96, 48, 16),
        base_input="dense",
        head="haar",
        image_const=True,
        mapping_linear_output=True,
    )
    return TrainConfig(
        generator=generator,
        discriminator=DiscriminatorConfig(
            base=base, channels=(128, 64, 32), head="haar", packed=4, mbstd_group=16
        ),
        encoder=EncoderConfig(
            base=base,
            channels=(48, 32, 16),
            w_dim=generator.w_dim,
            num_layers=generator.num_layers,
        ),
        batch=16,
        warm_start_images=0,
        total_images=300_000,
        discriminator_lr=2e-3,
        adversarial_lr_scale=0.1,
        adversarial_weight=1.0,
        reconstructed_share=0.0,
        generator_beta1=0.0,
        r1_gamma=0.1,
        path_length_weight=0.0,
        ema_images=2000.0,
        clip_gradient=1e6,
        d_augment="adaptive",
        d_augment_images=500_000,
        log_images=1000,
    )


def _seen(network: DiscriminatorConfig | EncoderConfig) -> Grid:
    """Input grid of a network from volumes to its base grid."""
    factor = 2 ** (len(network.channels) - 1) * (2 if network.head == "haar" else 1)
    a, b, c = (n * factor for n in network.base)
    return a, b, c


def _by(grid: Grid) -> str:
    return " x ".join(map(str, grid))


PRESETS = {
    "brain-4mm": brain_4mm,
    "brain-2mm": brain_2mm,
    "brain-1mm": brain_1mm,
    "stylegan-4mm": stylegan_4mm,
    "stylegan-2mm": stylegan_2mm,
    "tiny": tiny,
}
