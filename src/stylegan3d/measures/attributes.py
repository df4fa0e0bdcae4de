"""What can be measured in a brain: volumes of its tissues, its ventricles, its shape, its contrast.

No network is needed: thresholds that follow the brain's own intensities, and a region where
ventricles lie, scaled to the brain's own size. So a real and a synthetic volume are measured by the
same ruler, which is what a check of an edit needs. The numbers in millilitres are calibrated
against the label maps of 157 subjects; `benchmarks/measures.py` does that and says how well they
agree on held-out subjects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import nibabel as nib
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from stylegan3d.geometry.space import Space

#: Fractions of the intensity of bright tissue (1 = the 99.5th percentile inside the brain).
BACKGROUND, BRAIN, TISSUE = 0.05, 0.2, 0.45
#: Darker than this share of the grey matter's intensity is fluid.
FLUID = 0.85
#: Fluid as dark as this share of the white matter's intensity is fluid alone, not a mixture.
PURE_FLUID = 0.4
#: Middle and spread (standard deviation of the voxels' places) of the mean brain, mm, RAS+: the
#: frame in which the region of the ventricles is given.
FRAME_CENTER_MM = np.array([0.0, -24.5, 12.4])
FRAME_SPREAD_MM = np.array([30.4, 38.3, 27.7])
#: (offset in ml, factor) from what is counted to what label maps say; benchmarks/measures.py.
CALIBRATION = {
    "brain_ml": (42.1, 1.005),
    "ventricle_ml": (3.4, 1.016),
    "grey_ml": (-15.8, 1.299),
    "white_ml": (54.6, 0.820),
}
#: The front and the back begin so many standard deviations from the middle.
END = 0.7
_REGION_FILE = "atlas/ventricles.nii.gz"
NEAR, CORE = 1, 2  # the region's values: ventricles may reach here; every ventricle has a part here


@dataclass(frozen=True)
class Measure:
    """One thing that can be measured: what it is called, and what more or less of it means."""

    key: str
    name: str
    unit: str
    more: str
    less: str


MEASURES = (
    Measure("brain_ml", "Head size", "ml", "larger head", "smaller head"),
    Measure("ventricle_ml", "Ventricle volume", "ml", "larger ventricles", "smaller ventricles"),
    Measure("grey_ml", "Grey matter", "ml", "more grey matter", "less grey matter"),
    Measure("white_ml", "White matter", "ml", "more white matter", "less white matter"),
    Measure("length", "Length", "", "longer head", "shorter head"),
    Measure("width", "Width", "", "wider head", "narrower head"),
    Measure("height", "Height", "", "taller head", "flatter head"),
    Measure("front_width", "Width in front", "", "wider front", "narrower front"),
    Measure("back_width", "Width at the back", "", "wider back", "narrower back"),
    Measure("tilt", "Tilt", "", "front tilted up", "front tilted down"),
    Measure("turn", "Turn", "", "front turned to the right", "front turned to the left"),
    Measure("lean", "Lean", "", "top leaning to the right", "top leaning to the left"),
    Measure("fluid", "Extra-axial CSF", "", "more extra-axial CSF", "less extra-axial CSF"),
    Measure("contrast", "Contrast", "", "stronger grey-white contrast", "weaker contrast"),
)


def measure_volume(volume: np.ndarray, space: Space) -> dict[str, float]:
    """Measure one brain.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Volume of a brain without its skull, 0 outside, any scale: intensities are divided by their
        99.5th percentile inside the brain first.
    space : Space
        Where its voxels lie. The brain must be upright (rotated as the template is), of true size.

    Returns
    -------
    dict of str to float
        By the keys of `MEASURES`; all NaN where there is nothing like a brain with two tissues.

        - "brain_ml", "ventricle_ml", "grey_ml", "white_ml": millilitres;
        - "length", "width", "height": spread from back to front, left to right and bottom to top
          relative to the brain's size, 1 for the mean brain's;
        - "front_width", "back_width": spread from left to right of the foremost and the hindmost
          quarter or so, relative to the whole brain's;
        - "tilt", "turn", "lean": correlation of the voxels' places in the planes (y, z), (x, y)
          and (x, z), -1 to 1;
        - "fluid": share of the brain that is fluid but not ventricle;
        - "contrast": how much brighter white matter is than grey, as a share of white.

    Notes
    -----
    Grey and white matter: Otsu's threshold (1979) splits what is brighter than fluid; the share of
    each tissue in a voxel then follows from where its intensity lies between the two medians.
    Ventricles: fluid in the region, connected within it to its core, so that a large ventricle is
    followed and a sulcus at the region's border is not.
    """
    frame = _Brain.of(volume, space)
    if frame is None:
        return {measure.key: float("nan") for measure in MEASURES}
    voxel_ml = abs(np.linalg.det(space.affine[:3, :3])) / 1000
    inside = frame.intensity[frame.mask]
    white_share = np.clip((inside - frame.grey) / (frame.white - frame.grey), 0, 1)
    pure = PURE_FLUID * frame.white
    fluid_share = np.clip((frame.grey - inside) / (frame.grey - pure), 0, 1)
    counted = {
        "brain_ml": float(np.count_nonzero(frame.mask)),
        "ventricle_ml": float(np.count_nonzero(_ventricles(frame, space))),
        "grey_ml": float((1 - white_share - fluid_share).sum()),
        "white_ml": float(white_share.sum()),
    }
    result = {
        key: offset + factor * voxel_ml * counted[key]
        for key, (offset, factor) in CALIBRATION.items()
    }
    fluid_ml = float(fluid_share.sum()) * voxel_ml - result["ventricle_ml"]
    return {
        **result,
        **_shape(frame),
        "fluid": fluid_ml / result["brain_ml"],
        "contrast": (frame.white - frame.grey) / frame.white,
    }


def tissue_masks(volume: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    """Where the tissues of one brain lie, by the rules of `measure_volume`.

    Returns
    -------
    dict of str to bool (X, Y, Z)
        "brain", "grey matter", "white matter" and "ventricles"; empty where there is nothing like a
        brain with two tissues.
    """
    brain = _Brain.of(volume, space)
    if brain is None:
        return {}
    middle = (brain.grey + brain.white) / 2
    tissue = brain.mask & (brain.intensity >= FLUID * brain.grey)
    return {
        "brain": brain.mask,
        "grey matter": tissue & (brain.intensity < middle),
        "white matter": tissue & (brain.intensity >= middle),
        "ventricles": _ventricles(brain, space),
    }


@dataclass(frozen=True)
class _Brain:
    """A brain found in a volume: its mask, its place, and how bright its tissues are."""

    intensity: np.ndarray
    mask: np.ndarray
    places: np.ndarray  # [n, 3] mm of the mask's voxels
    center_mm: np.ndarray
    spread_mm: np.ndarray
    grey: float
    white: float

    @classmethod
    def of(cls, volume: np.ndarray, space: Space) -> _Brain | None:
        """None if there is no brain of two tissues in it."""
        data = np.nan_to_num(np.asarray(volume, dtype=np.float32))
        top = float(data.max(initial=0.0))
        if top <= 0:
            return None
        data = data / np.percentile(data[data > BACKGROUND * top], 99.5)
        pieces, count = ndimage.label(data > BRAIN)
        if not count:
            return None
        mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        places = nib.affines.apply_affine(space.affine, np.argwhere(mask))
        spread = places.std(axis=0)
        tissue = data[mask & (data > TISSUE)]
        if spread.min() <= 0 or tissue.size < 2 or np.ptp(tissue) == 0:
            return None
        split = threshold_otsu(tissue)
        grey, white = np.median(tissue[tissue <= split]), np.median(tissue[tissue > split])
        if grey <= PURE_FLUID * white:
            return None
        return cls(data, mask, places, places.mean(axis=0), spread, float(grey), float(white))


def _shape(brain: _Brain) -> dict[str, float]:
    """What the places of its voxels say, free of the brain's size."""
    spread = brain.spread_mm / FRAME_SPREAD_MM
    width, length, height = spread / np.cbrt(spread.prod())
    x, y, z = ((brain.places - brain.center_mm) / brain.spread_mm).T
    front, back = x[y > END], x[y < -END]
    return {
        "length": float(length),
        "width": float(width),
        "height": float(height),
        "front_width": float(front.std()) if front.size else 0.0,
        "back_width": float(back.std()) if back.size else 0.0,
        "tilt": float((y * z).mean()),
        "turn": float((x * y).mean()),
        "lean": float((x * z).mean()),
    }


