"""Uncertainty of a projection: how much the result depends on the start of the search.

The search is repeated from other starting points, with other layer noise. Where the results agree,
scan and model determine them; elsewhere the result is one of several solutions. Agreement is no
proof: what the model cannot represent is missing from all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.model.generator import Generator
from stylegan3d.networks.noise import Noise
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.projector import Aligned, project
from stylegan3d.projection.settings import QUICK, Choices, Space
from stylegan3d.projection.signs import first_guess
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer

RESTARTS, NOISE_DRAWS = 4, 2
#: Start of a restart: share of the way from the initial estimate to a random brain.
AWAY = 0.5


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Summary of several searches.

    Attributes
    ----------
    mean, deviation : ndarray, shape (X, Y, Z)
        Mean and standard deviation of all results, in display units.
    latents : Tensor, shape (restarts, num_layers, w_dim)
        Results of the searches.
    noise_draws : int
        Number of renderings of each, with different layer noise.
    seconds : float
        Time taken.
    """

    mean: np.ndarray
    deviation: np.ndarray
    latents: Tensor
    noise_draws: int
    seconds: float


def uncertainty(
    generator: Generator,
    aligned: Aligned | np.ndarray,
    *,
    restarts: int = RESTARTS,
    noise_draws: int = NOISE_DRAWS,
    away: float = AWAY,
    space: Space = Choices.space,
    budget: str = QUICK,
    steps: int | None = None,
    channel: int = 0,
    operator: Operator | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Uncertainty:
    """Project a scan several times from different starting points.

    Parameters
    ----------
    aligned, space, budget, steps, channel, operator : object
        See `project`.
    restarts : int
        Number of searches; each begins at the initial estimate moved by `away` (0 to 1) towards
        another random brain, with its own layer noise.
    noise_draws : int
        Renderings of each result with different noise; 1 if the generator ignores noise.
    seed : int
        Seed of the random brains and the noise.
    progress : Progress
        If cancelled, the searches done so far are summarised if there are two or more.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than two restarts, or `away` is not within 0 to 1.
    """
    if restarts < 2 or not 0 <= away <= 1 or noise_draws < 1:
        raise StyleGAN3DError(
            "The uncertainty needs at least 2 restarts, at least 1 noise draw each, and a start 0 "
            f"to 1 of the way to a random brain, not {restarts}, {noise_draws} and {away}."
        )
    began = time.perf_counter()
    draws = noise_draws if generator.has_layer_noise else 1
    if generator.has_own_noise and space == "w+noise":
        space = "w+"  # with its own noise every result is the scan
    renderer = Renderer(generator)
    starts = _starts(generator, aligned, restarts, away, seed)
    latents: list[Tensor] = []
    volumes: list[np.ndarray] = []
    for number, start in enumerate(starts):
        noise: Noise = seed + number if generator.has_layer_noise else "none"
        found = project(
            generator,
            aligned,
            space=space,
            budget=budget,
            steps=steps,
            noise="fixed" if space == "w+noise" else noise,
            channel=channel,
            operator=operator,
            start=start,
            progress=progress.part(number, 1, restarts),
        )
        if progress.cancelled and len(latents) >= 2:
            break
        latents.append(found.w)
        for draw in range(draws):
            shown: Noise = seed + number + restarts * draw if generator.has_layer_noise else "none"
            rendered = renderer.render(found.w, "full", shown, channel, delta=found.delta)
            volumes.append(rendered.volume)
    stack = np.stack(volumes)
    deviation = stack.std(axis=0, ddof=1, dtype=np.float64).astype(np.float32)
    seconds = time.perf_counter() - began
    return Uncertainty(stack.mean(axis=0), deviation, torch.stack(latents), draws, seconds)


def _starts(
    generator: Generator, aligned: Aligned | np.ndarray, count: int, away: float, seed: int
) -> list[Tensor]:
    """[num_layers, w_dim] each."""
    volume = aligned if isinstance(aligned, np.ndarray) else aligned.volume
    random = seed_latents(generator, range(seed, seed + count))
    guess = None
    if volume.shape == generator.shape:
        guess = first_guess(generator, volume, generator.template).w
    begin = generator.w_avg.expand(generator.num_layers, -1) if guess is None else guess
    return list(torch.lerp(begin, random, away))
