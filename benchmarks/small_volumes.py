"""What small convolutions of one volume cost: ours beside torch's own, and a seed of a diffusion.

    python benchmarks/small_volumes.py [--rounds N] [--threads N]

torch does not give a single small volume to oneDNN (`networks/convolution.py` does). Both are timed
in turn, A B A B …, if they give the same; the median of the paired ratios is printed. The seed of
the diffusion is drawn with and without that, too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from _same import require_same
from torch import Tensor

import stylegan3d
from stylegan3d.networks import convolution
from stylegan3d.recipe.model import seed_z

SIZES = (((10, 14, 12), 96), ((5, 7, 6), 192), ((5, 7, 6), 32), ((20, 28, 24), 32))


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def compare(title: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], n: int) -> None:
    """Print the median of paired ratios, if both give the same."""
    require_same(ours(), theirs(), title)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(n)]
    ratio = statistics.median(b / a for a, b in pairs)
    quick = statistics.median(a for a, _ in pairs)
    print(f"{title:40} {1000 * quick:9.2f} ms, torch's own way {ratio:5.1f} x as long")


@torch.no_grad()
def main() -> None:
    """Time them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, float32")
    for grid, width in SIZES:
        x, weight = torch.randn(1, width, *grid), torch.randn(width, width, 3, 3, 3)
        compare(
            f"{width} channels on {' x '.join(map(str, grid))}",
            lambda x=x, weight=weight: convolution.conv3d(x, weight, padding=1),
            lambda x=x, weight=weight: F.conv3d(x, weight, padding=1),
            args.rounds,
        )
    diffusion = stylegan3d.load("diffusion-t1-2mm", device="cpu").mapping
    draw = getattr(diffusion, "mapping", diffusion)
    z = seed_z(stylegan3d.load("diffusion-t1-2mm", device="cpu"), 0)

    def theirs() -> Tensor:
        with mock.patch.object(convolution, "_is_withheld", return_value=False):
            return draw.diffusion.draw(z, draw.steps)

    compare(
        f"a seed of the diffusion, {draw.steps} steps",
        lambda: draw.diffusion.draw(z, draw.steps),
        theirs,
        max(3, args.rounds // 5),
    )


if __name__ == "__main__":
    main()
