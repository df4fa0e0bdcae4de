"""Pairs that a flow learns from: a brain of the linear model, and the person it was made after.

The first of a pair has the velocities and basis images that the encoder finds in the person, and
the details of a random brain: what the generator makes with that coarse anatomy. Each person is
seen as it is and mirrored, with a few draws of details each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.errors import ModelError
from stylegan3d.generator import Generator, seed_latents, to_display
from stylegan3d.metrics.sampling import as_packed
from stylegan3d.training.pack import Pack
from stylegan3d.volumes import atomic_write_text, output_errors

DRAWS = 3
# Seeds of the details: none that somebody browses.
FIRST_SEED = 1_000_000
VOLUMES, INFO = "pairs.npy", "pairs.json"
REMEMBERED = 20


@dataclass(frozen=True, eq=False)
class Pairs:
    """What `make_pairs` leaves.

    Attributes
    ----------
    made : uint8 (n, draws, X, Y, Z), of the linear model.
    rows : (n,) the pack's row of each; mirrored : (n,) bool; training : (n,) bool.
    """

    made: np.ndarray
    rows: np.ndarray
    mirrored: np.ndarray
    training: np.ndarray
    pack: Pack

    @property
    def draws(self) -> int:
        """Brains of the linear model to each person."""
        return int(self.made.shape[1])

    def cube(
        self, index: int, draw: int, place: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cube of one of the brains and of the person, float32 in [-1, 1]."""
        start, end = self.made[index, draw][place], self.person(index)[place]
        return start.astype(np.float32) / 127.5 - 1, end.astype(np.float32) / 127.5 - 1

    def person(self, index: int) -> np.ndarray:
        """uint8 (X, Y, Z) that the pair's first was made after."""
        volume = self.pack.volumes[self.rows[index]]
        return volume[::-1] if self.mirrored[index] else volume


def make_pairs(
    generator: Generator,
    pack: Pack,
    folder: Path,
    *,
    draws: int = DRAWS,
    report: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Make the pairs of a data set, or go on where an interrupted run stopped.

    Parameters
    ----------
    generator : with an encoder and detail images, and no flow.
    folder : where they are kept.
    draws : of details for each person and mirror image.
    report : called with pairs done and in all.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, or the folder holds the pairs of another one.
    """
    can_flow(generator, pack)
    of_people = [(int(row), True) for row in pack.indices("train")]
    of_people += [(int(row), False) for row in pack.indices("validation")]
    whose = [(row, mirror, known) for row, known in of_people for mirror in (False, True)]
    rows, mirrored, training = (np.array(column) for column in zip(*whose, strict=True))
    key = {"generator": generator.hash, "volumes": _digest(pack), "draws": draws}
    shape = (len(rows), draws, *pack.space.shape)
    done, made = open_volumes(folder / VOLUMES, folder / INFO, key, shape, np.uint8)
    pairs = Pairs(made, rows, mirrored, training, pack)
    for index in range(done, len(rows)):
        _fill(pairs, index, generator)
        if (index + 1) % REMEMBERED == 0 or index + 1 == len(rows):
            made.flush()
            atomic_write_text(folder / INFO, json.dumps(key | {"done": index + 1}), overwrite=True)
        if report:
            report(index + 1, len(rows))
    return pairs


@torch.inference_mode()
def _fill(pairs: Pairs, index: int, generator: Generator) -> None:
    assert generator.encoder is not None
    config, draws = generator.config, pairs.made.shape[1]
    details = slice(config.linear_dim - config.detail_basis, config.linear_dim)
    person = torch.from_numpy(pairs.person(index).astype(np.float32))
    w = generator.encoder(person[None, None].to(generator.device) / 127.5 - 1).clone()
    first = FIRST_SEED + index * draws
    random = seed_latents(generator, range(first, first + draws))
    for draw in range(draws):
        w[:, :, details] = random[draw, :, details]
        pairs.made[index, draw] = as_packed(to_display(generator.synthesis(w, "none"))[0])


def can_flow(generator: Generator, pack: Pack) -> None:
    """Check that a generator can be given a flow.

    Raises
    ------
    ModelError
        If it has one already, lacks what a flow needs, or its grid is not the data set's.
    """
    config = generator.config
    if config.flow_channels:
        raise ModelError(f"'{generator.name}' has a flow already; take the generator without it.")
    if generator.encoder is None or not config.detail_basis or not config.deformation:
        raise ModelError(
            f"'{generator.name}' cannot be given a flow: that takes an encoder, detail images and "
            "a deformation."
        )
    if generator.space.shape != pack.space.shape:
        raise ModelError("The generator and the data set have different grids; prepare it again.")


def open_volumes(
    path: Path, info: Path, key: dict[str, Any], shape: tuple[int, ...], dtype: type
) -> tuple[int, np.memmap[Any, Any]]:
    """A file of volumes that is filled one by one, and how many are in it.

    Raises
    ------
    ModelError
        If it holds those of something else than `key` tells.
    """
    if info.exists() and path.exists():
        known = json.loads(info.read_text(encoding="utf-8"))
        done = int(known.pop("done"))
        if known != key:
            raise ModelError(
                f"The folder '{path.parent}' holds the pairs of another generator or data set; "
                "choose another folder for this run."
            )
        return done, np.lib.format.open_memmap(path, "r+")
    with output_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        return 0, np.lib.format.open_memmap(path, "w+", dtype, shape)


def _digest(pack: Pack) -> str:
    digest = hashlib.sha256()
    for split in ("train", "validation"):
        for row in pack.indices(split):
            digest.update(pack.volumes[row].tobytes())
    return digest.hexdigest()
