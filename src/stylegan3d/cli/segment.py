"""`stylegan3d segment`: tissues of a volume and how large they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import JsonOption, OverwriteOption, Skull, emit, progress


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("segment")(segment)


def segment(
    volume: Annotated[
        Path,
        typer.Argument(
            help="A volume this program saved, or a T1-weighted scan, the head or the brain alone: "
            "NIfTI, MGH, or a DICOM folder."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Label map to write, .nii.gz, on the volume's own grid."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Volumes and percentiles to write, .csv or .json."),
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            "--network",
            help="Folder of a tissue network made by train-segmentation.",
            show_default="the bundled one",
        ),
    ] = None,
    skull: Annotated[
        Skull,
        typer.Option("--skull", help="Extract the brain, keep the image as it is, or find out."),
    ] = Skull.AUTO,
    index: Annotated[
        int | None, typer.Option("--volume", min=0, help="Which volume of a 4D series, from 0.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(
            "--series", help="Which series of a DICOM folder: number, UID or part of its name."
        ),
    ] = None,
    trust: Annotated[
        str | None,
        typer.Option(
            "--trust",
            help="Where the header leaves left and right in doubt: sform, qform, or the directions "
            "of the array's axes, such as LAS.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label fluid, grey and white matter, ventricles and brain stem; tell their volumes.

    Example: stylegan3d segment sub-01_T1w.nii.gz --out sub-01_dseg.nii.gz --table volumes.csv
    """
    if table is not None and table.suffix not in (".csv", ".json"):
        raise typer.BadParameter("The table's name must end in .csv or .json.")
    if out is not None and not out.name.endswith(".nii.gz"):
        raise typer.BadParameter("The label map's name must end in .nii.gz.")

    from stylegan3d.scans import read_scan
    from stylegan3d.segmentation.classes import TITLES
    from stylegan3d.segmentation.inference import load_segmenter
    from stylegan3d.segmentation.measures import MEASURES
    from stylegan3d.segmentation.scans import label_files, segment_scan, table_text
    from stylegan3d.storage.formats import scan_stem
    from stylegan3d.storage.volumes import check_output, sidecar_path, write_together

    planned = [] if out is None else [out, sidecar_path(out)]
    check_output([*planned, *([] if table is None else [table])], overwrite)
    with progress("Segmenting", 1) as report:
        segmenter = load_segmenter(network)
        scan = read_scan(volume, index, series, trust)
        found = segment_scan(
            segmenter, scan, skull=skull, progress=lambda done, note: report(done, note=note)
        )
    name = scan_stem(volume)
    files = {} if out is None else label_files(out, found, scan, segmenter)
    if table is not None:
        files[table] = table_text(table, name, found, segmenter).encode()
    write_together(files, overwrite=overwrite)
    measures = found.measures
    percentiles = {n: segmenter.percentile(n, measures[n]) for n in MEASURES}
    lines = [
        *(f"stylegan3d: {note}" for note in found.warnings),
        *(
            f"{title}: {measures[f'{tissue}_ml']:.1f} ml, percentile "
            f"{percentiles[f'{tissue}_ml']:.0f} of the people the generator learned from"
            for tissue, title in TITLES.items()
        ),
        *map(str, files),
    ]
    result = {
        "name": name,
        "measures": measures,
        "percentiles": percentiles,
        "checks": found.warnings,
        "network": {"name": segmenter.name, "sha256": segmenter.hash},
        "files": list(map(str, files)),
    }
    emit(result, lines, as_json=as_json)
