"""Orientation of scans with ambiguous headers, and the user's override."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt, Json, Note, ScanError
from stylegan3d.scans.notes import AXIS_WORDS

FORMS = ("sform", "qform")
#: Kind of the doubts about left and right, which `orientation` of `read_scan` answers.
SIDES = "sides"
#: Ratio of voxel sizes that rounding explains; degrees of shear, and between the two forms, that a
#: registration or interpolation leaves.
SAME_SIZE, SHEAR_DEGREES, FORMS_DEGREES = 1.015, 1.0, 5.0


def geometry_of(header: Any) -> Json:
    """The sform and qform of a NIfTI header with their codes; empty for MGH, which has no such.

    One that cannot be decoded (a quaternion longer than 1, NaN) counts as absent: None, code 0.
    Both are absent where a file says nothing of orientation: Analyze, MGH without its flag.
    """
    geometry: Json = {}
    for name in FORMS:
        matrix = np.full((4, 4), np.nan)
        if isinstance(header, nib.Nifti1Header):
            with suppress(ValueError):
                matrix = getattr(header, f"get_{name}")()
        usable = bool(np.isfinite(matrix).all())
        geometry[name] = matrix.tolist() if usable else None
        geometry[f"{name}_code"] = int(header[f"{name}_code"]) if usable else 0
    if isinstance(header, nib.freesurfer.mghformat.MGHHeader):
        return {} if header["goodRASFlag"] else {**geometry, "assumed": "LIA"}
    return geometry


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
    axes, signs = nib.orientations.axcodes2ornt(tuple(codes)).T
    turned = np.eye(3)[:, axes.astype(int)] * signs * nib.affines.voxel_sizes(affine)
    return nib.affines.from_matvec(turned + 0.0)  # no -0


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
) -> list[Note]:
    """Further notes on the header's two geometries, and where it contradicts itself.

    Choosing the sform or the qform answers all that they disagree about.
    """
    chosen = [] if orientation is None else [f"Orientation: {orientation}, as chosen."]
    if orientation in FORMS or geometry.get("sform") is None:
        return [*chosen]
    notes: list[Note] = [*chosen, *_contradictions(header, geometry)]
    if orientation is None and not orientation_doubts(geometry):
        notes += _disagreement(geometry, shape)
    if geometry["qform"] is None and int(header["qform_code"]) > 0:
        notes.append("The header's qform cannot be decoded and is ignored; the sform is used.")
    return notes


def _contradictions(header: Any, geometry: Json) -> list[Doubt]:
    """Doubts about a sform that gives other sizes than the header, or that shears the head."""
    if geometry["sform_code"] == 0:
        return []
    doubts, matrix = [], np.array(geometry["sform"])[:3, :3]
    sizes = nib.affines.voxel_sizes(np.array(geometry["sform"]))
    told = np.array(header["pixdim"], np.float64)[1:4]
    if max(np.max(sizes / told), np.max(told / sizes)) > SAME_SIZE:
        words = (" x ".join(f"{size:.3g}" for size in one) for one in (sizes, told))
        text = "The header gives two voxel sizes: {} mm in its sform, which is used, and {} mm."
        figures = {"sform_mm": sizes.round(4).tolist(), "other_mm": told.round(4).tolist()}
        doubts.append(Doubt("voxel-size", "ask", text.format(*words), figures))
    cosines = np.abs((matrix / sizes).T @ (matrix / sizes) - np.eye(3)).max()
    shear = float(np.degrees(np.arcsin(min(cosines, 1.0))))
    if shear > SHEAR_DEGREES:
        text = (
            f"The header's sform shears the head by {shear:.0f} degrees, as only a "
            "tilted gantry does; sizes and shapes may be wrong."
        )
        doubts.append(Doubt("shear", "ask", text, {"degrees": shear}))
    return doubts


def orientation_doubts(geometry: Json) -> list[Doubt]:
    """A question if left and right are ambiguous; `geometry` is from `geometry_of`."""
    if not geometry:
        return []
    if geometry["sform_code"] == 0 and geometry["qform_code"] == 0:
        assumed = geometry.get("assumed", "LAS")
        text = (
            "The file does not give the orientation of the head; the usual "
            f"{'-'.join(AXIS_WORDS[code] for code in assumed)} order is assumed, so left and right "
            "may be swapped."
        )
        return [Doubt(SIDES, "ask", text, {"assumed": assumed})]
    if geometry["sform_code"] == 0 or geometry["qform_code"] == 0:
        return []
    if np.linalg.det(geometry["sform"]) * np.linalg.det(geometry["qform"]) < 0:
        text = (
            "The header's sform and qform disagree about left and right; the sform is used, "
            "so left and right may be swapped."
        )
        return [Doubt(SIDES, "ask", text, {"assumed": "sform"})]
    return []


def _disagreement(geometry: Json, shape: tuple[int, ...]) -> list[Note]:
    """How much the header's two geometries differ; a doubt where they turn the head otherwise."""
    if geometry["sform_code"] == 0 or geometry["qform_code"] == 0:
        return []
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
    forms = [np.array(geometry[form]) for form in FORMS]
    ends = [nib.affines.apply_affine(form, corners) for form in forms]
    distance = float(np.linalg.norm(ends[0] - ends[1], axis=1).max())
    if distance <= 1.0:
        return []
    axes = [form[:3, :3] / nib.affines.voxel_sizes(form) for form in forms]
    cosine = (np.trace(axes[0] @ np.linalg.inv(axes[1])) - 1) / 2
    turn = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    text = f"The header's sform and qform disagree by up to {distance:.1f} mm"
    if turn < FORMS_DEGREES:
        return [f"{text}; the sform is used."]
    text += f" and {turn:.0f} degrees; the sform is used."
    return [Doubt("turned", "ask", text, {"mm": distance, "degrees": turn})]
