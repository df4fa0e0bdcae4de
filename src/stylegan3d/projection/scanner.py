"""What a scanner adds to a scan: contrast, shading, sharpness, noise, coverage, extraction.

They are estimated from the scan and the brain that the model expects, and set aside before the
anatomy is judged: a monotone curve of intensities and a smooth field bring the scan to the expected
brain's intensities, and a reconstruction is compared with the scan at its own sharpness. Each
estimate is kept as a number, relative to the usual one of held-out subjects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from stylegan3d.base import Doubt, Severity
from stylegan3d.geometry.space import Space, dilated, eroded, filled
from stylegan3d.measures.attributes import tissue_masks
from stylegan3d.measures.regions import region_masks
from stylegan3d.measures.similarity import similarity
from stylegan3d.networks import resampling
from stylegan3d.projection.signs import LEAST_VOXELS, Usual, core_of
from stylegan3d.scans.intensity import rising
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter

#: Estimates: what a higher and a lower value mean; "" if that side is nothing to mention.
FIGURES = {
    "sharpness": ("sharper", "softer"),
    "noise": ("noisier", ""),
    "grey": ("brighter grey matter", "darker grey matter"),
    "fluid": ("brighter CSF", "darker CSF"),
    "shading": ("more shading", ""),
    "coverage": ("", ""),  # judged by itself, see `verdicts`
    "rim": ("more CSF left around the brain", "a tighter brain mask"),
}
#: Spreads from which an estimate is mentioned.
NOTABLE = 3.0
# Intensities are matched after smoothing, so that noise and misplaced folds do not count; shading
# is smoother than any anatomy.
MATCH_MM, EXPECTED_MM, SHADING_MM = 2.0, 1.0, 24.0
CURVE_PERCENTILES = np.linspace(0.5, 99.5, 34)
SHADING_RANGE = (0.75, 1.33)
# Voxels that differ so many spreads have no part in the shading.
ROBUST = 2.5
# Spreads of white matter from which a region is too bright to be any.
BRIGHTER = 4.0
# Share of the expected brain's voxels, by brightness, that count as fluid, grey and white matter.
FLUID_SHARE, GREY_SHARE, WHITE_SHARE = (0.0, 3.0), (25.0, 45.0), (85.0, 100.0)
# Blurs of the scan that are tried to match a reconstruction's sharpness, mm.
BLURS_MM = (0.0, 0.8, 1.2, 1.6, 2.0, 2.4)
# Intensity from which a voxel of the expected brain is brain; depth to which outlines of healthy
# brains differ from it, and millilitres beyond it that none of 80 of them reached (1.0 and 0.6).
BRAIN, OUTLINE_MM, OUTLINE_ML = 0.15, 4.0, 1.2
#: Places that a sentence names at most.
NAMED = 3
# Signal is lost where, within `DARK_MM`, a scan is darker than this share of the expected brain
# (whole brains: at least 0.70), and darker than this share of fluid, which a cavity is not.
DARK_MM, DARK_SHARE, BLACK, FLUID_PERCENT = 6.0, 0.65, 0.7, 25
# Share of a brain's surface that is tissue by intensity, from which the tissue network is asked;
# share that is fluid by the network (in 23 whole heads of eight scanners 0.157 to 0.45, 4.5 mm
# within 0.09 to 0.14); voxels of surface per voxels^(2/3) of a brain without fluid on purpose.
TISSUE_SHARE, FLUID_LEFT, ROUGH = 0.33, 0.145, 4.2
# Depth of the cortex with its folds, and the width from which detail is fine.
CORTEX_MM, DETAIL_MM = 16.0, 4.0


@dataclass(frozen=True, eq=False)
class Matched:
    """A scan with the scanner set aside.

    Attributes
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        In the intensities of the expected brain; 0 outside the mask.
    core : ndarray, shape (X, Y, Z), bool
        The brain without its border.
    figures : dict of str to float
        By the keys of `FIGURES`.
    """

    volume: np.ndarray
    core: np.ndarray
    figures: dict[str, float]


def masked_blur(volume: np.ndarray, mask: np.ndarray, sigma: Any) -> np.ndarray:
    """Gaussian blur of what is inside a mask (X, Y, Z); `sigma` in voxels."""
    both = torch.from_numpy(np.stack([mask, np.where(mask, volume, 0)]).astype(np.float32))
    weight, blurred = resampling.smooth(both[None], sigma, "reflect")[0].numpy()
    return np.where(mask, blurred / np.maximum(weight, 1e-3), 0)


#: Kinds of doubts about what a scan shows of the brain.
OUTLINE = ("brain-missing", "signal-loss", "brain-extraction")


@dataclass(frozen=True)
class OutlineGaps:
    """Where a scan does not show the whole brain that the model expects, or more than it.

    Attributes
    ----------
    missing, surplus, dark : dict of str to float
        Millilitres of brain that are not there, of other tissue that was left, and of brain without
        signal, by region, largest first. They are estimates: most of what is cut off a brain in
        place is seen, a third to a half where the cut has shifted its alignment.
    fluid : float or None
        Share of the brain's surface that is fluid, where that is too little.
    """

    missing: dict[str, float] = field(default_factory=dict)
    surplus: dict[str, float] = field(default_factory=dict)
    dark: dict[str, float] = field(default_factory=dict)
    fluid: float | None = None

    @property
    def told(self) -> list[tuple[str, dict[str, float], str, str]]:
        """Kind, figures (mostly ml by region), the fact, and what is to be said of it."""
        lines = (
            (
                self.missing,
                "brain-missing",
                "or more of brain is missing ({})",
                ": it lies outside the field of view, or was removed with the skull or the face. "
                "Volumes are too small by at least this much, often by two or three times as much.",
            ),
            (
                self.dark,
                "signal-loss",
                "of brain has no signal ({}), as beside metal or where a face was removed",
                ". Nothing can be said about the brain there.",
            ),
            (
                self.surplus,
                "brain-extraction",
                "of tissue outside the brain were left ({}), such as meninges",
                ". Volumes may be too large; improve the brain extraction.",
            ),
        )
        found = [
            (kind, ml, f"{sum(ml.values()):.0f} ml {fact.format(_listed(ml))}", more)
            for ml, kind, fact, more in lines
            if ml
        ]
        if self.fluid is not None:
            fact = "Cortex may have been removed with the skull: only "
            fact += f"{100 * self.fluid:.0f} % of the brain's surface is fluid (usually over 15 %)"
            more = ". Volumes are then too small."
            found.insert(0, ("brain-extraction", {"fluid": self.fluid}, fact, more))
        return found

    def doubts(self, severity: Severity) -> list[Doubt]:
        """What a person must look at."""
        return [Doubt(kind, severity, fact + more, ml) for kind, ml, fact, more in self.told]


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{ml:.0f} ml at the {name}" for name, ml in list(amounts.items())[:NAMED])


def compare_outline(expected: np.ndarray, mask: np.ndarray, space: Space) -> OutlineGaps:
    """Look for brain that is missing, cut off or stripped away, and for tissue that is none.

    Parameters
    ----------
    expected : ndarray, shape (X, Y, Z)
        The model's initial estimate, values in [0, 1]; its shape is that of a whole brain.
    mask : ndarray, shape (X, Y, Z), bool
        The brain in the scan.
    """
    brain = filled(expected > BRAIN)
    inside = closed(mask)
    regions = region_masks(brain | inside, space)
    missing, surplus = beyond(brain, inside, space), beyond(inside, brain, space)
    return OutlineGaps(_by_region(missing, regions, space), _by_region(surplus, regions, space))


def beyond(whole: np.ndarray, other: np.ndarray, space: Space) -> np.ndarray:
    """Parts of a brain (X, Y, Z), bool, that are not in the other, deeper than outlines differ."""
    steps = max(1, round(OUTLINE_MM / max(space.voxel_size)))
    deep = eroded(whole, steps) & ~other
    return dilated(_large(deep, space), steps) & whole & ~other


def fluid_left(brain: np.ndarray, mask: np.ndarray, space: Space) -> float | None:
    """Share of a brain's surface that is fluid, if that is so little that cortex may be missing.

    Parameters
    ----------
    brain : ndarray, shape (X, Y, Z)
        Intensities; those at the border of the brain alone, see `AlignedScan.undiluted`.
    mask : ndarray, shape (X, Y, Z), bool
        The brain in the scan.
    """
    whole = filled(mask)
    surface = whole & ~eroded(whole)
    # Without the lowest third, where the brain stem was cut.
    height = nib.affines.apply_affine(space.affine, np.argwhere(surface))[:, 2]
    surface[surface] = height > height.min() + 0.35 * np.ptp(height)
    if surface.sum() > ROUGH * whole.sum() ** (2 / 3):
        return None
    inside = np.where(whole, brain, 0)
    tissues = tissue_masks(inside, space)
    tissue = sum(tissues[name][surface].mean() for name in tissues if name.endswith("matter"))
    # Most brains need no network, which takes a while to open.
    if tissue < TISSUE_SHARE or not bundled_segmenter().fits(space):
        return None
    labels = bundled_segmenter().segment(inside, space).labels[surface]
    share = float((labels == CLASSES.index("csf")).mean())
    return share if share < FLUID_LEFT else None


def find_dark(
    volume: np.ndarray,
    expected: np.ndarray,
    mask: np.ndarray,
    ventricles: np.ndarray,
    fluid: np.ndarray,
    space: Space,
) -> dict[str, float]:
    """Millilitres of brain without signal, by region: darker than fluid, where none is expected.

    Parameters
    ----------
    volume, expected : ndarray, shape (X, Y, Z)
        Scan and expected brain.
    mask, ventricles, fluid : ndarray, shape (X, Y, Z), bool
        The brain in the scan, its ventricles, and the fluid in and around it.
    """
    inside = filled(mask)
    core, voxel = core_of(inside, space.voxel_size), np.array(space.voxel_size)
    sums = [masked_blur(one * expected, core, DARK_MM / voxel) for one in (volume, expected)]
    share = np.where(core, sums[0] / np.maximum(sums[1], 1e-5), 1)
    low = core & ~ventricles & (share < DARK_SHARE * np.median(share[core]))
    if not (low.any() and fluid.any()):
        return {}
    smooth = masked_blur(volume, inside, MATCH_MM / voxel)
    black = _large(low & (smooth < BLACK * np.percentile(volume[fluid], FLUID_PERCENT)), space)
    # Signal falls off around what is black.
    lost = ndimage.binary_propagation(black, mask=low)
    return _by_region(lost, region_masks(inside, space), space)


def _large(found: np.ndarray, space: Space) -> np.ndarray:
    """The connected pieces of at least `OUTLINE_ML`."""
    pieces, _ = ndimage.label(found)
    sizes = np.bincount(pieces.ravel()) * space.voxel_ml
    sizes[0] = 0
    return np.asarray((sizes >= OUTLINE_ML)[pieces])


def _by_region(
    found: np.ndarray, regions: Mapping[str, np.ndarray], space: Space
) -> dict[str, float]:
    """Millilitres by region, largest first, from 1 ml."""
    amounts = {name: found.flat[i].sum() * space.voxel_ml for name, i in regions.items()}
    named = {name: round(float(ml), 1) for name, ml in amounts.items() if ml >= 1}
    return dict(sorted(named.items(), key=lambda item: -item[1]))


def closed(mask: np.ndarray) -> np.ndarray:
    """A mask (X, Y, Z) without narrow gaps."""
    return eroded(dilated(np.pad(mask, 4), 2), 2)[4:-4, 4:-4, 4:-4]


def match_scanner(
    volume: np.ndarray, expected: np.ndarray, mask: np.ndarray, voxel_mm: tuple[float, float, float]
) -> Matched:
    """Estimate what the scanner did, and set it aside.

    Parameters
    ----------
    volume, expected : ndarray, shape (X, Y, Z)
        Scan and expected brain, 1 = the 99.5th percentile inside the brain.
    mask : ndarray, shape (X, Y, Z), bool
        The brain in the scan, not empty.
    voxel_mm : tuple of float
        Of the grid.
    """
    voxel = np.array(voxel_mm)
    core = core_of(mask, voxel_mm)
    smooth = masked_blur(volume, mask, MATCH_MM / voxel)
    wanted = masked_blur(expected, mask, EXPECTED_MM / voxel)
    usual = core & ~_brighter(smooth, wanted, core)
    curve = _curve(smooth[usual], wanted[usual])
    wanted = masked_blur(expected, mask, MATCH_MM / voxel)
    field = _shading(np.interp(smooth, *curve), wanted, core, voxel)
    told = np.where(mask, np.interp(volume, *curve) * field, 0).astype(np.float32)
    return Matched(told, core, _figures(volume, smooth, expected, mask, core, field, voxel))


def match_sharpness(
    made: np.ndarray, matched: np.ndarray, mask: np.ndarray, voxel_mm: tuple[float, float, float]
) -> dict[str, float]:
    """Similarity of a reconstruction to a scan that is blurred until they agree best.

    Parameters
    ----------
    made, matched : ndarray, shape (X, Y, Z)
        Reconstruction, and `Matched.volume` of the scan.

    Returns
    -------
    dict of str to float
        As `measures.similarity.similarity`, with "blur_mm", the sigma of the blur.
    """
    voxel = np.array(voxel_mm)
    blurred = {mm: masked_blur(matched, mask, mm / voxel) if mm else matched for mm in BLURS_MM}
    errors = {mm: float(np.mean((made - image)[mask] ** 2)) for mm, image in blurred.items()}
    best = min(errors, key=lambda mm: errors[mm])
    return {**similarity(made, blurred[best], mask), "blur_mm": best}


def cortical_detail(
    made: np.ndarray, matched: np.ndarray, mask: np.ndarray, voxel_mm: tuple[float, float, float]
) -> float:
    """Correlation of fine detail of two volumes within `CORTEX_MM` of the brain's surface."""
    voxel = np.array(voxel_mm)
    shell = mask & (ndimage.distance_transform_edt(mask, sampling=voxel) <= CORTEX_MM)
    fine = [(x - masked_blur(x, mask, DETAIL_MM / voxel))[shell] for x in (made, matched)]
    if min(np.ptp(values) for values in fine) == 0:
        return 0.0
    return float(np.corrcoef(fine[0], fine[1])[0, 1])


