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

State = dict[str, Tensor]


def latent_scales(synthesis: State, w_dim: int) -> Tensor:
    """[w_dim]: the norm of each component's basis image, 1 for the largest.

    Components without a basis image get the smallest scale; without a basis all are 1.
    """
    if "image_basis" not in synthesis:
        return torch.ones(w_dim)
    norms = synthesis["image_basis"].float().flatten(1).norm(dim=1).cpu()
    norms = norms / norms.max()
    norms = norms.clamp(min=1e-2)
    return F.pad(norms, (0, w_dim - len(norms)), value=float(norms.min()))


def scale_latent(
    scales: Tensor, mapping: State, synthesis: State, encoder: State, w_avg: Tensor
) -> tuple[State, State, State, Tensor]:
    """The same networks for w' = scales * w.

    Parameters
    ----------
    scales : [w_dim], positive.
    mapping, synthesis, encoder : state dictionaries; the mapping's output must be linear.
    w_avg : [w_dim]

    Returns
    -------
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
    if "image_basis" in synthesis:
        basis = synthesis["image_basis"]
        synthesis["image_basis"] = _rows(basis, 1 / scales[: len(basis)])
    for name in ("mean", "linear", "offsets"):
        for kind in ("weight", "bias"):
            key = f"{name}.{kind}"
            if key in encoder:
                value = encoder[key]
                # One row of w after another for the offsets; the leading components for `linear`.
                repeats = max(len(value) // len(scales), 1)
                encoder[key] = _rows(value, scales.repeat(repeats)[: len(value)])
    encoder["log_variance.bias"] = encoder["log_variance.bias"] + 2 * scales.log()
    return mapping, synthesis, encoder, w_avg * scales.to(w_avg)


def _rows(value: Tensor, scales: Tensor) -> Tensor:
    return value * scales.to(value).reshape(-1, *[1] * (value.ndim - 1))
