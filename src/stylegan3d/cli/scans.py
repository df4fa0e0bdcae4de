"""Commands for scans and label maps: `stylegan3d project`, `prepare`, `segment`, `synthesize`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stylegan3d.base import Json, counted, doubts_in, facts_in
from stylegan3d.cli import common
from stylegan3d.cli.many import project_many, segment_many, tell
from stylegan3d.dataset.settings import PreparationSettings
from stylegan3d.projection.settings import Choices
from stylegan3d.scans.person import Person
from stylegan3d.segmentation.classes import dice_scores
from stylegan3d.storage.files import check_output, utf8, write_together
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.volumes import make_image, sidecar_path, volume_files

if TYPE_CHECKING:
    import numpy as np

    from stylegan3d.cohort.preparation import Plan
    from stylegan3d.dataset.pack import Pack
    from stylegan3d.outputs.labels import Wanted
    from stylegan3d.scans import Target
    from stylegan3d.scans.scan import Scan
    from stylegan3d.translation.files import PlacedMap
    from stylegan3d.translation.painter import Painter


@common.grouped
def project(
    scans: Annotated[
        list[Path],
        typer.Argument(
            help="T1-weighted scan of the head or the brain: NIfTI, MGH, or a DICOM folder. Or "
            "many: several files, a BIDS tree or other folder, a text file with one path per line."
        ),
    ],
    choices: Choices,
    written: common.Written,
    mask: Annotated[
        Path | None,
        typer.Option(help="Region to fill in, such as a lesion: a NIfTI mask in the scan's space."),
    ] = None,
    cache: common.CacheOption = None,
    jobs: common.JobsOption = 1,
    scheduler: common.SchedulerOption = None,
) -> None:
    """Find the latent that reproduces a scan, and write the reconstruction in the scan's space.

    With many scans, a later run skips finished ones, a failure does not stop the others (exit
    status 2), and OUT/projections.tsv has a row for each.

    Example: stylegan3d project sub-01_T1w.nii.gz --out projected
    """
    from stylegan3d.cohort.run import holds_scans
    from stylegan3d.cohort.work import project_file
    from stylegan3d.projection.operators import parse
    from stylegan3d.scans.pose import parse_pose

    # Check options before any work.
    parse_pose(choices.pose)
    if choices.operator is not None:
        parse(choices.operator)
    opened = partial(_open, written, choices)
    if len(scans) == 1 and not holds_scans(scans[0]):
        if scheduler is not None or jobs > 1:
            raise typer.BadParameter("--jobs and --scheduler are for many scans: give a folder.")
        with common.progress("Projecting") as report:
            result = project_file(
                scans[0],
                written.out,
                opened,
                choices,
                mask=mask,
                cache=cache,
                overwrite=written.overwrite,
                progress=report,
            )
        _emit(result, written.out, as_json=written.as_json)
        return
    if mask is not None:
        raise typer.BadParameter("--mask is for one scan: name masks in a list, after a tab.")
    project_many(scans, written, choices, opened, cache, jobs=jobs, scheduler=scheduler)


def _open(model: common.ModelChoice, choices: Choices) -> Any:
    """The generator, checked for channel and options."""
    from stylegan3d.projection.calibration import open_site
    from stylegan3d.projection.projector import check_choices

    generator = model.open()
    check_choices(generator, choices)
    if choices.site is not None:
        open_site(generator, choices.site)
    return generator


def _emit(result: Json, out: Path, *, as_json: bool) -> None:
    """Print files and similarity; warnings on stderr."""
    from stylegan3d.projection.assessment import place_in_words
    from stylegan3d.scans.verdicts import beside_verdicts

    common.print_doubts(beside_verdicts(result["doubts"]), hints=common.ORIENTED)
    files = {what: str(out / name) for what, name in result["files"].items()}
    similar, percentile = result["similarity"], result["trust"]["latent_percentile"]
    place = [] if percentile is None else [f"this brain lies {place_in_words(percentile)}"]
    lights = [
        f"{name}: {verdict['level']}. {verdict['sentence']}"
        for name, verdict in result["trust"]["verdicts"].items()
    ]
    lines = [
        *files.values(),
        f"inside the brain: SSIM {similar['ssim']:.3f}, PSNR {similar['psnr']:.1f} dB, "
        f"correlation {similar['ncc']:.3f}",
        *place,
        *lights,
    ]
    common.emit({**result, "files": files}, lines, as_json=as_json)


@common.grouped
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of T1 scans, plain or BIDS.")],
    model: common.ModelChoice,
    how: PreparationSettings,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the dataset; required, except for --dry-run."),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(
            help="Mean brain to align to; the dataset takes its grid.",
            show_default="template*.nii.gz in FOLDER, else the model's",
        ),
    ] = None,
    skull: common.SkullOption = Choices.skull,
    jobs: common.JobsOption = 1,
    scheduler: common.SchedulerOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be prepared or excluded.")
    ] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Prepare a folder of T1 scans for training: brain extraction, alignment, normalisation.

    Run again, it continues where it stopped and adds new scans. Files that cannot be used are
    listed with their reasons, and shown in OUT/contact-sheet.html.

    Example: stylegan3d prepare bids/ --out data/brains
    """
    if out is None and not dry_run:
        raise typer.BadParameter("Give --out FOLDER for the dataset, or --dry-run to look first.")
    settings: Json = {"target": _target(template, model), "skull": skull, **asdict(how)}
    if out is None or dry_run:
        from stylegan3d.cohort.preparation import make_plan

        with common.progress("Reading the folder"):
            plan = make_plan(folder, out, **settings)
        _emit_plan(plan, as_json=as_json)
        return
    from stylegan3d.cohort import preparation

    with common.progress("Preparing") as report:
        settings |= {"jobs": jobs, "scheduler": scheduler}
        pack = preparation.prepare(folder, out, progress=report, **settings)
    _emit_prepared(pack, as_json=as_json)


