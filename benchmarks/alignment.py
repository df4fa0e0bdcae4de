"""How well the pose of a scan is found again after it was turned and moved at random.

    python benchmarks/alignment.py SCAN ... [--trials 100] [--rotation 30] [--shift 40]

Each trial turns one of the scans about its middle by up to 30 degrees round *each* axis, moves it
by up to 40 mm along each, and resamples it on an upright grid, as if the head had lain so in the
scanner. The misalignment is the distance, over the brain's voxels, between where that pose and the
untouched scan's pose put them: mean and largest, in mm. With --header only the header is changed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from stylegan3d.errors import ScanError
from stylegan3d.generator import bundled_model_path
from stylegan3d.scans import AlignedScan, Scan, Template, load_template, read_scan
from stylegan3d.scans.resampling import resample
from stylegan3d.space import Space

TOLERANCE_MM = 2.0


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


def misalignment(first: AlignedScan, rigid: np.ndarray) -> tuple[float, float]:
    """Mean and largest distance in mm of the brain's voxels from where they belong."""
    there = nib.affines.apply_affine(first.space.affine, np.argwhere(first.brain_mask))
    scan = nib.affines.apply_affine(np.linalg.inv(first.rigid), there)
    distance = np.linalg.norm(nib.affines.apply_affine(rigid, scan) - there, axis=1)
    return float(distance.mean()), float(distance.max())


def trial(
    scan: Scan, first: AlignedScan, target: Template, pose: np.ndarray, *, header_only: bool
) -> dict[str, Any]:
    """Misalignment, quality and seconds of one pose."""
    odd = moved(scan, pose, header_only=header_only)
    start = time.perf_counter()
    try:
        found = odd.align(target)
    except ScanError as error:
        return {"scan": scan.path.name, "error": str(error), "mean_mm": np.inf, "max_mm": np.inf}
    mean, largest = misalignment(first, found.rigid @ pose)
    return {
        "scan": scan.path.name,
        "mean_mm": round(mean, 3),
        "max_mm": round(largest, 3),
        "quality": round(found.quality, 3),
        "seconds": round(time.perf_counter() - start, 2),
    }


def main() -> None:
    """Run the trials, print each and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rotation", type=float, default=30.0, help="degrees round each axis")
    parser.add_argument("--shift", type=float, default=40.0, help="mm along each axis")
    parser.add_argument("--header", action="store_true", help="change the header only")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    target = load_template(bundled_model_path() / "template.nii.gz")
    scans = [read_scan(path) for path in args.scans]
    firsts = [scan.align(target) for scan in scans]
    draw = np.random.RandomState(args.seed)
    results = []
    for number in range(args.trials):
        which = number % len(scans)
        pose = random_pose(draw, scans[which].space.center_mm, args.rotation, args.shift)
        results.append(trial(scans[which], firsts[which], target, pose, header_only=args.header))
        print(json.dumps(results[-1]), flush=True)
    means = np.array([result["mean_mm"] for result in results])
    seconds = [result["seconds"] for result in results if "seconds" in result]
    print(
        f"{len(results)} trials: {100 * np.mean(means <= TOLERANCE_MM):.0f} % within "
        f"{TOLERANCE_MM:g} mm; median {np.median(means):.2f} mm, 95th percentile "
        f"{np.percentile(means, 95):.2f} mm, worst {means.max():.2f} mm; "
        f"{np.median(seconds):.1f} s each"
    )


if __name__ == "__main__":
    main()
