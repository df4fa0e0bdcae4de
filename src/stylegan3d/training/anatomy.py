"""Fit of an anatomy model: subjects in a common anatomy, and their principal components.

Each training brain is registered to the group mean with a stationary velocity field, and the mean
is recomputed from the registered brains and re-centred to average shape, for a few rounds (after
Joshi et al. 2004, "Unbiased diffeomorphic atlas construction"). The result for each subject is a
velocity field (shape) and the brain warped to the common anatomy (appearance).

Velocity fields and canonical brains are each reduced to principal components; w contains the
whitened scores, first of the velocities, then of the images. The mapping network draws from their
joint Gaussian, and the encoder is the regressions of `networks/encoder.py`. The covariance is the
sample covariance: Ledoit and Wolf's estimate (2004) would shrink hundreds of whitened components to
the identity, and combine the folding and contrast of some subjects with the shape of others.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import SILENT, Json, ModelError, Progress
from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import in_processes, one_thread
from stylegan3d.geometry.space import unit
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import Grid
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.encoder import FittingEncoder
from stylegan3d.networks.registration import SQUARINGS, Demons, match_intensities, register
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import LeveledSynthesis, MappingNetwork, set_gaussian
from stylegan3d.recipe.model import encode_rows, label_dim, schema_of
from stylegan3d.storage.files import atomic_write_bytes, atomic_write_text, only_run, output_errors
from stylegan3d.training.data import as_input, check_fit, check_mirror, digest_of
from stylegan3d.training.options import SETTINGS, AnatomySettings, brain_2mm, read_settings
from stylegan3d.training.run import CHECKPOINT

ROUNDS = (
    Demons(coarse_steps=40, fine_steps=0, elastic=0.6),
    Demons(coarse_steps=25, fine_steps=0),
    Demons(coarse_steps=15, fine_steps=8),
)
#: Work of fewer seconds is done here: processes take as long to start.
STARTING_S = 10.0
INFO, TEMPLATE, VELOCITIES, CANONICAL = (
    "anatomy.json",
    "template.npy",
    "velocities.npy",
    "canonical.npy",
)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Result of `find_anatomy`.

    Attributes
    ----------
    rows : ndarray, shape (n,)
        Pack rows of the training volumes.
    template : ndarray, shape (X, Y, Z), float32
        The common brain, values in [0, 1].
    velocities : ndarray, shape (n, 3, X/2, Y/2, Z/2), float16
        Velocity v such that template o exp(v) resembles the subject.
    canonical : ndarray, shape (n, X, Y, Z), uint8
        The subject warped to the common anatomy.
    """

    rows: np.ndarray
    template: np.ndarray
    velocities: np.ndarray
    canonical: np.ndarray


def find_anatomy(
    pack: Pack,
    folder: Path,
    *,
    symmetric: bool = True,
    rounds: tuple[Demons, ...] = ROUNDS,
    jobs: int | None = None,
    report: Progress = SILENT,
) -> Anatomy:
    """Register the training volumes of a pack to their common anatomy.

    Parameters
    ----------
    folder : Path
        Folder for results; existing ones are reused, so an interrupted run resumes.
    symmetric : bool
        Make the common brain left-right symmetric, for training with mirror images.
    jobs : int or None
        Parallel processes; by default one per processor.
    report : callable or None
        Called with registrations done and total.

    Raises
    ------
    ModelError
        If the folder contains the anatomy of other data.
    """
    rows = pack.indices("train")
    volumes = digest_of(pack.volumes[row] for row in rows)
    key: Json = {"volumes": volumes, "symmetric": symmetric}
    key["rounds"] = [vars(r) for r in rounds]
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _check_key(folder, key)
    if not (folder / CANONICAL).exists():
        _rounds(pack, folder, rows, symmetric, rounds, jobs or os.cpu_count() or 1, report)
    return Anatomy(
        rows,
        np.load(folder / TEMPLATE),
        np.load(folder / VELOCITIES, mmap_mode="r"),
        np.load(folder / CANONICAL, mmap_mode="r"),
    )


def _check_key(folder: Path, key: Json) -> None:
    path = folder / INFO
    if not path.exists():
        atomic_write_text(path, json.dumps(key))
    elif json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(key)):
        raise ModelError(
            f"The folder '{folder}' holds the anatomy of other volumes or settings; choose another "
            "folder for this run."
        )