def _target(template: Path | None, choice: common.ModelChoice) -> Target | None:
    """Target of the alignment: template, model, or None to let `prepare` choose."""
    if template is not None and choice.model is not None:
        raise typer.BadParameter("Give either --template or --model.")
    if template is not None:
        from stylegan3d.scans import load_template

        return load_template(template)
    return None if choice == common.ModelChoice() else choice.open()


def _emit_plan(plan: Plan, *, as_json: bool) -> None:
    """Print the plan."""
    from stylegan3d.cohort.preparation import DONE, LEAVE_OUT, PREPARE

    rows = plan.rows()
    counts = Counter(row["action"] for row in rows)
    taken = [row for row in rows if row["action"] != LEAVE_OUT]
    splits = Counter(row["split"] for row in taken)
    lines = [
        f"{plan.folder}: {counted(len(taken), 'scan')} of "
        f"{counted(len({row['person'] for row in taken}), 'subject')} "
        f"({splits['train']} for training, {splits['validation']} for validation); "
        f"{counts[PREPARE]} to prepare, {counts[DONE]} done already, "
        f"{counted(counts[LEAVE_OUT] + len(plan.left_out), 'file')} left out",
        *plan.notes(),
        *(f"{row['action']} {row['file']} ({row['person']}, {row['split']})" for row in taken),
        *(f"leave out {row['file']}: {row['reason']}" for row in rows if row["reason"]),
        *(f"leave out {file}: {reason}" for file, reason in plan.left_out),
    ]
    result = {
        "dry_run": True,
        "prepare": counts[PREPARE],
        "done": counts[DONE],
        "scans": rows,
        "notes": plan.notes(),
        "left_out": [{"file": file, "reason": reason} for file, reason in plan.left_out],
    }
    common.emit(result, lines, as_json=as_json)


