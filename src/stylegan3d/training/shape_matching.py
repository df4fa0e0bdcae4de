"""Weights of a flow for which what is measured of random brains has the means of the subjects.

Trained by least squares, a flow leaves random brains a little smoother, thinner or more uneven than
people. Each difference is small; together they tell which brain is random. The smallest change of
the weights that removes all of them together is found by Gauss and Newton's method: the slopes of
the means are averages over a few random brains, the differences are weighed by how much subjects
differ (Mahalanobis 1936), the change is damped (Levenberg 1944; Marquardt 1963, SIAM Journal 11),
and what a step really did corrects the slopes (Broyden 1965, Mathematics of Computation 19).

Measured are tissue shapes (`measures.tissue_shape`) and, so that nothing else is spoiled, averages
of features of the network that labels regions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.flow import Flow
from stylegan3d.recipe.drawing import seed_latents
from stylegan3d.training.flow_pairs import without_flow

# Random brains, with seeds outside the usual range.
FIRST_SEED = 4_000_000
# Variance, in those of subjects, that is added to each combination of measures: the stand-ins are
# not exact enough for combinations in which subjects hardly differ.
FLOOR = 0.02
# Components of features that are compared, how many of them are matched, and their weight.
COMPONENTS, MATCHED, WEIGHT = 192, 48, 0.3
# Damping at first, in squares of slopes, and its factors after a step that helped or did not.
DAMPING, EASED, TIGHTENED = 300.0, 0.7, 3.0
# Share of new slopes in their average with earlier ones, and trials with the same slopes.
NEW, TRIALS = 0.6, 3


class Measure(Protocol):
    """What is measured of brains, twice: as it is judged, and so that it can be differentiated."""

    def of(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        """[n, measures] of volumes of a pack, as they are judged."""

    def soft(self, image: Tensor) -> Tensor:
        """[measures] of an image (X, Y, Z) in [0, 1], which change as those that are judged."""


@dataclass(frozen=True)
class MatchSettings:
    """How a flow is matched.

    Attributes
    ----------
    rounds : int
        How many times slopes are found.
    brains : int
        Random brains whose measures are compared with those of subjects.
    slopes : int
        Random brains from which slopes are found in each round.
    judged : int
        Random brains on which a step is judged.
    """

    rounds: int = 4
    brains: int = 100
    slopes: int = 5
    judged: int = 14

    def __post_init__(self) -> None:
        if min(self.rounds, self.slopes, self.judged) < 1 or self.brains < 10:
            raise ModelError(
                "Matching a flow needs at least a round, a brain for slopes, one to judge, and ten "
                "to compare with subjects."
            )


@dataclass(frozen=True, eq=False)
class Matched:
    """What `match_flow` found.

    Attributes
    ----------
    flow : Flow
        With the new weights.
    before, after : float
        Squared distance of the means of random brains from those of subjects, expected on the
        judged brains.
    steps : int
        Steps that helped; the flow is as before if there are none.
    """

    flow: Flow
    before: float
    after: float
    steps: int


class Differences:
    """Measures of random brains as numbers that are 0 where their means are those of subjects.

    Parameters
    ----------
    people, random : sequence of ndarray, shapes (n, measures), (m, measures)
        For each measure: subjects and random brains. The first is matched in all its combinations,
        the others in those in which both differ most.

    Attributes
    ----------
    start : Tensor
        Of the random brains.
    """

    def __init__(self, people: Sequence[np.ndarray], random: Sequence[np.ndarray]) -> None:
        self.maps = []
        for k, (ours, theirs) in enumerate(zip(random, people, strict=True)):
            apart = ours.mean(axis=0) - theirs.mean(axis=0)
            if k:
                self.maps.append(WEIGHT * _most_different(ours, theirs, apart))
            else:
                self.maps.append(_all_combinations(ours, theirs))
        means = [r.mean(axis=0) - p.mean(axis=0) for r, p in zip(random, people, strict=True)]
        self.start = torch.from_numpy(
            np.concatenate([way @ mean for way, mean in zip(self.maps, means, strict=True)])
        )

    def of(self, measured: Sequence[Tensor]) -> Tensor:
        """The part of the numbers that changes with the measures of one brain, float64."""
        found = [
            torch.from_numpy(way) @ values.double()
            for way, values in zip(self.maps, measured, strict=True)
        ]
        return torch.cat(found)


def _spread(*sets: np.ndarray) -> np.ndarray:
    """Mean of the covariances of sets of rows."""
    return np.atleast_2d(np.mean([np.cov(rows.T) for rows in sets], axis=0))


def _scale(rows: np.ndarray) -> np.ndarray:
    deviation = rows.std(axis=0)
    return np.where(deviation > 0, deviation, 1.0)


def _all_combinations(random: np.ndarray, people: np.ndarray) -> np.ndarray:
    """[combinations, measures] of deviation 1."""
    scale = _scale(people)
    variances, ways = np.linalg.eigh(_spread(random / scale, people / scale))
    return np.asarray((ways / np.sqrt(variances + FLOOR)).T / scale)


def _most_different(random: np.ndarray, people: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The principal components of deviation 1 in which both differ most."""
    scale = _scale(people)
    variances, ways = np.linalg.eigh(_spread(random / scale, people / scale))
    largest = np.argsort(-variances)[: min(COMPONENTS, len(people) - 1)]
    largest = largest[variances[largest] > 1e-6 * variances.max()]
    ways = (ways[:, largest] / np.sqrt(variances[largest])).T / scale
    return np.asarray(ways[np.argsort(-np.abs(ways @ apart))[:MATCHED]])


