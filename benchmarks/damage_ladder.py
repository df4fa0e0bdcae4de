"""Does each measure see the damage it should? Real brains, damaged more and more.

    python benchmarks/damage_ladder.py PACK [--brains 60] [--only features,pairs,copies,two_sample]

PACK is a prepared dataset. Half of its training people stand for what a generator made, the other
half, and the people set aside, for real ones. Prints a table (Markdown) with one row for each step
of four ladders, blur, noise, collapse to few brains, copies of training people, and which figures
were monotone. A figure belongs to a ladder if theory says it must move; see LADDERS. Collapse to
five brains need not show in mean similarity or spread: five people differ about as much as sixty
do, and only one pair in five is of one brain with itself, which is less than the luck of the five.
Only what a ladder is about is measured on its steps, and no brain is described twice.

With `copies`, a last table plants a twentieth of copies in each disguise of the memorisation alarm
(`privacy.disguises`), and says how many were found and how many others were taken for copies.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from stylegan3d.dataset.pack import load_pack
from stylegan3d.evaluation.privacy import Closeness, CopyDetector, alarm_threshold, disguises
from stylegan3d.geometry.space import as_packed, unit
from stylegan3d.metrics.comparison import compare_with_halves
from stylegan3d.metrics.distances import (
    Moments,
    coverage,
    density,
    expected_bmmd2,
    frechet_distance,
    kernel_distance,
    precision,
    real_bmmd2,
    recall,
)
from stylegan3d.metrics.diversity import (
    collapse,
    pair_correlation,
    pair_ms_ssim,
    random_pairs,
    spread,
)
from stylegan3d.metrics.features import describe
from stylegan3d.metrics.two_sample import two_sample

Damage = Callable[[np.ndarray, float], np.ndarray]
# Ladder: steps of damage, and the figures that must rise (+) or fall (-) with each step.
LADDERS: dict[str, tuple[tuple[float, ...], str]] = {
    "blur": ((0, 0.5, 1.0, 1.5), "+fid +kid -precision -density +ms_ssim +accuracy"),
    "noise": ((0, 0.1, 0.3), "+fid +kid -precision -density -ms_ssim +accuracy"),
    "collapse": ((0, 20, 10, 5), "+fid +kid -recall -coverage +twins"),
    "copies": ((0, 0.05, 0.25, 0.5), "+copies"),
}

# The share of copies that is planted in each disguise.
PLANTED = 0.05


def damaged(brains: np.ndarray, training: np.ndarray, ladder: str, step: float) -> np.ndarray:
    """uint8 [n, X, Y, Z]; step 0 leaves them as they are."""
    rng = np.random.default_rng(0)
    if not step:
        return brains
    if ladder == "blur":
        return np.stack([as_packed(gaussian_filter(unit(brain), step)) for brain in brains])
    if ladder == "noise":
        return np.stack(
            [
                as_packed(np.where(brain > 0, unit(brain) + rng.normal(0, step, brain.shape), 0))
                for brain in brains
            ]
        )
    if ladder == "collapse":
        return brains[np.arange(len(brains)) % int(step)]
    count = round(step * len(brains))
    return np.concatenate([training[:count], brains[count:]])


class Ladder:
    """Figures of damaged brains beside real ones."""

    def __init__(self, pack_path: Path, count: int, kinds: list[str]) -> None:
        pack = load_pack(pack_path)
        self.kinds, self.space = kinds, pack.space
        order = np.random.default_rng(0).permutation(pack.indices("train"))
        half = min(count, len(order) // 2)
        self.made = np.stack([pack.volumes[row] for row in order[:half]])
        self.training = np.stack([pack.volumes[row] for row in order[half : 2 * half]])
        validation = pack.indices("validation")
        self.validation = [pack.volumes[row] for row in validation]
        self.template = pack.template
        self.mask = pack.template > 0.05
        self.sideways = [code in "LR" for code in pack.space.axcodes].index(True)
        if "copies" in kinds:
            self.detector = CopyDetector(
                self.training, self.template, self.space.voxel_size, sideways=self.sideways
            )
            self.held_out = self.detector.closeness(self.validation)
        self.described: dict[bytes, np.ndarray] = {}
        if "features" in kinds:
            self.features = self.describe(self.training)

    def planted(self, share: float) -> dict[str, tuple[int, int, int]]:
        """Disguise to copies planted, copies found, and others that were taken for copies."""
        detector = self.detector
        strangers = [detector.among_training(), self.held_out]
        threshold = alarm_threshold(Closeness.join(strangers).ratio, len(self.made))
        others = detector.closeness(self.made).ratio < threshold
        count = max(round(share * len(self.made)), 1)
        found = {}
        for name, disguise in disguises(self.space.voxel_size, self.sideways).items():
            near = detector.closeness([disguise(brain) for brain in self.training[:count]])
            right = (near.ratio < threshold) & (near.person == np.arange(count))
            found[name] = (count, int(right.sum()), int(others[count:].sum()))
        return found

    def describe(self, brains: np.ndarray) -> np.ndarray:
        """Features [n, 448], each brain's once."""
        keys = [hashlib.sha256(brain.tobytes()).digest() for brain in brains]
        new = dict(zip(keys, brains, strict=True))
        new = {key: brain for key, brain in new.items() if key not in self.described}
        rows = describe(list(new.values()), self.space.voxel_size)
        self.described |= dict(zip(new, rows, strict=True))
        return np.stack([self.described[key] for key in keys])

    def figures(self, brains: np.ndarray, ladder: str) -> dict[str, float]:
        """Figure to value, of the kinds that were asked for and the ladder is about."""
        found: dict[str, float] = {}
        if "features" in self.kinds and ladder != "copies":
            found |= self._features(brains)
        if "pairs" in self.kinds and ladder != "copies":
            pairs = random_pairs(len(brains), 60)
            found["ms_ssim"] = float(pair_ms_ssim(brains, pairs).mean())
            found["correlation"] = pair_correlation(brains, self.mask)
            made, real = Moments.of(brains), Moments.of(self.training)
            found["bmmd2 ratio"] = expected_bmmd2(made, real) / real_bmmd2(real)
        if "copies" in self.kinds and ladder == "copies":
            near = self.detector.closeness(brains).ratio
            found["copies"] = int((near < self.held_out.ratio.min()).sum())
        if "two_sample" in self.kinds and ladder in ("blur", "noise"):
            found["accuracy"] = two_sample(brains, self.training)["accuracy"]
        return found

    def _features(self, brains: np.ndarray) -> dict[str, float]:
        made = self.describe(brains)
        measures = {
            "fid": frechet_distance,
            "kid": kernel_distance,
            "precision": precision,
            "density": density,
            "recall": recall,
            "coverage": coverage,
            "spread": spread,
        }
        found = {
            name: compare_with_halves(measure, made, self.features, repeats=20)["synthetic"]
            for name, measure in measures.items()
        }
        return found | {"twins": collapse(made, self.features, 1.0, 1.0)["twins_share"]}