def compare_figures(
    figures: Mapping[str, float], known: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Each figure with the usual value, and how many spreads it lies above it (or below).

    "beyond" says whether no simulated scanner has it, so that the verdicts were not tried on such.
    """
    record: dict[str, dict[str, float]] = {
        name: {"value": value} for name, value in figures.items()
    }
    for name, row in record.items():
        if name in known:
            usual = known[name]
            row["usual"] = usual["middle"]
            row["unusual"] = spreads(row["value"], usual)
            least, most = (usual.get(end, np.nan) for end in ("least", "most"))
            row["beyond"] = not least <= row["value"] <= most
    return record


def usual_range(values: np.ndarray) -> dict[str, float]:
    """Median, and the spread on either side; for a model's card."""
    below, above = Usual.of(values, -1), Usual.of(values, 1)
    return {"middle": above.middle, "below": below.spread, "above": above.spread}


def spreads(value: float, usual: Mapping[str, float]) -> float:
    """How many spreads a value lies above (or, negative, below) what is usual."""
    away = value - usual["middle"]
    return float(away / usual["above" if away > 0 else "below"])


def scanner_in_words(figures: Mapping[str, Mapping[str, float]]) -> str:
    """How a scan differs from the reference scans, most unusual first; "" if it does not."""
    found = []
    for name, row in figures.items():
        away = row.get("unusual", 0.0)
        words = FIGURES[name][away < 0]
        if abs(away) >= NOTABLE and words:
            found.append((abs(away), words))
    return ", ".join(words for _, words in sorted(found, reverse=True))


def _brighter(smooth: np.ndarray, wanted: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Regions (X, Y, Z) brighter than any white matter, such as blood: they are no scanner's doing.

    Left in, they would be taken for white matter, and white matter for what is darker.
    """
    white = core & (wanted >= np.percentile(wanted[core], WHITE_SHARE[0]))
    middle = float(np.median(smooth[white]))
    spread = 1.4826 * float(np.median(np.abs(smooth[white] - middle)))
    bright = core & (smooth > middle + max(BRIGHTER * spread, 0.1 * middle))
    return dilated(eroded(bright, 2), 4)


def _curve(scan: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Monotone curve from the scan's intensities to the expected ones, by equal percentiles."""
    x, y = (np.percentile(values, CURVE_PERCENTILES) for values in (scan, expected))
    x = rising(x)
    return np.r_[0, x, x[-1] + 1], np.r_[0, y, y[-1] + 1]


def _shading(
    scan: np.ndarray, expected: np.ndarray, core: np.ndarray, voxel: np.ndarray
) -> np.ndarray:
    """Smooth field (X, Y, Z) to multiply a scan with, from what it should be.

    Fitted twice, the second time without voxels that differ much. It is computed at a quarter of
    the resolution, which is fine enough for it.
    """
    step = np.maximum(1, np.round(SHADING_MM / 3 / voxel)).astype(int)
    coarse = tuple(slice(int(n) // 2, None, int(n)) for n in step)
    sigma = SHADING_MM / voxel / step
    weight, field = core.astype(np.float32), np.ones_like(scan)
    for _ in range(2):
        products = weight * expected * scan, weight * scan * scan
        means = (ndimage.uniform_filter(product, step)[coarse] for product in products)
        pair = [ndimage.gaussian_filter(mean, sigma) for mean in means]
        ratio = np.where(pair[1] > 1e-5, pair[0] / np.maximum(pair[1], 1e-5), 1)
        # Each coarse voxel stands for every `step`-th of the grid, from half a step.
        first, clipped = -(step // 2) / step, np.clip(ratio, *SHADING_RANGE)
        field = ndimage.affine_transform(
            clipped, 1 / step, first, scan.shape, np.float32, order=1, mode="nearest"
        )
        error = np.abs(field * scan - expected)
        weight = (core & (error < ROBUST * 1.4826 * np.median(error[core]))).astype(np.float32)
    return field


def _figures(
    volume: np.ndarray,
    smooth: np.ndarray,
    expected: np.ndarray,
    mask: np.ndarray,
    core: np.ndarray,
    field: np.ndarray,
    voxel: np.ndarray,
) -> dict[str, float]:
    """The estimates named in `FIGURES`; `smooth` is the volume blurred by `MATCH_MM`."""
    inside = expected[core]

    def median(share: tuple[float, float]) -> float:
        low, high = np.percentile(inside, share)
        return float(np.median(volume[core][(inside >= low) & (inside <= high)]))

    white = max(median(WHITE_SHARE), 1e-3)
    fine, middle = volume - smooth, smooth - masked_blur(volume, mask, 2 * MATCH_MM / voxel)
    deep = core & (expected >= np.percentile(inside, WHITE_SHARE[0]))
    deep = eroded(deep) if np.count_nonzero(deep) > LEAST_VOXELS else deep
    noise = np.median(np.abs(fine[deep])) if deep.any() else 0.0
    brain = expected > 0.3
    shell = mask & ~core
    return {
        "sharpness": float(np.std(fine[core]) / max(np.std(middle[core]), 1e-6)),
        "noise": float(1.4826 * noise / white),
        "grey": median(GREY_SHARE) / white,
        "fluid": median(FLUID_SHARE) / white,
        "shading": float(np.std(field[core])),
        "coverage": float(np.mean(mask[brain])) if brain.any() else 1.0,
        "rim": float(np.mean(volume[shell] < 0.5 * white)) if shell.any() else 0.0,
    }


# Simulated scanners: the same brain as other scanners would show it.
#
# A calibration on the few sites of a model's dataset would call every other site unusual. So each
# held-out subject is also seen with random contrast, sharpness, slice thickness, shading, noise and
# extraction, wider than what is met (Billot et al. 2023, doi:10.1016/j.media.2023.102789, train
# networks in this way).

# Ranges of what is drawn: width of a blur or of sharpening in mm and its amount, blur along one
# axis, logarithm of gamma, shift of one grey level, shading, noise as a share of white matter.
BLUR_MM, SHARPEN, THICK_MM = (0.6, 1.6), (0.2, 1.5), (0.8, 2.0)
GAMMA, SHIFT, SHADING, NOISE = 0.35, 0.12, 0.12, 0.04
# Depth in voxels to which fluid is removed, and its intensity as a share of white matter's.
SHELL, DARK = 3, (0.2, 0.5)


def simulate_scanner(
    volume: np.ndarray, mask: np.ndarray, voxel_mm: tuple[float, float, float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """One brain on another scanner: volume and mask (X, Y, Z).

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        Values in [0, 1], 0 outside `mask`.
    seed : int
        Source of all randomness.
    """
    draw = np.random.RandomState(seed)
    image = _resolution(np.asarray(volume, np.float32), np.array(voxel_mm), draw)
    image = _contrast(image, draw)
    knots = draw.uniform(0, SHADING) * draw.randn(3, 4, 3)
    image = image * np.exp(ndimage.zoom(knots, np.array(volume.shape) / knots.shape, order=1))
    noise = draw.uniform(0, NOISE)
    image = np.hypot(image + noise * draw.randn(*image.shape), noise * draw.randn(*image.shape) / 2)
    mask = _extraction(image, mask, draw)
    top = np.percentile(image[mask], 99.5)
    seen = np.where(mask, np.clip(image / max(top, 1e-6), 0, 1), 0)
    return seen.astype(np.float32), mask


def on_scanners(
    volume: np.ndarray, mask: np.ndarray, voxel_mm: tuple[float, float, float], seed: int, more: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """One brain as it is, and on so many more, simulated scanners; see `simulate_scanner`."""
    seeds = (seed + 7919 * k for k in range(1, more + 1))
    return [(volume, mask), *(simulate_scanner(volume, mask, voxel_mm, one) for one in seeds)]


def _extraction(image: np.ndarray, mask: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """As other programs extract a brain: a voxel tighter, without the fluid around it, or both."""
    tight = eroded(mask) if draw.rand() < 0.3 else mask
    if draw.rand() < 0.4:
        shell = tight & ~eroded(tight, SHELL)
        white = np.percentile(image[mask], 95)
        tight = tight & ~(shell & (image < draw.uniform(*DARK) * white))
    return tight if tight.any() else mask


def _resolution(image: np.ndarray, voxel: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """Softer, sharper or unchanged; at times with thick slices."""
    kind = draw.rand()
    sigma = draw.uniform(*BLUR_MM) / voxel
    if kind < 0.3:
        image = ndimage.gaussian_filter(image, sigma)
    elif kind < 0.75:
        image = image + draw.uniform(*SHARPEN) * (image - ndimage.gaussian_filter(image, sigma))
    if draw.rand() < 0.25:
        axis = draw.randint(3)
        image = ndimage.gaussian_filter1d(image, draw.uniform(*THICK_MM) / voxel[axis], axis=axis)
    return np.clip(image, 0, 1.3)


def _contrast(image: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """A random monotone curve: gamma, and some grey levels brighter or darker."""
    gamma = np.exp(draw.uniform(-GAMMA, GAMMA))
    shift, level = draw.uniform(-SHIFT, SHIFT), draw.uniform(0.35, 0.65)
    x = np.linspace(0, 1.3, 200)
    y = x**gamma + shift * np.exp(-0.5 * ((x - level) / 0.18) ** 2)
    return np.interp(image, x, np.maximum.accumulate(np.maximum(y - y[0], 0)))
