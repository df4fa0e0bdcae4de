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

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import SILENT, Json, ModelError, Progress
from stylegan3d.dataset.pack import Pack, write_array
from stylegan3d.devices import one_thread
from stylegan3d.geometry.space import unit
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import Grid
from stylegan3d.networks.deformation import Basis, exponential, resize, warp
from stylegan3d.networks.encoder import FittingEncoder
from stylegan3d.networks.registration import SQUARINGS, Demons, match_intensities, register
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import LeveledSynthesis, MappingNetwork, set_gaussian
from stylegan3d.pools import LOST, open_pool
from stylegan3d.recipe.model import encode_rows, label_dim, schema_of
from stylegan3d.storage.files import atomic_file, atomic_write_text, only_run, output_errors
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
INFO, TEMPLATE = "anatomy.json", "template.npy"
VELOCITIES, CANONICAL = "velocities.npy", "canonical.npy"


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Result of `find_anatomy`.

    Attributes
    ----------
    folder : Path
        Where it is stored; fits keep temporary files there.
    rows : ndarray, shape (n,)
        Pack rows of the training volumes.
    template : ndarray, shape (X, Y, Z), float32
        The common brain, values in [0, 1].
    velocities : ndarray, shape (n, 3, X/2, Y/2, Z/2), float16
        Velocity v such that template o exp(v) resembles the subject.
    canonical : ndarray, shape (n, X, Y, Z), uint8
        The subject warped to the common anatomy.
    """

    folder: Path
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
    scheduler: str | None = None,
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
    scheduler : str or None
        Address of a Dask cluster to use instead; its workers must see `folder`.
    report : callable or None
        Called with registrations done and total.

    Raises
    ------
    ModelError
        If the folder contains the anatomy of other data.
    """
    rows = pack.indices("train")
    volumes = digest_of(pack.volumes[row] for row in rows)
    settings = {"symmetric": symmetric, "rounds": [vars(one) for one in rounds]}
    key = json.dumps({"volumes": volumes} | settings)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not (folder / INFO).exists():
        atomic_write_text(folder / INFO, key)
    elif (folder / INFO).read_text(encoding="utf-8") != key:
        raise ModelError(
            f"The folder '{folder}' holds the anatomy of other volumes or settings; choose another "
            "folder for this run."
        )
    work = partial(_registered, jobs=jobs or os.cpu_count() or 1, scheduler=scheduler)
    if not (folder / CANONICAL).exists():
        for number, count in _rounds(pack, folder, rows, symmetric, rounds, work):
            report(number * len(rows) + count, len(rounds) * len(rows))
    return Anatomy(
        folder,
        rows,
        np.load(folder / TEMPLATE),
        np.load(folder / VELOCITIES, mmap_mode="r"),
        np.load(folder / CANONICAL, mmap_mode="r"),
    )


def _rounds(
    pack: Pack, folder: Path, rows: np.ndarray, symmetric: bool, rounds: Sequence[Demons], work: Any
) -> Iterator[tuple[int, int]]:
    """Yields the number of the round, and how many registrations of it are done."""
    places = [folder / f"round-{number}" for number in range(len(rounds))]
    begun = [number for number, place in enumerate(places) if (place / TEMPLATE).exists()]
    if not begun:
        template = _symmetrised(pack.template, symmetric)
        write_array(places[0] / TEMPLATE, [template], template.shape, np.float32)
    for number in range(max(begun, default=0), len(rounds)):
        place, last = places[number].absolute(), number == len(rounds) - 1
        tasks = [
            _Task(place / f"{row}.npz", i, pack.volumes[row], rounds[number], last)
            for i, row in enumerate(rows)
        ]
        for count, _ in enumerate(work(tasks), 1):
            yield number, count
        _finish_round(place, folder if last else places[number + 1], rows, symmetric, last)
        for old in places[: number + 1]:
            shutil.rmtree(old, ignore_errors=True)


