"""A scan as it was read: its voxels, and what file and header say of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.scans.notes import Note


@dataclass(frozen=True, eq=False)
class ScanData:
    """One 3D scan on its own grid; `Scan` is one that can be aligned to a model.

    Attributes
    ----------
    data : ndarray, float32 (I, J, K)
        Intensities in the scan's own units, in the file's array order.
    affine : ndarray, float64 (4, 4)
        Voxel indices to RAS+ millimetres.
    geometry : dict
        The header's sform and qform with their codes, as `native.geometry_of` gives them, to write
        results with the same.
    path : Path
        The file; for a DICOM series, its folder and a name made of number and hash.
    sha256 : str
        Of the file; for a DICOM series, of the image alone.
    notes : list of Note
        What was found on reading.
    doubts : list of str
        Why it cannot be known which side is left; `read_scan(..., trust=...)` answers them.
    contrast : str
        "T1-weighted", "T2-weighted", "FLAIR" or "CT", as far as name, timing or Hounsfield units
        tell; empty where they do not.
    """

    data: np.ndarray
    affine: np.ndarray
    geometry: dict[str, Any]
    path: Path
    sha256: str
    notes: list[Note] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    contrast: str = ""

    @property
    def space(self) -> Space:
        """The scan's own grid."""
        return Space(self.data.shape, self.affine)
