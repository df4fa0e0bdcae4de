"""Training of the flow from a linear model's brains to subjects (`networks/flow.py`).

On random cubes the network predicts x1 - x0 at a random time between a brain of the linear model x0
and a subject x1, with mean squared error. Cortical texture is local, and 222 brains contain tens of
thousands of cubes. Pairs and trajectories are arrays on disk, filled item by item, which resume
after an interruption.

Pairs are a brain of the generator without flow, and the subject it resembles. For an anatomy model
the first of a pair has the velocities and basis images from the encoder, and the details of a
random brain. For an autoencoder it is the decoded latent of the subject, moved towards that of a
random brain, increasingly with each draw. Each subject is used as is and mirrored, with a few draws
each.

The start of a flow determines its end, so a single step can be trained to reach it, from
trajectories of a trained flow: reflow and distillation (Liu, Gong, Liu 2023, arXiv 2209.03003,
section 2.2). The starts are random brains of the linear model with noise, and the teacher takes
many steps.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import SILENT, Json, ModelError, Progress
from stylegan3d.dataset.pack import Pack
from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import as_packed, to_display, unit
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.family import HasVariations
from stylegan3d.model.generator import Generator, load
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.autoencoder import LatentSynthesis
from stylegan3d.networks.config import Grid
from stylegan3d.networks.flow import VELOCITY_GAIN, Flow, places_on
from stylegan3d.networks.memo import drawn_noise
from stylegan3d.networks.resampling import haar
from stylegan3d.networks.synthesis import SynthesisNetwork
from stylegan3d.recipe.model import seed_latents
from stylegan3d.storage.files import atomic_write_text, only_run, output_errors
from stylegan3d.training.data import as_input, digest_of
from stylegan3d.training.options import STRAIGHT_RATE, STRAIGHT_STEPS, FlowSettings
from stylegan3d.training.run import CHECKPOINT, How, Run, TrainingTask, device_of, load_run, train

# Items between flushes.
REMEMBERED = 20


@dataclass(frozen=True)
class FilledFile:
    """An array: file name, shape (items first) and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: type


def fill_files(
    folder: Path,
    info: str,
    key: Json,
    files: list[FilledFile],
    fill: Callable[[list[np.ndarray], int], None],
    report: Progress = SILENT,
) -> list[np.ndarray]:
    """Fill arrays with the same number of items, resuming if interrupted.

    Parameters
    ----------
    folder, info : Path, str
        Their folder, and the name of the progress file.
    key : dict of str to object
        Identifies their content.
    fill : callable
        Writes one item to the open arrays.
    report : callable or None
        Called with items done and total.

    Returns
    -------
    list of ndarray
        The memory-mapped arrays.

    Raises
    ------
    ModelError
        If the folder contains arrays with another key.
    OutputError
        If the folder cannot be written to, or another run is writing to it.
    """
    count, known = files[0].shape[0], folder / info
    with ExitStack() as held:
        if not known.exists() or json.loads(known.read_text(encoding="utf-8"))["done"] < count:
            held.enter_context(only_run(folder))  # several processes may open what is whole
        done, arrays = _opened_files(folder, folder / info, key, files)
        for index in range(done, count):
            fill(arrays, index)
            if (index + 1) % REMEMBERED == 0 or index + 1 == count:
                with output_errors(folder):
                    for array in arrays:
                        array.flush()  # type: ignore[attr-defined]
                told = json.dumps(key | {"done": index + 1})
                atomic_write_text(folder / info, told, overwrite=True)
            report(index + 1, count)
    return arrays


def _opened_files(
    folder: Path, info: Path, key: Json, files: list[FilledFile]
) -> tuple[int, list[np.ndarray]]:
    """Number of items done, and the arrays."""
    paths = [folder / file.name for file in files]
    if info.exists() and all(path.exists() for path in paths):
        known = json.loads(info.read_text(encoding="utf-8"))
        done = int(known.pop("done"))
        if known != key:
            raise ModelError(
                f"The folder '{folder}' holds the pairs of another generator or dataset; "
                "choose another folder for this run."
            )
        return done, [np.lib.format.open_memmap(path, "r+") for path in paths]
    with output_errors(folder):
        return 0, [
            np.lib.format.open_memmap(path, "w+", file.dtype, file.shape)
            for path, file in zip(paths, files, strict=True)
        ]


