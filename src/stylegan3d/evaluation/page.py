"""The report of an evaluation as a self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

from stylegan3d.evaluation import table
from stylegan3d.evaluation.figure import Figure
from stylegan3d.evaluation.plots import curves, distributions, interval_bar
from stylegan3d.evaluation.table import alarms, figures_by_part, plain_words, title_of
from stylegan3d.plain import Json, JsonView
from stylegan3d.render.figures import SYNTHETIC

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #555; --paper: #fff; --line: #c8c8c8;
  --made: #c2570c; --real: #2457a6; --alarm: #a3231b; --good: #1d6b34; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a9adb3; --paper: #16181b;
  --line: #44484e; --made: #ff9d4d; --real: #7fb0ff; --alarm: #ff8a80; --good: #7fd49a; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 24px; max-width: 1160px; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 30px 0 8px; } p { margin: 6px 0; max-width: 90ch; }
.mark { color: var(--made); font-weight: 600; } .soft { color: var(--soft); }
.alarm { border: 2px solid var(--alarm); border-radius: 6px; padding: 8px 12px; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 10px 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; max-width: 90ch; }
.answers dt { color: var(--ink); font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
td.under { padding-left: 16px; } .reached { color: var(--good); } .missed { color: var(--alarm); }
svg { overflow: visible; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.bar { width: 150px; height: 30px; min-width: 120px; }
.plots { display: flex; flex-wrap: wrap; gap: 16px 28px; } .plot { width: 340px; max-width: 100%; }
.made { fill: var(--made); stroke: var(--made); } .real { fill: var(--real); stroke: var(--real); }
.area { fill-opacity: 0.3; stroke-width: 1.5; } .dots { fill-opacity: 0.6; stroke: none; }
.bar path, .line { fill: none; stroke-width: 1.5; } .axis { stroke: var(--soft); fill: none; }
.chance { stroke: var(--soft); stroke-dasharray: 3 3; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 6px;
  margin: 0 4px 0 12px; }
img { display: block; max-width: 100%; height: auto; background: #000; border-radius: 4px; }
@media (max-width: 640px) { .wide table { min-width: 760px; } body { padding: 12px; }
  dl { display: block; } dd { margin-bottom: 8px; } }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --made: #a34708;
  --real: #1d4a91; --alarm: #8f1a13; --good: #14532d; }
  body { padding: 0; font-size: 11px; max-width: none; } table { font-size: 10px; }
  h2 { break-after: avoid; } tr, img, .plot, .answers dd { break-inside: avoid; }
  img, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
#: Rows of the picture of the closest pairs.
PAIRS = 5
MARKS = {None: "", True: "reached", False: "missed"}


def page(report: JsonView, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    report : mapping of str to object
        Report of `evaluation.evaluate`.
    pictures : mapping of str to bytes
        Title to PNG.
    """
    record = dict(report)
    name = escape(record["model"]["name"])
    parts = [
        f"<header><h1>Evaluation of {name}</h1>"
        f'<p class="mark">{SYNTHETIC}</p>{_lead(record)}</header>',
        *(f'<p class="alarm">{escape(text)}</p>' for text in alarms(record)),
        _answers(record),
        *(_picture(title, png) for title, png in list(pictures.items())[:1]),
        _plots(record),
        _curves(record),
        *(_part(title_of(part), rows) for part, rows in figures_by_part(record).items() if rows),
        *(_picture(title, png, _pairs(record)) for title, png in list(pictures.items())[1:]),
        _left_out(record),
        _origin(record),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of {name}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _lead(report: Json) -> str:
    data = report["data"]
    return (
        f"<p>{report['random_brains']} synthetic brains of a {escape(report['model']['kind'])} "
        f"compared with {data['training_people']} possible training subjects and "
        f"{data['validation_people']} held-out subjects ({escape(data['name'])}), "
        f"{escape(report['program']['date'][:10])}.</p>"
        '<p class="soft">95 % confidence intervals are in brackets. Beside each figure is the same '
        "figure between two groups of real subjects, which is never perfect in a finite set. "
        "Do not compare with figures of other programs, features or subjects.</p>"
    )


def _answers(report: Json) -> str:
    rows = "".join(
        f"<dt>{escape(question)}</dt><dd>{escape(answer)}</dd>"
        for question, answer in plain_words(report)
    )
    return f'<section><h2>Summary</h2><dl class="answers">{rows}</dl></section>' if rows else ""


def embedded(png: bytes, alt: str = "") -> str:
    """An image element that holds the picture."""
    text = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{text}">'


def _picture(title: str, png: bytes, caption: str = "") -> str:
    below = f'<p class="soft">{escape(caption)}</p>' if caption else ""
    return f"<section><h2>{escape(title)}</h2>{embedded(png, title)}{below}</section>"


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


def _plots(report: Json) -> str:
    drawn = []
    for metric in table.METRICS:
        values = report.get(metric.key, {}).get("values", {})
        for name, title in (metric.plots or {}).items():
            if name in values:
                both = values[name]
                drawn.append(distributions(title, both["synthetic"], both["real"]))
    if not any(drawn):
        return ""
    return _drawn("Distributions", ("synthetic", "real"), drawn)


def _curves(report: Json) -> str:
    """The shape statistics against the number of components."""
    part = report.get("shape_statistics")
    if not part:
        return ""
    titles = {
        "generalisation": "error in held-out subjects",
        "specificity": "distance of random ones to a subject",
        "compactness": "share of variance",
    }
    drawn = [
        curves(title, part["components"], part[key]["model"], part[key]["voxels"])
        for key, title in titles.items()
    ]
    return _drawn("Number of components", ("model", "principal components of voxels"), drawn)


def _drawn(title: str, kinds: tuple[str, str], plots: list[str]) -> str:
    """Plots below a key to their two colours."""
    key = "".join(
        f'<span class="key" style="background:var(--{colour})"></span>{kind}'
        for colour, kind in zip(("made", "real"), kinds, strict=True)
    )
    return (
        f'<section><h2>{title}</h2><p>{key}</p><div class="plots">{"".join(plots)}</div></section>'
    )


def _part(title: str, rows: list[Figure]) -> str:
    heads = ("figure", "synthetic", "real", "", "compared", "aim", "")
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join(_row(row) for row in rows)
    return (
        f'<section><h2>{title}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _row(row: Figure) -> str:
    under = ' class="under"' if row.name.startswith(" ") else ""
    mark = MARKS[row.reached]
    cells = "".join(f"<td>{escape(text)}</td>" for text in (row.synthetic, row.real))
    return (
        f"<tr><td{under}>{escape(row.name.strip())}</td>{cells}<td>{interval_bar(row)}</td>"
        f"<td>{escape(row.compared)}</td><td>{escape(row.aim)}</td>"
        f'<td class="{mark}">{mark}</td></tr>'
    )


def _left_out(report: Json) -> str:
    lines = [f"{title_of(part)}: {why}" for part, why in report["left_out"].items()]
    lines += report["notes"]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section><h2>Not measured, and notes</h2><ul>{items}</ul></section>"


def _times(seconds: dict[str, float]) -> dict[str, str]:
    """Durations of the parts; empty for older reports."""
    if not seconds:
        return {}
    text = ", ".join(f"{title_of(part).lower()} {s:.0f} s" for part, s in seconds.items())
    return {"Time": f"{sum(seconds.values()) / 60:.1f} min: {text}"}


def _origin(report: Json) -> str:
    """Versions, hashes, seeds, settings."""
    data, program = report["data"], report["program"]
    grid = " x ".join(str(n) for n in data["shape"])
    voxel = " x ".join(f"{size:g}" for size in data["voxel_mm"])
    facts = {
        "Model": f"{report['model']['name']}, SHA-256 {report['model']['hash']}",
        "Real brains": f"{data['name']}, {data['volumes']}",
        "Grid": f"{grid} voxels of {voxel} mm, axes {data['axes']}",
        "Date": program["date"],
        "Program": f"stylegan3d {program['version']}, measures {program['measures']}",
        "Python": f"{program['python']}, numpy {program['numpy']}, torch {program['torch']}",
        "Device": program["device"],
        **_times(program.get("seconds", {})),
        **{f"Setting {key}": str(value) for key, value in report["settings"].items()},
        "Licence": "The figures may be quoted freely; the pictures show synthetic and real brains "
        "under the terms of the model and of the data.",
    }
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<section><h2>How it was measured</h2><dl>{rows}</dl><p>{SYNTHETIC}.</p></section>"
