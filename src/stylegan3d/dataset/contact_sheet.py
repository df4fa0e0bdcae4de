"""Contact sheet of a packed data set: accepted and refused scans, with reasons.

The page is self-contained: embedded pictures, no scripts, no downloads. The same pack gives the
same bytes.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from stylegan3d.dataset.histogram import histogram, outliers
from stylegan3d.dataset.pack import Pack
from stylegan3d.dataset.plan import HELD_OUT
from stylegan3d.dataset.thumbnails import Picture, picture_of, picture_of_scan
from stylegan3d.plain import Json
from stylegan3d.scans.notes import Note
from stylegan3d.storage.volumes import atomic_write_text

CONTACT_SHEET = "contact-sheet.html"
# Maximum number of pictures, 10 kB each; in larger data sets brains with warnings come first.
MOST_PICTURES = 600
MOST_NAMES = 12
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  margin: 0 auto; padding: 24px; max-width: 1360px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 32px 0 8px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 80ch; } .lead { font-size: 17px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 12px 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 4px 0; padding-left: 20px; overflow-wrap: anywhere; }
.charts { display: flex; flex-wrap: wrap; gap: 12px 32px; }
.chart { flex: 1 1 360px; max-width: 560px; } .chart p { font-size: 13px; }
svg text { font: 12px system-ui, sans-serif; fill: #333; }
.bars rect { fill: #5b7fa6; } .far path { fill: #a3231b; }
.axis { stroke: #333; } .median { stroke: #1b1b1b; stroke-dasharray: 4 3; }
.cards { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(380px, 100%), 1fr)); }
.card { border: 1px solid #c8c8c8; border-radius: 6px; padding: 10px; }
.card.doubtful { border: 2px solid #8a5a00; } .card.refused { border: 2px solid #a3231b; }
.views { position: relative; margin: 8px 0; background: #000; border-radius: 3px; }
.views img { display: block; width: 100%; height: auto; }
.views span { position: absolute; top: 3px; padding: 0 2px; color: #f2d479; background: #000;
  font: bold 12px/1.2 system-ui, sans-serif; }
.views span.end { transform: translateX(-100%); }
.facts { color: #333; font-size: 14px; } .nothing { color: #555; font-style: italic; }
.why { margin: 6px 0 0; padding: 0; list-style: none; font-size: 14px; }
.doubtful .why li::before { content: "\\26A0\\FE0E  "; color: #8a5a00; }
.refused .why li::before { content: "\\2715  "; color: #a3231b; }
:target { outline: 3px solid #2457a6; outline-offset: 2px; }
@media print {
  body { padding: 0; font-size: 11px; max-width: none; }
  .lead { font-size: 13px; } h3, .facts, .why, .chart p { font-size: 10px; }
  .charts { flex-wrap: nowrap; } .chart { flex: 1 1 0; break-inside: avoid; }
  .cards { grid-template-columns: repeat(3, 1fr); gap: 8px; }
  .card { break-inside: avoid; padding: 6px; } h2 { break-after: avoid; }
  .views, .views span { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
LEGEND = (
    "Pictures are in the radiological convention, as in the explorer: in axial and coronal slices "
    "the person's right side (R) is on the left of the picture and the left side (L) on the right. "
    "Sagittal slices show the front (A) on the left. Slices go through the middle of the brain. "
    "Quality is the correlation with the mean brain that scans are aligned to."
)


def write_contact_sheet(pack: Pack, folder: Path, left_out: list[tuple[str, str]]) -> Path:
    """Write the page into the pack; returns its path.

    Parameters
    ----------
    pack : Pack
    folder : Path
        Folder of the scans, for pictures of refused ones.
    left_out : list of (str, str)
        Images of the folder that were not used as scans, with reasons.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    path = pack.path / CONTACT_SHEET
    atomic_write_text(path, page(pack, folder, left_out), overwrite=True)
    return path


