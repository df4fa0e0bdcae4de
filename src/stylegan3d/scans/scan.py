"""A scan that can be aligned to a model's grid, once its bias field is taken out.

A second image of a patient beside the scan: FLAIR, T2, an earlier T1, or a map of labels.

The image is moved rigidly onto the scan by mutual information, which needs no common contrast
(Mattes et al., "PET-CT image registration in the chest using free-form deformations", IEEE TMI
2003), from coarse to fine, beginning where the headers put it. Every voxel of the coarse grids
counts, none is drawn at random, so the result is the same each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from skimage.measure import block_reduce
from skimage.metrics import normalized_mutual_information

from stylegan3d import base
from stylegan3d.geometry.space import RAS_TO_LPS, Shown, Space, dilated
from stylegan3d.scans.aligned import AlignedScan, PreparationStep, PreparedBrain, on_grid
from stylegan3d.scans.alignment import Target, Template, align_rigid, centred_rigid, standard_brain
from stylegan3d.scans.extraction import EXTRACTED, FOUND, KEPT, TILTED, edge_notes, find_brain
from stylegan3d.scans.intensity import check_sign, correlation
from stylegan3d.scans.label_maps import looks_like_labels
from stylegan3d.scans.resampling import cropped, isotropic_space, nearest, resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.storage.about import NOT_ACQUIRED
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import from_json, packed_arrays, read_arrays, short_repr, to_json
from stylegan3d.storage.files import atomic_write_bytes, make_private, output_errors
from stylegan3d.storage.formats import without_suffix

WORKING_MM = 4.0
FIELD_OF_VIEW_MM = 256.0
# Few iterations, as for the training data (a field of 2 to 5 %): run to convergence, N4 reduces the
# contrast of grey and white matter.
ITERATIONS = (10, 10, 10)


def log_bias_field(data: np.ndarray, mask: np.ndarray, space: Space, grid: Space) -> np.ndarray:
    """The multiplicative bias field inside a brain, by N4, as its logarithm.

    Parameters
    ----------
    data : ndarray, float32 (I, J, K)
        Intensities; only voxels in the mask with a value above 0 are used.
    mask : ndarray, bool (I, J, K)
    space : Space
    grid : Space
        The field's grid, see `working_grid`.

    Returns
    -------
    ndarray, float32
        On `grid`, with mean 0 inside the mask, so that dividing by the field keeps the scan's
        units; `field_on` resamples it.

    References
    ----------
    Tustison et al., "N4ITK: Improved N3 Bias Correction", IEEE TMI 2010.
    """
    inside = mask & (data > 0)
    brain = np.where(inside, data, np.float32(0))
    region = resample(inside.astype(np.float32), space, grid) > 0.5
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(ITERATIONS))
    image = to_sitk(resample(brain, space, grid), grid)
    n4.Execute(image, to_sitk(region.astype(np.uint8), grid))
    log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    return np.ascontiguousarray(log_field - log_field[region].mean(), dtype=np.float32)


def field_on(log_field: np.ndarray, grid: Space, space: Space) -> np.ndarray:
    """A field resampled to the scan's own grid, float32."""
    return np.exp(resample(log_field, grid, space))


def working_grid(mask: np.ndarray, space: Space) -> Space:
    """A standard field of view around the brain, independent of the scan's own.

    N4's spline spans the image: on a smaller one the same settings allow more curvature.
    """
    middle = nib.affines.apply_affine(space.affine, np.argwhere(mask).mean(axis=0))
    count = round(FIELD_OF_VIEW_MM / WORKING_MM)
    affine = np.diag([WORKING_MM] * 3 + [1.0])
    affine[:3, 3] = middle - WORKING_MM * (count - 1) / 2
    return Space((count, count, count), affine)


