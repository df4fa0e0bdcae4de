"""Brain extraction, and detection of already extracted brains."""

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from stylegan3d.base import Doubt, Note, ScanError
from stylegan3d.geometry.space import Space, dilated, eroded, filled, to_ras
from stylegan3d.memory import lean
from stylegan3d.scans.resampling import isotropic_space, resample
from stylegan3d.scans.scan_data import ScanData

# Adult intracranial volumes are 1.0 to 2.0 litres; less in children and with atrophy.
BRAIN_LITRES = (0.5, 2.3)
# Least share of empty voxels around an extracted brain.
EMPTY_SHARE = 0.3
# For heads that are rotated first: grid, margin of air, and intensity threshold of the head.
UPRIGHT_MM, AIR_MM, HEAD_SHARE = 1.0, 10.0, 0.15
# What has more than this share of the largest component's voxels is of one object with it.
PIECE_SHARE = 0.2
# Margin around a brain for a second pass: skull and scalp, and parts that were missed.
HEAD_MM = 30.0
# deepbet stores the current bounding box in the object, so it is not thread-safe.
_one_at_a_time = threading.Lock()


def extracted_mask(data: np.ndarray, space: Space) -> np.ndarray | None:
    """The brain mask, bool (I, J, K), if the scan is skull-stripped, else None.

    Two criteria: much of the field of view has one constant value, and the largest connected
    component of the rest has the volume of a brain (a head, even defaced, has more).
    """
    mask = object_mask(data)
    if 1 - mask.mean() < EMPTY_SHARE:
        return None
    litres = mask.sum() * space.voxel_ml / 1000
    return mask if BRAIN_LITRES[0] < litres < BRAIN_LITRES[1] else None


def object_mask(data: np.ndarray) -> np.ndarray:
    """The largest connected component that is not background, with holes filled: bool (I, J, K)."""
    value = background(data)
    contrast = np.percentile(data, 99.5) - value
    mask = np.abs(data - value) > 0.01 * abs(contrast)
    return largest_piece(mask)


def background(data: np.ndarray) -> float:
    """The most common value on the faces of the field of view."""
    faces = [data.take(end, axis) for axis in range(3) for end in (0, -1)]
    values, counts = np.unique(np.concatenate([face.ravel() for face in faces]), return_counts=True)
    return float(values[counts.argmax()])


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component with its holes filled.

    What is nearly as large belongs to it: a slice without signal divides a brain.
    """
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return filled((sizes > PIECE_SHARE * sizes.max())[labels])


def extract_brain(data: np.ndarray, space: Space) -> np.ndarray:
    """Brain mask of a whole-head T1 scan, bool (I, J, K), by deepbet's two networks.

    They run on the CPU, with weights from deepbet's wheel: no download, and the same mask on every
    machine. Source: Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using
    Convolutional Neural Networks", Computers in Biology and Medicine 2024.

    Raises
    ------
    ScanError
        If no brain is found, or its size is implausible.
    """
    # deepbet was trained on RAS arrays.
    turned, affine = to_ras(data, space.affine)
    canonical = np.ascontiguousarray(turned)
    try:
        with _one_at_a_time, lean():
            _, mask, _ = deepbet().run(nib.Nifti1Image(canonical, affine))
    except (AssertionError, ValueError) as error:  # raised if there is no foreground
        raise ScanError(
            "No brain was found in the scan; give a T1-weighted scan of a whole head, or extract "
            "the brain with another program first."
        ) from error
    back = nib.orientations.ornt_transform(
        nib.io_orientation(np.eye(4)), nib.io_orientation(space.affine)
    )
    found = nib.apply_orientation(np.asarray(mask.dataobj) > 0, back)
    check_brain_size(found, space)
    return np.ascontiguousarray(found)


def extract_upright(
    data: np.ndarray,
    space: Space,
    upright: np.ndarray,
    near: tuple[np.ndarray, Space] | None = None,
) -> np.ndarray:
    """Like `extract_brain`, for a head rotated upright by `upright` (4, 4) and cropped.

    deepbet was trained on upright heads that fill the field of view; otherwise it may miss the
    brain, or include the head or even air. If `near`, an approximate brain mask on a grid with the
    same world coordinates, is given, only the head around it is used.
    """
    turned = Space(space.shape, upright @ space.affine)
    if near is None:
        head = head_mask(data)
        if not head.any():
            raise ScanError("No head was found; give a T1-weighted scan of a whole head.")
        grid = isotropic_space(head, turned, UPRIGHT_MM, AIR_MM)
    else:
        mask, own = near
        grid = isotropic_space(mask, Space(own.shape, upright @ own.affine), UPRIGHT_MM, HEAD_MM)
    found = extract_brain(resample(data - np.float32(background(data)), turned, grid), grid)
    return resample(found.astype(np.float32), grid, turned) > 0.5


def head_mask(data: np.ndarray) -> np.ndarray:
    """Approximate head mask, bool (I, J, K): the largest component clearly brighter than air."""
    value = background(data)
    bright = data > value + HEAD_SHARE * (np.percentile(data, 99.5) - value)
    return largest_piece(dilated(eroded(bright)))


@lru_cache(maxsize=1)
def deepbet() -> Any:
    """Its networks, which hold 50 MB with what TorchScript makes of them."""
    from deepbet import BrainExtraction  # lazy: loads torch and two networks

    from stylegan3d.scans.brain_network import BrainNetwork

    with warnings.catch_warnings():
        # Its networks are TorchScript, which torch now deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = BrainExtraction(no_gpu=True)
    found.model, found.bbox_model = map(BrainNetwork, (found.model, found.bbox_model))
    return found


def check_brain_size(mask: np.ndarray, space: Space) -> None:
    """Refuse a mask with an implausible volume."""
    litres = mask.sum() * space.voxel_ml / 1000
    if not BRAIN_LITRES[0] < litres < BRAIN_LITRES[1]:
        raise ScanError(
            f"The brain found in the scan measures {1000 * litres:.0f} ml, but only "
            f"{1000 * BRAIN_LITRES[0]:.0f} to {1000 * BRAIN_LITRES[1]:.0f} are possible; check the "
            "voxel size, or extract the brain with another program first."
        )


# Find the brain: keep it if already extracted, otherwise extract it.

# Area in cm2 of brain at the edge of the field of view from which a note is added; at the bottom
# the cross-section of a brain stem.
EDGE_CM2, STEM_CM2 = 1.0, 10.0
# A brain as a ball: its radius in mm, and the area of its outermost cap for each mm of height. The
# outermost slice of a brain that was cut is larger by `FLAT_CM2`: of 94 whole brains by 3.7 at
# most, of those without 10 ml by 10.6 and more, whichever side is cut.
BALL_MM, CAP_CM2_PER_MM, FLAT_CM2 = 70.0, 4.4, 7.5
KEPT, EXTRACTED, TILTED = range(3)
FOUND = (
    "The brain was extracted already and was kept as it is.",
    "Brain extracted with deepbet.",
    "Brain extracted with deepbet, after the air around the head was cropped.",
)
# Rotations in degrees about the right, anterior and superior axes that are tried if extraction
# fails. Up to 30 degrees about each axis it mostly succeeds without.
TILTS = ((0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 30, 0), (0, -30, 0))
_WORDS = ("on the right", "on the left", "in front", "at the back", "at the top", "at the bottom")
SIDES = dict(zip("RLAPSI", _WORDS, strict=True))
OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def find_brain(
    scan: ScanData,
    skull: str,
    upright: np.ndarray | None = None,
    near: tuple[np.ndarray, Space] | None = None,
) -> tuple[np.ndarray, int]:
    """Brain mask, bool (I, J, K), and how it was found, of `FOUND`.

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
        upright = nib.affines.from_matvec(turn, middle - turn @ middle)
        with suppress(ScanError):
            return extract_upright(scan.data, scan.space, upright)
    raise refusal


