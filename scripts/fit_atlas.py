"""Make the atlas from people's label maps: regions in which residuals are told, and ventricles.

    python scripts/fit_atlas.py PACK LABEL_FOLDER --out src/stylegan3d/atlas

PACK is a prepared dataset, LABEL_FOLDER a folder with `sub-*_dseg.nii.gz` of its scans and
`labels.tsv`. Label maps of training people are brought to the middle and the spread of the mean
brain. A voxel of `regions.nii.gz` gets the region that most of them have there, one without that of
the nearest; white matter is the nearest region's. `ventricles.nii.gz` is 2 where more than 20 % of
them have a ventricle, 1 where more than 0.5 % do, one voxel wider. Prints how well the regions
agree with the labels of validation people (Dice), and what `attributes.CALIBRATION` should be
(offset, factor), with how well that holds in validation people.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.space import Space
from stylegan3d.measures import attributes, regions
from stylegan3d.segmentation.classes import CLASSES

# The atlas has every second voxel of the pack: borders of lobes are no finer than that.
COARSER = 2
# A voxel is ventricle where so many people have one there: in most they are narrower.
VENTRICLE_SHARE = 0.2
LABELLED = 0.3
VALUES = range(1, 1 + len(regions.NAMES))
# Parts of label names by region, in the order in which they are tried.
PARTS = {
    "ventricles": ["ventricle", "horn"],
    "cerebellum": ["cerebell"],
    "brain stem": ["brain_stem"],
    "deep structures": [
        "accumbens",
        "amygdala",
        "caudate",
        "hippocampus",
        "pallidum",
        "putamen",
        "thalamus",
        "ventral",
        "forebrain",
        "chiasm",
        "fornix",
        "internal_capsule",
        "corpus_callosum",
        "cingulate",
        "insula",
        "entorhinal",
        "subcallosal",
        "hippocampal",
    ],
    "frontal lobe": [
        "frontal",
        "orbital",
        "precentral",
        "gyrus_rectus",
        "central_operculum",
        "supplementary",
    ],
    "parietal lobe": ["parietal", "angular_gyrus", "postcentral", "precuneus", "supramarginal"],
    "occipital lobe": ["occipital", "calcarine", "cuneus", "lingual"],
    "temporal lobe": ["temporal", "fusiform", "planum"],
}
OUTSIDE = ("background", "csf", "cerebral_white")
# Shares of people with a ventricle in a voxel.
NEAR_FROM, CORE_FROM = 0.005, 0.2


def region_of_label(name: str) -> int:
    """1 + index into `regions.NAMES` of the region a label belongs to; 0 for others."""
    if any(part in name for part in OUTSIDE):
        return 0
    for region, parts in PARTS.items():
        if any(part in name for part in parts):
            return 1 + regions.NAMES.index(region)
    raise ValueError(f"The label {name} has no region: complete PARTS.")


def atlas(maps: list[np.ndarray], masks: list[np.ndarray], space: Space) -> np.ndarray:
    """uint8, every `COARSER`th voxel of `space`: the region there in the mean brain's frame."""
    every = slice(COARSER // 2, None, COARSER)
    grid = np.indices(space.shape)[:, every, every, every]
    mm = nib.affines.apply_affine(space.affine, grid.reshape(3, -1).T)
    to_voxel = np.linalg.inv(space.affine)
    count = np.zeros((1 + len(regions.NAMES), mm.shape[0]))
    for labels, mask in zip(maps, masks, strict=True):
        places = nib.affines.apply_affine(space.affine, np.argwhere(mask))
        frame = (mm - attributes.FRAME_CENTER_MM) / attributes.FRAME_SPREAD_MM
        own = nib.affines.apply_affine(to_voxel, frame * places.std(axis=0) + places.mean(axis=0))
        value = ndimage.map_coordinates(labels, own.T, order=0)
        count[value, np.arange(len(value))] += 1
    share = (count / len(maps)).reshape(-1, *grid.shape[1:])
    best = 1 + share[1:].argmax(axis=0)
    ventricle = 1 + regions.NAMES.index("ventricles")
    best[share[ventricle] > VENTRICLE_SHARE] = ventricle
    nearest = ndimage.distance_transform_edt(
        share[0] > 1 - LABELLED, return_distances=False, return_indices=True
    )
    return best[tuple(nearest)].astype(np.uint8)


def dice(maps: list[np.ndarray], masks: list[np.ndarray], space: Space) -> dict[str, float]:
    """Median Dice of each region over people, within what their labels cover."""
    rows = []
    for labels, mask in zip(maps, masks, strict=True):
        found = np.zeros(labels.shape, np.uint8)
        for name, index in regions.region_masks(mask, space).items():
            base = name.removeprefix("left ").removeprefix("right ")
            found.flat[index] = 1 + regions.NAMES.index(base)
        both = (labels > 0) & (found > 0)
        rows.append([_overlap(labels[both] == k, found[both] == k) for k in VALUES])
    return dict(zip(regions.NAMES, np.median(rows, axis=0).round(2).tolist(), strict=True))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.sum(a & b) / np.sum(a.astype(int) + b))


