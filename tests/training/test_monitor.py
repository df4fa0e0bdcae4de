"""What a run says of itself: variety, the alarm, TensorBoard, the command line."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from stylegan3d.base import ModelError
from stylegan3d.cli import main
from stylegan3d.training.options import tiny
from stylegan3d.training.run import LOG, load_run
from stylegan3d.training.stylegan import TENSORBOARD, Monitor, StyleGANTask, alarm, train_stylegan


@pytest.fixture
def started(pack, tmp_path):
    return train_stylegan(pack, tmp_path / "started", tiny(), should_stop=lambda: True)


def collapse(run):
    """Every random brain the same."""
    for mapping in (run.networks["mapping"], run.averages["mapping"]):
        torch.nn.init.zeros_(mapping.layers[-1].weight)


def test_the_alarm_fires_for_a_collapsed_generator_and_not_for_a_fresh_one(pack, started):
    monitor = Monitor(pack, torch.float32)
    healthy = monitor.measure(started, None)
    assert alarm(healthy) == ""
    assert healthy["pair_correlation"] < 0.99
    assert {"ms_ssim", "ms_ssim_real", "bmmd2", "bmmd2_real"} <= set(healthy)
    collapse(started)
    collapsed = monitor.measure(started, None)
    # The noise inputs have no strength yet.
    assert collapsed["pair_correlation"] == pytest.approx(1, abs=1e-3)
    assert "too similar" in alarm(collapsed)


def noisy(run):
    """Random brains that differ by their noise alone."""
    collapse(run)
    for layer in run.averages["synthesis"].layers:
        layer.noise_strength.fill_(1.0)


def test_random_brains_of_the_monitor_have_noise_of_their_own(pack, started):
    noisy(started)
    monitor = Monitor(pack, torch.float32)
    first = monitor.measure(started, None)
    volumes = monitor.fake
    assert first["pair_correlation"] < 0.99
    assert len({volume.tobytes() for volume in volumes}) == len(volumes)
    assert monitor.measure(started, None) == first, "the same noise each time"


def test_the_alarm_fires_for_noise():
    values = {"pair_correlation": 0.3, "pair_correlation_real": 0.7, "diversity": 0.7 / 0.3}
    assert "differ more than real ones" in alarm(values)
    assert alarm({}) == ""  # a single person: nothing to compare with


def test_a_run_logs_its_alarm(pack, tmp_path):
    config, out = replace(tiny(), steps=2, validate_every=1), tmp_path / "run"
    run = train_stylegan(pack, out, config)
    collapse(run)
    run.save(out)
    told, stops = [], iter([False, True])
    shutil.copytree(out, tmp_path / "long")
    longer = {"resume": True, "changes": {"steps": 200}, "should_stop": lambda: next(stops)}
    assert train_stylegan(pack, tmp_path / "long", tell=told.append, **longer).steps == 3
    assert told == [], "it has only begun"
    with (out / LOG).open("a") as log:  # as a run that was killed after its last checkpoint
        log.write('{"steps": 3, "seconds": 1}\n{"steps": 4, "sec')
    train_stylegan(pack, out, resume=True, changes={"steps": 3}, tell=told.append)
    rows = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [row["steps"] for row in rows] == [1, 2, 3]
    assert "warning" not in rows[0]
    assert "too similar" in rows[-1]["warning"]
    assert told == [rows[-1]["warning"]]


def test_the_log_tells_the_mean_of_the_steps_since_the_last_line(pack, tmp_path):
    seen = []
    config = replace(tiny(), steps=4, validate_every=2)
    train_stylegan(
        pack, tmp_path / "run", config, progress=lambda *now: seen.append(now[2]["generator"])
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert [row["steps"] for row in rows] == [2, 4]
    # The log has five decimals.
    assert rows[1]["generator"] == pytest.approx(
        np.mean(seen[2:]), abs=1e-5
    )  # the log has five decimals


def test_tensorboard_gets_curves_and_pictures(pack, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(tiny(), steps=4, validate_every=2)
    train_stylegan(pack, tmp_path / "run", config, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / TENSORBOARD))
    events.Reload()
    tags = events.Tags()
    expected = {
        "figures/generator",
        "figures/discriminator",
        "figures/d_augment_p",
        "rate/generator_0",
    }
    assert expected | {"figures/diversity"} <= set(tags["scalars"])
    assert tags["images"] == ["brains"]
    assert set(tags["histograms"]) == {"intensity/synthetic", "intensity/real"}
    assert [e.step for e in events.Scalars("figures/generator")] == [2, 4]
    assert events.Images("brains")[0].height > 100


def test_tensorboard_that_is_missing_is_said_at_once(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("stylegan3d.training.stylegan.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install .*\[train\]"):
        train_stylegan(pack, tmp_path / "run", tiny(), tensorboard=True)
    assert not (tmp_path / "run").exists()


def program(*words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code or 0


def test_a_config_file_reproduces_a_run(pack, tmp_path, capsys, monkeypatch):
    """One command and the settings of another run make the same weights."""
    monkeypatch.setattr("stylegan3d.cli.common.SAME_S", 0.0)
    common = ["--device", "cpu", "--json"]
    words = ["d_augment=adaptive", "validate_every=1"]
    sets = [part for word in words for part in ("--set", word)]
    first, second = tmp_path / "first", tmp_path / "second"
    made = ["--preset", "tiny", "--steps", "2", *sets]
    assert program("train", "stylegan", pack.path, "--out", first, *made, *common) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 2
    if not sys.stderr.isatty():
        assert "Training: 2 of 2, " in captured.err
    again = ["--config", first / "settings.json"]
    assert program("train", "stylegan", pack.path, "--out", second, *again, *common) == 0
    a, b = (load_run(StyleGANTask, run, torch.device("cpu")) for run in (first, second))
    assert a.settings == b.settings
    assert a.settings.steps == 2
    for name, network in a.networks.items():
        other = b.networks[name].state_dict()
        assert all(torch.equal(v, other[k]) for k, v in network.state_dict().items()), name
    for option, sentence in (("--batch 8", "is for new runs"), ("--set batch=8", "cannot change")):
        resumed = ["--out", first, "--resume", *option.split()]
        assert program("train", "stylegan", pack.path, *resumed, *common) == 2
        assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--preset", "huge"], "choose stylegan-2mm"),
        (["--preset", "tiny", "--set", "r1_gama=3"], "did you mean r1_gamma"),
        (["--config", "none.json"], "cannot be read"),
        (["--preset", "tiny", "--config", "a.json"], "leave out --preset"),
        (["--preset", "tiny", "--accumulate", "2"], "microbatches"),
    ],
)
def test_wrong_options_are_refused_in_words(pack, tmp_path, capsys, words, sentence):
    start = ["train", "stylegan", pack.path, "--out", tmp_path / "run", "--device", "cpu"]
    assert program(*start, *words) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["stylegan", "anatomy", "vae"])
def test_an_empty_folder_is_not_resumed(pack, tmp_path, capsys, kind):
    assert program("train", kind, pack.path, "--out", tmp_path / "run", "--resume") == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "There is no training run to resume" in said
    assert not (tmp_path / "run").exists()
