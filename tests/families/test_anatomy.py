"""Anatomy models: opened by what their card says, without silent layers, with the same bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_generator

from stylegan3d.base import ModelError
from stylegan3d.checkpoints.folder import write_folder
from stylegan3d.geometry.space import Space
from stylegan3d.model.card import card_text
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import load
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, GeneratorConfig, config_of
from stylegan3d.networks.memo import Memo
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import MappingNetwork, SynthesisNetwork
from stylegan3d.projection import project
from stylegan3d.projection.operators import Contrast
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer

SETTINGS = {
    "base": (5, 7, 6),
    "levels": 2,
    "z_dim": 10,
    "w_dim": 10,
    "head": "haar",
    "image_const": True,
    "image_basis": 3,
    "detail_basis": 3,
    "detail_slope": 1.0,
    "fine_taps": (0.2, -0.05),
    "toe": True,
    "deformation": 3,
    "deformation_level": 1,
    "flow_channels": (4, 4, 4),
    "flow_steps": 1,
}


#: Of a StyleGAN.
PLAIN = {"base": (5, 7, 6), "channels": (4, 4), "z_dim": 10, "w_dim": 10, "head": "haar"}


def whole_network():
    """A network with everything."""
    torch.manual_seed(0)
    network = AnatomyNetwork(AnatomyConfig(**SETTINGS))
    for basis, size in (
        (network.image_basis, 0.2),
        (network.detail_basis, 0.5),
        (network.velocity_basis, 0.02),
    ):
        torch.nn.init.normal_(basis.weight, std=size)
    torch.nn.init.normal_(network.image_const, mean=-0.1, std=0.3)
    for parameter in network.flow.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    network.flow.noise_strength.fill_(0.1)
    network.flow.spread.fill_(0.05)  # so that the gate is open
    return network.requires_grad_(False).eval()


def save(folder, network, family=None, **architecture):
    """A model's folder as it was written before the family had a name, if none is given."""
    torch.manual_seed(1)
    mapping = MappingNetwork(network.config)
    tensors = {f"synthesis.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"mapping.{k}": v for k, v in mapping.state_dict().items()}
    tensors["w_avg"] = torch.zeros(network.config.w_dim)
    plan = {"generator": network.config.to_dict(), "discriminator": None, "encoder": None}
    plan |= architecture | ({} if family is None else {"family": family})
    space = Space((80, 112, 96), np.diag([2.0, 2.0, 2.0, 1.0])).resized((20, 28, 24))
    card = {
        "name": "phantom",
        "modality": "None",
        "architecture": plan,
        "space": {
            "shape": list(space.shape),
            "affine": space.affine.tolist(),
            "axes": "RAS",
            "description": "Nowhere.",
        },
        "training_data": [],
        "training": {"people": 3, "images_seen": 0, "warm_start_images": 0},
        "licence": "CC0",
        "intended_use": "Tests.",
    }
    write_folder(folder, card, tensors)
    return folder


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anatomy") / "model"
    return load(save(folder, whole_network()), device="cpu")


@pytest.mark.parametrize("family", [None, "anatomy"])
def test_a_card_opens_as_an_anatomy_model(tmp_path, family):
    found = load(save(tmp_path / "model", whole_network(), family), device="cpu")
    assert found.family == "anatomy"
    assert type(found.synthesis) is AnatomyNetwork
    assert (found.config.channels, found.num_layers) == ((), 4)
    assert set(found.cannot) == {"score", "encode"}
    assert not found.has_layer_noise


def test_a_plain_stylegan_is_one():
    config = config_of({**PLAIN, "flow_steps": 4})
    assert type(config) is GeneratorConfig
    assert tiny_generator().family == "stylegan"
    with pytest.raises(ModelError, match="Only anatomy models support this"):
        anatomy_network(tiny_generator())
    with pytest.raises(ModelError, match="`skip` wiring"):
        config_of({**SETTINGS, "wiring": "orig"})


@pytest.mark.parametrize("noise", ["fixed", "none", 7])
def test_every_image_has_the_bits_of_a_model_without_former_layers(generator, noise):
    w = seed_latents(generator, [1, 2])
    w[:, 2:] = w[:, 2:].flip(0)  # rows that differ
    for level in range(len(generator.levels)):
        made = [net(w, noise, level) for net in (whole_network(), generator.synthesis)]
        assert torch.equal(*made)


def test_the_texture_of_a_seed_comes_after_the_noise_of_former_layers(generator):
    """Three maps on two levels, which nothing reads any more, are drawn first."""
    source = torch.Generator().manual_seed(7)
    for grid in ((5, 7, 6), (10, 14, 12), (10, 14, 12)):
        torch.randn(1, 1, *grid, generator=source)
    (noise,) = generator.synthesis.noise_maps(7)
    assert torch.equal(noise, torch.randn(noise.shape, generator=source))


def test_a_stylegan_may_start_at_the_mean_brain(tmp_path):
    network = SynthesisNetwork(config_of({**PLAIN, "image_const": True})).requires_grad_(False)
    torch.nn.init.normal_(network.image_const)
    found = load(save(tmp_path / "model", network), device="cpu")
    assert found.family == "stylegan"
    w = seed_latents(found, [1])
    plain = SynthesisNetwork(replace(network.config, image_const=False))
    plain.load_state_dict(network.state_dict(), strict=False)
    added = found.synthesize(w, 3) - plain(w, 3)
    torch.testing.assert_close(haar(added)[0], network.image_const)


def test_what_a_changed_row_does_not_reach_is_not_made_again(generator):
    memo, network = Memo(), generator.synthesis
    w = seed_latents(generator, [1])

    def computed(latent):
        with torch.inference_mode():
            memo.begin(latent, "fixed")
            assert torch.equal(network(latent, "fixed", memo=memo), network(latent, "fixed"))
        return memo.computed

    assert computed(w) == 4  # two images, the places, the flow
    last, fine = w.clone(), w.clone()
    last[:, 3] += 1
    assert computed(last) == 0
    fine[:, 2] += 1
    assert computed(fine) == 2  # the finer image and the flow


def test_a_change_of_contrast_can_be_allowed_for_in_a_thorough_projection(generator, monkeypatch):
    monkeypatch.setattr("stylegan3d.projection.search.WEIGHT_STEPS", 3)
    w = seed_latents(generator, [3])
    scan = Renderer(generator).render(w[0]).volume.clip(0, 1)
    result = project(generator, scan, budget="thorough", steps=2, operator=Contrast())
    changed = result.settings["changed"]
    assert changed == ["image_const"]
    if result.delta is not None:
        shown = Renderer(generator).render(result.w, delta=result.delta).volume
        assert np.array_equal(shown, result.volume)


def test_its_page_says_what_it_is(generator):
    page = card_text(generator.card)
    assert "Anatomy model: a constant image, 3 linear appearance images" in page
    assert "a deformation by 3 velocity fields, a rectified flow of 1 step" in page
    assert "StyleGAN2" not in page


def test_the_bundled_generator_is_one():
    bundled = load(device="cpu")
    assert bundled.family == "anatomy"
    assert (bundled.num_layers, bundled.w_dim) == (8, 288)
    assert type(bundled.synthesis) is AnatomyNetwork