def _rounds(
    pack: Pack,
    folder: Path,
    rows: np.ndarray,
    symmetric: bool,
    rounds: tuple[Demons, ...],
    jobs: int,
    report: Progress,
) -> None:
    template = _symmetrised(pack.template.astype(np.float32), symmetric)
    velocities: np.ndarray | None = None
    for number, settings in enumerate(rounds):
        parts = folder / f"round-{number}"
        done = folder / f"round-{number}.npz"
        last = number == len(rounds) - 1
        if not done.exists():
            parts.mkdir(exist_ok=True)
            tasks = [
                _Task(
                    parts / f"{row}.npz",
                    pack.volumes[row],
                    template,
                    None if velocities is None else velocities[i],
                    settings,
                    last,
                )
                for i, row in enumerate(rows)
            ]
            for count, _ in enumerate(_registered(tasks, jobs)):
                report(number * len(rows) + count + 1, len(rounds) * len(rows))
            _finish_round(folder, parts, rows, symmetric, last)
        with np.load(done) as data:
            template, velocities = data["template"], data["velocities"]
    assert velocities is not None
    np.save(folder / TEMPLATE, template)
    np.save(folder / VELOCITIES, velocities)
    canonical = folder / f".{CANONICAL}"
    with canonical.open("wb") as file:
        np.save(file, _stack(folder / f"round-{len(rounds) - 1}", rows, "canonical"))
    os.replace(canonical, folder / CANONICAL)
    for number in range(len(rounds)):
        shutil.rmtree(folder / f"round-{number}", ignore_errors=True)
        (folder / f"round-{number}.npz").unlink(missing_ok=True)


def _finish_round(folder: Path, parts: Path, rows: np.ndarray, symmetric: bool, last: bool) -> None:
    """The next template: mean of the registered brains, warped to the mean shape."""
    velocities = _stack(parts, rows, "velocity").astype(np.float32)
    mean = _mean_brain(parts, rows)
    template = _symmetrised(mean, symmetric)
    if not last:
        center = velocities.mean(axis=0)
        if symmetric:
            center = (center + mirrored(center)) / 2
        moved = _warped(template, torch.from_numpy(center)[None])
        template, velocities = moved.numpy(), velocities - center
    _write(
        folder / f"{parts.name}.npz", template=template, velocities=velocities.astype(np.float16)
    )
    if not last:
        shutil.rmtree(parts)


def mirrored(velocity: np.ndarray) -> np.ndarray:
    """The velocity field [..., 3, X, Y, Z] of the mirror image."""
    flipped = np.flip(velocity, axis=-3).copy()
    flipped[..., 0, :, :, :] *= -1
    return flipped


def _symmetrised(volume: np.ndarray, symmetric: bool) -> np.ndarray:
    return (volume + volume[::-1]) / 2 if symmetric else volume


def _mean_brain(parts: Path, rows: np.ndarray) -> np.ndarray:
    total: np.ndarray | None = None
    for row in rows:
        with np.load(parts / f"{row}.npz") as data:
            volume = data["canonical"].astype(np.float32)
        total = volume if total is None else total + volume
    assert total is not None
    return total / (255 * len(rows))


def _stack(parts: Path, rows: np.ndarray, name: str) -> np.ndarray:
    stacked = []
    for row in rows:
        with np.load(parts / f"{row}.npz") as data:
            stacked.append(data[name])
    return np.stack(stacked)


@dataclass(frozen=True, eq=False)
class _Task:
    path: Path
    volume: np.ndarray
    template: np.ndarray
    start: np.ndarray | None
    settings: Demons
    last: bool


def _registered(tasks: list[_Task], jobs: int) -> Iterator[Path]:
    """Run tasks without a result, in processes if there is enough to do; yields result files."""
    waiting = []
    for task in tasks:
        if task.path.exists():
            yield task.path
        else:
            waiting.append(task)
    took = 0.0
    while waiting and not (jobs > 1 and took * len(waiting) > STARTING_S):
        begun = time.perf_counter()
        # With one thread, as in a process: the result is the same to the last bit.
        with one_thread():
            done = _register_one(waiting.pop(0))
        took = time.perf_counter() - begun
        yield done
    lost = ModelError(
        "A process that registered brains was ended, most likely for lack of memory; train again, "
        "what is done is kept."
    )
    if waiting:
        tasks_left = [(task,) for task in waiting]
        yield from (path for _, path in in_processes(_register_one, tasks_left, jobs, lost))


