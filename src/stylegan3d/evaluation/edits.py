"""What edits and labels change, by predictors that were not part of the generator's training.

Volumes are measured by the tissue network (`segmentation`), other attributes by a ridge regression
on tissue volumes and the features of `features.describe`, fitted to training subjects. The slope of
a predictor on true differences between subjects is the upper limit of what an edit can show; it is
measured within sources, with the same attributes held fixed as by the direction.

Utility of synthetic brains as training data: train on synthetic, test on real.

A model is trained three times, on real training subjects, on random brains, and on both, and tested
on held-out subjects (Esteban et al. 2017, "Real-valued (Medical) Time Series Generation with
Recurrent Conditional GANs", arXiv 1706.02633, section 5.1). Random brains have no labels, so these
are assigned by a method that is part of the report. The tasks are brain age and tissue
segmentation.

Ages are learned from features and tissue volumes. In 245 subjects of three sources (ten-fold
cross-validation, ages relative to the mean of the source) ridge regression predicts age with
r = 0.83 from features alone (mean error 6.5 years), 0.88 from volumes alone (5.5) and 0.89 from
both (5.3), if the few volumes are weighted ten times.

All labels of tissues, also of the test subjects, are from the bundled tissue network
(`segmentation`), which was trained on real subjects. So Dice measures agreement with that network,
not with manual segmentation. The networks are small, work at half resolution and are trained for
the same number of steps: only the data differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor

from stylegan3d.base import Json, JsonView, followed
from stylegan3d.devices import computed
from stylegan3d.directions import edit_effects
from stylegan3d.directions.people import (
    AGE,
    LOGARITHMIC,
    as_numbers,
    deviations,
    group_numbers,
    key_of,
    name_of,
    scaled,
)
from stylegan3d.evaluation.material import Material, Volumes
from stylegan3d.evaluation.parts import encode, encoded
from stylegan3d.geometry.space import unit
from stylegan3d.measures.attributes import BY_NETWORK, MEASURES, measure_volume, read_tissues
from stylegan3d.metrics.comparison import correlation, estimated, interval, mean, wilson
from stylegan3d.model.generator import Generator, encoded_volumes, packed_synthesis
from stylegan3d.recipe.model import encode_labels, seed_latents
from stylegan3d.segmentation.classes import CLASSES, TISSUES, Scheme, mean_scores
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter
from stylegan3d.training.options import SegmentationSettings
from stylegan3d.training.run import Run
from stylegan3d.training.segmentation import SegmentationRun, SegmentationTask, validate

#: Weight of a volume, in standard deviations of a feature.
WEIGHT = 10.0
#: Least volume for logarithms and shares.
LEAST_ML = 0.1
TISSUE_ML = tuple(f"{name}_ml" for name in CLASSES[1:])
#: Number of columns.
COLUMNS = 10


def tissue_columns(rows: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Columns from tissue volumes, float64 [n, `COLUMNS`].

    The volume of each tissue, ventricles as logarithms too, and shares of CSF, grey and white
    matter and ventricles (as logarithm) in all that was labelled.

    Parameters
    ----------
    rows : sequence of mapping of str to float
        Millilitres of `TISSUE_ML` for each brain.
    """
    volumes = np.array([[row[name] for name in TISSUE_ML] for row in rows], dtype=np.float64)
    volumes = np.maximum(volumes, LEAST_ML)
    share = volumes / volumes.sum(axis=1, keepdims=True)
    csf, grey, white, ventricle = (TISSUE_ML.index(f"{n}_ml") for n in CLASSES[1:5])
    return np.column_stack(
        [
            volumes,
            np.log(volumes[:, ventricle]),
            share[:, [csf, grey, white]],
            np.log(share[:, ventricle]),
        ]
    )


def weighted(columns: np.ndarray, tissues: int = 0) -> np.ndarray:
    """Standardised columns [n, m], of which the first `tissues` are volumes."""
    factors = np.ones(columns.shape[1])
    factors[:tissues] = WEIGHT
    return np.asarray(columns * factors)


