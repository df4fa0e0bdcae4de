"""The area under the curve beside an independent one, closed forms and its own coverage."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stylegan3d.metrics.two_sample import areas, stratified_auc


def test_one_stratum_is_the_usual_area() -> None:
    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(0.5, 1, 40), 1), np.round(rng.normal(0, 1, 25), 1)  # with ties
    found = stratified_auc(a, b, ["x"] * 40, ["x"] * 25)
    assert found is not None
    truth = roc_auc_score([1] * 40 + [0] * 25, np.concatenate([a, b]))
    assert found["auc"] == pytest.approx(truth)
    assert (found["members"], found["others"]) == (40, 25)


def test_areas_of_several_scores_are_the_usual_ones() -> None:
    rng = np.random.default_rng(3)
    a, b = np.round(rng.normal(0.5, 1, (40, 3)), 1), np.round(rng.normal(0, 1, (25, 3)), 1)
    labels = [1] * 40 + [0] * 25
    truth = [roc_auc_score(labels, np.concatenate([x, y])) for x, y in zip(a.T, b.T, strict=True)]
    assert areas(a, b) == pytest.approx(truth)
    assert areas(a[:, 0], b[:, 0]) == pytest.approx(truth[0])


def test_what_tells_scanners_apart_tells_no_members() -> None:
    rng = np.random.default_rng(1)
    members = np.concatenate([rng.normal(0, 1, 60), rng.normal(9, 1, 5)])
    others = np.concatenate([rng.normal(0, 1, 5), rng.normal(9, 1, 60)])
    strata = ["a"] * 60 + ["b"] * 5, ["a"] * 5 + ["b"] * 60
    plain = stratified_auc(members, others, ["x"] * 65, ["x"] * 65)
    within = stratified_auc(members, others, *strata)
    assert plain is not None
    assert within is not None
    assert plain["auc"] < 0.2
    assert 0.25 < within["auc"] < 0.75
    assert not within["tells_apart"]


def test_the_interval_covers_the_truth() -> None:
    """Of normal scores one deviation apart the area is 0.760."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        a, b = rng.normal(1, 1, 60), rng.normal(0, 1, 25)
        found = stratified_auc(a, b, ["x"] * 60, ["x"] * 25)
        assert found is not None
        hits += found["interval"][0] <= 0.7602 <= found["interval"][1]
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize("sizes", [(2, 2), (3, 7), (6, 7, 11, 13, 17, 29)])
def test_perfect_scores_of_several_strata_are_not_certain(sizes: tuple[int, ...]) -> None:
    strata = [str(size) for size in sizes for _ in range(size)]
    scores = np.arange(float(len(strata)))
    found = stratified_auc(scores + 1000, scores, strata, strata)
    assert found is not None
    assert found["auc"] == 1
    assert found["interval"][0] < 0.999


def test_a_perfect_score_is_not_certain() -> None:
    found = stratified_auc(np.arange(10.0) + 20, np.arange(5.0), ["x"] * 10, ["x"] * 5)
    assert found is not None
    assert found["auc"] == 1
    assert 0.6 < found["interval"][0] < 0.99
    assert found["interval"][1] == 1
    turned = stratified_auc(np.arange(5.0), np.arange(10.0) + 20, ["x"] * 5, ["x"] * 10)
    assert turned is not None
    assert turned["interval"] == pytest.approx((0, 1 - found["interval"][0]))


def test_nothing_to_compare() -> None:
    assert stratified_auc(np.ones(3), np.ones(1), ["a"] * 3, ["a"]) is None
    assert stratified_auc(np.ones(3), np.ones(3), ["a"] * 3, ["b"] * 3) is None
