"""Edits of scans themselves: how much of an edit arrives, how sharp it is, and how long it takes.

    python benchmarks/edited_scans.py SCAN... [--edit "Ventricle volume"] [--strengths=-2,1,2,3]

For each scan (projected with the draft budget) and each strength: the change of ventricle volume
that `segment` measures in the edited scan beside that of the model's own brain; the gradient at the
ventricles' border beside the scan's; movement, least Jacobian; seconds of a native edit. Without an
edit the scan must come back bit for bit.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import binary_dilation, gaussian_gradient_magnitude

import stylegan3d
from stylegan3d.model.generator import Generator
from stylegan3d.recipe.direction_file import find_step
from stylegan3d.render.carried import CarriedDetail, Original
from stylegan3d.scans import Scan
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter
from stylegan3d.segmentation.measures import measures_of
from stylegan3d.segmentation.scans import LabelledScan, segment_scan

COLUMNS = ("strength", "asked ml", "found ml", "border", "mm 99 %", "Jacobian", "s first", "s next")


def border_gradient(data: np.ndarray, labelled: LabelledScan) -> float:
    """Mean gradient magnitude, sigma one voxel, on the border of the ventricles."""
    ventricle = np.asarray(labelled.image.dataobj) == CLASSES.index("ventricle")
    border = binary_dilation(ventricle) & ~ventricle
    return float(gaussian_gradient_magnitude(data, 1.0)[border].mean())


def measured(segmenter: Segmenter, generator: Generator, w: torch.Tensor) -> float:
    """Ventricle volume of the model's own brain, ml."""
    volume = stylegan3d.Renderer(generator).render(w, noise="none").volume
    found = segmenter.segment(volume, generator.space, confidence=True)
    return measures_of(found)["ventricle_ml"]


def rows_of(
    path: Path, generator: Generator, segmenter: Segmenter, direction: str, strengths: list[float]
) -> None:
    """Print the table of one scan."""
    scan: Scan = stylegan3d.read_scan(path)
    aligned = scan.align(generator)
    projected = stylegan3d.project(generator, aligned, budget="draft")
    w, delta = projected.w, projected.delta
    step = torch.as_tensor(find_step(direction, generator), dtype=w.dtype)
    own = segment_scan(segmenter, scan)
    sharp, start = border_gradient(scan.data, own), measured(segmenter, generator, w)
    carried = CarriedDetail(Original.of(aligned), generator, w, delta)
    same = np.array_equal(carried.edited(carried.movement(w, delta)), scan.data)
    print(f"\n{path.name}: without an edit {'the same bits' if same else 'NOT THE SAME'}")
    print("".join(f"{name:>12}" for name in COLUMNS))
    for strength in strengths:
        moved = carried.movement(w + strength * step, delta)
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            data = carried.edited(moved)
            seconds.append(time.perf_counter() - begun)
        found = segment_scan(segmenter, dataclasses.replace(scan, data=data))
        asked = measured(segmenter, generator, w + strength * step) - start
        got = found.measures["ventricle_ml"] - own.measures["ventricle_ml"]
        row = (
            strength,
            asked,
            got,
            border_gradient(data, found) / sharp,
            float(np.percentile(moved.moved_mm[moved.moved_mm > 0], 99)),
            float(moved.jacobian.min()),
            *seconds,
        )
        print("".join(f"{value:12.2f}" for value in row))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--edit", default="Ventricle volume")
    parser.add_argument("--strengths", default="-2,1,2,3")
    args = parser.parse_args()
    generator, segmenter = stylegan3d.load(), bundled_segmenter()
    strengths = [float(word) for word in args.strengths.split(",")]
    for path in args.scans:
        rows_of(path, generator, segmenter, args.edit, strengths)


if __name__ == "__main__":
    main()
