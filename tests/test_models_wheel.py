"""Other families are in a wheel of their own, and found where it is installed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from models_wheel import MODELS, build

from stylegan3d.storage.places import bundled_models


@pytest.mark.soak
def test_wheel_of_the_other_families_holds_whole_models(tmp_path: Path) -> None:
    wheel = zipfile.ZipFile(build(tmp_path))
    names = set(wheel.namelist())
    for model in MODELS:
        assert {
            f"stylegan3d_models/{model}/{name}" for name in ("card.json", "model.safetensors")
        } <= names


def test_models_of_the_other_wheel_are_found(tmp_path: Path) -> None:
    model = tmp_path / "stylegan3d_models" / "mine"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").touch()
    (model / "card.json").write_text('{"format": "stylegan3d"}')
    code = (
        "from stylegan3d.storage.places import bundled_models, bundled_model_path\n"
        "print(*bundled_models()); print(bundled_model_path('mine'))"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code]
    out = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(out[0].split()) == {*bundled_models(), "mine"}
    assert Path(out[1]) == model
