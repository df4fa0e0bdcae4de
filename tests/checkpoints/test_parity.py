"""Official networks give what the original program gives, to 2e-5 of the largest value."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import naive_official as naive
from checkpoints.official_files import Maker, dumps, variables_of

from stylegan3d.model.generator import load
from stylegan3d.recipe.model import seed_latents

DATA = Path(__file__).parent / "data"
FIXTURES = ("official_tiny", "official_tiny_skip")
LIMIT = 2e-5


def error(found, expected):
    """Largest error in units of the largest value."""
    found, expected = (
        x.detach().double().numpy() if torch.is_tensor(x) else np.asarray(x, np.float64)
        for x in (found, expected)
    )
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module", params=FIXTURES)
def case(request):
    """A generator, and what the original made with it."""
    with np.load(DATA / f"{request.param}.npz") as file:
        outputs = {name: file[name] for name in file.files}
    return load(DATA / f"{request.param}.pkl"), outputs


def tensor(values):
    return torch.from_numpy(values)


def test_mapping_and_truncation(case):
    G, original = case
    z = tensor(original["z"])
    assert error(G.map(z), original["w"]) < LIMIT
    assert error(G.map(z, truncation=0.5), original["w_psi05"]) < LIMIT
    cut = G.map(z, truncation=0.5, truncation_layers=2)
    assert error(cut, original["w_psi05_cutoff2"]) < LIMIT


@pytest.mark.parametrize(
    ("w", "images"),
    [
        ("w", "images_psi_none"),
        ("w_psi05", "images_psi05"),
        ("w_psi05_cutoff2", "images_psi05_cutoff2"),
        ("w_mix", "images_mix"),
    ],
)
@pytest.mark.parametrize("batch", [1, 8])
def test_images(case, w, images, batch):
    G, original = case
    expected = original[images]
    rows = tensor(original[w])[: len(expected)]
    with torch.no_grad():
        made = torch.cat([G.synthesize(part) for part in rows.split(batch)])
    assert error(made, expected) < LIMIT


def test_images_without_noise(case):
    G, original = case
    w = tensor(original["w"])[:1]
    assert error(G.synthesize(w, noise="none"), original["images_psi_none_nonoise"]) < LIMIT
    assert error(G.synthesize(w), original["images_psi_none_nonoise"]) > 1e-3


def test_scores_in_batches_of_one_four_and_eight(case):
    G, original = case
    images, reals = tensor(original["images_psi_none"]), tensor(original["reals"])
    with torch.no_grad():
        single = torch.cat([G.score(image) for image in images.split(1)])
        assert error(single, original["scores_fake_batch1"][:, 0]) < LIMIT
        assert error(G.score(images), original["scores_fake_batch4"][:, 0]) < LIMIT
        assert error(G.score(reals), original["scores_reals_batch8"][:, 0]) < LIMIT


def test_any_number_of_volumes_can_be_scored(case):
    """The original takes multiples of four only; here the group shrinks to a divisor."""
    G, original = case
    reals = tensor(original["reals"])
    with torch.no_grad():
        six = G.score(reals[:6])  # groups of 3: volumes 0, 2, 4 and 1, 3, 5
        torch.testing.assert_close(six[0::2], G.score(reals[[0, 2, 4]]), rtol=1e-4, atol=1e-4)
        for n in (2, 3, 5, 7):
            assert G.score(reals[:n]).shape == (n,)


def test_gradients(case):
    G, original = case
    w = tensor(original["w"]).requires_grad_()
    maps = [m.clone().requires_grad_() for m in G.synthesis.noise_maps("fixed")]
    weighted = G.synthesis(w, maps) * tensor(original["grad_weighting"])
    loss = weighted.sum(dim=0).mean()
    loss.backward()
    assert error(loss, original["grad_loss"]) < 1e-4  # a small sum of large terms
    assert error(w.grad, original["grad_w"]) < LIMIT
    assert error(maps[0].grad, original["grad_noise_first"]) < LIMIT
    assert error(maps[-1].grad, original["grad_noise_last"]) < LIMIT
    images = tensor(original["images_psi_none"]).requires_grad_()
    G.score(images).sum().backward()
    assert error(images.grad, original["grad_D_images"]) < LIMIT


def naive_pair(Gs, D, value):
    """The reference's networks from those of a file."""

    def plain(network):
        found = {}
        for key, setting in network.state["static_kwargs"].items():
            found[key] = int(value(setting)) if key == "resolution" else setting
        return found

    parts = Gs.state["components"]
    values = [
        {name: value(v) for name, v in variables_of(network).items()}
        for network in (parts["mapping"], parts["synthesis"], Gs, D)
    ]
    settings = plain(Gs) | plain(parts["synthesis"]) | plain(parts["mapping"])
    generator = naive.Generator(*values[:2], values[2]["dlatent_avg"], settings)
    return generator, naive.Discriminator(values[3], plain(D))


