"""Every measure sees the damage it should: the ladder of `benchmarks/damage_ladder.py` on blobs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stylegan3d.dataset.pack import write_pack
from stylegan3d.geometry.space import Space

FILE = Path(__file__).resolve().parents[2] / "benchmarks/damage_ladder.py"
PEOPLE, SET_ASIDE = 48, 6
# Blobs are smooth and alike: what must be seen on them of what is seen on brains.
SEEN = {
    "blur": "+fid +ms_ssim",
    "noise": "-ms_ssim",
    "collapse": "-coverage +twins",
    "copies": "+copies",
}


@pytest.fixture(scope="module")
def benchmark_file() -> ModuleType:
    spec = importlib.util.spec_from_file_location("damage_ladder", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["blur", pytest.param("noise", marks=pytest.mark.soak), "collapse", "copies"]
)
def test_damage_is_seen(
    name: str,
    benchmark_file: ModuleType,
    many_blobs: np.ndarray,
    space: Space,
    tmp_path: Path,
    coarse_features: None,
) -> None:
    rows = [
        {"name": f"sub-{i}", "person": f"sub-{i}", "split": "train" if i < PEOPLE else "validation"}
        for i in range(PEOPLE + SET_ASIDE)
    ]
    by_name = {row["name"]: volume for row, volume in zip(rows, many_blobs, strict=True)}
    write_pack(tmp_path / "pack", rows, lambda row: by_name[row["name"]], space, {})
    kinds = ["copies"] if name == "copies" else ["features", "pairs"]
    ladder = benchmark_file.Ladder(tmp_path / "pack", PEOPLE, kinds)
    steps, expected = benchmark_file.LADDERS[name]
    found = [
        ladder.figures(benchmark_file.damaged(ladder.made, ladder.training, name, step), name)
        for step in steps
    ]
    for word in SEEN[name].split():
        values = [row[word[1:]] for row in found]
        assert benchmark_file.monotone(values, word[0]), (word, np.round(values, 4))
        assert word in expected
    if name == "copies":
        told = ladder.planted(0.05)
        for disguise in ("as it is", "mirrored", "shifted"):
            assert told[disguise] == (1, 1, 0)
        assert all(others == 0 for _, _, others in told.values())
