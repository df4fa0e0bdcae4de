"""Healthy brains with simulated lesions, on which a lesion network is trained.

Label maps of lesions come with the habits of one site and one disease. So lesions are drawn into
healthy subjects: round or ragged, alone or many, beside the ventricles or anywhere, darker or
brighter, sharp or fading, with or without a texture and a rim of their own. A network that has seen
enough of these, on as many simulated scanners, finds what does not belong, whatever it is (Tan et
al. 2022, arXiv:2011.04197, learn from foreign patches in the same way).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import SILENT, Json, Progress, StyleGAN3DError, followed
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import Space
from stylegan3d.measures.lesions import LEAST, around, lesion_clusters, lesion_probability
from stylegan3d.measures.regions import TOUCHING, Cluster
from stylegan3d.projection.scanner import on_scanners
from stylegan3d.scans.intensity import normalise
from stylegan3d.segmentation.classes import CLASSES, LESION, LESIONS, Scheme
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.training.segmentation import LabelledBrains, other_tissues

#: Share of brains without a lesion; of the others, those with many small ones, with a seam along
#: the ventricles, and with a large one.
HEALTHY, MANY, SEAM, LARGE = 0.35, 0.35, 0.15, 0.85
MOST = 10
# Radii in mm of small lesions (in white matter) and of large ones (anywhere), and depths of a seam.
SMALL_MM, LARGE_MM, SEAM_MM = (2.5, 9.0), (5.0, 24.0), (3.0, 12.0)
# A small lesion is near the ventricles so often, and so near.
NEAR, NEAR_MM = 0.5, 10.0
# Share of brains whose ventricles are widened, by how much, and how deep that reaches; share of
# those with a wider choroid plexus: both are healthy.
WIDER, WIDER_MM, REACH_MM, PLEXUS = 0.5, (1.0, 8.0), (8.0, 20.0), 0.5
# Change of small lesions as a share of the intensity, width of their border in mm.
DARKER, BORDER_MM = (0.1, 0.5), (0.5, 5.0)
# Least change, in intensities of [0, 1], by which a voxel belongs to a lesion.
LEAST_CHANGE = 0.04
WHITE, VENTRICLE = CLASSES.index("white"), CLASSES.index("ventricle")


INTENDED_USE = (
    "Research, teaching and software development: to flag places in a scan for "
    "review. Not a medical device; not for diagnosis."
)


@dataclass(frozen=True, eq=False)
class SimulatedLesions(LabelledBrains):
    """Subjects of a pack, healthy, with lesions drawn into them; `labels` are their tissues."""

    scheme: Scheme = LESIONS
    intended_use = INTENDED_USE

    def example(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One of them with random lesions, and labels of `LESIONS`."""
        volume = torch.from_numpy(self.volume(index))
        tissues = self.labels[index]
        volume = other_tissues(volume, torch.from_numpy(tissues).long(), generator).clamp(0, 1)
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        size = np.array(self.pack.space.voxel_size)
        healthy, tissues = with_wide_ventricles(volume.numpy(), tissues, size, rng)
        image, lesion = with_lesions(healthy, tissues, size, rng)
        # As in a scan, a large bright lesion makes the rest darker.
        image, _ = normalise(image, image > 0)
        labels = (image > 0).astype(np.uint8)
        labels[lesion] = LESIONS.classes.index(LESION)
        return torch.from_numpy(image), torch.from_numpy(labels)

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """The same with lesions that depend on the subject alone."""
        return self.example(index, torch.Generator().manual_seed(index))

    def measured(self, segmenter: Segmenter, progress: Progress) -> Json:
        """How well lesions are found, with the size from which a cluster is a finding."""
        found = measure_finding(segmenter, self, progress.part(0, 0.5))
        outline = fit_outline(segmenter, self, found["limit_ml"], progress.part(0.5, 0.5))
        return {"validation": found, "outline": outline}


def simulated_lesions(
    pack: Pack, segmenter: Segmenter, progress: Progress = SILENT
) -> SimulatedLesions:
    """The subjects of a pack, with their tissues labelled by a network.

    Raises
    ------
    StyleGAN3DError
        If there are none of one split, or their grid is one that the network does not know.
    """
    training, validation = (pack.indices(split) for split in ("train", "validation"))
    if not len(training) or not len(validation):
        raise StyleGAN3DError(
            f"{pack.path} has {len(training)} training and {len(validation)} validation subjects; "
            "a lesion network needs some of both."
        )
    rows = np.concatenate([training, validation])
    tissues = np.empty((len(rows), *pack.space.shape), np.uint8)
    for number, row in enumerate(followed(rows, progress)):
        tissues[number] = segmenter.segment(pack.volumes[row], pack.space).labels
    return SimulatedLesions(pack, rows, tissues, len(training))


