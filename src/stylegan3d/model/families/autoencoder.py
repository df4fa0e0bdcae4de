"""The autoencoder and the latent-diffusion family: card checks and networks.

An autoencoder's w is its encoder's output, with a single row. Its random brains are sampled from
the normal distribution of the subjects' latents (`networks.linear_prior`), conditional on labels if
trained with them.
"""

import torch
from torch import Tensor

from stylegan3d.base import JsonView
from stylegan3d.checkpoints.folder import check_numbers, far_larger, whole_numbers
from stylegan3d.geometry.space import MAX_VOXELS
from stylegan3d.model.families.stylegan import fill
from stylegan3d.model.family import Family, OneRow, Parts, Tensors
from stylegan3d.networks.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    LatentEncoder,
    LatentSynthesis,
)
from stylegan3d.networks.flow import Flow
from stylegan3d.networks.latent_diffusion import DiffusionConfig, DiffusionMapping, LatentDiffusion
from stylegan3d.networks.linear_prior import LinearPrior

VAE = "vae"
MOST_BLOCKS, MOST_FLOW_STEPS = 64, 64
#: Prefix of a flow's tensor names.
FLOW = "flow."


class VariationalAutoencoder:
    """The family; see `family.Family`."""

    name, title = VAE, "variational autoencoder"

    def check(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> None:
        """Check that all settings are plausible and no network is larger than its weights."""
        check_autoencoder(card, tensors)

    def build(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> Parts:
        """Build decoder, prior and, if saved, encoder."""
        weights = {k: v.float() for k, v in tensors.items()}
        network = _autoencoder(card, weights, encoder)
        config = network.config
        components = weights["prior.components"]
        # Labels learned after training are in a separate file, see `training.labels`.
        labels = card.get("labels") or () if "prior.shared" in weights else ()
        sizes = [len(entry["average"]) for entry in labels]
        prior = LinearPrior(len(components), config.w_dim, sizes)
        size = OneRow(len(components), config.w_dim, config.shape, label_dim=prior.label_dim)
        fill(prior, weights, "prior.")
        return Parts(
            size,
            prior,
            synthesis_of(card, network, weights),
            prior.mean,
            encoder=LatentEncoder(network) if encoder else None,
            cannot=no_noise(card, "A variational autoencoder has no noise: a latent is one brain."),
            deviations=weights["deviations"],
            components=prior.components,
        )


def _autoencoder(card: JsonView, weights: Tensors, encoder: Tensors | None) -> Autoencoder:
    network = Autoencoder(AutoencoderConfig.from_dict(card["architecture"]["autoencoder"]))
    fill(network.decoder, weights, "decoder.")
    if encoder:
        fill(network.encoder, {k: v.float() for k, v in encoder.items()}, "")
    network.mean.copy_(weights["mean"])
    return network


def synthesis_of(card: JsonView, network: Autoencoder, weights: Tensors) -> LatentSynthesis:
    """The decoder with its toe and its flow, if any."""
    plan, flow, steps = card["architecture"].get("flow"), None, 1
    if plan:
        a, b, c = plan["channels"]
        x, y, z = (n // 2 for n in network.config.shape)
        flow = Flow((a, b, c), (x, y, z), curves=plan.get("curves", False))
        steps = plan["steps"]
        fill(flow, {f"{FLOW}noise": flow.noise, **weights}, FLOW)
    synthesis = LatentSynthesis(network, flow, steps)
    if "toe.ends" in weights:
        fill(synthesis.toe, weights, "toe.")
    return synthesis


def no_noise(card: JsonView, why: str) -> dict[str, str]:
    """Entries of `cannot` for noise with the reason `why`, for a model without a flow."""
    return {} if card["architecture"].get("flow") else {"noise": why}


def check_autoencoder(card: JsonView, tensors: Tensors) -> None:
    """Raise ValueError or ModelError if a card's autoencoder does not fit the weights."""
    plan = check_numbers(card["architecture"]["autoencoder"], "autoencoder")
    shape = whole_numbers(plan, "shape", (1,))
    widths = whole_numbers(plan, "channels", (1,))
    blocks = plan.get("blocks", [])
    if not isinstance(blocks, list) or any(n > MOST_BLOCKS for n in blocks):
        raise ValueError("the autoencoder has more blocks than any that was trained")
    if blocks and len(blocks) != len(widths):
        raise ValueError("the autoencoder has other numbers of blocks and channels")
    if len(shape) != 3 or shape[0] * shape[1] * shape[2] > MAX_VOXELS:
        raise ValueError("the autoencoder's volumes have more voxels than any head scan")
    needed = 27 * sum(a * a * (1 + n) for a, n in zip(widths, blocks, strict=False))
    if far_larger(needed, sum(v.numel() for v in tensors.values())):
        raise ValueError("the card asks for networks far larger than the weights there are")
    flow = card["architecture"].get("flow")
    if flow:
        _check_flow(flow, tensors)


def _check_flow(flow: object, tensors: Tensors) -> None:
    plan = check_numbers(flow, "flow")
    widths = whole_numbers(plan, "channels", (1,))
    steps = plan["steps"]
    if len(widths) != 3:
        raise ValueError("a flow has three widths above zero")
    if not isinstance(steps, int) or not 0 < steps <= MOST_FLOW_STEPS:
        raise ValueError(f"the flow's steps are not a number from 1 to {MOST_FLOW_STEPS}")
    if not isinstance(plan.get("curves", False), bool):
        raise ValueError("whether the flow has curves is not true or false")
    needed = 27 * sum(a * a for a in widths)
    if far_larger(needed, sum(v.numel() for v in tensors.values())):
        raise ValueError("the card asks for a flow far larger than the weights there are")


FAMILY: Family = VariationalAutoencoder()


DIFFUSION = "diffusion"
MOST_STEPS = 1000


class LatentDiffusionFamily:
    """The family; see `family.Family`."""

    name, title = DIFFUSION, "latent diffusion"

    def check(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> None:
        """Check that all settings are plausible and no network is larger than its weights."""
        check_autoencoder(card, tensors)
        plan = check_numbers(card["architecture"]["diffusion"], "diffusion")
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
            raise ValueError("the diffusion has different latents from the autoencoder's")
        needed = directions * numbers + 27 * 4 * blocks * sum(a * a for a in widths)
        if far_larger(needed, sum(v.numel() for v in tensors.values())):
            raise ValueError("the card asks for networks far larger than the weights there are")

    def build(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> Parts:
        """Build decoder, diffusion and, if saved, encoder."""
        architecture = card["architecture"]
        weights = {k: v.float() for k, v in tensors.items()}
        network = _autoencoder(card, weights, encoder)
        config = network.config
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


DIFFUSION_FAMILY: Family = LatentDiffusionFamily()
