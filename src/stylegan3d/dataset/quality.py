"""Quality control of prepared brains.

Measures are stored in the pack's table, so a pack can be checked again without its scans. Unusable
brains are refused, doubtful ones kept with a warning. The limits were set on 267 real scans at 2
mm: 249 T1 brains of three sites, and 18 further scans, three of them T2 and one FLAIR. The values
found are given with each limit.
"""

import tomllib
from pathlib import Path

import numpy as np
from scipy import ndimage

from stylegan3d.base import Doubt, Json
from stylegan3d.geometry.space import eroded
from stylegan3d.scans.aligned import EXPECTED_QUALITY, AlignedScan
from stylegan3d.scans.alignment import Target
from stylegan3d.scans.extraction import outermost_slices

Measures = dict[str, float | None]

# Millilitres inside the outline of the brain; found: 1106 to 1975.
POSSIBLE_ML, USUAL_ML = (600.0, 2300.0), (900.0, 1900.0)
# Brightest tissue minus middle tissue of the mean brain, in standard deviations of the brain.
# Found: T1 0.69 (with contrast agent), 1.0 to 1.8 (without), FLAIR -0.14, T2 -0.24 to -0.84.
LEAST_CONTRAST, USUAL_CONTRAST = 0.25, 0.9
# (right - left) / (right + left) of the volume and of the intensity; found: up to 0.013 and 0.05,
# one of 0.16.
MOST_ASYMMETRY, USUAL_ASYMMETRY, USUAL_SHADING = 0.10, 0.03, 0.10
# Area in cm2 of flat faces at which the brain is cut off, at the edge of the scan or elsewhere,
# minus that of a round brain's outermost slice; found: up to 6 without a cut, 35 with the
# cerebellum cut.
MOST_CUT_CM2, USUAL_CUT_CM2 = 20.0, 7.5
# Distinct grey values; found: 202 and more. Masks and coarse label maps have at most a few dozen,
# fine ones are recognised by their contrast.
LEAST_LEVELS, USUAL_LEVELS = 16, 64
# Share of the intensity's deviation finer than 2 mm; found in T1: 0.29 to 0.53, and 0.13 to 0.19
# after blurring by 2 mm.
USUAL_DETAIL = 0.22
# Between the axes of most and least detail; found: 1.02 to 1.38, slices of 3 mm 1.43 to 1.74.
USUAL_STREAKS = 1.5
# On grids coarser than this all brains look blurred.
DETAIL_MM = 3.0
# What the doubts about a cut brain have measured.
FACES = ("edge_cm2", "face_cm2")
# Ratio of slice thickness to the grid's voxels from which slices are visible.
THICK = 1.5

#: What is doubted about a brain, by kind.
DOUBTS = tomllib.loads(Path(__file__).with_name("doubts.toml").read_text("utf-8"))


class Inspector:
    """Measures volumes on one target's grid.

    Parameters
    ----------
    target : Target
        Provides the mean brain with the location of tissues.
    """

    def __init__(self, target: Target) -> None:
        self.space = target.space
        template = np.asarray(target.template)
        self.voxel = float(np.mean(self.space.voxel_size))
        core = eroded(template > 0.3, max(1, round(4 / self.voxel)))
        values = template[core] if core.any() else np.zeros(1)
        self.bright = core & (template > np.percentile(values, 80))
        self.middle = core & (template > 0.4) & (template < np.percentile(values, 40))
        x = np.tensordot(self.space.affine[0, :3], np.indices(template.shape), axes=1)
        x -= x[template > 0.05].mean()
        # Voxels on the midplane belong half to each side.
        self.right = np.clip(x / self.voxel + 0.5, 0, 1)

    def measure(self, volume: np.ndarray) -> Measures:
        """Measures of a training volume, uint8 (X, Y, Z), as plain numbers; None where unknown."""
        mask = volume > 0
        contrast = self._contrast(volume, mask)
        detail, streaks = self._detail(volume, mask)
        right = self.right[mask]
        left, values = 1 - right, volume[mask]
        cuts = [face - cap for _, face, cap, _ in outermost_slices(mask, self.space)]
        return {
            "contrast": contrast,
            "asymmetry": _rounded(_imbalance(right.sum(), left.sum())),
            "shading": _rounded(2 * _imbalance(_mean(values, right), _mean(values, left))),
            "cut_cm2": round(max([0.0, *cuts]), 1),
            "levels": float(np.unique(values).size),
            "detail": detail,
            "streaks": streaks,
        }

    def _contrast(self, volume: np.ndarray, mask: np.ndarray) -> float | None:
        """Contrast between the mean brain's brightest tissue (white matter in T1) and the next."""
        bright, middle = volume[self.bright & mask], volume[self.middle & mask]
        if min(bright.size, middle.size) < 30:
            return None
        spread = float(np.std(np.concatenate([bright, middle])))
        return _rounded(float(np.median(bright) - np.median(middle.astype(float))) / max(spread, 1))

    def _detail(self, volume: np.ndarray, mask: np.ndarray) -> tuple[float | None, float | None]:
        """Share of fine detail well inside the brain, and its anisotropy."""
        if self.voxel > DETAIL_MM:
            return None, None
        deep = eroded(mask, max(1, round(6 / self.voxel)))
        if np.count_nonzero(deep) < 1000:
            return None, None
        image = volume.astype(np.float32)
        spread = max(float(image[deep].std()), 1.0)
        sigma = [2.0 / size for size in self.space.voxel_size]
        fine = image - ndimage.gaussian_filter(image, sigma)
        bends = [
            (2 * image - np.roll(image, 1, axis) - np.roll(image, -1, axis))[deep].std()
            for axis in range(3)
        ]
        return (
            _rounded(float(fine[deep].std()) / spread),
            _rounded(float(max(bends) / max(min(bends), 1e-6))),
        )


