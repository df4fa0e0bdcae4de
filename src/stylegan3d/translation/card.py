"""A trained translation network as a folder: weights in float16, and a card."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.checkpoints.folder import LARGEST_NUMBER, MOST_LEVELS, NetworkFolder
from stylegan3d.checkpoints.folder import page_of as page_with
from stylegan3d.geometry.space import Space, checked_space
from stylegan3d.render.figures import COMPOSITE, with_source_type
from stylegan3d.scans.label_maps import TABLE, read_tissues
from stylegan3d.segmentation.classes import CLASSES, REGIONS, TITLES, halved, region_of_label
from stylegan3d.storage.encoding import finite_number, is_int
from stylegan3d.storage.files import read_rows
from stylegan3d.storage.places import MONTAGE
from stylegan3d.translation.network import CONTRAST, TranslationConfig, TranslationNetwork

#: Highest code of a region; the usual tables end at a few hundred, FreeSurfer's at 14,175.
HIGHEST = 20_000
_SIDE = re.compile(r"(^(left|right)_)|(_(left|right)(?=_|$))")


@dataclass(frozen=True)
class RegionTable:
    """Names and tissues of the codes of a parcellation.

    Attributes
    ----------
    names : dict of int to str
        Code to name, such as {51: "right_lateral_ventricle"}; 0 is background and not in it.
    tissues : dict of int to str
        Code to one of `CLASSES`.
    """

    names: dict[int, str]
    tissues: dict[int, str]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names without their sides, sorted: a region looks alike on the left and on the right."""
        return tuple(sorted({_SIDE.sub("", name) for name in self.names.values()}))

    def tissue_of(self, codes: np.ndarray) -> np.ndarray:
        """Tissue of each voxel, uint8, of a map of known codes and 0."""
        classes = {code: CLASSES.index(tissue) for code, tissue in self.tissues.items()}
        return looked_up(codes, classes)

    def group_of(self, codes: np.ndarray) -> np.ndarray:
        """Index of each voxel's group counted from 1, uint8; 0 is background."""
        places = {group: index for index, group in enumerate(self.groups, 1)}
        table = {code: places[_SIDE.sub("", name)] for code, name in self.names.items()}
        return looked_up(codes, table)

    def own_code(self, codes: np.ndarray) -> dict[int, int]:
        """Its own code of every code that a map (X, Y, Z) may hold: of its own, or, if these are
        `REGIONS` and the map has higher ones, of the numbers of the Neuromorphometrics protocol.
        """
        numbers = (*self.names.values(),) == REGIONS.classes[1:] and codes.max() > len(self.names)
        return region_of_label() if numbers else {code: code for code in self.names}

    def own(self, codes: np.ndarray, space: Space) -> np.ndarray:
        """A map (X, Y, Z) of codes that `own_code` knows, in its own."""
        table = self.own_code(codes)
        return halved(looked_up(codes, table), space) if 0 in table else codes

    def to_list(self) -> list[list[Any]]:
        """As a card holds it: rows of code, name and tissue."""
        return [[code, self.names[code], self.tissues[code]] for code in sorted(self.names)]

    @classmethod
    def from_list(cls, rows: Any) -> RegionTable:
        """Inverse of `to_list`.

        Raises
        ------
        ValueError
            If a row is none, or there are more regions than a byte holds.
        """
        if not isinstance(rows, list):
            raise ValueError("no table of regions")
        names: dict[int, str] = {}
        tissues: dict[int, str] = {}
        for row in rows:
            if not isinstance(row, list) or len(row) != 3 or not is_int(row[0]):
                raise ValueError("a regions row is invalid")
            code, name, tissue = row
            if not 0 < code <= HIGHEST or not isinstance(name, str) or tissue not in CLASSES:
                raise ValueError(f"region {code} has no name or tissue")
            names[code], tissues[code] = name, tissue
        table = cls(names, tissues)
        if len(table.groups) > 255:
            raise ValueError("more than 255 regions")
        return table


def read_regions(folder: Path) -> RegionTable:
    """The codes that `labels.tsv` of a folder names.

    Raises
    ------
    StyleGAN3DError
        If there is no usable table, or it names a tissue or a code that nothing can be done with.
    """
    tissues = read_tissues(folder, needed=True)
    rows = read_rows(folder / TABLE)
    named = {int(row["index"]): row.get("name") or "" for row in rows}
    rows_of_it = [[k, named[k] or f"region_{k}", t] for k, t in tissues.items() if k != 0]
    try:
        return RegionTable.from_list(rows_of_it)
    except ValueError as error:
        raise StyleGAN3DError(
            f"{folder / TABLE} cannot be used ({error}); it may name 255 regions with codes up to "
            f"{HIGHEST}, each of one of the tissues {', '.join(CLASSES[1:])}."
        ) from error


def looked_up(codes: np.ndarray, table: dict[int, int]) -> np.ndarray:
    """What a table says of each code, uint8; 0 of those it lacks."""
    lookup = np.zeros(max([int(codes.max(initial=0)), *table]) + 1, np.uint8)
    for code, value in table.items():
        lookup[code] = value
    return lookup[codes]


def write_model(
    folder: Path,
    network: TranslationNetwork,
    card: Json,
    montage: bytes,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, card, README and its picture (PNG); see `NetworkFolder.write`."""
    others = {MONTAGE: with_source_type(montage, ".png", COMPOSITE)}
    FOLDER.write(folder, network, card, page_of, others=others, overwrite=overwrite)


def page_of(card: Json) -> str:
    """The card as a README in Markdown."""
    about = ["Generates a T1-weighted brain that matches a label map.", ""]
    about += [f"![Labels, the brain generated from them, the scan]({MONTAGE})"]
    tissues = {name: TITLES[name] for name in CLASSES[1:]}
    return page_with(card, about, "translation.md", tissues=tissues)


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
        raise ValueError("contrasts that are not numbers")
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