def match_flow(
    generator: Generator,
    pack: Pack,
    measures: Sequence[Measure],
    settings: MatchSettings | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Matched:
    """Weights of an anatomy model's flow with which random brains measure like subjects.

    At 2 mm, with two cores: about half an hour.

    Parameters
    ----------
    generator : Generator
        An anatomy model with a flow.
    pack : Pack
        The data set it was trained on; its training subjects are compared.
    measures : sequence of Measure
        What is compared; see `Differences`.
    settings : MatchSettings or None
        How many brains.
    report : callable
        Told of each step in a sentence.

    Raises
    ------
    ModelError
        If it has no flow.
    """
    settings = settings or MatchSettings()
    network = anatomy_network(generator)
    if not network.config.flow_channels:
        raise ModelError(f"'{generator.name}' has no flow to match: train one with `train flow`.")
    drawing = _Drawing(generator, network)
    flow = copy.deepcopy(network.flow)
    seeds = range(FIRST_SEED, FIRST_SEED + settings.brains)
    with torch.no_grad():
        made = [_stored(drawing(flow, seed)) for seed in seeds]
    people = [pack.volumes[row] for row in pack.indices("train")]
    differences = Differences(
        [measure.of(people) for measure in measures], [measure.of(made) for measure in measures]
    )
    search = _Search(drawing, measures, differences, settings)
    return search.run(flow, report)


def _stored(image: Tensor) -> np.ndarray:
    """An image (X, Y, Z) in [0, 1] as a volume of a pack, uint8."""
    return (image * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


class _Drawing:
    """Random brains, drawn with any flow."""

    def __init__(self, generator: Generator, network: AnatomyNetwork) -> None:
        self.network, self.plain = network, without_flow(generator)

    def __call__(self, flow: Flow, seed: int) -> Tensor:
        """The image (X, Y, Z) in [0, 1] of a seed, cut off at 1 as in a file."""
        with torch.no_grad():
            start = self.plain.synthesis(seed_latents(self.plain, [seed]), "none")
        *_, noise = self.network.noise_maps(seed)
        image = flow(start, noise, self.network.config.flow_steps)[0, 0]
        return ((image + 1) / 2).clamp(0, 1)


class _Search:
    """Gauss-Newton steps; what they reach is judged on the same brains each time."""

    def __init__(
        self,
        drawing: _Drawing,
        measures: Sequence[Measure],
        differences: Differences,
        settings: MatchSettings,
    ) -> None:
        self.drawing, self.measures = drawing, measures
        self.differences, self.settings = differences, settings
        self.judged = range(FIRST_SEED, FIRST_SEED + settings.judged)
        self.next_seed = FIRST_SEED + settings.brains

    def run(self, flow: Flow, report: Callable[[str], None]) -> Matched:
        weights = _weights(flow)
        first = self._measured(flow)
        now = self.differences.start
        before = float(now @ now)
        slopes, damping, steps = None, DAMPING, 0
        for round_ in range(self.settings.rounds):
            found = self._slopes(flow)
            slopes = found if slopes is None else slopes + NEW * (found - slopes)
            for _ in range(TRIALS):
                step = _step(slopes, now, damping)
                trial = _with_weights(flow, weights + step)
                reached = self.differences.start + self._measured(trial) - first
                missed = reached - now - slopes @ step
                slopes = slopes + torch.outer(missed, step) / (step @ step)
                helps = float(reached @ reached) < float(now @ now)
                report(
                    f"Round {round_ + 1}: squared distance {float(now @ now):.2f}, "
                    f"{float(reached @ reached):.2f} after a step that "
                    f"{'is taken' if helps else 'is not taken'}."
                )
                damping *= EASED if helps else TIGHTENED
                if helps:
                    flow, weights, now, steps = trial, weights + step, reached, steps + 1
        return Matched(flow, before, float(now @ now), steps)

    @torch.no_grad()
    def _measured(self, flow: Flow) -> Tensor:
        """Mean of the differences' changing part over the judged brains."""
        return torch.stack([self._of(self.drawing(flow, seed)) for seed in self.judged]).mean(dim=0)

    def _of(self, image: Tensor) -> Tensor:
        return self.differences.of([measure.soft(image) for measure in self.measures])

    def _slopes(self, flow: Flow) -> Tensor:
        """[differences, weights]: how each changes with each weight, on average."""
        flow = copy.deepcopy(flow)
        weights = list(flow.parameters())
        for weight in weights:
            weight.requires_grad_(True)
        total: Tensor | None = None
        for _ in range(self.settings.slopes):
            found = self._of(self.drawing(flow, self.next_seed))
            self.next_seed += 1
            rows = []
            for k, value in enumerate(found):
                slopes = torch.autograd.grad(
                    value, weights, retain_graph=k < len(found) - 1, materialize_grads=True
                )
                rows.append(torch.cat([slope.flatten() for slope in slopes]))
            total = torch.stack(rows) if total is None else total + torch.stack(rows)
        assert total is not None
        return total.double() / self.settings.slopes


def _step(slopes: Tensor, differences: Tensor, damping: float) -> Tensor:
    """The smallest change of the weights that removes the differences, damped."""
    square = slopes @ slopes.T
    square += damping * torch.eye(len(square), dtype=square.dtype)
    return -slopes.T @ torch.linalg.solve(square, differences)


def _weights(flow: Flow) -> Tensor:
    return torch.nn.utils.parameters_to_vector(flow.parameters()).detach().double()


def _with_weights(flow: Flow, weights: Tensor) -> Flow:
    flow = copy.deepcopy(flow)
    torch.nn.utils.vector_to_parameters(weights.float(), flow.parameters())
    return flow.requires_grad_(False)
