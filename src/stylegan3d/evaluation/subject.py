"""Subject of an evaluation: a generator, or volumes of another program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stylegan3d.dataset.volume_sets import VolumeSet
from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import Generator
from stylegan3d.model.sampling import RandomBrains


class Brains(Protocol):
    """Synthetic volumes, uint8 (X, Y, Z) each, one by one or stacked."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...

    def stack(self) -> np.ndarray:
        """All of them, [n, X, Y, Z]."""
        ...


class Subject(Protocol):
    """Synthetic brains by number.

    Attributes
    ----------
    name, hash : str
        Name and hash of the generator or folder.
    space : Space
        The grid of its brains.
    generator : Generator or None
        The generator, if any.
    """

    name: str
    hash: str
    space: Space
    generator: Generator | None

    def numbers(self, first: int, count: int) -> range:
        """Numbers of `count` brains from `first`, or of as many as there are."""
        ...

    def brains(self, numbers: Sequence[int], truncation: float) -> Brains:
        """The brains with these numbers."""
        ...

    def label(self, number: int) -> str:
        """Name of a brain: its seed or file."""
        ...

    @property
    def notes(self) -> list[str]:
        """Notes for the report."""
        ...


class GeneratorSubject:
    """A generator, whose brains are numbered by seeds."""

    def __init__(self, generator: Generator) -> None:
        self.generator: Generator | None = generator
        self._made_by = generator
        self.name, self.hash, self.space = generator.name, generator.hash, generator.space

    def numbers(self, first: int, count: int) -> range:
        """See `Subject`."""
        return range(first, first + count)

    def brains(self, numbers: Sequence[int], truncation: float) -> Brains:
        """See `Subject`."""
        return RandomBrains(self._made_by, numbers, truncation=truncation)

    def label(self, number: int) -> str:
        """See `Subject`."""
        return f"seed {number}"

    @property
    def notes(self) -> list[str]:
        """See `Subject`."""
        return [self._made_by.frame_note] if self._made_by.frame_note else []


class VolumesSubject:
    """A folder of volumes, numbered from 0 in the order of their names."""

    def __init__(self, volumes: VolumeSet) -> None:
        self.generator: Generator | None = None
        self._volumes = volumes
        self.name, self.hash, self.space = volumes.path.name, volumes.hash, volumes.space

    def numbers(self, first: int, count: int) -> range:
        """See `Subject`; always from the first, limited to the existing volumes."""
        return range(min(count, len(self._volumes.names)))

    def brains(self, numbers: Sequence[int], truncation: float) -> Brains:
        """See `Subject`; truncation has no effect."""
        return StoredBrains(self._volumes.volumes[list(numbers)])

    def label(self, number: int) -> str:
        """See `Subject`."""
        return self._volumes.names[number]

    @property
    def notes(self) -> list[str]:
        """See `Subject`."""
        return self._volumes.notes


@dataclass(frozen=True, eq=False)
class StoredBrains:
    """Brains in memory, uint8 [n, X, Y, Z]."""

    volumes: np.ndarray

    def __len__(self) -> int:
        return len(self.volumes)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self.volumes)

    def stack(self) -> np.ndarray:
        """All of them."""
        return self.volumes
