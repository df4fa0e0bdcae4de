"""What a comparison of groups leaves in its folder: maps, tables, average brains, a page."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import affine_transform

from stylegan3d.evaluation.groups import BRAIN, Comparison
from stylegan3d.geometry.slicing import Upright, cut
from stylegan3d.geometry.space import Space
from stylegan3d.pages.page import page
from stylegan3d.plain import Json
from stylegan3d.recipe.latents import Latent, latent_bytes
from stylegan3d.render.figures import (
    CAPTION,
    PAPER,
    SYNTHETIC,
    TITLE,
    beside,
    colors,
    font,
    png_bytes,
)
from stylegan3d.render.renderer import Renderer
from stylegan3d.storage.jsontext import to_json
from stylegan3d.storage.volumes import make_image, volume_files

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: False discovery rate at which a difference is drawn and named.
RATE = 0.05
#: Slices of the picture, in a row, and their width in pixels.
SLICES, COLUMNS, CELL = 12, 6, 180
#: The latent of the average of all brains, on which the maps lie.
AVERAGE = "desc-average_latent.safetensors"
MAPS = {
    "effect": "effect: percent of volume, or the maps' unit",
    "statistic": "t, or F of several groups",
    "p": "p of each voxel, by permutation",
    "p_any": "p corrected for all voxels (largest statistic)",
    "q": "false discovery rate",
}


def group_files(
    found: Comparison, folder: Path, generator: Generator | None, about: Json
) -> dict[Path, bytes]:
    """The files by path.

    Parameters
    ----------
    generator : Generator or None
        Of the latents; None for maps of another program.
    about : dict
        What the page and `groups.json` say of the model and the table.
    """
    design = found.design
    files: dict[Path, bytes] = {}
    for column, contrast in enumerate(contrasts(found)):
        for name, title in MAPS.items():
            if column and name != "effect":
                continue
            middle = f"contrast-{_plain(contrast)}_" if len(contrasts(found)) > 1 else ""
            path = (
                folder
                / f"{middle if name == 'effect' else ''}stat-{name.replace('_', '')}_statmap.nii.gz"
            )
            files |= volume_files(
                path,
                make_image(found.volume(name, column), found.space.affine),
                description=f"{design.by}: {title}",
                sidecar={"Description": title, "Contrast": contrast, **about},
            )
    if generator is not None and found.latents is not None:
        for name, w in zip(design.levels or ("all",), found.latents, strict=True):
            stem = f"group-{_plain(name)}_desc-average"
            tensor = torch.from_numpy(w).float()
            volume = Renderer(generator).render(tensor, noise="none").volume
            files |= volume_files(
                folder / f"{stem}_T1w.nii.gz",
                make_image(volume, generator.affine),
                description=f"average of {name}",
                sidecar={"Description": f"Average of the latents of {name}", **about},
            )
            files[folder / f"{stem}_latent.safetensors"] = latent_bytes(
                Latent.of(generator, tensor)
            )
    if generator is not None and found.mean is not None:
        latent = Latent.of(generator, torch.from_numpy(found.mean).float())
        files[folder / AVERAGE] = latent_bytes(latent)
    if found.regions:
        files[folder / "regions.csv"] = regions_csv(found).encode()
    summary = summarised(found) | about
    files[folder / "groups.json"] = to_json(summary).encode()
    files[folder / "groups.html"] = group_page(found, generator, about).encode()
    return files


def contrasts(found: Comparison) -> list[str]:
    """What each column of interest is, in words."""
    levels = found.design.levels
    if not levels:
        return [f"one unit of {found.design.by} more"]
    return [f"{level} minus {levels[0]}" for level in levels[1:]]


def summarised(found: Comparison) -> Json:
    """The figures, plain for JSON."""
    design, maps = found.design, found.maps
    sizes = {n: int((design.group == k).sum()) for k, n in enumerate(design.levels)}
    return {
        "by": design.by,
        "groups": sizes,
        "held_fixed": list(design.held_fixed),
        "subjects": design.subjects,
        "rows": len(design.rows),
        "within_subjects": design.blocks is not None,
        "permutations": maps.permutations,
        "contrasts": contrasts(found),
        "voxels": int(found.inside.sum()),
        "voxels_found": int((maps.q <= RATE).sum()),
        "smallest_corrected_p": float(maps.p_any.min(initial=1.0)),
        "regions": found.regions,
        "direction": None if found.direction is None else found.direction.names[0],
        "notes": found.notes,
    }


def verdict_of(told: Json) -> str:
    """What `summarised` figures say, in a sentence."""
    p = told["smallest_corrected_p"]
    if told["voxels_found"] or p <= RATE:
        return (
            f"{told['voxels_found']} of {told['voxels']} voxels differ at a false discovery rate "
            f"of {100 * RATE:g} %; the smallest p corrected for all voxels is {p:.3g}."
        )
    return (
        f"No voxel differs at a false discovery rate of {100 * RATE:g} % "
        f"(smallest corrected p {p:.3g})."
    )


def regions_csv(found: Comparison) -> str:
    """A row for each region."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    effects = [f"percent, {name}" for name in contrasts(found)]
    rows.writerow(["region", "mean ml", *effects, "statistic", "p", "q"])
    for row in found.regions:
        values = [f"{e:.3f}" for e in row["effect_percent"]]
        numbers = [f"{row['statistic']:.3f}", f"{row['p']:.4f}", f"{row['q']:.4f}"]
        rows.writerow([row["region"], f"{row['ml']:.1f}", *values, *numbers])
    return out.getvalue()


