"""What a synthesis costs when it is written down as it stands in the paper: the yardstick.

float32, channels first (NCDHW), activations scaled by the style, one operation after the other,
nothing kept. It computes what the networks compute, the flow included; `speed.py` makes sure of it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.networks import flow as flows
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.deformation import exponential, warp
from stylegan3d.networks.flow import toed
from stylegan3d.networks.memo import NoMemo
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.networks.synthesis import LeveledSynthesis, SynthesisLayer, SynthesisNetwork, ToRGB


def low_pass(x: Tensor, kernel: tuple[float, ...], pad: tuple[int, int], gain: float) -> Tensor:
    """Depthwise, one axis at a time; a dense 5 x 5 x 5 filter would be slower still."""
    f = torch.tensor(kernel)
    f = f / f.sum() * gain ** (1 / 3)
    k, c = len(kernel), x.shape[1]
    x = F.pad(x, pad * 3)
    for shape in ((k, 1, 1), (1, k, 1), (1, 1, k)):
        x = F.conv3d(x, f.reshape(1, 1, *shape).repeat(c, 1, 1, 1, 1), groups=c)
    return x


def modulated(layer: SynthesisLayer | ToRGB, x: Tensor, w: Tensor) -> Tensor:
    """StyleGAN2, eq. 1 and 3."""
    conv = layer.conv
    weight = conv.weight / math.sqrt(conv.weight[0].numel())
    style = conv.style(w)
    x = x * style[:, :, None, None, None]
    size = weight.shape[-1]
    if conv.up:
        x = F.conv_transpose3d(x, weight.flip(2, 3, 4).transpose(0, 1), stride=2)
        k = len(conv.kernel)
        x = low_pass(x, conv.kernel, ((k + 2 - size) // 2, (k - size + 1) // 2), conv.up_gain)
    else:
        x = F.conv3d(x, weight, padding=size // 2)
    if conv.demodulate:
        styled = weight[None] * style[:, None, :, None, None, None]
        x = x * torch.rsqrt(styled.square().sum(dim=(2, 3, 4, 5)) + 1e-8)[:, :, None, None, None]
    return x


def synthesis_layer(layer: SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """Convolution, noise, bias, leaky ReLU."""
    x, strength = modulated(layer, x, w), layer.noise_strength
    if strength.ndim:
        x = x + F.conv3d(noise, strength[:, :, None, None, None])
    else:
        x = x + noise * strength
    x = x + layer.bias[:, None, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def doubled(network: LeveledSynthesis, x: Tensor) -> Tensor:
    """The image of a `skip` network at the next resolution."""
    config, k = network.config, len(network.config.resample_kernel)
    assert config.image_upsampling == "zeros"
    spread = x.new_zeros(*x.shape[:2], *(2 * n for n in x.shape[2:]))
    spread[:, :, ::2, ::2, ::2] = x
    return low_pass(spread, config.resample_kernel, ((k + 1) // 2, (k - 2) // 2), 8.0)


@torch.no_grad()
def synthesize(network: LeveledSynthesis, w: Tensor) -> Tensor:
    """w [1, num_layers, w_dim] -> the full image, of a StyleGAN or an anatomy model."""
    if isinstance(network, AnatomyNetwork):
        return anatomy(network, w)
    assert isinstance(network, SynthesisNetwork)
    return stylegan(network, w)


def stylegan(network: SynthesisNetwork, w: Tensor) -> Tensor:
    """The `orig` and `skip` wirings."""
    assert network.config.wiring in ("orig", "skip")
    config, x, image = network.config, network.base(w, torch.float32), None
    maps = [*network.stored_noise]
    noises = iter(network._of_layers(w, maps, torch.float32, NoMemo()))
    for i, level in enumerate(network.typed_levels):
        low = None if image is None else doubled(network, image)
        for layer, row in zip(level.layers, level.rows, strict=True):
            x = synthesis_layer(layer, x, w[:, row], next(noises))
        if str(i) in network.to_rgb:
            rgb = network.to_rgb[str(i)]
            image = modulated(rgb, x, w[:, 2 * i + 1]) + rgb.bias[:, None, None, None]
            if low is not None:
                image[:, : low.shape[1]] += low
    image = network._with_constant(image, config.num_levels - 1)
    image = inverse_haar(image) if config.head == "haar" else image
    if not config.warps:
        return image
    image = network.warp.toe(moved(network, image, network.warp(w)))
    if not config.flow_channels:
        return image
    return gated(network, image, w, network.noise_there(w, network.noise))


def moved(network: LeveledSynthesis, image: Tensor, velocity: Tensor) -> Tensor:
    """The image warped by the exponential of a velocity field."""
    # Twice as large by the filter, then by linear interpolation.
    displacement = doubled(network, exponential(velocity))
    displacement = F.interpolate(displacement, size=image.shape[2:], mode="trilinear")
    return warp(image, displacement)


def gated(network: LeveledSynthesis, image: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """The image after the flow, as far as its details open it."""
    gate = network.flow.gate(network.detail_weights(w))
    found = flowed(network.flow, image, noise, network.config.flow_steps)
    return torch.lerp(image, found, gate)


def anatomy(network: AnatomyNetwork, w: Tensor) -> Tensor:
    """An anatomy model: bands in the common anatomy, deformation, toe and flow."""
    config, last = network.config, network.config.num_levels - 1
    assert config.head == "haar"
    assert config.deformation
    low = None
    for level in range(config.num_levels):
        before, low = low, basis_band(network, w, level)
        low = low if before is None else low + doubled(network, before)
    bands = torch.cat([low, low.new_zeros(1, 7, *low.shape[2:])], dim=1)
    for more in (network.continued(low), network._details(w), network._constant(last)):
        bands = bands if more is None else bands + more
    image = network.finished(moved(network, inverse_haar(bands), network.velocity(w)))
    return gated(network, image, w, network.flow.noise) if config.flow_channels else image


def basis_band(network: AnatomyNetwork, w: Tensor, level: int) -> Tensor:
    """A level's band of the basis images, from the whole images."""
    config = network.config
    first = 2 * level if level <= config.deformation_level else 2 * level - 1
    row = w[:, first : 2 * level + 1].mean(dim=1)
    start = config.deformation
    image = network.image_basis(row[:, start : start + config.image_basis])
    for _ in range(config.num_levels - 1 - level):
        image = F.avg_pool3d(image, 2)
    return image - doubled(network, F.avg_pool3d(image, 2)) if level else image


