"""Directions of one's own against groups and values that are a known function of w."""

from dataclasses import replace

import numpy as np
import pytest
from tolerances import SUMS

from stylegan3d.base import RecipeError
from stylegan3d.directions.custom import (
    FEWEST_WITH_VALUES,
    direction_between,
    direction_of_values,
    orthogonalised,
    renamed,
)
from stylegan3d.model.random_latents import pca_directions, random_w
from stylegan3d.recipe.directions import join
from stylegan3d.recipe.latents import load_directions, save_directions


@pytest.fixture(scope="module")
def w(tiny_generator):
    return random_w(tiny_generator, 120, seed=5)


@pytest.fixture(scope="module")
def scores(w):
    """(n,) along the first component of these brains, in standard deviations."""
    line = np.linalg.svd(w - w.mean(0), full_matrices=False)[2][0]
    score = (w - w.mean(0)) @ line
    return score / score.std()


def test_between_groups_lies_the_difference_of_their_means(tiny_generator, w, scores):
    less, more = w[scores < -0.8], w[scores > 0.8]
    found = direction_between(tiny_generator, less, more, "  Long   heads ")
    assert found.names == ("Long heads",)
    difference = more.mean(0) - less.mean(0)
    assert found.vectors[0] @ difference / np.linalg.norm(difference) == pytest.approx(1)
    spread = (random_w(tiny_generator, 3000, seed=9) @ found.vectors[0]).std()
    assert found.std[0] == pytest.approx(spread, rel=0.05)  # two random samples of brains
    told = found.checks[0]
    assert told["auc"] > 0.95 > told["chance"]
    assert (told["n_fit"], told["n_check"]) == (len(less) + len(more), len(less) * len(more))


def test_the_fast_leave_pair_out_is_the_slow_one(tiny_generator, w, scores):
    less, more = w[:6], w[6:13] + 0.3 * w.std(0)
    told = direction_between(tiny_generator, less, more, "x").checks[0]
    precision = np.linalg.pinv(np.cov(random_w(tiny_generator, 5000, seed=0), rowvar=False))
    right = []
    for i, a in enumerate(less):
        for j, b in enumerate(more):
            others = np.delete(more, j, 0).mean(0) - np.delete(less, i, 0).mean(0)
            right.append((b - a) @ precision @ others > 0)
    assert told["auc"] == pytest.approx(np.mean(right), abs=1e-3)  # told with three decimals


def test_groups_drawn_at_random_are_not_told_apart(tiny_generator, w):
    told = direction_between(tiny_generator, w[:20], w[20:40], "nothing").checks[0]
    assert told["auc"] <= told["chance"] + 0.05


@pytest.mark.parametrize(
    ("less", "more", "says"),
    [(2, 9, "2 brains"), (1, 9, "1 brain:"), (5, 0, "0 brains")],
)
def test_too_few_are_refused(tiny_generator, w, less, more, says):
    with pytest.raises(RecipeError, match=says):
        direction_between(tiny_generator, w[:less], w[10 : 10 + more], "x")


def test_the_same_group_twice_is_refused(tiny_generator, w):
    with pytest.raises(RecipeError, match="same brains"):
        direction_between(tiny_generator, w[:5], w[:5], "x")


def test_values_give_the_direction_along_which_they_grow(tiny_generator, w, scores):
    noise = np.random.RandomState(0).randn(len(w))
    values = 50 + 8 * scores + 2 * noise
    values[3] = np.nan
    found = direction_of_values(tiny_generator, w, values, "Memory", "points")
    told = found.checks[0]
    assert (told["n_fit"], told["n_check"], told["folds"]) == (119, 119, 10)
    assert 0.9 < told["r"] < 0.995
    assert told["per_unit"] == pytest.approx(8, rel=0.25)  # values have noise
    line = (w * ((scores - scores.mean())[:, None])).mean(0)
    assert found.vectors[0] @ line / np.linalg.norm(line) > 0.98
    assert "in 10-fold cross-validation, n = 119" in found.descriptions["Memory"]
    assert "points per sd" in found.summary("Memory")


def test_values_that_are_noise_do_not_predict(tiny_generator, w):
    noise = np.random.RandomState(1).randn(len(w))
    try:
        told = direction_of_values(tiny_generator, w, noise, "Noise").checks[0]
    except RecipeError:
        return
    assert told["r"] < max(told["chance"], 0.2)


def test_chance_is_that_of_subjects_not_of_their_scans(tiny_generator, w):
    """Thirty subjects with four scans each are met by as much as thirty."""
    four = np.repeat(w[:30], 4, axis=0) + 1e-3 * np.random.RandomState(0).randn(120, w.shape[1])
    values, named = np.repeat(w[:30, 0], 4), [str(k) for k in np.repeat(np.arange(30), 4)]
    told = direction_of_values(tiny_generator, four, values, "x", subjects=named).checks[0]
    assert (told["n_fit"], told["n_check"]) == (120, 30)
    assert 0.3 < told["chance"] < 0.42


def test_values_of_too_few_or_all_alike_are_refused(tiny_generator, w):
    with pytest.raises(RecipeError, match=f"at least {FEWEST_WITH_VALUES}"):
        direction_of_values(tiny_generator, w[:10], np.arange(10.0), "x")
    with pytest.raises(RecipeError, match="all the same"):
        direction_of_values(tiny_generator, w, np.ones(len(w)), "x")


