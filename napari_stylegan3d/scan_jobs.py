"""Opening and projecting scans as plain functions for `LongJob`: no Qt, as in `jobs`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_stylegan3d.jobs import Loaded, enlarge
from napari_stylegan3d.reader import scan_layer, scan_name
from napari_stylegan3d.session import Projected
from napari_stylegan3d.worker import Report

if TYPE_CHECKING:
    from stylegan3d.networks.synthesis import Noise
    from stylegan3d.scans import AlignedScan, Scan

#: How notes and the alignment mark what a person should look at.
WARNING = "Check:"
#: A projection is watched at this interval.
SHOW_EVERY_S = 1.5
WORK_UNITS = 1000
#: Phases that can be paused.
SEARCHING, TUNING = "Projecting", "Tuning the model to the scan"
BUDGETS = {
    "draft": "Draft: a quick look",
    "standard": "Standard",
    "thorough": "Thorough: closest match",
}


@dataclass(frozen=True)
class Choice:
    """Which scan is meant, and how it lies; as for `read_scan`.

    `asked` are the doubts that `trust` answers.
    """

    path: Path
    volume: int | None = None
    series: str | None = None
    trust: str | None = None
    asked: tuple[str, ...] = ()

    def trusting(self, trust: str | None) -> Choice:
        """The same scan, read with another answer to its doubts."""
        return dataclasses.replace(self, trust=trust)


@dataclass(frozen=True, eq=False)
class OpenedScan:
    """A scan as it was read, and ready for the views."""

    scan: Any
    layer: tuple[np.ndarray, dict[str, Any], str]
    name: str
    choice: Choice

    @property
    def notes(self) -> list[str]:
        """What was found on reading, but for the doubts, which are asked about."""
        return [n for n in self.scan.notes if n.removeprefix(WARNING).strip() not in self.asked]

    @property
    def asked(self) -> tuple[str, ...]:
        """The reader's own words of the doubts."""
        return tuple(self.scan.doubts) or self.choice.asked

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it cannot be known which side is left, without how to say it on a command line."""
        return tuple(_sentence(doubt.split(": if ")[0]) for doubt in self.asked)

    @property
    def answers(self) -> list[tuple[str, str | None]]:
        """What a person may say about the doubts: words, and `trust` of `read_scan`."""
        if not self.asked:
            return []
        geometry = self.scan.geometry
        if geometry["sform_code"] and geometry["qform_code"]:
            return [("Use the sform", None), ("Use the qform", "qform")]
        assumed = "LAS"
        every = sorted(
            "".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)
        )
        others = [(f"The axes run {code}", code) for code in every if code != assumed]
        others.sort(key=lambda answer: answer[1] != "RAS")
        return [(f"Not known: assume {assumed}", None), *others]


@dataclass(frozen=True)
class Several:
    """There is a choice to make: a question, and entries as `Chooser.ask` takes them."""

    question: str
    entries: list[tuple[str, object, str]]


def open_scan(report: Report, choice: Choice) -> OpenedScan | Several:
    """Read and check a scan, or find that it must be said which one."""
    from stylegan3d.scans import SeveralSeries, SeveralVolumes, read_scan

    report(0, 1, "Reading the scan")
    try:
        scan = read_scan(choice.path, choice.volume, choice.series, choice.trust)
    except SeveralSeries as error:
        if not any(series.usable for series in error.series):
            raise
        return Several(
            f"{choice.path.name} holds {len(error.series)} series:",
            [_series_entry(series, choice) for series in error.series],
        )
    except SeveralVolumes as error:
        entries: list[tuple[str, object, str]] = [
            (f"Volume {index}", dataclasses.replace(choice, volume=index), "")
            for index in range(error.count)
        ]
        return Several(f"{choice.path.name} is a series of {error.count} volumes:", entries)
    choice = dataclasses.replace(choice, asked=tuple(scan.doubts) or choice.asked)
    return OpenedScan(scan, scan_layer(scan), scan_name(scan.path), choice)


def _series_entry(series: Any, choice: Choice) -> tuple[str, object, str]:
    number = "?" if series.number is None else series.number
    text = f"{number}: {series.description or 'unnamed'}\n{series.summary}"
    problem = ""
    if not series.usable:
        problem = _sentence(series.problem or "it is a localiser, not a whole head")
    return text, dataclasses.replace(choice, series=series.uid), problem


def _sentence(words: str) -> str:
    """A capital at the beginning and a full stop at the end."""
    return words[:1].upper() + words[1:].rstrip(".") + "."


@dataclass(frozen=True)
class Pose:
    """By how much a person moved a scan in the model's space, as for `AlignedScan.nudged`."""

    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def of(self, aligned: AlignedScan) -> AlignedScan:
        """The scan moved; itself if it is to stay."""
        return aligned if self == NO_POSE else aligned.nudged(self.shift_mm, self.turn_deg)


