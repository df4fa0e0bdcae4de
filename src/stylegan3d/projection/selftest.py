"""A model's self-test: project brains whose latents are known.

A synthetic brain comes from the model itself, so every difference is the search's fault; a real
scan can only do worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.projection.objective import LatentPrior
from stylegan3d.projection.projector import project
from stylegan3d.projection.settings import QUICK, Space
from stylegan3d.recipe.drawing import TRUNCATION, seed_latents
from stylegan3d.render.renderer import Renderer

SEEDS = (0, 1, 2)
FOREGROUND = 0.05


def self_test(
    generator: Generator,
    *,
    seeds: Sequence[int] | None = None,
    truncation: float = TRUNCATION,
    space: Space = "w",
    budget: str = QUICK,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Json:
    """Generate brains from seeds, project them, and compare.

    Parameters
    ----------
    seeds : sequence of int or None
        One brain each, with this `truncation`; three by default.
    space, budget, steps : Space, str, int or None
        See `project`. In W+ the latent error means little: rows contain components that their layer
        does not use, which stay arbitrary.
    progress : Progress or None
        Called with how much is done and how much there is.

    Returns
    -------
    dict
        "brains": for each the "seed", "similarity" to what was made, "mean_brain" for comparison,
        the "latent_error" (root mean square over the principal directions of w, each in its own
        standard deviation, divided by that of the true latent: 0 is exact, 1 as far off as the
        average brain), "seconds". The medians of "ssim", "psnr" and "latent_error". "settings".
    """
    seeds = SEEDS if seeds is None else seeds
    prior = LatentPrior.of(generator)
    renderer = Renderer(generator)
    rows: list[Json] = []
    for number, seed in enumerate(seeds):
        w = seed_latents(generator, [seed], truncation)[0]
        volume = np.clip(renderer.render(w, "full", "fixed").volume, 0, 1)
        mask = volume > FOREGROUND

        def report(state: Any, number: int = number) -> None:
            if progress is not None:
                progress(number + state.work, len(seeds))

        found = project(generator, volume, space=space, budget=budget, steps=steps, progress=report)
        away = prior.whiten(found.w.to(prior.mean)) - prior.whiten(w.to(prior.mean))
        rows.append(
            {
                "seed": seed,
                "similarity": similarity(found.volume, volume, mask),
                "mean_brain": found.trust["mean_brain"],
                "latent_error": float(away.square().mean().sqrt()) / prior.distance(w),
                "seconds": found.seconds,
            }
        )
    return {
        "ssim": float(np.median([row["similarity"]["ssim"] for row in rows])),
        "psnr": float(np.median([row["similarity"]["psnr"] for row in rows])),
        "latent_error": float(np.median([row["latent_error"] for row in rows])),
        "brains": rows,
        "settings": {"space": space, "budget": budget, "steps": steps, "truncation": truncation},
    }
