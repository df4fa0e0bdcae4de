"""Training runs, stops, survives a kill, and ends in a generator anybody can load."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tolerances import FLOAT32

from stylegan3d.base import ModelError, OutputError
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import load
from stylegan3d.networks.config import GeneratorConfig, typed
from stylegan3d.networks.synthesis import MappingNetwork, set_gaussian
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training import stylegan as module
from stylegan3d.training.data import Batches, fixed_volumes
from stylegan3d.training.export import ModelTarget, export_stylegan
from stylegan3d.training.options import (
    StyleGANSettings,
    brain_2mm,
    stylegan_2mm,
    stylegan_4mm,
    tiny,
)
from stylegan3d.training.run import CHECKPOINT, LOG, PREVIOUS, load_run
from stylegan3d.training.stylegan import Step, StyleGANTask, at_once, train_stylegan

pytestmark = pytest.mark.usefixtures("few_brains")
SHAPE = (20, 28, 24)
PLAIN = GeneratorConfig(channels=(8, 6), z_dim=8, w_dim=8, head="haar", mapping_linear_output=True)
ALONE = replace(tiny().discriminator, mbstd_group=1)


def short(**changes) -> StyleGANSettings:
    return replace(tiny(), **({"steps": 8, "validate_every": 2} | changes))


def started(pack, folder, **changes):
    """A run before its first step."""
    return train_stylegan(pack, folder, short(**changes), should_stop=lambda: True)


def step(run, pack):
    """A step on the first four subjects."""
    return Step(run, fixed_volumes(pack, "train")[:4])


def weights(run):
    nets = run.networks | {f"average {n}": m for n, m in run.averages.items()}
    return {f"{n}.{k}": v.clone() for n, m in nets.items() for k, v in m.state_dict().items()}


def opened(folder):
    return load_run(StyleGANTask, folder, torch.device("cpu"))


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


def test_small_volumes_are_synthesised_together_on_a_cpu_and_alike(pack, tmp_path, monkeypatch):
    assert at_once(torch.device("cpu"), stylegan_2mm().generator, 8) == 1
    assert at_once(torch.device("cpu"), stylegan_4mm().generator, 16) == 8
    assert at_once(torch.device("cuda"), stylegan_2mm().generator, 8) == 8
    run = started(pack, tmp_path / "run")
    made = []
    for voxels in (module.CACHED_VOXELS, 1):
        monkeypatch.setattr(module, "CACHED_VOXELS", voxels)
        part = step(run, pack)
        rows, *_ = part.random_rows(range(4))
        with torch.no_grad():
            made.append(part._volumes(rows, np.arange(4)))
    torch.testing.assert_close(*made)


def test_a_resumed_run_equals_one_that_never_stopped(pack, tmp_path):
    """Down to the last bit of every weight and optimiser moment."""
    whole = train_stylegan(pack, tmp_path / "whole", short())
    train_stylegan(pack, tmp_path / "cut", short(steps=3))
    resumed = train_stylegan(pack, tmp_path / "cut", resume=True, changes={"steps": 8})
    assert resumed.steps == whole.steps == 8
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    for name, optimiser in whole.optimisers.items():
        other = resumed.optimisers[name].state_dict()["state"]
        for key, entry in optimiser.state_dict()["state"].items():
            assert torch.equal(entry["exp_avg_sq"], other[key]["exp_avg_sq"])
    assert torch.equal(whole.extra["w_avg"], resumed.extra["w_avg"])
    assert whole.extra["augment"] == resumed.extra["augment"]


@pytest.mark.soak
def test_run_survives_kill_9(pack, tmp_path):
    """Killed without warning, the run goes on from its last checkpoint."""
    program = (
        "import sys; from dataclasses import replace; from pathlib import Path;"
        "from stylegan3d.dataset.pack import load_pack;"
        "from stylegan3d.training.stylegan import train_stylegan;"
        "from stylegan3d.training.options import tiny;"
        "train_stylegan(load_pack(sys.argv[1]), Path(sys.argv[2]),"
        "replace(tiny(), steps=10**6, save_seconds=0.0))"
    )
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", program, str(pack.path), str(out)])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (out / CHECKPOINT).exists():
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = opened(out).steps
    assert before > 0
    run = train_stylegan(pack, out, resume=True, changes={"steps": before + 2})
    assert run.steps == before + 2


def test_sigterm_stops_cleanly(pack, tmp_path):
    def stop(done, total, figures):
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    run = train_stylegan(pack, tmp_path / "run", short(), progress=stop)
    assert run.steps == opened(tmp_path / "run").steps == 3
    log = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert log[0]["steps"] == 2
    assert {"generator", "discriminator", "diversity"} <= set(log[0])


def test_a_step_moves_all_networks(pack, tmp_path):
    run = started(pack, tmp_path / "run", generator=PLAIN)
    # The image starts as dark as a volume is on average.
    start = float(run.networks["synthesis"].image_layers[0].bias.detach()[0])
    assert start == pytest.approx(float(pack.template.mean()) * 2 - 1)
    before = weights(run)
    log = step(run, pack).train()
    assert set(log) == {
        "generator",
        "discriminator",
        "r1",
        "real_score",
        "fake_score",
        "d_augment_p",
    }
    assert all(np.isfinite(v) for v in log.values())
    moved = {k.split(".")[0] for k, v in weights(run).items() if not torch.equal(v, before[k])}
    assert moved == {"mapping", "synthesis", "discriminator"}
    after = run.networks["discriminator"].state_dict()
    assert all(
        not torch.equal(value, before[f"discriminator.{k}"])
        for k, value in after.items()
        if k.endswith("weight")
    )
    assert torch.isfinite(run.extra["w_avg"]).all()
    assert run.extra["w_avg"].abs().max() > 0


def test_a_stylegan_starts_at_the_mean_brain(pack, tmp_path):
    run = started(pack, tmp_path / "run", generator=replace(PLAIN, image_const=True))
    averages = run.averages["mapping"].state_dict()
    assert torch.equal(averages["layers.0.weight"], run.networks["mapping"].layers[0].weight)
    mean = torch.from_numpy(pack.template) * 2 - 1
    first = step(run, pack)
    rows = first.random_rows(range(20))[0]
    synthesis = run.networks["synthesis"]
    with torch.no_grad():
        made = synthesis(rows, "none")[:, 0]
    dark = mean < -0.99
    assert (made.mean(dim=0) - mean)[~dark].abs().mean() < 0.1  # 20 brains
    assert (made[:, dark] < -1).float().mean() > 0.8
    assert made.std(dim=0)[~dark].mean() > 0.02, "they differ from the start"
    before = synthesis.image_const.detach().clone()
    assert all(np.isfinite(v) for v in first.train().values())
    assert not torch.equal(synthesis.image_const, before)


def test_nothing_darker_than_the_background_is_judged(pack, tmp_path, monkeypatch):
    run = started(pack, tmp_path / "run", generator=PLAIN)
    with torch.no_grad():
        run.networks["synthesis"].image_layers[0].bias.fill_(-3.0)
    judged, scores = [], Step.scores

    def noted(self, volumes, labels):
        judged.append(volumes.detach())
        return scores(self, volumes, labels)

    monkeypatch.setattr(Step, "scores", noted)
    step(run, pack).train()
    assert min(float(volumes.min()) for volumes in judged) == -1
    assert any((volumes == -1).float().mean() > 0.9 for volumes in judged), "the fakes are dark"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"discriminator": replace(ALONE, packed=0)}, "judges 0 volumes"),
        ({"discriminator": replace(ALONE, packed=2)}, "multiples of that number"),
        ({"discriminator": replace(ALONE, packed=3, mbstd_group=6)}, "multiples of that number"),
        ({"discriminator": replace(ALONE, base=(3, 3, 3))}, "base, channels and head fit"),
        ({"generator": brain_2mm().generator}, "another kind of network"),
        ({"steps": 0}, "steps is 0, but must be at least 1"),
        ({"average_steps": 0}, "average_steps is 0, but must be at least 1"),
        ({"learning_rate": -1.0}, "learning rate is -1.0, but must be 0 or more"),
        ({"discriminator": replace(ALONE, mbstd_group=0)}, "multiples of that number"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, said):
    with pytest.raises(ModelError, match=said):
        short(**settings)


@pytest.mark.parametrize("batch", [0, 1, 6, 10])
def test_batches_that_would_fail_later_are_refused_at_once(batch):
    with pytest.raises(ModelError, match=r"cannot be trained on|at least 1"):
        short(batch=batch)
    assert short(batch=3).batch == 3
    assert short(batch=8).batch == 8


def test_settings_survive_json():
    for preset in (stylegan_2mm, stylegan_4mm, tiny):
        settings = preset()
        assert typed(StyleGANSettings, asdict(settings)) == settings


def test_style_mixing_regularisation(pack, tmp_path, monkeypatch):
    run = started(pack, tmp_path / "run")
    monkeypatch.setattr(module, "MIXING_PROBABILITY", 1.0)
    rows, w, _ = step(run, pack).random_rows(range(50))
    assert w.shape == (100, 16)
    layers = rows.shape[1]
    assert not torch.equal(rows[:, 0], rows[:, -1])
    for w in rows:
        changes = [not torch.equal(w[i], w[i + 1]) for i in range(layers - 1)]
        assert sum(changes) == 1  # one crossover, somewhere
    monkeypatch.setattr(module, "MIXING_PROBABILITY", 0.0)
    w, _, _ = step(run, pack).random_rows(range(5))
    assert torch.equal(w, w[:, :1].expand_as(w))


def test_a_mapping_that_cannot_be_linear_is_refused():
    settings = brain_2mm().generator
    network = MappingNetwork(replace(settings, mapping_linear_output=False))
    with pytest.raises(ModelError, match="mapping_linear_output"):
        set_gaussian(network, torch.zeros(128), torch.eye(128))


@pytest.mark.parametrize("packed", [1, 2])
def test_export_gives_a_generator_with_a_card(packed, pack, tmp_path):
    judge = replace(tiny().discriminator, packed=packed)
    run = train_stylegan(pack, tmp_path / "run", short(discriminator=judge, steps=4))
    to = ModelTarget(tmp_path / "model", "phantoms", attribution="Thank the phantoms.")
    generator = export_stylegan(run, pack, to)
    found = load(tmp_path / "model")
    assert found.hash == generator.hash
    assert found.family == found.card["architecture"]["family"] == "stylegan"
    assert type(found.config) is GeneratorConfig
    w = seed_latents(found, [1])
    z = torch.from_numpy(np.random.RandomState(1).randn(1, 16)).float()
    with torch.no_grad():
        rows = run.averages["mapping"](z)[:, None].expand_as(w)
        average = run.averages["synthesis"](rows, "none")
    # Stored in bfloat16: eight bits of mantissa.
    assert (found.synthesize(w, "none") - average).abs().mean() < 0.02
    volumes = fixed_volumes(pack, "train")[:4]
    assert found.score(volumes).shape == (4 // packed,)
    if packed > 1:
        with pytest.raises(ModelError, match="judges 2 volumes together, not 3"):
            found.score(volumes[:3])
    assert found.encoder is None
    np.testing.assert_allclose(found.template, pack.template, atol=FLOAT32)
    card = found.card
    assert card["training_data"] == [{"source": "phantom", "people": 8, "licence": "CC0"}]
    assert card["licence"] == "CC0"
    assert card["quality"]["validation_people"] == 2
    assert found.directions.model_hash == found.hash
    page = (tmp_path / "model" / "README.md").read_text()
    assert "| phantom | 8 | CC0 |" in page
    assert "Thank the phantoms." in page
    assert "StyleGAN2 in three dimensions" in page
    assert "16 training volumes with the adversarial objective" in page
    assert "by the encoder" not in page
    assert "mean brain, for comparison" in page
    with pytest.raises(OutputError, match="already contains a model"):
        export_stylegan(run, pack, to)


def test_what_cannot_train_is_refused_in_words(pack, tmp_path):
    with pytest.raises(ModelError, match="choose another preset"):
        train_stylegan(pack, tmp_path / "a")
    with pytest.raises(ModelError, match="no training run to resume"):
        train_stylegan(pack, tmp_path / "typo", short(), resume=True)
    assert not {"a", "typo"} & {p.name for p in tmp_path.iterdir()}
    train_stylegan(pack, tmp_path / "c", short(steps=1))
    with pytest.raises(ModelError, match="--resume"):
        train_stylegan(pack, tmp_path / "c", short())
    for name in (CHECKPOINT, PREVIOUS):
        (tmp_path / "c" / name).write_bytes(b"torn")
    with pytest.raises(ModelError, match="damaged"):
        train_stylegan(pack, tmp_path / "c", resume=True)


@pytest.fixture(scope="module")
def twice_saved(pack, tmp_path_factory):
    """The folder of a run of two steps, saved after each."""
    folder = tmp_path_factory.mktemp("twice") / "run"
    train_stylegan(pack, folder, short(steps=1))
    train_stylegan(pack, folder, resume=True, changes={"steps": 2})
    return folder


@pytest.mark.parametrize("damage", ["cut", "one bit", "gone"])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(pack, twice_saved, tmp_path, damage):
    shutil.copytree(twice_saved, tmp_path / "run")
    path, said = tmp_path / "run" / CHECKPOINT, []
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # torch itself would read it without a word
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    if damage == "gone":
        path.unlink()
    run = train_stylegan(
        pack, tmp_path / "run", resume=True, changes={"steps": 3}, tell=said.append
    )
    assert run.steps == 3
    assert f"is {'missing' if damage == 'gone' else 'damaged'}" in said[0]
    assert PREVIOUS in said[0]
    assert opened(tmp_path / "run").note == ""


def test_rates_of_a_resumed_run_are_as_set_now(pack, tmp_path):
    train_stylegan(pack, tmp_path / "run", short(steps=1))
    changes = {"steps": 2, "learning_rate": 3e-4}
    run = train_stylegan(pack, tmp_path / "run", resume=True, changes=changes)
    rates = [[g["lr"] for g in o.param_groups] for o in run.optimisers.values()]
    assert rates == [[3e-4, pytest.approx(0.03 * 3e-4), 3e-4], [3e-4]]


def test_mirroring_needs_a_symmetric_grid(pack, tmp_path):
    turned = np.array([[0, 8.0, 0, 0], [8.0, 0, 0, 0], [0, 0, 8.0, 0], [0, 0, 0, 1]])
    rows = [{**row, "row": i} for i, row in enumerate(pack.table)]
    space = Space(SHAPE, turned)
    write_pack(tmp_path / "turned", rows, lambda r: pack.volumes[r["row"]], space, {"refused": []})
    data = load_pack(tmp_path / "turned")
    with pytest.raises(ModelError, match="--no-mirror"):
        train_stylegan(data, tmp_path / "run", short())
    assert not (tmp_path / "run").exists()
    assert train_stylegan(data, tmp_path / "run", short(mirror=False, steps=1)).steps == 1


def test_sessions_of_one_person_are_one_person_in_the_card(pack, tmp_path):
    rows = [{**r, "person": "sub-00", "licence": "", "row": i} for i, r in enumerate(pack.table)]
    write_pack(tmp_path / "p", rows, lambda r: pack.volumes[r["row"]], pack.space, {"refused": []})
    run = train_stylegan(pack, tmp_path / "run", short(steps=1))
    to = ModelTarget(tmp_path / "model", "one")
    card = export_stylegan(run, load_pack(tmp_path / "p"), to).card
    assert card["training_data"] == [{"source": "phantom", "people": 1, "licence": "not stated"}]
    assert card["licence"] == "not stated"


def test_a_run_goes_on_with_its_own_dataset_only(pack, tmp_path):
    train_stylegan(pack, tmp_path / "run", short(steps=1))
    other = replace(pack, info=pack.info | {"id": "others"})
    with pytest.raises(ModelError, match="begun with another dataset"):
        train_stylegan(other, tmp_path / "run", resume=True, changes={"steps": 2})


def test_a_fixed_augmentation_is_as_set_now(pack, tmp_path):
    train_stylegan(pack, tmp_path / "run", short(steps=1))
    changes = {"steps": 2, "d_augment": "fixed", "d_augment_p": 0.5}
    run = train_stylegan(pack, tmp_path / "run", resume=True, changes=changes)
    assert step(run, pack).augment.p == 0.5
