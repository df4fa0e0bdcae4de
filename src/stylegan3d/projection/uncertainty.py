"""What a projection leaves open: how much the result changes with where the search begins.

The search is begun again at other places, with other layer noise. Where the results agree, the scan
and the model determine them; where they do not, what is shown is one of several answers. Agreement
is no proof: what the model cannot show at all is missing from every one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.model.generator import Generator
from stylegan3d.networks.noise import Noise
from stylegan3d.progress import Progress
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.projector import Aligned, project
from stylegan3d.projection.signs import first_guess
from stylegan3d.recipe.drawing import seed_latents
from stylegan3d.render.renderer import Renderer
from stylegan3d.settings.projection import QUICK, Choices, Space

RESTARTS, NOISE_DRAWS = 4, 2
#: How far a restart begins from the first guess towards a random brain.
AWAY = 0.5


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """The results of several searches, summed up.

    Attributes
    ----------
    mean, deviation : ndarray, shape (X, Y, Z)
        In display units, of all results; the deviation is the standard one between them.
    latents : Tensor, shape (restarts, num_layers, w_dim)
        What the searches found.
    noise_draws : int
        How often each was shown, with other layer noise.
    seconds : float
        That it took.
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
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Uncertainty:
    """Project a scan several times from different places.

    Parameters
    ----------
    aligned, space, budget, steps, channel, operator : object
        See `project`.
    restarts : int
        Searches; each begins at the first guess moved by `away` (0 to 1) towards another random
        brain, and has layer noise of its own.
    noise_draws : int
        How often each result is shown with other noise; 1 where the generator has learned to do
        without.
    seed : int
        Seed of the random brains and the noise.
    progress : Progress or None
        Called with how much is done and how much there is.
    should_stop : callable or None
        Asked after every step; what is there then is summed up, if it is two or more.

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
            progress=_part(progress, number, restarts),
            should_stop=should_stop,
        )
        if should_stop is not None and should_stop() and len(latents) >= 2:
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


def _part(progress: Progress | None, number: int, count: int) -> Callable[[object], None] | None:
    """Progress of one search as a part of all of them."""
    if progress is None:
        return None

    def report(state: object) -> None:
        progress(number + float(getattr(state, "work", 0.0)), count)

    return report
