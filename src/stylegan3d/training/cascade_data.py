"""What the flows of a cascade learn from: people, and the coarse image that the model has of each.

The layout of the folds is learned from whole brains on half the grid, beside the image that an
anatomy model makes of what its encoder finds, so that what is seen in training is of the kind that
is seen of random brains. The finest bands are learned from cubes, beside the person's own image on
half the grid. All are kept in half precision in memory, mirrored too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.networks.band_unet import places_on
from stylegan3d.networks.cascade import continued
from stylegan3d.networks.config import FLOW_UNIT
from stylegan3d.networks.deformation import add_identity, read_at
from stylegan3d.networks.resampling import haar
from stylegan3d.progress import Progress

# A voxel lies in the brain where the mean brain is brighter than this.
BRAIN = 0.1
# Noise on the image on half the grid that the finest flow sees, in intensities of [-1, 1]: what the
# flow before it draws is never quite a person's.
SEEN_NOISE = 0.02
# Grid on which a random displacement is drawn, its deviation as a share of half the grid's width
# (about 6 mm) and the scale of each axis, at most.
KNOTS, BEND, SCALE = (5, 7, 6), 0.06, 0.06


@dataclass(frozen=True, eq=False)
class People:
    """A data set with its generator.

    Attributes
    ----------
    generator : Generator
        An anatomy model with an encoder.
    """

    pack: Pack
    generator: Generator


class Examples(Protocol):
    """What a flow learns from.

    Attributes
    ----------
    drawn : int
        How many of the eight bands are drawn.
    spread : Tensor, [1, drawn, 1, 1, 1]
        Their deviation beyond what is seen.
    training : ndarray of bool
        Which brains are learned from; the others are held out.
    """

    drawn: int
    spread: Tensor
    training: np.ndarray

    def draw(
        self, rng: np.random.Generator, count: int, *, training: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bands of people [count, 8, X, Y, Z], what is seen beside them, and the places there."""


def generator_of(people: People) -> Generator:
    """The generator, which fits the data set.

    Raises
    ------
    ModelError
        If it does not, or has no encoder.
    """
    generator = people.generator
    config = anatomy_network(generator).config
    if generator.encoder is None or config.head != "haar" or not config.image_basis:
        raise ModelError(
            f"'{generator.name}' cannot be given a cascade: that needs an encoder, basis images "
            "and a `haar` head."
        )
    if generator.space.shape != people.pack.space.shape:
        raise ModelError("The generator and the data set have different grids; prepare it again.")
    return generator


