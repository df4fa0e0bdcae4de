"""What a synthesis costs when it is written down as it stands in the paper: the yardstick.

float32, channels first (NCDHW), activations scaled by the style, one operation after the other,
nothing kept. It computes what `SynthesisNetwork` computes; `same_image` makes sure of that.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.networks.deformation import exponential, warp
from stylegan3d.networks.resampling import inverse_haar
from stylegan3d.networks.synthesis import SynthesisLayer, SynthesisNetwork, ToRGB


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


def synthesis_layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """Convolution, noise, bias, leaky ReLU."""
    x = modulated(layer, x, w) + layer.noise * layer.noise_strength
    x = x + layer.bias[:, None, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def doubled(network: SynthesisNetwork, x: Tensor) -> Tensor:
    """The image of a `skip` network at the next resolution."""
    config, k = network.config, len(network.config.resample_kernel)
    assert config.image_upsampling == "zeros"
    spread = x.new_zeros(*x.shape[:2], *(2 * n for n in x.shape[2:]))
    spread[:, :, ::2, ::2, ::2] = x
    return low_pass(spread, config.resample_kernel, ((k + 1) // 2, (k - 2) // 2), 8.0)


def basis_bands(network: SynthesisNetwork, w: Tensor) -> list[Tensor]:
    """The levels' bands of the basis images, each from the whole images."""
    config, bands = network.config, []
    for level in range(config.num_levels):
        first = 2 * level if level <= config.deformation_level else 2 * level - 1
        row = w[:, first : 2 * level + 1].mean(dim=1)
        start = config.deformation
        image = network.image_basis(row[:, start : start + config.image_basis])
        for _ in range(config.num_levels - 1 - level):
            image = F.avg_pool3d(image, 2)
        if level:
            image = image - doubled(network, F.avg_pool3d(image, 2))
        bands.append(image)
    return bands


@torch.no_grad()
def synthesize(network: SynthesisNetwork, w: Tensor) -> Tensor:
    """w [1, num_layers, w_dim] -> the full image, for the `orig` and `skip` wirings."""
    config, last = network.config, network.config.num_levels - 1
    assert config.wiring in ("orig", "skip")
    x, image = network.const, None
    basis = basis_bands(network, w) if config.image_basis else None
    for i, level in enumerate(network.typed_levels):
        low = None if image is None else doubled(network, image)
        if basis is not None:
            low = basis[i] if low is None else low + basis[i]
        detail = network._details(w, i)
        for j, (layer, row) in enumerate(zip(level.layers, level.rows, strict=True)):
            if level.refine and j == len(level.layers) - len(level.refine):
                seen = low + network._constant(i)[:, :1]
                x = x + level.feedback(seen if detail is None else seen + detail[:, :1])
            x = synthesis_layer(layer, x, w[:, row])
        if str(i) in network.to_rgb:
            rgb = network.to_rgb[str(i)]
            image = modulated(rgb, x, w[:, 2 * i + 1]) + rgb.bias[:, None, None, None]
            if low is not None:
                image[:, : low.shape[1]] += low
                beyond = network.continued(low, i)
                image = image if beyond is None else image + beyond
            image = image if detail is None else image + detail
    if config.image_const:
        image = image + network._constant(last)
    image = inverse_haar(image) if config.head == "haar" else image
    if not config.deformation:
        return image
    displacement = exponential(network.velocity(w))
    # Twice as large by the filter, then by linear interpolation.
    spread = displacement.new_zeros(1, 3, *(2 * n for n in displacement.shape[2:]))
    spread[:, :, ::2, ::2, ::2] = displacement
    k = len(config.resample_kernel)
    displacement = low_pass(spread, config.resample_kernel, ((k + 1) // 2, (k - 2) // 2), 8.0)
    displacement = F.interpolate(displacement, size=image.shape[2:], mode="trilinear")
    return network._finished(warp(image, displacement))


def same_image(network: SynthesisNetwork, w: Tensor) -> float:
    """Largest difference to the network's own float32 image, as a share of its magnitude."""
    with torch.no_grad():
        made = network(w)
        return float((synthesize(network, w) - made).abs().max() / made.abs().max())
