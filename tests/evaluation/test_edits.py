"""Edits measured on a generator whose every answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tolerances import LAYERS, SUMS

from stylegan3d.evaluation import edits as module
from stylegan3d.evaluation.edits import AttributeJudge, edits
from stylegan3d.metrics.comparison import wilson
from stylegan3d.recipe.directions import Directions

# What w says: the brightness of the left half, of the right half.
HALF = 4
PROMISED, SHOWN = 0.1, 0.05


class Halves:
    """Two numbers become the brightness of two halves; the encoder sees the first number only."""

    name = "halves"

    def __init__(self) -> None:
        check = {"name": "Left", "attribute": "left", "unit": "", "held_fixed": ["Right"]}
        other = {"name": "Right", "attribute": "right", "unit": "", "held_fixed": []}
        self.directions = Directions(
            np.array([[1.0, 0.2], [0.0, -1.0]]),
            np.array([SHOWN, SHOWN]),
            np.zeros(2),
            ("Left", "Right"),
            checks=(check | {"per_unit": PROMISED}, other | {"per_unit": PROMISED}),
        )

    def encoder(self, image: torch.Tensor) -> torch.Tensor:
        seen = (image[:, 0, :HALF].mean(dim=(1, 2, 3)) + 1) / 2
        return torch.stack([seen, torch.full_like(seen, 0.5)], dim=1)[:, None]


def drawn(_: Any, w: torch.Tensor) -> list[np.ndarray]:
    volumes = []
    for left, right in w[:, 0].numpy():
        volume = np.empty((2 * HALF, 6, 6), np.float32)
        volume[:HALF], volume[HALF:] = left, right
        volumes.append(volume)
    return volumes


class TrueJudges:
    """Read both halves without error."""

    def __init__(self, *_: Any) -> None:
        self.missing: dict[str, str] = {}
        self.of = {k: AttributeJudge("looking", 1.0, 1.0, SHOWN, 9) for k in ("left", "right")}

    def shown(self, key: str, held: list[str]) -> float:
        return {"left": 0.5, "right": 1.0}[key] if held == ["Right"] * (key == "left") else 0.0

    def readings(self, volumes: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {
            "left": np.array([volume[:HALF].mean() for volume in volumes]),
            "right": np.array([volume[HALF:].mean() for volume in volumes]),
        }


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    generator = Halves()
    start = torch.tensor([[0.4, 0.5], [0.5, 0.5], [0.6, 0.5]])[:, None]
    monkeypatch.setattr(module, "Judges", TrueJudges)
    monkeypatch.setattr(module, "_drawn", drawn)
    monkeypatch.setattr(module, "seed_latents", lambda *_: start)
    monkeypatch.setattr(module, "_outside", lambda *_: None)
    monkeypatch.setattr(module, "composition", lambda _: None)
    monkeypatch.setattr(module, "encoded_volumes", encoded)
    material = SimpleNamespace(
        generator=generator,
        seeds=range,
        settings=SimpleNamespace(truncation=1.0),
        report=lambda *_: None,
    )
    return edits(material)  # type: ignore[arg-type]


def encoded(generator: Halves, volumes: list[np.ndarray]) -> torch.Tensor:
    images = torch.from_numpy(np.stack(volumes))[:, None] * 2 - 1
    return generator.encoder(images)


def test_what_was_promised_and_what_came(found: dict[str, Any]) -> None:
    left, right = found["directions"]
    assert left["effect"] == pytest.approx(SHOWN / PROMISED, abs=SUMS)
    assert right["effect"] == pytest.approx(-SHOWN / PROMISED, abs=SUMS)
    assert (left["effect_people"], right["effect_people"]) == (0.5, 1.0)
    assert (left["right_way"], right["right_way"]) == (1, 0)
    assert left["right_way_interval"] == pytest.approx(wilson(3, 3))  # brains, not their edits
    assert left["drift"] == {"Right": pytest.approx(0.2, abs=SUMS)}
    assert right["drift"]["Left"] == pytest.approx(0, abs=SUMS)


def test_only_what_the_encoder_sees_is_taken_back(found: dict[str, Any]) -> None:
    """Left is seen and taken back; of its step, one part in six fell on what nobody sees."""
    left, right = found["directions"]
    assert left["left"] == pytest.approx(0.2 / 1.2, abs=LAYERS)
    assert right["left"] == pytest.approx(1, abs=LAYERS)


def test_size_is_in_distances_of_brains(found: dict[str, Any]) -> None:
    """Brains are 0.05, 0.05 and 0.1 apart on average over voxels, 0.0667 together."""
    assert found["directions"][1]["size"] == pytest.approx(SHOWN / 2 / (0.2 / 3), abs=LAYERS)


def test_without_directions_there_is_nothing_to_measure() -> None:
    plain = SimpleNamespace(
        name="plain", directions=Directions(np.eye(2), np.ones(2), np.zeros(2), ("PC 1", "PC 2"))
    )
    told = edits(SimpleNamespace(generator=plain))  # type: ignore[arg-type]
    assert told == {"left_out": "plain has no directions of attributes."}
