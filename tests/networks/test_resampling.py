"""Fast resampling against the definition: insert zeros, pad, correlate, decimate."""

import itertools

import pytest
import torch
from naive import naive_upfirdn

from stylegan3d.networks.resampling import (
    downsample_image,
    fine_bands,
    fir3d,
    haar,
    inverse_haar,
    upsample_image,
)

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
SKEWED = (1.0, 2.0, 5.0)


@pytest.mark.parametrize("kernel", [BINOMIAL, SKEWED, (1.0,)])
@pytest.mark.parametrize("pad", [(1, 1), (2, 1), (0, 3)])
def test_fir_is_the_definition(kernel, pad):
    x = torch.randn(2, 3, 5, 6, 4, dtype=torch.float64)
    expected = naive_upfirdn(x, kernel, pad=pad, gain=8.0)
    torch.testing.assert_close(fir3d(x, kernel, pad, gain=8.0), torch.from_numpy(expected))


def test_fir_crops_with_negative_padding():
    x = torch.randn(1, 2, 8, 8, 8, dtype=torch.float64)
    expected = naive_upfirdn(x[:, :, 1:-1, 1:-1, 1:-1], SKEWED)
    torch.testing.assert_close(fir3d(x, SKEWED, (-1, -1)), torch.from_numpy(expected))


@pytest.mark.parametrize("kernel", [BINOMIAL, (1.0, 3.0, 3.0, 3.0, 1.0)])
def test_upsampling_is_the_definition_and_keeps_a_constant(kernel):
    x = torch.randn(1, 2, 4, 3, 5, dtype=torch.float64)
    k = len(kernel)
    expected = naive_upfirdn(x, kernel, up=2, pad=((k + 1) // 2, (k - 2) // 2), gain=8.0)
    torch.testing.assert_close(upsample_image(x, kernel), torch.from_numpy(expected))
    if kernel == BINOMIAL:
        inside = upsample_image(torch.ones(1, 1, 8, 8, 8), kernel)[..., 4:-4, 4:-4, 4:-4]
        torch.testing.assert_close(inside, torch.ones_like(inside))


def test_resampling_keeps_everything_in_place():
    """A ramp stays the same ramp in millimetres: no level is shifted against another."""
    ramp = torch.arange(16.0)[None, None, :, None, None].expand(1, 1, 16, 16, 16).contiguous()
    fine = upsample_image(ramp, BINOMIAL)[0, 0, :, 16, 16]
    # Voxel j of the fine grid has its centre at (j - 0.5) / 2 of the coarse one.
    expected = (torch.arange(32) - 0.5) / 2
    torch.testing.assert_close(fine[4:-4], expected[4:-4])
    coarse = downsample_image(ramp, BINOMIAL)[0, 0, :, 4, 4]
    torch.testing.assert_close(coarse[1:-1], (2 * torch.arange(8) + 0.5)[1:-1])


def test_downsampling_is_the_definition():
    x = torch.randn(1, 2, 8, 6, 4, dtype=torch.float64)
    expected = naive_upfirdn(x, BINOMIAL, down=2, pad=(1, 1))
    torch.testing.assert_close(downsample_image(x, BINOMIAL), torch.from_numpy(expected))


@pytest.mark.parametrize("pad", [(1, 1), (2, 0)])
def test_fir_has_first_and_second_derivatives(pad):
    x = torch.randn(1, 2, 4, 4, 4, dtype=torch.float64, requires_grad=True)

    def cubed(x):
        return fir3d(x, SKEWED, pad) ** 3

    assert torch.autograd.gradcheck(cubed, x)
    assert torch.autograd.gradgradcheck(cubed, x)


def test_haar_is_block_sums_with_signs():
    x = torch.randn(2, 1, 4, 6, 8, dtype=torch.float64)
    bands = haar(x)
    blocks = x.reshape(2, 1, 2, 2, 3, 2, 4, 2)
    for band, signs in enumerate(itertools.product((0, 1), repeat=3)):
        total = torch.zeros(2, 1, 2, 3, 4, dtype=torch.float64)
        for corner in itertools.product((0, 1), repeat=3):
            sign = (-1) ** sum(s * c for s, c in zip(signs, corner, strict=True))
            total += sign * blocks[:, :, :, corner[0], :, corner[1], :, corner[2]]
        torch.testing.assert_close(bands[:, band : band + 1], total / 8)


@pytest.mark.parametrize("channels", [1, 3])
def test_haar_round_trip_and_low_band(channels):
    x = torch.randn(2, channels, 4, 6, 8)
    torch.testing.assert_close(inverse_haar(haar(x)), x)
    low = torch.nn.functional.avg_pool3d(x, 2)
    torch.testing.assert_close(haar(x)[:, :channels], low)


def test_fine_bands_of_a_ramp_make_it_a_ramp_again():
    """With half the slope between neighbours, products of straight lines come back exactly."""
    places = torch.meshgrid(
        *[torch.arange(n, dtype=torch.float64) for n in (8, 10, 12)], indexing="ij"
    )
    first = 0.3 + places[0] - 2 * places[1] + 0.5 * places[2]
    second = places[0] * places[1] * places[2]
    whole = torch.stack([first, second])[None]
    low = haar(whole)[:, :2]
    bands = torch.cat([low, fine_bands(low, (0.125,))], dim=1)
    inner = (..., *[slice(2, -2)] * 3)
    torch.testing.assert_close(inverse_haar(bands)[inner], whole[inner])


def test_fine_bands_repeat_the_border_and_are_linear():
    low = torch.randn(2, 1, 4, 5, 6)
    assert not fine_bands(torch.ones(1, 1, 4, 5, 6), (0.2, -0.1)).any()
    torch.testing.assert_close(fine_bands(3 * low, (0.2,)), 3 * fine_bands(low, (0.2,)))
