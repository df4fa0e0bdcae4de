"""The 3D StyleGAN family: card checks and networks."""

import math
from itertools import pairwise

import torch

from stylegan3d.base import JsonView
from stylegan3d.checkpoints.folder import MOST_LEVELS, check_numbers, far_larger, whole_numbers
from stylegan3d.geometry.space import MAX_VOXELS
from stylegan3d.model.family import STYLEGAN, Family, Parts, Tensors
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import (
    AnatomyConfig,
    DiscriminatorConfig,
    EncoderConfig,
    GeneratorConfig,
    config_of,
)
from stylegan3d.networks.discriminator import Discriminator
from stylegan3d.networks.encoder import build_encoder
from stylegan3d.networks.synthesis import MappingNetwork, SynthesisNetwork
from stylegan3d.storage.encoding import is_int

MOST_LAYERS = 64
#: Filters, the first of which is required, and the least sum of their taps.
KERNELS, LEAST_SUM = ("resample_kernel", "down_kernel"), 1e-6
#: Settings that occur as divisors.
GAINS = ("upsample_gain", "mapping_lr_multiplier")


class StyleGAN:
    """The family; see `family.Family`."""

    name, title = STYLEGAN, "StyleGAN"

    def check(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> None:
        """Check that all settings are plausible and no network is larger than its weights."""
        check_networks(card, tensors, encoder)

    def build(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> Parts:
        """Build mapping, synthesis and, if saved, discriminator and encoder."""
        config = config_of(card["architecture"]["generator"])
        synthesis = SynthesisNetwork(config)
        fill(synthesis, tensors, "synthesis.")
        return build_parts(config, synthesis, card, tensors, encoder)


FAMILY: Family = StyleGAN()


def check_networks(card: JsonView, tensors: Tensors, encoder: Tensors | None) -> None:
    """Raise ValueError or ModelError if a card's networks do not fit the weights."""
    own = encoder or {}
    sizes = {"generator": tensors, "discriminator": tensors, "encoder": own, "teacher": own}
    for part, weights in sizes.items():
        plan = card["architecture"].get(part)
        if plan is None and part != "generator":
            continue
        check_numbers(plan, part)
        _check_filters(plan)
        if weights or part == "generator":
            _check_size(part, plan, sum(values.numel() for values in weights.values()))


def build_parts(
    config: GeneratorConfig,
    synthesis: SynthesisNetwork | AnatomyNetwork,
    card: JsonView,
    tensors: Tensors,
    encoder: Tensors | None,
) -> Parts:
    """Add mapping and, if saved, discriminator and encoder to a synthesis."""
    judge, encode = (card["architecture"].get(k) for k in ("discriminator", "encoder"))
    parts = Parts(config, MappingNetwork(config), synthesis, tensors["w_avg"].float())
    fill(parts.mapping, tensors, "mapping.")
    if judge:
        parts.discriminator = Discriminator(DiscriminatorConfig.from_dict(judge))
        fill(parts.discriminator, tensors, "discriminator.")
    if encode and encoder:
        taught = card["architecture"].get("teacher")
        teacher = AnatomyConfig.from_dict(taught) if taught else None
        parts.encoder = build_encoder(EncoderConfig.from_dict(encode), synthesis, teacher)
        fill(parts.encoder, encoder, "")
    return parts


#: Settings that count stored images or fields.
IMAGES = ("image_basis", "detail_basis", "deformation", "textures", "warps")


def fill(module: torch.nn.Module, tensors: Tensors, prefix: str) -> None:
    """Load the tensors with this prefix; RuntimeError if any are missing or unexpected."""
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    module.load_state_dict(state, strict=True)


def _check_filters(plan: JsonView) -> None:
    """Check that no divisor is zero."""
    for name in KERNELS:
        taps = plan.get(name)
        if taps is None or (name != KERNELS[0] and not taps):
            continue
        if not isinstance(taps, (list, tuple)) or sum(taps) < LEAST_SUM:
            raise ValueError(f"the architecture's {name} is not a filter")
    for name in GAINS:
        if plan.get(name, 1.0) < LEAST_SUM:
            raise ValueError(f"the architecture's {name} is not positive")


def _check_size(part: str, plan: JsonView, weights: int) -> None:
    """Refuse networks that are far larger than the weights."""
    channels, base = whole_numbers(plan, "channels", (1,)), whole_numbers(plan, "base", (1, 1, 1))
    drawing = part in ("generator", "teacher")
    if drawing and not plan.get("channels", channels):
        # An anatomy model without layers.
        levels = plan.get("levels", 1)
        channels = [0] * min(levels if is_int(levels) else 0, MOST_LEVELS + 1) or [1]
    count = plan.get("mapping_layers", 0)
    if len(channels) > MOST_LEVELS or not is_int(count) or not 0 <= count <= MOST_LAYERS:
        raise ValueError(f"the {part} has more levels or layers than any that was trained")
    finest = math.prod(base) * 8 ** len(channels)
    if finest > 8 * MAX_VOXELS:
        raise ValueError(f"the {part}'s volumes have more voxels than any head scan")
    width = max(1, *(plan.get(k, 1) for k in ("z_dim", "w_dim", "mapping_width")))
    images = sum(plan.get(k, 0) for k in IMAGES)
    # Lower bound per level: a convolution with 27 weights; for the generator also a map.
    needed = sum(27 * a * b for a, b in pairwise(channels))
    needed += 27 * channels[0] ** 2
    if drawing:
        needed += finest // 64 + images * finest // 4096
        needed += max(0, plan.get("mapping_layers", 8) - 2) * min(width, plan.get("w_dim", 1)) ** 2
        needed += width * max(channels)
        if plan.get("flow_channels"):
            needed += 27 * sum(n * n for n in whole_numbers(plan, "flow_channels", (1,)))
    if far_larger(needed, weights):
        raise ValueError(f"the card asks for a {part} far larger than the weights there are")