VARIANTS = {
    "resnet": {"g_wiring": "resnet", "d_wiring": "resnet"},
    "resnet and skip": {"g_wiring": "resnet", "d_wiring": "skip", "base": (4, 4, 4)},
    "5:6:7": {"base": (5, 6, 7), "levels": 2, "d_wiring": "resnet"},
    "cube": {"base": (4, 4, 4), "g_wiring": "skip", "d_wiring": "resnet"},
    "four levels": {"base": (2, 2, 2), "levels": 4},
    "odd base": {"base": (5, 1, 2), "g_wiring": "skip", "d_wiring": "skip"},
    "conditional": {"labels": 3, "latent": 6, "g_wiring": "skip", "d_wiring": "resnet"},
    "one label": {"labels": 1},
    "channels": {"channels": 3, "g_wiring": "skip", "d_wiring": "skip"},
    "channels, orig": {"channels": 2, "labels": 2},
    "filter counts": {
        "fmaps": {"fmap_base": 12, "fmap_min": 2, "fmap_max": 9},
        "latent": 5,
        "dlatent": 7,
        "mapping_fmaps": 6,
        "g_wiring": "resnet",
        "d_wiring": "resnet",
    },
    "filter counts, skip": {
        "fmaps": {"fmap_base": 16, "fmap_min": 3, "fmap_max": 100},
        "latent": 8,
        "dlatent": 6,
        "g_wiring": "skip",
        "d_wiring": "skip",
    },
    "no filter": {
        "g_wiring": "skip",
        "d_wiring": "skip",
        "settings": {"resample_kernel": None},
    },
    "no filter, resnet": {
        "g_wiring": "resnet",
        "d_wiring": "resnet",
        "settings": {"resample_kernel": None},
    },
    "four taps": {
        "g_wiring": "skip",
        "d_wiring": "resnet",
        "settings": {"resample_kernel": [1, 3, 3, 1]},
    },
    "lopsided filter": {
        "g_wiring": "resnet",
        "d_wiring": "skip",
        "settings": {"resample_kernel": (1.0, 2.5, 4.0)},
    },
    "no noise": {"noise": False, "settings": {"no_noise": True}},
    "another mapping": {
        "mapping_layers": 3,
        "mapping_fmaps": 11,
        "settings": {"mapping_lrmul": 0.05, "normalize_latents": False},
    },
    "one mapping layer": {"mapping_layers": 1, "settings": {"mbstd_group_size": 2}},
    "one level": {"levels": 1},
    "default wirings": {"g_wiring": "skip", "d_wiring": "orig", "base": (4, 4, 4), "levels": 2},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_that_of_the_naive_reference(name, tmp_path):
    maker = Maker(seed=len(name), **VARIANTS[name])
    _, D, Gs = networks = maker.all()
    if name == "default wirings":
        for network in (*networks, Gs.state["components"]["synthesis"]):
            for key in ("architecture", "base_size"):
                network.state["static_kwargs"].pop(key, None)
        Gs.state["components"]["mapping"].state["static_kwargs"].pop("architecture")
    path = tmp_path / "network.pkl"
    path.write_bytes(dumps(networks))
    G = load(path)
    generator, judge = naive_pair(Gs, D, lambda value: value)
    random = np.random.RandomState(1)
    z = random.randn(2, G.z_dim)
    label = random.randn(2, maker.labels) if maker.labels else None
    given = None if label is None else tensor(label).float()
    w = generator.map(z, label)
    found = G.map(tensor(z).float(), given)
    assert error(found, w) < LIMIT
    w.requires_grad_()
    found.requires_grad_()
    expected, made = generator.synthesize(w), G.synthesize(found)
    assert error(made, expected) < LIMIT
    one = G.synthesize(found[1:2])
    assert error(one, expected[1:2]) < LIMIT
    weighting = tensor(random.randn(*made.shape[1:]))
    (expected * weighting).mean().backward()
    (made * weighting).mean().backward()
    # Looser: where rounding takes a value over the kink of a ReLU, the slope there is the other.
    assert error(found.grad, w.grad) < 2e-2
    images = tensor(random.randn(4, *made.shape[1:]))
    if maker.labels:
        label = random.randn(4, maker.labels)
        given = tensor(label).float()
    score = judge.score(images, label)
    assert error(G.score(images.float(), given), score) < LIMIT
    if maker.labels:
        zeros = np.zeros((2, maker.labels))
        assert error(G.map(tensor(z).float()), generator.map(z, zeros)) < LIMIT


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("numpy2", [False, True])
def test_every_protocol_gives_the_same_network(protocol, numpy2, tmp_path):
    networks = Maker(levels=2, base=(3, 4, 2)).all()
    first, second = tmp_path / "network.pkl", tmp_path / "other.bin"
    first.write_bytes(dumps(networks, 5))
    second.write_bytes(dumps(networks, protocol, numpy2))
    G, H = load(first), load(second)
    w = seed_latents(G, [0])
    assert torch.equal(w, seed_latents(H, [0]))
    assert torch.equal(G.synthesize(w), H.synthesize(w))
    images = torch.randn(4, 1, *G.shape)
    assert torch.equal(G.score(images), H.score(images))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_fortran_order_other_bytes_and_other_precisions_are_honoured(protocol, tmp_path):
    networks = Maker(levels=2, base=(3, 4, 2)).all()
    (tmp_path / "a.pkl").write_bytes(dumps(networks))
    changes = [
        np.asfortranarray,
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.float64),
        lambda x: np.asfortranarray(x.astype(">f8")),
        lambda x: np.ascontiguousarray(x.T).T if x.ndim == 5 else x,
        lambda x: x.copy(),
    ]
    for network in networks:
        for part in (network, *network.state["components"].values()):
            variables = part.state["variables"]
            for i, (name, value) in enumerate(variables):
                if np.ndim(value):
                    value = changes[i % len(changes)](value)
                variables[i] = (name, value)
    (tmp_path / "b.pkl").write_bytes(dumps(networks, protocol))
    G, H = load(tmp_path / "a.pkl"), load(tmp_path / "b.pkl")
    for name, value in G.synthesis.state_dict().items():
        assert torch.equal(value, H.synthesis.state_dict()[name])
    for name, value in G.discriminator.state_dict().items():
        assert torch.equal(value, H.discriminator.state_dict()[name])
