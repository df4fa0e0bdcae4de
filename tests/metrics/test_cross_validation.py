"""Sets of one population are not told apart, others are; a person is on one side of a fold."""

import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.metrics.two_sample import classify_by_measures, cross_validated


def rows(seed: int, n: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, 6))


def test_a_shift_is_told_and_one_population_is_not() -> None:
    same = classify_by_measures(rows(2, 200), rows(3, 200))
    assert same.auc_interval[0] < 0.5 < same.auc_interval[1]
    other = classify_by_measures(rows(0, 60, 1.0), rows(1, 60))
    assert other.accuracy > 0.8
    assert other.accuracy_interval[0] < other.accuracy < other.accuracy_interval[1]
    assert (other.scores[:60] > 0).mean() > 0.8
    assert other.to_dict() == classify_by_measures(rows(0, 60, 1.0), rows(1, 60)).to_dict()


def test_sets_of_unequal_size_are_not_told_by_their_size() -> None:
    found = classify_by_measures(rows(0, 120), rows(1, 20))
    assert abs(found.accuracy - 0.5) < 0.15


def test_what_is_not_finite_counts_as_the_mean() -> None:
    first = rows(0, 30)
    first[0] = np.nan
    assert np.isfinite(classify_by_measures(first, rows(1, 30)).scores).all()


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_brains_that_cannot_be_measured_are_not_average_ones(share: float) -> None:
    first = rows(0, 60, 5.0)
    first[: int(share * len(first))] = np.nan
    found = classify_by_measures(first, rows(1, 60))
    assert found.accuracy > 0.98
    both = rows(1, 60)
    both[:30] = np.nan
    alike = rows(2, 60)
    alike[:30] = np.nan
    low, high = classify_by_measures(alike, both).accuracy_interval
    assert low < 0.5 < high


def test_a_measure_that_nobody_has_is_left_out() -> None:
    first, second = rows(0, 40, 1.0), rows(1, 40)
    expected = classify_by_measures(first, second).accuracy
    nothing = np.full((40, 1), np.nan)
    with_nothing = (np.hstack([x, nothing]) for x in (first, second))
    assert classify_by_measures(*with_nothing).accuracy == expected


def test_a_person_is_never_learned_from_and_tested_on() -> None:
    people = [k % 15 for k in range(30)]

    def classifier(known: np.ndarray, held: np.ndarray, number: int) -> np.ndarray:
        assert not {people[k] for k in known} & {people[k] for k in held}
        return np.zeros(len(held))

    assert cross_validated((15, 15), people, classifier).accuracy == 0.5


def test_the_interval_is_as_wide_as_for_as_many_people() -> None:
    """Copies of a brain are no further evidence."""
    people = [*range(12)] * 4 + [*range(12, 24)] * 4
    few = classify_by_measures(rows(0, 12), rows(1, 12))
    many = classify_by_measures(np.tile(rows(0, 12), (4, 1)), np.tile(rows(1, 12), (4, 1)), people)
    for name in ("auc_interval", "accuracy_interval"):
        widths = [np.ptp(getattr(found, name)) for found in (few, many)]
        assert widths[1] > 0.7 * widths[0], name


def test_too_few_are_refused() -> None:
    with pytest.raises(StyleGAN3DError, match="5 people of each kind"):
        classify_by_measures(rows(0, 12), rows(1, 12), [0] * 12 + [*range(1, 13)])
    with pytest.raises(StyleGAN3DError, match="at least 10"):
        classify_by_measures(rows(0, 9), rows(1, 30))
