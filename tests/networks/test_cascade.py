"""A flow of a cascade: what it draws and keeps, and the way back to its noise."""

import pytest
import torch
from torch import Tensor

from stylegan3d.networks.band_unet import places_on
from stylegan3d.networks.cascade import CascadeFlow
from stylegan3d.networks.resampling import haar, inverse_haar

GRID = (6, 8, 7)


@pytest.fixture(params=[8, 7], ids=["all bands", "fine bands"])
def flow(request: pytest.FixtureRequest) -> CascadeFlow:
    """One whose head answers something, gently."""
    torch.manual_seed(0)
    flow = CascadeFlow((8, 8, 8), request.param)
    torch.nn.init.normal_(flow.head.weight, std=0.05)
    flow.spread.copy_(torch.rand_like(flow.spread) + 0.5)
    return flow.requires_grad_(False)


@pytest.fixture
def seen() -> Tensor:
    return haar(torch.rand(1, 1, *(2 * n for n in GRID)) * 2 - 1)


def test_what_is_beyond_a_coarse_image_is_added_to_it(flow: CascadeFlow, seen: Tensor) -> None:
    image = torch.rand(1, 1, *(2 * n for n in GRID))
    bands = haar(image)
    if flow.drawn == 7:
        seen[:, :1] = bands[:, :1]
    back = inverse_haar(flow.added(flow.beyond(bands, seen), seen))
    torch.testing.assert_close(back, image)


def test_fine_bands_keep_the_low_one(seen: Tensor) -> None:
    flow = CascadeFlow((8, 8, 8), 7)
    assert torch.equal(flow.added(torch.randn(1, 7, *GRID), seen)[:, :1], seen[:, :1])


def test_the_way_back_ends_at_the_noise(flow: CascadeFlow, seen: Tensor) -> None:
    places = places_on(GRID, seen.device)
    noise = torch.randn(1, flow.drawn, *GRID)
    there = flow.follow(noise, seen, places, 12)
    assert (there - noise).abs().mean() > 0.05, "it goes somewhere"
    back = flow.follow(there, seen, places, 12, backwards=True)
    torch.testing.assert_close(back, noise, rtol=0, atol=2e-3)


def test_the_midpoint_rule_follows_a_known_field(seen: Tensor) -> None:
    """dx/dt = t leads from x to x + 1/2, exactly for the midpoint rule."""
    flow = CascadeFlow((8, 8, 8))

    def velocity(x: Tensor, seen: Tensor, time: Tensor, *_: object) -> Tensor:
        return torch.ones_like(x) * time[:, None, None, None, None]

    flow.velocity = velocity  # type: ignore[assignment]
    noise = torch.randn(2, 8, *GRID)
    ahead = flow.follow(noise, seen, places_on(GRID, seen.device), 3)
    torch.testing.assert_close(ahead, noise + 0.5)
    back = flow.follow(ahead, seen, places_on(GRID, seen.device), 3, backwards=True)
    torch.testing.assert_close(back, noise)