def _emit_prepared(pack: Pack, *, as_json: bool) -> None:
    from stylegan3d.dataset.contact_sheet import CONTACT_SHEET

    refused = [{"file": r["file"], "reason": r["reason"]} for r in pack.info["refused"]]
    counts = {split: len(pack.indices(split)) for split in ("train", "validation")}
    lines = [
        f"{pack.path}: {len(pack)} brains ({counts['train']} for training, "
        f"{counts['validation']} for validation), {' x '.join(map(str, pack.space.shape))} voxels",
        f"Look at {pack.path / CONTACT_SHEET} before you train.",
        *pack.info["notes"],
        *(f"refused {entry['file']}: {entry['reason']}" for entry in refused),
    ]
    result = {
        "pack": str(pack.path),
        "contact_sheet": str(pack.path / CONTACT_SHEET),
        "brains": len(pack),
        **counts,
        "shape": pack.space.shape,
        "licences": pack.info["licences"],
        "notes": pack.info["notes"],
        "refused": refused,
        "doubts": {row["name"]: row["doubts"] for row in pack.table if row["doubts"]},
    }
    tell([{"name": name, "doubts": doubts} for name, doubts in result["doubts"].items()])
    common.emit(result, lines, as_json=as_json)


@common.grouped
def segment(
    ctx: typer.Context,
    volumes: Annotated[
        list[Path],
        typer.Argument(
            help="A volume saved by this program, or a T1-weighted scan of the head or the brain "
            "(with --structures of any MR contrast): NIfTI, MGH, or a DICOM folder. Or many: "
            "files, a folder (such as a BIDS dataset), or a text file with a path per line."
        ),
    ],
    reading: common.ReadingOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Label map to write on the volume's own grid, .nii.gz; for many volumes, or two "
            "visits, a folder.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Volumes (ml), z and percentiles to write, .csv or .json."),
    ] = None,
    regions: Annotated[
        bool,
        typer.Option(
            "--regions",
            help="Label regions (hippocampus, thalamus, lobes, ventricles …, left and right) in "
            "the map instead of tissues, and print their volumes.",
        ),
    ] = False,
    lesions: Annotated[
        bool,
        typer.Option(
            "--lesions",
            help="Look for lesions instead: list where they may be, and write a mask of them.",
        ),
    ] = False,
    structures: Annotated[
        bool,
        typer.Option(
            "--structures",
            help="Label 33 structures at 1 mm, with FreeSurfer's codes, in an MR scan of any "
            "contrast (T1, T2, FLAIR, PD …), with or without its skull. Without norms.",
        ),
    ] = False,
    visits: Annotated[
        bool,
        typer.Option(
            "--longitudinal",
            help="Measure what changed between two scans of one person, the earlier first, "
            "against the test-retest error and the change the norms predict.",
        ),
    ] = False,
    years: Annotated[
        float | None,
        typer.Option(
            "--years",
            help="Years between two visits, above 0.",
            show_default="the difference of the ages in the scans' files",
        ),
    ] = None,
    age: common.AgeOption = None,
    sex: common.SexOption = None,
    norms: common.NormsOption = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            help="Site whose own repeated scans give the test-retest error of two visits (model "
            "site).",
            show_default="simulated repeats",
        ),
    ] = None,
    jobs: common.JobsOption = 1,
) -> None:
    """Segment tissues and regions, and compare their volumes with norms for age, sex, head size.

    With many scans, a later run skips finished ones, a failure does not stop the others (exit
    status 2), and OUT/segmentations.tsv has a row for each.

    Example: stylegan3d segment scan.nii.gz --age 54 --sex F --out labels.nii.gz --table n.csv

    Example: stylegan3d segment scan.nii.gz --lesions --out lesions.nii.gz

    Example: stylegan3d segment flair.nii.gz --structures --out structures.nii.gz

    Example: stylegan3d segment first.nii.gz second.nii.gz --longitudinal --years 2 --out change
    """
    from stylegan3d.cohort.run import holds_scans
    from stylegan3d.outputs.labels import Wanted
    from stylegan3d.segmentation.norms import read_norms

    of_people = "visits", "years", "site", "age", "sex", "norms"
    if lesions:
        if len(volumes) > 1 or holds_scans(volumes[0]):
            raise typer.BadParameter("--lesions is for one volume.")
        common.refuse(
            ctx, "does not go with --lesions", "table", "regions", "structures", *of_people
        )
        _label_one(volumes[0], out, None, reading, None, lesions=True)
        return
    if structures:  # with or without its skull, the scan is taken as it is
        common.refuse(ctx, "does not go with --structures", "skull", "regions", *of_people)
    local = None if norms is None else read_norms(norms)
    wanted = Wanted(age, None if sex is None else sex.value, local, regions)
    if visits:
        if len(volumes) != 2:
            raise typer.BadParameter(
                "--longitudinal needs two scans of one person, the earlier first."
            )
        others = "table", "regions", "index", "series", "orientation", "network"
        why = "does not go with --longitudinal, whose folder --out has a table and the regions"
        common.refuse(ctx, why, *others)
        _segment_visits(volumes, out, wanted, years, site, reading)
        return
    common.refuse(ctx, "is for --longitudinal", "years", "site")
    if len(volumes) > 1 or holds_scans(volumes[0]):
        if out is None or out.name.endswith(".nii.gz"):
            raise typer.BadParameter("Many volumes need a folder for --out.")
        why = (
            "is for one volume: for many, it is segmentations.tsv (or structures.tsv) in the "
            "folder --out, and age and sex are read from participants.tsv"
        )
        common.refuse(ctx, why, "table", "age", "sex")
        why = "is for one scan: run each scan that needs it separately"
        common.refuse(ctx, why, "index", "series")
        segment_many(
            volumes, out, reading, local, regions=regions, structures=structures, jobs=jobs
        )
        return
    _label_one(volumes[0], out, table, reading, None if structures else wanted)


