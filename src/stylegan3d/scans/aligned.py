"""A scan aligned to a model's space."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from time import perf_counter

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.linalg import expm, logm
from scipy.spatial.transform import Rotation

from stylegan3d.base import Doubt, Json, Note, ScanError, doubts_in, facts_in
from stylegan3d.geometry.space import Shown, Space, eroded
from stylegan3d.scans import intensity
from stylegan3d.scans.alignment import LEVELS_MM, Template, centroid, refined_rigid
from stylegan3d.scans.headers import T1
from stylegan3d.scans.resampling import native_image, nearest, pack_mask, resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.storage.checked import answering

# Least share of brain in a brain voxel, as in the training data.
BRAIN_SHARE = 0.35
# Training brains correlate 0.93 to 0.965 with their mean.
EXPECTED_QUALITY = 0.90
# Correlation of the contrast inside the brain: T1 scans reach 0.36 to 0.7, FLAIR 0.2 to 0.4, T2
# less than 0. So of a scan that its name or timing calls FLAIR or T2 more is expected.
EXPECTED_CONTRAST, NAMED_CONTRAST = 0.25, 0.5

# Least quality of each description.
QUALITY_WORDS = (
    (0.94, "as good as the training brains"),
    (EXPECTED_QUALITY, "good"),
    (0.80, "less similar than usual: check the outline before you go on"),
    (-1.0, "poor: the pose may be wrong; correct it by hand or give another scan"),
)


@dataclass(frozen=True)
class PreparationStep:
    """One step of the preparation.

    Attributes
    ----------
    name : str
        "brain", "bias", "pose", "grid" or "nudge".
    notes : tuple of str or Doubt
        What was done, and what is in doubt.
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


@dataclass(frozen=True, eq=False, repr=False)
class AlignedScan(Shown):
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
    steps : list of str or Doubt
        What was done, and what is in doubt.
    scan : ScanData
        The original scan.
    prepared : PreparedBrain or None
        For resampling in other poses.
    record : tuple of PreparationStep
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
    record: tuple[PreparationStep, ...] = ()

    @property
    def notes(self) -> list[Note]:
        """Notes of the scan, then what was done."""
        return [*self.scan.notes, *self.steps]

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt, of the scan and of its alignment."""
        return doubts_in(self.notes)

    @property
    def quality_in_words(self) -> str:
        """`quality` in words."""
        return next(words for least, words in QUALITY_WORDS if self.quality >= least)

    @property
    def by_hand(self) -> bool:
        """Whether the pose was set manually only."""
        return not any(step.name == "pose" and step.how != "kept" for step in self.record)

    @answering
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
        ScanError
            If the scan was not prepared by `Scan.align`.
        """
        turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
        middle = centroid(self.brain_mask, self.space)
        move = nib.affines.from_matvec(turn, middle - turn @ middle + np.array(translation_mm))
        angle = np.degrees(Rotation.from_matrix(turn).magnitude())
        text = f"Moved manually by {np.linalg.norm(translation_mm):.1f} mm, {angle:.1f} degrees."
        return self.posed(move @ self.rigid, text)

    def refined(self) -> AlignedScan:
        """The brain in the best pose near the current one, such as after `nudged`.

        Raises
        ------
        ScanError
            If the scan was not prepared by `Scan.align`.
        """
        start, prepared = perf_counter(), self._movable()
        rigid = refined_rigid(prepared.brain, prepared.space, prepared.target, self.rigid)
        move = rigid @ np.linalg.inv(self.rigid)
        middle = centroid(self.brain_mask, self.space)
        far = np.linalg.norm(nib.affines.apply_affine(move, middle) - middle)
        angle = np.degrees(Rotation.from_matrix(move[:3, :3]).magnitude())
        text = f"Alignment refined: moved by {far:.1f} mm and rotated by {angle:.1f} degrees."
        return self.posed(rigid, text, perf_counter() - start)

    def posed(
        self, rigid: np.ndarray, text: str = "An earlier pose was restored.", seconds: float = 0.0
    ) -> AlignedScan:
        """The brain in a given pose (4, 4), scan RAS mm to model RAS mm; `text` goes on record.

        Raises
        ------
        ScanError
            If the scan was not prepared by `Scan.align`.
        """
        prepared = self._movable()
        kept = tuple(step for step in self.record if step.name != "grid")
        record = (*kept, PreparationStep("nudge", (text,), seconds))
        return on_grid(self.scan, prepared, rigid, record)

    @property
    def undiluted(self) -> np.ndarray:
        """The volume, its border as bright as the brain in it, which is a part of those voxels."""
        if self.prepared is None:
            return self.volume
        own, back = self.prepared, np.linalg.inv(self.rigid)
        inside = resample(own.mask.astype(np.float32), own.space, self.space, back)
        return np.asarray(self.volume / np.clip(inside, BRAIN_SHARE, 1))

    def _movable(self) -> PreparedBrain:
        if self.prepared is None:
            raise ScanError("Only a scan that was prepared can be moved; call Scan.align first.")
        return self.prepared

    @answering
    def to_native(self, volume: np.ndarray, *, signed: bool = False) -> nib.Nifti1Image:
        """Resample a model-space volume (X, Y, Z) to the scan's own grid and units.

        float32, 0 outside the brain; orientation, affine and header codes are the scan's. The bias
        field is not reapplied. `signed` keeps negative values, for differences.
        """
        return native_image(volume, self.space, self.describe(), signed=signed)

    def labels_to_native(self, labels: np.ndarray) -> np.ndarray:
        """Resample model-space labels (X, Y, Z) to the scan's own grid, by nearest neighbour."""
        return nearest(labels, self.space, self.scan.space, self.rigid)

    def describe(self) -> Json:
        """Everything `native_image` needs, without the scan's file; plain values for JSON.

        Only the file name of the path is kept: folder names may identify patients. `origin` is
        there unless the scan was acquired, `volume` where its file has several.
        """
        made: Json = {} if self.scan.origin == "acquired" else {"origin": self.scan.origin}
        made |= {} if self.scan.volume is None else {"volume": self.scan.volume}
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
            "steps": facts_in(self.steps),
            "notes": facts_in(self.scan.notes),
            "doubts": [asdict(doubt) for doubt in self.doubts],
            **made,
        }


