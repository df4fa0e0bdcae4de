"""Notes and warnings about a scan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np

from stylegan3d.scans.contrast import CT

Level = Literal["info", "check"]
_MARK = "Check: "
AXIS_WORDS = {
    "R": "right",
    "L": "left",
    "A": "anterior",
    "P": "posterior",
    "S": "superior",
    "I": "inferior",
}
THICK_MM = 4.0


@dataclass(frozen=True)
class Note:
    """A note on a scan or its preparation.

    Attributes
    ----------
    level : {"info", "check"}
        "check" for warnings, "info" for information.
    text : str
        One sentence.
    """

    level: Level
    text: str

    def __str__(self) -> str:
        """Text for files and the console; warnings begin with "Check:"."""
        return _MARK * (self.level == "check") + self.text

    @classmethod
    def read(cls, words: str) -> Note:
        """Inverse of `str`."""
        text = words.removeprefix(_MARK)
        return cls("info" if text == words else "check", text)

    @property
    def sentence(self) -> str:
        """The text alone, capitalised."""
        return self.text[:1].upper() + self.text[1:]


def info(*texts: str) -> list[Note]:
    """Notes of level "info"."""
    return [Note("info", text) for text in texts]


def checks(notes: Iterable[Note]) -> list[Note]:
    """The warnings among the notes."""
    return [note for note in notes if note.level == "check"]


def grid_notes(affine: np.ndarray, shape: tuple[int, ...], kind: str) -> list[Note]:
    """Size, spacing, orientation; `kind` describes the storage."""
    spacing = nib.affines.voxel_sizes(affine)
    codes = nib.aff2axcodes(affine)
    notes = info(
        f"{' x '.join(map(str, shape))} voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm, "
        f"{kind}.",
        f"Axes {''.join(codes)}: {', '.join(AXIS_WORDS[c] for c in codes)}.",
    )
    tilt = float(np.degrees(nib.affines.obliquity(affine)).max())
    if tilt > 0.5:
        notes += info(f"Oblique: tilted by up to {tilt:.1f} degrees against the scanner's axes.")
    if spacing.max() > THICK_MM:
        notes += info(f"Slices of {spacing.max():.3g} mm: detail between slices is interpolated.")
    return notes


def intensity_notes(data: np.ndarray, contrast: str, enhanced: bool = False) -> list[Note]:
    """The range of intensities, and the contrast according to name and values."""
    low, high = float(data.min()), float(data.max())
    middle = float(np.percentile(data[::2, ::2, ::2], 99))
    notes = info(f"Intensities from {low:.4g} to {high:.4g}, 99 % below {middle:.4g}.")
    if contrast == CT:
        text = "this looks like a CT scan; the model expects T1-weighted MR scans."
        notes.append(Note("check", text))
    elif contrast:
        notes += info(f"Contrast: {contrast}, according to its name or timing.")
    if enhanced:
        text = (
            "the name tells of a contrast agent: vessels, dura and lesions that take it up are "
            "brighter than in the scans that the model knows, and will differ from its brain."
        )
        notes.append(Note("check", text))
    return notes
