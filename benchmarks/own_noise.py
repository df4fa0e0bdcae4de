"""Projections with the scan's own noise: how close, how fast, and what edits and mixes make of it.

    python benchmarks/own_noise.py MODEL PACK [--people 27] [--budget draft] [--montage PNG]

For held-out subjects of the data set PACK that the anatomy model MODEL was trained on: similarity
to the scan of the latent alone, tuned (`projection/pivotal.py`) and with its own noise, and the
seconds of each projection; how well tissue shape tells the scans from brains with own noise:
edited, half-way between two subjects, and random brains with the noise of a subject; the change of
volumes that edits make, as a share of that in the brain of the latent alone; and the similarity
after an edit there and back, when the edited brain is projected anew as a scan. Seconds are by the
clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.intensity import as_packed
from stylegan3d.geometry.slicing import draw_montage
from stylegan3d.measures.similarity import similarity
from stylegan3d.measures.tissue_shape import tissue_shapes
from stylegan3d.metrics.two_sample import LEAST, classify_by_measures
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.projection import project
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.pivotal import Tuning
from stylegan3d.projection.problem import Problem
from stylegan3d.recipe.latents import Delta, mixed
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer
from stylegan3d.segmentation.inference import bundled_segmenter, measures_of

EDITS = ("Age", "Ventricle volume", "Grey matter")
STRENGTHS = (-2.0, 2.0)
#: What the edit of each direction is measured by.
MEASURED = {"Age": "ventricle_ml", "Ventricle volume": "ventricle_ml", "Grey matter": "grey_ml"}
FIRST_SEED = 7000
#: Subjects whose edits are measured.
EDITED = 9


@dataclass(eq=False)
class Subject:
    """A held-out subject, projected in three ways."""

    volume: np.ndarray
    w: torch.Tensor
    seconds: float
    deltas: dict[str, Delta | None]


def projected(generator: Generator, volume: np.ndarray, budget: str) -> Subject:
    """The projections of a volume (X, Y, Z) in [0, 1]."""
    began = time.perf_counter()
    found = project(generator, volume, space="w+noise", budget=budget)
    seconds = time.perf_counter() - began
    problem = Problem(generator, volume, volume > 0.05, "w+", "none", 0, Identity(), start=found.w)
    tuning = Tuning(problem)
    for _ in tuning:
        pass
    tuned = problem.delta(tuning.changed)
    deltas = {"latent alone": None, "tuned": tuned, "own noise": found.delta}
    return Subject(volume, found.w, seconds, deltas)


def median_and_range(values: Sequence[float]) -> str:
    """Median, least and largest."""
    return f"{np.median(values):.3f} ({np.min(values):.3f} to {np.max(values):.3f})"


def fidelity(subjects: list[Subject], draw: Callable[..., np.ndarray]) -> None:
    """Print how close each projection is."""
    for name in subjects[0].deltas:
        found = [
            similarity(draw(one.w, one.deltas[name]), one.volume, one.volume > 0.05)
            for one in subjects
        ]
        text = ", ".join(
            f"{key} {median_and_range([row[key] for row in found])}" for key in ("ssim", "psnr")
        )
        print(f"{name}: {text}")
    print(f"seconds of the projection: {median_and_range([one.seconds for one in subjects])}")


def effects(subjects: list[Subject], generator: Generator, draw: Callable[..., np.ndarray]) -> None:
    """Print the change of volumes by edits, and as a share of that in the latent's brain alone."""
    segmenter = bundled_segmenter()

    def volumes(image: np.ndarray) -> dict[str, float]:
        return measures_of(segmenter.segment(image, generator.space, confidence=True))

    for edit in EDITS:
        step = torch.from_numpy(generator.directions.step(edit))
        key = MEASURED[edit]
        for strength in STRENGTHS:
            change: dict[str, list[float]] = {}
            times: dict[str, list[float]] = {}
            for one in subjects:
                for name, delta in one.deltas.items():
                    before, after = (
                        volumes(draw(w, delta))[key] for w in (one.w, one.w + strength * step)
                    )
                    change.setdefault(name, []).append(after - before)
                    times.setdefault(name, []).append(after / before)
            whole = np.array(change.pop("latent alone"))
            shares = {name: median_and_range(np.array(c) / whole) for name, c in change.items()}
            print(f"{edit} {strength:+g} sd: {np.median(whole):+.1f} ml, of it {shares}")
            factors = {name: median_and_range(factor) for name, factor in times.items()}
            print(f"  {key} after as a multiple of before: {factors}")


