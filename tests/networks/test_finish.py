"""The sigmoid of the details, the toe of the image, the curves after the flow."""

import pytest
import torch

from stylegan3d.base import ModelError
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig
from stylegan3d.networks.flow import (
    LARGEST_GAIN,
    LARGEST_SIZE,
    BandCurves,
    DetailTexture,
    Toe,
)
from stylegan3d.networks.resampling import haar, inverse_haar


def details(grid=(16, 16, 16)):
    """Bands of unit variance, half of it inside the blocks."""
    torch.manual_seed(0)
    coarse = torch.randn(1, 1, *grid).repeat_interleave(2, 2).repeat_interleave(2, 3)
    coarse = coarse.repeat_interleave(2, 4)
    fine = torch.randn_like(coarse)
    return haar((coarse + fine) / 2**0.5)


def texture(**values):
    made = DetailTexture(4.0, True, 3, (16, 16, 16))
    for name, value in values.items():
        getattr(made, name).copy_(torch.as_tensor(value))
    return made


def test_details_become_nearly_two_greys():
    made = inverse_haar(texture()(details(), torch.zeros(1, 3)))
    assert (made.abs() > 0.9).float().mean() > 0.6
    assert made.abs().max() <= 1 + 1e-5


def test_their_strength_follows_w_up_to_a_limit():
    shaped = texture(contrast=[0.5, 0.0, 0.0], centre=[1.0, 0.0, 0.0], scale=0.3)
    usual = shaped(details(), torch.tensor([[1.0, 5.0, 5.0]]))
    stronger = shaped(details(), torch.tensor([[2.0, 0.0, 0.0]]))
    extreme = shaped(details(), torch.tensor([[99.0, 0.0, 0.0]]))
    torch.testing.assert_close(stronger, usual * torch.tensor(0.5).exp())
    torch.testing.assert_close(extreme, usual * LARGEST_GAIN)
    # Tanh has no end.
    torch.testing.assert_close(
        inverse_haar(usual).abs().max(), torch.tensor(0.3), rtol=0.01, atol=0
    )


def test_the_low_band_alone_is_as_strong_as_that_of_all():
    """On average: what eight voxels of a block are, their mean does not tell."""
    bands = details()
    within = bands[:, 1:].square().sum(dim=1).mean()
    w = torch.zeros(1, 3)
    full = texture()(bands, w)[:, :1]

    def strength(low):
        return float((low * full).sum() / full.square().sum())

    # An average over random bands.
    assert strength(texture(within=within)(bands[:, :1], w, True)) == pytest.approx(1, abs=0.1)
    assert strength(texture()(bands[:, :1], w, True)) > 1.15


def test_the_toe_pulls_the_dark_end_to_nothing_and_keeps_the_rest():
    toe = Toe()
    image = torch.linspace(-1, 1, 201)
    torch.testing.assert_close(toe(image), image)
    toe.ends.copy_(torch.tensor([0.1, 0.2]))
    made = toe(image)
    value = (image + 1) / 2
    assert (made[value < 0.0999] == -1).all()
    torch.testing.assert_close(made[value > 0.2001], image[value > 0.2001])
    assert (made.diff() >= 0).all(), "it keeps the order of greys"
    assert (made <= image + 1e-6).all()


def test_a_toe_is_used_at_every_level_and_details_reach_w():
    config = AnatomyConfig(
        base=(3, 2, 2),
        levels=2,
        z_dim=6,
        w_dim=6,
        head="haar",
        image_const=True,
        image_basis=2,
        detail_basis=2,
        detail_slope=3.0,
        toe=True,
        deformation=2,
    )
    torch.manual_seed(1)
    net = AnatomyNetwork(config)
    torch.nn.init.normal_(net.detail_basis.weight)
    w = torch.randn(1, 4, 6, requires_grad=True)
    untouched = [net(w, "none", level).detach() for level in range(3)]
    net.image_toe.ends.copy_(torch.tensor([0.8, 0.9]))
    for level, before in enumerate(untouched):
        dark = before < 2 * 0.7999 - 1
        assert dark.any()
        assert (net(w, "none", level).detach()[dark] == -1).all()
    net.canonical(w).square().sum().backward()
    assert w.grad[0, -3:-1, 4:].abs().min() > 0


@pytest.mark.parametrize("wrong", [{"detail_slope": 2.0}, {"detail_slope": -1.0}, {"toe": True}])
def test_parts_that_lack_what_they_work_on_are_refused(wrong):
    with pytest.raises(ModelError, match="architecture's"):
        AnatomyConfig(**wrong)


def curves(**values):
    made = BandCurves((0.05, 0.1))
    for name, value in values.items():
        getattr(made, name).copy_(torch.as_tensor(value))
    return made


def test_curves_change_nothing_until_they_are_fitted():
    torch.testing.assert_close(curves()(details()), details())


def test_a_curve_is_a_power_of_its_band():
    bands = torch.zeros(1, 8, 1, 1, 3)
    bands[0, 3, 0, 0] = torch.tensor([-0.2, 0.1, 0.4])
    tail, gain, spread = torch.zeros(7), torch.ones(7), torch.ones(7)
    tail[2], gain[2], spread[2] = 1.0, 3.0, 0.2
    shaped = curves(tail=tail, gain=gain, spread=spread)(bands)
    torch.testing.assert_close(shaped[0, 3, 0, 0], torch.tensor([-0.6, 0.15, 2.4]))
    others = [k for k in range(8) if k != 3]
    assert torch.equal(shaped[:, others], bands[:, others])
    # Beyond what brains hold it is straight.
    bands[0, 3, 0, 0] = torch.tensor([1.0, 2.0, 3.0]) * LARGEST_SIZE
    shaped = curves(tail=tail, gain=gain, spread=spread)(bands)[0, 3, 0, 0]
    torch.testing.assert_close(shaped / bands[0, 3, 0, 0], torch.full((3,), 3 * LARGEST_SIZE))


def test_brightness_is_a_factor_above_the_background():
    image = torch.rand(1, 1, 4, 4, 4) * 2 - 1
    shaped = inverse_haar(curves(brightness=0.9)(haar(image)))
    torch.testing.assert_close((shaped + 1) / 2, 0.9 * (image + 1) / 2)
