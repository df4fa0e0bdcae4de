"""How fast volumes are made: each way as a ratio to a naive forward pass, measured in one run.

    python benchmarks/speed.py [--network NAME] [--rounds N] [--renders N]

Each row is timed in turn with the naive pass, A B A B …, so that a machine that slows down halfway
slows both; the median of the paired ratios is printed. `ceiling` is the share of the speed at which
this machine runs one large convolution, measured in the same run, that the row's multiplications
reach: 100 % would mean that everything but convolutions is free. `peak` is the largest memory of a
process of its own that does nothing else.

The official configuration is that of 3D-StyleGAN at 2 mm (Hong et al. 2021): base 5 x 6 x 7, 96
filters, wiring `orig`, with random weights.

Further parts, each with `--help`: `small_volumes`, `segmentation`, `synthesis_of_labels`,
`whole_path`.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from _naive import synthesize
from _program import run
from _same import require, require_same
from torch import Tensor

import stylegan3d
from stylegan3d import load
from stylegan3d.cohort.work import project_file
from stylegan3d.devices import fast_dtype, measured_dtype
from stylegan3d.geometry.space import Space
from stylegan3d.memory import keep_large_blocks
from stylegan3d.model.family import Parts
from stylegan3d.model.generator import Generator, RandomBrains, packed_synthesis
from stylegan3d.networks import resampling
from stylegan3d.networks.config import AnatomyConfig, GeneratorConfig
from stylegan3d.networks.synthesis import MappingNetwork, SynthesisNetwork
from stylegan3d.projection.problem import multiscale_mse
from stylegan3d.projection.settings import Choices
from stylegan3d.recipe.model import seed_latents, seed_z
from stylegan3d.render.renderer import Renderer
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter
from stylegan3d.translation.files import resized
from stylegan3d.translation.painter import bundled_painter

#: The bundled ones that interact, and that of 3D-StyleGAN.
NETWORKS = ("brain-t1-2mm", "stylegan-t1-2mm", "official")
OFFICIAL = GeneratorConfig(
    base=(5, 6, 7),
    channels=(96,) * 5,
    z_dim=96,
    w_dim=96,
    wiring="orig",
    resample_kernel=(1.0, 3.0, 3.0, 3.0, 1.0),
    upsample_gain=4.0,
)


def network(name: str) -> Generator:
    """A bundled generator, or the official configuration with random weights."""
    if name != "official":
        return stylegan3d.load(name, device=DEVICE)
    torch.manual_seed(0)
    space = Space(OFFICIAL.image_grids[-1], np.diag([2.0, 2.0, 2.0, 1.0]))
    synthesis = SynthesisNetwork(OFFICIAL)
    for level in synthesis.typed_levels:
        for layer in level.layers:
            torch.nn.init.constant_(layer.noise_strength, 0.1)
    w_avg = torch.zeros(OFFICIAL.w_dim)
    parts = Parts(OFFICIAL, MappingNetwork(OFFICIAL), synthesis, w_avg)
    return Generator(parts, space, device=DEVICE)


@dataclass(frozen=True)
class Row:
    """One line of the table: a call to time, and the multiply-adds of its convolutions (or 0)."""

    name: str
    call: Callable[[], object]
    operations: float = 0.0


def rows(generator: Generator) -> list[Row]:
    """Everything a person waits for."""
    renderer = Renderer(generator)
    rng = torch.Generator().manual_seed(0)
    start = stylegan3d.seed_latents(generator, [0], truncation=0.7)[0].cpu()
    config, layers = generator.config, generator.num_layers
    work = [layer_operations(config, row) for row in range(layers)]

    def moved(first: int, last: int | None = None) -> torch.Tensor:
        """The start with some rows pushed a little, elsewhere each time."""
        w = start.clone()
        w[first:last] += 0.05 * torch.randn(w[first:last].shape, generator=rng)
        return w

    def row(name: str, quality: str, first: int, last: int | None = None) -> Row:
        done = 0.0 if quality == "preview" else sum(work[first:])
        return Row(name, lambda: renderer.render(moved(first, last), quality), done)

    middle, fine = layers // 2 - 1, layers - 3
    renderer.render(start, "fast"), renderer.render(start, "preview"), renderer.learn_preview()
    table = [
        row("full volume, float32 (what is saved)", "full", 0),
        row("full volume, fastest precision", "fast", 0),
        row("preview", "preview", 0),
        row("one coarse layer changed", "fast", 1, 2),
        row("one middle layer changed", "fast", middle, middle + 1),
        row("one fine layer changed (last but one)", "fast", layers - 2, layers - 1),
        row("the last three layers changed", "fast", fine),
        row("mixing slider, middle and fine layers, preview", "preview", middle),
    ]
    volume = renderer.render(start).volume.clip(0, 1)
    target = torch.from_numpy(volume)[None, None].to(generator.device) * 2 - 1
    maps = generator.synthesis.noise_maps("fixed")
    dtype = fast_dtype(generator.device)

    def step() -> None:
        w = start[None].to(generator.device).requires_grad_(True)
        multiscale_mse(generator.synthesis(w, maps, -1, dtype), target).backward()

    table.append(Row("projection step at full resolution", step))
    if generator.encoder is not None:
        encode = torch.no_grad()(generator.encoder)
        table.append(Row("encoder", lambda: encode(target)))
    return table


def layer_operations(config: GeneratorConfig, row: int) -> float:
    """Floating point operations of the convolutions that a row of w governs, in one volume.

    An anatomy model has those of its flow alone. Every row but the last governs a flow; it counts
    for the last row that does.
    """
    total = flow_operations(config) if row == config.num_layers - 2 else 0.0
    if isinstance(config, AnatomyConfig):
        assert not config.channels
        return total
    for level in range(config.num_levels):
        inputs = config.channels[max(level - 1, 0)]
        outputs, voxels = config.channels[level], float(np.prod(config.grid(level)))
        plain = 2 * 27 * voxels * outputs * outputs
        if row == 2 * level - 1:
            total += 2 * 27 * voxels / 8 * inputs * outputs  # upsampling: one input in eight
        if row == 2 * level:
            total += plain
        if row == 2 * level + 1 and (config.wiring == "skip" or level == config.num_levels - 1):
            bands = 8 if config.head == "haar" and level == config.num_levels - 1 else 1
            total += 2 * voxels * outputs * bands * config.image_channels
    return total


def flow_operations(config: GeneratorConfig) -> float:
    """Of the flow's convolutions, if its box were the whole grid."""
    if not config.flow_channels:
        return 0.0
    a, b, c = config.flow_channels
    # Weights of the convolutions on the grid of the bands, on its half and on its quarter.
    whole = 27 * ((8 + 3) * a + 4 * a * a + 8 * a)
    half = 27 * (a * b + 5 * b * b) + 2 * a * b
    quarter = 27 * (b * c + 3 * c * c) + 2 * b * c
    voxels = float(np.prod(config.grid(config.num_levels - 1)))
    return config.flow_steps * 2 * voxels * (whole + half / 8 + quarter / 64)


