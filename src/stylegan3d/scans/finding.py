"""Find the brain: keep it if already extracted, otherwise extract it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans.extraction import (
    check_brain_size,
    extract_brain,
    extract_upright,
    extracted_mask,
    object_mask,
)
from stylegan3d.scans.notes import Note, info
from stylegan3d.scans.scan_data import ScanData

# Area in cm2 of brain at the edge of the field of view from which a note is added; at the bottom
# the cross-section of a brain stem.
EDGE_CM2, STEM_CM2 = 1.0, 10.0
EXTRACTED = "Brain extracted with deepbet."
TILTED = "Brain extracted with deepbet, after the air around the head was cut off."
# Rotations in degrees about the right, anterior and superior axes that are tried if extraction
# fails. Up to 30 degrees about each axis it mostly succeeds without.
TILTS = ((0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 30, 0), (0, -30, 0))
KEPT = "The brain was extracted already and was kept as it is."
SIDES = {
    "R": "on the right",
    "L": "on the left",
    "A": "in front",
    "P": "at the back",
    "S": "at the top",
    "I": "at the bottom",
}


def find_brain(
    scan: ScanData,
    skull: str,
    upright: np.ndarray | None = None,
    near: tuple[np.ndarray, Space] | None = None,
) -> tuple[np.ndarray, str]:
    """Brain mask, bool (I, J, K), and a sentence on how it was found.

    `upright` (4, 4) rotates the head upright, and `near` is an approximate brain mask, if known.
    """
    mask = None
    if skull == "auto":
        mask = extracted_mask(scan.data, scan.space)
    elif skull == "keep":
        mask = object_mask(scan.data)
        check_brain_size(mask, scan.space)
    if mask is not None:
        return mask, KEPT
    if upright is not None:
        return extract_upright(scan.data, scan.space, upright, near), EXTRACTED
    try:
        return extract_brain(scan.data, scan.space), EXTRACTED
    except ScanError as error:
        return _tilted(scan, error), TILTED


def _tilted(scan: ScanData, refusal: ScanError) -> np.ndarray:
    """Retry extraction with the head cropped, then with tilts."""
    middle = scan.space.center_mm
    for tilt in TILTS:
        turn = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
        try:
            return extract_upright(
                scan.data, scan.space, nib.affines.from_matvec(turn, middle - turn @ middle)
            )
        except ScanError:
            continue
    raise refusal


def edge_notes(mask: np.ndarray, space: Space) -> list[Note]:
    """Notes if the brain reaches the edge of the field of view."""
    codes, ends = nib.aff2axcodes(space.affine), {"R": "L", "A": "P", "S": "I"}
    ends |= {second: first for first, second in ends.items()}
    reached: dict[str, float] = {}
    for axis in range(3):
        sides = np.delete(space.affine[:3, :3], axis, axis=1)
        area = float(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]))) / 100
        for end, code in ((-1, codes[axis]), (0, ends[codes[axis]])):
            reached[code] = area * int(mask.take(end, axis).sum())
    over = {code: area for code, area in reached.items() if area > EDGE_CM2}
    if not over:
        return []
    if set(over) == {"I"} and over["I"] < STEM_CM2:
        return info("The brain stem reaches the lower edge of the field of view, as usual.")
    where = " and ".join(SIDES[code] for code in over)
    text = (
        f"the brain reaches the edge of the field of view {where} ({sum(over.values()):.0f} "
        "cm2 of it); the model will make up the part that was not scanned: give a scan of the "
        "whole brain, or draw no conclusions there."
    )
    return [Note("check", text)]
