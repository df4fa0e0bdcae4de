"""The same edit of many projected scans: from their latent files to edited scans and a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.cohort.project import opened_generator
from stylegan3d.cohort.records import FIRST, LAST, RECORDS, Table
from stylegan3d.cohort.scans import LISTS, Item, lines_of, named
from stylegan3d.errors import LatentError, StyleGAN3DError
from stylegan3d.measures.tissue_volumes import TOLD, read_tissues
from stylegan3d.outputs.edits import edit_files, edit_names, scans_at_hand
from stylegan3d.recipe.latents import load_latent
from stylegan3d.recipe.parts import Detail, Source
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.recipes import carried_detail, edited_scan, render_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.storage.hashing import sha256_of
from stylegan3d.storage.volumes import check_output, sidecar_path, write_together

LATENTS = "*_latent.safetensors"
EDITS = Table(
    "edits.tsv",
    (
        *FIRST,
        "moved_median_mm",
        "moved_p99_mm",
        "least_jacobian",
        *(f"{what}_{key}" for what in ("scan", "edited") for key in TOLD),
        "volumes_measured",
        *LAST,
        "edited",
    ),
    f"{RECORDS}/edits",
)


def holds_latents(path: Path) -> bool:
    """Whether a path is a folder or a list of latent files, not one of them."""
    return path.is_dir() or path.suffix.lower() in LISTS


def find_latents(path: Path, scans: Path | None = None) -> list[Item]:
    """The latent files of a folder or of a list, in order.

    Parameters
    ----------
    path : Path
        A folder, searched with those below it for names that end in _latent.safetensors; or a text
        file with one latent file a line and, after a tab, its scan.
    scans : Path, optional
        Folder of the scans, where they do not lie beside their latent files.

    Raises
    ------
    StyleGAN3DError
        If there is no latent file, or the list cannot be read.
    """
    if path.is_dir():
        found = sorted(path.rglob(LATENTS))
        items = [
            Item(
                file.relative_to(path).as_posix(),
                file.absolute(),
                str(file.parent.relative_to(path)),
                original=_scan_of(file, scans),
            )
            for file in found
        ]
    else:
        items = named(
            [
                Item("", file, "", original=scan or _scan_of(file, scans))
                for file, scan in lines_of(path)
            ]
        )
    if not items:
        raise StyleGAN3DError(
            f"There is no latent file in {path}: give a folder of projections, whose latent files "
            "end in _latent.safetensors, or a list of latent files."
        )
    return items


def _scan_of(latent: Path, scans: Path | None) -> Path | None:
    """The scan of a latent file in a folder of scans; of several of its name, the very one."""
    if scans is None or not scans.is_dir():
        return scans
    try:
        described = load_latent(latent).scan or {}
    except LatentError:
        return None  # what is wrong with it is told in its row
    same = sorted(scans.rglob(str(described.get("path"))))
    exact = [p for p in same if p.is_file() and sha256_of(p) == described.get("sha256")]
    return next(iter([*exact, *same]), None)


def edit_item(
    settings: Mapping[str, Any], item: Item, folder: Path, overwrite: bool, *, model: str | None
) -> tuple[list[Path], dict[str, Any]]:
    """The work of a cohort (`cohort.run.Work`) on one latent file; `model` is the generator's path.

    `settings` holds the "recipe" as plain data, whose source each latent file takes, and the
    "strength" of the detail.
    """
    source = Source.from_file(item.path)
    recipe = Recipe.from_dict(settings["recipe"]).replace(source=source)
    if source.kind == "projected":
        recipe = recipe.replace(detail=Detail(source, settings["strength"]))
    names = edit_names(recipe, folder)
    files = [*names.values(), *map(sidecar_path, names.values())]
    check_output(files, overwrite)
    generator = opened_generator(model, settings["frame"], settings["model"])
    given = [] if item.original is None else [item.original]
    renderer = Renderer(generator, scans_at_hand(*given))
    edited = edited_scan(renderer, recipe)
    write_together(edit_files(recipe, renderer, folder, edited), overwrite=overwrite)
    assert recipe.detail is not None
    volumes = {
        "scan": carried_detail(renderer, recipe.detail, recipe.channel).aligned,
        "edited": render_recipe(renderer, recipe).volume,
    }
    tissues = {what: read_tissues(volume, generator.space) for what, volume in volumes.items()}
    far = edited.movement.moved_mm[edited.movement.moved_mm > 0]
    median, most = np.percentile(far, (50, 99)) if far.size else (0.0, 0.0)
    return files, {
        "moved_median_mm": float(median),
        "moved_p99_mm": float(most),
        "least_jacobian": float(edited.movement.jacobian.min()),
        **{
            f"{what}_{key}": found.volumes.get(key)
            for what, found in tissues.items()
            for key in TOLD
        },
        "volumes_measured": tissues["edited"].how,
        "edited": str(names["Scan"]),
    }
