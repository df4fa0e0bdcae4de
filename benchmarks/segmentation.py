"""How long labelling a brain takes, beside rendering it: python benchmarks/segmentation.py

Median of repeated runs on this machine with all its cores, in float32 and in the precision that
is fastest here, for the labels alone and with the network's confidence.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from _same import require

from stylegan3d import load
from stylegan3d.devices import measured_dtype
from stylegan3d.model.sampling import packed_synthesis
from stylegan3d.recipe.model import seed_latents
from stylegan3d.segmentation.inference import bundled_segmenter

REPEATS = 15
#: Of the brain's voxels, so many may have another label in a faster precision: those between two.
SAME_LABELS = 0.01


def milliseconds(work: Callable[[], object]) -> float:
    """Median over repeats, after two that warm up."""
    times = []
    for repeat in range(REPEATS + 2):
        started = time.perf_counter()
        work()
        if repeat >= 2:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    generator, segmenter = load(device="cpu"), bundled_segmenter()
    w = seed_latents(generator, [0], 0.7)
    volume, space = packed_synthesis(generator, w), generator.space
    print(f"{torch.get_num_threads()} threads, {volume.shape} voxels")
    print(f"synthesis, float32: {milliseconds(lambda: packed_synthesis(generator, w)):.0f} ms")
    exact = segmenter.segment(volume, space).labels
    for dtype in dict.fromkeys((torch.float32, measured_dtype(torch.device("cpu")))):
        labels = segmenter.segment(volume, space, dtype=dtype).labels
        require(float((labels != exact)[exact > 0].mean()), f"labels, {dtype}", SAME_LABELS)
        for confidence in (False, True):
            label = partial(segmenter.segment, volume, space, dtype=dtype, confidence=confidence)
            spent = milliseconds(label)
            told = ", with confidence" if confidence else ""
            print(f"labels, {str(dtype).removeprefix('torch.')}{told}: {spent:.0f} ms")


if __name__ == "__main__":
    main()