def ventricles(masks: list[np.ndarray], brains: list[np.ndarray], space: Space) -> np.ndarray:
    """uint8 (X, Y, Z): where ventricles are in the mean brain's frame."""
    mm = nib.affines.apply_affine(space.affine, np.indices(space.shape).reshape(3, -1).T)
    to_voxel = np.linalg.inv(space.affine)
    total = np.zeros(space.shape)
    for mask, volume in zip(masks, brains, strict=True):
        brain = attributes._Brain.of(volume, space)
        assert brain is not None
        own = (mm - attributes.FRAME_CENTER_MM) / attributes.FRAME_SPREAD_MM
        own = nib.affines.apply_affine(to_voxel, own * brain.spread_mm + brain.center_mm)
        found = ndimage.map_coordinates(mask.astype(np.float32), own.T, order=1)
        total += found.reshape(space.shape)
    share = total / len(masks)
    near = ndimage.binary_dilation(share > NEAR_FROM)
    return near.astype(np.uint8) + (share > CORE_FROM)


def write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    """Write one file of the atlas."""
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code="aligned")
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def calibration(people: list[Person], space: Space) -> None:
    """Print offset and factor of each volume, and how well they hold in validation people."""
    fit = np.array([person.split == "train" for person in people])
    found = [attributes.measure_volume(person.volume, space) for person in people]
    voxel_ml = space.voxel_ml
    for key, (offset, factor) in attributes.CALIBRATION.items():
        truth = np.array([person.voxels[key] * voxel_ml for person in people])
        counted = (np.array([row[key] for row in found]) - offset) / factor
        slope, start = np.polyfit(counted[fit], truth[fit], 1)
        error = np.abs(start + slope * counted - truth)[~fit].mean()
        r = np.corrcoef(counted[~fit], truth[~fit])[0, 1]
        print(
            f"{key:13} offset {start:6.1f} factor {slope:.3f}   r {r:.3f}   mean error "
            f"{error:.1f} ml of {truth[~fit].mean():.0f}"
        )


@dataclass(frozen=True, eq=False)
class Person:
    """Volume in [0, 1], regions, ventricles, and the number of voxels of each volume."""

    split: str
    volume: np.ndarray
    regions: np.ndarray
    ventricles: np.ndarray
    voxels: dict[str, int]

    @property
    def mask(self) -> np.ndarray:
        """The brain."""
        return self.volume > attributes.BACKGROUND


def main() -> None:
    """Write the atlas and print how it agrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pack = load_pack(args.pack)
    with (args.labels / "labels.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    region, tissue = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for row in rows:
        region[int(row["index"])] = region_of_label(row["name"])
        tissue[int(row["index"])] = CLASSES.index(row["tissue"])
    people = []
    for row, volume in zip(pack.table, pack.volumes, strict=True):
        path = args.labels / f"{row['name'].removesuffix('_T1w')}_dseg.nii.gz"
        if path.is_file():
            labels = np.asarray(nib.load(path).dataobj)
            drawn = tissue[labels]
            counts = {f"{name}_ml": int((drawn == k).sum()) for k, name in enumerate(CLASSES)}
            counts["brain_ml"] = round(row["brain_ml"] / pack.space.voxel_ml)
            found = drawn == CLASSES.index("ventricle")
            volume = np.asarray(volume) / np.float32(255)
            people.append(Person(row["split"], volume, region[labels], found, counts))
    train, others = ([p for p in people if p.split == split] for split in ("train", "validation"))
    data = atlas([p.regions for p in train], [p.mask for p in train], pack.space)
    affine = pack.space.affine @ np.diag([COARSER] * 3 + [1])
    affine[:3, 3] = nib.affines.apply_affine(pack.space.affine, [COARSER // 2] * 3)
    write(args.out / "regions.nii.gz", data, affine)
    near = ventricles([p.ventricles for p in train], [p.volume for p in train], pack.space)
    write(args.out / "ventricles.nii.gz", near, pack.space.affine)
    attributes.frame_map.cache_clear()
    print(f"{len(train)} people; Dice on {len(others)} others:")
    found = dice([p.regions for p in others], [p.mask for p in others], pack.space)
    for name, value in found.items():
        print(f"{name:16} {value:.2f}")
    calibration(people, pack.space)


if __name__ == "__main__":
    main()
