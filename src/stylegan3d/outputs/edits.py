"""What an edit changes in a scan, in the scan's own space: the change alone, and added to the scan.

A reconstruction leaves out what is finer than the generator knows. Its change by an edit can be
added to the scan itself, whose fine detail then stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.about import PROGRAM
from stylegan3d.errors import OutputError
from stylegan3d.outputs.results import native_scan, sidecar, volume_name
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.recipes import render_recipe
from stylegan3d.scans import SeveralSeries, SeveralVolumes, read_scan
from stylegan3d.scans.native import edited_scan, native_image
from stylegan3d.storage import volumes

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.render.renderer import Rendered, Renderer
    from stylegan3d.scans import Scan

ABOUT = {
    "Change": "What an edit changes in a brain's reconstruction by {name}: edited minus unedited.",
    "Scan": (
        "A scan with a synthetic change: what an edit changes in its reconstruction by {name} was "
        "added to it. Not a measurement."
    ),
}


def edit_names(recipe: Recipe, out: str | Path) -> dict[str, Path]:
    """The files `edit_files` makes: "Change" and "Scan", named after the edited volume.

    sub-01_desc-edited_T1w.nii.gz has sub-01_desc-editedChange_T1w.nii.gz and …editedScan… beside
    it. OutputError if the recipe does not change a projected scan.
    """
    native_scan(recipe)
    if recipe.mix is None and not recipe.edits:
        raise OutputError(
            "Nothing is changed that could be added to the scan: give an edit or a mix, or leave "
            "out --onto-scan."
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
        f"{path} is not the scan that was projected ({described.get('path')}), or it was changed "
        "since: give that one."
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
    recipe: Recipe,
    edited: Rendered,
    renderer: Renderer,
    generator: Generator,
    scan: Scan,
    out: str | Path,
) -> dict[Path, bytes]:
    """The files of an edit's change and of the scan with it, not yet written: name to content.

    Parameters
    ----------
    recipe : of a projected scan with a mix or edits.
    edited : its rendering in full quality.
    renderer : renders the same brain without them.
    scan : the one it was projected from, see `original_scan`.
    """
    described = native_scan(recipe)
    names = edit_names(recipe, out)
    before = render_recipe(renderer, recipe.replace(mix=None, edits=())).volume
    after, space = edited.volume, edited.space
    images = {
        "Change": native_image(np.subtract(after, before), space, described, signed=True),
        "Scan": edited_scan(scan.data, before, after, space, described),
    }
    files: dict[Path, bytes] = {}
    for what, image in images.items():
        text = sidecar(recipe, generator, folder=names[what].parent, native=True)
        text["Description"] = ABOUT[what].format(name=generator.name)
        if what == "Scan":
            text["Sources"] = [*text["Sources"], scan.path.name]
            text.pop("SkullStripped", None)  # it is as the scan was
        description = f"{PROGRAM} edit by {generator.name}"
        files |= volumes.volume_files(names[what], image, description=description, sidecar=text)
    return files
