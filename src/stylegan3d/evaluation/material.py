"""Volumes, features and measures of an evaluation, computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from stylegan3d.base import SILENT, Json, Progress, StyleGAN3DError
from stylegan3d.dataset.pack import Pack
from stylegan3d.dataset.volume_set import VolumeSet
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.evaluation.table import keys
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE, Labeller, tissue_shapes
from stylegan3d.metrics import features
from stylegan3d.metrics.plausibility import FOREGROUND
from stylegan3d.model.generator import Generator, RandomBrains
from stylegan3d.projection.settings import BUDGETS, TUNED
from stylegan3d.segmentation.classes import MEASURES
from stylegan3d.segmentation.inference import bundled_segmenter, measure
from stylegan3d.storage.encoding import packed_arrays, read_arrays, read_json, to_json, to_plain
from stylegan3d.storage.files import atomic_write_bytes

#: Version of all measures: increase it when a figure of the same brains would now be another.
VERSION = "1"


class Store:
    """Arrays and results by name and key; without a folder nothing is stored."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def array(self, name: str, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The stored array with this name and key; otherwise that of `make`, which is stored."""
        if self.folder is None:
            return make()
        file = self.folder / f"{name}-{digest_of(key)}.z"
        found = read_arrays(file, ["array"])
        if found is not None:
            return found["array"]
        made = make()
        atomic_write_bytes(file, packed_arrays({"array": made}), overwrite=True)
        return made

    def result(self, name: str, key: object, make: Callable[[], Json]) -> Json:
        """The same for JSON data; returns the result of `make` as read back."""
        if self.folder is None:
            return dict(to_plain(make()))
        file = self.folder / f"{name}-{digest_of(key)}.json"
        with suppress(OSError, ValueError, TypeError):
            return dict(read_json(file, 100_000_000))
        made = dict(to_plain(make()))
        atomic_write_bytes(file, to_json(made).encode(), overwrite=True)
        return made

    def forget(self, name: str) -> None:
        """Remove everything stored under a name."""
        if self.folder is not None:
            for file in self.folder.glob(f"{name}-*.z"):
                file.unlink(missing_ok=True)


def digest_of(key: object) -> str:
    """Sixteen hexadecimal digits from an object's `repr` and from `VERSION`."""
    return hashlib.sha256(repr((VERSION, key)).encode()).hexdigest()[:16]


