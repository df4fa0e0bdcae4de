"""Measure the people of a prepared dataset, fit the bundled norms, and check both.

    python scripts/fit_norms.py prepared weights/regions-t1-2mm

Norms are fitted to the training subjects; the check divides all subjects into ten parts and scores
each by norms of the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stylegan3d.dataset.pack import load_pack
from stylegan3d.devices import workers
from stylegan3d.scans.person import Person
from stylegan3d.segmentation.classes import AGES, ALL_MEASURES, HEAD
from stylegan3d.segmentation.inference import bundled_regions, bundled_segmenter
from stylegan3d.segmentation.norms import FILE, Norms, fit_norms
from stylegan3d.segmentation.numbers import FILE as READER
from stylegan3d.segmentation.numbers import FOLDS, Reader, features_of, interval_of, label_brain
from stylegan3d.storage.encoding import to_json

PARTS = 10
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def main() -> None:
    """Measure, fit, check, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="dataset made by `stylegan3d prepare`")
    parser.add_argument("out", type=Path, help="folder for norms.json")
    parser.add_argument("--measured", type=Path, help="JSON file to keep the measures in")
    options = parser.parse_args()
    people = measured(options.data, options.measured)
    people = [p for p in people if p["age"] is not None and p["sex"] in ("F", "M")]
    check(people)
    training = [p for p in people if p["split"] == "train"]
    sites = len({p["source"] for p in training})
    ages = [p["age"] for p in training]
    span = f"{min(ages):.0f} to {max(ages):.0f} years"
    name = f"{len(training)} adults of {sites} sites, {span}"
    networks = (bundled_segmenter().hash, bundled_regions().hash)
    norms = fitted(training, name, networks)
    (options.out / FILE).write_text(to_json(norms.to_dict()), encoding="utf-8")
    persons = [Person(p["age"], p["sex"]) for p in training]
    reader, guesses = fit_reader(training, persons, networks)
    others = [p for p in people if p["split"] != "train"]
    unseen = np.array([reader.read(p).age for p in others])
    if len(others) >= FOLDS:  # volumes of those whom the networks have seen are less noisy
        half = interval_of(unseen - np.array([p["age"] for p in others]))
        reader = replace(reader, half_width=half)
    (options.out / READER).write_text(to_json(reader.to_dict()), encoding="utf-8")
    check_reader(training, guesses, "training subjects, cross-validated")
    check_reader(others, unseen, "held-out subjects")
    pairs = [(reader.read(p), p) for p in others]
    share = np.mean([r.low <= p["age"] <= r.high for r, p in pairs])
    sexes = np.mean([(r.male > 0.5) == (p["sex"] == "M") for r, p in pairs])
    print(f"held-out within {reader.half_width:.1f} years: {share:.0%}; sex right: {sexes:.0%}")


def fit_reader(
    rows: Sequence[Mapping[str, float]],
    people: Sequence[Person],
    networks: tuple[str, ...] = (),
) -> tuple[Reader, np.ndarray]:
    """Fit the regressions.

    Parameters
    ----------
    rows : sequence of mapping
        The measures of each.
    people : sequence of Person
        Both age and sex known; each person once.

    Returns
    -------
    reader : Reader
    read : ndarray, shape (n,)
        Age of each, read by a regression without them.
    """
    ages = np.array([p.age for p in people], np.float64)
    male = np.array([p.sex == "M" for p in people], np.float64)
    x = features_of(rows)
    folds = PredefinedSplit(np.random.default_rng(0).permutation(len(x)) % FOLDS)

    def unseen(model: Any, y: np.ndarray, method: str = "predict") -> np.ndarray:
        """Of each person, by a regression on the others."""
        return cross_val_predict(
            make_pipeline(StandardScaler(), model), x, y, cv=folds, method=method
        )

    def by_sex(penalty: float) -> LogisticRegression:
        return LogisticRegression(C=1 / penalty, max_iter=1000, tol=1e-10)

    def surprise(penalty: float) -> float:
        return float(log_loss(male, unseen(by_sex(penalty), male, "predict_proba")))

    guesses = {p: unseen(Ridge(p), ages) for p in PENALTIES}
    penalty = min(PENALTIES, key=lambda p: float(((guesses[p] - ages) ** 2).mean()))
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / scale
    # A ridge reads the young too old and the old too young: taken off by its slope on people it
    # had not seen.
    slope, base = np.polyfit(ages, guesses[penalty], 1)
    age, sex = Ridge(penalty).fit(z, ages), by_sex(min(PENALTIES, key=surprise)).fit(z, male)
    weights = np.append(age.coef_, age.intercept_ - base) / slope
    read = (guesses[penalty] - base) / slope
    odds = np.append(sex.coef_, sex.intercept_)
    return Reader(networks, mean, scale, weights, odds, interval_of(read - ages)), read


