"""Read one scan: NIfTI, MGH or DICOM, in any orientation, of any data type."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import is_proxy
from nibabel.volumeutils import apply_read_scaling

from stylegan3d.base import Doubt, Note, ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import checks, dicom, headers
from stylegan3d.scans.checks import open_image
from stylegan3d.scans.dicom import choose_series, file_notes
from stylegan3d.scans.extraction import EMPTY_SHARE
from stylegan3d.scans.origin import ACQUIRED, Told, names_agent, origin_of_file, sidecar_record
from stylegan3d.scans.person import DICOM_AGE, contradictions, doubts_of_words, person_and_doubts
from stylegan3d.scans.scan import Scan
from stylegan3d.storage.files import sha256_of
from stylegan3d.storage.formats import is_dicom

# Read volumes that are no scans: maps of another program, with any values.


def read_map(path: Path) -> tuple[np.ndarray, Space]:
    """A volume as float32 (I, J, K), with NaN where it is not a number, and its grid.

    Raises
    ------
    ScanError
        If it is no volume of three axes, too large, or damaged.
    """
    image, data = checks.read_volume(path, "map")
    if data.ndim != 3:
        raise ScanError(
            f"{path} is not a volume: it has {' x '.join(map(str, image.shape))} values; give a "
            "NIfTI file with three axes."
        )
    checks.check_affine(path, np.asarray(image.affine))
    data = np.where(np.isfinite(data), data, np.float32(np.nan))
    return data, Space(data.shape, np.asarray(image.affine))


class SeveralVolumes(ScanError):
    """A file with several volumes, one of which must be chosen.

    Attributes
    ----------
    count : int
        Number of volumes.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def read_scan(
    path: str | Path,
    volume: int | None = None,
    series: int | str | None = None,
    orientation: str | None = None,
) -> Scan:
    """Read a scan and check that it is one.

    Parameters
    ----------
    path : path-like
        A NIfTI-1, NIfTI-2 (.nii, .nii.gz, .hdr/.img) or FreeSurfer (.mgz, .mgh) file, in any
        orientation, oblique or not, of any integer or floating-point type; or a DICOM folder
        (searched recursively), or a DICOM file, which selects its series.
    volume : int, optional
        Volume of a 4D series, counted from 0.
    series : int or str, optional
        Series of a DICOM folder: number, UID, or (part of) the description.
    orientation : str, optional
        Orientation to use if `Scan.doubts` reports an ambiguous header: "sform", "qform", or the
        directions of the array axes, such as "LAS".

    Returns
    -------
    Scan
        Intensities with the header's scaling applied, in the file's array order; see its `notes`.

    Raises
    ------
    SeveralVolumes, SeveralSeries
        If a volume or series must be chosen.
    ScanError
        If the file is missing, damaged, not an image, 2D, constant, colour or complex, or has NaN
        or infinite values, a singular affine or an implausible size.
    """
    path = Path(path)
    if is_dicom(path):
        return _read_dicom(path, volume, series, orientation)
    if series is not None:
        raise ScanError(f"{path} is not a DICOM folder and has no series; leave the series out.")
    image = open_image(path)
    shape, count = _split_series(path, image.shape, volume)
    geometry = headers.geometry_of(image.header) | image.extra.get("geometry", {})
    affine = headers.oriented_affine(
        path, np.asarray(image.affine, dtype=np.float64), geometry, orientation
    )
    checks.check_grid(path, shape, affine)
    checks.check_type(path, image.get_data_dtype())
    checks.check_content(path)
    data, unknown = _without_nan(_load(path, image, shape, volume if count > 1 else None))
    checks.check_values(path, data)
    contrast = headers.CT if headers.looks_like_ct(data) else headers.contrast_by_name(path.name)
    data, shifted = _from_zero(data, contrast)
    (person, unsure), digest = person_and_doubts(path), sha256_of(path)
    told = origin_of_file(path, image.header)
    notes: list[Note] = [
        *told.doubts,
        *unsure,
        *headers.grid_notes(affine, shape, f"stored as {image.get_data_dtype()}"),
        *unknown,
        *shifted,
        *([] if orientation else headers.orientation_doubts(geometry)),
        *image.extra.get("notes", ()),
        *headers.header_notes(image.header, geometry, affine, shape, orientation),
        *([f"Volume {volume} of {count} (counted from 0)."] if count > 1 else []),
        *headers.intensity_notes(data, contrast, path.name, names_agent(sidecar_record(path))),
    ]
    which = volume if count > 1 else None
    return Scan(data, affine, geometry, path, digest, notes, contrast, person, told.origin, which)


