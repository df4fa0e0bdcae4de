"""A scan's own noise: the flow of an anatomy model run backwards.

A random brain starts as a mixture of subjects in the common anatomy, A_w + noise, is deformed by
phi_w, and a flow F turns it into a brain with clean folds. For a scan S the equation

    F(finished((A_w + n)(phi_w(x)))) = S(x)

is solved for the noise n, which stays in the common anatomy: an edit of w deforms it, and the flow
draws the folds anew where they then lie. The flow adds a small velocity to its input, so the
fixed-point iteration n <- n + a (S - F)(phi_w^-1) converges (as residual networks are inverted:
Behrmann et al. 2019, arXiv 1811.00995), with smaller steps a in the few places where the velocity
is not small, and needs no gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.model.generator import network_of
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.deformation import exponential, read_at
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.search import Phase, SearchStep
from stylegan3d.projection.settings import TUNED
from stylegan3d.recipe.latents import CONSTANT, OPENED

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.projection.problem import Problem

ITERATIONS, RATE = 24, 0.8
# Voxels along the edge of the cubes in which it is seen whether a step has helped.
AROUND = 9
# Cost of an iteration and of all in search steps, measured on the bundled generator.
STEP_COST = 1.0
COST = ITERATIONS * STEP_COST


class OwnNoise:
    """Find the noise by iterating over it; afterwards `changed` holds the tensors by name.

    Parameters
    ----------
    problem : Problem
        A problem of a generator that `has_own_noise`; its latent is found before the first step.
    """

    phase: Phase = "own noise"
    cost = COST

    def __init__(self, problem: Problem) -> None:
        network = network_of(problem.generator)
        assert isinstance(network, AnatomyNetwork)
        self.problem, self._network = problem, network
        self.changed: dict[str, Tensor] = {}

    @torch.no_grad()
    def __iter__(self) -> Iterator[SearchStep]:
        problem, network = self.problem, self._network
        w = problem.w.detach()[None]
        x, y, z = problem.scan.shape[2:]
        velocity = network.velocity(w)
        there, back = (network.points(exponential(sign * velocity), (x, y, z)) for sign in (1, -1))
        mixture = inverse_haar(network.canonical(w))
        steps = _Steps(read_at(problem.scan, back) - mixture)
        nearest: float | None = None
        for done in range(1, ITERATIONS + 1):
            made = self._drawn(mixture + steps.noise, there)
            loss = float(problem.difference(made))
            if nearest is None or loss < nearest:
                nearest = loss
                self.changed = {
                    CONSTANT: network.image_const + haar(steps.noise)[0],
                    OPENED: torch.ones_like(network.flow.opened),
                }
            left = ITERATIONS - done
            yield SearchStep(loss, -1, made, done * STEP_COST, left * STEP_COST, left)
            steps.take(read_at(problem.scan - made, back))

    def _drawn(self, image: Tensor, points: Tensor) -> Tensor:
        """The brain of an image in the common anatomy, after deformation and flow."""
        network = self._network
        before = network.finished(read_at(image, points))
        return network.flow(before, None, network.config.flow_steps)


class _Steps:
    """The iteration, which goes back and takes smaller steps wherever the difference grows.

    Parameters
    ----------
    noise : Tensor, shape (1, 1, X, Y, Z)
        To begin with.
    """

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise
        self._kept, self._rest = noise, torch.zeros_like(noise)
        self._least = torch.full_like(noise, torch.inf)
        self._rate = torch.full_like(noise, RATE)

    def take(self, rest: Tensor) -> None:
        """Take a step, with the difference from the scan that the noise leaves."""
        size = F.avg_pool3d(rest.square(), AROUND, 1, AROUND // 2)
        helped = size <= self._least
        self._kept = torch.where(helped, self.noise, self._kept)
        self._rest = torch.where(helped, rest, self._rest)
        self._least = torch.minimum(size, self._least)
        self._rate = torch.where(helped, self._rate, self._rate / 2)
        self.noise = self._kept + self._rate * self._rest


def asks_own_noise(space: str, budget: str) -> bool:
    """Whether these choices ask for a scan's own noise, where it can be found."""
    return space == "w+noise" or budget in TUNED


def fits_layer_noise(generator: Generator, space: str, method: str) -> bool:
    """Whether these choices fit the noise maps of layers, as where no own noise can be found."""
    return method == "original" or (space == "w+noise" and not generator.has_own_noise)


def finds_own_noise(problem: Problem) -> bool:
    """Whether it can be found for a scan: only where nothing of it is hidden or degraded."""
    return problem.generator.has_own_noise and isinstance(problem.operator, Identity)
