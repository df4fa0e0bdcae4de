"""What a scan's name, timing, grid and intensities tell, and its orientation.

Where a header is ambiguous, the user can override it.
"""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt, Json, Note, ScanError
from stylegan3d.storage.formats import without_suffix

# A scan's contrast from its metadata; `intensity` judges the brain itself.

T1, T2, FLAIR, CT = "T1-weighted", "T2-weighted", "FLAIR", "CT"

# T1 or T2 in a name, also after a plane, or as in "eT1W", but not in "visit1", "UNIT2" or "T1map".
_T = r"((?<![A-Za-z])(?i:ax|sag|cor|tra|3d|wip)?[tT]|(?<=[a-z])T){}(?!\d|[ _-]?(?i:map|rho))"
# In order of precedence: "T2 FLAIR" is a FLAIR, "T1 FLAIR" a T1.
_NAMES = (
    (T1, _T.format(1) + r"|(?i:^unit1$|mp2?rage|spgr|bravo|\btfl\b|\bfspgr\b)"),
    (FLAIR, r"(?i:flair|dark[ _-]?fluid)"),
    (T2, _T.format(2)),
    (CT, r"(?i:(?<![a-z])ct(?![a-z0-9]))"),
)
# BIDS ends a name with the contrast, whatever stands before it.
_SUFFIX = re.compile(r"_(t1w|unit1|t2w|flair)(?![a-z0-9])")
# "+C" of radiologists, "ce-" of BIDS, "t1c" of BraTS; not the "c" of other words, nor the session
# after a treatment, ses-post.
_AGENT = r"(gd|gado?|ce|km|contrast)(?![a-z0-9])"
_ENHANCED = (
    r"gado[a-z]{3}|dotarem|(pro|multi)hance|magnevist|primovist"
    rf"|(?<![a-z])(post)?{_AGENT}|\+ ?c(?![a-z])|c\+"
    r"|(?<![a-z0-9])t1(c|post)(?![a-z0-9])|[_ ]post(?=$|\.|_t1)"
)
# Parts of a complex image that show no anatomy.
_PHASE = re.compile(r"_(part|rec)-(phase|real|imag)(?![a-z0-9])|_(ph|real|imaginary)$", re.I)
_PLAIN = rf"(?<![a-z])(no|non|not|without|w/o|pre|ohne|sans|sub|low|high)[ _-]*{_AGENT}|ce-none"
# Milliseconds: least echo time of T2 weighting; least inversion time that nulls CSF.
LONG_ECHO_MS, NULLING_MS, SHORT_ECHO_MS = 60.0, 1500.0, 30.0
# Without inversion, images repeated more slowly have little T1 weighting.
LONG_TR_MS = 1500.0
# Of other contrasts, whatever their timing.
_OTHERS = re.compile(r"(?<![a-z])(pd|epi|bold|fmri|swi|dwi|dti|adc|asl|tof)(?![a-z])", re.I)
# Hounsfield units of air, which is about -1000.
AIR_HU = (-1100.0, -900.0)


def contrast_by_name(name: str) -> str:
    """The contrast named in a file name or series description; "" if none."""
    told = (_SUFFIX.findall(name.lower()) or [name])[-1]
    for contrast, pattern in _NAMES:
        if re.search(pattern, told):
            return contrast
    return ""


def enhanced_by_name(name: str) -> bool:
    """Whether a file name or series description mentions a contrast agent."""
    return re.search(_ENHANCED, re.sub(_PLAIN, "", name.lower())) is not None


def phase_by_name(name: str) -> bool:
    """Whether a file name or series description is that of a phase, real or imaginary image."""
    return _PHASE.search(without_suffix(name)) is not None


def contrast_by_timing(about: Mapping[str, str]) -> str:
    """The likely contrast from a DICOM series' timing; "" if unknown."""
    echo, inversion, repetition = (
        number_in(about.get(f"{key}_ms"), 0.0) for key in ("echo", "inversion", "repetition")
    )
    if _OTHERS.search(about.get("description", "")) or (not inversion and repetition > LONG_TR_MS):
        return T2 if echo >= LONG_ECHO_MS else ""
    if echo >= LONG_ECHO_MS:
        return FLAIR if inversion >= NULLING_MS else T2
    return T1 if 0 < echo < SHORT_ECHO_MS and inversion < NULLING_MS else ""