def _label_one(
    volume: Path,
    out: Path | None,
    table: Path | None,
    reading: common.ReadingOptions,
    wanted: Wanted | None,
    *,
    lesions: bool = False,
) -> None:
    """Lesions of one volume; or what is wanted of its tissues; by default its structures."""
    planned = _planned(out, table, reading)

    from stylegan3d.outputs.labels import (
        LabelledScan,
        LesionsOfScan,
        lesions_of_scan,
        segment_scan,
        table_text,
    )
    from stylegan3d.outputs.structures import StructuresOfScan, structures_of_scan
    from stylegan3d.scans import read_scan
    from stylegan3d.segmentation.inference import load_lesions, load_segmenter, load_structures

    found: LesionsOfScan | LabelledScan | StructuresOfScan
    with common.progress("Labelling") as report:
        load = load_lesions if lesions else load_segmenter if wanted else load_structures
        network = load(reading.network)
        scan = read_scan(volume, reading.index, reading.series, reading.orientation)
        if lesions:
            found = lesions_of_scan(scan, network, skull=reading.skull, progress=report)
        elif wanted:
            found = segment_scan(network, scan, wanted, skull=reading.skull, progress=report)
        else:
            found = structures_of_scan(scan, network, progress=report)
    files = {} if out is None else found.files(out, scan, network)
    result = {"name": scan_stem(scan.path), **found.to_dict()}
    if table is not None:
        files[table] = utf8(table_text(table, result, found.cells))
    write_together(files, overwrite=reading.overwrite)
    common.print_doubts(found.doubts, hints=common.ORIENTED)
    common.emit({**result, "files": planned}, [*found.lines, *planned], as_json=reading.as_json)


def _planned(out: Path | None, table: Path | None, reading: common.ReadingOptions) -> list[str]:
    """Names of the files to write, if all can be."""

    if table is not None and table.suffix not in (".csv", ".json"):
        raise typer.BadParameter("The name of the --table must end in .csv or .json.")
    if out is not None and not out.name.endswith(".nii.gz"):
        raise typer.BadParameter("The name of the --out label map must end in .nii.gz.")
    planned = [*([] if out is None else [out, sidecar_path(out)]), *filter(None, [table])]
    check_output(planned, reading.overwrite)
    return list(map(str, planned))


