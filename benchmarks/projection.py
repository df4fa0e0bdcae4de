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

Further parts, each with `--help`: `budgets`, `inverted_noise`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import nibabel as nib
import numpy as np
import torch
from _program import run
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter, map_coordinates

import stylegan3d
from stylegan3d.base import Progress
from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.space import as_packed, draw_montage
from stylegan3d.measures.attributes import measure_volume
from stylegan3d.measures.similarity import similarity
from stylegan3d.measures.tissue_shape import tissue_shapes
from stylegan3d.metrics.two_sample import LEAST, classify_by_measures
from stylegan3d.model.generator import Generator, load, network_of
from stylegan3d.projection import ProjectionResult, ProjectionState, estimate_seconds, project
from stylegan3d.projection.operators import Identity
from stylegan3d.projection.problem import Problem
from stylegan3d.projection.search import Tuning, original_loss
from stylegan3d.projection.settings import BUDGETS, Method
from stylegan3d.recipe.latents import Delta, find_step, mixed
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.editable import CarriedDetail, Original
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import AlignedScan
from stylegan3d.scans.extraction import largest_piece
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter, measures_of

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
    for method in get_args(Method):
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


#: Outside a brain, and fluid, it is darker; a line is brighter than the gap by more than `GAP`.
OUTSIDE, FLUID, GAP = 0.15, 0.3, 0.15


#: How deep below the outline a gap is looked for, mm.
DEEPEST = 8


#: Ageing keeps the outline, head size moves it.
RIM_EDITS = (("Age", 2.0), ("Age", -2.0), ("Head size", 2.0), ("Head size", -2.0))


def projected(
    generator: Generator, scan: AlignedScan, budget: str
) -> tuple[ProjectionResult, float]:
    """A projection, and its processor seconds."""
    started = time.process_time()
    found = stylegan3d.project(generator, scan, budget=budget)
    return found, time.process_time() - started


def ventricles(segmenter: Segmenter, generator: Generator, volume: np.ndarray) -> float:
    """Millilitres in a brain on the model's grid."""
    return segmenter.segment(volume, generator.space).volumes["ventricle"]


def edited(
    generator: Generator,
    segmenter: Segmenter,
    scan: AlignedScan,
    found: ProjectionResult,
    step: str,
) -> tuple[float, float]:
    """Change of ventricles with 2 sd along a direction: in the model's brain, in the scan, ml."""
    w = found.w + 2 * torch.as_tensor(find_step(step, generator))
    renderer = stylegan3d.Renderer(generator)
    models = [renderer.render(one, noise="none", delta=found.delta).volume for one in (found.w, w)]
    carried = CarriedDetail(Original.of(scan), generator, found.w, found.delta)
    scans = [carried.frame(carried.movement(one, found.delta)) for one in (found.w, w)]
    asked, got = (
        ventricles(segmenter, generator, after) - ventricles(segmenter, generator, before)
        for before, after in (models, scans)
    )
    return asked, got


