"""Meaning of the numbers in a label map: tissues, or regions that belong to tissues."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.scans.label_maps import TABLE, read_tissues
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.storage.bounded import read_rows
from stylegan3d.storage.jsontext import is_int

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
        return _looked_up(codes, classes)

    def group_of(self, codes: np.ndarray) -> np.ndarray:
        """Index of each voxel's group counted from 1, uint8; 0 is background."""
        places = {group: index for index, group in enumerate(self.groups, 1)}
        table = {code: places[_SIDE.sub("", name)] for code, name in self.names.items()}
        return _looked_up(codes, table)

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
                raise ValueError("a row of the regions is none")
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
    tissues = read_tissues(folder)
    if not tissues:
        raise StyleGAN3DError(
            f"{folder} has no {TABLE} that says which tissue each label is; add one with the "
            "columns index, name and tissue."
        )
    rows = read_rows(folder / TABLE)
    named = {int(row["index"]): (row.get("name") or "").strip() for row in rows}
    rows_of_it = [[k, named[k] or f"region_{k}", t] for k, t in tissues.items() if k != 0]
    try:
        return RegionTable.from_list(rows_of_it)
    except ValueError as error:
        raise StyleGAN3DError(
            f"{folder / TABLE} cannot be used ({error}); it may name 255 regions with codes up to "
            f"{HIGHEST}, each of one of the tissues {', '.join(CLASSES[1:])}."
        ) from error


def unknown_codes(values: Iterable[int], known: Iterable[int]) -> list[int]:
    """Those of the values that are neither 0 nor known, ascending."""
    return sorted({int(value) for value in values} - set(known) - {0})


def _looked_up(codes: np.ndarray, table: dict[int, int]) -> np.ndarray:
    lookup = np.zeros(max([int(codes.max(initial=0)), *table]) + 1, np.uint8)
    for code, value in table.items():
        lookup[code] = value
    return lookup[codes]
