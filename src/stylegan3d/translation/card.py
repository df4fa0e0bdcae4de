"""A trained translation network as a folder: weights in float16, and a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stylegan3d.checkpoints.card_checks import LARGEST_NUMBER, MOST_LEVELS
from stylegan3d.checkpoints.network_folder import NetworkFolder
from stylegan3d.checkpoints.network_folder import page_of as page_with
from stylegan3d.geometry.space import Space, checked_space
from stylegan3d.plain import Json
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.storage.jsontext import finite_number
from stylegan3d.storage.places import MONTAGE
from stylegan3d.translation.codes import RegionTable
from stylegan3d.translation.contrast import CONTRAST
from stylegan3d.translation.network import TranslationConfig, TranslationNetwork

#: Names of the measures on the page; keys are those of `evaluation.evaluate`.
WAYS = {
    "read": "tissues read in the scan",
    "map": "tissues of the label map",
    "regions": "regions of the label map",
    "usual": "tissues of the label map, in the mean contrast of subjects",
    "plain_read": "baseline: tissues read in the scan, each in its mean, blurred",
    "plain_map": "baseline: tissues of the label map, each in its mean, blurred",
    "scan": "the scan itself",
    "mean": "the mean brain",
}


def write_model(
    folder: Path,
    network: TranslationNetwork,
    card: Json,
    montage: bytes,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, card, README and its picture (PNG); see `NetworkFolder.write`."""
    FOLDER.write(folder, network, card, page_of, others={MONTAGE: montage}, overwrite=overwrite)


def page_of(card: Json) -> str:
    """The card as a README in Markdown."""
    about = ["Generates a T1-weighted brain that matches a label map.", ""]
    about += [f"![Labels, the brain generated from them, the scan]({MONTAGE})"]
    return page_with(card, about, figures(card["validation"]) if "validation" in card else [])


def figures(validation: Json) -> list[str]:
    """Image similarity and label agreement, as two tables."""
    ways = {key: row for key, row in validation["ways"].items() if key in WAYS}
    lines = [
        f"In {validation['people']} held-out subjects with label maps; painted in the contrast of "
        "the subject's own scan (14 numbers) unless stated otherwise. Compared with the scan, "
        "inside the brain, medians:",
        "",
        "| painted from | SSIM | least | PSNR, dB |",
        "|---|---|---|---|",
    ]
    for key, row in ways.items():
        if "ssim" in row:
            cells = f"{row['ssim']:.3f} | {row['ssim_least']:.3f} | {row['psnr']:.2f}"
            lines.append(f"| {WAYS[key]} | {cells} |")
    titles = " | ".join(TITLES[name] for name in CLASSES[1:])
    lines += [
        "",
        "Dice of the requested labels and those segmented in the result by the tissue network, "
        "means over subjects:",
        "",
        f"| painted from | {titles} | mean | worst subject |",
        "|---" * (len(CLASSES) + 2) + "|",
    ]
    for key, row in ways.items():
        if "dice" in row:
            tissues = " | ".join(f"{row['dice'][name]:.3f}" for name in CLASSES[1:])
            ends = f"{row['dice_mean']:.3f} | {row['dice_least']:.3f}"
            lines.append(f"| {WAYS[key]} | {tissues} | {ends} |")
    return lines


def space_of(card: Json) -> Space:
    """The grid that a card's network paints on.

    Raises
    ------
    ValueError
        If the card names none.
    """
    return checked_space(card["space"].get("shape"), card["space"].get("affine"))


def contrasts_of(card: Json) -> tuple[np.ndarray, np.ndarray]:
    """Mean [14] and covariance [14, 14] of subjects' contrasts.

    Raises
    ------
    ValueError
        If the card does not hold them.
    """
    table = card["contrast"]
    rows = table.get("covariance")
    parts = [table.get("mean"), *(rows if isinstance(rows, list) else [])]
    numbers = [[finite_number(n) for n in row] if isinstance(row, list) else [] for row in parts]
    found = np.array([row for row in numbers if len(row) == len(CONTRAST)], np.float64)
    if table.get("names") != list(CONTRAST) or found.shape != (len(CONTRAST) + 1, len(CONTRAST)):
        raise ValueError("no contrasts of people")
    if not np.isfinite(found).all():
        raise ValueError("contrasts that are no numbers")
    return found[0], found[1:]


def _build(architecture: Json, weights: int) -> TranslationNetwork:
    """ValueError if the card asks for a network far larger than its weights."""
    config = TranslationConfig.from_dict(architecture)
    if len(config.channels) > MOST_LEVELS or max(config.channels) > LARGEST_NUMBER:
        raise ValueError("widths that no network has")
    largest = 54 * max(config.channels) ** 2 * config.blocks
    grid = int(np.prod([float(n) for n in config.shape]))
    if max(largest, grid, config.regions) > weights:
        raise ValueError("the shape of a larger network")
    return TranslationNetwork(config)


def _check(card: Json) -> None:
    """The part of a card that `painter.Painter` uses; the rest is documentation."""
    tables = ("architecture", "files", "space", "contrast")
    if not isinstance(card.get("name"), str):
        raise ValueError("no name")
    if not all(isinstance(card.get(key), dict) for key in tables):
        raise ValueError("a part is missing")
    regions = RegionTable.from_list(card.get("regions"))
    if len(regions.groups) != card["architecture"].get("regions"):
        raise ValueError("other regions than the network's")
    if list(space_of(card).shape) != card["architecture"].get("shape"):
        raise ValueError("another grid than the network's")
    contrasts_of(card)


FOLDER = NetworkFolder(
    kind="translation network",
    bundled="labels-to-t1-2mm",
    command="train translation",
    format="stylegan3d-translation",
    version=1,
    classes=CLASSES,
    check=_check,
    build=_build,
    architecture=lambda network: network.config.to_dict(),
)
