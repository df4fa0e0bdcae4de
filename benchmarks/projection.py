"""How well scans of people whom training never saw are projected, and how fast.

    python benchmarks/projection.py quality SCANS [--people 6] [--budgets standard thorough]
    python benchmarks/projection.py curves SCANS [--person sub-01] [--steps 1000] [--out curves.png]

SCANS is a folder of brains on the generator's grid (`sub-*_T1w.nii.gz`) whose `participants.tsv`
says who is for validation: only they are used.

`quality` prints, for each person and the median, similarity inside the brain, the latent's distance
from random brains and the seconds; for the thorough budget also whether the latent can still be
edited: by how much the volume of a direction changes along it, from the tuned generator and from
the model as it is.

`curves` projects one person by this program and by the projector of the original 3D-StyleGAN, and
draws the original's loss of both against the seconds. It prints how much sooner this program
reaches the loss at which the original ends. With --cpu the seconds are those of the processor, for
machines that have other work; set OMP_NUM_THREADS=1 with it.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import torch
from PIL import Image, ImageDraw

from stylegan3d.measures.attributes import measure_volume
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.progress import Progress
from stylegan3d.projection import ProjectionResult, ProjectionState, estimate_seconds, project
from stylegan3d.projection.original import original_loss
from stylegan3d.projection.settings import METHODS
from stylegan3d.render.renderer import Renderer

# Directions, and the volume in ml that each is to change; strengths either way.
EDITS = {"Ventricle volume": "ventricle_ml", "Grey matter": "grey_ml", "Head size": "brain_ml"}
STRENGTH = 1.5
SIZE, MARGIN = (900, 540), 70
COLOURS = {"original": (200, 80, 40), "stylegan3d": (30, 90, 200)}
GRID = (225, 225, 225)

Curve = list[tuple[float, float]]


def validation_people(folder: Path, count: int) -> list[str]:
    """Evenly spread over the table, so that all sources have a part."""
    with (folder / "participants.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    people = [row["participant_id"] for row in rows if row["split"] == "validation"]
    return [people[i] for i in np.linspace(0, len(people) - 1, count).round().astype(int)]


def scan_of(folder: Path, person: str) -> SimpleNamespace:
    """What is projected, and where its brain is."""
    image = nib.load(folder / f"{person}_T1w.nii.gz")
    volume = np.asarray(image.dataobj, dtype=np.float32) / 255
    return SimpleNamespace(volume=volume, brain_mask=volume > 0.05)


def quality(generator: Generator, args: argparse.Namespace) -> None:
    """Print a table for every budget."""
    people = validation_people(args.scans, args.people)
    for budget in args.budgets:
        seconds = estimate_seconds(generator, budget, args.space)
        print(f"# {budget}, {args.space}, {len(people)} people; estimate {seconds:.0f} s")
        print("person\tSSIM\tPSNR dB\tdistance\tsteps\tseconds")
        rows = []
        for person in people:
            clock = now(args.cpu)
            result = project(
                generator, scan_of(args.scans, person), space=args.space, budget=budget
            )
            alike = result.assessment["similarity"]
            row = [alike["ssim"], alike["psnr"], result.assessment["latent_distance"]]
            rows.append([*row, len(result.history), now(args.cpu) - clock])
            print(person, *(f"{value:.3f}" for value in rows[-1]), sep="\t", flush=True)
            if result.delta is not None:
                print_edits(generator, result)
        print("median", *(f"{value:.3f}" for value in np.median(rows, axis=0)), sep="\t")


def print_edits(generator: Generator, result: ProjectionResult) -> None:
    """How the volumes of a projection change along directions, with its delta and without."""
    renderer = Renderer(generator)
    for name, volume in EDITS.items():
        if name not in generator.directions.names:
            continue
        changes, pictures = [], []
        for delta in (None, result.delta):
            less, more = (
                renderer.render(generator.directions.edit(result.w, name, s), delta=delta).volume
                for s in (-STRENGTH, STRENGTH)
            )
            ml = [measure_volume(made, generator.space)[volume] for made in (less, more)]
            changes.append(ml[1] - ml[0])
            pictures.append(more - less)
        # Of the same change of intensities, the share that is left of it.
        left = np.sum(pictures[0] * pictures[1]) / np.sum(pictures[0] ** 2)
        print(
            f"  {name} by {2 * STRENGTH:g}: {changes[0]:+.1f} ml, tuned {changes[1]:+.1f} ml; "
            f"the tuned picture changes {left:.0%} as much"
        )


def curves(generator: Generator, args: argparse.Namespace) -> None:
    """Both losses against seconds: a picture, and the ratio."""
    person = args.person or validation_people(args.scans, 1)[0]
    scan = scan_of(args.scans, person)
    target = torch.from_numpy(scan.volume)[None, None] * 2 - 1
    found: dict[str, Curve] = {}
    for method in METHODS:
        project(generator, scan, method=method, steps=2)  # what is slow the first time only
        curve, follow = follower(target, args.cpu)
        steps = args.steps if method == "original" else None
        project(generator, scan, method=method, steps=steps, progress=Progress(take=follow))
        found[method] = curve
        print(f"{method}: loss {curve[-1][1]:.1f} after {curve[-1][0]:.1f} s")
    end, last = found["original"][-1]
    sooner = [seconds for seconds, loss in found["stylegan3d"] if loss <= last]
    if sooner:
        print(f"{person}: the original's last loss is reached {end / sooner[0]:.0f} times as fast")
    else:
        print(f"{person}: the original's last loss is not reached")
    draw(found, args.out)


def follower(target: torch.Tensor, cpu: bool) -> tuple[Curve, Callable[[ProjectionState], None]]:
    """A curve that grows with a projection, from just before it; what measures is not counted."""
    curve: Curve = []
    began = [now(cpu)]

    def follow(state: ProjectionState) -> None:
        reached = now(cpu)
        curve.append((reached - began[0], float(original_loss(state.made, target))))
        if state.step % 50 == 0:
            print(f"  step {state.step}: {curve[-1][0]:.1f} s, {curve[-1][1]:.1f}", flush=True)
        began[0] += now(cpu) - reached

    return curve, follow


def now(cpu: bool) -> float:
    """Seconds, of the processor or of the clock."""
    return time.process_time() if cpu else time.perf_counter()


def draw(found: dict[str, Curve], path: Path) -> None:
    """Loss against seconds, both on logarithmic scales, as PNG."""
    points = np.concatenate([np.array(curve) for curve in found.values()])
    ticks = [ticks_around(points[:, axis]) for axis in (0, 1)]
    low, high = (np.log10([t[end] for t in ticks]) for end in (0, -1))
    span = np.array(SIZE) - 2 * MARGIN

    def place(seconds: float, loss: float) -> tuple[float, float]:
        x, y = (np.log10([seconds, loss]) - low) / (high - low)
        return MARGIN + x * span[0], MARGIN + (1 - y) * span[1]

    image = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(image)
    for tick in ticks[0]:
        pen.line([place(tick, ticks[1][0]), place(tick, ticks[1][-1])], fill=GRID)
        x, y = place(tick, ticks[1][0])
        pen.text((x, y + 8), f"{tick:g}", fill="black", font_size=13, anchor="mt")
    for tick in ticks[1]:
        pen.line([place(ticks[0][0], tick), place(ticks[0][-1], tick)], fill=GRID)
        x, y = place(ticks[0][0], tick)
        pen.text((x - 8, y), f"{tick:g}", fill="black", font_size=13, anchor="rm")
    pen.text((SIZE[0] / 2, SIZE[1] - 18), "seconds", fill="black", font_size=15, anchor="mb")
    pen.text((16, 24), "loss of the original projector", fill="black", font_size=15)
    for method, curve in found.items():
        pen.line([place(*point) for point in curve], fill=COLOURS[method], width=3)
        x, y = place(*curve[-1])
        name = "this program" if method == "stylegan3d" else "the original's projector"
        pen.text((x, y + 10), name, fill=COLOURS[method], font_size=15, anchor="rt")
    image.save(path)
    print(f"drawn: {path}")


def ticks_around(values: np.ndarray) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) from below the values to above them."""
    powers = range(-3, 7)
    every = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max(index for index, tick in enumerate(every) if tick <= values.min())
    last = min(index for index, tick in enumerate(every) if tick >= values.max())
    return every[first : last + 1]


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("quality", "curves"))
    parser.add_argument("scans", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--budgets", nargs="+", default=["standard", "thorough"])
    parser.add_argument("--space", default="w+")
    parser.add_argument("--person")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor")
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    args = parser.parse_args()
    generator = load(args.model)
    {"quality": quality, "curves": curves}[args.what](generator, args)


if __name__ == "__main__":
    main()
