"""The shape of a brain's tissues in figures: what a reader of scans sees at once and volumes do not
tell.

Cortex is a ribbon of one thickness around white matter that hangs together; white matter is even.
A picture that only resembles a brain has blobs for folds: too few sulci, islands, mottle. The
tissues are taken from a label map, the border between grey and white from the image itself, where
it is as bright as the mean of both: so the network that labels cannot smooth it. All lengths are in
millimetres and all intensities in units of the contrast of grey and white, so that scanners differ
little.

The label map is the tissue network's, or one of the intensities alone (`mixture_labels`), which
shares nothing with a model that was fitted by means of the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import euler_number
from sklearn.mixture import GaussianMixture
from torch import Tensor

from stylegan3d.base import SILENT, Progress
from stylegan3d.devices import computed
from stylegan3d.geometry.space import Space, dilated, eroded, filled, unit
from stylegan3d.measures.regions import region_masks
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter

CSF, GREY, WHITE, VENTRICLE, OTHER = range(1, len(CLASSES))
# Unevenness is what differs from the surroundings, averaged with this deviation.
SURROUNDINGS_MM = 5.0
# The hull closes what is narrower than this; what is left within it beside tissue is sulci.
HULL_MM = 12.0
# Folds: what lies between these two deviations of a Gaussian.
FOLDS_MM = (2.0, 6.0)
FEWEST_VOXELS = 50
# A mixture is fitted to about so many voxels, from these quantiles of the brain's intensities.
MIXED_VOXELS = 20_000
MIXED_FROM = (0.1, 0.45, 0.85)

#: What is measured of the cerebrum and of the cerebellum, and how it is called.
OF_EACH = {
    "holes": "holes and handles of white matter per ml",
    "islands": "islands of white matter per ml",
    "surface": "surface of white matter per ml, mm2",
    "separation": "grey-white separation, SD",
    "gradient": "gradient at the grey-white border, contrasts per mm",
    "white_uneven": "unevenness of white matter, contrasts",
    "grey_uneven": "unevenness of grey matter, contrasts",
}
#: What is measured of the cerebrum alone.
OF_CEREBRUM = {
    "fold_strength": "strength of folds, contrasts",
    "thickness": "apparent thickness of the cortical ribbon, mm",
    "thickness_spread": "spread of this thickness, mm",
    "sulcal_depth": "mean depth of sulci, mm",
    "sulcal_share": "share of the hull that is sulci",
    "grey_islands": "islands of grey matter per ml",
    "likeness": "left-right similarity of folds",
}
#: Every measure by its key, and what it is called.
TISSUE_SHAPE = (
    OF_EACH
    | OF_CEREBRUM
    | {f"cerebellar_{key}": f"cerebellum: {name}" for key, name in OF_EACH.items()}
)


def tissue_shape(volume: np.ndarray, labels: np.ndarray, space: Space) -> dict[str, float]:
    """Measure one brain.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), uint8
        Volume of a pack, or float where 1 is the 99.5th percentile of the brain.
    labels : ndarray, shape (X, Y, Z), uint8
        Its tissues, see `segmentation.classes.CLASSES`.
    space : Space
        Its grid; axes right, anterior, superior.

    Returns
    -------
    dict of str to float
        By the keys of `TISSUE_SHAPE`; all NaN where grey or white matter is missing.
    """
    mm, sideways = np.array(space.voxel_size), space.axcodes.index("R")
    regions = region_masks(labels > 0, space)
    box = box_of_brain(labels > 0, sideways)
    cerebellum = in_regions(regions, labels.shape, "cerebellum")[box]
    deep = in_regions(regions, labels.shape, "deep structures", "brain stem")[box]
    image, labels = unit(volume)[box].astype(np.float32), labels[box]
    tissue = np.isin(labels, (GREY, WHITE, OTHER))
    cerebrum = ~cerebellum & (labels != OTHER)
    # Of grey matter the cortex: nuclei have other intensities.
    whole = _Tissues.of(image, labels, cerebrum & ~(deep & (labels == GREY)), space)
    small = _Tissues.of(image, labels, cerebellum, space)
    if whole is None or small is None:
        return dict.fromkeys(TISSUE_SHAPE, float("nan"))
    found = whole.figures() | {f"cerebellar_{k}": v for k, v in small.figures().items()}
    cortex = whole.grey & ~deep
    found["fold_strength"] = whole.fold_strength()
    found |= _ribbon(cortex, whole.white, tissue, mm) | _sulci(tissue | (labels == VENTRICLE), mm)
    _, islands = ndimage.label(cortex)
    found["grey_islands"] = (islands - 1) / (cortex.sum() * space.voxel_ml)
    found["likeness"] = _likeness(image, tissue & cerebrum, mm, sideways)
    return {key: float(found[key]) for key in TISSUE_SHAPE}


def mixture_labels(volume: np.ndarray) -> np.ndarray:
    """CSF, grey and white matter of a brain by a mixture of three Gaussians of its intensities.

    Takes the volume that `tissue_shape` takes, and returns its labels; ventricles are CSF.
    """
    return mixture_chances(torch.from_numpy(unit(volume))).argmax(dim=0).numpy().astype(np.uint8)


def mixture_chances(image: Tensor) -> Tensor:
    """Probabilities of all classes [classes, X, Y, Z], to be differentiated by the image [X, Y, Z].

    Those of `mixture_labels`; 0 outside the brain.
    """
    inside, chances = image.detach() > 0, image.new_zeros(len(CLASSES), *image.shape)
    if (voxels := inside.nonzero(as_tuple=True))[0].numel() >= FEWEST_VOXELS:
        found = tissue_mixture(image.detach()[inside].numpy())
        order = found.means_.ravel().argsort()
        parts = (found.means_, found.covariances_, found.weights_)
        mean, variance, share = (image.new_tensor(part.ravel()[order])[:, None] for part in parts)
        logs = share.log() - variance.log() / 2 - (image[inside] - mean) ** 2 / (2 * variance)
        tissues = torch.tensor((CSF, GREY, WHITE))[:, None]
        chances[(tissues, *(one[None] for one in voxels))] = logs.softmax(dim=0)
    return chances


def tissue_mixture(values: np.ndarray) -> GaussianMixture:
    """Three Gaussians fitted to intensities [n] in [0, 1], in no order."""
    start = np.quantile(values, MIXED_FROM)[:, None]
    mixture = GaussianMixture(len(start), means_init=start, random_state=0)
    return mixture.fit(values[:: max(len(values) // MIXED_VOXELS, 1), None])


#: Who labels the tissues.
Labeller = Literal["network", "mixture"]


def tissue_shapes(
    volumes: Iterable[np.ndarray],
    space: Space,
    progress: Progress = SILENT,
    labeller: Labeller = "network",
) -> np.ndarray:
    """`tissue_shape` of many brains on one grid.

    Parameters
    ----------
    volumes : iterable of ndarray
        [X, Y, Z] each, as `tissue_shape` takes them.
    space : Space
        Their grid, one that the network knows (`Segmenter.fits`).
    progress : Progress
        Called with the number done and of all.
    labeller : {"network", "mixture"}
        Who labels their tissues: the tissue network, or `mixture_labels`.

    Returns
    -------
    ndarray, shape (n, len(TISSUE_SHAPE))
        Measures in the order of `TISSUE_SHAPE`.

    Raises
    ------
    StyleGAN3DError
        If the network does not know the grid.
    """
    segmenter = bundled_segmenter()

    def one(volume: np.ndarray) -> list[float]:
        mixed = labeller == "mixture"
        labels = mixture_labels(volume) if mixed else segmenter.segment(volume, space).labels
        return list(tissue_shape(volume, labels, space).values())

    rows = computed(one, volumes, segmenter.device, progress)
    return np.array(rows).reshape(-1, len(TISSUE_SHAPE))


class _Tissues:
    """Grey and white matter of one region, divided where the image is as bright as their mean."""

    def __init__(
        self, image: np.ndarray, grey: np.ndarray, white: np.ndarray, contrast: float, space: Space
    ) -> None:
        self.image, self.grey, self.white, self.contrast = image, grey, white, contrast
        self.mm, self.ml = np.array(space.voxel_size), space.voxel_ml

    @classmethod
    def of(
        cls, image: np.ndarray, labels: np.ndarray, region: np.ndarray, space: Space
    ) -> _Tissues | None:
        """None where one of both is missing."""
        labelled = [(labels == tissue) & region for tissue in (GREY, WHITE)]
        if min(part.sum() for part in labelled) < FEWEST_VOXELS:
            return None
        dark, bright = (float(np.median(image[part])) for part in labelled)
        if bright <= dark:
            return None
        both = labelled[0] | labelled[1]
        white = both & (image > (dark + bright) / 2)
        return cls(image, both & ~white, white, bright - dark, space)

    def figures(self) -> dict[str, float]:
        """By the keys of `OF_EACH`."""
        white_ml = max(self.white.sum(), 1) * self.ml
        islands, holes = islands_and_holes(self.white)
        inner = at_least(eroded(self.white), self.white)
        # The ribbon is too thin for an erosion on all sides.
        outer = at_least(self.grey & ~dilated(self.white), self.grey)
        means = [float(self.image[part].mean()) for part in (inner, outer)]
        spread = np.sqrt((self.image[inner].var() + self.image[outer].var()) / 2)
        return {
            "holes": holes / white_ml,
            "islands": (islands - 1) / white_ml,
            "surface": self._surface() / white_ml,
            "separation": (means[0] - means[1]) / max(float(spread), 1e-6),
            "gradient": self._gradient(),
            "white_uneven": self._uneven(inner),
            "grey_uneven": self._uneven(outer),
        }

    def fold_strength(self) -> float:
        """Deviation of what lies between the two scales of `FOLDS_MM`."""
        return float(_folds(self.image, self.mm)[self.grey | self.white].std()) / self.contrast

    def _surface(self) -> float:
        """Square millimetres of the faces between white and grey matter."""
        total = 0.0
        for axis in range(3):
            w, g = (np.moveaxis(part, axis, 0) for part in (self.white, self.grey))
            faces = (w[1:] & g[:-1]).sum() + (w[:-1] & g[1:]).sum()
            total += float(faces) * float(np.prod(np.delete(self.mm, axis)))
        return total

    def _gradient(self) -> float:
        border = dilated(self.grey) & self.white
        slopes = [g[border] for g in np.gradient(self.image, *self.mm)]
        steep = np.sqrt(sum(slope**2 for slope in slopes))
        return float(steep.mean()) / self.contrast if border.any() else 0.0

    def _uneven(self, part: np.ndarray) -> float:
        """Deviation from the mean of the same tissue around."""
        sigma = SURROUNDINGS_MM / self.mm
        weight = ndimage.gaussian_filter(part.astype(np.float32), sigma)
        around = ndimage.gaussian_filter(np.where(part, self.image, 0), sigma)
        differs = self.image[part] - around[part] / np.maximum(weight[part], 1e-6)
        return float(differs.std()) / self.contrast


def islands_and_holes(mask: np.ndarray) -> tuple[int, int]:
    """Pieces of a mask whose voxels are connected by faces, and its handles and cavities."""
    _, pieces = ndimage.label(mask)
    _, outside = ndimage.label(~np.pad(mask, 1), np.ones((3, 3, 3)))
    cavities = outside - 1
    # Euler's number is pieces minus handles plus cavities.
    return pieces, pieces + 2 * cavities - int(euler_number(mask, connectivity=1))


def _ribbon(
    cortex: np.ndarray, white: np.ndarray, tissue: np.ndarray, mm: np.ndarray
) -> dict[str, float]:
    """Thickness: from white matter to the outside, through each voxel of the ribbon."""
    if not cortex.any():
        return {"thickness": 0.0, "thickness_spread": 0.0}
    inwards = ndimage.distance_transform_edt(~white, mm)
    outwards = ndimage.distance_transform_edt(tissue, mm)
    # Both reach to the middle of the next voxel, half a voxel too far.
    through = (inwards + outwards)[cortex] - float(mm.mean())
    return {"thickness": float(through.mean()), "thickness_spread": float(through.std())}


def _sulci(tissue: np.ndarray, mm: np.ndarray) -> dict[str, float]:
    """What lies between the tissue and its hull, and how far inside."""
    depth = depth_in_hull(tissue, mm)
    hull = depth > 0
    sulci = hull & ~np.pad(tissue, 1)
    if not sulci.any():
        return {"sulcal_depth": 0.0, "sulcal_share": 0.0}
    return {"sulcal_depth": depth[sulci].mean(), "sulcal_share": sulci.sum() / hull.sum()}


def depth_in_hull(tissue: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """Millimetres from the outside of the tissue's hull, 0 outside; a voxel more on every side.

    The hull is the tissue closed by `HULL_MM`, with room for that around it.
    """
    room = [int(np.ceil(HULL_MM / side)) + 1 for side in mm]
    tissue = np.pad(tissue, [(n, n) for n in room])
    near = ndimage.distance_transform_edt(~tissue, mm) <= HULL_MM
    hull = filled(tissue | (ndimage.distance_transform_edt(near, mm) > HULL_MM))
    depth = np.asarray(ndimage.distance_transform_edt(hull, mm))
    return depth[tuple(slice(n - 1, 1 - n) for n in room)]


def _likeness(image: np.ndarray, inside: np.ndarray, mm: np.ndarray, sideways: int) -> float:
    """Correlation of the folds with their mirror image: a person's sides are cousins."""
    both = inside & np.flip(inside, sideways)
    if both.sum() < FEWEST_VOXELS:
        return 0.0
    folds = _folds(image, mm)
    return float(np.corrcoef(folds[both], np.flip(folds, sideways)[both])[0, 1])


def _folds(image: np.ndarray, mm: np.ndarray) -> np.ndarray:
    fine, soft = (ndimage.gaussian_filter(image, sigma / mm) for sigma in FOLDS_MM)
    return np.asarray(fine - soft)


def at_least(part: np.ndarray, else_: np.ndarray) -> np.ndarray:
    """A part of which there is enough to measure, or something else."""
    return part if part.sum() >= FEWEST_VOXELS else else_


def box_of_brain(inside: np.ndarray, sideways: int) -> tuple[slice, ...]:
    """The part of a grid that holds all that is inside, with both sides whole."""
    found = ndimage.find_objects(inside.astype(np.uint8))
    box = list(found[0]) if found else [slice(0, 0)] * inside.ndim
    box[sideways] = slice(None)
    return tuple(box)


def in_regions(regions: dict[str, np.ndarray], shape: tuple[int, ...], *names: str) -> np.ndarray:
    """Where regions lie whose names end so, left and right."""
    mask = np.zeros(int(np.prod(shape)), bool)
    for name, where in regions.items():
        if name.endswith(names):
            mask[where] = True
    return mask.reshape(shape)
