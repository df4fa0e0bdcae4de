"""Thumbnails of volumes for a page: three central slices with orientation letters.

In the radiological convention, as in the explorer: axial slices are seen from below and coronal
ones from the front, so the patient's right is on the left.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.scans.checks import READ_ERRORS
from stylegan3d.scans.reading import read_scan

# Height of every picture, filled by the longest axis of the head.
HEIGHT, GAP = 150, 6
JPEG_QUALITY = 80
# Letters at the left and right edge of each slice.
EDGES = {"Axial": ("R", "L"), "Coronal": ("R", "L"), "Sagittal": ("A", "P")}


@dataclass(frozen=True)
class Panel:
    """One slice in a picture: name, edges in pixels, and letters."""

    name: str
    left: int
    right: int
    letters: tuple[str, str]


@dataclass(frozen=True)
class Picture:
    """A JPEG, its size in pixels, and the slices in it."""

    jpeg: bytes
    width: int
    height: int
    panels: tuple[Panel, ...]


def picture_of(volume: np.ndarray, space: Space) -> Picture:
    """Axial, coronal and sagittal slice through the centre of the non-zero voxels.

    Parameters
    ----------
    volume : ndarray, uint8 (X, Y, Z)
    space : Space
        Its grid, in any orientation.
    """
    slices, sizes = mid_slices(volume, space)
    mm = max(n * size for image, pair in zip(slices, sizes, strict=True)
             for n, size in zip(image.shape, pair, strict=True)) / HEIGHT  # fmt: skip
    images = [
        Image.fromarray(image).resize(
            (
                max(1, round(image.shape[1] * across / mm)),
                max(1, round(image.shape[0] * down / mm)),
            ),
            Image.Resampling.BICUBIC,
        )
        for image, (down, across) in zip(slices, sizes, strict=True)
    ]
    sheet = Image.new("L", (sum(i.width for i in images) + 2 * GAP, HEIGHT))
    panels, left = [], 0
    for image, (name, letters) in zip(images, EDGES.items(), strict=True):
        sheet.paste(image, (left, (HEIGHT - image.height) // 2))
        panels.append(Panel(name, left, left + image.width, letters))
        left += image.width + GAP
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Picture(content.getvalue(), sheet.width, HEIGHT, tuple(panels))


def mid_slices(
    volume: np.ndarray, space: Space
) -> tuple[list[np.ndarray], list[tuple[float, float]]]:
    """Axial, coronal and sagittal slice as drawn, and pixel sizes in mm (vertical, horizontal).

    The first row is anterior (axial) or superior, the first column the patient's right (axial and
    coronal) or anterior.
    """
    turn = nib.io_orientation(space.affine)
    volume = nib.apply_orientation(volume, turn)  # R, A, S
    order = np.argsort(turn[:, 0])
    x, y, z = (float(space.voxel_size[axis]) for axis in order)
    middle = [_middle(volume, axis) for axis in range(3)]
    slices = [
        volume[::-1, ::-1, middle[2]].T,
        volume[::-1, middle[1], ::-1].T,
        volume[middle[0], ::-1, ::-1].T,
    ]
    return [np.ascontiguousarray(s) for s in slices], [(y, x), (z, x), (z, y)]


def _middle(volume: np.ndarray, axis: int) -> int:
    """Index of the slice through the centre of the non-zero voxels."""
    weights = np.count_nonzero(volume, axis=tuple(a for a in range(3) if a != axis))
    if not weights.any():
        return volume.shape[axis] // 2
    return round(float(np.average(np.arange(volume.shape[axis]), weights=weights)))


def picture_of_scan(path: Path) -> Picture | None:
    """A picture of an original scan (first volume of a series); None if unreadable."""
    scan = None
    for volume in (None, 0):
        try:
            scan = read_scan(path, volume)
            break
        except (StyleGAN3DError, MemoryError, *READ_ERRORS):
            continue
    if scan is None:
        return None
    low, high = (float(value) for value in np.percentile(scan.data, (1, 99.5)))
    if high <= low:
        low, high = float(scan.data.min()), float(scan.data.max())
    data = np.clip((scan.data - low) / (high - low), 0, 1)
    return picture_of(np.rint(data * 255).astype(np.uint8), scan.space)
