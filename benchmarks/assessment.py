"""Does the verdict tell what a model knows from what it does not, and one person from another?

    python benchmarks/trust.py PACK KNOWN [KNOWN ...] --outside SCAN [SCAN ...]
        [--repeats A1,A2 B1,B2 ...] [--model FOLDER] [--cache FOLDER] [--steps N]

PACK is the model's prepared data set; its validation people are the ones the model knows, each
judged by what is usual of the others. KNOWN are further scans of the kind it knows, of other sites
and scanners (reported, not counted); --outside are scans it does not know: other contrasts,
tumours, phantoms, CT. Prints each scan's strangeness and verdict, and the area under the curve
between people and --outside. A scan in which no brain is found counts as outside.

--repeats are pairs of scans of one person. Identified is who has the nearest neighbour, among all
repeats and all validation people, in the other scan; the distance is that of w, each principal
direction in its own deviation. With --steps the latents are searched in w+, else the encoder's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import stylegan3d
from stylegan3d.dataset.pack import load_pack
from stylegan3d.errors import ScanError
from stylegan3d.geometry.intensity import unit
from stylegan3d.model.generator import Generator
from stylegan3d.projection import project
from stylegan3d.projection.assessment import CLOSE, OUTSIDE, TYPICAL, compare_signs
from stylegan3d.projection.calibration import (
    FOREGROUND,
    Ruler,
    area_under_curve,
    calibrate,
    left_out_scores,
)
from stylegan3d.projection.signs import first_guess
from stylegan3d.scans import read_scan

Brain = tuple[np.ndarray, np.ndarray]


def brain_of(path: Path, generator: Generator, cache: Path | None) -> Brain | None:
    """Volume and mask on the model's grid; None if no brain is found."""
    try:
        aligned = read_scan(path).align(generator, cache=cache)
    except ScanError as error:
        print(f"  {path.name}: {error}")
        return None
    return aligned.volume, aligned.brain_mask


def identified(pairs: list[tuple[Tensor, Tensor]], others: list[Tensor]) -> tuple[int, float]:
    """How many of the scans have their own person's other scan nearest, and the least margin.

    The margin is the nearest stranger's distance divided by that of the other scan: above 1 the
    person is identified.
    """
    right, margins = 0, []
    everybody = [w for pair in pairs for w in pair] + others
    for first, second in pairs:
        for own, again in ((first, second), (second, first)):
            strangers = [w for w in everybody if w is not first and w is not second]
            near = min(float((own - w).norm()) for w in strangers)
            margins.append(near / max(float((own - again).norm()), 1e-9))
            right += margins[-1] > 1
    return right, min(margins)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("known", type=Path, nargs="*")
    parser.add_argument("--outside", type=Path, nargs="*", default=[])
    parser.add_argument("--repeats", nargs="*", default=[])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cache", type=Path, help="keep prepared scans here")
    parser.add_argument("--steps", type=int, default=0)
    args = parser.parse_args()
    pack = load_pack(args.pack)
    generator = stylegan3d.load(args.model, device="cpu")
    ruler = Ruler(generator)
    entry = calibrate(generator, pack).entry
    volumes = [unit(np.array(pack.volumes[i])) for i in pack.indices("validation")]
    people = left_out_scores([[ruler.measure(v, v > FOREGROUND).signs] for v in volumes])
    print(
        f"{len(people)} people: strangeness {np.median(people):.2f} (median), {max(people):.2f} "
        f"(most); close up to {entry['close']:.2f}, outside from {entry['outside']:.2f}"
    )
    others = []
    for title, paths in (("known kind, other sites", args.known), ("outside", args.outside)):
        print(f"{title}:")
        for path in paths:
            brain = brain_of(path, generator, args.cache)
            score = np.inf
            if brain is not None:
                score = compare_signs(ruler.measure(*brain).signs, entry)[1] or 0.0
            verdict = OUTSIDE if score > entry["outside"] else TYPICAL
            verdict = CLOSE if score <= entry["close"] else verdict
            print(f"  {path.name:36} {score:6.2f}  {verdict}", flush=True)
            others += [score] if title == "outside" else []
    if others:
        called = np.mean(np.array(others) > entry["outside"])
        print(f"area under the curve, people and outside: {area_under_curve(people, others):.3f}")
        print(
            f"called outside: {called:.0%} of those outside, "
            f"{np.mean(np.array(people) > entry['outside']):.0%} of the people"
        )
    if args.repeats:
        repeats(args.repeats, volumes, generator, ruler, args.cache, args.steps)


def repeats(
    pairs: list[str],
    volumes: list[np.ndarray],
    generator: Generator,
    ruler: Ruler,
    cache: Path | None,
    steps: int,
) -> None:
    """Print how many people are identified."""

    def latent(volume: np.ndarray) -> Tensor:
        w = first_guess(generator, volume, generator.template).w
        if steps or w is None:
            w = project(generator, volume, steps=steps or 12).w
        with torch.no_grad():
            return ruler.prior.whiten(w.to(ruler.prior.mean)).flatten()

    found = []
    for pair in pairs:
        both = [brain_of(Path(path), generator, cache) for path in pair.split(",")]
        if None not in both:
            first, second = (latent(brain[0]) for brain in both if brain is not None)
            found.append((first, second))
    right, margin = identified(found, [latent(volume) for volume in volumes])
    print(
        f"repeat scans: {right} of {2 * len(found)} identified among {len(volumes)} others; the "
        f"nearest stranger is at least {margin:.2f} times as far"
    )


if __name__ == "__main__":
    main()
