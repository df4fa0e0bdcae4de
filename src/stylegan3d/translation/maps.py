"""Users' label maps: their codes, and their alignment with the painter's grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans.aligned import EXPECTED_QUALITY
from stylegan3d.scans.alignment import align_rigid
from stylegan3d.scans.intensity import correlation
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan import Scan
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.translation.codes import unknown_codes
from stylegan3d.translation.painter import Painter

#: What the numbers in a map may be.
KINDS = ("auto", "tissues", "regions")
POSES = ("auto", "keep")
# Where less than this of a voxel is labelled it counts as outside.
_LEAST_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class PlacedMap:
    """A label map on the painter's grid.

    Attributes
    ----------
    tissues : ndarray, shape (X, Y, Z), uint8
        Tissues of `CLASSES`.
    regions : ndarray, shape (X, Y, Z), uint8, or None
        Groups of regions, or None where the map holds tissues only.
    rigid : ndarray
        (4, 4), the map's RAS millimetres to those of the painter's space.
    space : Space
        The map's own grid.
    notes : list of str
        What was done, to be shown to the user.
    """

    tissues: np.ndarray
    regions: np.ndarray | None
    rigid: np.ndarray
    space: Space
    notes: list[str] = field(default_factory=list)

    def to_native(self, volume: np.ndarray, painter: Painter) -> np.ndarray:
        """A volume (X, Y, Z) of the painter's on the map's own grid, float32."""
        if self.space.same_as(painter.space) and np.array_equal(self.rigid, np.eye(4)):
            return volume
        return resample(volume, painter.space, self.space, self.rigid)

    def labels_to_native(self, tissues: np.ndarray, painter: Painter) -> np.ndarray:
        """Tissues (X, Y, Z) of the painter's on the map's own grid, uint8."""
        if self.space.same_as(painter.space) and np.array_equal(self.rigid, np.eye(4)):
            return tissues
        return _nearest(tissues, painter.space, self.space, np.linalg.inv(self.rigid))


def place_map(scan: Scan, painter: Painter, *, kind: str = "auto", pose: str = "auto") -> PlacedMap:
    """Bring a label map onto the painter's grid.

    Parameters
    ----------
    scan : Scan
        The map as `scans.read_scan` reads it, in any orientation and of any voxel size.
    kind : str
        Kind of `KINDS`: whether it holds `CLASSES` or codes of `painter.regions`; auto takes it for
        tissues if no code is higher than the last of them.
    pose : str
        "auto" turns a map that does not lie as the painter's mean brain does until it does; "keep"
        takes it as it lies.

    Raises
    ------
    ScanError
        If it holds no labels, codes that are not known, or lies outside the grid.
    """
    codes = _codes(scan)
    kind, notes = _kind(codes, kind, painter, scan)
    tissues = codes.astype(np.uint8) if kind == "tissues" else painter.regions.tissue_of(codes)
    groups = None if kind == "tissues" else painter.regions.group_of(codes)
    if scan.space.same_as(painter.space):
        return PlacedMap(tissues, groups, np.eye(4), scan.space, notes)
    rigid, found = _pose(tissues, scan.space, painter, pose)
    notes += found
    placed = _carried(tissues, scan.space, painter.space, rigid)
    if not placed.any():
        raise ScanError(
            f"The labels of {scan.path.name} are entirely outside the model's grid; omit "
            "--pose keep, so that they are aligned."
        )
    if groups is None:
        return PlacedMap(placed, None, rigid, scan.space, notes)
    regions = _nearest(groups, scan.space, painter.space, rigid)
    # At a border the nearest region may be of another tissue than most of the voxel.
    same = _nearest(tissues, scan.space, painter.space, rigid) == placed
    return PlacedMap(placed, np.where(same, regions, 0), rigid, scan.space, notes)


def _codes(scan: Scan) -> np.ndarray:
    """The codes of a map, int32."""
    data = scan.data
    if not np.array_equal(data, np.rint(data)) or data.min() < 0 or data.max() > 2**30:
        raise ScanError(
            f"{scan.path.name} is not a label map: it contains numbers that are not whole "
            "or below 0; give labels, such as `stylegan3d segment` writes them."
        )
    if not data.any():
        raise ScanError(f"{scan.path.name} is empty; give a map with labelled voxels.")
    return data.astype(np.int32)


def _kind(codes: np.ndarray, kind: str, painter: Painter, scan: Scan) -> tuple[str, list[str]]:
    """ "tissues" or "regions", and a note; an error if a code is not of that kind."""
    values = np.unique(codes).tolist()
    if kind == "auto":
        kind = "tissues" if max(values) < len(CLASSES) else "regions"
    known = range(len(CLASSES)) if kind == "tissues" else painter.regions.names
    unknown = unknown_codes(values, known)
    if unknown:
        few = ", ".join(map(str, unknown[:6])) + (" …" if len(unknown) > 6 else "")
        names = ", ".join(f"{i} {name}" for i, name in enumerate(CLASSES) if i)
        other = f"or the {len(painter.regions.names)} region codes in the card of {painter.name}"
        raise ScanError(
            f"{scan.path.name} contains the label {few}, which is not one of the {kind}; "
            f"use {names}, {other}."
        )
    count = len([value for value in values if value])
    return kind, [f"{count} labels, taken as {kind}."]


def _pose(
    tissues: np.ndarray, space: Space, painter: Painter, pose: str
) -> tuple[np.ndarray, list[str]]:
    """Rigid transform to the painter's space, (4, 4), and a note on it."""
    means = np.concatenate([[0], painter.usual[: len(CLASSES) - 1]]).astype(np.float32)
    plain = means[tissues]
    as_it_lies = correlation(resample(plain, space, painter.space), painter.template)
    if pose == "keep" or as_it_lies >= EXPECTED_QUALITY:
        return np.eye(4), [f"Not aligned; correlation with the mean brain {as_it_lies:.2f}."]
    try:
        rigid, texts = align_rigid(plain, space, painter)
    except ScanError as error:
        raise ScanError(
            "These labels do not resemble a whole brain in any orientation; if they are "
            "already in model space, add --pose keep."
        ) from error
    return rigid, ["Turned onto the mean brain.", *texts]


def _carried(tissues: np.ndarray, space: Space, target: Space, rigid: np.ndarray) -> np.ndarray:
    """Tissues on another grid: each voxel that of which it holds most, uint8."""
    back = np.linalg.inv(rigid)
    found = np.zeros(target.shape, np.uint8)
    most, total = (np.zeros(target.shape, np.float32) for _ in range(2))
    for index in range(1, len(CLASSES)):
        share = resample((tissues == index).astype(np.float32), space, target, back)
        found[share > most] = index
        np.maximum(most, share, out=most)
        total += share
    found[total < _LEAST_SHARE] = 0
    return found


def _nearest(labels: np.ndarray, space: Space, target: Space, rigid: np.ndarray) -> np.ndarray:
    """Labels on another grid by nearest neighbour, of their type."""
    voxels = np.linalg.inv(space.affine) @ np.linalg.inv(rigid) @ target.affine
    return np.asarray(
        ndimage.affine_transform(
            labels, voxels[:3, :3], offset=voxels[:3, 3], output_shape=target.shape, order=0
        )
    )
