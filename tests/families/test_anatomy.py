"""Anatomy models: opened by what their card says, without silent layers, with the same bits."""

import numpy as np
import pytest
import torch

from stylegan3d.checkpoints.folder import write_folder
from stylegan3d.errors import ModelError
from stylegan3d.geometry.space import Space
from stylegan3d.model.card import card_text
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.loading import load
from stylegan3d.model.tiny import tiny_generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.anatomy_config import AnatomyConfig, config_of
from stylegan3d.networks.anatomy_layers import LayeredAnatomy, build_synthesis
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.networks.memo import Memo
from stylegan3d.projection import project
from stylegan3d.projection.contrast import Contrast
from stylegan3d.recipe.latents import Delta
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer

SETTINGS = {
    "base": (5, 7, 6),
    "channels": (4, 4),
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


def layered(silent=True):
    """A network with everything, whose layers make nothing of the image if they are silent."""
    torch.manual_seed(0)
    network = build_synthesis(AnatomyConfig(**SETTINGS))
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
    if silent:
        for rgb in network.image_layers:
            torch.nn.init.zeros_(rgb.conv.weight)
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
    return load(save(tmp_path_factory.mktemp("anatomy") / "model", layered()), device="cpu")


@pytest.mark.parametrize("family", [None, "stylegan", "anatomy"])
def test_a_card_of_before_opens_as_an_anatomy_model_without_its_silent_layers(tmp_path, family):
    found = load(save(tmp_path / "model", layered(), family), device="cpu")
    assert found.family == "anatomy"
    assert type(found.synthesis) is AnatomyNetwork
    assert (found.config.channels, found.num_layers) == ((), 4)
    assert not any(k.startswith(("levels", "to_rgb")) for k in found.synthesis.state_dict())
    assert set(found.cannot) == {"score", "encode"}
    assert not found.has_layer_noise


def test_layers_that_add_to_the_image_stay(tmp_path):
    network = layered(silent=False)
    found = load(save(tmp_path / "model", network), device="cpu")
    assert found.family == "anatomy"
    assert isinstance(found.synthesis, LayeredAnatomy)
    w = seed_latents(found, [1])
    assert torch.equal(found.synthesize(w, 3), network(w, 3))


def test_settings_of_a_cascade_are_passed_over_if_it_has_none():
    former = {"layout_channels": [], "fine_channels": [], "cascade_steps": 8}
    assert config_of({**SETTINGS, **former}) == AnatomyConfig(**SETTINGS)
    with pytest.raises(ModelError, match="has a cascade of flows"):
        config_of({**SETTINGS, **former, "layout_channels": [8, 8, 8]})


def test_a_plain_stylegan_is_one():
    settings = {k: v for k, v in SETTINGS.items() if k in GeneratorConfig.__dataclass_fields__}
    # As cards of before say it: with the settings of anatomy models at nought.
    config = config_of({**settings, "image_basis": 0, "deformation": 0, "flow_steps": 4})
    assert type(config) is GeneratorConfig
    assert tiny_generator().family == "stylegan"
    with pytest.raises(ModelError, match="Only anatomy models support this"):
        anatomy_network(tiny_generator())
    with pytest.raises(ModelError, match="`skip` wiring"):
        config_of({**SETTINGS, "wiring": "orig"})


@pytest.mark.parametrize("noise", ["fixed", "none", 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_image_has_the_bits_it_had_with_silent_layers(generator, noise, dtype):
    whole = layered()
    w = seed_latents(generator, [1, 2])
    w[:, 2:] = w[:, 2:].flip(0)  # rows that differ
    for level in range(len(generator.levels)):
        for draft in (False, True):
            made = [
                net(w, noise, level, dtype, draft=draft) for net in (whole, generator.synthesis)
            ]
            assert torch.equal(*made)
    for a, b in zip(whole.pyramid(w, noise), generator.synthesis.pyramid(w, noise), strict=True):
        assert torch.equal(a, b)


def test_gradients_are_those_it_had(generator):
    w = seed_latents(generator, [1])
    found = []
    for network in (layered(), generator.synthesis):
        leaf = w.clone().requires_grad_(True)
        network(leaf, "fixed").square().sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(*found)
    assert not found[1][:, -1].any(), "the last row has no effect"


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


def test_a_tuning_of_layers_that_were_left_out_still_shows_the_same(generator):
    """Latents saved before carry such: noise of silent layers, or weights of the last level."""
    names = ("to_rgb.1.conv.weight", "levels.1.plain.bias", "levels.0.plain.noise", "flow.noise")
    whole = layered()
    state, random = whole.state_dict(), np.random.default_rng(0)
    delta = Delta({k: random.normal(0, 0.5, tuple(state[k].shape)) for k in names})
    w = seed_latents(generator, [1])
    before = generator.synthesize(w)
    tuned = generator.tuned(delta)
    for name, values in delta.tensors.items():
        state[name] += torch.from_numpy(values.astype(np.float32))
    assert torch.equal(tuned.synthesize(w), whole(w))
    assert not torch.equal(tuned.synthesize(w), before)
    assert torch.equal(generator.synthesize(w), before)
    assert tuned.synthesis.image_basis.weight.data_ptr() == (
        generator.synthesis.image_basis.weight.data_ptr()
    )
    shown = Renderer(generator).render(w[0], delta=delta).volume
    assert np.array_equal(shown, Renderer(tuned).render(w[0]).volume)


@pytest.mark.parametrize("silent", [True, False], ids=["silent layers", "no layers"])
def test_a_change_of_contrast_can_be_allowed_for_in_a_thorough_projection(
    generator, monkeypatch, silent
):
    monkeypatch.setattr("stylegan3d.projection.pivotal.WEIGHT_STEPS", 3)
    monkeypatch.setattr(
        generator.synthesis, "silent", generator.synthesis.silent if silent else None
    )
    w = seed_latents(generator, [3])
    scan = Renderer(generator).render(w[0]).volume.clip(0, 1)
    result = project(generator, scan, budget="thorough", steps=2, operator=Contrast())
    changed = result.settings["changed"]
    assert (
        all(k.startswith(("levels.1.", "to_rgb.1.")) for k in changed)
        if silent
        else (changed == ["image_const"])
    )
    if result.delta is not None:
        shown = Renderer(generator).render(result.w, delta=result.delta).volume
        assert np.array_equal(shown, result.volume)


def test_its_page_says_what_it_is(generator):
    page = card_text(generator.card)
    assert "Anatomy model: a constant image, 3 linear appearance images" in page
    assert "a deformation by 3 velocity fields, a rectified flow of 1 step" in page
    assert "StyleGAN2" not in page
    trained = generator.card | {"training": generator.card["training"] | {"images_seen": 8}}
    assert "StyleGAN2 layers of (4, 4) channels" in card_text(trained)


def test_the_bundled_generator_is_one():
    bundled = load(device="cpu")
    assert bundled.family == "anatomy"
    assert (bundled.num_layers, bundled.w_dim) == (8, 288)
    assert type(bundled.synthesis) is AnatomyNetwork
