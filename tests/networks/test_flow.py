"""The flow at the end of a generator: what it does, and when."""

import pytest
import torch
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.base import ModelError
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig
from stylegan3d.networks.flow import (
    FLOOR,
    GATE,
    VELOCITY_GAIN,
    Flow,
    details_between,
    gate_of,
    places_on,
)
from stylegan3d.networks.memo import Memo
from stylegan3d.networks.resampling import haar

GRID = (5, 6, 4)


def flow(shift=0.0):
    torch.manual_seed(0)
    made = Flow((4, 6, 6), GRID)
    with torch.no_grad():
        made.head.bias[0] = shift * VELOCITY_GAIN
    return made.requires_grad_(False)


def image(count=1):
    return torch.rand(count, 1, *(2 * n for n in GRID), generator=torch.Generator().manual_seed(1))


def test_an_untrained_flow_leaves_the_image_as_it_is():
    torch.testing.assert_close(flow()(image(), None, 3), image())


@pytest.mark.parametrize("steps", [1, 4])
def test_a_constant_velocity_is_followed_for_one_unit_of_time(steps):
    """Of the mean of each block: every voxel is as much brighter."""
    torch.testing.assert_close(flow(0.3)(image(), None, steps), image() + 0.3)


def test_eulers_method_nears_the_exact_way_as_steps_become_more():
    """dx = x dt makes e times as much of the mean: (1 + 1/n)^n in n steps."""

    class Growing(Flow):
        def velocity(self, bands, time, places, check):
            return bands

    made = Growing((4, 4, 4), GRID)
    for steps in (1, 2, 8):
        expected = image() * (1 + 1 / steps) ** steps
        torch.testing.assert_close(made(image(), None, steps), expected)


def test_what_is_outside_is_exactly_nothing():
    dark = torch.linspace(-1.02, -0.9, 8 * 10 * 12).reshape(1, 1, 10, 12, 8)
    made = flow()(dark, None, 1)
    value = (dark + 1) / 2
    assert (made[value < FLOOR[0]] == -1).all()
    torch.testing.assert_close(made[value > FLOOR[1]], dark[value > FLOOR[1]])


def test_curves_finish_where_the_flow_leads():
    made = flow(0.3)
    curved = Flow((4, 6, 6), GRID, curves=True).requires_grad_(False)
    curved.load_state_dict(made.state_dict(), strict=False)
    torch.testing.assert_close(curved(image(), None, 2), made(image(), None, 2))
    curved.curves.brightness.fill_(0.8)
    curved.curves.ends.copy_(torch.tensor([0.86, 0.88]))
    expected = (made(image(), None, 2) + 1) / 2 * 0.8
    found = (curved(image(), None, 2) + 1) / 2
    assert (found[expected < 0.86] == 0).all()
    torch.testing.assert_close(found[expected > 0.88], expected[expected > 0.88])


def test_far_from_the_brain_there_is_nothing():
    dark = torch.full((1, 1, *(2 * n for n in GRID)), -1.0)
    dark[:, :, 0, 0, 0] = 0.5
    made = flow(0.4)(dark, None, 1)
    assert made[0, 0, 0, 0, 0] == pytest.approx(0.9, abs=SUMS)
    assert (made[0, 0, 1:6, :6, :6] > -0.7).all(), "beside it there may be something"
    assert (made[:, :, 6:] == -1).all()
    assert (made[:, :, :, 6:] == -1).all()


def test_it_is_followed_in_a_box_around_the_brain():
    seen = []

    class Watching(Flow):
        def velocity(self, bands, time, places, check):
            seen.append((bands.shape[2:], places))
            return torch.zeros_like(bands)

    grid = (20, 12, 9)
    dark = torch.full((2, 1, 40, 24, 18), -1.0)
    dark[0, :, 22:25, 10:14, 6:9] = 0.5
    dark[1, :, 28, 12, 12] = 0.25
    made = Watching((4, 4, 4), grid)(dark, torch.ones(2, 1, 40, 24, 18), 1)
    torch.testing.assert_close(made, dark)
    assert seen[0][0] == (17 - 8, 9, 9)
    everywhere = places_on(grid, torch.device("cpu"))
    assert torch.equal(seen[0][1], everywhere[:, :, 8:17, 0:9, 0:9])


