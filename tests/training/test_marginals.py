"""Sizes of random brains, distributed as among subjects by curves in w."""

import numpy as np
import pytest
import torch
from scipy.stats import skew
from tolerances import FLOAT32, LAYERS

from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.synthesis import KNOTS, MappingNetwork, SizeCurves
from stylegan3d.training.flow_export import SIZE_QUANTILES, SLOPES, match_sizes, smooth_quantiles

DIMENSIONS = 12
# Of means and deviations of thousands of logarithms, fitted to hundreds.
SAMPLING = 0.03
# The kernel that hides single subjects makes a distribution a little more Gaussian, and the largest
# of two hundred values is a chance.
SMOOTHED = 0.3
# Skew of 20,000 Gaussian numbers.
NO_SKEW = 0.1


@pytest.fixture(scope="module")
def measured():
    """Latents with sizes that are exponentials of linear functions, correlated, of random brains.

    Those of subjects are spread wider, the first is skewed and the second has short tails.
    """
    rng = np.random.default_rng(0)
    root = rng.normal(0, 0.3, (DIMENSIONS, DIMENSIONS))
    lines = rng.normal(0, 0.4, (DIMENSIONS, 2))

    def drawn(count):
        return rng.standard_normal((count, DIMENSIONS)) @ root + 0.5

    def sizes(w):
        return np.exp(3 + w @ lines)

    logarithms = np.column_stack([rng.gamma(2, 0.4, 300), rng.uniform(-0.6, 0.9, 300)])
    people = np.exp(3 + logarithms)
    w, spread = drawn(300), drawn(20_000)
    return sizes, w, people, spread, match_sizes(w, sizes(w), people, spread)


def moved(curves, w):
    return curves(torch.from_numpy(w).float()).double().numpy()


def test_random_brains_get_the_sizes_of_subjects(measured):
    sizes, _, people, spread, curves = measured
    before, after = (np.log(sizes(w)) for w in (spread, moved(curves, spread)))
    theirs = np.log(people)
    np.testing.assert_allclose(after.mean(axis=0), theirs.mean(axis=0), atol=SAMPLING)
    np.testing.assert_allclose(after.std(axis=0), theirs.std(axis=0), atol=SAMPLING)
    assert np.abs(before.std(axis=0) - theirs.std(axis=0)).min() > SAMPLING
    assert skew(after[:, 0]) == pytest.approx(skew(theirs[:, 0]), rel=SMOOTHED)
    assert skew(before[:, 0]) == pytest.approx(0, abs=NO_SKEW)
    assert np.ptp(after[:, 1]) < np.ptp(before[:, 1]) * theirs[:, 1].std() / before[:, 1].std()


def test_a_curve_changes_one_size_and_the_rest_of_w_as_little_as_possible(measured):
    sizes, _, _, spread, curves = measured
    alone = SizeCurves(2, DIMENSIONS)
    alone.load_state_dict(curves.state_dict())
    alone.values[1] = alone.knots[1]
    shift = moved(alone, spread) - spread
    assert np.abs(shift).max() > 0.1
    first, second = (np.log(sizes(spread + shift)) - np.log(sizes(spread))).T
    assert np.abs(first).max() > 0.1
    np.testing.assert_allclose(second, 0, atol=LAYERS)
    # Of the shifts with this effect, none is more likely.
    inverse = np.linalg.inv(np.cov(spread.T))
    read = curves.read.double().numpy()
    other = np.linalg.pinv(read)[0]
    own = curves.write[0].double().numpy()
    assert own @ inverse @ own <= other @ inverse @ other


def test_curves_pass_through_their_knots_and_go_on_straight():
    curves = SizeCurves(1, 1)
    curves.read.fill_(1.0)
    curves.write.fill_(1.0)
    curves.values.copy_(curves.knots.abs() * curves.knots)
    knots, values = curves.knots[0], curves.values[0]
    torch.testing.assert_close(curves(knots[:, None])[:, 0], values, atol=FLOAT32, rtol=0)
    middle = curves((knots[2:3, None] + knots[3:4, None]) / 2)[0, 0]
    assert float(middle) == pytest.approx(float(values[2] + values[3]) / 2, abs=FLOAT32)
    slope = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    beyond = curves(torch.tensor([[4.0], [-4.0]]))[:, 0]
    expected = float(values[-1] + 3 * slope)
    assert beyond.tolist() == pytest.approx([expected, -expected], abs=FLOAT32)


def test_a_mapping_network_without_fitted_curves_is_the_same():
    config = GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, mapping_linear_output=True)
    torch.manual_seed(0)
    plain = MappingNetwork(config)
    curved = MappingNetwork(GeneratorConfig(**{**config.to_dict(), "size_curves": 2}))
    assert curved.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    z = torch.randn(5, 8)
    torch.testing.assert_close(curved(z), plain(z))


def test_sizes_that_are_unknown_are_left_alone(measured):
    sizes, w, people, spread, _ = measured
    some = sizes(w)
    some[:, 1] = np.nan
    one = match_sizes(w, some, people, spread)
    assert one.knots.shape == (1, KNOTS)
    assert match_sizes(w, some * np.nan, people, spread) is None
    assert match_sizes(w, sizes(w), people[:20], spread) is None


def test_a_curve_does_not_make_up_for_brains_that_are_all_alike(measured):
    sizes, w, people, spread, _ = measured
    one = np.exp(3 + 0.01 * np.log(sizes(w)))
    curves = match_sizes(w, one, people, spread)
    slopes = curves.values.diff(dim=1) / curves.knots.diff(dim=1)
    assert float(slopes.max()) <= SLOPES[1] * (1 + LAYERS)


def test_quantiles_are_smooth_and_keep_mean_and_deviation():
    values = np.log(np.random.default_rng(0).gamma(6, 1, 200))
    shares = np.linspace(0.0005, 0.9995, 1000)
    found = smooth_quantiles(values, shares)
    assert found.mean() == pytest.approx(values.mean(), rel=SAMPLING)
    assert found.std() == pytest.approx(values.std(), rel=SAMPLING)
    # Without the largest value, the largest quantile barely moves.
    last = smooth_quantiles(np.sort(values)[:-1], SIZE_QUANTILES)[-1]
    assert last == pytest.approx(smooth_quantiles(values, SIZE_QUANTILES)[-1], rel=SMOOTHED)
