"""Layers against the papers' equations, evaluated with loops in float64."""

import math

import numpy as np
import pytest
import torch
from naive import naive_conv3d, naive_upfirdn

from stylegan3d.networks.synthesis import Conv3d, Dense, ModulatedConv3d, leaky_relu


def naive_modulated(x, layer, w):
    """StyleGAN2 eq. 1-3, sample by sample, with the modulated weight built in full."""
    weight = layer.weight.detach().double().numpy()
    weight = weight / math.sqrt(np.prod(weight.shape[1:]))
    a = layer.style.weight.detach().double().numpy()
    styles = w.double().numpy() @ a.T / math.sqrt(a.shape[1])
    styles = styles + layer.style.bias.detach().double().numpy()
    out = []
    for sample, s in zip(x.double().numpy(), styles, strict=True):
        modulated = weight * s[None, :, None, None, None]
        if layer.demodulate:
            for j in range(len(modulated)):
                modulated[j] /= math.sqrt((modulated[j] ** 2).sum() + 1e-8)
        if layer.up:
            spread = np.zeros((sample.shape[0], *(2 * n - 1 for n in sample.shape[1:])))
            spread[:, ::2, ::2, ::2] = sample
            full = naive_conv3d(spread, modulated, padding=2)
            k, size = len(layer.kernel), weight.shape[-1]
            pad = ((k + 2 - size) // 2, (k - size + 1) // 2)
            out.append(naive_upfirdn(full[None], layer.kernel, pad=pad, gain=8.0)[0])
        else:
            out.append(naive_conv3d(sample, modulated, padding=weight.shape[-1] // 2))
    return torch.from_numpy(np.stack(out))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("up", "size", "demodulate"), [(False, 3, True), (True, 3, True), (False, 1, False)]
)
def test_modulated_convolution_is_the_papers(batch, up, size, demodulate):
    torch.manual_seed(0)
    layer = ModulatedConv3d(3, 4, size, 5, up=up, demodulate=demodulate).double()
    x, w = torch.randn(batch, 3, 4, 3, 5).double(), torch.randn(batch, 5).double()
    with torch.no_grad():
        made = layer(x, w)
    assert made.shape[2:] == tuple(n * (2 if up else 1) for n in (4, 3, 5))
    torch.testing.assert_close(made, naive_modulated(x, layer, w))


def test_demodulation_gives_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedConv3d(16, 8, 3, 4)
    x = torch.randn(2, 16, 12, 12, 12)
    w = torch.randn(2, 4) * torch.tensor([[1.0], [20.0]])
    inside = layer(x, w)[..., 2:-2, 2:-2, 2:-2]
    assert inside.var(dim=(1, 2, 3, 4)).sub(1).abs().max() < 0.15


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_gradients(batch, up):
    torch.manual_seed(0)
    layer = ModulatedConv3d(2, 2, 3, 3, up=up).double()
    x = torch.randn(batch, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    w = torch.randn(batch, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x, w))
    assert torch.autograd.gradgradcheck(layer, (x, w))


def test_gradient_with_respect_to_w_is_exact_on_a_large_grid():
    """Sums over a million voxels in float32, as they are made when w is fitted to a volume."""
    torch.manual_seed(1)
    layer = ModulatedConv3d(4, 4, 3, 8).requires_grad_(False)
    x, w = torch.randn(1, 4, 80, 96, 112) + 2, torch.randn(1, 8)

    def gradient(dtype):
        rows = w.clone().to(dtype).requires_grad_()
        layer.to(dtype)(x.to(dtype), rows).sum().backward()
        return rows.grad

    single, double = gradient(torch.float32), gradient(torch.float64)
    assert float((single - double).abs().max() / double.abs().max()) < 2e-6


def test_dense_scales_at_run_time():
    torch.manual_seed(0)
    layer = Dense(9, 4, lr_multiplier=0.01, bias_init=0.5, activate=True)
    x = torch.randn(6, 9)
    pre = x @ (layer.weight * 0.01 / 3).T + layer.bias * 0.01
    torch.testing.assert_close(layer(x), torch.where(pre > 0, pre, 0.2 * pre) * math.sqrt(2))
    torch.testing.assert_close(layer.bias * 0.01, torch.full((4,), 0.5))
    assert layer.weight.std().item() == pytest.approx(100, rel=0.5)  # 36 random weights


@pytest.mark.parametrize("down", [False, True])
def test_convolution_is_the_definition(down):
    torch.manual_seed(0)
    layer = Conv3d(2, 3, 3, down=down, activate=False).double()
    x = torch.randn(1, 2, 4, 6, 4, dtype=torch.float64)
    weight = layer.weight.detach().numpy() / math.sqrt(2 * 27)
    if down:
        blurred = naive_upfirdn(x.numpy(), layer.kernel, pad=(2, 2))[0]
        expected = naive_conv3d(blurred, weight, padding=0)[:, ::2, ::2, ::2]
    else:
        expected = naive_conv3d(x[0].numpy(), weight, padding=1)
    torch.testing.assert_close(layer(x)[0].detach(), torch.from_numpy(expected))


def test_activation_preserves_the_second_moment():
    x = torch.randn(200_000)
    # 200,000 random numbers.
    assert leaky_relu(x).square().mean().item() == pytest.approx(1.04, abs=0.02)


def test_a_changed_or_replaced_weight_is_noticed():
    """What is kept of a frozen weight must not outlive it."""
    layer = ModulatedConv3d(3, 4, 3, 5).requires_grad_(False)
    x, w = torch.randn(1, 3, 4, 4, 4), torch.randn(1, 5)
    first = layer(x, w)
    layer.weight.mul_(torch.linspace(0.5, 2, 4)[:, None, None, None, None].flip(0).exp())
    layer.weight[0, 0] = 0
    changed = layer(x, w)
    assert not torch.equal(first, changed)
    fresh = ModulatedConv3d(3, 4, 3, 5)
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(changed, fresh(x, w).detach())
    layer.weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3, 3), requires_grad=False)
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, w), fresh(x, w).detach())
    doubled = layer.double()
    assert doubled(x.double(), w.double()).dtype == torch.float64


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("fused", [False, True])
def test_nothing_is_kept_of_a_weight_that_is_trained(optimiser, fused):
    """Fused optimisers change weights without counting the change."""
    layer = ModulatedConv3d(3, 4, 3, 5)
    steps = optimiser(layer.parameters(), lr=0.1, fused=fused)
    x, w = torch.randn(1, 3, 4, 4, 4), torch.randn(1, 5)
    layer(x, w).square().sum().backward()
    with torch.no_grad():
        layer(x, w)
        steps.step()
        fresh = ModulatedConv3d(3, 4, 3, 5)
        fresh.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer(x, w), fresh(x, w))


def test_new_values_at_the_old_address_are_noticed():
    layer = ModulatedConv3d(3, 4, 3, 5).requires_grad_(False)
    x, w = torch.randn(1, 3, 4, 4, 4), torch.randn(1, 5)
    for _ in range(50):
        layer(x, w)
        for _ in range(2):  # the second may come to lie where the first but one lay
            layer.weight.data = torch.randn(4, 3, 3, 3, 3)
        fresh = ModulatedConv3d(3, 4, 3, 5)
        fresh.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer(x, w), fresh(x, w).detach())