class GeneratorSubject:
    """A generator, whose brains are numbered by seeds.

    Attributes
    ----------
    generator : Generator or None
        None for a folder of volumes.
    name, hash, space : str, str, Space
        Of the generator or folder; the grid of its brains.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator: Generator | None = generator
        self._made_by = generator
        self.name, self.hash, self.space = generator.name, generator.hash, generator.space

    def numbers(self, first: int, count: int) -> range:
        """Numbers of `count` brains from `first`, or of as many as there are."""
        return range(first, first + count)

    def brains(self, numbers: Sequence[int], truncation: float) -> Brains:
        """The brains with these numbers."""
        return RandomBrains(self._made_by, numbers, truncation=truncation)

    def label(self, number: int) -> str:
        """Name of a brain: its seed or file."""
        return f"seed {number}"

    @property
    def notes(self) -> list[str]:
        """Notes for the report."""
        doubt = self._made_by.frame_doubt
        return [doubt.sentence] if doubt else []


class VolumesSubject:
    """A folder of volumes, numbered from 0 in the order of their names."""

    def __init__(self, volumes: VolumeSet) -> None:
        self.generator: Generator | None = None
        self._volumes = volumes
        self.name, self.hash, self.space = volumes.path.name, volumes.hash, volumes.space

    def numbers(self, first: int, count: int) -> range:
        """See `GeneratorSubject`; always from the first, limited to the existing volumes."""
        return range(min(count, len(self._volumes.names)))

    def brains(self, numbers: Sequence[int], truncation: float) -> Brains:
        """See `GeneratorSubject`; truncation has no effect."""
        return StoredBrains(self._volumes.volumes[list(numbers)])

    def label(self, number: int) -> str:
        """See `GeneratorSubject`."""
        return self._volumes.names[number]

    @property
    def notes(self) -> list[str]:
        """See `GeneratorSubject`."""
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
        """All of them, [n, X, Y, Z]."""
        return self.volumes


#: Synthetic volumes, uint8 (X, Y, Z) each, one by one or stacked; and what makes them, by number.
Brains = RandomBrains | StoredBrains
Subject = GeneratorSubject | VolumesSubject

# Brains per stored piece.
PIECE, REAL_PIECE = 16, 64

Volumes = Sequence[np.ndarray] | np.ndarray


class Material:
    """The brains of one evaluation; shared intermediate results are computed once, on demand.

    Attributes
    ----------
    subject : Subject
        A generator or a folder of volumes.
    training, validation, people : ndarray
        Rows of the dataset; `people` are both, training subjects first. A person may have several;
        see `one_each`.
    store : Store or None
        Intermediate results for resuming.

    Raises
    ------
    StyleGAN3DError
        If a part or the budget is unknown, the grids differ, or there are too few subjects or
        samples.
    """

    def __init__(
        self,
        subject: Subject | Generator,
        pack: Pack,
        settings: EvaluationSettings,
        report: Progress,
        store: Store | None = None,
    ) -> None:
        self.subject: Subject = (
            GeneratorSubject(subject) if isinstance(subject, Generator) else subject
        )
        self.pack, self.settings, self.report = pack, settings, report
        self.store = store or Store(None)
        self._real = Store(settings.cache) if settings.cache else self.store
        self.training, self.validation = pack.indices("train"), pack.indices("validation")
        self.people = np.concatenate([self.training, self.validation])
        self._check()

    @property
    def generator(self) -> Generator:
        """The generator.

        Raises
        ------
        StyleGAN3DError
            If there are only volumes; see `has_generator`.
        """
        if self.subject.generator is None:
            raise StyleGAN3DError(
                f"{self.subject.name} is a folder of volumes: what needs a generator cannot be "
                "measured on it."
            )
        return self.subject.generator

    @property
    def has_generator(self) -> bool:
        """Whether there is a generator, not only volumes."""
        return self.subject.generator is not None

    def _check(self) -> None:
        unknown = [part for part in self.settings.parts if part not in keys()]
        if unknown:
            raise StyleGAN3DError(
                f"The evaluation has no part '{unknown[0]}'; choose from {', '.join(keys())}."
            )
        budget = self.settings.budget
        if budget is not None and budget not in BUDGETS:  # check now, not after an hour
            raise StyleGAN3DError(
                f"The budget '{budget}' is unknown; choose one of {', '.join(BUDGETS)}, or none."
            )
        if budget in TUNED and self.has_generator:
            self.generator.require("tuning")
        self.pack.check_grid(self.subject.space, self.subject.name)
        known, held_out = self.known, len(self.subjects) - self.known
        if min(known, held_out) < 2:
            raise StyleGAN3DError(
                f"{self.pack.path} has {known} training and {held_out} validation subjects; an "
                "evaluation needs at least two of each."
            )
        if min(len(self.seeds(self.settings.samples)), self.settings.privacy_samples) < 2:
            raise StyleGAN3DError("An evaluation needs at least two random brains; ask for more.")

    @cached_property
    def one_each(self) -> np.ndarray:
        """Places in `people` of the first scan of each person.

        Groups of real brains are made of these: with two scans of one person in two groups, or in
        one, real brains would be more alike than those of as many people.
        """
        first: dict[str, int] = {}
        for place, row in enumerate(self.people):
            first.setdefault(str(self.pack.table[row]["person"]), place)
        return np.array(list(first.values()), np.int64)

    @cached_property
    def known(self) -> int:
        """How many of `one_each` are training subjects; they are first."""
        return int((self.one_each < len(self.training)).sum())

    @property
    def subjects(self) -> np.ndarray:
        """Rows of the dataset of `one_each`."""
        return self.people[self.one_each]

    @property
    def names(self) -> np.ndarray:
        """Whose brain each of the `subjects` is, an array of str."""
        return np.array([str(self.pack.table[row]["person"]) for row in self.subjects])

    def groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Groups of one size, at random: places of random brains, of subjects and of others."""
        rng = np.random.default_rng(self.settings.seed)
        order = rng.permutation(len(self.subjects))
        n = min(len(self.synthetic), len(order) // 2)
        return rng.permutation(len(self.synthetic))[:n], order[:n], order[n : 2 * n]

    def progress(self, what: str) -> Progress:
        """Progress of a part with this title."""
        return Progress(lambda done, total, *_: self.report(done, total, what))

    def volumes(self, rows: np.ndarray) -> Sequence[np.ndarray]:
        """Real brains, uint8 (X, Y, Z) each, memory-mapped."""
        return [self.pack.volumes[row] for row in rows]

    def seeds(self, count: int) -> range:
        """Numbers of random brains; limited to the size of a folder of volumes."""
        return self.subject.numbers(self.settings.seed, count)

    def label(self, seed: int) -> str:
        """Name of a random brain in a report: "seed 7", or its file name."""
        return self.subject.label(seed)

    def random_brains(self, seeds: Sequence[int]) -> Brains:
        """The random brains with these numbers, cached if possible."""
        known = self.seeds(self.settings.samples)
        if "synthetic" in vars(self) and all(seed in known for seed in seeds):
            return StoredBrains(self.synthetic[[known.index(seed) for seed in seeds]])
        if self.store.folder is None:
            return self.subject.brains(seeds, self.settings.truncation)
        return StoredBrains(np.concatenate([self._piece(piece) for piece in _pieces(seeds, PIECE)]))

    def _piece(self, seeds: Sequence[int]) -> np.ndarray:
        """A piece of random brains, uint8 [n, X, Y, Z]."""
        if not self.has_generator:  # they are already in memory
            return self.subject.brains(seeds, self.settings.truncation).stack()
        key = (self.subject.hash, self.settings.truncation, list(seeds))
        return self.store.array(
            "brains", key, lambda: self.subject.brains(seeds, self.settings.truncation).stack()
        )

    @cached_property
    def synthetic(self) -> np.ndarray:
        """The random brains, uint8 [samples, X, Y, Z]."""
        seeds = self.seeds(self.settings.samples)
        brains = np.empty((len(seeds), *self.pack.space.shape), np.uint8)
        for piece in _pieces(range(len(seeds)), PIECE):
            brains[piece] = self._piece(seeds[piece[0] : piece[-1] + 1])
            self.report(piece[-1] + 1, len(seeds), "Random brains")
        return brains

    @cached_property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, mask of the mean training brain."""
        return self.pack.template > FOREGROUND

    @cached_property
    def synthetic_features(self) -> np.ndarray:
        """[samples, 448]"""
        return self.features_of(self.seeds(self.settings.samples), "Features of random brains")

    def features_of(
        self, seeds: Sequence[int], what: str = "", brains: np.ndarray | None = None
    ) -> np.ndarray:
        """Descriptors [n, 448] of random brains, cached if possible.

        Parameters
        ----------
        what : str
            Title of the progress; empty for none.
        brains : ndarray or None
            The brains, if available; otherwise they are generated.
        """
        found = []
        for done, piece in enumerate(_pieces(seeds, PIECE)):

            def make(piece: Sequence[int] = piece, start: int = done * PIECE) -> np.ndarray:
                there = brains[start : start + PIECE] if brains is not None else None
                brains_of_piece = self.random_brains(piece) if there is None else list(there)
                share = self.progress(what).part(start, len(piece), len(seeds))
                return self.describe(brains_of_piece, share if what else SILENT)

            key = (self.subject.hash, self.settings.truncation, list(piece), features.FEATURE_MM)
            found.append(self.store.array("features", key, make))
        return np.concatenate(found)

    @cached_property
    def real_features(self) -> np.ndarray:
        """[scans, 448], training subjects first."""
        return self._described("", self.people)

    @property
    def subject_features(self) -> np.ndarray:
        """Those of `subjects`."""
        return self.real_features[self.one_each]

    @property
    def has_tissues(self) -> bool:
        """Whether the bundled tissue network supports the grid."""
        return bundled_segmenter().fits(self.pack.space)

    @property
    def _of_people(self) -> tuple[Store, tuple, Volumes]:
        """Where measures of people are kept, under which key, and their volumes."""
        key = (self.pack.volumes_id, [int(row) for row in self.people])
        return self._real, key, self.volumes(self.people)

    @property
    def _of_random(self) -> tuple[Store, tuple, Volumes]:
        """The same of the random brains."""
        seeds = list(self.seeds(self.settings.samples))
        return self.store, (self.subject.hash, self.settings.truncation, seeds), self.synthetic

    @cached_property
    def real_tissues(self) -> list[dict[str, float]]:
        """`segmentation.classes.MEASURES` and "confidence", training subjects first."""
        return self._tissues(*self._of_people)

    @cached_property
    def synthetic_tissues(self) -> list[dict[str, float]]:
        """The same for the random brains."""
        return self._tissues(*self._of_random)

    def shapes(self, labeller: Labeller) -> tuple[np.ndarray, np.ndarray]:
        """[n, `TISSUE_SHAPE`] of random brains and of one scan of each person, training first."""
        by = bundled_segmenter().hash if labeller == "network" else labeller
        progress = self.progress(f"Tissue shape by a {labeller}")

        def of(store: Store, key: tuple, volumes: Volumes) -> np.ndarray:
            make = partial(tissue_shapes, volumes, self.pack.space, progress, labeller)
            return store.array("shape", (*key, by, list(TISSUE_SHAPE)), make)

        return of(*self._of_random), of(*self._of_people)[self.one_each]

    def _tissues(self, store: Store, key: tuple, volumes: Volumes) -> list[dict[str, float]]:
        segmenter, names = bundled_segmenter(), (*MEASURES, "confidence")

        def make() -> np.ndarray:
            rows = measure(segmenter, volumes, self.pack.space, self.progress("Tissues"))
            return np.array([[row[name] for name in names] for row in rows])

        found = store.array("tissues", (*key, segmenter.hash), make)
        return [dict(zip(names, map(float, row), strict=True)) for row in found]

    @cached_property
    def mirrored_features(self) -> np.ndarray:
        """[training subjects, 448], for their mirror images."""
        return self._described("mirrored ", self.training)

    def describe(self, volumes: Brains | Volumes, progress: Progress = SILENT) -> np.ndarray:
        """Descriptors [n, 448] of volumes on the dataset's grid."""
        return features.describe(
            volumes, self.pack.space.voxel_size, device=self.device, progress=progress
        )

    @property
    def device(self) -> str:
        """Device of networks: that of the generator, or the CPU."""
        return str(self.generator.device) if self.has_generator else "cpu"

    def _described(self, kind: str, rows: np.ndarray) -> np.ndarray:
        """Descriptors of real brains or their mirror images, cached if possible."""
        what, found = f"Features of {kind}real brains", []
        for done, piece in enumerate(_pieces(list(rows), REAL_PIECE)):
            key = (self.pack.volumes_id, kind, [int(row) for row in piece], features.FEATURE_MM)

            def make(piece: Sequence[int] = piece, start: int = done * REAL_PIECE) -> np.ndarray:
                volumes = self.volumes(np.array(piece))
                if kind:
                    volumes = [np.flip(volume, self.pack.space.sideways) for volume in volumes]
                share = self.progress(what).part(start, len(piece), len(rows))
                return self.describe(volumes, share)

            found.append(self._real.array("features", key, make))
        return np.concatenate(found)


def _pieces(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
