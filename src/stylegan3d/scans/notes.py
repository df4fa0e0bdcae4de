"""What a scan's name, timing, grid and intensities tell."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import nibabel as nib
import numpy as np

from stylegan3d.base import Doubt, Note

# A scan's contrast from its metadata; `intensity` judges the brain itself.

T1, T2, FLAIR, CT = "T1-weighted", "T2-weighted", "FLAIR", "CT"

# In order of precedence: "T2 FLAIR" is a FLAIR, "T1 FLAIR" a T1.
_NAMES = (
    (T1, r"t1|mp2?rage|spgr|bravo|\btfl\b|\bfspgr\b"),
    (FLAIR, r"flair|dark[ _-]?fluid"),
    (T2, r"t2"),
    (CT, r"\bct\b"),
)
# BIDS ends a name with the contrast, whatever stands before it.
_SUFFIX = re.compile(r"_(t1w|unit1|t2w|flair)(?![a-z0-9])")
# "+C" of radiologists, "ce-" of BIDS, "t1c" of BraTS; not the "c" of other words, nor the session
# after a treatment, ses-post.
_AGENT = r"(gd|gado?|ce|km|contrast)(?![a-z0-9])"
_ENHANCED = (
    rf"gadolin|gadov|dotarem|(?<![a-z]){_AGENT}|\+ ?c(?![a-z])|c\+|(?<![a-z0-9])t1c(?![a-z0-9])"
    r"|[_ ]post(?=$|\.|_t1)"
)
#: Parts of a complex image that show no anatomy.
PHASE = re.compile(r"_part-(phase|real|imag)(?![a-z0-9])", re.IGNORECASE)
_PLAIN = rf"(?<![a-z])(no|non|not|without|w/o|pre|ohne|sans)[ _-]*{_AGENT}"
# Milliseconds: least echo time of T2 weighting; least inversion time that nulls CSF.
LONG_ECHO_MS, NULLING_MS, SHORT_ECHO_MS = 60.0, 1500.0, 30.0
# Hounsfield units: air is -1000; bone and fillings are the brightest parts of a head.
AIR_HU, BRIGHTEST_HU = (-1100.0, -900.0), 32767.0


def contrast_by_name(name: str) -> str:
    """The contrast named in a file name or series description; "" if none."""
    told = (_SUFFIX.findall(name.lower()) or [name.lower()])[-1]
    for contrast, pattern in _NAMES:
        if re.search(pattern, told):
            return contrast
    return ""


def enhanced_by_name(name: str) -> bool:
    """Whether a file name or series description mentions a contrast agent."""
    plain = re.sub(_PLAIN, "", name.lower())
    return re.search(_ENHANCED, plain) is not None


def contrast_by_timing(about: Mapping[str, str]) -> str:
    """The likely contrast from a DICOM series' modality and timing; "" if unknown."""
    if about.get("modality") == "CT":
        return CT
    echo, inversion = (number_in(about.get(key), 0.0) for key in ("echo_ms", "inversion_ms"))
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
        notes.append(f"Oblique: tilted by up to {tilt:.1f} degrees against the scanner's axes.")
    if spacing.max() > THICK_MM:
        notes.append(f"Slices of {spacing.max():.3g} mm: detail between slices is interpolated.")
    return notes


def intensity_notes(data: np.ndarray, contrast: str, name: str, agent: bool = False) -> list[Note]:
    """The range of intensities, and the contrast according to name and values.

    `agent` says whether a header or sidecar names a contrast agent.
    """
    low, high = float(data.min()), float(data.max())
    middle = float(np.percentile(data[::2, ::2, ::2], 99))
    notes: list[Note] = [f"Intensities from {low:.4g} to {high:.4g}, 99 % below {middle:.4g}."]
    if contrast == CT:
        text = "This looks like a CT scan; the model expects T1-weighted MR scans."
        notes.append(Doubt("contrast", "refuse", text, {"contrast": CT}))
    elif contrast:
        notes.append(f"Contrast: {contrast}, according to its name or timing.")
    if PHASE.search(name):
        text = "By its name this is the phase of a scan, or a part without its magnitude."
        notes.append(Doubt("contrast", "refuse", text, {"contrast": "phase"}))
    if agent or enhanced_by_name(name):
        text = (
            "The scan was made with a contrast agent, by its name or header: vessels, dura and "
            "lesions that take it up are brighter than in the scans that the model knows, and will "
            "differ from its brain."
        )
        notes.append(Doubt("contrast-agent", "tell", text))
    return notes
