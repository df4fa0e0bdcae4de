"""A trained network of tissues, regions or lesions as a folder: float16 weights and a card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stylegan3d.base import Json, ModelError
from stylegan3d.checkpoints.folder import LARGEST_NUMBER, MOST_LEVELS, NetworkFolder
from stylegan3d.checkpoints.folder import page_of as page_with
from stylegan3d.segmentation.classes import (
    LESIONS,
    REGIONS,
    STRUCTURES,
    TISSUES,
    TITLES,
    Scheme,
    region_title,
)
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.storage.jsontext import finite_number, is_int


def write_model(
    folder: Path,
    network: TissueNetwork,
    card: Json,
    scheme: Scheme = TISSUES,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, card and README; see `NetworkFolder.write`."""
    FOLDERS[scheme.name].write(folder, network, card, page_of, overwrite=overwrite)


def page_of(card: Json) -> str:
    """The card as a README in Markdown."""
    if card.get("format") == LESION_FOLDER.format:
        figures = _lesion_figures(card["validation"]) if "validation" in card else []
        about = "Finds what does not belong into a brain, such as lesions, in T1-weighted MR."
        return page_with(card, [about], figures)
    figures = _figures(card["validation"]) if "validation" in card else []
    about = {
        FOLDER.format: "Labels the tissues of brains in T1-weighted MR.",
        REGION_FOLDER.format: "Labels the regions of brains in T1-weighted MR.",
        STRUCTURE_FOLDER.format: "Labels the structures of brains in images of any contrast.",
    }[card["format"]]
    return page_with(card, [about], figures)


def _lesion_figures(validation: Json) -> list[str]:
    """How many lesions are found, as a table."""
    lines = [
        f"In {validation['people']} held-out subjects, healthy, with simulated lesions "
        f"(Dice {validation['dice']:.2f}):",
        "",
        "| lesion, ml | simulated | found |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['ml'][0]:g} to {row['ml'][1]:g} | {row['lesions']} | {row['found']} |"
        for row in validation["by_size"]
    ]
    healthy = validation["healthy"]
    return [
        *lines,
        "",
        f"A cluster counts as a finding from {validation['limit_ml']:.2g} ml (summed probability "
        f"above one half). {healthy['with_findings']} of {healthy['scans']} healthy scans (the "
        f"same subjects, each also on {healthy['scanners']} simulated scanners) have one.",
    ]


def _figures(validation: Json) -> list[str]:
    """Dice and volume errors as a table."""
    scheme = next(name for name in FOLDERS if name in validation)
    regions = scheme != TISSUES.name
    lines = [
        f"On {validation['people']} held-out subjects, compared with the reference labels:",
        "",
        f"| {scheme[:-1]} | Dice | volume, ml | mean error, ml | bias, ml | r of volumes |",
        "|---|---|---|---|---|---|",
    ]
    decimals = 2 if regions else 1
    for name, row in validation[scheme].items():
        cells = (
            f"{row['dice']:.3f}",
            f"{row['volume_ml']:.{decimals - 1}f}",
            f"{row['volume_error_ml']:.{decimals}f}",
            f"{row['volume_bias_ml']:+.{decimals}f}",
            "" if row.get("volume_r") is None else f"{row['volume_r']:.2f}",
        )
        title = region_title(name) if regions else TITLES[name]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def read_network(path: Path) -> TissueNetwork:
    """The network in a folder, of tissues, regions or lesions.

    Raises
    ------
    ModelError
        If it holds none.
    """
    failed: ModelError | None = None
    for folder in FOLDERS.values():
        try:
            return folder.open(path)[0]
        except ModelError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _build(scheme: Scheme) -> Callable[[Json, int], TissueNetwork]:
    """See `NetworkFolder.build`."""

    def build(architecture: Json, weights: int) -> TissueNetwork:
        widths = architecture["widths"]
        if not isinstance(widths, list) or not 1 <= len(widths) <= MOST_LEVELS:
            raise ValueError("no list of widths")
        if not all(is_int(n) and 0 < n <= LARGEST_NUMBER for n in widths):
            raise ValueError("widths that no network has")
        if 27 * max(widths) ** 2 > weights:  # a level's second convolution alone
            raise ValueError("widths of a larger network")
        return TissueNetwork(tuple(widths), len(scheme.classes))

    return build


def _check(card: Json) -> None:
    """The part of a card that `inference.Segmenter` uses; the rest is documentation."""
    named = isinstance(card.get("name"), str)
    tables = all(isinstance(card.get(k), dict) for k in ("architecture", "files", "space"))
    if not named or not tables:
        raise ValueError("a part is missing")
    others = card["space"].get("also_mm", [])
    for size in [card["space"].get("voxel_mm"), *(others if isinstance(others, list) else [None])]:
        mm = _numbers(size)
        if len(mm) != 3 or min(mm) <= 0:
            raise ValueError("no voxel size")


def _check_with_limit(card: Json) -> None:
    """The same, and from what size a cluster is a finding."""
    _check(card)
    validation = card.get("validation")
    limit = finite_number(validation.get("limit_ml")) if isinstance(validation, dict) else None
    if limit is None or limit <= 0:
        raise ValueError("no size of a finding")


def _numbers(value: Any) -> list[float]:
    """A list of finite numbers; an empty one for anything else."""
    numbers = [finite_number(item) for item in value] if isinstance(value, list) else []
    return [] if None in numbers else [number for number in numbers if number is not None]


def _shape(network: TissueNetwork) -> Json:
    return {"widths": list(network.widths)}


def _folder(
    scheme: Scheme,
    bundled: str,
    check: Callable[[Json], None] = _check,
    command: str = "train segmentation --scheme {}",
) -> NetworkFolder[TissueNetwork]:
    """How the network of a scheme is stored."""
    return NetworkFolder(
        kind=f"{scheme.name.removesuffix('s')} network",
        bundled=bundled,
        command=command.format(scheme.name),
        format=f"stylegan3d-{scheme.name}",
        version=1,
        classes=scheme.classes,
        check=check,
        build=_build(scheme),
        architecture=_shape,
    )


FOLDER = _folder(TISSUES, "", command="train segmentation")
REGION_FOLDER = _folder(REGIONS, "regions-t1-2mm")
LESION_FOLDER = _folder(LESIONS, "lesions-t1-2mm", _check_with_limit)
STRUCTURE_FOLDER = _folder(STRUCTURES, "structures-1mm")
#: By the name of the scheme.
FOLDERS = {
    TISSUES.name: FOLDER,
    REGIONS.name: REGION_FOLDER,
    LESIONS.name: LESION_FOLDER,
    STRUCTURES.name: STRUCTURE_FOLDER,
}
