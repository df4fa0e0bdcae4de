"""Coordinates of w in which a spread means something.

Training keeps w white: every component has unit variance, however much or little it changes the
image. In such a space principal components have no order. So an exported generator's w is scaled:
each component's spread becomes its image's, relative to the strongest. The scales are taken into
the weights on both sides of w, and the volumes stay the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.leveled import LeveledSynthesis

State = dict[str, Tensor]


@torch.no_grad()
def latent_scales(synthesis: LeveledSynthesis) -> Tensor:
    """[w_dim]: how much one unit of each component changes the image, 1 for the most.

    Of a basis image that is its norm, of a velocity field the norm of the difference that it makes
    to the constant image. Components without either get the smallest scale; without a basis all
    are 1.
    """
    config = synthesis.config
    if not isinstance(synthesis, AnatomyNetwork):
        return torch.ones(config.w_dim)
    config, norms = synthesis.config, []
    if config.deformation:
        norms += _effects(synthesis)
    if config.image_basis:
        norms += synthesis.image_basis.weight.flatten(1).norm(dim=1).tolist()
    if config.detail_basis:
        norms += synthesis.detail_basis.weight.flatten(1).norm(dim=1).tolist()
    if not norms:
        return torch.ones(config.w_dim)
    scales = torch.tensor(norms)
    scales = (scales / scales.max()).clamp(min=1e-2)
    return F.pad(scales, (0, config.w_dim - len(scales)), value=float(scales.min()))


def _effects(synthesis: AnatomyNetwork) -> list[float]:
    """Norm of what one unit of each velocity field changes, at the last level's resolution."""
    config = synthesis.config
    image = synthesis.image_const[None, : config.image_channels]
    grid = (image.shape[2], image.shape[3], image.shape[4])

    def moved(weights: Tensor) -> Tensor:
        velocity = synthesis.velocity_const + synthesis.velocity_basis(weights)
        return warp(image, resize(exponential(velocity), grid))

    unmoved = moved(image.new_zeros(1, config.deformation))
    units = torch.eye(config.deformation, device=image.device)
    return [float((moved(unit[None]) - unmoved).norm()) for unit in units]


def scale_latent(
    scales: Tensor, mapping: State, synthesis: State, encoder: State, w_avg: Tensor
) -> tuple[State, State, State, Tensor]:
    """The same networks for w' = scales * w.

    Parameters
    ----------
    scales : Tensor, shape (w_dim,)
        Positive.
    mapping, synthesis, encoder : State
        State dictionaries; the mapping's output must be linear.
    w_avg : Tensor, shape (w_dim,)

    Returns
    -------
    tuple of (State, State, State, Tensor)
        New state dictionaries and w_avg; the given ones are left as they are.
    """
    mapping, synthesis, encoder = dict(mapping), dict(synthesis), dict(encoder)
    last = max(int(key.split(".")[1]) for key in mapping if key.startswith("layers."))
    for kind in ("weight", "bias"):
        key = f"layers.{last}.{kind}"
        mapping[key] = _rows(mapping[key], scales)
    for key, value in synthesis.items():
        # What reads w: the styles, and the dense layer of the base grid's input.
        if key.endswith("style.weight") or key == "base_dense.weight":
            synthesis[key] = value / scales.to(value)
    used = 0
    for key in ("velocity_basis.weight", "image_basis.weight", "detail_basis.weight"):
        if key in synthesis:
            basis = synthesis[key]
            synthesis[key] = _rows(basis, 1 / scales[used : used + len(basis)])
            used += len(basis)
    for name in ("mean", "linear", "offsets", "start", "correct"):
        for kind in ("weight", "bias"):
            key = f"{name}.{kind}"
            if key in encoder:
                value = encoder[key]
                # One row of w after another for the offsets; the leading components for `linear`.
                repeats = max(len(value) // len(scales), 1)
                encoder[key] = _rows(value, scales.repeat(repeats)[: len(value)])
    if "log_variance.bias" in encoder:
        encoder["log_variance.bias"] = encoder["log_variance.bias"] + 2 * scales.log()
    return mapping, synthesis, encoder, w_avg * scales.to(w_avg)


def _rows(value: Tensor, scales: Tensor) -> Tensor:
    return value * scales.to(value).reshape(-1, *[1] * (value.ndim - 1))
