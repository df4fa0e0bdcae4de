"""Read one scan from a file: any NIfTI or MGH, any orientation, any data type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import ScanError
from ..hashing import sha256_of
from . import checks
from .native import geometry_of
from .scan import Scan

AXIS_WORDS = {
    "R": "to the right",
    "L": "to the left",
    "A": "to the front",
    "P": "to the back",
    "S": "upwards",
    "I": "downwards",
}
THICK_MM = 4.0


def read_scan(path: str | Path, volume: int | None = None) -> Scan:
    """Read a scan and check that it is one.

    Parameters
    ----------
    path : path
        A NIfTI-1, NIfTI-2 (.nii, .nii.gz, .hdr/.img) or FreeSurfer (.mgz, .mgh) file, in any
        orientation, oblique or not, of any integer or floating-point type.
    volume : int, optional
        Which volume of a 4D series to take, counted from 0.

    Returns
    -------
    Scan
        Intensities with the header's scaling applied, in the file's own array order; `notes` say
        in words what was found.

    Raises
    ------
    ScanError
        With one sentence saying what is wrong and what to do: no such file, not an image, damaged,
        2D, a series without `volume`, NaN or infinite values, constant, zero voxel size, singular
        affine, colour or complex values, sizes no head has.
    """
    path = Path(path)
    checks.check_file(path)
    checks.check_nifti_header(path)
    image = _open(path)
    shape, series = _split_series(path, image.shape, volume)
    checks.check_grid(path, shape, image.affine)
    checks.check_type(path, image.get_data_dtype())
    checks.check_compressed(path)
    data = _load(path, image, shape, volume if series > 1 else None)
    checks.check_values(path, data)
    notes = _describe(path, image, shape)
    if series > 1:
        notes.append(f"Volume {volume} of {series} (counted from 0).")
    return Scan(
        data=data,
        affine=np.asarray(image.affine, dtype=np.float64),
        geometry=geometry_of(image.header),
        path=path,
        sha256=sha256_of(path),
        notes=notes,
    )


def _open(path: Path) -> Any:
    try:
        image = nib.load(path)
    except checks.READ_ERRORS as error:
        raise checks.damaged(path, error) from error
    return image


def _split_series(
    path: Path, shape: tuple[int, ...], volume: int | None
) -> tuple[tuple[int, int, int], int]:
    """The shape of one volume and how many the file holds."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 3 or min(shape[:3]) == 1:
        checks.check_grid(path, shape, np.eye(4))
    if len(shape) > 4:
        raise ScanError(
            f"{path} has {len(shape)} dimensions ({' x '.join(map(str, shape))}); give a 3D scan."
        )
    series = shape[3] if len(shape) == 4 else 1
    if series > 1 and volume is None:
        raise ScanError(
            f"{path} is a 4D series of {series} volumes; choose one with --volume N "
            f"(volume=N in Python), N from 0 to {series - 1}."
        )
    if volume is not None and not 0 <= volume < series:
        raise ScanError(
            f"{path} has no volume {volume}; it holds {series}, counted from 0 to {series - 1}."
        )
    return (shape[0], shape[1], shape[2]), series


def _load(path: Path, image: Any, shape: tuple[int, ...], volume: int | None) -> np.ndarray:
    """Scaled intensities of one volume, float32 (I, J, K); of a series only that one is read."""
    try:
        if volume is None:
            data = np.asarray(image.dataobj).reshape(shape)
        else:
            data = np.asarray(image.dataobj[..., volume])
    except (*checks.READ_ERRORS, MemoryError) as error:
        raise checks.damaged(path, error) from error
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is refused
        return np.ascontiguousarray(data, dtype=np.float32)


def _describe(path: Path, image: Any, shape: tuple[int, ...]) -> list[str]:
    spacing = nib.affines.voxel_sizes(image.affine)
    codes = nib.aff2axcodes(image.affine)
    notes = [
        f"{' x '.join(map(str, shape))} voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm, "
        f"stored as {image.get_data_dtype()}.",
        f"Axes {''.join(codes)}: they run {', '.join(AXIS_WORDS[c] for c in codes)}.",
    ]
    tilt = float(np.degrees(nib.affines.obliquity(image.affine)).max())
    if tilt > 0.5:
        notes.append(f"Oblique: tilted by up to {tilt:.1f} degrees against the scanner's axes.")
    if spacing.max() > THICK_MM:
        notes.append(
            f"Slices of {spacing.max():.3g} mm: detail between slices is interpolated, not seen."
        )
    geometry = geometry_of(image.header)
    if geometry:
        notes.extend(orientation_checks(geometry) or _disagreement(geometry, shape))
        if geometry["qform"] is None and int(image.header["qform_code"]) > 0:
            notes.append("The header's qform cannot be decoded and is ignored; the sform is used.")
    return notes


def orientation_checks(geometry: dict[str, Any]) -> list[str]:
    """A warning if the header leaves open which side is left; `geometry` as `geometry_of` gives."""
    if not geometry:
        return []
    if geometry["sform_code"] == 0 and geometry["qform_code"] == 0:
        return [
            "Check: the file does not say how the head lies (no sform, no qform); the usual "
            "left-anterior-superior order is assumed, so left and right may be swapped."
        ]
    if geometry["sform_code"] == 0 or geometry["qform_code"] == 0:
        return []
    if np.linalg.det(geometry["sform"]) * np.linalg.det(geometry["qform"]) < 0:
        return [
            "Check: the header's sform and qform disagree about left and right; the sform is used, "
            "so left and right may be swapped."
        ]
    return []


def _disagreement(geometry: dict[str, Any], shape: tuple[int, ...]) -> list[str]:
    """Say by how much the header's two geometries differ."""
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
