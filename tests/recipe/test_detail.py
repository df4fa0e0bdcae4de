"""A scan's own detail as a part of recipes: values, words, links, key frames."""

import dataclasses
from pathlib import Path

import pytest

from stylegan3d.base import RecipeError
from stylegan3d.outputs.results import picture_name, sources, volume_name
from stylegan3d.recipe.description import (
    describe_change,
    describe_recipe,
    from_link,
    marked,
    to_link,
    what_it_is,
)
from stylegan3d.recipe.keyframes import detail_between
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source
from stylegan3d.storage.formats import last_part

SCAN = Source("projected", path="/p/sub-01_desc-projected_latent.safetensors", sha256="a1")
OTHER = Source("projected", path="/p/sub-02_desc-projected_latent.safetensors", sha256="b2")
EDITED = Recipe(SCAN, edits=(Edit("Age", 2.0),), detail=Detail(SCAN))


def test_recipes_without_detail_keep_their_bytes():
    assert '"detail"' not in Recipe(SCAN).to_json()
    assert Recipe.from_json(Recipe(SCAN).to_json()) == Recipe(SCAN)


def test_detail_goes_through_json_links_and_paths():
    recipe = EDITED.replace(detail=Detail(OTHER, 0.25))
    assert from_link(to_link(recipe)) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    moved = recipe.with_paths(
        lambda part: part if isinstance(part, Edit) else dataclasses.replace(part, path="x")
    )
    assert (moved.source.path, moved.detail.source.path) == ("x", "x")
    assert sources(recipe, Path("elsewhere")) == [last_part(str(s.path)) for s in (SCAN, OTHER)]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Detail(Source("seed", 1)), "Detail comes from a scan"),
        (lambda: Detail(SCAN, 1.5), "between 0 and 1"),
        (lambda: Detail(SCAN, float("nan")), "finite number"),
        (lambda: Recipe(SCAN, detail="all"), "JSON an object"),
        (lambda: Recipe.from_dict({"source": {"seed": 1}, "detail": {"strength": 1}}), "lacks"),
        (lambda: Recipe.from_dict({"source": {"seed": 1}, "detail": 3}), "JSON an object"),
    ],
)
def test_what_cannot_be_a_detail_is_refused(make, sentence):
    with pytest.raises(RecipeError, match=sentence):
        make()


def test_the_same_scan_is_known_wherever_its_latent_lies():
    elsewhere = dataclasses.replace(SCAN, path="/q/sub-01.safetensors")
    assert EDITED.replace(detail=Detail(elsewhere)).is_edited_scan
    assert not EDITED.replace(detail=Detail(OTHER)).is_edited_scan
    assert not EDITED.replace(detail=Detail(SCAN, 0.0)).is_edited_scan
    assert Source("seed", 1).is_same(Source("seed", 1))
    assert not Source("seed", 1).is_same(SCAN)


def test_words():
    assert describe_recipe(EDITED) == "Scan sub-01, Age +2 sd"
    half = EDITED.replace(detail=Detail(SCAN, 0.5))
    assert describe_recipe(half) == "Projected sub-01, Age +2 sd, detail of sub-01 50 %"
    worn = Recipe(Source("seed", 4), detail=Detail(SCAN))
    assert describe_recipe(worn) == "Seed 4, detail of sub-01"
    assert describe_change(EDITED, half) == "Detail of sub-01 50 %"
    assert describe_change(EDITED, EDITED.replace(detail=None)) == "No detail"
    assert what_it_is(EDITED) == "Edited scan, not an acquired image"
    assert what_it_is(EDITED, Recipe(SCAN)) == "Edited scan, not an acquired image"
    for other in (worn, Recipe(OTHER, detail=Detail(OTHER)), Recipe(OTHER)):
        told = what_it_is(EDITED, other)
        assert told.startswith("Synthetic brain with the detail"), "so are those on the way"
    assert marked("A film.", Recipe(SCAN)) == "A film."


def test_names_of_files():
    assert volume_name(EDITED, native=True) == "sub-01_desc-editedScan_T1w.nii.gz"
    flair = volume_name(EDITED, native=True, scan="sub-01_FLAIR.nii.gz")
    assert flair == "sub-01_desc-editedScan_FLAIR.nii.gz"
    flair = volume_name(EDITED, scan="sub-01_FLAIR.nii.gz")
    assert flair == "sub-01_space-model_desc-editedScan_FLAIR.nii.gz"
    flair = picture_name(EDITED, "axial", scan="sub-01_FLAIR.nii.gz")
    assert flair == "sub-01_space-model_desc-editedScan_FLAIR_axial.png"
    model = volume_name(Recipe(SCAN), scan="sub-01_FLAIR.nii.gz")
    assert model == "sub-01_space-model_desc-projected_T1w.nii.gz", "what the model makes of it"
    mixed = Recipe(SCAN, mix=Mix(OTHER, (0.5,)), detail=Detail(SCAN))
    assert volume_name(mixed) == "sub-01_space-model_desc-mixedWithSub02Scan_T1w.nii.gz"
    worn = Recipe(Source("seed", 4), detail=Detail(SCAN))
    assert volume_name(worn) == "seed-0004_desc-syntheticDetailOfSub01_T1w.nii.gz"


def test_detail_between_key_frames():
    whole, half = Detail(SCAN), Detail(SCAN, 0.5)
    assert detail_between(whole, half, 0.5) == Detail(SCAN, 0.75)
    assert detail_between(whole, None, 0.75) == Detail(SCAN, 0.25)
    assert detail_between(None, whole, 0.0) is None
    assert detail_between(None, None, 0.5) is None
    # Of two people never both: one is gone where the other sets in.
    assert detail_between(whole, Detail(OTHER), 0.25) == half
    assert detail_between(whole, Detail(OTHER), 0.5) is None
    assert detail_between(whole, Detail(OTHER), 0.75) == Detail(OTHER, 0.5)
