"""Stored results are used again only for the same data and the same version of the measures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import Stored

from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import material as module
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.metrics import features
from stylegan3d.segmentation.classes import MEASURES


@pytest.mark.parametrize("kind", ["features", "tissues", "shapes"])
@pytest.mark.parametrize("whose", ["real", "synthetic"])
def test_measures_of_another_version_are_made_again(
    whose: str,
    kind: str,
    pack: Pack,
    blobs: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = EvaluationSettings(samples=4, cache=tmp_path / "cache")
    figure = 1.0

    def measured(*_: Any, **__: Any) -> Any:
        count = 4 if whose == "synthetic" and kind != "shapes" else len(pack.table)
        if kind == "tissues":
            return [dict.fromkeys((*MEASURES, "confidence"), figure)] * count
        return np.full((count, len(TISSUE_SHAPE)), figure)

    monkeypatch.setattr(features, "describe", measured)
    monkeypatch.setattr(module, "tissue_shapes", measured)
    monkeypatch.setattr(module, "measure", measured)

    def found() -> Any:
        subject = Stored(blobs, pack.space)
        work = module.Store(tmp_path / "work")
        material = Material(subject, pack, settings, lambda *_: None, work)
        if kind == "shapes":
            return material.shapes("network")[whose == "real"][0, 0]
        rows = getattr(material, f"{whose}_{kind}")
        return rows[0]["confidence"] if kind == "tissues" else rows[0, 0]

    assert found() == 1
    figure = 2.0
    assert found() == 1
    monkeypatch.setattr(module, "VERSION", "of another formula")
    assert found() == 2
