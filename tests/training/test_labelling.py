"""Labels that a model learns after its training: nobody else changes, and who is drawn fits."""

import json
import shutil

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from tolerances import FLOAT32

from stylegan3d.base import ModelError, OutputError, RecipeError
from stylegan3d.checkpoints.folder import read_folder, write_folder
from stylegan3d.cli import main
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.model.generator import load
from stylegan3d.model.random_latents import random_w
from stylegan3d.recipe.model import (
    encode_known,
    encode_labels,
    known_schema,
    middle_of,
    number_range,
    seed_latents,
)
from stylegan3d.recipe.recipe import Label, MadeWith, Recipe, Source
from stylegan3d.storage.places import CARD, LABELS, MODEL
from stylegan3d.training.labels import learn_labels, principal

PEOPLE = 120
MEAN, SD = 50.0, 12.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A StyleGAN without labels, whose card was evaluated."""
    generator = tiny_generator(channels=(4, 4))
    network = generator.mapping, generator.synthesis
    tensors = {
        f"{part}.{name}": value
        for part, module in zip(("mapping", "synthesis"), network, strict=True)
        for name, value in module.state_dict().items()
    } | {"w_avg": generator.w_avg}
    space = generator.space
    card = {
        "name": "plain",
        "modality": "phantom",
        "architecture": generator.card["architecture"],
        "space": {
            "shape": list(space.shape),
            "affine": space.affine.tolist(),
            "axes": "RAS",
            "description": "",
        },
        "intended_use": "tests",
        "licence": "CC0",
        "training_data": [],
        "training": {"people": PEOPLE, "images_seen": 1, "warm_start_images": 1},
        "evaluation": {"fidelity": [], "conditions": []},
    }
    path = tmp_path_factory.mktemp("labelling") / "plain"
    write_folder(path, card, tensors)
    (path / "privacy.safetensors").write_bytes(b"an index")
    return path


@pytest.fixture(scope="module")
def latents(folder):
    return torch.from_numpy(random_w(load(folder, device="cpu"), PEOPLE, 7))


def towards(folder):
    """The direction of w that ages go with, and how far w goes along it among random brains."""
    centre, components = principal(load(folder, device="cpu"))
    axis = components[0] / components[0].square().sum()
    return lambda w: (w - centre) @ axis


@pytest.fixture(scope="module")
def pack(folder, latents, tmp_path_factory):
    """People whose ages follow their latents but for a third, and words that follow nothing."""
    rng = np.random.default_rng(0)
    scores = towards(folder)(latents).numpy()
    ages = MEAN + SD * (0.8 * scores + 0.6 * rng.normal(size=PEOPLE))
    rows = [
        {
            "name": f"sub-{i:03d}",
            "person": f"sub-{i:03d}",
            "split": "train",
            "source": "one",
            "licence": "CC0",
            "age": None if i == 5 else float(ages[i]),
            "sex": "FM"[int(scores[i] + rng.normal() > 0)],
            "size": float(np.exp(ages[i] / 10)),
            "mood": float(rng.normal()),
            "same": 1,
        }
        for i in range(PEOPLE)
    ]
    place = tmp_path_factory.mktemp("people")
    space = load(folder, device="cpu").space
    volume = np.zeros(space.shape, np.uint8)
    volume[5:15, 5:15, 5:15] = 200
    write_pack(place, rows, lambda _: volume, space, {"refused": []})
    return load_pack(place)


@pytest.fixture(scope="module")
def labelled(folder, pack, latents, tmp_path_factory):
    out = tmp_path_factory.mktemp("labelled") / "model"
    return learn_labels(folder, pack, ["age", "sex"], out, latents=latents, brains=40)


def drawn(generator, read, **values):
    label = encode_labels(generator.card["labels"], values)
    return read(seed_latents(generator, range(400), label=label)[:, 0].double())


def test_without_a_label_nobody_changes(labelled, folder):
    before, after = (
        seed_latents(load(m, device="cpu"), range(20)) for m in (folder, labelled.folder)
    )
    assert torch.equal(before, after)
    open_label = encode_labels(labelled.card["labels"])
    assert torch.equal(seed_latents(labelled, range(20), label=open_label), before)
    assert labelled.hash == load(folder, device="cpu").hash
    assert (labelled.folder / MODEL).read_bytes() == (folder / MODEL).read_bytes()
    assert labelled.labels_hash
    assert labelled.label_dim == 4


def test_who_is_drawn_for_an_age_is_as_people_of_that_age(labelled, folder):
    read = towards(folder)
    old, young = (drawn(labelled, read, age=MEAN + k * SD) for k in (2, -2))
    # 0.8 of a deviation for each: the closed form, but for what 120 people leave unknown.
    assert float((old - young).mean()) == pytest.approx(4 * 0.8, rel=0.15)
    assert float(old.std()) == pytest.approx(0.6, abs=0.12)  # what 120 people leave unknown


def test_truncation_leaves_the_age_that_was_asked_for(labelled, folder):
    read, label = towards(folder), encode_labels(labelled.card["labels"], {"age": MEAN + 2 * SD})
    whole, half, none = (
        read(seed_latents(labelled, range(200), psi, label=label)[:, 0].double())
        for psi in (1.0, 0.5, 0.0)
    )
    assert float(half.mean()) == pytest.approx(float(whole.mean()), abs=0.1)  # 200 random brains
    assert float(half.std() / whole.std()) == pytest.approx(0.5, abs=0.01)  # another
    assert float(none.std()) < 1e-3
    # Of a few rows only: the others are as without truncation.
    some = seed_latents(labelled, [3], 0.5, 2, label=label)[0]
    assert torch.equal(some[2:], seed_latents(labelled, [3], label=label)[0, 2:])
    assert not torch.equal(some[0], some[2])


def test_labels_go_together(labelled, folder):
    read = towards(folder)
    women, men = (drawn(labelled, read, sex=s).mean() for s in "FM")
    assert float(men - women) > 0.8
    # Who is known to be old is not told much more by being a man.
    old = [drawn(labelled, read, age=74, sex=s).mean() for s in "FM"]
    assert 0 < float(old[1] - old[0]) < float(men - women)


def test_the_card_says_what_is_known(labelled):
    age, sex = labelled.card["labels"]
    assert (age["people"], sex["people"]) == (PEOPLE - 1, PEOPLE)
    assert age["unit"] == "years"
    assert age["told_by"] == "latents"  # on a grid and of brains whose tissues nobody can tell
    assert age["explained"] == pytest.approx(0.64, abs=0.12)
    assert age["missing"] is False
    assert labelled.card["evaluation"] == {"fidelity": []}
    page = (labelled.folder / "README.md").read_text()
    assert "## Labels" in page
    (row,) = (line for line in page.splitlines() if line.startswith("| age |"))
    assert row.endswith(f" years | {100 * age['explained']:.0f} % of its variance, by latents |")
    assert (labelled.folder / "privacy.safetensors").read_bytes() == b"an index"
    assert set(json.loads((labelled.folder / CARD).read_text())["files"]) == {MODEL, LABELS}


def test_labels_are_learned_again_only_if_asked(labelled, pack, latents, tmp_path):
    folder = shutil.copytree(labelled.folder, tmp_path / "model")
    with pytest.raises(OutputError, match="already contains a model"):
        learn_labels(folder, pack, ["age"], latents=latents, brains=40)
    again = learn_labels(folder, pack, ["size"], latents=latents, brains=40, overwrite=True)
    assert [entry["name"] for entry in again.card["labels"]] == ["size"]
    assert again.hash == labelled.hash


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([], "There is no label to learn"),
        (["age", "age"], "named twice"),
        (["weight"], "has no column 'weight'"),
        (["same"], "have the same 'same'"),
        (["mood"], "'mood' cannot be predicted"),
    ],
)
def test_what_cannot_be_learned_is_refused(folder, pack, latents, labels, sentence, tmp_path):
    with pytest.raises(ModelError, match=sentence):
        learn_labels(folder, pack, labels, tmp_path / "out", latents=latents, brains=40)
    assert not (tmp_path / "out").exists()


def test_an_age_that_volumes_tell_is_learned_by_measuring(
    folder, pack, latents, tmp_path, monkeypatch
):
    """People's volumes follow their ages and their latents nothing; brains' follow the latents."""
    from stylegan3d.measures import attributes
    from stylegan3d.training import labels as labelling

    rng = np.random.default_rng(1)
    ages = [row["age"] or MEAN for row in pack.table]
    read, people = towards(folder), iter(ages)

    class Found:
        def __init__(self, grey):
            self.volumes = dict.fromkeys(labelling.TISSUES, float("nan")) | {"grey_ml": grey}

    asked = []

    def tissues(volume, space):
        age = next(people, None)
        if age is None:  # a random brain, in the order of their seeds
            seed = labelling.FIRST_SEED + len(asked)
            score = float(read(seed_latents(load(folder, device="cpu"), [seed])[:, 0].double()))
            asked.append(seed)
            return Found(600 * np.exp(0.1 * score))
        return Found(600 * np.exp(-0.1 * (age - MEAN) / SD + 0.01 * rng.normal()))

    for module in (attributes, labelling):
        monkeypatch.setattr(module, "read_tissues", tissues)
    shuffled = latents[torch.from_numpy(rng.permutation(PEOPLE))]
    out = tmp_path / "model"
    model = learn_labels(folder, pack, ["age"], out, latents=shuffled, brains=60)
    assert len(asked) == 60
    (age,) = model.card["labels"]
    assert age["told_by"] == "tissue volumes"
    assert age["explained"] > 0.9
    # Old people have less grey matter, which in random brains is a smaller score.
    old, young = (drawn(model, read, age=MEAN + k * SD) for k in (1, -1))
    assert float((old - young).mean()) == pytest.approx(-2, abs=0.3)  # 60 brains
    assert "by tissue volumes" in (out / "README.md").read_text()


def test_models_that_cannot_learn_are_refused(folder, pack, capsys):
    with pytest.raises(ModelError, match="no encoder"):
        learn_labels(folder, pack, ["age"])
    with pytest.raises(SystemExit) as status:
        main(["model", "labels", str(pack.path), "--model", str(folder), "--labels", "age"])
    assert status.value.code == 2
    assert "no encoder" in capsys.readouterr().err


def test_a_file_that_is_no_match_is_refused(labelled, tmp_path):
    for name, tensors in (
        ("short", lambda t: {**t, "shared": t["shared"][:, :2]}),
        ("gone", lambda t: {k: v for k, v in t.items() if k != "read"}),
    ):
        files = read_folder(labelled.folder)
        card = {k: v for k, v in files.card.items() if k != "files"}
        write_folder(tmp_path / name, card, files.tensors, labels=tensors(files.labels))
        with pytest.raises(ModelError, match="incomplete or its card does not fit"):
            load(tmp_path / name)
    shutil.copytree(labelled.folder, tmp_path / "lost")
    (tmp_path / "lost" / LABELS).unlink()
    with pytest.raises(ModelError, match=r"labels\.safetensors' is not the file"):
        load(tmp_path / "lost")


def test_a_recipe_with_a_label_names_the_labels(labelled, folder):
    plain = Recipe(source=Source(seed=1))
    recipe = plain.replace(label=Label.of({"age": 70}))
    assert plain.signed(labelled).model == MadeWith(labelled.hash, "plain")
    signed = recipe.signed(labelled)
    assert signed.model.labels == labelled.labels_hash
    assert Recipe.from_json(signed.to_json()).model == signed.model
    signed.check(labelled)
    other = signed.replace(model=MadeWith(labelled.hash, "plain", "f" * 64))
    with pytest.raises(RecipeError, match="with the labels ffffffff of plain, now"):
        other.check(labelled)


def test_who_is_not_known_is_neither_missing_nor_average():
    rows = [{"age": 20.0, "sex": "F"}, {"age": None, "sex": "M"}, {"age": 60.0, "sex": None}]
    schema = known_schema(rows, ["age", "sex"])
    vectors = encode_known(schema, rows)
    assert not any(entry["missing"] for entry in schema)
    assert vectors.isnan().tolist() == [
        [False] * 4,
        [False, True, False, False],
        [False, False, True, True],
    ]
    with pytest.raises(ModelError, match="is missing"):
        encode_labels(schema, {"age": None})


def test_what_differs_by_factors_is_a_logarithm():
    rows = [{"size": 10.0}, {"size": 1000.0}]
    (entry,) = schema = known_schema(rows, ["size"], ["size"])
    assert middle_of(entry) == pytest.approx(100)
    assert number_range(entry, 4) == (10, 1000)
    vectors = encode_known(schema, [{"size": 10.0}, {"size": 100.0}, {"size": 1000.0}])[:, 1]
    assert float(vectors[1]) == pytest.approx(0, abs=FLOAT32)
    assert float(vectors[0]) == pytest.approx(-float(vectors[2]))
    with pytest.raises(ModelError, match="must be more than 0"):
        encode_labels(schema, {"size": 0})
    with pytest.raises(ModelError, match="not positive"):
        known_schema([{"size": 0.0}, {"size": 1.0}], ["size"], ["size"])