def on_grid(
    scan: ScanData, prepared: PreparedBrain, rigid: np.ndarray, record: tuple[PreparationStep, ...]
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
    volume, scale = intensity.normalise(data, mask)
    quality = intensity.correlation(volume, target.template)
    notes = _judged(prepared, volume, mask, quality, scan.contrast)
    record = (*record, PreparationStep("grid", notes, perf_counter() - start))
    steps = [note for step in record for note in step.notes]
    return AlignedScan(
        volume, target.space, rigid, quality, mask, scale, steps, scan, prepared, record
    )


def contrast_doubts(
    volume: np.ndarray, template: np.ndarray, mask: np.ndarray, contrast: str
) -> list[Doubt]:
    """A doubt that refuses a brain (X, Y, Z) on the model's grid without the contrast of T1.

    `contrast` is that of the scan according to its name or timing.
    """
    agreement = intensity.contrast_agreement(volume, template, mask)
    if agreement >= (EXPECTED_CONTRAST if contrast in ("", T1) else NAMED_CONTRAST):
        return []
    named = contrast not in ("", T1)
    looks = contrast if named else intensity.contrast_in_brain(volume, template, mask)
    how = "by its name or timing it is" if named else "it looks like"
    text = "The contrast is not that of a T1-weighted scan, which the model expects" + (
        "." if looks in ("", T1) else f"; {how} {looks}."
    )
    return [Doubt("contrast", "refuse", text, {"agreement": float(agreement)})]


def _judged(
    prepared: PreparedBrain, volume: np.ndarray, mask: np.ndarray, quality: float, contrast: str
) -> tuple[Doubt, ...]:
    """Doubts about a brain on the model's grid, what explains the others first."""
    target = prepared.target
    found = contrast_doubts(volume, target.template, mask, contrast)
    lost = 1 - mask.sum() * abs(np.linalg.det(target.space.affine)) / (
        prepared.mask.sum() * abs(np.linalg.det(prepared.space.affine))
    )
    if lost > 0.03:
        text = (
            f"{100 * lost:.0f} % of the brain is outside the model's grid and is cut "
            "off; if the pose is wrong, correct it manually."
        )
        found.append(Doubt("off-grid", "ask", text, {"share": float(lost)}))
    if quality < EXPECTED_QUALITY:
        text = (
            f"It is less similar to the mean brain than usual (correlation {quality:.2f}); if a "
            "large lesion is the reason, mask it to leave it out."
        )
        found.append(Doubt("likeness", "ask", text, {"correlation": float(quality)}))
    return tuple(found)


# Two scans of one person on one grid, each moved half of the way to the other.
#
# A scan that is resampled onto another one is blurred more than that one, and the blur looks like a
# change of tissue. So the rigid movement between two visits is divided: each scan goes half of it,
# by one interpolation of its own voxels (Reuter et al. 2012, NeuroImage 61, 1402, "Within-subject
# template estimation for unbiased longitudinal image analysis"). The movement is the mean of both
# directions of the alignment, so exchanging the visits gives the same pair, exchanged.
#
# What the scanner alone changes is taken off by half from each: the contrast, by a curve, and the
# shading, which is the slow part of the ratio of both images (Lewis and Fox 2004, NeuroImage 23,
# 75, "Correction of differential intensity inhomogeneity in longitudinal MR images").

#: Folds of one person agree: their alignment also uses a finer level.
LEVELS_OF_ONE_MM = (*LEVELS_MM, 2.0)
#: Tissue is brighter than this in both; shading is slower than this standard deviation and, like
#: the ratio at a voxel, within this range of logarithms.
TISSUE, SHADING_MM, LARGEST_RATIO = 0.35, 12.0, 0.4
#: What the first round leaves of the shading, the second takes.
ROUNDS = 2
#: Parts of equally many voxels, by brightness, whose medians tell the contrast.
BINS = 40
#: Standard deviation that divides a brain's shape from its folds.
FOLDS_MM = 2.0


@dataclass(frozen=True, eq=False)
class Halfway:
    """A pair of scans on one grid, half-way between them.

    Attributes
    ----------
    first, second : AlignedScan
        Each by one interpolation; `rigid` leads from its scan to the grid.
    volumes : tuple of ndarray, float32 (X, Y, Z)
        Both with their contrast and shading matched, in [0, 1].
    moved_mm, turned_deg : float
        The rigid movement between the two as they were aligned to the model.
    agreement : float
        Correlation of the folds of both brains; see `folds_agreement`.
    """

    first: AlignedScan
    second: AlignedScan
    volumes: tuple[np.ndarray, np.ndarray]
    moved_mm: float
    turned_deg: float
    agreement: float

    @property
    def space(self) -> Space:
        """The common grid."""
        return self.first.space


def halfway(first: AlignedScan, second: AlignedScan) -> Halfway:
    """Bring two scans of one person to one grid.

    Parameters
    ----------
    first, second : AlignedScan
        As `Scan.align` makes them, to the same target.

    Raises
    ------
    ScanError
        If a brain does not resemble the model's, or lies outside its grid.
    """
    forth = _between(first, second)
    # Half-way between both ways of finding it.
    back = _between(second, first)
    whole = forth @ _half(np.linalg.inv(back @ forth))
    half = _half(whole)
    one, other = first.posed(np.linalg.inv(half) @ first.rigid), second.posed(half @ second.rigid)
    middle = centroid(first.brain_mask, first.space)
    far = float(np.linalg.norm(nib.affines.apply_affine(whole, middle) - middle))
    turned = float(np.degrees(Rotation.from_matrix(whole[:3, :3]).magnitude()))
    volumes = matched(one.volume, other.volume, one.space)
    return Halfway(one, other, volumes, far, turned, folds_agreement(*volumes, one.space))


def _between(first: AlignedScan, second: AlignedScan) -> np.ndarray:
    """(4, 4) of the second brain onto the first, both as aligned to the model."""
    prepared = second._movable()
    target = Template(first.space, first.volume)
    rigid = refined_rigid(
        prepared.brain, prepared.space, target, second.rigid, levels_mm=LEVELS_OF_ONE_MM
    )
    return rigid @ np.linalg.inv(second.rigid)


def _half(rigid: np.ndarray) -> np.ndarray:
    """Half of a rigid movement (4, 4) along its screw axis."""
    return expm(0.5 * np.real(logm(rigid)))


def matched(first: np.ndarray, second: np.ndarray, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Two images of one brain with the same contrast and shading, float32 (X, Y, Z) in [0, 1].

    Both contrasts are brought to the one in the middle by the medians where the mean of the images
    is about as bright: what changed in few voxels does not count. Shading is compared where both
    show tissue.
    """
    first, second = _same_contrast(first, second)
    for _ in range(ROUNDS):
        half = np.exp(_slow_ratio(first, second, space) / 2)
        first, second = np.clip(first * half, 0, 1), np.clip(second / half, 0, 1)
    return first, second


def _slow_ratio(first: np.ndarray, second: np.ndarray, space: Space) -> np.ndarray:
    """Logarithm of second over first, smooth, (X, Y, Z)."""
    both = (first > TISSUE) & (second > TISSUE)
    ratio = np.zeros(first.shape, np.float32)
    np.log(second / np.maximum(first, TISSUE), out=ratio, where=both)
    ratio = np.clip(ratio, -LARGEST_RATIO, LARGEST_RATIO)
    sigma = SHADING_MM / np.array(space.voxel_size)
    near = ndimage.gaussian_filter(both.astype(np.float32), sigma)
    return ndimage.gaussian_filter(ratio, sigma) / np.maximum(near, 1e-3)


def _same_contrast(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the curve of intensities in the middle of theirs."""
    inside = (first > 0) & (second > 0)
    values = first[inside], second[inside]
    mean = (values[0] + values[1]) / 2
    edges = np.quantile(mean, np.linspace(0, 1, BINS + 1))
    part = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, BINS - 1)
    medians = [np.array(ndimage.median(one, part, np.arange(BINS)), np.float64) for one in values]
    middle = np.concatenate([[0.0], np.maximum.accumulate((medians[0] + medians[1]) / 2), [1.0]])
    found = []
    for image, median in zip((first, second), medians, strict=True):
        places = intensity.rising(np.concatenate([[0.0], median, [1.0]]))
        found.append(np.interp(image, places, middle).astype(np.float32))
    return found[0], found[1]


def folds_agreement(first: np.ndarray, second: np.ndarray, space: Space) -> float:
    """Correlation of what is finer than the brain's shape, inside both brains.

    Parameters
    ----------
    first, second : ndarray, shape (X, Y, Z)
        Aligned, 0 outside the brain.
    """
    sigma = FOLDS_MM / np.array(space.voxel_size)
    fine = [one - ndimage.gaussian_filter(one, sigma) for one in (first, second)]
    deep = eroded((first > 0) & (second > 0), 2)
    return intensity.correlation(fine[0][deep], fine[1][deep]) if deep.any() else 0.0
