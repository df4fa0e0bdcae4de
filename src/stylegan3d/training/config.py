"""Settings of a training run, as plain data that is stored with every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import (
    DiscriminatorConfig,
    EncoderConfig,
    GeneratorConfig,
    known_fields,
)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns.

    Training has two phases. *Reconstruction*: encoder -> w -> synthesis, so that each scan teaches
    both networks directly (few scans, few hours). *Adversarial*: the StyleGAN2 objective from that
    start, with the reconstruction kept as one term.

    Attributes
    ----------
    batch : volumes per optimiser step.
    warm_start_images : volumes seen in the reconstruction phase.
    coarse_images : so many of those train all levels but the finest, at a fraction of the time.
    total_images : volumes seen in all.
    generator_lr, encoder_lr, discriminator_lr : Adam step sizes in the reconstruction phase (and
        throughout for the discriminator); generator and encoder are multiplied by
        `adversarial_lr_scale` in the adversarial phase.
    final_lr_fraction : the reconstruction phase's rates fall to this share along a cosine.
    kl_weight : pull of the encoder's latents towards a unit Gaussian (Kingma, Welling 2014).
    adversarial_weight : of the generator's logistic loss beside a reconstruction of weight 1.
    r1_gamma, r1_interval : zero-centred gradient penalty on real volumes, every so many steps.
    path_length_weight, path_length_interval : StyleGAN2's regulariser (arXiv 1912.04958, eq. 4).
    mixing_probability : share of random brains made from two latents.
    ema_images : half-life of the averaged weights that are shipped, in volumes.
    clip_gradient : largest norm of the gradient of generator, mapping and encoder.
    mirror, stretch, gamma : augmentation, see `augment.py`.
    precision : "auto", "bfloat16", "float32": of feature maps; weights stay float32.
    checkpoint_minutes : how often the state is written.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    seed: int = 0
    batch: int = 4
    warm_start_images: int = 8000
    coarse_images: int = 0
    total_images: int = 12000
    generator_lr: float = 0.02
    encoder_lr: float = 5e-4
    discriminator_lr: float = 3e-3
    adversarial_lr_scale: float = 0.4
    final_lr_fraction: float = 0.1
    kl_weight: float = 1e-5
    adversarial_weight: float = 0.1
    r1_gamma: float = 10.0
    r1_interval: int = 16
    path_length_weight: float = 2.0
    path_length_interval: int = 8
    path_length_decay: float = 0.01
    mixing_probability: float = 0.9
    ema_images: float = 500.0
    clip_gradient: float = 1.0
    mirror: bool = True
    stretch: float = 0.7
    gamma: float = 0.06
    precision: str = "auto"
    checkpoint_minutes: float = 5.0
    log_images: int = 200

    def __post_init__(self) -> None:
        group = self.discriminator.mbstd_group
        if self.batch < 2 or (self.batch > group and self.batch % group):
            raise ModelError(
                f"A batch of {self.batch} cannot be trained on: it must be 2 to {group}, or a "
                f"multiple of {group}."
            )
        if self.total_images < 1 or self.warm_start_images < 0:
            raise ModelError("The numbers of volumes to train on must be positive.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """Inverse of `to_dict`."""
        parts: dict[str, Any] = {
            "generator": GeneratorConfig,
            "discriminator": DiscriminatorConfig,
            "encoder": EncoderConfig,
        }
        values = known_fields(cls, data)
        return cls(**{k: parts[k].from_dict(v) if k in parts else v for k, v in values.items()})

    def with_(self, **changes: Any) -> TrainConfig:
        """A copy with some settings changed."""
        return replace(self, **changes)


def brain_2mm() -> TrainConfig:
    """80 x 112 x 96 voxels of 2 mm: four levels and a Haar head; trains on a CPU."""
    base, latent = (5, 7, 6), 128
    return TrainConfig(
        generator=GeneratorConfig(
            base=base,
            channels=(128, 128, 64, 32),
            z_dim=latent,
            w_dim=latent,
            wiring="skip",
            base_input="dense",
            head="haar",
            image_const=True,
            image_basis=64,
            mapping_linear_output=True,
        ),
        discriminator=DiscriminatorConfig(
            base=base, channels=(96, 96, 48, 24), head="haar", detail_gain=12.0
        ),
        encoder=EncoderConfig(
            base=base, channels=(64, 128, 96, 48), w_dim=latent, num_layers=8, linear=64
        ),
    )


def tiny() -> TrainConfig:
    """20 x 28 x 24 voxels: seconds a run, to try the whole path on a machine."""
    base, latent = (5, 7, 6), 16
    return TrainConfig(
        generator=GeneratorConfig(
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


PRESETS = {"brain-2mm": brain_2mm, "tiny": tiny}
