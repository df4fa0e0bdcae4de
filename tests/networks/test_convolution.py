"""Convolutions of reduced precision on grids of every size."""

import itertools

import pytest
import torch
from tolerances import LAYERS

from stylegan3d.networks.resampling import conv3d


def write_nowhere():
    """Leave memory behind that holds no numbers, for whoever reads what he has not written."""
    _ = [torch.full((size,), float("nan")) for size in (10, 1000, 10_000, 100_000, 1_000_000)]


@pytest.mark.parametrize("shape", list(itertools.product((1, 2, 3), repeat=3)))
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_those_of_float32_on_the_smallest_grids(shape, stride):
    source = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, *shape, generator=source).bfloat16()
    weight = torch.randn(16, 16, 3, 3, 3, generator=source).bfloat16()
    exact = gradients(torch.nn.functional.conv3d, x.float(), weight.float(), stride)
    for _ in range(4):
        write_nowhere()
        for found, true in zip(gradients(conv3d, x, weight, stride), exact, strict=True):
            assert found.dtype == torch.bfloat16
            # Bfloat16: eight bits, and sums of many.
            assert torch.allclose(
                found.float(), true, rtol=2e-2, atol=0.05 * float(true.abs().max())
            )


def gradients(function, x, weight, stride):
    """Of the sum of a convolution's result, by both of its inputs."""
    inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
    result = function(*inputs, None, stride, 1)
    assert result.dtype == x.dtype
    return torch.autograd.grad(result.float().sum(), inputs)


def test_autocast_keeps_its_precision():
    x, weight = torch.ones(1, 8, 2, 2, 1), torch.ones(8, 8, 3, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv3d(x, weight, padding=1)
    assert y.dtype == torch.bfloat16
    assert y[0, 0, 0, 0, 0].item() == 8 * 4
    assert conv3d(x.double(), weight.double(), padding=1).dtype == torch.float64


@pytest.mark.parametrize("stride", [1, (2, 1, 2)])
@pytest.mark.parametrize("padding", [0, (1, 0, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_single_small_volume_gives_what_torch_gives(stride, padding, bias):
    x = torch.randn(1, 4, 5, 7, 6, dtype=torch.float64).requires_grad_()
    weight = torch.randn(3, 4, 3, 3, 3, dtype=torch.float64).requires_grad_()
    shift = torch.randn(3, dtype=torch.float64) if bias else None
    exact = torch.nn.functional.conv3d(x, weight, shift, stride, padding)
    short = x.float(), weight.float(), None if shift is None else shift.float()
    found = conv3d(*short, stride, padding)
    assert torch.allclose(found.double(), exact, atol=LAYERS)
    # As R1 needs it: the gradient of a gradient.
    for result in (exact, found):
        (slope,) = torch.autograd.grad(result.square().sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.square().sum(), weight)
        if result is exact:
            kept = slope, bend
    for one, true in zip((slope, bend), kept, strict=True):
        assert float((one - true).norm() / true.norm()) < 1e-4
