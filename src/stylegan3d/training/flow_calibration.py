"""Calibration of what a flow draws, without training (`finish.BandCurves`).

Trained by least squares, a flow draws the finest bands too weakly and too evenly, and a faint
margin around the brain. What is measured of random brains and of training subjects, and made equal:

- *Brightness* of tissue.
- *Fine bands*: a gain and a power of each band's values, a line through the logarithms of the
  quantiles of both.
- *Outline*: the volume of the darkest intensities. Extracted brains end within a voxel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import unit
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.finish import BandCurves
from stylegan3d.networks.flow import FLOOR, Flow, within
from stylegan3d.networks.noise import drawn_noise
from stylegan3d.networks.resampling import haar
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.calibration import toed
from stylegan3d.training.flow_pairs import without_flow

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
def calibrate_flow(generator: Generator, pack: Pack) -> AnatomyNetwork:
    """The generator's synthesis network with curves that are fitted to the training subjects.

    Parameters
    ----------
    generator : Generator
        An anatomy model with a flow; curves that it has already are fitted anew.
    pack : Pack
        The data set that it was trained on.

    Raises
    ------
    ModelError
        If it has no flow.
    """
    before = anatomy_network(generator)
    if not before.config.flow_channels:
        raise ModelError(
            f"'{generator.name}' has no flow to calibrate: train one with `train flow`."
        )
    network = AnatomyNetwork(replace(before.config, flow_curves=True))
    assert isinstance(network, AnatomyNetwork)
    network.load_state_dict(before.state_dict(), strict=False)
    network = network.to(generator.device).eval().requires_grad_(False)
    curves = network.flow.curves
    assert curves is not None
    rows = pack.indices("train")
    people = (haar(_image(pack.volumes[row]).to(generator.device)) for row in rows)
    made = list(_drawn(generator, network))
    fit_curves(curves, [bands for bands, _, _ in made], Figures.of(people))
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
        The data set that it was trained on.
    """

    def drawn() -> Iterator[Drawn]:
        for seed in range(FIRST_SEED, FIRST_SEED + BRAINS):
            image = generator.synthesis(seed_latents(generator, [seed]), "none")
            (noise,) = drawn_noise([flow.noise], seed)
            yield flow.followed(image, noise, steps)

    curves = BandCurves(FLOOR).to(generator.device)
    _fit_outline(curves, drawn(), pack)
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


def _drawn(generator: Generator, network: AnatomyNetwork) -> Iterator[Drawn]:
    """What an anatomy model's flow draws of random brains."""
    plain = without_flow(generator)
    for seed in range(FIRST_SEED, FIRST_SEED + BRAINS):
        image = plain.synthesis(seed_latents(plain, [seed]), "none")
        *_, noise = network.noise_maps(seed)
        yield network.flow.followed(image, noise, network.config.flow_steps)


@dataclass(frozen=True, eq=False)
class Figures:
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
    def of(cls, images: Iterable[Tensor]) -> Figures | None:
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


def fit_curves(curves: BandCurves, made: Sequence[Tensor], people: Figures | None) -> None:
    """Fit brightness, gains and tails so that bands `made` are distributed like those of people.

    Parameters
    ----------
    curves : BandCurves
        Modified in place; its toe is left as it is.
    made : sequence of Tensor, shape (1, 8, X, Y, Z)
        Haar bands of images in [-1, 1], on any grids.
    people : Figures or None
        Those of people.
    """
    curves.load_state_dict(BandCurves((0.0, 1.0)).state_dict() | {"ends": curves.ends})
    ours = Figures.of(made)
    if ours is None or people is None:
        return  # nothing is drawn that could be too weak
    curves.brightness.copy_(torch.tensor(people.brightness / ours.brightness))
    for band, pair in enumerate(zip(ours.sizes, people.sizes, strict=True)):
        spread = max(float(np.sqrt(np.mean(pair[0] ** 2))), LEAST)
        x, y = (np.log(np.quantile(sizes, QUANTILES).clip(LEAST) / spread) for sizes in pair)
        slope, offset = np.polyfit(x, y, 1)
        curves.tail[band], curves.spread[band] = float(np.clip(slope - 1, *TAILS)), spread
        gain = np.clip(np.exp(offset) / float(curves.brightness), *GAINS)
        curves.gain[band] = float(gain)


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
    counts = np.histogram(values, DARKEST)[0]
    return np.asarray(np.cumsum(counts[::-1]), np.float64)


def _inside(bands: Tensor) -> Tensor:
    """[X, Y, Z] bool: inside the brain, a voxel of the bands' grid away from its outline."""
    there = (bands[:, :1] > 2 * BRAIN - 1).float()
    return (-F.max_pool3d(-there, 3, 1, 1))[0, 0] > 0


def _image(volume: np.ndarray) -> Tensor:
    """A volume of a pack as an image [1, 1, X, Y, Z] in [-1, 1]."""
    return torch.from_numpy(unit(volume).astype(np.float32))[None, None] * 2 - 1
