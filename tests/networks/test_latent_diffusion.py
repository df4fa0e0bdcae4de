"""A diffusion of latents: its way from noise, the way back, and what a preview may cost."""

import numpy as np
import pytest
import torch
from tolerances import SUMS

from stylegan3d.base import ModelError, effort
from stylegan3d.networks.latent_diffusion import DiffusionConfig, DiffusionMapping, LatentDiffusion

CONFIG = DiffusionConfig((2, 3, 4, 3), (8, 8), 1, directions=4, most=10.0, least=0.05)


@pytest.fixture
def diffusion():
    torch.manual_seed(0)
    made = LatentDiffusion(CONFIG)
    made.gaussian.basis.copy_(torch.linalg.qr(torch.randn(CONFIG.w_dim, 4)).Q.T)
    made.gaussian.variances.copy_(torch.tensor([30.0, 10.0, 5.0, 2.0]))
    made.center.fill_(0.3)
    made.scale.fill_(2.0)
    return made


def bent(diffusion):
    """With a network that does something."""
    for name, parameter in diffusion.correction.named_parameters():
        if name.startswith(("head", "places")):
            torch.nn.init.normal_(parameter, std=0.03)
    return diffusion


def test_without_corrections_the_way_ends_where_the_gaussian_says(diffusion):
    z = torch.randn(3, CONFIG.w_dim)
    found = diffusion.draw(z, 60)
    x = diffusion.gaussian.from_normal(z, 0.0)
    assert torch.allclose(found, 0.3 + 2.0 * x, atol=0.15)  # sixty steps of an integration
    # The second order pays: fewer steps err more, but not by much.
    few = diffusion.draw(z, 8).detach()
    found = found.detach()
    assert float((few - found).square().mean().sqrt()) < 0.2 * float(found.std())


def test_brains_lead_back_to_their_noise(diffusion):
    bent(diffusion)
    z = torch.randn(2, CONFIG.w_dim)
    w = diffusion.draw(z, 40).detach()
    back = diffusion.invert(w, 40).detach()
    again = diffusion.draw(back, 40).detach()
    assert float((back - z).square().mean().sqrt()) < 0.2
    assert float((again - w).square().mean().sqrt()) < 0.05 * float(w.std())


def test_what_is_missed_counts_in_units_of_the_expected_error(diffusion):
    # A correction that says 1 everywhere moves every number by the error that is expected there.
    torch.nn.init.ones_(diffusion.correction.head.bias)
    x, sigma = torch.randn(1, CONFIG.w_dim), torch.tensor([0.7])
    linear = diffusion.gaussian.denoise(x, sigma)
    found = diffusion._found(x, 0.7, torch.float32, lambda: None)
    expected = linear + diffusion.gaussian.error(sigma).sqrt()
    assert torch.allclose(found, expected, atol=SUMS)


def test_levels_fall_in_equal_ratios_and_end_without_noise():
    levels = LatentDiffusion(CONFIG).levels(5)
    assert levels[0] == 10.0
    assert levels[-1] == 0.0
    assert levels[-2] == pytest.approx(0.05)
    ratios = np.divide(levels[1:-1], levels[:-2])
    assert np.allclose(ratios, ratios[0])


class Counting:
    """How often the network was asked."""

    def __init__(self, diffusion):
        self.calls = 0
        diffusion.correction.register_forward_hook(self.hook)

    def hook(self, *_):
        self.calls += 1


def test_a_latent_is_kept_and_serves_for_a_preview(diffusion):
    mapping = DiffusionMapping(bent(diffusion), 12, 4)
    count = Counting(diffusion)
    z = torch.randn(2, CONFIG.w_dim)
    with effort("preview"):
        quick = mapping(z)
    assert count.calls == 8
    careful = mapping(z)
    assert count.calls == 8 + 24
    assert not torch.equal(quick, careful)
    with effort("preview"):
        assert torch.equal(mapping(z), careful)
    assert torch.equal(mapping(z[1:]), careful[1:])
    assert count.calls == 32


def test_statistics_do_not_ask_the_network(diffusion):
    mapping = DiffusionMapping(bent(diffusion), 12, 4)
    count = Counting(diffusion)
    with effort("rough"):
        w = mapping(torch.randn(4000, CONFIG.w_dim))
    assert count.calls == 0
    assert float(w.mean()) == pytest.approx(0.3, abs=0.2)  # 4,000 random brains, spread by up to 11
    expected = 4 * (47 + CONFIG.w_dim - 4) / CONFIG.w_dim
    assert float(w.var(dim=0).mean()) == pytest.approx(expected, rel=0.1)  # 4,000 random brains


def test_what_is_not_wanted_any_more_ends_between_layers(diffusion):
    mapping = DiffusionMapping(diffusion, 12, 4)

    class Enough(Exception):
        pass

    def check():
        raise Enough

    with effort("full", check), pytest.raises(Enough):
        mapping(torch.randn(1, CONFIG.w_dim))
    assert torch.isfinite(mapping(torch.randn(1, CONFIG.w_dim))).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": (12, 8)}, "multiples of 8"),
        ({"blocks": 0}, "at least one channel, block"),
        ({"least": 0.0}, "between zero and the maximum"),
        ({"most": float("inf")}, "between zero and the maximum"),
    ],
)
def test_mistakes_are_told_in_a_sentence(changes, sentence):
    with pytest.raises(ModelError, match=sentence):
        DiffusionConfig(**changes)
