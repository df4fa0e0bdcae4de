"""Utility of synthetic brains as training data: train on synthetic, test on real.

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

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor

from stylegan3d.devices import computed
from stylegan3d.directions.people import AGE, as_numbers
from stylegan3d.evaluation.material import Material, Volumes
from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.comparison import bootstrap, correlation, estimated, mean
from stylegan3d.metrics.diversity import encoded
from stylegan3d.plain import Json
from stylegan3d.recipe.model import seed_latents
from stylegan3d.segmentation.classes import CLASSES, TISSUES, Scheme, mean_scores
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter
from stylegan3d.training.options import SegmentationSettings
from stylegan3d.training.run import Run
from stylegan3d.training.segmentation import (
    SegmentationRun,
    SegmentationTask,
    validate,
)

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
        "age": see `age_utility`. "tissues": see `utility_tissues.tissue_utility`. "missing": task
        to the reason why it was omitted.
    """
    found: Json = {}
    missing: dict[str, str] = {}
    tasks: dict[str, Callable[[Material], Json | str]] = {
        "age": age_utility,
        "tissues": tissue_utility,
    }
    for name, task in tasks.items():
        result = task(material)
        if isinstance(result, str):
            missing[name] = result
        else:
            found[name] = result
    return found | {"missing": missing}


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
    both = np.stack([guess, truth], axis=1)
    return estimated("mae", _mae, both) | estimated("r", correlation, both)


def paired_difference(a: np.ndarray, b: np.ndarray) -> Json:
    """Mean of a - b over the same subjects [n], with its "interval" (bootstrap)."""
    return {"value": mean(a - b), "interval": bootstrap(mean, a - b)}


def _mae(pairs: np.ndarray) -> float:
    return float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())
