"""Registration to a common anatomy, and a training that starts from it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerances import FLOAT32, SUMS

from stylegan3d.errors import ModelError
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.loading import load
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.fitting import FittingEncoder
from stylegan3d.networks.registration import Demons, match_intensities, register
from stylegan3d.networks.resampling import fine_bands, haar
from stylegan3d.training import anatomy as module
from stylegan3d.training.anatomy import find_anatomy, mirrored
from stylegan3d.training.anatomy_start import VELOCITY_SPREAD, codes_of
from stylegan3d.training.config import DiscriminatorConfig, EncoderConfig, tiny
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.export import export_generator
from stylegan3d.training.stylegan import train
from stylegan3d.training.texture import Texture, texture_step

QUICK = (Demons(coarse_steps=12, fine_steps=0), Demons(coarse_steps=6, fine_steps=4))


def batch(volume):
    return torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]


def settings(**changes):
    """`tiny` with a deformation."""
    config = tiny()
    generator = replace(
        config.generator,
        deformation=5,
        image_basis=5,
        detail_basis=6,
        deformation_level=1,
        refine_layers=1,
    )
    parts = {
        "generator": generator,
        "discriminator": DiscriminatorConfig(base=(3, 3, 3), channels=(8, 6), head="haar"),
        "encoder": EncoderConfig(kind="fitting", w_dim=16, num_layers=4, corrections=1),
        "generator_lr": 3e-3,
        "warm_start_images": 16,
        "total_images": 24,
        "log_images": 8,
        "calibrate": False,
    }
    return config.with_(**(parts | changes))


@pytest.fixture(scope="module")
def anatomy(pack, tmp_path_factory):
    return find_anatomy(pack, tmp_path_factory.mktemp("anatomy"), rounds=QUICK, jobs=1)


def test_processes_are_started_once_and_give_the_same(pack, tmp_path, anatomy, monkeypatch):
    started = []

    class Counted(module.ProcessPoolExecutor):
        def __init__(self, *args, **kwargs):
            started.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(module, "ProcessPoolExecutor", Counted)
    monkeypatch.setattr(module, "STARTING_S", 0.0)
    found = find_anatomy(pack, tmp_path, rounds=QUICK, jobs=2)
    assert started == [(2,)]
    assert np.array_equal(found.velocities, anatomy.velocities)


def test_registration_finds_a_known_deformation(pack):
    template = batch(pack.volumes[0] / 255)
    torch.manual_seed(0)
    true = resize(0.12 * torch.randn(1, 3, 3, 3, 3), (10, 14, 12))
    fixed = warp(template, resize(exponential(true), (20, 28, 24)))
    found = register(fixed, template, Demons(coarse_steps=40, fine_steps=10))
    moved = warp(template, resize(exponential(found, 6), (20, 28, 24)))
    before, after = ((fixed - x).square().mean().item() for x in (template, moved))
    assert after < 0.15 * before


def test_matched_intensities_have_the_reference_s_quantiles():
    rng = np.random.default_rng(0)
    reference = rng.uniform(0.2, 1, (12, 12, 12)).astype(np.float32)
    dimmed = (0.5 * rng.uniform(0.3, 1, (12, 12, 12)) ** 2).astype(np.float32)
    dimmed[:3] = 0
    matched = match_intensities(dimmed, reference)
    shares = np.linspace(0.05, 0.95, 9)
    want, have = np.quantile(reference, shares), np.quantile(matched[3:], shares)
    np.testing.assert_allclose(have, want, atol=0.04)  # a histogram of 256 bins, and values between
    assert matched[:3].max() == 0


def test_everybody_resembles_the_common_brain_once_moved_to_it(pack, anatomy):
    """Far more than people resemble each other as they are; and it is symmetric."""
    canonical = anatomy.canonical.astype(float)
    real = pack.volumes[anatomy.rows].astype(float)
    assert canonical.std(axis=0).mean() < 0.7 * real.std(axis=0).mean()
    np.testing.assert_allclose(anatomy.template, anatomy.template[::-1], atol=FLOAT32)


def test_mirroring_a_velocity_mirrors_what_it_does():
    torch.manual_seed(0)
    velocity = resize(0.1 * torch.randn(1, 3, 3, 3, 3), (10, 14, 12))
    image = torch.rand(1, 1, 10, 14, 12)
    flipped = torch.from_numpy(mirrored(velocity.numpy()))
    expected = warp(image, exponential(velocity)).flip(2)
    torch.testing.assert_close(warp(image.flip(2), exponential(flipped)), expected)


def test_an_interrupted_search_goes_on_to_the_same_result(pack, anatomy, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 11:
            raise Stop

    with pytest.raises(Stop):
        find_anatomy(pack, tmp_path, rounds=QUICK, jobs=1, report=stop)
    resumed = find_anatomy(pack, tmp_path, rounds=QUICK, jobs=1)
    assert np.array_equal(resumed.velocities, anatomy.velocities)
    assert np.array_equal(resumed.canonical, anatomy.canonical)


def test_the_anatomy_of_other_data_is_refused(pack, tmp_path):
    find_anatomy(pack, tmp_path, rounds=QUICK, jobs=1)
    with pytest.raises(ModelError, match="other volumes"):
        find_anatomy(pack, tmp_path, rounds=QUICK, jobs=1, symmetric=False)


@pytest.fixture(scope="module")
def run(pack, anatomy_folder, tmp_path_factory):
    """A whole short run with a deformation."""
    out = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(anatomy_folder, out / "anatomy")
    return train(pack.path, out, settings(), device="cpu"), out


@pytest.fixture
def folder(anatomy_folder, tmp_path):
    """Of a new run, with the anatomy found already."""
    shutil.copytree(anatomy_folder, tmp_path / "new" / "anatomy")
    return tmp_path / "new"


def test_the_start_is_the_linear_model_of_the_anatomy(pack, folder):
    """Untrained, codes already give the people back; and encoded people resemble themselves."""
    state = train(pack.path, folder, settings(), should_stop=lambda: True, device="cpu")
    found = find_anatomy(pack, folder / "anatomy")
    codes = codes_of(state, found)
    # Codes are those of the encoder, which finds people nearly.
    assert codes[:, :10].std(dim=0).mean() == pytest.approx(1, abs=0.1)
    assert not codes[:, 10:].any(), "details are no part of a person's code"
    synthesis = state.averages["synthesis"]
    people = [pack.volumes[row] / 255 for row in found.rows]
    made = [
        (synthesis(c.expand(1, 4, -1), "none")[0, 0].numpy() + 1) / 2 for c in codes[: len(people)]
    ]
    own = [similarity(a, b, b > 0.05)["psnr"] for a, b in zip(made, people, strict=True)]
    mean_brain = [similarity(pack.template, b, b > 0.05)["psnr"] for b in people]
    assert np.mean(own) > np.mean(mean_brain) + 1
    encoder = state.averages["encoder"]
    assert isinstance(encoder, FittingEncoder)
    volumes = fixed_volumes(pack, "train")
    w = encoder(volumes)
    assert w.shape == (len(volumes), 4, 16)
    errors = (w[:, 0, :5] - codes[: len(volumes), :5]).square().mean()
    assert errors < 0.5, "the deformation's weights are found again"


def test_both_phases_train_and_are_logged(run):
    state, out = run
    phases = [json.loads(line)["phase"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert phases == ["texture", "texture", "adversarial"]
    assert state.images == 24


def test_details_give_random_brains_the_variance_that_the_basis_leaves_out(pack, run):
    """At each band, random brains of the linear model vary as much as canonical ones."""
    state, out = run
    found = find_anatomy(pack, out / "anatomy")
    volumes = torch.from_numpy(np.array(found.canonical)).float()[:, None] / 127.5 - 1
    bands = torch.cat([haar(v[None]) for v in torch.cat([volumes, volumes.flip(2)])])
    real = bands.var(dim=0, unbiased=False).sum(dim=(1, 2, 3))
    synthesis = state.synthesis
    images = synthesis.image_basis.fields.square().sum(dim=(0, 1, 2, 3, 4))
    details = synthesis.detail_basis.fields.square().sum(dim=(0, 2, 3, 4))
    details[0] += images
    # Bands are drawn from an estimate of few people.
    torch.testing.assert_close(details, real, rtol=0.5, atol=0)
    alone = images / real[0]
    assert alone < 0.97, "the basis images lack something"


def test_details_lack_the_fine_bands_that_go_with_the_basis_images(pack, run, tmp_path):
    """What the filter makes of a person's basis images is not made a second time."""
    made = []
    for name, taps in (("plain", ()), ("told", (0.2, -0.05))):
        shutil.copytree(run[1] / "anatomy", tmp_path / name / "anatomy")
        config = settings()
        config = config.with_(generator=replace(config.generator, fine_taps=taps))
        state = train(pack.path, tmp_path / name, config, should_stop=lambda: True, device="cpu")
        made.append(state.synthesis)
    plain, told = (network.detail_basis.fields.detach() for network in made)
    torch.testing.assert_close(plain[:, 0], told[:, 0])
    inside = made[0].detail_basis.inside
    fine = (plain - told)[:, 1:][..., inside].flatten(1)
    continued = fine_bands(made[0].image_basis.fields.detach(), (0.2, -0.05))[..., inside]
    weights = torch.linalg.lstsq(continued.flatten(1).T, fine.T).solution
    assert fine.norm() > 0.01
    assert (continued.flatten(1).T @ weights - fine.T).norm() < 1e-3 * fine.norm()


