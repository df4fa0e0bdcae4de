"""Privacy of synthetic brains: their nearest training subjects, and an alarm for copies.

Membership inference: can training subjects be identified?

Three attacks score each subject; the AUC measures how well the score separates training from
held-out subjects of the same source (scanner), since otherwise it would separate scanners. 0.5 is
chance.

- Reconstruction (Hilprecht et al. 2019, "Monte Carlo and Reconstruction Membership Inference
  Attacks against Generative Models", PoPETs 2019(4); Chen et al. 2020, "GAN-Leaks", arXiv
  1909.03935, section 5.3): how closely the generator reconstructs the subject, by its encoder or by
  projection. Requires the model.
- Discriminator (Hayes et al. 2019, "LOGAN", arXiv 1705.07663): how real the subject appears to it.
Requires a model with discriminator.
- Monte Carlo: how close random brains come to the subject. Requires only random brains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import length_hint
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from sklearn.metrics import pairwise_distances

from stylegan3d.base import SILENT, Json, Progress, StyleGAN3DError, followed
from stylegan3d.dataset.pack import evenly
from stylegan3d.devices import computed
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.parts import encode
from stylegan3d.geometry.space import as_packed, draw_montage, eroded, unit
from stylegan3d.metrics.comparison import wilson
from stylegan3d.metrics.plausibility import FOREGROUND
from stylegan3d.metrics.two_sample import stratified_auc

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


def same_person(person: Sequence[object] | None, count: int) -> np.ndarray:
    """Whether two of `count` brains are one person's, bool (count, count).

    `person` tells whose each is; by default everybody's own.
    """
    names = range(count) if person is None else person
    return np.array([[one == other for other in names] for one in names])


def least_by_person(distances: np.ndarray, person: Sequence[object] | None) -> np.ndarray:
    """Distances [n, scans] as the least to any scan of each person, [n, people].

    `person` tells whose each scan is; by default everybody's own.
    """
    if person is None:
        return distances
    codes = {name: code for code, name in enumerate(dict.fromkeys(person))}
    least = np.full((len(codes), len(distances)), np.inf, distances.dtype)
    np.minimum.at(least, [codes[name] for name in person], distances.T)
    return least.T


@dataclass(frozen=True)
class Nearest:
    """The nearest training subject of each of n brains.

    Attributes
    ----------
    distance : ndarray, shape (n,)
        Distance to the nearest scan.
    second : ndarray, shape (n,)
        Distance to the nearest scan of anybody but the person whose scan is nearest.
    person : ndarray, shape (n,)
        Index of the nearest scan.
    mirrored : ndarray, shape (n,)
        Whether its mirror image is nearest.
    """

    distance: np.ndarray
    second: np.ndarray
    person: np.ndarray
    mirrored: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """[n] ratio of nearest to second distance: 1 for an unrelated subject, 0 for a copy.

        A smooth brain correlates highly with all subjects; the ratio distinguishes copies from
        smoothness.
        """
        return self.distance / np.maximum(self.second, 1e-12)


def feature_distances(
    brains: np.ndarray,
    training: np.ndarray,
    mirrored: np.ndarray,
    person: Sequence[object] | None = None,
) -> Nearest:
    """The nearest training subject by Euclidean distance of descriptors.

    Parameters
    ----------
    brains : ndarray, shape (n, features)
    training, mirrored : ndarray, shape (scans, features)
        Training brains and their mirror images.
    person : sequence or None
        Whose brain each training scan is; everybody is another person by default.
    """
    return nearest_of(pairwise_distances(brains, np.concatenate([training, mirrored])), person)


def nearest_of(distances: np.ndarray, person: Sequence[object] | None = None) -> Nearest:
    """From distances [n, 2 * scans]: to the brains first, then to their mirror images.

    `person` tells whose each scan is; by default everybody's own.
    """
    scans = distances.shape[1] // 2
    both = distances.reshape(-1, 2, scans)
    least = both.min(axis=1)
    nearest = least.argmin(axis=1)
    rows = np.arange(len(least))
    two = np.partition(least_by_person(least, person), 1, axis=1)[:, :2]
    mirrored = both[rows, 1, nearest] < both[rows, 0, nearest]
    return Nearest(two[:, 0], two[:, 1], nearest, mirrored)


def compare_nearest(synthetic: Nearest, validation: Nearest) -> Json:
    """Compare the nearest training subjects of synthetic brains and of held-out subjects.

    Returns
    -------
    dict
        "synthetic" and "validation": quantiles 0, 0.05, 0.5, 0.95 and 1 of the distance; under
        "relative" those of its ratio to the second distance. "closer_than_closest" and
        "closer_than_q05": number of synthetic brains closer than the closest validation subject and
        than their 0.05 quantile. "expected_by_chance": expected number among equally many new
        subjects. "nearest": the ten nearest pairs.
    """
    if not len(validation.distance):
        raise StyleGAN3DError(
            "Privacy needs validation subjects as a reference; prepare the data with "
            "--validation above 0."
        )
    n, m = len(synthetic.distance), len(validation.distance)
    return {
        "n": n,
        "n_validation": m,
        **_counts(synthetic.distance, validation.distance),
        "expected_by_chance": n / (m + 1),
        "synthetic": _quantiles(synthetic.distance),
        "validation": _quantiles(validation.distance),
        "relative": {
            **_counts(synthetic.relative, validation.relative),
            "synthetic": _quantiles(synthetic.relative),
            "validation": _quantiles(validation.relative),
        },
        "nearest": _pairs(synthetic, "distance", "relative"),
    }


def _pairs(found: Nearest | Closeness, *figures: str) -> list[Json]:
    """The pairs in which the first of these figures is least, with all of them."""
    return [
        {"brain": int(i), "person": int(found.person[i]), "mirrored": bool(found.mirrored[i])}
        | {name: float(getattr(found, name)[i]) for name in figures}
        for i in np.argsort(getattr(found, figures[0]))[:MOST_NAMED]
    ]


def _counts(synthetic: np.ndarray, validation: np.ndarray) -> dict[str, int]:
    return {
        "closer_than_closest": int((synthetic < validation.min()).sum()),
        "closer_than_q05": int((synthetic < np.quantile(validation, 0.05)).sum()),
    }


def _quantiles(values: np.ndarray) -> list[float]:
    return [float(q) for q in np.quantile(values, QUANTILES)] if len(values) else []


GRID_MM = 4.0
# Threshold of the brain as a share of the brightest tissue; the outermost voxels, which depend on
# brain extraction, are excluded.
BRAIN, RIM = 0.2, 2
OUTSIDE = 0.05  # radius of the mean brain
# Widths of the local mean and of the smoothing before resampling, in voxels of the grid.
LOCAL, SMOOTHING = 1.5, 0.4
# Rank of the reference neighbour among people, so that one who is in the data under several names
# does not hide copies.
NEXT = 5
FALSE_ALARMS = 0.01
TAIL = 0.2
FEWEST_STRANGERS = 40


@dataclass(frozen=True)
class Closeness:
    """Closeness of n brains to training subjects in fine structure.

    Attributes
    ----------
    correlation : ndarray, shape (n,)
        Correlation with the nearest subject.
    ratio : ndarray, shape (n,)
        Ratio of the distances (1 - correlation) to the nearest and fifth nearest person, of whose
        scans the nearest counts: close to 1 for an unrelated subject, 0 for a copy.
    person : ndarray, shape (n,)
        Index of the nearest scan.
    mirrored : ndarray, shape (n,)
        Whether its mirror image is nearest.
    """

    correlation: np.ndarray
    ratio: np.ndarray
    person: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def of(cls, correlations: np.ndarray, person: Sequence[object] | None = None) -> Closeness:
        """From correlations [n, 2, scans] with the training scans and their mirror images.

        `person` tells whose each scan is; by default everybody's own.
        """
        best = correlations.max(axis=1)
        rows, scan = np.arange(len(best)), best.argmax(axis=1)
        people = np.sort(least_by_person(1 - best, person), axis=1)
        other = people[:, min(NEXT, people.shape[1]) - 1]
        ratio = np.maximum(people[:, 0], 0) / np.maximum(other, 1e-6)
        mirrored = correlations[rows, 1, scan] > correlations[rows, 0, scan]
        return cls(best[rows, scan], ratio, scan, mirrored)

    @classmethod
    def join(cls, parts: list[Closeness]) -> Closeness:
        """Concatenate."""
        names = ("correlation", "ratio", "person", "mirrored")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class FineStructure:
    """Normalises position and size of brains and extracts their fine structure.

    Parameters
    ----------
    template : ndarray, shape (X, Y, Z)
        The mean brain, values in [0, 1], to whose position and size they are normalised.
    voxel_mm : tuple of float
        Edge lengths of the voxels.
    """

    def __init__(self, template: np.ndarray, voxel_mm: tuple[float, float, float]) -> None:
        self.voxel_mm = np.array(voxel_mm)
        self.step = np.maximum(GRID_MM / self.voxel_mm, 1.0)
        self.shape = tuple((np.array(template.shape) // self.step).astype(int))
        self.center, self.radius_mm = self._place(template)
        self.mask = self._moved(template) > OUTSIDE

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """Fine structure of a brain, float32 [voxels], with mean 0 and norm 1.

        Parameters
        ----------
        volume : ndarray, shape (X, Y, Z), uint8
            Volume of a pack or float in [0, 1]; the scale does not matter.
        """
        moved = self._moved(unit(volume))
        inside = moved > BRAIN * _bright_end(moved)
        weight = ndimage.gaussian_filter(inside.astype(np.float32), LOCAL)
        mean = ndimage.gaussian_filter(moved * inside, LOCAL) / np.maximum(weight, 1e-3)
        fine = (moved - mean) * eroded(inside, RIM)
        values = fine[self.mask]
        values -= values.mean()
        return values / max(float(np.linalg.norm(values)), 1e-12)

    def _place(self, volume: np.ndarray) -> tuple[np.ndarray, float]:
        """Centre (voxels) and root mean square radius (mm) of the brain."""
        places = np.argwhere(volume > BRAIN * _bright_end(volume)).astype(np.float64)
        if len(places) < 2:
            raise StyleGAN3DError(
                "A volume without a brain cannot be compared to training brains; check the "
                "generator."
            )
        center = places.mean(axis=0)
        offsets = (places - center) * self.voxel_mm
        return center, float(np.sqrt((offsets**2).sum(axis=1).mean()))

    def _moved(self, volume: np.ndarray) -> np.ndarray:
        """The brain on the coarse grid, with position and size of the template."""
        center, radius_mm = self._place(volume)
        scale = radius_mm / self.radius_mm
        first = (self.step - 1) / 2  # the centre of a coarse voxel in fine voxels
        return ndimage.affine_transform(
            ndimage.gaussian_filter(volume, SMOOTHING * self.step),
            np.diag(scale * self.step),
            offset=center + scale * (first - self.center),
            output_shape=self.shape,
            order=1,
        )


class CopyDetector:
    """Fine structure of training brains and their mirror images, to find copies.

    Parameters
    ----------
    volumes : iterable of ndarray, shape (subjects, X, Y, Z), uint8
        Volumes of a pack; may be a memory map.
    template : ndarray, shape (X, Y, Z)
        Values in [0, 1], the mean brain.
    voxel_mm : tuple of float
        Edge lengths of the voxels.
    sideways : int
        The left-right axis.
    person : sequence or None
        Whose brain each volume is; everybody is another person by default.
    """

    def __init__(
        self,
        volumes: Iterable[np.ndarray],
        template: np.ndarray,
        voxel_mm: tuple[float, float, float],
        sideways: int = 0,
        progress: Progress = SILENT,
        person: Sequence[object] | None = None,
    ) -> None:
        self.structure = FineStructure(template, voxel_mm)
        total, straight, mirrored = length_hint(volumes), [], []
        for done, volume in enumerate(volumes, 1):
            straight.append(self.structure(volume))
            mirrored.append(self.structure(np.flip(volume, sideways)))
            progress(done, total)
        if len(straight if person is None else set(person)) < 3:
            raise StyleGAN3DError("A search for copies needs three or more training subjects.")
        self.people = np.stack([straight, mirrored])  # [2, scans, voxels]
        self.person = person
        self.same = same_person(person, len(straight))

    def closeness(self, brains: Iterable[np.ndarray]) -> Closeness:
        """Closeness of brains, each (X, Y, Z), uint8 or float."""
        found = [self.people @ fine for fine in computed(self.structure, brains)]
        return Closeness.of(np.stack(found), self.person)

    def among_training(self) -> Closeness:
        """Closeness of each training brain to those of other people."""
        straight = self.people[0]
        correlations = np.stack([straight @ kind.T for kind in self.people], axis=1)
        return Closeness.of(np.where(self.same[:, None], -1.0, correlations), self.person)


def alarm_threshold(strangers: np.ndarray, n: int, rate: float = FALSE_ALARMS) -> float:
    """Threshold of `Closeness.ratio` below which a brain counts as a copy.

    The least of n unrelated brains falls below it with a probability of at most `rate`. Such rare
    ratios are extrapolated: the tail of its logarithm below the quantile 0.2 is modelled as
    exponential (peaks over threshold, shape 0; Coles 2001, "An Introduction to Statistical Modeling
    of Extreme Values", section 4.2). The scale is estimated from the median of the excesses, which
    is robust to a few duplicates, plus 2.5 times its standard error (1 / (log 2 sqrt(excesses)) of
    it), so that the rate holds for as few as forty subjects (1.5 % at most in simulations).

    Parameters
    ----------
    strangers : ndarray, shape (m,)
        Ratios of unrelated subjects.
    """
    logarithms = np.log(np.maximum(strangers, 1e-12))
    start = float(np.quantile(logarithms, TAIL))
    excess = start - logarithms[logarithms < start]
    width = float(np.median(excess)) / np.log(2) if len(excess) else 0.0
    width *= 1 + 2.5 / (np.log(2) * np.sqrt(max(len(excess), 1)))
    each = 1 - (1 - rate) ** (1 / n)
    return float(np.exp(start - width * np.log(max(TAIL / each, 1.0))))


def _bright_end(volume: np.ndarray) -> float:
    """99th percentile of the foreground."""
    inside = volume[volume > 0.05 * float(volume.max())]
    return float(np.percentile(inside, 99)) if inside.size else 1.0


Disguise = Callable[[np.ndarray], np.ndarray]
SHIFT_MM, SCALE, BLUR_VOXELS, GAMMA = 2.0, 0.03, 1.0, 1.3


def disguises(voxel_mm: tuple[float, float, float], sideways: int = 0) -> dict[str, Disguise]:
    """Transformations that disguise a copy, by name: uint8 (X, Y, Z) to the same.

    Shifted by the larger of a voxel and 2 mm; 3 % larger or smaller; mirrored; blurred by one
    voxel; changed in intensity; and some combinations.
    """

    def shifted(volume: np.ndarray) -> np.ndarray:
        return np.roll(volume, [max(round(SHIFT_MM / mm), 1) for mm in voxel_mm], axis=(0, 1, 2))

    def mirrored(volume: np.ndarray) -> np.ndarray:
        return np.flip(volume, sideways)

    return {
        "as it is": np.array,
        "mirrored": mirrored,
        "shifted": shifted,
        "larger": lambda volume: rescaled(volume, 1 + SCALE),
        "smaller": lambda volume: rescaled(volume, 1 - SCALE),
        "blurred": blurred,
        "other intensities": lambda volume: as_packed(0.9 * unit(volume) ** GAMMA),
        "mirrored, shifted, larger": lambda volume: rescaled(mirrored(shifted(volume)), 1 + SCALE),
        "mirrored, smaller, blurred": lambda volume: blurred(rescaled(mirrored(volume), 1 - SCALE)),
    }


def rescaled(volume: np.ndarray, factor: float) -> np.ndarray:
    """A brain scaled by `factor` about the centre of its grid."""
    middle = (np.array(volume.shape) - 1) / 2
    matrix = np.eye(3) / factor
    return as_packed(
        ndimage.affine_transform(unit(volume), matrix, offset=middle - matrix @ middle, order=1)
    )


def blurred(volume: np.ndarray) -> np.ndarray:
    """A brain blurred by a Gaussian of one voxel."""
    return as_packed(ndimage.gaussian_filter(unit(volume), BLUR_VOXELS))


# Brains per batch, which are generated, compared and discarded.
BRAINS_AT_A_TIME = 32
PLANTED = 27
MOST_NAMED = 10


def privacy(material: Material) -> Json:
    """Nearest training subjects of many random brains, and whether any is a copy.

    Returns
    -------
    dict
        "features": see `compare_nearest`. "copies": see `compare_copies`.
    """
    known, seeds = len(material.training), material.seeds(material.settings.privacy_samples)
    person = whose(material)
    detector = copy_detector(material)
    reference = (material.real_features[:known], material.mirrored_features)
    described, closeness = [], []
    for start in range(0, len(seeds), BRAINS_AT_A_TIME):
        some = seeds[start : start + BRAINS_AT_A_TIME]
        chosen = material.random_brains(some).stack()
        described.append(material.features_of(some, brains=chosen))
        closeness.append(detector.closeness(chosen))
        material.report(start + len(some), len(seeds), "Nearest training brains")
    held_out = feature_distances(material.real_features[known:], *reference, person)
    by_feature = feature_distances(np.concatenate(described), *reference, person)
    found = {
        "features": compare_nearest(by_feature, held_out),
        "copies": compare_copies(material, detector, Closeness.join(closeness)),
    }
    for measure in found.values():
        for pair in measure["nearest"]:
            _name(material, pair, seeds)
    return found


def copy_detector(material: Material) -> CopyDetector:
    """Detector of copies of the training subjects."""
    return CopyDetector(
        material.volumes(material.training),
        material.pack.template,
        material.pack.space.voxel_size,
        material.pack.space.sideways,
        material.progress("Fine structure of training subjects"),
        whose(material),
    )


def whose(material: Material) -> list[object]:
    """The person of each training scan."""
    return [material.pack.table[row]["person"] for row in material.training]


def compare_copies(material: Material, detector: CopyDetector, synthetic: Closeness) -> Json:
    """The memorisation warning and its test.

    Returns
    -------
    dict
        "alarm": whether any of the "n" brains is classified as a copy, None with too few subjects
        ("why"); "copies": their number, "share" with "interval". "threshold" of the ratio of
        distances (`Closeness.ratio`), which the least of equally many unrelated brains falls below
        with a probability of at most "false_alarms". "synthetic" and "strangers": quantiles 0,
        0.05, 0.5, 0.95 and 1 of the ratio for synthetic brains and unrelated subjects;
        "n_strangers": number of the latter. "planted": disguised copies of training subjects ("n")
        and those detected ("found"; both also "by_disguise"). "alike": pairs of subjects below the
        threshold, possibly one person under two names. "nearest": the ten brains with the least
        ratios.
    """
    held_out = detector.closeness(material.volumes(material.validation))
    people = Closeness.join([detector.among_training(), held_out])
    n = len(synthetic.ratio)
    found: Json = {
        "alarm": None,
        "n": n,
        "n_strangers": len(people.ratio),
        "synthetic": _quantiles(synthetic.ratio),
        "strangers": _quantiles(people.ratio),
        "nearest": _pairs(synthetic, "ratio", "correlation"),
    }
    if len(people.ratio) < FEWEST_STRANGERS:
        least = people.ratio.min(initial=1.0)
        return found | {
            "why": f"A warning needs {FEWEST_STRANGERS} unrelated subjects as a reference; there "
            f"are {len(people.ratio)}. Closer to a training subject than any of these: "
            f"{(synthetic.ratio < least).sum()} of {n}."
        }
    threshold = alarm_threshold(people.ratio, n)
    copies = int((synthetic.ratio < threshold).sum())
    return found | {
        "alarm": copies > 0,
        "copies": copies,
        "share": copies / n,
        "interval": wilson(copies, n),
        "threshold": threshold,
        "false_alarms": FALSE_ALARMS,
        "planted": planted(material, detector, threshold),
        "alike": _alike(material, people),
    }


def planted(material: Material, detector: CopyDetector, threshold: float) -> Json:
    """Whether copies of training subjects, disguised in turn, are found."""
    ways = disguises(material.pack.space.voxel_size, material.pack.space.sideways)
    rows = evenly(len(material.training), PLANTED)
    person = whose(material)
    result: Json = {"n": len(rows), "found": 0, "by_disguise": {}}
    for k, index in enumerate(rows):
        name = list(ways)[k % len(ways)]
        brain = ways[name](material.pack.volumes[material.training[index]])
        closeness = detector.closeness([brain])
        right = person[closeness.person[0]] == person[index]
        found = int(closeness.ratio[0] < threshold and right)
        result["found"] += found
        of, hits = result["by_disguise"].get(name, (0, 0))
        result["by_disguise"][name] = (of + 1, hits + found)
    return result


def closest_pairs_png(material: Material, found: Json, rows: int = 5) -> bytes:
    """The closest pairs of `privacy`, synthetic on the left, training subject on the right; PNG.

    Subjects whose mirror image was nearest are shown mirrored.
    """
    pairs = found["copies"]["nearest"][:rows]
    by_name = {row["name"]: k for k, row in enumerate(material.pack.table)}
    people = []
    for pair in pairs:
        volume = material.pack.volumes[by_name[pair["person"]]]
        people.append(np.flip(volume, material.pack.space.sideways) if pair["mirrored"] else volume)
    made = material.random_brains([pair["seed"] for pair in pairs]).stack()
    columns: dict[str, Sequence[np.ndarray]] = {
        "synthetic - not for diagnosis": list(made),
        "nearest training subject": people,
    }
    return draw_montage(columns, material.pack.space)


def _name(material: Material, pair: Json, seeds: range) -> None:
    """Replace indices of a pair by names."""
    pair["seed"] = seeds[pair.pop("brain")]
    pair["brain"] = material.label(pair["seed"])
    pair["person"] = material.pack.table[material.training[pair["person"]]]["name"]


def _alike(material: Material, people: Closeness) -> list[Json]:
    """Subjects closer to a training subject than expected for unrelated subjects."""
    table, threshold = material.pack.table, alarm_threshold(people.ratio, len(people.ratio))
    found = {}
    for i in np.flatnonzero(people.ratio < threshold):
        pair = (material.people[i], material.training[people.person[i]])
        found[frozenset(pair)] = {
            "people": [table[row]["name"] for row in sorted(pair)],
            "ratio": float(people.ratio[i]),
            "correlation": float(people.correlation[i]),
        }
    return list(found.values())


# Training subjects per held-out subject; more hardly narrow the interval.
MEMBERS_EACH = 3
# Source of subjects in a dataset without sources.
ONE_SOURCE = ""


def membership(material: Material) -> Json:
    """Membership inference against training subjects.

    Returns
    -------
    dict
        "attacks": one entry each with "attack", "needs", "auc" with "interval" (95 %, DeLong),
        "members" and "others" (numbers compared), "tells_apart" (whether the interval excludes
        chance), "median_member" and "median_other" of the score and its "unit". "missing": attack
        to the reason why it was omitted.
    """
    rows, member = compared_people(material)
    attacks: list[Json] = []
    missing: dict[str, str] = {}
    chosen: dict[str, Attack] = {
        "encoder": by_encoder,
        "discriminator": by_discriminator,
        "nearest random brain": by_random_brains,
    }
    for name, attack in chosen.items():
        found = attack(material, rows)
        if isinstance(found, str):
            missing[name] = found
            continue
        for kind, (scores, unit_of, needs) in found.items():
            told = _compared(material, rows, member, scores)
            if told is None:
                missing[kind] = "No source has at least two training and two validation subjects."
            else:
                attacks.append({"attack": kind, "needs": needs, "unit": unit_of, **told})
    return {"attacks": attacks, "missing": missing}


Scores = dict[str, tuple[np.ndarray, str, str]]
Attack = Callable[[Material, np.ndarray], Scores | str]


def compared_people(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the dataset [n], and whether they are training subjects, bool [n].

    All held-out subjects whose source has training subjects, and up to three of these for each.
    """
    rng = np.random.default_rng(material.settings.seed)
    source = sources(material)
    members: list[int] = []
    for name in sorted({source[row] for row in material.validation}):
        there = [row for row in material.training if source[row] == name]
        count = MEMBERS_EACH * sum(source[row] == name for row in material.validation)
        members += [there[k] for k in np.sort(rng.permutation(len(there))[:count])]
    rows = np.array([*members, *material.validation], dtype=np.int64)
    return rows, np.arange(len(rows)) < len(members)


def sources(material: Material) -> list[str]:
    """The source of each row of the dataset."""
    return [str(value or ONE_SOURCE) for value in material.pack.column("source")]


def by_encoder(material: Material, rows: np.ndarray) -> Scores | str:
    """PSNR (dB) inside the brain and similarity of detail for each subject via the encoder."""
    if material.has_generator and material.generator.encoder is None:
        return f"{material.generator.name} has no encoder."
    structure = FineStructure(material.pack.template, material.pack.space.voxel_size)

    def errors(volume: np.ndarray) -> tuple[float, float]:
        made = encode(material.generator, unit(volume))
        return _psnr(made, unit(volume)), float(structure(made) @ structure(volume))

    needs = "the model's encoder"
    kinds = {"encoder": ("dB", needs), "encoder, fine structure": ("correlation", needs)}
    return _scored(material, rows, "by the encoder", errors, kinds)


@torch.no_grad()
def by_discriminator(material: Material, rows: np.ndarray) -> Scores | str:
    """Logit of the discriminator for each subject alone."""
    judge: Any = material.generator.discriminator if material.has_generator else None
    if material.has_generator and (judge is None or judge.config.packed > 1):
        why = "was saved without its discriminator" if judge is None else "judges several at once"
        return f"{material.generator.name} {why}."

    def logit(volume: np.ndarray) -> float:
        return float(material.generator.score(torch.from_numpy(unit(volume))[None, None] * 2 - 1))

    kinds = {"discriminator": ("logit", "the model's discriminator")}
    return _scored(material, rows, "by the discriminator", logit, kinds)


def _scored(
    material: Material,
    rows: np.ndarray,
    how: str,
    score: Callable[[np.ndarray], object],
    kinds: Mapping[str, tuple[str, str]],
) -> Scores | str:
    """Scores of the subjects' volumes by the generator, or why there are none.

    `kinds` has unit and needs of each number that `score` gives for a volume.
    """
    if not material.has_generator:
        return f"{material.subject.name} is a folder of volumes, not a generator."
    volumes = followed(material.volumes(rows), material.report, f"Membership {how}")
    found = np.array([score(volume) for volume in volumes]).reshape(len(rows), len(kinds))
    return {kind: (found[:, k], *told) for k, (kind, told) in enumerate(kinds.items())}


def by_random_brains(material: Material, rows: np.ndarray) -> Scores:
    """Distance to the nearest random brain, and share of random brains nearby.

    Chen et al. 2020, eq. 3 (full black box), and Hilprecht et al. 2019, eq. 4, whose radius is the
    median over subjects of the distance to the nearest random brain; by features, and by fine
    structure (`privacy`).
    """
    place = {row: k for k, row in enumerate(material.people)}
    people = material.real_features[[place[row] for row in rows]]
    needs = f"{len(material.synthetic)} random brains"
    distances = {
        "features": np.linalg.norm(people[:, None] - material.synthetic_features, axis=2),
        "fine structure": _fine_distances(material, rows),
    }
    found: Scores = {}
    for name, distance in distances.items():
        nearest = distance.min(axis=1)
        nearby = (distance <= np.median(nearest)).mean(axis=1)
        found[f"nearest random brain, {name}"] = (-nearest, "distance, negative", needs)
        found[f"random brains nearby, {name}"] = (nearby, "share", needs)
    return found


def _fine_distances(material: Material, rows: np.ndarray) -> np.ndarray:
    """1 - correlation [rows, random brains] of fine structure."""
    structure = FineStructure(material.pack.template, material.pack.space.voxel_size)
    made = np.stack([structure(brain) for brain in material.synthetic])
    return 1 - np.stack([structure(volume) @ made.T for volume in material.volumes(rows)])


def _compared(
    material: Material, rows: np.ndarray, member: np.ndarray, scores: np.ndarray
) -> Json | None:
    """AUC of scores [rows] within sources."""
    source = sources(material)
    strata = [source[row] for row in rows]
    inside = [name for name, is_member in zip(strata, member, strict=True) if is_member]
    outside = [name for name, is_member in zip(strata, member, strict=True) if not is_member]
    return stratified_auc(scores[member], scores[~member], inside, outside)


def _psnr(made: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio (dB) inside the brain, intensities in [0, 1]."""
    inside = truth > FOREGROUND
    error = float(np.mean((made[inside] - truth[inside]) ** 2, dtype=np.float64))
    return float(10 * np.log10(1 / max(error, 1e-12)))
