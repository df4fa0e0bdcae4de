"""Degradations of a scan that the search can model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylegan3d.scans import Scan

NOTHING = ("None", "")
OTHERS = (
    ("blur, 3 mm", "blur:3mm"),
    ("another contrast", "contrast"),
)
#: Least thickness of thick slices in mm, and as a multiple of the in-plane voxel size.
THICK_MM, THICK_RATIO = 3.0, 2.0
DIRECTIONS = {"R": "sagittal", "A": "coronal", "S": "axial"}


def losses(scan: Scan | None) -> list[tuple[str, str]]:
    """Text and operator (see `operators.parse`); those detected in the scan come second."""
    slices = [] if scan is None else thick_slices(scan)
    return [NOTHING, *slices, *OTHERS]


def thick_slices(scan: Scan) -> list[tuple[str, str]]:
    """Entry of `losses` for a scan with thick slices; empty for others."""
    sizes = scan.space.voxel_size
    axis = max(range(3), key=lambda k: sizes[k])
    within = max(size for k, size in enumerate(sizes) if k != axis)
    thick = round(sizes[axis], 2)  # headers store sizes as float32
    if thick < THICK_MM or thick < round(THICK_RATIO * within, 2):
        return []
    direction = {"L": "R", "P": "A", "I": "S"}.get(code := scan.space.axcodes[axis], code)
    words = f"{DIRECTIONS[direction]} slices, {thick:g} mm thick"
    return [(words, f"thick:{thick:g}mm:{direction}")]
