"""What a voxel can be, and how large each tissue is.

The names of the tissues are those of a data set's `labels.tsv` (see `scans.labelled`); "other" is
the brain stem, with the optic chiasm, in the labels the bundled network learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylegan3d.geometry.space import Space

#: Name of each label, from 0.
CLASSES = ("background", "csf", "grey", "white", "ventricle", "other")
TITLES = {
    "csf": "Subarachnoid CSF",
    "grey": "Grey matter",
    "white": "White matter",
    "ventricle": "Ventricles",
    "other": "Brain stem",
    "brain": "Brain tissue (grey, white, brain stem)",
}
#: The tissues that are brain, not fluid.
BRAIN = ("grey", "white", "other")
VOLUMES = (*CLASSES[1:], "brain")
ASYMMETRIES = ("csf", "grey", "white", "ventricle", "brain")
#: Millilitres, a ratio, and left-right asymmetries in per cent (positive: the left is larger).
MEASURES = (
    *(f"{name}_ml" for name in VOLUMES),
    "grey_white_ratio",
    *(f"{name}_asymmetry" for name in ASYMMETRIES),
)


@dataclass(frozen=True)
class Scheme:
    """The labels that one network gives.

    Attributes
    ----------
    name : str
        "tissues" or "regions".
    classes : tuple of str
        Name of each label, from 0, the background; those of one side begin with "left_", "right_".
    tissues : tuple of int
        Index in `CLASSES` of the tissue that each label mostly is.
    """

    name: str
    classes: tuple[str, ...]
    tissues: tuple[int, ...]

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Label of each label's mirror image."""
        other = {"left": "right", "right": "left"}
        names = [name.partition("_") for name in self.classes]
        swapped = [
            other[side] + "_" + rest if side in other else side + bar + rest
            for side, bar, rest in names
        ]
        return tuple(map(self.classes.index, swapped))


TISSUES = Scheme("tissues", CLASSES, tuple(range(len(CLASSES))))


def count_classes(labels: np.ndarray, classes: Sequence[str] = CLASSES) -> np.ndarray:
    """Voxels of each class, int64 [C], in a label map of any shape.

    Raises
    ------
    ValueError
        If a label is none of them.
    """
    counts = np.bincount(np.ravel(labels), minlength=len(classes))
    if len(counts) > len(classes):
        raise ValueError(f"label {len(counts) - 1} is none of {len(classes)} classes")
    return counts


def volumes_ml(labels: np.ndarray, space: Space, scheme: Scheme = TISSUES) -> dict[str, float]:
    """Millilitres of each class; of tissues also of "brain", grey, white and brain stem."""
    per_voxel = space.voxel_ml
    counts = count_classes(labels, scheme.classes)
    volumes = {n: float(counts[i]) * per_voxel for i, n in enumerate(scheme.classes) if i > 0}
    if scheme is TISSUES:
        volumes["brain"] = sum(volumes[name] for name in BRAIN)
    return volumes


def side_volumes(labels: np.ndarray, space: Space) -> tuple[dict[str, float], dict[str, float]]:
    """`volumes_ml` of the left and of the right half, divided at x = 0 mm of the RAS+ world.

    For grids whose axes lie along the world's, as those of prepared data sets do. A voxel whose
    centre is on the plane counts half to each side.
    """
    axis = [code in "LR" for code in space.axcodes].index(True)
    x = space.affine[0, 3] + space.affine[0, axis] * np.arange(space.shape[axis])
    left, right = (
        volumes_ml(np.compress(side, labels, axis=axis), space) for side in (x < 0, x > 0)
    )
    middle = volumes_ml(np.compress(x == 0, labels, axis=axis), space)
    halves = [{n: side[n] + middle[n] / 2 for n in side} for side in (left, right)]
    return halves[0], halves[1]


def asymmetry_percent(left: float, right: float) -> float:
    """Left minus right in per cent of their mean, positive where the left is larger; 0 of nothing.

    The usual asymmetry index, 200 (L - R) / (L + R).
    """
    total = left + right
    return 200 * (left - right) / total if total > 0 else 0.0


def dice_scores(
    found: np.ndarray, truth: np.ndarray, classes: Sequence[str] = CLASSES
) -> dict[str, float]:
    """Dice of each class but the background, 1 where both have none of it."""
    scores = {}
    for index, name in enumerate(classes[1:], start=1):
        a, b = found == index, truth == index
        total = int(a.sum()) + int(b.sum())
        scores[name] = 2 * int((a & b).sum()) / total if total else 1.0
    return scores


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean over subjects."""
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}
