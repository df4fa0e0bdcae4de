"""`tissue_shape` as a function that can be differentiated by the intensities, to train with.

Labels, and what is found in whole voxels, are constants of the moment. The border of grey and white
matter is soft over a share of their contrast, so that faces, holes and islands follow the
intensities; distances to it follow the intensity of the voxel where they end, and what depends on
the end of tissue follows the probabilities of the network that labels. Of random brains of the
bundled model, each measure correlates with the hard one at 0.9 or more.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import region_masks
from stylegan3d.measures.tissue_shape import (
    FOLDS_MM,
    GREY,
    OTHER,
    SURROUNDINGS_MM,
    TISSUE_SHAPE,
    VENTRICLE,
    WHITE,
    at_least,
    box_of_brain,
    depth_in_hull,
    in_regions,
)
from stylegan3d.networks.registration import smooth

# Width of the soft border in contrasts: of faces, of holes, and of voxels that may become islands.
FACES, HOLES, ISLANDS = 0.08, 0.028, 0.03
# A border is looked for in voxels of distance from where it is in whole voxels.
NEAREST, FARTHEST = -1.0, 1.5
# Quantiles between which intensities stand in for their median, which has no slope.
MIDDLE = (0.4, 0.6)
LEAST = 1e-6


def soft_tissue_shape(image: Tensor, labels: np.ndarray, chances: Tensor, space: Space) -> Tensor:
    """Measure one brain.

    Parameters
    ----------
    image : Tensor, shape (X, Y, Z)
        Intensities; 1 is the 99.5th percentile of the brain and 0 is outside it.
    labels : ndarray, shape (X, Y, Z), uint8
        Its tissues, see `segmentation.classes.CLASSES`.
    chances : Tensor, shape (classes, X, Y, Z)
        Probabilities of the same tissues.
    space : Space
        Its grid; cubic voxels, axes right, anterior, superior.

    Returns
    -------
    Tensor, shape (len(TISSUE_SHAPE),)
        Stand-ins of what `tissue_shape` measures, in its order.

    Raises
    ------
    ValueError
        If a tissue is missing where it measures.
    """
    mm, sideways = float(np.mean(space.voxel_size)), space.axcodes.index("R")
    regions = region_masks(labels > 0, space)
    cerebellum = in_regions(regions, labels.shape, "cerebellum")
    deep = in_regions(regions, labels.shape, "deep structures", "brain stem")
    box = box_of_brain(labels > 0, sideways)
    image, chances = image[box], chances[(slice(None), *box)]
    labels, cerebellum, deep = labels[box], cerebellum[box], deep[box]
    cerebrum = ~cerebellum & (labels != OTHER)
    whole = _Tissues(image, labels, cerebrum & ~(deep & (labels == GREY)), mm)
    small = _Tissues(image, labels, cerebellum, mm)
    found = whole.figures() | {f"cerebellar_{k}": v for k, v in small.figures().items()}
    folds = smooth(image[None, None], FOLDS_MM[0] / mm) - smooth(
        image[None, None], FOLDS_MM[1] / mm
    )
    folds = folds[0, 0]
    found["fold_strength"] = folds[whole.both].std() / whole.contrast
    cortex = whole.grey & ~deep
    outside = whole.both.numpy() & ~deep
    grey = _ml((1 - whole.soft(HOLES)) * _as(outside), mm)
    found["grey_islands"] = _islands(whole, cortex, outside, -1) / grey
    tissue = np.isin(labels, (GREY, WHITE, OTHER))
    soft_tissue = chances[[GREY, WHITE, OTHER]].sum(dim=0)
    both = tissue & cerebrum
    both &= np.flip(both, sideways)
    there = torch.from_numpy(both)
    pair = torch.stack([folds[there], folds.flip(sideways)[there]])
    found["likeness"] = torch.corrcoef(pair)[0, 1]
    through = _through(whole, cortex, tissue, soft_tissue)
    found |= {"thickness": through.mean(), "thickness_spread": through.std()}
    depth = depth_in_hull(tissue | (labels == VENTRICLE), np.full(3, mm))[1:-1, 1:-1, 1:-1]
    sulci = (1 - soft_tissue - chances[VENTRICLE]).clamp(min=0) * _as(depth > 0)
    found["sulcal_depth"] = (sulci * _as(depth)).sum() / sulci.sum().clamp(min=LEAST)
    found["sulcal_share"] = sulci.sum() / float((depth > 0).sum())
    return torch.stack([found[key] for key in TISSUE_SHAPE])


class _Tissues:
    """Grey and white matter of one region, divided where the image is as bright as their mean."""

    def __init__(self, image: Tensor, labels: np.ndarray, region: np.ndarray, mm: float) -> None:
        self.image, self.mm = image, mm
        labelled = [torch.from_numpy((labels == tissue) & region) for tissue in (GREY, WHITE)]
        if not all(part.any() for part in labelled):
            raise ValueError("Grey or white matter is missing.")
        dark, bright = (_median(image[part]) for part in labelled)
        self.contrast, self.border = bright - dark, (dark + bright) / 2
        if self.contrast.item() <= 0:
            raise ValueError("Grey matter is as bright as white matter.")
        self.both = labelled[0] | labelled[1]
        intensities = image.detach().numpy()
        middle = np.mean([float(np.median(intensities[part.numpy()])) for part in labelled])
        self.white = self.both.numpy() & (intensities > middle)
        self.grey = self.both.numpy() & ~self.white

    def soft(self, width: float) -> Tensor:
        """How much of each voxel is white matter; `width` of the border in contrasts."""
        return torch.sigmoid((self.image - self.border) / (width * self.contrast)) * self.both

    def figures(self) -> dict[str, Tensor]:
        """By the keys of `tissue_shape.OF_EACH`."""
        white = self.soft(FACES)
        islands = _islands(self, self.white, self.both.numpy(), 1) / _ml(white, self.mm)
        inner = at_least(ndimage.binary_erosion(self.white), self.white)
        outer = at_least(self.grey & ~ndimage.binary_dilation(self.white), self.grey)
        within, around = (self.image[torch.from_numpy(part)] for part in (inner, outer))
        spread = ((within.var() + around.var()) / 2).clamp(min=LEAST**2).sqrt()
        return {
            # Euler's number is pieces minus handles plus cavities.
            "holes": islands - _euler(self.soft(HOLES)) / _ml(self.soft(HOLES), self.mm),
            "islands": islands,
            "surface": self._faces(white) * self.mm**2 / _ml(white, self.mm),
            "separation": (within.mean() - around.mean()) / spread,
            "gradient": self.gradient(),
            "white_uneven": self._uneven(inner),
            "grey_uneven": self._uneven(outer),
        }

    def gradient(self) -> Tensor:
        """Contrasts per millimetre at the border."""
        border = torch.from_numpy(ndimage.binary_dilation(self.grey) & self.white)
        slopes = torch.stack([s[border] for s in torch.gradient(self.image, spacing=self.mm)])
        steep = slopes.square().sum(dim=0).clamp(min=LEAST**2).sqrt()
        return steep.mean() / self.contrast

    def _faces(self, white: Tensor) -> Tensor:
        grey, total = self.both.float() - white, white.new_zeros(())
        for axis, n in enumerate(white.shape):
            for first, second in ((white, grey), (grey, white)):
                total = total + (first.narrow(axis, 1, n - 1) * second.narrow(axis, 0, n - 1)).sum()
        return total

    def _uneven(self, part: np.ndarray) -> Tensor:
        """Deviation from the mean of the same tissue around."""
        there, sigma = _as(part), SURROUNDINGS_MM / self.mm
        weight, around = (smooth(x[None, None], sigma)[0, 0] for x in (there, there * self.image))
        differs = self.image - around / weight.clamp(min=LEAST)
        return differs[torch.from_numpy(part)].std() / self.contrast


def _as(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _ml(part: Tensor, mm: float) -> Tensor:
    return part.sum().clamp(min=1) * (mm**3 / 1000)


def _median(values: Tensor) -> Tensor:
    low, high = np.quantile(values.detach().numpy(), MIDDLE).tolist()
    return values[(values >= low) & (values <= high)].mean()


def _euler(white: Tensor) -> Tensor:
    """`tissue_shape.euler_number`, where a cell is there as much as all its voxels are."""
    total = white.new_zeros(())
    for doubled in product((False, True), repeat=3):
        cells = white
        for axis in np.flatnonzero(doubled).tolist():
            n = cells.shape[axis]
            cells = cells.narrow(axis, 1, n - 1) * cells.narrow(axis, 0, n - 1)
        total = total + (-1) ** sum(doubled) * cells.sum()
    return total


def _islands(tissues: _Tissues, part: np.ndarray, allowed: np.ndarray, sign: int) -> Tensor:
    """How many of the allowed voxels pass the border and stand out from their neighbours, apart
    from the largest piece of a part: brighter ones with sign 1, darker ones with -1."""
    pieces, count = ndimage.label(part)
    if not count:
        return tissues.image.new_zeros(())
    main = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    height = np.where(allowed, sign * tissues.image.detach().numpy(), -np.inf)
    faces = ndimage.generate_binary_structure(3, 1)
    tops = allowed & (height == ndimage.maximum_filter(height, footprint=faces))
    tops &= ~ndimage.binary_dilation(main)
    above = sign * (tissues.image[torch.from_numpy(tops)] - tissues.border)
    return torch.sigmoid(above / (ISLANDS * tissues.contrast)).sum()


def _through(
    tissues: _Tissues, cortex: np.ndarray, tissue: np.ndarray, soft_tissue: Tensor
) -> Tensor:
    """Thickness of the ribbon through each of its voxels, in millimetres."""
    mm = tissues.mm
    voxels = np.flatnonzero(cortex)

    def to(part: np.ndarray) -> tuple[Tensor, Tensor]:
        """Distances to the nearest voxel of a part, and which that is."""
        far, nearest = ndimage.distance_transform_edt(part, mm, return_indices=True)
        flat = np.ravel_multi_index(nearest, part.shape).ravel()[voxels]
        return _as(far.ravel()[voxels]), torch.from_numpy(flat)

    inwards, white = to(~tissues.white)
    outwards, outside = to(tissue)
    slope = (tissues.gradient() * tissues.contrast).detach()
    beyond = (tissues.image.reshape(-1)[white] - tissues.border) / slope
    # The logarithm of the odds of tissue has a slope where the probability is flat.
    odds = torch.logit(soft_tissue, eps=1e-4)
    steep = torch.stack(torch.gradient(odds.detach(), spacing=mm)).square().sum(dim=0).sqrt()
    rim = torch.from_numpy(ndimage.binary_dilation(tissue) & ~tissue)
    past = -odds.reshape(-1)[outside] / steep[rim].mean()
    ends = [end.clamp(NEAREST * mm, FARTHEST * mm) for end in (beyond, past)]
    return inwards + outwards - ends[0] - ends[1]
