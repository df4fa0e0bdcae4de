"""Training runs, stops, survives a kill, and ends in a generator anybody can load."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.errors import ModelError, OutputError, StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.model.loading import load
from stylegan3d.networks.anatomy_config import config_of
from stylegan3d.networks.config import EncoderConfig, GeneratorConfig
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.networks.synthesis import SynthesisNetwork
from stylegan3d.recipe.model import seed_latents
from stylegan3d.storage.checkpoint import PREVIOUS
from stylegan3d.training import adversarial, warm_start
from stylegan3d.training.adversarial import adversarial_step, random_rows
from stylegan3d.training.config import PRESETS, TrainConfig, brain_2mm, tiny
from stylegan3d.training.data import Batches, fixed_volumes
from stylegan3d.training.export import export_generator
from stylegan3d.training.loop import LOG
from stylegan3d.training.parts import split
from stylegan3d.training.scaling import latent_scales, scale_latent
from stylegan3d.training.start import set_gaussian, start_from_data
from stylegan3d.training.state import CHECKPOINT, TrainState
from stylegan3d.training.stylegan import train
from stylegan3d.training.team import Team
from stylegan3d.training.warm_start import (
    at_once,
    fit_mapping,
    latents_of,
    level_at,
    reconstruction_step,
)

SHAPE = (20, 28, 24)
PLAIN = GeneratorConfig(channels=(8, 6), z_dim=8, w_dim=8, head="haar", mapping_linear_output=True)

MEAN = config_of({**PLAIN.to_dict(), "image_const": True})

ALONE = replace(tiny().discriminator, mbstd_group=1)


def short(**changes) -> TrainConfig:
    settings = {"warm_start_images": 24, "coarse_images": 8, "total_images": 32, "log_images": 8}
    return tiny().with_(**(settings | changes))


def weights(state):
    return {f"{n}.{k}": v for n, m in state.nets.items() for k, v in m.state_dict().items()}


def test_batches_depend_on_seed_and_step_alone(pack):
    batches = Batches(pack, short(batch=3))
    again = Batches(pack, short(batch=3))
    stream = again.stream(5)
    assert torch.equal(batches.batch(5), next(stream))
    assert torch.equal(batches.batch(6), next(stream))
    stream.close()
    # Over an epoch everybody is seen once.
    seen = np.concatenate([batches.indices(s) for s in range(8)])[:8]
    assert sorted(seen) == list(range(8))
    assert batches.batch(0).shape == (3, 1, *SHAPE)
    assert batches.batch(0).min() >= -1


def test_reconstruction_learns(pack):
    state = TrainState(short(generator_lr=0.02, coarse_images=0), torch.device("cpu"))
    start_from_data(state, pack)
    real = fixed_volumes(pack, "train")[:4]
    losses = [reconstruction_step(state, real, torch.float32)["reconstruction"] for _ in range(40)]
    assert losses[-1] < 0.85 * losses[0]


def test_training_starts_at_the_linear_model(pack):
    """Before the first step the auto-encoder is the PCA of the data, and w a unit Gaussian."""
    config = short()
    state = TrainState(config, torch.device("cpu"))
    start_from_data(state, pack)
    volumes = fixed_volumes(pack, "train")
    low = torch.nn.functional.avg_pool3d(volumes, 2).flatten(1).double().numpy()
    mirrored = torch.nn.functional.avg_pool3d(volumes.flip(2), 2).flatten(1).double().numpy()
    pca = PCA(4).fit(np.concatenate([low, mirrored]))
    expected = pca.inverse_transform(pca.transform(low)) - pca.mean_
    with torch.no_grad():
        w = state.encoder(volumes)
        for rgb in state.synthesis.to_rgb.values():
            rgb.conv.weight.zero_()
        made = state.synthesis(w, "none", level=-2).flatten(1).numpy()
        made = made - state.synthesis(w * 0, "none", level=-2).flatten(1).numpy()
    np.testing.assert_allclose(made, expected, atol=LAYERS)
    both = torch.cat([w, state.encoder(volumes.flip(2))])[:, 0, :4]
    torch.testing.assert_close(both.square().mean(dim=0), torch.ones(4), atol=LAYERS, rtol=0)
    torch.testing.assert_close(w, w[:, :1].expand_as(w))
    z = torch.randn(3000, 16)
    unit = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True))
    torch.testing.assert_close(state.mapping(z), unit, atol=LAYERS, rtol=0)
    averages = {f"{n}.{k}": v for n, m in state.averages.items() for k, v in m.state_dict().items()}
    assert torch.equal(averages["mapping.layers.0.weight"], state.mapping.layers[0].weight)


def test_the_encoder_of_a_plain_stylegan_starts_at_the_principal_components(pack):
    """Its latents are whitened, so that random brains are spread over what subjects differ in."""
    config = short(
        generator=PLAIN, encoder=EncoderConfig(channels=(8, 6), w_dim=8, num_layers=4, linear=6)
    )
    state = TrainState(config, torch.device("cpu"))
    start_from_data(state, pack)
    volumes = fixed_volumes(pack, "train")
    both = torch.cat([volumes, volumes.flip(2)])
    w = state.encoder(both)[:, 0].detach()
    torch.testing.assert_close(w.mean(dim=0), torch.zeros(8), atol=LAYERS, rtol=0)
    covariance = w.T @ w / len(w)
    expected = torch.diag(torch.tensor([1.0] * 6 + [0.0] * 2))
    torch.testing.assert_close(covariance, expected, atol=LAYERS, rtol=0)


def test_small_volumes_are_synthesised_together_on_a_cpu_and_alike(pack, monkeypatch):
    assert at_once(torch.device("cpu"), brain_2mm().generator, 8) == 1
    assert at_once(torch.device("cpu"), PRESETS["stylegan-4mm"]().generator, 16) == 8
    assert at_once(torch.device("cuda"), brain_2mm().generator, 8) == 8
    config = short(generator_lr=0.02, coarse_images=0)
    real = fixed_volumes(pack, "train")[:4]
    found = []
    for cached in (warm_start.CACHED_VOXELS, 1):
        monkeypatch.setattr(warm_start, "CACHED_VOXELS", cached)
        state = TrainState(config, torch.device("cpu"))
        start_from_data(state, pack)
        found.append(reconstruction_step(state, real, torch.float32)["reconstruction"])
    assert at_once(torch.device("cpu"), config.generator, 4) == 1
    assert found[0] == pytest.approx(found[1], abs=FLOAT32)


def test_coarse_levels_come_first():
    config = short()
    assert level_at(config, 0) == 0
    assert level_at(config, config.coarse_images) == 1


def test_a_resumed_run_equals_one_that_never_stopped(pack, tmp_path):
    """Through both phases, down to the last bit of every weight and optimiser moment."""
    whole = train(pack.path, tmp_path / "whole", short())
    train(pack.path, tmp_path / "cut", short(), changes={"total_images": 12})
    resumed = train(pack.path, tmp_path / "cut", resume=True, changes={"total_images": 32})
    assert resumed.images == whole.images == 32
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    moments = [s.maker.state_dict()["state"] for s in (whole, resumed)]
    for key, entry in moments[0].items():
        assert torch.equal(entry["exp_avg_sq"], moments[1][key]["exp_avg_sq"])


def test_run_survives_kill_9(pack, tmp_path):
    """Killed without warning, the run goes on from its last checkpoint."""
    program = (
        "import sys; from stylegan3d.training.stylegan import train;"
        "from stylegan3d.training.config import tiny;"
        "train(sys.argv[1], sys.argv[2], tiny().with_(total_images=10**6, warm_start_images=10**6,"
        "log_images=8, checkpoint_minutes=0))"
    )
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", program, str(pack.path), str(out)])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:  # the first checkpoint is of no images yet
        if (out / CHECKPOINT).exists() and TrainState.load(out, torch.device("cpu")).images:
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = TrainState.load(out, torch.device("cpu")).images
    assert before > 0
    state = train(pack.path, out, resume=True, changes={"total_images": before + 8})
    assert state.images == before + 8


def test_sigterm_stops_cleanly(pack, tmp_path):
    def stop(progress):
        if progress.logged:
            os.kill(os.getpid(), signal.SIGTERM)

    state = train(pack.path, tmp_path / "run", short(), report=stop)
    assert 0 < state.images < 32
    assert TrainState.load(tmp_path / "run", torch.device("cpu")).images == state.images
    log = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert log[0]["images"] == 8
    assert {"reconstruction", "validation_psnr", "validation_ssim"} <= set(log[0])


def test_adversarial_step_moves_all_networks(pack):
    state = TrainState(short(), torch.device("cpu"))
    start_from_data(state, pack)
    before = {k: v.clone() for k, v in weights(state).items()}
    judge = {k: v.clone() for k, v in state.discriminator.state_dict().items()}
    log = adversarial_step(state, fixed_volumes(pack, "train")[:4], torch.float32)
    assert {"generator", "discriminator", "r1", "path_length", "reconstruction"} <= set(log)
    assert all(np.isfinite(v) for v in log.values())
    moved = {k.split(".")[0] for k, v in weights(state).items() if not torch.equal(v, before[k])}
    assert moved == {"mapping", "synthesis", "encoder"}
    after = state.discriminator.state_dict()
    assert all(not torch.equal(after[k], v) for k, v in judge.items() if k.endswith("weight"))


def without_reconstructions(**changes) -> TrainConfig:
    encoder = EncoderConfig(channels=(8, 6), w_dim=8, num_layers=4)
    settings = {"warm_start_images": 0, "coarse_images": 0, "reconstructed_share": 0.0}
    return short(**({"generator": PLAIN, "encoder": encoder} | settings | changes))


def test_without_reconstructions_the_encoder_is_left_alone(pack):
    state = TrainState(without_reconstructions(), torch.device("cpu"))
    start_from_data(state, pack)
    # The image starts as dark as a volume is on average.
    start = float(state.synthesis.image_layers[0].bias.detach()[0])
    assert start == pytest.approx(float(pack.template.mean()) * 2 - 1)
    before = {k: v.clone() for k, v in weights(state).items()}
    log = adversarial_step(state, fixed_volumes(pack, "train")[:4], torch.float32)
    assert {"generator", "discriminator", "r1", "path_length"} <= set(log)
    assert not {"reconstruction", "kl"} & set(log)
    moved = {k.split(".")[0] for k, v in weights(state).items() if not torch.equal(v, before[k])}
    assert moved == {"mapping", "synthesis"}
    assert torch.isfinite(state.w_avg).all()
    assert state.w_avg.abs().max() > 0


def test_a_stylegan_may_start_at_the_mean_brain(pack):
    state = TrainState(without_reconstructions(generator=MEAN), torch.device("cpu"))
    start_from_data(state, pack)
    mean = torch.from_numpy(pack.template) * 2 - 1
    rows = random_rows(state, range(20))[0]
    with torch.no_grad():
        made = state.synthesis(rows, "none")[:, 0]
    dark = mean < -0.99
    assert (made.mean(dim=0) - mean)[~dark].abs().mean() < 0.1  # 20 brains
    assert (made[:, dark] < -1).float().mean() > 0.8
    assert made.std(dim=0)[~dark].mean() > 0.02, "they differ from the start"
    before = state.synthesis.image_const.detach().clone()
    log = adversarial_step(state, fixed_volumes(pack, "train")[:4], torch.float32)
    assert all(np.isfinite(v) for v in log.values())
    assert not torch.equal(state.synthesis.image_const, before)


def test_nothing_darker_than_the_background_is_judged(pack, monkeypatch):
    state = TrainState(without_reconstructions(), torch.device("cpu"))
    start_from_data(state, pack)
    with torch.no_grad():
        state.synthesis.image_layers[0].bias.fill_(-3.0)
    judged, scores = [], adversarial.scores

    def noted(state, volumes, *rest, **named):
        judged.append(volumes.detach())
        return scores(state, volumes, *rest, **named)

    monkeypatch.setattr(adversarial, "scores", noted)
    adversarial_step(state, fixed_volumes(pack, "train")[:4], torch.float32)
    assert min(float(volumes.min()) for volumes in judged) == -1
    assert any((volumes == -1).float().mean() > 0.9 for volumes in judged), "the fakes are dark"


def test_the_share_of_reconstructions_counts_fakes_of_a_group():
    group = 4
    for share, count in {0.0: 0, 0.1: 1, 0.5: 2, 0.9: 3}.items():
        config = without_reconstructions(reconstructed_share=share, batch=8)
        assert config.group == group
        assert config.reconstructed_in_group == count
        whole = torch.zeros(8, 1, 1, 1, 1)
        (part,) = split(config, Team(torch.device("cpu")), whole, None, torch.device("cpu"))
        assert len(part.reconstructed) == part.reconstructed_in_all == 2 * count
        assert sorted([*part.reconstructed, *part.random]) == [*range(8)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"silent_layers": 4}, "has 3 layers that can add noise"),
        ({"silent_layers": -1}, "silent_layers is 0 to 3"),
        ({"adversarial_loss": "hinge"}, "choose logistic or relativistic"),
        ({"adversarial_loss": "relativistic", "d_augment": "adaptive"}, "sign of scores"),
        ({"reconstructed_share": 1.0}, "below 1"),
        ({"generator_beta1": -0.1}, "at least 0"),
        ({"warm_start_images": 8}, "no reconstruction phase"),
        ({"reconstructed_share": 0.5, "discriminator": ALONE}, "mbstd_group to 2 or more"),
        ({"generator": tiny().generator, "encoder": tiny().encoder}, "set reconstructed_share"),
        ({"discriminator": replace(ALONE, packed=0)}, "judges 0 volumes"),
        ({"discriminator": replace(ALONE, packed=2)}, "multiples of that number"),
        ({"discriminator": replace(ALONE, packed=3, mbstd_group=6)}, "multiples of that number"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, said):
    with pytest.raises(ModelError, match=said):
        without_reconstructions(**settings)


def test_relativistic_pairing_gives_both_networks_one_difference(pack):
    """Generator and discriminator see the same pairs: their losses are those of one difference."""
    config = without_reconstructions(
        adversarial_loss="relativistic", r2_gamma=10.0, discriminator_lr=0.0
    )
    state = TrainState(config, torch.device("cpu"))
    start_from_data(state, pack)
    before = {k: v.clone() for k, v in weights(state).items()}
    log = adversarial_step(state, fixed_volumes(pack, "train")[:4], torch.float32)
    assert log["r1"] > 0
    assert log["r2"] > 0
    # softplus(d) - softplus(-d) = d
    difference = log["real_score"] - log["fake_score"]
    assert log["generator"] - log["discriminator"] == pytest.approx(difference, abs=SUMS)
    moved = {k.split(".")[0] for k, v in weights(state).items() if not torch.equal(v, before[k])}
    assert moved == {"mapping", "synthesis"}


def test_refining_layers_may_be_silent_and_omitted_ones_not():
    refined, without = PRESETS["brain-1mm"](), PRESETS["brain-2mm"]()
    layers = len(TrainState(tiny(), torch.device("cpu")).synthesis.layers)
    assert tiny().with_(silent_layers=layers).silent_layers == layers
    assert refined.with_(silent_layers=11).silent_layers == 11, "nine and two"
    for config, many in ((tiny(), layers + 1), (refined, 12), (without, 1)):
        with pytest.raises(ModelError, match=rf"silent_layers is 0 to {many - 1}\."):
            config.with_(silent_layers=many)


def test_silent_layers_never_add_noise(pack, tmp_path):
    def strengths(state):
        nets = (state.synthesis, state.averages["synthesis"])
        return [[bool(layer.noise_strength) for layer in net.layers] for net in nets]

    config = without_reconstructions(total_images=8, silent_layers=2)
    state = train(pack.path, tmp_path / "run", config)
    assert strengths(state) == [[True, False, False]] * 2
    state = train(pack.path, tmp_path / "run", resume=True, changes={"total_images": 16})
    assert strengths(state) == [[True, False, False]] * 2
    state = train(
        pack.path, tmp_path / "run", resume=True, changes={"total_images": 24, "silent_layers": 0}
    )
    assert all(strengths(state)[0])
    state = train(
        pack.path, tmp_path / "run", resume=True, changes={"total_images": 24, "silent_layers": 3}
    )
    assert strengths(state) == [[False, False, False]] * 2


def test_no_path_lengths_are_found_without_a_weight(pack):
    state = TrainState(without_reconstructions(path_length_weight=0.0), torch.device("cpu"))
    start_from_data(state, pack)
    log = adversarial_step(state, fixed_volumes(pack, "train")[:4], torch.float32)
    assert "path_length" not in log


@pytest.mark.parametrize(("network", "packed"), [(PLAIN, 1), (MEAN, 2)])
def test_a_stylegan_without_reconstructions_is_exported_without_an_encoder(
    network, packed, pack, tmp_path
):
    judge = replace(tiny().discriminator, packed=packed)
    config = without_reconstructions(generator=network, discriminator=judge, total_images=16)
    state = train(pack.path, tmp_path / "run", config)
    log = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert {row["phase"] for row in log} == {"adversarial"}
    assert "pair_correlation" in log[0]
    assert "validation_psnr" not in log[0]
    generator = export_generator(state, pack, tmp_path / "model", "plain")
    assert generator.encoder is None
    assert generator.card["architecture"]["encoder"] is None
    volumes = fixed_volumes(pack, "train")[:4]
    assert generator.score(volumes).shape == (4 // packed,)
    if packed > 1:
        with pytest.raises(ModelError, match="judges 2 volumes together, not 3"):
            generator.score(volumes[:3])
    page = (tmp_path / "model" / "README.md").read_text()
    assert "16 training volumes, all with the adversarial objective" in page
    assert "by the encoder" not in page
    assert "mean brain, for comparison" in page


def test_style_mixing_regularisation(pack):
    state = TrainState(short(mixing_probability=1.0), torch.device("cpu"))
    rows, w, _ = random_rows(state, range(50))
    assert w.shape == (100, 16)
    layers = rows.shape[1]
    assert not torch.equal(rows[:, 0], rows[:, -1])
    for w in rows:
        changes = [not torch.equal(w[i], w[i + 1]) for i in range(layers - 1)]
        assert sum(changes) == 1  # one crossover, somewhere
    unmixed = TrainState(short(mixing_probability=0.0), torch.device("cpu"))
    w, _, _ = random_rows(unmixed, range(5))
    assert torch.equal(w, w[:, :1].expand_as(w))


def test_mapping_is_fitted_to_the_encoded_brains(pack, monkeypatch):
    state = TrainState(short(), torch.device("cpu"))
    torch.manual_seed(0)
    means = torch.randn(400, 16) @ torch.randn(16, 16) + 3
    variances = torch.full_like(means, 0.3)
    monkeypatch.setattr(warm_start, "latents_of", lambda *_: (means, variances))
    fit_mapping(state, pack, torch.float32)
    w = state.mapping(torch.randn(20_000, 16)).detach()
    expected = torch.cov(means.T) + 0.3 * torch.eye(16)
    scale = expected.diagonal().max()
    # 20,000 random brains, spread by about 4.
    torch.testing.assert_close(w.mean(dim=0), means.mean(dim=0), atol=0.15, rtol=0)
    assert (torch.cov(w.T) - expected).abs().max() < 0.1 * scale
    torch.testing.assert_close(state.w_avg, means.mean(dim=0))


def test_a_mapping_that_cannot_be_linear_is_refused():
    settings = brain_2mm().generator
    network = MappingNetwork(replace(settings, mapping_linear_output=False))
    with pytest.raises(ModelError, match="mapping_linear_output"):
        set_gaussian(network, torch.zeros(128), torch.eye(128))


def test_export_gives_a_generator_with_a_card(pack, tmp_path):
    state = train(pack.path, tmp_path / "run", short())
    generator = export_generator(
        state, pack, tmp_path / "model", "phantoms", attribution="Thank the phantoms."
    )
    opened = load(tmp_path / "model")
    assert opened.hash == generator.hash
    w = seed_latents(opened, [1])
    z = torch.from_numpy(np.random.RandomState(1).randn(1, 16)).float()
    with torch.no_grad():
        unscaled = state.averages["mapping"](z)[:, None].expand_as(w)
        average = state.averages["synthesis"](unscaled, "none")
    # Stored in bfloat16: eight bits of mantissa.
    assert (opened.synthesize(w, "none") - average).abs().mean() < 0.02
    assert opened.score(opened.synthesize(w)).shape == (1,)
    assert opened.encoder(fixed_volumes(pack, "validation")).shape == (2, 4, 16)
    np.testing.assert_allclose(opened.template, pack.template, atol=FLOAT32)
    card = opened.card
    assert card["training_data"] == [{"source": "phantom", "people": 8, "licence": "CC0"}]
    assert card["licence"] == "CC0"
    assert card["quality"]["validation_people"] == 2
    assert opened.directions.model_hash == opened.hash
    page = (tmp_path / "model" / "README.md").read_text()
    assert "| phantom | 8 | CC0 |" in page
    assert "Thank the phantoms." in page
    assert f"{card['quality']['encoder_reconstruction']['psnr']:.2f}" in page
    assert "mean brain, for comparison" in page
    with pytest.raises(OutputError, match="already contains a model"):
        export_generator(state, pack, tmp_path / "model", "phantoms")


def test_a_plain_stylegan_trains_goes_on_and_is_exported_as_one(pack, tmp_path):
    config = short(
        generator=PLAIN,
        encoder=EncoderConfig(channels=(8, 6), w_dim=8, num_layers=4),
        warm_start_images=8,
        coarse_images=0,
        total_images=8,
    )
    train(pack.path, tmp_path / "run", config)
    state = train(pack.path, tmp_path / "run", resume=True, changes={"total_images": 12})
    assert type(state.synthesis) is SynthesisNetwork
    generator = export_generator(state, pack, tmp_path / "model", "plain")
    assert generator.family == generator.card["architecture"]["family"] == "stylegan"
    assert type(generator.config) is GeneratorConfig
    page = (tmp_path / "model" / "README.md").read_text()
    assert "StyleGAN2 in three dimensions" in page
    assert "linear" not in page


def test_an_anatomy_model_without_layers_is_not_trained_on_volumes():
    with pytest.raises(ModelError, match=r"set generator\.channels"):
        brain_2mm().with_(total_images=8)
    assert not brain_2mm().generator.channels


def test_what_cannot_train_is_refused_in_words(pack, tmp_path):
    with pytest.raises(ModelError, match="choose another preset"):
        train(pack.path, tmp_path / "a", brain_2mm())
    with pytest.raises(StyleGAN3DError, match="not a prepared data set"):
        train(tmp_path, tmp_path / "b", short())
    with pytest.raises(ModelError, match="no training run to resume"):
        train(pack.path, tmp_path / "typo", short(), resume=True)
    assert not {"a", "b", "typo"} & {p.name for p in tmp_path.iterdir()}
    train(pack.path, tmp_path / "c", short(), changes={"total_images": 4})
    with pytest.raises(OutputError, match="--resume"):
        train(pack.path, tmp_path / "c", short())
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / "c" / name).write_bytes(b"torn")
    with pytest.raises(ModelError, match="damaged"):
        train(pack.path, tmp_path / "c", resume=True)


@pytest.mark.parametrize("damage", ["cut", "one bit", "gone"])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(pack, tmp_path, damage):
    train(pack.path, tmp_path / "run", short(), changes={"total_images": 4})
    train(pack.path, tmp_path / "run", resume=True, changes={"total_images": 8})
    path, said = tmp_path / "run" / CHECKPOINT, []
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # torch itself would read it without a word
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "gone":
        path.unlink()
    changes = {"total_images": 12}
    state = train(pack.path, tmp_path / "run", resume=True, changes=changes, tell=said.append)
    assert state.images == 12
    (sentence,) = said
    assert f"is {'missing' if damage == 'gone' else 'damaged'}" in sentence
    assert PREVIOUS in sentence
    assert TrainState.load(tmp_path / "run", state.device).note == ""


def test_optimisers_of_a_resumed_run_are_as_set_now():
    device = torch.device("cpu")
    state = TrainState(short(), device)
    changes = {
        "generator_lr": 3e-4,
        "encoder_lr": 2e-4,
        "generator_beta1": 0.25,
        "discriminator_lr": 1e-4,
    }
    resumed = TrainState.from_data(state.data(), device, **changes)
    expected = TrainState(short(**changes), device)
    for name, keys in (("maker", ("base_lr", "betas")), ("judge", ("lr", "betas"))):
        found, wanted = (
            [[group[key] for key in keys] for group in getattr(s, name).param_groups]
            for s in (resumed, expected)
        )
        assert found == wanted


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_settings_survive_json(name):
    config = PRESETS[name]()
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert isinstance(config.generator, GeneratorConfig)


@pytest.mark.parametrize("batch", [0, 1, 6, 10])
def test_batches_that_would_fail_later_are_refused_at_once(batch):
    with pytest.raises(ModelError, match="cannot be trained on"):
        short(batch=batch)
    assert short(batch=3).batch == 3
    assert short(batch=8).batch == 8


def test_a_folder_with_other_files_is_not_a_place_for_a_run(pack, tmp_path):
    (tmp_path / "settings.json").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        train(pack.path, tmp_path, short())
    assert (tmp_path / "settings.json").read_text() == "mine"


def test_the_mapping_is_fitted_even_if_the_warm_start_is_shortened(pack, tmp_path):
    """Wherever the reconstruction phase ends, the adversarial one starts from a fitted mapping."""
    out = tmp_path / "run"
    before = train(pack.path, out, short(), changes={"total_images": 16})
    assert not before.warm_started
    changes = {"warm_start_images": 12, "total_images": 16}
    state = train(pack.path, out, resume=True, changes=changes)
    assert state.warm_started
    means, _ = latents_of(state, fixed_volumes(pack, "train"), torch.float32)
    torch.testing.assert_close(state.w_avg, means.mean(dim=0), atol=LAYERS, rtol=LAYERS)
    with pytest.raises(ModelError, match="cannot be changed any more"):
        train(pack.path, out, resume=True, changes={"warm_start_images": 24})


def test_export_of_an_unfinished_warm_start_has_a_fitted_mapping(pack, tmp_path):
    state = train(pack.path, tmp_path / "run", short(), changes={"total_images": 16})
    mapping = state.mapping.state_dict()["layers.0.weight"].clone()
    generator = export_generator(state, pack, tmp_path / "model", "early")
    means, _ = latents_of(state, fixed_volumes(pack, "train"), torch.float32)
    scales = latent_scales(state.averages["synthesis"])
    expected = means.mean(dim=0) * scales
    torch.testing.assert_close(generator.w_avg, expected, atol=LAYERS, rtol=LAYERS)
    assert torch.equal(mapping, state.mapping.state_dict()["layers.0.weight"])  # the run goes on


def test_mirroring_needs_a_symmetric_grid(pack, tmp_path):
    turned = np.array([[0, 8.0, 0, 0], [8.0, 0, 0, 0], [0, 0, 8.0, 0], [0, 0, 0, 1]])
    rows = [{**row, "row": i} for i, row in enumerate(pack.table)]
    space = Space(SHAPE, turned)
    write_pack(tmp_path / "turned", rows, lambda r: pack.volumes[r["row"]], space, {"refused": []})
    with pytest.raises(ModelError, match="--no-mirror"):
        train(tmp_path / "turned", tmp_path / "run", short())
    state = train(tmp_path / "turned", tmp_path / "run", short(mirror=False, total_images=4))
    assert state.images == 4


def test_sessions_of_one_person_are_one_person_in_the_card(pack, tmp_path):
    rows = [{**r, "person": "sub-00", "licence": "", "row": i} for i, r in enumerate(pack.table)]
    write_pack(tmp_path / "p", rows, lambda r: pack.volumes[r["row"]], pack.space, {"refused": []})
    state = train(tmp_path / "p", tmp_path / "run", short(), changes={"total_images": 4})
    card = export_generator(state, load_pack(tmp_path / "p"), tmp_path / "model", "one").card
    assert card["training_data"] == [{"source": "phantom", "people": 1, "licence": "not stated"}]
    assert card["licence"] == "not stated"


def test_scaling_w_changes_no_volume_and_orders_the_components(pack):
    state = TrainState(short(), torch.device("cpu"))
    start_from_data(state, pack)
    torch.nn.init.normal_(state.encoder.offsets.weight, std=0.1)
    volume, z = fixed_volumes(pack, "validation"), torch.randn(500, 16)

    def outputs():
        with torch.no_grad():
            w = state.mapping(z)
            made = state.synthesis(w[:2, None].expand(-1, 4, -1), "none")
            return w, made, state.synthesis(state.encoder(volume), "none")

    before = outputs()
    states = [m.state_dict() for m in state.nets.values()]
    scales = latent_scales(state.synthesis)
    *scaled, _ = scale_latent(scales, *states, state.w_avg)
    for network, new in zip(state.nets.values(), scaled, strict=True):
        network.load_state_dict(new)
    after = outputs()
    torch.testing.assert_close(after[0], before[0] * scales, atol=LAYERS, rtol=LAYERS)
    for a, b in zip(after[1:], before[1:], strict=True):
        torch.testing.assert_close(a, b, atol=LAYERS, rtol=LAYERS)
    # Now a component's spread is its image's: the basis images are equally strong per unit of w.
    norms = state.synthesis.image_basis.weight.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, norms[:1].expand(4), atol=LAYERS, rtol=LAYERS)
    assert after[0].std(dim=0)[0] == after[0].std(dim=0).max()
