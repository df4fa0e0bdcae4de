"""From a training run to a network that can be used and judged: weights, figures, card."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.segmentation.card import write_model
from stylegan3d.segmentation.classes import MEASURES, TISSUES, dice_scores, volumes_ml
from stylegan3d.segmentation.inference import Segmenter, measure
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.training.export import about, noted, rounded
from stylegan3d.training.segmentation import LabelledBrains, SegmentationRun

INTENDED_USE = (
    "Research, teaching and software development: volumes in brains a generator makes, and "
    "of scans prepared in the same way. Not a medical device; not for diagnosis."
)
PERCENTS = (0, 1, 2.5, *range(5, 100, 5), 97.5, 99, 100)


def begin_export(
    run: SegmentationRun,
    brains: LabelledBrains,
    name: str,
    licence: str | None,
    intended_use: str,
) -> tuple[TissueNetwork, Segmenter]:
    """The averaged network as it is stored, and a segmenter of it with the start of its card."""
    network, pack = rounded(run), brains.pack
    card: Json = {"name": name, "version": "0.1"}
    card["space"] = {"voxel_mm": list(pack.space.voxel_size), "axes": "RAS"}
    rows = brains.rows[: brains.training]
    card |= about(run, pack, rows, licence=licence, intended_use=intended_use, training={})
    return network, Segmenter(network, card, "", run.device, brains.scheme)


def export_segmentation(
    run: SegmentationRun,
    brains: LabelledBrains,
    folder: Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    notes: Json | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Segmenter:
    """Write the averaged network and its card, and measure the card's figures.

    Parameters
    ----------
    run : SegmentationRun
        The run; the weights are rounded to float16 before anything is measured.
    brains : LabelledBrains
        What it learned from and is validated on.
    licence : str or None
        Licence of the weights; those of the labelled data by default.
    notes : dict of str to object or None
        Further entries of the card, such as "labels" (where they come from) and "limits".

    Raises
    ------
    StyleGAN3DError
        If an entry of `notes` is one the program writes itself.
    OutputError
        If the folder holds such files and `overwrite` is false, or cannot be written.
    """
    network, segmenter = begin_export(run, brains, name or folder.name, licence, INTENDED_USE)
    card, scheme = segmenter.card, brains.scheme
    card["validation"] = _validation(segmenter, brains)
    if scheme is TISSUES:
        card["people"] = _people(segmenter, brains, progress)
    write_model(folder, network, noted(card, notes), scheme, overwrite=overwrite)
    return segmenter


def _validation(segmenter: Segmenter, brains: LabelledBrains) -> Json:
    """Dice and volume errors on the held-out subjects."""
    space, scheme = brains.pack.space, brains.scheme
    scores, found, truth = [], [], []
    for index in brains.validation:
        labels = segmenter.segment(brains.volume(index), space).labels
        scores.append(dice_scores(labels, brains.labels[index], scheme.classes))
        found.append(volumes_ml(labels, space, scheme))
        truth.append(volumes_ml(brains.labels[index], space, scheme))
    figures: Json = {}
    for name in scheme.classes[1:]:
        dice = np.array([row[name] for row in scores])
        a, b = (np.array([row[name] for row in rows]) for rows in (found, truth))
        figures[name] = {
            "dice": round(float(dice.mean()), 4),
            "dice_sd": round(float(dice.std(ddof=1)), 4) if len(dice) > 1 else None,
            "dice_least": round(float(dice.min()), 4),
            "volume_bias_ml": round(float((a - b).mean()), 2),
            "volume_error_ml": round(float(np.abs(a - b).mean()), 2),
            "volume_ml": round(float(b.mean()), 2),
            "volume_r": _correlation(a, b),
        }
    return {"people": len(scores), scheme.name: figures}


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Of volumes found and labelled; None of fewer than three or of equal ones."""
    if len(a) < 3 or not a.std() > 0 or not b.std() > 0:
        return None
    return round(float(np.corrcoef(a, b)[0, 1]), 3)


def _people(segmenter: Segmenter, brains: LabelledBrains, progress: Progress) -> Json:
    """Quantiles of what the network finds in all training subjects, labelled or not."""
    pack = brains.pack
    rows = pack.indices("train")
    measured = measure(segmenter, [pack.volumes[row] for row in rows], pack.space, progress)
    quantiles = {
        name: [round(float(q), 4) for q in np.percentile([row[name] for row in measured], PERCENTS)]
        for name in (*MEASURES, "confidence")
    }
    return {"n": len(rows), "percents": list(PERCENTS), "quantiles": quantiles}
