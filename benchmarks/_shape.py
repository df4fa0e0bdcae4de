"""Tissue shape of random brains beside that of people, for benchmarks of runs not yet exported."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation.material import volumes_id
from stylegan3d.geometry.intensity import as_packed, to_display
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.metrics.two_sample import classify_by_measures
from stylegan3d.networks.resampling import fine_bands, haar, inverse_haar
from stylegan3d.segmentation.inference import bundled_segmenter


def shape_key(name: str, model: str, pack: Pack, count: int) -> tuple[object, ...]:
    """What the tissue shapes of `count` volumes depend on: of a split, or of the model's brains."""
    rows = pack.indices(name).tolist() if name in ("train", "validation") else []
    network = bundled_segmenter().hash
    return (name, model, volumes_id(pack), rows, count, network, list(TISSUE_SHAPE))


def packed(volume: Tensor) -> np.ndarray:
    """uint8 as in a pack, of [1, 1, X, Y, Z] in [-1, 1]."""
    return as_packed(to_display(volume)[0])


def unpacked(volume: np.ndarray) -> Tensor:
    """Inverse of `packed`."""
    return torch.from_numpy(volume.astype(np.float32))[None, None] / 127.5 - 1


def soft(half: Tensor, taps: tuple[float, ...]) -> np.ndarray:
    """An image at half resolution, continued to the full one; uint8 as in a pack."""
    return packed(inverse_haar(torch.cat([half, fine_bands(half, taps)], dim=1)))


def softened(volume: np.ndarray, taps: tuple[float, ...]) -> np.ndarray:
    """A volume of a pack as far as half the resolution knows it."""
    return soft(haar(unpacked(volume))[:, :1], taps)


def told(made: dict[str, np.ndarray], training: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """How well sets of random brains are told from people by their shape.

    Parameters
    ----------
    made : dict of str to ndarray
        Tissue shapes [brains, measures] of each set.
    training, held_out : ndarray
        Those of people. As many of the first as there are random brains are compared.

    Returns
    -------
    dict
        "told", for each pair of sets what `classify_by_measures` finds; "shifts", for each measure
        the difference of each set's mean from that of training people, in their deviations.
    """
    brains = max(len(rows) for rows in made.values())
    order = np.random.default_rng(0).permutation(len(training))
    some, others = training[order[:brains]], training[order[brains:]]
    pairs = {"training people from each other": (some, others)}
    for name, rows in made.items():
        pairs[f"{name} from training people"] = rows, some
        pairs[f"{name} from held-out people"] = rows, held_out
    deviation = training.std(axis=0)
    shifts = {
        name: (rows.mean(axis=0) - training.mean(axis=0)) / deviation
        for name, rows in {**made, "held-out": held_out}.items()
    }
    return {
        "told": {
            name: {
                k: np.round(v, 3).tolist() for k, v in classify_by_measures(a, b).to_dict().items()
            }
            for name, (a, b) in pairs.items()
        },
        "shifts": {
            key: {name: round(float(shift[k]), 2) for name, shift in shifts.items()}
            for k, key in enumerate(TISSUE_SHAPE)
        },
    }
