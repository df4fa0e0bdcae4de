"""A scan that can be aligned to a model's grid, once its bias field is taken out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from stylegan3d.errors import OutputError, ScanError
from stylegan3d.geometry.space import RAS_TO_LPS, Space
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.scans.aligned import AlignedScan, PreparationStep, PreparedBrain, on_grid
from stylegan3d.scans.alignment import align_rigid, centred_rigid
from stylegan3d.scans.extraction import EXTRACTED, KEPT, TILTED, edge_notes, find_brain
from stylegan3d.scans.intensity import correlation
from stylegan3d.scans.label_maps import looks_like_labels
from stylegan3d.scans.notes import Note, checks, info
from stylegan3d.scans.resampling import cropped, resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.scans.target import Target, Template, standard_brain
from stylegan3d.storage.files import atomic_write_bytes, make_private, output_errors
from stylegan3d.storage.jsontext import from_json
from stylegan3d.storage.tensorfiles import packed_arrays, read_arrays

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
VERSION = 2
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

    def get(self, key: str, shapes: Mapping[str, tuple[int, ...] | None]) -> Json | None:
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
        except OutputError as error:
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
# Share of brain voxels below 0: fewer after sharp interpolation, half with z-scores.
NEGATIVE_SHARE = 0.1
# Heads in scanners are tilted by up to 20 degrees relative to the mean brain.
ODD_DEGREES = 25.0
# No head lies so in a scanner, face down included: then the header is wrong.
WRONG_DEGREES = 120.0


@dataclass(frozen=True)
class PreparationOptions:
    """Options of the preparation; see `Scan.align`."""

    skull: str = "auto"
    bias_correction: bool = True
    pose: str = "auto"
    cache: str | Path | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("skull", self.skull, SKULL_CHOICES),
            ("pose", self.pose, POSE_CHOICES),
        ):
            if value not in choices:
                raise ScanError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")


def align_scan(
    scan: ScanData, target: Target, options: PreparationOptions, progress: Progress = SILENT
) -> AlignedScan:
    """See `Scan.align`."""
    if looks_like_labels(scan.data):
        raise ScanError(
            f"{scan.path} is a label map or a mask, not a scan (whole numbers in regions); give "
            "the T1-weighted scan that it was made of."
        )
    cache = StepCache(options.cache)
    # The key is the image itself: one file may have several volumes and orientations.
    image = "" if cache.folder is None else key_of("image", scan.data, scan.space)
    work = _Work(scan, target, options, cache, image, progress)
    first = _prepared(work)
    record, prepared, rigid = first
    # deepbet misses parts of heads whose header is wrong about the pose.
    found = record[0].notes[0].text
    if found == TILTED or (found == EXTRACTED and _lies_oddly(scan.affine, rigid)):
        record, prepared, rigid = _upright(work, first)
    progress(0.9, 1.0, "Resampling to the model's grid")
    if cache.problem:
        sentence = f"The results of the steps could not be cached: {cache.problem}"
        record.append(PreparationStep("cache", (Note("info", sentence),), 0.0))
    return on_grid(scan, prepared, rigid, tuple(record))


@dataclass(frozen=True, eq=False)
class _Work:
    """Input of all steps."""

    scan: ScanData
    target: Target
    options: PreparationOptions
    cache: StepCache
    image: str
    progress: Progress


_Prepared = tuple[list[PreparationStep], PreparedBrain, np.ndarray]


def _upright(work: _Work, first: _Prepared) -> _Prepared:
    """All steps again with the known pose of the head; `first` if that finds no brain."""
    sentence = "The head is in an unusual pose; the brain was extracted again, upright."
    progress = work.progress.part(0.65, 0.4, text=lambda doing: f"{doing}, again")
    try:
        record, prepared, rigid = _prepared(replace(work, progress=progress), first[2], first[1])
    except ScanError:
        return first
    again = PreparationStep("brain", (Note("info", sentence),), record[0].seconds)
    return [*first[0][:1], again, *record[1:]], prepared, rigid


def _prepared(
    work: _Work, upright: np.ndarray | None = None, near: PreparedBrain | None = None
) -> _Prepared:
    """All steps up to the pose.

    `upright` (4, 4) rotates the head upright and `near` is an approximate brain mask, if known.
    """
    scan, progress = work.scan, work.progress
    progress(0.0, 1.0, "Finding the brain")
    found, mask = _brain_step(work, upright, near)
    _check_sign(scan, mask)
    brain, space = cropped(np.where(mask, scan.data, np.float32(0)), scan.space, mask)
    mask = cropped(mask, scan.space, mask)[0]
    record = [found]
    if work.options.bias_correction:
        progress(0.4, 1.0, "Correcting the bias field")
        step, brain = _bias_step(work, brain, mask, space)
        record.append(step)
    progress(0.6, 1.0, "Aligning to the model's brain")
    step, rigid = _pose_step(work, brain, space)
    target = Template(work.target.space, work.target.template)  # not a whole generator
    return [*record, step], PreparedBrain(brain, mask, space, target), rigid


def _lies_oddly(affine: np.ndarray, rigid: np.ndarray) -> bool:
    """Whether a head is tilted more than usual, or the array's axes are permuted."""
    before, after = nib.io_orientation(affine), nib.io_orientation(rigid @ affine)
    angle = np.degrees(Rotation.from_matrix(rigid[:3, :3]).magnitude())
    return not np.array_equal(before, after) or bool(angle > ODD_DEGREES)