def with_wide_ventricles(
    volume: np.ndarray, tissues: np.ndarray, voxel_mm: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A healthy brain and its tissues (X, Y, Z), at times with wide ventricles, as old people have.

    The tissue around them moves outward, the less the farther it is. See `with_lesions`.
    """
    inside = tissues == VENTRICLE
    if rng.random() >= WIDER or not inside.any():
        return volume, tissues
    away = ndimage.distance_transform_edt(~inside, sampling=voxel_mm).astype(np.float32)
    away -= ndimage.distance_transform_edt(inside, sampling=voxel_mm).astype(np.float32)
    away = ndimage.gaussian_filter(away, 3.0 / voxel_mm)
    push = rng.uniform(*WIDER_MM) * np.exp(-0.5 * (away / rng.uniform(*REACH_MM)) ** 2)
    places = [
        index - push * np.gradient(away, size, axis=axis) / size
        for axis, (index, size) in enumerate(
            zip(np.indices(volume.shape, np.float32), voxel_mm, strict=True)
        )
    ]
    image = ndimage.map_coordinates(volume, places, order=1, mode="nearest")
    labels = ndimage.map_coordinates(tissues, places, order=0, mode="nearest")
    image = np.where(labels > 0, np.maximum(image, 0.01), 0).astype(np.float32)
    wide = labels == VENTRICLE
    if rng.random() < PLEXUS:
        center = np.argwhere(wide)[rng.integers(np.count_nonzero(wide))]
        box, share = _blob(image.shape, center, rng.uniform(3, 8), 2.0, voxel_mm, rng)
        share = share * wide[box]
        grey = rng.uniform(0.5, 0.9) * float(np.median(image[labels == WHITE]))
        image[box] += share * (grey - image[box])
    return image, labels


def with_lesions(
    volume: np.ndarray, tissues: np.ndarray, voxel_mm: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A brain with random lesions, or none.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        A healthy brain, values in [0, 1].
    tissues : ndarray, shape (X, Y, Z), uint8
        Labels of `CLASSES`.
    voxel_mm : ndarray, shape (3,)
        Size of a voxel.

    Returns
    -------
    volume : ndarray, shape (X, Y, Z), float32
    lesion : ndarray, shape (X, Y, Z), bool
        What was changed visibly.
    """
    image = volume.copy()
    white = tissues == WHITE
    if rng.random() < HEALTHY or not white.any():
        return image, np.zeros(volume.shape, bool)
    to_ventricles = np.full(volume.shape, np.inf, np.float32)
    if (tissues == VENTRICLE).any():
        to_ventricles = ndimage.distance_transform_edt(tissues != VENTRICLE, sampling=voxel_mm)
    extent = np.zeros(volume.shape, np.float32)
    if rng.random() < SEAM:
        _seam(image, extent, white, to_ventricles, voxel_mm, rng)
    if rng.random() < LARGE:
        _large(image, extent, volume > 0, float(np.median(volume[white])), voxel_mm, rng)
    if rng.random() < MANY:
        near = white & (to_ventricles <= NEAR_MM)
        for _ in range(rng.integers(1, MOST + 1)):
            close = rng.random() < NEAR and near.any()
            _small(image, extent, near if close else white, voxel_mm, rng)
    image = np.where(volume > 0, np.clip(image, 0.01, None), 0).astype(np.float32)
    changed = ndimage.uniform_filter(np.abs(image - volume), 3)
    seen = extent > np.where(changed >= LEAST_CHANGE, 0.5, 1.0)
    return image, np.asarray(seen & (volume > 0))


def _small(
    image: np.ndarray,
    extent: np.ndarray,
    among: np.ndarray,
    voxel_mm: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Draw one into white matter, darker."""
    box, share = _blob_among(among, SMALL_MM, voxel_mm, rng)
    part = image[box]
    darker = rng.uniform(*DARKER)
    # Some keep the texture of what they replace, others have one intensity.
    flat = float(part[share > 0.5].mean()) if (share > 0.5).any() else float(part.mean())
    base = part + rng.random() * (flat - part)
    image[box] = part + share * (base * (1 - darker) - part)
    extent[box] = np.maximum(extent[box], share)


def _large(
    image: np.ndarray,
    extent: np.ndarray,
    brain: np.ndarray,
    white: float,
    voxel_mm: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Draw one anywhere: a cavity, a mass, an infarct, blood or a contrast-enhancing tumour.

    Its extent is above 1, so that it is marked even where it is as dark as what it replaces, unless
    nearly all of it is.
    """
    box, share = _blob_among(brain, LARGE_MM, voxel_mm, rng)
    part = image[box]
    level = white * (rng.uniform(0.1, 0.9) if rng.random() < 0.65 else rng.uniform(1.05, 1.5))
    kept = rng.uniform(0, 0.4) if rng.random() < 0.4 else 0.0
    texture = ndimage.gaussian_filter(rng.standard_normal(part.shape), rng.uniform(0.5, 2.5))
    inside = level + rng.uniform(0, 0.12) * white * texture / max(float(texture.std()), 1e-6)
    if rng.random() < 0.6:
        # A rim that takes up contrast agent, at the border or below it, around a darker core.
        depth = ndimage.distance_transform_edt(share > 0.5, sampling=voxel_mm)
        away = (depth - rng.uniform(0, 6)) / rng.uniform(1.5, 4)
        inside = inside + np.exp(-(away**2)) * (white * rng.uniform(1.0, 1.6) - inside)
    change = share * (1 - kept) * (inside - part)
    is_seen = np.average(np.abs(change), weights=share + 1e-9) >= LEAST_CHANGE
    image[box] = part + change
    extent[box] = np.maximum(extent[box], share * (1 + is_seen))


def _seam(
    image: np.ndarray,
    extent: np.ndarray,
    white: np.ndarray,
    to_ventricles: np.ndarray,
    voxel_mm: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Draw a seam of uneven depth into the white matter along the ventricles, in places only."""
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), rng.uniform(4, 14) / voxel_mm)
    noise /= max(float(noise.std()), 1e-6)
    depth = rng.uniform(*SEAM_MM) * np.clip(0.4 + 0.6 * noise, 0, None)
    share = np.clip((depth - to_ventricles) / rng.uniform(*BORDER_MM) + 0.5, 0, 1)
    share = (
        share.astype(np.float32)
        * ndimage.gaussian_filter(white.astype(np.float32), 0.5)
        * (depth > 0)
    )
    image -= share * rng.uniform(*DARKER) * image
    np.maximum(extent, share, out=extent)


def _blob_among(
    among: np.ndarray, radii_mm: tuple[float, float], voxel_mm: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[slice, ...], np.ndarray]:
    """A `_blob` around a random voxel of a mask (X, Y, Z); small ones are the commonest."""
    center = np.argwhere(among)[rng.integers(np.count_nonzero(among))]
    low, high = radii_mm
    radius = low * (high / low) ** rng.random()
    return _blob(among.shape, center, radius, rng.uniform(*BORDER_MM), voxel_mm, rng)


def _blob(
    shape: tuple[int, ...],
    center: np.ndarray,
    radius_mm: float,
    border_mm: float,
    voxel_mm: np.ndarray,
    rng: np.random.Generator,
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Share in [0, 1] of a ragged ellipsoid, and the part of the grid where it is."""
    axes = radius_mm * np.exp(0.3 * rng.standard_normal(3))
    reach = np.ceil((1.4 * axes.max() + border_mm) / voxel_mm).astype(int)
    low = np.maximum(center - reach, 0)
    high = np.minimum(center + reach + 1, shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    size = tuple(high - low)
    away = (np.indices(size).reshape(3, -1).T + low - center) * voxel_mm
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    distance = np.linalg.norm(away @ turn / axes, axis=1).reshape(size)
    ragged = ndimage.gaussian_filter(rng.standard_normal(size), 0.4 * radius_mm / voxel_mm)
    ragged *= rng.uniform(0, 0.35) / max(float(ragged.std()), 1e-6)
    within = (1 + ragged - distance) * float(axes.min())
    share: np.ndarray = np.clip(within / border_mm + 0.5, 0, 1).astype(np.float32)
    return box, share


# Of each held-out subject: simulated scanners without lesions, and draws of lesions.
SCANNERS, DRAWS = 7, 4
#: A finding is larger than the largest cluster in this share of healthy scans, and than this, ml.
QUIET, LEAST_ML = 0.975, 0.1
# Lesions are reported in classes of size, ml.
SIZES = ((0.1, 0.5), (0.5, 2.0), (2.0, 8.0), (8.0, 100.0))


def measure_finding(
    segmenter: Segmenter, brains: SimulatedLesions, progress: Progress = SILENT
) -> Json:
    """How often healthy held-out subjects have findings, and how many simulated lesions are found.

    Returns
    -------
    dict
        "people"; "limit_ml", the size of a finding, see `QUIET`; "healthy" ("scans", "scanners",
        "with_findings"); "dice" of simulated lesions; "by_size" (rows of "ml", "lesions", "found").
    """
    space = brains.pack.space
    largest: list[float] = []
    dice: list[float] = []
    found: list[tuple[float, float]] = []
    for index in followed(brains.validation, progress):
        healthy = brains.volume(index)
        seed = int(brains.rows[index])
        for volume, inside in on_scanners(healthy, healthy > 0, space.voxel_size, seed, SCANNERS):
            probability = lesion_probability(segmenter, volume, inside, space)
            clusters = lesion_clusters(probability, space)
            largest.append(clusters[0].size if clusters else 0.0)
        for number in range(DRAWS):
            *_, truth, probability = _drawn(segmenter, brains, index, number)
            if truth.any():
                marked = probability > LEAST
                dice.append(2 * np.count_nonzero(truth & marked) / (truth.sum() + marked.sum()))
            found += _overlaps(truth, lesion_clusters(probability, space), space)
    limit = max(LEAST_ML, float(np.quantile(largest, QUIET)))
    return {
        "people": len(brains.validation),
        "limit_ml": round(limit, 3),
        "healthy": {
            "scans": len(largest),
            "scanners": SCANNERS,
            "with_findings": int(np.sum(np.array(largest) > limit)),
        },
        "dice": round(float(np.mean(dice)), 3) if dice else 0.0,
        "by_size": [_row(size, found, limit) for size in SIZES],
    }


# Voxels of a cluster that are learned from, draws of each subject, and hidden units.
SAMPLED, OUTLINE_DRAWS, UNITS = 3000, 3, 32


def _drawn(
    segmenter: Segmenter, brains: SimulatedLesions, index: int, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A subject with lesions of a draw: image, brain, lesions and what the network says of them."""
    chance = torch.Generator().manual_seed(index + 7919 * number)
    image, labels = (x.numpy() for x in brains.example(index, chance))
    mask, truth = labels > 0, labels == LESIONS.classes.index(LESION)
    return image, mask, truth, lesion_probability(segmenter, image, mask, brains.pack.space)


def fit_outline(
    segmenter: Segmenter, brains: SimulatedLesions, limit_ml: float, progress: Progress = SILENT
) -> list[Any]:
    """Layers for `outlined`, from lesions that are simulated in the training subjects.

    The network alone finds large lesions, and their size not well.
    """
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    space, draw, seen = brains.pack.space, np.random.default_rng(0), []
    draws = list(product(range(brains.training), range(OUTLINE_DRAWS)))
    for index, number in followed(draws, progress):
        image, mask, truth, probability = _drawn(segmenter, brains, index, number)
        pieces, _ = ndimage.label(truth, TOUCHING)
        for cluster in lesion_clusters(probability, space):
            met = np.setdiff1d(pieces.flat[cluster.index], 0)
            if cluster.size > limit_ml and len(met):
                voxels, features, _ = around(cluster, image, probability, mask, space)
                some = draw.permutation(len(voxels))[:SAMPLED]
                seen.append((features[some], np.isin(pieces.flat[voxels[some]], met)))
    if not seen:
        return []
    features, inside = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    scaled = StandardScaler().fit(features)
    network = MLPClassifier((UNITS,), alpha=1e-3, max_iter=40, early_stopping=True, random_state=0)
    network.fit(scaled.transform(features), inside)
    (first, second), (bias, last) = network.coefs_, network.intercepts_
    first = first / scaled.scale_[:, None]
    layers = (first, bias - scaled.mean_ @ first), (second, last)
    return [[np.round(part, 5).tolist() for part in layer] for layer in layers]


def _overlaps(
    truth: np.ndarray, clusters: Sequence[Cluster], space: Space
) -> list[tuple[float, float]]:
    """Size in ml of each lesion, and of the largest cluster that meets it."""
    pieces, count = ndimage.label(truth, TOUCHING)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * space.voxel_ml
    met = np.zeros(count + 1)
    for cluster in clusters:
        for piece in np.unique(pieces.ravel()[cluster.index]):
            met[piece] = max(met[piece], cluster.size)
    return list(zip(sizes[1:].tolist(), met[1:].tolist(), strict=True))


def _row(size: tuple[float, float], found: Sequence[tuple[float, float]], limit: float) -> Json:
    low, high = size
    sizes = [cluster for ml, cluster in found if low <= ml < high]
    hits = sum(cluster > limit for cluster in sizes)
    return {"ml": list(size), "lesions": len(sizes), "found": hits}