def _register_one(task: _Task) -> Path:
    volume = unit(task.volume)
    matched = match_intensities(volume, task.template)
    start = None if task.start is None else torch.from_numpy(task.start.astype(np.float32))[None]
    velocity = register(_batch(matched), _batch(task.template), task.settings, start)
    if task.last:
        canonical = read_spline(volume, -velocity)
    else:
        canonical = _warped(volume, -velocity).numpy()
    _write(
        task.path,
        velocity=velocity[0].numpy().astype(np.float16),
        canonical=np.rint(canonical.clip(0, 1) * 255).astype(np.uint8),
    )
    return task.path


def _write(path: Path, **arrays: Any) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)
    atomic_write_bytes(path, content.getvalue(), overwrite=True)


def _batch(volume: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]


def _warped(volume: np.ndarray, velocity: Tensor) -> Tensor:
    """(X, Y, Z) warped by exp(v), linear interpolation."""
    displacement = resize(exponential(velocity, SQUARINGS), volume.shape)
    return warp(_batch(volume), displacement)[0, 0]


def read_spline(volume: np.ndarray, velocity: Tensor) -> np.ndarray:
    """(X, Y, Z) warped by exp(v) with cubic splines, which preserve texture."""
    displacement = resize(exponential(velocity, SQUARINGS), volume.shape)[0].numpy()
    places = np.indices(volume.shape, dtype=np.float32)
    for axis, n in enumerate(volume.shape):
        places[axis] += displacement[axis] * n / 2
    return ndimage.map_coordinates(volume, places, order=3, mode="nearest")


State = dict[str, Tensor]


@torch.no_grad()
def latent_scales(synthesis: LeveledSynthesis) -> Tensor:
    """[w_dim]: how much one unit of each component changes the image, 1 for the most.

    Of a basis image that is its norm, of a velocity field the norm of the difference that it makes
    to the constant image. Components without either get the smallest scale; without a basis all
    are 1.
    """
    config = synthesis.config
    if not isinstance(synthesis, AnatomyNetwork):
        return torch.ones(config.w_dim)
    config, norms = synthesis.config, []
    if config.deformation:
        norms += _effects(synthesis)
    if config.image_basis:
        norms += synthesis.image_basis.weight.flatten(1).norm(dim=1).tolist()
    if config.detail_basis:
        norms += synthesis.detail_basis.weight.flatten(1).norm(dim=1).tolist()
    if not norms:
        return torch.ones(config.w_dim)
    scales = torch.tensor(norms)
    scales = (scales / scales.max()).clamp(min=1e-2)
    return F.pad(scales, (0, config.w_dim - len(scales)), value=float(scales.min()))


def _effects(synthesis: AnatomyNetwork) -> list[float]:
    """Norm of what one unit of each velocity field changes, at the last level's resolution."""
    config = synthesis.config
    image = synthesis.image_const[None, : config.image_channels]

    def moved(weights: Tensor) -> Tensor:
        velocity = synthesis.velocity_const + synthesis.velocity_basis(weights)
        return warp(image, resize(exponential(velocity), image.shape[2:]))

    unmoved = moved(image.new_zeros(1, config.deformation))
    units = torch.eye(config.deformation, device=image.device)
    return [float((moved(unit[None]) - unmoved).norm()) for unit in units]