# Number of training brains; more hardly matter in so few steps.
MOST_BRAINS = 80
SETTINGS = SegmentationSettings(widths=(16, 32, 48), steps=1500, warm_up=60, average_steps=100)

# A volume float32 [X, Y, Z] in [0, 1] and its labels uint8 [X, Y, Z].
Labelled = tuple[Tensor, Tensor]


def tissue_utility(material: Material, settings: SegmentationSettings = SETTINGS) -> Json | str:
    """Tissue segmentation learned from real subjects, from random brains, and from both.

    Returns
    -------
    dict
        "labels": source of all labels. "steps" of each training, "voxel_mm".
        "real", "synthetic", "both": "n" brains trained on, "n_test" subjects, "dice" (mean over
        subjects and tissues) with "dice_interval" of 95 % (bootstrap over subjects), "tissues"
        (mean of each). "difference": of the Dice of synthetic less that of real on the same
        subjects, with "interval". A sentence instead if it cannot be measured.
    """
    segmenter, space = bundled_segmenter(), material.pack.space
    if not segmenter.fits(space):
        return f"The tissue network {segmenter.name} does not know volumes on this grid."
    count = min(MOST_BRAINS, len(material.training), len(material.synthetic))
    rng = np.random.default_rng(material.settings.seed)
    rows = np.sort(rng.permutation(material.training)[:count])
    sets: dict[str, Volumes] = {
        "real": material.volumes(rows),
        "synthetic": material.synthetic[:count],
        "test": material.volumes(material.validation),
    }
    labelled = {
        name: _labelled(material, segmenter, volumes, f"Labels, {name} brains")
        for name, volumes in sets.items()
    }
    test = labelled.pop("test")
    labelled["both"] = [*labelled["real"], *labelled["synthetic"]]
    scores = {}
    result: Json = {
        "labels": f"of the tissue network {segmenter.name}, trained on real subjects",
        "steps": settings.steps,
        "voxel_mm": [2 * size for size in space.voxel_size],
    }
    for name, brains in labelled.items():
        run = _trained(material, brains, settings, f"Learning tissues, {name}")
        people = validate(run.average, _Brains(test))
        scores[name] = np.array([np.mean(list(score.values())) for score in people])
        result[name] = {
            "n": len(brains),
            "n_test": len(test),
            **estimated("dice", mean, scores[name]),
            "tissues": mean_scores(people),
        }
    return result | {"difference": paired_difference(scores["synthetic"], scores["real"])}


def _labelled(
    material: Material, segmenter: Segmenter, volumes: Volumes, what: str
) -> list[Labelled]:
    """Brains and their labels at half the resolution."""
    space = material.pack.space

    def one(volume: np.ndarray) -> Labelled:
        labels = torch.from_numpy(segmenter.segment(volume, space).labels)
        return halved(torch.from_numpy(unit(volume)), labels)

    return computed(one, volumes, segmenter.device, material.progress(what))


def halved(volume: Tensor, labels: Tensor) -> Labelled:
    """The mean of each block of eight voxels, and its most common label.

    Parameters
    ----------
    volume, labels : Tensor, shape (X, Y, Z)
        Axes of an odd length lose their last slice.
    """
    shares = F.one_hot(labels.long(), len(CLASSES)).movedim(3, 0)[None].float()
    most = F.avg_pool3d(shares, 2).argmax(dim=1)[0].to(torch.uint8)
    return F.avg_pool3d(volume[None, None], 2)[0, 0], most


@dataclass(frozen=True)
class _Brains:
    """Training brains, or test subjects."""

    pairs: Sequence[Labelled]
    scheme: Scheme = TISSUES

    @property
    def training(self) -> int:
        return len(self.pairs)

    @property
    def validation(self) -> range:
        return range(len(self.pairs))

    def pair(self, index: int) -> Labelled:
        return self.pairs[index]

    def example(self, index: int, generator: torch.Generator) -> Labelled:
        return self.pairs[index]


