"""Objectives against their papers."""

import torch

from stylegan3d.training import stylegan


def test_logistic_losses_are_the_cross_entropies():
    real, fake = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    p_real, p_fake = torch.sigmoid(real), torch.sigmoid(fake)
    expected = -(p_real.log().mean() + (1 - p_fake).log().mean())
    torch.testing.assert_close(stylegan.discriminator_logistic(real, fake), expected)
    torch.testing.assert_close(stylegan.generator_logistic(fake), -p_fake.log().mean())


def test_r1_is_the_squared_gradient():
    """D(x) = sum a x^2 / 2 has the gradient a x."""
    a, x = torch.rand(1, 1, 2, 3, 2), torch.randn(4, 1, 2, 3, 2)
    penalty = stylegan.r1_penalty(lambda v: (a * v**2 / 2).sum(dim=(1, 2, 3, 4)), x)
    torch.testing.assert_close(penalty, (a * x).square().sum(dim=(1, 2, 3, 4)).mean())
