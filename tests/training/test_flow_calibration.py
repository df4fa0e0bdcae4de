"""Curves after a flow, fitted so that random brains are distributed like subjects."""

import numpy as np
import pytest
import torch
from tolerances import SUMS

from stylegan3d.networks.flow import BandCurves
from stylegan3d.networks.resampling import haar
from stylegan3d.training.flow_export import DARKEST, BandFigures, find_outline, fit_curves

# Of quantiles of some tens of thousands of values.
SAMPLING = 0.03


def brains(count, seed):
    """Bands in the middle of which all is bright and uneven, each band as much as another."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count):
        image = torch.full((1, 1, 32, 32, 32), -1.0)
        image[:, :, 4:28, 4:28, 4:28] = 0.3
        bands = haar(image)
        bands[:, 1:, 3:13, 3:13, 3:13] = 0.05 * torch.randn(1, 7, 10, 10, 10, generator=rng)
        yield bands


def test_a_gain_and_a_power_that_were_applied_are_found():
    hidden = BandCurves((0.0, 1.0))
    hidden.gain.copy_(torch.linspace(0.7, 1.3, 7))
    hidden.tail.copy_(torch.linspace(0.4, -0.2, 7))
    hidden.spread.fill_(0.05)
    hidden.brightness.fill_(0.9)
    people = BandFigures.of(hidden(bands) for bands in brains(12, 0))
    curves = BandCurves((0.2, 0.4))
    curves.gain.fill_(9.0)  # fitted anew, whatever was there
    fit_curves(curves, list(brains(12, 1)), people)
    assert curves.ends.tolist() == pytest.approx([0.2, 0.4])
    assert float(curves.brightness) == pytest.approx(0.9, abs=SUMS)
    torch.testing.assert_close(curves.tail, hidden.tail, rtol=0, atol=SAMPLING)
    torch.testing.assert_close(curves.spread, hidden.spread, rtol=SAMPLING, atol=0)
    torch.testing.assert_close(curves.gain, hidden.gain, rtol=SAMPLING, atol=0)


def test_without_a_brain_nothing_is_fitted():
    nothing = torch.full((1, 8, 4, 4, 4), -1.0)
    assert BandFigures.of([nothing]) is None
    curves = BandCurves((0.0, 1.0))
    fit_curves(curves, [nothing], BandFigures.of(brains(2, 0)))
    fit_curves(curves, list(brains(2, 0)), None)
    assert float(curves.brightness) == 1


def test_an_outline_that_was_made_is_found():
    rng = np.random.default_rng(0)
    soft = rng.uniform(0, 1, (6, 60, 60, 60)).astype(np.float32)
    t = np.clip((soft - 0.05) / 0.04, 0, 1)
    low, high = find_outline(soft[:3], (soft * t * t * (3 - 2 * t))[3:])
    assert (low, high) == pytest.approx((0.05, 0.09))
    assert high < DARKEST[-1], "the darkest intensities reach beyond every toe"
