"""Opening and projecting scans as plain functions for `LongJob`: no Qt, as in `jobs`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_stylegan3d.core.jobs import Loaded
from napari_stylegan3d.core.scans import STEPS_FOLDER, Several, read_choice, scan_layer
from napari_stylegan3d.project.label_maps import LabelMap
from napari_stylegan3d.project.regions import mask_of
from napari_stylegan3d.project.result import fill
from napari_stylegan3d.views.display import enlarge
from stylegan3d.base import Doubt, Progress
from stylegan3d.memory import give_back
from stylegan3d.projection.settings import BUDGETS, Choices
from stylegan3d.session.annotations import Filled, Region
from stylegan3d.session.case import Case, Choice
from stylegan3d.storage.formats import scan_stem

if TYPE_CHECKING:
    from stylegan3d.projection.forward import Mask
    from stylegan3d.projection.search import ProjectionState
    from stylegan3d.recipe.model import Noise
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.scans.pose import Pose

#: Interval between intermediate pictures of a projection.
SHOW_EVERY_S = 1.5
#: Volumes of a mask that differ by less are written as one.
SAME_ML = 0.05


def open_scan(report: Progress, choice: Choice) -> Case | Several | LabelMap:
    """Read and check a scan; it may turn out to be several scans or a label map."""
    from stylegan3d.scans import looks_like_labels

    report(0, 1, "Reading the scan")
    scan = read_choice(choice)
    if isinstance(scan, Several):
        return scan
    if looks_like_labels(scan.data):
        return LabelMap.of(scan, scan_stem(scan.path))
    name = scan_stem(scan.path)
    if choice.volume is not None:
        name = f"{name} (volume {choice.volume})"
    return Case(name, choice, scan, scan_layer(scan))


def align_scan(
    report: Progress, loaded: Loaded, scan: Scan, folder: Path, pose: str = "auto"
) -> AlignedScan:
    """Align a scan to the model's grid; `folder` is the session's, for the cache."""
    return scan.align(loaded.generator, pose=pose, cache=folder / STEPS_FOLDER, progress=report)


def fit_scan(report: Progress, aligned: AlignedScan, pose: Pose) -> AlignedScan:
    """Refine the alignment from the user's pose."""
    report(0, 1, "Aligning to the template")
    return pose.of(aligned).refined()


@dataclass(frozen=True, eq=False)
class ProjectionRequest:
    """What to project, and how: space "w", "w+" or "w+noise", name of a budget.

    The scan of `case` is aligned first if necessary. `region`, if any, is masked; `loss` is any
    other degradation for `operators.parse`, or ""; `site` is the calibrated site, or "". The result
    has this noise and image channel; its latent is written to `folder`.
    """

    case: Case
    region: Region | None
    loss: str
    space: Literal["w", "w+", "w+noise"]
    budget: str
    noise: Noise
    channel: int
    folder: Path
    site: str = ""


def estimate(_report: Progress, loaded: Loaded) -> dict[str, float]:
    """Estimated seconds of a search by budget on this machine; runs a few steps."""
    from stylegan3d.projection import estimate_seconds

    found = {budget: estimate_seconds(loaded.generator, budget) for budget in BUDGETS}
    give_back()  # before a scan is projected, which takes the most
    return found


def give_memory_back(_report: Progress) -> None:
    """Return freed memory to the system."""
    give_back()


def project_scan(report: Progress, loaded: Loaded, request: ProjectionRequest) -> Case:
    """Align a scan if necessary, and project it.

    Intermediate pictures are handed over as (kind, volume): the aligned scan, then
    reconstructions, all (X, Y, Z) in [0, 1] on the generator's grid.
    """
    from stylegan3d.outputs.projections import output_names, projected_latent
    from stylegan3d.projection.projector import loss_of, place, search
    from stylegan3d.recipe.latents import save_latent
    from stylegan3d.recipe.recipe import Source

    generator = loaded.generator
    case = request.case
    assert case.scan is not None
    found = case.found or align_scan(report, loaded, case.scan, request.folder)
    mask = None if request.region is None else mask_of(request.region, generator.space)
    operator = loss_of(request.loss, mask)
    aligned = place(found, case.pose, operator)
    report.hand_over(("scan", aligned.volume))
    choices = Choices(
        space=request.space,
        budget=request.budget,
        channel=request.channel,
        site=request.site or None,
    )
    done = search(
        generator,
        found,
        aligned,
        choices,
        operator=operator,
        noise=request.noise,
        progress=report.part(0, 1, take=_Shown(report, loaded)),
    )
    result = done.result
    report(1, 1, "Saving the latent")
    latent = projected_latent(generator, result, aligned.describe())
    path = _unused(output_names(case.scan.path, request.folder)["latent"])
    sha256 = save_latent(path, latent, overwrite=True)
    source = Source("projected", path=str(path), sha256=sha256)
    filled = None
    if operator is not None and operator.linear:
        made = fill(aligned, operator, result.volume)
        filled = Filled(request.region, request.loss, made)
    return dataclasses.replace(
        case.lying(found, aligned, case.pose, generator.hash),
        source=source,
        doubts=(*done.doubts, *_left_out(aligned, mask)),
        assessment=result.assessment,
        filled=filled,
        residual_z=result.residual_z,
    )


#: What follows the run in a BIDS name.
_AFTER_RUN = r"_(?:echo|flip|inv|mt|part|proc|hemi|space|chunk|seg|res|den|label|desc)-"


def _unused(path: Path) -> Path:
    """A free path: projections of the same scan, or of a file with the same name, are kept."""
    number, found, name = 1, path, path.name
    while found.exists():
        number += 1
        # Files saved from it are named after it.
        if "_run-" in name:  # of the scan; a reconstruction of it comes before that
            again = re.sub(r"(?:_rec-([A-Za-z0-9]+))?_run-", rf"_rec-\g<1>{number}_run-", name)
        else:
            again = re.sub(_AFTER_RUN, rf"_run-{number}\g<0>", name, count=1)
        found = path.with_name(again)
    return found


def _left_out(aligned: AlignedScan, mask: Mask | None) -> list[Doubt]:
    """What was excluded from the comparison."""
    if mask is None:
        return []
    marked = mask.on(aligned.space, aligned).weights == 0
    size = float(np.prod(aligned.space.voxel_size)) * int(marked.sum()) / 1000
    drawn = size if mask.drawn_ml is None else mask.drawn_ml
    if abs(size - drawn) < SAME_ML:
        text = (
            "The masked region ({drawn:.1f} ml) was excluded from the search and filled in "
            "by the model."
        )
    else:
        text = (
            "The masked region ({drawn:.1f} ml) was excluded from the search and filled in by the "
            "model; all voxels of the model's grid that it touches make {size:.1f} ml."
        )
    sentence = text.format(drawn=drawn, size=size)
    return [Doubt("masked", "tell", sentence, {"drawn_ml": drawn, "ml": size})]


class _Shown:
    """Hands over pictures of a projection at intervals."""

    def __init__(self, report: Progress, loaded: Loaded) -> None:
        self._report, self._loaded = report, loaded
        self._shown_at = 0.0

    def __call__(self, state: ProjectionState) -> None:
        if state.seconds - self._shown_at >= SHOW_EVERY_S:
            self._shown_at = state.seconds
            volume = enlarge(state.volume, self._loaded.generator.shape)
            self._report.hand_over(("reconstruction", volume))
