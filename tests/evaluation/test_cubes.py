"""Cubes of random brains beside people's: figures, words and picture."""

import io

import numpy as np
import pytest
from blobs import Stored
from PIL import Image
from scipy.ndimage import uniform_filter

from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import evaluation as part
from stylegan3d.evaluation import rows, table
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.settings import EvaluationSettings

ANSWER = next(metric.answer for metric in table.METRICS if metric.key == "cubes")


def test_soft_brains_are_told_and_shown(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "TREES", 30)
    people = np.asarray(pack.volumes[:12], float)
    soft = uniform_filter(people, (0, 3, 3, 3)).astype(np.uint8)
    settings = EvaluationSettings(parts=("cubes",), samples=12, privacy_samples=8)
    material = Material(Stored(soft, pack.space), pack, settings, lambda *_: None)
    found = part.cubes(material)
    assert found["n"] == 10
    assert found["accuracy"]["synthetic"] > found["accuracy"]["real"]
    assert set(found["regions"]) == {cube["region"] for cube in found["surest"]["real"]} | set(
        found["regions"]
    )
    told = list(rows.cubes(found))
    assert len(told) == 2 + len(found["regions"])
    assert told[0].aim == "<= 0.75"
    assert "most of all in the" in ANSWER(found)
    picture = Image.open(io.BytesIO(part.surest_png(material, found)))
    side = found["surest"]["real"][0]["side"] * part.ENLARGED + 2 * part.GAP
    assert picture.size == (part.SHOWN * side, 6 * side + 4 * part.GAP)
    assert np.asarray(picture).std() > 10


def test_few_brains_are_left_out(pack: Pack) -> None:
    settings = EvaluationSettings(parts=("cubes",), samples=4, privacy_samples=4)
    few = Stored(pack.volumes[:4], pack.space)
    found = part.cubes(Material(few, pack, settings, lambda *_: None))
    assert "need 10" in ANSWER(found)
    assert not list(rows.cubes(found))
