"""Objectives against their papers."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT32, LAYERS

from stylegan3d.networks.resampling import haar
from stylegan3d.training import losses


def test_logistic_losses_are_the_cross_entropies():
    real, fake = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    p_real, p_fake = torch.sigmoid(real), torch.sigmoid(fake)
    expected = -(p_real.log().mean() + (1 - p_fake).log().mean())
    torch.testing.assert_close(losses.discriminator_logistic(real, fake), expected)
    torch.testing.assert_close(losses.generator_logistic(fake), -p_fake.log().mean())


def test_relativistic_pairing_is_the_cross_entropy_of_differences():
    real, fake = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = -torch.sigmoid(real - fake).log().mean()
    torch.testing.assert_close(losses.relativistic(real, fake), expected)
    torch.testing.assert_close(losses.relativistic(real + 7, fake + 7), expected)


def test_r1_is_the_squared_gradient():
    """D(x) = sum a x^2 / 2 has the gradient a x."""
    a, x = torch.rand(1, 1, 2, 3, 2), torch.randn(4, 1, 2, 3, 2)
    penalty = losses.r1_penalty(lambda v: (a * v**2 / 2).sum(dim=(1, 2, 3, 4)), x)
    torch.testing.assert_close(penalty, (a * x).square().sum(dim=(1, 2, 3, 4)).mean())


def test_path_length_of_a_linear_generator():
    """G(w) = A w: the length is |A^T y| for the given noise, averaged over the layers."""
    matrix = torch.randn(24, 6, dtype=torch.float64)
    w = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    volume = (w.sum(dim=1) @ matrix.T).reshape(3, 1, 2, 3, 4)
    noise = torch.randn_like(volume)
    expected = (noise.reshape(3, 24) / np.sqrt(24) @ matrix).norm(dim=1)
    torch.testing.assert_close(losses.path_lengths(volume, w, noise), expected)


def test_kl_is_the_closed_form():
    mean, log_variance = torch.randn(3, 4), torch.randn(3, 4)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    made = losses.kl_to_unit_gaussian(mean, log_variance)
    torch.testing.assert_close(made, expected.sum(dim=1).mean())


def test_reconstruction_compares_each_level_at_its_size():
    target = torch.rand(2, 1, 8, 8, 8) * 2 - 1
    target[:, :, :4] = -1  # outside the brain
    per_brain = (1 / (target > -0.9).float().mean(dim=(1, 2, 3, 4))).mean().item()
    half = torch.nn.functional.avg_pool3d(target, 2)
    quarter = torch.nn.functional.avg_pool3d(target, 4)
    exact = losses.reconstruction([quarter, haar(target)], target, "haar")
    assert exact.item() == pytest.approx(0, abs=FLOAT32)
    off = losses.reconstruction([quarter + 0.2, haar(target)], target, "haar")
    assert off.item() == pytest.approx(0.2 / 2 * per_brain, rel=LAYERS)
    plain = losses.reconstruction([half + 0.1, target - 0.3], target, "image")
    assert plain.item() == pytest.approx(0.4 / 2 * per_brain, rel=LAYERS)
    # A batch's loss is the mean of its volumes', however it is divided.
    made = [quarter + 0.2, target - 0.3]
    parts = [losses.reconstruction([m[i] for m in made], target[i], "image") for i in ([0], [1])]
    whole = losses.reconstruction(made, target, "image")
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
