"""From a training run to a lesion network that can be used: weights, figures, card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from stylegan3d.geometry.space import Space
from stylegan3d.measures.clusters import TOUCHING, Cluster
from stylegan3d.measures.lesions import fluid_of, lesion_clusters, lesion_probability
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.projection.simulated import simulate_scanner
from stylegan3d.segmentation.card import write_model
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.segmentation.lesions import LESION, LESIONS
from stylegan3d.training.export import noted
from stylegan3d.training.lesions import SimulatedLesions
from stylegan3d.training.segmentation import SegmentationRun
from stylegan3d.training.segmentation_export import begin_export

INTENDED_USE = (
    "Research, teaching and software development: to point at places of a scan that deserve a "
    "look. Not a medical device; not for diagnosis."
)
# Of each held-out subject: simulated scanners without lesions, and draws of lesions.
SCANNERS, DRAWS = 7, 4
#: A finding is this many times as large as the largest cluster in this share of the healthy scans
#: (other sites vary more than those of the data set), and at least so large, ml.
TIMES, QUIET, LEAST_ML = 2.0, 0.975, 0.1
# Lesions are reported in classes of size, ml.
SIZES = ((0.1, 0.5), (0.5, 2.0), (2.0, 8.0), (8.0, 100.0))


def export_lesions(
    run: SegmentationRun,
    brains: SimulatedLesions,
    folder: Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    notes: Json | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Segmenter:
    """Write the averaged network and its card, with the size from which a cluster is a finding.

    Parameters and errors are those of `segmentation_export.export_segmentation`.
    """
    network, segmenter = begin_export(run, brains, name or folder.name, licence, INTENDED_USE)
    card = segmenter.card
    card["validation"] = measure_finding(segmenter, brains, progress)
    write_model(folder, network, noted(card, notes), LESIONS, overwrite=overwrite)
    return segmenter


def measure_finding(
    segmenter: Segmenter, brains: SimulatedLesions, progress: Progress | None = None
) -> Json:
    """How often healthy held-out subjects have findings, and how many simulated lesions are found.

    Returns
    -------
    dict
        "people"; "limit_ml", the size of a finding, see `QUIET`; "healthy" ("scans", "scanners",
        "with_findings"); "dice" of simulated lesions; "by_size" (rows of "ml", "lesions", "found").
    """
    space = brains.pack.space
    largest: list[float] = []
    dice: list[float] = []
    found: list[tuple[float, float]] = []
    for done, index in enumerate(brains.validation, 1):
        healthy = brains.volume(index)
        mask = healthy > 0
        views = [(healthy, mask)]
        views += [
            simulate_scanner(healthy, mask, space.voxel_size, int(brains.rows[index]) + 7919 * k)
            for k in range(1, SCANNERS + 1)
        ]
        for volume, inside in views:
            probability = lesion_probability(segmenter, volume, inside, space)
            clusters = lesion_clusters(probability, fluid_of(volume, inside, space), space)
            largest.append(clusters[0].size if clusters else 0.0)
        for number in range(DRAWS):
            draw = torch.Generator().manual_seed(index + 7919 * number)
            image, labels = (x.numpy() for x in brains.example(index, draw))
            truth = labels == LESIONS.classes.index(LESION)
            mask = labels > 0
            probability = lesion_probability(segmenter, image, mask, space)
            if truth.any():
                both = 2 * np.count_nonzero(truth & (probability > 0.5))
                dice.append(both / (truth.sum() + np.count_nonzero(probability > 0.5)))
            seen = lesion_clusters(probability, fluid_of(image, mask, space), space)
            found += _overlaps(truth, seen, space)
        if progress is not None:
            progress(done, len(brains.validation))
    limit = max(LEAST_ML, TIMES * float(np.quantile(largest, QUIET)))
    return {
        "people": len(brains.validation),
        "limit_ml": round(limit, 3),
        "healthy": {
            "scans": len(largest),
            "scanners": SCANNERS,
            "with_findings": int(np.sum(np.array(largest) > limit)),
        },
        "dice": round(float(np.mean(dice)), 3) if dice else 0.0,
        "by_size": [_row(size, found, limit) for size in SIZES],
    }


def _overlaps(
    truth: np.ndarray, clusters: Sequence[Cluster], space: Space
) -> list[tuple[float, float]]:
    """Size in ml of each lesion, and of the largest cluster that meets it."""
    pieces, count = ndimage.label(truth, TOUCHING)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * space.voxel_ml
    met = np.zeros(count + 1)
    for cluster in clusters:
        for piece in np.unique(pieces.ravel()[cluster.index]):
            met[piece] = max(met[piece], cluster.size)
    return list(zip(sizes[1:].tolist(), met[1:].tolist(), strict=True))


def _row(size: tuple[float, float], found: Sequence[tuple[float, float]], limit: float) -> Json:
    low, high = size
    sizes = [cluster for ml, cluster in found if low <= ml < high]
    return {
        "ml": list(size),
        "lesions": len(sizes),
        "found": sum(cluster > limit for cluster in sizes),
    }
