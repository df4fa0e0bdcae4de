"""Initialisation of a generator with a deformation: principal components of the anatomy.

Velocity fields and canonical brains (`anatomy.py`) are each reduced to principal components; w
contains the whitened scores, first of the velocities, then of the images. The mapping network
starts at their joint Gaussian, and the encoder at the regressions of `networks/fitting.py`. The
covariance is the sample covariance: Ledoit and Wolf's estimate (2004) would shrink hundreds of
whitened components to the identity, and combine the folding and contrast of some subjects with the
shape of others.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.networks.config import Grid
from stylegan3d.networks.deformation import resize
from stylegan3d.networks.fitting import FittingEncoder
from stylegan3d.networks.resampling import haar
from stylegan3d.training.anatomy import Anatomy, mirrored
from stylegan3d.training.start import LAYERS_SHARE, components_of, scale_layers
from stylegan3d.training.state import TrainState
from stylegan3d.training.warm_start import set_mapping

# Width in voxels over which velocities fade out outside the brain.
TAPER = 1.0
BRAIN = 0.05
# Sizes of the errors that the encoder learns to correct, relative to its first estimate.
ERROR_SIZES = (1.0, 0.6, 0.3)
# Scale of random velocities that compensates for the truncated components, which hold a tenth of
# the standard deviation in the bundled model.
VELOCITY_SPREAD = 1.1
PENALTIES = tuple(10.0**k for k in range(-4, 5))
FOLDS = 4
# Components smaller than this, relative to the largest, are rounding errors.
EMPTY = 1e-5


@torch.no_grad()
def start_from_anatomy(state: TrainState, pack: Pack, anatomy: Anatomy) -> None:
    """Initialise the networks of a new run, and their averages."""
    synthesis = state.anatomy
    config = synthesis.config
    # Untrained layers would only add noise.
    scale_layers(state, LAYERS_SHARE if state.config.total_images else 0.0)
    mean = torch.from_numpy(anatomy.template)[None, None] * 2 - 1
    synthesis.image_const.copy_((haar(mean) if config.head == "haar" else mean)[0])
    _set_velocities(state, anatomy)
    _set_images(state, anatomy)
    if config.detail_basis:
        _set_details(state, anatomy)
    codes = codes_of(state, anatomy)
    found = config.deformation + config.image_basis
    pairs = codes.unflatten(0, (-1, len(anatomy.rows))).transpose(0, 1).flatten(0, 1)
    spread = torch.ones(config.w_dim)
    spread[: config.deformation] = VELOCITY_SPREAD
    set_mapping(state, pairs, lambda rest: _covariance(rest, found) * spread[:, None] * spread)
    _fit_encoder(state, pack, anatomy, codes)
    state.start_averages()


def _set_velocities(state: TrainState, anatomy: Anatomy) -> None:
    synthesis = state.anatomy
    config = synthesis.config
    fields = velocities_of(state, anatomy)
    near = _nearness(anatomy.template, config.grid(config.deformation_level))
    fields = fields * near
    components, deviations, center = components_of(fields.flatten(1), config.deformation)
    shape = fields.shape[1:]
    basis = (components * deviations[:, None]).reshape(-1, *shape)
    synthesis.velocity_basis.set_fields(basis, near > 0)
    synthesis.velocity_const.copy_(center.reshape(shape))


def _set_images(state: TrainState, anatomy: Anatomy) -> None:
    synthesis = state.anatomy
    config = synthesis.config
    grid = config.grid(config.num_levels - 1)
    inside = _nearness(anatomy.template, grid) == 1
    images = images_of(state, anatomy) * inside
    components, deviations, _ = components_of(images.flatten(1), config.image_basis)
    basis = (components * deviations[:, None]).reshape(-1, 1, *grid)
    synthesis.image_basis.set_fields(basis, inside)


def _set_details(state: TrainState, anatomy: Anatomy) -> None:
    """Random mixtures of the residuals of all canonical brains after the basis images.

    Each is a sample from the Gaussian with the residuals' covariance, divided by the root of their
    number: summed with standard normal weights they reproduce its variance at every voxel, band and
    scale. The same number of principal components would explain little of it, since the residual is
    individual folding; and a mixture of all subjects reveals none.
    """
    synthesis = state.anatomy
    config = synthesis.config
    basis = synthesis.image_basis
    n, mirror = len(anatomy.canonical), state.config.mirror
    draws = torch.randn(
        config.detail_basis,
        n * (2 if mirror else 1),
        generator=torch.Generator().manual_seed(state.config.seed),
    )
    draws /= math.sqrt(draws.shape[1] * config.detail_basis)
    grid = config.grid(config.num_levels - 1)
    total = torch.zeros(config.detail_basis, synthesis.detail_basis.weight.shape[1], *grid)
    weight = basis.weight.flatten(1).cpu()
    places = basis.inside.flatten().cpu()
    for i, volume in enumerate(anatomy.canonical):
        image = torch.from_numpy(np.array(volume)).float()[None, None] / 127.5 - 1
        for k, x in enumerate((image, image.flip(2)) if mirror else (image,)):
            bands = haar(x) if config.head == "haar" else x
            rest = bands[0] - synthesis.image_const.cpu()
            inside = rest[0].flatten()[places]
            known = torch.zeros(math.prod(grid))
            known[places] = basis.weights_of(inside[None].to(basis.weight.device))[0].cpu() @ weight
            low = known.reshape(1, 1, *grid)
            rest[0] -= low[0, 0]
            fine = synthesis.continued(low, config.num_levels - 1)
            rest = rest if fine is None else rest - fine[0]
            total += draws[:, i + k * n, None, None, None, None] * rest
    synthesis.detail_basis.set_fields(total, basis.inside.cpu())


def velocities_of(state: TrainState, anatomy: Anatomy) -> Tensor:
    """[n, 3, X, Y, Z] on the grid of the velocity basis; mirror images after all originals."""
    config = state.anatomy.config
    fields = np.asarray(anatomy.velocities, dtype=np.float32)
    grid = config.grid(config.deformation_level)
    low = resize(torch.from_numpy(fields), grid)
    if not state.config.mirror:
        return low
    return torch.cat([low, torch.from_numpy(mirrored(low.numpy()))])


def images_of(state: TrainState, anatomy: Anatomy) -> Tensor:
    """[n, 1, X, Y, Z] canonical brains minus the common one, at the last level's resolution.

    Relative to the common brain, not to the constant image, which training changes, so that codes
    stay valid.
    """
    config = state.config.generator
    grid = config.grid(config.num_levels - 1)
    const = resize(torch.from_numpy(anatomy.template)[None, None] * 2 - 1, grid)
    rows = []
    for volume in anatomy.canonical:
        image = torch.from_numpy(np.array(volume)).float()[None, None] / 127.5 - 1
        rows.append(resize(image, grid) - const)
    images = torch.cat(rows)
    return torch.cat([images, images.flip(2)]) if state.config.mirror else images


@torch.no_grad()
def codes_of(state: TrainState, anatomy: Anatomy) -> Tensor:
    """w of every training brain (and mirror image) by projection on the bases, [n, w_dim]."""
    synthesis = state.anatomy
    config = synthesis.config
    parts = []
    for basis, fields in (
        (synthesis.velocity_basis, velocities_of(state, anatomy) - synthesis.velocity_const.cpu()),
        (synthesis.image_basis, images_of(state, anatomy)),
    ):
        inside = fields.flatten(2)[:, :, basis.inside.flatten().cpu()].flatten(1)
        parts.append(basis.weights_of(inside.to(basis.weight.device)).cpu())
    codes = torch.cat(parts, dim=1)
    return F.pad(codes, (0, config.w_dim - codes.shape[1]))


def _nearness(template: np.ndarray, grid: Grid) -> Tensor:
    """1 in and near the brain, fading to 0 outside, on a coarser grid [X, Y, Z]."""
    low = resize(torch.from_numpy(template)[None, None], grid)[0, 0].numpy()
    distance = ndimage.distance_transform_edt(low <= BRAIN)
    near = np.clip(1 - (distance - 1) / (2 * TAPER), 0, 1)
    return torch.from_numpy(near.astype(np.float32))


def _covariance(codes: Tensor, found: int) -> Tensor:
    """Covariance of the first `found` columns [w_dim, w_dim]; details are independent."""
    covariance = torch.eye(codes.shape[1])
    covariance[:found, :found] = torch.cov(codes[:, :found].double().T, correction=0).float()
    return covariance


def _fit_encoder(state: TrainState, pack: Pack, anatomy: Anatomy, codes: Tensor) -> None:
    """Fit the encoder's two regressions, with cross-validated penalties."""
    encoder = FittingEncoder(state.config.encoder, state.anatomy)
    fields = state.anatomy.config.deformation
    target = codes[:, :fields]
    volumes = [pack.volumes[row] for row in anatomy.rows]
    people = np.arange(len(volumes))
    if state.config.mirror:
        volumes += [volume[::-1] for volume in volumes]
        people = np.tile(people, 2)
    images = [torch.from_numpy(v.copy()).float()[None, None] / 127.5 - 1 for v in volumes]
    coarse = torch.cat([encoder.coarse(image) for image in images])
    encoder.start_mean = coarse.mean(dim=0)
    coarse -= encoder.start_mean
    # The penalty minimises the error of the displacement.
    sizes = state.anatomy.velocity_basis.weight.flatten(1).norm(dim=1)
    # Few subjects have fewer components than there are fields: the rest are empty.
    per_size = torch.where(sizes > EMPTY * sizes.max(), 1 / sizes, 0.0)
    weight, foreseen = _ridge(coarse, target * sizes, people)
    encoder.start = _linear(weight * per_size[:, None], target.mean(dim=0))
    if encoder.correct is None:
        state.encoder.load_state_dict(encoder.state_dict())
        return
    errors = foreseen * per_size - target
    features, wrong, groups = [], [], []
    for number, size in enumerate(ERROR_SIZES):
        # Errors of other subjects of the same size, so that the pairing is not learned.
        order = np.random.default_rng(number).permutation(len(images))
        for i, image in enumerate(images):
            error = size * errors[i if number == 0 else int(order[i])]
            features.append(encoder.inside(encoder.canonical(image, (target[i] + error)[None])))
            wrong.append(error)
            groups.append(int(people[i]))
    x, y = torch.cat(features), -torch.stack(wrong)
    weight, _ = _ridge(x - x.mean(dim=0), y * sizes, np.array(groups))
    weight = weight * per_size[:, None]
    encoder.correct = _linear(weight, y.mean(dim=0) - weight @ x.mean(dim=0))
    state.encoder.load_state_dict(encoder.state_dict())


def _ridge(x: Tensor, y: Tensor, people: np.ndarray) -> tuple[Tensor, Tensor]:
    """Ridge regression of y [n, k] on centred x [n, m], with many more m than n.

    Returns
    -------
    tuple of Tensor
        Weight [k, m], and cross-validated predictions of y [n, k].
    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict

    kernel = (x.double() @ x.double().T).numpy()
    scale = float(np.trace(kernel)) / len(kernel)
    folds = GroupKFold(min(FOLDS, len(np.unique(people))))
    centered = (y - y.mean(dim=0)).double().numpy()
    search = GridSearchCV(
        KernelRidge(kernel="precomputed"),
        {"alpha": [p * scale for p in PENALTIES]},
        scoring="neg_mean_squared_error",
        cv=folds,
    )
    search.fit(kernel, centered, groups=people)
    best = search.best_estimator_
    foreseen = cross_val_predict(best, kernel, centered, groups=people, cv=folds)
    weight = torch.from_numpy(np.asarray(best.dual_coef_)).float().T @ x
    return weight, torch.from_numpy(foreseen).float() + y.mean(dim=0)


def _linear(weight: Tensor, bias: Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer.requires_grad_(False)
