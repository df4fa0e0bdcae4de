"""A scan that can be brought onto a model's grid."""

from __future__ import annotations

from pathlib import Path

from stylegan3d.progress import ShareProgress
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.preparation import Wishes, align_scan
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.target import Target


class Scan(ScanData):
    """One 3D scan on its own grid; see `ScanData` for what it holds."""

    def align(
        self,
        target: Target,
        *,
        skull: str = "auto",
        bias_correction: bool = True,
        pose: str = "auto",
        progress: ShareProgress | None = None,
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
        cache : path-like or None
            Path, optional Folder where mask, bias field and pose are kept, under hashes of image,
            settings and target: the same scan is then ready at once.

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
