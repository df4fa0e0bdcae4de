"""From the file of a scan to the files of its projection: what the command line does with each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan3d.cohort.scans import Item
from stylegan3d.measures.tissue_volumes import TOLD, read_tissues
from stylegan3d.outputs.projections import (
    all_files,
    output_names,
    save_projection,
    uncertainty_files,
    uncertainty_name,
)
from stylegan3d.outputs.restored import restored_files, restored_names
from stylegan3d.projection import project, uncertainty
from stylegan3d.projection.operators import Mask, Masked, Operator, parse
from stylegan3d.scans import read_scan
from stylegan3d.scans.pose import parse_pose
from stylegan3d.storage.volumes import check_output, sidecar_path

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import AlignedScan

# What is being done ("Aligning", "Projecting"), how much of it, out of how much, a note.
Report = Callable[[str, float, float, str], None]


@dataclass(frozen=True)
class Choices:
    """How to project; each as `Scan.align`, `read_scan` and `project` take it.

    `pose` is in the words of `pose.parse_pose`, `operator` in those of `operators.parse`;
    `uncertainty` is how many more searches tell what is left open, see `projection.uncertainty`.
    """

    space: str = "w+"
    budget: str = "standard"
    steps: int | None = None
    method: str = "stylegan3d"
    skull: str = "auto"
    pose: str | None = None
    volume: int | None = None
    series: str | None = None
    trust: str | None = None
    channel: int = 0
    operator: str | None = None
    uncertainty: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what was not chosen is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def project_file(
    path: Path,
    out: Path,
    open_generator: Callable[[], Generator],
    choices: Choices,
    *,
    mask: Path | None = None,
    cache: Path | None = None,
    overwrite: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Read, align and project a scan, and write everything that came of it; all files or none.

    Parameters
    ----------
    open_generator : called after the scan was read and the names were found to be free.
    mask : a NIfTI in the scan's space that marks what is to be filled in.
    cache : folder that keeps the steps of the preparation, see `Scan.align`.

    Returns
    -------
    dict
        The report as written; "files" are names in `out`, by what they hold.
    """
    clock = [time.perf_counter()]
    tell = report or (lambda title, done, total, note: None)
    scan = read_scan(path, choices.volume, choices.series, choices.trust)
    operator = _operator(choices, mask)
    pose, move = parse_pose(choices.pose)
    names = {} if operator is None else restored_names(scan.path, out, operator)
    names |= uncertainty_name(scan.path, out) if choices.uncertainty else {}
    planned = [*all_files(output_names(scan.path, out)), *names.values()]
    check_output([*planned, *map(sidecar_path, names.values())], overwrite)
    generator = open_generator()
    clock.append(time.perf_counter())
    aligned = scan.align(
        generator,
        skull=choices.skull,
        pose=pose,
        cache=cache,
        progress=lambda done, note: tell("Aligning", done, 1, note),
    )
    aligned = with_hole(move.of(aligned), operator)
    clock.append(time.perf_counter())
    result = project(
        generator,
        aligned,
        space=choices.space,  # type: ignore[arg-type]
        budget=choices.budget,
        steps=choices.steps,
        method=choices.method,  # type: ignore[arg-type]
        channel=choices.channel,
        operator=operator,
        progress=lambda state: tell("Projecting", state.work, 1, ""),
    )
    clock.append(time.perf_counter())
    seconds = [after - before for before, after in pairwise(clock)]
    about: dict[str, Any] = {
        "seconds": dict(zip(("open", "align", "project"), seconds, strict=True)),
        "tissues": {
            what: read_tissues(volume, generator.space).to_dict()
            for what, volume in (("scan", aligned.volume), ("reconstruction", result.volume))
            # Of a scan that is given in part, the part that is left has no volumes.
            if what != "scan" or operator is None
        },
    }
    extra = (
        {} if operator is None else restored_files(out, generator, aligned, operator, result.volume)
    )
    if choices.uncertainty:
        left_open = uncertainty(
            generator,
            aligned,
            restarts=choices.uncertainty,
            space=choices.space,  # type: ignore[arg-type]
            steps=choices.steps,
            channel=choices.channel,
            operator=operator,
            progress=lambda done, total: tell("Searching again", done, total, ""),
        )
        extra |= uncertainty_files(names["uncertainty"], generator, aligned, left_open)
    return save_projection(
        out, generator, aligned, result, about=about, extra=extra, extra_names=names,
        overwrite=overwrite,
    )  # fmt: skip


def _operator(choices: Choices, mask: Path | None) -> Operator | None:
    operator = None if choices.operator is None else parse(choices.operator)
    if mask is None:
        return operator
    return Mask(mask) if operator is None else Masked(Mask(mask), operator)


def with_hole(aligned: AlignedScan, operator: Operator | None) -> AlignedScan:
    """A masked part belongs to the brain, even if extraction left it out."""
    mask = operator.mask if isinstance(operator, Masked) else operator
    if not isinstance(mask, Mask):
        return aligned
    bound = mask.on(aligned.space, aligned)
    assert bound.mask is not None
    return replace(aligned, brain_mask=aligned.brain_mask | bound.mask)


def project_item(
    settings: Mapping[str, Any],
    item: Item,
    folder: Path,
    overwrite: bool,
    *,
    model: str | None,
    cache: Path | None = None,
) -> tuple[list[Path], dict[str, Any]]:
    """The work of a cohort (`cohort.run.Work`) on one scan.

    `model` is the generator's path, `cache` a folder as of `project_file`.
    """
    choices = Choices(**settings["choices"])

    def opened() -> Generator:
        return _generator(model, settings["frame"], settings["model"])

    told = project_file(
        item.path, folder, opened, choices, mask=item.mask, cache=cache, overwrite=overwrite
    )
    files = [folder / name for name in told["files"].values()]
    sidecars = [sidecar_path(path) for path in files if path.name.endswith(".nii.gz")]
    return [*files, *sidecars], row_of(told, folder)


def row_of(told: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the table of a cohort says of a report."""
    trust = told["trust"]
    return {
        **{measure: told["similarity"][measure] for measure in ("ssim", "psnr", "ncc")},
        "latent_distance": trust.get("latent_distance"),
        "verdict": trust.get("verdict"),
        **{
            f"{what}_{key}": told["tissues"].get(what, {}).get(key)
            for what in ("scan", "reconstruction")
            for key in TOLD
        },
        "volumes_measured": told["tissues"]["reconstruction"]["Measured"],
        "report": str(folder / told["files"]["report"]),
    }


@lru_cache(maxsize=1)
def _generator(path: str | None, frame: str | None, sha256: str) -> Generator:
    """Opened once in a process; ModelError if it is not the generator that the run began with."""
    from stylegan3d.errors import ModelError
    from stylegan3d.model.loading import load

    generator = load(path, frame=frame)
    if generator.hash != sha256:
        raise ModelError(
            f"The generator at {path or 'its bundled place'} is not the one this run began with; "
            "give all workers the same files and run it again."
        )
    return generator