def looks_like_ct(data: np.ndarray) -> bool:
    """Whether intensities are Hounsfield units: much air near -1000, and bone far above 0."""
    part = data[::4, ::4, ::4]
    air = (part > AIR_HU[0]) & (part < AIR_HU[1])
    return bool(air.mean() > 0.1 and np.percentile(part, 99.9) > 300 and part.min() > -4096)


def number_in(text: str | None, default: float) -> float:
    """The first number of a DICOM text, or the default."""
    try:
        value = float((text or "").split("\\")[0])
    except ValueError:
        return default
    return value if math.isfinite(value) else default


_WORDS = ("right", "left", "anterior", "posterior", "superior", "inferior")
AXIS_WORDS = dict(zip("RLAPSI", _WORDS, strict=True))
THICK_MM = 4.0


def grid_notes(affine: np.ndarray, shape: tuple[int, ...], kind: str) -> list[str]:
    """Size, spacing, orientation; `kind` describes the storage."""
    spacing = nib.affines.voxel_sizes(affine)
    codes = nib.aff2axcodes(affine)
    notes = [
        f"{' x '.join(map(str, shape))} voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm, "
        f"{kind}.",
        f"Axes {''.join(codes)}: {', '.join(AXIS_WORDS[c] for c in codes)}.",
    ]
    tilt = float(np.degrees(nib.affines.obliquity(affine)).max())
    if tilt > 0.5:
        notes.append(f"Oblique: up to {tilt:.1f} degrees from the scanner's axes.")
    if spacing.max() > THICK_MM:
        notes.append(f"Slices of {spacing.max():.3g} mm: detail between slices is interpolated.")
    return notes


def intensity_notes(
    data: np.ndarray, contrast: str, name: str, agent: bool = False, phase: bool = False
) -> list[Note]:
    """The range of intensities, and the contrast according to name and values.

    `agent` says whether a header or sidecar names a contrast agent, `phase` whether a header says
    that this is one.

    Raises
    ------
    ScanError
        If nothing is above 0.
    """
    low, high = float(data.min()), float(data.max())
    if high <= 0:
        raise ScanError("Nothing in the scan is above 0; check its scl_slope and scl_inter.")
    middle = float(np.percentile(data[::2, ::2, ::2], 99))
    notes: list[Note] = [f"Intensities from {low:.4g} to {high:.4g}, 99 % below {middle:.4g}."]
    above, empty = data > max(low, 0), 0
    for others in ((1, 2), (0, 2), (0, 1)):
        # Of a few lesions or specks no slice is filled.
        if (filled := np.flatnonzero(above.mean(axis=others) > 0.01)).size:
            flat = np.ptp(data, axis=others) == 0
            empty = max(empty, int(flat[filled[0] : filled[-1]].sum()))
    if empty:
        text = f"Some intermediate slices are empty ({empty}): what is found there may be wrong."
        notes.append(Doubt("slices-missing", "ask", text, {"missing": empty}))
    if contrast not in (T1, T2, FLAIR, ""):
        text = f"This looks like a {contrast} scan; the model expects T1-weighted MR scans."
        notes.append(Doubt("contrast", "refuse", text, {"contrast": contrast}))
    elif contrast:
        notes.append(f"Contrast: {contrast}, according to its name or timing.")
    if phase or phase_by_name(name):
        text = "By its name or header this is a phase, real or imaginary image, not magnitude."
        notes.append(Doubt("contrast", "refuse", text, {"contrast": "phase"}))
    if agent or enhanced_by_name(name):
        text = (
            "The scan was made with a contrast agent, by its name or header: vessels, dura and "
            "lesions that take it up are brighter than in the scans that the model knows, and will "
            "differ from its brain."
        )
        notes.append(Doubt("contrast-agent", "tell", text))
    return notes


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
    if sorted(codes.translate(str.maketrans("RPS", "LAI"))) != ["A", "I", "L"]:
        raise ScanError(
            f"{orientation!r} is not an orientation; give sform, qform or three letters, one of "
            "R L, one of A P and one of S I, such as LAS."
        )
    axes, signs = nib.orientations.axcodes2ornt(tuple(codes)).T
    turned = np.eye(3)[:, axes.astype(int)] * signs * nib.affines.voxel_sizes(affine)
    return nib.affines.from_matvec(turned + 0.0)  # no -0


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


