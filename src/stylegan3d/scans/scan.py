"""A scan as it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.preparation import Progress, Wishes, align_scan
from stylegan3d.scans.target import Target


@dataclass(frozen=True, eq=False)
class Scan:
    """One 3D scan on its own grid.

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
    notes : list of str
        What was found on reading, for people; warnings begin with "Check:".
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
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    contrast: str = ""

    @property
    def space(self) -> Space:
        """The scan's own grid."""
        return Space(self.data.shape, self.affine)

    def align(
        self,
        target: Target,
        *,
        skull: str = "auto",
        bias_correction: bool = True,
        pose: str = "auto",
        progress: Progress | None = None,
        cache: str | Path | None = None,
    ) -> AlignedScan:
        """Bring the brain of this scan onto a model's grid, as the training data was made.

        Parameters
        ----------
        target : Target
            A generator, or anything with its `space` and `template`.
        skull : {"auto", "extract", "keep"}
            Extract the brain unless that was done already; always; never.
        bias_correction : bool
            Even out the receive coil's brightness (N4); leave it out where that was done.
        pose : {"auto", "keep", "centre"}
            Find the brain's pose; keep it, for a scan that lies in the model's space already; or
            put its middle on the mean brain's, to be turned by hand (`AlignedScan.nudged`).
        progress : callable, optional
            Called with the done fraction (0 to 1) and what is being done.
        cache : path, optional
            Folder where mask, bias field and pose are kept, under hashes of image, settings and
            target: the same scan is then ready at once.

        Returns
        -------
        AlignedScan
            Rigidly aligned: the brain keeps its true size. The same scan always gives the same
            result.

        Raises
        ------
        ScanError
            If no brain is found, or it resembles no brain the model knows.
        """
        return align_scan(self, target, Wishes(skull, bias_correction, pose, cache), progress)
