"""Directions of attributes against people whose attributes are a known function of w."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from phantoms import encoding_generator, write_people
from tolerances import FLOAT32, SUMS

from stylegan3d.base import ModelError, RecipeError
from stylegan3d.directions.attributes import (
    MeasuredBrains,
    attribute_directions,
    build_directions,
    check_edits,
    components_of_brains,
    describe_components,
    seen_in_people,
    without_failures,
)
from stylegan3d.directions.people import People, as_numbers, encode_people, key_of
from stylegan3d.model.random_latents import pca_directions, random_w
from stylegan3d.recipe.directions import join
from stylegan3d.recipe.latents import load_directions, save_directions

N, HELD = 240, 60


@pytest.fixture(scope="module", name="generator")
def shared_generator(tiny_generator):
    return tiny_generator


@pytest.fixture(scope="module")
def people(generator):
    """People of the population; "size" is one line in w, "load" another plus some of size."""
    w = random_w(generator, N, seed=5)
    scores = (w - w.mean(0)) @ np.linalg.svd(w - w.mean(0), full_matrices=False)[2].T
    scores /= scores.std(0)
    noise = np.random.RandomState(0).randn(N)
    values = {
        "size": 1500 + 120 * scores[:, 0],
        "load": 5 * scores[:, 1] + 3 * scores[:, 0] + 0.5 * noise,
        "ventricle_ml": np.exp(3 + 0.5 * scores[:, 2]),
        "kind": (scores[:, 1] > 0).astype(float),
        "noise": noise,
    }
    held_out = np.arange(N) >= N - HELD
    return People(w, held_out, values)


@pytest.fixture(scope="module")
def pack(generator, tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("pack"), generator.space)


def found(generator, people, *wanted, **settings):
    return attribute_directions(
        generator, people.w, people.attributes, people.held_out, wanted, **settings
    )


def check(directions, name):
    return next(told for told in directions.checks if told["name"] == name)


def test_components_of_a_stylegan_are_those_of_its_brains(generator):
    """However long w is in what changes nothing."""
    half = copy.copy(generator)
    half.synthesis = copy.deepcopy(generator.synthesis)
    with torch.no_grad():
        for layer in (*half.synthesis.layers, *half.synthesis.image_layers):
            layer.conv.style.weight[:, 8:] = 0
    assert (pca_directions(half, 16).explained_variance[:9] > FLOAT32).all()
    found = components_of_brains(half, 16)
    shares = found.explained_variance
    assert shares.sum() == pytest.approx(1, abs=SUMS)
    assert shares[:8].sum() > 0.98  # brains are no linear function of w
    middle = half.w_avg.expand(half.num_layers, -1)
    steps = torch.stack([torch.from_numpy(found.step(name)).float() for name in found.names[:8]])
    with torch.inference_mode():
        above, below = (half.synthesize(middle + sign * steps[:, None], "none") for sign in (1, -1))
    changes = (above - below).square().mean(dim=(1, 2, 3, 4))
    assert np.corrcoef(np.log(changes.numpy()), np.log(shares[:8]))[0, 1] > 0.8


def test_the_direction_is_how_w_changes_with_the_attribute(generator, people):
    directions = found(generator, people, "size")
    w, size = people.w[~people.held_out], people.attributes["size"][~people.held_out]
    slope = np.polyfit(size, w, 1)[0]
    assert slope / np.linalg.norm(slope) @ directions.vectors[0] > 0.999
    told = check(directions, "Size")
    assert (told["n_fit"], told["n_check"]) == (N - HELD, HELD)
    assert told["r"] > 0.99
    assert told["mae"] < 0.1 * told["baseline"]
    # The spread of other brains; a ridge draws slopes towards zero.
    assert told["per_unit"] == pytest.approx(120, rel=0.15)
    visits = check(found(generator, people, "size", subjects=np.arange(N) // 4), "Size")
    assert visits["n_check"] == HELD / 4
    assert visits["chance"] > 1.5 * told["chance"]  # of fifteen people, not of sixty


def test_one_unit_changes_the_attribute_by_what_it_says(generator, people):
    directions = found(generator, people, "size", "ventricle_ml")
    w, values = people.w, people.attributes
    for key, name in (("size", "Size"), ("ventricle_ml", "Ventricle volume")):
        target = np.log(values[key]) if key == "ventricle_ml" else values[key]
        plane = np.linalg.lstsq(np.c_[w, np.ones(N)], target, rcond=None)[0][:-1]
        per_unit = check(directions, name)["per_unit"]
        expected = np.log(per_unit) if key == "ventricle_ml" else per_unit
        # The ridge draws slopes a little towards zero.
        assert plane @ directions.step(name) == pytest.approx(expected, rel=0.05)
    assert check(directions, "Ventricle volume")["scale"] == "factor"


def test_what_is_held_fixed_does_not_change(generator, people):
    plane = np.linalg.lstsq(np.c_[people.w, np.ones(N)], people.attributes["size"], rcond=None)[0][
        :-1
    ]
    free = found(generator, people, "load")
    fixed = found(generator, people, "load", hold_fixed=["size"])
    assert abs(plane @ free.step("Load")) > 40
    assert abs(plane @ fixed.step("Load")) < 2
    assert check(fixed, "Load")["held_fixed"] == ["Size"]
    assert "size held fixed" in fixed.descriptions["Load"]


def test_groups_that_differ_do_not_make_a_direction(generator, people):
    """Two scanners with another look and other ages: age itself is the line, not the scanner."""
    scanner = np.arange(N) % 2
    line, look = np.linalg.svd(people.w - people.w.mean(0), full_matrices=False)[2][:2]
    age = (people.w - people.w.mean(0)) @ line
    age /= age.std()
    w = people.w + 3 * people.w.std() * np.outer(scanner, look)
    values = {"age": 10 * age + 30 * scanner}
    naive = attribute_directions(generator, w, values, people.held_out)
    within = attribute_directions(generator, w, values, people.held_out, groups=scanner)
    inner = np.polyfit(age[scanner == 0], w[scanner == 0], 1)[0]
    inner /= np.linalg.norm(inner)
    assert within.vectors[0] @ inner > 0.98
    assert abs(within.vectors[0] @ inner) > abs(naive.vectors[0] @ inner)
    assert check(within, "Age")["baseline"] < 0.7 * np.abs(values["age"] - 15).mean()


def test_the_range_of_the_training_subjects_is_that_of_their_attributes(generator, people):
    """Positions are in units of the direction, given what it holds fixed."""
    directions = join(
        found(generator, people, "size", "load", hold_fixed=["size"]),
        pca_directions(generator, components=2, samples=1500),
    )
    along = directions.vectors[3].astype(float)
    blind = dataclasses.replace(people, w=people.w - np.outer(people.w @ along, along))
    seen = seen_in_people(directions, people).seen
    size = people.attributes["size"][~people.held_out] / check(directions, "Size")["per_unit"]
    assert np.diff(seen["Size"]) == pytest.approx(np.ptp(size), rel=0.02)  # shrunk slopes, as above
    # Most of the load is that of the size, which is held fixed.
    assert np.diff(seen["Load"]) < 0.9 * np.ptp(
        people.attributes["load"][~people.held_out] / check(directions, "Load")["per_unit"]
    )
    step = directions.step("PC 1")
    at = directions.position
    assert at("PC 1", people.w[0] + 2 * step) - at("PC 1", people.w[0]) == pytest.approx(2)
    assert "PC 2" in seen
    assert "PC 2" not in seen_in_people(directions, blind).seen  # an encoder that does not find it


def test_what_fails_in_volumes_is_left_out(generator, people):
    directions = found(generator, people, "size", "load")
    edited = [{"right_way": 0.5}, {"right_way": 1.0}]
    checks = tuple(
        {**told, "edited": part} for told, part in zip(directions.checks, edited, strict=True)
    )
    kept = without_failures(dataclasses.replace(directions, checks=checks))
    assert (kept.names, list(kept.descriptions)) == (("Load",), ["Load"])
    assert [told.get("left_out", False) for told in kept.checks] == [True, False]
    np.testing.assert_array_equal(kept.step("Load"), directions.step("Load"))


def test_noise_is_seen_to_be_noise_and_kinds_have_an_auc(generator, people):
    directions = found(generator, people, "noise", "kind")
    noise, kind = check(directions, "Noise"), check(directions, "Kind")
    assert abs(noise["r"]) < 2 * noise["chance"]
    assert noise["r2"] < 0.1
    assert kind["auc"] > 0.95
    assert "mae" not in kind
    assert json.loads(json.dumps(directions.checks)) == list(directions.checks)


def test_latents_may_have_rows_and_people_gaps(generator, people):
    values = people.attributes["size"].copy()
    values[::7] = np.nan
    rows = torch.from_numpy(people.w)[:, None].expand(-1, generator.num_layers, -1)
    directions = attribute_directions(generator, rows, {"size": values}, people.held_out)
    told = check(directions, "Size")
    assert told["n_fit"] + told["n_check"] == np.isfinite(values).sum()


def test_too_few_or_equal_people_are_refused(generator, people):
    few = np.full(N, np.nan)
    few[:10] = range(10)
    for values in (few, np.ones(N)):
        with pytest.raises(RecipeError, match="needs at least 20 subjects"):
            attribute_directions(generator, people.w, {"age": values}, people.held_out)


def test_columns_become_numbers():
    np.testing.assert_array_equal(as_numbers("sex", ["M", "F", None]), [1, 0, np.nan])
    np.testing.assert_array_equal(as_numbers("group", ["b", "a"]), [1, 0])
    np.testing.assert_array_equal(as_numbers("age", [3, None]), [3, np.nan])
    with pytest.raises(RecipeError, match="column site contains words"):
        as_numbers("site", ["a", "b", "c"])
    assert [key_of(" head size"), key_of("Ventricle volume"), key_of("mmse")] == [
        "brain_ml",
        "ventricle_ml",
        "mmse",
    ]


def test_components_are_described_by_what_they_change(generator):
    components = pca_directions(generator, components=3, samples=500)
    w = random_w(generator, 200, seed=9)
    noise = np.random.RandomState(1).randn(200)
    size = w @ components.vectors[0]
    measures = {"brain_ml": size, "length": -(w @ components.vectors[1]) + 0 * noise}
    people = People(w, np.zeros(200, bool), {"age": size + size.std() * noise, "sex": noise * 0})
    described = describe_components(components, MeasuredBrains(w, measures), people)
    assert described.descriptions["PC 1"].startswith("larger head (r = 1.00), older (r = 0.7")
    assert described.descriptions["PC 2"].startswith("shorter head (r = 1.00)")
    assert described.descriptions["PC 3"] == "nothing that is measured (all r below 0.3)"
    assert described.summary("PC 1") == "larger head, older"
    np.testing.assert_array_equal(described.vectors, components.vectors)
    # Of a few people as much is met by chance.
    few = People(w[:18], np.zeros(18, bool), {key: v[:18] for key, v in people.attributes.items()})
    described = describe_components(components, MeasuredBrains(w, measures), few)
    assert described.descriptions["PC 1"] == "larger head (r = 1.00)"
    nothing = MeasuredBrains(w, {"brain_ml": noise})
    described = describe_components(components, nothing, few)
    assert described.descriptions["PC 1"].startswith("nothing that is measured (r = 0.")


def test_edits_are_measured_in_volumes(generator, people, monkeypatch):
    mean = random_w(generator, 200, 0).mean(0)
    directions = found(generator, people, "ventricle_ml", "size")

    def measured(_, w):
        load = np.exp((w - mean) @ directions.vectors[0] / directions.std[0])
        from stylegan3d.measures.attributes import MEASURES

        return {m.key: load if m.key == "ventricle_ml" else np.ones(len(w)) for m in MEASURES}

    monkeypatch.setattr("stylegan3d.directions.attributes._measured", measured)
    edited = check_edits(generator, directions)
    assert edited.descriptions == directions.descriptions  # a factor, and what is not measured
    as_size = dataclasses.replace(directions, checks=(directions.checks[0] | {"scale": "linear"},))
    edited = check_edits(generator, as_size)
    told = check(edited, "Ventricle volume")["edited"]
    shown = (told["change"]["ventricle_ml"] - told["change_back"]["ventricle_ml"]) / 4
    assert edited.descriptions["Ventricle volume"].startswith(f"+{shown:.3g} ml per sd")
    assert told["right_way"] == 1
    assert told["change"]["ventricle_ml"] > 0 > told["change_back"]["ventricle_ml"]
    assert told["change"]["brain_ml"] == 0


@pytest.mark.usefixtures("few_measured")
def test_a_pack_without_encoder_or_attributes_leaves_components(generator, pack):
    directions = build_directions(generator, None)
    assert directions.names[0] == "PC 1"
    assert directions.attributes == ()
    assert build_directions(generator, pack).attributes == ()  # the generator has no encoder
    with pytest.raises(ModelError, match="has no encoder"):
        build_directions(generator, pack, attributes=["age"])


@pytest.mark.usefixtures("few_measured")
def test_a_pack_gives_attributes_and_files_keep_what_is_told(pack, tmp_path):
    G = encoding_generator()
    directions = build_directions(G, pack)
    assert directions.attributes[0] == "Age"
    assert directions.names[len(directions.attributes)] == "PC 1"
    file = tmp_path / "all.safetensors"
    save_directions(file, directions)
    again = load_directions(file, G)
    assert again.descriptions == directions.descriptions
    assert again.checks == directions.checks
    assert set(again.readings) == set(directions.attributes)
    with pytest.raises(RecipeError, match="names repeat"):
        join(again, again)
    with pytest.raises(RecipeError, match="no column mmse"):
        encode_people(G, pack, ["mmse"])