def chosen_notes(orientation: str | None) -> list[str]:
    """That left and right were chosen, if they were."""
    return [] if orientation is None else [f"Orientation: {orientation}, as chosen."]


def header_notes(
    header: Any, geometry: Json, affine: np.ndarray, shape: tuple[int, ...], orientation: str | None
) -> list[Note]:
    """Further notes on the header's two geometries, and where it contradicts itself.

    Choosing the sform or the qform answers all that they disagree about, but not a shear of the
    `affine` that is used.
    """
    notes: list[Note] = [*chosen_notes(orientation), *_sheared(affine)]
    if orientation in FORMS or geometry.get("sform") is None:
        return notes
    notes += _contradictions(header, geometry)
    if orientation is None and not orientation_doubts(geometry):
        notes += _disagreement(geometry, shape)
    if geometry["qform"] is None and int(header["qform_code"]) > 0:
        notes.append("The header's qform cannot be decoded and is ignored; the sform is used.")
    return notes


def _contradictions(header: Any, geometry: Json) -> list[Doubt]:
    """A doubt about a sform that gives other sizes than the header."""
    if geometry["sform_code"] == 0:
        return []
    sizes = nib.affines.voxel_sizes(np.array(geometry["sform"]))
    told = np.array(header["pixdim"], np.float64)[1:4]
    if max(np.max(sizes / told), np.max(told / sizes)) <= SAME_SIZE:
        return []
    words = (" x ".join(f"{size:.3g}" for size in one) for one in (sizes, told))
    text = "The header gives two voxel sizes: {} mm in its sform, which is used, and {} mm."
    figures = {"sform_mm": sizes.round(4).tolist(), "other_mm": told.round(4).tolist()}
    return [Doubt("voxel-size", "ask", text.format(*words), figures)]


def _sheared(affine: np.ndarray) -> list[Doubt]:
    """A doubt about axes that are not at right angles."""
    sizes, matrix = nib.affines.voxel_sizes(affine), affine[:3, :3]
    cosines = np.abs((matrix / sizes).T @ (matrix / sizes) - np.eye(3)).max()
    shear = float(np.degrees(np.arcsin(min(cosines, 1.0))))
    if shear <= SHEAR_DEGREES:
        return []
    text = (
        f"The header shears the head by {shear:.0f} degrees, as only a tilted gantry does; sizes "
        "and shapes may be wrong."
    )
    return [Doubt("shear", "ask", text, {"degrees": shear})]


def orientation_doubts(geometry: Json) -> list[Doubt]:
    """A question if left and right are ambiguous; `geometry` is from `geometry_of`."""
    if not geometry:
        return []
    if text := geometry.get("open_sides"):
        assumed = "".join(nib.aff2axcodes(np.array(geometry["qform"])))
        return [Doubt(SIDES, "ask", text, {"assumed": assumed})]
    codes = [geometry[f"{form}_code"] for form in FORMS]
    if not any(codes):
        assumed = geometry.get("assumed", "LAS")
        text = (
            "The file does not give the orientation of the head; the usual "
            f"{'-'.join(AXIS_WORDS[code] for code in assumed)} order is assumed, so left and right "
            "may be swapped."
        )
        return [Doubt(SIDES, "ask", text, {"assumed": assumed})]
    if all(codes) and np.linalg.det(geometry["sform"]) * np.linalg.det(geometry["qform"]) < 0:
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
