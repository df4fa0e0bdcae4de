"""Measures of a brain: tissue volumes, ventricles, shape, contrast.

They need no network, only thresholds relative to the brain's own intensities and a region of the
ventricles scaled to its size, so real and synthetic volumes are measured alike, as checks of edits
require. Volumes in millilitres are calibrated against the label maps of 157 subjects.

Volumes of CSF, grey and white matter, where the bundled tissue network (`segmentation`) labels the
voxels, are measured the same way everywhere. It only supports 2 mm voxels; on other grids volumes
are estimated from intensities, which is less precise and marked as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.geometry.space import Space, eroded
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.storage.files import table_text as text_of_rows

if TYPE_CHECKING:
    import torch

    from stylegan3d.segmentation.inference import Segmenter


#: Fractions of the intensity of bright tissue (1 = the 99.5th percentile inside the brain).
BACKGROUND, BRAIN, TISSUE = 0.05, 0.2, 0.45
#: Threshold of CSF, as a share of the grey matter's intensity.
FLUID = 0.85
#: Intensity of pure CSF, as a share of the white matter's.
PURE_FLUID = 0.4
#: Centre and spread (standard deviation of voxel positions) of the mean brain, mm, RAS+: the frame
#: of the atlas.
FRAME_CENTER_MM = np.array([0.0, -24.5, 12.4])
FRAME_SPREAD_MM = np.array([30.4, 38.3, 27.7])
#: Calibration (offset in ml, factor) to label maps; see scripts/fit_atlas.py. Of ventricles and
#: white matter only the offset: the factors, 0.75 and 0.41, tell of sites more than of volumes, and
#: changes would come out too small.
CALIBRATION = {
    "brain_ml": (42.1, 1.005),
    "ventricle_ml": (3.6, 1.0),
    "grey_ml": (120.9, 1.280),
    "white_ml": (-115.0, 1.0),
}
#: Distance of front and back from the centre in standard deviations.
END = 0.7
_REGION_FILE = "atlas/ventricles.nii.gz"
NEAR, CORE = 1, 2  # values of the region: possible ventricle; core of every ventricle


@dataclass(frozen=True)
class Measure:
    """A measure: its name, and descriptions of higher and lower values."""

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
        Skull-stripped brain, 0 outside, in any units: intensities are first divided by their 99.5th
        percentile inside the brain.
    space : Space
        Its grid. The brain must be in template orientation and of true size.

    Returns
    -------
    dict of str to float
        By the keys of `MEASURES`; all NaN if there is no brain with two tissues.

        - "brain_ml", "ventricle_ml", "grey_ml", "white_ml": millilitres;
        - "length", "width", "height": spread from back to front, left to right and bottom to top
          relative to the brain's size, 1 for the mean brain's;
        - "front_width", "back_width": spread from left to right of the foremost and the hindmost
          quarter or so, relative to the whole brain's;
        - "tilt", "turn", "lean": correlation of the voxels' places in the planes (y, z), (x, y)
          and (x, z), -1 to 1;
        - "fluid": share of the brain that is CSF outside the ventricles;
        - "contrast": how much brighter white matter is than grey, as a share of white.

    Notes
    -----
    Grey and white matter: Otsu's threshold (1979) splits voxels brighter than CSF; the tissue
    fractions of a voxel follow from its intensity relative to the two medians. Ventricles: CSF in
    the region that is connected to its core, so that large ventricles are included and sulci at the
    region's border are not.
    """
    return measure_tissues(volume, space)[0]


