"""Tissue shape of two sets of brains beside each other, and what is said of it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stylegan3d.evaluation import summary_people, words
from stylegan3d.evaluation import tissue_shape as module
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE

COUNT = len(TISSUE_SHAPE)


def compared(
    monkeypatch: pytest.MonkeyPatch, made: np.ndarray, people: np.ndarray, held_out: int
) -> dict[str, Any]:
    """What the part says of these, without a network."""
    monkeypatch.setattr(module, "DRAWS", 100)
    material: Any = SimpleNamespace(
        has_tissues=True,
        synthetic_shapes=made,
        real_shapes=people,
        people=np.arange(len(people)),
        training=np.arange(len(people) - held_out),
        pack=SimpleNamespace(table=[{"person": f"p{k}"} for k in range(len(people))]),
        settings=SimpleNamespace(seed=0),
    )
    return module.tissue_shape(material)


def test_a_shifted_measure_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    made, people = rng.normal(size=(40, COUNT)), rng.normal(size=(80, COUNT))
    made[:, 0] += 3
    found = compared(monkeypatch, made, people, held_out=20)
    assert found["accuracy"]["synthetic"] > 0.85
    low, high = found["auc"]["real_interval"]
    assert low < 0.5 < high
    assert found["held_out_accuracy"]["synthetic"] > 0.8
    key, name = next(iter(TISSUE_SHAPE.items()))
    # Random people; a deviation estimated from them.
    assert found["measures"][key]["shift"] == pytest.approx(3, abs=0.5)
    assert abs(found["measures"][key]["held_out_shift"]) < 1
    assert name in words.shaped(found)
    assert "above real brains" in words.shaped(found)
    told = list(summary_people.tissue_shape(found))
    assert [row.reached for row in told[:4]] == [False] * 4
    assert len(told) == 4 + COUNT


def test_few_held_out_people_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(size=(45, COUNT))
    found = compared(monkeypatch, rng.normal(size=(40, COUNT)), people, held_out=5)
    assert "held_out_accuracy" not in found
    assert len(list(summary_people.tissue_shape(found))) == 2 + COUNT
    few = compared(monkeypatch, rng.normal(size=(4, COUNT)), people, held_out=5)
    assert "needs 10" in words.shaped(few)
    assert not list(summary_people.tissue_shape(few))
