"""What each budget gives: reconstruction, edited scan, the same person again, and seconds.

    python benchmarks/budgets.py --scans SCAN... --pairs A1 A2 B1 B2 ... [--edit "Ventricle volume"]

For each budget the medians over SCANS: similarity of the reconstruction, the change of ventricle
volume in the edited scan on the model's grid beside that of the model's own brain, and processor
seconds. PAIRS are scans of the same people, two each: how far apart their latents are, as a share
of the distance to the nearest other person. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import stylegan3d
from stylegan3d.model.generator import Generator
from stylegan3d.projection import Projection
from stylegan3d.projection.settings import BUDGETS
from stylegan3d.recipe.direction_file import find_step
from stylegan3d.render.carried import CarriedDetail
from stylegan3d.render.editable import Original
from stylegan3d.scans import AlignedScan
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter


def projected(generator: Generator, scan: AlignedScan, budget: str) -> tuple[Projection, float]:
    """A projection, and its processor seconds."""
    started = time.process_time()
    found = stylegan3d.project(generator, scan, budget=budget)
    return found, time.process_time() - started


def ventricles(segmenter: Segmenter, generator: Generator, volume: np.ndarray) -> float:
    """Millilitres in a brain on the model's grid."""
    return segmenter.segment(volume, generator.space).volumes["ventricle"]


def edited(
    generator: Generator, segmenter: Segmenter, scan: AlignedScan, found: Projection, step: str
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", nargs="*", type=Path, default=[])
    parser.add_argument("--pairs", nargs="*", type=Path, default=[])
    parser.add_argument("--edit", default="Ventricle volume")
    args = parser.parse_args()
    generator, segmenter = stylegan3d.load(device="cpu"), bundled_segmenter()
    scans, pairs = (
        [stylegan3d.read_scan(path).align(generator) for path in paths]
        for paths in (args.scans, args.pairs)
    )
    print("budget\tSSIM\tPSNR dB\tasked ml\tfound ml\tseconds\tsame person")
    for budget in BUDGETS:
        rows = []
        for scan in scans:
            found, seconds = projected(generator, scan, budget)
            alike = found.trust["similarity"]
            change = edited(generator, segmenter, scan, found, args.edit)
            rows.append([alike["ssim"], alike["psnr"], *change, seconds])
        w = torch.stack([projected(generator, scan, budget)[0].w.flatten() for scan in pairs])
        far = torch.cdist(w, w).numpy()
        same = [far[i, i ^ 1] / np.delete(far[i], [i, i ^ 1]).min() for i in range(len(w))]
        told = [*np.median(rows, axis=0), np.max(same)]
        print(budget, *(f"{value:.3f}" for value in told), sep="\t", flush=True)


if __name__ == "__main__":
    main()
