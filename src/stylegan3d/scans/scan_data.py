"""A scan as read: voxels and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from stylegan3d.base import Doubt, Json, Note, doubts_in
from stylegan3d.geometry.space import Space
from stylegan3d.scans.headers import FORMS, SIDES, orientation_doubts
from stylegan3d.scans.person import Person
from stylegan3d.storage.about import Origin

#: Affines that differ by less are one: headers hold float32, and a quaternion.
SAME_MM = 1e-3


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
        The header's sform and qform with their codes, and a question about its sides, from
        `geometry_of` and the file; used for results.
    path : Path
        The file; for a DICOM series its folder and a name of number, hash and contrast.
    sha256 : str
        Hash of the file; for a DICOM series of the image only.
    notes : list of str or Doubt
        What was read, and what is in doubt.
    contrast : str
        "T1-weighted", "T2-weighted", "FLAIR" or "CT", from name, timing or Hounsfield units; empty
        if unknown.
    person : Person
        Age and sex, from the DICOM header, the sidecar or participants.tsv.
    origin : {"acquired", "synthetic", "edited"}
        What its files say that it is; a doubt says how that is known.
    volume : int or None
        Which volume of several in its file, counted from 0.
    """

    data: np.ndarray
    affine: np.ndarray
    geometry: Json
    path: Path
    sha256: str
    notes: list[Note] = field(default_factory=list)
    contrast: str = ""
    person: Person = field(default_factory=Person)
    origin: Origin = "acquired"
    volume: int | None = None

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt; of kind "sides": resolved by `read_scan(..., orientation=...)`."""
        return doubts_in(self.notes)

    @property
    def has_open_sides(self) -> bool:
        """Whether left and right are ambiguous."""
        return any(doubt.kind == SIDES for doubt in self.doubts)

    def beside(self, scan: ScanData) -> Self:
        """The same image where it lies beside a scan; see `affine_beside`.

        One whose own sides were open and told stays as told.
        """
        if orientation_doubts(self.geometry) and not self.has_open_sides:
            return self
        affine = affine_beside(self.affine, self.geometry, self.data.shape, scan)
        if affine is self.affine:
            return self
        told = [n for n in self.notes if not (isinstance(n, Doubt) and n.kind == SIDES)]
        return replace(self, affine=affine, notes=told)

    def without_voxels(self) -> Self:
        """What is known of the scan, for a result that outlives its voxels."""
        return replace(self, data=np.zeros((0, 0, 0), np.float32))

    @property
    def space(self) -> Space:
        """The scan's own grid."""
        return Space(self.data.shape, self.affine)


def affine_beside(
    affine: np.ndarray, geometry: Json, shape: tuple[int, ...], scan: ScanData
) -> np.ndarray:
    """Where an image lies that may be on the grid of a scan whose left and right are open.

    A mask or second image with the array of the scan, and its header or one of the header's two
    geometries, lies voxel by voxel where the scan does. Its own affine would put it on the other
    side once the user has said which way round the scan is.

    Parameters
    ----------
    affine, geometry, shape : ndarray, dict, tuple
        Of the image, as in `ScanData`.
    scan : ScanData
        The scan; without voxels its shape is not compared.

    Returns
    -------
    ndarray
        (4, 4) the scan's affine, or `affine`.
    """
    grid = scan.data.shape
    if not orientation_doubts(scan.geometry) or (0 not in grid and tuple(shape) != grid):
        return affine
    forms = [scan.geometry[form] for form in FORMS if scan.geometry[f"{form}_code"]]
    named = any(np.allclose(affine, form, atol=SAME_MM) for form in forms)
    same = orientation_doubts(geometry) and geometry == scan.geometry
    return scan.affine if named or same else affine