def scan_of_array(data: np.ndarray, affine: np.ndarray, name: str, told: Told = ACQUIRED) -> Scan:
    """A scan from an array, such as a napari layer, with the checks of `read_scan`.

    Parameters
    ----------
    data : ndarray, shape (I, J, K)
        Intensities, of any real type.
    affine : ndarray
        (4, 4), voxel indices to RAS+ millimetres.
    name : str
        Name for messages and files.
    told : Told
        Whether it was acquired, if that is known.

    Raises
    ------
    ScanError
        If it is not a valid scan.
    """
    path = Path(name)
    image = nib.Nifti1Image(np.zeros((1, 1, 1), np.uint8), affine)
    checks.check_grid(path, data.shape, affine)
    checks.check_type(path, data.dtype)
    values, unknown = _without_nan(np.asarray(data, dtype=np.float32))
    checks.check_values(path, values)
    contrast = headers.CT if headers.looks_like_ct(values) else headers.contrast_by_name(name)
    values, shifted = _from_zero(values, contrast)
    notes = [
        *told.doubts,
        *headers.grid_notes(affine, values.shape, f"of type {data.dtype}"),
        *unknown,
        *shifted,
        *headers.intensity_notes(values, contrast, name),
    ]
    digest = hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
    geometry = headers.geometry_of(image.header)
    return Scan(
        values, affine, geometry, path, digest, notes, contrast=contrast, origin=told.origin
    )


#: What names of a series end with, so that its results are named after its contrast.
_SUFFIXES = {headers.FLAIR: "_FLAIR", headers.T2: "_T2w"}


def _read_dicom(
    path: Path, volume: int | None, wanted: int | str | None, orientation: str | None
) -> Scan:
    """See `read_scan`. The folder's name, which may identify a patient, is not stored."""
    found = dicom.list_series(path)
    series = choose_series(path, found, wanted)
    _check_choice(path, series.volumes, volume)
    affine = headers.oriented_affine(path, series.stack.affine, {}, orientation)
    data, warnings = dicom.read_series(path, series, volume or 0)
    checks.check_values(path, data)
    slices = series.stack.slices[volume or 0]
    first = slices[0]
    about, told = first.about, first.told
    other = "" if about["modality"] in ("", "MR") else about["modality"]
    contrast = other or (headers.CT if headers.looks_like_ct(data) else "")
    contrast = contrast or headers.contrast_by_name(series.description)
    contrast = contrast or headers.contrast_by_timing(about)
    data, shifted = _from_zero(data, contrast)
    # Without its description, which may contain a name.
    words = {what: about[what] for what in ("age", "sex")}
    unsure = doubts_of_words(first.person, words, "the DICOM header", DICOM_AGE)
    unsure += contradictions(first.person, first.by_dates, "The date of birth", "PatientAge")
    notes: list[Note] = [*told.doubts, *unsure, *shifted]
    notes.append(f"DICOM series {series.digits}: {series.summary}.")
    notes += headers.chosen_notes(orientation)
    others = Counter(series.kind for series in found[1:])
    if wanted is None and others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.items())
        notes.append(f"Ignored {others.total()} other series ({kinds}).")
    notes.extend(headers.grid_notes(affine, series.shape, series.modality))
    notes.extend(series.stack.notes)
    notes.extend(file_notes(series))
    notes += dicom.mixed_doubts(slices)
    notes += [Doubt("converter", "ask", f"dcm2niix warns: {text}") for text in warnings]
    if series.kind != "volume" and told.origin == "acquired":
        text = f"The series is marked as {series.kind}, not as an original acquisition."
        notes.append(Doubt("derived", "tell", text, {"marked": series.kind}))
    if series.volumes > 1:
        notes.append(f"Volume {volume} of {series.volumes} (counted from 0).")
    agent = names_agent({"ContrastBolusAgent": about["agent"]})
    phase = series.kind == "phase"
    notes += headers.intensity_notes(data, contrast, series.description, agent, phase)
    # The hash is of the image only, not of files that contain names.
    digest = hashlib.sha256(data.data)
    digest.update(affine.tobytes())
    sha256 = digest.hexdigest()
    name = f"series-{series.number or 0:04}-{sha256[:8]}{_SUFFIXES.get(contrast, '')}"
    place = (path.parent if path.is_file() else path) / name
    person, geometry = first.person, headers.scanner_geometry(affine)
    which = volume if series.volumes > 1 else None
    return Scan(data, affine, geometry, place, sha256, notes, contrast, person, told.origin, which)


