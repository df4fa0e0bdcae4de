"""Generate a brain from a label map with a trained network."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.checkpoints.folder import AtPrecisions
from stylegan3d.devices import choose_device
from stylegan3d.geometry.space import BRIGHTEST, Space, dilated, filled_box
from stylegan3d.networks.deformation import resize
from stylegan3d.networks.resampling import inverse_haar
from stylegan3d.render.movement import (
    Fading,
    Movement,
    movement_between,
    nothing_moves,
    repainted,
    turned,
    unfolded,
)
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.translation.card import FOLDER, RegionTable, contrasts_of, space_of
from stylegan3d.translation.network import CONTRAST, TranslationNetwork, contrast_of, filled

# Scans show this much of the seam round the labels, in voxels; beyond is nothing.
SEAM = 2
# Around what changed, millimetres: so far the scan's own detail fades in, and so far what the
# network paints reaches out. Beyond, a voxel is what it was.
DETAIL_MM, REACH_MM = 4.0, 12.0
# Margin of context around the requested region, in voxels.
MARGIN = 8

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Repainted:
    """A brain whose labels were changed.

    Attributes
    ----------
    volume : ndarray, shape (X, Y, Z), float32
    movement : Movement
        What was done to the brain, on the painter's grid; it can be put on a scan
        (`render.editable`).
    """

    volume: np.ndarray
    movement: Movement

    def on_scan(
        self, fading: Fading, first: Movement | None = None, *, worn: bool = False
    ) -> Movement:
        """What was done to the scan that the brain shows, on the screen and in files.

        `first` was done to it before the labels were changed. Two movements that fold nowhere can
        fold together, so it is placed anew.
        """
        moved = self.movement if first is None else self.movement.after(first)
        return fading.placed(moved, worn=worn)


class Painter:
    """A translation network with its card, ready to paint; a `scans.target.Target`.

    Parameters
    ----------
    network, card : TranslationNetwork, dict of str to object
        As `card.FOLDER` reads them.
    hash : str
        SHA-256 of the weights.
    device : torch.device
        Where it runs.

    Attributes
    ----------
    space : Space
        The grid it paints on.
    regions : tuple of int
        Codes of its parcellation.
    template : ndarray of float32, (X, Y, Z)
        The mean brain in [0, 1].
    usual : ndarray of float32, [14]
        The mean contrast of subjects.
    """

    def __init__(
        self, network: TranslationNetwork, card: Json, hash: str, device: torch.device
    ) -> None:
        self.card, self.hash, self.device = card, hash, device
        self.name: str = card["name"]
        self.space = space_of(card)
        self.regions = RegionTable.from_list(card["regions"])
        mean, self._covariance = contrasts_of(card)
        self.usual = mean.astype(np.float32)
        self.template = inverse_haar(network.mean.detach().cpu())[0, 0].numpy()
        self._networks = AtPrecisions(network, device)

    def paint(
        self,
        tissues: np.ndarray,
        regions: np.ndarray | None = None,
        contrast: np.ndarray | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> np.ndarray:
        """Generate a brain from a label map.

        Parameters
        ----------
        tissues : ndarray, shape (X, Y, Z), uint8
            On `space`, of `CLASSES`.
        regions : ndarray, shape (X, Y, Z), uint8, or None
            Groups from `RegionTable.group_of`; 0 where unknown.
        contrast : ndarray, shape (14,), or None
            See `network.CONTRAST`; that of subjects by default.
        dtype : torch.dtype
            Precision of the feature maps; lower ones are for the screen.

        Returns
        -------
        ndarray, shape (X, Y, Z), float32
            Values in [0, `BRIGHTEST`]; 0 away from the labels.

        Raises
        ------
        StyleGAN3DError
            If the map is on another grid, empty, or holds a number that is no tissue.
        """
        self._check(tissues)
        wanted = self.usual if contrast is None else filled(contrast, self.usual)
        named = np.zeros_like(tissues) if regions is None else regions
        seam = dilated(tissues > 0, SEAM)
        volume = np.zeros(self.space.shape, np.float32)
        box = self._box(seam, MARGIN)
        volume[box] = self._painted(tissues[box], named[box], wanted, box, dtype)
        volume[~seam] = 0
        return volume

    def repaint(
        self,
        volume: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Repainted:
        """A brain whose labels were changed: its own detail moves along, and is painted over only
        where tissue is asked for that no movement brings.

        Where to is found by registering what the network paints for both maps.

        Parameters
        ----------
        volume : ndarray, shape (X, Y, Z), float32
            The brain, 1 its 99.5th percentile.
        before, after : ndarray, shape (X, Y, Z), uint8
            Its tissues and what is asked for.
        dtype : torch.dtype
            See `paint`.

        Returns
        -------
        Repainted
            Voxels farther than `REACH_MM` from every change are as they were. Nearer, it is the
            brain moved, read by a cubic spline; where the moved label is still not the one asked
            for, it is what `paint` gives in the brain's own contrast, and the brain's own detail
            fades in around.

        Raises
        ------
        StyleGAN3DError
            See `paint`.
        """
        self._check(before)
        self._check(after)
        changed = before != after
        if not changed.any():
            return Repainted(np.array(volume, np.float32), nothing_moves(self.space))
        contrast = self.contrast_of(volume, before)
        reach = int(np.ceil(REACH_MM / min(self.space.voxel_size)))
        box = self._box(changed, reach + MARGIN)
        far = ndimage.distance_transform_edt(~changed[box], self.space.voxel_size)
        none = np.zeros_like(before[box])
        old, new = (self._painted(m[box], none, contrast, box, dtype) for m in (before, after))
        reached = np.clip(2 * (1 - far / REACH_MM), 0, 1).astype(np.float32)
        steps = self._steps(old, new, reached)
        places = np.indices(far.shape, np.float32) + steps
        own, old = (_read(image, places, far < REACH_MM) for image in (volume[box], old))
        moved = ndimage.map_coordinates(before[box], places, order=0, mode="nearest")
        wrong = moved != after[box]
        painted = np.zeros(wrong.shape, np.float32)
        if wrong.any():
            near = ndimage.distance_transform_edt(~wrong, self.space.voxel_size)
            painted = np.clip(1 - near / DETAIL_MM, 0, 1).astype(np.float32)
        change = reached * (new - old) + painted * old
        # Nothing is left over where the brain ends now.
        outside = ~dilated(after[box] > 0, SEAM) & (far < DETAIL_MM)
        painted[outside], change[outside] = 1, 0
        result = np.array(volume, np.float32)
        result[box] = repainted(own, np.stack([change, painted]))
        return Repainted(
            np.maximum(result, 0, out=result), self._movement(steps, change, painted, box)
        )

    def _steps(self, before: np.ndarray, after: np.ndarray, reached: np.ndarray) -> np.ndarray:
        """How many voxels away to read what is shown in a box, (3, X, Y, Z), float32.

        `before` and `after` are its two paintings; nothing moves where `reached` is 0.
        """
        space = Space(before.shape, np.diag([*self.space.voxel_size, 1.0]))
        moved = movement_between(before, after, space, quick=True)
        offsets = resize(torch.from_numpy(moved.displacement)[None], space.shape)[0].numpy()
        whole = Movement(offsets * reached, np.zeros(space.shape, np.float32), space)
        size = np.array(self.space.voxel_size, np.float32).reshape(3, 1, 1, 1)
        return np.asarray(unfolded(whole, reached > 0).displacement / size)

    def _movement(
        self, steps: np.ndarray, change: np.ndarray, painted: np.ndarray, box: Box
    ) -> Movement:
        """What is done in a box of the grid, `steps` in voxels, as a movement of all of it."""
        fields = np.zeros((5, *self.space.shape), np.float32)
        fields[:3, *box] = turned(self.space.affine[:3, :3], steps)
        fields[3, *box], fields[4, *box] = change, painted
        return Movement(fields[:3], fields[3], self.space, fields[4])

    def contrast_of(self, volume: np.ndarray, tissues: np.ndarray) -> np.ndarray:
        """The contrast of a brain, float32 [14]; missing values are the subjects' mean."""
        return filled(contrast_of(np.asarray(volume, np.float32), tissues), self.usual)

    def random_contrast(self, seed: int) -> np.ndarray:
        """The contrast of no scanner in particular, float32 [14], spread as subjects' are."""
        values, vectors = np.linalg.eigh(self._covariance)
        drawn = np.random.default_rng(seed).standard_normal(len(CONTRAST))
        step = vectors @ (np.sqrt(np.maximum(values, 0)) * np.clip(drawn, -2, 2))
        return (self.usual + step).astype(np.float32)

    def check_grid(self, space: Space) -> None:
        """Refuse another grid than its own.

        Raises
        ------
        StyleGAN3DError
            If the labels of volumes on this grid cannot be edited.
        """
        if not space.same_as(self.space):
            sizes = " x ".join(map(str, self.space.shape))
            mm = " x ".join(f"{size:g}" for size in self.space.voxel_size)
            raise StyleGAN3DError(
                f"Labels can be edited on the grid of the bundled models, {sizes} voxels of {mm} "
                "mm, and this model has another; open the bundled generator."
            )

    @torch.inference_mode()
    def _painted(
        self,
        tissues: np.ndarray,
        regions: np.ndarray,
        contrast: np.ndarray,
        box: Box,
        dtype: torch.dtype,
    ) -> np.ndarray:
        """What the network paints in a box of the grid, float32."""
        network = self._networks.at(dtype, lambda copy: copy.lower(dtype))
        labels, named = (
            torch.from_numpy(np.ascontiguousarray(m))[None].to(self.device)
            for m in (tissues, regions)
        )
        code = torch.from_numpy(contrast)[None].to(self.device)
        made = network(labels, named, code, network.where(box))[0, 0].float()
        return made.clamp(0, BRIGHTEST).cpu().numpy()

    def _box(self, mask: np.ndarray, margin: int) -> Box:
        """The smallest part of the grid around a mask that the network takes, and a margin."""
        multiple = self._networks.plain.config.multiple
        x, y, z = (
            slice(side.start // multiple * multiple, -(-side.stop // multiple) * multiple)
            for side in filled_box(mask, margin)
        )
        return x, y, z

    def _check(self, tissues: np.ndarray) -> None:
        if tissues.shape != self.space.shape:
            raise StyleGAN3DError(
                f"{self.name} expects maps of {' x '.join(map(str, self.space.shape))} voxels, but "
                f"this one has {' x '.join(map(str, tissues.shape))}; resample it to that grid."
            )
        if tissues.max() >= len(CLASSES):
            raise StyleGAN3DError(
                f"The map contains the label {int(tissues.max())}, but tissues are "
                f"numbered from 1 to {len(CLASSES) - 1}."
            )
        if not tissues.any():
            raise StyleGAN3DError("The label map is empty; label some tissue in it.")


def _read(image: np.ndarray, places: np.ndarray, where: np.ndarray) -> np.ndarray:
    """An image (X, Y, Z) read `where` (bool) at `places` by a cubic spline, itself elsewhere."""
    result = np.array(image, np.float32)
    result[where] = ndimage.map_coordinates(result, places[:, where], order=3, mode="nearest")
    return result


def load_painter(path: str | Path | None = None, device: str = "auto") -> Painter:
    """Open a translation network.

    Parameters
    ----------
    path : path-like or None
        Its folder; None opens the one that ships with the package.
    device : str
        "auto", "cpu", "cuda", "mps".

    Raises
    ------
    ModelError
        If there is no such network, or it is damaged.
    """
    network, card, digest = FOLDER.open(path)
    return Painter(network, card, digest, choose_device(device))


@lru_cache(maxsize=1)
def bundled_painter() -> Painter:
    """The translation network that ships with the package, opened once, on the CPU."""
    return load_painter(device="cpu")
