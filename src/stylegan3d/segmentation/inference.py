"""Label the tissues, regions, lesions or structures of a brain with a trained network.

A network is a folder: float16 weights and a card.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from stylegan3d.base import SILENT, Json, ModelError, Progress, StyleGAN3DError
from stylegan3d.checkpoints.folder import LARGEST_NUMBER, MOST_LEVELS, AtPrecisions, NetworkFolder
from stylegan3d.checkpoints.folder import page_of as page_with
from stylegan3d.devices import choose_device, computed
from stylegan3d.geometry.space import Shown, Space, filled, unit
from stylegan3d.scans.intensity import usual_contrast
from stylegan3d.segmentation import classes
from stylegan3d.segmentation.network import TissueNetwork, padded, to_blocks, to_voxels
from stylegan3d.storage.encoding import finite_number, is_int


def write_model(
    folder: Path,
    network: TissueNetwork,
    card: Json,
    scheme: classes.Scheme = classes.TISSUES,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, card and README; see `NetworkFolder.write`."""
    FOLDERS[scheme.name].write(folder, network, card, page_of, overwrite=overwrite)


def page_of(card: Json) -> str:
    """The card as a README in Markdown."""
    scheme = next(name for name, folder in FOLDERS.items() if folder.format == card["format"])
    title_of = classes.TITLES.get if scheme == classes.TISSUES.name else classes.region_title
    told = {"scheme": scheme, "title_of": title_of}
    return page_with(card, [ABOUT[scheme]], "segmentation.md", **told)


def read_network(path: Path) -> TissueNetwork:
    """The network in a folder, of tissues, regions or lesions.

    Raises
    ------
    ModelError
        If it holds none.
    """
    failed: ModelError | None = None
    for folder in FOLDERS.values():
        try:
            return folder.open(path)[0]
        except ModelError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _build(scheme: classes.Scheme) -> Callable[[Json, int], TissueNetwork]:
    """See `NetworkFolder.build`."""

    def build(architecture: Json, weights: int) -> TissueNetwork:
        widths = architecture["widths"]
        if not isinstance(widths, list) or not 1 <= len(widths) <= MOST_LEVELS:
            raise ValueError("no list of widths")
        if not all(is_int(n) and 0 < n <= LARGEST_NUMBER for n in widths):
            raise ValueError("widths that no network has")
        if 27 * max(widths) ** 2 > weights:  # a level's second convolution alone
            raise ValueError("widths of a larger network")
        return TissueNetwork(tuple(widths), len(scheme.classes))

    return build


def _check(card: Json) -> None:
    """The part of a card that `inference.Segmenter` uses; the rest is documentation."""
    named = isinstance(card.get("name"), str)
    tables = all(isinstance(card.get(k), dict) for k in ("architecture", "files", "space"))
    if not named or not tables:
        raise ValueError("a part is missing")
    others = card["space"].get("also_mm", [])
    for size in [card["space"].get("voxel_mm"), *(others if isinstance(others, list) else [None])]:
        mm = _numbers(size)
        if len(mm) != 3 or min(mm) <= 0:
            raise ValueError("no voxel size")


def _check_with_limit(card: Json) -> None:
    """The same, and from what size a cluster is a finding."""
    _check(card)
    validation = card.get("validation")
    limit = finite_number(validation.get("limit_ml")) if isinstance(validation, dict) else None
    if limit is None or limit <= 0:
        raise ValueError("no size of a finding")


def _numbers(value: Any) -> list[float]:
    """A list of finite numbers; an empty one for anything else."""
    numbers = [finite_number(item) for item in value] if isinstance(value, list) else []
    return [] if None in numbers else [number for number in numbers if number is not None]


