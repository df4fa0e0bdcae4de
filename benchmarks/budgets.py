"""What each budget gives: reconstruction, edited scan, the same person again, and seconds.

    python benchmarks/budgets.py --scans SCAN... --pairs A1 A2 B1 B2 ... [--edit "Ventricle volume"]
    python benchmarks/budgets.py --rims SCAN...

For each budget the medians over SCANS: similarity of the reconstruction, the change of ventricle
volume in the edited scan on the model's grid beside that of the model's own brain, and processor
seconds. PAIRS are scans of the same people, two each: how far apart their latents are, as a share
of the distance to the nearest other person. Set OMP_NUM_THREADS=1.

`--rims` looks for ghost rims, bright lines over a black gap at the top of an edited brain: their
share of the outline, in the scans, the model's brains, the edited scans, and, to show that rims are
found, in scans that the difference of the model's two brains was added to.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter, map_coordinates

import stylegan3d
from stylegan3d.model.generator import Generator
from stylegan3d.projection import ProjectionResult
from stylegan3d.projection.settings import BUDGETS
from stylegan3d.recipe.direction_file import find_step
from stylegan3d.render.carried import CarriedDetail
from stylegan3d.render.editable import Original
from stylegan3d.scans import AlignedScan
from stylegan3d.scans.extraction import largest_piece
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter

#: Outside a brain, and fluid, it is darker; a line is brighter than the gap by more than `GAP`.
OUTSIDE, FLUID, GAP = 0.15, 0.3, 0.15
#: How deep below the outline a gap is looked for, mm.
DEEPEST = 8
#: Ageing keeps the outline, head size moves it.
RIM_EDITS = (("Age", 2.0), ("Age", -2.0), ("Head size", 2.0), ("Head size", -2.0))


def projected(
    generator: Generator, scan: AlignedScan, budget: str
) -> tuple[ProjectionResult, float]:
    """A projection, and its processor seconds."""
    started = time.process_time()
    found = stylegan3d.project(generator, scan, budget=budget)
    return found, time.process_time() - started


def ventricles(segmenter: Segmenter, generator: Generator, volume: np.ndarray) -> float:
    """Millilitres in a brain on the model's grid."""
    return segmenter.segment(volume, generator.space).volumes["ventricle"]


def edited(
    generator: Generator,
    segmenter: Segmenter,
    scan: AlignedScan,
    found: ProjectionResult,
    step: str,
) -> tuple[float, float]:
    """Change of ventricles with 2 sd along a direction: in the model's brain, in the scan, ml."""
    w = found.w + 2 * torch.as_tensor(find_step(step, generator))
    renderer = stylegan3d.Renderer(generator)
    models = [renderer.render(one, noise="none", delta=found.delta).volume for one in (found.w, w)]
    carried = CarriedDetail(Original.of(scan), generator, found.w, found.delta)
    scans = [carried.frame(carried.movement(one, found.delta)) for one in (found.w, w)]
    asked, got = (
        ventricles(segmenter, generator, after) - ventricles(segmenter, generator, before)
        for before, after in (models, scans)
    )
    return asked, got


def rim(volume: np.ndarray, mm: float) -> float:
    """Share of the outline of a brain's upper half with a gap below a brighter line.

    Along the normals: within 3 mm of the outline it is at least `GAP` brighter than below, within
    8 mm, where it is darker than tissue.
    """
    brain = largest_piece(volume > OUTSIDE)
    away = distance_transform_edt(brain, mm) - distance_transform_edt(~brain, mm)
    normals = np.stack(np.gradient(gaussian_filter(away, 2.0)))
    normals /= np.maximum(np.linalg.norm(normals, axis=0), 1e-6)
    outline = brain & ~binary_erosion(brain)
    height = np.argwhere(brain)[:, 2]
    outline[:, :, : (int(height.min()) + int(height.max())) // 2] = False
    places, steps = np.argwhere(outline).T, np.arange(0, DEEPEST + 1)[:, None, None]
    along = places + steps / mm * normals[:, outline]
    profile = map_coordinates(volume, along.transpose(1, 0, 2), order=1)
    line = np.maximum.accumulate(np.where(steps[:, :, 0] <= 3, profile, 0))
    return float(((line - profile > GAP) & (profile < FLUID)).any(axis=0).mean())


def rims(generator: Generator, scans: list[AlignedScan]) -> None:
    """Print the rims of each kind of picture: mean over scans, in % of the outline."""
    mm = generator.voxel_size[0]
    print("budget\tedit\tscan\tmodel\tmodel edited\tscan edited\tdifference added")
    for budget in ("standard", "thorough"):
        found = [projected(generator, scan, budget)[0] for scan in scans]
        for name, strength in RIM_EDITS:
            rows = []
            for scan, one in zip(scans, found, strict=True):
                w = one.w + strength * torch.as_tensor(find_step(name, generator))
                renderer = stylegan3d.Renderer(generator)
                before, after = (
                    renderer.render(latent, noise="none", delta=one.delta).volume
                    for latent in (one.w, w)
                )
                carried = CarriedDetail(Original.of(scan), generator, one.w, one.delta)
                edited_scan = carried.frame(carried.movement(w, one.delta))
                added = np.clip(scan.volume + after - before, 0, None)
                shown = (scan.volume, before, after, edited_scan, added)
                rows.append([100 * rim(volume, mm) for volume in shown])
            told = (f"{value:.1f}" for value in np.mean(rows, axis=0))
            print(budget, f"{name} {strength:+g}", *told, sep="\t", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", nargs="*", type=Path, default=[])
    parser.add_argument("--pairs", nargs="*", type=Path, default=[])
    parser.add_argument("--edit", default="Ventricle volume")
    parser.add_argument("--rims", nargs="*", type=Path, default=[])
    args = parser.parse_args()
    generator, segmenter = stylegan3d.load(device="cpu"), bundled_segmenter()
    if args.rims:
        rims(generator, [stylegan3d.read_scan(path).align(generator) for path in args.rims])
        return
    scans, pairs = (
        [stylegan3d.read_scan(path).align(generator) for path in paths]
        for paths in (args.scans, args.pairs)
    )
    print("budget\tSSIM\tPSNR dB\tasked ml\tfound ml\tseconds\tsame person")
    for budget in BUDGETS:
        rows = []
        for scan in scans:
            found, seconds = projected(generator, scan, budget)
            alike = found.assessment["similarity"]
            change = edited(generator, segmenter, scan, found, args.edit)
            rows.append([alike["ssim"], alike["psnr"], *change, seconds])
        w = torch.stack([projected(generator, scan, budget)[0].w.flatten() for scan in pairs])
        far = torch.cdist(w, w).numpy()
        same = [far[i, i ^ 1] / np.delete(far[i], [i, i ^ 1]).min() for i in range(len(w))]
        told = [*np.median(rows, axis=0), np.max(same)]
        print(budget, *(f"{value:.3f}" for value in told), sep="\t", flush=True)


if __name__ == "__main__":
    main()
