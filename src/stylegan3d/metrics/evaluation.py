"""The evaluation of a generator against a packed data set, part by part, into one report."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.generator import Generator
from stylegan3d.metrics import features
from stylegan3d.metrics.distances import (
    BATCH,
    Moments,
    compare_with_halves,
    compare_with_validation,
    expected_bmmd2,
    frechet_distance,
    kernel_distance,
    real_bmmd2,
)
from stylegan3d.metrics.diversity import pair_correlation, pair_ms_ssim, scales_of
from stylegan3d.metrics.plausibility import (
    FOREGROUND,
    PlausibilityLimits,
    measure_brains,
    pass_rate,
)
from stylegan3d.metrics.privacy import (
    Nearest,
    TrainingBrains,
    compare_nearest,
    feature_distances,
)
from stylegan3d.metrics.reconstruction import reconstruct
from stylegan3d.metrics.sampling import RandomBrains
from stylegan3d.metrics.speed import measure_speed
from stylegan3d.training.pack import Pack
from stylegan3d.volumes import atomic_write_bytes

PARTS = ("fidelity", "diversity", "plausibility", "privacy", "reconstruction", "speed")
# Of the privacy part, whose brains are not kept.
BRAINS_AT_A_TIME = 32

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
    cache: Path | None = field(default=None)


def evaluate(
    generator: Generator,
    pack: Pack,
    settings: EvaluationSettings | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure a generator on the data it was trained on and on the people set aside.

    Parameters
    ----------
    generator : the model.
    pack : a data set on the model's grid, with training and validation people.
    settings : what to measure; everything but speed by default.
    report : called with what is being done, how much of it is done and how much there is.

    Returns
    -------
    dict
        "model", "data", "settings" and one entry per part; plain enough for JSON.

    Raises
    ------
    StyleGAN3DError
        If a part is unknown, the grids differ, or there are too few people or samples.
    """
    chosen = settings or EvaluationSettings()
    evaluation = Evaluation(generator, pack, chosen, report or _say_nothing)
    result: dict[str, Any] = {
        "model": {"name": generator.name, "hash": generator.hash},
        "data": {
            "path": str(pack.path),
            "volumes": volumes_id(pack),
            "training_people": len(evaluation.training),
            "validation_people": len(evaluation.validation),
        },
        "settings": {**asdict(chosen), "parts": list(chosen.parts), "cache": None},
    }
    for part in PARTS:
        if part in chosen.parts:
            result[part] = getattr(evaluation, part)()
    return result


