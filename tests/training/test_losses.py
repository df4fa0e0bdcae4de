"""Objectives against their papers."""

import numpy as np
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


def test_path_length_of_a_linear_generator():
    """G(w) = A w: the length is |A^T y| for the given noise, averaged over the layers."""
    matrix = torch.randn(24, 6, dtype=torch.float64)
    w = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    volume = (w.sum(dim=1) @ matrix.T).reshape(3, 1, 2, 3, 4)
    noise = torch.randn_like(volume)
    expected = (noise.reshape(3, 24) / np.sqrt(24) @ matrix).norm(dim=1)
    torch.testing.assert_close(stylegan.path_lengths(volume, w, noise), expected)