def _finish_round(
    place: Path, following: Path, rows: np.ndarray, symmetric: bool, last: bool
) -> None:
    """The next template: mean of the registered brains, warped to the mean shape."""

    def found(name: str) -> Iterator[np.ndarray]:
        for row in rows:
            with np.load(place / f"{row}.npz") as data:
                yield data[name]

    mean: Any = sum(volume.astype(np.float32) for volume in found("canonical"))
    template = _symmetrised(mean / (255 * len(rows)), symmetric)
    velocities, shape = found("velocity"), (len(rows), *next(found("velocity")).shape)
    if not last:
        center: Any = sum(v.astype(np.float32) for v in found("velocity")) / len(rows)
        if symmetric:
            center = (center + mirrored(center)) / 2
        template = _warped(template, torch.from_numpy(center)[None]).numpy()
        velocities = (v.astype(np.float32) - center for v in velocities)
    write_array(following / VELOCITIES, velocities, shape, np.float16)
    write_array(following / TEMPLATE, [template], template.shape, np.float32)
    if last:
        canonical = found("canonical")
        write_array(following / CANONICAL, canonical, (len(rows), *template.shape), np.uint8)


def mirrored(velocity: np.ndarray) -> np.ndarray:
    """The velocity field [..., 3, X, Y, Z] of the mirror image."""
    flipped = np.flip(velocity, axis=-3).copy()
    flipped[..., 0, :, :, :] *= -1
    return flipped


def _symmetrised(volume: np.ndarray, symmetric: bool) -> np.ndarray:
    return (volume + volume[::-1]) / 2 if symmetric else volume


@dataclass(frozen=True, eq=False)
class _Task:
    """A registration to the template beside `path`, with what was found before it there."""

    path: Path
    number: int
    volume: np.ndarray
    settings: Demons
    last: bool


def _registered(tasks: list[_Task], jobs: int, scheduler: str | None) -> Iterator[object]:
    """Run tasks without a result, in processes if there is enough to do; yields for each."""
    waiting = [task for task in tasks if not task.path.exists()]
    yield from range(len(tasks) - len(waiting))
    took = 0.0
    while waiting and not scheduler and not (jobs > 1 and took * len(waiting) > STARTING_S):
        begun = time.perf_counter()
        _register_one(None, waiting.pop(0))
        yield None
        took = time.perf_counter() - begun
    with open_pool(jobs, scheduler, len(waiting)) as pool:
        for _, done in pool.each(_register_one, None, waiting):
            if done is LOST:
                raise ModelError(f"{pool.loss} Of the registration, what is done is kept.")
            yield done


