"""`model calibrate` writes what is usual of people into a model's card, and nothing else."""

import shutil

import pytest
from phantoms import write_people

from stylegan3d.model.generator import load


@pytest.fixture(scope="module")
def people(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("packs") / "people"
    write_people(path, load(model).space, count=32)
    return path


def test_the_card_gains_an_entry_and_the_weights_stay(run, model, people, tmp_path, complete_card):
    mine = tmp_path / "mine"
    shutil.copytree(model, mine)
    before = load(mine).hash
    incomplete = run("model", "calibrate", people, "--model", mine)
    assert incomplete.status == 2
    assert "complete card.json" in incomplete.err
    complete_card(mine)
    dry = run("model", "calibrate", people, "--model", mine, "--dry-run", "--json")
    assert dry.status == 0, dry.err
    assert "trust" not in load(mine).card
    wet = run("model", "calibrate", people, "--model", mine)
    assert wet.status == 0, wet.err
    generator = load(mine)
    assert generator.hash == before
    assert generator.card["trust"] == dry.json["trust"]
    assert generator.card["trust"]["people"] == 8
    assert "What it knows" in (mine / "README.md").read_text()
    assert "8 subjects" in wet.out
