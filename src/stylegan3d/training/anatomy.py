"""Groupwise registration of a data set to a common anatomy.

Each training brain is registered to the group mean with a stationary velocity field, and the mean
is recomputed from the registered brains and re-centred to average shape, for a few rounds (after
Joshi et al. 2004, "Unbiased diffeomorphic atlas construction"). The result for each subject is a
velocity field (shape) and the brain warped to the common anatomy (appearance). A generator with a
deformation starts from their principal components, whose recombination gives new anatomies.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import one_thread
from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import unit
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.registration import SQUARINGS, Demons, match_intensities, register
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.storage.files import atomic_write_bytes, atomic_write_text, output_errors

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
    report: Progress | None = None,
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
    digest = hashlib.sha256()
    for row in rows:
        digest.update(pack.volumes[row].tobytes())
    key: Json = {"volumes": digest.hexdigest(), "symmetric": symmetric}
    key["rounds"] = [vars(r) for r in rounds]
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _check_key(folder, key)
    if not (folder / CANONICAL).exists():
        with _Workers(jobs or os.cpu_count() or 1) as workers:
            _rounds(pack, folder, rows, symmetric, rounds, workers, report)
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
    workers: _Workers,
    report: Progress | None,
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
                    np.array(pack.volumes[row]),
                    template,
                    None if velocities is None else velocities[i],
                    settings,
                    last,
                )
                for i, row in enumerate(rows)
            ]
            for count, _ in enumerate(workers.work(tasks)):
                if report:
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


class _Workers:
    """Processes that register brains, started once there is enough to do for them.

    Parameters
    ----------
    jobs : int
        Number of processes; 1 for none.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def work(self, tasks: list[_Task]) -> Iterator[Path]:
        """Run tasks without a result; yields result files."""
        waiting = []
        for task in tasks:
            if task.path.exists():
                yield task.path
            else:
                waiting.append(task)
        while waiting and self._pool is None:
            begun = time.perf_counter()
            # With one thread, as in a process: the result is the same to the last bit.
            with one_thread():
                done = _register_one(waiting.pop(0))
            took = time.perf_counter() - begun
            if self.jobs > 1 and took * len(waiting) > STARTING_S:
                context = multiprocessing.get_context("spawn")  # a fork with torch may hang
                self._pool = ProcessPoolExecutor(
                    self.jobs, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
                )
            yield done
        if self._pool is not None:
            yield from self._in_processes(self._pool, waiting)

    @staticmethod
    def _in_processes(pool: ProcessPoolExecutor, tasks: list[_Task]) -> Iterator[Path]:
        futures = [pool.submit(_register_one, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise ModelError(
                "A process that registered brains was ended, most likely for lack of memory; train "
                "again, what is done is kept."
            ) from error


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
    displacement = resize(exponential(velocity, SQUARINGS), _grid(volume))
    return warp(_batch(volume), displacement)[0, 0]


def read_spline(volume: np.ndarray, velocity: Tensor) -> np.ndarray:
    """(X, Y, Z) warped by exp(v) with cubic splines, which preserve texture."""
    displacement = resize(exponential(velocity, SQUARINGS), _grid(volume))[0].numpy()
    places = np.indices(volume.shape, dtype=np.float32)
    for axis, n in enumerate(volume.shape):
        places[axis] += displacement[axis] * n / 2
    return ndimage.map_coordinates(volume, places, order=3, mode="nearest")


def _grid(volume: np.ndarray) -> tuple[int, int, int]:
    a, b, c = volume.shape
    return a, b, c
