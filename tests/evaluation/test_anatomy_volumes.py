"""Volumes of two sets of brains: how far apart, and which brains cannot be segmented."""

from types import SimpleNamespace

import numpy as np
import pytest

from stylegan3d.evaluation import anatomy
from stylegan3d.evaluation.anatomy import (
    SegmentationLimits,
    scaled_distance,
    tissue_volumes,
    unsegmentable,
)
from stylegan3d.segmentation.classes import MEASURES

MEANS = {"csf_ml": 120, "grey_ml": 700, "white_ml": 550, "ventricle_ml": 22, "other_ml": 21}


def rows(count, seed, *, shift=0.0, spread=1.0, confidence=0.9):
    """Brains whose measures are Gaussian with a tenth of their mean as deviation."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        row = {
            name: mean * (1 + 0.1 * (spread * draw.normal() + shift))
            for name, mean in MEANS.items()
        }
        row["brain_ml"] = row["grey_ml"] + row["white_ml"] + row["other_ml"]
        row["grey_white_ratio"] = row["grey_ml"] / row["white_ml"]
        row |= {name: float(draw.normal()) for name in MEASURES if name.endswith("asymmetry")}
        row["confidence"] = confidence + 0.01 * draw.normal()
        made.append(row)
    return made


def compared(monkeypatch, made, people):
    """What the part says of these, without a network."""
    monkeypatch.setattr(
        anatomy, "bundled_segmenter", lambda: SimpleNamespace(name="none", hash="0")
    )
    monkeypatch.setattr(anatomy, "DRAWS", 200)
    count = len(people)
    return tissue_volumes(
        SimpleNamespace(
            has_tissues=True,
            synthetic_tissues=made,
            real_tissues=people,
            training=np.arange(count - 10),
            one_each=np.arange(count),
            settings=SimpleNamespace(samples=len(made), repeats=10, seed=5),
            seeds=lambda n: range(5, 5 + n),
        )
    )


def test_distance_of_shifted_sets_is_their_shift():
    values = np.random.default_rng(0).normal(size=500)
    assert scaled_distance(values, values, 2.0) == 0
    assert scaled_distance(values + 3, values, 2.0) == pytest.approx(1.5)
    # The mean deviation stands for the distance between sorted values.
    assert scaled_distance(3 * values, values, 1.0) == pytest.approx(
        2 * np.abs(values - values.mean()).mean(), rel=0.1
    )


def test_one_population_is_as_far_apart_as_people_are(monkeypatch):
    report = compared(monkeypatch, rows(120, 1), rows(120, 2))
    for name in MEASURES:
        figure = report["measures"][name]
        low, high = figure["shift_interval"]
        assert low <= figure["shift"] <= high
        assert abs(figure["shift"]) < 0.5
        assert 0.7 < figure["spread"] < 1.4
    distance = report["mean_distance"]
    assert 0.6 < distance["ratio"] < 1.5
    assert report["unsegmentable"]["synthetic"]["count"] == 0
    assert report["unsegmentable"]["validation"]["n"] == 10
    assert report["n"] == {"synthetic": 120, "real": 120}


@pytest.mark.parametrize("damage", ["shift", "spread"])
def test_more_damage_is_further_away(monkeypatch, damage):
    """Brains that grow, or that become all alike."""
    people = rows(120, 2)
    steps = {"shift": (0.0, 1.0, 2.0), "spread": (1.0, 0.6, 0.2)}[damage]
    reports = [compared(monkeypatch, rows(120, 1, **{damage: step}), people) for step in steps]
    distances = [report["mean_distance"]["synthetic"] for report in reports]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]
    worst = reports[-1]["measures"]["white_ml"]
    if damage == "shift":
        # Random people; a deviation estimated from them.
        assert worst["shift"] == pytest.approx(2, abs=0.3)
        assert worst["shift_interval"][0] > 1.5
    else:
        assert worst["spread_interval"][1] < 0.5


def test_brains_far_from_people_or_of_no_sure_tissue_cannot_be_segmented(monkeypatch):
    made = rows(20, 1)
    made[3]["ventricle_ml"] = 0.5
    made[4]["grey_ml"] = 2000.0
    made[7]["confidence"] = 0.5
    made[9]["ventricle_ml"] = 30.0  # more than any of them, but not by far
    report = compared(monkeypatch, made, rows(120, 2))
    failed = report["unsegmentable"]["synthetic"]
    assert [row["seed"] for row in failed["failed"]] == [8, 9, 12]
    assert failed["reasons"] == {"ventricle_ml": 1, "grey_ml": 1, "confidence": 1}
    assert failed["share"] == pytest.approx(0.15)
    low, high = failed["interval"]
    assert low < 0.15 < high


def test_people_themselves_can_be_segmented():
    people = rows(50, 3)
    assert unsegmentable(people, SegmentationLimits.of(people))["count"] == 0
