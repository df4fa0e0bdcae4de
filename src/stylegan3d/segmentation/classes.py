"""What a voxel can be: tissues, regions of each side, lesions; and how large each is.

The names of the tissues are those of a dataset's `labels.tsv` (see `scans.label_maps`); "other" is
the brain stem, with the optic chiasm, in the labels the bundled network learned from. Regions are
merged from the numbers of the Neuromorphometrics protocol (http://neuromorphometrics.com), as
hand-drawn label maps and MUSE (Doshi et al. 2016, doi:10.1016/j.neuroimage.2015.11.073) use them:
gyri to the cortex of a lobe, white matter of all lobes to one region of each side.

Names of all measures of a brain, and how their values and scores are written.

One text for one number: window, reports, tables and the console take it from here.
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.scans.person import OLDEST as OLDEST
from stylegan3d.scans.person import Person as Person

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

    For grids whose axes lie along the world's, as those of prepared datasets do. A voxel whose
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
    """Mean of each name over the subjects that have it."""
    names = dict.fromkeys(name for one in scores for name in one)
    return {name: float(np.mean([s[name] for s in scores if name in s])) for name in names}


SIDES, LESION = ("left", "right"), "lesion"
#: Regions that have one on each side, and those across the midline.
_PAIRED = (
    "lateral_ventricle temporal_horn hippocampus amygdala thalamus caudate putamen pallidum "
    "accumbens ventral cerebellar_cortex cerebellar_white frontal_cortex parietal_cortex "
    "temporal_cortex occipital_cortex cingulate_cortex insular_cortex cerebral_white"
)
PAIRED = tuple(_PAIRED.split())
MIDLINE = ("csf", "third_ventricle", "fourth_ventricle", "brain_stem", "corpus_callosum")
# What they mostly are, if it is not grey matter. The ventral diencephalon is with the basal
# forebrain. A lesion counts as white matter, in which most are.
_TISSUE_OF = {
    "csf": "csf",
    "brain_stem": "other",
    "chiasm": "other",
    **dict.fromkeys(
        ("lateral_ventricle", "temporal_horn", "third_ventricle", "fourth_ventricle"), "ventricle"
    ),
    **dict.fromkeys(
        ("cerebral_white", "cerebellar_white", "ventral", "corpus_callosum", "brain", LESION),
        "white",
    ),
}
_TITLES = {
    "csf": "CSF outside the ventricles",
    "ventral": "ventral diencephalon",
    "chiasm": "optic chiasm",
}


def _scheme(name: str, midline: Iterable[str], paired: Iterable[str]) -> Scheme:
    """Background, the midline, then left and right of each pair."""
    sided = [(f"{side}_{one}", one) for one in paired for side in SIDES]
    named = [*((one, one) for one in midline), *sided]
    tissues = (CLASSES.index(_TISSUE_OF.get(one, "grey")) for _, one in named)
    return Scheme(name, ("background", *(label for label, _ in named)), (0, *tissues))


#: What the network labels.
REGIONS = _scheme("regions", MIDLINE, PAIRED)
#: Numbers of regions and structures in label maps.
NUMBERS = tomllib.loads(Path(__file__).with_name("labels.toml").read_text("utf-8"))


#: What the numbers of the vermis, which has no side, become first; see `halved`.
VERMIS = len(REGIONS.classes)


def halved(found: np.ndarray, space: Space) -> np.ndarray:
    """Regions (X, Y, Z), `VERMIS` divided at x = 0 mm into the cerebellar cortex of each side."""
    steps = zip(space.affine[0, :3], np.ogrid[tuple(map(slice, space.shape))], strict=True)
    x = sum(mm * index for mm, index in steps) + space.affine[0, 3]
    left, right = (REGIONS.classes.index(f"{side}_cerebellar_cortex") for side in SIDES)
    return np.where(found == VERMIS, np.where(x < 0, left, right), found).astype(np.uint8)


def region_of_label() -> dict[int, int]:
    """Index in `REGIONS`, or `VERMIS`, of each number of the protocol; 0 is background."""
    found = {0: 0} | dict.fromkeys((71, 72, 73), VERMIS)
    for name, known in NUMBERS["midline"].items():
        found |= dict.fromkeys(known, REGIONS.classes.index(name))
    for name, numbers in NUMBERS["right"].items():
        for right in numbers:
            sides = {"right": right, "left": NUMBERS["left"].get(str(right), right + 1)}
            found |= {n: REGIONS.classes.index(f"{side}_{name}") for side, n in sides.items()}
    return found


def region_title(name: str) -> str:
    """Such as "Hippocampus, left" for "left_hippocampus"."""
    side, _, rest = name.partition("_")
    side, name = (f", {side}", rest) if side in SIDES else ("", name)
    title = _TITLES.get(name, name.replace("_white", "_white_matter").replace("_", " "))
    return f"{title[0].upper()}{title[1:]}{side}"


#: The labels.
LESIONS = _scheme("lesions", ("brain", LESION), ())

#: What a network learns from label maps of structures.
_ALONE, _SIDED = NUMBERS["midline_structures"], NUMBERS["structures"]
STRUCTURES = _scheme("structures", _ALONE, _SIDED)
#: Class of each of FreeSurfer's codes; the fifth ventricle, which few people have, is the third.
FREESURFER = {0: 0, 72: STRUCTURES.classes.index("third_ventricle")} | {
    code: index for index, code in enumerate((*_ALONE.values(), *chain(*_SIDED.values())), 1)
}


SCHEMES = {scheme.name: scheme for scheme in (TISSUES, REGIONS, LESIONS, STRUCTURES)}


#: The brain with its fluid.
HEAD = "head_ml"
HEAD_TITLE = "Head size (brain with its CSF)"
#: Ages that percentiles are given for.
AGES = (18.0, 80.0)
#: Regions that are measured as tissues already.
AS_TISSUES = ("csf", "brain_stem")
REGION_VOLUMES = tuple(n for n in REGIONS.classes[1:] if n not in AS_TISSUES)
REGION_MEASURES = (
    *(f"{name}_ml" for name in REGION_VOLUMES),
    *(f"{name}_asymmetry" for name in PAIRED),
)
#: All measures, in the order of tables.
ALL_MEASURES = (HEAD, *MEASURES, *REGION_MEASURES)


def title_of(measure: str) -> str:
    """Such as "Hippocampus, left" or "Asymmetry of the hippocampus"."""
    if measure == HEAD:
        return HEAD_TITLE
    if measure == "grey_white_ratio":
        return "Grey/white matter ratio"
    name, _, unit = measure.rpartition("_")
    title = TITLES[name] if name in TITLES else region_title(name)
    return f"Asymmetry of {title[0].lower()}{title[1:]}" if unit == "asymmetry" else title


def unit_of(measure: str) -> str:
    """Unit of a measure: "ml", "%" or none."""
    return {"ml": "ml", "asymmetry": "%"}.get(measure.rpartition("_")[2], "")


def value_text(measure: str, value: float) -> str:
    """A value as it is shown everywhere: three or four digits, asymmetries with their sign."""
    if unit_of(measure) == "%":
        return f"{value:+z.1f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def score_text(z: float, percentile: float) -> tuple[str, str]:
    """z and percentile as they are shown everywhere."""
    text = "<1" if percentile < 1 else ">99" if percentile > 99 else f"{percentile:.0f}"
    words = f"{z:+.1f}"
    return "0.0" if float(words) == 0 else words, text
