"""What was read, in words."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from stylegan3d.scans.contrast import CT
from stylegan3d.scans.notes import Note, info

AXIS_WORDS = {
    "R": "to the right",
    "L": "to the left",
    "A": "to the front",
    "P": "to the back",
    "S": "upwards",
    "I": "downwards",
}
THICK_MM = 4.0


def grid_notes(affine: np.ndarray, shape: tuple[int, ...], kind: str) -> list[Note]:
    """Size, spacing, orientation; `kind` says how it is stored."""
    spacing = nib.affines.voxel_sizes(affine)
    codes = nib.aff2axcodes(affine)
    notes = info(
        f"{' x '.join(map(str, shape))} voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm, "
        f"{kind}.",
        f"Axes {''.join(codes)}: they run {', '.join(AXIS_WORDS[c] for c in codes)}.",
    )
    tilt = float(np.degrees(nib.affines.obliquity(affine)).max())
    if tilt > 0.5:
        notes += info(f"Oblique: tilted by up to {tilt:.1f} degrees against the scanner's axes.")
    if spacing.max() > THICK_MM:
        notes += info(
            f"Slices of {spacing.max():.3g} mm: detail between slices is interpolated, not seen."
        )
    return notes


def intensity_notes(data: np.ndarray, contrast: str) -> list[Note]:
    """The range of intensities, and the contrast that name and numbers speak for."""
    low, high = float(data.min()), float(data.max())
    middle = float(np.percentile(data[::2, ::2, ::2], 99))
    notes = info(f"Intensities from {low:.4g} to {high:.4g}, 99 % of them below {middle:.4g}.")
    if contrast == CT:
        text = "this looks like a CT, where the model knows T1-weighted MR scans."
        notes.append(Note("check", text))
    elif contrast:
        notes += info(f"Contrast: {contrast}, by its name or timing.")
    return notes