def _ventricles(brain: _Brain, space: Space) -> np.ndarray:
    """bool (X, Y, Z): fluid inside the brain, in the region and connected to its core."""
    # Around the ventricles lies tissue: what is that dark and near the middle is not outside.
    fluid = np.argwhere((brain.intensity > BACKGROUND) & (brain.intensity < FLUID * brain.grey))
    mm = nib.affines.apply_affine(space.affine, fluid)
    framed = (mm - brain.center_mm) / brain.spread_mm * FRAME_SPREAD_MM + FRAME_CENTER_MM
    values, to_voxel = _region()
    index = np.rint(nib.affines.apply_affine(to_voxel, framed)).astype(int)
    known = ((index >= 0) & (index < values.shape)).all(axis=1)
    region = np.zeros(brain.intensity.shape, dtype=np.uint8)
    region[tuple(fluid[known].T)] = values[tuple(index[known].T)]
    pieces, count = ndimage.label(region >= NEAR)
    keep = np.zeros(count + 1, dtype=bool)
    keep[np.unique(pieces[region == CORE])] = True
    keep[0] = False
    return keep[pieces]


@cache
def _region() -> tuple[np.ndarray, np.ndarray]:
    """Where ventricles lie in the frame, uint8 (0, NEAR, CORE), and (4, 4) frame mm -> voxels."""
    with resources.as_file(resources.files("stylegan3d") / _REGION_FILE) as path:
        image = nib.load(path)
        return np.asarray(image.dataobj, dtype=np.uint8), np.linalg.inv(image.affine)