def measure_scan(aligned: AlignedScan) -> Measures:
    """Measures that need the original scan: cuts, grey values, slice thickness."""
    figures = [doubt.figures.get(name, {}) for doubt in aligned.doubts for name in FACES]
    largest = max((cm2 for one in figures for cm2 in one.values()), default=0.0)
    # Every n-th voxel suffices to count grey values.
    data = aligned.scan.data
    sample = data.ravel()[:: max(1, data.size // 1_000_000)]
    return {
        "scan_cut_cm2": round(largest, 1),
        "scan_levels": float(np.unique(sample).size),
        "slice_mm": round(max(aligned.scan.space.voxel_size), 2),
    }


def refusal(result: Json, min_quality: float) -> str | None:
    """Why a volume is unusable, as a sentence after its name; None if it is usable.

    Parameters
    ----------
    result : dict
        "quality", "brain_ml" and "measures" of the volume, and the "doubts" told until now.
    min_quality : float
        Least correlation with the mean brain.
    """
    found = result["measures"]
    if min(_at(found, "levels", 256), _at(found, "scan_levels", 256)) < LEAST_LEVELS:
        return "has only a few different values, like a mask or a label map; give the scan itself."
    contrast = _at(found, "contrast", USUAL_CONTRAST)
    if contrast < LEAST_CONTRAST:
        how = "darker" if contrast < 0 else "hardly brighter"
        return (
            f"does not have the contrast of the mean brain (white matter is {how} than grey: "
            f"{contrast:.2f}, wanted {LEAST_CONTRAST}), as when a T2-weighted or FLAIR image or a "
            "label map is given for a T1-weighted scan; give T1, or a --template of this "
            "contrast."
        )
    if not POSSIBLE_ML[0] <= result["brain_ml"] <= POSSIBLE_ML[1]:
        return (
            f"has a brain of {result['brain_ml']:.0f} ml, but {POSSIBLE_ML[0]:.0f} to "
            f"{POSSIBLE_ML[1]:.0f} are possible; check the brain extraction and the voxel size."
        )
    cut = max(_at(found, "cut_cm2", 0), _at(found, "scan_cut_cm2", 0))
    if cut > MOST_CUT_CM2:
        return (
            f"has a brain that is cut off (in a flat face of {cut:.0f} cm2 or more), as by the "
            "edge of the field of view; give a scan that covers the whole brain."
        )
    asymmetry = _at(found, "asymmetry", 0)
    if abs(asymmetry) > MOST_ASYMMETRY:
        side = "left" if asymmetry > 0 else "right"
        return (
            f"has {100 * abs(asymmetry):.0f} % less brain on the {side} side than an even "
            "split; the extraction probably failed there: extract the brain with another program "
            "first."
        )
    for doubt in result.get("doubts", ()):
        if doubt.kind == "coverage" and doubt.severity == "refuse":
            return (
                f"covers only {100 * doubt.figures['coverage']:.0f} % of the brain; give a scan "
                "that covers the whole brain."
            )
    if result["quality"] < min_quality:
        return (
            f"is too little like the mean brain (correlation {result['quality']:.2f}, at least "
            f"{min_quality:.2f} is required); check it, or lower the required quality."
        )
    return None


def doubts_of(result: Json, voxel_mm: float) -> list[Doubt]:
    """What is in doubt about a volume; see `refusal`.

    `voxel_mm` is the size of the grid's voxels.
    """
    found, quality, brain_ml = result["measures"], result["quality"], result["brain_ml"]
    contrast = _at(found, "contrast", USUAL_CONTRAST)
    cut, asymmetry = _at(found, "cut_cm2", 0), _at(found, "asymmetry", 0)
    shading, detail = _at(found, "shading", 0), _at(found, "detail", 1)
    levels = min(_at(found, "levels", 256), _at(found, "scan_levels", 256))
    slice_mm, streaks = _at(found, "slice_mm", 0), _at(found, "streaks", 1)
    thick, unlike = slice_mm >= THICK * voxel_mm, quality < EXPECTED_QUALITY
    rules = (
        # For aligned scans, alignment has already warned.
        (unlike and "scan_levels" not in found, "likeness", {"correlation": quality}),
        (contrast < USUAL_CONTRAST, "tissue-contrast", {"contrast": contrast}),
        (not USUAL_ML[0] <= brain_ml <= USUAL_ML[1], "brain-size", {"ml": brain_ml}),
        (cut > USUAL_CUT_CM2, "cut", {"cm2": cut}),
        (abs(asymmetry) > USUAL_ASYMMETRY, "asymmetry", {"asymmetry": asymmetry}),
        (abs(shading) > USUAL_SHADING, "shading", {"shading": shading}),
        (levels < USUAL_LEVELS, "grey-values", {"values": levels}),
        (detail < USUAL_DETAIL, "blur", {"detail": detail}),
        (thick or streaks > USUAL_STREAKS, "slices", {"mm": slice_mm, "streaks": streaks}),
    )
    words = {
        "side": "right" if shading > 0 else "left",
        "slices": f"Slices of {slice_mm:g} mm" if thick else "Blurred along one axis",
    }
    return [
        Doubt(kind, "ask", DOUBTS[kind].format(**figures, **words), figures)
        for holds, kind, figures in rules
        if holds
    ]


def _at(found: Measures, name: str, default: float) -> float:
    """A measure, or `default` if unknown."""
    value = found.get(name)
    return default if value is None else value


def _imbalance(one: float, other: float) -> float:
    return float(one - other) / max(float(one + other), 1e-6)


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights) / max(float(weights.sum()), 1e-6)


def _rounded(value: float) -> float:
    return round(float(value), 4)
