"""Benchmarks and scripts can be started; what times two ways ends where their results differ."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tolerances import FLOAT32

from stylegan3d.networks.flow import Flow

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
STARTED = [*BENCHMARKS.glob("*.py"), *(ROOT / "scripts").glob("*.py")]
PRODUCT = ("stylegan3d", "napari_stylegan3d")
X = torch.linspace(-1, 1, 100)


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark as a module, by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module


@pytest.mark.parametrize("file", STARTED, ids=lambda file: file.stem)
def test_what_they_import_is_there(file):
    """Of the product, whose names change."""
    for line in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(line, ast.ImportFrom) and (line.module or "").startswith(PRODUCT):
            for name in line.names:
                if not hasattr(import_module(line.module), name.name):
                    import_module(f"{line.module}.{name.name}")


def test_results_that_differ_by_rounding_alone_are_timed(benchmark, capsys):
    benchmark("speed").compare("equal work", lambda: X, lambda: X + 1e-6, 1)
    assert "equal work" in capsys.readouterr().out


@pytest.mark.parametrize("other", [X + 0.01, X * torch.nan, X[:50]], ids=["other", "NaN", "part"])
def test_results_that_differ_end_a_benchmark_before_it_prints_a_time(benchmark, other, capsys):
    with pytest.raises(SystemExit, match=r"no times|shapes differ"):
        benchmark("speed").compare("unequal work", lambda: X, lambda: other, 1)
    assert capsys.readouterr().out == ""


def test_the_naive_pass_has_to_make_the_networks_image(
    benchmark, tiny_generator, monkeypatch, capsys
):
    speed = benchmark("speed")
    monkeypatch.setattr(speed, "network", lambda name: tiny_generator)
    monkeypatch.setattr(speed, "synthesize", lambda network, w: network(w) + 0.01)
    with pytest.raises(SystemExit, match="the naive image: the results differ"):
        speed.measure("bundled", 1, False)
    assert "ratio" not in capsys.readouterr().out


@pytest.mark.parametrize("curves", [False, True], ids=["plain", "with curves"])
def test_the_naive_flow_is_the_networks(benchmark, curves):
    torch.manual_seed(0)
    flow = Flow((4, 6, 6), (6, 8, 6), curves=curves).requires_grad_(False)
    flow.noise_strength.fill_(0.1)
    flow.head.bias.fill_(0.2)
    if curves:
        flow.curves.gain.fill_(1.3)
        flow.curves.tail.fill_(0.2)
        flow.curves.ends.copy_(torch.tensor([0.4, 0.6]))
    image = torch.rand(1, 1, 12, 16, 12) * 2 - 1
    naive = benchmark("_naive").flowed(flow, image, flow.noise, 2)
    torch.testing.assert_close(naive, flow(image, flow.noise, 2), rtol=0, atol=FLOAT32)


def test_a_faster_precision_has_to_find_nearly_the_same_labels(benchmark, monkeypatch):
    module = benchmark("speed")

    class Segmenter:
        """Finds white matter, and at the lower precision, some grey instead."""

        def segment(self, volume, space, dtype=torch.float32, **_):
            labels = torch.full((10, 10, 10), 3)
            labels[:1] = 2 if dtype is torch.bfloat16 else 3
            return type("Segmentation", (), {"labels": labels.numpy()})

    generator = type("Toy", (), {"space": None})
    monkeypatch.setattr(module, "load", lambda **_: generator)
    monkeypatch.setattr(module, "bundled_segmenter", Segmenter)
    monkeypatch.setattr(module, "seed_latents", lambda *_: None)
    monkeypatch.setattr(module, "packed_synthesis", lambda *_: X.numpy())
    monkeypatch.setattr(module, "measured_dtype", lambda _: torch.bfloat16)
    with pytest.raises(SystemExit, match=r"bfloat16: the results differ by 1\.0e-01"):
        module.segmentation()