def measure_tissues(
    volume: np.ndarray, space: Space
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`measure_volume` and `tissue_masks` of a brain that is found once."""
    frame = _Brain.of(volume, space)
    if frame is None:
        return {measure.key: float("nan") for measure in MEASURES}, {}
    masks = _masks(frame, space)
    inside = frame.intensity[frame.mask]
    white_share = np.clip((inside - frame.grey) / (frame.white - frame.grey), 0, 1)
    pure = PURE_FLUID * frame.white
    fluid_share = np.clip((frame.grey - inside) / (frame.grey - pure), 0, 1)
    counted = {
        "brain_ml": float(np.count_nonzero(frame.mask)),
        "ventricle_ml": float(np.count_nonzero(masks["ventricles"])),
        "grey_ml": float((1 - white_share - fluid_share).sum()),
        "white_ml": float(white_share.sum()),
    }
    result = {
        key: offset + factor * space.voxel_ml * counted[key]
        for key, (offset, factor) in CALIBRATION.items()
    }
    fluid_ml = float(fluid_share.sum()) * space.voxel_ml - result["ventricle_ml"]
    shape = _shape(frame)
    contrast = (frame.white - frame.grey) / frame.white
    return {**result, **shape, "fluid": fluid_ml / result["brain_ml"], "contrast": contrast}, masks


def tissue_masks(volume: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    """Tissue masks of a brain, as in `measure_volume`.

    Returns
    -------
    dict of str to ndarray, shape (X, Y, Z), bool
        "brain", "grey matter", "white matter" and "ventricles"; empty if there is no brain with two
        tissues.
    """
    brain = _Brain.of(volume, space)
    return {} if brain is None else _masks(brain, space)


def _masks(brain: _Brain, space: Space) -> dict[str, np.ndarray]:
    middle = (brain.grey + brain.white) / 2
    tissue = brain.mask & (brain.intensity >= FLUID * brain.grey)
    return {
        "brain": brain.mask,
        "grey matter": tissue & (brain.intensity < middle),
        "white matter": tissue & (brain.intensity >= middle),
        "ventricles": _ventricles(brain, space),
    }


def connected_fluid(
    volume: np.ndarray, mask: np.ndarray, tissues: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Fluid (X, Y, Z) that is connected to the ventricles or to the brain's border.

    A cavity in the brain is not; nor is tissue that is only darker than it should be.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Intensities, 0 outside the brain.
    mask : ndarray, shape (X, Y, Z), bool
        The brain.
    tissues : mapping of str to ndarray
        Its `tissue_masks`; without any, nothing is fluid.
    """
    from scipy import ndimage

    if not tissues or not tissues["ventricles"].any():
        return np.zeros_like(mask)
    dark = float(np.median(volume[tissues["ventricles"]]))
    grey = float(np.median(volume[tissues["grey matter"]]))
    fluid = mask & (volume < (dark + grey) / 2)
    start = tissues["ventricles"] | ~eroded(mask)
    return np.asarray(ndimage.binary_propagation(start & fluid, mask=fluid))


@dataclass(frozen=True)
class _Brain:
    """A brain found in a volume: mask, position, and tissue intensities."""

    intensity: np.ndarray
    mask: np.ndarray
    places: np.ndarray  # [n, 3] mm of the mask's voxels
    center_mm: np.ndarray
    spread_mm: np.ndarray
    grey: float
    white: float

    @classmethod
    def of(cls, volume: np.ndarray, space: Space) -> _Brain | None:
        """Find the brain; None if there is none with two tissues."""
        from scipy import ndimage
        from skimage.filters import threshold_otsu

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
    """Shape measures from voxel positions, independent of the brain's size."""
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
    """bool (X, Y, Z): CSF inside the region and connected to its core."""
    from scipy import ndimage

    # The ventricles are surrounded by tissue: dark voxels near the centre are not outside.
    fluid = np.argwhere((brain.intensity > BACKGROUND) & (brain.intensity < FLUID * brain.grey))
    mm = nib.affines.apply_affine(space.affine, fluid)
    framed = to_frame(mm, brain.center_mm, brain.spread_mm)
    values, to_voxel = frame_map(_REGION_FILE)
    index = np.rint(nib.affines.apply_affine(to_voxel, framed)).astype(int)
    known = ((index >= 0) & (index < values.shape)).all(axis=1)
    region = np.zeros(brain.intensity.shape, dtype=np.uint8)
    region[tuple(fluid[known].T)] = values[tuple(index[known].T)]
    return np.asarray(ndimage.binary_propagation(region == CORE, mask=region >= NEAR))


def to_frame(places_mm: np.ndarray, center_mm: np.ndarray, spread_mm: np.ndarray) -> np.ndarray:
    """[n, 3] RAS mm in a brain with this centre and spread -> RAS mm in the mean brain's frame."""
    return (places_mm - center_mm) / spread_mm * FRAME_SPREAD_MM + FRAME_CENTER_MM


@cache
def frame_map(file: str) -> tuple[np.ndarray, np.ndarray]:
    """A map in the mean brain's frame, uint8 (X, Y, Z), and (4, 4) frame mm -> voxels."""
    with resources.as_file(resources.files("stylegan3d") / file) as path:
        image = nib.load(path)
        return np.asarray(image.dataobj, dtype=np.uint8), np.linalg.inv(image.affine)


#: Volumes in millilitres in display order, with their names.
VOLUMES = {
    "csf_ml": "Subarachnoid CSF",
    "ventricle_ml": "Ventricles",
    "grey_ml": "Grey matter",
    "white_ml": "White matter",
    "other_ml": "Brain stem",
    "brain_ml": "Brain tissue",
}
#: Volumes for small tables.
TOLD = ("csf_ml", "ventricle_ml", "grey_ml", "white_ml", "brain_ml")
#: Small volumes, shown with an additional decimal.
SMALL = ("ventricle_ml", "other_ml")
EXPLAINED = {
    "csf_ml": "Cerebrospinal fluid outside the ventricles.",
    "ventricle_ml": "Cerebrospinal fluid inside the brain.",
    "grey_ml": "Cortex, basal ganglia, thalamus, cerebellar cortex.",
    "white_ml": "White matter of cerebrum and cerebellum.",
    "other_ml": "Midbrain, pons and medulla, with the optic chiasm.",
    "brain_ml": "Grey matter, white matter and brain stem together.",
}
#: Attributes measured by the network if possible, see `measure_attributes`.
BY_NETWORK = ("ventricle_ml", "grey_ml", "white_ml")
#: Least volume of a brain; the network finds 30 ml in empty volumes.
LEAST_BRAIN_ML = 200.0
BY_INTENSITY = "by intensity alone, which is rough"


@dataclass(frozen=True, eq=False)
class Tissues:
    """The tissues of one brain.

    Attributes
    ----------
    volumes : dict of str to float
        Millilitres by the keys of `VOLUMES`; NaN where unknown: all without a brain, subarachnoid
        CSF and brain stem if estimated from intensities.
    how : str
        Method, or why they are withheld, to follow "Volumes": "by the tissue network
        regions-t1-2mm (0123abcd)" or "by intensity alone, which is rough: …" with the reason.
    masks : mapping of str to ndarray, shape (X, Y, Z), bool
        "ventricles", "grey matter" and "white matter"; empty without a brain.
    """

    volumes: dict[str, float]
    how: str
    masks: Mapping[str, np.ndarray]

    def to_dict(self) -> Json:
        """Plain data for a sidecar: known volumes, rounded to 0.01 ml, and the method."""
        known = {k: round(ml, 2) for k, ml in self.volumes.items() if np.isfinite(ml)}
        return {**known, "Measured": self.how}


def table_text(names: Sequence[str], found: Sequence[Tissues]) -> str:
    """Volumes of several brains as CSV, one row each, empty where unknown."""
    rows = [["name", *VOLUMES, "measured"]]
    for name, tissues in zip(names, found, strict=True):
        lines = [f"{ml:.2f}" if np.isfinite(ml) else "" for ml in tissues.volumes.values()]
        rows.append([name, *lines, tissues.how])
    return text_of_rows(rows)


def read_tissues(
    volume: np.ndarray, space: Space, *, dtype: torch.dtype | None = None, withheld: str = ""
) -> Tissues:
    """Classify the tissues of a brain, by the tissue network where it knows the grid.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        0 outside the brain, 1 the 99.5th percentile inside it; what lies beyond is clipped.
    space : Space
        Its grid.
    dtype : torch.dtype, optional
        Precision of the network, float32 by default; lower ones are for the screen.
    withheld : str
        Why nothing is told (`verdicts.withheld`): all is unknown, and `how` says this.
    """
    if withheld:
        return Tissues(dict.fromkeys(VOLUMES, np.nan), withheld, {})
    segmenter, why = _network(space)
    if segmenter is None:
        return _by_intensity(volume, space, why)
    import torch

    found = segmenter.segment(volume, space, dtype=dtype or torch.float32)
    told = found.volumes
    is_brain = told["brain"] >= LEAST_BRAIN_ML
    volumes = {key: told[key.removesuffix("_ml")] if is_brain else np.nan for key in VOLUMES}
    names = {"ventricles": "ventricle", "grey matter": "grey", "white matter": "white"}
    masks = {
        name: found.labels == CLASSES.index(tissue) for name, tissue in names.items() if is_brain
    }
    return Tissues(volumes, f"by the tissue network {segmenter.name} ({segmenter.hash[:8]})", masks)


def measure_attributes(volume: np.ndarray, space: Space) -> dict[str, float]:
    """`attributes.measure_volume`, its tissues by the network where that knows the grid.

    What directions are fitted to. With the size of the head held fixed, white matter by intensity
    hardly agrees with the network's (r = 0.22 of 249 subjects): it follows brightness more than
    extent, and so would an edit.
    """
    measured = measure_volume(volume, space)
    if _network(space)[0] is not None:
        found = read_tissues(volume, space).volumes
        measured |= {key: found[key] for key in BY_NETWORK}
    return measured


def _network(space: Space) -> tuple[Segmenter | None, str]:
    """The tissue network, or why it cannot be used."""
    from stylegan3d.segmentation import inference

    try:
        segmenter = inference.bundled_segmenter()
    except StyleGAN3DError as error:
        return None, str(error)
    if segmenter.fits(space):
        return segmenter, ""
    expected = " x ".join(f"{mm:g}" for mm in segmenter.card["space"]["voxel_mm"])
    return None, f"the tissue network labels voxels of {expected} mm on axes RAS only"


def _by_intensity(volume: np.ndarray, space: Space, why: str) -> Tissues:
    """By thresholds that follow the brain's own intensities."""
    measured, masks = measure_tissues(volume, space)
    volumes = dict.fromkeys(VOLUMES, float("nan"))
    volumes |= {key: float(measured[key]) for key in ("ventricle_ml", "grey_ml", "white_ml")}
    volumes["brain_ml"] = volumes["grey_ml"] + volumes["white_ml"]
    return Tissues(volumes, f"{BY_INTENSITY}: {why.rstrip('.')}", masks)
