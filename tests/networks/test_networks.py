"""Whole networks: wirings, levels, noise, labels, and the discriminator's statistics."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import with_levels
from tolerances import LAYERS, SUMS

from stylegan3d.base import ModelError
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import (
    AnatomyConfig,
    DiscriminatorConfig,
    EncoderConfig,
    GeneratorConfig,
    config_of,
)
from stylegan3d.networks.discriminator import Discriminator, minibatch_stddev
from stylegan3d.networks.encoder import Encoder
from stylegan3d.networks.resampling import haar, inverse_haar, upsample_image
from stylegan3d.networks.synthesis import MappingNetwork, SynthesisNetwork

WIRINGS = list(itertools.product(("orig", "skip", "resnet"), ("image", "haar")))


def small(**settings) -> GeneratorConfig:
    return config_of(
        {"base": (3, 2, 4), "z_dim": 7, "w_dim": 8, **with_levels(settings, 3, (6, 5, 4))}
    )


def build(config: GeneratorConfig):
    torch.manual_seed(0)
    anatomy = isinstance(config, AnatomyConfig)
    network = AnatomyNetwork(config) if anatomy else SynthesisNetwork(config)
    for name, parameter in network.named_parameters():
        if name.endswith(("noise_strength", "image_const")):
            torch.nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize(("wiring", "head"), WIRINGS)
@pytest.mark.parametrize("base", [(5, 6, 7), (4, 4, 4), (16, 16, 2)])
def test_any_base_grid_gives_its_multiple(wiring, head, base):
    config = small(wiring=wiring, head=head, base=base, channels=(4, 4))
    volume = build(config)(torch.randn(2, config.num_layers, 8))
    factor = 4 if head == "haar" else 2
    assert volume.shape == (2, 1, *(n * factor for n in base))
    assert config.image_grids[-1] == tuple(volume.shape[2:])


@pytest.mark.parametrize(("wiring", "head"), WIRINGS)
def test_each_row_of_w_governs_its_layers_alone(wiring, head):
    """Row i changes what comes from its layer on; the last row only colours the image."""
    config = small(wiring=wiring, head=head)
    network = build(config)
    w = torch.randn(1, config.num_layers, 8)
    features = []
    hooks = [
        layer.register_forward_hook(lambda *a: features[-1].append(a[-1]))
        for level in network.levels
        for layer in level.layers
    ]
    for row in (None, *range(config.num_layers)):
        features.append([])
        changed = w.clone()
        if row is not None:
            changed[:, row] += 1
        network(changed)
    for hook in hooks:
        hook.remove()
    before, *after = features
    for row, now in enumerate(after):
        same = [torch.equal(a, b) for a, b in zip(before, now, strict=True)]
        assert same == [i < row for i in range(len(before))]


@pytest.mark.parametrize(("wiring", "head"), WIRINGS)
def test_batch_equals_one_by_one(wiring, head):
    network = build(small(wiring=wiring, head=head)).double()
    w = torch.randn(3, network.config.num_layers, 8, dtype=torch.float64)
    one_by_one = torch.cat([network(row, dtype=torch.float64) for row in w.split(1)])
    # The image itself is float32.
    torch.testing.assert_close(network(w, dtype=torch.float64).float(), one_by_one.float())


def test_basis_is_a_plain_sum_in_w_and_split_by_scale_in_w_plus():
    network = build(small(image_basis=5))
    torch.nn.init.normal_(network.image_basis.weight)
    w = torch.randn(1, 1, 8).expand(1, network.config.num_layers, 8).clone()
    linear = network(w)
    expected = torch.einsum("nk,kcxyz->ncxyz", w[:, 0, :5], network.image_basis.fields)
    torch.testing.assert_close(linear, expected, atol=LAYERS, rtol=LAYERS)
    # Row 0 governs the coarse grid alone: what it adds there is all that it changes.
    mixed = w.clone()
    mixed[:, 0] += torch.randn(8)
    change = network(mixed) - linear
    coarse = torch.nn.functional.avg_pool3d(change, 4)
    whole = torch.einsum("nk,kcxyz->ncxyz", mixed[:, 0, :5], network.image_basis.fields) - expected
    assert change.std() < 0.5 * whole.std()
    assert coarse.std() > 0.1 * torch.nn.functional.avg_pool3d(whole, 4).std()
    # The last level's rows leave every block of the next coarser grid's mean about where it was.
    fine = w.clone()
    fine[:, -3:-1] += torch.randn(8)
    change = network(fine) - linear
    assert torch.nn.functional.avg_pool3d(change, 4).std() < 0.2 * change.std()


@pytest.mark.parametrize("image_const", [False, True])
def test_haar_preview_is_the_block_mean_of_the_full_image(image_const):
    network = build(small(head="haar", image_const=image_const, base_input="dense"))
    w = torch.randn(1, network.config.num_layers, 8)
    full, half = network(w), network(w, level=-2)
    torch.testing.assert_close(haar(full)[:, :1], half, atol=SUMS, rtol=LAYERS)


def test_a_dense_base_of_low_rank_varies_in_as_many_ways():
    network = build(small(base_input="dense", base_rank=3))
    inputs = network.base(torch.randn(20, network.config.num_layers, 8), torch.float32)
    assert torch.linalg.matrix_rank((inputs - inputs.mean(dim=0)).flatten(1)) == 3


def test_skip_image_is_the_sum_of_upsampled_images():
    """Karras et al. 2020, Fig. 7b: every level adds its ToRGB to the upsampled sum so far."""
    network = build(small(wiring="skip"))
    config = network.config
    w = torch.randn(1, config.num_layers, 8)
    outputs = []
    hooks = [
        m.register_forward_hook(lambda *a: outputs.append(a[-1])) for m in network.to_rgb.values()
    ]
    made = network(w)
    for hook in hooks:
        hook.remove()
    total = outputs[0]
    for rgb in outputs[1:]:
        total = upsample_image(total, config.resample_kernel) + rgb
    torch.testing.assert_close(made, total)
    torch.testing.assert_close(network(w, level=0), outputs[0])


def test_layers_read_the_bands_of_one_white_volume_which_is_that_of_an_anatomy_model():
    config = small(head="haar", noise_bands=True)
    network = build(config)
    flowing = AnatomyNetwork(
        small(head="haar", image_const=True, detail_basis=2, flow_channels=(8, 8, 8))
    )
    (white,) = network.noise_maps(5)
    assert torch.equal(white, flowing.noise_maps(5)[0])
    read = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[2]))
        for layer in network.layers
    ]
    network(torch.randn(1, config.num_layers, 8), [white])
    for hook in hooks:
        hook.remove()
    for bands in (read[4], read[2], read[0]):  # the last layer of each level, fine to coarse
        torch.testing.assert_close(inverse_haar(bands) / 8**0.5, white, atol=SUMS, rtol=SUMS)
        white = bands[:, :1]
    with pytest.raises(ModelError, match="haar"):
        small(head="image", noise_bands=True)


def test_noise_modes():
    network = build(small())
    w = torch.randn(1, network.config.num_layers, 8)
    fixed = network(w, "fixed")
    assert torch.equal(fixed, network(w, "fixed"))
    assert not torch.equal(fixed, network(w, "none"))
    assert torch.equal(network(w, 5), network(w, 5))
    assert not torch.equal(network(w, 5), network(w, 6))
    assert not torch.equal(network(w, "random"), network(w, "random"))


def test_coarse_image_of_orig_wiring_is_refused():
    with pytest.raises(ModelError, match="resolutions only"):
        build(small(wiring="orig"))(torch.randn(1, 6, 8), level=-2)


def test_synthesis_gradient_reaches_w():
    network = build(small(channels=(3, 2), w_dim=3, head="haar")).double()
    w = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)

    def image(w):  # the sum in float64: the image is float32
        return haar(network(w, dtype=torch.float64))

    step = torch.randn_like(w)
    eps = 1e-2
    target = torch.randn_like(image(w))
    (gradient,) = torch.autograd.grad((image(w) * target).sum(), w)
    with torch.no_grad():
        ahead, behind = image(w + eps * step), image(w - eps * step)
        slope = ((ahead.double() - behind.double()) * target.double()).sum() / (2 * eps)
    # A difference of float32 images over a small step.
    assert float((gradient * step).sum()) == pytest.approx(float(slope), rel=5e-3, abs=5e-3)


def test_mapping_is_the_papers():
    config = small(label_dim=2, mapping_layers=3)
    torch.manual_seed(0)
    network = MappingNetwork(config)
    z, label = torch.randn(4, 7), torch.eye(2)[[0, 1, 0, 1]]
    x = np.concatenate([z.numpy(), label.numpy() @ network.embed.detach().numpy()], axis=1)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)
    for layer in network.layers:
        weight = layer.weight.detach().numpy() * 0.01 / np.sqrt(x.shape[1])
        x = x @ weight.T + layer.bias.detach().numpy() * 0.01
        x = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    np.testing.assert_allclose(network(z, label).detach().numpy(), x, rtol=LAYERS, atol=SUMS)
    # Only the direction of z counts.
    bare = MappingNetwork(small())
    torch.testing.assert_close(bare(z), bare(3 * z))


def test_minibatch_stddev_is_the_definition():
    x = torch.randn(6, 4, 2, 3, 2, dtype=torch.float64)
    made = minibatch_stddev(x, group=3)
    for sample in range(6):
        group = x[sample % 2 :: 2].numpy()  # sample n belongs to group n mod (N / G)
        spread = np.sqrt(group.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(made[sample, 4].numpy(), spread, rtol=SUMS)
    assert torch.equal(made[:, :4], x)


@pytest.mark.parametrize(("wiring", "head"), WIRINGS)
def test_discriminator_scores_each_volume(wiring, head):
    config = DiscriminatorConfig(
        base=(3, 2, 4), channels=(6, 5), wiring=wiring, head=head, mbstd_group=1
    )
    torch.manual_seed(0)
    network = Discriminator(config)
    factor = 4 if head == "haar" else 2
    volume = torch.randn(3, 1, *(n * factor for n in config.base))
    scores = network(volume)
    assert scores.shape == (3,)
    torch.testing.assert_close(scores[1:2], network(volume[1:2]))
    assert scores.std() > 0


@pytest.mark.parametrize("wiring", ["resnet", "skip"])
def test_a_discriminator_of_patches_judges_each_place_by_itself(wiring):
    config = DiscriminatorConfig(
        (9, 9, 9), (6, 5), 1, wiring, "haar", patches=True, mbstd_channels=0, mbstd_group=1
    )
    torch.manual_seed(0)
    network = Discriminator(config)
    volume = torch.randn(2, 1, 36, 36, 36)
    scores = network(volume)
    assert scores.shape == (2, 9**3)
    volume[1, :, :4] += 1.0
    moved = (network(volume) - scores).abs().reshape(2, 9, -1).amax(dim=2)
    assert moved[1, 0] > 0
    assert not moved[0].any()
    assert not moved[1, 5:].any()
    # The same patch elsewhere is another.
    same = network(torch.zeros(1, 1, 36, 36, 36)).reshape(9, 9, 9)
    assert same[3, 3, 3] != same[5, 3, 3]
    labelled = Discriminator(replace(config, label_dim=2))
    assert labelled(volume, torch.eye(2)).shape == (2, 9**3)


def test_conditional_discriminator_takes_the_labels_logit():
    config = DiscriminatorConfig(base=(2, 2, 2), channels=(4, 4), label_dim=3, mbstd_group=1)
    network = Discriminator(config)
    volume = torch.randn(1, 1, 4, 4, 4)
    each = [network(volume, row[None]).item() for row in torch.eye(3)]
    both = network(volume, torch.tensor([[1.0, 0.0, 1.0]])).item()
    assert both == pytest.approx(each[0] + each[2], abs=SUMS)


@pytest.mark.parametrize("head", ["image", "haar"])
def test_packed_volumes_are_scored_together(head):
    one = DiscriminatorConfig(base=(2, 2, 2), channels=(4, 4), head=head, mbstd_group=4)
    torch.manual_seed(0)
    network = Discriminator(replace(one, packed=2))
    channels = Discriminator(replace(one, image_channels=2, mbstd_group=2))
    channels.load_state_dict(network.state_dict())
    volume = torch.randn(4, 1, *(n * (4 if head == "haar" else 2) for n in one.base))
    scores = network(volume)
    torch.testing.assert_close(scores, channels(volume.reshape(2, 2, *volume.shape[2:])))
    other = volume[[0, 2, 1, 3]]  # in other company
    assert (network(other) - scores).abs().min() > 0
    labelled = Discriminator(replace(one, packed=2, label_dim=3))
    label = torch.eye(3)[[0, 2, 1, 1]]
    assert labelled(volume, label).shape == (2,)
    changed = labelled(volume, label[[0, 1, 1, 1]]) != labelled(volume, label)
    assert changed.tolist() == [False, True]


def test_encoder_gives_one_row_per_layer():
    config = EncoderConfig(base=(3, 2, 4), channels=(8, 8), w_dim=5, num_layers=4)
    network = Encoder(config)
    volume = torch.randn(2, 1, 12, 8, 16)
    w = network(volume)
    assert w.shape == (2, 4, 5)
    torch.testing.assert_close(w, w[:, :1].expand_as(w))  # offsets start at zero


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"wiring": "mesh"}, "wiring"),
        ({"head": "fourier"}, "head"),
        ({"channels": ()}, "incomplete"),
        ({"base": (4, 4, 0)}, "incomplete"),
        ({"base": (4, 4)}, "a list of 3"),
    ],
)
def test_impossible_architectures_are_refused(settings, word):
    with pytest.raises(ModelError, match=word):
        GeneratorConfig.from_dict(settings)
    with pytest.raises(ModelError, match="colour"):
        GeneratorConfig.from_dict({"colour": 1})


@pytest.mark.parametrize("made_inside", [False, True])
def test_inference_mode_leaves_nothing_behind_that_cannot_be_differentiated(made_inside):
    """What is kept between calls must serve a later call with gradients too."""
    config = small(
        base=(3, 1, 5),  # sizes no other test has, so that nothing of them is kept yet
        head="haar",
        wiring="skip",
        deformation=2,
        image_basis=3,
        detail_basis=2,
        image_const=True,
    )
    w = torch.randn(1, config.num_layers, 8)
    with torch.inference_mode(made_inside):
        network = build(config).requires_grad_(False)
        for basis in (network.image_basis, network.velocity_basis):
            inside = torch.ones_like(basis.inside)
            inside[0] = False  # so that it keeps where its values belong
            basis.set_fields(torch.randn(*basis.weight.shape[:2], *inside.shape) * 0.1, inside)
    with torch.inference_mode():
        expected = network(w)
    if made_inside:
        assert torch.equal(network(w), expected)
        return
    network(w.requires_grad_()).square().sum().backward()
    assert torch.isfinite(w.grad).all()