def test_a_run_of_no_volumes_leaves_the_linear_model(pack, folder):
    """Its random brains are like people: w has their correlations, and the layers are silent."""
    config = settings(total_images=0, warm_start_images=0)
    state = train(pack.path, folder, config, device="cpu")
    assert state.images == 0
    assert state.warm_started
    codes = codes_of(state, find_anatomy(pack, folder / "anatomy"))[:, :10]
    with torch.no_grad():
        w = state.averages["mapping"](torch.randn(4000, 16))[:, :10]
    expected = torch.corrcoef(codes.T)
    # 4,000 random brains.
    torch.testing.assert_close(torch.corrcoef(w.T), expected, atol=0.1, rtol=0)
    assert expected[:5, 5:].abs().max() > 0.3, "shape and look go together in people"
    wider = w[:, :5].std(dim=0) / codes[:, :5].std(dim=0)
    # 4,000 random brains.
    torch.testing.assert_close(wider, torch.full((5,), VELOCITY_SPREAD), atol=0.08, rtol=0)
    assert not any(rgb.conv.weight.any() for rgb in state.synthesis.image_layers)


def test_more_fields_than_subjects_leave_the_rest_empty(pack, folder):
    """A study of thirty people has fewer components than a preset has velocity fields."""
    config = settings(total_images=0, warm_start_images=0)
    wide = replace(config.generator, deformation=150, image_basis=5, w_dim=170, z_dim=170)
    encoder = replace(config.encoder, w_dim=170)
    state = train(pack.path, folder, config.with_(generator=wide, encoder=encoder), device="cpu")
    sizes = state.anatomy.velocity_basis.weight.flatten(1).norm(dim=1)
    assert (sizes == 0).any(), "the pack has too many subjects for this test"
    image = batch(pack.volumes[0]) / 127.5 - 1
    assert state.averages["encoder"](image).isfinite().all()


