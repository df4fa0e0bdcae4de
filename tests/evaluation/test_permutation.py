"""Linear models of many values, judged by permutation."""

import numpy as np
import pytest
from tolerances import DOUBLE

from stylegan3d.base import StyleGAN3DError
from stylegan3d.evaluation.groups import false_discovery_rate, permuted


def covariates(random, n):
    return np.c_[np.ones(n), random.normal(size=(n, 2))]


def test_statistics_are_those_of_least_squares():
    """The slow reference: one regression with all columns."""
    random = np.random.default_rng(0)
    fixed = covariates(random, 40)
    interest = random.normal(size=(40, 1)) + fixed[:, 1:2]
    y = random.normal(size=(40, 7)) + interest * np.linspace(0, 1, 7) + 3 * fixed[:, 1:2]
    found = permuted(y, interest, fixed, permutations=100)
    columns = np.hstack([interest, fixed])
    b, rest, _, _ = np.linalg.lstsq(columns, y, rcond=None)
    error = np.sqrt(rest / (40 - 4) * np.linalg.inv(columns.T @ columns)[0, 0])
    np.testing.assert_allclose(found.effect, b[:1], atol=DOUBLE)
    np.testing.assert_allclose(found.statistic, b[0] / error, atol=DOUBLE)
    assert found.p[-1] == 0.01
    assert found.p_any[-1] == 0.01


def test_f_of_three_groups_is_that_of_the_analysis_of_variance():
    from scipy.stats import f_oneway

    random = np.random.default_rng(1)
    group = np.repeat([0, 1, 2], 8)
    y = random.normal(size=(24, 5)) + group[:, None] * np.linspace(0, 1, 5)
    interest = np.stack([group == 1, group == 2], axis=1).astype(float)
    found = permuted(y, interest, np.ones((24, 1)), permutations=100)
    expected = f_oneway(*(y[group == k] for k in range(3)), axis=0).statistic
    np.testing.assert_allclose(found.statistic, expected, rtol=DOUBLE)


def test_the_level_is_held_beside_a_confounder():
    """5 % of values of noise are found at p 0.05, though a covariate moves both sides."""
    single, any_of_them = [], []
    for k in range(100):
        random = np.random.default_rng(k)
        fixed = covariates(random, 24)
        interest = random.normal(size=(24, 1)) + fixed[:, 1:2]
        y = random.standard_t(3, size=(24, 20)) + 2 * fixed[:, 1:2]
        found = permuted(y, interest, fixed, permutations=100, seed=k)
        single.append((found.p <= 0.05).mean())
        any_of_them.append((found.p_any <= 0.05).any())
    assert 0.03 < np.mean(single) < 0.07
    assert np.mean(any_of_them) < 0.12  # 0.05 expected, 0.02 its standard error


def test_rows_of_a_block_stay_in_it():
    """Between subjects there is much, within subjects nothing: blocks find nothing."""
    random = np.random.default_rng(2)
    subject = np.repeat(np.arange(12), 2)
    y = np.repeat(random.normal(size=(12, 30)), 2, axis=0) * 5 + random.normal(size=(24, 30))
    visit = np.tile([0.0, 1.0], 12)[:, None]
    fixed = np.c_[np.ones(24), (subject[:, None] == np.arange(1, 12)).astype(float)]
    y[:, 0] += 4 * visit[:, 0]
    found = permuted(y, visit, fixed, blocks=subject, permutations=400)
    assert found.p_any[0] <= 0.02
    assert (found.p[1:] <= 0.05).mean() < 0.2


def test_what_follows_from_what_is_held_fixed_is_refused():
    fixed = np.c_[np.ones(20), np.arange(20.0)]
    with pytest.raises(StyleGAN3DError, match="remove covariates"):
        permuted(
            np.random.default_rng(0).normal(size=(20, 3)), fixed[:, 1:], fixed, permutations=100
        )
    with pytest.raises(StyleGAN3DError, match="too few"):
        permuted(np.ones((2, 3)), np.array([[0.0], [1.0]]), np.ones((2, 1)), permutations=100)


def test_constant_values_are_not_found():
    y = np.random.default_rng(0).normal(size=(20, 3))
    y[:, 1] = 7
    found = permuted(y, np.arange(20.0)[:, None], np.ones((20, 1)), permutations=50)
    assert found.p[1] == 1
    assert found.statistic[1] == 0


def test_false_discovery_rate_of_benjamini_and_hochberg():
    np.testing.assert_allclose(
        false_discovery_rate(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    )