def flowed(flow: flows.Flow, image: Tensor, noise: Tensor, steps: int) -> Tensor:
    """The flow with noise, in the box that a brain can reach."""
    near = flows.near_brain(image)
    box = flows.box_of(near)
    inner = tuple(slice(2 * side.start, 2 * side.stop) for side in box)
    bands = haar((image + noise * flow.noise_strength)[:, :, *inner])
    places = flows.places_on(near.shape[2:], image.device)[:, :, *box]
    for step in range(steps):
        bands = bands + velocity(flow, bands, step / steps, places) / steps
    ends = flows.FLOOR
    if flow.curves is not None:
        bands, ends = flow.curves(bands), flow.curves.ends
    made = torch.full_like(image, -1.0)
    made[:, :, *inner] = toed(inverse_haar(bands), *ends)
    return torch.where(F.interpolate(near.float(), scale_factor=2) > 0, made, -1.0)


def velocity(flow: flows.Flow, bands: Tensor, time: float, places: Tensor) -> Tensor:
    """The U-Net of the flow."""
    octaves = torch.exp(torch.linspace(0, 4, flows.FREQUENCIES)) * math.pi / 2
    angles = time * octaves[None]
    t = flow.embedding(torch.cat([angles.sin(), angles.cos()], dim=1).to(bands))
    scale = bands.new_tensor([flows.LOW_GAIN] + [flows.FINE_GAIN] * 7)[:, None, None, None]
    x = flow.down[0](flow.stem(torch.cat([bands * scale, places], dim=1)), t)
    half = flow.down[1](flow.halve[0](x, t), t)
    quarter = flow.down[2](flow.halve[1](half, t), t)
    half = flow.up[1](half + flows._doubled(flow.narrow[1](quarter), half), t)
    x = flow.up[0](x + flows._doubled(flow.narrow[0](half), x), t)
    return flow.head(x) / flows.VELOCITY_GAIN
