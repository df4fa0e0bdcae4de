"""A scan brought into a model's space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from ..errors import ScanError
from ..space import Space
from .alignment import align_rigid
from .bias import bias_field
from .extraction import check_brain_size, extract_brain, extracted_mask, object_mask
from .intensity import contrast_agreement, correlation, normalise
from .native import native_image, pack_mask
from .resampling import cropped, resample
from .target import Target, standard_brain

if TYPE_CHECKING:
    from .scan import Scan

SKULL_CHOICES = ("auto", "extract", "keep")
# Where less than this of a model voxel is brain it counts as outside, as in the training data.
BRAIN_SHARE = 0.35
# Training brains correlate 0.93 to 0.965 with their mean.
EXPECTED_QUALITY = 0.90
# Of the contrast inside the brain: T1 scans reach 0.4 and more, FLAIR 0.15, T2 less than 0.
EXPECTED_CONTRAST = 0.25

# Correlation with a standard brain in place: brains that lie wrongly reach 0.75, noise 0.
LIKE_A_HEAD = 0.4

# How steps and notes begin that a person should look into.
WARNING = "Check:"

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class AlignedScan:
    """One brain on the model's grid, and the way back.

    Attributes
    ----------
    volume : ndarray, float32 (X, Y, Z) in [0, 1]
        1 = the 99.5th percentile inside the brain; 0 outside it.
    space : Space
        The model's grid.
    rigid : ndarray (4, 4)
        Scan RAS millimetres to model RAS millimetres; a rotation and a translation.
    quality : float
        Correlation of `volume` with the model's mean brain over the whole grid.
    brain_mask : ndarray, bool (X, Y, Z)
    intensity_scale : float
        What 1.0 stands for in the scan's own units (after bias correction).
    steps : list of str
        What was done, for people; warnings begin with "Check:".
    scan : Scan
        What it was made from.
    """

    volume: np.ndarray
    space: Space
    rigid: np.ndarray
    quality: float
    brain_mask: np.ndarray
    intensity_scale: float
    steps: list[str]
    scan: Scan

    def to_native(self, volume: np.ndarray) -> nib.Nifti1Image:
        """A model-space volume (X, Y, Z) on the scan's own grid, in its units.

        float32, 0 outside the brain; orientation, affine and header codes are the scan's. The
        bias field is not put back.
        """
        return native_image(volume, self.space, self.describe())

    def describe(self) -> dict[str, Any]:
        """Everything `native_image` needs to go back without the file; plain values for JSON.

        Of the path only the file's name is kept: folders may carry patients' names.
        """
        return {
            "path": self.scan.path.name,
            "sha256": self.scan.sha256,
            "shape": list(self.scan.data.shape),
            "affine": self.scan.affine.tolist(),
            "geometry": self.scan.geometry,
            "rigid": self.rigid.tolist(),
            "model_affine": self.space.affine.tolist(),
            "intensity_scale": self.intensity_scale,
            "quality": self.quality,
            "brain_mask": pack_mask(self.brain_mask),
            "steps": list(self.steps),
            "notes": list(self.scan.notes),
        }


def align_scan(
    scan: Scan,
    target: Target,
    skull: str,
    bias_correction: bool,
    progress: Progress | None,
) -> AlignedScan:
    """See `Scan.align`."""
    report = progress or (lambda fraction, text: None)
    report(0.0, "Finding the brain")
    mask, steps = find_brain(scan, skull)
    steps.extend(note for note in scan.notes if note.startswith(WARNING))
    if np.mean(scan.data[mask] <= 0) > 0.5:
        raise ScanError(
            f"{scan.path} has mostly negative or zero intensities inside the brain; "
            "add a constant so that the background is 0, and try again."
        )
    brain, space = cropped(np.where(mask, scan.data, np.float32(0)), scan.space, mask)
    mask = cropped(mask, scan.space, mask)[0]
    if bias_correction:
        report(0.4, "Correcting the bias field")
        field = bias_field(brain, mask, space)
        brain = brain / field
        low, high = np.percentile(field[mask], (1, 99))
        spread = 100 * (high / low - 1)
        steps.append(f"Bias field corrected with N4 (it varied by {spread:.0f} % over the brain).")
    report(0.6, "Aligning to the model's brain")
    rigid, found = _posed(brain, space, target)
    steps.extend(found)
    report(0.9, "Resampling to the model's grid")
    return _on_grid(scan, target, brain, mask, space, rigid, steps)


def _posed(brain: np.ndarray, space: Space, target: Target) -> tuple[np.ndarray, list[str]]:
    """As `align_rigid`; to a standard brain if a foreign network shows none to align to.

    Its image may lie otherwise than assumed, have other intensities, or not be trained.
    """
    if getattr(target, "frame", None) is None:
        return align_rigid(brain, space, target)
    standard = standard_brain(target.space)
    there = resample(standard.template, standard.space, target.space)
    likeness = correlation(there, target.template)
    if likeness >= LIKE_A_HEAD:
        try:
            return align_rigid(brain, space, target)
        except ScanError:
            pass
    rigid, steps = align_rigid(brain, space, standard)
    told = (
        f"{WARNING} the model's mean brain is not like this one in any orientation, so it was "
        "aligned to a standard brain in the middle of the model's grid; are the model's axes and "
        "voxel size right?"
    )
    return rigid, [told, *steps]


def find_brain(scan: Scan, skull: str) -> tuple[np.ndarray, list[str]]:
    """Brain mask on the scan's grid, and what was done to get it."""
    if skull not in SKULL_CHOICES:
        raise ScanError(f"skull is {skull!r}; it must be one of {', '.join(SKULL_CHOICES)}.")
    mask = None
    if skull == "auto":
        mask = extracted_mask(scan.data, scan.space)
    elif skull == "keep":
        mask = object_mask(scan.data)
        check_brain_size(mask, scan.space)
    if mask is not None:
        step = "The brain was extracted already; kept as it is."
    else:
        mask = extract_brain(scan.data, scan.space)
        step = "Brain extracted with deepbet."
    edges = sum(int(mask.take(end, axis).sum() > 50) for axis in range(3) for end in (0, -1))
    steps = [step]
    if edges:
        steps.append("Check: the brain touches the edge of the field of view; part may be cut off.")
    return mask, steps


def _on_grid(
    scan: Scan,
    target: Target,
    brain: np.ndarray,
    mask: np.ndarray,
    space: Space,
    rigid: np.ndarray,
    steps: list[str],
) -> AlignedScan:
    """Resample the cropped brain to the model's grid and normalise it there."""
    back = np.linalg.inv(rigid)
    inside = resample(mask.astype(np.float32), space, target.space, back) > BRAIN_SHARE
    data = resample(brain, space, target.space, back)
    lost = 1 - inside.sum() * abs(np.linalg.det(target.space.affine)) / (
        mask.sum() * abs(np.linalg.det(space.affine))
    )
    if lost > 0.03:
        steps.append(f"Check: {100 * lost:.0f} % of the brain lies outside the model's grid.")
    volume, scale = normalise(data, inside)
    quality = correlation(volume, target.template)
    if quality < EXPECTED_QUALITY:
        steps.append(
            f"Check: it resembles the mean brain less than usual (correlation {quality:.2f})."
        )
    if contrast_agreement(volume, target.template, inside) < EXPECTED_CONTRAST:
        steps.append(
            "Check: the contrast is not that of a T1-weighted scan, which the model knows."
        )
    return AlignedScan(volume, target.space, rigid, quality, inside, scale, steps, scan)
