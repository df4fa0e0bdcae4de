"""Calibration of an anatomy model's output without training.

Three properties of the training brains are measured and applied by the finished generator, see
`networks/flow.py`:

- *Saturation*: the detail images are scaled to unit variance at each voxel, passed through a
sigmoid,
  since tissue never reaches the extremes of a sum of many textures, and rescaled to their variance.
  Marginals and spectra are matched as in texture synthesis (Heeger, Bergen 1995).
- *Contrast*: the strength of fine structure differs between subjects (scanner, age). A ridge
  regression predicts it from the basis images' weights, and the details are scaled accordingly.
- *Outline*: extracted brains have a sharp edge. The toe is chosen such that random brains are as
  bright as subjects in the first voxel outside their surface.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import ModelError
from stylegan3d.dataset.pack import Pack
from stylegan3d.directions.people import encoded
from stylegan3d.geometry.space import to_display, unit
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, GeneratorConfig
from stylegan3d.networks.flow import DetailTexture
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.recipe.model import seed_latents

# Steepness of the sigmoid for unit variance. A steep one (4) makes edges between two greys, but not
# at the edges of the basis images.
SLOPE = 1.0
# Smoothing of the details' standard deviations, which come from few images.
DEVIATION_SMOOTHING = 1.0
SAMPLES = 32
BRAIN = 0.05
# Fine structure: residual of a Gaussian with this sigma, this many voxels inside the brain.
FINE, DEPTH = 1.6, 3
# Threshold of the brain's surface, above which the toe has no effect.
SURFACE = 0.25
TOES = np.linspace(0, SURFACE, 26)
PENALTIES = np.logspace(-3, 4, 15)


def can_be_calibrated(config: GeneratorConfig) -> bool:
    """Whether `calibrate` applies to such a generator."""
    return isinstance(config, AnatomyConfig) and bool(config.deformation and config.detail_basis)


@torch.no_grad()
def calibrate(generator: Generator, pack: Pack) -> AnatomyNetwork:
    """The generator's synthesis network, calibrated to a data set's training subjects.

    Parameters
    ----------
    generator : Generator
        Generator with a deformation and detail images, not calibrated yet.
    pack : Pack
        The data set it was trained on.

    Raises
    ------
    ModelError
        If it is already calibrated, or has nothing to calibrate.
    """
    network = anatomy_network(generator)
    before = network.config
    if before.detail_slope or before.toe:
        raise ModelError(
            f"The generator '{generator.name}' is calibrated already; export its run again without "
            "calibration to begin anew."
        )
    if not can_be_calibrated(before):
        raise ModelError(
            f"The generator '{generator.name}' cannot be calibrated: it has no deformation or no "
            "detail images."
        )
    config = replace(before, detail_slope=SLOPE, toe=True)
    synthesis = AnatomyNetwork(config)
    assert isinstance(synthesis, AnatomyNetwork)
    missing = synthesis.load_state_dict(network.state_dict(), strict=False)
    assert all(k.startswith(("detail_texture.", "image_toe.")) for k in missing.missing_keys)
    synthesis = synthesis.to(generator.device).eval().requires_grad_(False)
    latents = seed_latents(generator, range(SAMPLES))
    set_edges(synthesis, _detail_deviations(generator))
    if generator.encoder is not None:
        set_contrast(synthesis, generator, pack)
    synthesis.image_toe.ends.copy_(torch.tensor([-1.0, 0.0]))
    made = [to_display(synthesis(w[None], "fixed"))[0] for w in latents]
    people = [unit(pack.volumes[row]) for row in _some(pack.indices("train"))]
    synthesis.image_toe.ends.copy_(torch.tensor(find_toe(made, people)))
    return synthesis


def set_edges(synthesis: AnatomyNetwork, deviations: Tensor) -> None:
    """Scale the detail images to unit variance at each voxel, and set the sigmoid's scale.

    Parameters
    ----------
    synthesis : AnatomyNetwork
        With details of the linear model; modified in place.
    deviations : Tensor, shape (detail_basis,)
        Standard deviations of the details' weights among random brains.
    """
    basis, texture = synthesis.detail_basis, synthesis.detail_texture
    assert isinstance(texture, DetailTexture)
    fields, inside = basis.fields.cpu(), basis.inside.cpu()
    if texture.haar_head:
        fields = inverse_haar(fields)
    weighed = fields * deviations.cpu()[:, None, None, None, None]
    old = _deviation(weighed)
    fields = fields / old
    whole = fields * deviations.cpu()[:, None, None, None, None]
    if texture.haar_head:
        fields, old = haar(fields), torch.nn.functional.avg_pool3d(old[None], 2)[0]
        share = haar(whole)[:, 1:].square().sum(dim=(0, 1))
        texture.within.copy_(share[inside].mean())
    basis.set_fields(fields.to(basis.weight), inside.to(basis.inside.device))
    normal = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    texture.scale.copy_(old / torch.tanh(texture.slope * normal).std())


def set_contrast(synthesis: AnatomyNetwork, generator: Generator, pack: Pack) -> None:
    """Set how the strength of details depends on w, from the subjects' fine structure."""
    from sklearn.linear_model import RidgeCV

    config = synthesis.config
    codes, contrast = [], []
    for row in pack.indices("train"):
        volume = unit(pack.volumes[row])
        codes.append(encoded(generator, volume))
        contrast.append(fine_contrast(volume))
    used = slice(config.deformation, config.deformation + config.image_basis)
    x, y = np.stack(codes)[:, used], np.log(np.maximum(contrast, 1e-6))
    if not used.stop > used.start or len(x) < 4:
        return
    found = RidgeCV(PENALTIES).fit(x - x.mean(axis=0), y - y.mean())
    texture = synthesis.detail_texture
    texture.contrast[used] = torch.from_numpy(found.coef_).to(texture.contrast)
    texture.centre.copy_(generator.w_avg)