class Evaluation:
    """One evaluation; what several parts need is made once, when first asked for."""

    def __init__(
        self, generator: Generator, pack: Pack, settings: EvaluationSettings, report: Report
    ) -> None:
        self.generator, self.pack, self.settings, self._report = generator, pack, settings, report
        self.training, self.validation = pack.indices("train"), pack.indices("validation")
        self._check()

    def _check(self) -> None:
        unknown = [part for part in self.settings.parts if part not in PARTS]
        if unknown:
            raise StyleGAN3DError(
                f"There is no part '{unknown[0]}' of the evaluation; choose from "
                f"{', '.join(PARTS)}."
            )
        if not self.pack.space.same_as(self.generator.space):
            raise StyleGAN3DError(
                f"{self.pack.path} is on another grid ({self.pack.space.shape}) than "
                f"{self.generator.name} ({self.generator.space.shape}); prepare the data with "
                "`stylegan3d prepare --model` and this model."
            )
        if len(self.training) < 2 or len(self.validation) < 2:
            raise StyleGAN3DError(
                f"{self.pack.path} has {len(self.training)} training and {len(self.validation)} "
                "validation people; an evaluation needs at least two of each."
            )
        if min(self.settings.samples, self.settings.privacy_samples) < 2:
            raise StyleGAN3DError("An evaluation needs at least two random brains; ask for more.")

    def _progress(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self._report(what, done, total)

    @cached_property
    def people(self) -> np.ndarray:
        """Rows of all real people, training people first."""
        return np.concatenate([self.training, self.validation])

    @cached_property
    def synthetic(self) -> np.ndarray:
        """The random brains, uint8 [samples, X, Y, Z]."""
        seeds = self._seeds(self.settings.samples)
        source = RandomBrains(self.generator, seeds, truncation=self.settings.truncation)
        brains = np.empty((len(seeds), *self.generator.shape), np.uint8)
        for done, brain in enumerate(source, 1):
            brains[done - 1] = brain
            self._report("Random brains", done, len(seeds))
        return brains

    def _seeds(self, count: int) -> range:
        return range(self.settings.seed, self.settings.seed + count)

    @cached_property
    def synthetic_features(self) -> np.ndarray:
        """[samples, 448]"""
        return self._describe(self.synthetic, "Features of random brains")

    @cached_property
    def real_features(self) -> np.ndarray:
        """[people, 448], training people first."""
        return self._cached("", lambda: _rows(self.pack, self.people))

    @cached_property
    def mirrored_features(self) -> np.ndarray:
        """[training people, 448], of their mirror images."""
        axis = self._sideways

        def mirrored() -> Sequence[np.ndarray]:
            return [np.flip(v, axis) for v in _rows(self.pack, self.training)]

        return self._cached("mirrored ", mirrored)

    @property
    def _sideways(self) -> int:
        return [code in "LR" for code in self.pack.space.axcodes].index(True)

    @cached_property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, where the mean training brain is."""
        return self.pack.template > FOREGROUND

    def _describe(self, volumes: Volumes, what: str) -> np.ndarray:
        return features.describe(
            volumes,
            self.pack.space.voxel_size,
            device=self.generator.device,
            progress=self._progress(what),
        )

    def _cached(self, kind: str, volumes: Callable[[], Sequence[np.ndarray]]) -> np.ndarray:
        """Descriptors of real brains, from the cache if there is one and it has them."""
        what = f"Features of {kind}real brains"
        if self.settings.cache is None:
            return self._describe(volumes(), what)
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
        made = self._describe(volumes(), what)
        buffer = io.BytesIO()
        np.save(buffer, made)
        atomic_write_bytes(file, buffer.getvalue(), overwrite=True)
        return made

    def fidelity(self) -> dict[str, Any]:
        """FID and KID over random halves and against validation people; bMMD2."""
        synthetic, real = self.synthetic_features, self.real_features
        training, validation = real[: len(self.training)], real[len(self.training) :]
        drawn = {"repeats": self.settings.repeats, "seed": self.settings.seed}
        result: dict[str, Any] = {"network": f"deepbet LinkNet3d at {features.FEATURE_MM:g} mm"}
        for name, measure in (("fid", frechet_distance), ("kid", kernel_distance)):
            halves = compare_with_halves(measure, synthetic, real, **drawn)
            held_out = compare_with_validation(measure, synthetic, training, validation, **drawn)
            result[name] = halves.to_dict()
            result[f"{name}_validation"] = held_out.to_dict()
        made = Moments.of(self.synthetic)
        people = Moments.of(_rows(self.pack, self.people))
        values = {"synthetic": expected_bmmd2(made, people), "real": real_bmmd2(people)}
        result["bmmd2"] = {
            **values,
            "ratio": values["synthetic"] / values["real"],
            "batch": BATCH,
            "variance_ratio": made.variance / people.variance,
        }
        return result

    def diversity(self) -> dict[str, Any]:
        """MS-SSIM of random pairs and mean correlation of all pairs."""
        people = _rows(self.pack, self.people)
        result: dict[str, Any] = {"scales": scales_of(self.pack.space.shape)}
        sets: dict[str, Volumes] = {"synthetic": self.synthetic, "real": people}
        scores = {
            name: pair_ms_ssim(
                volumes,
                self.settings.pairs,
                seed=self.settings.seed,
                progress=self._progress(f"MS-SSIM, {name}"),
            )
            for name, volumes in sets.items()
        }
        result["ms_ssim"] = {
            **{name: float(values.mean()) for name, values in scores.items()},
            **{f"{name}_sd": float(values.std()) for name, values in scores.items()},
            "difference": float(scores["synthetic"].mean() - scores["real"].mean()),
            "pairs": {name: len(values) for name, values in scores.items()},
        }
        found = {name: pair_correlation(volumes, self.mask) for name, volumes in sets.items()}
        result["pair_correlation"] = found
        return result

    def plausibility(self) -> dict[str, Any]:
        """Pass rates of random brains and of validation people, by the training people's range."""
        space, progress = self.pack.space, self._progress("Plausibility")
        limits = PlausibilityLimits.of(
            measure_brains(_rows(self.pack, self.training), space, progress)
        )
        result: dict[str, Any] = {"limits": limits.bounds}
        for name, volumes in (
            ("validation", _rows(self.pack, self.validation)),
            ("synthetic", self.synthetic),
        ):
            result[name] = pass_rate(measure_brains(volumes, space, progress), limits)
        for row in result["synthetic"]["failed"]:
            row["seed"] = self.settings.seed + row.pop("index")
        return result

    def privacy(self) -> dict[str, Any]:
        """Nearest training people of many random brains and of validation people."""
        count = self.settings.privacy_samples
        people = _rows(self.pack, self.training)
        brains = TrainingBrains(people, self.mask, self._sideways)
        training = self.real_features[: len(self.training)]
        reference = (training, self.mirrored_features)
        by_value, by_feature = [], []
        for start in range(0, count, BRAINS_AT_A_TIME):
            seeds = self._seeds(count)[start : start + BRAINS_AT_A_TIME]
            chosen = RandomBrains(
                self.generator, seeds, truncation=self.settings.truncation
            ).stack()
            by_value.append(brains.nearest(chosen))
            described = features.describe(
                chosen, self.pack.space.voxel_size, device=self.generator.device
            )
            by_feature.append(feature_distances(described, *reference))
            self._report("Nearest training brains", start + len(seeds), count)
        held_out = _rows(self.pack, self.validation)
        validation = self.real_features[len(self.training) :]
        return {
            "correlation": compare_nearest(Nearest.join(by_value), brains.nearest(held_out)),
            "features": compare_nearest(
                Nearest.join(by_feature), feature_distances(validation, *reference)
            ),
        }

    def reconstruction(self) -> dict[str, Any]:
        """Validation people through the encoder and by projection, beside yardsticks."""
        rows = self.validation
        limit = self.settings.limit_validation
        if limit is not None and limit < len(rows):  # evenly over the table, hence its sources
            rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(int)]
        result = reconstruct(
            self.generator,
            _rows(self.pack, rows),
            self.pack.template,
            budget=self.settings.budget,
            progress=self._progress("Reconstruction"),
        )
        for row, person in zip(rows, result["people"], strict=True):
            person["name"] = self.pack.table[row]["name"]
        return result

    def speed(self) -> dict[str, Any]:
        """Milliseconds per volume."""
        self._report("Speed", 0, 1)
        return measure_speed(self.generator)


def _rows(pack: Pack, rows: np.ndarray) -> Sequence[np.ndarray]:
    """Volumes of a pack one by one through its memory map: uint8 (X, Y, Z) each."""
    return [pack.volumes[row] for row in rows]


def volumes_id(pack: Pack) -> str:
    """What tells the volumes of a pack from others: the name of their file, after its content."""
    return Path(str(getattr(pack.volumes, "filename", pack.path))).name


def _say_nothing(what: str, done: int, total: int) -> None:
    pass