NO_POSE = Pose()


def align_scan(report: Report, loaded: Loaded, scan: Scan) -> AlignedScan:
    """Bring a scan onto the model's grid."""

    def progress(fraction: float, text: str) -> None:
        report(round(100 * fraction), 100, text)

    return scan.align(loaded.generator, progress=progress)


@dataclass(frozen=True, eq=False)
class ProjectionRequest:
    """What to project, and how: space "w" or "w+", a budget's name.

    `aligned` is the scan as the alignment put it, None if it is still to be aligned; `pose` is how
    a person moved it from there. Nothing is compared inside `mask`, bool (X, Y, Z) on the
    generator's grid; None for nowhere. The result has the noise and shows the image channel given
    here; its latent goes into `folder`.
    """

    scan: Any
    name: str
    aligned: AlignedScan | None
    pose: Pose
    mask: np.ndarray | None
    space: Literal["w", "w+"]
    budget: str
    noise: Noise
    channel: int
    folder: Path


def estimate(_report: Report, loaded: Loaded) -> dict[str, float]:
    """Seconds that the search takes with each budget on this machine; takes some steps' time."""
    from stylegan3d.projection import estimate_seconds

    return {budget: estimate_seconds(loaded.generator, budget) for budget in BUDGETS}


def project_scan(
    report: Report,
    loaded: Loaded,
    request: ProjectionRequest,
    show: Callable[[str, np.ndarray], None],
) -> Projected:
    """Align a scan, unless that was done, and find the latent whose brain is most like it.

    `show(kind, volume)` is called with what there is to see on the way: the aligned scan, then
    reconstructions as they improve, all (X, Y, Z) in [0, 1] on the generator's grid.
    """
    from stylegan3d.latents import save_latent
    from stylegan3d.projection import project
    from stylegan3d.projection.operators import Mask
    from stylegan3d.projection_outputs import output_names, projected_latent
    from stylegan3d.recipe import Source

    generator = loaded.generator
    found = request.aligned or align_scan(report, loaded, request.scan)
    aligned = request.pose.of(found)
    show("scan", aligned.volume)
    result = project(
        generator,
        aligned,
        space=request.space,
        budget=request.budget,
        noise=request.noise,
        channel=request.channel,
        operator=None if request.mask is None else Mask(request.mask),
        progress=_Watcher(report, loaded, show),
        should_stop=report.should_stop,
        should_pause=report.should_pause,
    )
    report(1, 1, "Saving the latent")
    latent = projected_latent(generator, result, aligned.describe())
    path = output_names(request.scan.path, request.folder)["latent"]
    sha256 = save_latent(path, latent, overwrite=True)
    source = Source("projected", path=str(path), sha256=sha256)
    checks = [s.removeprefix(WARNING).strip() for s in aligned.steps if s.startswith(WARNING)]
    remarks = [check[:1].upper() + check[1:] for check in checks]
    if request.mask is not None:
        size = float(np.prod(generator.voxel_size)) * int(request.mask.sum()) / 1000
        remarks.append(
            f"The painted region ({size:.1f} ml) was not compared with the scan: the model made it "
            "up."
        )
    return Projected(
        request.name,
        source,
        aligned,
        dict(result.trust["similarity"]),
        dict(result.trust["mean_brain"]),
        (*remarks, *result.trust["remarks"]),
        result.trust,
        found,
    )


class _Watcher:
    """Reports the steps of a projection, and now and then shows where it is."""

    def __init__(
        self,
        report: Report,
        loaded: Loaded,
        show: Callable[[str, np.ndarray], None],
    ) -> None:
        self._report, self._show = report, show
        self._loaded = loaded
        self._shown_at = 0.0

    def __call__(self, state: Any) -> None:
        done = round(WORK_UNITS * state.work)
        doing = TUNING if state.phase == "tuning" else SEARCHING
        self._report(done, WORK_UNITS, doing, f"step {state.step} of {state.steps}")
        if state.seconds - self._shown_at >= SHOW_EVERY_S:
            self._shown_at = state.seconds
            self._show("reconstruction", enlarge(state.volume, self._loaded.generator.shape))
