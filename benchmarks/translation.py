"""How long painting labels takes on this machine: python benchmarks/translation.py

Median of repeated runs with all its cores, in float32 and in the precision that is fastest here: a
whole brain, one whose ventricles were resized, and one after a stroke of the brush.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from stylegan3d import load
from stylegan3d.devices import measured_dtype
from stylegan3d.model.sampling import RandomBrains
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.translation.files import resized
from stylegan3d.translation.painter import bundled_painter

REPEATS = 9
RESIZED_MM, STROKE_MM = 3.0, 8.0


def milliseconds(work: Callable[[], object]) -> float:
    """Median over repeats, after two that warm up."""
    times = []
    for repeat in range(REPEATS + 2):
        started = time.perf_counter()
        work()
        if repeat >= 2:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def stroke(labels: np.ndarray, mm: tuple[float, float, float]) -> np.ndarray:
    """Labels after a ball of fluid was painted in the middle of a hemisphere."""
    middle = np.array(labels.shape) * (0.3, 0.5, 0.55)
    places = (np.indices(labels.shape).T - middle).T * np.reshape(mm, (3, 1, 1, 1))
    ball = (places**2).sum(axis=0) < (STROKE_MM / 2) ** 2
    return np.where(ball & (labels > 0), CLASSES.index("ventricle"), labels).astype(np.uint8)


def main() -> None:
    """Print the table."""
    generator, painter = load(device="cpu"), bundled_painter()
    volume = next(iter(RandomBrains(generator, [0], truncation=0.7))) / np.float32(255)
    labels = bundled_segmenter().segment(volume, painter.space).labels
    mm = painter.space.voxel_size
    resize = partial(resized, labels, labels == CLASSES.index("ventricle"), RESIZED_MM, mm)
    print(f"{torch.get_num_threads()} threads, {volume.shape} voxels")
    print(f"resizing ventricles by {RESIZED_MM:g} mm: {milliseconds(resize):.0f} ms")
    larger, dotted = resize(), stroke(labels, mm)
    for dtype in dict.fromkeys((torch.float32, measured_dtype(torch.device("cpu")))):
        works = {
            "a whole brain": partial(painter.paint, labels, dtype=dtype),
            "after resizing": partial(painter.repaint, volume, labels, larger, dtype=dtype),
            "after a stroke": partial(painter.repaint, volume, labels, dotted, dtype=dtype),
        }
        for title, work in works.items():
            name = str(dtype).removeprefix("torch.")
            print(f"{title}, {name}: {milliseconds(work):.0f} ms")


if __name__ == "__main__":
    main()