class Layouts:
    """Whole brains on half the grid, as bands on its quarter.

    To learn from, brain and coarse image are bent together: there are few people, and a network
    that sees each in one shape only learns their folds by heart.

    Parameters
    ----------
    people : People
        Whose brains they are.
    bend : float
        Share of the brains to learn from that are bent.

    Attributes
    ----------
    bands : Tensor, [2 n, 8, X / 4, Y / 4, Z / 4], half precision
        Of people; every second one is mirrored.
    coarse : Tensor, [2 n, 1, X / 2, Y / 2, Z / 2], half precision
        The model's images of them.
    training : ndarray of bool, (2 n,)
        Which are learned from.
    """

    drawn = 8

    @torch.no_grad()
    def __init__(self, people: People, bend: float = 0.0, progress: Progress | None = None) -> None:
        generator, pack = generator_of(people), people.pack
        x, y, z = self.grid = _divided(pack.space.shape, 4)
        self.pack, self.bend = pack, bend
        count = 2 * len(pack)
        self.bands = torch.empty(count, 8, x, y, z, dtype=torch.float16)
        self.coarse = torch.empty(count, 1, 2 * x, 2 * y, 2 * z, dtype=torch.float16)
        splits = [split == "train" for split in pack.column("split")]
        self.training = np.repeat(np.array(splits), 2)
        network = anatomy_network(generator)
        assert generator.encoder is not None
        for index in range(count):
            volume = person(pack, index).to(generator.device)
            self.bands[index] = haar(haar(volume)[:, :1])[0].half()
            self.coarse[index] = network.coarse(generator.encoder(volume))[0].half()
            if progress:
                progress(index + 1, count)
        self.places = places_on((x, y, z), torch.device("cpu"))
        self.spread = self._spread(torch.from_numpy(pack.template))

    def _spread(self, template: Tensor) -> Tensor:
        inside = (haar(haar(template[None, None])[:, :1])[0, 0] > BRAIN).flatten()
        squares = torch.zeros(8)
        rows = np.flatnonzero(self.training)
        for row in rows:
            beyond = self.bands[row].float() - haar(self.coarse[row : row + 1].float())[0]
            squares += beyond.flatten(1)[:, inside].square().mean(dim=1)
        return (squares / len(rows)).sqrt()[None, :, None, None, None]

    def _pair(self, row: int, bend: Bend | None) -> tuple[Tensor, Tensor]:
        """Bands [1, 8, X / 4, ...] of a person and of what is seen."""
        coarse = self.coarse[row : row + 1].float()
        if bend is None:
            return self.bands[row : row + 1].float(), haar(coarse)
        # On the full grid: what is interpolated on half of it would lose detail.
        whole = bend.of(person(self.pack, row))
        return haar(haar(whole)[:, :1]), haar(bend.of(coarse))

    def draw(
        self, rng: np.random.Generator, count: int, *, training: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Examples`."""
        whose = rng.choice(np.flatnonzero(self.training == training), count)
        pairs = []
        for row in whose:
            is_bent = training and rng.random() < self.bend
            pairs.append(self._pair(int(row), Bend.drawn(BEND, rng) if is_bent else None))
        bands, seen = (torch.cat(list(part)) for part in zip(*pairs, strict=True))
        return bands, seen, self.places


class Finest:
    """Cubes anywhere in the brain, of the bands on half the grid.

    Parameters
    ----------
    people : People
        Whose volumes they are cut from.
    side : int
        Edge of a cube in voxels of the bands' grid.
    """

    drawn = 7

    def __init__(self, people: People, side: int) -> None:
        generator, self.pack = generator_of(people), people.pack
        self.taps = anatomy_network(generator).config.fine_taps
        self.side = side
        self.grid = _divided(self.pack.space.shape, 2)
        if side > min(self.grid):
            raise ModelError(f"Cubes of {2 * side} voxels do not fit into these volumes.")
        self.training = np.array([split == "train" for split in self.pack.column("split")])
        self.inside = np.argwhere(self.pack.template[::2, ::2, ::2] > BRAIN)
        self.places = places_on(self.grid, torch.device("cpu"))[0]
        rng = np.random.default_rng(0)
        self.spread = torch.ones(1, 7, 1, 1, 1)
        bands, seen, _ = self.draw(rng, 256, training=True)
        beyond = (bands - seen)[:, 1:]
        self.spread = beyond.square().mean(dim=(0, 2, 3, 4)).sqrt()[None, :, None, None, None]

    def draw(
        self, rng: np.random.Generator, count: int, *, training: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Examples`."""
        whose = rng.choice(np.flatnonzero(self.training == training), count)
        cut = [self._cube(rng, int(row)) for row in whose]
        volumes, places = (torch.stack(list(part)) for part in zip(*cut, strict=True))
        bands = haar(volumes)
        noise = torch.from_numpy(rng.standard_normal(bands[:, :1].shape).astype(np.float32))
        low = bands[:, :1] + SEEN_NOISE * noise
        # What is kept is the low band as it is seen: only what is fine is learned.
        return torch.cat([low, bands[:, 1:]], dim=1), continued(low, self.taps), places

    def _cube(self, rng: np.random.Generator, row: int) -> tuple[Tensor, Tensor]:
        """A cube [1, 2 side, ...] in [-1, 1] of a person, mirrored or not, and its places."""
        middle = self.inside[rng.integers(len(self.inside))]
        jitter = rng.integers(-FLOW_UNIT, FLOW_UNIT + 1, 3)
        corner = [
            int(np.clip(m + j - self.side // 2, 0, n - self.side))
            for m, j, n in zip(middle, jitter, self.grid, strict=True)
        ]
        x, y, z = (slice(2 * c, 2 * (c + self.side)) for c in corner)
        volume = self.pack.volumes[row]
        if rng.random() < 0.5:
            volume = volume[::-1]
        cube = torch.from_numpy(volume[x, y, z].astype(np.float32))[None] / 127.5 - 1
        a, b, c = (slice(n, n + self.side) for n in corner)
        return cube, self.places[:, a, b, c]


@dataclass(frozen=True, eq=False)
class Bend:
    """A random smooth deformation.

    Parameters
    ----------
    knots : Tensor, [1, 3, 5, 7, 6]
        Displacement, channels z, y, x, in normalised coordinates.
    scale : Tensor, [1, 3, 1, 1, 1]
        Of each axis, in the same order.
    """

    knots: Tensor
    scale: Tensor

    @classmethod
    def drawn(cls, most: float, rng: np.random.Generator) -> Bend:
        """One whose displacement deviates by `most` of the grid's half width at most."""
        knots = rng.uniform(0, most) * rng.standard_normal((1, 3, *KNOTS))
        scale = rng.uniform(1 - SCALE, 1 + SCALE, (1, 3, 1, 1, 1))
        return cls(*(torch.from_numpy(x.astype(np.float32)) for x in (knots, scale)))

    def of(self, image: Tensor) -> Tensor:
        """An image [1, C, X, Y, Z], on any grid."""
        shape = list(image.shape[2:])
        shift = F.interpolate(self.knots, size=shape, mode="trilinear", align_corners=True)
        identity = add_identity(torch.zeros_like(shift))
        return read_at(image, identity * self.scale + shift)


def person(pack: Pack, index: int) -> Tensor:
    """[1, 1, X, Y, Z] in [-1, 1] of a person; those with an odd index are mirrored."""
    volume = pack.volumes[index // 2]
    if index % 2:
        volume = volume[::-1]
    return torch.from_numpy(volume.astype(np.float32))[None, None] / 127.5 - 1


def _divided(shape: tuple[int, int, int], by: int) -> tuple[int, int, int]:
    if any(n % by for n in shape):
        raise ModelError(f"A cascade takes volumes whose sides are multiples of {by} voxels.")
    x, y, z = (n // by for n in shape)
    return x, y, z