def monotone(values: list[float], sign: str) -> bool:
    """Whether values rise (+) or fall (-) with each step; equal ones count only at a bound."""
    steps = np.diff(values) * (1 if sign == "+" else -1)
    return bool((steps >= 0).all() and values[0] != values[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--brains", type=int, default=60)
    parser.add_argument("--only", default="features,pairs,copies,two_sample")
    args = parser.parse_args()
    ladder = Ladder(args.pack, args.brains, args.only.split(","))
    for name, (steps, expected) in LADDERS.items():
        rows = []
        for step in steps:
            brains = damaged(ladder.made, ladder.training, name, step)
            rows.append(ladder.figures(brains, name))
        if not rows[0]:
            continue
        print(f"\n| {name} | " + " | ".join(rows[0]) + " |")
        print("|---" * (len(rows[0]) + 1) + "|")
        for step, row in zip(steps, rows, strict=True):
            print(f"| {step:g} | " + " | ".join(f"{row[key]:.4g}" for key in rows[0]) + " |")
        for word in expected.split():
            if word[1:] in rows[0]:
                right = monotone([row[word[1:]] for row in rows], word[0])
                print(f"{word[1:]}: {'monotone' if right else 'NOT monotone'}", flush=True)
    if "copies" in ladder.kinds:
        print(f"\n| copies, {PLANTED:.0%} | planted | found | others taken for copies |")
        print("|---|---|---|---|")
        for name, numbers in ladder.planted(PLANTED).items():
            print(f"| {name} | " + " | ".join(map(str, numbers)) + " |", flush=True)


if __name__ == "__main__":
    main()
