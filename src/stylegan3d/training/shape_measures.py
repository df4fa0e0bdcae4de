"""What is measured of random brains to match a flow, see `shape_matching.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.intensity import unit
from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import region_masks
from stylegan3d.measures.tissue_shape import in_regions, tissue_shapes
from stylegan3d.networks.resampling import haar
from stylegan3d.segmentation.inference import bundled_segmenter, load_regions
from stylegan3d.segmentation.network import TissueNetwork, padded
from stylegan3d.training.soft_tissue_shape import soft_tissue_shape

# Inside of the mean brain.
BRAIN = 0.1
LEAST = 1e-12


class TissueShapes:
    """`tissue_shape` by the bundled tissue network, and its soft stand-ins.

    Parameters
    ----------
    space : Space
        Grid of the volumes, one that the network knows.

    Raises
    ------
    StyleGAN3DError
        If it does not know the grid.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.segmenter = space, bundled_segmenter()
        self.segmenter.check(space)

    def of(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        """[n, measures] as `tissue_shapes` gives them."""
        return tissue_shapes(volumes, self.space)

    def soft(self, image: Tensor) -> Tensor:
        """[measures] of an image (X, Y, Z) in [0, 1]."""
        labels = self.segmenter.segment(image.detach().numpy(), self.space).labels
        return soft_tissue_shape(image, labels, self.segmenter.chances(image), self.space)


class RegionFeatures:
    """Means and root mean squares of features of the network that labels regions.

    Of its layers on the way down, in the cerebellum and in the rest of the brain.

    Parameters
    ----------
    pack : Pack
        Its template tells where the brain is.
    """

    def __init__(self, pack: Pack) -> None:
        segmenter = load_regions(device="cpu")
        segmenter.check(pack.space)
        self.network: TissueNetwork = segmenter.network
        inside = pack.template > BRAIN
        regions = region_masks(inside, pack.space)
        cerebellum = in_regions(regions, inside.shape, "cerebellum")
        self._parts = [
            padded(_as(part)[None, None], self.network.multiple)
            for part in (inside & cerebellum, inside & ~cerebellum)
        ]

    @torch.no_grad()
    def of(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        """[n, measures] of volumes of a pack."""
        return np.stack([self.soft(_as(unit(volume))).numpy() for volume in volumes])

    def soft(self, image: Tensor) -> Tensor:
        """[measures] of an image (X, Y, Z) in [0, 1]."""
        found = []
        for features in self._layers(image):
            for part in self._parts:
                share = F.avg_pool3d(part, part.shape[2] // features.shape[2])
                share = share / share.sum().clamp(min=1)
                mean, square = ((x * share).sum(dim=(2, 3, 4)) for x in (features, features**2))
                found += [mean[0], square[0].clamp(min=LEAST).sqrt()]
        return torch.cat(found)

    def _layers(self, image: Tensor) -> Iterator[Tensor]:
        x = haar(padded(image[None, None], self.network.multiple) * 4 - 1)
        yield x
        for block in (self.network.stem, *self.network.down):
            for layer in block:
                x = layer(x)
                yield x


def _as(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
