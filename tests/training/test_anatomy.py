"""Registration to a common anatomy, and the fit of a model to it."""

import copy
import dataclasses
import shutil
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from small_anatomy import small_anatomy
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.base import ModelError, OutputError
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import load
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.registration import Demons, match_intensities, register
from stylegan3d.networks.resampling import fine_bands, haar
from stylegan3d.training import anatomy as module
from stylegan3d.training import export
from stylegan3d.training.anatomy import (
    VELOCITY_SPREAD,
    codes_of,
    find_anatomy,
    fit_anatomy,
    latent_scales,
    mirrored,
    scale_latent,
)
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.export import ModelTarget, export_anatomy

QUICK = (Demons(coarse_steps=12, fine_steps=0), Demons(coarse_steps=6, fine_steps=4))


def batch(volume):
    return torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))[None, None]


@pytest.fixture(scope="module")
def anatomy(pack, tmp_path_factory):
    return find_anatomy(pack, tmp_path_factory.mktemp("anatomy"), rounds=QUICK, jobs=1)


@pytest.mark.parametrize("where", ["cluster", pytest.param("processes", marks=pytest.mark.soak)])
def test_workers_give_the_same(pack, tmp_path, anatomy, monkeypatch, request, where):
    monkeypatch.setattr(module, "STARTING_S", 0.0)
    how = {"jobs": 2}
    if where == "cluster":
        how = {"scheduler": request.getfixturevalue("cluster")}
    found = find_anatomy(pack, tmp_path, rounds=QUICK, **how)
    assert np.array_equal(found.velocities, anatomy.velocities)
    assert np.array_equal(found.canonical, anatomy.canonical)


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


@pytest.fixture
def folder(anatomy_folder, tmp_path):
    """Of a new fit, with the anatomy found already."""
    shutil.copytree(anatomy_folder, tmp_path / "new" / "anatomy")
    return tmp_path / "new"


@pytest.fixture(scope="module")
def fit(pack, anatomy_folder, tmp_path_factory):
    """A fit, and its folder."""
    out = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(anatomy_folder, out / "anatomy")
    return fit_anatomy(pack, out, small_anatomy(calibrate=False)), out


def test_the_fit_is_the_linear_model_of_the_anatomy(pack, fit):
    """Codes give the people back; and encoded people resemble themselves."""
    fit, folder = fit
    found = find_anatomy(pack, folder / "anatomy")
    codes = codes_of(fit, found)
    # Codes are those of the encoder, which finds people nearly.
    assert codes[:, :10].std(dim=0).mean() == pytest.approx(1, abs=0.1)
    assert not codes[:, 10:].any(), "details are no part of a person's code"
    people = [pack.volumes[row] / 255 for row in found.rows]
    with torch.no_grad():
        made = [
            (fit.synthesis(c.expand(1, 4, -1), "none")[0, 0].numpy() + 1) / 2
            for c in codes[: len(people)]
        ]
    own = [similarity(a, b, b > 0.05)["psnr"] for a, b in zip(made, people, strict=True)]
    mean_brain = [similarity(pack.template, b, b > 0.05)["psnr"] for b in people]
    assert np.mean(own) > np.mean(mean_brain) + 1
    volumes = fixed_volumes(pack, "train")
    w = fit.encoder(volumes)
    assert w.shape == (len(volumes), 4, 16)
    errors = (w[:, 0, :5] - codes[: len(volumes), :5]).square().mean()
    assert errors < 0.5, "the deformation's weights are found again"


def test_a_fit_goes_on_with_its_own_settings_only(pack, fit, folder, tmp_path):
    first, known = fit
    again = fit_anatomy(pack, known)
    assert again.settings == first.settings
    for name, value in first.synthesis.state_dict().items():
        assert torch.equal(again.synthesis.state_dict()[name], value), name
    with pytest.raises(ModelError, match="a fit with other settings"):
        fit_anatomy(pack, known, small_anatomy())
    with pytest.raises(ModelError, match="choose another preset"):
        fit_anatomy(pack, tmp_path / "2 mm")
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan/checkpoint.pt").write_bytes(b"of train stylegan")
    with pytest.raises(ModelError, match="holds a run of another kind"):
        fit_anatomy(pack, tmp_path / "gan")
    assert not (tmp_path / "2 mm" / "anatomy").exists()


