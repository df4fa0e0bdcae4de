"""How fast a volume is made, as ratios of ways measured in turn in one run.

    python benchmarks/synthesis.py [--model FOLDER] [--rounds N]

Each pair is timed A B A B …; the median of the paired ratios is printed, so that a machine that
slows down halfway slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

import stylegan3d
from stylegan3d.devices import fast_dtype
from stylegan3d.memory import keep_large_blocks
from stylegan3d.networks import resampling
from stylegan3d.projection import project
from stylegan3d.renderer import Renderer


def paired(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> str:
    """Median of slow / fast and the two medians in milliseconds."""
    slow(), fast()
    rows = []
    for _ in range(rounds):
        times = []
        for call in (slow, fast):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        rows.append(times)
    ratio = statistics.median(a / b for a, b in rows)
    a, b = (statistics.median(column) * 1e3 for column in zip(*rows, strict=True))
    return f"{ratio:5.1f} x   ({a:.0f} ms / {b:.0f} ms)"


def depthwise_outer_product(x: torch.Tensor, kernel: tuple[float, ...]) -> torch.Tensor:
    """The low-pass filter as one K x K x K depthwise convolution, the usual way."""
    f = torch.tensor(kernel)
    full = f[:, None, None] * f[None, :, None] * f[None, None, :]
    weight = (full / full.sum()).to(x.dtype).expand(x.shape[1], 1, 4, 4, 4).contiguous()
    return F.conv3d(x, weight, padding=1, groups=x.shape[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=None)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    keep_large_blocks()
    generator = stylegan3d.load(options.model, device="cpu")
    renderer = Renderer(generator)
    w = stylegan3d.seed_latents(generator, [0], truncation=0.7)
    dtype = fast_dtype(generator.device)
    synthesize = torch.no_grad()(generator.synthesis)

    def contiguous() -> object:
        before = resampling.CHANNELS_LAST
        try:
            for module in ("layers", "synthesis", "resampling"):
                _set_layout(module, torch.contiguous_format)
            return synthesize(w, "fixed", -1, torch.float32)
        finally:
            for module in ("layers", "synthesis", "resampling"):
                _set_layout(module, before)

    def full() -> object:
        return synthesize(w, "fixed", -1, torch.float32)

    def step() -> object:
        rows = w.clone().requires_grad_(True)
        return generator.synthesis(rows, "fixed", -1, torch.float32).square().mean().backward()

    def coarse_step() -> object:
        rows = w.clone().requires_grad_(True)
        return generator.synthesis(rows, "fixed", -3, dtype).square().mean().backward()

    kernel = (1.0, 3.0, 3.0, 1.0)
    x = torch.randn(1, 32, 41, 57, 49).contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_(True)

    def differentiated(y: torch.Tensor) -> object:
        return torch.autograd.grad(y, x, torch.ones_like(y).contiguous())

    print(f"{generator.name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows = {
        "channels first / channels last, float32": (contiguous, full),
        f"float32 / {str(dtype)[6:]}": (full, lambda: synthesize(w, "fixed", -1, dtype)),
        "full float32 / preview as the window shows it": (
            lambda: renderer.render(w[0]),
            lambda: renderer.render(w[0], "preview"),
        ),
        "dense / separable low-pass filter with its gradient": (
            lambda: differentiated(depthwise_outer_product(x, kernel)),
            lambda: differentiated(resampling.fir3d(x, kernel, (1, 1))),
        ),
        "projection step at full / at a quarter resolution": (step, coarse_step),
    }
    for name, (slow, fast) in rows.items():
        print(f"{name:52s} {paired(slow, fast, options.rounds)}")
    volume = renderer.render(stylegan3d.seed_latents(generator, [1])[0]).volume.clip(0, 1)
    result = project(generator, volume, budget="draft")
    print(f"draft projection: {len(result.history)} steps in {result.seconds:.1f} s")


def _set_layout(module: str, layout: torch.memory_format) -> None:
    import importlib

    importlib.import_module(f"stylegan3d.networks.{module}").CHANNELS_LAST = layout  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