def group_page(found: Comparison, generator: Generator | None, about: Json) -> str:
    """One page, self-contained, that prints on one or two sheets."""
    told = summarised(found)
    groups = ", ".join(f"{name} ({count})" for name, count in told["groups"].items())
    what = "scans within subjects" if told["within_subjects"] else "subjects"
    facts = {
        "Groups": groups or f"a number: {told['by']}",
        "Subjects": f"{told['subjects']}, in {told['rows']} rows",
        "Adjusted for": ", ".join(told["held_fixed"]) or "nothing",
        "Permutations": f"{told['permutations']}, of {what}",
    }
    facts |= {k: value["name"] if isinstance(value, dict) else value for k, value in about.items()}
    names = contrasts(found)
    return page(
        "groups",
        by=told["by"],
        mark=SYNTHETIC,
        verdict=verdict_of(told),
        about=facts,
        notes=found.notes,
        pictures={
            name[0].upper() + name[1:]: picture(found, k, generator) for k, name in enumerate(names)
        },
        heads=[
            "Region",
            "ml",
            *(f"% ({name})" for name in names),
            "t" if len(names) == 1 else "F",
            "p",
            "q",
        ],
        regions=found.regions,
        rate=RATE,
    )


def picture(found: Comparison, column: int, generator: Generator | None) -> bytes:
    """The effect in colours, where it is found, on the average brain: a PNG."""
    shown, space = found.average, None if generator is None else generator.space
    if shown is None or space is None:
        shown, space = found.inside.astype(np.float32) * 0.5, found.space
    onto, where = difference(found, column, shown, space)
    largest = float(np.percentile(np.abs(onto[where]), 99)) if where.any() else 1.0
    unit = "%" if found.relative else "of the maps' unit"
    text = (
        f"{SYNTHETIC}. Blue: less, orange: more (to {largest:.3g} {unit}), where q <= {RATE:g}"
        if where.any()
        else f"{SYNTHETIC}. No difference found"
    )
    return coloured_slices(shown, onto, where, space, largest, text)


def coloured_slices(
    shown: np.ndarray,
    values: np.ndarray,
    where: np.ndarray,
    space: Space,
    largest: float,
    caption: str,
) -> bytes:
    """Axial slices of a brain with values of either sign over it: a PNG.

    Parameters
    ----------
    shown, values, where : ndarray, shape (X, Y, Z)
        The brain in display units, the values, and where they are drawn (bool).
    largest : float
        Value of the full colour: blue below 0, orange above.
    """
    volumes = [Upright.of(v, space) for v in (shown, values, where.astype(np.float32))]
    inside = np.flatnonzero((volumes[0].data > 0.05).any(axis=(0, 1)))
    places = np.linspace(inside[0], inside[-1], SLICES + 2)[1:-1].round().astype(int)
    cells = []
    for mm in (volumes[0].mm_at(2, int(k)) for k in places):
        grey, colour, mask = (cut(v, "axial", mm, "radiological").picture for v in volumes)
        drawn = np.where(
            (mask > 0.5)[..., None],
            colors(colour, (-largest, largest), True),
            colors(grey, (0.0, 1.0), False),
        )
        cell = Image.fromarray(drawn.astype(np.uint8)).resize(
            (CELL, CELL * grey.shape[0] // grey.shape[1])
        )
        write = ImageDraw.Draw(cell)
        for text, x in ((f"z {mm:+.0f} mm", 4), ("R", 4), ("L", CELL - 14)):
            write.text(
                (x, 2 if text[0] == "z" else cell.height // 2), text, font=font(13), fill=TITLE
            )
        cells.append(cell)
    rows = [beside(cells[k : k + COLUMNS]) for k in range(0, len(cells), COLUMNS)]
    strip = 26
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows) + strip), PAPER)
    for k, row in enumerate(rows):
        sheet.paste(row, (0, k * row.height))
    ImageDraw.Draw(sheet).text((6, sheet.height - strip + 4), caption, font=font(14), fill=CAPTION)
    return png_bytes(sheet)


def difference(
    found: Comparison, column: int, brain: np.ndarray, space: Space
) -> tuple[np.ndarray, np.ndarray]:
    """The effect on another grid, and where in a brain on it the difference is found (bool)."""
    onto = _onto(found.volume("effect", column), found.space, space, 1)
    sure = (found.volume("q") <= RATE).astype(np.float32)
    return onto, (_onto(sure, found.space, space, 1) > 0.5) & (brain > BRAIN)


def _onto(values: np.ndarray, space: Space, target: Space, order: int) -> np.ndarray:
    if space.same_as(target):
        return values
    matrix = np.linalg.inv(space.affine) @ target.affine
    return affine_transform(
        values, matrix[:3, :3], matrix[:3, 3], target.shape, order=order, mode="nearest"
    )


def _plain(name: str) -> str:
    """Letters and digits only, as in names of BIDS."""
    words = "".join(c if c.isalnum() else " " for c in name).split()
    return words[0] + "".join(word.capitalize() for word in words[1:]) if words else "x"
