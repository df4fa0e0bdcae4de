"""Training of a variational autoencoder: resuming, and the generator that comes of it."""

import json

import numpy as np
import pytest
import torch
from tolerances import SUMS

from stylegan3d.base import ModelError
from stylegan3d.cli import main
from stylegan3d.geometry.space import to_display
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import load
from stylegan3d.networks.autoencoder import Autoencoder, AutoencoderConfig, LatentEncoder
from stylegan3d.projection import project
from stylegan3d.recipe.model import seed_latents
from stylegan3d.storage.places import CARD
from stylegan3d.training.autoencoder import (
    AutoencoderTask,
    draw,
    export_autoencoder,
    mean_ssim,
    people_latents,
    train_autoencoder,
)
from stylegan3d.training.export import ModelTarget
from stylegan3d.training.options import AutoencoderSettings
from stylegan3d.training.run import CHECKPOINT, Run

SMALL = AutoencoderConfig((24, 32, 24), 4, (8, 16, 16), (1, 1, 1))
SHORT = {"people": 2, "crops": 1, "side": 24, "warm_up": 5, "learning_rate": 4e-3, "decay": 0.95}


pytestmark = pytest.mark.usefixtures("few_brains")


@pytest.fixture(scope="module")
def run(autoencoder_run):
    return autoencoder_run


@pytest.fixture(scope="module")
def generator(run, even_pack, few_brains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae") / "model"
    to = ModelTarget(folder, "phantoms", licence="CC0", attribution="us")
    return export_autoencoder(run, even_pack, to, labels=["length"])


def people(pack, split="validation"):
    return [pack.volumes[row].astype(np.float32) / 255 for row in pack.indices(split)]


def test_it_learns_to_give_back_people_it_has_not_seen(run, even_pack):
    mean = [similarity(even_pack.template, true, true > 0) for true in people(even_pack)]
    assert run.measured["ssim"] > np.median([m["ssim"] for m in mean]) + 0.05
    # About 1 dB: so short a training ends elsewhere on processors that round differently.
    assert run.measured["psnr"] > np.median([m["psnr"] for m in mean]) + 0.6


def test_crops_and_their_places_belong_together(even_pack):
    config = AutoencoderSettings(**{**SHORT, "stretch": 0.0, "people": 3, "crops": 2, "side": 16})
    crops, places = draw(even_pack, config, 4, range(config.people))
    assert crops.shape == (6, 1, 16, 16, 16)
    assert len(places) == 6
    for place in places:
        assert all(
            s.start % 8 == 0 and s.stop <= n for s, n in zip(place, (24, 32, 24), strict=True)
        )
    again, same = draw(even_pack, config, 4, range(config.people))
    assert torch.equal(crops, again)
    assert places == same


def test_a_crop_is_encoded_as_the_same_place_of_the_whole(run):
    # What lies further than the networks see does not change a latent.
    network = Autoencoder(AutoencoderConfig((160, 8, 8), 2, (4, 4, 4), (1, 1, 1)))
    volume = torch.randn(1, 1, 160, 8, 8)
    whole = network.encode(volume)[0]
    part = network.encode(volume[:, :, :120], network.mean[:, :, :60])[0]
    assert torch.allclose(whole[:, :, :10], part[:, :, :10], atol=SUMS)
    assert not torch.allclose(whole[:, :, 14], part[:, :, 14], atol=SUMS)


def test_similarity_is_one_for_the_same_and_falls_with_noise():
    volume = torch.rand(1, 1, 16, 16, 16) * 2 - 1
    assert float(mean_ssim(volume, volume)) == pytest.approx(1)
    weak, strong = (mean_ssim(volume + s * torch.randn_like(volume), volume) for s in (0.1, 0.5))
    assert 1 > float(weak) > float(strong)


def test_a_resumed_run_goes_on_as_if_it_had_not_been_interrupted(even_pack, tmp_path):
    config = AutoencoderSettings(steps=6, **SHORT)
    whole = train_autoencoder(even_pack, tmp_path / "whole", SMALL, config)

    class Stopped(Exception):
        pass

    def stop(done, total, figures):
        if done == 3:
            raise Stopped

    part = tmp_path / "part"
    with pytest.raises(Stopped):
        train_autoencoder(
            even_pack,
            part,
            SMALL,
            AutoencoderSettings(steps=6, save_seconds=0.0, **SHORT),
            progress=stop,
        )
    told = []
    damaged = (part / CHECKPOINT).read_bytes()[:1000]
    (part / CHECKPOINT).write_bytes(damaged)
    resumed = train_autoencoder(even_pack, part, resume=True, tell=told.append)
    assert "checkpoint" in told[0]
    for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AutoencoderConfig((20, 28, 24)), "multiples of 8 voxels, not 20 x 28 x 24"),
        (lambda: AutoencoderConfig((16, 16, 16), 0), "at least one channel"),
        (lambda: AutoencoderSettings(steps=0), "steps is 0, but must be at least 1"),
        (lambda: AutoencoderSettings(side=20), "multiple of 8"),
    ],
)
def test_mistakes_are_told_in_a_sentence(make, sentence):
    with pytest.raises(ModelError, match=sentence):
        make()


def test_another_data_set_cannot_go_on_with_a_run(pack, even_pack, tmp_path):
    train_autoencoder(even_pack, tmp_path, SMALL, AutoencoderSettings(steps=1, **SHORT))
    with pytest.raises(ModelError, match="with another dataset"):
        train_autoencoder(pack, tmp_path, resume=True)