def test_the_texture_phase_resumes_bit_for_bit(pack, folder, tmp_path):
    """From one start: the start itself is found anew by each run, to the last digits."""
    first, second = folder, tmp_path / "second"
    train(pack.path, first, settings(), should_stop=lambda: True, device="cpu")
    shutil.copytree(first, second)
    whole = train(pack.path, first, resume=True, device="cpu")
    steps = iter(range(100))
    train(pack.path, second, resume=True, should_stop=lambda: next(steps) >= 2, device="cpu")
    resumed = train(pack.path, second, resume=True, device="cpu")
    for name, net in whole.nets.items():
        for a, b in zip(net.parameters(), resumed.nets[name].parameters(), strict=True):
            assert torch.equal(a, b), name


def test_the_texture_phase_learns_what_the_linear_model_lacks(pack, folder):
    config = settings(
        adversarial_weight=0.0, generator_lr=0.02, warm_start_images=400, total_images=400
    )
    state = train(pack.path, folder, config, should_stop=lambda: True, device="cpu")
    texture = Texture.of(state, find_anatomy(pack, folder / "anatomy"))
    losses = []
    for _ in range(60):
        losses.append(texture_step(state, texture, torch.float32)["reconstruction"])
        state.steps += 1
        state.images += config.batch
    assert np.mean(losses[-15:]) < 0.9 * np.mean(losses[:15])


def test_the_texture_phase_takes_the_relativistic_loss(pack, folder):
    config = settings(
        adversarial_loss="relativistic", r2_gamma=1.0, discriminator_lr=0.0, warm_start_images=16
    )
    state = train(pack.path, folder, config, should_stop=lambda: True, device="cpu")
    log = texture_step(
        state, Texture.of(state, find_anatomy(pack, folder / "anatomy")), torch.float32
    )
    # softplus(d) - softplus(-d) = d
    difference = log["real_score"] - log["fake_score"]
    assert log["generator"] - log["discriminator"] == pytest.approx(difference, abs=SUMS)
    assert log["r2"] > 0


def test_the_exported_generator_encodes_and_makes_the_same(pack, run, tmp_path):
    state, _ = run
    generator = export_generator(state, pack, tmp_path / "model", "phantoms")
    assert generator.discriminator is None, "it has only ever seen cubes"
    assert load(tmp_path / "model", device="cpu").hash == generator.hash
    volume = fixed_volumes(pack, "validation")[:1]
    made = generator.synthesize(generator.encoder(volume), noise="none")
    synthesis, encoder = state.averages["synthesis"], state.averages["encoder"]
    expected = synthesis(encoder(volume), "none")
    # Half precision on disk, and w in other units.
    assert (made - expected).abs().mean() < 0.01
    spread = generator.map(torch.randn(200, generator.z_dim))[:, 0].std(dim=0)
    assert spread.max() > 3 * spread.min(), "components of w are as wide as what they change"
