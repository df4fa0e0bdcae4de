"""Training of a diffusion of latents: resuming, and the generator that comes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_generator

from stylegan3d.base import ModelError, effort
from stylegan3d.cli import main
from stylegan3d.geometry.space import to_display
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import load
from stylegan3d.networks.latent_diffusion import DiffusionConfig
from stylegan3d.projection import project
from stylegan3d.recipe.keyframes import stills
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.model import seed_latents, seed_z
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.storage.places import CARD
from stylegan3d.training.diffusion import (
    DiffusionTask,
    Latents,
    dealt,
    export_diffusion,
    most_directions,
    people_of,
    train_diffusion,
)
from stylegan3d.training.export import ModelTarget
from stylegan3d.training.options import DiffusionSettings
from stylegan3d.training.run import CHECKPOINT, Run, load_run

SHAPE = DiffusionConfig((4, 3, 4, 3), (16, 16), 1, directions=8)
SHORT = {"people": 4, "warm_up": 5, "learning_rate": 3e-3, "decay": 0.95}


pytestmark = pytest.mark.usefixtures("few_brains")


@pytest.fixture(scope="module")
def run(even_pack, stage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion")
    return train_diffusion(even_pack, stage, folder, SHAPE, DiffusionSettings(steps=80, **SHORT))


@pytest.fixture(scope="module")
def generator(run, stage, even_pack, few_brains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffusion") / "model"
    to = ModelTarget(folder, "diffused", licence="CC0", attribution="us")
    return export_diffusion(run, even_pack, stage, to, labels=["length"])


def people(pack, split="validation"):
    return [pack.volumes[row].astype(np.float32) / 255 for row in pack.indices(split)]


def test_it_learns_more_than_a_normal_distribution_knows():
    # Channels that are all -1 or all 1, which no normal distribution says of them.
    rng = np.random.default_rng(0)

    def latents(*size):
        signs = rng.choice([-1.0, 1.0], (*size, SHAPE.latent[0]))
        return np.repeat(signs, SHAPE.w_dim // SHAPE.latent[0], axis=-1).astype(np.float16)

    known = people_of(latents(60, 4), 1)
    shape, settings = replace(SHAPE, directions=1), DiffusionSettings(**{**SHORT, "people": 16})
    found = Run(DiffusionTask(shape, settings, ""), torch.device("cpu"))
    data = Latents(known, torch.from_numpy(latents(10).astype(np.float32)))
    found.start(data)
    before = found.measure(data)
    for _ in range(80):
        found.step(data)
    after = found.measure(data)
    assert after["at 2"] < 0.5 * before["at 2"]
    assert after["at 0.7"] < 0.7 * before["at 0.7"]


def test_everybody_is_compared_with_what_others_say():
    latents = np.random.default_rng(0).standard_normal((10, 3, 30)).astype(np.float16)
    found = people_of(latents, most_directions(10))
    rows = np.arange(10)
    clean = found.standardised(rows, np.zeros(10, int))
    sigma = torch.full((10,), 0.5)
    # Directions of ten people describe these very people best; the variance is that of others.
    assert float((clean @ found.all.basis.T).square().mean()) > 1.4
    assert 0.5 < float(found.all.variances.mean()) < 1.2
    for row in rows:
        fold = found.folds[row]
        assert not np.isin(row, np.flatnonzero(found.folds != fold))
        assert torch.allclose(
            found.denoise(clean[[row]], sigma[:1], rows[[row]]),
            found.gaussians[fold].denoise(clean[[row]], sigma[:1]),
        )


def test_people_are_dealt_one_after_the_other():
    rows = np.concatenate([dealt(7, 3, step, seed=1) for step in range(14)])
    for epoch in range(6):
        assert sorted(rows[epoch * 7 : (epoch + 1) * 7]) == list(range(7))


def test_a_resumed_run_goes_on_as_if_it_had_not_been_interrupted(even_pack, stage, tmp_path):
    config = DiffusionSettings(steps=6, **SHORT)
    whole = train_diffusion(even_pack, stage, tmp_path / "whole", SHAPE, config)

    class Stopped(Exception):
        pass

    def stop(done, total, figures):
        if done == 3:
            raise Stopped

    part = tmp_path / "part"
    often = DiffusionSettings(steps=6, save_seconds=0.0, **SHORT)
    with pytest.raises(Stopped):
        train_diffusion(even_pack, stage, part, SHAPE, often, progress=stop)
    told = []
    (part / CHECKPOINT).write_bytes((part / CHECKPOINT).read_bytes()[:1000])
    (latents,) = part.glob("latents-*.npy")
    latents.write_bytes(latents.read_bytes()[:500])
    resumed = train_diffusion(even_pack, stage, part, resume=True, tell=told.append)
    assert "checkpoint" in told[0]
    for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_does_not_fit_is_told_in_a_sentence(run, even_pack, pack, stage, tmp_path):
    with pytest.raises(ModelError, match="steps is 0, but must be at least 1"):
        DiffusionSettings(steps=0)
    with pytest.raises(ModelError, match="at least 5 subjects, but there are 4"):
        most_directions(4)
    with pytest.raises(ModelError, match="24 x 32 x 24 voxels, the dataset's have 20 x 28 x 24"):
        train_diffusion(pack, stage, tmp_path)
    with pytest.raises(ModelError, match="not a variational autoencoder with an encoder"):
        train_diffusion(even_pack, load(), tmp_path)
    other = DiffusionTask(SHAPE, DiffusionSettings(**SHORT), "another")
    with pytest.raises(ModelError, match="another autoencoder than first stage"):
        other.check_stage(stage, even_pack)


def test_what_runs_away_is_told_and_not_saved(even_pack, stage, tmp_path, monkeypatch):
    sound = DiffusionTask.loss

    def runs_away(self, network, data, step, samples):
        loss, figures = sound(self, network, data, step, samples)
        return (loss * float("nan") if step == 2 else loss), figures

    monkeypatch.setattr(DiffusionTask, "loss", runs_away)
    settings = DiffusionSettings(steps=4, **(SHORT | {"save_seconds": 0.0}))
    with pytest.raises(ModelError, match="diverged at step 2"):
        train_diffusion(even_pack, stage, tmp_path, SHAPE, settings)
    kept = load_run(DiffusionTask, tmp_path, torch.device("cpu"))
    assert kept.steps == 2
    assert all(value.isfinite().all() for value in kept.network.state_dict().values())


def test_the_generator_is_one_of_its_family(generator, stage):
    assert generator.family == "diffusion"
    assert generator.w_dim == generator.z_dim == 4 * 3 * 4 * 3
    assert not generator.can("layers")
    assert "no noise left" in generator.cannot["noise"]
    card = generator.card
    assert (card["licence"], card["attribution"]) == ("CC0", "us")
    assert "Latent diffusion" in (generator.folder / "README.md").read_text()
    # Scans are found as by the autoencoder itself.
    assert card["quality"]["encoder_reconstruction"] == pytest.approx(
        stage.card["quality"]["encoder_reconstruction"]
    )
    steps = generator.components
    apart = steps @ steps.T
    # Components of a covariance in float32.
    assert torch.allclose(apart, torch.diag(apart.diag()), atol=1e-3 * float(apart.max()))


def test_a_seed_is_a_brain_like_peoples(generator, even_pack):
    w = seed_latents(generator, range(6))
    assert torch.equal(w, seed_latents(load(generator.folder), range(6)))
    with torch.no_grad():
        made = to_display(generator.synthesize(w))
    real = np.stack(people(even_pack, "train"))
    # As bright as people, on average and person by person.
    assert made.mean() == pytest.approx(real.mean(), rel=0.15)
    assert made.mean(axis=(1, 2, 3)).std() < 3 * real.mean(axis=(1, 2, 3)).std()
    with effort("preview"):
        quick = seed_latents(load(generator.folder), range(6))
    assert 0 < float((quick - w).norm() / w.norm()) < 0.5


def test_a_brain_leads_back_to_its_noise(generator):
    w = seed_latents(generator, [3])
    back = generator.invert(w)
    assert float(torch.corrcoef(torch.cat([back, seed_z(generator, 3)]))[0, 1]) > 0.9
    with pytest.raises(ModelError, match="cannot recover"):
        tiny_generator().invert(torch.zeros(1, 1, 16))


def test_round_ways_lead_from_a_scan_to_a_seed(generator, even_pack, tmp_path):
    volume = torch.from_numpy(people(even_pack)[0])[None, None] * 2 - 1
    with torch.no_grad():
        w = generator.encoder(volume)
    path = tmp_path / "scan.safetensors"
    digest = save_latent(path, Latent.of(generator, w[0]))
    ends = [
        Recipe(Source("latent", path=str(path), sha256=digest)),
        Recipe(Source("seed", seed=4)),
    ]
    way = [still.w for still in stills(ends, generator, frames=4, how="spherical")]
    straight = [still.w for still in stills(ends, generator, frames=4, how="linear")]
    # Both begin and end at the brains themselves.
    for one, other in zip((way[0], way[-1]), (straight[0], straight[-1]), strict=True):
        assert torch.equal(one, other)
    steps = torch.stack(way).diff(dim=0).flatten(1).norm(dim=1)
    assert float(steps.max()) < 3 * float(steps.min())
    # Halfway on a straight line variety is lost, and round it is kept.
    middle = [float((w[2] - generator.w_avg).norm()) for w in (way, straight)]
    assert middle[0] > middle[1]


def test_brains_are_drawn_for_a_label(generator, brightness_of_ends):
    # A long one reaches further to front and back.
    short, long = (brightness_of_ends(generator, length, 8) for length in (0.6, 0.95))
    assert long > short + 0.05


def test_a_scan_is_encoded_at_once_and_then_refined(generator, even_pack):
    (true, *_) = people(even_pack)
    volume = torch.from_numpy(true)[None, None] * 2 - 1
    with torch.no_grad():
        guess = to_display(generator.synthesize(generator.encoder(volume)))[0]
    found = project(generator, true, steps=15)
    first, second = (similarity(image, true, true > 0)["psnr"] for image in (guess, found.volume))
    assert second > first


def test_damaged_models_are_refused_in_a_sentence(generator, tmp_path):
    def copy(name, change):
        folder = tmp_path / name
        folder.mkdir()
        for file in generator.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        card = json.loads((folder / CARD).read_text())
        change(card["architecture"])
        (folder / CARD).write_text(json.dumps(card))
        return folder

    changes = {
        "larger": lambda a: a["diffusion"].update(channels=[80000, 80000]),
        "other": lambda a: a["diffusion"].update(latent=[5, 3, 4, 3]),
        "word": lambda a: a["diffusion"].update(channels="wide"),
        "deep": lambda a: a["diffusion"].update(blocks=10**4),
        "many": lambda a: a["diffusion"].update(directions=10**9),
        "endless": lambda a: a.update(steps=10**9),
        "none": lambda a: a.update(preview_steps=0),
        "silent": lambda a: a["diffusion"].update(least=0.0),
        "without": lambda a: a.pop("diffusion"),
    }
    for name, change in changes.items():
        with pytest.raises(ModelError, match=r"copy the model folder again|the maximum"):
            load(copy(name, change))


def test_the_command_trains_resumes_and_exports(even_pack, stage, tmp_path, capsys, monkeypatch):
    # A network as wide as one for use takes minutes on two busy cores.
    wide = DiffusionConfig.__init__.__defaults__
    narrow = ((16, 16), 1)
    defaults = wide[:1] + narrow + wide[1 + len(narrow) :]
    monkeypatch.setattr(DiffusionConfig.__init__, "__defaults__", defaults)

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(w) for w in words])
        return ended.value.code or 0, capsys.readouterr()

    out, model = tmp_path / "run", tmp_path / "model"
    first = ("train", "diffusion", even_pack.path, "--autoencoder", stage.folder, "--out", out)
    status, told = run(*first, "--steps", 2)
    assert status == 0, told.err
    assert "2 steps of training" in told.out
    assert "holds a run" in run(*first)[1].err
    assert "is for new runs" in run(*first, "--resume", "--steps", 3)[1].err
    status, told = run(*first, "--resume", "--export", model, "--labels", "length", "--json")
    assert status == 0, told.err
    found = json.loads(told.out)
    assert found["steps"] == 2
    assert set(found["measured"]) == {"at 0.2", "at 0.7", "at 2", "at 7"}
    assert load(model).name == "model"
    assert "already contains a model" in run(*first, "--resume", "--export", model)[1].err
