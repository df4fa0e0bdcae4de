"""The history of recipes, and its words."""

import pytest

from stylegan3d.recipe.description import NO_CHANGE, describe_change, describe_recipe
from stylegan3d.recipe.history import History, are_parents
from stylegan3d.recipe.recipe import Edit, Label, Mix, Recipe, Source, Truncation


def seed(number):
    return Recipe(Source("seed", number))


def test_a_change_after_going_back_begins_a_branch_and_loses_nothing():
    history = History([seed(0)])
    for number in (1, 2, 3):
        assert history.commit(seed(number))
    assert history.go_to(1)
    assert history.current == seed(1)
    assert history.position == 1
    assert history.go_to(3)
    assert history.current == seed(3)
    history.go_to(1)
    history.commit(seed(9))
    assert list(history.states) == [seed(0), seed(1), seed(2), seed(3), seed(9)]
    assert history.position == 4
    assert list(history.parents) == [None, 0, 1, 2, 1]
    assert [index for index in range(5) if history.is_fork(index)] == [4]
    assert history.way == [4, 1, 0], "undo goes to what it was made from"
    history.go_to(1)
    assert history.ahead == [4], "redo goes where one was last"
    history.go_to(2)
    history.go_to(0)
    assert history.ahead == [1, 2, 3]


def test_a_gesture_does_not_replace_what_others_were_made_from():
    history = History([seed(0), seed(1), seed(2)], 1)
    history.commit(seed(3), merge=True)
    history.commit(seed(4), merge=True)
    assert list(history.states) == [seed(0), seed(1), seed(2), seed(4)]


@pytest.mark.parametrize("parents", [[None, 1], [0, 0], [None], [None, True], [None, "0"]])
def test_states_are_made_from_earlier_ones(parents):
    assert not are_parents(parents, 2)
    with pytest.raises(ValueError, match="made from"):
        History([seed(0), seed(1)], parents=parents)


def test_one_gesture_is_one_state_but_never_the_first():
    history = History([seed(0)])
    history.commit(seed(1), merge=True)
    history.commit(seed(2), merge=True)
    assert list(history.states) == [seed(0), seed(2)]


def test_the_same_again_is_no_state():
    history = History([seed(0)])
    assert not history.commit(seed(0))
    assert not history.go_to(0)
    assert not history.go_to(5)
    assert not history.go_to(-1)
    assert len(history.states) == 1


def test_there_is_no_end_to_it():
    history = History([seed(0)])
    for number in range(5000):
        history.commit(seed(number + 1))
    assert len(history.states) == 5001
    for number in range(5000, 0, -1):
        assert history.current == seed(number)
        history.go_to(history.position - 1)
    assert history.position == 0


def test_a_position_outside_is_brought_inside():
    assert History([seed(0), seed(1)], 7).current == seed(1)
    assert History([seed(0), seed(1)], -7).current == seed(0)


START = Recipe(Source("seed", 3), Truncation(0.7), Mix(Source("seed", 7), (0.0, 0.0, 0.0)))


def test_a_model_of_one_row_mixes_whole_brains():
    before = Recipe(mix=Mix(Source("seed", 7), (0.0,)))
    after = before.replace(mix=Mix(Source("seed", 7), (0.5,)))
    assert describe_change(before, after) == "Mix: 50 % of B"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, NO_CHANGE),
        ({"source": Source("seed", 12)}, "Seed 12"),
        (
            {"source": Source("projected", path="/data/sub-04_desc-projected_latent.safetensors")},
            "Projected sub-04",
        ),
        ({"source": Source("latent", path="mine.safetensors")}, "Latent mine"),
        ({"truncation": Truncation(0.85)}, "Truncation 0.85"),
        ({"truncation": Truncation(0.7, 4)}, "Truncation of the first 4 layers"),
        ({"mix": None}, "Removed: mix"),
        ({"mix": Mix(Source("seed", 8), (0.0, 0.0, 0.0))}, "Mixed with seed 8"),
        ({"mix": Mix(Source("seed", 7), (0.0, 0.5, 0.5))}, "Mix: middle of B 50 %"),
        ({"mix": Mix(Source("seed", 7), (0.0, 0.5, 0.9))}, "Mix: middle of B changed"),
        ({"mix": Mix(Source("seed", 7), (1.0, 0.0, 0.0))}, "Mix: layer 0 of B 100 %"),
        ({"edits": (Edit("Ventricle volume", 1.5),)}, "Ventricle volume +1.5 sd"),
        ({"edits": (Edit("/a/my.safetensors#Age", -2),)}, "Age -2 sd"),
        ({"noise": 5}, "Texture 5"),
        ({"noise": "none"}, "No texture"),
        ({"channel": 1}, "Channel 1"),
        ({"label": Label.of({"age": 70, "sex": "F"})}, "age 70, sex F"),
        (
            {"source": Source("seed", 12), "truncation": Truncation(1.0)},
            "Seed 12, Truncation 1",
        ),
        (
            {
                "source": Source("seed", 1),
                "truncation": Truncation(1.0, 2),
                "mix": None,  # goes without saying
                "noise": 5,
            },
            "Seed 1, Truncation 1, 2 more changes",
        ),
    ],
)
def test_a_change_in_words(changes, says):
    assert describe_change(START, START.replace(**changes), {(1, 2): "Middle"}) == says


def test_a_second_brain_that_is_chosen_but_not_mixed_in_is_named():
    mix = Mix(Source("seed", 8), (0.0, 0.0, 0.0))
    alone = START.replace(mix=None)
    assert describe_change(alone, alone.replace(mix=mix)) == "B is seed 8"


def test_changes_of_edits_in_words():
    one, other = Edit("PC 1", 1.0), Edit("PC 2", -0.5, (0, 4))
    before = START.replace(edits=(one, other))
    assert describe_change(before, START.replace(edits=(other,))) == "Removed: PC 1"
    moved = START.replace(edits=(one, Edit("PC 2", -0.5)))
    assert describe_change(before, moved) == "PC 2 in all layers"


def test_a_recipe_in_words():
    assert describe_recipe(START) == "Seed 3"
    full = START.replace(
        mix=Mix(Source("seed", 7), (0.0, 0.5, 1.0)), edits=(Edit("PC 1", 1.5), Edit("PC 2", 0.0))
    )
    assert describe_recipe(full) == "Seed 3, mixed with seed 7, PC 1 +1.5 sd"
    assert describe_change(None, full) == describe_recipe(full)
