"""The report of an evaluation as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping

from stylegan3d.evaluation import table
from stylegan3d.evaluation.figure import Figure
from stylegan3d.evaluation.table import figures_by_part, plain_words, title_of, warnings
from stylegan3d.pages import page as pages
from stylegan3d.pages.plots import Markup, curves, distributions, interval_bar
from stylegan3d.plain import Json, JsonView
from stylegan3d.render.figures import SYNTHETIC

#: Rows of the picture of the closest pairs.
PAIRS = 5


def page(report: JsonView, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    report : mapping of str to object
        Report of `evaluation.evaluate`.
    pictures : mapping of str to bytes
        Title to PNG, the montage first.
    """
    record = dict(report)
    parts = figures_by_part(record)
    left_out = [f"{title_of(part)}: {why}" for part, why in record["left_out"].items()]
    return pages.page(
        "evaluation",
        report=record,
        mark=SYNTHETIC,
        warnings=warnings(record),
        answers=dict(plain_words(record)),
        pictures=[(title, png, _pairs(record)) for title, png in pictures.items()],
        distributions=_distributions(record),
        curves=_curves(record),
        parts={title_of(k): [(row, bar(row)) for row in rows] for k, rows in parts.items()},
        left_out=[*left_out, *record["notes"]],
        origin=_origin(record),
    )


def bar(row: Figure) -> Markup:
    """The intervals of a row, drawn."""
    label = f"{row.name.strip()}: synthetic {row.synthetic}, real {row.real}"
    real = row.real_low, row.real_value, row.real_high
    return interval_bar(label, (row.low, row.value, row.high), real)


def _pairs(report: Json) -> str:
    """Caption of the closest pairs."""
    nearest = report.get("privacy", {}).get("copies", {}).get("nearest", [])[:PAIRS]
    rows = [
        f"{pair['brain']} and {pair['person']}{', mirrored' * bool(pair['mirrored'])} "
        f"({pair['ratio']:.2f})"
        for pair in nearest
    ]
    return (
        f"From top to bottom: {'; '.join(rows)}. In brackets the distance to this subject divided "
        "by that to the fifth nearest person; 1 means no copy."
        if rows
        else ""
    )


def _distributions(report: Json) -> list[Markup]:
    drawn = []
    for metric in table.METRICS:
        values = report.get(metric.key, {}).get("values", {})
        for name, title in (metric.plots or {}).items():
            if name in values:
                both = values[name]
                drawn.append(distributions(title, both["synthetic"], both["real"]))
    return [plot for plot in drawn if plot]


def _curves(report: Json) -> list[Markup]:
    """The shape statistics against the number of components."""
    part = report.get("shape_statistics")
    titles = {
        "generalisation": "error in held-out subjects",
        "specificity": "distance of random ones to a subject",
        "compactness": "share of variance",
    }
    return [
        curves(title, part["components"], part[key]["model"], part[key]["voxels"])
        for key, title in titles.items()
        if part
    ]


def _origin(report: Json) -> dict[str, str]:
    """Versions, hashes, seeds, settings."""
    data, program = report["data"], report["program"]
    grid = " x ".join(str(n) for n in data["shape"])
    voxel = " x ".join(f"{size:g}" for size in data["voxel_mm"])
    seconds = program.get("seconds", {})
    each = ", ".join(f"{title_of(part).lower()} {s:.0f} s" for part, s in seconds.items())
    time = {"Time": f"{sum(seconds.values()) / 60:.1f} min: {each}"} if seconds else {}
    return {
        "Model": f"{report['model']['name']}, SHA-256 {report['model']['hash']}",
        "Real brains": f"{data['name']}, {data['volumes']}",
        "Grid": f"{grid} voxels of {voxel} mm, axes {data['axes']}",
        "Date": program["date"],
        "Program": f"stylegan3d {program['version']}, measures {program['measures']}",
        "Python": f"{program['python']}, numpy {program['numpy']}, torch {program['torch']}",
        "Device": program["device"],
        **time,
        **{f"Setting {key}": str(value) for key, value in report["settings"].items()},
        "Licence": "The figures may be quoted freely; the pictures show synthetic and real brains "
        "under the terms of the model and of the data.",
    }
