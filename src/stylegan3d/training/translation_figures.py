"""Similarity of generated brains to the scans of their labels, and agreement with the labels.

Baselines for comparison: each label at its mean intensity, slightly blurred; the mean brain; and
the tissue network's labels of the scan itself, an upper bound set by its own errors.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stylegan3d.measures.similarity import similarity
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.segmentation.classes import CLASSES, dice_scores
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.training.translation_data import PaintedPeople
from stylegan3d.translation.painter import Painter

#: Sigma of the baseline's blur, voxels: the best of 0, 0.5, 0.7, 1 by SSIM with the scans.
BLUR = 0.5

Rows = dict[str, list[tuple[dict[str, float], dict[str, float]]]]


def evaluate(
    painter: Painter,
    people: PaintedPeople,
    segmenter: Segmenter,
    progress: Progress | None = None,
) -> Json:
    """Measure a painter on the held-out subjects who have a label map.

    Parameters
    ----------
    painter : Painter
        To be measured.
    people : PaintedPeople
        From `data.load_painted`.
    segmenter : Segmenter
        Segments the generated brains.

    Returns
    -------
    dict
        "people", their number, and "ways": for each of `page.WAYS` medians of "ssim" and "psnr"
        inside the brain with the least SSIM, and means of "dice" of each tissue, over tissues
        ("dice_mean"), and the lowest of any subject ("dice_least").
    """
    rows = people.labelled("validation")
    found: Rows = {}
    for done, row in enumerate(rows, 1):
        for way, figures in _person(painter, people, row, segmenter).items():
            found.setdefault(way, []).append(figures)
        if progress:
            progress(done, len(rows))
    return {"people": len(rows), "ways": {way: _together(part) for way, part in found.items()}}


def plain(tissues: np.ndarray, contrast: np.ndarray, blur: float = BLUR) -> np.ndarray:
    """The baseline: every label at its mean intensity, blurred; float32 (X, Y, Z)."""
    means = np.concatenate([[0.0], contrast[: len(CLASSES) - 1]]).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(means[tissues], blur))


def _person(
    painter: Painter, people: PaintedPeople, row: int, segmenter: Segmenter
) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Similarity and Dice of every method for one subject."""
    scan, read, tissues = people.volume(row), people.read[row], people.tissues[row]
    by_read, by_map = painter.contrast_of(scan, read), painter.contrast_of(scan, tissues)
    made = {
        "read": (painter.paint(read, None, by_read), read),
        "map": (painter.paint(tissues, None, by_map), tissues),
        "regions": (painter.paint(tissues, people.groups[row], by_map), tissues),
        "usual": (painter.paint(tissues), tissues),
        "plain_read": (plain(read, by_read), read),
        "plain_map": (plain(tissues, by_map), tissues),
        "scan": (scan, tissues),
        "mean": (painter.template, tissues),
    }
    found = {}
    for way, (volume, asked) in made.items():
        alike = {} if way == "scan" else similarity(volume, scan, scan > 0)
        there = segmenter.segment(np.clip(volume, 0, 1), people.pack.space).labels
        found[way] = (alike, dice_scores(there, asked))
    return found


def _together(rows: list[tuple[dict[str, float], dict[str, float]]]) -> Json:
    """Over subjects."""
    dice = np.array([[kept[name] for name in CLASSES[1:]] for _, kept in rows])
    figures: Json = {
        "dice": {n: round(float(dice[:, i].mean()), 4) for i, n in enumerate(CLASSES[1:])},
        "dice_mean": round(float(dice.mean()), 4),
        "dice_least": round(float(dice.mean(axis=1).min()), 4),
    }
    if rows[0][0]:
        for key in ("ssim", "psnr"):
            figures[key] = round(float(np.median([alike[key] for alike, _ in rows])), 4)
        figures["ssim_least"] = round(min(alike["ssim"] for alike, _ in rows), 4)
    return figures
