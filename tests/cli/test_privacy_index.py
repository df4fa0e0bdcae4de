"""`stylegan3d model privacy-index` writes features of training people into a model's folder."""

import shutil

import numpy as np
import pytest

from stylegan3d.dataset.pack import write_pack
from stylegan3d.evaluation.privacy_index import load_index
from stylegan3d.geometry.space import Space
from stylegan3d.metrics import features
from stylegan3d.model.generator import RandomBrains, load
from stylegan3d.storage.places import PRIVACY


@pytest.fixture
def data(model, tmp_path, monkeypatch):
    """A pack of five "people", brains of the model, and a copy of the model."""
    monkeypatch.setattr(features, "FEATURE_MM", 5.0)
    shutil.copytree(model, tmp_path / "model")
    generator = load(model)
    brains = RandomBrains(generator, range(5)).stack()
    rows = [
        {"name": f"sub-{k}", "person": f"sub-{k}", "split": "train" if k < 4 else "validation"}
        for k in range(5)
    ]
    for name, space in (("people", generator.space), ("else", Space(generator.shape, np.eye(4)))):
        write_pack(tmp_path / name, rows, lambda row: brains[int(row["name"][4:])], space, {})
    return tmp_path


def test_an_index_is_written_beside_the_model(run, data) -> None:
    words = ("model", "privacy-index", data / "people", "--model", data / "model")
    result = run(*words, "--json")
    assert result.status == 0, result.err
    assert (result.json["people"], result.json["strangers"]) == (4, 5)
    index = load_index(data / "model" / PRIVACY)
    generator = load(data / "model")
    assert index.model_hash == generator.hash
    assert index.check(RandomBrains(generator, [2]).stack()[0], generator.space).farther_than == 0
    again = run(*words)
    assert again.status == 2
    assert "exists already" in again.err
    assert run(*words, "--overwrite").status == 0


def test_what_does_not_fit_is_refused(run, data) -> None:
    result = run("model", "privacy-index", data / "else", "--model", data / "model")
    assert result.status == 2
    assert "a different grid" in result.err
    assert not (data / "model" / PRIVACY).exists()
