"""How well the pose of a scan is found again after it was turned and moved at random.

    python benchmarks/alignment.py SCAN ... [--trials 100] [--rotation 30] [--shift 40]
        [--log TRIALS.jsonl]

Each trial turns one of the scans about its middle by up to 30 degrees round *each* axis, moves it
by up to 40 mm along each, and resamples it on an upright grid, as if the head had lain so in the
scanner. Give whole heads, and the brain has to be found in that pose, too. The misalignment is the
distance between where that pose and the untouched scan's pose put the brain: mean over its voxels,
mean over its surface, and largest, in mm. With --header only the header is changed.

With --log every trial is kept as a line of a file, and a run that was stopped goes on from there:
the pose of a trial depends on its number alone. For a busy machine:

    nice -n 19 env OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 \\
        python benchmarks/alignment.py sub-*_T1w.nii.gz --log trials.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from stylegan3d.base import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import AlignedScan, Scan, Template, load_template, read_scan
from stylegan3d.scans.resampling import resample
from stylegan3d.storage.places import bundled_model_path

TOLERANCE_MM = 2.0
MEASURES = ("mean_mm", "surface_mm", "max_mm")


def moved(scan: Scan, pose: np.ndarray, *, header_only: bool) -> Scan:
    """The scan with its head in another pose; `pose` (4, 4), RAS mm to RAS mm."""
    if header_only:
        return replace(scan, affine=pose @ scan.affine, geometry={})
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in scan.data.shape])).reshape(3, -1).T
    world = nib.affines.apply_affine(pose @ scan.affine, corners)
    size = float(np.clip(np.mean(scan.space.voxel_size), 1.0, 2.0))
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = world.min(axis=0)
    x, y, z = (int(n) for n in np.ceil(np.ptp(world, axis=0) / size) + 1)
    grid = Space((x, y, z), affine)
    background = float(np.median(scan.data[[0, -1]]))
    data = resample(scan.data - background, scan.space, grid, np.linalg.inv(pose)) + background
    return replace(scan, data=data, affine=affine, geometry={})


def random_pose(draw: np.random.RandomState, center: np.ndarray, turn: float, shift: float):
    """Up to `turn` degrees round each axis through `center`, then up to `shift` mm along each."""
    matrix = Rotation.from_euler("xyz", draw.uniform(-turn, turn, 3), degrees=True).as_matrix()
    pose = nib.affines.from_matvec(matrix, center - matrix @ center)
    pose[:3, 3] += draw.uniform(-shift, shift, 3)
    return pose


def misalignment(first: AlignedScan, rigid: np.ndarray) -> dict[str, float]:
    """Distances in mm of the brain from where it belongs: over its voxels, on its surface, most."""
    mask = first.brain_mask
    found = {}
    for name, where in (("mean", mask), ("surface", mask & ~binary_erosion(mask))):
        there = nib.affines.apply_affine(first.space.affine, np.argwhere(where))
        scan = nib.affines.apply_affine(np.linalg.inv(first.rigid), there)
        distance = np.linalg.norm(nib.affines.apply_affine(rigid, scan) - there, axis=1)
        found[f"{name}_mm"] = round(float(distance.mean()), 3)
        found["max_mm"] = round(float(distance.max()), 3)
    return found


def trial(
    scan: Scan, first: AlignedScan, target: Template, pose: np.ndarray, *, header_only: bool
) -> dict[str, Any]:
    """Misalignment, quality, seconds and what was told of one pose."""
    odd = moved(scan, pose, header_only=header_only)
    start = time.process_time()
    try:
        found = odd.align(target)
    except ScanError as error:
        nowhere = dict.fromkeys(MEASURES, np.inf)
        return {"scan": scan.path.name, "error": str(error), **nowhere}
    return {
        "scan": scan.path.name,
        **misalignment(first, found.rigid @ pose),
        "quality": round(found.quality, 3),
        "brain_overlap": round(overlap(first, found), 3),
        "cpu_seconds": round(time.process_time() - start, 2),
        "again": any("again, upright" in str(note) for step in found.record for note in step.notes),
    }


def overlap(first: AlignedScan, found: AlignedScan) -> float:
    """Dice's coefficient of the brain masks in the model's space."""
    both = np.count_nonzero(first.brain_mask & found.brain_mask)
    return 2 * both / (np.count_nonzero(first.brain_mask) + np.count_nonzero(found.brain_mask))


def summary(results: list[dict[str, Any]]) -> str:
    """How many are right, and how right."""
    lines = []
    for name in MEASURES:
        values = np.array([result[name] for result in results])
        lines.append(
            f"{name}: {np.mean(values <= TOLERANCE_MM):.1%} within {TOLERANCE_MM:g} mm; median "
            f"{np.median(values):.2f}, 95th percentile {np.percentile(values, 95):.2f}, worst "
            f"{values.max():.2f}"
        )
    seconds = [result["cpu_seconds"] for result in results if "cpu_seconds" in result]
    refused = sum("error" in result for result in results)
    lines.append(
        f"{len(results)} trials, {refused} refused; median {np.median(seconds):.1f} s of CPU each"
    )
    return "\n".join(lines)


def kept(log: Path | None) -> dict[int, dict[str, Any]]:
    """Trials of an earlier run by number; half a line at the end is one that was not finished."""
    found = {}
    if log is not None and log.is_file():
        for line in log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                found[json.loads(line)["trial"]] = json.loads(line)
    return found


def main() -> None:
    """Run the trials, print each and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rotation", type=float, default=30.0, help="degrees round each axis")
    parser.add_argument("--shift", type=float, default=40.0, help="mm along each axis")
    parser.add_argument("--header", action="store_true", help="change the header only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="keep the trials here, and go on from there")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    target = load_template(bundled_model_path() / "template.nii.gz")
    scans = [read_scan(path) for path in args.scans]
    done = kept(args.log)
    firsts: dict[int, AlignedScan] = {}
    for number in range(args.trials):
        if number in done:
            continue
        which = number % len(scans)
        if which not in firsts:
            firsts[which] = scans[which].align(target)
        draw = np.random.RandomState((args.seed, number))
        pose = random_pose(draw, scans[which].space.center_mm, args.rotation, args.shift)
        result = trial(scans[which], firsts[which], target, pose, header_only=args.header)
        done[number] = {"trial": number, **result}
        print(json.dumps(done[number]), flush=True)
        if args.log is not None:
            with args.log.open("a") as file:
                file.write(json.dumps(done[number]) + "\n")
    print(summary([done[number] for number in range(args.trials)]))


if __name__ == "__main__":
    main()