def _folder(
    scheme: classes.Scheme,
    bundled: str,
    check: Callable[[Json], None] = _check,
    command: str = "train segmentation --scheme {}",
) -> NetworkFolder[TissueNetwork]:
    """How the network of a scheme is stored."""
    return NetworkFolder(
        kind=f"{scheme.name.removesuffix('s')} network",
        bundled=bundled,
        command=command.format(scheme.name),
        format=f"stylegan3d-{scheme.name}",
        version=1,
        classes=scheme.classes,
        check=check,
        build=_build(scheme),
        architecture=lambda network: {"widths": list(network.widths)},
    )


FOLDER = _folder(classes.TISSUES, "", command="train segmentation")
REGION_FOLDER = _folder(classes.REGIONS, "regions-t1-2mm")
LESION_FOLDER = _folder(classes.LESIONS, "lesions-t1-2mm", _check_with_limit)
STRUCTURE_FOLDER = _folder(classes.STRUCTURES, "structures-1mm")
#: By the name of the scheme.
FOLDERS = {
    classes.TISSUES.name: FOLDER,
    classes.REGIONS.name: REGION_FOLDER,
    classes.LESIONS.name: LESION_FOLDER,
    classes.STRUCTURES.name: STRUCTURE_FOLDER,
}
#: What each does, for its page.
ABOUT = {
    classes.TISSUES.name: "Labels the tissues of brains in T1-weighted MR.",
    classes.REGIONS.name: "Labels the regions of brains in T1-weighted MR.",
    classes.LESIONS.name: "Finds lesions and other abnormalities of a brain in T1-weighted MR.",
    classes.STRUCTURES.name: "Labels the structures of brains in images of any contrast.",
}


# Blocks of two voxels, along the first axis, whose classes are told at a time.
SLAB = 4
# A voxel may be so much larger or smaller than those the network learned from.
SIZE_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(Shown):
    """Labels of one brain.

    Attributes
    ----------
    labels : ndarray, shape (X, Y, Z), uint8
        Labels of the scheme.
    space : Space
    scheme : Scheme
        What the labels mean.
    confidence : float or None
        How sure the network is, 0 to 1: the mean of the largest softmax of its votes, those for a
        mirrored image added, over the voxels that are not background; 0 where all are. None if it
        was not asked for.
    """

    labels: np.ndarray
    space: Space
    confidence: float | None = None
    scheme: classes.Scheme = classes.TISSUES

    def as_tissues(self) -> Segmentation:
        """The tissues of these labels."""
        told = np.array(self.scheme.tissues, np.uint8)
        return Segmentation(told[self.labels], self.space, self.confidence, classes.TISSUES)

    @property
    def volumes(self) -> dict[str, float]:
        """Millilitres of each class, and of tissues also of "brain"; see `classes.volumes_ml`."""
        return classes.volumes_ml(self.labels, self.space, self.scheme)


def as_seen(volume: np.ndarray, scheme: classes.Scheme) -> np.ndarray:
    """What a network of a scheme is given of a brain (X, Y, Z), values in [0, 1]."""
    return usual_contrast(volume) if scheme is classes.LESIONS else volume


