"""Utility of synthetic brains as training data: train on synthetic, test on real.

A model is trained three times, on real training subjects, on random brains, and on both, and tested
on held-out subjects (Esteban et al. 2017, "Real-valued (Medical) Time Series Generation with
Recurrent Conditional GANs", arXiv 1706.02633, section 5.1). Random brains have no labels, so these
are assigned by a method that is part of the report.

The tasks are brain age (here) and tissue segmentation (`utility_tissues`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from stylegan3d.directions.people import AGE, as_numbers
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.tissue_columns import COLUMNS, tissue_columns, weighted
from stylegan3d.evaluation.utility_tissues import tissue_utility
from stylegan3d.metrics.diversity import encoded
from stylegan3d.metrics.intervals import bootstrap
from stylegan3d.plain import Json
from stylegan3d.recipe.model import seed_latents

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
    measures = {"mae": _mae, "r": _r}
    found: Json = {}
    both = np.stack([guess, truth], axis=1)
    for name, measure in measures.items():
        found[name] = measure(both)
        found[f"{name}_interval"] = bootstrap(measure, both)
    return found


def paired_difference(a: np.ndarray, b: np.ndarray) -> Json:
    """Mean of a - b over the same subjects [n], with its "interval" (bootstrap)."""
    change = a - b
    return {
        "value": float(change.mean()),
        "interval": bootstrap(lambda drawn: float(drawn.mean()), change),
    }


def _mae(pairs: np.ndarray) -> float:
    return float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())


def _r(pairs: np.ndarray) -> float:
    """Pearson's r of prediction and truth; 0 if either is constant."""
    guess, truth = pairs.T
    if np.ptp(guess) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(np.corrcoef(guess, truth)[0, 1])