def scale_latent(
    scales: Tensor, mapping: State, synthesis: State, encoder: State, w_avg: Tensor
) -> tuple[State, State, State, Tensor]:
    """The same networks for w' = scales * w.

    Parameters
    ----------
    scales : Tensor, shape (w_dim,)
        Positive.
    mapping, synthesis, encoder : State
        State dictionaries; the mapping's output must be linear.
    w_avg : Tensor, shape (w_dim,)

    Returns
    -------
    tuple of (State, State, State, Tensor)
        New state dictionaries and w_avg; the given ones are left as they are.
    """
    mapping, synthesis, encoder = dict(mapping), dict(synthesis), dict(encoder)
    last = max(int(key.split(".")[1]) for key in mapping if key.startswith("layers."))
    for kind in ("weight", "bias"):
        key = f"layers.{last}.{kind}"
        mapping[key] = _rows(mapping[key], scales)
    for key, value in synthesis.items():
        # What reads w: the styles, and the dense layer of the base grid's input.
        if key.endswith("style.weight") or key == "base_dense.weight":
            synthesis[key] = value / scales.to(value)
    used = 0
    for key in ("velocity_basis.weight", "image_basis.weight", "detail_basis.weight"):
        if key in synthesis:
            basis = synthesis[key]
            synthesis[key] = _rows(basis, 1 / scales[used : used + len(basis)])
            used += len(basis)
    for name in ("mean", "linear", "offsets", "start", "correct"):
        for kind in ("weight", "bias"):
            key = f"{name}.{kind}"
            if key in encoder:
                value = encoder[key]
                # One row of w after another for the offsets; the leading components for `linear`.
                repeats = max(len(value) // len(scales), 1)
                encoder[key] = _rows(value, scales.repeat(repeats)[: len(value)])
    if "log_variance.bias" in encoder:
        encoder["log_variance.bias"] = encoder["log_variance.bias"] + 2 * scales.log()
    return mapping, synthesis, encoder, w_avg * scales.to(w_avg)


def _rows(value: Tensor, scales: Tensor) -> Tensor:
    return value * scales.to(value).reshape(-1, *[1] * (value.ndim - 1))


#: Folder of the registration in that of a fit.
ANATOMY = "anatomy"

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


@dataclass(eq=False)
class FittedAnatomy:
    """An anatomy model as it is fitted.

    Attributes
    ----------
    pack : Pack
        The data set, of which only those are training subjects that it is fitted to.
    settings : AnatomySettings
        Its settings, with the number of its labels.
    schema : list of dict
        Its labels, see `stylegan3d.recipe.model`; empty for an unconditional generator.
    people : Tensor or None
        Labels of the training subjects, [n, label_dim].
    w_avg : Tensor, shape (w_dim,)
        Mean latent.
    """

    pack: Pack
    settings: AnatomySettings
    schema: list[Json]
    people: Tensor | None
    mapping: MappingNetwork
    synthesis: AnatomyNetwork
    encoder: FittingEncoder
    w_avg: Tensor

    @classmethod
    def blank(cls, settings: AnatomySettings, pack: Pack) -> Self:
        """Before the fit."""
        pack = _spread(pack, settings)
        subjects = [pack.table[row] for row in pack.indices("train")]
        schema = schema_of(subjects, settings.conditions)
        config = replace(settings.generator, label_dim=label_dim(schema))
        torch.manual_seed(settings.seed)
        mapping, synthesis = MappingNetwork(config), AnatomyNetwork(config)
        encoder = FittingEncoder(settings.encoder, synthesis)
        people = encode_rows(schema, subjects) if schema else None
        settings = replace(settings, generator=config)
        w_avg = torch.zeros(config.w_dim)
        return cls(pack, settings, schema, people, mapping, synthesis, encoder, w_avg)


def _spread(pack: Pack, settings: AnatomySettings) -> Pack:
    """The data set with `fit_on` of its training subjects, far apart in coarse images.

    Each is drawn with a probability that grows with its squared distance from those before, as
    k-means++ draws its centres (Arthur and Vassilvitskii 2007).
    """
    rows = pack.indices("train")
    if not 0 < settings.fit_on < len(rows):
        return pack
    from sklearn.cluster import kmeans_plusplus

    # In one block: small ones between large ones that are freed would keep the heap as large.
    coarse = np.empty((len(rows), *settings.generator.base), np.float32)
    for place, row in zip(coarse, rows, strict=True):
        place[:] = F.adaptive_avg_pool3d(as_input(pack.volumes[row]), place.shape)[0]
    data = coarse.reshape(len(rows), -1)
    _, chosen = kmeans_plusplus(data, settings.fit_on, random_state=settings.seed)
    unused = set(rows) - set(rows[chosen])
    table = [row | {"split": "unused"} if i in unused else row for i, row in enumerate(pack.table)]
    return replace(pack, table=table)


def fit_anatomy(
    pack: Pack,
    folder: Path,
    settings: AnatomySettings | None = None,
    *,
    progress: Progress = SILENT,
) -> FittedAnatomy:
    """Fit an anatomy model to the training subjects of a data set.

    Registration takes nearly all of the time. Its results stay in the folder, so an interrupted fit
    goes on where it was.

    Parameters
    ----------
    pack : Pack
        The data set.
    folder : Path
        Folder of the fit.
    settings : AnatomySettings or None
        Settings; by default those of the fit in the folder, or of the preset brain-2mm.
    progress : callable or None
        Called with registrations done and total.

    Raises
    ------
    ModelError
        If the settings do not fit the data set, or those of the fit in the folder.
    OutputError
        If the folder cannot be written to, or another fit is using it.
    """
    with only_run(folder):
        known = folder / SETTINGS
        if (folder / CHECKPOINT).exists():
            raise ModelError(f"'{folder}' holds a run of another kind; choose another folder.")
        if settings is None:
            settings = read_settings(AnatomySettings, known) if known.exists() else brain_2mm()
        elif known.exists() and read_settings(AnatomySettings, known) != settings:
            raise ModelError(
                f"'{folder}' holds a fit with other settings; continue it with --resume, or choose "
                "another folder."
            )
        check_fit(settings.generator, pack)
        check_mirror(pack, settings.mirror)
        fit = FittedAnatomy.blank(settings, pack)
        atomic_write_text(known, json.dumps(settings.to_dict(), indent=2), overwrite=True)
        where = folder / ANATOMY
        found = find_anatomy(fit.pack, where, symmetric=settings.mirror, report=progress)
        fit_networks(fit, found)
    return fit


@torch.no_grad()
def fit_networks(fit: FittedAnatomy, anatomy: Anatomy) -> None:
    """Fit the networks to a registered data set."""
    synthesis = fit.synthesis
    config = synthesis.config
    mean = torch.from_numpy(anatomy.template)[None, None] * 2 - 1
    synthesis.image_const.copy_((haar(mean) if config.head == "haar" else mean)[0])
    _set_velocities(fit, anatomy)
    _set_images(fit, anatomy)
    if config.detail_basis:
        _set_details(fit, anatomy)
    codes = codes_of(fit, anatomy)
    found = config.deformation + config.image_basis
    pairs = codes.unflatten(0, (-1, len(anatomy.rows))).transpose(0, 1).flatten(0, 1)
    spread = torch.ones(config.w_dim)
    spread[: config.deformation] = VELOCITY_SPREAD
    _set_mapping(fit, pairs, lambda rest: _covariance(rest, found) * spread[:, None] * spread)
    _fit_encoder(fit, anatomy, codes)


def _set_velocities(fit: FittedAnatomy, anatomy: Anatomy) -> None:
    synthesis = fit.synthesis
    config = synthesis.config
    fields = velocities_of(fit, anatomy)
    near = _nearness(anatomy.template, config.grid(config.deformation_level))
    fields *= near
    components, deviations, center = _components_of(fields.flatten(1), config.deformation)
    shape = fields.shape[1:]
    basis = (components * deviations[:, None]).reshape(-1, *shape)
    synthesis.velocity_basis.set_fields(basis, near > 0)
    synthesis.velocity_const.copy_(center.reshape(shape))


def _set_images(fit: FittedAnatomy, anatomy: Anatomy) -> None:
    synthesis = fit.synthesis
    config = synthesis.config
    grid = config.grid(config.num_levels - 1)
    inside = _nearness(anatomy.template, grid) == 1
    images = images_of(fit, anatomy)
    images *= inside
    components, deviations, _ = _components_of(images.flatten(1), config.image_basis)
    basis = (components * deviations[:, None]).reshape(-1, 1, *grid)
    synthesis.image_basis.set_fields(basis, inside)


def _set_details(fit: FittedAnatomy, anatomy: Anatomy) -> None:
    """Random mixtures of the residuals of all canonical brains after the basis images.

    Each is a sample from the Gaussian with the residuals' covariance, divided by the root of their
    number: summed with standard normal weights they reproduce its variance at every voxel, band and
    scale. The same number of principal components would explain little of it, since the residual is
    individual folding; and a mixture of all subjects reveals none.
    """
    synthesis = fit.synthesis
    config = synthesis.config
    basis = synthesis.image_basis
    n, mirror = len(anatomy.canonical), fit.settings.mirror
    draws = torch.randn(
        config.detail_basis,
        n * (2 if mirror else 1),
        generator=torch.Generator().manual_seed(fit.settings.seed),
    )
    draws /= math.sqrt(draws.shape[1] * config.detail_basis)
    grid = config.grid(config.num_levels - 1)
    total = torch.zeros(config.detail_basis, synthesis.detail_basis.weight.shape[1], *grid)
    weight = basis.weight.flatten(1).cpu()
    places = basis.inside.flatten().cpu()
    for i, volume in enumerate(anatomy.canonical):
        image = as_input(volume)[None]
        for k, x in enumerate((image, image.flip(2)) if mirror else (image,)):
            bands = haar(x) if config.head == "haar" else x
            rest = bands[0] - synthesis.image_const.cpu()
            inside = rest[0].flatten()[places]
            known = torch.zeros(math.prod(grid))
            known[places] = basis.weights_of(inside[None].to(basis.weight.device))[0].cpu() @ weight
            low = known.reshape(1, 1, *grid)
            rest[0] -= low[0, 0]
            fine = synthesis.continued(low)
            rest = rest if fine is None else rest - fine[0]
            total += draws[:, i + k * n, None, None, None, None] * rest
    synthesis.detail_basis.set_fields(total, basis.inside.cpu())


def velocities_of(fit: FittedAnatomy, anatomy: Anatomy) -> Tensor:
    """[n, 3, X, Y, Z] on the grid of the velocity basis; mirror images after all originals."""
    config = fit.synthesis.config
    fields = np.asarray(anatomy.velocities, dtype=np.float32)
    grid = config.grid(config.deformation_level)
    low = resize(torch.from_numpy(fields), grid)
    if not fit.settings.mirror:
        return low
    return torch.cat([low, torch.from_numpy(mirrored(low.numpy()))])


def images_of(fit: FittedAnatomy, anatomy: Anatomy) -> Tensor:
    """[n, 1, X, Y, Z] canonical brains minus the common one, at the last level's resolution."""
    config = fit.synthesis.config
    grid = config.grid(config.num_levels - 1)
    const = resize(torch.from_numpy(anatomy.template)[None, None] * 2 - 1, grid)
    images = torch.cat([resize(as_input(v)[None], grid) - const for v in anatomy.canonical])
    return torch.cat([images, images.flip(2)]) if fit.settings.mirror else images


@torch.no_grad()
def codes_of(fit: FittedAnatomy, anatomy: Anatomy) -> Tensor:
    """w of every training brain (and mirror image) by projection on the bases, [n, w_dim]."""
    synthesis = fit.synthesis
    config = synthesis.config
    parts = []
    for basis, fields in (
        (synthesis.velocity_basis, velocities_of(fit, anatomy) - synthesis.velocity_const.cpu()),
        (synthesis.image_basis, images_of(fit, anatomy)),
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


@torch.no_grad()
def _set_mapping(
    fit: FittedAnatomy, means: Tensor, covariance_of: Callable[[Tensor], Tensor]
) -> None:
    """Set the mapping network, and `w_avg`, to the Gaussian of latents given their labels.

    Parameters
    ----------
    means : Tensor, shape (k n, w_dim)
        k latents for each training subject in order.
    covariance_of : callable
        From latents, less what labels say of them, to the Gaussian's covariance.
    """
    center = means.mean(dim=0)
    offset, by_label = center, None
    if fit.people is not None:
        by_label, average = _by_label(means, fit.people)
        offset = center - by_label @ average
        labels = fit.people.repeat_interleave(len(means) // len(fit.people), dim=0)
        means = means - (labels - average) @ by_label.T
    # In double precision: with few subjects most eigenvalues are alike, where float32 gives up.
    values, vectors = (x.float() for x in torch.linalg.eigh(covariance_of(means).double()))
    root = (vectors * values.clamp(min=0).sqrt()).flip(1)
    z_dim = fit.synthesis.config.z_dim
    if z_dim >= len(center):
        root = root @ vectors.flip(1).T
    if by_label is not None:
        # The mapping reads z and, after it, the label's embedding.
        embedded = by_label @ torch.linalg.pinv(fit.mapping.embed.detach().T)
        root = torch.cat([F.pad(root, (0, z_dim - root.shape[1])), embedded], dim=1)
    set_gaussian(fit.mapping, offset, root)
    fit.w_avg = center


def _by_label(means: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """How latents depend on labels, by least squares.

    Parameters
    ----------
    means : Tensor, shape (k n, w_dim)
        k for each subject in order.
    people : Tensor, shape (n, label_dim)

    Returns
    -------
    tuple of Tensor
        Change of w per component of the label [w_dim, label_dim], average label [label_dim].
    """
    average = people.mean(dim=0)
    labels = (people - average).repeat_interleave(len(means) // len(people), dim=0)
    # Components that sum to one depend on each other: the shortest solution.
    slope = torch.linalg.pinv(labels, rtol=1e-4) @ (means - means.mean(dim=0))
    return slope.T, average


def _components_of(data: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """PCA of rows, far fewer than columns.

    Parameters
    ----------
    data : Tensor, shape (n, m)

    Returns
    -------
    tuple of Tensor
        Components [count, m] of length one, standard deviations [count], mean [m]; beyond the rank
        of the data components are zero and deviations one.
    """
    center = data.mean(dim=0)
    x = data - center
    values, vectors = torch.linalg.eigh(x @ x.T)
    order = torch.arange(len(values) - 1, -1, -1)[:count]
    values, vectors = values[order].clamp(min=0), vectors[:, order]
    components = torch.zeros(count, x.shape[1])
    deviations = torch.ones(count)
    for k, value in enumerate(values):
        if value > 1e-6 * values[0]:
            components[k] = x.T @ vectors[:, k] / value.sqrt()
            deviations[k] = (value / len(x)).sqrt()
    return components, deviations, center


def _fit_encoder(fit: FittedAnatomy, anatomy: Anatomy, codes: Tensor) -> None:
    """Fit the encoder's two regressions, with cross-validated penalties."""
    encoder = FittingEncoder(fit.settings.encoder, fit.synthesis)
    fields = fit.synthesis.config.deformation
    target = codes[:, :fields]
    volumes = [fit.pack.volumes[row] for row in anatomy.rows]
    people = np.arange(len(volumes))
    if fit.settings.mirror:
        volumes += [volume[::-1] for volume in volumes]
        people = np.tile(people, 2)
    coarse = torch.cat([encoder.coarse(as_input(volume)[None]) for volume in volumes])
    encoder.start_mean = coarse.mean(dim=0)
    coarse -= encoder.start_mean
    # The penalty minimises the error of the displacement.
    sizes = fit.synthesis.velocity_basis.weight.flatten(1).norm(dim=1)
    # Few subjects have fewer components than there are fields: the rest are empty.
    per_size = torch.where(sizes > EMPTY * sizes.max(), 1 / sizes, 0.0)
    weight, foreseen = _ridge(coarse, target * sizes, people)
    encoder.start = _linear(weight * per_size[:, None], target.mean(dim=0))
    if encoder.correct is None:
        fit.encoder.load_state_dict(encoder.state_dict())
        return
    errors = foreseen * per_size - target
    features, wrong, groups = [], [], []
    for number, size in enumerate(ERROR_SIZES):
        # Errors of other subjects of the same size, so that the pairing is not learned.
        order = np.random.default_rng(number).permutation(len(volumes))
        for i, volume in enumerate(volumes):
            error = size * errors[i if number == 0 else int(order[i])]
            image = as_input(volume)[None]
            features.append(encoder.inside(encoder.canonical(image, (target[i] + error)[None])))
            wrong.append(error)
            groups.append(int(people[i]))
    x, y = torch.cat(features), -torch.stack(wrong)
    weight, _ = _ridge(x - x.mean(dim=0), y * sizes, np.array(groups))
    weight = weight * per_size[:, None]
    encoder.correct = _linear(weight, y.mean(dim=0) - weight @ x.mean(dim=0))
    fit.encoder.load_state_dict(encoder.state_dict())


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
