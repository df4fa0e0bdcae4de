"""Training pairs of a flow: a brain of the generator without flow, and the subject it resembles.

For an anatomy model the first of a pair has the velocities and basis images from the encoder, and
the details of a random brain. For an autoencoder it is the decoded latent of the subject, moved
towards that of a random brain, increasingly with each draw. Each subject is used as is and
mirrored, with a few draws each.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import as_packed, to_display
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.autoencoder import LatentSynthesis
from stylegan3d.networks.flow import Flow
from stylegan3d.networks.noise import drawn_noise
from stylegan3d.progress import Progress
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.filled_files import FilledFile, fill_files

if TYPE_CHECKING:
    from stylegan3d.model.family import HasVariations

DRAWS = 3
# Strengths of the draws of an autoencoder's latents, see `HasVariations`.
STRENGTHS = (0.3, 0.7, 0.9)
# Seeds of the details, outside the usual range.
FIRST_SEED = 1_000_000
VOLUMES, INFO = "pairs.npy", "pairs.json"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Result of `make_pairs`.

    Attributes
    ----------
    made : ndarray, shape (n, draws, X, Y, Z), uint8
        Brains of the generator without the flow.
    rows, mirrored, training : ndarray, shape (n,)
        Pack row of each item, whether it is mirrored, and whether it is for training.
    """

    made: np.ndarray
    rows: np.ndarray
    mirrored: np.ndarray
    training: np.ndarray
    pack: Pack

    @property
    def draws(self) -> int:
        """Brains of the generator per subject."""
        return int(self.made.shape[1])

    def cube(
        self, index: int, draw: int, place: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cube of one of the brains and of the subject, float32 in [-1, 1]."""
        start, end = self.made[index, draw][place], self.person(index)[place]
        return start.astype(np.float32) / 127.5 - 1, end.astype(np.float32) / 127.5 - 1

    def person(self, index: int) -> np.ndarray:
        """The subject of a pair, uint8 (X, Y, Z)."""
        volume = self.pack.volumes[self.rows[index]]
        return volume[::-1] if self.mirrored[index] else volume


def make_pairs(
    generator: Generator,
    pack: Pack,
    folder: Path,
    *,
    draws: int = DRAWS,
    report: Progress | None = None,
) -> Pairs:
    """Make the pairs of a data set, resuming if interrupted.

    Parameters
    ----------
    generator : Generator
        Generator with an encoder; an existing flow is ignored.
    folder : Path
        Folder of the pairs.
    draws : int
        Draws per subject and mirror image.
    report : callable or None
        Called with pairs done and total.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, or the folder contains pairs of another one.
    """
    check_flow(generator, pack)
    generator = without_flow(generator)
    of_people = [(int(row), True) for row in pack.indices("train")]
    of_people += [(int(row), False) for row in pack.indices("validation")]
    whose = [(row, mirror, known) for row, known in of_people for mirror in (False, True)]
    rows, mirrored, training = (np.array(column) for column in zip(*whose, strict=True))
    key = {"generator": generator.hash, "volumes": _digest(pack), "draws": draws}
    shape = (len(rows), draws, *pack.space.shape)
    file = FilledFile(VOLUMES, shape, np.uint8)

    def pairs(files: list[np.ndarray]) -> Pairs:
        return Pairs(files[0], rows, mirrored, training, pack)

    def fill(files: list[np.ndarray], index: int) -> None:
        _fill(pairs(files), index, generator)

    return pairs(fill_files(folder, INFO, key, [file], fill, report))


@torch.inference_mode()
def _fill(pairs: Pairs, index: int, generator: Generator) -> None:
    assert generator.encoder is not None
    draws = pairs.draws
    person = torch.from_numpy(pairs.person(index).astype(np.float32))
    w = generator.encoder(person[None, None].to(generator.device) / 127.5 - 1).clone()
    first = FIRST_SEED + index * draws
    autoencoder = isinstance(generator.synthesis, LatentSynthesis)
    alike = _variations if autoencoder else _with_details
    for draw, one in enumerate(alike(generator, w, range(first, first + draws))):
        pairs.made[index, draw] = as_packed(to_display(generator.synthesis(one, "none"))[0])


def _with_details(generator: Generator, w: Tensor, seeds: range) -> Iterator[Tensor]:
    """A subject's w [1, layers, w_dim] with the details of random brains."""
    details = anatomy_network(generator).config.details
    random = seed_latents(generator, seeds)
    for row in random:
        one = w.clone()
        one[:, :, details] = row[:, details]
        yield one


def _variations(generator: Generator, w: Tensor, seeds: range) -> Iterator[Tensor]:
    """A subject's w [1, 1, w_dim] moved towards random brains."""
    mapping = cast("HasVariations", generator.mapping)
    for number, seed in enumerate(seeds):
        source = torch.Generator().manual_seed(seed)
        z = torch.randn(1, generator.config.z_dim, generator=source).to(w)
        yield mapping.varied(w[:, 0], z, STRENGTHS[number % len(STRENGTHS)])[:, None]


def check_flow(generator: Generator, pack: Pack) -> None:
    """Check that a generator can have a flow.

    Raises
    ------
    ModelError
        If it lacks a requirement, or its grid differs from the data set's.
    """
    if isinstance(generator.synthesis, LatentSynthesis):
        if generator.encoder is None:
            raise ModelError(f"'{generator.name}' cannot be given a flow: that needs an encoder.")
    elif not isinstance(generator.synthesis, AnatomyNetwork):
        raise ModelError(
            f"'{generator.name}' cannot be given a flow: only anatomy models, autoencoders and "
            "latent diffusions can."
        )
    else:
        config = generator.synthesis.config
        if generator.encoder is None or not config.detail_basis or not config.deformation:
            raise ModelError(
                f"'{generator.name}' cannot be given a flow: that needs an encoder, detail images "
                "and a deformation."
            )
    if generator.space.shape != pack.space.shape:
        raise ModelError("The generator and the data set have different grids; prepare it again.")


def without_flow(generator: Generator) -> Generator:
    """The generator without its flow."""
    if isinstance(generator.synthesis, LatentSynthesis):
        return generator  # without noise the flow is not used
    network = anatomy_network(generator)
    if network.last_flow is None:
        return generator
    config = replace(network.config, flow_channels=(), flow_curves=False)
    synthesis = AnatomyNetwork(config).to(generator.device)
    # The remaining tensors are those of the flow.
    synthesis.load_state_dict(network.state_dict(), strict=False)
    plain = copy.copy(generator)
    plain.config, plain.synthesis = config, synthesis.eval().requires_grad_(False)
    return plain


def flow_and_steps(generator: Generator) -> tuple[Flow | None, int]:
    """The generator's flow, if it has one, and the steps along it."""
    synthesis = generator.synthesis
    if isinstance(synthesis, LatentSynthesis):
        return synthesis.flow, synthesis.flow_steps
    if isinstance(synthesis, AnatomyNetwork) and synthesis.config.flow_channels:
        return synthesis.flow, synthesis.config.flow_steps
    return None, 0


def flow_noise(generator: Generator, seed: int) -> Tensor:
    """The noise [1, 1, X, Y, Z] that a seed gives the generator's flow."""
    synthesis = generator.synthesis
    if isinstance(synthesis, LatentSynthesis):
        assert synthesis.flow is not None
        (noise,) = drawn_noise([synthesis.flow.noise], seed)
    else:
        *_, noise = anatomy_network(generator).noise_maps(seed)
    assert noise is not None
    return noise


def _digest(pack: Pack) -> str:
    digest = hashlib.sha256()
    for split in ("train", "validation"):
        for row in pack.indices(split):
            digest.update(pack.volumes[row].tobytes())
    return digest.hexdigest()
