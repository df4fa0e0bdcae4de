"""Regions of scans against label maps drawn by hand, with the numbers of the same protocol.

    python benchmarks/hand_drawn_regions.py FOLDER

FOLDER holds `sub-…_T1w.nii.gz`, `sub-…_dseg.nii.gz` and `participants.tsv` (age and sex). Protocols
differ: the networks imitate automatic labels at 2 mm, the maps are drawn at 1 mm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.outputs.labels import LabelledScan, Wanted, segment_scan
from stylegan3d.scans import read_scan
from stylegan3d.segmentation.classes import PAIRED, REGIONS, dice_scores, halved, region_of_label
from stylegan3d.segmentation.inference import bundled_segmenter

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
        truth = halved(truth, Space(image.shape, image.affine))
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


if __name__ == "__main__":
    main()
