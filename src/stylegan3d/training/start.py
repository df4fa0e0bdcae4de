"""Where training starts: the mean and the principal components of the data.

A linear model of two hundred brains is computed in seconds and reconstructs unseen ones better than
hours of gradient descent from random weights. So the generator's constant image and image basis,
the encoder's linear part and the mapping network start at that model (with whitened scores, so that
w is a unit Gaussian), and training spends its time on what a linear model cannot do.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.networks.anatomy_config import AnatomyConfig
from stylegan3d.networks.encoder import Encoder
from stylegan3d.networks.layers import Dense
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import StyleLayers
from stylegan3d.training.state import TrainState

MAX_VOLUMES = 600
# The layers' own contribution to the image starts small relative to the linear model's; without
# one, beside the mean brain alone, it starts about as large as what subjects differ by.
LAYERS_SHARE, ALONE_SHARE = 0.05, 0.15
# What is dark in all subjects starts this much darker, and stays dark, since it is cut off at -1.
DARK, DARKER = -0.97, 0.2
POSTERIOR_LOG_VARIANCE = -3.0
# The mapping's hidden units start this many standard deviations above zero, where they are linear.
HEADROOM = 7.0


@torch.no_grad()
def start_from_data(state: TrainState, pack: Pack) -> None:
    """Set the networks of a new run, and their averages, to the linear model of the data."""
    generator = state.config.generator
    plain = not state.config.reconstructed_share
    at_mean = isinstance(generator, AnatomyConfig) and generator.image_const
    if plain and not at_mean:
        _start_background(state, pack)
    else:
        scale_layers(state, ALONE_SHARE if plain else LAYERS_SHARE)
    if isinstance(generator, AnatomyConfig):
        if generator.image_const:
            mean = torch.from_numpy(pack.template.copy())[None, None] * 2 - 1
            if plain:
                mean = torch.where(mean < DARK, mean - DARKER, mean)
            const = haar(mean) if generator.head == "haar" else mean
            state.anatomy.image_const.copy_(const[0])
        if generator.image_basis:
            _start_basis(state, pack, generator)
    elif state.config.encoder.linear:
        _start_encoder(state, *_low_components(state, pack, state.config.encoder.linear))
    unit = torch.eye(generator.w_dim)
    set_gaussian(state.mapping, torch.zeros(generator.w_dim), unit)
    state.start_averages()


def _start_background(state: TrainState, pack: Pack) -> None:
    """Let the image of plain StyleGAN layers start at the mean intensity, which is dark."""
    assert isinstance(state.synthesis, StyleLayers)
    state.synthesis.image_layers[0].bias.fill_(float(pack.template.mean()) * 2 - 1)


@torch.no_grad()
def scale_layers(state: TrainState, share: float) -> None:
    """Multiply what StyleGAN layers add to the image."""
    if isinstance(state.synthesis, StyleLayers):
        for rgb in state.synthesis.image_layers:
            rgb.conv.weight.mul_(share)


def _start_basis(state: TrainState, pack: Pack, config: AnatomyConfig) -> None:
    """Principal components of the volumes, at the basis' resolution."""
    count, grid = config.image_basis, config.grid(config.num_levels - 1)
    components, deviations, center = _low_components(state, pack, count)
    basis = components * deviations[:, None]
    whole = state.anatomy.image_basis.inside.new_ones(grid)
    state.anatomy.image_basis.set_fields(basis.reshape(count, -1, *grid), whole)
    _start_encoder(state, components, deviations, center)


