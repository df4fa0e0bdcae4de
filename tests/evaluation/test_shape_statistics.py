"""Shape statistics agree with theory where the answer is known, and are told on page and table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tolerances import LAYERS

from stylegan3d.base import SILENT
from stylegan3d.evaluation import parts as module
from stylegan3d.evaluation.evaluation import _curves
from stylegan3d.evaluation.parts import LatentModel, VoxelModel, shape_statistics
from stylegan3d.evaluation.table import figures, plain_words
from stylegan3d.storage.encoding import to_plain

PLACES = np.linspace(-1, 1, 80)


def bump(w: torch.Tensor) -> np.ndarray:
    """An image whose only number moves a bump: a warp."""
    return np.exp(-np.square((PLACES - float(w.sum())) / 0.25)).astype(np.float32)


def moved(rng: np.random.Generator, n: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(0, 0.15, (n, 1, 1)).astype(np.float32))


def test_a_linear_generator_is_what_components_of_voxels_are() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(0, 0.02, (5, 60)).astype(np.float32))
    w = torch.from_numpy(rng.normal(size=(20, 1, 5)).astype(np.float32))

    def draw(row: torch.Tensor) -> np.ndarray:
        return (0.5 + row[0, 0] @ images).numpy()

    model, voxels = LatentModel(w, draw), VoxelModel(np.stack([draw(row[None]) for row in w]))
    unseen = draw(torch.ones(1, 1, 5)) + rng.normal(0, 0.01, 60).astype(np.float32)
    assert len(model.components.variances) == 5  # no component from rounding errors
    found, expected = (each.errors(unseen, [1, 2, 4, 5]) for each in (model, voxels))
    assert found == pytest.approx(expected, rel=LAYERS)
    assert expected == sorted(expected, reverse=True)
    normal = np.array([0.3, -0.2])
    assert np.abs(model.drawn(normal) - voxels.drawn(normal)).max() < 1e-4


def test_one_component_of_a_warp_does_what_many_of_voxels_do() -> None:
    rng = np.random.default_rng(1)
    w = moved(rng, 30)
    model, voxels = LatentModel(w, bump), VoxelModel(np.stack([bump(row) for row in w]))
    unseen = bump(torch.tensor(0.2))
    (one,), several = model.errors(unseen, [1]), voxels.errors(unseen, [1, 2, 3])
    assert one < 0.3 * several[0]
    assert one < several[1]


def test_the_three_measures_stand_beside_those_of_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    w = moved(rng, 24)
    volumes = np.rint(255 * np.stack([bump(row) for row in w])).astype(np.uint8)
    monkeypatch.setattr(module, "encoded_volumes", lambda g, seen: moved_to(seen))
    monkeypatch.setattr(module, "_drawing", lambda g, inside: bump)
    material: Any = SimpleNamespace(
        generator=SimpleNamespace(name="bumps", encoder=True, device="cpu"),
        mask=np.ones(80, bool),
        training=np.arange(18),
        validation=np.arange(18, 24),
        settings=SimpleNamespace(seed=0),
        volumes=lambda rows: [volumes[row] for row in rows],
        progress=lambda _: SILENT,
        report=lambda *_: None,
        device="cpu",
    )
    found = shape_statistics(material)
    counts = found["components"]
    assert counts[:3] == [1, 2, 4]
    assert len(found["generalisation"]["model"]) == len(counts)
    for kind in ("model", "voxels"):
        shares = found["compactness"][kind]
        assert shares[-1] == pytest.approx(1, abs=LAYERS)
        assert (np.diff(shares) > 0).all()
    assert found["generalisation"]["difference"][0] < 0
    # Random members of components of voxels are no bumps: they are farther from every subject.
    assert found["specificity"]["difference"][-1] < 0
    rows = {row.name: row for row in figures({"shape_statistics": found})}
    first = rows["1 component: error in held-out subjects (n = 6)"]
    assert first.reached
    assert first.real.startswith("PCA of voxels")
    [(_, answer)] = plain_words({"shape_statistics": to_plain(found)})
    assert f"{counts[-1]} components" in answer
    assert "".join(_curves({"shape_statistics": found})).count("<svg") == 3

    monkeypatch.setattr(module, "_drawing", lambda g, inside: lambda w: bump(0 * w))
    assert "alike" in shape_statistics(material)["left_out"]
    material.generator.encoder = None
    assert "no encoder" in shape_statistics(material)["left_out"]


def moved_to(seen: list[np.ndarray]) -> torch.Tensor:
    """Where the bumps are."""
    return torch.tensor([[[PLACES[volume.argmax()]]] for volume in seen], dtype=torch.float32)