def ceiling(device: torch.device) -> float:
    """Operations a second of one large convolution in the fastest precision."""
    dtype, layout = measured_dtype(device), torch.channels_last_3d
    x = torch.randn(1, 96, 40, 48, 56).to(device, dtype).contiguous(memory_format=layout)
    weight = torch.randn(96, 96, 3, 3, 3).to(device, dtype).contiguous(memory_format=layout)
    times = [seconds(lambda: F.conv3d(x, weight, padding=1)) for _ in range(6)]
    return 2 * 27 * 96 * 96 * 40 * 48 * 56 / min(times[1:])


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(name: str, rounds: int, with_memory: bool) -> None:
    """Print one network's table."""
    generator = network(name)
    w = stylegan3d.seed_latents(generator, [0], truncation=0.7)
    print(f"\n{'official 3D-StyleGAN, 2 mm, 96 filters' if name == 'official' else name}")
    with torch.no_grad():
        require_same(synthesize(generator.synthesis, w), generator.synthesis(w), "the naive image")
    best = ceiling(generator.device)
    print(f"one large convolution: {best / 1e9:.0f} GFLOP/s")
    print(f"{'':50s} {'ratio':>7s} {'median':>9s} {'p95':>9s} {'ceiling':>8s} {'peak':>9s}")
    naive_times = []
    for index, row in enumerate(rows(generator)):
        row.call()
        pairs = []
        for _ in range(rounds):
            naive = seconds(lambda: synthesize(generator.synthesis, w))
            # The naive pass empties the caches: once for nothing, then what counts.
            row.call()
            pairs.append((naive, *(seconds(row.call) for _ in range(3))))
        naive_times += [pair[0] for pair in pairs]
        own = sorted(t for pair in pairs for t in pair[1:])
        ratio = statistics.median(pair[0] / statistics.median(pair[1:]) for pair in pairs)
        share = f"{row.operations / statistics.median(own) / best:7.0%}" if row.operations else ""
        peak = f"{peak_of(name, index):6.2f} GiB" if with_memory else ""
        p95 = own[min(int(0.95 * len(own)), len(own) - 1)]
        print(
            f"{row.name:50s} {ratio:6.1f}x {1e3 * statistics.median(own):6.0f} ms "
            f"{1e3 * p95:6.0f} ms {share:>8s} {peak:>9s}",
            flush=True,
        )
    print(
        f"{'naive float32, channels first':50s} {'1.0x':>7s} "
        f"{1e3 * statistics.median(naive_times):6.0f} ms"
    )