def page(pack: Pack, folder: Path, left_out: list[tuple[str, str]]) -> str:
    """The page as HTML; see `write_contact_sheet`."""
    far = {name: outliers(_values(pack, name)) for name in ("quality", "brain_ml")}
    remarks = [_remarks(pack, index, far) for index in range(len(pack))]
    order = sorted(
        range(len(pack)),
        key=lambda i: (-len(remarks[i]), pack.table[i]["quality"], pack.table[i]["name"]),
    )
    doubtful = [i for i in order if remarks[i]]
    fine = [i for i in order if not remarks[i]]
    shown = set((doubtful + fine)[:MOST_PICTURES])
    refused = [entry for entry in pack.info["refused"] if entry["reason"] != HELD_OUT]
    held_out = [entry for entry in pack.info["refused"] if entry["reason"] == HELD_OUT]
    kept = [_kept_card(pack, i, remarks[i]) for i in doubtful + fine if i in shown]
    parts = [
        _head(pack, len(doubtful), len(refused), len(held_out), len(left_out)),
        '<section><h2>Distribution</h2><div class="charts">',
        _chart(pack, "quality", far["quality"], "Correlation with the mean brain", 3),
        _chart(pack, "brain_ml", far["brain_ml"], "Brain volume in ml", 0),
        "</div></section>",
        _cards(
            f"Refused ({len(refused)})",
            [_refused_card(folder, entry) for entry in refused[:MOST_PICTURES]],
        ),
        _names(
            "Refused, without a picture here",
            [f"{entry['file']}: {entry['reason']}" for entry in refused[MOST_PICTURES:]],
        ),
        _cards(f"Kept, to be checked ({len(doubtful)})", kept[: len(doubtful)]),
        _cards(f"Kept, without remarks ({len(fine)})", kept[len(doubtful) :]),
        _without_picture(pack, [i for i in doubtful + fine if i not in shown]),
        _names("Held out for a test", [entry["file"] for entry in held_out]),
        _left_out(left_out),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Contact sheet: {len(pack)} brains</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _values(pack: Pack, column: str) -> np.ndarray:
    return np.array(pack.column(column), dtype=np.float64)


def _remarks(pack: Pack, index: int, far: dict[str, np.ndarray]) -> list[str]:
    """Warnings about one brain, and deviations from the others."""
    row = pack.table[index]
    remarks = [Note.read(check).text for check in row["checks"]]
    low = far["quality"][index] and row["quality"] < np.median(_values(pack, "quality"))
    if low and not any("resembles" in remark for remark in remarks):
        remarks.append("it resembles the mean brain much less than the others here do.")
    if far["brain_ml"][index]:
        larger = row["brain_ml"] > np.median(_values(pack, "brain_ml"))
        remarks.append(f"its brain is much {'larger' if larger else 'smaller'} than the others.")
    return [remark[0].upper() + remark[1:] for remark in remarks]


def _head(pack: Pack, doubtful: int, refused: int, held_out: int, left_out: int) -> str:
    """Counts, licences and settings."""
    counts = {split: len(pack.indices(split)) for split in ("train", "validation")}
    settings = pack.info["settings"]
    grid = " x ".join(map(str, pack.space.shape))
    spacing = " x ".join(f"{size:g}" for size in pack.space.voxel_size)
    licences = Counter(row["licence"] or "not given" for row in pack.table)
    prepared = Counter(row["prepared"] for row in pack.table)
    facts = {
        "People": f"{len(set(pack.column('person')))}",
        "For training": f"{counts['train']}",
        "For validation": f"{counts['validation']}",
        "Prepared": ", ".join(f"{n} {how}" for how, n in sorted(prepared.items())),
        "Grid": f"{grid} voxels of {spacing} mm, axes {''.join(pack.space.axcodes)}",
        "Least quality": f"{settings['min_quality']:g}",
        "Skull": str(settings["skull"]),
        "Bias correction": "N4" if settings["bias_correction"] else "none",
        "Mean brain": f"{settings['target']} (hash of what scans are aligned to)",
        "Licences": "; ".join(f"{name} ({n})" for name, n in sorted(licences.items())),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    brains = "brain" if len(pack) == 1 else "brains"
    notes = "".join(f"<li>{escape(note)}</li>" for note in pack.info["notes"])
    return (
        "<header><h1>Contact sheet</h1>"
        f'<p class="lead">{len(pack)} {brains} kept, {doubtful} of them to be checked; {refused} '
        f"refused, {held_out} held out for a test, {left_out} other images left out.</p>"
        f"<dl>{listed}</dl>{f'<ul>{notes}</ul>' if notes else ''}<p>{LEGEND}</p></header>"
    )


def _chart(pack: Pack, column: str, far: np.ndarray, title: str, digits: int) -> str:
    values = _values(pack, column)
    links = [
        f'<a href="#scan-{i}">{escape(pack.table[i]["name"])}</a>'
        for i in np.argsort(values, kind="stable")
        if far[i]
    ]
    rest = f" and {len(links) - MOST_NAMES} more" if len(links) > MOST_NAMES else ""
    text = f"Outliers (triangles): {', '.join(links[:MOST_NAMES])}{rest}." if links else ""
    return f'<div class="chart">{histogram(values, far, title, digits)}<p>{text}</p></div>'


def _kept_card(pack: Pack, index: int, remarks: list[str]) -> str:
    row = pack.table[index]
    facts = [row["split"], _age_and_sex(row), f"quality {row['quality']:.3f}"]
    facts.append(f"brain {row['brain_ml']:.0f} ml")
    if row.get("ventricle_ml") is not None:
        facts.append(f"ventricles {row['ventricle_ml']:.1f} ml")
    facts.append(row["prepared"])
    picture = _views(picture_of(np.asarray(pack.volumes[index]), pack.space), row["name"])
    kind = "card doubtful" if remarks else "card"
    return _card(kind, f' id="scan-{index}"', row["name"], facts, picture, remarks)


def _age_and_sex(row: Json) -> str:
    age = "age unknown" if row["age"] is None else f"{_number(row['age'])} years"
    return f"{age}, {'sex unknown' if row['sex'] is None else row['sex']}"


def _number(value: Any) -> str:
    return f"{round(value, 1):g}" if isinstance(value, int | float) else str(value)


def _refused_card(folder: Path, entry: Json) -> str:
    picture = picture_of_scan(folder / entry["file"])
    views = (
        '<p class="nothing">No picture: the file cannot be read as a scan.</p>'
        if picture is None
        else _views(picture, f"{entry['file']} as it lies in the file")
    )
    return _card("card refused", "", entry["file"], [], views, [entry["reason"]])


def _card(
    kind: str, anchor: str, name: str, facts: list[str], views: str, remarks: list[str]
) -> str:
    listed = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    text = f'<p class="facts">{escape(" · ".join(facts))}</p>' if facts else ""
    why = f'<ul class="why">{listed}</ul>' if listed else ""
    return f'<article class="{kind}"{anchor}><h3>{escape(name)}</h3>{views}{text}{why}</article>'


def _views(picture: Picture, name: str) -> str:
    letters = ""
    for panel in picture.panels:
        start, end = panel.letters
        letters += f'<span style="left:{100 * panel.left / picture.width:.2f}%">{start}</span>'
        letters += (
            f'<span class="end" style="left:{100 * panel.right / picture.width:.2f}%">{end}</span>'
        )
    return (
        f'<div class="views"><img src="{picture.uri}" width="{picture.width}" '
        f'height="{picture.height}" alt="{escape(name)}: axial, coronal and sagittal slice">'
        f"{letters}</div>"
    )


def _cards(title: str, cards: list[str]) -> str:
    if not cards:
        return ""
    return f'<section><h2>{title}</h2><div class="cards">\n' + "\n".join(cards) + "</div></section>"


def _without_picture(pack: Pack, rows: list[int]) -> str:
    names = [f"{pack.table[i]['name']} (quality {pack.table[i]['quality']:.3f})" for i in rows]
    return _names("Kept, without a picture here", names)


def _names(title: str, names: list[str]) -> str:
    if not names:
        return ""
    listed = "".join(f"<li>{escape(name)}</li>" for name in names)
    return f"<section><h2>{title} ({len(names)})</h2><ul>{listed}</ul></section>"


def _left_out(left_out: list[tuple[str, str]]) -> str:
    """Images that were not used as scans, a few of each kind."""
    if not left_out:
        return ""
    kinds: dict[str, list[str]] = {}
    for file, reason in left_out:
        kinds.setdefault(reason, []).append(file)
    listed = ""
    for reason, files in sorted(kinds.items()):
        rest = f" and {len(files) - MOST_NAMES} more" if len(files) > MOST_NAMES else ""
        names = escape(", ".join(files[:MOST_NAMES]))
        listed += f"<li>{escape(reason)} {len(files)}: {names}{rest}</li>"
    return f"<section><h2>Other images, left out ({len(left_out)})</h2><ul>{listed}</ul></section>"
