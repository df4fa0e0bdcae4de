"""Tissue volumes of labelled brains, their ratio, and their left-right asymmetry."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stylegan3d.devices import workers
from stylegan3d.geometry.space import Space
from stylegan3d.progress import SILENT, Progress
from stylegan3d.segmentation.classes import ASYMMETRIES, asymmetry_percent, side_volumes
from stylegan3d.segmentation.inference import Segmentation, Segmenter


def measure(
    segmenter: Segmenter,
    volumes: Iterable[np.ndarray],
    space: Space,
    progress: Progress = SILENT,
) -> list[dict[str, float]]:
    """`MEASURES` and "confidence" of each volume (X, Y, Z), uint8 of a pack or float in [0, 1]."""
    volumes = list(volumes)
    rows: list[dict[str, float]] = []

    def one(volume: np.ndarray) -> dict[str, float]:
        return measures_of(segmenter.segment(volume, space, confidence=True))

    with workers(segmenter.device) as mapped:
        for row in mapped(one, volumes):
            rows.append(row)
            progress(len(rows), len(volumes))
    return rows


def measures_of(found: Segmentation) -> dict[str, float]:
    """`MEASURES` of one brain, and "confidence" if requested.

    Asymmetries are those of the halves left and right of x = 0 mm.
    """
    volumes = found.volumes
    left, right = side_volumes(found.labels, found.space)
    row = {f"{name}_ml": value for name, value in volumes.items()}
    row["grey_white_ratio"] = volumes["grey"] / volumes["white"] if volumes["white"] else 0.0
    row |= {f"{n}_asymmetry": asymmetry_percent(left[n], right[n]) for n in ASYMMETRIES}
    if found.confidence is not None:
        row["confidence"] = found.confidence
    return {name: round(value, 5) for name, value in row.items()}
