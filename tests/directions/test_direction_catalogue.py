"""The catalogue of directions and a person's notes on them."""

import pytest
from tiny import tiny_generator as make_generator
from tolerances import SUMS

from stylegan3d.base import RecipeError
from stylegan3d.directions.catalogue import (
    ATTRIBUTES,
    COMPONENTS,
    DirectionNotes,
    file_entries,
    free_name,
    own_entries,
    read_notes,
    write_notes,
)
from stylegan3d.directions.custom import renamed
from stylegan3d.model.random_latents import pca_directions
from stylegan3d.recipe.latents import save_directions
from stylegan3d.recipe.recipe import Recipe


@pytest.fixture(scope="module", name="file")
def directions_file(tiny_generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("directions") / "mine.safetensors"
    save_directions(path, renamed(pca_directions(tiny_generator, 3, 500), "PC 2", "Long heads"))
    return path


def test_the_models_own_stand_under_two_headings(tiny_generator):
    import dataclasses

    found = pca_directions(tiny_generator, 3, 500)
    told = dataclasses.replace(found, checks=({"name": "PC 1", "attribute": "age"},))
    entries = own_entries(told)
    assert [entry.section for entry in entries] == [ATTRIBUTES, COMPONENTS, COMPONENTS]
    assert (entries[0].attribute, entries[1].attribute) == ("age", "")
    assert entries[1].share == pytest.approx(float(found.explained_variance[1]))


def test_an_edit_along_a_files_direction_names_the_file_and_its_hash(tiny_generator, file):
    (entry,) = file_entries(file, tiny_generator)
    edit = entry.edit(1.5, (0, 2))
    assert (edit.file, edit.layers) == (str(file), (0, 2))
    assert entry.section == "mine"
    start, moved = Recipe().latent(tiny_generator), Recipe(edits=(edit,)).latent(tiny_generator)
    assert (moved - start)[0].numpy() == pytest.approx(1.5 * entry.step, abs=SUMS)
    with pytest.raises(RecipeError, match="belongs to the model"):
        file_entries(file, make_generator(seed=3))


def test_they_are_found_by_words_of_all_that_is_known(tiny_generator, file):
    (entry,) = file_entries(file, tiny_generator)
    assert entry.matches("")
    assert entry.matches("HEADS long")
    assert entry.matches("mine")
    assert not entry.matches("ventricle")
    assert entry.matches("favourite", label="My favourite")


def test_notes_are_kept_for_each_model(tmp_path):
    path = tmp_path / "new folder" / "directions.json"
    assert read_notes(path, "a") == DirectionNotes()
    notes = DirectionNotes().labelled("PC 1", " Head  size ").pin("PC 3").pin("PC 1")
    write_notes(path, "a", notes.with_file("/x.safetensors"))
    write_notes(path, "b", DirectionNotes().pin("PC 9"))
    read = read_notes(path, "a")
    assert read.labels == {"PC 1": "Head size"}
    assert (read.pinned, read.files) == (("PC 3", "PC 1"), ("/x.safetensors",))
    assert read.pin("PC 3", False).pinned == ("PC 1",)
    assert read.labelled("PC 1", "  ").labels == {}


def test_a_file_that_goes_takes_its_notes_along():
    inside, other = "/x.safetensors#a", "/y.safetensors#a"
    notes = DirectionNotes({inside: "A", other: "B"}, (inside, "PC 1"), ("/x.safetensors",))
    left = notes.without_file("/x.safetensors")
    assert (left.labels, left.pinned, left.files) == ({other: "B"}, ("PC 1",), ())


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 3}', '{"a": {"labels": 7}}'])
def test_damaged_notes_are_refused_and_not_lost(tmp_path, content):
    path = tmp_path / "directions.json"
    path.write_text(content)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_notes(path, "a")
    assert path.read_text() == content


def test_names_of_new_files_are_free(tmp_path):
    first = free_name(tmp_path, "Long heads / old")
    assert first.name == "long-heads---old.safetensors"
    first.touch()
    assert free_name(tmp_path, "Long heads / old").name == "long-heads---old-1.safetensors"
    assert free_name(tmp_path, "???").name == "direction.safetensors"
