"""A scan brought into a model's space."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans.alignment import centroid, refined_rigid
from stylegan3d.scans.intensity import contrast_agreement, contrast_in_brain, correlation, normalise
from stylegan3d.scans.native import native_image, pack_mask
from stylegan3d.scans.notes import Note
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.target import Target

# Where less than this of a model voxel is brain it counts as outside, as in the training data.
BRAIN_SHARE = 0.35
# Training brains correlate 0.93 to 0.965 with their mean.
EXPECTED_QUALITY = 0.90
# Of the contrast inside the brain: T1 scans reach 0.4 and more, FLAIR 0.15, T2 less than 0.
EXPECTED_CONTRAST = 0.25

# From this quality on, in words.
QUALITY_WORDS = (
    (0.94, "as good as the training brains"),
    (EXPECTED_QUALITY, "good"),
    (0.80, "less similar than usual: check the outline before you go on"),
    (-1.0, "poor: the pose may be wrong; correct it by hand or give another scan"),
)


@dataclass(frozen=True)
class Step:
    """One step of the preparation.

    Attributes
    ----------
    name : str
        "brain", "bias", "pose", "grid" or "nudge".
    notes : tuple of Note
        What was done.
    seconds : float
    how : {"done", "kept", "cached"}
        "kept" if there was nothing to do or it was to be left out, "cached" if the result of an
        earlier time was taken.
    """

    name: str
    notes: tuple[Note, ...]
    seconds: float
    how: str = "done"


@dataclass(frozen=True, eq=False)
class PreparedBrain:
    """The brain before it is resampled: what poses are tried on.

    `brain` and `mask` (I, J, K) are on `space`, a part of the scan's grid.
    """

    brain: np.ndarray
    mask: np.ndarray
    space: Space
    target: Target


@dataclass(frozen=True, eq=False)
class AlignedScan:
    """One brain on the model's grid, and the way back.

    Attributes
    ----------
    volume : ndarray, float32 (X, Y, Z) in [0, 1]
        1 = the 99.5th percentile inside the brain; 0 outside it.
    space : Space
        The model's grid.
    rigid : ndarray
        (4, 4) Scan RAS millimetres to model RAS millimetres; a rotation and a translation.
    quality : float
        Correlation of `volume` with the model's mean brain over the whole grid.
    brain_mask : ndarray, bool (X, Y, Z)
    intensity_scale : float
        What 1.0 stands for in the scan's own units (after bias correction).
    steps : list of Note
        What was done.
    scan : ScanData
        What it was made from.
    prepared : PreparedBrain or None
        To try other poses on.
    record : tuple of Step
        The steps with what they took.
    """

    volume: np.ndarray
    space: Space
    rigid: np.ndarray
    quality: float
    brain_mask: np.ndarray
    intensity_scale: float
    steps: list[Note]
    scan: ScanData
    prepared: PreparedBrain | None = field(default=None, repr=False)
    record: tuple[Step, ...] = ()

    @property
    def quality_in_words(self) -> str:
        """What `quality` means for a person."""
        return next(words for least, words in QUALITY_WORDS if self.quality >= least)

    @property
    def by_hand(self) -> bool:
        """Whether nobody but a person looked for the pose."""
        return not any(step.name == "pose" and step.how != "kept" for step in self.record)

    def nudged(
        self,
        translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> AlignedScan:
        """The same brain moved by hand in the model's space, resampled from the scan again.

        Parameters
        ----------
        translation_mm : tuple of float
            To the right, to the front, upwards.
        rotation_deg : tuple of float
            Round the axes to the right, to the front and upwards, in this order, through the
            brain's middle; right-handed: a positive third one turns the nose to the left.

        Raises
        ------
        ValueError
            If the scan was not prepared by `Scan.align`.
        """
        if self.prepared is None:
            raise ValueError("Only what Scan.align made can be moved.")
        turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
        middle = centroid(self.brain_mask, self.space)
        move = nib.affines.from_matvec(turn, middle - turn @ middle + np.array(translation_mm))
        angle = np.degrees(Rotation.from_matrix(turn).magnitude())
        text = f"Moved manually by {np.linalg.norm(translation_mm):.1f} mm, {angle:.1f} degrees."
        kept = tuple(step for step in self.record if step.name != "grid")
        record = (*kept, Step("nudge", (Note("info", text),), 0.0))
        return on_grid(self.scan, self.prepared, move @ self.rigid, record)

    def refined(self) -> AlignedScan:
        """The same brain in the best pose near the one it is in, such as after `nudged`.

        Raises
        ------
        ValueError
            If the scan was not prepared by `Scan.align`.
        """
        if self.prepared is None:
            raise ValueError("Only what Scan.align made can be moved.")
        start, prepared = perf_counter(), self.prepared
        rigid = refined_rigid(prepared.brain, prepared.space, prepared.target, self.rigid)
        move = rigid @ np.linalg.inv(self.rigid)
        middle = centroid(self.brain_mask, self.space)
        far = np.linalg.norm(nib.affines.apply_affine(move, middle) - middle)
        angle = np.degrees(Rotation.from_matrix(move[:3, :3]).magnitude())
        text = f"Alignment refined: moved by {far:.1f} mm and rotated by {angle:.1f} degrees."
        kept = tuple(step for step in self.record if step.name != "grid")
        record = (*kept, Step("nudge", (Note("info", text),), perf_counter() - start))
        return on_grid(self.scan, prepared, rigid, record)

    def posed(self, rigid: np.ndarray) -> AlignedScan:
        """The same brain in a given pose (4, 4), scan RAS mm to model RAS mm.

        Raises
        ------
        ValueError
            If the scan was not prepared by `Scan.align`.
        """
        if self.prepared is None:
            raise ValueError("Only what Scan.align made can be moved.")
        kept = tuple(step for step in self.record if step.name != "grid")
        text = "An earlier pose was restored."
        record = (*kept, Step("nudge", (Note("info", text),), 0.0))
        return on_grid(self.scan, self.prepared, rigid, record)

    def to_native(self, volume: np.ndarray, *, signed: bool = False) -> nib.Nifti1Image:
        """A model-space volume (X, Y, Z) on the scan's own grid, in its units.

        float32, 0 outside the brain; orientation, affine and header codes are the scan's. The
        bias field is not put back. `signed` keeps what is below 0, as a difference needs it.
        """
        return native_image(volume, self.space, self.describe(), signed=signed)

    def labels_to_native(self, labels: np.ndarray) -> np.ndarray:
        """Labels (X, Y, Z) of the model's space on the scan's own grid, by nearest neighbour."""
        voxels = np.linalg.inv(self.space.affine) @ self.rigid @ self.scan.affine
        found: np.ndarray = affine_transform(
            labels, voxels[:3, :3], voxels[:3, 3], self.scan.data.shape, order=0
        )
        return found

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
            "steps": list(map(str, self.steps)),
            "notes": list(map(str, self.scan.notes)),
        }


def on_grid(
    scan: ScanData, prepared: PreparedBrain, rigid: np.ndarray, record: tuple[Step, ...]
) -> AlignedScan:
    """Resample a brain to the model's grid in a pose, normalise it there, and judge it."""
    target = prepared.target
    start = perf_counter()
    back = np.linalg.inv(rigid)
    inside = resample(prepared.mask.astype(np.float32), prepared.space, target.space, back)
    mask = inside > BRAIN_SHARE
    if not mask.any():
        raise ScanError("The brain is entirely outside the model's grid; move it back.")
    data = resample(prepared.brain, prepared.space, target.space, back)
    volume, scale = normalise(data, mask)
    quality = correlation(volume, target.template)
    notes = _judged(prepared, volume, mask, quality)
    record = (*record, Step("grid", notes, perf_counter() - start))
    steps = [note for step in record for note in step.notes]
    return AlignedScan(
        volume, target.space, rigid, quality, mask, scale, steps, scan, prepared, record
    )


def _judged(
    prepared: PreparedBrain, volume: np.ndarray, mask: np.ndarray, quality: float
) -> tuple[Note, ...]:
    """What a person should know of a brain on the model's grid."""
    target = prepared.target
    texts = []
    lost = 1 - mask.sum() * abs(np.linalg.det(target.space.affine)) / (
        prepared.mask.sum() * abs(np.linalg.det(prepared.space.affine))
    )
    if lost > 0.03:
        texts.append(
            f"{100 * lost:.0f} % of the brain is outside the model's grid and is cut "
            "off; if the pose is wrong, correct it manually."
        )
    if quality < EXPECTED_QUALITY:
        texts.append(
            f"it is less similar to the mean brain than usual (correlation {quality:.2f})."
        )
    if contrast_agreement(volume, target.template, mask) < EXPECTED_CONTRAST:
        looks = contrast_in_brain(volume, target.template, mask)
        texts.append(
            "the contrast is not that of a T1-weighted scan, which the model expects"
            + (f"; it looks like {looks}." if looks else ".")
        )
    return tuple(Note("check", text) for text in texts)
