"""Make the atlas of regions by which residuals are summed up, from people's label maps.

    python benchmarks/regions.py PACK LABEL_FOLDER --out FILE

PACK is a prepared data set, LABEL_FOLDER the folder of its scans with `sub-*_dseg.nii.gz` and
`labels.tsv`. Label maps of training people are brought to the middle and the spread of the mean
brain; a voxel gets the region that most of them have there, one without labels that of the nearest
labelled voxel. Prints how well the regions agree with the labels of validation people (Dice).
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.space import Space
from stylegan3d.measures import attributes, regions

# The atlas has every second voxel of the pack: borders of lobes are no finer than that.
COARSER = 2
# A voxel is ventricle where so many people have one there: in most they are narrower.
VENTRICLE_SHARE = 0.2
LABELLED = 0.3
VALUES = range(1, 1 + len(regions.NAMES))
# Parts of label names by region, in the order in which they are tried.
PARTS = {
    "ventricles": ["ventricle", "lat_vent"],
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
        "ventral_dc",
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
OUTSIDE = ("background", "cerebral_exterior", "csf", "vessel")


def region_of_label(name: str) -> int:
    """1 + index into `regions.NAMES` of the region a label belongs to; 0 outside the brain."""
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


def main() -> None:
    """Write the atlas and print how it agrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pack = load_pack(args.pack)
    with (args.labels / "labels.tsv").open() as stream:
        table = {
            int(row["index"]): region_of_label(row["name"])
            for row in csv.DictReader(stream, delimiter="\t")
        }
    of_label = np.zeros(1 + max(table), np.uint8)
    of_label[list(table)] = list(table.values())
    people: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {
        "train": ([], []),
        "validation": ([], []),
    }
    for row, volume in zip(pack.table, pack.volumes, strict=True):
        path = args.labels / f"{row['name'].removesuffix('_T1w')}_dseg.nii.gz"
        if path.is_file():
            maps, masks = people[row["split"]]
            maps.append(of_label[np.asarray(nib.load(path).dataobj)])
            masks.append(np.asarray(volume) > 255 * attributes.BACKGROUND)
    data = atlas(*people["train"], pack.space)
    affine = pack.space.affine @ np.diag([COARSER] * 3 + [1])
    affine[:3, 3] = nib.affines.apply_affine(pack.space.affine, [COARSER // 2] * 3)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code="aligned")
    args.out.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    regions._atlas.cache_clear()
    print(f"{len(people['train'][0])} people; Dice on {len(people['validation'][0])} others:")
    for name, value in dice(*people["validation"], pack.space).items():
        print(f"{name:16} {value:.2f}")


if __name__ == "__main__":
    main()
