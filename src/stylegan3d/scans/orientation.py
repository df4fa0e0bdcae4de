"""Orientation of scans with ambiguous headers, and the user's override."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt, Json, ScanError
from stylegan3d.scans.resampling import geometry_of

FORMS = ("sform", "qform")
#: Kind of the doubts about left and right, which `orientation` of `read_scan` answers.
SIDES = "sides"


def oriented_affine(
    path: Path, affine: np.ndarray, geometry: Json, orientation: str | None
) -> np.ndarray:
    """The affine selected by `orientation`; the header's own (sform before qform) if None."""
    if orientation is None:
        return affine
    if orientation in FORMS:
        if geometry.get(orientation) is None or geometry[f"{orientation}_code"] == 0:
            raise ScanError(
                f"{path} has no {orientation}; give the directions of its axes, such as "
                "--orientation LAS."
            )
        return np.array(geometry[orientation], dtype=np.float64)
    codes = orientation.upper()
    if len(codes) != 3 or sorted(min(pair) for pair in map(_pair, codes)) != ["A", "I", "L"]:
        raise ScanError(
            f"{orientation!r} is not an orientation; give sform, qform or three letters, one of "
            "R L, one of A P and one of S I, such as LAS."
        )
    spacing = nib.affines.voxel_sizes(affine)
    turn = nib.orientations.axcodes2ornt(tuple(codes))
    turned = np.eye(4)
    for axis, (world, sign) in enumerate(turn):
        turned[:3, axis] = 0
        turned[int(world), axis] = sign * spacing[axis]
    return turned


def _pair(letter: str) -> str:
    """Both letters of an axis."""
    return next((pair for pair in ("RL", "AP", "SI") if letter in pair), letter)


def scanner_geometry(affine: np.ndarray) -> Json:
    """Geometry of files made from a DICOM series: scanner coordinates."""
    header = nib.Nifti1Header()
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    # A quaternion cannot represent the shear of a tilted gantry.
    if not np.allclose(header.get_qform(), affine, atol=1e-3):
        header.set_qform(None, 0)
    geometry = geometry_of(header)
    return geometry if geometry["qform_code"] else geometry | {"qform": None}


def header_notes(
    header: Any, geometry: Json, shape: tuple[int, ...], orientation: str | None
) -> list[str]:
    """Further notes on the header's two geometries."""
    if orientation is not None:
        return [f"Orientation: {orientation}, as chosen."]
    if not geometry or orientation_doubts(geometry):
        return []
    notes = _disagreement(geometry, shape)
    if geometry["qform"] is None and int(header["qform_code"]) > 0:
        notes.append("The header's qform cannot be decoded and is ignored; the sform is used.")
    return notes


def orientation_doubts(geometry: Json) -> list[Doubt]:
    """A question if left and right are ambiguous; `geometry` is from `geometry_of`."""
    if not geometry:
        return []
    if geometry["sform_code"] == 0 and geometry["qform_code"] == 0:
        text = (
            "The file does not give the orientation of the head (no sform, no qform); the usual "
            "left-anterior-superior order is assumed, so left and right may be swapped."
        )
        return [Doubt(SIDES, "ask", text, {"assumed": "LAS"})]
    if geometry["sform_code"] == 0 or geometry["qform_code"] == 0:
        return []
    if np.linalg.det(geometry["sform"]) * np.linalg.det(geometry["qform"]) < 0:
        text = (
            "The header's sform and qform disagree about left and right; the sform is used, "
            "so left and right may be swapped."
        )
        return [Doubt(SIDES, "ask", text, {"assumed": "sform"})]
    return []


def _disagreement(geometry: Json, shape: tuple[int, ...]) -> list[str]:
    """A note on how much the header's two geometries differ."""
    if geometry["sform_code"] == 0 or geometry["qform_code"] == 0:
        return []
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
    ends = [
        nib.affines.apply_affine(np.array(geometry[form]), corners) for form in ("sform", "qform")
    ]
    distance = float(np.linalg.norm(ends[0] - ends[1], axis=1).max())
    if distance <= 1.0:
        return []
    return [f"The header's sform and qform disagree by up to {distance:.1f} mm; the sform is used."]