def fine_contrast(volume: np.ndarray) -> float:
    """Standard deviation of fine structure inside a brain (X, Y, Z) in [0, 1]."""
    brain = volume > BRAIN
    inside = ndimage.binary_erosion(brain, iterations=DEPTH)
    place = inside if inside.any() else brain
    fine = volume - ndimage.gaussian_filter(volume, FINE, truncate=3)
    return float(fine[place].std()) if place.any() else 0.0


def find_toe(made: Iterable[np.ndarray], people: Iterable[np.ndarray]) -> tuple[float, float]:
    """Ends of the toe that make brains `made` as dark outside their surface as `people`.

    Brains are (X, Y, Z) in [0, 1].

    Returns
    -------
    tuple
        0 below the first, unchanged above the second; (-1, 0) for no toe.
    """
    real = np.mean([v[_beside(v)].mean() for v in people])
    shells = [v[_beside(v)] for v in made]
    darkness = [np.mean([toed(shell, end / 2, end).mean() for shell in shells]) for end in TOES]
    best = float(TOES[int(np.argmin(np.abs(np.array(darkness) - real)))])
    return (best / 2, best) if best else (-1.0, 0.0)


def toed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities after a toe: 0 below `low`, unchanged above `high`."""
    t = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return values * t * t * (3 - 2 * t)


def _beside(volume: np.ndarray) -> np.ndarray:
    """Voxels directly outside the surface of a brain."""
    brain = volume > SURFACE
    grown = ndimage.binary_dilation(brain)
    return np.asarray(grown & ~brain if grown.sum() > brain.sum() else grown)


def _some(rows: np.ndarray) -> np.ndarray:
    """Up to `SAMPLES` rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLES).round().astype(int))]


def _deviation(fields: Tensor) -> Tensor:
    """Smoothed standard deviation at each voxel of a sum of fields [n, 1, X, Y, Z]: [1, X, Y, Z]"""
    sigma = fields.square().sum(dim=0).sqrt()[0].numpy()
    smooth = ndimage.gaussian_filter(sigma, DEVIATION_SMOOTHING)
    return torch.from_numpy(np.maximum(smooth, 1e-3))[None]


def _detail_deviations(generator: Generator) -> Tensor:
    """Standard deviations of the details' weights among random brains, [detail_basis]."""
    w = seed_latents(generator, range(512))[:, 0]
    return w[:, anatomy_network(generator).config.details].std(dim=0)