def test_what_runs_away_is_told_and_not_saved(even_pack, tmp_path):
    run = Run(AutoencoderTask(SMALL, AutoencoderSettings(**SHORT)), torch.device("cpu"))
    with torch.no_grad():
        next(run.network.parameters()).fill_(float("inf"))
    with pytest.raises(ModelError, match="diverged at step 0"):
        run.step(even_pack)


def test_the_generator_is_one_of_its_family(generator, run, even_pack):
    assert generator.family == "vae"
    assert generator.num_layers == 1
    assert generator.w_dim == 4 * 3 * 4 * 3
    assert not generator.can("layers")
    assert not generator.can("noise")
    assert "no noise" in generator.cannot["noise"]
    card = generator.card
    assert (card["licence"], card["attribution"]) == ("CC0", "us")
    assert "Variational autoencoder" in (generator.folder / "README.md").read_text()
    assert card["quality"]["encoder_reconstruction"]["psnr"] > card["quality"]["mean_brain"]["psnr"]


def test_random_brains_have_latents_like_peoples(generator, run, even_pack):
    latents = people_latents(LatentEncoder(run.average), even_pack)
    drawn = seed_latents(generator, range(300))[:, 0]
    assert torch.allclose(drawn.mean(dim=0), latents.mean(dim=0), atol=0.3)  # 300 random brains
    spread = latents.std(dim=0).square().sum().sqrt()
    kept = card_variance = generator.card["training"]["variance_kept"]
    assert 0.5 < card_variance <= 1.0001
    # 300 random brains.
    assert float(drawn.std(dim=0).square().sum().sqrt() / spread) == pytest.approx(
        kept**0.5, rel=0.1
    )
    # Of mirror-symmetric people, for each is there with his mirror image.
    middle = generator.synthesize(generator.w_avg[None, None])
    assert float((middle - middle.flip(2)).abs().mean()) < 0.05


def test_brains_are_drawn_for_a_label(generator, brightness_of_ends):
    assert [entry["name"] for entry in generator.card["labels"]] == ["length"]
    # A long one reaches further to front and back.
    short, long = (brightness_of_ends(generator, length, 20) for length in (0.6, 0.95))
    assert long > short + 0.05


def test_a_scan_is_encoded_at_once_and_then_refined(generator, even_pack):
    (true, *_) = people(even_pack)
    volume = torch.from_numpy(true)[None, None] * 2 - 1
    with torch.no_grad():
        guess = to_display(generator.synthesize(generator.encoder(volume)))[0]
    found = project(generator, true, steps=15)
    assert found.w.shape == (1, generator.w_dim)
    first, second = (similarity(image, true, true > 0)["psnr"] for image in (guess, found.volume))
    assert second > first


def test_damaged_models_are_refused_in_a_sentence(generator, tmp_path):
    def copy(name, change):
        folder = tmp_path / name
        folder.mkdir()
        for file in generator.folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        card = json.loads((folder / CARD).read_text())
        change(card["architecture"]["autoencoder"])
        (folder / CARD).write_text(json.dumps(card))
        return folder

    changes = {
        "larger": {"channels": [60000, 60000, 60000]},
        "other": {"latent_channels": 5},
        "word": {"channels": "wide"},
        "deep": {"blocks": [1, 1, 10**4]},
        "huge": {"shape": [60000, 60000, 60000]},
        "strange": {"shape": [24, 32, 25]},
        "short": {"blocks": [1]},
    }
    for name, change in changes.items():
        sentence = "multiples of 8" if name == "strange" else "copy the model folder again"
        with pytest.raises(ModelError, match=sentence):
            load(copy(name, lambda plan, change=change: plan.update(change)))


def test_the_command_trains_resumes_and_exports(even_pack, tmp_path, capsys, monkeypatch):
    # A network as wide as one for use takes long.
    narrow = (*AutoencoderConfig.__init__.__defaults__[:2], (16, 16, 16), (1, 1, 1))
    monkeypatch.setattr(AutoencoderConfig.__init__, "__defaults__", narrow)

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(w) for w in words])
        return ended.value.code or 0, capsys.readouterr()

    out, model = tmp_path / "run", tmp_path / "model"
    first = ("train", "vae", even_pack.path, "--out", out)
    status, told = run(*first, "--steps", 2, "--latent-channels", 2)
    assert status == 0, told.err
    assert "2 steps of training" in told.out
    assert "holds a run" in run(*first)[1].err
    assert "is for new runs" in run(*first, "--resume", "--steps", 3)[1].err
    other = run("train", "translation", even_pack.path, "--maps", out, "--out", out, "--resume")
    assert "holds a run of `train vae`; resume it with that" in other[1].err
    same = ("--resume", "--steps", 2, "--latent-channels", 2)
    status, told = run(*first, *same, "--export", model, "--labels", "height")
    assert status == 2
    assert "no column 'height'" in told.err
    # If nobody's age can be told, the model is there, without labels, for another try.
    with monkeypatch.context() as patch:
        told_by_nothing = lambda x, y: (torch.zeros(x.shape[1], dtype=x.dtype), 0.0)  # noqa: E731
        patch.setattr("stylegan3d.networks.linear_prior.foreseen_share", told_by_nothing)
        status, told = run(*first, "--resume", "--export", model, "--labels", "age")
    assert status == 2
    assert "'age' cannot be predicted" in told.err
    assert load(model).label_dim == 0
    status, told = run(*first, "--resume", "--export", model, "--json")
    assert status == 0, told.err
    found = json.loads(told.out)
    assert found["steps"] == 2
    assert {"ssim", "psnr"} <= set(found["measured"])
    generator = load(model)
    assert (generator.name, generator.w_dim) == ("model", 2 * 3 * 4 * 3)
    assert "already contains a model" in run(*first, "--resume", "--export", model)[1].err
