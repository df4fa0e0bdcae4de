"""Intensities of volumes: -1 to 1 in the networks, 0 to 1 in pictures, 0 to 255 in a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

#: Maximum of a displayed volume; see `to_display`.
BRIGHTEST = 1.5


class NotFinite(ModelError):
    """A network's output contains NaN or infinity."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "The network made numbers that are not finite of this latent, so there is nothing "
            "to show: bring truncation and edits nearer to 0, or choose another model if every "
            "brain fails."
        )


def to_display(volume: Tensor, channel: int = 0) -> np.ndarray:
    """[N, C, X, Y, Z] in [-1, 1] -> (N, X, Y, Z) float32 where 0 is outside and 1 is bright.

    Values are clipped to [0, 1.5]: brains have no negative intensities, and more than 1.5 times the
    99.5th percentile is an artefact.

    Raises
    ------
    NotFinite
        If the volume contains NaN or infinity, which would be displayed as empty.
    """
    import torch

    data = (volume.detach().float().cpu()[:, channel] + 1) / 2
    if not bool(torch.isfinite(data).all()):
        raise NotFinite
    return data.clamp_(0, BRIGHTEST).numpy()


def as_packed(volume: np.ndarray) -> np.ndarray:
    """A volume in [0, 1] in the format of a pack: uint8, clipped, 255 is 1."""
    return np.rint(np.clip(volume, 0, 1) * 255).astype(np.uint8)


def unit(volume: np.ndarray) -> np.ndarray:
    """A volume as uint8 or float to float32 in [0, 1]."""
    if volume.dtype == np.uint8:
        return volume.astype(np.float32) / 255
    return np.clip(volume, 0, 1).astype(np.float32)