def _brain_step(
    work: _Work, upright: np.ndarray | None, near: PreparedBrain | None
) -> tuple[PreparationStep, np.ndarray]:
    """Brain mask on the scan's grid."""
    start = perf_counter()
    scan, options, cache = work.scan, work.options, work.cache
    key = key_of("brain", work.image, options.skull, None if upright is None else upright.tolist())
    kept = cache.get(key, {"mask": (-(-scan.data.size // 8),), "text": None})
    if kept is not None:
        bits = np.unpackbits(kept["mask"], count=scan.data.size)
        mask, text = bits.astype(bool).reshape(scan.data.shape), bytes(kept["text"]).decode()
    else:
        known = None if near is None else (near.mask, near.space)
        mask, text = find_brain(scan, options.skull, upright, known)
        cache.put(key, mask=np.packbits(mask), text=_letters(text))
    how = "cached" if kept is not None else "kept" if text == KEPT else "done"
    notes = (*info(text), *edge_notes(mask, scan.space), *checks(scan.notes))
    return PreparationStep("brain", notes, perf_counter() - start, how), mask


def _check_sign(scan: ScanData, mask: np.ndarray) -> None:
    inside = scan.data[mask]
    if np.mean(inside <= 0) > 0.5 or np.mean(inside < 0) > NEGATIVE_SHARE:
        raise ScanError(
            f"{scan.path} has negative or zero intensities inside the brain, like z-scores or "
            "CT scans; instead of z-scores give the original scan, or add a constant so that the "
            "background is 0; instead of a CT give a T1-weighted MR scan."
        )


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
    return PreparationStep(
        "bias", (Note("info", text),), perf_counter() - start, how
    ), brain / field


def _pose_step(work: _Work, brain: np.ndarray, space: Space) -> tuple[PreparationStep, np.ndarray]:
    """Pose of the brain: scan RAS mm to model RAS mm, (4, 4)."""
    start = perf_counter()
    target, cache = work.target, work.cache
    if work.options.pose == "keep":
        text = "The pose was kept, as requested: the scan is already in model space."
        return PreparationStep(
            "pose", (Note("info", text),), perf_counter() - start, "kept"
        ), np.eye(4)
    if work.options.pose == "centre":
        text = "The brain was centred on the mean brain without rotation, as requested."
        rigid = centred_rigid(brain, space, target)
        return PreparationStep("pose", (Note("info", text),), perf_counter() - start, "kept"), rigid
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
        cache.put(key, rigid=rigid, texts=_letters(json.dumps(list(map(str, notes)))))
    how = "done" if kept is None else "cached"
    return PreparationStep("pose", tuple(notes), perf_counter() - start, how), rigid


def _letters(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _side_notes(rigid: np.ndarray) -> list[Note]:
    """A warning if the header had the head so far from upright that it must be wrong."""
    turn = np.degrees(Rotation.from_matrix(rigid[:3, :3]).magnitude())
    if turn < WRONG_DEGREES:
        return []
    text = (
        f"the header had the head turned by {turn:.0f} degrees, which was corrected; a header that "
        "is so wrong may have left and right swapped, too: compare a side that you know, and if "
        "they are, give the directions of the axes with --orientation, such as --orientation LAS."
    )
    return [Note("check", text)]


def _notes_of(kept: np.ndarray) -> list[Note] | None:
    """Notes of a cached step; None if damaged."""
    try:
        texts = from_json(bytes(kept))
    except ValueError:
        return None
    plain = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    return list(map(Note.read, texts)) if plain else None


def _posed(brain: np.ndarray, space: Space, target: Target) -> tuple[np.ndarray, list[Note]]:
    """Like `align_rigid`; falls back to a standard brain for networks without a usable mean brain.

    An imported network may have another orientation or intensities than assumed, or be untrained.
    """
    if getattr(target, "frame", None) is None:
        rigid, steps = align_rigid(brain, space, target)
        return rigid, [*info(*steps), *_side_notes(rigid)]
    standard = standard_brain(target.space)
    there = resample(standard.template, standard.space, target.space)
    likeness = correlation(there, target.template)
    if likeness >= LIKE_A_HEAD:
        try:
            rigid, steps = align_rigid(brain, space, target)
            return rigid, info(*steps)
        except ScanError:
            pass
    rigid, steps = align_rigid(brain, space, standard)
    text = (
        "this brain does not match the model's mean brain in any orientation, so it was aligned "
        "to a standard brain in the centre of the model's grid; check the model's axes and "
        "voxel size."
    )
    return rigid, [Note("check", text), *info(*steps)]


class Scan(ScanData):
    """One 3D scan on its own grid; see `ScanData` for its attributes."""

    def align(
        self,
        target: Target,
        *,
        skull: str = "auto",
        bias_correction: bool = True,
        pose: str = "auto",
        progress: Progress = SILENT,
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
        return align_scan(
            self, target, PreparationOptions(skull, bias_correction, pose, cache), progress
        )
