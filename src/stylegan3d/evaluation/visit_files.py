"""What a comparison of two visits leaves in its folder: table, maps, images, a page."""

import re
from pathlib import Path

from stylegan3d.base import Json, facts_in
from stylegan3d.evaluation.groups import coloured_slices
from stylegan3d.outputs.visits import DRAWN_PERCENT, FULL_PERCENT, Visits
from stylegan3d.pages.page import page
from stylegan3d.segmentation.changes import cells_of, row_of, summary_of
from stylegan3d.segmentation.classes import REGIONS, region_title, title_of, unit_of
from stylegan3d.storage.about import PROGRAM, version
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import table_text as text_of_rows
from stylegan3d.storage.files import utf8, write_together
from stylegan3d.storage.formats import DESC, GRID, Name, scan_stem
from stylegan3d.storage.volumes import make_image, volume_files

NOTICE = "Measured by networks and a registration; not a medical device, not for diagnosis."
HEADS = ("Measure", "Baseline", "Follow-up", "Change", "%", "% a year", "Error", "Expected")
COLUMNS = {
    "measure": "Name of the measure, as `stylegan3d segment` writes it",
    "title": "What it is",
    "unit": "ml, % (asymmetry), or none (ratio)",
    "first": "At the first visit",
    "second": "At the second visit",
    "change": "Second minus first",
    "percent": "The change in per cent of the mean of both; n/a of asymmetries",
    "percent_per_year": "The same for each year between the visits",
    "error": "95 % of repeated scans of an unchanged brain differ by less, same unit",
    "beyond_error": "Whether the change is larger than the error",
    "expected": "Norm-predicted change over as many years at this age, sex and head size",
}


def _name(visits: Visits, what: str, suffix: str, extension: str, space: str = "") -> str:
    """Such as sub-01_ses-1_desc-changeToSes2_volumes.tsv: to the visit sub-01_ses-2_T1w."""
    first, second = map(scan_stem, visits.names)
    subject = re.match(r"sub-[A-Za-z0-9]+_", first)
    rest = second.removeprefix(subject[0]) if subject else second
    rest = re.sub(f"{DESC}|{GRID}|[^A-Za-z0-9]", "", rest) or "second"
    return str(Name(first, f"{what}To{rest[:1].upper()}{rest[1:]}", suffix, space, extension))


def save_visits(visits: Visits, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write table, maps, images and page to a folder; OutputError if files are there."""
    files = visit_files(visits, folder)
    write_together(files, overwrite=overwrite)
    return list(files)


def visit_files(visits: Visits, folder: Path) -> dict[Path, bytes]:
    """The files by path, not yet written."""
    about = {
        "Sources": list(visits.names),
        "SourceSHA256": [one.scan.sha256 for one in (visits.pair.first, visits.pair.second)],
        "YearsBetween": visits.years,
        "SkullStripped": True,
        "Notice": NOTICE,
        "GeneratedBy": [{"Name": PROGRAM, "Version": version()}],
    }
    first, second = visits.pair.volumes
    scans = (visits.pair.first.scan, visits.pair.second.scan)
    synthetic = any(scan.origin != "acquired" for scan in scans)
    unit = "display units, 1 is the 99.5th percentile of a brain"
    volumes = {
        ("first", "T1w"): (first, f"{visits.names[0]} halfway to the second visit; {unit}"),
        ("second", "T1w"): (second, f"{visits.names[1]} halfway to the first visit; {unit}"),
        ("difference", "map"): (visits.difference, f"second minus first visit; {unit}"),
        ("jacobian", "map"): (
            visits.percent,
            "change of each voxel's volume, per cent of the mean of both visits; above 0: larger "
            "at the second",
        ),
    }
    files: dict[Path, bytes] = {}
    affine = visits.space.affine
    for (what, suffix), (data, text) in volumes.items():
        files |= volume_files(
            folder / _name(visits, what, suffix, ".nii.gz", "halfway"),
            make_image(data, affine),
            description=what,
            sidecar={"Description": text, **about},
            synthetic=synthetic,
        )
    titles = {k: region_title(n) for k, n in enumerate(REGIONS.classes) if k > 0}
    files |= volume_files(
        folder / _name(visits, "regions", "dseg", ".nii.gz", "halfway"),
        make_image(visits.labels.regions.labels, affine),
        description="regions",
        sidecar={"Description": "Regions of the mean of both brains", "Labels": titles, **about},
        synthetic=synthetic,
    )
    table = folder / _name(visits, "change", "volumes", ".tsv")
    files[table] = utf8(table_text(visits))
    record = about | {"Columns": COLUMNS} | visits.to_dict()
    files[table.with_suffix(".json")] = to_json(record).encode()
    files[folder / _name(visits, "change", "visits", ".html")] = utf8(visits_page(visits))
    return files


def table_text(visits: Visits) -> str:
    """A row for each measure, as TSV; n/a where unknown."""
    rows = [list(COLUMNS)]
    for name, change in visits.changes.items():
        row: Json = {"measure": name, "title": title_of(name), "unit": unit_of(name)}
        row |= row_of(change, visits.years)
        rows.append(["n/a" if row[key] in (None, "") else row[key] for key in COLUMNS])
    return text_of_rows(rows, "\t")


def visits_page(visits: Visits) -> str:
    """One page, self-contained."""
    person, drawn = visits.person, visits.drawn
    caption = (
        "Local volume, follow-up against baseline: blue smaller, orange larger "
        f"({DRAWN_PERCENT:g} to {FULL_PERCENT:g} %)"
    )
    return page(
        "longitudinal",
        title=visits.names[0],
        mark=NOTICE,
        about={
            "Baseline": visits.names[0],
            "Follow-up": visits.names[1],
            "Years between them": "unknown" if visits.years is None else f"{visits.years:g}",
            "Age at baseline": "unknown" if person.age is None else f"{person.age:g}",
            "Sex": person.sex or "unknown",
        },
        doubts=visits.doubts,
        summary=summary_of(visits.changes),
        caption=caption,
        png=coloured_slices(visits.middle, drawn, drawn != 0, visits.space, FULL_PERCENT, caption),
        heads=HEADS,
        rows=[(cells_of(c, visits.years), c.beyond) for c in visits.changes.values()],
        notes=facts_in(visits.notes),
    )
