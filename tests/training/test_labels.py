"""Labels: from a table to the vector, and a generator whose volumes depend on them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_anatomy import small_anatomy

from stylegan3d.base import ModelError
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.geometry.space import Space
from stylegan3d.model.family import Parts
from stylegan3d.model.generator import Generator
from stylegan3d.networks.registration import Demons
from stylegan3d.recipe.model import encode_labels, encode_rows, label_dim, schema_of
from stylegan3d.training.anatomy import find_anatomy, fit_anatomy
from stylegan3d.training.options import tiny
from stylegan3d.training.stylegan import train_stylegan

ROWS = [
    {"age": 20.0, "sex": "F", "site": 1, "score": "3"},
    {"age": 40.0, "sex": "M", "site": 2, "score": "5"},
    {"age": 60.0, "sex": "F", "site": 2, "score": "n/a"},
    {"age": 40.0, "sex": None, "site": 1, "score": "4"},
]
SD = math.sqrt(200)


def test_a_number_is_standardised_and_a_category_has_a_place_per_value():
    schema = schema_of(ROWS, ["age", "sex"])
    assert schema[0] == {
        "name": "age",
        "kind": "number",
        "mean": 40.0,
        "sd": pytest.approx(SD),
        "range": [20.0, 60.0],
        "missing": False,
        "average": [0.0],
    }
    assert (schema[1]["values"], schema[1]["missing"]) == (["F", "M"], True)
    assert schema[1]["average"] == [0.5, 0.25, 0.25]
    assert label_dim(schema) == 1 + 1 + 3
    made = encode_labels(schema, {"age": 60, "sex": "M"}) * math.sqrt(3)
    torch.testing.assert_close(made, torch.tensor([[1, 20 / SD, 0, 1, 0]]))
    unknown = encode_labels(schema, {"age": 40, "sex": None}) * math.sqrt(3)
    torch.testing.assert_close(unknown, torch.tensor([[1, 0.0, 0, 0, 1]]))
    # What is left open is the average of the people.
    people = encode_rows(schema, ROWS)
    torch.testing.assert_close(encode_labels(schema), people.mean(dim=0, keepdim=True))
    assert people.square().sum(dim=1).mean() == pytest.approx(1)


def test_columns_of_numbers_may_be_text_and_codes_may_be_categories():
    schema = schema_of(ROWS, ["score", "site:category"])
    assert (schema[0]["kind"], schema[0]["mean"], schema[0]["missing"]) == ("number", 4.0, True)
    assert (schema[1]["name"], schema[1]["values"]) == ("site", ["1", "2"])
    assert encode_rows(schema, ROWS).shape == (4, 1 + 2 + 2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"weight": 3}, "no label 'weight'; its labels are: age, sex"),
        ({"age": "old"}, "must be a number"),
        ({"age": None}, "give a value"),
        ({"sex": "X"}, "knows only: F, M"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, sentence):
    with pytest.raises(ModelError, match=sentence):
        encode_labels(schema_of(ROWS, ["age", "sex"]), values)


def test_columns_that_make_no_sense_are_refused():
    with pytest.raises(ModelError, match="columns are: age, score, sex, site"):
        schema_of(ROWS, ["height"])
    with pytest.raises(ModelError, match="All training subjects"):
        schema_of([{"age": 3}, {"age": 3}], ["age"])
    with pytest.raises(ModelError, match="at most 32"):
        schema_of([{"name": f"sub-{i}"} for i in range(40)], ["name"])
    with pytest.raises(ModelError, match="trained without labels"):
        encode_labels([], {"age": 3})


@pytest.fixture(scope="module")
def sized(pack, tmp_path_factory):
    """Balls that grow with age; women's are brighter."""
    rng = np.random.default_rng(3)
    shape = pack.space.shape
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    radius = np.sqrt((axes**2).sum(axis=0))

    def volume(row):
        size = 0.55 + 0.005 * (row["age"] - 20) + row["jitter"]
        return np.where(radius < size, 220 if row["sex"] == "F" else 150, 0).astype(np.uint8)

    rows = [
        {
            "name": f"sub-{i:02d}",
            "split": "validation" if i % 6 == 5 else "train",
            "age": float(rng.uniform(20, 80)),
            "sex": "FM"[i % 2],
            "jitter": float(rng.normal(0, 0.01)),
        }
        for i in range(24)
    ]
    folder = tmp_path_factory.mktemp("sized")
    write_pack(folder, rows, volume, Space(shape, pack.space.affine), {"refused": []})
    return load_pack(folder)


def test_volumes_follow_the_labels_they_were_trained_with(sized, tmp_path, monkeypatch):
    # Balls need no fine registration, and a process takes longer to start than they do.
    monkeypatch.setitem(find_anatomy.__kwdefaults__, "rounds", (Demons(12, 0), Demons(6, 4)))
    monkeypatch.setitem(find_anatomy.__kwdefaults__, "jobs", 1)
    folder = tmp_path / "anatomy"
    settings = replace(small_anatomy(detail_basis=0), conditions=("age", "sex"))
    fit = fit_anatomy(sized, folder, settings)
    assert fit.settings.generator.label_dim == 4
    parts = Parts(fit.settings.generator, fit.mapping, fit.synthesis, fit.w_avg)
    generator = Generator(parts, sized.space, card={"labels": fit.schema})
    z = torch.randn(12, 16, generator=torch.Generator().manual_seed(5))

    def brightness(**values):
        w = generator.map(z, encode_labels(generator.card["labels"], values))
        volumes = (generator.synthesize(w, noise="none").clamp(-1, 1) + 1) / 2
        large = float(volumes.flatten(1).gt(0.25).float().mean())
        return large, float(volumes[:, 0, 9:11, 13:15, 11:13].mean())

    young, old = brightness(age=25, sex="F"), brightness(age=75, sex="F")
    assert old[0] > 1.3 * young[0]  # the ball's volume
    assert brightness(age=50, sex="F")[1] > brightness(age=50, sex="M")[1] + 0.1
    # Without a label it still answers.
    assert generator.map(z).shape == (12, 4, 16)
    with pytest.raises(ModelError, match=r"takes \(12, 4\)"):
        generator.map(z, torch.zeros(1, 3))


def test_a_conditional_run_goes_on_bit_for_bit(sized, tmp_path):
    config = replace(tiny(), conditions=("age",), d_augment="adaptive", steps=6)
    whole = train_stylegan(sized, tmp_path / "whole", config)
    train_stylegan(sized, tmp_path / "cut", replace(config, steps=3))
    resumed = train_stylegan(sized, tmp_path / "cut", resume=True, changes={"steps": 6})
    assert resumed.task.labels == whole.task.labels
    assert whole.settings.generator.label_dim == whole.settings.discriminator.label_dim
    for name, network in whole.networks.items():
        other = resumed.networks[name].state_dict()
        assert all(torch.equal(v, other[k]) for k, v in network.state_dict().items()), name


def test_a_condition_the_table_does_not_have_is_refused(sized, tmp_path):
    with pytest.raises(ModelError, match="has no column 'weight'"):
        train_stylegan(sized, tmp_path / "run", replace(tiny(), conditions=("weight",)))
    assert not (tmp_path / "run").exists()