def _register_one(_: None, task: _Task) -> None:
    volume, place = unit(task.volume), task.path.parent
    template, known = np.load(place / TEMPLATE), place / VELOCITIES
    start = None
    if known.exists():
        start = torch.from_numpy(np.load(known, "r")[task.number].astype(np.float32))[None]
    matched = match_intensities(volume, template)
    with one_thread():  # wherever it is done, the result is the same to the last bit
        velocity = register(_batch(matched), _batch(template), task.settings, start)
        if task.last:
            canonical = read_spline(volume, -velocity)
        else:
            canonical = _warped(volume, -velocity).numpy()
    brain = np.rint(canonical.clip(0, 1) * 255).astype(np.uint8)
    with atomic_file(task.path) as file:
        np.savez(file, velocity=velocity[0].numpy().astype(np.float16), canonical=brain)


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
    for name in ("mean", "offsets", "start"):
        for kind in ("weight", "bias"):
            key = f"{name}.{kind}"
            if key in encoder:
                value = encoder[key]
                # One row of w after another for the offsets; the leading components for `start`.
                repeats = max(len(value) // len(scales), 1)
                encoder[key] = _rows(value, scales.repeat(repeats)[: len(value)])
    return mapping, synthesis, encoder, w_avg * scales.to(w_avg)


def _rows(value: Tensor, scales: Tensor) -> Tensor:
    return value * scales.to(value).reshape(-1, *[1] * (value.ndim - 1))


#: Folder of the registration in that of a fit.
ANATOMY = "anatomy"

# Width in voxels over which velocities fade out outside the brain.
TAPER = 1.0
BRAIN = 0.05
# Scale of random velocities that compensates for the truncated components, which hold a tenth of
# the standard deviation in the bundled model.
VELOCITY_SPREAD = 1.1
PENALTIES = tuple(10.0**k for k in range(-4, 5))
FOLDS = 4
# Of more subjects so many are taken by default: registration takes a day of six cores then.
MANY = 2000
# Subjects in memory at once, and numbers of a column block.
BLOCK, AT_ONCE = 8, 2**24
# Components smaller than this, relative to the largest, are rounding errors.
EMPTY = 1e-5


@dataclass(eq=False)
class FittedAnatomy:
    """An anatomy model as it is fitted.

    Attributes
    ----------
    pack : Pack
        The dataset, of which only those are training subjects that it is fitted to.
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
    """The dataset with `fit_on`, at most `MANY`, of its training subjects, far apart coarsely.

    Each is drawn with a probability that grows with its squared distance from those before, as
    k-means++ draws its centres (Arthur and Vassilvitskii 2007).
    """
    rows = pack.indices("train")
    count = settings.fit_on or MANY
    if count >= len(rows):
        return pack
    from sklearn.cluster import kmeans_plusplus

    # In one block: small ones between large ones that are freed would keep the heap as large.
    coarse = np.empty((len(rows), *settings.generator.base), np.float32)
    for place, row in zip(coarse, rows, strict=True):
        place[:] = F.adaptive_avg_pool3d(as_input(pack.volumes[row]), place.shape)[0]
    _, chosen = kmeans_plusplus(coarse.reshape(len(rows), -1), count, random_state=settings.seed)
    unused = set(rows) - set(rows[chosen])
    table = [row | {"split": "unused"} if i in unused else row for i, row in enumerate(pack.table)]
    return replace(pack, table=table)


def fit_anatomy(
    pack: Pack,
    folder: Path,
    settings: AnatomySettings | None = None,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress = SILENT,
    tell: Callable[[str], object] | None = None,
) -> FittedAnatomy:
    """Fit an anatomy model to the training subjects of a dataset.

    Registration takes nearly all of the time. Its results stay in the folder, so an interrupted fit
    goes on where it was.

    Parameters
    ----------
    pack : Pack
        The dataset.
    folder : Path
        Folder of the fit.
    settings : AnatomySettings or None
        Settings; by default those of the fit in the folder, or of the preset brain-2mm.
    jobs, scheduler
        See `find_anatomy`.
    progress : callable or None
        Called with registrations done and total.
    tell : callable or None
        Called with a sentence if only some of the subjects are taken.

    Raises
    ------
    ModelError
        If the settings do not fit the dataset, or those of the fit in the folder.
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
        used, every = (len(one.indices("train")) for one in (fit.pack, pack))
        if tell is not None and used < every:
            tell(
                f"The anatomy is fitted to {used} of {every} training subjects, chosen for spread; "
                "--fit-on takes another number."
            )
        found = find_anatomy(
            fit.pack,
            folder / ANATOMY,
            symmetric=settings.mirror,
            jobs=jobs,
            scheduler=scheduler,
            report=progress,
        )
        fit_networks(fit, found)
    return fit


@torch.no_grad()
def fit_networks(fit: FittedAnatomy, anatomy: Anatomy) -> None:
    """Fit the networks to a registered dataset."""
    synthesis = fit.synthesis
    config = synthesis.config
    mean = torch.from_numpy(anatomy.template)[None, None] * 2 - 1
    synthesis.image_const.copy_((haar(mean) if config.head == "haar" else mean)[0])
    near = _nearness(anatomy.template, config.grid(config.deformation_level))
    shapes, looks = velocities_of(fit, anatomy), images_of(fit, anatomy)
    center = _set_basis(synthesis.velocity_basis, shapes, near, anatomy.folder)
    synthesis.velocity_const.copy_(center)
    inside = _nearness(anatomy.template, config.grid(config.num_levels - 1)) == 1
    _set_basis(synthesis.image_basis, looks, inside.float(), anatomy.folder)
    if config.detail_basis:
        _set_details(fit, anatomy)
    codes = codes_of(fit, anatomy)
    found = config.deformation + config.image_basis
    pairs = codes.unflatten(0, (-1, len(anatomy.rows))).transpose(0, 1).flatten(0, 1)
    spread = torch.ones(config.w_dim)
    spread[: config.deformation] = VELOCITY_SPREAD
    _set_mapping(fit, pairs, lambda rest: _covariance(rest, found) * spread[:, None] * spread)
    _fit_encoder(fit, anatomy, codes)


def _set_basis(basis: Basis, fields: Iterable[Tensor], near: Tensor, folder: Path) -> Tensor:
    """Set a basis to the principal components of fields that fade with `near`; their mean."""
    data = _on_disk((one * near for one in fields), folder)
    count, channels, _ = basis.weight.shape
    components, deviations, center = _components_of(data, count)
    shape = (-1, channels, *near.shape)
    basis.set_fields((components * deviations[:, None]).reshape(shape), near > 0)
    return center.reshape(shape)[0]


def _set_details(fit: FittedAnatomy, anatomy: Anatomy) -> None:
    """Random mixtures of the residuals of all canonical brains after the basis images.

    Each is a sample from the Gaussian with the residuals' covariance, divided by the root of their
    number: summed with standard normal weights they reproduce its variance at every voxel, band and
    scale. The same number of principal components would explain little of it, since the residual is
    individual folding; and a mixture of all subjects reveals none.
    """
    synthesis = fit.synthesis
    config, basis = synthesis.config, synthesis.image_basis
    n = len(anatomy.canonical) * (2 if fit.settings.mirror else 1)
    draws = torch.randn(
        config.detail_basis, n, generator=torch.Generator().manual_seed(fit.settings.seed)
    )
    draws /= math.sqrt(n * config.detail_basis)
    done, total = 0, torch.empty(0)
    for image in _canonical(fit, anatomy):
        rest = (haar(image) if config.head == "haar" else image) - synthesis.image_const
        low = basis(basis.weights_in(rest[:, :1]))
        rest[:, :1] -= low
        fine = synthesis.continued(low)
        rest = (rest if fine is None else rest - fine).flatten(1)
        some = draws[:, done : done + len(rest)]
        total = torch.addmm(total, some, rest) if done else some @ rest
        done += len(rest)
    grid = config.grid(config.num_levels - 1)
    synthesis.detail_basis.set_fields(total.reshape(len(draws), -1, *grid), basis.inside)


def _blocks(fit: FittedAnatomy, anatomy: Anatomy) -> Iterator[tuple[bool, slice]]:
    """A few subjects after others, then all mirrored; whether mirrored, and which."""
    for flip in (False, True)[: 1 + fit.settings.mirror]:
        for start in range(0, len(anatomy.rows), BLOCK):
            yield flip, slice(start, start + BLOCK)


def velocities_of(fit: FittedAnatomy, anatomy: Anatomy) -> Iterator[Tensor]:
    """Velocities on the grid of their basis, in blocks [b, 3, X, Y, Z]; mirror images last."""
    config = fit.synthesis.config
    grid = config.grid(config.deformation_level)
    for flip, people in _blocks(fit, anatomy):
        fields = np.asarray(anatomy.velocities[people], dtype=np.float32)
        low = resize(torch.from_numpy(fields), grid)
        yield torch.from_numpy(mirrored(low.numpy())) if flip else low


def _canonical(fit: FittedAnatomy, anatomy: Anatomy) -> Iterator[Tensor]:
    """Canonical brains in [-1, 1], in blocks [b, 1, X, Y, Z]; mirror images last."""
    for flip, people in _blocks(fit, anatomy):
        images = as_input(anatomy.canonical[people]).transpose(0, 1)
        yield images.flip(2) if flip else images


def images_of(fit: FittedAnatomy, anatomy: Anatomy) -> Iterator[Tensor]:
    """Canonical brains minus the common one, at the last level's resolution, like `_canonical`."""
    config = fit.synthesis.config
    grid = config.grid(config.num_levels - 1)
    const = resize(torch.from_numpy(anatomy.template)[None, None] * 2 - 1, grid)
    return (resize(images, grid) - const for images in _canonical(fit, anatomy))


@torch.no_grad()
def codes_of(fit: FittedAnatomy, anatomy: Anatomy) -> Tensor:
    """w of every training brain (and mirror image) by projection on the bases, [n, w_dim]."""
    synthesis = fit.synthesis

    moves = (one - synthesis.velocity_const for one in velocities_of(fit, anatomy))
    both = ((synthesis.velocity_basis, moves), (synthesis.image_basis, images_of(fit, anatomy)))
    parts = [torch.cat([basis.weights_in(one) for one in fields]) for basis, fields in both]
    codes = torch.cat(parts, dim=1)
    return F.pad(codes, (0, synthesis.config.w_dim - codes.shape[1]))


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


def _on_disk(rows: Iterable[Tensor], folder: Path) -> np.ndarray:
    """Blocks of rows [b, ...] as one array [n, m], float32, mapped from a file without a name."""
    with output_errors(folder), TemporaryFile(dir=folder) as file:
        for block in rows:
            file.write(block.float().numpy().tobytes())
        m = block[0].numel()
        return np.memmap(file, np.float32, "r").reshape(-1, m)


def _columns(data: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Some columns after others, [n, some] in float64: less their mean, and that."""
    step = max(AT_ONCE // len(data), 1)
    for start in range(0, data.shape[1], step):
        x = torch.from_numpy(data[:, start : start + step].astype(np.float64))
        mean = x.mean(dim=0)
        yield x.sub_(mean), mean


def _products(data: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """Inner products of rows less their mean [n, n], float64, and the mean [m]."""
    products, means = torch.zeros(len(data), len(data)).double(), []
    for x, mean in _columns(data):
        products.addmm_(x, x.T)
        means.append(mean.float())
    return products.numpy(), torch.cat(means)


def _combined(weights: Tensor, data: np.ndarray) -> Tensor:
    """Sums of rows less their mean: weights [k, n] -> [k, m]."""
    return torch.cat([(weights.double() @ x).float() for x, _ in _columns(data)], dim=1)


def _components_of(data: np.ndarray, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """PCA of rows, far fewer than columns, from their inner products.

    Parameters
    ----------
    data : ndarray, shape (n, m)

    Returns
    -------
    tuple of Tensor
        Components [count, m] of length one, standard deviations [count], mean [m]; beyond the rank
        of the data components are zero and deviations one.
    """
    products, center = _products(data)
    values, vectors = (one.flip(-1) for one in torch.linalg.eigh(torch.from_numpy(products)))
    rank = int((values[:count] > 1e-6 * values[0]).sum())
    sizes = values[:rank].sqrt()
    components = _combined(F.pad((vectors[:, :rank] / sizes).T, (0, 0, 0, count - rank)), data)
    deviations = F.pad(sizes / math.sqrt(len(data)), (0, count - rank), value=1.0)
    return components, deviations.float(), center


def _fit_encoder(fit: FittedAnatomy, anatomy: Anatomy, codes: Tensor) -> None:
    """Fit the encoder's regression, with a cross-validated penalty."""
    encoder = FittingEncoder(fit.settings.encoder, fit.synthesis)
    target = codes[:, : fit.synthesis.config.deformation]
    volumes = [fit.pack.volumes[row] for row in anatomy.rows]
    table = [fit.pack.table[row] for row in anatomy.rows]
    people = np.array([str(row.get("person", row["name"])) for row in table])
    if fit.settings.mirror:
        volumes += [volume[::-1] for volume in volumes]
        people = np.tile(people, 2)
    coarse = _on_disk((encoder.coarse(as_input(v)[None]) for v in volumes), anatomy.folder)
    # The penalty minimises the error of the displacement.
    sizes = fit.synthesis.velocity_basis.weight.flatten(1).norm(dim=1)
    # Few subjects have fewer components than there are fields: the rest are empty.
    per_size = torch.where(sizes > EMPTY * sizes.max(), 1 / sizes, 0.0)
    weight, encoder.start_mean = _ridge(coarse, target * sizes, people)
    encoder.start = _linear(weight * per_size[:, None], target.mean(dim=0))
    fit.encoder.load_state_dict(encoder.state_dict())


def _ridge(x: np.ndarray, y: Tensor, people: np.ndarray) -> tuple[Tensor, Tensor]:
    """Ridge regression of y [n, k] on x [n, m], with many more m than n.

    Returns
    -------
    tuple of Tensor
        Weight [k, m], and mean of x [m].
    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    kernel, mean = _products(x)
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
    dual = np.asarray(search.best_estimator_.dual_coef_)
    return _combined(torch.from_numpy(dual).T, x), mean


def _linear(weight: Tensor, bias: Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer.requires_grad_(False)
