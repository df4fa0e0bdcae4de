"""Headers that contradict the image: one wrong size, shear, turn, unit or side of a scan."""

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

FORMS = ("sform", "qform")
CHANGES = {
    "size of one form": {"voxel-size"},
    "size": {"head-size", "brain"},
    "size of an axis": {"head-size", "brain", "turned", "likeness"},
    "shear": {"shear"},
    "turn": {"turned"},
    "turn of one form": {"turned"},
    "order of axes": {"turned"},
    "unit": {"unit"},
    "lengths in another unit": {"unit"},
    "left and right of one form": {"sides"},
    "upside down or back to front": {"turned"},
    "no forms": {"sides"},
}


def turned(rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    """A turn (4, 4) about any axis, by degrees in a range."""
    axis = rng.normal(size=3)
    vector = np.radians(rng.uniform(least, most)) * axis / np.linalg.norm(axis)
    return nib.affines.from_matvec(Rotation.from_rotvec(vector).as_matrix())


def either(rng: np.random.Generator, *ranges: tuple[float, float]) -> float:
    """A number in one of the ranges."""
    return float(rng.uniform(*ranges[rng.integers(len(ranges))]))


def changed(image: nib.Nifti1Image, kind: str, rng: np.random.Generator) -> nib.Nifti1Image:
    """The same voxels under a header with one of `CHANGES`.

    Not among them: both forms mirrored from left to right, which no image can tell.
    """
    data, affine = np.asanyarray(image.dataobj), np.array(image.affine)
    change, forms, unit = np.eye(4), FORMS, "mm"
    if kind == "size of one form":
        change[:3, :3] *= either(rng, (0.7, 0.95), (1.05, 1.4))
        forms = (FORMS[rng.integers(2)],)
    elif kind == "size":
        change[:3, :3] *= either(rng, (0.65, 0.8), (1.25, 1.5))
    elif kind == "size of an axis":
        axis = rng.integers(3)
        change[axis, axis] = either(rng, (0.4, 0.6), (1.6, 2.5))
    elif kind == "shear":
        first, second = rng.permutation(3)[:2]
        change[first, second] = np.tan(np.radians(rng.uniform(3, 25)))
        forms = ("sform",)
    elif kind == "turn":
        change = turned(rng, 45, 120)
    elif kind == "turn of one form":
        change, forms = turned(rng, 10, 120), ("sform",)
    elif kind == "order of axes":
        order = ((2, 1, 0), (1, 2, 0), (2, 0, 1))[rng.integers(3)]
        data = np.ascontiguousarray(data.transpose(order))
    elif kind == "unit":
        unit = ("micron", "meter")[rng.integers(2)]
    elif kind == "lengths in another unit":
        change[:3] *= (1e-3, 1e3)[rng.integers(2)]
    elif kind == "left and right of one form":
        change, forms = np.diag([-1.0, 1, 1, 1]), ("sform",)
    elif kind == "upside down or back to front":
        change = np.diag([(1.0, 1, -1, 1), (1.0, -1, 1, 1), (1.0, -1, -1, 1)][rng.integers(3)])
    made = nib.Nifti1Image(data, affine)
    made.header.set_xyzt_units(unit)
    for form in FORMS:
        given = change @ affine if form in forms else affine
        getattr(made, f"set_{form}")(given, 0 if kind == "no forms" else 1)
    if forms == ("sform",):  # the qform sets the voxel size of both
        made.set_sform(change @ affine, 1)
    return made