def test_nothing_stays_nothing():
    dark = torch.full((1, 1, *(2 * n for n in GRID)), -1.0)
    assert torch.equal(flow(0.3)(dark, None, 2), dark)


def test_a_brain_that_grows_is_not_changed_where_it_was(monkeypatch):
    """Its box grows with it, by what the layers halve twice."""
    made = Flow((4, 4, 4), (24, 24, 24)).requires_grad_(False)
    torch.manual_seed(1)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    small = torch.full((1, 1, 48, 48, 48), -1.0)
    small[:, :, 20:36, 20:36, 20:36] = torch.rand(16, 16, 16)
    large = small.clone()
    large[:, :, 14:17, 14:17, 14:17] = 0.1

    def changed():
        both = made(small, None, 1) - made(large, None, 1)
        return both[:, :, 25:35, 25:35, 25:35].abs().mean()

    kept = changed()
    monkeypatch.setattr("stylegan3d.networks.flow.FLOW_UNIT", 1)
    assert kept < changed() / 5


def test_times_go_from_nought_to_one_and_places_over_the_grid():
    seen = []

    class Watching(Flow):
        def velocity(self, bands, time, places, check):
            seen.append((float(time[0]), places))
            return torch.zeros_like(bands)

    Watching((4, 4, 4), GRID)(image(), None, 4)
    assert [t for t, _ in seen] == [0, 0.25, 0.5, 0.75]
    places = seen[0][1]
    assert places.shape == (1, 3, *GRID)
    assert places.amin() == -1
    assert places.amax() == 1
    assert (places[0, 0].diff(dim=0) > 0).all()
    assert (places[0, 2].diff(dim=2) > 0).all()


def test_noise_is_added_with_its_strength_before_the_flow():
    made = flow()
    made.noise_strength.fill_(0.2)
    noise = torch.randn(1, 1, *(2 * n for n in GRID))
    torch.testing.assert_close(made(image(), noise, 2), image() + 0.2 * noise)


def test_details_of_a_mix_are_never_weaker_than_its_brains_and_open_the_gate_evenly():
    spread = torch.tensor(0.13)
    a, b = 0.13 * torch.eye(8)[:2] * 8**0.5
    torch.testing.assert_close(details_between(a, b, 0.0, spread), a)
    torch.testing.assert_close(details_between(a, b, 1.0, spread), b)
    half = details_between(a, b, 0.5, spread)
    torch.testing.assert_close(half.square().mean().sqrt(), spread)
    torch.testing.assert_close((half @ a), (half @ b))
    # From a scan's reconstruction, with nearly none, in steps of a tenth.
    way = [details_between(0.05 * a, 0.65 * b, k / 10, spread) for k in range(11)]
    gates = torch.stack([gate_of(details[None], spread)[0] for details in way])
    assert gates[0] == 0
    assert gates[-1] == 1
    assert gates.diff().max() < 0.2, "on a straight line it opens in four steps"
    assert torch.equal(details_between(0 * a, b, 0.5, spread), b / 2)
    torch.testing.assert_close(details_between(a, 2 * a, 0.5, spread), 1.5 * a)


def test_time_and_place_matter_to_a_trained_network():
    made = flow()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    bands, places = haar(image(2)), places_on(GRID, torch.device("cpu"))
    first = made.velocity(bands, torch.tensor([0.0, 0.0]), places)
    assert first.shape == bands.shape
    assert not torch.allclose(first, made.velocity(bands, torch.tensor([0.5, 0.5]), places))
    assert not torch.allclose(first, made.velocity(bands, torch.tensor([0.0, 0.0]), -places))
    torch.testing.assert_close(
        first[1:], made.velocity(bands[1:], torch.tensor([0.0]), places), rtol=LAYERS, atol=FLOAT32
    )


def test_the_gate_opens_with_the_details():
    made = flow()
    made.spread.fill_(0.5)
    share = torch.tensor([0.0, GATE[0], sum(GATE) / 2, GATE[1], 1.0])
    weights = share.sqrt()[:, None] * 0.5 * torch.tensor([[1.0, -1.0]])
    torch.testing.assert_close(made.gate(weights), torch.tensor([0, 0, 0.5, 1, 1]))


