"""Blobs that stand for brains: ellipsoids with three tissues on a small grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylegan3d.dataset.pack import Pack, load_pack, write_pack
from stylegan3d.evaluation.material import StoredBrains
from stylegan3d.geometry.space import Space
from stylegan3d.metrics import features

SHAPE = (20, 28, 24)


@pytest.fixture(scope="session")
def space() -> Space:
    """The grid of the tiny generator: 20 x 28 x 24 voxels of 8 mm, RAS, centred."""
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = -8.0 * (np.array(SHAPE) - 1) / 2
    return Space(SHAPE, affine)


def blob(seed: int) -> np.ndarray:
    """A brain-like ellipsoid, uint8: shell of white matter in grey, fluid in its middle."""
    rng = np.random.default_rng(seed)
    axes = np.array([6.0, 8.5, 6.5]) * rng.normal(1, 0.04, 3)
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    x = x + rng.normal(0, 0.3)
    radius = np.sqrt((x / axes[0]) ** 2 + (y / axes[1]) ** 2 + (z / axes[2]) ** 2)
    volume = np.select([radius < 0.45, radius < 0.75, radius < 1], [0.3, 0.9, 0.6], 0.0)
    noise = rng.normal(0, 0.03, SHAPE)
    return np.rint(np.clip(np.where(volume > 0, volume + noise, 0), 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def blobs() -> np.ndarray:
    """Twelve of them, [12, 20, 28, 24]."""
    return np.stack([blob(seed) for seed in range(12)])


@pytest.fixture(scope="session")
def many_blobs() -> np.ndarray:
    """Fifty-four of them, [54, 20, 28, 24]."""
    return np.stack([blob(seed) for seed in range(54)])


@pytest.fixture
def coarse_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features at 5 mm: small enough for a test."""
    monkeypatch.setattr(features, "FEATURE_MM", 5.0)


PEOPLE = {"train": {"a": 12, "b": 4}, "validation": {"a": 3, "b": 2}}


@dataclass
class Stored:
    """Volumes of nobody knows what."""

    volumes: np.ndarray
    space: Space
    name: str = "somebody's brains"
    hash: str = "0"
    generator: Any = None
    notes: tuple[str, ...] = ()

    def numbers(self, first: int, count: int) -> range:
        return range(min(count, len(self.volumes)))

    def brains(self, numbers: Any, truncation: float) -> StoredBrains:
        return StoredBrains(self.volumes[list(numbers)])

    def label(self, number: int) -> str:
        return f"file {number}"


@pytest.fixture(name="pack")
def people_pack(blobs: np.ndarray, space: Space, coarse_features: None, tmp_path: Path) -> Pack:
    """Twenty-one people from two scanners, the second one brighter: blobs with texture."""
    rows = [
        {"name": f"{split}-{source}{k}", "person": f"{split}-{source}{k}", "split": split}
        | {"source": source, "age": 20.0 + k}
        for split, sources in PEOPLE.items()
        for source, count in sources.items()
        for k in range(count)
    ]
    rng = np.random.default_rng(0)
    volumes = {}
    for k, row in enumerate(rows):
        blob = blobs[k % len(blobs)].astype(float)
        texture = rng.normal(0, 25, blob.shape) + 15 * (row["source"] == "b")
        volumes[row["name"]] = np.where(blob > 0, np.clip(blob + texture, 20, 255), 0)
    write_pack(
        tmp_path / "people", rows, lambda row: volumes[row["name"]].astype(np.uint8), space, {}
    )
    return load_pack(tmp_path / "people")