def _trained(
    material: Material, brains: Sequence[Labelled], settings: SegmentationSettings, what: str
) -> SegmentationRun:
    """Train a network with fixed initialisation and number of steps."""
    run = Run(SegmentationTask(settings), torch.device(material.device))
    for step in range(settings.steps):
        run.step(_Brains(brains))
        material.report(step + 1, settings.steps, what)
    return run


PENALTIES = np.logspace(-1, 5, 25)
FEWEST_TO_FIT, FEWEST_TO_TEST = 20, 5
REAL, SYNTHETIC, BOTH = "real", "synthetic", "both"


def utility(material: Material) -> Json:
    """Train on real, on synthetic and on both; test on held-out subjects.

    Returns
    -------
    dict
        "age": see `age_utility`. "tissues": see `tissue_utility`. "missing": task
        to the reason why it was omitted.
    """
    results = {"age": age_utility(material), "tissues": tissue_utility(material)}
    missing = {name: result for name, result in results.items() if isinstance(result, str)}
    found = {name: result for name, result in results.items() if name not in missing}
    return {**found, "missing": missing}


def age_utility(material: Material) -> Json | str:
    """Brain age by ridge regression on tissue volumes and the features of `features.describe`.

    Volumes are omitted on grids that the tissue network does not support. A random brain is
    assigned the age predicted by a ridge regression on w, fitted to the encoder's latents of
    training subjects with known ages. So what is learned has passed from w through the images into
    features of another network.

    Returns
    -------
    dict
        "labels": how ages were assigned to random brains, with "r" and "mae" in held-out subjects.
        "real", "synthetic", "both": "n" trained on, "mae" in years and "r" on "n_test" held-out
        subjects, each with an "_interval" of 95 % (bootstrap over these subjects). "difference": of
        the MAE of synthetic less that of real, in years, with "interval". "mean_age": MAE of
        predicting the mean age of training subjects. A sentence instead if it cannot be measured.
    """
    if not material.has_generator:
        return f"{material.subject.name} is a folder of volumes: their ages are unknown."
    generator = material.generator
    if generator.encoder is None:
        return f"{generator.name} has no encoder, so random brains have no known age."
    ages = as_numbers(AGE, material.pack.column(AGE))[material.people]
    known = len(material.training)
    fit = np.isfinite(ages) & (np.arange(len(ages)) < known)
    test = np.isfinite(ages) & (np.arange(len(ages)) >= known)
    if fit.sum() < FEWEST_TO_FIT or test.sum() < FEWEST_TO_TEST:
        return (
            f"Ages are known for {fit.sum()} training and {test.sum()} validation subjects; brain "
            f"age needs {FEWEST_TO_FIT} and {FEWEST_TO_TEST}."
        )
    w = encoded(
        generator, material.volumes(material.people), material.progress("Latents of subjects")
    )
    labeller = regression().fit(w[fit], ages[fit])
    seeds = list(material.seeds(material.settings.samples))
    made_w = seed_latents(generator, seeds, material.settings.truncation).mean(dim=1)
    made_ages = labeller.predict(made_w.double().cpu().numpy())
    features, made, tissues = material.real_features, material.synthetic_features, 0
    if material.has_tissues:
        tissues = COLUMNS
        features = np.hstack([tissue_columns(material.real_tissues), features])
        made = np.hstack([tissue_columns(material.synthetic_tissues), made])
    arms = {
        REAL: (features[fit], ages[fit]),
        SYNTHETIC: (made, made_ages),
        BOTH: (np.concatenate([features[fit], made]), np.concatenate([ages[fit], made_ages])),
    }
    said = {
        name: regression(tissues).fit(*data).predict(features[test]) for name, data in arms.items()
    }
    errors = {name: np.abs(guess - ages[test]) for name, guess in said.items()}
    taught = agreement(labeller.predict(w[test]), ages[test])
    return {
        "labels": {
            "how": "a ridge regression on w, fitted to the encoder's latents of training subjects",
            "range": [float(made_ages.min()), float(made_ages.max())],
            **taught,
        },
        **{
            name: {"n": len(arms[name][1]), "n_test": int(test.sum())}
            | agreement(guess, ages[test])
            for name, guess in said.items()
        },
        "difference": paired_difference(errors[SYNTHETIC], errors[REAL]),
        "mean_age": float(np.abs(ages[test] - ages[fit].mean()).mean()),
    }


