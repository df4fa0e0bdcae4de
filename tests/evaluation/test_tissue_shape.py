"""Tissue shape of two sets of brains beside each other, and what is said of it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stylegan3d.evaluation import anatomy as module
from stylegan3d.evaluation import rows
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.table import plain_words
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.pages.page import distributions
from stylegan3d.storage.encoding import to_plain

COUNT = len(TISSUE_SHAPE)


def compared(
    monkeypatch: pytest.MonkeyPatch,
    made: np.ndarray,
    people: np.ndarray,
    held_out: int,
    by_mixture: float = 0.0,
) -> dict[str, Any]:
    """What the part says of these, without a network; a mixture sees random brains moved so far."""
    monkeypatch.setattr(module, "DRAWS", 100)
    material: Any = SimpleNamespace(
        has_tissues=True,
        shapes=lambda labeller: (
            (made, people)
            if labeller == "network"
            else (people[: len(made)] + by_mixture, people[::-1])
        ),
        subjects=np.arange(len(people)),
        one_each=np.arange(len(people)),
        known=len(people) - held_out,
        synthetic=made,
        names=np.array([f"p{k}" for k in range(len(people))]),
        groups=lambda: Material.groups(material),
        settings=SimpleNamespace(seed=0),
    )
    return module.tissue_shape(material)


def shaped(part: dict[str, Any]) -> str:
    """What the part's answer says."""
    return plain_words({"tissue_shape": part})[0][1]


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
    assert name in shaped(found)
    assert "above real brains" in shaped(found)
    told = list(rows.tissue_shape(found))
    assert [row.reached for row in told[:6]] == [False, False, True, True, False, False]
    assert len(told) == 6 + COUNT


def test_a_mixture_sees_what_a_network_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    made, people = rng.normal(size=(40, COUNT)), rng.normal(size=(80, COUNT))
    found = compared(monkeypatch, made, people, held_out=20, by_mixture=3)
    assert found["auc"]["synthetic"] < 0.7
    assert found["mixture_auc"]["synthetic"] > 0.95
    assert found["mixture_auc"]["real"] < 0.7


def test_few_held_out_people_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(size=(45, COUNT))
    found = compared(monkeypatch, rng.normal(size=(40, COUNT)), people, held_out=5)
    assert "held_out_accuracy" not in found
    assert len(list(rows.tissue_shape(found))) == 4 + COUNT
    few = compared(monkeypatch, rng.normal(size=(4, COUNT)), people, held_out=5)
    assert "needs 10" in shaped(few)
    assert not list(rows.tissue_shape(few))


@pytest.mark.parametrize("missing", [1, 36])
def test_brains_without_tissues_are_counted_and_not_average_ones(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    rng = np.random.default_rng(0)
    made, people = rng.normal(3, 1, (40, COUNT)), rng.normal(size=(80, COUNT))
    made[:missing], people[5] = np.nan, np.nan
    found = to_plain(compared(monkeypatch, made, people, held_out=20))
    assert found["unmeasured"]["synthetic"] == {"count": missing, "n": 40}
    assert found["unmeasured"]["real"] == {"count": 1, "n": 80}
    assert found["accuracy"]["synthetic"] > 0.95
    assert f"{missing} of 40 synthetic brains cannot be measured" in shaped(found)
    told = {row.name.strip(): row for row in rows.tissue_shape(found)}
    row = told["tissue morphology cannot be measured"]
    assert (row.synthetic, row.real) == (f"{missing} of 40", "1 of 80")
    values = found["values"]["holes"]
    drawn = distributions("holes", values["synthetic"], values["real"])
    assert f"{missing} of 40 synthetic brains not measured" in drawn


@pytest.mark.parametrize("whose", ["synthetic brains", "training subjects", "held-out subjects"])
def test_without_any_brain_that_can_be_measured_it_is_left_out(
    monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    rng = np.random.default_rng(0)
    made, people = rng.normal(size=(40, COUNT)), rng.normal(size=(80, COUNT))
    rows = {
        "synthetic brains": made,
        "training subjects": people[:60],
        "held-out subjects": people[60:],
    }[whose]
    rows[:] = np.nan
    found = compared(monkeypatch, made, people, held_out=20)
    assert f"in {len(rows)} of {len(rows)} {whose}" in shaped(found)
    assert set(found) == {"left_out"}
