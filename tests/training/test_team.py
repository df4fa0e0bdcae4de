"""A batch dealt out to processes and microbatches trains as one that is not."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from stylegan3d.base import ModelError
from stylegan3d.cli import main
from stylegan3d.networks.discriminator import Discriminator, minibatch_stddev
from stylegan3d.training.options import change_settings, stylegan_4mm, tiny
from stylegan3d.training.run import CHECKPOINT, LOG, Run, load_run
from stylegan3d.training.stylegan import Step, StyleGANTask, _group_order, train_stylegan
from stylegan3d.training.team import Team, join_team, started_processes

# Every regulariser and random number takes part, in few steps.
WORDS = [
    "batch=8",
    "steps=6",
    "validate_every=2",
    "d_augment=adaptive",
    "d_augment_p=0.5",
    "d_augment_images=100",
    "precision=float32",
]


@pytest.fixture(scope="module")
def whole(pack, tmp_path_factory):
    """State at the end of a run of one process."""
    return train_stylegan(pack, tmp_path_factory.mktemp("runs") / "whole", settings())


def settings(**flags):
    return change_settings(tiny(), WORDS, flags)


# Adam divides gradients by their size, so the last bits of small ones grow: within six steps to
# 1e-5 of a tensor's norm with AVX-512 or AVX2, and to 2e-4 with AMX, whose kernels depend on the
# number of threads. Another seed or another interval of a regulariser changes some tensor by 0.2.
ROUNDING = 5e-3
# What starts at 0, such as a strength of noise, is after six steps still small itself: about a
# hundredth of one of Adam's steps of 2e-3, for each number.
STEP = 3e-5


def assert_same(a: Run, b: Run) -> None:
    """All that two runs know, but for the rounding of sums in another order."""
    assert (a.steps, a.extra["augment"]) == (b.steps, b.extra["augment"])
    networks = [
        run.networks | {f"average {n}": m for n, m in run.averages.items()} for run in (a, b)
    ]
    for name in networks[0]:
        other = networks[1][name].state_dict()
        for key, value in networks[0][name].state_dict().items():
            difference = (value.float() - other[key].float()).norm()
            allowed = ROUNDING * value.float().norm() + STEP * value.numel() ** 0.5
            assert difference <= allowed, f"{name} {key}"
    # See ROUNDING.
    torch.testing.assert_close(a.extra["w_avg"], b.extra["w_avg"], atol=1e-3, rtol=1e-3)


def start(pack, out, *words, kind="stylegan"):
    """Two processes that train together on the CPU, as a person starts them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "stylegan3d", "train", kind, str(pack.path)]
    command += ["--out", str(out), "--device", "cpu", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def load(folder):
    return load_run(StyleGANTask, folder, torch.device("cpu"))


def set_words(*words):
    return [part for word in (*WORDS, *words) for part in ("--set", word)]


@pytest.mark.soak
def test_two_processes_train_as_one_and_one_goes_on_where_they_stopped(pack, tmp_path, whole):
    pytest.importorskip("lightning_fabric")
    out = tmp_path / "two"
    words = ["--preset", "tiny", *set_words("steps=4")]
    process = start(pack, out, *words)
    told, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    # One process speaks for both.
    assert told.count("4 steps of training") == 1
    assert len((out / LOG).read_text().splitlines()) == 2
    assert load(out).steps == 4
    resumed = train_stylegan(pack, out, resume=True, changes={"steps": 6})
    assert_same(resumed, whole)


@pytest.mark.soak
def test_a_signal_to_one_process_stops_both_after_the_same_step(pack, tmp_path):
    pytest.importorskip("lightning_fabric")
    out = tmp_path / "run"
    process = start(pack, out, "--preset", "tiny", *set_words("steps=1000000"))
    deadline = time.monotonic() + 120
    while not (out / LOG).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children()
    (second,) = (w for w in workers if w.environ()["RANK"] == "1")
    second.send_signal(signal.SIGTERM)
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "stopped before its end" in told
    steps = load(out).steps
    assert steps > 0
    changes = {"steps": steps + 1}
    assert train_stylegan(pack, out, resume=True, changes=changes).steps == steps + 1


@pytest.mark.soak
def test_two_processes_that_are_killed_go_on_to_the_same_weights(pack, tmp_path):
    pytest.importorskip("lightning_fabric")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["--preset", "tiny", *set_words("steps=40", "save_seconds=0")]
    assert start(pack, whole, *words).wait(200) == 0
    draw, file = random.Random(0), killed / CHECKPOINT
    saved = lambda: file.stat().st_mtime_ns if file.exists() else 0  # noqa: E731
    for _ in range(3):
        before, deadline = saved(), time.monotonic() + 60
        process = start(pack, killed, *(["--resume"] if before else words))
        while saved() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        for worker in [*psutil.Process(process.pid).children(recursive=True), process]:
            worker.kill()
        process.communicate()
    assert 0 < load(killed).steps < 40
    process = start(pack, killed, "--resume")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    ends = [torch.load(run / CHECKPOINT, weights_only=True) for run in (whole, killed)]
    for name, state in ends[0]["averages"].items():
        for key, value in state.items():
            assert torch.equal(value, ends[1]["averages"][name][key]), f"{name} {key}"


def step_of_srun(rank, **variables):
    """Environment of one of two tasks of a step that srun started on one node."""
    names = {"JOB_ID": 4242, "JOB_NAME": "train", "NTASKS": 2, "STEP_NUM_TASKS": 2}
    names |= {"STEP_NUM_NODES": 1, "NNODES": 1, "NODEID": 0, "PROCID": rank, "LOCALID": rank}
    names |= {"NODELIST": "localhost", **variables}
    slurm = {f"SLURM_{name}": str(value) for name, value in names.items()}
    return os.environ | slurm | {"MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("", 0))
        return str(listener.getsockname()[1])


@pytest.mark.soak
def test_tasks_of_a_slurm_step_train_together(pack, tmp_path):
    pytest.importorskip("lightning_fabric")
    command = [
        sys.executable,
        "-m",
        "stylegan3d",
        "train",
        "stylegan",
        str(pack.path),
        "--preset",
        "tiny",
    ]
    command += ["--device", "cpu", *set_words("steps=1"), "--out", str(tmp_path / "run")]
    environments = [step_of_srun(rank, NTASKS_PER_NODE=2) for rank in range(2)]
    environments[1]["MASTER_PORT"] = environments[0]["MASTER_PORT"]
    pipe = subprocess.PIPE
    tasks = [
        subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
        for environment in environments
    ]
    told = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], told
    assert "1 steps of training" in told[0][0]
    assert told[1][0] == ""
    environment = step_of_srun(0)  # --ntasks without --ntasks-per-node
    wrong = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert wrong.returncode == 2
    assert "cannot train together" in wrong.stderr
    assert "--ntasks-per-node=2" in wrong.stderr


@pytest.mark.soak
def test_what_is_wrong_is_said_once(pack, tmp_path):
    pytest.importorskip("lightning_fabric")
    process = start(pack, tmp_path / "run", "--preset", "tiny")
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("stylegan3d: A batch of 4 has 1 groups of 4") == 1
    assert "use --batch 8" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.soak
def test_other_kinds_train_together_too(even_pack, tmp_path):
    pytest.importorskip("lightning_fabric")
    process = start(even_pack, tmp_path / "run", "--steps", "1", kind="vae")
    told, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert told.count("1 steps of training") == errors.count("The loss should fall") == 1
    process = start(even_pack, tmp_path / "few", "--batch", "1", kind="vae")
    _, errors = process.communicate(timeout=200)
    assert process.returncode != 0
    assert errors.count("A batch of 1 is too small for 2 processes: start fewer, or a new run") == 1
    assert not (tmp_path / "few").exists()


SLOW = """
import time
from datetime import timedelta
import torch.distributed.constants
torch.distributed.constants.default_pg_timeout = timedelta(seconds=1)
from stylegan3d.training.team import join_team
team = join_team("cpu")
print(team.first(lambda: time.sleep(3) or "made"))
team.close()
"""


@pytest.mark.soak
def test_others_wait_for_the_first_however_long_it_works(tmp_path):
    pytest.importorskip("lightning_fabric")
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", script]
    told = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert told.stdout.split() == ["made", "made"]


def test_kinds_of_one_process_say_so(pack, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for kind, model in (("anatomy", ()), ("fit-statistics", ("model",))):
        with pytest.raises(SystemExit, match="2"):
            main(["train", kind, *model, str(pack.path), "--out", str(tmp_path / "run")])
        told = f"stylegan3d: `train {kind}` works in one process: start it without torchrun"
        assert capsys.readouterr().err.startswith(told)
    assert not (tmp_path / "run").exists()


def test_microbatches_train_as_the_whole_batch(pack, tmp_path, whole):
    assert_same(train_stylegan(pack, tmp_path / "parts", settings(accumulate=2)), whole)


def test_samples_are_dealt_in_whole_groups():
    config = replace(tiny(), batch=24, accumulate=2)
    seen = []
    for rank in range(2):
        team = Team(torch.device("cpu"))
        team.rank, team.size = rank, 2
        parts = team.microbatches(config)
        assert [len(p) for p in parts] == [8, 4]
        assert all(p[0] % 4 == 0 and (np.diff(p) == 1).all() for p in parts)
        seen += [n for p in parts for n in p]
    assert seen == list(range(24))
    team.size = 4
    with pytest.raises(ModelError, match="use --batch 32"):
        team.microbatches(config)


def test_groups_are_neighbours_for_the_discriminator():
    """Groups of a large batch see the same spread as each group alone."""
    x = torch.randn(12, 3, 2, 2, 2)
    order = list(_group_order(12, 4))
    together = minibatch_stddev(x[order], 4)[np.argsort(order)]
    alone = torch.cat([minibatch_stddev(part, 4) for part in x.split(4)])
    torch.testing.assert_close(together, alone)


def test_packs_are_neighbours_of_one_group():
    """A batch is scored as its groups are, each alone, wherever the processes divide it."""
    config = stylegan_4mm()
    judge = replace(config.discriminator, base=(2, 2, 2), channels=(4, 4), packed=2, mbstd_group=4)
    torch.manual_seed(0)
    step = SimpleNamespace(
        settings=SimpleNamespace(discriminator=judge, group=4),
        discriminator=Discriminator(judge),
        dtype=torch.float32,
    )
    volumes = torch.randn(12, 1, 8, 8, 8)
    together = Step.scores(step, volumes, None)
    alone = [Step.scores(step, part, None) for part in volumes.split(4)]
    assert together.shape == (6,)
    torch.testing.assert_close(together, torch.cat(alone))
    assert together.unique().numel() == 6


def test_processes_are_counted_as_they_were_started(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert started_processes() == 1
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a batch script: nobody else runs
    assert started_processes() == 1
    assert join_team("cpu").size == 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert started_processes() == 4
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert started_processes() == 2
    with pytest.raises(ModelError, match="choose cpu or cuda"):
        join_team("mps")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ModelError, match=r"pip install .*\[train\]"):
        join_team("cpu")
