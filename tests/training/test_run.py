"""What all runs have in common: stopping, resuming, averaged weights, one folder for one run."""

import json
import os
import signal
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from stylegan3d.base import ModelError
from stylegan3d.training.options import RunSettings
from stylegan3d.training.run import (
    CHECKPOINT,
    LOG,
    PREVIOUS,
    Run,
    TrainingTask,
    load_run,
    train,
)

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Line(TrainingTask):
    """A line through points."""

    settings: RunSettings
    kind: ClassVar[str] = "line"

    def network(self):
        return nn.Linear(1, 1)

    def start(self, network, data):
        with torch.no_grad():
            network.bias.fill_(float(data[1].mean()))

    batch = 4

    def loss(self, network, data, step, samples):
        x, y = data
        some = torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[samples]
        loss = (network(x[some]) - y[some]).square().mean()
        return loss, {"loss": loss}

    def measure(self, average, data, *, last):
        return {"error": float((average(data[0]) - data[1]).abs().mean())}


class Curve(Line):
    kind = "curve"


POINTS = torch.linspace(-1, 1, 20)[:, None], torch.linspace(0, 3, 20)[:, None]


def line(steps=12, **changes):
    return Line(
        RunSettings(steps=steps, warm_up=3, learning_rate=0.05, validate_every=4, **changes)
    )


def trained(task, folder, **how):
    return train(Line, lambda: task, POINTS, folder, **how)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_after_the_step_at_work_and_nothing_is_lost(number, tmp_path):
    whole = trained(line(), tmp_path / "whole")

    def send(done, total, figures):
        if done == 5:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    stopped = trained(line(), tmp_path / "part", progress=send)
    assert stopped.steps == 5
    assert signal.getsignal(number) is before
    assert load_run(Line, tmp_path / "part", CPU).steps == 5
    resumed = trained(line(), tmp_path / "part", resume=True)
    assert resumed.steps == 12
    for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_stopped_before_its_first_step_is_resumed_from_there(tmp_path):
    whole = trained(line(), tmp_path / "whole")
    assert trained(line(), tmp_path / "part", should_stop=lambda: True).steps == 0
    resumed = trained(line(), tmp_path / "part", resume=True)
    assert torch.equal(whole.average.weight, resumed.average.weight)


def test_a_finished_run_is_not_written_again(tmp_path):
    trained(line(save_seconds=0.0), tmp_path)
    before = [(tmp_path / name).read_bytes() for name in (CHECKPOINT, PREVIOUS)]
    assert before[0] != before[1]
    trained(line(), tmp_path, resume=True)
    assert [(tmp_path / name).read_bytes() for name in (CHECKPOINT, PREVIOUS)] == before


def test_averages_are_the_plain_exponential_ones():
    run = Run(line(decay=0.6), CPU)
    run.start(POINTS)
    expected = [p.detach().clone() for p in run.network.parameters()]
    for step in range(1, 9):
        run.step(POINTS)
        kept = min(0.6, (1 + step) / (10 + step))
        expected = [
            kept * old + (1 - kept) * new.detach()
            for old, new in zip(expected, run.network.parameters(), strict=True)
        ]
    for average, naive in zip(run.average.parameters(), expected, strict=True):
        torch.testing.assert_close(average, naive)
        assert not average.requires_grad


def test_figures_are_measured_reported_and_logged(tmp_path):
    told = []
    run = trained(line(), tmp_path, progress=lambda *now: told.append(now))
    assert [done for done, _, _ in told] == list(range(1, 13))
    rows = [json.loads(row) for row in (tmp_path / LOG).read_text().splitlines()]
    assert [row["steps"] for row in rows] == [4, 8, 12]
    # The log has five decimals.
    assert rows[-1]["error"] == pytest.approx(run.measured["error"], abs=1e-5)
    assert told[3][2].keys() == {"loss", "error"}
    assert told[4][2].keys() == {"loss"}


def test_a_folder_is_of_one_run_of_one_kind(tmp_path):
    with pytest.raises(ModelError, match="no training run to resume"):
        trained(line(), tmp_path, resume=True)
    trained(line(), tmp_path)
    with pytest.raises(ModelError, match="holds a run; continue with --resume"):
        trained(line(), tmp_path)
    with pytest.raises(ModelError, match="holds a run of `train line`"):
        load_run(Curve, tmp_path, CPU)


def test_a_run_without_steps_is_refused():
    with pytest.raises(ModelError, match="is 0, but must be at least 1"):
        line(steps=0)
