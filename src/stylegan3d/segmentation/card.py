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
    scheme = next(name for name, folder in FOLDERS.items() if folder.format == card["format"])
    title_of = TITLES.get if scheme == TISSUES.name else region_title
    told = {"scheme": scheme, "title_of": title_of}
    return page_with(card, [ABOUT[scheme]], "segmentation.md", **told)


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
#: What each does, for its page.
ABOUT = {
    TISSUES.name: "Labels the tissues of brains in T1-weighted MR.",
    REGIONS.name: "Labels the regions of brains in T1-weighted MR.",
    LESIONS.name: "Finds what does not belong into a brain, such as lesions, in T1-weighted MR.",
    STRUCTURES.name: "Labels the structures of brains in images of any contrast.",
}