def rim(volume: np.ndarray, mm: float) -> float:
    """Share of the outline of a brain's upper half with a gap below a brighter line.

    Along the normals: within 3 mm of the outline it is at least `GAP` brighter than below, within
    8 mm, where it is darker than tissue.
    """
    brain = largest_piece(volume > OUTSIDE)
    away = distance_transform_edt(brain, mm) - distance_transform_edt(~brain, mm)
    normals = np.stack(np.gradient(gaussian_filter(away, 2.0)))
    normals /= np.maximum(np.linalg.norm(normals, axis=0), 1e-6)
    outline = brain & ~binary_erosion(brain)
    height = np.argwhere(brain)[:, 2]
    outline[:, :, : (int(height.min()) + int(height.max())) // 2] = False
    places, steps = np.argwhere(outline).T, np.arange(0, DEEPEST + 1)[:, None, None]
    along = places + steps / mm * normals[:, outline]
    profile = map_coordinates(volume, along.transpose(1, 0, 2), order=1)
    line = np.maximum.accumulate(np.where(steps[:, :, 0] <= 3, profile, 0))
    return float(((line - profile > GAP) & (profile < FLUID)).any(axis=0).mean())


def rims(generator: Generator, scans: list[AlignedScan]) -> None:
    """Print the rims of each kind of picture: mean over scans, in % of the outline."""
    mm = generator.voxel_size[0]
    print("budget\tedit\tscan\tmodel\tmodel edited\tscan edited\tdifference added")
    for budget in ("standard", "thorough"):
        found = [projected(generator, scan, budget)[0] for scan in scans]
        for name, strength in RIM_EDITS:
            rows = []
            for scan, one in zip(scans, found, strict=True):
                w = one.w + strength * torch.as_tensor(find_step(name, generator))
                renderer = stylegan3d.Renderer(generator)
                before, after = (
                    renderer.render(latent, noise="none", delta=one.delta).volume
                    for latent in (one.w, w)
                )
                carried = CarriedDetail(Original.of(scan), generator, one.w, one.delta)
                edited_scan = carried.frame(carried.movement(w, one.delta))
                added = np.clip(scan.volume + after - before, 0, None)
                shown = (scan.volume, before, after, edited_scan, added)
                rows.append([100 * rim(volume, mm) for volume in shown])
            told = (f"{value:.1f}" for value in np.mean(rows, axis=0))
            print(budget, f"{name} {strength:+g}", *told, sep="\t", flush=True)


def budgets() -> None:
    """What each budget gives: reconstruction, edited scan, the same person again, and seconds.

        python benchmarks/projection.py budgets --scans SCAN... --pairs A1 A2 B1 B2 ... [--edit
        "Ventricle volume"]
        python benchmarks/projection.py budgets --rims SCAN...

    For each budget the medians over SCANS: similarity of the reconstruction, the change of
    ventricle
    volume in the edited scan on the model's grid beside that of the model's own brain, and
    processor
    seconds. PAIRS are scans of the same people, two each: how far apart their latents are, as a
    share
    of the distance to the nearest other person. Set OMP_NUM_THREADS=1.

    `--rims` looks for ghost rims, bright lines over a black gap at the top of an edited brain:
    their
    share of the outline, in the scans, the model's brains, the edited scans, and, to show that
    rims are
    found, in scans that the difference of the model's two brains was added to.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scans", nargs="*", type=Path, default=[])
    parser.add_argument("--pairs", nargs="*", type=Path, default=[])
    parser.add_argument("--edit", default="Ventricle volume")
    parser.add_argument("--rims", nargs="*", type=Path, default=[])
    args = parser.parse_args()
    generator, segmenter = stylegan3d.load(device="cpu"), bundled_segmenter()
    if args.rims:
        rims(generator, [stylegan3d.read_scan(path).align(generator) for path in args.rims])
        return
    scans, pairs = (
        [stylegan3d.read_scan(path).align(generator) for path in paths]
        for paths in (args.scans, args.pairs)
    )
    print("budget\tSSIM\tPSNR dB\tasked ml\tfound ml\tseconds\tsame person")
    for budget in BUDGETS:
        rows = []
        for scan in scans:
            found, seconds = projected(generator, scan, budget)
            alike = found.assessment["similarity"]
            change = edited(generator, segmenter, scan, found, args.edit)
            rows.append([alike["ssim"], alike["psnr"], *change, seconds])
        w = torch.stack([projected(generator, scan, budget)[0].w.flatten() for scan in pairs])
        far = torch.cdist(w, w).numpy()
        same = [far[i, i ^ 1] / np.delete(far[i], [i, i ^ 1]).min() for i in range(len(w))]
        told = [*np.median(rows, axis=0), np.max(same)]
        print(budget, *(f"{value:.3f}" for value in told), sep="\t", flush=True)


NOISE_EDITS = ("Age", "Ventricle volume", "Grey matter")


STRENGTHS = (-2.0, 2.0)


#: What the edit of each direction is measured by.
MEASURED = {"Age": "ventricle_ml", "Ventricle volume": "ventricle_ml", "Grey matter": "grey_ml"}


FIRST_SEED = 7000


#: Subjects whose edits are measured.
EDITED = 9


@dataclass(eq=False)
class Subject:
    """A held-out subject, projected_subject in three ways."""

    volume: np.ndarray
    w: torch.Tensor
    seconds: float
    deltas: dict[str, Delta | None]


def projected_subject(generator: Generator, volume: np.ndarray, budget: str) -> Subject:
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

    for edit in NOISE_EDITS:
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
    """Print what is left of an edit when the edited brain is projected_subject anew and
    edited back."""
    step = 2 * torch.from_numpy(generator.directions.step("Age"))
    found = []
    for one in subjects:
        edited = draw(one.w + step, one.deltas["own noise"]).clip(0, 1)
        again = project(generator, edited, space="w+noise", budget=budget)
        found.append(similarity(draw(again.w - step, again.delta), one.volume, one.volume > 0.05))
    for key in ("ssim", "psnr"):
        left = median_and_range([figures[key] for figures in found])
        print(f"age +2 sd, projected_subject anew, and back: {key} {left}")


def made(
    subjects: list[Subject], generator: Generator, draw: Callable[..., np.ndarray]
) -> dict[str, list[np.ndarray]]:
    """Brains with own noise that no scan shows."""
    network = network_of(generator)
    half = (0.5,) * generator.num_layers
    sets: dict[str, list[np.ndarray]] = {}
    others = [*subjects[1:], subjects[0]]
    for number, (one, other) in enumerate(zip(subjects, others, strict=True)):
        edit, strength = NOISE_EDITS[number % 3], STRENGTHS[number // 3 % 2]
        step = strength * torch.from_numpy(generator.directions.step(edit))
        own = one.deltas["own noise"]
        sets.setdefault("edited", []).append(draw(one.w + step, own))
        between = mixed(own, other.deltas["own noise"], half, generator.rows_of)
        middle = generator.mix(one.w, other.w, half)
        sets.setdefault("half-way between two", []).append(draw(middle, between))
        (random,) = seed_latents(generator, [FIRST_SEED + number])
        shown, wanted = (network.detail_weights(w[None])[0] for w in (random, one.w))
        random[network.detail_rows] += network.detail_shift(wanted - shown)
        sets.setdefault("random with own noise", []).append(draw(random, own))
        tuned = mixed(one.deltas["tuned"], other.deltas["tuned"], half, generator.rows_of)
        sets.setdefault("half-way between two, tuned", []).append(draw(middle, tuned))
    return sets


def inverted_noise() -> None:
    """Projections with the scan's own noise: how close, how fast, and what edits and mixes make of
    it.

        python benchmarks/projection.py inverted_noise MODEL PACK [--people 27] [--budget draft]
        [--montage PNG]

    For held-out subjects of the dataset PACK that MODEL was trained on: similarity to the scan of
    the latent alone, tuned (`projection/search.py`) and with its own noise, and the seconds of each
    projection; how well tissue shape tells the scans from brains with own noise: edited, half-way
    between two subjects, and random brains with the noise of a subject; the change of volumes that
    edits make, as a share of that in the brain of the latent alone; and the similarity after an
    edit there and back, when the edited brain is projected anew as a scan. Seconds are by the
    clock.
    """
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
    subjects = [projected_subject(generator, volume, args.budget) for volume in volumes]
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
    run(main, budgets, inverted_noise)
