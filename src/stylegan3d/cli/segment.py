"""`stylegan3d segment`: tissue segmentation and volumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.base import facts_in
from stylegan3d.cli.common import (
    AgeOption,
    JobsOption,
    NormsOption,
    ReadingOptions,
    SexOption,
    emit,
    grouped,
    print_doubts,
    progress,
    refuse,
)
from stylegan3d.cli.many import segment_many
from stylegan3d.storage.files import check_output, write_together

if TYPE_CHECKING:
    from stylegan3d.segmentation.scans import Wanted


@grouped
def segment(
    ctx: typer.Context,
    volumes: Annotated[
        list[Path],
        typer.Argument(
            help="A volume saved by this program, or a T1-weighted scan of the head or the brain "
            "(with --structures of any MR contrast): NIfTI, MGH, or a DICOM folder. Or many: "
            "files, a folder (such as a BIDS data set), or a text file with a path per line."
        ),
    ],
    reading: ReadingOptions,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Label map to write on the volume's own grid, .nii.gz; of many volumes, or of two "
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
            help="Measure what changed between two scans of one person, the earlier first, beside "
            "the test-retest error and the change that the norms expect.",
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
    age: AgeOption = None,
    sex: SexOption = None,
    norms: NormsOption = None,
    site: Annotated[
        str | None,
        typer.Option(
            "--site",
            help="Site whose own repeated scans give the test-retest error of two visits (model "
            "site).",
            show_default="simulated repeats",
        ),
    ] = None,
    jobs: JobsOption = 1,
) -> None:
    """Segment tissues and regions, measure them, and say where they lie for age, sex, head size.

    With many scans, a later run skips finished ones, a failure does not stop the others (exit
    status 2), and OUT/segmentations.tsv has a row for each.

    Example: stylegan3d segment scan.nii.gz --age 54 --sex F --out labels.nii.gz --table n.csv

    Example: stylegan3d segment scan.nii.gz --lesions --out lesions.nii.gz

    Example: stylegan3d segment flair.nii.gz --structures --out structures.nii.gz

    Example: stylegan3d segment first.nii.gz second.nii.gz --longitudinal --years 2 --out change
    """
    from stylegan3d.cohort.run import holds_scans
    from stylegan3d.segmentation.norms import read_norms
    from stylegan3d.segmentation.scans import Wanted

    of_people = "visits", "years", "site", "age", "sex", "norms"
    if lesions:
        if len(volumes) > 1 or holds_scans(volumes[0]):
            raise typer.BadParameter("--lesions is for one volume.")
        refuse(ctx, "does not go with --lesions", "table", "regions", "structures", *of_people)
        _label_one(volumes[0], out, None, reading, None, lesions=True)
        return
    if structures:  # with or without its skull, the scan is taken as it is
        refuse(ctx, "does not go with --structures", "skull", "regions", *of_people)
    local = None if norms is None else read_norms(norms)
    wanted = Wanted(age, None if sex is None else sex.value, local, regions)
    if visits:
        if len(volumes) != 2:
            raise typer.BadParameter(
                "--longitudinal needs two scans of one person, the earlier first."
            )
        others = "table", "regions", "index", "series", "orientation", "network"
        why = "does not go with --longitudinal, whose folder --out has a table and the regions"
        refuse(ctx, why, *others)
        _segment_visits(volumes, out, wanted, years, site, reading)
        return
    refuse(ctx, "is for --longitudinal", "years", "site")
    if len(volumes) > 1 or holds_scans(volumes[0]):
        if out is None or out.name.endswith(".nii.gz"):
            raise typer.BadParameter("Many volumes need a folder for --out.")
        why = (
            "is for one volume: of many, the table is segmentations.tsv (or structures.tsv) in the "
            "folder --out, and age and sex are read from participants.tsv"
        )
        refuse(ctx, why, "table", "index", "series", "age", "sex")
        segment_many(
            volumes, out, reading, local, regions=regions, structures=structures, jobs=jobs
        )
        return
    _label_one(volumes[0], out, table, reading, None if structures else wanted)


def _label_one(
    volume: Path,
    out: Path | None,
    table: Path | None,
    reading: ReadingOptions,
    wanted: Wanted | None,
    *,
    lesions: bool = False,
) -> None:
    """Lesions of one volume; or what is wanted of its tissues; by default its structures."""
    planned = _planned(out, table, reading)

    from stylegan3d.outputs.lesions import LesionsOfScan, lesions_of_scan
    from stylegan3d.scans import read_scan
    from stylegan3d.segmentation.inference import load_lesions, load_segmenter, load_structures
    from stylegan3d.segmentation.scans import LabelledScan, segment_scan, table_text
    from stylegan3d.segmentation.structures import StructuresOfScan, structures_of_scan
    from stylegan3d.storage.formats import scan_stem

    found: LesionsOfScan | LabelledScan | StructuresOfScan
    with progress("Labelling") as report:
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
    result = {"name": scan_stem(volume), **found.to_dict()}
    if table is not None:
        files[table] = table_text(table, result, found.cells).encode()
    write_together(files, overwrite=reading.overwrite)
    print_doubts(found.doubts)
    emit({**result, "files": planned}, [*found.lines, *planned], as_json=reading.as_json)


def _planned(out: Path | None, table: Path | None, reading: ReadingOptions) -> list[str]:
    """Names of the files to write, if all can be."""
    from stylegan3d.storage.volumes import sidecar_path

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
    reading: ReadingOptions,
) -> None:
    """What changed between two scans."""
    from stylegan3d.evaluation.visit_files import save_visits
    from stylegan3d.scans import read_scan
    from stylegan3d.scans.person import Person
    from stylegan3d.segmentation.norms import site_repeats
    from stylegan3d.segmentation.visits import lines_of, visits_of_scans

    if years is not None and years <= 0:
        raise typer.BadParameter("--years must be above 0; give the earlier scan first.")
    repeats = None if site is None else site_repeats(site)
    first, second = map(read_scan, volumes)
    with progress("Comparing") as report:
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
    print_doubts(found.doubts)
    emit({**found.to_dict(), "files": list(map(str, files))}, lines, as_json=reading.as_json)
