"""Tables of values as people save them."""

import numpy as np
import pytest
from tolerances import FLOAT32

from stylegan3d.base import LatentError, RecipeError
from stylegan3d.directions.people import (
    latents_of,
    latents_of_recipes,
    read_value_table,
    subject_of,
)
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_read_however_they_are_separated(tmp_path, separator):
    rows = [["brain", "memory", "sex"], ["4", "1.5", "F"], ["7", "n/a", "M"], ["sub-01", "-2", ""]]
    path = tmp_path / "values.csv"
    path.write_bytes(("\ufeff" + "\r\n".join(separator.join(row) for row in rows)).encode())
    table = read_value_table(path)
    np.testing.assert_array_equal(table.values("memory"), [1.5, np.nan, -2])
    np.testing.assert_array_equal(table.values("sex"), [0, 1, np.nan])
    scan = Source("projected", path="sub-01.safetensors")
    assert table.sources({"sub-01": scan}) == [Source("seed", 4), Source("seed", 7), scan]


def test_decimal_commas_are_numbers(tmp_path):
    path = tmp_path / "values.csv"
    path.write_text("brain;score\n1;2,5\n")
    assert read_value_table(path).values("score") == [2.5]


def test_latent_files_lie_beside_the_table(tiny_generator, tmp_path):
    w = Recipe(Source("seed", 3)).latent(tiny_generator)
    save_latent(tmp_path / "mine.safetensors", Latent.of(tiny_generator, w))
    path = tmp_path / "values.tsv"
    path.write_text("brain\tscore\nmine.safetensors\t1\n3\t2\n")
    sources = read_value_table(path).sources()
    latents = latents_of(tiny_generator, sources, Truncation(0.7))
    np.testing.assert_allclose(latents[0], w, atol=FLOAT32)
    np.testing.assert_allclose(latents[1], w, atol=FLOAT32)
    edited = Recipe(Source("seed", 3), edits=(Edit("PC 1", 1.0),))
    assert np.abs(latents_of_recipes(tiny_generator, [edited])[0] - latents[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a table"),
        ("brain\n1\n", "not a table"),
        ("brain,score\n", "not a table"),
        ("brain,score,score\n1,2,3\n", "names of their own"),
        ("brain,score\n1,2\n3\n", "The row of 3 in"),
    ],
)
def test_what_is_no_table_is_refused_with_a_reason(tmp_path, text, says):
    path = tmp_path / "values.csv"
    path.write_text(text)
    with pytest.raises(RecipeError, match=says):
        read_value_table(path)


def test_wrong_columns_words_and_brains_are_refused(tmp_path):
    path = tmp_path / "values.csv"
    path.write_text("brain,score\n1,low\n2,high\n3,middling\nnobody,low\n")
    table = read_value_table(path)
    with pytest.raises(RecipeError, match="no column age: use one of score"):
        table.values("age")
    with pytest.raises(RecipeError, match="contains words"):
        table.values("score")
    with pytest.raises(RecipeError, match="'nobody' is not a brain"):
        table.sources()
    path.write_text("brain,score\nlost.safetensors,1\n")
    with pytest.raises(LatentError, match="does not exist"):
        read_value_table(path).sources()
    path.write_bytes("brain,ort\n1,Zürich\n".encode("latin-1"))
    assert read_value_table(path).columns["ort"] == ("Zürich",)


def test_the_subject_is_in_a_column_or_in_the_name(tmp_path):
    path = tmp_path / "values.csv"
    path.write_text("brain,participant_id,score\n1,sub-01,3\n2,sub-01,4\n3,,5\n")
    table = read_value_table(path)
    assert list(table.columns) == ["score"]
    assert table.subjects(table.sources()) == ["sub-01", "sub-01", "seed 3"]
    path.write_text("brain,participant_id\n1,sub-01\n")
    with pytest.raises(RecipeError, match="no column of values"):
        read_value_table(path)
    for name, subject in (
        ("sub-07_ses-2_desc-projected_latent.safetensors", "sub-07"),
        ("out/sub-07/ses-2/a_latent.safetensors", "sub-07"),
        ("case9_desc-projected_latent.safetensors", "case9"),
        ("OAS1_0001_MR1_desc-projected_latent.safetensors", "OAS1_0001_MR1"),
    ):
        assert subject_of(Source("projected", path=name)) == subject
