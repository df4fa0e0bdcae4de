"""A second image of a patient beside the scan: FLAIR, T2, an earlier T1, or a map of labels.

The image is moved rigidly onto the scan by mutual information, which needs no common contrast
(Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI
2003), from coarse to fine, beginning where the headers put it. Every voxel of the coarse grids
counts, none is drawn at random, so the result is the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import RAS_TO_LPS, Space
from stylegan3d.scans.label_maps import looks_like_labels
from stylegan3d.scans.notes import Note
from stylegan3d.scans.resampling import isotropic_space, nearest, resample
from stylegan3d.scans.scan import to_sitk
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.storage.formats import without_suffix

How = Literal["auto", "align", "header"]
LEVELS_MM = (6.0, 3.0, 2.0)
BINS = 32
ITERATIONS = 80
# Share of the brightest intensities above which a voxel belongs to the head.
HEAD = 0.1
# More exact zeros than this are a background that was cut away, and tell nothing about the pose.
CUT_SHARE = 0.4
# Least agreement of a pose that is shown. Images of one patient reached 0.24 (T2) to 0.56 (FLAIR,
# repeats of T1), those of others 0.04 to 0.32: the agreement cannot tell whose an image is.
LEAST_AGREEMENT, USUAL_AGREEMENT = 0.1, 0.2
# The second image's grid is finer by this: on grids of one spacing mutual information has false
# maxima where voxels coincide (Pluim et al., Computer Vision and Image Understanding 2000).
FINER = 1.3
# Share of the smaller head that has to lie within the other one.
OVERLAP = 0.5
# Starts nearer to each other than this are one.
NEAR_MM = 5.0
# An image on the scan's own grid is doubted if it would agree better farther away than this.
DOUBTED_MM = 2.0


@dataclass(frozen=True, eq=False)
class SecondImage:
    """An image that lies on a patient's scan.

    Attributes
    ----------
    image : ScanData
        The image as it was read, on its own grid.
    rigid : ndarray
        (4, 4) rigid movement, its RAS millimetres to those of the scan.
    agreement : float
        How well image and scan predict each other in this pose, 0 to 1: twice their mutual
        information as a share of the sum of their entropies, where both show the head. NaN for
        labels.
    labels : bool
        Whether it is a map of labels, such as a lesion mask.
    note : Note
        How it came to lie there, with a warning where that is in doubt.
    """

    image: ScanData
    rigid: np.ndarray
    agreement: float
    labels: bool
    note: Note

    @property
    def name(self) -> str:
        """Name of the file without its extension, with the contrast that it names.

        What was not acquired says so; for labels that a program made that is nothing unusual.
        """
        name, origin = without_suffix(self.image.path.name), self.image.origin
        return name if self.labels or origin == "acquired" else f"{name} ({origin})"

    def on(self, space: Space, rigid: np.ndarray | None = None) -> np.ndarray:
        """The image on another grid: linear interpolation, or the nearest voxel for labels.

        Parameters
        ----------
        space : Space
            The grid, such as the model's.
        rigid : ndarray or None
            (4, 4) the scan's RAS mm to those of the grid, such as `AlignedScan.rigid`; None if
            they are the same.

        Returns
        -------
        ndarray, shape of the grid
            float32, or int32 for labels; 0 outside the image.
        """
        back = np.linalg.inv(self.rigid if rigid is None else rigid @ self.rigid)
        if not self.labels:
            return resample(self.image.data, self.image.space, space, back)
        return nearest(self.image.data.astype(np.int32), self.image.space, space, back)


def second_image(scan: ScanData, image: ScanData, how: How = "auto") -> SecondImage:
    """Bring a second image onto a patient's scan.

    Parameters
    ----------
    scan, image : ScanData
        The patient's scan and the image beside it. Whether both are of the same person is for the
        caller to say.
    how : {"auto", "align", "header"}
        "auto" takes labels, and images on the scan's own grid, as they lie, and aligns others;
        "align" moves whatever is no map of labels; "header" moves nothing.

    Returns
    -------
    SecondImage

    Raises
    ------
    ScanError
        If it is the scan itself, nothing of it lies on the scan, or no pose was found in which both
        agree.

    Examples
    --------
    A FLAIR on the model's grid, beside the aligned T1::

        scan = read_scan("sub-07_T1w.nii.gz")
        aligned = scan.align(generator)
        second = second_image(scan, read_scan("sub-07_FLAIR.nii.gz"))
        flair = second.on(aligned.space, aligned.rigid)
    """
    # Volumes of one file have one hash.
    if image.sha256 == scan.sha256 and np.array_equal(image.data, scan.data):
        raise ScanError(f"{image.path.name} is the scan itself; give another image beside it.")
    read, image = image, image.beside(scan)
    here = np.eye(4)
    if looks_like_labels(image.data):
        _check_overlap(scan, image)
        note = Note("info", "The labels lie where their header puts them.")
        if image is not read:
            note = Note("info", "The labels lie on the scan's own voxels.")
        return SecondImage(image, here, float("nan"), True, note)
    if how == "header":
        _check_overlap(scan, image)
        note = Note("info", "The second image lies where its header puts it, as requested.")
        return SecondImage(image, here, _agreement(scan, image), False, note)
    rigid, agreement = _aligned(scan, image)
    if agreement < LEAST_AGREEMENT:
        raise ScanError(
            f"{image.path.name} could not be aligned to {scan.path.name}: they hardly agree in "
            f"any pose near that of their headers (agreement {agreement:.2f}, at least "
            f"{LEAST_AGREEMENT:g} is needed). Check that both show the same head and that the "
            "orientation in the header is right."
        )
    middle = _Head.of(image, LEVELS_MM[0]).middle
    far = np.linalg.norm(nib.affines.apply_affine(rigid, middle) - middle)
    angle = np.degrees(Rotation.from_matrix(rigid[:3, :3]).magnitude())
    if how == "auto" and image.space.same_as(scan.space):
        note = Note("info", "The second image is on the scan's own grid and was taken as it lies.")
        if far > DOUBTED_MM or angle > DOUBTED_MM:
            text = (
                "the second image is on the scan's own grid and was taken as it lies, but it would "
                f"agree better moved by {far:.1f} mm and turned by {angle:.1f} degrees."
            )
            note = Note("check", text)
        return SecondImage(image, here, _agreement(scan, image), False, note)
    text = (
        f"the second image was moved by {far:.1f} mm and turned by {angle:.1f} degrees onto the "
        f"scan (agreement {agreement:.2f}"
    )
    note = Note("info", f"T{text[1:]}).")
    if agreement < USUAL_AGREEMENT:
        note = Note("check", f"{text}, less than usual for one patient): look whether it fits.")
    return SecondImage(image, rigid, agreement, False, note)


def _agreement(scan: ScanData, image: ScanData) -> float:
    """How well both agree where their headers put them, as `SecondImage.agreement`."""
    fixed, moving = (_Head.of(one, LEVELS_MM[-1]) for one in (scan, image))
    return fixed.shares(moving, np.eye(4))


def _aligned(scan: ScanData, image: ScanData) -> tuple[np.ndarray, float]:
    """The best pose (4, 4), image mm to scan mm, near the header's or with the heads centred."""
    levels = [(_Head.of(scan, mm), _Head.of(image, mm / FINER)) for mm in LEVELS_MM]
    coarse = levels[0]
    centred = np.eye(4)
    centred[:3, 3] = coarse[1].middle - coarse[0].middle
    found = []
    for pose in (np.eye(4), centred):
        if np.linalg.norm(pose[:3, 3]) > 0 and np.linalg.norm(pose[:3, 3]) < NEAR_MM:
            continue  # both starts are one
        try:
            for fixed, moving in levels[:2]:
                pose = fixed.fit(moving, pose)
        except RuntimeError:  # ITK: too little of one lies within the other
            continue
        found.append((levels[1][0].shares(levels[1][1], pose), pose))
    if not found:
        raise ScanError(
            f"{image.path.name} does not overlap {scan.path.name}; check that both show the "
            "same head."
        )
    best = max(found, key=lambda one: one[0])[1]
    fixed, moving = levels[-1]
    best = fixed.fit(moving, best)
    return np.linalg.inv(best), fixed.shares(moving, best)


