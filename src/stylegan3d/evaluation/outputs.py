"""Output files of an evaluation: HTML page, JSON, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from stylegan3d.checkpoints.folder import add_to_card
from stylegan3d.evaluation.cubes import surest_png
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.page import page
from stylegan3d.evaluation.privacy_part import closest_pairs_png
from stylegan3d.evaluation.table import figures, keys
from stylegan3d.geometry.slicing import draw_montage
from stylegan3d.model.card import card_text
from stylegan3d.model.generator import Generator
from stylegan3d.plain import JsonView
from stylegan3d.storage.jsontext import to_json
from stylegan3d.storage.places import MONTAGE
from stylegan3d.storage.volumes import atomic_write_bytes

# Rows of the montage and pixels of each picture in it: thumbnails of any brain pass for real.
ROWS, CELL = 12, 256
BESIDE = "Synthetic brains beside real ones"
CLOSEST = "Closest pairs"
SUREST = "Cubes classified most surely, synthetic above, real below"


def pictures_of(material: Material, report: JsonView) -> dict[str, bytes]:
    """Title to PNG: a montage, and the closest pairs if privacy was measured."""
    pictures = {BESIDE: montage_png(material)}
    if "copies" in report.get("privacy", {}):
        pictures[CLOSEST] = closest_pairs_png(material, dict(report["privacy"]))
    if "surest" in report.get("cubes", {}):
        pictures[SUREST] = surest_png(material, report["cubes"])
    return pictures


def montage_png(material: Material) -> bytes:
    """Random brains on the left, validation subjects on the right, one of each per row; PNG."""
    people = material.validation
    seeds = material.seeds(min(ROWS, len(people)))
    people = people[np.linspace(0, len(people) - 1, len(seeds)).round().astype(int)]
    return draw_montage(
        {
            "synthetic - not for diagnosis": list(material.random_brains(seeds)),
            "real (validation subjects)": material.volumes(people),
        },
        material.pack.space,
        cell=CELL,
    )


def report_files(
    paths: Sequence[Path], report: JsonView, pictures: Mapping[str, bytes]
) -> dict[Path, bytes]:
    """Content of a report's files by path (.json and .html), not written yet."""
    kinds = {".json": lambda: to_json(report), ".html": lambda: page(report, pictures)}
    return {path: kinds[path.suffix]().encode() for path in paths}


def add_figures(generator: Generator, report: JsonView, picture: bytes) -> None:
    """Write a report's figures and a montage to the model's card."""
    assert generator.folder is not None
    atomic_write_bytes(generator.folder / MONTAGE, picture, overwrite=True)
    # Parts that were not measured this time are kept.
    found = dict(generator.card.get("evaluation", {}))
    for part in keys():
        if part in report:
            found[part] = [
                {
                    key: value
                    for key, value in asdict(row).items()
                    if value is not None or key == "reached"
                }
                for row in figures({part: report[part]})
            ]
    found = {part: found[part] for part in (*keys(), *found) if part in found}
    add_to_card(generator.folder, {"evaluation": found, "montage": MONTAGE}, card_text)
