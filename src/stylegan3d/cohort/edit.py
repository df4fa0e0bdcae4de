"""The same edit of many projected scans: from their latent files to edited scans and a table."""

from __future__ import annotations

from pathlib import Path

from stylegan3d.cohort.project import opened_generator
from stylegan3d.cohort.run import FIRST, LAST, RECORDS, Table
from stylegan3d.cohort.scans import LISTS, Item, lines_of, named
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.measures.tissue_volumes import TOLD
from stylegan3d.outputs.edits import save_edit, scan_for
from stylegan3d.plain import Json, JsonView

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
                original=scan_for(file, scans),
            )
            for file in found
        ]
    else:
        items = named(
            [
                Item("", file, "", original=scan or scan_for(file, scans))
                for file, scan in lines_of(path)
            ]
        )
    if not items:
        raise StyleGAN3DError(
            f"There is no latent file in {path}: give a folder of projections, whose latent files "
            "end in _latent.safetensors, or a list of latent files."
        )
    return items


def edit_item(
    settings: JsonView, item: Item, folder: Path, overwrite: bool, *, model: str | None
) -> tuple[list[Path], Json]:
    """The work of a cohort (`cohort.run.Work`) on one latent file; `model` is the generator's path.

    `settings` holds the "recipe" as plain data, whose source each latent file takes, and the
    "strength" of the detail.
    """
    generator = opened_generator(model, settings["frame"], settings["model"])
    made = save_edit(
        item.path,
        settings["recipe"],
        generator,
        folder,
        strength=settings["strength"],
        scan=item.original,
        overwrite=overwrite,
        root=item.root(folder),
    )
    row = {
        "moved_median_mm": made.figures["MedianMm"],
        "moved_p99_mm": made.figures["Percentile99Mm"],
        "least_jacobian": made.figures["LeastJacobian"],
        **{
            f"{what}_{key}": found.volumes.get(key)
            for what, found in made.tissues.items()
            for key in TOLD
        },
        "volumes_measured": made.tissues["edited"].how,
        "edited": made.files[0],
    }
    return made.files, row