def to_sitk(data: np.ndarray, space: Space) -> sitk.Image:
    """An array [x, y, z] on a RAS+ grid as a SimpleITK image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    affine = RAS_TO_LPS @ space.affine
    spacing = np.asarray(space.voxel_size)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


# Disk cache of slow preparation steps.

# Increase whenever a step's result changes, to invalidate older entries.
VERSION = 4
# About 1 MB each; the oldest are evicted.
MOST_ENTRIES = 300
SUFFIX = ".step.z"


class StepCache:
    """A folder of arrays by key; without a folder nothing is cached.

    Damaged, outdated or incomplete entries count as missing and are written again. If the folder is
    not writable, results are unaffected and `problem` has the reason.

    Parameters
    ----------
    folder : path-like or None
        Made when the first entry is written, or tightened, so that only the user can read it. It
        contains masks and poses under hashes, no names.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.problem = ""

    def get(self, key: str, shapes: Mapping[str, tuple[int, ...] | None]) -> base.Json | None:
        """The arrays of an entry, or None; `shapes` are those required, None for any shape."""
        if self.folder is None:
            return None
        found = read_arrays(self.folder / f"{key}{SUFFIX}", shapes)
        if found is None or any(
            found[name].shape != shape for name, shape in shapes.items() if shape is not None
        ):
            return None
        return found

    def put(self, key: str, **arrays: np.ndarray) -> None:
        """Store arrays under a key."""
        if self.folder is None:
            return
        try:
            with output_errors(self.folder):
                make_private(self.folder)
            path = self.folder / f"{key}{SUFFIX}"
            atomic_write_bytes(path, packed_arrays(arrays), overwrite=True)
        except base.OutputError as error:
            self.problem = str(error)
        self._make_room()

    def _make_room(self) -> None:
        assert self.folder is not None
        with suppress(OSError):  # another process may clear the folder concurrently
            entries = sorted(self.folder.glob("*.step.*"), key=lambda path: path.stat().st_mtime)
            for path in entries[:-MOST_ENTRIES]:
                path.unlink(missing_ok=True)


def key_of(step: str, *parts: Any) -> str:
    """Key from a step's name and everything its result depends on."""
    digest = hashlib.sha256(f"{VERSION} {step}".encode())
    for part in parts:
        if isinstance(part, Space):
            part = (list(part.shape), np.asarray(part.affine, dtype=np.float64).tolist())
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\0")
    return f"{step}-{digest.hexdigest()[:32]}"


# Preparation of a scan: brain extraction, bias correction, alignment.
#
# Each step can be skipped, reports what it did and how long it took, and can be cached on disk.

SKULL_CHOICES = ("auto", "extract", "keep")
POSE_CHOICES = ("auto", "keep", "centre")
# Correlation with a standard brain: wrongly posed brains reach 0.75, noise 0.
LIKE_A_HEAD = 0.4
# Heads in scanners are tilted by up to 20 degrees relative to the mean brain.
ODD_DEGREES = 25.0
# Scans with two or more voxels in this length are prepared from averages; models have 1 mm or more.
FINEST_MM = 0.8


@dataclass(frozen=True)
class PreparationOptions:
    """Options of the preparation; see `Scan.align`."""

    skull: str = "auto"
    bias_correction: bool = True
    pose: str = "auto"

    def __post_init__(self) -> None:
        for name, choices in {"skull": SKULL_CHOICES, "pose": POSE_CHOICES}.items():
            if (value := getattr(self, name)) not in choices:
                raise base.ScanError(
                    f"{name} is {value!r}; it must be one of {', '.join(choices)}."
                )


def averaged(scan: ScanData) -> ScanData:
    """The scan with blocks of voxels averaged that are finer than models show; others as they are.

    A scan of 0.3 mm has 200 million voxels, of which each step of the preparation would need
    several copies.
    """
    steps = [max(1, int(FINEST_MM / size)) for size in scan.space.voxel_size]
    if max(steps) == 1:
        return scan
    whole = tuple(slice(n - n % step) for n, step in zip(scan.data.shape, steps, strict=True))
    data = block_reduce(scan.data[whole], tuple(steps), np.mean)
    grid = np.diag([*steps, 1.0])
    grid[:3, 3] = (np.array(steps) - 1) / 2
    return replace(scan, data=data, affine=scan.affine @ grid)


@dataclass(frozen=True, eq=False)
class _Work:
    """Input of all steps."""

    scan: ScanData
    target: Target
    options: PreparationOptions
    cache: StepCache
    image: str
    progress: base.Progress


_Prepared = tuple[list[PreparationStep], PreparedBrain, np.ndarray, int]


