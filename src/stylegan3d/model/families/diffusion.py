"""The latent-diffusion family: card checks and networks.

w is the latent of the autoencoder that the diffusion was trained on; the diffusion is the mapping,
from equally many random numbers to such a latent. Scans are projected and edited as with the
autoencoder alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stylegan3d.checkpoints.card_checks import (
    check_numbers,
    far_larger,
    whole_numbers,
)
from stylegan3d.model.families.autoencoder import check_autoencoder, no_noise, synthesis_of
from stylegan3d.model.families.stylegan import fill
from stylegan3d.model.family import Family, OneRow, Parts, Tensors
from stylegan3d.networks.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    LatentEncoder,
)
from stylegan3d.networks.latent_diffusion import DiffusionConfig, DiffusionMapping, LatentDiffusion
from stylegan3d.plain import JsonView

DIFFUSION = "diffusion"
MOST_BLOCKS, MOST_STEPS = 64, 1000


class LatentDiffusionFamily:
    """The family; see `family.Family`."""

    name, title = DIFFUSION, "latent diffusion"

    def check(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> None:
        """Check that all settings are plausible and no network is larger than its weights."""
        check_autoencoder(card, tensors)
        plan = card["architecture"]["diffusion"]
        if not isinstance(plan, Mapping):
            raise ValueError("the architecture of the diffusion is not a table")
        check_numbers(plan)
        latent = whole_numbers(plan, "latent", (1,))
        widths = whole_numbers(plan, "channels", (1,))
        blocks, directions = plan.get("blocks", 0), plan.get("directions", 0)
        if blocks > MOST_BLOCKS:
            raise ValueError("the diffusion has more blocks than any that was trained")
        for name in ("steps", "preview_steps"):
            steps = card["architecture"][name]
            if not isinstance(steps, int) or not 0 < steps <= MOST_STEPS:
                raise ValueError(f"the diffusion's {name} are not a number from 1 to {MOST_STEPS}")
        numbers = latent[0] * latent[1] * latent[2] * latent[3] if len(latent) == 4 else 0
        expected = AutoencoderConfig.from_dict(card["architecture"]["autoencoder"])
        if tuple(latent) != expected.latent_shape:
            raise ValueError("the diffusion is of other latents than the autoencoder's")
        needed = directions * numbers + 27 * 4 * blocks * sum(a * a for a in widths)
        if far_larger(needed, sum(v.numel() for v in tensors.values())):
            raise ValueError("the card asks for networks far larger than the weights there are")

    def build(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> Parts:
        """Build decoder, diffusion and, if saved, encoder."""
        architecture = card["architecture"]
        config = AutoencoderConfig.from_dict(architecture["autoencoder"])
        weights = {k: v.float() for k, v in tensors.items()}
        network = Autoencoder(config)
        fill(network.decoder, weights, "decoder.")
        if encoder:
            fill(network.encoder, {k: v.float() for k, v in encoder.items()}, "")
        network.mean.copy_(weights["mean"])
        diffusion = LatentDiffusion(DiffusionConfig.from_dict(architecture["diffusion"]))
        fill(diffusion, weights, "diffusion.")
        steps, preview_steps = architecture["steps"], architecture["preview_steps"]
        gaussian = diffusion.gaussian
        components = gaussian.basis * gaussian.variances.sqrt()[:, None] * diffusion.scale
        return Parts(
            OneRow(config.w_dim, config.w_dim, config.shape),
            DiffusionMapping(diffusion, steps, preview_steps),
            synthesis_of(card, network, weights),
            diffusion.center,
            encoder=LatentEncoder(network) if encoder else None,
            cannot=no_noise(card, "A latent diffusion has no noise left: a latent is one brain."),
            deviations=weights["deviations"],
            components=at_right_angles(components),
        )


def at_right_angles(components: Tensor) -> Tensor:
    """Orthogonal principal directions [K, D] of components [K, D], each one sd long."""
    _, vectors = torch.linalg.eigh(components @ components.T)
    return vectors.flip(1).T @ components


FAMILY: Family = LatentDiffusionFamily()