def _low_components(state: TrainState, pack: Pack, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """`principal_components` on the grid of the finest feature maps."""
    generator = state.config.generator
    grid = generator.grid(generator.num_levels - 1)
    return principal_components(pack, grid, count, state.config.mirror)


def _start_encoder(
    state: TrainState, components: Tensor, deviations: Tensor, center: Tensor
) -> None:
    """Whitened scores of the principal components, to which the layers add nothing yet."""
    assert isinstance(state.encoder, Encoder)
    linear = state.encoder.linear
    weight = components / deviations[:, None]
    linear.weight.copy_(weight)
    linear.bias.copy_(-weight @ center)
    state.encoder.mean.weight.zero_()
    state.encoder.mean.bias.zero_()
    state.encoder.log_variance.weight.zero_()
    state.encoder.log_variance.bias.fill_(POSTERIOR_LOG_VARIANCE)


def principal_components(
    pack: Pack, grid: tuple[int, int, int], count: int, mirror: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """PCA of the training volumes (and their mirror images), averaged down to `grid`.

    Returns
    -------
    tuple of Tensor
        Components [count, voxels] of length one, standard deviations [count], mean [voxels]; beyond
        the rank of the data components are zero and deviations one.
    """
    rows = pack.indices("train")
    if len(rows) > MAX_VOLUMES:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_VOLUMES).round().astype(int)]
    factor = pack.space.shape[0] // grid[0]
    data = []
    for row in rows:
        volume = torch.from_numpy(np.array(pack.volumes[row])).float()[None, None] / 127.5 - 1
        low = F.avg_pool3d(volume, factor) if factor > 1 else volume
        data += [low.flatten(), low.flip(2).flatten()] if mirror else [low.flatten()]
    return components_of(torch.stack(data), count)


def components_of(data: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """PCA of rows, far fewer than columns.

    Parameters
    ----------
    data : Tensor, shape (n, m)

    Returns
    -------
    tuple of Tensor
        Components [count, m] of length one, standard deviations [count], mean [m]; beyond the rank
        of the data components are zero and deviations one.
    """
    center = data.mean(dim=0)
    x = data - center
    values, vectors = torch.linalg.eigh(x @ x.T)
    order = torch.arange(len(values) - 1, -1, -1)[:count]
    values, vectors = values[order].clamp(min=0), vectors[:, order]
    components = torch.zeros(count, x.shape[1])
    deviations = torch.ones(count)
    for k, value in enumerate(values):
        if value > 1e-6 * values[0]:
            components[k] = x.T @ vectors[:, k] / value.sqrt()
            deviations[k] = (value / len(x)).sqrt()
    return components, deviations, center


@torch.no_grad()
def set_gaussian(mapping: MappingNetwork, mean: Tensor, root: Tensor) -> None:
    """Make the mapping send z ~ N(0, I) to N(mean, root root^T), exactly for all but rare z.

    The hidden layers are set to the identity and kept where leaky ReLU is linear by an offset that
    the last layer takes off again; training bends the map from there.

    Parameters
    ----------
    mean : Tensor, shape (w_dim,)
    root : Tensor, shape (w_dim, w_dim)
        Its columns in the order of importance (z may have fewer entries).

    Raises
    ------
    ModelError
        If the network's shape cannot be linear (one layer, or an activated output).
    """
    layers = mapping.typed_layers
    if len(layers) < 2 or layers[-1].activate:
        raise ModelError(
            "Only a mapping network of two or more layers with a linear output can start at a "
            "Gaussian; set mapping_linear_output."
        )
    first = layers[0]
    used = min(root.shape[1], first.weight.shape[1])
    root = F.pad(root[:, :used], (0, first.weight.shape[1] - used))
    offset = HEADROOM * root.norm(dim=1) + 1e-3
    _set_dense(first, root, offset)
    identity = torch.eye(len(mean))
    for layer in layers[1:-1]:
        _set_dense(layer, identity, torch.zeros_like(mean))
    _set_dense(layers[-1], identity, mean - offset)


def _set_dense(layer: Dense, weight: Tensor, bias: Tensor) -> None:
    """Effective weight and bias, before the activation's gain of sqrt(2)."""
    gain = math.sqrt(2) if layer.activate else 1.0
    scale = layer.lr_multiplier / math.sqrt(layer.weight.shape[1])
    layer.weight.copy_(weight / gain / scale)
    layer.bias.copy_(bias / gain / layer.lr_multiplier)
