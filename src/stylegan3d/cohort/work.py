"""What is done with each scan of a cohort: it is projected, edited or segmented."""

import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from stylegan3d.base import SILENT, Doubt, Json, JsonView, ModelError, Progress, StyleGAN3DError
from stylegan3d.cohort.run import (
    FIRST,
    LAST,
    RECORDS,
    Item,
    Table,
    lines_of,
    named,
    record_path,
)
from stylegan3d.measures.attributes import TOLD
from stylegan3d.model.generator import Generator, load
from stylegan3d.outputs import projections, structures
from stylegan3d.outputs.labels import Wanted, segment_scan
from stylegan3d.outputs.report import build_case
from stylegan3d.outputs.report_page import html_part
from stylegan3d.projection.forward import Mask
from stylegan3d.projection.projector import Choices, loss_of, place, search, search_again
from stylegan3d.recipe.description import read_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans.pose import parse_pose
from stylegan3d.scans.reading import read_scan
from stylegan3d.scans.verdicts import VERDICTS
from stylegan3d.segmentation.inference import Segmenter, load_segmenter, load_structures
from stylegan3d.segmentation.norms import Norms
from stylegan3d.segmentation.numbers import COLUMNS
from stylegan3d.segmentation.scans import made_by
from stylegan3d.storage.bids import describe
from stylegan3d.storage.files import atomic_write_text, check_output, write_together
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.volumes import sidecar_path


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
        Of the dataset that the results belong to, see `save_projection`.

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
    names = projections.file_names(scan.path, out, operator, spread=spread, z=operator is None)
    check_output(projections.all_files(names), overwrite)
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
    return projections.save_projection(
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
    report = project_file(
        item.path,
        folder,
        partial(opened_generator, model, settings["frame"], settings["model"]),
        Choices(**settings["choices"]),
        mask=item.mask,
        cache=cache,
        overwrite=overwrite,
        root=item.root(folder),
    )
    return _written(report, folder), row_of(report, folder)


def _written(report: JsonView, folder: Path) -> list[Path]:
    return projections.all_files({what: folder / name for what, name in report["files"].items()})


def row_of(report: JsonView, folder: Path) -> Json:
    """Row of the cohort's table for a report."""
    trust = report["trust"]
    return {
        **{measure: report["similarity"][measure] for measure in ("ssim", "psnr", "ncc")},
        "latent_distance": trust.get("latent_distance"),
        **{name: trust.get("verdicts", {}).get(name, {}).get("level") for name in VERDICTS},
        "headline": trust.get("headline"),
        "findings": None if trust.get("findings") is None else len(trust["findings"]),
        **{
            f"{what}_{key}": report["tissues"].get(what, {}).get(key)
            for what in ("scan", "reconstruction")
            for key in TOLD
        },
        "volumes_measured": report["tissues"]["reconstruction"]["Measured"],
        "doubts": list(report["doubts"]),
        "report": folder / report["files"]["report"],
    }


@lru_cache(maxsize=1)
def opened_generator(path: str | None, frame: str | None, sha256: str) -> Generator:
    """Load once per process; ModelError if it is not the generator that the run started with."""

    generator = load(path, frame=frame)
    _check_same("generator", path, generator.hash, sha256)
    return generator


def _check_same(what: str, path: str | None, found: str, sha256: str) -> None:
    if found != sha256:
        raise ModelError(
            f"The {what} at {path or 'its bundled place'} is not the one this run began with; "
            "give all workers the same files and run it again."
        )


LATENTS = "*_latent.safetensors"
EDITS = Table(
    "edits.tsv",
    (
        *FIRST,
        "moved_median_mm",
        "moved_p99_mm",
        "least_jacobian",
        *(f"{what}_{key}" for what in ("scan", "edited") for key in TOLD),
        "volumes_measured",
        *LAST,
        "edited",
    ),
    f"{RECORDS}/edits",
)


def find_latents(path: Path, scans: Path | None = None) -> list[Item]:
    """The latent files of a folder or of a list, in order.

    Parameters
    ----------
    path : Path
        A folder, searched with those below it for names that end in _latent.safetensors; or a text
        file with one latent file a line and, after a tab, its scan.
    scans : Path, optional
        Folder of the scans, where they do not lie beside their latent files.

    Raises
    ------
    StyleGAN3DError
        If there is no latent file, or the list cannot be read.
    """
    if path.is_dir():
        found = sorted(path.rglob(LATENTS))
        items = [
            Item(
                file.relative_to(path).as_posix(),
                file.absolute(),
                str(file.parent.relative_to(path)),
                original=projections.scan_for(file, scans),
            )
            for file in found
        ]
    else:
        items = named(
            [
                Item("", file, "", original=scan or projections.scan_for(file, scans))
                for file, scan in lines_of(path)
            ]
        )
    if not items:
        raise StyleGAN3DError(
            f"There is no latent file in {path}: give a folder of projections, whose latent files "
            "end in _latent.safetensors, or a list of latent files."
        )
    return items


def edit_item(
    settings: JsonView, item: Item, folder: Path, overwrite: bool, *, model: str | None
) -> tuple[list[Path], Json]:
    """The work of a cohort (`cohort.run.Work`) on one latent file; `model` is the generator's path.

    `settings` holds the "recipe" as plain data, whose source each latent file takes, and the
    "strength" of the detail.
    """
    made = projections.save_edit(
        item.path,
        settings["recipe"],
        opened_generator(model, settings["frame"], settings["model"]),
        folder,
        strength=settings["strength"],
        scan=item.original,
        overwrite=overwrite,
        root=item.root(folder),
    )
    row = {
        "moved_median_mm": made.figures["MedianMm"],
        "moved_p99_mm": made.figures["Percentile99Mm"],
        "least_jacobian": made.figures["LeastJacobian"],
        **{
            f"{what}_{key}": found.volumes.get(key)
            for what, found in made.tissues.items()
            for key in TOLD
        },
        "volumes_measured": made.tissues["edited"].how,
        "doubts": made.doubts,
        "edited": made.files[0],
    }
    return made.files, row


SEGMENTATIONS = Table(
    "segmentations.tsv", (*FIRST, *COLUMNS, *LAST, "labels"), f"{RECORDS}/segmentations"
)
STRUCTURE_TABLE = Table(
    "structures.tsv", (*FIRST, *structures.COLUMNS, *LAST, "labels"), f"{RECORDS}/structures"
)


def segment_item(
    settings: JsonView,
    item: Item,
    folder: Path,
    overwrite: bool,
    *,
    network: str | None,
    norms: Norms | None,
) -> tuple[list[Path], Json]:
    """Label one scan of a cohort (`cohort.run.Work`).

    Parameters
    ----------
    settings : mapping of str to object
        "skull", as of `Scan.align`; "orientation", as of `read_scan`; "network", the
        network's hash; "structures", whether these are labelled; "regions", whether these are.
    item : Item
    folder : Path
        For `<name>_dseg.nii.gz` and its sidecar.
    overwrite : bool
    network : str or None
        Folder of the network; the bundled one by default.
    norms : Norms or None
        The bundled ones by default.

    Returns
    -------
    files : list of Path
    row : dict
        See `SEGMENTATIONS` and `STRUCTURE_TABLE`.
    """
    of_any = settings["structures"]
    segmenter = _segmenter(network, settings["network"], of_any)
    scan = read_scan(item.path, orientation=settings["orientation"])
    what = "_desc-structures" if of_any else ""
    labels = folder / f"{scan_stem(item.path)}{what}_dseg.nii.gz"
    check_output([labels, sidecar_path(labels)], overwrite)
    wanted, skull = Wanted(norms=norms, regions=settings["regions"]), settings["skull"]
    found = (
        structures.structures_of_scan(scan, segmenter)
        if of_any
        else segment_scan(segmenter, scan, wanted, skull=skull)
    )
    files = found.files(labels, scan, segmenter)
    describe(item.root(folder), made_by(segmenter))
    write_together(files, overwrite=overwrite)
    return [labels, sidecar_path(labels)], {**found.cells, "doubts": found.doubts, "labels": labels}


@lru_cache(maxsize=1)
def _segmenter(network: str | None, sha256: str, of_any: bool) -> Segmenter:
    """Opened once in a process; ModelError if it is not the network that the run began with."""
    segmenter = (load_structures if of_any else load_segmenter)(network)
    _check_same("network", network, segmenter.hash, sha256)
    return segmenter


#: What `stylegan3d-bids` finds.
EXAMINATIONS = Table(
    "group_T1w.tsv",
    (*FIRST, "ssim", *VERDICTS, "headline", "findings", *COLUMNS, *LAST, "report", "labels"),
    f"{RECORDS}/bids",
)


def examine_item(
    settings: JsonView, item: Item, folder: Path, overwrite: bool
) -> tuple[list[Path], Json]:
    """Project and label one scan (`cohort.run.Work`), and make its part of a participant's page.

    `settings` holds "choices", and the hashes of the bundled "model" and "network".
    """
    generator = opened_generator(None, None, settings["model"])
    segmenter = _segmenter(None, settings["network"], False)
    root, labels = item.root(folder), folder / f"{scan_stem(item.path)}_dseg.nii.gz"
    check_output([labels, sidecar_path(labels)], overwrite)
    scan = read_scan(item.path)
    aligned = scan.align(generator)
    projected = search(generator, aligned, aligned, Choices(**settings["choices"]))
    found = segment_scan(segmenter, aligned)  # first, with its confidence: others need no more
    report = projections.save_projection(folder, projected, overwrite=overwrite, root=root)
    write_together(found.files(labels, scan, segmenter), overwrite=overwrite)
    recipe, person = read_recipe(sidecar_path(folder / report["files"]["native"])), scan.person
    renderer, trust = Renderer(generator), report["trust"]
    case = build_case(recipe, generator, renderer, scan=aligned.volume, trust=trust, person=person)
    part = record_path(root, item, EXAMINATIONS, "html")
    atomic_write_text(part, html_part(case, folder), overwrite=True)
    files = [*_written(report, folder), labels, sidecar_path(labels), part]
    told = dict.fromkeys([*map(Doubt.read, report["doubts"]), *found.doubts])
    more = {"doubts": list(told), "labels": labels, "page": part}
    return files, row_of(report, folder) | found.cells | more
