"""A report as one HTML file that holds its pictures and needs no network.

All text is escaped and the page forbids scripts and anything from elsewhere, so a name in a file's
header can do nothing in it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from stylegan3d.outputs import report_content as content
from stylegan3d.outputs.report import WARNING, Case, Picture
from stylegan3d.segmentation.curves import Curve, tick_text

SUFFIX = ".html"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; color: #000; background: #fff; margin: 0 auto;
  padding: 20px; max-width: 1000px; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 16px 0 4px; }
p { margin: 4px 0; overflow-wrap: anywhere; } .soft { color: #555; font-size: 12px; }
.warning { border: 2px solid #000; background: #fff0d1; padding: 6px 10px; font-weight: 700; }
.green, .amber, .red { border-left: 10px solid; padding-left: 8px; }
.green { border-color: #2e7d32; } .amber { border-color: #f9a825; } .red { border-color: #b71c1c; }
.row { display: flex; flex-wrap: wrap; gap: 10px; } .row > * { flex: 1 1 380px; min-width: 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 8px; }
figure { margin: 0; } figcaption { font-weight: 700; font-size: 13px; }
img { width: 100%; display: block; background: #000; } svg { width: 100%; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: #555; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; }
th, td { text-align: right; padding: 1px 4px; border-bottom: 1px solid #ccc; }
th:first-child, td:first-child { text-align: left; } .marked { color: #b34a00; font-weight: 700; }
@media print { @page { size: A4; margin: 10mm; } body { padding: 0; font: 9px/1.25 sans-serif; }
  figure, table, .row, .curves { break-inside: avoid; } table, .soft, figcaption { font-size: 8px; }
  h1 { font-size: 16px; } h2 { font-size: 11px; margin: 6px 0 2px; } p { margin: 2px 0; }
  .warning { padding: 3px 6px; } td, th { padding: 0 3px; line-height: 1.15; }
  .curves { grid-template-columns: repeat(4, 1fr); gap: 2px 8px; } .row > * { flex-basis: 0; }
  svg { max-height: 17mm; } .row img { max-height: 37mm; object-fit: contain; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
#: Of a curve, in its own units: size of the plot, room at the sides and below.
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 220, 110, 36, 8, 18


def html_path(path: Path) -> Path:
    """Where the HTML of a report lies: beside its PDF."""
    return path.with_suffix(SUFFIX)


def html_report(case: Case, folder: Path) -> str:
    """The page; files of the recipe are named as seen from `folder`."""
    name = escape(case.name)
    about = [*content.identity(case), f"Report of {case.date.isoformat()}."]
    parts = [
        f'<h1>{name}</h1><p class="soft">{escape(" ".join(about))}</p>',
        f'<p class="warning">{escape(WARNING)}</p>',
        *(
            f'<p class="{escape(level)}"><b>{title}, {escape(level)}.</b> {escape(sentence)}</p>'
            for level, title, sentence in content.verdicts(case)
        ),
        _paragraph(content.findings(case)),
        _reconstruction(case),
        *(f'<div class="row">{"".join(map(_picture, row))}</div>' for row in case.pictures),
        _curves(content.curves(case)),
        _figures(case),
        f"<h2>How it was made</h2>{_paragraph(' '.join(case.steps))}",
        f'<p class="soft">{content.RESTORE} {escape(case.link(folder))}</p>',
        f'<p class="soft">{escape(" ".join(case.model))}</p>',
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _reconstruction(case: Case) -> str:
    trust, why = content.reconstruction(case)
    return f"<p><b>{escape(trust)}</b> {escape(why)}</p>" if trust or why else ""


def _picture(picture: Picture) -> str:
    title = escape(picture.title)
    data = base64.b64encode(picture.jpeg()).decode("ascii")
    image = f'<img alt="{title}" src="data:image/jpeg;base64,{data}">'
    return f"<figure><figcaption>{title}</figcaption>{image}</figure>"


def _figures(case: Case) -> str:
    sides = content.sides_table(case)
    notes = "".join(f'<p class="soft">{escape(words)}</p>' for words in content.notes(case))
    right = f"<div>{_table(sides)}</div>" if sides else ""
    return f'<div class="row"><div>{_table(content.whole_table(case))}{notes}</div>{right}</div>'


def _table(rows: content.Table) -> str:
    lines = []
    for number, row in enumerate(rows):
        kind = "th" if number == 0 else "td"
        cells = (
            f"<{kind}{' class=marked' if cell.marked else ''}>{escape(cell.text)}</{kind}>"
            for cell in row
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _curves(curves: Sequence[Curve]) -> str:
    if not curves:
        return ""
    plots = "".join(map(_curve, curves))
    return f'<p class="soft">{content.ABOUT_CURVES}</p><div class="curves">{plots}</div>'


def _curve(curve: Curve) -> str:
    low, high = curve.span
    first, last = curve.ages[[0, -1]]

    def places(ages: np.ndarray | float, values: np.ndarray | float) -> np.ndarray:
        """(n, 2) in the units of the plot."""
        x = LEFT + (WIDTH - LEFT - RIGHT) * (np.atleast_1d(ages) - first) / (last - first)
        y = (HEIGHT - BOTTOM) * (1 - (np.atleast_1d(values) - low) / (high - low))
        return np.stack([x, y], axis=1)

    def points(found: np.ndarray) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in found)

    band = np.concatenate([places(curve.ages, curve.high), places(curve.ages, curve.low)[::-1]])
    ((x, y),) = places(curve.age, curve.value)
    title = escape(f"{curve.title}, {curve.unit}")
    ages = "".join(
        f'<text x="{places(age, low)[0, 0]:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{age}</text>'
        for age in curve.ticks
    )
    values = "".join(
        f'<text x="{LEFT - 4}" y="{places(first, value)[0, 1] + 4:.1f}" text-anchor="end">'
        f"{tick_text(value)}</text>"
        for value in (float(curve.high.max()), float(curve.low.min()))
    )
    return (
        f"<figure><figcaption>{title}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
        f'<polygon points="{points(band)}" fill="#d4e8f7"/>'
        f'<polyline points="{points(places(curve.ages, curve.expected))}" fill="none" '
        f'stroke="#005a99" stroke-width="1.5"/>{ages}{values}'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#d65f00"/></svg></figure>'
    )