def regression(tissues: int = 0) -> Pipeline:
    """Ridge regression on standardised features, the penalty by leave-one-out error.

    The first `tissues` columns are tissue volumes; see `tissue_columns`.
    """
    weights = FunctionTransformer(partial(weighted, tissues=tissues))
    return make_pipeline(StandardScaler(), weights, RidgeCV(alphas=PENALTIES))


def agreement(guess: np.ndarray, truth: np.ndarray) -> Json:
    """ "mae" and "r" of predictions [n], each with an "_interval" of 95 % over subjects."""
    errors, both = np.abs(guess - truth), np.stack([guess, truth], axis=1)
    return estimated("mae", mean, errors) | estimated("r", correlation, both)


def paired_difference(a: np.ndarray, b: np.ndarray) -> Json:
    """Mean of a - b over the same subjects [n], with its "interval" (bootstrap)."""
    return {"value": mean(a - b), "interval": interval(mean, a - b)}


# Volumes measured by the tissue network, and the tissues they consist of.
READ = {
    "brain_ml": TISSUE_ML,
    "ventricle_ml": ("ventricle_ml",),
    "grey_ml": ("grey_ml",),
    "white_ml": ("white_ml",),
}
MEASURED = tuple(measure.key for measure in MEASURES)
Rows = Sequence[Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class AttributeJudge:
    """Predicts one attribute of brains, on the scale of `directions.people.scaled`.

    Attributes
    ----------
    how : str
        Description of the method.
    r : float
        Correlation with the truth among subjects, within sources.
    slope : float
        Slope of its prediction on the truth among them; 1 shows all of a difference.
    sd : float
        Standard deviation of its prediction among subjects, within sources.
    n_test : int
        Number of these subjects: the held-out ones, or all if it was not fitted.
    regression : Pipeline or None
        Fitted regression; None for volumes of the tissue network.
    """

    how: str
    r: float
    slope: float
    sd: float
    n_test: int
    regression: Pipeline | None = None

    def to_dict(self) -> Json:
        """Plain data."""
        return {"how": self.how, "r": self.r, "slope": self.slope, "n_test": self.n_test}


#: A predictor with fewer standard errors of r from 0 may be chance.
LEAST_ERRORS = 2.0


class Judges:
    """Predictors of several attributes.

    Attributes
    ----------
    of : dict of str to AttributeJudge
        Attribute to its predictor.
    missing : dict of str to str
        Attribute to the reason why it has none.
    known : dict of str to ndarray, shape (subjects,)
        By attribute, training subjects first; NaN where unknown.
    """

    def __init__(self, material: Material, keys: Sequence[str]) -> None:
        self.material = material
        self.of: dict[str, AttributeJudge] = {}
        self.missing: dict[str, str] = {}
        self._by_tissues = material.has_tissues
        fit = np.arange(len(material.people)) < len(material.training)
        groups = [material.pack.table[row].get("source") for row in material.people]
        self._place, self._fit = group_numbers(groups, fit), fit
        self._truth: dict[str, np.ndarray] = {}
        self._read: dict[str, np.ndarray] = {}
        truths = self.known = _truths(material, keys)
        columns = np.empty((0, 0))
        if not all(self._by_network(key) for key in keys):
            tissues = material.real_tissues if self._by_tissues else None
            columns = deviations(_columns(tissues, material.real_features), self._place, fit)
        for key in keys:
            self._add(key, truths[key], columns)

    def readings(self, volumes: Volumes) -> dict[str, np.ndarray]:
        """Predictions, [n] by attribute."""
        rows = self._rows(volumes) if self._by_tissues else None
        read = {k: _volume(k, rows) for k in self.of if rows is not None and self._by_network(k)}
        regressions = {k: j.regression for k, j in self.of.items() if j.regression is not None}
        if regressions:
            features = self.material.describe(volumes, self.material.progress("Edited brains"))
            columns = _columns(rows, features)
            read |= {key: fitted.predict(columns) for key, fitted in regressions.items()}
        return read

    def shown(self, key: str, held: Sequence[str]) -> float:
        """Share of a true difference that the predictor shows with these attributes held fixed.

        The slope of its prediction on the truth in a regression on truth and held attributes, over
        its test subjects.
        """
        known = [self._truth[other] for other in held if other in self._truth and other != key]
        columns = np.stack([self._truth[key], *known], axis=1)
        rows = (self.of[key].regression is None or ~self._fit) & np.isfinite(columns).all(axis=1)
        if rows.sum() < len(columns[0]) + FEWEST_TO_TEST:
            return self.of[key].slope
        return float(np.linalg.lstsq(columns[rows], self._read[key][rows], rcond=None)[0][0])

    def _by_network(self, key: str) -> bool:
        return self._by_tissues and key in READ

    def _add(self, key: str, truth: np.ndarray, columns: np.ndarray) -> None:
        truth = deviations(scaled(key, truth), self._place, self._fit)
        self._truth[key] = truth
        fit, test = np.isfinite(truth) & self._fit, np.isfinite(truth) & ~self._fit
        if fit.sum() < FEWEST_TO_FIT or test.sum() < FEWEST_TO_TEST or np.ptp(truth[test]) == 0:
            self.missing[key] = (
                f"Known for {fit.sum()} training and {test.sum()} validation subjects with "
                f"different values; {FEWEST_TO_FIT} and {FEWEST_TO_TEST} are needed."
            )
            return
        fitted, how = None, f"tissue network {bundled_segmenter().name}"
        if self._by_network(key):
            read, test = _volume(key, self.material.real_tissues), fit | test
        else:
            fitted = regression(COLUMNS * self._by_tissues).fit(columns[fit], truth[fit])
            volumes = "tissue volumes and " * self._by_tissues
            how, read = f"ridge regression on {volumes}features", fitted.predict(columns)
        said = self._read[key] = deviations(read, self._place, self._fit)
        slope = float(said[test] @ truth[test] / (truth[test] @ truth[test]))
        r = float(np.corrcoef(said[test], truth[test])[0, 1])
        if r < LEAST_ERRORS / test.sum() ** 0.5:
            self.missing[key] = (
                f"Its estimate in real subjects has r = {r:.2f} only, which may be chance, so it "
                "cannot be judged in synthetic brains."
            )
            return
        self.of[key] = AttributeJudge(
            how, r, slope, float(said[fit].std()), int(test.sum()), fitted
        )

    def _rows(self, volumes: Volumes) -> Rows:
        """Millilitres of each tissue in each volume."""
        segmenter, space = bundled_segmenter(), self.material.pack.space
        progress = self.material.progress("Tissues for edits")
        found = computed(
            lambda volume: segmenter.segment(volume, space), volumes, segmenter.device, progress
        )
        return [{f"{name}_ml": ml for name, ml in one.volumes.items()} for one in found]


def _columns(rows: Rows | None, features: np.ndarray) -> np.ndarray:
    """Columns of the regression, [n, columns]; volumes first, if any."""
    return features if rows is None else np.hstack([tissue_columns(rows), features])


def _volume(key: str, rows: Rows) -> np.ndarray:
    """A volume of `READ` on the scale of `scaled`, [n]."""
    return scaled(key, np.array([max(sum(row[n] for n in READ[key]), LEAST_ML) for row in rows]))


def _truths(material: Material, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Attributes as used to fit directions (`measure_attributes`), [subjects] each."""
    truths = {}
    if material.has_tissues:
        truths = {k: np.array([row[k] for row in material.real_tissues]) for k in BY_NETWORK}
    measured: list[dict[str, float]] = []
    if set(keys) & set(MEASURED) - set(truths):
        space, volumes = material.pack.space, material.volumes(material.people)
        measured = computed(lambda volume: measure_volume(unit(volume), space), volumes)
    for key in keys:
        if key in MEASURED and key not in truths:
            truths[key] = np.array([row[key] for row in measured])
        elif key not in truths:
            truths[key] = as_numbers(key, material.pack.column(key))[material.people]
    return truths


BRAINS = 8
STRENGTHS = (-1.0, 1.0)  # in units of the direction
CYCLES = (1, 3)


def edits(material: Material) -> Json:
    """Measure the model's directions of attributes on random brains.

    Returns
    -------
    dict
        "brains", "strengths". "judges": attribute to its predictor, with "r" and "slope" in
        "n_test" held-out subjects. "directions": for each "name", "attribute", "unit",
        "held_fixed", "per_unit" (expected change by one unit); "effect": measured over expected
        change, with "effect_interval", and "effect_people", the predictor's slope on true
        differences between subjects with the same held-fixed attributes; "right_way": share of
        edits that changed the attribute in the intended sense, with "right_way_interval"; "drift":
        changes of other attributes by one unit, in standard deviations of subjects; "size": mean
        absolute voxel change relative to that between two random brains, with "size_interval";
        "outside": share of the change outside the attribute's region, None for the whole brain;
        "left": error after the opposite edit, applied to the encoder's estimate of the edited
        image, relative to the size of the edit, with "left_interval" (0: fully reversed; 1: not at
        all); None without an encoder. "composition": see `composition`. "missing": attribute to the
        reason why it was omitted. Only "left_out", a sentence, if there is no direction of an
        attribute.
    """
    generator = material.generator
    directions = generator.directions
    checks = [told for told in directions.checks if told["name"] in directions.names]
    if not checks:
        return {"left_out": f"{generator.name} has no directions of attributes."}
    judges = Judges(material, [told["attribute"] for told in checks])
    start = seed_latents(generator, list(material.seeds(BRAINS)), material.settings.truncation)
    before = _drawn(generator, start)
    spread = _mean_distance(before)
    read = judges.readings(before)
    found = []
    for told in followed(checks, material.report, "Directions"):
        if told["attribute"] in judges.of:
            found.append(_direction(material, judges, told, start, before, read, spread))
    return {
        "brains": len(before),
        "strengths": STRENGTHS,
        "judges": {key: judge.to_dict() for key, judge in judges.of.items()},
        "directions": found,
        "composition": composition(material),
        "missing": judges.missing,
    }


def _direction(
    material: Material,
    judges: Judges,
    told: JsonView,
    start: Tensor,
    before: Sequence[np.ndarray],
    read: Mapping[str, np.ndarray],
    spread: float,
) -> Json:
    """One direction; see `edits`."""
    generator, key = material.generator, told["attribute"]
    step = torch.from_numpy(generator.directions.step(told["name"])).to(start)
    after = {s: _drawn(generator, start + s * step) for s in STRENGTHS}
    # [strengths, brains] by attribute
    readings = [judges.readings(volumes) for volumes in after.values()]
    changes = {
        other: np.stack([found[other] - read[other] for found in readings]) for other in judges.of
    }
    promised = np.array(STRENGTHS) * (
        np.log(told["per_unit"]) if key in LOGARITHMIC else told["per_unit"]
    )
    effects = (promised @ changes[key]) / (promised @ promised)  # [brains]
    right = np.sign(changes[key]) == np.sign(promised)[:, None]
    sizes = np.stack([_distances(before, volumes) for volumes in after.values()])
    units = np.array(STRENGTHS)
    drift = {
        name_of(other): float((units @ change).mean() / (units @ units)) / judges.of[other].sd
        for other, change in changes.items()
        if other != key
    }
    result = {
        "name": told["name"],
        "attribute": key,
        "unit": told["unit"],
        "held_fixed": told["held_fixed"],
        "per_unit": told["per_unit"],
        **estimated("effect", mean, effects),
        "effect_people": judges.shown(key, [key_of(name) for name in told["held_fixed"]]),
        "right_way": float(right.mean()),
        "right_way_interval": wilson(round(right.mean() * len(start)), len(start)),
        "drift": drift,
        "size": float(sizes.mean()) / spread,
        "size_interval": interval(mean, sizes.mean(axis=0) / spread),
        "outside": _outside(material, key, before, after),
        "left": None,
    }
    if generator.encoder is not None:
        left = _left(generator, before, after, step)
        result |= estimated("left", mean, left)
    return result


def composition(material: Material) -> Json | None:
    """How held-out subjects change when passed through encoder and generator repeatedly.

    Returns
    -------
    dict
        "people": number of subjects. "l1": mean absolute difference to the scan inside the brain
        after each number of "cycles", intensities in [0, 1]. "mean_brain": the same for the mean
        brain. None without an encoder.
    """
    generator = material.generator
    if generator.encoder is None:
        return None
    rows = material.validation[:BRAINS]
    errors: dict[int, list[float]] = {cycle: [] for cycle in CYCLES}
    mean_brain = []
    for volume in material.volumes(rows):
        truth = current = unit(volume)
        inside = truth > 0
        for cycle in range(1, max(CYCLES) + 1):
            current = encode(generator, current)
            if cycle in errors:
                errors[cycle].append(mean(np.abs(current - truth)[inside]))
        mean_brain.append(mean(np.abs(material.pack.template - truth)[inside]))
    return {
        "people": len(rows),
        "cycles": CYCLES,
        "l1": [float(np.mean(errors[cycle])) for cycle in CYCLES],
        "l1_interval": [interval(mean, np.array(errors[cycle])) for cycle in CYCLES],
        "mean_brain": float(np.mean(mean_brain)),
    }


def _left(
    generator: Generator,
    before: Sequence[np.ndarray],
    after: Mapping[float, Sequence[np.ndarray]],
    step: Tensor,
) -> np.ndarray:
    """Error after an edit and its opposite relative to the size of the edit, [brains].

    Relative to the encoder's estimate of the image before the edit, so losses of the encoder do not
    count here, but in `composition`.
    """
    first = encoded_volumes(generator, before)
    start = _drawn(generator, first)
    rows = []
    for strength, volumes in after.items():
        back = _drawn(generator, encoded_volumes(generator, volumes) - strength * step)
        edited = _drawn(generator, first + strength * step)
        rows.append(_distances(start, back) / np.maximum(_distances(start, edited), 1e-9))
    return np.mean(rows, axis=0)


def _outside(
    material: Material,
    key: str,
    before: Sequence[np.ndarray],
    after: Mapping[float, Sequence[np.ndarray]],
) -> float | None:
    if key not in edit_effects.ABOUT:
        return None
    space, shares = material.pack.space, []
    starts = [(unit(volume), read_tissues(unit(volume), space)) for volume in before]
    for volumes in after.values():
        for (start, tissues), volume in zip(starts, map(unit, volumes), strict=True):
            near = edit_effects.surroundings(key, tissues, read_tissues(volume, space), space)
            shares.append(edit_effects.share_outside(np.abs(volume - start), near))
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _drawn(generator: Generator, w: Tensor) -> list[np.ndarray]:
    """Synthesise latents [n, num_layers, w_dim] without noise."""
    return [packed_synthesis(generator, row[None], "none") for row in w]


def _distances(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """Mean absolute differences [n]."""
    return np.array([mean(np.abs(unit(x) - unit(y))) for x, y in zip(a, b, strict=True)])


def _mean_distance(volumes: Sequence[np.ndarray]) -> float:
    """Mean absolute difference between pairs of a set."""
    pairs = [(a, b) for i, a in enumerate(volumes) for b in volumes[:i]]
    return float(np.mean(_distances(*zip(*pairs, strict=True))))


CONDITIONED_BRAINS = 60
#: Requested numbers are between these quantiles of the training subjects.
QUANTILES = (0.05, 0.95)


def conditions(material: Material) -> Json:
    """Random brains conditioned on each of the model's labels in turn.

    Returns
    -------
    dict
        "brains": number per label. "labels": for each "name"; "asked": range of requested values,
        or the two categories; "how" it was estimated; "r" of requested and estimated values, with
        "r_interval", and "r_people", that of the predictor in held-out subjects; "slope" of the
        estimate on the requested value, relative to that on the truth among subjects (1: as between
        subjects), with "slope_interval". "missing": label to the reason why it was omitted. Only
        "left_out", a sentence, for a model without labels.
    """
    generator = material.generator
    schema = generator.card.get("labels") or []
    if not schema:
        return {"left_out": f"{generator.name} was trained without labels."}
    missing = {}
    usable = []
    for entry in schema:
        if entry["kind"] != "number" and len(entry["values"]) != 2:
            missing[entry["name"]] = "Only numbers and labels with two values can be estimated."
        elif entry["name"] not in {*material.pack.table[0], *MEASURED}:
            missing[entry["name"]] = "The table of the real brains has no such column."
        else:
            usable.append(entry)
    judges = Judges(material, [entry["name"] for entry in usable])
    found = []
    for entry in followed(usable, material.report, "Labels"):
        if entry["name"] in judges.of:
            found.append(_label(material, judges, schema, entry))
    return {"brains": CONDITIONED_BRAINS, "labels": found, "missing": missing | judges.missing}


def _label(material: Material, judges: Judges, schema: list[Any], entry: JsonView) -> Json:
    """One label; see `conditions`."""
    generator, name = material.generator, entry["name"]
    asked = _asked(entry, judges.known[name][: len(material.training)])
    volumes = []
    for seed, value in zip(material.seeds(CONDITIONED_BRAINS), asked, strict=True):
        label = encode_labels(schema, {name: value})
        w = seed_latents(generator, [seed], material.settings.truncation, label=label)
        volumes.append(packed_synthesis(generator, w, int(seed)))
    read = judges.readings(np.stack(volumes))[name]
    truth = scaled(name, as_numbers(name, asked))
    pairs = np.stack([truth, read], axis=1)
    judge = judges.of[name]
    return {
        "name": name,
        "asked": [asked[0], asked[-1]],
        "how": judge.how,
        **estimated("r", correlation, pairs),
        "r_people": judge.r,
        "n_people": judge.n_test,
        **estimated("slope", lambda drawn: _slope(drawn) / judge.slope, pairs),
    }


def _asked(entry: JsonView, people: np.ndarray) -> list[Any]:
    """Requested values, one per brain: evenly over the subjects' range, or alternating."""
    if entry["kind"] != "number":
        first, second = entry["values"]
        return [first, second] * (CONDITIONED_BRAINS // 2)
    low, high = np.nanquantile(people, QUANTILES)
    return [float(value) for value in np.linspace(low, high, CONDITIONED_BRAINS)]


def _slope(pairs: np.ndarray) -> float:
    """Slope of the second column on the first."""
    x, y = (pairs - pairs.mean(axis=0)).T
    return float(x @ y / max(x @ x, 1e-12))
