"""The files of a scan that was edited: the scan itself, what changed and what moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json
from stylegan3d.render.editable import EditableScan
from stylegan3d.render.movement import Movement
from stylegan3d.scans.extraction import extracted_mask
from stylegan3d.storage.about import EDITED_SCAN
from stylegan3d.storage.volumes import volume_files

ABOUT = {
    "Scan": EDITED_SCAN + ": {how}. Not a measurement.",
    "Change": EDITED_SCAN + ": the change in intensity by the edit, edited minus original scan.",
    "Movement": (
        EDITED_SCAN + ": how the edit moves tissue. At each point the vector, in mm to the right, "
        "front and top, to the place in the original scan that is shown there."
    ),
}


def edited_scan_files(
    scan: EditableScan,
    data: np.ndarray,
    moved: Movement,
    names: Mapping[str, Path],
    sidecar: Callable[[Path], Json],
    *,
    how: str,
    description: str,
) -> dict[Path, bytes]:
    """The files of an edited scan, not yet written: name to content.

    Parameters
    ----------
    scan : EditableScan
    data : ndarray, shape (I, J, K)
        The edited scan.
    moved : Movement
        What was done to it.
    names : mapping
        From each key of `ABOUT` to the file's path.
    sidecar : callable
        From a folder to what the sidecars of files in it say besides.
    how : str
        How the scan was edited.
    description : str
        For the headers.
    """
    images = {
        "Scan": scan.image(data),
        "Change": scan.image(data - scan.data),
        "Movement": moved.image(scan.rigid),
    }
    own = Space(scan.data.shape, images["Scan"].affine)
    stripped = extracted_mask(scan.data, own) is not None
    files: dict[Path, bytes] = {}
    for what, image in images.items():
        text = sidecar(names[what].parent)
        text["Description"] = ABOUT[what].format(how=how)
        # The edited scan is as the scan was; nothing else is there outside the brain.
        text["SkullStripped"] = what != "Scan" or stripped
        text["Movement"] = moved.figures
        if what == "Movement":
            text["Units"] = "mm"
            text["Grid"] = "the model's field of view in the scan's space"
        files |= volume_files(names[what], image, description=description, sidecar=text)
    return files