def outermost_slices(mask: np.ndarray, space: Space) -> Iterator[tuple[str, float, float, bool]]:
    """Where a brain (I, J, K) ends on each side.

    Yields the side's letter, cm2 of the outermost slice, those of a ball as large as a brain, and
    whether that is at the edge of the field of view.
    """
    if not mask.any():
        return
    codes = nib.aff2axcodes(space.affine)
    for axis, size in enumerate(space.voxel_size):
        slices = mask.sum(axis=tuple({0, 1, 2} - {axis})) * space.voxel_ml * 10 / size
        filled = np.flatnonzero(slices)
        for code, place, edge in (
            (codes[axis], filled[-1], len(slices) - 1),
            (OPPOSITE[codes[axis]], filled[0], 0),
        ):
            yield code, float(slices[place]), CAP_CM2_PER_MM * size, place == edge


def edge_notes(mask: np.ndarray, space: Space) -> list[Note]:
    """Notes if the brain (I, J, K) reaches the edge of the field of view, or was cut before it."""
    over: dict[str, float] = {}
    faces: dict[str, float] = {}
    for code, face, cap, at_edge in outermost_slices(mask, space):
        if at_edge and face > EDGE_CM2:
            over[code] = face
        elif not at_edge and face - cap > FLAT_CM2:
            faces[code] = face
    notes: list[Note] = []
    if set(over) == {"I"} and over["I"] < STEM_CM2:
        notes.append("The brain stem reaches the lower edge of the field of view, as usual.")
    elif over:
        text = (
            f"The brain reaches the edge of the field of view {_sides(over)} "
            f"({sum(over.values()):.0f} cm² of it); the model will make up the part that was not "
            "scanned: give a scan of the whole brain, or draw no conclusions there."
        )
        notes.append(Doubt("field-of-view", "ask", text, {"edge_cm2": over}))
    if faces:
        ml = sum(_cap_ml(face) for face in faces.values())
        text = (
            f"The brain ends in a flat face {_sides(faces)} ({sum(faces.values()):.0f} cm²), so "
            f"about {ml:.0f} ml of it were cut off; volumes are too small by this."
        )
        notes.append(Doubt("cut", "ask", text, {"face_cm2": faces, "ml": round(ml, 1)}))
    return notes


def _sides(codes: Iterable[str]) -> str:
    return " and ".join(SIDES[code] for code in codes)


def _cap_ml(face_cm2: float) -> float:
    """What lies beyond a flat face of a ball of the size of a brain, in ml."""
    height = BALL_MM - np.sqrt(max(BALL_MM**2 - 100 * face_cm2 / np.pi, 0.0))
    return float(np.pi * height**2 * (BALL_MM - height / 3) / 1000)
