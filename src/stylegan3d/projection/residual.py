"""What is in a scan and not in the brain that the model expects, in units of the usual error.

The expected brain has the shape that the encoder finds in the scan and, in an anatomy model, the
appearance of the average subject, so it cannot contain a lesion, however long the search for a
reconstruction is. After the scanner has been set aside (`scanner`), the difference at each voxel is
divided by the spread of held-out subjects' differences there: the residual z. Clusters of large z
are findings. How large a cluster healthy subjects have, somewhere in the brain, is known from the
held-out ones, each compared with the others (maximum statistic, Nichols and Holmes 2002,
doi:10.1002/hbm.1058).

Ventricles are left out, and what is darker than expected next to fluid that is connected to them or
to the outside is not counted: how much fluid there is belongs to the anatomy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage

from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import to_display
from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import connected_fluid, tissue_masks
from stylegan3d.measures.regions import Cluster, clusters
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.projection.scanner import Matched, masked_blur, match_scanner
from stylegan3d.projection.signs import Guess, first_guess
from stylegan3d.storage.tensorfiles import pack, read_bytes, unpack

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

#: The file of the maps, in a model's folder.
FILE = "residual.safetensors"
KIND = "usual residual"
# Smoothing of the difference, and of the maps, mm; the least spread, in units of white matter.
SMOOTH_MM, MAPS_MM, LEAST_SPREAD = 1.0, 3.0, 0.03
# A cluster consists of touching voxels beyond this z.
THRESHOLD = 2.5
# The maps are stored at half the resolution.
STEP = 2
# Voxels are grouped by how large their usual error is; each group has its own scale in a scan.
GROUPS = 3


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan beside the brain that the model expects.

    Attributes
    ----------
    guess : Guess
        The model's initial estimate.
    expected : ndarray, shape (X, Y, Z), float32
    matched : Matched
        The scan with the scanner set aside.
    difference : ndarray, shape (X, Y, Z), float32
        Scan minus expected brain, smoothed.
    judged : ndarray, shape (X, Y, Z), bool
        Voxels in which it is judged: the brain without border and ventricles.
    fluid : ndarray, shape (X, Y, Z), bool
        Voxels of the fluid around and inside the brain.
    """

    guess: Guess
    expected: np.ndarray
    matched: Matched
    difference: np.ndarray
    judged: np.ndarray
    fluid: np.ndarray


@dataclass(frozen=True, eq=False)
class UsualResidual:
    """Mean and spread (X, Y, Z) of the difference in held-out subjects."""

    mean: np.ndarray
    spread: np.ndarray


@torch.no_grad()
def expected_brain(generator: Generator, guess: Guess) -> np.ndarray:
    """The brain (X, Y, Z) that the model expects to see; see the module."""
    network = generator.synthesis
    if guess.w is None or not isinstance(network, AnatomyNetwork) or not network.config.deformation:
        return guess.volume
    config, w = network.config, guess.w.clone()
    images = slice(config.deformation, config.deformation + config.image_basis)
    w[:, images] = generator.w_avg.to(w)[images]
    return to_display(network(w[None], "none", -1, torch.float32))[0]


def see(generator: Generator, volume: np.ndarray, mask: np.ndarray) -> Seen:
    """Compare a scan (X, Y, Z) with the brain that the model expects."""
    guess = first_guess(generator, volume, generator.template)
    expected = expected_brain(generator, guess)
    size = generator.voxel_size
    matched = match_scanner(volume, expected, mask, size)
    difference = masked_blur(matched.volume - expected, mask, SMOOTH_MM / np.array(size))
    own, wanted = (tissue_masks(image, generator.space) for image in (volume, expected))
    ventricles = np.zeros_like(mask)
    for tissues in (own, wanted):
        ventricles |= tissues["ventricles"] if tissues else False
    judged = matched.core & ~ndimage.binary_dilation(ventricles)
    fluid = connected_fluid(volume, mask, own)
    return Seen(guess, expected, matched, difference, judged, fluid)


def usual_residual(people: Sequence[Seen], space: Space) -> UsualResidual:
    """Mean and spread over subjects, smoothed; both sides together if the grid is symmetric."""
    sigma = MAPS_MM / np.array(space.voxel_size)
    tie = _tied if _is_symmetric(space) else _untied
    count = tie(sum(seen.matched.volume.astype(bool).astype(np.float32) for seen in people))
    # A voxel at the border of a few brains borrows from its neighbours.
    weight = ndimage.gaussian_filter(count, sigma) + 0.5
    total = tie(sum(seen.difference for seen in people))
    mean = ndimage.gaussian_filter(total, sigma) / weight
    squares = sum(
        np.where(seen.matched.volume > 0, (seen.difference - mean) ** 2, 0) for seen in people
    )
    spread = np.sqrt(ndimage.gaussian_filter(tie(squares), sigma) / weight)
    return UsualResidual(
        mean.astype(np.float32), np.maximum(spread, LEAST_SPREAD).astype(np.float32)
    )