def test_what_is_orthogonalised_does_not_move_along_the_others(tiny_generator, w, scores):
    components = pca_directions(tiny_generator, components=4, samples=1500)
    mine = direction_between(tiny_generator, w[scores < 0], w[scores > 0], "Mine")
    against = [components.step("PC 2"), 5 * components.step("PC 3")]
    free = orthogonalised(tiny_generator, mine, "Mine", against, "PC 2 and PC 3")
    assert free.names == ("Mine without PC 2 and PC 3",)
    assert "not validated" in free.descriptions[free.names[0]]
    np.testing.assert_allclose(components.vectors[1:3] @ free.vectors[0], 0, atol=SUMS)
    assert free.vectors[0] @ mine.vectors[0] > 0.5
    with pytest.raises(RecipeError, match="0 % of it would remain"):
        orthogonalised(tiny_generator, components, "PC 2", against, "PC 2 and PC 3")


def test_they_are_saved_and_read_with_their_check(tiny_generator, w, scores, tmp_path):
    mine = direction_between(tiny_generator, w[scores < 0], w[scores > 0], "Mine")
    other = renamed(
        replace(pca_directions(tiny_generator, 2, 500), seen={"PC 2": (-2, 3)}), "PC 2", " Second"
    )
    path = tmp_path / "mine.safetensors"
    save_directions(path, join(mine, other))
    read = load_directions(path, tiny_generator)
    assert read.names == ("Mine", "Second")
    assert read.attributes == ("Mine",)
    assert read.seen == {"Second": (-2, 3)}
    np.testing.assert_array_equal(read.step("Second"), other.step("Second"))


@pytest.mark.parametrize("name", ["", "  ", "a#b", "a=b", "x" * 200])
def test_names_that_a_recipe_could_not_hold_are_refused(tiny_generator, w, name):
    with pytest.raises(RecipeError, match="needs a name"):
        direction_between(tiny_generator, w[:5], w[5:10], name)


def test_rescans_do_not_vouch_for_each_other(tiny_generator, w):
    """With everybody scanned twice, noise would be predicted from the other scan."""
    draw = np.random.RandomState(2)
    noise = draw.randn(60)
    # Two scans each: hardly different.
    both = np.concatenate([w[:60], w[:60] + 1e-3 * w.std() * draw.randn(60, w.shape[1])])
    values, subjects = np.tile(noise, 2), [f"sub-{i:02}" for i in range(60)] * 2
    by_row = direction_of_values(tiny_generator, both, values, "Noise").checks[0]
    told = direction_of_values(tiny_generator, both, values, "Noise", subjects=subjects).checks[0]
    alone = direction_of_values(tiny_generator, w[:60], noise, "Noise").checks[0]
    assert told["r"] < by_row["r"]
    assert told["r"] < max(alone["chance"], 0.3)


def test_equal_latents_are_one_subjects(tiny_generator, w, scores):
    twice = np.concatenate([w[:30], w[:30]])
    told = direction_of_values(tiny_generator, twice, np.tile(scores[:30], 2), "x").checks[0]
    named = direction_of_values(
        tiny_generator, twice, np.tile(scores[:30], 2), "x", subjects=[*map(str, range(30))] * 2
    ).checks[0]
    assert told == named


def test_few_subjects_are_refused_however_many_scans(tiny_generator, w):
    subjects = [str(i % 10) for i in range(40)]
    with pytest.raises(RecipeError, match="those of 10 subjects"):
        direction_of_values(tiny_generator, w[:40], w[:40, 0], "x", subjects=subjects)
    with pytest.raises(RecipeError, match="of 1 subject only"):
        direction_between(tiny_generator, w[:4], w[4:9], "x", (["a"] * 4, list("bcdef")))


def test_groups_of_rescans_are_judged_by_subjects(tiny_generator, w):
    draw = np.random.RandomState(3)
    scans = np.repeat(w[:8], 8, axis=0) + 1e-3 * w.std() * draw.randn(64, w.shape[1])
    subjects = [f"sub-{i // 8}" for i in range(64)]
    less, more = scans[:32], scans[32:]
    loose = direction_between(tiny_generator, less, more, "x").checks[0]
    whose = (subjects[:32], subjects[32:])
    strict = direction_between(tiny_generator, less, more, "x", whose).checks[0]
    single = direction_between(tiny_generator, w[:4], w[4:8], "x").checks[0]
    assert loose["auc"] > max(loose["chance"], strict["auc"] + 0.1)  # fooled
    assert strict["auc"] == pytest.approx(single["auc"], abs=0.03)
    assert strict["auc"] < strict["chance"]


def test_a_subject_may_be_in_both_groups(tiny_generator, w, scores):
    step = np.linalg.svd(w - w.mean(0), full_matrices=False)[2][0] * w.std() * 3
    subjects = [str(i) for i in range(15)]
    found = direction_between(tiny_generator, w[:15], w[:15] + step, "After", (subjects, subjects))
    told = found.checks[0]
    assert told["auc"] > told["chance"]