def _upright(work: _Work, first: _Prepared) -> _Prepared:
    """All steps again with the known pose of the head; `first` if that finds no brain."""
    sentence = "The head is in an unusual pose; the brain was extracted again, upright."
    progress = work.progress.part(0.65, 0.4, text=lambda doing: f"{doing}, again")
    try:
        made = _prepared(replace(work, progress=progress), first[2], first[1])
    except base.ScanError:
        return first
    discarded, step = first[0][0], made[0][0]
    step = replace(step, notes=(sentence, *step.notes[1:]), how="done")
    return [replace(discarded, notes=discarded.notes[:1]), step, *made[0][1:]], *made[1:]


def _prepared(
    work: _Work, upright: np.ndarray | None = None, near: PreparedBrain | None = None
) -> _Prepared:
    """All steps up to the pose.

    `upright` (4, 4) rotates the head upright and `near` is an approximate brain mask, if known.
    """
    scan, progress = work.scan, work.progress
    progress(0.0, 1.0, "Finding the brain")
    step, mask, found = _brain_step(work, upright, near)
    check_sign(scan, mask)
    brain, space = cropped(np.where(mask, scan.data, np.float32(0)), scan.space, mask)
    mask = cropped(mask, scan.space, mask)[0]
    record = [step]
    if work.options.bias_correction:
        progress(0.4, 1.0, "Correcting the bias field")
        step, brain = _bias_step(work, brain, mask, space)
        record.append(step)
    progress(0.6, 1.0, "Aligning to the model's brain")
    step, rigid = _pose_step(work, brain, space)
    target = Template(work.target.space, work.target.template)  # not a whole generator
    return [*record, step], PreparedBrain(brain, mask, space, target), rigid, found


def _lies_oddly(affine: np.ndarray, rigid: np.ndarray) -> bool:
    """Whether a head is tilted more than usual, or the array's axes are permuted."""
    before, after = nib.io_orientation(affine), nib.io_orientation(rigid @ affine)
    angle = np.degrees(Rotation.from_matrix(rigid[:3, :3]).magnitude())
    return not np.array_equal(before, after) or bool(angle > ODD_DEGREES)


