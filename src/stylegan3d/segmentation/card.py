"""A trained tissue network as a folder: float16 weights and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylegan3d.checkpoints.card_checks import LARGEST_NUMBER, MOST_LEVELS
from stylegan3d.checkpoints.network_folder import NetworkFolder
from stylegan3d.checkpoints.network_folder import page_of as page_with
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.storage.jsontext import finite_number, is_int


def write_model(
    folder: Path, network: TissueNetwork, card: dict[str, Any], *, overwrite: bool = False
) -> None:
    """Write weights, card and README; see `NetworkFolder.write`."""
    FOLDER.write(folder, network, card, page_of, overwrite=overwrite)


def page_of(card: dict[str, Any]) -> str:
    """The card as a README in Markdown."""
    figures = _figures(card["validation"]) if "validation" in card else []
    return page_with(card, ["Labels the tissues of brains in T1-weighted MR."], figures)


def _figures(validation: dict[str, Any]) -> list[str]:
    """Dice and volume errors as a table."""
    lines = [
        f"On {validation['people']} held-out subjects, against the labels it imitates:",
        "",
        "| tissue | Dice | least | volume, ml | mean error, ml | bias, ml |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in validation["tissues"].items():
        cells = (
            f"{row['dice']:.3f}",
            f"{row['dice_least']:.3f}",
            f"{row['volume_ml']:.0f}",
            f"{row['volume_error_ml']:.1f}",
            f"{row['volume_bias_ml']:+.1f}",
        )
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} |")
    return lines + (_baselines(validation["baselines"]) if "baselines" in validation else [])


def _baselines(found: dict[str, dict[str, float]]) -> list[str]:
    """Dice of methods without a network as a table."""
    lines = ["", "Dice of baselines without a network, in the same subjects:", ""]
    lines += ["| tissue | the commonest label there | a mixture of Gaussians |", "|---|---|---|"]
    return lines + [
        f"| {TITLES[name]} | {value:.3f} | {found['by_mixture'][name]:.3f} |"
        for name, value in found["by_place"].items()
    ]


def _build(architecture: dict[str, Any], weights: int) -> TissueNetwork:
    """ValueError if the card asks for a network far larger than its weights."""
    widths = architecture["widths"]
    if not isinstance(widths, list) or not 1 <= len(widths) <= MOST_LEVELS:
        raise ValueError("no list of widths")
    if not all(is_int(n) and 0 < n <= LARGEST_NUMBER for n in widths):
        raise ValueError("widths that no network has")
    if 27 * max(widths) ** 2 > weights:  # a level's second convolution alone
        raise ValueError("widths of a larger network")
    return TissueNetwork(tuple(widths))


def _check(card: dict[str, Any]) -> None:
    """The part of a card that `inference.Segmenter` uses; the rest is documentation."""
    named = isinstance(card.get("name"), str)
    tables = all(
        isinstance(card.get(k), dict) for k in ("architecture", "files", "space", "people")
    )
    if not named or not tables:
        raise ValueError("a part is missing")
    people, mm = card["people"], _numbers(card["space"].get("voxel_mm"))
    percents, quantiles = _numbers(people.get("percents")), people.get("quantiles")
    rows = quantiles.values() if isinstance(quantiles, dict) else [None]
    fit = percents and all(len(_numbers(row)) == len(percents) for row in rows)
    if not fit or len(mm) != 3 or min(mm) <= 0:
        raise ValueError("no voxel size, or no volumes of people")


def _numbers(value: Any) -> list[float]:
    """A list of finite numbers; an empty one for anything else."""
    numbers = [finite_number(item) for item in value] if isinstance(value, list) else []
    return [] if None in numbers else [number for number in numbers if number is not None]


FOLDER = NetworkFolder(
    kind="tissue network",
    bundled="tissue-t1-2mm",
    command="train segmentation",
    format="stylegan3d-tissues",
    version=1,
    classes=CLASSES,
    check=_check,
    build=_build,
    architecture=lambda network: {"widths": list(network.widths)},
)