# Cubes are centred where the mean brain is brighter than this.
CUBES_IN = 0.1


class Cubes:
    """Random cubes of pairs.

    Parameters
    ----------
    pairs : FlowSource
        Starts and ends.
    side, count : int
        Edge of a cube in voxels, and cubes per draw.
    """

    def __init__(self, pairs: FlowSource, side: int, count: int) -> None:
        self.pairs, self.half, self.count = pairs, side // 2, count
        x, y, z = self.grid = band_grid(pairs)
        self.inside = np.argwhere(pairs.pack.template[::2, ::2, ::2] > CUBES_IN)
        self.places = places_on((x, y, z), torch.device("cpu"))[0]

    def draw(
        self, rng: np.random.Generator, samples: range | None = None, *, training: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random cubes of training subjects or held-out subjects; by default all of a draw.

        Returns
        -------
        tuple
            [n, 1, side, side, side] of the linear model and of subjects, in [-1, 1], and their
            positions, [n, 3, side / 2, ...].
        """
        pairs, half = self.pairs, self.half
        whose = np.flatnonzero(pairs.training == training)
        start, end, places = [], [], []
        for number in range(self.count):
            index = int(whose[rng.integers(len(whose))])
            k = int(rng.integers(pairs.draws))
            middle = self.inside[rng.integers(len(self.inside))]
            if samples is not None and number not in samples:
                continue
            corner = [
                int(min(max(m - half // 2, 0), n - half))
                for m, n in zip(middle, self.grid, strict=True)
            ]
            place = tuple(slice(2 * c, 2 * (c + half)) for c in corner)
            first, last = pairs.cube(index, k, place)
            start.append(first)
            end.append(last)
            x, y, z = (slice(c, c + half) for c in corner)
            places.append(self.places[:, x, y, z])
        starts, ends = (torch.from_numpy(np.stack(cubes))[:, None] for cubes in (start, end))
        return starts, ends, torch.stack(places)


def band_grid(pairs: FlowSource) -> Grid:
    """Grid of the Haar bands of their volumes."""
    x, y, z = (n // 2 for n in pairs.pack.space.shape)
    return x, y, z


DRAWS = 3
# Strengths of the draws of an autoencoder's latents, see `HasVariations`.
STRENGTHS = (0.3, 0.7, 0.9)
# Seeds of the details, outside the usual range.
PAIRS_SEED = 1_000_000
VOLUMES, INFO = "pairs.npy", "pairs.json"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Result of `make_pairs`.

    Attributes
    ----------
    made : ndarray, shape (n, draws, X, Y, Z), uint8
        Brains of the generator without the flow.
    rows, mirrored, training : ndarray, shape (n,)
        Pack row of each item, whether it is mirrored, and whether it is for training.
    """

    made: np.ndarray
    rows: np.ndarray
    mirrored: np.ndarray
    training: np.ndarray
    pack: Pack

    @property
    def draws(self) -> int:
        """Brains of the generator per subject."""
        return int(self.made.shape[1])

    def cube(
        self, index: int, draw: int, place: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cube of one of the brains and of the subject, float32 in [-1, 1]."""
        start, end = self.made[index, draw][place], self.person(index)[place]
        return unit(start) * 2 - 1, unit(end) * 2 - 1

    def person(self, index: int) -> np.ndarray:
        """The subject of a pair, uint8 (X, Y, Z)."""
        volume = self.pack.volumes[self.rows[index]]
        return volume[::-1] if self.mirrored[index] else volume


def make_pairs(
    generator: Generator, pack: Pack, folder: Path, *, draws: int = DRAWS, report: Progress = SILENT
) -> Pairs:
    """Make the pairs of a dataset, resuming if interrupted.

    Parameters
    ----------
    generator : Generator
        Generator with an encoder; an existing flow is ignored.
    folder : Path
        Folder of the pairs.
    draws : int
        Draws per subject and mirror image.
    report : callable or None
        Called with pairs done and total.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, or the folder contains pairs of another one.
    """
    check_flow(generator, pack)
    generator = without_flow(generator)
    of_people = [(int(row), True) for row in pack.indices("train")]
    of_people += [(int(row), False) for row in pack.indices("validation")]
    whose = [(row, mirror, known) for row, known in of_people for mirror in (False, True)]
    rows, mirrored, training = (np.array(column) for column in zip(*whose, strict=True))
    volumes = digest_of(pack.volumes[row] for row, _ in of_people)
    key = {"generator": generator.hash, "volumes": volumes, "draws": draws}
    shape = (len(rows), draws, *pack.space.shape)
    file = FilledFile(VOLUMES, shape, np.uint8)

    def pairs(files: list[np.ndarray]) -> Pairs:
        return Pairs(files[0], rows, mirrored, training, pack)

    def fill(files: list[np.ndarray], index: int) -> None:
        _fill(pairs(files), index, generator)

    return pairs(fill_files(folder, INFO, key, [file], fill, report))


@torch.inference_mode()
def _fill(pairs: Pairs, index: int, generator: Generator) -> None:
    assert generator.encoder is not None
    draws = pairs.draws
    person = as_input(pairs.person(index))[None].to(generator.device)
    w = generator.encoder(person).clone()
    first = PAIRS_SEED + index * draws
    autoencoder = isinstance(generator.synthesis, LatentSynthesis)
    alike = _variations if autoencoder else _with_details
    for draw, one in enumerate(alike(generator, w, range(first, first + draws))):
        pairs.made[index, draw] = as_packed(to_display(generator.synthesis(one, "none"))[0])


def _with_details(generator: Generator, w: Tensor, seeds: range) -> Iterator[Tensor]:
    """A subject's w [1, layers, w_dim] with the details of random brains."""
    details = anatomy_network(generator).config.details
    for row in seed_latents(generator, seeds):
        one = w.clone()
        one[:, :, details] = row[:, details]
        yield one


def _variations(generator: Generator, w: Tensor, seeds: range) -> Iterator[Tensor]:
    """A subject's w [1, 1, w_dim] moved towards random brains."""
    mapping = cast("HasVariations", generator.mapping)
    for number, seed in enumerate(seeds):
        source = torch.Generator().manual_seed(seed)
        z = torch.randn(1, generator.config.z_dim, generator=source).to(w)
        yield mapping.varied(w[:, 0], z, STRENGTHS[number % len(STRENGTHS)])[:, None]


def check_flow(generator: Generator, pack: Pack) -> None:
    """Check that a generator can have a flow.

    Raises
    ------
    ModelError
        If it lacks a requirement, or its grid differs from the dataset's.
    """
    if isinstance(generator.synthesis, LatentSynthesis):
        if generator.encoder is None:
            raise ModelError(f"'{generator.name}' cannot be given a flow: that needs an encoder.")
    elif not isinstance(generator.synthesis, AnatomyNetwork):
        raise ModelError(
            f"'{generator.name}' cannot be given a flow: only anatomy models, autoencoders and "
            "latent diffusions can. A StyleGAN is exported with that of its teacher."
        )
    else:
        config = generator.synthesis.config
        if generator.encoder is None or not config.detail_basis or not config.deformation:
            raise ModelError(
                f"'{generator.name}' cannot be given a flow: that needs an encoder, detail images "
                "and a deformation."
            )
    pack.check_grid(generator.space, generator.name)


def check_cubes(pack: Pack, settings: FlowSettings) -> None:
    """ModelError if the cubes do not fit into the volumes."""
    if settings.side > min(pack.space.shape):
        raise ModelError(f"Cubes of {settings.side} voxels do not fit into these volumes.")


#: Networks whose flow is gated by details, see `LeveledSynthesis.flowed`.
Leveled = AnatomyNetwork | SynthesisNetwork


def leveled(generator: Generator) -> Leveled:
    """The synthesis network of a StyleGAN or an anatomy model; ModelError for another."""
    if not isinstance(generator.synthesis, Leveled):
        raise ModelError(f"'{generator.name}' is neither a StyleGAN nor an anatomy model.")
    return generator.synthesis


def without_flow(generator: Generator) -> Generator:
    """The generator without its flow."""
    if isinstance(generator.synthesis, LatentSynthesis):
        return generator  # without noise the flow is not used
    if leveled(generator).last_flow is None:
        return generator
    return rebuilt(generator, flow_channels=(), flow_curves=False)


def rebuilt(
    generator: Generator, tensors: Mapping[str, Tensor] | None = None, **changes: Any
) -> Generator:
    """The generator with changed settings of its network: its weights where they fit, and others.

    Parameters
    ----------
    generator : Generator
        A StyleGAN or an anatomy model.
    tensors : mapping of str to Tensor or None
        More weights, by their names in the network.
    changes : object
        New values of settings, see `GeneratorConfig`.
    """
    other, network = copy.copy(generator), leveled(generator)
    config = replace(network.config, **changes)
    synthesis = cast("Any", type(network))(config).to(generator.device)
    # What the settings leave out, such as the flow, stays behind.
    synthesis.load_state_dict(network.state_dict() | dict(tensors or {}), strict=False)
    other.config, other.synthesis = config, synthesis.eval().requires_grad_(False)
    return other


def flow_and_steps(generator: Generator) -> tuple[Flow | None, int]:
    """The generator's flow, if it has one, and the steps along it."""
    synthesis = generator.synthesis
    if isinstance(synthesis, LatentSynthesis):
        return synthesis.flow, synthesis.flow_steps
    if isinstance(synthesis, Leveled):
        return synthesis.last_flow, synthesis.config.flow_steps
    return None, 0


def flow_start(
    generator: Generator, plain: Generator, flow: Flow, seed: int
) -> tuple[Tensor, Tensor]:
    """Where a flow behind a generator starts.

    Parameters
    ----------
    generator, plain : Generator
        The generator, and without its flow, see `without_flow`.
    flow : Flow
        That flow, or another in its place.
    seed : int
        Of the latent and of the noise.

    Returns
    -------
    tuple of Tensor, shapes (1, 1, X, Y, Z)
        The image, in which the layers of a StyleGAN have read the noise, and the noise where the
        flow adds it.
    """
    w, synthesis = seed_latents(plain, [seed]), plain.synthesis
    if isinstance(synthesis, LatentSynthesis):
        (noise,) = drawn_noise([flow.noise], seed)
    else:
        *_, noise = leveled(generator).noise_maps(seed)
    assert noise is not None
    if isinstance(synthesis, SynthesisNetwork):
        return synthesis(w, [noise]), synthesis.noise_there(w, noise)
    return synthesis(w, "none"), noise


# Reduced-precision kernels fail on smaller cubes, at least oneDNN's of 2026.
LEAST_FAST = 32
# Times at which held-out subjects are measured, and their number of cubes.
TIMES, CUBES = (0.0, 0.5, 0.9), 24
# Width of the quadratic part of the pseudo-Huber loss, in units of the velocity's gain.
HUBER = 0.3


@dataclass(frozen=True, eq=False)
class Start:
    """A trained flow from which a new run starts.

    Attributes
    ----------
    channels, grid, state : tuple of int, Grid, dict of str to Tensor
        Widths, the bands' grid and weights of its network.
    learned : dict of str to object
        Its training, see `learned`.
    """

    channels: tuple[int, int, int]
    grid: Grid
    state: dict[str, Tensor]
    learned: Json


@dataclass(frozen=True, eq=False)
class FlowTask(TrainingTask[Flow, Cubes]):
    """Training task of a flow.

    Attributes
    ----------
    settings : FlowSettings
        Settings of the run.
    grid : Grid
        Grid of the bands.
    begun_with : dict of str to object
        Training of the flow it started from; empty if there is none.
    state : dict of str to Tensor or None
        Weights of that flow.
    """

    settings: FlowSettings
    grid: Grid
    begun_with: Json = field(default_factory=dict)
    state: dict[str, Tensor] | None = None
    kind = "flow"
    fused = False
    batch_of = "cubes"
    kept = ("grid", "begun_with")

    @classmethod
    def of(cls, pairs: FlowSource, settings: FlowSettings, start: Start | None = None) -> Self:
        """The task of a new run on pairs, optionally from a trained flow.

        Raises
        ------
        ModelError
            If that flow has another shape.
        """
        grid = band_grid(pairs)
        if start is None:
            return cls(settings, grid)
        if (start.channels, start.grid) != (settings.channels, grid):
            raise ModelError("The initial flow has different widths or grid.")
        return cls(settings, grid, start.learned, start.state)

    def network(self) -> Flow:
        """A new flow."""
        return Flow(self.settings.channels, self.grid)

    def prepare(self, source: FlowSource, folder: Path, progress: Progress) -> Cubes:
        """Cubes of pairs from `make_pairs` or `make_trajectories`."""
        check_cubes(source.pack, self.settings)
        return Cubes(source, self.settings.side, self.settings.cubes)

    def start(self, network: Flow, data: Cubes) -> None:
        """Load the weights of the flow to start from."""
        if self.state is not None:
            network.load_state_dict(self.state)
            network.noise_strength.zero_()
            network.spread.fill_(1.0)

    def loss(
        self, network: Flow, data: Cubes, step: int, samples: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on cubes of one batch."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, step])
        fast = fast_dtype(device_of(network)) if settings.side >= LEAST_FAST else torch.float32
        loss = self._loss(network, data.draw(rng, samples, training=True), rng, samples, None, fast)
        return loss, {"loss": loss}

    def measure(self, average: Flow, data: Cubes, *, last: bool) -> dict[str, float]:
        """Loss of the averaged network on held-out subjects, by time; {} without any."""
        if data.pairs.training.all():
            return {}
        found = {}
        for when in TIMES[:1] if self.settings.straight else TIMES:
            rng = np.random.default_rng(self.settings.seed)
            losses = [
                self._loss(average, data.draw(rng, training=False), rng, range(self.batch), when)
                for _ in range(max(1, CUBES // self.settings.cubes))
            ]
            found[f"error at {when:g}"] = float(torch.stack(losses).mean())
        return found

    def _loss(
        self,
        network: Flow,
        batch: tuple[Tensor, Tensor, Tensor],
        rng: np.random.Generator,
        samples: range,
        when: float | None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        device = device_of(network)
        start, end, places = (x.to(device) for x in batch)
        straight = self.settings.straight
        t, between = start.new_zeros(len(start)), start
        if not straight:
            noise = torch.from_numpy(rng.standard_normal((self.batch, *start.shape[1:]))[samples])
            start = start + self.settings.noise * noise.float().to(device)
            times = rng.random(self.batch)[samples] if when is None else np.full(len(start), when)
            t = torch.from_numpy(times).float().to(device)
            between = torch.lerp(start, end, t[:, None, None, None, None])
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            velocity = network.velocity(haar(between), t, places)
        missed = (VELOCITY_GAIN * (velocity - haar(end - start))).square()
        # Of a straight flow, pseudo-Huber: it preserves edges better than the squared error.
        return (((missed + HUBER**2).sqrt() - HUBER) if straight else missed).mean()


FlowRun = Run[FlowTask]


def learned(run: FlowRun) -> Json:
    """Entries of a model's card about a run and those it started from."""
    found = asdict(run.settings) | {"steps_done": run.steps, "errors": run.measured}
    begun_with = run.task.begun_with
    return found | ({"begun_with": begun_with} if begun_with else {})


def start_of_run(run: FlowRun) -> Start:
    """The averaged weights of a run, as a start."""
    return Start(run.task.settings.channels, run.task.grid, run.average.state_dict(), learned(run))


def flow_of(generator: Generator) -> Start | None:
    """The flow of a generator, for further training; None without one."""
    flow, _ = flow_and_steps(generator)
    if flow is None:
        return None
    x, y, z = (n // 2 for n in generator.shape)
    known = generator.card["training"].get("flow", {})
    # Curves belong to the finished flow: a new one gets its own.
    state = {k: v for k, v in flow.state_dict().items() if not k.startswith("curves.")}
    return Start(flow.channels, (x, y, z), state, known)


def start_of(source: str | Path) -> Start | None:
    """The flow in the folder of a run or a generator; None if the generator has none.

    Raises
    ------
    ModelError
        If it is neither, or damaged.
    """
    if (Path(source) / CHECKPOINT).is_file():
        return start_of_run(load_run(FlowTask, Path(source), torch.device("cpu")))
    return flow_of(load(source, device="cpu"))


def train_flow(
    pairs: FlowSource,
    folder: Path,
    settings: FlowSettings | None = None,
    *,
    start: Start | None = None,
    **how: Unpack[How],
) -> FlowRun:
    """Train a flow.

    Parameters
    ----------
    pairs : FlowSource
        Pairs from `make_pairs`, or from `make_trajectories` for a straightened flow.
    folder : Path
        Folder of the run.
    settings : FlowSettings or None
        Settings of a new run.
    start : Start or None
        A trained flow from which a new run starts.
    how : Unpack
        See `stylegan3d.training.run.train`, also for what is raised.
    """
    begin = partial(FlowTask.of, pairs, settings or FlowSettings(), start)
    return train(FlowTask, begin, pairs, folder, **how)


TRAJECTORIES, TEACHER_STEPS = 600, 8
# Seeds of the brains and their noise, outside the usual range.
TEACHER_SEED = 2_000_000
# One in this many is held out.
SET_ASIDE = 20
STARTS, ENDS, ENDS_INFO = "starts.npy", "ends.npy", "ways.json"


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Result of `make_trajectories`.

    Attributes
    ----------
    starts, ends : ndarray, shape (n, X, Y, Z), float16
        Values in [-1, 1].
    training : ndarray, shape (n,), bool
    """

    starts: np.ndarray
    ends: np.ndarray
    training: np.ndarray
    pack: Pack
    draws: int = 1

    def cube(
        self, index: int, draw: int, place: tuple[slice, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cube of a start and of its end, float32 in [-1, 1]."""
        start, end = self.starts[index][place], self.ends[index][place]
        return start.astype(np.float32), end.astype(np.float32)


#: Starts and ends of a flow, from `make_pairs` or `make_trajectories`.
FlowSource = Pairs | Trajectories


def make_trajectories(
    generator: Generator,
    teacher: FlowRun,
    pack: Pack,
    folder: Path,
    *,
    count: int = TRAJECTORIES,
    steps: int = TEACHER_STEPS,
    report: Progress = SILENT,
) -> Trajectories:
    """Run a trained flow from random brains, resuming if interrupted.

    Parameters
    ----------
    generator : Generator
        Generator of the starts.
    teacher : FlowRun
        Run of the teacher.
    folder : Path
        Folder of the trajectories.
    count, steps : int
        Number of random brains, and steps of the teacher.
    report : callable or None
        Called with trajectories done and total.

    Raises
    ------
    ModelError
        If the generator cannot have a flow, the teacher is itself straightened, or the folder
        contains other trajectories.
    """
    check_flow(generator, pack)
    generator = without_flow(generator)
    if teacher.task.settings.straight:
        raise ModelError("The teacher is a straightened flow itself; take the run it learned from.")
    flow = teacher.average.to(generator.device)
    key: Json = {"generator": generator.hash, "count": count, "steps": steps}
    key["teacher"] = digest_of(weight.cpu().numpy() for weight in teacher.average.parameters())
    dtype = fast_dtype(generator.device)
    shape = (count, *pack.space.shape)
    files = [FilledFile(name, shape, np.float16) for name in (STARTS, ENDS)]

    @torch.inference_mode()
    def follow(files: list[np.ndarray], index: int) -> None:
        seed = TEACHER_SEED + index
        noise = torch.randn(flow.noise.shape, generator=torch.Generator().manual_seed(seed))
        start = generator.synthesis(seed_latents(generator, [seed]), "none")
        start = start + teacher.task.settings.noise * noise.to(start)
        starts, ends = files
        starts[index] = start[0, 0].cpu().numpy()
        ends[index] = flow(start, None, steps, dtype)[0, 0].cpu().numpy()

    starts, ends = fill_files(folder, ENDS_INFO, key, files, follow, report)
    return Trajectories(starts, ends, np.arange(count) % SET_ASIDE != 0, pack)


def straight_config(teacher: FlowRun, seed: int = 0) -> FlowSettings:
    """Settings of a run distilled from a teacher."""
    return replace(
        teacher.task.settings,
        steps=STRAIGHT_STEPS,
        learning_rate=STRAIGHT_RATE,
        straight=True,
        seed=seed,
    )