def peak_of(name: str, index: int) -> float:
    """Largest memory of a process that does one row five times, GiB."""
    command = [sys.executable, __file__, "--network", name, "--peak-of", str(index)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def soak(renders: int) -> None:
    """Memory before and after many renderings of the bundled generator."""
    generator = network(NETWORKS[0])
    renderer = Renderer(generator)
    ws = stylegan3d.seed_latents(generator, range(50), truncation=0.7)
    sizes = []
    for i in range(renders):
        renderer.render(ws[i % 50], ("preview", "preview", "preview", "fast")[i % 4])
        if i in (renders // 5, renders - 1):
            sizes.append(resident())
    print(
        f"\n{renders} renderings: {sizes[0]:.0f} MiB after a fifth, {sizes[1]:.0f} MiB at the end"
    )


def high_water() -> float:
    """The most memory this process has held, GiB.

    `getrusage` would count what the process that started this one held, too.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(row for row in status.splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def resident() -> float:
    """MiB this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    """Print the tables."""
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=NETWORKS, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--renders", type=int, default=0, help="also render so many, for memory")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-memory", action="store_true", help="leave out the column `peak`")
    parser.add_argument("--peak-of", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    DEVICE = options.device
    keep_large_blocks()
    if options.peak_of is not None:
        row = rows(network(options.network))[options.peak_of]
        for _ in range(5):
            row.call()
        print(high_water())
        return
    print(
        f"{DEVICE}, {torch.get_num_threads()} threads, torch {torch.__version__}, fastest in "
        f"{str(measured_dtype(torch.device(DEVICE)))[6:]}"
    )
    for name in [options.network] if options.network else NETWORKS:
        measure(name, options.rounds, not options.no_memory)
    if options.renders:
        soak(options.renders)


DEVICE = "cpu"


SIZES = (((10, 14, 12), 96), ((5, 7, 6), 192), ((5, 7, 6), 32), ((20, 28, 24), 32))


def volume_seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def compare(title: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], n: int) -> None:
    """Print the median of paired ratios, if both give the same."""
    require_same(ours(), theirs(), title)
    pairs = [(volume_seconds(ours), volume_seconds(theirs)) for _ in range(n)]
    ratio = statistics.median(b / a for a, b in pairs)
    quick = statistics.median(a for a, _ in pairs)
    print(f"{title:40} {1000 * quick:9.2f} ms, torch's own way {ratio:5.1f} x as long")


@torch.no_grad()
def small_volumes() -> None:
    """What small convolutions of one volume cost: ours beside torch's own, and a seed of a
    diffusion.

        python benchmarks/speed.py small_volumes [--rounds N] [--threads N]

    torch does not give a single small volume to oneDNN (`networks/resampling.py` does). Both are
    timed
    in turn, A B A B …, if they give the same; the median of the paired ratios is printed. The seed
    of
    the diffusion is drawn with and without that, too.
    """
    parser = argparse.ArgumentParser(description=small_volumes.__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads, float32")
    for grid, width in SIZES:
        x, weight = torch.randn(1, width, *grid), torch.randn(width, width, 3, 3, 3)
        compare(
            f"{width} channels on {' x '.join(map(str, grid))}",
            lambda x=x, weight=weight: resampling.conv3d(x, weight, padding=1),
            lambda x=x, weight=weight: F.conv3d(x, weight, padding=1),
            args.rounds,
        )
    diffusion = stylegan3d.load("diffusion-t1-2mm", device="cpu").mapping
    draw = getattr(diffusion, "mapping", diffusion)
    z = seed_z(stylegan3d.load("diffusion-t1-2mm", device="cpu"), 0)

    def theirs() -> Tensor:
        with mock.patch.object(resampling, "_is_withheld", return_value=False):
            return draw.diffusion.draw(z, draw.steps)

    compare(
        f"a seed of the diffusion, {draw.steps} steps",
        lambda: draw.diffusion.draw(z, draw.steps),
        theirs,
        max(3, args.rounds // 5),
    )


REPEATS = 15


#: Of the brain's voxels, so many may have another label in a faster precision: those between two.
SAME_LABELS = 0.01


def milliseconds(work: Callable[[], object]) -> float:
    """Median over repeats, after two that warm up."""
    times = []
    for repeat in range(REPEATS + 2):
        started = time.perf_counter()
        work()
        if repeat >= 2:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def segmentation() -> None:
    """How long labelling a brain takes, beside rendering it: python benchmarks/speed.py
    segmentation

    Median of repeated runs on this machine with all its cores, in float32 and in the precision that
    is fastest here, for the labels alone and with the network's confidence.
    """
    generator, segmenter = load(device="cpu"), bundled_segmenter()
    w = seed_latents(generator, [0], 0.7)
    volume, space = packed_synthesis(generator, w), generator.space
    print(f"{torch.get_num_threads()} threads, {volume.shape} voxels")
    print(f"synthesis, float32: {milliseconds(lambda: packed_synthesis(generator, w)):.0f} ms")
    exact = segmenter.segment(volume, space).labels
    for dtype in dict.fromkeys((torch.float32, measured_dtype(torch.device("cpu")))):
        labels = segmenter.segment(volume, space, dtype=dtype).labels
        require(float((labels != exact)[exact > 0].mean()), f"labels, {dtype}", SAME_LABELS)
        for confidence in (False, True):
            label = partial(segmenter.segment, space=space, dtype=dtype, confidence=confidence)
            # Each another than the two before it, whose labels are kept.
            others = cycle(np.roll(volume, shift, axis=0) for shift in range(3))
            spent = milliseconds(lambda label=label, others=others: label(next(others)))
            told = ", with confidence" if confidence else ""
            print(f"labels, {str(dtype).removeprefix('torch.')}{told}: {spent:.0f} ms")


LABEL_REPEATS = 9


RESIZED_MM, STROKE_MM = 3.0, 8.0


def label_milliseconds(work: Callable[[], object]) -> float:
    """Median over repeats, after two that warm up."""
    times = []
    for repeat in range(LABEL_REPEATS + 2):
        started = time.perf_counter()
        work()
        if repeat >= 2:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def stroke(labels: np.ndarray, mm: tuple[float, float, float]) -> np.ndarray:
    """Labels after a ball of fluid was painted in the middle of a hemisphere."""
    middle = np.array(labels.shape) * (0.3, 0.5, 0.55)
    places = (np.indices(labels.shape).T - middle).T * np.reshape(mm, (3, 1, 1, 1))
    ball = (places**2).sum(axis=0) < (STROKE_MM / 2) ** 2
    return np.where(ball & (labels > 0), CLASSES.index("ventricle"), labels).astype(np.uint8)


def synthesis_of_labels() -> None:
    """How long painting labels takes on this machine: python benchmarks/speed.py
    synthesis_of_labels

    Median of repeated runs with all its cores, in float32 and in the precision that is fastest
    here: a
    whole brain, one whose ventricles were resized, and one after a stroke of the brush.
    """
    generator, painter = load(device="cpu"), bundled_painter()
    volume = next(iter(RandomBrains(generator, [0], truncation=0.7))) / np.float32(255)
    labels = bundled_segmenter().segment(volume, painter.space).labels
    mm = painter.space.voxel_size
    resize = partial(resized, labels, labels == CLASSES.index("ventricle"), RESIZED_MM, mm)
    print(f"{torch.get_num_threads()} threads, {volume.shape} voxels")
    print(f"resizing ventricles by {RESIZED_MM:g} mm: {label_milliseconds(resize):.0f} ms")
    larger, dotted = resize(), stroke(labels, mm)
    for dtype in dict.fromkeys((torch.float32, measured_dtype(torch.device("cpu")))):
        works = {
            "a whole brain": partial(painter.paint, labels, dtype=dtype),
            "after resizing": partial(painter.repaint, volume, labels, larger, dtype=dtype),
            "after a stroke": partial(painter.repaint, volume, labels, dotted, dtype=dtype),
        }
        for title, work in works.items():
            name = str(dtype).removeprefix("torch.")
            print(f"{title}, {name}: {label_milliseconds(work):.0f} ms")


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


def whole_path() -> None:
    """How long it takes from a raw head to files in its own space.

        python benchmarks/speed.py whole_path HEAD.nii.gz ... [--budgets draft standard] [--times 3]

    What `stylegan3d project HEAD` does, in this process: read, prepare (brain, bias field, pose),
    search, write. One untimed run comes first, for what is loaded once (the model, deepbet's
    networks).
    Printed are the median seconds of the clock, and of the processor; run it on a quiet machine.
    """
    parser = argparse.ArgumentParser(description=whole_path.__doc__.splitlines()[0])
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
    run(main, small_volumes, segmentation, synthesis_of_labels, whole_path)