@dataclass(frozen=True, eq=False)
class _Head:
    """An image on a coarse grid around the head.

    `data` is at most its 99.5th percentile, `head` is where it says something, and `middle` (3,)
    the middle of that in RAS mm.
    """

    data: np.ndarray
    head: np.ndarray
    space: Space
    middle: np.ndarray
    image: sitk.Image
    mask: sitk.Image | None

    @classmethod
    def of(cls, scan: ScanData, mm: float) -> _Head:
        low = float(scan.data.min())
        bright = float(np.percentile(scan.data, 99.5)) - low
        cut = scan.data == low
        grid = isotropic_space(scan.data - low > HEAD * bright, scan.space, mm, 2 * mm)
        data = np.clip(resample(scan.data - low, scan.space, grid), 0, bright)
        head = data > HEAD * bright
        mask = None
        if cut.mean() > CUT_SHARE:
            near = ndimage.binary_dilation(head, iterations=2)
            mask = to_sitk(near.astype(np.uint8), grid)
        middle = nib.affines.apply_affine(grid.affine, np.argwhere(head).mean(axis=0))
        return cls(data, head, grid, middle, to_sitk(data, grid), mask)

    def fit(self, moving: _Head, pose: np.ndarray) -> np.ndarray:
        """The best pose (4, 4) near one, own mm to the other image's."""
        mm = self.space.voxel_size[0]
        ways = sitk.ImageRegistrationMethod()
        ways.SetMetricAsMattesMutualInformation(BINS)
        ways.SetMetricSamplingStrategy(ways.NONE)
        if self.mask is not None:
            ways.SetMetricFixedMask(self.mask)
        ways.SetInterpolator(sitk.sitkLinear)
        ways.SetOptimizerAsRegularStepGradientDescent(
            mm / 2, mm / 200, ITERATIONS, relaxationFactor=0.6
        )
        ways.SetOptimizerScalesFromPhysicalShift()
        moved = _euler(pose, self.middle)
        ways.SetInitialTransform(moved, inPlace=True)
        ways.Execute(self.image, moving.image)
        return _matrix(moved)

    def shares(self, other: _Head, pose: np.ndarray) -> float:
        """Mutual information where both show the head, as `SecondImage.agreement`."""
        head = resample(other.head.astype(np.float32), other.space, self.space, pose) > 0.5
        both_heads = self.head & head
        if both_heads.sum() < OVERLAP * min(self.head.sum(), head.sum()) or not both_heads.any():
            return 0.0
        there = resample(other.data, other.space, self.space, pose)[both_heads]
        seen, _, _ = np.histogram2d(self.data[both_heads], there, bins=BINS)
        share = seen / seen.sum()
        here, other_share = share.sum(axis=1), share.sum(axis=0)
        both = _entropy(here) + _entropy(other_share)
        return float(2 * (both - _entropy(share)) / both) if both else 0.0


