"""Whether conditional samples match their label.

Labels are estimated by predictors fitted to subjects, independent of the generator's training
(`edit_judges`), as for edits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stylegan3d.directions.checks import scaled
from stylegan3d.directions.people import as_numbers
from stylegan3d.evaluation.edit_judges import MEASURED, Judge, Judges
from stylegan3d.evaluation.material import Material
from stylegan3d.metrics.intervals import bootstrap
from stylegan3d.model.sampling import packed_synthesis
from stylegan3d.plain import Json, JsonView
from stylegan3d.recipe.label import encode_labels
from stylegan3d.recipe.model import seed_latents

BRAINS = 60
#: Requested numbers are between these quantiles of the training subjects.
QUANTILES = (0.05, 0.95)
LEAST_ERRORS = 2.0


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
    for done, entry in enumerate(usable, 1):
        name = entry["name"]
        if name in judges.of and _blind(judges.of[name]):
            missing[name] = (
                f"Its estimate in real subjects has r = {judges.of[name].r:.2f} only, which may be "
                "chance, so it cannot be judged in synthetic brains."
            )
        elif name in judges.of:
            found.append(_label(material, judges, schema, entry))
        material.report(done, len(usable), "Labels")
    return {"brains": BRAINS, "labels": found, "missing": missing | judges.missing}


def _blind(judge: Judge) -> bool:
    """Whether a predictor's correlation with the truth is less than two standard errors from 0."""
    return judge.r < LEAST_ERRORS / judge.n_test**0.5


def _label(material: Material, judges: Judges, schema: list[Any], entry: JsonView) -> Json:
    """One label; see `conditions`."""
    generator, name = material.generator, entry["name"]
    asked = _asked(entry, judges.known[name][: len(material.training)])
    volumes = []
    for seed, value in zip(material.seeds(BRAINS), asked, strict=True):
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
        "r": _correlation(pairs),
        "r_interval": bootstrap(_correlation, pairs),
        "r_people": judge.r,
        "n_people": judge.n_test,
        "slope": _slope(pairs) / judge.slope,
        "slope_interval": tuple(s / judge.slope for s in bootstrap(_slope, pairs)),
    }


def _asked(entry: JsonView, people: np.ndarray) -> list[Any]:
    """Requested values, one per brain: evenly over the subjects' range, or alternating."""
    if entry["kind"] != "number":
        first, second = entry["values"]
        return [first, second] * (BRAINS // 2)
    low, high = np.nanquantile(people, QUANTILES)
    return [float(value) for value in np.linspace(low, high, BRAINS)]


def _correlation(pairs: np.ndarray) -> float:
    if not pairs.std(axis=0).all():
        return 0.0
    return float(np.corrcoef(pairs.T)[0, 1])


def _slope(pairs: np.ndarray) -> float:
    """Slope of the second column on the first."""
    x, y = (pairs - pairs.mean(axis=0)).T
    return float(x @ y / max(x @ x, 1e-12))
