"""Normalise scanner intensities to the generator's [0, 1]."""

from pathlib import Path

import numpy as np

from stylegan3d.base import ScanError
from stylegan3d.geometry.space import BRIGHTEST, eroded
from stylegan3d.scans.checks import open_image
from stylegan3d.scans.extraction import object_mask
from stylegan3d.scans.scan_data import ScanData

PERCENTILE = 99.5
# Share of brain voxels below 0: fewer after sharp interpolation, half with z-scores.
NEGATIVE_SHARE = 0.1
# Percentiles 0, 5 … 100 of the intensities that `normalise` gives: means of 74 T1-weighted brains
# of three sites.
# fmt: off
USUAL = (
    0.005, 0.218, 0.315, 0.389, 0.446, 0.494, 0.532, 0.566, 0.597, 0.625, 0.654,
    0.682, 0.711, 0.740, 0.771, 0.802, 0.834, 0.864, 0.895, 0.931, 1.0,
)
# fmt: on


def normalise(data: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, float]:
    """Divide by the 99.5th percentile inside the brain, clip to [0, 1], 0 outside.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
    mask : ndarray, bool (X, Y, Z)

    Returns
    -------
    volume : ndarray, float32 (X, Y, Z) in [0, 1]
    scale : float
        Value of 1.0 in the units of `data`.
    """
    scale = float(np.percentile(data[mask], PERCENTILE))
    return np.where(mask, np.clip(data / scale, 0, 1), 0).astype(np.float32), scale


def check_sign(scan: ScanData, mask: np.ndarray) -> None:
    """Refuse intensities that no MR scan has inside the brain (I, J, K)."""
    inside = scan.data[mask]
    if 2 * np.count_nonzero(inside > 0) <= inside.size or np.mean(inside < 0) > NEGATIVE_SHARE:
        raise ScanError(
            f"{scan.path} has negative or zero intensities inside the brain, like z-scores or "
            "CT scans; instead of z-scores give the original scan, or add a constant so that the "
            "background is 0; instead of a CT give a T1-weighted MR scan."
        )


def rising(positions: np.ndarray) -> np.ndarray:
    """Positions (n,) as `np.interp` needs them, increasing: equal ones are a little apart."""
    apart = 1e-6 * np.arange(len(positions))
    return np.maximum.accumulate(positions) + apart


def usual_contrast(volume: np.ndarray) -> np.ndarray:
    """A brain (X, Y, Z) with the intensities of usual ones, by a rising curve; 0 outside stays 0.

    Its percentiles become theirs (Nyul, Udupa and Zhang 2000, doi:10.1109/42.836373).
    """
    inside = volume > 0
    if not inside.any():
        return volume
    own = rising(np.percentile(volume[inside], np.linspace(0, 100, len(USUAL))))
    return np.where(inside, np.interp(volume, own, USUAL), 0).astype(np.float32)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two volumes; 0 if one is constant."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def contrast_agreement(volume: np.ndarray, template: np.ndarray, mask: np.ndarray) -> float:
    """Correlation with the mean brain in the eroded mask, where only tissue contrast matters.

    T1-weighted scans reach 0.4 to 0.8, FLAIR 0.15, T2-weighted ones -0.4: without the outline of
    the brain, inverted grey-white contrast is visible.
    """
    deep = mask & eroded(template > 0.3, 2)
    return correlation(volume[deep], template[deep]) if np.count_nonzero(deep) >= 100 else 0.0


def contrast_in_brain(volume: np.ndarray, template: np.ndarray, mask: np.ndarray) -> str:
    """Contrast of an aligned brain from the order of CSF, grey and white matter brightness.

    "" if the order is unknown.
    """
    inside = mask & eroded(template > 0.05, 4)
    if np.count_nonzero(inside) < 100:
        return ""
    values = template[inside]
    places = (
        inside & (template < np.percentile(values, 3)),
        inside & (template > np.percentile(values, 25)) & (template < np.percentile(values, 45)),
        inside & (template > np.percentile(values, 85)),
    )
    if not all(place.any() for place in places):
        return ""
    fluid, grey, white = (float(np.median(volume[place])) for place in places)
    if fluid > max(grey, white):
        return "T2-weighted"
    return (
        "T1-weighted" if white > 1.05 * grey else "FLAIR or proton density" if fluid < grey else ""
    )


def to_unit(scan: ScanData) -> np.ndarray:
    """Intensities of a volume in [0, 1], float32.

    uint8 is divided by 255; values within [0, 1] are unchanged, as are those up to 1.5 of a volume
    that is marked as synthetic or edited; values within [-1, 1] that reach below -0.5 are taken as
    network output, (x + 1) / 2; other non-negative values are divided by the 99.5th percentile of
    the foreground, as in `stylegan3d prepare`.

    Raises
    ------
    ScanError
        If there are other negative values.
    """
    data = np.asarray(scan.data, dtype=np.float32)
    low, high = float(data.min()), float(data.max())
    if stored_in_8_bits(scan.path):
        return data / 255
    if low >= 0 and high <= brightest(scan, 1):
        return data
    if -1.1 <= low < -0.5 and high <= 1.1:
        return np.clip((data + 1) / 2, 0, 1)
    if low < -0.01 * high:
        raise ScanError(
            f"{scan.path.name} has intensities from {low:g} to {high:g}: save brain volumes with "
            "a background of 0, within [0, 1] or [-1, 1], or as 8-bit values."
        )
    data = np.maximum(data, 0)
    return normalise(data, object_mask(data))[0]


def brightest(scan: ScanData, acquired: float) -> float:
    """The largest intensity of a volume on the scale of [0, 1]; `acquired` of none of a program."""
    return acquired if scan.origin == "acquired" else BRIGHTEST


def stored_in_8_bits(path: Path) -> bool:
    """Whether a file's values are whole numbers from 0 to 255, without a scale."""
    if not path.is_file():  # a layer or a DICOM series
        return False
    header = open_image(path).header
    slope, offset = header.get_slope_inter() if hasattr(header, "get_slope_inter") else (None, None)
    whole = header.get_data_dtype() == np.uint8
    return whole and slope in (None, 1.0) and offset in (None, 0.0)