def _entropy(share: np.ndarray) -> float:
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def _euler(pose: np.ndarray, middle: np.ndarray) -> sitk.Euler3DTransform:
    """A pose (4, 4) in RAS mm, turning about `middle`, for ITK."""
    itk = RAS_TO_LPS @ pose @ RAS_TO_LPS
    center = RAS_TO_LPS[:3, :3] @ middle
    moved = sitk.Euler3DTransform()
    moved.SetCenter(center.tolist())
    moved.SetMatrix(itk[:3, :3].ravel().tolist(), 1e-6)
    moved.SetTranslation((itk[:3, 3] + itk[:3, :3] @ center - center).tolist())
    return moved


def _matrix(moved: sitk.Euler3DTransform) -> np.ndarray:
    """Inverse of `_euler`."""
    turn, center = np.array(moved.GetMatrix()).reshape(3, 3), np.array(moved.GetCenter())
    itk = nib.affines.from_matvec(turn, np.array(moved.GetTranslation()) + center - turn @ center)
    return RAS_TO_LPS @ itk @ RAS_TO_LPS


def _check_overlap(scan: ScanData, image: ScanData) -> None:
    """Refuse an image that its header puts beside the scan."""
    there = resample((image.data != 0).astype(np.float32), image.space, scan.space)
    if not (there > 0).any():
        raise ScanError(
            f"By their headers, {image.path.name} and {scan.path.name} do not overlap; check that "
            "both belong together."
        )
