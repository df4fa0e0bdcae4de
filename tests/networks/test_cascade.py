"""A flow of a cascade: what it draws and keeps, and the way back to its noise."""

import pytest
import torch
from tolerances import LAYERS
from torch import Tensor

from stylegan3d.networks.band_unet import places_on
from stylegan3d.networks.cascade import Cascade, CascadeFlow, gaussian_gain
from stylegan3d.networks.flow import box_of
from stylegan3d.networks.resampling import haar, inverse_haar

GRID = (6, 8, 7)
# Standard error of a slope fitted to 200,000 numbers, at most 0.02, three times over.
OF_SAMPLES = 0.06


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
    there = flow.follow(noise, seen, places, 64)
    assert (there - noise).abs().mean() > 0.05, "it goes somewhere"
    back = flow.follow(there, seen, places, 64, backwards=True)
    torch.testing.assert_close(back, noise, rtol=0, atol=LAYERS)


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


def test_the_gain_is_that_of_the_best_linear_prediction() -> None:
    """Regression of x1 - x0 on x, as least squares finds it in drawn numbers."""
    rng = torch.Generator().manual_seed(0)
    for variance in (0.05, 1.0, 4.0):
        x0 = torch.randn(200_000, generator=rng)
        x1 = variance**0.5 * torch.randn(200_000, generator=rng)
        for t in (0.0, 0.3, 0.8, 1.0):
            x = torch.lerp(x0, x1, t)
            fitted = float((x * (x1 - x0)).sum() / x.square().sum())
            gain = gaussian_gain(torch.tensor([variance]), torch.tensor([t]))
            assert float(gain) == pytest.approx(fitted, abs=OF_SAMPLES)


def test_where_a_flow_predicts_no_variance_it_takes_the_noise_away(seen: Tensor) -> None:
    torch.manual_seed(0)
    flow = CascadeFlow((8, 8, 8)).requires_grad_(False)
    noise = torch.randn(1, 8, *GRID)
    places = places_on(GRID, seen.device)
    assert torch.equal(flow.follow(noise, seen, places, 8), noise), "nothing until trained"
    flow.head.bias[8:] = -6.0
    flat = flow.follow(noise, seen, places, 32)
    assert flat.std() < 0.1 * noise.std()


FULL = (16, 20, 24)


@pytest.fixture
def cascade() -> Cascade:
    """Both flows with heads that answer something; volumes of 16 x 20 x 24 voxels."""
    torch.manual_seed(1)
    cascade = Cascade((8, 8, 8), (8, 8, 8), (8, 10, 12), (0.2,)).requires_grad_(False)
    for flow in (cascade.layout, cascade.fine):
        torch.nn.init.normal_(flow.head.weight, std=0.05)
        flow.spread.fill_(0.1)
    return cascade


def coarse_brain() -> Tensor:
    """A bright block on half the grid, so near the border that all is within reach."""
    coarse = torch.full((1, 1, 8, 10, 12), -1.0)
    coarse[:, :, 1:7, 1:9, 1:11] = 0.2
    return coarse


def test_styled_noise_is_white_and_belongs_to_its_details(cascade: Cascade) -> None:
    noise = torch.randn(1, 1, 24, 28, 20)
    details = torch.randn(3, 32)
    styled = cascade.styled(details, noise)
    for made in styled:
        # A sum over 13,440 random voxels.
        assert float(made.std()) == pytest.approx(1.0, rel=0.05)
        neighbours = torch.corrcoef(torch.stack([made[0, 1:].ravel(), made[0, :-1].ravel()]))
        assert abs(float(neighbours[0, 1])) < 0.05
    pair = torch.corrcoef(torch.stack([styled[0].ravel(), styled[1].ravel()]))[0, 1]
    alike = torch.nn.functional.cosine_similarity(details[0], details[1], dim=0)
    assert float(pair) == pytest.approx(float(alike), abs=0.1)  # a correlation of as many


def test_styled_noise_mixes_as_its_details_do_and_never_fades(cascade: Cascade) -> None:
    noise, (a, b) = torch.randn(1, 1, 8, 8, 8), torch.randn(2, 1, 16)
    a, b = (torch.nn.functional.normalize(x, dim=1) for x in (a, b))
    both, length = 0.3 * a + 0.7 * b, (0.3 * a + 0.7 * b).norm()
    mixed = 0.3 * cascade.styled(a, noise) + 0.7 * cascade.styled(b, noise)
    torch.testing.assert_close(cascade.styled(both, noise), mixed / length)
    torch.testing.assert_close(cascade.styled(0.1 * both, noise), mixed / length)
    assert not cascade.styled(0 * a, noise).any()


def test_styled_noise_is_a_sum_of_moved_copies(cascade: Cascade) -> None:
    noise = torch.randn(1, 1, 4, 6, 8)
    one = cascade.styled(torch.tensor([[2.0]]), noise)
    rolled = [
        torch.roll(noise, (x, y, z), (2, 3, 4))
        for x in range(4)
        for y in range(6)
        for z in range(8)
    ]
    assert sum(torch.allclose(one, copy, atol=LAYERS) for copy in rolled) == 1


def test_a_brains_own_noise_makes_it_again(cascade: Cascade) -> None:
    torch.manual_seed(2)
    image = torch.nn.functional.interpolate(coarse_brain(), scale_factor=2) * 0.8
    image = image + 0.05 * torch.randn(1, 1, *FULL)
    noise = cascade.own_noise(image, coarse_brain(), 24)
    assert noise.shape == image.shape
    again = cascade.drawn(coarse_brain(), noise, 24)
    inside = torch.nn.functional.interpolate(coarse_brain(), scale_factor=2) > 0
    torch.testing.assert_close(again[inside], image[inside], rtol=0, atol=LAYERS)


def test_brains_differ_by_their_noise_and_there_is_nothing_far_away(cascade: Cascade) -> None:
    noise, details = torch.randn(1, 1, *FULL), torch.randn(2, 16)
    coarse = coarse_brain()
    coarse[:, :, 4:] = -1.0
    both = cascade(coarse.expand(2, -1, -1, -1, -1), details, noise, 2)
    assert both.shape == (2, 1, *FULL)
    assert (both[0] - both[1]).abs().max() > 0.05
    assert (both[:, :, 14:] == -1).all(), "out of reach of the coarse image"
    assert torch.equal(both, cascade(coarse.expand(2, -1, -1, -1, -1), details, noise, 2))
    bare = cascade(coarse, details[:1], None, 2)
    assert torch.equal(bare, cascade(coarse, 0 * details[:1], noise, 2)), "no noise, no style"


def test_flows_are_followed_in_boxes_that_the_network_can_halve() -> None:
    near = torch.zeros(1, 1, 22, 24, 20)
    near[:, :, 5:10, 1:21, 3:19] = 1
    assert box_of(near) == (slice(4, 10), slice(0, 21), slice(0, 19))
    assert box_of(near, even=True) == (slice(4, 12), slice(0, 24), slice(0, 20))
    near[:, :, 20] = 1
    assert box_of(near, even=True)[0] == slice(4, 22), "no farther than the grid"
