"""A scan aligned to a model's space."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json
from stylegan3d.scans.alignment import centroid, refined_rigid
from stylegan3d.scans.contrast import T1
from stylegan3d.scans.intensity import contrast_agreement, contrast_in_brain, correlation, normalise
from stylegan3d.scans.native import native_image, pack_mask
from stylegan3d.scans.notes import Note
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.target import Template

# Least share of brain in a brain voxel, as in the training data.
BRAIN_SHARE = 0.35
# Training brains correlate 0.93 to 0.965 with their mean.
EXPECTED_QUALITY = 0.90
# Correlation of the contrast inside the brain: T1 scans reach 0.4, FLAIR 0.15, T2 less than 0.
EXPECTED_CONTRAST = 0.25

# Least quality of each description.
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
        "kept" if nothing had to be done or the step was disabled, "cached" if an earlier result was
        reused.
    """

    name: str
    notes: tuple[Note, ...]
    seconds: float
    how: str = "done"


@dataclass(frozen=True, eq=False)
class PreparedBrain:
    """The extracted brain before resampling.

    `brain` and `mask` (I, J, K) are on `space`, a part of the scan's grid.
    """

    brain: np.ndarray
    mask: np.ndarray
    space: Space
    target: Template


@dataclass(frozen=True, eq=False)
class AlignedScan:
    """A brain on the model's grid, with everything needed to return to native space.

    Attributes
    ----------
    volume : ndarray, float32 (X, Y, Z) in [0, 1]
        1 = the 99.5th percentile inside the brain; 0 outside it.
    space : Space
        The model's grid.
    rigid : ndarray
        (4, 4) rigid transform, scan RAS millimetres to model RAS millimetres.
    quality : float
        Correlation of `volume` with the model's mean brain over the whole grid.
    brain_mask : ndarray, bool (X, Y, Z)
    intensity_scale : float
        Scan units (after bias correction) per 1.0.
    steps : list of Note
        What was done.
    scan : ScanData
        The original scan.
    prepared : PreparedBrain or None
        For resampling in other poses.
    record : tuple of Step
        Steps of the preparation.
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
    def notes(self) -> list[Note]:
        """Notes of the scan, then what was done, each once."""
        return list(dict.fromkeys([*self.scan.notes, *self.steps]))

    @property
    def quality_in_words(self) -> str:
        """`quality` in words."""
        return next(words for least, words in QUALITY_WORDS if self.quality >= least)

    @property
    def by_hand(self) -> bool:
        """Whether the pose was set manually only."""
        return not any(step.name == "pose" and step.how != "kept" for step in self.record)

    def nudged(
        self,
        translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> AlignedScan:
        """The brain moved in model space, resampled from the scan.

        Parameters
        ----------
        translation_mm : tuple of float
            To the right, anterior and superior.
        rotation_deg : tuple of float
            About the right, anterior and superior axes, in this order, through the brain's centre;
            right-handed: a positive third angle turns the nose to the left.

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
        """The brain in the best pose near the current one, such as after `nudged`.

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
        """The brain in a given pose (4, 4), scan RAS mm to model RAS mm.

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
        """Resample a model-space volume (X, Y, Z) to the scan's own grid and units.

        float32, 0 outside the brain; orientation, affine and header codes are the scan's. The bias
        field is not reapplied. `signed` keeps negative values, for differences.
        """
        return native_image(volume, self.space, self.describe(), signed=signed)

    def labels_to_native(self, labels: np.ndarray) -> np.ndarray:
        """Resample model-space labels (X, Y, Z) to the scan's own grid, by nearest neighbour."""
        voxels = np.linalg.inv(self.space.affine) @ self.rigid @ self.scan.affine
        found: np.ndarray = affine_transform(
            labels, voxels[:3, :3], voxels[:3, 3], self.scan.data.shape, order=0
        )
        return found

    def describe(self) -> Json:
        """Everything `native_image` needs, without the scan's file; plain values for JSON.

        Only the file name of the path is kept: folder names may identify patients.
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
    """Resample a brain to the model's grid in a pose, normalise it, and assess it."""
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
    notes = _judged(prepared, volume, mask, quality, scan.contrast)
    record = (*record, Step("grid", notes, perf_counter() - start))
    steps = [note for step in record for note in step.notes]
    return AlignedScan(
        volume, target.space, rigid, quality, mask, scale, steps, scan, prepared, record
    )


def _judged(
    prepared: PreparedBrain, volume: np.ndarray, mask: np.ndarray, quality: float, contrast: str
) -> tuple[Note, ...]:
    """Warnings about a brain on the model's grid, what explains the others first.

    `contrast` is that of the scan according to its name or timing.
    """
    target = prepared.target
    texts = []
    if contrast_agreement(volume, target.template, mask) < EXPECTED_CONTRAST:
        looks = contrast_in_brain(volume, target.template, mask)
        looks = looks if contrast in ("", T1) else contrast
        texts.append(
            "the contrast is not that of a T1-weighted scan, which the model expects"
            + (f"; it looks like {looks}." if looks else ".")
        )
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
            f"it is less similar to the mean brain than usual (correlation {quality:.2f}); if a "
            "large lesion is the reason, mark it (--mask, or by painting) to leave it out."
        )
    return tuple(Note("check", text) for text in texts)
