"""Export of a generator with a trained flow.

*Sizes of heads and ventricles* become distributed as among the training subjects (`fit_sizes`). A
mapping network that starts at the Gaussian distribution of the subjects' latents has their
covariance, but sizes are not Gaussian: a few old subjects have very large ventricles, and heads of
women and men together have short tails. Both sizes are measured in random brains and in subjects, a
line in w is fitted to the logarithm of each, and random brains are moved along it so that the
quantiles of the logarithm become those of the subjects (`networks.synthesis.SizeCurves`).

*What the flow draws* is calibrated without training (`calibrate_flow`, `flow.BandCurves`).
Trained by least squares, a flow draws the finest bands too weakly and too evenly, and a faint
margin around the brain. What is measured of random brains and of training subjects, and made equal:

- *Brightness* of tissue.
- *Fine bands*: a gain and a power of each band's values, a line through the logarithms of the
  quantiles of both.
- *Outline*: the volume of the darkest intensities. Extracted brains end within a voxel.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import norm
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from stylegan3d.base import Json, ModelError
from stylegan3d.checkpoints.folder import check_target, read_folder
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import Space, unit
from stylegan3d.measures.attributes import measure_attributes
from stylegan3d.model.families.autoencoder import FLOW as LATENT_FLOW
from stylegan3d.model.generator import Generator, load, packed_synthesis
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.model.random_latents import random_w
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.autoencoder import LatentSynthesis
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.flow import FLOOR, BandCurves, Flow, within
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import KNOTS, MappingNetwork, SizeCurves
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.data import as_input
from stylegan3d.training.export import ModelTarget, card_anew, export_stylegan, finish, halves, toed
from stylegan3d.training.flow import (
    FlowRun,
    Leveled,
    flow_and_steps,
    flow_of,
    flow_start,
    learned,
    leveled,
    rebuilt,
    without_flow,
)
from stylegan3d.training.options import FLOW_STEPS, STRAIGHT_FLOW_STEPS, MatchSettings
from stylegan3d.training.shape_matching import MatchedFlow
from stylegan3d.training.stylegan import StyleGANRun

#: What is matched, in millilitres.
MATCHED_SIZES = ("brain_ml", "ventricle_ml")
# Random brains, with seeds outside the usual range, and those for the spread of w alone.
SIZES_SEED, SIZES_BRAINS, SPREAD_OF = 5_000_000, 200, 20_000
#: Quantiles between which the curve is linear; beyond them its outer slopes continue.
SIZE_QUANTILES = (0.005, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.995)
assert len(SIZE_QUANTILES) == KNOTS
# Width of the kernel that smooths the subjects' distribution, in its standard deviations: the
# curve must not follow single subjects.
WIDTH = 0.25
PENALTIES = np.logspace(-2, 4, 13)
# Slopes of a curve: it corrects a distribution, it does not invent one.
SLOPES = (0.25, 4.0)
FEWEST = 50


def fit_sizes(generator: Generator, pack: Pack) -> SizeCurves | None:
    """Curves after which random brains are distributed as the training subjects are.

    Parameters
    ----------
    generator : Generator
        A generator with the same w for all layers.
    pack : Pack
        The dataset that it was trained on.

    Returns
    -------
    SizeCurves or None
        None if there are fewer than 50 training subjects, too few for a distribution.
    """
    rows = pack.indices("train")
    if len(rows) < FEWEST:
        return None
    seeds = range(SIZES_SEED, SIZES_SEED + SIZES_BRAINS)
    people = [sizes_of(pack.volumes[row], generator.space) for row in rows]
    latents, made = [], []
    for seed in seeds:
        w = seed_latents(generator, [seed])
        latents.append(w[0, 0])
        made.append(sizes_of(packed_synthesis(generator, w, seed), generator.space))
    drawn = torch.stack(latents).double().cpu().numpy()
    return match_sizes(drawn, np.array(made), np.array(people), random_w(generator, SPREAD_OF, 0))


def sizes_of(volume: np.ndarray, space: Space) -> list[float]:
    """`MATCHED_SIZES` of a volume of a pack, NaN where unknown."""
    found = measure_attributes(unit(volume), space)
    return [found[name] for name in MATCHED_SIZES]


def match_sizes(
    w: np.ndarray, made: np.ndarray, people: np.ndarray, spread: np.ndarray
) -> SizeCurves | None:
    """Curves from what was measured.

    Parameters
    ----------
    w, made : ndarray, shape (brains, w_dim), (brains, M)
        Latents of random brains and their sizes; NaN where a size is unknown.
    people : ndarray, shape (subjects, M)
        Sizes of subjects.
    spread : ndarray, shape (many, w_dim)
        Latents of more random brains.

    Returns
    -------
    SizeCurves or None
        None if no size is known of enough brains and subjects.
    """
    centre = spread.mean(axis=0)
    covariance = np.cov(spread.T)
    reads, knots, values = [], [], []
    for m in range(made.shape[1]):
        ours, theirs = _logarithm(made[:, m]), _logarithm(people[:, m])
        there = np.isfinite(ours)
        theirs = theirs[np.isfinite(theirs)]
        if min(there.sum(), len(theirs)) < FEWEST:
            continue
        line = RidgeCV(PENALTIES).fit(w[there] - centre, ours[there])
        deviation = float(np.sqrt(line.coef_ @ covariance @ line.coef_))
        if deviation <= 0:
            continue
        knot = deviation * norm.ppf(SIZE_QUANTILES)
        reads.append(line.coef_)
        knots.append(knot)
        values.append(_bounded(knot, smooth_quantiles(theirs, SIZE_QUANTILES) - line.intercept_))
    if not reads:
        return None
    read = np.stack(reads, axis=1)
    reached = covariance @ read
    curves = SizeCurves(len(reads), len(centre))
    arrays = {
        "centre": centre,
        "read": read,
        # Of all shifts that change one size alone, the one that is most likely in random brains.
        "write": np.linalg.solve(read.T @ reached, reached.T),
        "knots": np.stack(knots),
        "values": np.stack(values),
    }
    curves.load_state_dict({k: torch.from_numpy(a).float() for k, a in arrays.items()})
    return curves


def smooth_quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Quantiles of a kernel estimate with the values' own mean and standard deviation."""
    mean, deviation = values.mean(), values.std()
    middles = mean + (values - mean) * np.sqrt(1 - WIDTH**2)
    width = WIDTH * deviation
    grid = np.linspace(middles.min() - 4 * width, middles.max() + 4 * width, 4001)
    share = norm.cdf((grid[:, None] - middles) / width).mean(axis=1)
    return np.asarray(np.interp(shares, share, grid))