def check_reader(people: list[dict], read: np.ndarray, who: str) -> None:
    """Correlation and error of the age."""
    errors = read - np.array([p["age"] for p in people])
    r = np.corrcoef(read, read - errors)[0, 1]
    print(f"age of {len(people)} {who}: r {r:.3f}, error {abs(errors).mean():.1f} years")


def measured(data: Path, kept: Path | None) -> list[dict]:
    """Facts and measures of each subject, from `kept` if it is there."""
    if kept is not None and kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    pack = load_pack(data)
    facts = ("name", "split", "source", "age", "sex")

    def one(volume: np.ndarray) -> dict[str, float]:
        return label_brain(np.asarray(volume), pack.space).measures

    with workers(bundled_segmenter().device) as mapped:
        found = mapped(one, list(pack.volumes))
        rows = [
            {key: row.get(key) for key in facts} | measures
            for row, measures in zip(pack.table, found, strict=True)
        ]
    if kept is not None:
        kept.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def fitted(people: list[dict], name: str, networks: tuple[str, ...] = ()) -> Norms:
    """Norms of these people."""
    rows = [{key: person[key] for key in ALL_MEASURES} for person in people]
    persons = [Person(person["age"], person["sex"]) for person in people]
    return fit_norms(rows, persons, [person["source"] for person in people], name, networks)


def check(people: list[dict]) -> None:
    """Mean and deviation of z of people the norms were not fitted to, by sex and age third."""
    part = np.random.default_rng(0).permutation(len(people)) % PARTS
    z = {name: np.full(len(people), np.nan) for name in ALL_MEASURES}
    for k in range(PARTS):
        norms = fitted([p for p, of in zip(people, part, strict=True) if of != k], "check")
        for i in np.flatnonzero(part == k):
            p = people[i]
            if p["age"] <= AGES[1]:
                person = Person(p["age"], p["sex"])
                for name in ALL_MEASURES:
                    z[name][i] = norms.score(name, p[name], person, p[HEAD]).z
    ages = np.array([p["age"] for p in people])
    thirds = np.digitize(ages, np.quantile(ages, [1 / 3, 2 / 3]))
    sexes = np.array([p["sex"] for p in people])
    groups = [sexes == sex for sex in "FM"] + [thirds == third for third in range(3)]
    print(f"{'measure':32s} women, men, young, middle, old: mean / sd of z")
    outside = 0
    for name, values in z.items():
        cells = [values[group & np.isfinite(values)] for group in groups]
        fit = all(abs(c.mean()) <= 0.15 and 0.85 <= c.std() <= 1.15 for c in cells)
        outside += not fit
        told = "  ".join(f"{c.mean():+.2f}/{c.std():.2f}" for c in cells)
        print(f"{name:32s} {told}{'' if fit else '  outside'}")
    print(f"{outside} of {len(z)} measures have a group outside 0.15 and 0.85 to 1.15")


if __name__ == "__main__":
    main()
