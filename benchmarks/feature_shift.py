"""What lies behind the Fréchet distance of a model: how features move when images are changed.

    python benchmarks/feature_shift.py MODEL PACK [--brains 200] [--changed 48]

Prints by how much the mean features of random brains lie from those of people (squared, with what
chance would give, and beside it the means of each source of people), and for each of a list of
changes of the image (sharpness, noise, shading, size, outline ...) how far it moves the features,
and which part of the shift its best strength would remove.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.features import describe
from stylegan3d.model.loading import load
from stylegan3d.model.sampling import RandomBrains

Change = Callable[[np.ndarray], np.ndarray]
# Darker than this is outside of the brain.
OUTSIDE = 0.02
# Standard deviations of Gaussians, in voxels: between two of them lies a scale.
SCALES = {
    "finest": (0.0, 0.7),
    "0.7 to 1.5": (0.7, 1.5),
    "1.5 to 3": (1.5, 3),
    "3 to 6": (3, 6),
    "6 to 12": (6, 12),
}
GAIN = 0.2


def _sharper(fine: float, coarse: float) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        between = ndimage.gaussian_filter(image, fine) - ndimage.gaussian_filter(image, coarse)
        return image + GAIN * between * (image > OUTSIDE)

    return change


def _stretched(axis: int, factor: float) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        matrix, offset = np.ones(3), np.zeros(3)
        matrix[axis] = 1 / factor
        offset[axis] = image.shape[axis] / 2 * (1 - 1 / factor)
        return ndimage.affine_transform(image, matrix, offset, order=1)

    return change


def _shaded(weight: Callable[[Sequence[np.ndarray]], np.ndarray]) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        return image * (
            1 + weight(np.meshgrid(*(np.linspace(-1, 1, n) for n in image.shape), indexing="ij"))
        )

    return change


def changes() -> dict[str, Change]:
    """Changes of an image in [0, 1] by their names."""
    noise = np.random.default_rng(0)

    def shifted(*voxels: float) -> Change:
        return lambda image: ndimage.shift(image, voxels, order=1)

    def noisy(image: np.ndarray) -> np.ndarray:
        return image + 0.03 * noise.standard_normal(image.shape) * (image > OUTSIDE)

    def ringed(image: np.ndarray) -> np.ndarray:
        inside = image > OUTSIDE
        return np.where(inside, image, 0.1 * ndimage.binary_dilation(inside))

    found = {f"sharper, {name} voxels": _sharper(*ends) for name, ends in SCALES.items()}
    return found | {
        "noise": noisy,
        "power of 1.15": lambda image: image**1.15,
        "shaded front to back": _shaded(lambda place: 0.08 * place[1]),
        "shaded top to bottom": _shaded(lambda place: 0.08 * place[2]),
        "shaded inwards": _shaded(lambda place: 0.1 * (np.sum(np.square(place), axis=0) - 1)),
        "darkest tissue darker": lambda image: np.where(image < 0.4, 0.7 * image, image),
        "a voxel less around": lambda image: image * ndimage.binary_erosion(image > OUTSIDE),
        "a faint voxel more around": ringed,
        "wider by 3 %": _stretched(0, 1.03),
        "longer by 3 %": _stretched(1, 1.03),
        "higher by 3 %": _stretched(2, 1.03),
        "half a voxel forward": shifted(0, 0.5, 0),
        "half a voxel up": shifted(0, 0, 0.5),
    }


def squared(shift: np.ndarray) -> float:
    """Squared length."""
    return float(shift @ shift)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--brains", type=int, default=200)
    parser.add_argument("--changed", type=int, default=48)
    wanted = parser.parse_args()
    generator, pack = load(wanted.model, device="cpu"), load_pack(wanted.pack)
    rows = np.concatenate([pack.indices("train"), pack.indices("validation")])
    size = pack.space.voxel_size
    people = describe([pack.volumes[row] for row in rows], size)
    volumes = RandomBrains(generator, range(wanted.brains)).stack()
    made = describe(list(volumes), size)
    shift = people.mean(axis=0) - made.mean(axis=0)
    chance = (people.var(axis=0) * (1 / len(people) + 1 / len(made))).sum()
    print(f"random brains to people: {squared(shift):.4f} (by chance {chance:.4f})")
    sources = np.array([str(pack.table[row].get("source")) for row in rows])
    for source in np.unique(sources):
        away = people[sources == source].mean(axis=0) - people.mean(axis=0)
        print(f"{source} to all people: {squared(away):.4f}")
    images = [unit(volume).astype(np.float32) for volume in volumes[: wanted.changed]]
    before, moves = made[: len(images)].mean(axis=0), []
    for name, change in changes().items():
        changed = [np.clip(change(image), 0, 1) for image in images]
        move = describe(changed, size).mean(axis=0) - before
        share = (move @ shift) ** 2 / (squared(move) * squared(shift))
        print(f"{name}: moves {squared(move):.4f}, could remove {100 * share:.1f} %", flush=True)
        moves.append(move)
    best, *_ = np.linalg.lstsq(np.stack(moves, axis=1), shift, rcond=None)
    left = squared(shift - best @ np.stack(moves)) / squared(shift)
    print(f"all together could remove {100 * (1 - left):.0f} %")


if __name__ == "__main__":
    main()
