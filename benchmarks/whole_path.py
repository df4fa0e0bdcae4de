"""How long it takes from a raw head to files in its own space.

    python benchmarks/whole_path.py HEAD.nii.gz ... [--budgets draft standard] [--times 3]

What `stylegan3d project HEAD` does, in this process: read, prepare (brain, bias field, pose),
search, write. One untimed run comes first, for what is loaded once (the model, deepbet's networks).
Printed are the median seconds of the clock, and of the processor; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stylegan3d.cohort.project import project_file
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.projection.settings import Choices

COLUMNS = ("prepare", "search", "total", "CPU")


def once(path: Path, generator: Generator, choices: Choices) -> dict[str, float]:
    """Seconds of one run."""
    clock, cpu = time.perf_counter(), time.process_time()
    with TemporaryDirectory() as out:
        told = project_file(path, Path(out), partial(_given, generator), choices)
    seconds = told["seconds"]
    return {
        "prepare": seconds["open"] + seconds["align"],
        "search": seconds["project"],
        "total": time.perf_counter() - clock,
        "CPU": time.process_time() - cpu,
    }


def _given(generator: Generator) -> Generator:
    return generator


def main() -> None:
    """Print a row for each scan and budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", nargs="+", type=Path)
    parser.add_argument("--budgets", nargs="+", default=["draft", "standard"])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    generator = load(args.model)
    once(args.heads[0], generator, Choices(steps=1))
    print("scan", "budget", *(f"{column} s" for column in COLUMNS), sep="\t")
    for path in args.heads:
        for budget in args.budgets:
            runs = [once(path, generator, Choices(budget=budget)) for _ in range(args.times)]
            medians = (np.median([run[column] for run in runs]) for column in COLUMNS)
            print(path.name, budget, *(f"{value:.1f}" for value in medians), sep="\t", flush=True)


if __name__ == "__main__":
    main()