def _segment_visits(
    volumes: list[Path],
    out: Path | None,
    wanted: Wanted,
    years: float | None,
    site: str | None,
    reading: common.ReadingOptions,
) -> None:
    """What changed between two scans."""
    from stylegan3d.evaluation.visit_files import save_visits
    from stylegan3d.outputs.visits import lines_of, visits_of_scans
    from stylegan3d.scans import read_scan
    from stylegan3d.segmentation.norms import site_repeats

    if years is not None and years <= 0:
        raise typer.BadParameter("--years must be above 0; give the earlier scan first.")
    repeats = None if site is None else site_repeats(site)
    first, second = map(read_scan, volumes)
    with common.progress("Comparing") as report:
        found = visits_of_scans(
            first,
            second,
            person=Person(wanted.age, wanted.sex),
            years=years,
            norms=wanted.norms,
            repeats=repeats,
            skull=reading.skull,
            progress=report,
        )
    files = [] if out is None else save_visits(found, out, overwrite=reading.overwrite)
    lines = [*facts_in(found.notes), *lines_of(found), *map(str, files)]
    common.print_doubts(found.doubts)
    common.emit({**found.to_dict(), "files": list(map(str, files))}, lines, as_json=reading.as_json)


def synthesize(
    labels: Annotated[
        Path,
        typer.Argument(
            help="Label map of any orientation and voxel size, NIfTI or MGH: tissues as "
            "`stylegan3d segment` writes them (1 CSF, 2 grey, 3 white, 4 ventricles, 5 brain "
            "stem), Neuromorphometrics regions, or FreeSurfer's structures."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Synthetic brain to write, .nii.gz.")],
    device: common.DeviceOption = "auto",
    resize: Annotated[
        list[str] | None,
        typer.Option(
            help="Grow or shrink a tissue first, by moving its border: csf, grey, white, ventricle "
            "or other (the brain stem), and mm, such as ventricle=4; may be repeated."
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="The brain whose labels were edited, on the model's grid; kept where no "
            "label changed."
        ),
    ] = None,
    contrast_from: Annotated[
        Path | None, typer.Option(help="T1-weighted scan whose contrast is copied.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of a random contrast, within the range of scanners.",
            show_default="the mean contrast",
        ),
    ] = None,
    codes: Annotated[
        Literal["auto", "tissues", "regions", "structures"],
        typer.Option(help="Meaning of the labels; auto infers it from the numbers."),
    ] = "auto",
    pose: Annotated[
        Literal["auto", "keep"],
        typer.Option(help="auto aligns the map to the model's brains if needed, keep leaves it."),
    ] = "auto",
    grid: Annotated[
        Literal["own", "model"], typer.Option(help="Write on the map's own grid or the model's.")
    ] = "own",
    labels_out: Annotated[
        Path | None,
        typer.Option(help="Also write the tissue labels used, on the same grid, .nii.gz."),
    ] = None,
    network: common.NetworkOption = None,
    overwrite: common.OverwriteOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Generate the brain that fits a label map; the result is synthetic.

    Example: stylegan3d synthesize brain_dseg.nii.gz --resize ventricle=4 --out larger.nii.gz
    """
    given = {"--base": base, "--contrast-from": contrast_from, "--seed": seed}
    several = [name for name, value in given.items() if value is not None]
    if len(several) > 1:
        raise typer.BadParameter(f"{' and '.join(several)} each set the contrast; give one.")
    for path in [out] + ([] if labels_out is None else [labels_out]):
        if not path.name.endswith(".nii.gz"):
            raise typer.BadParameter(f"The name {path.name} must end in .nii.gz.")

    from stylegan3d.scans import read_scan
    from stylegan3d.translation.files import Resize, place_map
    from stylegan3d.translation.painter import load_painter

    planned = [p for path in (out, labels_out) if path for p in (path, sidecar_path(path))]
    check_output(planned, overwrite)
    edits = [Resize.parse(text) for text in resize or []]
    with common.progress("Synthesizing"):
        painter = load_painter(network)
        source = read_scan(labels)
        placed = place_map(source, painter, kind=codes, pose=pose)
        other = base or contrast_from
        reference = None if other is None else read_scan(other)
        made = _made(placed, painter, edits, reference, base is not None, seed)
        files = _files(out, labels_out, placed, painter, made, source, reference, grid, edits)
    write_together(files, overwrite=overwrite)
    dice, doubts = made["agreement"], made["doubts"]
    common.print_doubts(doubts)
    lines = [
        *(f"stylegan3d: {note}" for note in facts_in(placed.notes)),
        *(
            [f"Dice of the given labels and those segmented in the result: {dice['mean']:.3f}"]
            if dice
            else []
        ),
        *map(str, files),
    ]
    result = {
        "notes": facts_in(placed.notes),
        "doubts": doubts,
        "agreement": dice,
        "network": {"name": painter.name, "sha256": painter.hash},
        "files": list(map(str, files)),
    }
    common.emit(result, lines, as_json=as_json)


def _made(
    placed: PlacedMap,
    painter: Painter,
    edits: list[Any],
    reference: Scan | None,
    keep: bool,
    seed: int | None,
) -> Json:
    """The generated volume with its tissues, contrast, and agreement with the labels."""
    import numpy as np

    from stylegan3d.segmentation.inference import bundled_segmenter
    from stylegan3d.translation.files import brain_of, check_onto, edited, painted

    segmenter = bundled_segmenter()
    contrast = painter.usual if seed is None else painter.random_contrast(seed)
    notes = list(placed.notes)
    if keep and reference is not None:
        check_onto(reference, placed, painter)
    if reference is not None:
        brain, read = brain_of(reference, painter, segmenter)
        contrast = painter.contrast_of(brain.volume, read)
        notes += brain.notes
    if keep:
        tissues = edited(placed.tissues, edits, painter)
        volume = painter.repaint(brain.volume, read, tissues).volume
    else:
        volume, tissues = painted(placed, painter, contrast, edits)
    agreement: dict[str, float] = {}
    if segmenter.fits(painter.space):
        found = segmenter.segment(np.clip(volume, 0, 1), painter.space).labels
        agreement = dice_scores(found, tissues)
        there = [score for i, score in enumerate(agreement.values(), 1) if (tissues == i).any()]
        agreement["mean"] = float(np.mean(there))
    made = {"volume": volume, "tissues": tissues, "contrast": contrast, "agreement": agreement}
    return made | {"doubts": doubts_in(notes)}


def _files(
    out: Path,
    labels_out: Path | None,
    placed: PlacedMap,
    painter: Painter,
    made: dict[str, Any],
    source: Scan,
    reference: Scan | None,
    grid: str,
    edits: list[Any],
) -> dict[Path, bytes]:
    """Output files: name to content."""
    from stylegan3d.translation.files import LABELS, contrast_entry, painted_files

    own = grid == "own"
    space = placed.space if own else painter.space
    volume: np.ndarray = placed.to_native(made["volume"], painter) if own else made["volume"]
    about = {
        "SpatialReference": "the label map's own grid" if own else "the model's grid",
        "Edits": [{"Tissue": edit.tissue, "BorderMovedBy_mm": edit.mm} for edit in edits],
        "Contrast": contrast_entry(made["contrast"]),
        "AgreementWithLabels_Dice": made["agreement"],
        "Preparation": facts_in(placed.notes),
        "Doubts": made["doubts"],
    }
    sources = [source] + ([] if reference is None else [reference])
    files = painted_files(out, volume, space.affine, about, painter, sources)
    if labels_out is not None:
        tissues = placed.labels_to_native(made["tissues"], painter) if own else made["tissues"]
        said = {"Description": "Tissues that were painted.", "Labels": LABELS, **about}
        image = make_image(tissues, space.affine)
        files |= volume_files(labels_out, image, description="tissue labels", sidecar=said)
    return files