def _split_series(
    path: Path, shape: tuple[int, ...], volume: int | None
) -> tuple[tuple[int, int, int], int]:
    """Shape of a volume and number of volumes."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 3 or min(shape[:3]) == 1:
        checks.check_grid(path, shape, np.eye(4))
    if len(shape) > 4:
        raise ScanError(
            f"{path} has {len(shape)} dimensions ({' x '.join(map(str, shape))}); give a 3D scan."
        )
    count = int(shape[3]) if len(shape) == 4 else 1
    _check_choice(path, count, volume)
    return (shape[0], shape[1], shape[2]), count


def _check_choice(path: Path, count: int, volume: int | None) -> None:
    """Refuse several volumes without a choice, and invalid choices."""
    if count > 1 and volume is None:
        raise SeveralVolumes(
            f"{path} is a 4D series of {count} volumes; choose one with --volume N (volume=N in "
            f"Python), N from 0 to {count - 1}, or, where many scans are read, save that one as a "
            "file of its own.",
            count,
        )
    if volume is not None and not 0 <= volume < count:
        raise ScanError(
            f"{path} has no volume {volume}; it holds {count}, counted from 0 to {count - 1}."
        )


def _without_nan(data: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Replace NaN around a brain by background; other NaN are left and refused later.

    Background is 0, or the minimum if that is negative.
    """
    unknown = np.isnan(data)
    if not EMPTY_SHARE <= unknown.mean() < 1:
        return data, []
    outside = min(0.0, float(data[~unknown].min()))
    share = 100 * unknown.mean()
    text = f"{share:.0f} % of the voxels are not numbers (NaN); they are treated as background."
    return np.where(unknown, np.float32(outside), data), [text]


def _from_zero(data: np.ndarray, contrast: str) -> tuple[np.ndarray, list[Doubt]]:
    """The scan with a background of 0, if its background is another constant, such as in z-scores.

    Nothing is darker than a background, and it fills much of the field of view. CT stays in
    Hounsfield units.
    """
    low = data.min()
    if low == 0 or contrast == headers.CT or np.mean(data == low) < EMPTY_SHARE:
        return data, []
    text = (
        f"The background value of {low:g} was subtracted everywhere; "
        "intensities in the results count from there."
    )
    return data - low, [Doubt("background", "tell", text, {"value": float(low)})]


def _load(path: Path, image: Any, shape: tuple[int, ...], volume: int | None) -> np.ndarray:
    """Scaled intensities of one volume, float32 (I, J, K); reads only that volume."""
    try:
        if volume is not None or not is_proxy(image.dataobj):
            stored, scaling = image.dataobj, None
            if volume is not None:
                stored = stored[..., volume]
        else:
            stored, scaling = image.dataobj.get_unscaled(), image.dataobj
        stored = np.asarray(stored).reshape(shape)
        data = np.empty(shape, np.float32)
        with np.errstate(over="ignore"):  # float32 overflow gives infinity, which is refused
            # One slice after the other: scaled ones are float64, twice as large as they stay.
            for place in range(shape[0]):
                part = stored[place]
                if scaling is not None:
                    slope, inter = map(np.asanyarray, (scaling.slope, scaling.inter))
                    part = apply_read_scaling(part, slope, inter)
                data[place] = part
        return data
    except (*checks.READ_ERRORS, MemoryError) as error:
        raise checks.damaged(path, error) from error
