"""The normal distribution of latents: Wiener's filter and the probability flow, in closed form."""

from itertools import pairwise

import pytest
import torch
from tolerances import LAYERS, SUMS

from stylegan3d.networks.latent_diffusion import LatentGaussian

NUMBERS, KNOWN = 12, 3


@pytest.fixture
def gaussian():
    source = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(NUMBERS, KNOWN, generator=source)).Q.T
    return LatentGaussian.of(
        basis, torch.tensor([9.0, 4.0, 1.0]), torch.tensor(0.25), torch.tensor([1.0, 0.0, -2.0])
    )


def covariance(gaussian):
    """As a matrix, the slow way."""
    along = gaussian.basis.T @ torch.diag(gaussian.variances) @ gaussian.basis
    return along + gaussian.rest * (torch.eye(NUMBERS) - gaussian.basis.T @ gaussian.basis)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
def test_the_estimate_is_the_mean_given_the_noisy_latent(gaussian, sigma):
    x = torch.randn(5, NUMBERS)
    own, mean = covariance(gaussian), gaussian.middle @ gaussian.basis
    gain = own @ torch.linalg.inv(own + sigma**2 * torch.eye(NUMBERS))
    expected = mean + (x - mean) @ gain.T
    found = gaussian.denoise(x, torch.full((5,), sigma))
    assert torch.allclose(found, expected, atol=SUMS)
    # And its error is what that formula leaves.
    left = torch.trace(own - gain @ own) / NUMBERS
    assert float(gaussian.error(torch.tensor([sigma]))) == pytest.approx(float(left), rel=LAYERS)


def test_normal_numbers_become_latents_of_this_distribution_and_back(gaussian):
    z = torch.randn(40_000, NUMBERS)
    x = gaussian.from_normal(z, 0.5)
    # 40,000 random rows.
    assert torch.allclose(x.mean(dim=0), gaussian.middle @ gaussian.basis, atol=0.06)
    expected = covariance(gaussian) + 0.25 * torch.eye(NUMBERS)
    assert torch.allclose(torch.cov(x.T), expected, atol=0.25)  # 40,000 random rows
    assert torch.allclose(gaussian.to_normal(x, 0.5), z, atol=LAYERS)


def test_the_flow_leads_from_noise_to_where_it_is_said_to(gaussian):
    # The probability flow, dx / d sigma = (x - estimate) / sigma, in very small steps.
    z = torch.randn(3, NUMBERS)
    levels = torch.logspace(1, -2, 4000, dtype=torch.float64)
    x = gaussian.from_normal(z, 10.0).double()
    exact = gaussian.double()
    for high, low in pairwise(levels):
        target = exact.denoise(x, high.expand(3))
        x = target + low / high * (x - target)
    # 4,000 steps of an integration of first order.
    assert torch.allclose(x.float(), gaussian.float().from_normal(z, 0.01), atol=0.01)
