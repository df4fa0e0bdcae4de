"""Run the whole projection pipeline on a scan file."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stylegan3d.cohort.scans import Item
from stylegan3d.errors import ModelError
from stylegan3d.measures.tissue_volumes import TOLD
from stylegan3d.outputs.projections import all_files, file_names, save_projection
from stylegan3d.plain import Json, JsonView
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.operators import Mask
from stylegan3d.projection.pipeline import (
    Choices,
    loss_of,
    place,
    search,
    search_again,
)
from stylegan3d.projection.words import VERDICTS
from stylegan3d.scans.pose import parse_pose
from stylegan3d.scans.reading import read_scan
from stylegan3d.storage.files import check_output
from stylegan3d.storage.volumes import sidecar_path

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def project_file(
    path: Path,
    out: Path,
    open_generator: Callable[[], Generator],
    choices: Choices,
    *,
    mask: Path | None = None,
    cache: Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
    root: Path | None = None,
) -> Json:
    """Read, align and project a scan, and write the results; all files or none.

    Parameters
    ----------
    path : Path
        The scan.
    out : Path
        Folder of the results.
    open_generator : callable
        Called after the scan was read and the output names were checked.
    choices : Choices
    mask : Path or None
        NIfTI mask in the scan's space of the region to fill in.
    cache : Path or None
        Cache folder of the preparation, see `Scan.align`.
    overwrite : bool
        Replace files of these names.
    progress : Progress
    root : Path or None
        Of the data set that the results belong to, see `save_projection`.

    Returns
    -------
    dict
        The report as written; "files" maps content to file names in `out`.
    """
    clock = [time.perf_counter()]
    scan = read_scan(path, choices.volume, choices.series, choices.orientation)
    operator = loss_of(choices.operator, None if mask is None else Mask(mask))
    how, move = parse_pose(choices.pose)
    spread = choices.uncertainty is not None
    names = file_names(scan.path, out, operator, spread=spread, z=operator is None)
    check_output(all_files(names), overwrite)
    generator = open_generator()
    clock.append(time.perf_counter())
    found = scan.align(generator, skull=choices.skull, pose=how, cache=cache, progress=progress)
    aligned = place(found, move, operator)
    clock.append(time.perf_counter())
    projected = search(generator, found, aligned, choices, operator=operator, progress=progress)
    clock.append(time.perf_counter())
    left_open = search_again(projected, choices, progress) if spread else None
    parts = ("open", "align", "project")
    seconds = {k: b - a for k, a, b in zip(parts, clock, clock[1:], strict=False)}
    return save_projection(
        out, projected, seconds=seconds, left_open=left_open, overwrite=overwrite, root=root
    )


def project_item(
    settings: JsonView,
    item: Item,
    folder: Path,
    overwrite: bool,
    *,
    model: str | None,
    cache: Path | None = None,
) -> tuple[list[Path], Json]:
    """Process one scan of a cohort (`cohort.run.Work`).

    `model` is the generator's path; for `cache` see `project_file`.
    """
    choices = Choices(**settings["choices"])

    def opened() -> Generator:
        return opened_generator(model, settings["frame"], settings["model"])

    report = project_file(
        item.path,
        folder,
        opened,
        choices,
        mask=item.mask,
        cache=cache,
        overwrite=overwrite,
        root=item.root(folder),
    )
    files = [folder / name for name in report["files"].values()]
    sidecars = [sidecar_path(path) for path in files if path.name.endswith(".nii.gz")]
    return [*files, *sidecars], row_of(report, folder)


def row_of(report: JsonView, folder: Path) -> Json:
    """Row of the cohort's table for a report."""
    trust = report["trust"]
    return {
        **{measure: report["similarity"][measure] for measure in ("ssim", "psnr", "ncc")},
        "latent_distance": trust.get("latent_distance"),
        "verdict": trust.get("verdict"),
        **{name: trust.get("verdicts", {}).get(name, {}).get("level") for name in VERDICTS},
        "headline": trust.get("headline"),
        "findings": None if trust.get("findings") is None else len(trust["findings"]),
        **{
            f"{what}_{key}": report["tissues"].get(what, {}).get(key)
            for what in ("scan", "reconstruction")
            for key in TOLD
        },
        "volumes_measured": report["tissues"]["reconstruction"]["Measured"],
        "warnings": list(report["warnings"]),
        "report": folder / report["files"]["report"],
    }


@lru_cache(maxsize=1)
def opened_generator(path: str | None, frame: str | None, sha256: str) -> Generator:
    """Load once per process; ModelError if it is not the generator that the run started with."""
    from stylegan3d.model.loading import load

    generator = load(path, frame=frame)
    if generator.hash != sha256:
        raise ModelError(
            f"The generator at {path or 'its bundled place'} is not the one this run began with; "
            "give all workers the same files and run it again."
        )
    return generator
