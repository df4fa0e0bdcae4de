"""Utility of synthetic brains for tissue segmentation; see `utility`.

All labels, also of the test subjects, are from the bundled tissue network (`segmentation`), which
was trained on real subjects. So Dice measures agreement with that network, not with manual
segmentation. The networks are small, work at half resolution and are trained for the same number of
steps: only the data differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.devices import workers
from stylegan3d.evaluation.material import Material, Volumes
from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.intervals import bootstrap
from stylegan3d.plain import Json
from stylegan3d.segmentation.classes import CLASSES, TISSUES, Scheme, mean_scores
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter
from stylegan3d.training.options import SegmentationSettings
from stylegan3d.training.run import Run
from stylegan3d.training.segmentation import (
    SegmentationRecipe,
    SegmentationRun,
    validate,
)

# Number of training brains; more hardly matter in so few steps.
MOST_BRAINS = 80
SETTINGS = SegmentationSettings(widths=(16, 32, 48), steps=1500, warm_up=60, average_steps=100)

# A volume float32 [X, Y, Z] in [0, 1] and its labels uint8 [X, Y, Z].
Labelled = tuple[Tensor, Tensor]


def tissue_utility(material: Material, settings: SegmentationSettings = SETTINGS) -> Json | str:
    """Tissue segmentation learned from real subjects, from random brains, and from both.

    Returns
    -------
    dict
        "labels": source of all labels. "steps" of each training, "voxel_mm".
        "real", "synthetic", "both": "n" brains trained on, "n_test" subjects, "dice" (mean over
        subjects and tissues) with "dice_interval" of 95 % (bootstrap over subjects), "tissues"
        (mean of each). "difference": of the Dice of synthetic less that of real on the same
        subjects, with "interval". A sentence instead if it cannot be measured.
    """
    segmenter, space = bundled_segmenter(), material.pack.space
    if not segmenter.fits(space):
        return f"The tissue network {segmenter.name} does not know volumes on this grid."
    count = min(MOST_BRAINS, len(material.training), len(material.synthetic))
    rng = np.random.default_rng(material.settings.seed)
    rows = np.sort(rng.permutation(material.training)[:count])
    sets: dict[str, Volumes] = {
        "real": material.volumes(rows),
        "synthetic": material.synthetic[:count],
        "test": material.volumes(material.validation),
    }
    labelled = {
        name: _labelled(material, segmenter, volumes, f"Labels, {name} brains")
        for name, volumes in sets.items()
    }
    test = labelled.pop("test")
    labelled["both"] = [*labelled["real"], *labelled["synthetic"]]
    scores = {}
    result: Json = {
        "labels": f"of the tissue network {segmenter.name}, trained on real subjects",
        "steps": settings.steps,
        "voxel_mm": [2 * size for size in space.voxel_size],
    }
    for name, brains in labelled.items():
        run = _trained(material, brains, settings, f"Learning tissues, {name}")
        people = validate(run.average, _Brains(test))
        scores[name] = np.array([np.mean(list(score.values())) for score in people])
        result[name] = {
            "n": len(brains),
            "n_test": len(test),
            "dice": float(scores[name].mean()),
            "dice_interval": bootstrap(_mean, scores[name]),
            "tissues": mean_scores(people),
        }
    change = scores["synthetic"] - scores["real"]
    difference = {"value": _mean(change), "interval": bootstrap(_mean, change)}
    return result | {"difference": difference}


def _labelled(
    material: Material, segmenter: Segmenter, volumes: Volumes, what: str
) -> list[Labelled]:
    """Brains and their labels at half the resolution."""
    space = material.pack.space

    def one(volume: np.ndarray) -> Labelled:
        labels = torch.from_numpy(segmenter.segment(volume, space).labels)
        return halved(torch.from_numpy(unit(volume)), labels)

    found: list[Labelled] = []
    with workers(segmenter.device) as run:
        for pair in run(one, volumes):
            found.append(pair)
            material.report(len(found), len(volumes), what)
    return found


def halved(volume: Tensor, labels: Tensor) -> Labelled:
    """The mean of each block of eight voxels, and its most common label.

    Parameters
    ----------
    volume, labels : Tensor, shape (X, Y, Z)
        Axes of an odd length lose their last slice.
    """
    shares = F.one_hot(labels.long(), len(CLASSES)).movedim(3, 0)[None].float()
    most = F.avg_pool3d(shares, 2).argmax(dim=1)[0].to(torch.uint8)
    return F.avg_pool3d(volume[None, None], 2)[0, 0], most


@dataclass(frozen=True)
class _Brains:
    """Training brains, or test subjects."""

    pairs: Sequence[Labelled]
    scheme: Scheme = TISSUES

    @property
    def training(self) -> int:
        return len(self.pairs)

    @property
    def validation(self) -> range:
        return range(len(self.pairs))

    def pair(self, index: int) -> Labelled:
        return self.pairs[index]

    def example(self, index: int, generator: torch.Generator) -> Labelled:
        return self.pairs[index]


def _trained(
    material: Material, brains: Sequence[Labelled], settings: SegmentationSettings, what: str
) -> SegmentationRun:
    """Train a network with fixed initialisation and number of steps."""
    run = Run(SegmentationRecipe(settings), torch.device(material.device))
    for step in range(settings.steps):
        run.step(_Brains(brains))
        material.report(step + 1, settings.steps, what)
    return run


def _mean(values: np.ndarray) -> float:
    return float(values.mean())
