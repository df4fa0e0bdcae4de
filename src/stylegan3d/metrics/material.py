"""What an evaluation measures, and the brains it measures on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.generator import Generator
from stylegan3d.metrics import features
from stylegan3d.metrics.plausibility import FOREGROUND
from stylegan3d.metrics.sampling import RandomBrains
from stylegan3d.projection.budgets import BUDGETS
from stylegan3d.training.pack import Pack
from stylegan3d.volumes import atomic_write_bytes

PARTS = ("fidelity", "diversity", "plausibility", "privacy", "reconstruction", "speed")

Report = Callable[[str, int, int], None]
Volumes = Sequence[np.ndarray] | np.ndarray


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure, and on how much.

    Attributes
    ----------
    parts : which of `PARTS`.
    samples : random brains for fidelity, diversity and plausibility.
    privacy_samples : random brains for privacy.
    seed : the random brains are those numbered from here; pairs and splits are drawn from it too.
    truncation : psi of the random brains.
    repeats : random halves of the real people.
    pairs : of brains, for MS-SSIM.
    limit_validation : so many validation people at most, for reconstruction.
    budget : of the projection, or None to leave it out.
    cache : folder where the descriptors of the real brains are kept, or None.
    """

    parts: tuple[str, ...] = PARTS[:-1]
    samples: int = 200
    privacy_samples: int = 1000
    seed: int = 0
    truncation: float = 1.0
    repeats: int = 20
    pairs: int = 200
    limit_validation: int | None = None
    budget: str | None = "standard"
    cache: Path | None = None


class Material:
    """The brains of one evaluation; what several parts need is made once, when first asked for.

    Attributes
    ----------
    training, validation, people : rows of the data set; `people` are both, training people first.

    Raises
    ------
    StyleGAN3DError
        If a part or the budget is unknown, the grids differ, or there are too few people or
        samples.
    """

    def __init__(
        self, generator: Generator, pack: Pack, settings: EvaluationSettings, report: Report
    ) -> None:
        self.generator, self.pack, self.settings, self.report = generator, pack, settings, report
        self.training, self.validation = pack.indices("train"), pack.indices("validation")
        self.people = np.concatenate([self.training, self.validation])
        self._check()

    def _check(self) -> None:
        unknown = [part for part in self.settings.parts if part not in PARTS]
        if unknown:
            raise StyleGAN3DError(
                f"There is no part '{unknown[0]}' of the evaluation; choose from "
                f"{', '.join(PARTS)}."
            )
        budget = self.settings.budget
        if budget is not None and budget not in BUDGETS:  # now, not after an hour of other parts
            raise StyleGAN3DError(
                f"The budget '{budget}' is unknown; choose one of {', '.join(BUDGETS)}, or none."
            )
        if not self.pack.space.same_as(self.generator.space):
            raise StyleGAN3DError(
                f"{self.pack.path} and {self.generator.name} are not on the same grid "
                f"({self.pack.space.shape} and {self.generator.space.shape}, or in another "
                "place); prepare the data with `stylegan3d prepare --model` and this model."
            )
        if len(self.training) < 2 or len(self.validation) < 2:
            raise StyleGAN3DError(
                f"{self.pack.path} has {len(self.training)} training and {len(self.validation)} "
                "validation people; an evaluation needs at least two of each."
            )
        if min(self.settings.samples, self.settings.privacy_samples) < 2:
            raise StyleGAN3DError("An evaluation needs at least two random brains; ask for more.")

    def progress(self, what: str) -> Callable[[int, int], None]:
        """For functions that tell how many are done and how many there are."""
        return lambda done, total: self.report(what, done, total)

    def volumes(self, rows: np.ndarray) -> Sequence[np.ndarray]:
        """Real brains, uint8 (X, Y, Z) each, read through the memory map when they are used."""
        return [self.pack.volumes[row] for row in rows]

    def seeds(self, count: int) -> range:
        """Numbers of random brains."""
        return range(self.settings.seed, self.settings.seed + count)

    def random_brains(self, seeds: Sequence[int]) -> RandomBrains:
        """Those of these numbers."""
        return RandomBrains(self.generator, seeds, truncation=self.settings.truncation)

    @cached_property
    def synthetic(self) -> np.ndarray:
        """The random brains, uint8 [samples, X, Y, Z]."""
        count = self.settings.samples
        brains = np.empty((count, *self.generator.shape), np.uint8)
        for index, brain in enumerate(self.random_brains(self.seeds(count))):
            brains[index] = brain
            self.report("Random brains", index + 1, count)
        return brains

    @cached_property
    def sideways(self) -> int:
        """The axis that runs left to right."""
        return [code in "LR" for code in self.pack.space.axcodes].index(True)

    @cached_property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, where the mean training brain is."""
        return self.pack.template > FOREGROUND

    @cached_property
    def synthetic_features(self) -> np.ndarray:
        """[samples, 448]"""
        return self.describe(self.synthetic, self.progress("Features of random brains"))

    @cached_property
    def real_features(self) -> np.ndarray:
        """[people, 448], training people first."""
        return self._cached("", lambda: self.volumes(self.people))

    @cached_property
    def mirrored_features(self) -> np.ndarray:
        """[training people, 448], of their mirror images."""
        return self._cached(
            "mirrored ", lambda: [np.flip(v, self.sideways) for v in self.volumes(self.training)]
        )

    def describe(
        self, volumes: Volumes, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Descriptors [n, 448] of volumes on the data set's grid."""
        return features.describe(
            volumes, self.pack.space.voxel_size, device=self.generator.device, progress=progress
        )

    def _cached(self, kind: str, volumes: Callable[[], Volumes]) -> np.ndarray:
        """Descriptors of real brains, from the cache if there is one and it has them."""
        progress = self.progress(f"Features of {kind}real brains")
        if self.settings.cache is None:
            return self.describe(volumes(), progress)
        rows = self.training if kind else self.people
        key = [volumes_id(self.pack), kind, rows.tolist(), features.FEATURE_MM]
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        file = self.settings.cache / f"features-{name}.npy"
        try:
            found = np.load(file, allow_pickle=False)
            if found.shape == (len(rows), features.DESCRIPTOR_SIZE):
                return found
        except (OSError, ValueError, EOFError):
            pass  # not there, or damaged: made again
        made = self.describe(volumes(), progress)
        buffer = io.BytesIO()
        np.save(buffer, made)
        atomic_write_bytes(file, buffer.getvalue(), overwrite=True)
        return made


def volumes_id(pack: Pack) -> str:
    """What tells the volumes of a pack from others: the name of their file, after its content."""
    return Path(str(getattr(pack.volumes, "filename", pack.path))).name