CONFIG = {
    "base": (3, 2, 2),
    "levels": 2,
    "z_dim": 6,
    "w_dim": 6,
    "head": "haar",
    "image_const": True,
    "image_basis": 2,
    "detail_basis": 2,
    "deformation": 2,
}


def network():
    torch.manual_seed(2)
    net = AnatomyNetwork(AnatomyConfig(**CONFIG, flow_channels=(4, 4, 4), flow_steps=2))
    torch.nn.init.normal_(net.detail_basis.weight)
    torch.nn.init.normal_(net.image_basis.weight)
    with torch.no_grad():
        net.flow.head.bias[0] = 0.25 * VELOCITY_GAIN
    net.flow.noise_strength.fill_(0.1)
    return net.requires_grad_(False)


def without(net):
    plain = AnatomyNetwork(AnatomyConfig(**CONFIG))
    missing = plain.load_state_dict(net.state_dict(), strict=False)
    assert not missing.missing_keys
    return plain.requires_grad_(False)


def test_a_generator_flows_as_far_as_details_ask_for_and_at_full_size_only():
    net = network()
    plain = without(net)
    w = torch.randn(2, 4, 6)
    w[:, :, 4:] = torch.tensor([1.0, -1.0])
    w[1, :, 4:] = 0
    made = net(w, "none")
    torch.testing.assert_close(made[1], plain(w, "none")[1], rtol=0, atol=0)
    moved = plain(w, "none")[0] + 0.25
    bright = moved > 2 * FLOOR[1] - 1
    assert bright.float().mean() > 0.3
    torch.testing.assert_close(made[0][bright], moved[bright])
    for level in range(2):
        torch.testing.assert_close(net(w, "none", level), plain(w, "none", level))
    draft = net(w, "none", -2, draft=True)
    torch.testing.assert_close(draft, plain(w, "none", -2, draft=True))


def test_noise_has_a_map_of_its_own_and_a_seed_makes_the_same_again():
    net = network()
    w = torch.ones(1, 4, 6)
    fixed = net(w, "fixed")
    maps = net.noise_maps("fixed")
    assert maps[-1] is net.flow.noise
    assert len(maps) == 1
    torch.testing.assert_close(fixed, net(w, maps))
    assert torch.equal(net(w, 5), net(w, 5))
    assert not torch.equal(net(w, 5), net(w, 6))
    assert not torch.equal(net(w, "random"), net(w, "random"))


def test_what_was_computed_is_kept_until_w_or_the_noise_changes():
    net, memo = network(), Memo()
    w = torch.ones(1, 4, 6)

    def render(noise):
        with torch.inference_mode():
            memo.begin(w, noise)
            return net(w, noise, memo=memo)

    first = render("fixed")
    torch.testing.assert_close(first, net(w, "fixed"))
    assert torch.equal(render("fixed"), first)
    assert memo.computed == 0
    assert not torch.equal(render(3), first)


def test_it_can_be_cancelled_on_its_way():
    net, memo = network(), Memo()
    w = torch.ones(1, 4, 6)
    asked = []

    def stop():
        asked.append(1)
        if len(asked) == most:
            raise KeyboardInterrupt

    most = 10**6
    with torch.inference_mode():
        memo.begin(w, "fixed", stop)
        whole = net(w, "fixed", memo=memo)
        most, asked[:] = len(asked) - 1, []
        memo.begin(w, 3, stop)
        with pytest.raises(KeyboardInterrupt):
            net(w, 3, memo=memo)
        memo.begin(w, "fixed")
        torch.testing.assert_close(net(w, "fixed", memo=memo), whole)


def test_its_gradient_reaches_w():
    net = network()
    w = torch.ones(1, 4, 6, requires_grad=True)
    net(w, "none").square().sum().backward()
    assert w.grad.isfinite().all()
    assert w.grad[0, -3:-1, 4:].abs().min() > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"flow_channels": (4, 4)},
        {"flow_channels": (4, 4, 4), "flow_steps": 0},
        {"flow_channels": (4, 4, 4), "detail_basis": 0},
        {"flow_channels": (4, 4, 4), "head": "image"},
        {"flow_curves": True},
    ],
)
def test_a_flow_that_cannot_be_is_refused(wrong):
    with pytest.raises(ModelError, match=r"architecture's flow(_curves)? need"):
        AnatomyConfig(**(CONFIG | wrong))
