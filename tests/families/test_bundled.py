"""The autoencoder and the diffusion that come along: opened by name, and true to people."""

import json

import nibabel as nib
import pytest
import torch
from tolerances import LAYERS

from stylegan3d.base import ModelError, effort
from stylegan3d.cli import main
from stylegan3d.measures.attributes import read_tissues
from stylegan3d.model.generator import load
from stylegan3d.recipe.model import encode_labels, seed_latents
from stylegan3d.storage.places import bundled_model_path, bundled_models

NAME, DIFFUSION, STYLEGAN = "vae-t1-2mm", "diffusion-t1-2mm", "stylegan-t1-2mm"


@pytest.fixture(scope="module")
def generator():
    return load(NAME)


def test_generators_that_come_along_have_names():
    # Networks for tissues are none.
    assert bundled_models() == ["brain-t1-2mm", DIFFUSION, STYLEGAN, NAME]
    assert load(NAME).path == bundled_model_path(NAME)
    with pytest.raises(ModelError, match="There is no generator at 'tissue'"):
        load("tissue")


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(ModelError, match="is not a generator"):
        load(NAME)


def test_it_gives_back_the_mean_brain(generator):
    mean = torch.from_numpy(generator.template)[None, None] * 2 - 1
    with torch.no_grad():
        made = generator.synthesize(generator.encoder(mean), "none")
    inside = mean > -0.9
    assert float((made - mean)[inside].abs().mean()) < 0.08


@pytest.mark.soak
def test_older_people_have_larger_ventricles(generator):
    schema = generator.card["labels"]
    assert [entry["name"] for entry in schema] == ["age", "sex", "brain_ml", "ventricle_ml"]
    volumes = []
    for age in (25, 75):
        label = encode_labels(schema, {"age": age})
        with torch.no_grad():
            made = generator.synthesize(seed_latents(generator, [0], 0.7, label=label))
        shown = ((made[0, 0] + 1) / 2).clamp(0, 1).numpy()
        volumes.append(read_tissues(shown, generator.space).volumes["ventricle_ml"])
    assert volumes[1] > 1.15 * volumes[0]


@pytest.mark.soak
def test_the_command_opens_it_by_name(tmp_path, capsys):
    words = ["generate", "--model", NAME, "--seeds", "3", "--label", "age=70", "--out", tmp_path]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    assert not ended.value.code, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["model"]["name"] == NAME
    (volume,) = tmp_path.glob("*.nii.gz")
    assert nib.load(volume).shape == (80, 112, 96)


@pytest.fixture(scope="module")
def diffusion():
    return load(DIFFUSION)


@pytest.mark.soak
def test_the_diffusion_has_the_latents_of_the_autoencoder(generator, diffusion):
    scan = torch.from_numpy(generator.template)[None, None] * 2 - 1
    with torch.no_grad():
        w = generator.encoder(scan)
        assert torch.equal(diffusion.encoder(scan), w)
        assert torch.equal(diffusion.synthesize(w, "none"), generator.synthesize(w, "none"))
        textured = generator.synthesize(w)
    assert float((textured - scan).abs().mean()) > 0.01  # which noise draws over every brain


def test_a_seed_of_the_diffusion_is_a_brain(diffusion):
    with effort("preview"):
        quick = seed_latents(diffusion, [3])
    w = seed_latents(diffusion, [3])
    assert float((quick - w).norm() / (w - diffusion.w_avg).norm()) < 0.2
    with torch.no_grad():
        shown = ((diffusion.synthesize(w)[0, 0] + 1) / 2).clamp(0, 1).numpy()
    brain = shown > 0.25
    inside = diffusion.template > 0.25
    dice = 2 * (brain & inside).sum() / (brain.sum() + inside.sum())
    assert dice > 0.85
    assert 0 < read_tissues(shown, diffusion.space).volumes["ventricle_ml"] < 150


def test_the_stylegan_has_the_latents_and_the_noise_of_the_anatomy_model():
    pupil, teacher = load(STYLEGAN), load()
    own, known = (seed_latents(g, range(3)) for g in (pupil, teacher))
    scale, centre = pupil.encoder.scale, pupil.encoder.centre
    torch.testing.assert_close(own * scale + centre, known, atol=LAYERS, rtol=LAYERS)
    assert torch.equal(pupil.synthesis.noise_maps(4)[0], teacher.synthesis.noise_maps(4)[0])
    coarse = [
        torch.nn.functional.avg_pool3d(g.synthesize(w, 4), 8).flatten(1)
        for g, w in ((pupil, own), (teacher, known))
    ]
    between = torch.corrcoef(torch.cat([c - c.mean(dim=0) for c in coarse]))[:3, 3:]
    # Each seed's deviation from the mean is that of the same seed.
    assert between.argmax(dim=1).tolist() == [0, 1, 2]
    assert float(between.diagonal().min()) > 0.8