def residual_z(seen: Seen, usual: UsualResidual) -> np.ndarray:
    """The difference in units of the usual error (X, Y, Z), 0 where it is not judged.

    A scan that is less well matched as a whole, such as a sharper one, is divided by its own
    spread where that is larger; a lesion is too small to change that.
    """
    z = z_everywhere(seen, usual)
    near_fluid = ndimage.binary_dilation(seen.fluid)
    z[~seen.judged | (near_fluid & (z < 0))] = 0
    return z


def z_everywhere(seen: Seen, usual: UsualResidual) -> np.ndarray:
    """`residual_z` also where it is not judged."""
    raw = (seen.difference - usual.mean) / usual.spread
    z = np.zeros_like(raw)
    if not seen.judged.any():
        return z
    edges = np.quantile(usual.spread[seen.judged], np.linspace(0, 1, GROUPS + 1))
    group = np.clip(np.searchsorted(edges, usual.spread, side="right") - 1, 0, GROUPS - 1)
    for number in range(GROUPS):
        voxels = seen.judged & (group == number)
        if voxels.any():
            own = 1.4826 * float(np.median(np.abs(raw[voxels])))
            z[group == number] = raw[group == number] / max(own, 1.0)
    return z


def residual_clusters(z: np.ndarray, space: Space) -> list[Cluster]:
    """The clusters of z (X, Y, Z) beyond the threshold, darker or brighter, largest first."""
    both = [cluster for side in (-1, 1) for cluster in clusters(side * z - THRESHOLD, space)]
    return sorted(both, key=lambda cluster: -cluster.size)


def largest_ml(z: np.ndarray, space: Space) -> float:
    """Size of the largest cluster of z (X, Y, Z); 0 if there is none."""
    found = residual_clusters(z, space)
    return found[0].size if found else 0.0


def map_bytes(usual: UsualResidual) -> bytes:
    """The file of the maps."""
    return pack(halved_maps(usual), {"kind": KIND, "version": "1"})


def halved_maps(usual: UsualResidual) -> dict[str, np.ndarray]:
    """The maps at half resolution, float16, as they are stored."""
    return {name: _halved(getattr(usual, name)).astype(np.float16) for name in ("mean", "spread")}


def load_maps(generator: Generator) -> UsualResidual | None:
    """The maps of a model, read when first needed; None if it was not calibrated.

    Raises
    ------
    ModelError
        If the file is missing or is not the one that the card names.
    """
    known = (generator.card.get("trust") or {}).get("residual")
    if known is None:
        return None
    if "_usual_residual" not in generator.__dict__:
        if generator.folder is None or not (path := generator.folder / FILE).is_file():
            raise ModelError(f"'{generator.name}' has no file '{FILE}'; download the model again.")
        data = read_bytes(path, ModelError)
        if hashlib.sha256(data).hexdigest() != known["sha256"]:
            raise ModelError(f"'{path}' is damaged; download the model again.")
        maps, _ = unpack(data, kind=KIND, path=path, error=ModelError)
        generator.__dict__["_usual_residual"] = enlarged_maps(maps, generator.shape)
    usual: UsualResidual = generator.__dict__["_usual_residual"]
    return usual


def limit_of(largest: Iterable[float]) -> float:
    """Size of the largest cluster that 5 % of subjects exceed.

    From median and median absolute deviation of the logarithms: a few dozen subjects give no 95th
    percentile, and some of them have findings.
    """
    logs = np.log(np.maximum(np.array(list(largest)), 0.05))
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    return float(np.exp(np.median(logs) + 1.645 * max(spread, 0.3)))


def enlarged_maps(stored: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> UsualResidual:
    """Stored maps on the full grid."""

    def full(name: str) -> np.ndarray:
        x = torch.from_numpy(stored[name].astype(np.float32))[None, None]
        size = tuple(-(-n // STEP) * STEP for n in shape)
        big = torch.nn.functional.interpolate(x, size=size, mode="trilinear")[0, 0].numpy()
        return big[tuple(slice(n) for n in shape)]

    return UsualResidual(full("mean"), full("spread"))


def _halved(volume: np.ndarray) -> np.ndarray:
    """Mean of each 2 x 2 x 2 voxels."""
    padded = np.pad(volume, [(0, -n % STEP) for n in volume.shape], mode="edge")
    x, y, z = (n // STEP for n in padded.shape)
    mean: np.ndarray = padded.reshape(x, STEP, y, STEP, z, STEP).mean(axis=(1, 3, 5))
    return mean


def _is_symmetric(space: Space) -> bool:
    """Whether the first axis runs from side to side and the grid is centred on the midline."""
    middle = space.affine[0, 3] + space.affine[0, 0] * (space.shape[0] - 1) / 2
    return space.axcodes[0] in "LR" and abs(float(middle)) < space.voxel_size[0] / 2


def _tied(total: Any) -> np.ndarray:
    volume = np.asarray(total, np.float32)
    return (volume + volume[::-1]) / 2


def _untied(total: Any) -> np.ndarray:
    return np.asarray(total, np.float32)