def _brain_step(
    work: _Work, upright: np.ndarray | None, near: PreparedBrain | None
) -> tuple[PreparationStep, np.ndarray, int]:
    """Brain mask on the scan's grid, and how it was found."""
    start = perf_counter()
    scan, options, cache = work.scan, work.options, work.cache
    key = key_of("brain", work.image, options.skull, None if upright is None else upright.tolist())
    kept = cache.get(key, {"mask": (-(-scan.data.size // 8),), "found": (1,)})
    if kept is not None:
        bits = np.unpackbits(kept["mask"], count=scan.data.size)
        mask, found = bits.astype(bool).reshape(scan.data.shape), int(kept["found"][0])
    else:
        known = None if near is None else (near.mask, near.space)
        mask, found = find_brain(scan, options.skull, upright, known)
        cache.put(key, mask=np.packbits(mask), found=np.array([found]))
    how = "cached" if kept is not None else "kept" if found == KEPT else "done"
    notes = (FOUND[found], *edge_notes(mask, scan.space))
    return PreparationStep("brain", notes, perf_counter() - start, how), mask, found


def _bias_step(
    work: _Work, brain: np.ndarray, mask: np.ndarray, space: Space
) -> tuple[PreparationStep, np.ndarray]:
    """The brain divided by its bias field."""
    start = perf_counter()
    cache = work.cache
    grid = working_grid(mask & (brain > 0), space)
    key = "" if cache.folder is None else key_of("bias", brain, mask, space)
    kept = cache.get(key, {"log_field": grid.shape})
    log_field = log_bias_field(brain, mask, space, grid) if kept is None else kept["log_field"]
    if kept is None:
        cache.put(key, log_field=log_field)
    field = field_on(log_field, grid, space)
    low, high = np.percentile(field[mask], (1, 99))
    spread = 100 * (high / low - 1)
    text = (
        f"Bias field corrected with N4 (range over the brain: {spread:.0f} %)."
        if round(spread)
        else "No bias field found."
    )
    how = "done" if kept is None else "cached"
    return PreparationStep("bias", (text,), perf_counter() - start, how), brain / field


def _pose_step(work: _Work, brain: np.ndarray, space: Space) -> tuple[PreparationStep, np.ndarray]:
    """Pose of the brain: scan RAS mm to model RAS mm, (4, 4)."""
    start = perf_counter()
    target, cache = work.target, work.cache
    if work.options.pose == "keep":
        text = "The pose was kept, as requested: the scan is already in model space."
        return PreparationStep("pose", (text,), perf_counter() - start, "kept"), np.eye(4)
    if work.options.pose == "centre":
        text = "The brain was centred on the mean brain without rotation, as requested."
        rigid = centred_rigid(brain, space, target)
        return PreparationStep("pose", (text,), perf_counter() - start, "kept"), rigid
    key = ""
    if cache.folder is not None:
        foreign = getattr(target, "frame", None) is not None
        key = key_of("pose", brain, space, target.template, target.space, foreign)
    kept = cache.get(key, {"rigid": (4, 4), "texts": None})
    notes = None if kept is None else _notes_of(kept["texts"])
    if kept is not None and notes is not None and np.isfinite(kept["rigid"]).all():
        rigid = kept["rigid"]
    else:
        kept = None
        rigid, notes = _posed(brain, space, target)
        cache.put(key, rigid=rigid, texts=np.frombuffer(to_json(notes).encode(), np.uint8))
    how = "done" if kept is None else "cached"
    return PreparationStep("pose", tuple(notes), perf_counter() - start, how), rigid


def _notes_of(kept: np.ndarray) -> list[base.Note] | None:
    """Notes of a cached step; None if damaged."""
    try:
        texts = from_json(bytes(kept))
        return [text if isinstance(text, str) else base.Doubt.read(text) for text in texts]
    except (ValueError, TypeError):  # damaged
        return None


def _posed(brain: np.ndarray, space: Space, target: Target) -> tuple[np.ndarray, list[base.Note]]:
    """Like `align_rigid`; falls back to a standard brain for networks without a usable mean brain.

    An imported network may have another orientation or intensities than assumed, or be untrained.
    """
    if getattr(target, "frame", None) is None:
        return align_rigid(brain, space, target)
    standard = standard_brain(target.space)
    there = resample(standard.template, standard.space, target.space)
    likeness = correlation(there, target.template)
    if likeness >= LIKE_A_HEAD:
        with suppress(base.ScanError):
            rigid, steps = align_rigid(brain, space, target)
            return rigid, [*base.facts_in(steps)]
    rigid, steps = align_rigid(brain, space, standard)
    text = (
        "This brain does not match the model's mean brain in any orientation, so it was aligned to "
        "a standard brain in the centre of the model's grid; check the model's axes and voxel size."
    )
    doubt = base.Doubt("model-axes", "ask", text, {"likeness": float(likeness)})
    return rigid, [doubt, *base.facts_in(steps)]


class Scan(Shown, ScanData):
    """One 3D scan on its own grid; see `ScanData` for its attributes."""

    @answering
    def align(
        self,
        target: Target,
        *,
        skull: str = "auto",
        bias_correction: bool = True,
        pose: str = "auto",
        progress: base.Progress = base.SILENT,
        cache: str | Path | None = None,
    ) -> AlignedScan:
        """Align the brain of this scan to a model's grid, prepared like the training data.

        Parameters
        ----------
        target : Target
            A generator, or anything with its `space` and `template`.
        skull : {"auto", "extract", "keep"}
            Extract the brain unless already extracted; always; never.
        bias_correction : bool
            Correct the bias field (N4); not needed if already corrected.
        pose : {"auto", "keep", "centre"}
            Align the brain; keep its position, for a scan already in model space; or centre it on
            the mean brain, for manual alignment (`AlignedScan.nudged`).
        progress : Progress
            Told the fraction done (0 to 1) and what is being done.
        cache : path-like or None
            Folder to cache mask, bias field and pose under hashes of image, settings and target.

        Returns
        -------
        AlignedScan
            Rigidly aligned: the brain keeps its true size. Deterministic.

        Raises
        ------
        ScanError
            If no brain is found, or it does not resemble the model's mean brain.
        """
        options = PreparationOptions(skull, bias_correction, pose)
        if not hasattr(target, "template"):
            raise base.ScanError(f"align: target must be a generator, not {short_repr(target)}.")
        if looks_like_labels(self.data):
            raise base.ScanError(
                f"{self.path} is a label map or a mask, not a scan (whole numbers in regions); "
                "give the T1-weighted scan it was made from."
            )
        if self.origin == "difference":
            raise base.ScanError(f"{self.path} is {NOT_ACQUIRED[self.origin]}.")
        steps = StepCache(cache)
        # The key is the image itself: one file may have several volumes and orientations.
        seen = averaged(self)
        image = "" if steps.folder is None else key_of("image", seen.data, seen.space)
        work = _Work(seen, target, options, steps, image, progress)
        first = _prepared(work)
        record, prepared, rigid, found = first
        # deepbet misses parts of heads whose header is wrong about the pose.
        if found == TILTED or (found == EXTRACTED and _lies_oddly(self.affine, rigid)):
            record, prepared, rigid, _ = _upright(work, first)
        progress(0.9, 1.0, "Resampling to the model's grid")
        if steps.problem:
            text = f"The results of the steps could not be cached: {steps.problem}"
            record.append(PreparationStep("cache", (base.Doubt("cache", "tell", text),), 0.0))
        return on_grid(self, prepared, rigid, tuple(record))


How = Literal["auto", "align", "header"]
LEVELS_MM = (6.0, 3.0, 2.0)
BINS = 32
SECOND_ITERATIONS = 80
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
    note : str or Doubt
        How it came to lie there; a doubt where it may lie elsewhere.
    """

    image: ScanData
    rigid: np.ndarray
    agreement: float
    labels: bool
    note: base.Note

    @property
    def doubts(self) -> list[base.Doubt]:
        """What is in doubt about the image and about where it lies."""
        return [*self.image.doubts, *base.doubts_in([self.note])]

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


@answering
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
        raise base.ScanError(f"{image.path.name} is the scan itself; give another image beside it.")
    read, image = image, image.beside(scan)
    here = np.eye(4)
    if looks_like_labels(image.data):
        _check_overlap(scan, image)
        note: base.Note = "The labels lie where their header puts them."
        if image is not read:
            note = "The labels lie on the scan's own voxels."
        return SecondImage(image, here, float("nan"), True, note)
    if how == "header":
        _check_overlap(scan, image)
        note = "The second image lies where its header puts it, as requested."
        return SecondImage(image, here, _agreement(scan, image), False, note)
    rigid, agreement = _aligned(scan, image)
    if agreement < LEAST_AGREEMENT:
        raise base.ScanError(
            f"{image.path.name} could not be aligned to {scan.path.name}: they hardly agree in "
            f"any pose near that of their headers (agreement {agreement:.2f}, at least "
            f"{LEAST_AGREEMENT:g} is needed). Check that both show the same head and that the "
            "orientation in the header is right."
        )
    middle = _Head.of(image, LEVELS_MM[0]).middle
    far = np.linalg.norm(nib.affines.apply_affine(rigid, middle) - middle)
    angle = np.degrees(Rotation.from_matrix(rigid[:3, :3]).magnitude())
    if how == "auto" and image.space.same_as(scan.space):
        note = "The second image is on the scan's own grid and was not moved."
        if far > DOUBTED_MM or angle > DOUBTED_MM:
            text = (
                "The second image is on the scan's own grid and was not moved, but it would "
                f"agree better moved by {far:.1f} mm and turned by {angle:.1f} degrees."
            )
            note = base.Doubt("overlay", "ask", text, {"mm": float(far), "degrees": float(angle)})
        return SecondImage(image, here, _agreement(scan, image), False, note)
    text = (
        f"The second image was moved by {far:.1f} mm and rotated by {angle:.1f} degrees onto the "
        f"scan (agreement {agreement:.2f}"
    )
    note = f"{text})."
    if agreement < USUAL_AGREEMENT:
        text = f"{text}, less than usual for one patient): check the fit."
        note = base.Doubt("overlay", "ask", text, {"agreement": float(agreement)})
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
        raise base.ScanError(
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
        is_cut = cut.mean() > CUT_SHARE
        mask = to_sitk(dilated(head, 2).astype(np.uint8), grid) if is_cut else None
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
            mm / 2, mm / 200, SECOND_ITERATIONS, relaxationFactor=0.6
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
        here = self.data[both_heads]
        if not (np.ptp(here) or np.ptp(there)):
            return 0.0
        return float(2 - 2 / normalized_mutual_information(here, there, bins=BINS))


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
        raise base.ScanError(
            f"By their headers, {image.path.name} and {scan.path.name} do not overlap; check that "
            "both belong together."
        )
