"""Regions of scans against label maps drawn by hand, with the numbers of the same protocol.

    python benchmarks/hand_drawn_regions.py FOLDER

FOLDER holds `sub-…_T1w.nii.gz`, `sub-…_dseg.nii.gz` and `participants.tsv` (age and sex). Protocols
differ: the networks imitate automatic labels at 2 mm, the maps are drawn at 1 mm.

Further parts, each with `--help`: `measures`.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from _program import run
from scipy import ndimage

from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.space import Space
from stylegan3d.measures import attributes
from stylegan3d.scans import read_scan
from stylegan3d.segmentation.classes import PAIRED, REGIONS, dice_scores, region_of_label
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.segmentation.scans import LabelledScan, Wanted, segment_scan

DEEP = ("thalamus", "caudate", "putamen", "pallidum", "amygdala")


def main() -> None:
    """Print Dice of each region, correlation of volumes, and z of all people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    table = region_of_label()
    scores, found, drawn, people = [], [], [], []
    for path in sorted(parser.parse_args().folder.glob("*_T1w.nii.gz")):
        labelled = segment_scan(bundled_segmenter(), read_scan(path), Wanted(regions=True))
        image = nib.load(path.with_name(path.name.replace("_T1w", "_dseg")))
        labels = np.asarray(image.dataobj).round().astype(int)
        truth = np.vectorize(lambda value: table.get(value, 0))(labels)
        scores.append(dice_scores(np.asarray(labelled.image.dataobj), truth, REGIONS.classes))
        ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
        drawn.append(np.bincount(truth.ravel(), minlength=len(REGIONS.classes)) * ml)
        found.append([labelled.labelled.regions.volumes.get(n, 0) for n in REGIONS.classes])
        people.append(labelled)
    mine, theirs = np.array(found), np.array(drawn)
    print(f"{len(scores)} people. region: Dice, ml found, ml drawn, r of volumes")
    for index, name in enumerate(REGIONS.classes[1:], start=1):
        a, b = mine[:, index], theirs[:, index]
        r = np.corrcoef(a, b)[0, 1] if a.std() > 0 and b.std() > 0 else np.nan
        dice = np.mean([score[name] for score in scores])
        print(f"{name:26s} {dice:.3f}  {a.mean():7.2f}  {b.mean():7.2f}  {r:+.2f}")
    for names in (("hippocampus",), DEEP, tuple(PAIRED)):
        dice = [s[f"{side}_{n}"] for s in scores for side in ("left", "right") for n in names]
        print(f"mean Dice of {', '.join(names)}: {np.mean(dice):.3f}")
    _print_z(people)


def _print_z(people: list[LabelledScan]) -> None:
    """Mean and deviation of z of all measures, where age and sex are known."""
    known = [labelled.numbers.scores for labelled in people if labelled.numbers.scores]
    for name in known[0] if known else ():
        z = np.array([scores[name].z for scores in known])
        print(f"z of {name:26s} {z.mean():+.2f} / {z.std():.2f}")


NEAR_FROM, CORE_FROM = 0.005, 0.2


def frame_of(volume: np.ndarray, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Middle and spread of a brain, mm."""
    brain = attributes._Brain.of(volume, space)
    assert brain is not None
    return brain.center_mm, brain.spread_mm


def region_of(volumes: list[np.ndarray], ventricles: list[np.ndarray], space: Space) -> np.ndarray:
    """uint8 (X, Y, Z) on the pack's grid, in the frame of the mean brain."""
    mm = nib.affines.apply_affine(space.affine, np.indices(space.shape).reshape(3, -1).T)
    to_voxel = np.linalg.inv(space.affine)
    total = np.zeros(space.shape)
    for volume, mask in zip(volumes, ventricles, strict=True):
        center, spread = frame_of(volume, space)
        own = (mm - attributes.FRAME_CENTER_MM) / attributes.FRAME_SPREAD_MM * spread + center
        index = nib.affines.apply_affine(to_voxel, own).T
        total += ndimage.map_coordinates(mask.astype(np.float32), index, order=1).reshape(
            space.shape
        )
    share = total / len(volumes)
    near = ndimage.binary_dilation(share > NEAR_FROM)
    return near.astype(np.uint8) + (share > CORE_FROM)


def measures() -> None:
    """How well `stylegan3d.measures.attributes` measures against label maps, and what with.

        python benchmarks/hand_drawn_regions.py measures PACK LABEL_FOLDER [--region FILE]

    PACK is a prepared data set, LABEL_FOLDER the folder of its scans with `sub-*_dseg.nii.gz` and
    `labels.tsv`. Prints offset and factor of every volume (found in training people) and how well
    they
    hold in validation people. With --region the region of the ventricles is made anew: where more
    than
    0.5 % of training people have one, one voxel wider (1), and where more than 20 % have one (2).
    """
    parser = argparse.ArgumentParser(description=measures.__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--region", type=Path, help="write the region of the ventricles here")
    args = parser.parse_args()
    pack = load_pack(args.pack)
    with (args.labels / "labels.tsv").open() as stream:
        tissue = {int(r["index"]): r["tissue"] for r in csv.DictReader(stream, delimiter="\t")}
    rows, volumes, maps = [], [], []
    for row, volume in zip(pack.table, pack.volumes, strict=True):
        path = args.labels / f"{row['name'].removesuffix('_T1w')}_dseg.nii.gz"
        if path.is_file():
            rows.append(row)
            volumes.append(np.asarray(volume) / np.float32(255))
            maps.append(np.asarray(nib.load(path).dataobj))
    fit = np.array([row["split"] == "train" for row in rows])
    print(f"{fit.sum()} people to fit, {(~fit).sum()} to check")
    train = [i for i in range(len(rows)) if fit[i]]
    frames = np.array([np.r_[frame_of(volumes[i], pack.space)] for i in train]).mean(axis=0)
    print("mean middle and spread, mm:", frames.round(1))
    if args.region:
        indices = [k for k, t in tissue.items() if t == "ventricle"]
        masks = [np.isin(maps[i], indices) for i in train]
        region = region_of([volumes[i] for i in train], masks, pack.space)
        image = nib.Nifti1Image(region, pack.space.affine)
        image.set_sform(pack.space.affine, code="aligned")
        nib.save(image, args.region)
    attributes._region.cache_clear()
    found = [attributes.measure_volume(volume, pack.space) for volume in volumes]
    for key, (offset, factor) in attributes.CALIBRATION.items():
        if key == "brain_ml":
            truth = np.array([row["brain_ml"] for row in rows])
        else:
            indices = [k for k, t in tissue.items() if t == key.removesuffix("_ml")]
            voxel_ml = pack.space.voxel_ml
            truth = np.array([np.isin(m, indices).sum() * voxel_ml for m in maps])
        counted = (np.array([row[key] for row in found]) - offset) / factor
        slope, start = np.polyfit(counted[fit], truth[fit], 1)
        error = np.abs(start + slope * counted - truth)
        r = [np.corrcoef(counted[part], truth[part])[0, 1] for part in (fit, ~fit)]
        print(
            f"{key:13} offset {start:6.1f} factor {slope:.3f}   r {r[0]:.3f} (fit) {r[1]:.3f} "
            f"(check)   mean error {error[~fit].mean():.1f} ml of {truth[~fit].mean():.0f}"
        )


if __name__ == "__main__":
    run(main, measures)
