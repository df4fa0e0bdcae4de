"""How far to believe a projection: what it shares with the scan, and how strange its latent is."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from stylegan3d.metrics import similarity
from stylegan3d.projection.objective import LatentPrior

FAR = 1.5


def measure_trust(
    prior: LatentPrior,
    w: Tensor,
    made: np.ndarray,
    mean_brain: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
) -> dict[str, Any]:
    """Numbers with what to compare them to, and what they mean in words."""
    alike = similarity(made, volume, mask)
    usual = similarity(mean_brain, volume, mask)
    distance = prior.distance(w.to(prior.mean))
    remarks = []
    if alike["psnr"] <= usual["psnr"]:
        remarks.append(
            "The reconstruction is no more like the scan than the mean brain is: do not read "
            "anything from it."
        )
    if distance > FAR:
        remarks.append(
            f"The latent lies {distance:.1f} times as far from the average as random brains do: "
            "edits of it may look unnatural."
        )
    return {
        "similarity": alike,
        "mean_brain": usual,
        "latent_distance": distance,
        "remarks": remarks,
    }
