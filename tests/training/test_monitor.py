"""What a run says of itself: variety, the alarm, TensorBoard, the command line."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan3d.cli import main
from stylegan3d.errors import ModelError
from stylegan3d.training.board import FOLDER
from stylegan3d.training.config import tiny
from stylegan3d.training.loop import LOG
from stylegan3d.training.monitor import Monitor, alarm
from stylegan3d.training.start import start_from_data
from stylegan3d.training.state import TrainState
from stylegan3d.training.stylegan import train


@pytest.fixture
def started(pack):
    state = TrainState(tiny(), torch.device("cpu"))
    start_from_data(state, pack)
    return state


def collapse(state):
    """Every random brain the same."""
    for mapping in (state.mapping, state.averages["mapping"]):
        torch.nn.init.zeros_(mapping.layers[-1].weight)


def test_the_alarm_fires_for_a_collapsed_generator_and_not_for_a_fresh_one(pack, started):
    monitor = Monitor(pack, torch.float32)
    healthy = monitor.measure(started)
    assert alarm(healthy) is None
    assert healthy["pair_correlation"] < 0.99
    assert {"ms_ssim", "ms_ssim_real", "bmmd2", "bmmd2_real", "validation_psnr"} <= set(healthy)
    collapse(started)
    collapsed = monitor.measure(started)
    # The noise inputs have no strength yet.
    assert collapsed["pair_correlation"] == pytest.approx(1, abs=1e-3)
    assert "too similar" in alarm(collapsed)


def noisy(state):
    """Random brains that differ by their noise alone."""
    collapse(state)
    for layer in state.averages["synthesis"].layers:
        layer.noise_strength.fill_(1.0)


def test_random_brains_of_the_monitor_have_noise_of_their_own(pack, started):
    noisy(started)
    monitor = Monitor(pack, torch.float32)
    first = monitor.measure(started)
    volumes = monitor.fake
    assert first["pair_correlation"] < 0.99
    assert len({volume.tobytes() for volume in volumes}) == len(volumes)
    assert monitor.measure(started) == first, "the same noise each time"


def test_random_brains_of_a_benchmark_have_noise_of_their_own(started, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    random_brains = import_module("ablations").random_brains
    noisy(started)
    first, again = (list(random_brains(started, 3)) for _ in range(2))
    assert len({volume.tobytes() for volume in first}) == 3
    np.testing.assert_array_equal(first, again)


def test_the_alarm_fires_for_noise():
    values = {"pair_correlation": 0.3, "pair_correlation_real": 0.7, "diversity": 0.7 / 0.3}
    assert "differ more than real ones" in alarm(values)
    assert alarm({}) is None  # a single person: nothing to compare with


def test_a_run_logs_its_alarm(pack, tmp_path):
    config = tiny().with_(warm_start_images=4, total_images=12, coarse_images=0, log_images=4)
    out = tmp_path / "run"
    state = train(pack.path, out, config, changes={"total_images": 8})
    collapse(state)
    state.save(out)
    seen = []
    train(pack.path, out, resume=True, changes={"total_images": 12}, report=seen.append)
    rows = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert "alarm" not in rows[0]  # in the reconstruction phase nothing teaches random brains
    assert "too similar" in rows[-1]["alarm"]
    assert seen[-1].alarm == rows[-1]["alarm"]
    assert (seen[-1].seconds_left, seen[-1].logged) == (0, True)


def test_tensorboard_gets_curves_and_pictures(pack, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny().with_(warm_start_images=4, total_images=8, coarse_images=0, log_images=4)
    train(pack.path, tmp_path / "run", config, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / FOLDER))
    events.Reload()
    tags = events.Tags()
    expected = {
        "loss/reconstruction",
        "loss/discriminator",
        "discriminator/d_augment_p",
        "rate/maker_0",
    }
    assert expected | {"validation/validation_psnr", "variety/diversity"} <= set(tags["scalars"])
    assert tags["images"] == ["brains"]
    assert set(tags["histograms"]) == {"intensity/synthetic", "intensity/real"}
    assert [e.step for e in events.Scalars("loss/reconstruction")] == [4, 8]
    assert events.Images("brains")[0].height > 100


def test_tensorboard_that_is_missing_is_said_at_once(pack, tmp_path, monkeypatch):
    monkeypatch.setattr("stylegan3d.training.board.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install .*\[train\]"):
        train(pack.path, tmp_path / "run", tiny(), tensorboard=True)
    assert not (tmp_path / "run").exists()


def program(*words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code or 0


def test_a_config_file_reproduces_a_run(pack, tmp_path, capsys):
    """One command and the settings of another run make the same weights."""
    common = ["--device", "cpu", "--json"]
    words = ["warm_start_images=4", "coarse_images=0", "d_augment=adaptive", "log_images=4"]
    sets = [part for word in words for part in ("--set", word)]
    first, second = tmp_path / "first", tmp_path / "second"
    patch = ["--discriminator-patch", "12", "--images", "8"]
    made = ["--preset", "tiny", *patch, *sets]
    assert program("train", "stylegan", pack.path, "--out", first, *made, *common) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == 8
    if not sys.stderr.isatty():
        assert "4 of 8 volumes" in captured.err
        assert "images/s" in captured.err
    again = ["--config", first / "settings.json"]
    assert program("train", "stylegan", pack.path, "--out", second, *again, *common) == 0
    a, b = (TrainState.load(run, torch.device("cpu")) for run in (first, second))
    assert a.config == b.config
    assert a.config.patched
    for name, network in a.nets.items():
        other = b.nets[name].state_dict()
        assert all(torch.equal(v, other[k]) for k, v in network.state_dict().items()), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--preset", "huge"], "choose brain-4mm"),
        (["--preset", "tiny", "--set", "r1_gama=3"], "did you mean r1_gamma"),
        (["--resume", "--set", "batch=8"], "cannot change"),
        (["--config", "none.json"], "cannot be read"),
        (["--preset", "tiny", "--config", "a.json"], "leave out --preset"),
        (["--resume", "--batch", "8"], "--batch is for new runs"),
        (["--preset", "tiny", "--discriminator-patch", "13"], "multiple of 4"),
        (["--preset", "tiny", "--accumulate", "2"], "microbatches"),
    ],
)
def test_wrong_options_are_refused_in_words(pack, tmp_path, capsys, words, sentence):
    start = ["train", "stylegan", pack.path, "--out", tmp_path / "run", "--device", "cpu"]
    assert program(*start, *words) == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
