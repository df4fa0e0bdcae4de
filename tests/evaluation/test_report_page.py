"""The page says what must not be overlooked, in words, and nothing in it is fetched or run."""

import re

import numpy as np
import pytest

from stylegan3d.evaluation.evaluation import bar, page
from stylegan3d.evaluation.rows import Figure
from stylegan3d.evaluation.table import plain_words, warnings
from stylegan3d.pages.page import distributions
from stylegan3d.render.figures import SOURCE_TYPES

COPIES = {
    "alarm": True,
    "n": 40,
    "copies": 2,
    "share": 0.05,
    "interval": (0.01, 0.16),
    "planted": {"n": 27, "found": 26},
}
NEAREST = {
    "n": 40,
    "n_validation": 9,
    "synthetic": [0.01] * 5,
    "validation": [0.2] * 5,
    "closer_than_closest": 2,
    "expected_by_chance": 4,
    "relative": {"synthetic": [0.1] * 5, "validation": [0.9] * 5, "closer_than_closest": 2},
}
REPORT = {
    "model": {"name": "a <b>", "hash": "abc123", "kind": "generator"},
    "data": {
        "name": "people",
        "volumes": "volumes-1.npy",
        "training_people": 30,
        "validation_people": 9,
        "shape": [80, 112, 96],
        "voxel_mm": [2, 2, 2],
        "axes": "RAS",
    },
    "settings": {"seed": 7},
    "random_brains": 40,
    "program": dict.fromkeys(("version", "measures", "python", "numpy", "torch", "device"), "1")
    | {"date": "2026-01-02T03:04:05", "seconds": {"two_sample": 61.2, "privacy": 28.6}},
    "notes": ["A note & more."],
    "left_out": {"edits": "No directions."},
    "two_sample": {
        "n": 40,
        **{
            key: {
                "n": 40,
                "synthetic": 0.8,
                "synthetic_interval": [0.7, 0.9],
                "real": 0.5,
                "real_interval": [0.4, 0.6],
            }
            for key in ("accuracy", "auc")
        },
    },
    "privacy": {"copies": COPIES, "features": NEAREST},
}


def test_alarms_and_answers_stand_before_the_tables() -> None:
    text = page(REPORT, {"Montage": b"png", "Closest pairs": b"png"})
    for words in ("a &lt;b&gt;", "abc123", "Setting seed", "A note &amp; more.", "No directions."):
        assert words in text
    assert "<b>" not in text
    assert text.index("Memorisation: 2 of 40") < text.index("Summary") < text.index("<table")
    assert text.index("Montage") < text.index("<table") < text.index("Closest pairs")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    fetched = r"<script|<link|(src|href)=.(?!data:)|url\(|https?:"
    assert not re.search(fetched, text.replace(SOURCE_TYPES, ""))
    (alarm,) = warnings(REPORT)
    assert "closest pairs" in alarm
    answers = dict(plain_words(REPORT))
    assert "it finds a difference" in answers["Can they be distinguished from real ones?"]
    assert "26 of 27" in answers["Are they copies of training subjects?"]
    assert not warnings({"privacy": {"copies": {"alarm": None, "why": "Too few."}}})


def test_an_interval_is_drawn_to_scale() -> None:
    row = Figure("x", "", "", value=2.0, low=1.0, high=4.0, real_value=1.5, real_low=1, real_high=2)
    drawn = bar(row)
    low, high = (
        float(n) for n in re.search(r'"made"><path d="M([\d.]+) 9 H([\d.]+)', drawn).groups()
    )
    (middle,) = (float(n) for n in re.findall(r'cx="([\d.]+)" cy="9"', drawn))
    # The page has one decimal of a pixel.
    assert (middle - low) / (high - low) == pytest.approx(1 / 3, abs=0.01)
    assert bar(Figure("x", "", "")) == ""


def test_distributions_are_shares_of_each_set() -> None:
    drawn = distributions("x", [0.0, 1.0], [0.0] * 50 + [1.0] * 50)
    made, real = (
        re.search(rf'class="{kind} area" d="([^"]+)"', drawn)[1] for kind in ("made", "real")
    )
    assert made == real


def test_what_was_not_measured_is_not_drawn_but_counted() -> None:
    whole = distributions("x", [0.0, 1.0], [0.0, 0.5, 1.0])
    drawn = distributions("x", [0.0, np.nan, 1.0, None], [0.0, 0.5, 1.0])
    assert re.findall(r' d="[^"]+"', drawn) == re.findall(r' d="[^"]+"', whole)
    assert "2 of 4 synthetic brains not measured" in drawn
    assert "not measured" not in whole
    drawn = distributions("x", [None, None], [0.0, 1.0])
    assert "real area" in drawn
    assert "made area" not in drawn
    assert distributions("x", [None], [np.nan]) == ""