def _bounded(knots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The curve, with slopes within limits; the value of its middle is kept."""
    middle = len(knots) // 2
    steps = np.diff(knots) * np.clip(np.diff(values) / np.diff(knots), *SLOPES)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(path - path[middle] + values[middle])


def _logarithm(sizes: np.ndarray) -> np.ndarray:
    return np.log(np.where(sizes > 0, sizes, np.nan))


# Random brains, with seeds outside the usual range. The strength of their fine bands varies by 13 %
# from one to the next: the mean of 200 is right within 1 %.
FIRST_SEED, BRAINS = 3_000_000, 200
# Inside the brain: where the mean of a block of 2 x 2 x 2 voxels and of its neighbours is above.
BRAIN = 0.15
BRIGHTNESS = (0.5, 0.75, 0.95)
QUANTILES = np.r_[np.linspace(0.3, 0.95, 14), 0.97, 0.98, 0.99, 0.995]
# Values of a band that are taken of each brain.
VALUES = 3000
# Toes that are tried: their beginnings and widths, and the intensities whose volumes are compared.
BEGINNINGS, WIDTHS = np.arange(1, 10) / 100, (0.005, 0.02, 0.04, 0.06)
DARKEST = np.array([1, 3, 5, 8, 13, 20, 30, 40, 60]) / 255
LEAST = 1e-6
#: What a flow draws of a random brain, see `Flow.followed`.
Drawn = tuple[Tensor, Tensor, tuple[slice, slice, slice]]
# Curves correct a flow, they cannot make up for one: limits of gain and tail.
GAINS, TAILS = (0.5, 2.0), (-0.5, 1.0)


@torch.no_grad()
def calibrate_flow(generator: Generator, pack: Pack) -> Leveled:
    """The generator's synthesis network with curves that are fitted to the training subjects.

    Parameters
    ----------
    generator : Generator
        A StyleGAN or an anatomy model with a flow; curves that it has already are fitted anew.
    pack : Pack
        The dataset that it was trained on.
    """
    network = leveled(rebuilt(generator, flow_curves=True))
    curves = network.flow.curves
    assert curves is not None
    rows = pack.indices("train")
    people = (haar(as_input(pack.volumes[row])[None].to(generator.device)) for row in rows)
    made = list(_drawn(generator, network.flow, network.config.flow_steps))
    fit_curves(curves, [bands for bands, _, _ in made], BandFigures.of(people))
    _fit_outline(curves, made, pack)
    return network


@torch.no_grad()
def outline_latent_flow(generator: Generator, flow: Flow, steps: int, pack: Pack) -> BandCurves:
    """Curves for the flow behind a decoder that only end its brains as sharply as subjects.

    Its fine bands are left alone: where texture is missing, gains enlarge what mottle there is.

    Parameters
    ----------
    generator : Generator
        An autoencoder or a diffusion; a flow that it has already is ignored.
    flow : Flow
        The flow, without its curves.
    steps : int
        Steps along the flow.
    pack : Pack
        The dataset that it was trained on.
    """

    curves = BandCurves(FLOOR).to(generator.device)
    _fit_outline(curves, _drawn(generator, flow, steps), pack)
    return curves


def _fit_outline(curves: BandCurves, made: Iterable[Drawn], pack: Pack) -> None:
    """Set the toe so that finished brains end like the training subjects."""
    finished = (
        (within(curves(bands), near, box, (-1.0, 0.0)).cpu().numpy() + 1) / 2
        for bands, near, box in made
    )
    rows = pack.indices("train")
    toe = find_outline(finished, (unit(pack.volumes[row]) for row in rows))
    curves.ends.copy_(torch.tensor(toe))


def _drawn(generator: Generator, flow: Flow, steps: int) -> Iterator[Drawn]:
    """What a flow draws of a generator's random brains."""
    plain = without_flow(generator)
    for seed in range(FIRST_SEED, FIRST_SEED + BRAINS):
        yield flow.followed(*flow_start(generator, plain, flow, seed), steps)


@dataclass(frozen=True, eq=False)
class BandFigures:
    """What is compared of brains.

    Attributes
    ----------
    brightness : float
        Mean of some quantiles of the intensities.
    sizes : ndarray, shape (7, n)
        Absolute values of each fine band inside brains, equally many of each brain.
    """

    brightness: float
    sizes: np.ndarray

    @classmethod
    def of(cls, images: Iterable[Tensor]) -> BandFigures | None:
        """Of Haar bands [1, 8, X, Y, Z] of images in [-1, 1], on any grids; None without brains."""
        rng, brightness, sizes = np.random.default_rng(0), [], []
        for bands in images:
            low = (bands[0, 0] + 1).cpu().numpy() / 2
            where = np.flatnonzero(_inside(bands).cpu().numpy())
            if len(where):
                brightness.append(np.quantile(low[low > BRAIN], BRIGHTNESS).mean())
                fine = bands[0, 1:].flatten(1).abs().cpu().numpy()
                sizes.append(fine[:, rng.choice(where, VALUES)])
        return cls(float(np.mean(brightness)), np.concatenate(sizes, axis=1)) if sizes else None


def fit_curves(curves: BandCurves, made: Sequence[Tensor], people: BandFigures | None) -> None:
    """Fit brightness, gains and tails so that bands `made` are distributed like those of people.

    Parameters
    ----------
    curves : BandCurves
        Modified in place; its toe is left as it is.
    made : sequence of Tensor, shape (1, 8, X, Y, Z)
        Haar bands of images in [-1, 1], on any grids.
    people : BandFigures or None
        Those of people.
    """
    curves.load_state_dict(BandCurves((0.0, 1.0)).state_dict() | {"ends": curves.ends})
    ours = BandFigures.of(made)
    if ours is None or people is None:
        return  # nothing is drawn that could be too weak
    curves.brightness.copy_(torch.tensor(people.brightness / ours.brightness))
    for band, pair in enumerate(zip(ours.sizes, people.sizes, strict=True)):
        spread = max(float(np.sqrt(np.mean(pair[0] ** 2))), LEAST)
        x, y = (np.log(np.quantile(sizes, QUANTILES).clip(LEAST) / spread) for sizes in pair)
        slope, offset = np.polyfit(x, y, 1)
        curves.tail[band], curves.spread[band] = float(np.clip(slope - 1, *TAILS)), spread
        curves.gain[band] = float(np.clip(np.exp(offset) / float(curves.brightness), *GAINS))


def find_outline(made: Iterable[np.ndarray], people: Iterable[np.ndarray]) -> tuple[float, float]:
    """Ends of a toe after which brains `made` hold as much of the darkest intensities as `people`.

    Brains are of any shape, in [0, 1]; each kind of one size.
    """
    wanted = np.mean([_darkest(v.ravel()) for v in people], axis=0)
    dark = [v[(v > 0) & (v < 2 * DARKEST[-1])] for v in made]
    best, least = (0.0, 0.0), np.inf
    for low in BEGINNINGS:
        for width in WIDTHS:
            found = [_darkest(toed(values, low, low + width)) for values in dark]
            missed = float(np.abs(np.mean(found, axis=0) - wanted).sum())
            if missed < least:
                best, least = (float(low), float(low + width)), missed
    return best


def _darkest(values: np.ndarray) -> np.ndarray:
    """How many are between each of the darkest intensities and the last one."""
    return np.asarray(np.cumsum(np.histogram(values, DARKEST)[0][::-1]), np.float64)


def _inside(bands: Tensor) -> Tensor:
    """[X, Y, Z] bool: inside the brain, a voxel of the bands' grid away from its outline."""
    there = (bands[:, :1] > 2 * BRAIN - 1).float()
    return (-F.max_pool3d(-there, 3, 1, 1))[0, 0] > 0


FLOW, SIZES = "synthesis.flow.", "mapping.curves."
SAMPLES = 512


class _Model:
    """A generator whose flow is replaced by a new one, on the CPU.

    Parameters
    ----------
    folder, out : path-like
        Its folder, and that of the new generator, which may be the same.
    pack : Pack
        The dataset that all was trained on.
    overwrite : bool
        Whether `out` may exist.
    """

    def __init__(self, folder: str | Path, pack: Pack, out: str | Path, overwrite: bool) -> None:
        self.folder, self.pack, self.out, self.overwrite = Path(folder), pack, Path(out), overwrite
        check_target(self.out, overwrite)
        self.generator, self.files = load(folder, device="cpu"), read_folder(self.folder)
        self.prefix = LATENT_FLOW if isinstance(self.generator.synthesis, LatentSynthesis) else FLOW
        #: What its card says of the training of the flow.
        self.learned: Json | None = self.files.card["training"].get("flow")

    def write(
        self, plan: Json, learned: Json | None, flow: dict[str, Tensor], sizes: dict[str, Tensor]
    ) -> Generator:
        """Write the generator with a new flow.

        Parameters
        ----------
        plan, learned : dict of str to object
            New entries of the card's architecture, and what it says of the flow's training.
        flow, sizes : dict of str to Tensor
            Tensors of the flow by their names there, and of curves of sizes by their full names.
        """
        files = self.files
        card = card_anew(files.card)
        card["architecture"] = card["architecture"] | plan
        kept = {k: v for k, v in card["training"].items() if k != "flow"}
        card["training"] = kept | {"flow": learned}
        gone = [FLOW, LATENT_FLOW]
        if not plan.get("generator", {}).get("size_curves"):
            gone.append(SIZES)
        known = {k: v for k, v in files.tensors.items() if not k.startswith(tuple(gone))}
        # The curves of sizes belong to the mapping, which stays in float32.
        tensors = known | halves({f"{self.prefix}{k}": v for k, v in flow.items()}) | sizes
        pack, overwrite = self.pack, self.overwrite
        return finish(
            self.out, card, tensors, files.encoder, pack, overwrite=overwrite, before=files
        )


def export_with_flow(
    run: FlowRun,
    folder: str | Path,
    pack: Pack,
    out: str | Path,
    *,
    steps: int | None = None,
    overwrite: bool = False,
) -> Generator:
    """Export a generator with this flow, recompute its directions and evaluate it again.

    The flow is calibrated, see `calibrate_flow` (behind a decoder only its outline); with an
    anatomy model the sizes of random brains too, see `fit_sizes`.

    Parameters
    ----------
    run : FlowRun
        The flow's.
    folder : path-like
        Folder of the generator; an existing flow is replaced.
    pack : Pack
        Dataset of both.
    out : path-like
        Output folder; may be the same.
    steps : int or None
        Steps along the flow, one network evaluation each; by default 1 for a straightened flow,
        else `FLOW_STEPS`.

    Returns
    -------
    Generator
        The new generator. Its hash differs: latents of the old one do not fit.
    """
    model = _Model(folder, pack, out, overwrite)
    generator = model.generator
    settings = run.task.settings
    if steps is None:
        steps = STRAIGHT_FLOW_STEPS if settings.straight else FLOW_STEPS
    # Beside the generator, and without changing the run.
    flow = copy.deepcopy(run.average).cpu()
    flow.noise_strength.fill_(settings.noise)
    state = flow.state_dict()
    sizes: dict[str, Tensor] = {}
    if isinstance(generator.synthesis, LatentSynthesis):
        plan: Json = {"flow": {"channels": settings.channels, "steps": steps, "curves": True}}
        outline = outline_latent_flow(generator, flow, steps, pack).state_dict()
        state |= {f"curves.{k}": v.cpu() for k, v in outline.items()}
        del state["noise"]  # sampled from a seed there
    else:
        plan, sizes = _calibrated(generator, state, settings.channels, steps, pack)
    return model.write(plan, learned(run), state, sizes)


def export_pupil(run: StyleGANRun, pack: Pack, to: ModelTarget, teacher: Generator) -> Generator:
    """Export a StyleGAN that has a teacher, see `export_stylegan`, with the teacher's flow.

    Without it, where the teacher has none, or a discriminator has judged what the layers draw.
    """
    made = export_stylegan(run, pack, to, teacher=teacher)
    flow, _ = flow_and_steps(teacher)
    if flow is None or made.can("score") or not leveled(made).config.num_details:
        return made
    return export_with_teachers_flow(teacher, to.folder, pack, to.folder, overwrite=True)


def export_with_teachers_flow(
    teacher: Generator, folder: str | Path, pack: Pack, out: str | Path, *, overwrite: bool = False
) -> Generator:
    """Export a StyleGAN with the flow of the model that taught it, calibrated to its own brains.

    Parameters
    ----------
    teacher : Generator
        A generator with a flow.
    folder, pack, out, overwrite
        As of `export_with_flow`.

    Raises
    ------
    ModelError
        If it is no StyleGAN of this teacher, or the teacher has no flow.
    """
    model = _Model(folder, pack, out, overwrite)
    generator, start = model.generator, flow_of(teacher)
    pack.check_grid(generator.space, generator.name)
    taught = generator.card["training"].get("teacher", {})
    if start is None or taught.get("hash") != teacher.hash:
        raise ModelError(
            f"'{generator.name}' can have the flow of the model that taught it only, and "
            f"'{teacher.name}' is another, or has none."
        )
    state = {k: v.cpu().clone() for k, v in start.state.items() if k != "noise"}
    _, steps = flow_and_steps(teacher)
    plan, sizes = _calibrated(generator, state, start.channels, steps, pack)
    return model.write(plan, {"begun_with": start.learned}, state, sizes)


def export_matched(
    found: MatchedFlow,
    folder: str | Path,
    pack: Pack,
    out: str | Path,
    *,
    share: float = MatchSettings.share,
    overwrite: bool = False,
) -> Generator:
    """Export a model whose flow draws random brains that measure like the subjects.

    Curves of bands stay; an anatomy model's of sizes are fitted anew.

    Parameters
    ----------
    found : MatchedFlow
        What `match_flow` found for the generator.
    folder : path-like
        Folder of the generator.
    pack : Pack
        The dataset it was trained on.
    out : path-like
        Output folder; may be the same.
    share : float
        How much of the change of the weights is kept, above 0 and at most 1. Tissue shapes come
        close to the subjects' with most of it; what is not measured suffers from the last of it.

    Returns
    -------
    Generator
        The new generator. Its hash differs: latents of the old one do not fit.

    Raises
    ------
    ModelError
        If no step made random brains more like the subjects, or the share is out of its range.
    """
    if not 0 < share <= 1:
        raise ModelError(f"The share of a change is above 0 and at most 1, not {share:g}.")
    model = _Model(folder, pack, out, overwrite)
    generator = model.generator
    if not found.steps:
        raise ModelError(
            f"No change of the flow brings the measures of '{generator.name}' closer to the "
            "subjects; nothing is written."
        )
    before, _ = flow_and_steps(generator)
    assert before is not None
    flow = _between(before, found.flow, share)
    state = {k: v.cpu() for k, v in flow.state_dict().items()}
    plan: Json = {}
    sizes: dict[str, Tensor] = {}
    if isinstance(generator.synthesis, LatentSynthesis):
        del state["noise"]  # sampled from a seed there
    else:
        network = copy.deepcopy(leveled(generator))
        network.flow = flow
        config, sizes = _sized(generator, network, pack)
        plan = {"generator": config.to_dict()}
    told = {"steps": found.steps, "distance": [found.before, found.after], "share": share}
    return model.write(plan, (model.learned or {}) | {"matched": told}, state, sizes)


def _between(before: Flow, after: Flow, share: float) -> Flow:
    """A flow with this share of the change of each weight."""
    flow = copy.deepcopy(before)
    with torch.no_grad():
        for weight, changed in zip(flow.parameters(), after.parameters(), strict=True):
            weight.lerp_(changed, share)
    return flow


def _calibrated(
    generator: Generator,
    state: dict[str, Tensor],
    channels: tuple[int, ...],
    steps: int,
    pack: Pack,
) -> tuple[Json, dict[str, Tensor]]:
    """Entry of the card for a generator with a flow, and tensors of curves of sizes.

    `state`, the flow's tensors, is completed: its spread, and curves that are fitted to subjects.
    Sizes come last, since the flow's curves decide where a brain ends.
    """
    state["spread"].fill_(details_spread(generator))
    drawing = rebuilt(
        generator,
        {f"flow.{k}": v for k, v in state.items()},
        flow_channels=channels,
        flow_steps=steps,
        flow_curves=False,
    )
    if isinstance(drawing.synthesis, AnatomyNetwork):
        drawing.mapping = uncurved(generator.mapping)
    network = calibrate_flow(drawing, pack)
    curves = network.flow.curves
    assert curves is not None
    state |= {f"curves.{k}": v.cpu() for k, v in curves.state_dict().items()}
    config, sizes = _sized(drawing, network, pack)
    return {"generator": config.to_dict()}, sizes


def _sized(
    generator: Generator, network: Leveled, pack: Pack
) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """Configuration and tensors of curves of sizes for random brains drawn by a network.

    A StyleGAN keeps its teacher's, so that seeds mean the same.
    """
    if not isinstance(network, AnatomyNetwork):
        return network.config, {}
    drawing = copy.copy(generator)
    drawing.mapping, drawing.synthesis = uncurved(generator.mapping), network
    sizes = fit_sizes(drawing, pack)
    config = replace(network.config, size_curves=len(sizes.knots) if sizes else 0)
    found = sizes.state_dict() if sizes else {}
    return config, {f"{SIZES}{k}": v.cpu() for k, v in found.items()}


def uncurved(mapping: nn.Module) -> nn.Module:
    """A mapping without labels learned later and without curves of sizes; shares its layers."""
    inner = mapping.mapping if isinstance(mapping, LabelledMapping) else mapping
    assert isinstance(inner, MappingNetwork)
    plain = copy.copy(inner)
    plain._modules = {k: v for k, v in inner._modules.items() if k != "curves"} | {"curves": None}
    return plain


@torch.no_grad()
def details_spread(generator: Generator) -> float:
    """Root mean square of the details' weights among random brains."""
    w = seed_latents(generator, range(SAMPLES))
    return float(leveled(generator).detail_weights(w).square().mean() ** 0.5)
