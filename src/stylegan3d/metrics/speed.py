"""How long a volume takes on this machine."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import torch

from stylegan3d.generator import Generator, seed_latents
from stylegan3d.memory import keep_large_blocks
from stylegan3d.renderer import EXACT, Renderer, Way


@torch.no_grad()
def measure_speed(generator: Generator, repeats: int = 15) -> dict[str, Any]:
    """Median time of a full volume and of a half-resolution preview, in two precisions.

    Measured is the synthesis network from w to image with the noise stored in the model, one
    volume at a time, after two that do not count; a preview leaves out what the renderer leaves out
    of it. Other work on the machine shows.

    Returns
    -------
    dict
        "full" and "preview": milliseconds by precision, "bfloat16" and "float32" (None where a
        precision has no kernels); "device", "threads", "repeats".
    """
    keep_large_blocks()
    renderer = Renderer(generator)
    w = seed_latents(generator, range(repeats + 2))
    result: dict[str, Any] = {
        "device": str(generator.device),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
    }
    for quality, way in (("full", EXACT), ("preview", renderer.preview_way(w[:1]))):
        result[quality] = {
            str(dtype).removeprefix("torch."): _median_ms(
                generator, w, dataclasses.replace(way, dtype=dtype)
            )
            for dtype in (torch.bfloat16, torch.float32)
        }
    return result


def _median_ms(generator: Generator, w: torch.Tensor, way: Way) -> float | None:
    seconds = []
    try:
        for row in w:
            _wait(generator)
            started = time.perf_counter()
            generator.synthesis(row[None], "fixed", way.level, way.dtype, draft=way.draft)
            _wait(generator)
            seconds.append(time.perf_counter() - started)
    except RuntimeError:  # an operation without a kernel of this precision here
        return None
    return 1000 * statistics.median(seconds[2:])


def _wait(generator: Generator) -> None:
    if generator.device.type == "cuda":
        torch.cuda.synchronize(generator.device)
