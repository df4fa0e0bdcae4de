"""Synthesis time on this machine."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch

from stylegan3d.evaluation.material import Material
from stylegan3d.memory import keep_large_blocks
from stylegan3d.metrics.intervals import bootstrap, median
from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import EXACT, Renderer, RenderMode


def speed(material: Material) -> Json:
    """Milliseconds per volume."""
    material.report(0, 1, "Speed")
    return measure_speed(material.generator)


@torch.no_grad()
def measure_speed(generator: Generator, repeats: int = 15) -> Json:
    """Median time of a full volume and of a half-resolution preview, in two precisions.

    Time of the synthesis network from w to image with stored noise, one volume at a time, after two
    warm-up runs; previews as made by the renderer. Affected by other load on the machine.

    Returns
    -------
    dict
        "full" and "preview": milliseconds by precision, "bfloat16" and "float32" (None if not
        supported); "intervals" of these medians; "device", "threads", "repeats".
    """
    keep_large_blocks()
    renderer = Renderer(generator)
    w = seed_latents(generator, range(repeats + 2))
    intervals: dict[str, Json] = {}
    result: Json = {
        "device": str(generator.device),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
    }
    for quality, way in (("full", EXACT), ("preview", renderer.preview_way(w[:1]))):
        result[quality], intervals[quality] = {}, {}
        for dtype in (torch.bfloat16, torch.float32):
            name = str(dtype).removeprefix("torch.")
            found = _milliseconds(generator, w, dataclasses.replace(way, dtype=dtype))
            result[quality][name] = None if found is None else median(found)
            intervals[quality][name] = None if found is None else bootstrap(median, found)
    return result | {"intervals": intervals}


def _milliseconds(generator: Generator, w: torch.Tensor, way: RenderMode) -> np.ndarray | None:
    seconds = []
    try:
        for row in w:
            _wait(generator)
            started = time.perf_counter()
            generator.synthesis(row[None], "fixed", way.level, way.dtype, draft=way.draft)
            _wait(generator)
            seconds.append(time.perf_counter() - started)
    except RuntimeError:  # an operation is not supported in this precision
        return None
    return 1000 * np.array(seconds[2:])


def _wait(generator: Generator) -> None:
    if generator.device.type == "cuda":
        torch.cuda.synchronize(generator.device)