class Segmenter:
    """A network of tissues, regions, lesions or structures with its card, ready to label.

    Parameters
    ----------
    network, card : TissueNetwork, dict of str to object
        As one of `FOLDERS` reads them.
    hash : str
        SHA-256 of the weights.
    device : torch.device
        Where it runs.
    scheme : Scheme
        What it labels.
    """

    def __init__(
        self,
        network: TissueNetwork,
        card: Json,
        hash: str,
        device: torch.device,
        scheme: classes.Scheme = classes.TISSUES,
    ) -> None:
        self.scheme = self._drawn = scheme
        self.card, self.hash, self.device = card, hash, device
        self.name: str = card["name"]
        self._networks = AtPrecisions(network, device)
        self._latest: deque[tuple[Hashable, Segmentation]] = deque(maxlen=2)

    def as_tissues(self) -> Segmenter:
        """The same network, of whose regions or structures the tissues are told."""
        other = copy.copy(self)
        other.scheme = classes.TISSUES
        return other

    def fits(self, space: Space) -> bool:
        """Whether volumes on this grid can be labelled: its axes run RAS, its voxels fit."""
        known = self.card["space"]
        sizes = np.array([known["voxel_mm"], *known.get("also_mm", [])])
        ratios = np.array(space.voxel_size) / sizes
        fitting = (abs(ratios - 1) < SIZE_TOLERANCE).all(axis=1).any()
        return space.axcodes == ("R", "A", "S") and bool(fitting)

    @torch.inference_mode()
    def segment(
        self,
        volume: np.ndarray,
        space: Space,
        *,
        dtype: torch.dtype = torch.float32,
        confidence: bool = False,
    ) -> Segmentation:
        """Label one brain.

        Parameters
        ----------
        volume : ndarray, shape (X, Y, Z), uint8
            Volume of a pack, or float where 1 is the 99.5th percentile of the brain and 0 is
            outside it.
        space : Space
            Its grid.
        dtype : torch.dtype
            Precision of the feature maps; lower ones are for the screen.
        confidence : bool
            Also compute the network's confidence, which doubles the time.

        Raises
        ------
        StyleGAN3DError
            If the grid is one that the network does not know.

        Notes
        -----
        A report, its tables and its page tell of the same volumes: the labels of the two latest
        ones are kept.
        """
        self.check(space)
        key = sha256(volume.tobytes()).digest(), volume.shape, volume.dtype, dtype, confidence
        known = dict(self._latest)
        drawn = known.get(key) or known.get((*key[:-1], True))
        if drawn is None:
            drawn = self._label(volume, space, dtype, confidence)
            self._latest.append((key, drawn))
        sure = drawn.confidence if confidence else None
        drawn = replace(drawn, labels=drawn.labels.copy(), space=space, confidence=sure)
        return drawn if self.scheme is self._drawn else drawn.as_tissues()

    def _label(
        self, volume: np.ndarray, space: Space, dtype: torch.dtype, confidence: bool
    ) -> Segmentation:
        """See `segment`; by the scheme that the network was trained for."""
        network = self._networks.at(dtype)
        whole = padded(self._input(volume, dtype), network.multiple)
        # Made first: between slabs of logits they would leave gaps in the memory.
        places = to_blocks(torch.zeros_like(whole[0], dtype=torch.uint8))
        outsides, chances = places.clone(), torch.zeros_like(places, dtype=torch.float32)
        for at, logits in self._slabs(network, whole):
            # `max` where `argmax` would do: over a short axis it takes a twentieth of the time.
            most, index = logits[:, :, :, :, 1:].max(dim=4)
            places[:, :, :, :, at] = index + 1
            outsides[:, :, :, :, at] = logits[:, :, :, :, 0] >= most
            if confidence:
                # The largest of `softmax`, which takes much longer over such an axis.
                likely = torch.maximum(most, logits[:, :, :, :, 0]).float()
                chances[:, :, :, :, at] = 1 / (logits - likely.unsqueeze(4)).exp_().sum(dim=4)
        keep = tuple(slice(n) for n in space.shape)
        tissue, outside = (to_voxels(b)[0][keep].cpu().numpy() for b in (places, outsides))
        labels = np.where(outside > 0, np.uint8(0), tissue)
        labels = np.where(enclosed(labels), tissue, labels)
        if not np.any(volume):  # which no network has seen
            labels[:] = 0
        sure = None
        if confidence:
            chance = to_voxels(chances)[0][keep].cpu()
            sure = float(chance[torch.from_numpy(labels > 0)].mean()) if labels.any() else 0.0
        return Segmentation(labels, space, sure, self._drawn)

    def _input(self, volume: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        """What the network is given, [1, 1, X, Y, Z]."""
        seen = as_seen(unit(volume), self._drawn)
        return torch.from_numpy(seen).to(self.device, dtype)[None, None]

    @property
    def _told(self) -> np.ndarray:
        """Label of the scheme of each label of the network, uint8."""
        same = self.scheme is self._drawn
        return np.array(range(len(self.scheme.classes)) if same else self._drawn.tissues, np.uint8)

    @torch.inference_mode()
    def probability(self, volume: np.ndarray, space: Space, name: str) -> np.ndarray:
        """Probability of one class (X, Y, Z), float32 in [0, 1]; see `segment`."""
        self.check(space)
        network = self.network
        whole = padded(self._input(volume, torch.float32), network.multiple)
        index = np.flatnonzero(self._told == self.scheme.classes.index(name)).tolist()
        votes = 1 if self._drawn is classes.TISSUES else 2
        found = to_blocks(torch.zeros_like(whole[0]))
        for at, logits in self._slabs(network, whole):
            found[:, :, :, :, at] = (logits / votes).softmax(dim=4)[:, :, :, :, index].sum(dim=4)
        keep = tuple(slice(n) for n in space.shape)
        return to_voxels(found)[0][keep].cpu().numpy()

    @property
    def network(self) -> TissueNetwork:
        """In full precision; its weights are fixed."""
        return self._networks.plain

    def chances(self, image: torch.Tensor) -> torch.Tensor:
        """Probabilities of all classes [classes, X, Y, Z], to be differentiated by the image.

        Parameters
        ----------
        image : Tensor, shape (X, Y, Z)
            Intensities in [0, 1], on a grid that the network knows.
        """
        found = self.network(padded(image[None, None], self.network.multiple)).softmax(dim=4)
        told, count = torch.from_numpy(self._told).long().to(found.device), len(self.scheme.classes)
        found = found.new_zeros(*found.shape[:4], count, *found.shape[5:]).index_add(4, told, found)
        keep = tuple(slice(n) for n in image.shape)
        return torch.stack([to_voxels(part)[0][keep] for part in found.unbind(dim=4)])

    def check(self, space: Space) -> None:
        """Raise StyleGAN3DError if the network does not know a grid."""
        if not self.fits(space):
            expected = " x ".join(f"{mm:g}" for mm in self.card["space"]["voxel_mm"])
            raise StyleGAN3DError(
                f"{self.name} segments volumes of {expected} mm with axes right, anterior, "
                f"superior, but this one has {' x '.join(f'{mm:.3g}' for mm in space.voxel_size)} "
                f"mm and axes {''.join(space.axcodes)}; resample it to the grid of such a model."
            )

    def _slabs(
        self, network: TissueNetwork, whole: torch.Tensor
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Logits of a volume, a few blocks at a time: of all at once there would be too many.

        Of all but tissues the sum with the mirror image, so that no side is favoured. Of structures
        the mean with those of the volume a voxel further on, whose blocks lie half across these.
        """
        read = self._read(network, whole)
        doubled = self._drawn is classes.STRUCTURES
        further = self._read(network, F.pad(whole, (1, -1) * 3)) if doubled else None
        for start in range(0, read.shape[2], SLAB):
            logits = self._classified(network, read, slice(start, start + SLAB))
            if further is not None:
                other = self._classified(network, further, slice(start, start + SLAB + 1))
                for a, b, c in product(*map(range, logits.shape[1:4])):
                    part = logits[:, a, b, c]
                    x, y, z = part.shape[2:]
                    back = other[:, 1 - a, 1 - b, 1 - c, :, a : a + x, b : b + y, c : c + z]
                    x, y, z = back.shape[2:]
                    part[..., :x, :y, :z] += back
                logits /= 2
            yield slice(start, start + SLAB), logits

    def _read(self, network: TissueNetwork, whole: torch.Tensor) -> torch.Tensor:
        """Features of a volume, and of all but tissues those of its mirror image beside them."""
        read = network.features(whole)
        if self._drawn is classes.TISSUES:
            return read
        return torch.cat([read, network.features(whole.flip(2)).flip(2)], dim=1)

    def _classified(self, network: TissueNetwork, read: torch.Tensor, at: slice) -> torch.Tensor:
        head: list[torch.Tensor] = list(network.head.parameters())
        if self._drawn is not classes.TISSUES:
            # Of the mirror image, the places in a block (axis 1) run the other way, too.
            places, sides = (2, 2, 2, -1), list(self._drawn.mirrored)
            both = [
                part.unflatten(0, places).flip(0)[:, :, :, sides].flatten(0, 3) for part in head
            ]
            head = [torch.cat([head[0], both[0]], dim=1), head[1] + both[1]]
        logits = F.conv3d(read[:, :, at], head[0], head[1]).unflatten(1, (2, 2, 2, -1))
        # Sums with those of the volume a voxel further on would have ties in bfloat16.
        return logits.float() if self._drawn is classes.STRUCTURES else logits


def enclosed(labels: np.ndarray) -> np.ndarray:
    """Which background voxels (X, Y, Z) lie within the brain, bool.

    The network knows the outside by its 0. A model's widest ventricles are as dark in their middle,
    and would be counted without it.
    """
    return np.asarray(filled(labels > 0) & (labels == 0))


def _opened(
    scheme: classes.Scheme, path: str | Path | None = None, device: str = "auto"
) -> Segmenter:
    """The network of a scheme in a folder; see `load_segmenter`."""
    network, card, digest = FOLDERS[scheme.name].open(path)
    return Segmenter(network, card, digest, choose_device(device), scheme)


def load_segmenter(path: str | Path | None = None, device: str = "auto") -> Segmenter:
    """Open a network of tissues.

    Parameters
    ----------
    path : path-like or None
        Its folder; None takes the tissues of the regions that ship with the package.
    device : str
        "auto", "cpu", "cuda", "mps".

    Raises
    ------
    ModelError
        If there is no such network, or it is damaged.
    """
    if path is None:
        return load_regions(device=device).as_tissues()
    return _opened(classes.TISSUES, path, device)


#: Open a network of regions, of lesions, and of structures in any contrast; see `load_segmenter`.
load_regions = partial(_opened, classes.REGIONS)
load_lesions = partial(_opened, classes.LESIONS)
load_structures = partial(_opened, classes.STRUCTURES)
#: Those that ship with the package, opened once in a process, but for structures on the CPU.
bundled_regions = lru_cache(maxsize=1)(partial(load_regions, device="cpu"))
bundled_lesions = lru_cache(maxsize=1)(partial(load_lesions, device="cpu"))
bundled_structures = lru_cache(maxsize=1)(load_structures)


@lru_cache(maxsize=1)
def bundled_segmenter() -> Segmenter:
    """Tissues by `bundled_regions`."""
    return bundled_regions().as_tissues()


def measure(
    segmenter: Segmenter, volumes: Iterable[np.ndarray], space: Space, progress: Progress = SILENT
) -> list[dict[str, float]]:
    """`MEASURES` and "confidence" of each volume (X, Y, Z), uint8 of a pack or float in [0, 1]."""

    def one(volume: np.ndarray) -> dict[str, float]:
        return measures_of(segmenter.segment(volume, space, confidence=True))

    return computed(one, volumes, segmenter.device, progress)


def measures_of(found: Segmentation) -> dict[str, float]:
    """`MEASURES` of one brain, and "confidence" if requested.

    Asymmetries are those of the halves left and right of x = 0 mm.
    """
    volumes = found.volumes
    left, right = classes.side_volumes(found.labels, found.space)
    row = {f"{name}_ml": value for name, value in volumes.items()}
    row["grey_white_ratio"] = volumes["grey"] / volumes["white"] if volumes["white"] else 0.0
    row |= {
        f"{n}_asymmetry": classes.asymmetry_percent(left[n], right[n]) for n in classes.ASYMMETRIES
    }
    if found.confidence is not None:
        row["confidence"] = found.confidence
    return {name: round(value, 5) for name, value in row.items()}
