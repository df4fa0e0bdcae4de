"""Recipes that are handed on as command, JSON or link, and the model they name."""

import json
from pathlib import Path

import pytest

from stylegan3d.base import RecipeError
from stylegan3d.outputs.results import sidecar
from stylegan3d.recipe.description import LINK, from_link, from_text, read_recipe, to_link
from stylegan3d.recipe.recipe import Edit, MadeWith, Mix, Recipe, Source, Truncation

FULL = Recipe(
    Source("seed", 42),
    Truncation(0.1 + 0.2, 2),
    Mix(Source("latent", path="/data/it's a brain & more/ü.safetensors"), (0.0, 1 / 3)),
    (Edit("PC 1", -2.5), Edit("Ventricle volume", 1 / 3, (1, 3))),
    noise=7,
)
OTHER = MadeWith("f" * 64, "another model")


def test_a_link_gives_back_the_recipe():
    link = to_link(FULL)
    assert link.startswith("stylegan3d:recipe?")
    assert not set(" \"'<>{}\n") & set(link)
    assert from_link(link) == FULL
    assert read_recipe(link) == FULL


def test_a_link_broken_by_a_mail_program_is_read():
    link = to_link(FULL)
    assert from_link(f"{link[:70]}\r\n{link[70:]}") == FULL


def test_whatever_was_copied_is_understood(tiny_generator):
    command = FULL.command("my model", "LIA:2")
    told = sidecar(Recipe(Source("seed", 5)), tiny_generator, folder=Path())
    assert from_text(command) == FULL
    assert from_text(f"  $ {command}\n") == FULL
    assert from_text(FULL.to_json()) == FULL
    assert from_text(json.dumps(FULL.to_dict(), indent=2)) == FULL
    assert from_text(to_link(FULL)) == FULL
    assert from_text(json.dumps({**told, "SyntheticImage": True})) == Recipe(Source("seed", 5))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        "[1]",
        "{}",
        '{"source": {"seed": 1}, "colour": 1}',
        '{"source": {"seed": 1}, "model": "x"}',
        '{"source": {"seed": 1}, "model": {}}',
        '{"source": {"seed": 1}, "model": {"sha256": 4}}',
        '{"Recipe": 3}',
        '{"Recipe": {"source": {"seed": 1}}, "Model": {"SHA256": 5}}',
        "stylegan3d generate --recipe",
        'stylegan3d generate --recipe \'{"source"',
        "stylegan3d generate --recipe file.json",
        LINK,
        LINK + "%7B",
        LINK + "%FF%00",
        "[" * 100_000,
        '{"a":' * 100_000,
        "x" * 5_000_000,
    ],
)
def test_what_is_no_recipe_is_refused_in_one_sentence(text):
    with pytest.raises(RecipeError) as caught:
        from_text(text)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_recipe_that_names_its_model_is_refused_by_another(tiny_generator):
    signed = Recipe(Source("seed", 1)).signed(tiny_generator)
    assert signed.model == MadeWith(tiny_generator.hash, tiny_generator.name)
    for text in (signed.to_json(), to_link(signed), signed.command()):
        read = from_text(text)
        assert read.model == signed.model
        read.check(tiny_generator)
    foreign = signed.replace(model=OTHER)
    for read in (foreign, from_text(foreign.to_json())):
        with pytest.raises(RecipeError, match=r"made with the model another model \(ffffffff\)"):
            read.latent(tiny_generator)


def test_a_sidecars_model_is_the_recipes(tiny_generator, tmp_path):
    told = sidecar(Recipe(Source("seed", 5)), tiny_generator, folder=tmp_path)
    file = tmp_path / "volume.json"
    file.write_text(json.dumps({**told, "SyntheticImage": True}))
    assert read_recipe(file).model == MadeWith(tiny_generator.hash, tiny_generator.name)


def test_recipes_are_equal_whether_they_name_their_model_or_not(tiny_generator):
    recipe = Recipe(Source("seed", 1))
    assert recipe.signed(tiny_generator) == recipe
    assert hash(recipe.signed(tiny_generator)) == hash(recipe)
    assert "model" not in recipe.to_dict()


def test_recipes_of_earlier_versions_still_read():
    assert Recipe.from_json('{"version": 2, "source": {"kind": "seed", "seed": 3}}').model is None