def there_and_back(
    subjects: list[Subject], generator: Generator, draw: Callable[..., np.ndarray], budget: str
) -> None:
    """Print what is left of an edit when the edited brain is projected anew and edited back."""
    step = 2 * torch.from_numpy(generator.directions.step("Age"))
    found = []
    for one in subjects:
        edited = draw(one.w + step, one.deltas["own noise"]).clip(0, 1)
        again = project(generator, edited, space="w+noise", budget=budget)
        found.append(similarity(draw(again.w - step, again.delta), one.volume, one.volume > 0.05))
    for key in ("ssim", "psnr"):
        left = median_and_range([figures[key] for figures in found])
        print(f"age +2 sd, projected anew, and back: {key} {left}")


def made(
    subjects: list[Subject], generator: Generator, draw: Callable[..., np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """Brains with own noise that no scan shows."""
    details = anatomy_network(generator).config.details
    half = (0.5,) * generator.num_layers
    sets: dict[str, list[np.ndarray]] = {}
    others = [*subjects[1:], subjects[0]]
    for number, (one, other) in enumerate(zip(subjects, others, strict=True)):
        edit, strength = EDITS[number % 3], STRENGTHS[number // 3 % 2]
        step = strength * torch.from_numpy(generator.directions.step(edit))
        own = one.deltas["own noise"]
        sets.setdefault("edited", []).append(draw(one.w + step, own))
        between = mixed(own, other.deltas["own noise"], half, generator.rows_of)
        middle = generator.mix(one.w, other.w, half)
        sets.setdefault("half-way between two", []).append(draw(middle, between))
        (random,) = seed_latents(generator, [FIRST_SEED + number])
        random[:, details] = one.w[:, details]
        sets.setdefault("random with own noise", []).append(draw(random, own))
        tuned = mixed(one.deltas["tuned"], other.deltas["tuned"], half, generator.rows_of)
        sets.setdefault("half-way between two, tuned", []).append(draw(middle, tuned))
    return sets


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--people", type=int, default=27)
    parser.add_argument("--budget", default="draft")
    parser.add_argument("--montage", type=Path)
    args = parser.parse_args()
    generator, pack = load(args.model, device="cpu"), load_pack(args.pack)
    renderer = Renderer(generator)

    def draw(w: torch.Tensor, delta: Delta | None) -> np.ndarray:
        return renderer.render(w, noise="none", delta=delta).volume

    rows = pack.indices("validation")
    rows = rows[:: max(len(rows) // args.people, 1)][: args.people]
    volumes = [pack.volumes[row].astype(np.float32) / 255 for row in rows]
    subjects = [projected(generator, volume, args.budget) for volume in volumes]
    fidelity(subjects, draw)
    sets = made(subjects, generator, draw)
    if args.montage:
        columns = {"scans": volumes} | {f"{name}: synthetic": v for name, v in sets.items()}
        shown = {name: [as_packed(v) for v in images[:4]] for name, images in columns.items()}
        args.montage.write_bytes(draw_montage(shown, generator.space))
    effects(subjects[:EDITED], generator, draw)
    there_and_back(subjects[:EDITED], generator, draw, args.budget)
    if len(subjects) < LEAST:
        return
    people = tissue_shapes([pack.volumes[row] for row in rows], generator.space)
    training = pack.indices("train")
    others = np.random.default_rng(0).permutation(training)[: len(rows)]
    baseline = tissue_shapes([pack.volumes[row] for row in others], generator.space)
    told = {"training subjects": baseline}
    for name, images in sets.items():
        told[name] = tissue_shapes([as_packed(image) for image in images], generator.space)
    for name, measures in told.items():
        found = classify_by_measures(measures, people)
        low, high = found.accuracy_interval
        print(
            f"tissue shape tells {name} from the scans: {found.accuracy:.2f} ({low:.2f} to "
            f"{high:.2f}), AUC {found.auc:.2f}"
        )


if __name__ == "__main__":
    main()
