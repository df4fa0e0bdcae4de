"""What was asked for, and what judges read off the brains that were drawn for it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stylegan3d.evaluation import edits as module
from stylegan3d.evaluation.edits import CONDITIONED_BRAINS, AttributeJudge, conditions
from stylegan3d.recipe.model import schema_of

PEOPLE = [
    {"age": 20.0 + i, "sex": "FM"[i % 2], "site": "abc"[i % 3], "height": 150.0 + i}
    for i in range(60)
]


class Judges:
    """Read an age as half of what it is, and the sex as it is."""

    def __init__(self, _: Any, keys: list[str]) -> None:
        self.missing = {"height": "Known of 3 training people."} if "height" in keys else {}
        self.of = {
            "age": AttributeJudge("looking", 0.9, 0.5, 1.0, 27),
            "sex": AttributeJudge("looking", 0.8, 1.0, 1.0, 27),
        }
        self.known = {"age": np.array([row["age"] for row in PEOPLE]), "sex": np.arange(60) % 2.0}

    def readings(self, volumes: np.ndarray) -> dict[str, np.ndarray]:
        return {"age": 0.5 * volumes[:, 0, 0, 0], "sex": volumes[:, 0, 0, 1]}


def measured(monkeypatch: pytest.MonkeyPatch, obeys: float, names: list[str]) -> dict[str, Any]:
    """Of a generator whose brains follow the label so far, with chance beside it."""
    schema = schema_of(PEOPLE, names)
    rng = np.random.default_rng(0)

    def latents(_: Any, __: list[int], truncation: float, *, label: torch.Tensor) -> torch.Tensor:
        assert truncation == 0.7
        return label

    def drawn(_: Any, label: torch.Tensor, seed: int) -> np.ndarray:
        said = label[0] * (1 + len(schema)) ** 0.5
        age = schema[0]["mean"] + schema[0]["sd"] * float(said[1])
        volume = np.zeros((1, 1, 2))
        volume[0, 0, 0] = obeys * age + (1 - obeys) * rng.normal(50, 15)
        volume[0, 0, 1] = float(said[3])
        return volume

    monkeypatch.setattr(module, "Judges", Judges)
    monkeypatch.setattr(module, "seed_latents", latents)
    monkeypatch.setattr(module, "packed_synthesis", drawn)
    material = SimpleNamespace(
        generator=SimpleNamespace(name="model", card={"labels": schema}),
        pack=SimpleNamespace(table=PEOPLE, column=lambda name: [row[name] for row in PEOPLE]),
        training=np.arange(len(PEOPLE)),
        seeds=range,
        settings=SimpleNamespace(truncation=0.7),
        report=lambda *_: None,
    )
    return conditions(material)  # type: ignore[arg-type]


def test_a_model_that_does_as_it_is_told(monkeypatch):
    found = measured(monkeypatch, 1.0, ["age", "sex"])
    age, sex = found["labels"]
    assert found["brains"] == CONDITIONED_BRAINS
    assert age["asked"] == pytest.approx([22.95, 76.05])
    assert age["r"] == pytest.approx(1)
    # As much as between people, of whom the judge shows a half.
    assert age["slope"] == pytest.approx(1)
    assert (age["r_people"], age["n_people"]) == (0.9, 27)
    assert sex["asked"] == ["F", "M"]
    assert sex["r"] == pytest.approx(1)


def test_a_model_that_does_as_it_likes(monkeypatch):
    age = measured(monkeypatch, 0.0, ["age", "sex"])["labels"][0]
    assert abs(age["r"]) < 0.3
    assert age["r_interval"][0] < 0 < age["r_interval"][1]
    half = measured(monkeypatch, 0.5, ["age", "sex"])["labels"][0]
    assert 0.3 < half["r"] < 0.99
    assert half["slope"] == pytest.approx(0.5, abs=0.15)  # few random people


def test_what_cannot_be_read_is_named(monkeypatch):
    found = measured(monkeypatch, 1.0, ["age", "sex", "site", "height"])
    assert [row["name"] for row in found["labels"]] == ["age", "sex"]
    assert set(found["missing"]) == {"site", "height"}


def test_a_judge_that_is_blind_to_people_says_nothing_of_brains():
    rng, blind = np.random.default_rng(0), module.Judges.__new__(module.Judges)
    blind.of, blind.missing, blind._truth, blind._read = {}, {}, {}, {}
    blind._by_tissues, blind._fit = False, np.arange(60) < 40
    blind._place = np.zeros(60, np.int64)
    columns = rng.normal(size=(60, 5))
    blind._add("age", columns[:, 0] + rng.normal(size=60) / 10, columns)
    blind._add("sex", rng.normal(size=60), columns)
    assert list(blind.of) == ["age"]
    assert "only, which may be chance" in blind.missing["sex"]


def test_a_model_without_labels_is_left_out():
    plain = SimpleNamespace(name="plain", card={})
    told = conditions(SimpleNamespace(generator=plain))  # type: ignore[arg-type]
    assert told == {"left_out": "plain was trained without labels."}
