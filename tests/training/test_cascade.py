"""Training of the flows of a cascade: what they see, what they learn, resuming."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tolerances import SUMS

from stylegan3d.cli import main
from stylegan3d.errors import ModelError
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.loading import load
from stylegan3d.networks.cascade import CascadeFlow
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.recipe.drawing import seed_latents
from stylegan3d.storage.checkpoint import CHECKPOINT
from stylegan3d.training.cascade import LEARNED, CascadeRecipe, finish, train_cascade
from stylegan3d.training.cascade_data import BEND, SEEN_NOISE, Bend, Finest, Layouts, People, person
from stylegan3d.training.cascade_export import export_with_cascade
from stylegan3d.training.config import EncoderConfig, tiny
from stylegan3d.training.export import export_generator
from stylegan3d.training.flow_pairs import without_flow
from stylegan3d.training.options import CascadeSettings
from stylegan3d.training.run import Run, load_run
from stylegan3d.training.stylegan import train

pytestmark = pytest.mark.usefixtures("few_brains")

SMALL: dict[str, Any] = {"channels": (8, 8, 8), "side": 8, "warm_up": 2, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def people(pack, few_brains, tmp_path_factory) -> People:
    """Phantoms, and an anatomy model of them without a flow."""
    folder = tmp_path_factory.mktemp("cascade")
    config = tiny()
    networks = replace(
        config.generator,
        channels=(),
        levels=2,
        deformation=5,
        image_basis=5,
        detail_basis=6,
        deformation_level=0,
    )
    encoder = EncoderConfig(kind="fitting", w_dim=16, num_layers=4, corrections=0)
    config = config.with_(generator=networks, encoder=encoder, total_images=0)
    state = train(pack.path, folder / "run", config, should_stop=lambda: True, device="cpu")
    return People(pack, export_generator(state, pack, folder / "model", "phantoms"))


@pytest.fixture(scope="module")
def layouts(people) -> Layouts:
    return Layouts(people)


def test_the_coarse_image_has_no_use_for_the_last_level(people):
    network = anatomy_network(people.generator)
    w = people.generator.encoder(person(people.pack, 0)).clone()
    coarse = network.coarse(w)
    assert coarse.shape[2:] == tuple(n // 2 for n in people.pack.space.shape)
    # Of two levels the last has the rows 1 and 2, the first row 0, which weighs velocities too.
    changed = w.clone()
    changed[:, 1:] += 1
    assert torch.equal(network.coarse(changed), coarse)
    changed[:, 0] += 1
    assert not torch.equal(network.coarse(changed), coarse)


def test_layouts_are_people_beside_the_models_image_of_them(layouts, people):
    bands, coarse = layouts.bands[5].float()[None], layouts.coarse[5].float()[None]
    volume = person(people.pack, 5)
    assert torch.equal(volume, person(people.pack, 4).flip(2)), "odd ones are mirrored"
    half = torch.nn.functional.avg_pool3d(volume, 2)
    # Float16, and steps of 1/127.5.
    torch.testing.assert_close(inverse_haar(bands), half, rtol=0, atol=1e-3)
    like = anatomy_network(people.generator).coarse(people.generator.encoder(volume))
    # Float16, and steps of 1/127.5.
    torch.testing.assert_close(coarse, like, rtol=0, atol=1e-3)
    assert layouts.training.sum() == 2 * len(people.pack.indices("train"))
    drawn, beside, places = layouts.draw(np.random.default_rng(0), 3, training=False)
    assert drawn.shape == beside.shape == (3, 8, 5, 7, 6)
    assert places.shape == (1, 3, 5, 7, 6)


def test_a_run_is_finished_at_a_falling_rate_and_can_go_on(people, tmp_path):
    settings = CascadeSettings(steps=50, batch=2, **SMALL)
    stop = iter([False] * 4 + [True] * 9)
    begun = train_cascade(people, tmp_path / "run", settings, should_stop=lambda: next(stop))
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    finish(tmp_path / "run", tmp_path / "done", 3)
    done = train_cascade(people, tmp_path / "done", resume=True)
    assert (begun.steps, done.steps) == (4, 7)
    rates = [done.settings.rate(step) for step in (3, 4, 5, 6, 7)]
    assert rates[1] > rates[2] > rates[3] > rates[4] == 0
    assert rates[0] == settings.rate(3)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before
    with pytest.raises(ModelError, match="holds a run"):
        finish(tmp_path / "run", tmp_path / "done", 3)
    with pytest.raises(ModelError, match="is a finishing run itself"):
        finish(tmp_path / "done", tmp_path / "more", 3)


def test_a_bent_brain_and_its_coarse_image_are_moved_alike(people):
    axes = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in (40, 56, 48))
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    volume = (torch.cos(5 * x) * torch.cos(4 * y + 1) * torch.cos(6 * z))[None, None]
    bend = Bend.drawn(BEND, np.random.default_rng(4))
    moved, half = bend.of(volume), torch.nn.functional.avg_pool3d(volume, 2)
    changed = float((moved - volume).abs().mean())
    apart = float((torch.nn.functional.avg_pool3d(moved, 2) - bend.of(half)).abs().mean())
    assert changed > 0.02
    assert apart < 0.2 * changed, "on the full grid and on half of it"
    layouts = Layouts(people, 1.0)
    straight = Layouts(people)
    for training in (True, False):
        a, b = (
            x.draw(np.random.default_rng(0), 4, training=training)[0] for x in (layouts, straight)
        )
        assert torch.equal(a, b) is not training, "only those to learn from are bent"


def test_finest_cubes_keep_what_is_seen(people):
    cubes = Finest(people, 8)
    bands, seen, places = cubes.draw(np.random.default_rng(1), 4, training=True)
    assert torch.equal(bands[:, :1], seen[:, :1])
    # In the volume there is such a cube, mirrored or not, where the places say.
    whole = torch.stack([haar(person(people.pack, k))[0] for k in range(2 * len(people.pack))])
    for cube, place in zip(bands, places, strict=True):
        corner = [
            round((float(place[k].min()) + 1) / 2 * (n - 1)) for k, n in enumerate(cubes.grid)
        ]
        x, y, z = (slice(c, c + 8) for c in corner)
        differs = (whole[:, :, x, y, z] - cube).abs()
        best = differs[:, 1:].flatten(1).amax(dim=1).argmin()
        assert float(differs[best, 1:].max()) < 1e-5
        assert float(differs[best, 0].std()) < 2 * SEEN_NOISE


@pytest.mark.parametrize("scale", ["layout", "fine"])
def test_it_learns_and_a_resumed_run_is_the_same(people, tmp_path, scale):
    settings = CascadeSettings(scale=scale, steps=60, batch=4, **SMALL)
    whole = train_cascade(people, tmp_path / "whole", settings)
    data = whole.recipe.prepare(people, tmp_path, None)
    new = Run(CascadeRecipe(settings, people.generator.hash), whole.device)
    new.start(data)
    before, after = new.measure(data), whole.measure(data)
    assert after["error at 0.5"] < 0.95 * before["error at 0.5"]
    assert torch.equal(whole.average.spread, data.spread)

    def stop(done, total, figures):
        if done == 30:
            raise KeyboardInterrupt

    parts = replace(settings, save_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train_cascade(people, tmp_path / "parts", parts, progress=stop)
    resumed = train_cascade(people, tmp_path / "parts", resume=True)
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


@pytest.mark.parametrize("scale", ["layout", "fine"])
def test_runs_of_any_batch_are_measured_on_the_same_examples(people, tmp_path, scale):
    seen: list[list[torch.Tensor]] = []
    for batch, seed in ((2, 0), (5, 3)):
        settings = CascadeSettings(scale=scale, steps=4, batch=batch, seed=seed, **SMALL)
        recipe = CascadeRecipe(settings, people.generator.hash)
        data = recipe.prepare(people, tmp_path, None)
        run, parts = Run(recipe, torch.device("cpu")), []
        run.start(data)

        def beyond(bands, coarse, network=run.average, parts=parts):
            parts.append(bands)
            return CascadeFlow.beyond(network, bands, coarse)

        run.average.beyond = beyond
        run.measure(data)
        seen.append(parts)
    assert len(seen[0]) > len(seen[1]), "in batches of their own"
    assert torch.equal(torch.cat(seen[0]), torch.cat(seen[1]))


@pytest.mark.parametrize("scale", ["layout", "fine"])
def test_without_held_out_people_those_learned_from_are_measured(people, tmp_path, scale):
    settings = CascadeSettings(scale=scale, steps=1, batch=4, **SMALL)
    recipe = CascadeRecipe(settings, people.generator.hash)
    data = recipe.prepare(people, tmp_path, None)
    run = Run(recipe, torch.device("cpu"))
    run.start(data)
    whole = run.measure(data)
    held_out = {name for name in whole if not name.endswith(LEARNED)}
    assert held_out == {"error at 0.25", "error at 0.5", "error at 0.75"}
    data.training[:] = True
    everybody = run.measure(data)
    assert everybody.keys() == whole.keys() - held_out


def test_the_rate_falls_without_an_end_in_sight():
    settings = CascadeSettings(full_rate=100, warm_up=10, learning_rate=1.0)
    assert settings.rate(0) == pytest.approx(0.1)
    assert settings.rate(50) == settings.rate(100) == 1.0
    assert settings.rate(400) == pytest.approx(0.5)
    longer = replace(settings, steps=10)
    assert longer.rate(400) == settings.rate(400)


def test_what_does_not_fit_is_refused(people, tmp_path):
    for wrong, word in (({"scale": "huge"}, "huge"), ({"batch": 0}, "batch"), ({"side": 6}, "6")):
        with pytest.raises(ModelError, match=word):
            CascadeSettings(**wrong)
    with pytest.raises(ModelError, match="do not fit"):
        Finest(people, 12)
    other = CascadeRecipe(CascadeSettings(), "another")
    with pytest.raises(ModelError, match="another generator"):
        other.prepare(people, tmp_path, None)


def test_the_exported_generator_draws_with_the_cascade(people, tmp_path):
    runs = []
    for scale in ("layout", "fine"):
        settings = CascadeSettings(scale=scale, steps=6, batch=2, **SMALL)
        runs.append(train_cascade(people, tmp_path / scale, settings))
    folder, out = people.generator.folder, tmp_path / "model"
    made = export_with_cascade(*runs, folder, people.pack, out, steps=2)
    network, plain = anatomy_network(made), anatomy_network(people.generator)
    assert network.config.layout_channels == network.config.fine_channels == (8, 8, 8)
    assert made.has_noise
    assert made.card["training"]["cascade"]["fine"]["steps_done"] == 6
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "a cascade of two flows from noise, 2 steps each" in page
    assert "The cascade's layout learned from 6 x 2 whole brains" in page
    again = load(out, device="cpu")
    w = seed_latents(again, [0, 1])
    w[:, :, network.config.details] *= 2  # details enough for all of it
    volume = again.synthesis(w, 7)
    torch.testing.assert_close(volume, made.synthesis(w, 7), rtol=0, atol=0)
    assert not torch.equal(volume, again.synthesis(w, 8)), "another noise"
    details = network.detail_weights(w)
    (noise,) = network.noise_maps(7)
    expected = network.cascade(network.coarse(w), details, noise, 2)
    torch.testing.assert_close(volume, expected, rtol=0, atol=SUMS)
    code = again.encoder(person(people.pack, 0))
    assert torch.equal(again.synthesis(code, 7), plain(code, 7)), "scans are left as they are"
    # Once more, in the place of itself: nothing of it is left behind.
    with pytest.raises(ModelError, match="another generator"):
        export_with_cascade(*runs, out, people.pack, tmp_path / "twice")
    with pytest.raises(ModelError, match="in this order"):
        export_with_cascade(*runs[::-1], folder, people.pack, tmp_path / "twice")
    assert without_flow(again).synthesis.last_flow is None


def status(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_the_command_trains_and_goes_on(people, tmp_path, capsys):
    words = ["train", "cascade", str(people.generator.folder), str(people.pack.path)]
    words += ["--out", str(tmp_path / "run")]
    new = ["--channels", "8", "8", "8", "--batch", "2", "--steps", "2", "--scale", "layout"]
    assert status([*words, *new]) == 0
    told = capsys.readouterr().out
    assert "2 steps of training" in told
    for whose in ("held-out", "training"):
        assert f"{whose} subjects, error at 0.25: " in told
    assert load_run(CascadeRecipe, tmp_path / "run", torch.device("cpu")).steps == 2
    assert status([*words, "--resume"]) == 0
    assert status([*words, "--resume", "--batch", "3"]) == 2
    assert status([*words, "--resume", "--export", str(tmp_path / "model")]) == 2
