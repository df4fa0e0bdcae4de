"""Weights of a flow for which what is measured of random brains has the means of the subjects.

Trained by least squares, a flow leaves random brains a little smoother, thinner or more uneven than
people. Each difference is small; together they tell which brain is random. The smallest change of
the weights that removes all of them together is found by Gauss and Newton's method: the slopes of
the means are averages over a few random brains, the differences are weighed by how much subjects
differ (Mahalanobis 1936), the change is damped (Levenberg 1944; Marquardt 1963, SIAM Journal 11),
and what a step really did corrects the slopes (Broyden 1965, Mathematics of Computation 19).

Measured are tissue shapes (`measures.tissue_shape`) and, so that nothing else is spoiled, averages
of features of the network that labels regions.

`soft_tissue_shape` is `tissue_shape` as a function that can be differentiated by the intensities.
Labels, and what is found in whole voxels, are constants of the moment. The border of grey and white
matter is soft over a share of their contrast, so that faces, holes and islands follow the
intensities; distances to it follow the intensity of the voxel where they end, and what depends on
the end of tissue follows the probabilities of the network that labels. Of random brains of the
bundled model, each measure correlates with the hard one at 0.9 or more. Slopes are theirs; steps
are judged by the hard ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import Json, ModelError
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import Space, as_packed, dilated, eroded, unit
from stylegan3d.measures import tissue_shape
from stylegan3d.measures.regions import region_masks
from stylegan3d.model.generator import Generator
from stylegan3d.networks.flow import Flow
from stylegan3d.networks.resampling import haar, smooth
from stylegan3d.segmentation.inference import bundled_segmenter, load_regions
from stylegan3d.segmentation.network import TissueNetwork, padded
from stylegan3d.storage.files import only_run
from stylegan3d.training.flow import flow_and_steps, flow_start, without_flow
from stylegan3d.training.options import MatchSettings
from stylegan3d.training.run import check_new, load_checkpoint, save_checkpoint, stop_signals

# Width of the soft border in contrasts: of faces, of holes, and of voxels that may become islands.
FACES, HOLES, ISLANDS = 0.08, 0.028, 0.03
# A border is looked for in voxels of distance from where it is in whole voxels.
NEAREST, FARTHEST = -1.0, 1.5
# Quantiles between which intensities stand in for their median, which has no slope.
MIDDLE = (0.4, 0.6)
LEAST = 1e-6


def soft_tissue_shape(image: Tensor, labels: np.ndarray, chances: Tensor, space: Space) -> Tensor:
    """Measure one brain.

    Parameters
    ----------
    image : Tensor, shape (X, Y, Z)
        Intensities; 1 is the 99.5th percentile of the brain and 0 is outside it.
    labels : ndarray, shape (X, Y, Z), uint8
        Its tissues, see `segmentation.classes.CLASSES`.
    chances : Tensor, shape (classes, X, Y, Z)
        Probabilities of the same tissues.
    space : Space
        Its grid; cubic voxels, axes right, anterior, superior.

    Returns
    -------
    Tensor, shape (len(TISSUE_SHAPE),)
        Stand-ins of what `tissue_shape` measures, in its order.

    Raises
    ------
    ValueError
        If a tissue is missing where it measures.
    """
    mm, sideways = float(np.mean(space.voxel_size)), space.axcodes.index("R")
    regions = region_masks(labels > 0, space)
    cerebellum = tissue_shape.in_regions(regions, labels.shape, "cerebellum")
    deep = tissue_shape.in_regions(regions, labels.shape, "deep structures", "brain stem")
    box = tissue_shape.box_of_brain(labels > 0, sideways)
    image, chances = image[box], chances[(slice(None), *box)]
    labels, cerebellum, deep = labels[box], cerebellum[box], deep[box]
    cerebrum = ~cerebellum & (labels != tissue_shape.OTHER)
    whole = _SoftTissues(image, labels, cerebrum & ~(deep & (labels == tissue_shape.GREY)), mm)
    small = _SoftTissues(image, labels, cerebellum, mm)
    found = whole.figures() | {f"cerebellar_{k}": v for k, v in small.figures().items()}
    folds = smooth(image[None, None], tissue_shape.FOLDS_MM[0] / mm) - smooth(
        image[None, None], tissue_shape.FOLDS_MM[1] / mm
    )
    folds = folds[0, 0]
    found["fold_strength"] = folds[whole.both].std() / whole.contrast
    cortex = whole.grey & ~deep
    outside = whole.both.numpy() & ~deep
    grey = _ml((1 - whole.soft(HOLES)) * _as(outside), mm)
    found["grey_islands"] = _islands(whole, cortex, outside, -1) / grey
    tissue = np.isin(labels, (tissue_shape.GREY, tissue_shape.WHITE, tissue_shape.OTHER))
    soft_tissue = chances[[tissue_shape.GREY, tissue_shape.WHITE, tissue_shape.OTHER]].sum(dim=0)
    both = tissue & cerebrum
    both &= np.flip(both, sideways)
    there = torch.from_numpy(both)
    pair = torch.stack([folds[there], folds.flip(sideways)[there]])
    found["likeness"] = torch.corrcoef(pair)[0, 1]
    through = _through(whole, cortex, tissue, soft_tissue)
    found |= {"thickness": through.mean(), "thickness_spread": through.std()}
    depth = tissue_shape.depth_in_hull(tissue | (labels == tissue_shape.VENTRICLE), np.full(3, mm))[
        1:-1, 1:-1, 1:-1
    ]
    sulci = (1 - soft_tissue - chances[tissue_shape.VENTRICLE]).clamp(min=0) * _as(depth > 0)
    found["sulcal_depth"] = (sulci * _as(depth)).sum() / sulci.sum().clamp(min=LEAST)
    found["sulcal_share"] = sulci.sum() / float((depth > 0).sum())
    return torch.stack([found[key] for key in tissue_shape.TISSUE_SHAPE])


class _SoftTissues:
    """Grey and white matter of one region, divided where the image is as bright as their mean."""

    def __init__(self, image: Tensor, labels: np.ndarray, region: np.ndarray, mm: float) -> None:
        self.image, self.mm = image, mm
        labelled = [
            torch.from_numpy((labels == tissue) & region)
            for tissue in (tissue_shape.GREY, tissue_shape.WHITE)
        ]
        if not all(part.any() for part in labelled):
            raise ValueError("Grey or white matter is missing.")
        dark, bright = (_median(image[part]) for part in labelled)
        self.contrast, self.border = bright - dark, (dark + bright) / 2
        if self.contrast.item() <= 0:
            raise ValueError("Grey matter is as bright as white matter.")
        self.both = labelled[0] | labelled[1]
        intensities = image.detach().numpy()
        middle = np.mean([float(np.median(intensities[part.numpy()])) for part in labelled])
        self.white = self.both.numpy() & (intensities > middle)
        self.grey = self.both.numpy() & ~self.white

    def soft(self, width: float) -> Tensor:
        """How much of each voxel is white matter; `width` of the border in contrasts."""
        return torch.sigmoid((self.image - self.border) / (width * self.contrast)) * self.both

    def figures(self) -> dict[str, Tensor]:
        """By the keys of `tissue_shape.OF_EACH`."""
        white = self.soft(FACES)
        islands = _islands(self, self.white, self.both.numpy(), 1) / _ml(white, self.mm)
        inner = tissue_shape.at_least(eroded(self.white), self.white)
        outer = tissue_shape.at_least(self.grey & ~dilated(self.white), self.grey)
        within, around = (self.image[torch.from_numpy(part)] for part in (inner, outer))
        spread = ((within.var() + around.var()) / 2).clamp(min=LEAST**2).sqrt()
        return {
            # Euler's number is pieces minus handles plus cavities.
            "holes": islands - _euler(self.soft(HOLES)) / _ml(self.soft(HOLES), self.mm),
            "islands": islands,
            "surface": self._faces(white) * self.mm**2 / _ml(white, self.mm),
            "separation": (within.mean() - around.mean()) / spread,
            "gradient": self.gradient(),
            "white_uneven": self._uneven(inner),
            "grey_uneven": self._uneven(outer),
        }

    def gradient(self) -> Tensor:
        """Contrasts per millimetre at the border."""
        border = torch.from_numpy(dilated(self.grey) & self.white)
        slopes = torch.stack([s[border] for s in torch.gradient(self.image, spacing=self.mm)])
        return slopes.square().sum(dim=0).clamp(min=LEAST**2).sqrt().mean() / self.contrast

    def _faces(self, white: Tensor) -> Tensor:
        grey, total = self.both.float() - white, white.new_zeros(())
        for axis, n in enumerate(white.shape):
            for first, second in ((white, grey), (grey, white)):
                total = total + (first.narrow(axis, 1, n - 1) * second.narrow(axis, 0, n - 1)).sum()
        return total

    def _uneven(self, part: np.ndarray) -> Tensor:
        """Deviation from the mean of the same tissue around."""
        there, sigma = _as(part), tissue_shape.SURROUNDINGS_MM / self.mm
        weight, around = (smooth(x[None, None], sigma)[0, 0] for x in (there, there * self.image))
        differs = self.image - around / weight.clamp(min=LEAST)
        return differs[torch.from_numpy(part)].std() / self.contrast


def _as(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _ml(part: Tensor, mm: float) -> Tensor:
    return part.sum().clamp(min=1) * (mm**3 / 1000)


def _median(values: Tensor) -> Tensor:
    low, high = np.quantile(values.detach().numpy(), MIDDLE).tolist()
    return values[(values >= low) & (values <= high)].mean()


def _euler(white: Tensor) -> Tensor:
    """The Euler number, where a cell is there as much as all its voxels are."""
    total = white.new_zeros(())
    for doubled in product((False, True), repeat=3):
        cells = white
        for axis in np.flatnonzero(doubled).tolist():
            n = cells.shape[axis]
            cells = cells.narrow(axis, 1, n - 1) * cells.narrow(axis, 0, n - 1)
        total = total + (-1) ** sum(doubled) * cells.sum()
    return total


def _islands(tissues: _SoftTissues, part: np.ndarray, allowed: np.ndarray, sign: int) -> Tensor:
    """How many of the allowed voxels pass the border and stand out from their neighbours, apart
    from the largest piece of a part: brighter ones with sign 1, darker ones with -1."""
    pieces, count = ndimage.label(part)
    if not count:
        return tissues.image.new_zeros(())
    main = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    height = np.where(allowed, sign * tissues.image.detach().numpy(), -np.inf)
    faces = ndimage.generate_binary_structure(3, 1)
    tops = allowed & (height == ndimage.maximum_filter(height, footprint=faces))
    tops &= ~dilated(main)
    above = sign * (tissues.image[torch.from_numpy(tops)] - tissues.border)
    return torch.sigmoid(above / (ISLANDS * tissues.contrast)).sum()


def _through(
    tissues: _SoftTissues, cortex: np.ndarray, tissue: np.ndarray, soft_tissue: Tensor
) -> Tensor:
    """Thickness of the ribbon through each of its voxels, in millimetres."""
    mm = tissues.mm
    voxels = np.flatnonzero(cortex)

    def to(part: np.ndarray) -> tuple[Tensor, Tensor]:
        """Distances to the nearest voxel of a part, and which that is."""
        far, nearest = ndimage.distance_transform_edt(part, mm, return_indices=True)
        flat = np.ravel_multi_index(nearest, part.shape).ravel()[voxels]
        return _as(far.ravel()[voxels]), torch.from_numpy(flat)

    inwards, white = to(~tissues.white)
    outwards, outside = to(tissue)
    slope = (tissues.gradient() * tissues.contrast).detach()
    beyond = (tissues.image.reshape(-1)[white] - tissues.border) / slope
    # The logarithm of the odds of tissue has a slope where the probability is flat.
    odds = torch.logit(soft_tissue, eps=1e-4)
    steep = torch.stack(torch.gradient(odds.detach(), spacing=mm)).square().sum(dim=0).sqrt()
    rim = torch.from_numpy(dilated(tissue) & ~tissue)
    past = -odds.reshape(-1)[outside] / steep[rim].mean()
    ends = [end.clamp(NEAREST * mm, FARTHEST * mm) for end in (beyond, past)]
    return inwards + outwards - ends[0] - ends[1]


# Who labels the tissues, in this order.
LABELLERS: tuple[tissue_shape.Labeller, ...] = ("network", "mixture")
# Inside of the mean brain.
BRAIN = 0.1
LEAST_SQUARE = 1e-12


class TissueShapes:
    """`tissue_shape` by the bundled tissue network and by a mixture, and its soft stand-ins.

    Parameters
    ----------
    space : Space
        Grid of the volumes, one that the network knows.

    Raises
    ------
    StyleGAN3DError
        If it does not know the grid.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.segmenter = space, bundled_segmenter()
        self.segmenter.check(space)

    def of(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        """[n, measures] as `tissue_shapes` gives them, by one labeller after the other."""
        drawn = list(volumes)
        return np.hstack(
            [tissue_shape.tissue_shapes(drawn, self.space, labeller=one) for one in LABELLERS]
        )

    def soft(self, image: Tensor) -> Tensor:
        """[measures] of an image (X, Y, Z) in [0, 1]."""
        labels = self.segmenter.segment(image.detach().numpy(), self.space).labels
        found, mixed = self.segmenter.chances(image), tissue_shape.mixture_chances(image)
        ways = (labels, found), (mixed.argmax(dim=0).numpy(), mixed)
        return torch.cat([soft_tissue_shape(image, way, by, self.space) for way, by in ways])


class RegionFeatures:
    """Means and root mean squares of features of the network that labels regions.

    Of its layers on the way down, in the cerebellum and in the rest of the brain.

    Parameters
    ----------
    pack : Pack
        Its template tells where the brain is.
    """

    def __init__(self, pack: Pack) -> None:
        segmenter = load_regions(device="cpu")
        segmenter.check(pack.space)
        self.network: TissueNetwork = segmenter.network
        inside = pack.template > BRAIN
        regions = region_masks(inside, pack.space)
        cerebellum = tissue_shape.in_regions(regions, inside.shape, "cerebellum")
        self._parts = [
            padded(_as(part)[None, None], self.network.multiple)
            for part in (inside & cerebellum, inside & ~cerebellum)
        ]

    @torch.no_grad()
    def of(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        """[n, measures] of volumes of a pack."""
        return np.stack([self.soft(_as(unit(volume))).numpy() for volume in volumes])

    def soft(self, image: Tensor) -> Tensor:
        """[measures] of an image (X, Y, Z) in [0, 1]."""
        found = []
        for features in self._layers(image):
            for part in self._parts:
                share = F.avg_pool3d(part, part.shape[2] // features.shape[2])
                share = share / share.sum().clamp(min=1)
                mean, square = ((x * share).sum(dim=(2, 3, 4)) for x in (features, features**2))
                found += [mean[0], square[0].clamp(min=LEAST_SQUARE).sqrt()]
        return torch.cat(found)

    def _layers(self, image: Tensor) -> Iterator[Tensor]:
        x = haar(padded(image[None, None], self.network.multiple) * 4 - 1)
        yield x
        for block in (self.network.stem, *self.network.down):
            for layer in block:
                x = layer(x)
                yield x


# Random brains, with seeds outside the usual range.
FIRST_SEED = 4_000_000
# Variance, in those of subjects, that is added to each combination of measures: the stand-ins are
# not exact enough for combinations in which subjects hardly differ.
FLOOR = 0.02
# Components of features that are compared, how many of them are matched, and their weight.
COMPONENTS, MATCHED, WEIGHT = 192, 48, 0.3
# Of slopes: brains drawn, measured, and the sum.
NOT_BEGUN = 0, 0, torch.zeros(())
# Damping at first, in squares of slopes, and its factors after a step that helped or did not.
DAMPING, EASED, TIGHTENED = 300.0, 0.7, 3.0
# Share of new slopes in their average with earlier ones, and trials with the same slopes.
NEW, TRIALS = 0.6, 3
# Share of random brains that must have all measures: the rest is left out.
FEWEST = 0.5


class BrainMeasure(Protocol):
    """What is measured of brains, twice: as it is judged, and so that it can be differentiated."""

    def of(self, volumes: Iterable[np.ndarray]) -> np.ndarray:
        """[n, measures] of volumes of a pack, as they are judged."""

    def soft(self, image: Tensor) -> Tensor:
        """[measures] of an image (X, Y, Z) in [0, 1], which change as those that are judged."""


@dataclass(frozen=True, eq=False)
class MatchedFlow:
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
    finished : bool
        Whether all rounds are done; not if the search was stopped.
    """

    flow: Flow
    before: float
    after: float
    steps: int
    finished: bool


class Differences:
    """Measures of random brains as numbers that are 0 where their means are those of subjects.

    Parameters
    ----------
    maps : sequence of Tensor, shape (differences, measures), float64
        For each measure: its combinations, in deviations.
    start : Tensor
        All differences of the random brains that they were found from.
    """

    def __init__(self, maps: Sequence[Tensor], start: Tensor) -> None:
        self.maps, self.start = list(maps), start

    @classmethod
    def between(cls, people: Sequence[np.ndarray], random: Sequence[np.ndarray]) -> Differences:
        """Of subjects and random brains; brains without all measures are left out.

        Parameters
        ----------
        people, random : sequence of ndarray, shapes (n, measures), (m, measures)
            For each measure. The first is matched in all its combinations, the others in those in
            which both differ most.

        Raises
        ------
        ModelError
            If too few of the random brains are left.
        """
        maps, start = [], []
        for k, sets in enumerate(zip(random, people, strict=True)):
            ours, theirs = (rows[np.isfinite(rows).all(axis=1)] for rows in sets)
            _check_enough(len(ours), len(sets[0]))
            apart = ours.mean(axis=0) - theirs.mean(axis=0)
            if k:
                found = WEIGHT * _most_different(ours, theirs, apart)
            else:
                found = _all_combinations(ours, theirs)
            maps.append(torch.from_numpy(found))
            start.append(torch.from_numpy(found @ apart))
        return cls(maps, torch.cat(start))

    def of(self, measured: Sequence[Tensor]) -> Tensor:
        """The part of the numbers that changes with the measures of one brain, float64."""
        pairs = zip(self.maps, measured, strict=True)
        return torch.cat([way @ values.double() for way, values in pairs])


def _check_enough(left: int, count: int) -> None:
    """Check that enough of the random brains have all measures."""
    if left < FEWEST * count:
        raise ModelError(
            f"Only {left} of {count} random brains have all tissues that are measured, too few to "
            "match the flow: train the model for longer first."
        )


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
    folder: Path,
    *,
    measures: Sequence[BrainMeasure] | None = None,
    settings: MatchSettings | None = None,
    resume: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> MatchedFlow:
    """Weights of a model's flow with which random brains measure like subjects.

    At 2 mm, with two cores: an hour or two with one step along the flow. SIGTERM, SIGINT and
    SIGUSR1 stop it; when it is resumed, it goes on with the brain or the step that was begun.

    Random brains without all measures, such as those without a tissue, are left out.

    Parameters
    ----------
    generator : Generator
        An anatomy model, autoencoder or latent diffusion with a flow, on the CPU.
    pack : Pack
        The dataset it was trained on; its training subjects are compared.
    folder : Path
        Where the search is kept, round by round.
    measures : sequence of BrainMeasure or None
        What is compared, see `Differences`; None for tissue shapes and features of regions, which
        need volumes of 2 x 2 x 2 mm.
    settings : MatchSettings or None
        How many rounds and brains.
    resume : bool
        Continue the search in `folder`, also with more rounds than it had.
    report : callable
        Told of each step in a sentence.

    Raises
    ------
    ModelError
        If it has no flow, its grid differs from the dataset's, there is nothing to resume, a new
        search would overwrite another, the folder holds one for another generator or other
        settings, or fewer than half of the random brains have all measures.
    OutputError
        If the folder cannot be written to, or another run is writing to it.
    """
    settings = settings or MatchSettings()
    flow, steps = flow_and_steps(generator)
    if flow is None:
        raise ModelError(f"'{generator.name}' has no flow to match: train one with `train flow`.")
    pack.check_grid(generator.space, generator.name)
    if measures is None:
        measures = (TissueShapes(pack.space), RegionFeatures(pack))
    drawing = _Drawing(generator, steps)
    # 4: steps judged by what is measured, not by stand-ins.
    key = f"4 {generator.hash} {settings.brains} {settings.slopes} {settings.judged}"
    with only_run(folder):
        if resume:
            state, warning = load_checkpoint(
                folder, torch.device("cpu"), lambda data: _State.from_dict(data, flow, key)
            )
            if warning:
                report(warning)
        else:
            check_new(folder)
            report(
                f"Measuring {settings.brains} random brains and {len(pack.indices('train'))} "
                "subjects."
            )
            state = _begun(drawing, flow, pack, measures, settings)
            save_checkpoint(folder, state.to_dict(key))
        with stop_signals() as asked:
            return _Search(drawing, measures, settings, state, asked).run(folder, key, report)


def _begun(
    drawing: _Drawing,
    flow: Flow,
    pack: Pack,
    measures: Sequence[BrainMeasure],
    settings: MatchSettings,
) -> _State:
    """A search of which no round is done."""
    flow = copy.deepcopy(flow)
    seeds = range(FIRST_SEED, FIRST_SEED + settings.brains)
    with torch.no_grad():
        made = [as_packed(drawing(flow, seed).cpu().numpy()) for seed in seeds]
    people = [pack.volumes[row] for row in pack.indices("train")]
    differences = Differences.between(
        [measure.of(people) for measure in measures], [measure.of(made) for measure in measures]
    )
    return _State(flow, differences, differences.start)


@dataclass(eq=False)
class _State:
    """Where a search is: the flow, its differences, and how it came there."""

    flow: Flow
    differences: Differences
    now: Tensor
    first: Tensor | None = None
    # Seeds of the judged brains that have all measures, found with `first`.
    judged: Sequence[int] = ()
    damping: float = DAMPING
    rounds: int = 0
    steps: int = 0
    # Of the round that was begun: how many steps were tried, and the slopes until now.
    trials: int = 0
    part: tuple[int, int, Tensor] = NOT_BEGUN
    # Average of the slopes of all rounds, corrected by each step.
    slopes: Tensor | None = None

    def to_dict(self, key: str) -> Json:
        return {
            "key": key,
            "flow": self.flow.state_dict(),
            "maps": self.differences.maps,
            "start": self.differences.start,
            "now": self.now,
            "first": self.first,
            "judged": self.judged,
            "counts": [self.damping, self.rounds, self.steps, self.trials],
            "part": self.part,
            "slopes": self.slopes,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], flow: Flow, key: str) -> _State:
        if data.get("key") != key:
            raise ModelError(
                "The folder holds a search for another generator or other settings: choose another."
            )
        flow = copy.deepcopy(flow)
        flow.load_state_dict(data["flow"])
        differences = Differences(data["maps"], data["start"])
        known: Json = {name: data[name] for name in ("now", "first", "judged")}
        known |= zip(("damping", "rounds", "steps", "trials"), data["counts"], strict=True)
        return cls(flow, differences, slopes=data["slopes"], part=data["part"], **known)


class _Drawing:
    """Random brains, drawn with any flow."""

    def __init__(self, generator: Generator, steps: int) -> None:
        self.generator, self.plain, self.steps = generator, without_flow(generator), steps

    def __call__(self, flow: Flow, seed: int) -> Tensor:
        """The image (X, Y, Z) in [0, 1] of a seed, cut off at 1 as in a file."""
        with torch.no_grad():
            start = flow_start(self.generator, self.plain, flow, seed)
        return ((flow(*start, self.steps)[0, 0] + 1) / 2).clamp(0, 1)


class _Stopped(Exception):
    """A search that was asked to stop."""


@dataclass(eq=False)
class _Search:
    """Gauss-Newton steps; what they reach is judged on the same brains each time."""

    drawing: _Drawing
    measures: Sequence[BrainMeasure]
    settings: MatchSettings
    state: _State
    asked: Callable[[], bool]

    def run(self, folder: Path, key: str, report: Callable[[str], None]) -> MatchedFlow:
        state, start = self.state, self.state.differences.start
        with suppress(_Stopped):
            self._rounds(lambda: save_checkpoint(folder, state.to_dict(key)), report)
        now, finished = state.now, state.rounds >= self.settings.rounds
        return MatchedFlow(
            state.flow, float(start @ start), float(now @ now), state.steps, finished
        )

    def _rounds(self, keep: Callable[[], None], report: Callable[[str], None]) -> None:
        state = self.state
        if state.first is None:
            self._measure_first()
            keep()
        while state.rounds < self.settings.rounds:
            if not state.trials:
                slopes, known = self._slopes(keep), state.slopes
                state.slopes = slopes if known is None else known + NEW * (slopes - known)
            assert state.slopes is not None
            state.slopes = self._tried(state.slopes.double(), report).float()
            over, state.trials = divmod(state.trials + 1, TRIALS)
            state.rounds, state.part = state.rounds + over, NOT_BEGUN
            keep()

    def _tried(self, slopes: Tensor, report: Callable[[str], None]) -> Tensor:
        """Try a step, and take it if it helps; the slopes, corrected by what it did."""
        state = self.state
        assert state.first is not None
        now, before = state.now, float(state.now @ state.now)
        step = _step(slopes, now, state.damping)
        weights = torch.nn.utils.parameters_to_vector(state.flow.parameters()).detach()
        trial = _with_weights(state.flow, weights.double() + step)
        there = self._measured(trial)
        start, first = state.differences.start, state.first
        reached = now + torch.inf if there is None else start + there - first
        after = float(reached @ reached)
        told = f"Round {state.rounds + 1}: squared distance {before:.2f}, {after:.2f} after a step"
        if after < before:
            report(f"{told} that is taken.")
            state.flow, state.now, state.steps = trial, reached, state.steps + 1
            state.damping *= EASED
        else:
            report(f"{told} that is not taken.")
            state.damping *= TIGHTENED
            if not np.isfinite(after):
                return slopes
        missed = reached - now - slopes @ step
        return slopes + torch.outer(missed, step) / (step @ step)

    @torch.no_grad()
    def _measure_first(self) -> None:
        """Find which brains can be judged, and measure them before the first step."""
        state, count = self.state, self.settings.judged
        found = {}
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            values = self._judged(state.flow, seed)
            if values is not None:
                found[seed] = values
        _check_enough(len(found), count)
        state.judged, state.first = [*found], torch.stack([*found.values()]).mean(dim=0)

    @torch.no_grad()
    def _measured(self, flow: Flow) -> Tensor | None:
        """Mean of the differences' changing part over the judged brains; None if one lacks any."""
        found = []
        for seed in self.state.judged:
            values = self._judged(flow, seed)
            if values is None:
                return None
            found.append(values)
        return torch.stack(found).mean(dim=0)

    def _judged(self, flow: Flow, seed: int) -> Tensor | None:
        """The differences' changing part of a random brain; None if it lacks a measure."""
        volume = as_packed(self._drawn(flow, seed).numpy())
        return self._part([torch.from_numpy(one.of([volume])[0]) for one in self.measures])

    def _soft(self, flow: Flow, seed: int) -> Tensor | None:
        """`_judged`, so that it can be differentiated."""
        image = self._drawn(flow, seed)
        try:
            return self._part([measure.soft(image) for measure in self.measures])
        except ValueError:  # of a brain without a tissue
            return None

    def _drawn(self, flow: Flow, seed: int) -> Tensor:
        if self.asked():
            raise _Stopped
        return self.drawing(flow, seed)

    def _part(self, measured: Sequence[Tensor]) -> Tensor | None:
        found = self.state.differences.of(measured)
        return found if bool(found.isfinite().all()) else None

    def _slopes(self, keep: Callable[[], None]) -> Tensor:
        """[differences, weights]: how each changes with each weight, on average."""
        state, n = self.state, self.settings.slopes
        flow = copy.deepcopy(state.flow)
        weights = list(flow.parameters())
        for weight in weights:
            weight.requires_grad_(True)
        first = FIRST_SEED + self.settings.brains + n * state.rounds
        for drawn in range(state.part[0], n):
            found, (_, measured, total) = self._soft(flow, first + drawn), state.part
            if found is not None:
                measured, total = measured + 1, total + self._jacobian(found, weights)
            state.part = drawn + 1, measured, total
            keep()
        _, measured, total = state.part
        _check_enough(measured, n)
        return total / measured

    def _jacobian(self, found: Tensor, weights: Sequence[Tensor]) -> Tensor:
        rows = []
        for k, value in enumerate(found):
            if self.asked():
                raise _Stopped
            slopes = torch.autograd.grad(
                value, weights, retain_graph=k < len(found) - 1, materialize_grads=True
            )
            rows.append(torch.cat([slope.flatten() for slope in slopes]))
        return torch.stack(rows)


def _step(slopes: Tensor, differences: Tensor, damping: float) -> Tensor:
    """The smallest change of the weights that removes the differences, damped."""
    square = slopes @ slopes.T
    square += damping * torch.eye(len(square), dtype=square.dtype)
    return -slopes.T @ torch.linalg.solve(square, differences)


def _with_weights(flow: Flow, weights: Tensor) -> Flow:
    flow = copy.deepcopy(flow)
    torch.nn.utils.vector_to_parameters(weights.float(), flow.parameters())
    return flow.requires_grad_(False)
