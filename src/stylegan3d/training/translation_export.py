"""From a training run to a painter that can be used and judged: weights, figures, card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stylegan3d.geometry.montage import draw_montage
from stylegan3d.plain import Json
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.training.export import about, noted, rounded
from stylegan3d.training.translation import TranslationRun
from stylegan3d.training.translation_data import PaintedPeople
from stylegan3d.training.translation_figures import Progress, evaluate
from stylegan3d.translation.card import write_model
from stylegan3d.translation.contrast import CONTRAST
from stylegan3d.translation.painter import Painter

INTENDED_USE = (
    "Research, teaching and software development: pictures that go with tissue labels which were "
    "drawn or edited. What it paints is synthetic. Not a medical device; not for diagnosis."
)
#: Subjects in the montage.
SHOWN = 4


def export_translation(
    run: TranslationRun,
    people: PaintedPeople,
    segmenter: Segmenter,
    folder: Path,
    *,
    name: str | None = None,
    licence: str | None = None,
    notes: Json | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Painter:
    """Write the averaged network and its card, and measure the card's figures.

    Parameters
    ----------
    run : TranslationRun
        The run; the weights are rounded to float16 before anything is measured.
    people : PaintedPeople
        What it learned from and is measured on.
    segmenter : Segmenter
        Segments the generated brains.
    licence : str or None
        Licence of the weights; those of the data by default.
    notes : dict of str to object or None
        Further entries of the card, such as "labels" (where they come from) and "limits".

    Raises
    ------
    StyleGAN3DError
        If an entry of `notes` is one the program writes itself.
    OutputError
        If the folder holds such files and `overwrite` is false, or cannot be written.
    """
    network = rounded(run)
    card: Json = {"name": name or folder.name, "version": "0.1"}
    card |= _grid_and_contrast(people) | _about(run, people, licence)
    painter = Painter(network, card, "", run.device)
    card["validation"] = evaluate(painter, people, segmenter, progress)
    card["validation"]["reads_tissues"] = {"name": segmenter.name, "sha256": segmenter.hash}
    card = noted(card, notes)
    picture = montage(painter, people)
    write_model(folder, network, card, picture, overwrite=overwrite)
    return painter


def montage(painter: Painter, people: PaintedPeople) -> bytes:
    """Labels of held-out subjects, the brains generated from them, and their scans; PNG."""
    everybody = people.labelled("validation")
    places = np.linspace(0, len(everybody) - 1, min(SHOWN, len(everybody)))
    rows = [everybody[place] for place in places.round().astype(int)]
    painted = []
    for row in rows:
        contrast = painter.contrast_of(people.volume(row), people.tissues[row])
        painted.append(painter.paint(people.tissues[row], None, contrast))
    step = 255 // (len(CLASSES) - 1)
    columns: dict[str, Sequence[np.ndarray]] = {
        "labels": [people.tissues[row] * np.uint8(step) for row in rows],
        "painted from them - synthetic": [(v.clip(0, 1) * 255).astype(np.uint8) for v in painted],
        "the scan": [people.pack.volumes[row] for row in rows],
    }
    return draw_montage(columns, people.pack.space)


def _grid_and_contrast(people: PaintedPeople) -> Json:
    space = people.pack.space
    rows = people.contrasts[people.pack.indices("train")].astype(np.float64)
    covariance = np.cov(rows, rowvar=False)
    return {
        "space": {
            "shape": list(space.shape),
            "affine": space.affine.tolist(),
            "voxel_mm": list(space.voxel_size),
            "axes": "".join(space.axcodes),
        },
        "contrast": {
            "names": list(CONTRAST),
            "mean": [round(float(v), 6) for v in rows.mean(axis=0)],
            "covariance": [[float(f"{v:.6g}") for v in row] for row in covariance],
        },
        "regions": people.regions.to_list(),
    }


def _about(run: TranslationRun, people: PaintedPeople, licence: str | None) -> Json:
    training = {
        "with_label_maps": len(people.labelled("train")),
        "seconds": round(run.seconds),
        "torch": torch.__version__,
    }
    rows = people.pack.indices("train")
    return about(
        run, people.pack, rows, licence=licence, intended_use=INTENDED_USE, training=training
    )
