"""`stylegan3d segment`: tissue segmentation and volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import (
    JobsOption,
    JsonOption,
    NetworkOption,
    OverwriteOption,
    SeriesOption,
    SkullOption,
    TrustOption,
    VolumeOption,
    emit,
    progress,
)
from stylegan3d.cli.many import segment_many
from stylegan3d.settings.projection import Choices


def segment(
    volumes: Annotated[
        list[Path],
        typer.Argument(
            help="A volume saved by this program, or a T1-weighted scan of the head or the brain: "
            "NIfTI, MGH, or a DICOM folder. Or many: files, a folder (such as a BIDS data set), or "
            "a text file with a path per line.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Label map to write on the volume's own grid, .nii.gz; of many volumes a folder.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table", help="Tissue volumes (ml) and percentiles to write, .csv or .json."
        ),
    ] = None,
    network: NetworkOption = None,
    skull: SkullOption = Choices.skull,
    index: VolumeOption = None,
    series: SeriesOption = None,
    trust: TrustOption = None,
    jobs: JobsOption = 1,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Segment CSF, grey and white matter, ventricles and brain stem, and measure their volumes.

    With many scans, finished ones are kept, one that fails does not stop the others (exit status
    2), and OUT/segmentations.tsv has a row for each.

    Example: stylegan3d segment sub-01_T1w.nii.gz --out sub-01_dseg.nii.gz --table volumes.csv
    """
    from stylegan3d.cohort.scans import holds_scans

    if len(volumes) > 1 or holds_scans(volumes[0]):
        if out is None or out.name.endswith(".nii.gz"):
            raise typer.BadParameter("Many volumes need a folder for --out.")
        if table is not None or index is not None or series is not None:
            raise typer.BadParameter(
                "--table, --volume and --series are for one volume: of many, the table is "
                "segmentations.tsv in the folder --out."
            )
        segment_many(
            volumes,
            out,
            network,
            skull=skull,
            trust=trust,
            jobs=jobs,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    (volume,) = volumes
    if table is not None and table.suffix not in (".csv", ".json"):
        raise typer.BadParameter("The name of the --table must end in .csv or .json.")
    if out is not None and not out.name.endswith(".nii.gz"):
        raise typer.BadParameter("The name of the --out label map must end in .nii.gz.")

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
            f"{percentiles[f'{tissue}_ml']:.0f} of the training subjects"
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