def test_details_give_random_brains_the_variance_that_the_basis_leaves_out(pack, fit):
    """At each band, random brains of the linear model vary as much as canonical ones."""
    fit, out = fit
    found = find_anatomy(pack, out / "anatomy")
    volumes = torch.from_numpy(np.array(found.canonical)).float()[:, None] / 127.5 - 1
    bands = torch.cat([haar(v[None]) for v in torch.cat([volumes, volumes.flip(2)])])
    real = bands.var(dim=0, unbiased=False).sum(dim=(1, 2, 3))
    synthesis = fit.synthesis
    images = synthesis.image_basis.fields.square().sum(dim=(0, 1, 2, 3, 4))
    details = synthesis.detail_basis.fields.square().sum(dim=(0, 2, 3, 4))
    details[0] += images
    # Bands are drawn from an estimate of few people.
    torch.testing.assert_close(details, real, rtol=0.5, atol=0)
    alone = images / real[0]
    assert alone < 0.97, "the basis images lack something"


def test_details_lack_the_fine_bands_that_go_with_the_basis_images(pack, anatomy_folder, tmp_path):
    """What the filter makes of a person's basis images is not made a second time."""
    made = []
    for name, taps in (("plain", ()), ("told", (0.2, -0.05))):
        shutil.copytree(anatomy_folder, tmp_path / name / "anatomy")
        made.append(fit_anatomy(pack, tmp_path / name, small_anatomy(fine_taps=taps)).synthesis)
    plain, told = (network.detail_basis.fields.detach() for network in made)
    torch.testing.assert_close(plain[:, 0], told[:, 0])
    inside = made[0].detail_basis.inside
    fine = (plain - told)[:, 1:][..., inside].flatten(1)
    continued = fine_bands(made[0].image_basis.fields.detach(), (0.2, -0.05))[..., inside]
    weights = torch.linalg.lstsq(continued.flatten(1).T, fine.T).solution
    assert fine.norm() > 0.01
    assert (continued.flatten(1).T @ weights - fine.T).norm() < 1e-3 * fine.norm()


def test_random_brains_are_like_people(pack, fit):
    """w has the correlations of people's codes, and velocities the spread of all components."""
    fit, folder = fit
    codes = codes_of(fit, find_anatomy(pack, folder / "anatomy"))[:, :10]
    with torch.no_grad():
        w = fit.mapping(torch.randn(4000, 16))[:, :10]
    expected = torch.corrcoef(codes.T)
    # 4,000 random brains.
    torch.testing.assert_close(torch.corrcoef(w.T), expected, atol=0.1, rtol=0)
    assert expected[:5, 5:].abs().max() > 0.3, "shape and look go together in people"
    wider = w[:, :5].std(dim=0) / codes[:, :5].std(dim=0)
    # 4,000 random brains.
    torch.testing.assert_close(wider, torch.full((5,), VELOCITY_SPREAD), atol=0.08, rtol=0)
    torch.testing.assert_close(fit.w_avg[:10], codes.mean(dim=0), atol=SUMS, rtol=0)


def test_a_fit_on_some_subjects_takes_those_that_differ(pack, tmp_path):
    rows, odd = pack.indices("train"), pack.indices("train")[3]
    alike = np.array(pack.volumes)
    alike[rows] = pack.volumes[rows[0]]
    alike[odd] = pack.volumes[odd]
    many = dataclasses.replace(pack, volumes=alike)
    settings = dataclasses.replace(small_anatomy(), fit_on=2)
    fit = fit_anatomy(many, tmp_path, settings)
    assert len(fit.pack.indices("train")) == 2
    assert odd in fit.pack.indices("train")
    assert np.array_equal(fit.pack.indices("validation"), pack.indices("validation"))
    assert fit_anatomy(many, tmp_path).w_avg.equal(fit.w_avg), "continued with the same subjects"


