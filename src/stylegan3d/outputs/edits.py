"""An edit of a scan itself, in the scan's own space: the edited scan, what changed, what moved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from stylegan3d.errors import OutputError
from stylegan3d.outputs.results import native_scan, sidecar, volume_name
from stylegan3d.projection.carried import CarriedDetail, Movement, movement
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.scans import SeveralSeries, SeveralVolumes, read_scan
from stylegan3d.storage import volumes
from stylegan3d.storage.about import PROGRAM

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import Scan

ABOUT = {
    "Scan": (
        "An edited scan, not a measurement: the detail of the scan, moved and changed in intensity "
        "as in an edit of its reconstruction by {name}."
    ),
    "Change": "The change in intensity by the edit: edited minus original scan.",
    "Movement": (
        "How the edit moves tissue: at each point the vector, in mm to the right, front and top, "
        "to the place in the original scan that is shown there."
    ),
}


def edit_names(recipe: Recipe, out: str | Path) -> dict[str, Path]:
    """The files `edit_files` makes, named after the edited volume.

    sub-01_desc-edited_T1w.nii.gz has sub-01_desc-editedScan_T1w.nii.gz, …editedChange… and
    …editedMovement… beside it. OutputError if the recipe does not change a projected scan.
    """
    native_scan(recipe)
    if recipe.mix is None and not recipe.edits:
        raise OutputError(
            "There is no edit to apply to the scan: give an edit or a mix, or omit --scan."
        )
    edited = volume_name(recipe, native=True)
    return {
        what: Path(out) / re.sub(r"(_desc-[A-Za-z0-9]+)_", rf"\g<1>{what}_", edited)
        for what in ABOUT
    }


def original_scan(path: str | Path, described: Mapping[str, Any]) -> Scan:
    """The scan that `AlignedScan.describe` told of, read again from where it lies.

    Of several volumes or series the one that was projected.

    Raises
    ------
    ScanError
        If it cannot be read.
    OutputError
        If it is another scan.
    """
    for scan in _candidates(path, described):
        if scan.sha256 == described.get("sha256"):
            return scan
    raise OutputError(
        f"{path} is not the scan that was projected ({described.get('path')}), or it has "
        "changed since: give that scan."
    )


def _candidates(path: str | Path, described: Mapping[str, Any]) -> list[Scan]:
    try:
        return [read_scan(path)]
    except SeveralVolumes as several:
        every = [read_scan(path, volume) for volume in range(several.count)]
        # The file's hash is the same for all of its volumes; the notes name the one.
        return [
            scan for scan in every if set(map(str, scan.notes)) <= set(described.get("notes", []))
        ]
    except SeveralSeries as several:
        return [read_scan(path, series=one.uid) for one in several.series if one.usable]


def edit_files(
    recipe: Recipe, generator: Generator, scan: Scan, out: str | Path
) -> dict[Path, bytes]:
    """The files of an edited scan, not yet written: name to content.

    Parameters
    ----------
    recipe : Recipe
        Of a projected scan with a mix or edits.
    generator : Generator
    scan : Scan
        The one it was projected from, see `original_scan`.
    out : path-like
        Their folder.

    Raises
    ------
    OutputError, RecipeError, ScanError
        If the recipe changes no projected scan, does not fit the generator, or belongs to another.
    """
    names = edit_names(recipe, out)
    carried, moved = carried_edit(recipe, generator, scan)
    edited = carried.edited(moved)
    images = {
        "Scan": carried.image(edited),
        "Change": carried.image(edited - carried.data),
        "Movement": _vectors(moved, np.array(native_scan(recipe)["rigid"], np.float64)),
    }
    files: dict[Path, bytes] = {}
    for what, image in images.items():
        text = sidecar(recipe, generator, folder=names[what].parent, native=True)
        text["Description"] = ABOUT[what].format(name=generator.name)
        text["Sources"] = [*text["Sources"], scan.path.name]
        if what == "Scan":
            text.pop("SkullStripped", None)  # it is as the scan was
        if what == "Movement":
            text["Units"], text["Grid"] = "mm", "the model's, where it lies in the scan's space"
            text["Movement"] = _in_figures(moved)
        description = f"{PROGRAM} edit by {generator.name}"
        files |= volumes.volume_files(names[what], image, description=description, sidecar=text)
    return files


def carried_edit(
    recipe: Recipe, generator: Generator, scan: Scan
) -> tuple[CarriedDetail, Movement]:
    """A scan ready to be edited, and what a recipe does to it."""
    described = native_scan(recipe)
    plain = recipe.replace(mix=None, edits=())
    delta = plain.delta(generator)
    tuned = generator if delta is None else generator.tuned(delta)
    moved = movement(tuned, plain.latent(generator), recipe.latent(generator))
    carried = CarriedDetail(scan.data, dict(described), generator.space, moved.before)
    return carried, carried.placed(moved)


def _vectors(moved: Movement, rigid: np.ndarray) -> nib.Nifti1Image:
    """The displacement (X, Y, Z, 1, 3) in millimetres of the scan's space, where it lies there."""
    turned = np.einsum("ji,jxyz->xyzi", rigid[:3, :3], moved.displacement)
    image = nib.Nifti1Image(
        turned[:, :, :, None].astype(np.float32), np.linalg.inv(rigid) @ moved.space.affine
    )
    image.header.set_xyzt_units("mm")
    image.header.set_intent("displacement vector")
    return image


def _in_figures(moved: Movement) -> dict[str, float]:
    """How far tissue moves, in mm, and the largest and least change of volume."""
    far = moved.moved_mm[moved.moved_mm > 0]
    median, most = (float(np.percentile(far, p)) if far.size else 0.0 for p in (50, 99))
    jacobian = moved.jacobian
    return {
        "MedianMm": round(median, 3),
        "Percentile99Mm": round(most, 3),
        "MaximumMm": round(float(far.max()) if far.size else 0.0, 3),
        "LeastJacobian": round(float(jacobian.min()), 3),
        "LargestJacobian": round(float(jacobian.max()), 3),
    }
