"""A scan that can be aligned to a model's grid."""

from __future__ import annotations

from pathlib import Path

from stylegan3d.progress import SILENT, Progress
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.preparation import PreparationOptions, align_scan
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.target import Target


class Scan(ScanData):
    """One 3D scan on its own grid; see `ScanData` for its attributes."""

    def align(
        self,
        target: Target,
        *,
        skull: str = "auto",
        bias_correction: bool = True,
        pose: str = "auto",
        progress: Progress = SILENT,
        cache: str | Path | None = None,
    ) -> AlignedScan:
        """Align the brain of this scan to a model's grid, prepared like the training data.

        Parameters
        ----------
        target : Target
            A generator, or anything with its `space` and `template`.
        skull : {"auto", "extract", "keep"}
            Extract the brain unless already extracted; always; never.
        bias_correction : bool
            Correct the bias field (N4); not needed if already corrected.
        pose : {"auto", "keep", "centre"}
            Align the brain; keep its position, for a scan already in model space; or centre it on
            the mean brain, for manual alignment (`AlignedScan.nudged`).
        progress : Progress
            Told the fraction done (0 to 1) and what is being done.
        cache : path-like or None
            Folder to cache mask, bias field and pose under hashes of image, settings and target.

        Returns
        -------
        AlignedScan
            Rigidly aligned: the brain keeps its true size. Deterministic.

        Raises
        ------
        ScanError
            If no brain is found, or it does not resemble the model's mean brain.
        """
        return align_scan(
            self, target, PreparationOptions(skull, bias_correction, pose, cache), progress
        )