def test_more_fields_than_subjects_leave_the_rest_empty(pack, folder):
    """A study of thirty people has fewer components than a preset has velocity fields."""
    wide = small_anatomy(deformation=150, w_dim=170, z_dim=170)
    fit = fit_anatomy(pack, folder, wide)
    sizes = fit.synthesis.velocity_basis.weight.flatten(1).norm(dim=1)
    assert (sizes == 0).any(), "the pack has too many subjects for this test"
    image = batch(pack.volumes[0]) / 127.5 - 1
    assert fit.encoder(image).isfinite().all()


def test_the_exported_generator_encodes_and_makes_the_same(pack, fit, tmp_path):
    fit, _ = fit
    generator = export_anatomy(
        fit, ModelTarget(tmp_path / "model", "phantoms", attribution="Thanks.")
    )
    assert generator.discriminator is None
    assert load(tmp_path / "model", device="cpu").hash == generator.hash
    volume = fixed_volumes(pack, "validation")[:1]
    made = generator.synthesize(generator.encoder(volume), noise="none")
    with torch.no_grad():
        expected = fit.synthesis(fit.encoder(volume), "none")
    # Half precision on disk, and w in other units.
    assert (made - expected).abs().mean() < 0.01
    spread = generator.map(torch.randn(200, generator.z_dim))[:, 0].std(dim=0)
    assert spread.max() > 3 * spread.min(), "components of w are as wide as what they change"
    card, page = generator.card, (tmp_path / "model" / "README.md").read_text()
    assert set(card["training"]) == {"people", "settings"}
    told = {"conditions", "seed", "mirror", "detail_gain", "calibrate", "fit_on"}
    assert set(card["training"]["settings"]) == told, "what was not done is not told"
    assert "8 subjects. The linear parts are the principal components" in page
    assert "Thanks." in page
    assert f"{card['quality']['encoder_reconstruction']['psnr']:.2f}" in page


def test_an_export_that_was_cut_off_is_made_anew_and_a_whole_one_is_not(
    pack, fit, tmp_path, monkeypatch
):
    to = ModelTarget(out := tmp_path / "model", "phantoms")
    with monkeypatch.context() as cut:
        cut.setattr(export, "build_directions", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export_anatomy(fit[0], to)
    assert (out / "card.json").exists()
    assert not (out / "README.md").exists()
    made = export_anatomy(fit[0], to)
    assert "unfinished" not in made.card
    assert (out / "README.md").exists()
    with pytest.raises(OutputError, match="already contains a model"):
        export_anatomy(fit[0], to)


def test_scaling_w_changes_no_volume_and_orders_the_components(pack, fit):
    fit, _ = fit
    parts = {"mapping": fit.mapping, "synthesis": fit.synthesis, "encoder": fit.encoder}
    parts = {name: copy.deepcopy(network) for name, network in parts.items()}
    parts["encoder"]._synthesis = (parts["synthesis"],)
    volume, z = fixed_volumes(pack, "validation"), torch.randn(500, 16)

    def outputs():
        with torch.no_grad():
            w = parts["mapping"](z)
            made = parts["synthesis"](w[:2, None].expand(-1, 4, -1), "none")
            return w, made, parts["synthesis"](parts["encoder"](volume), "none")

    before = outputs()
    scales = latent_scales(parts["synthesis"])
    *scaled, _ = scale_latent(scales, *(net.state_dict() for net in parts.values()), fit.w_avg)
    for network, new in zip(parts.values(), scaled, strict=True):
        network.load_state_dict(new)
    after = outputs()
    torch.testing.assert_close(after[0], before[0] * scales, atol=LAYERS, rtol=LAYERS)
    for a, b in zip(after[1:], before[1:], strict=True):
        torch.testing.assert_close(a, b, atol=LAYERS, rtol=LAYERS)
    # Now a component's spread is its image's: the basis images are equally strong per unit of w.
    norms = parts["synthesis"].image_basis.weight.detach().flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, norms[:1].expand(5), atol=LAYERS, rtol=LAYERS)
