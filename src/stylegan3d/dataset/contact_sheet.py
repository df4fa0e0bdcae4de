"""Contact sheet of a packed dataset: accepted and refused scans, with reasons.

The same pack gives the same bytes.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegan3d.base import Doubt, Json, StyleGAN3DError
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import Space, Upright, as_drawn
from stylegan3d.pages.page import Markup, histogram, page
from stylegan3d.render.figures import Look, draw_planes
from stylegan3d.scans.checks import READ_ERRORS
from stylegan3d.scans.reading import read_scan
from stylegan3d.scans.sources import HELD_OUT
from stylegan3d.storage.files import atomic_write_text

CONTACT_SHEET = "contact-sheet.html"
# Maximum number of pictures, 10 kB each; in larger datasets brains with warnings come first.
MOST_PICTURES = 600
MOST_NAMES = 12
# Threshold of the robust z-score (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993),
# and the least number of values to detect outliers.
FAR, ENOUGH = 3.5, 10
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
    atomic_write_text(path, contact_sheet(pack, folder, left_out), overwrite=True)
    return path


@dataclass(frozen=True)
class Card:
    """One scan: its name, a picture (None where it cannot be read), facts and remarks."""

    name: str
    kind: str
    picture: bytes | None
    alt: str
    facts: Sequence[str] = ()
    remarks: Sequence[str] = ()
    anchor: str = ""


def contact_sheet(pack: Pack, folder: Path, left_out: list[tuple[str, str]]) -> str:
    """The page as HTML; see `write_contact_sheet`."""
    far = {name: outliers(_values(pack, name)) for name in ("quality", "brain_ml")}
    remarks = [_remarks(pack, index, far) for index in range(len(pack))]
    order = sorted(
        range(len(pack)),
        key=lambda i: (-len(remarks[i]), pack.table[i]["quality"], pack.table[i]["name"]),
    )
    doubtful = [i for i in order if remarks[i]]
    fine = [i for i in order if not remarks[i]]
    shown = (doubtful + fine)[:MOST_PICTURES]
    refused = [entry for entry in pack.info["refused"] if entry["reason"] != HELD_OUT]
    held_out = [entry["file"] for entry in pack.info["refused"] if entry["reason"] == HELD_OUT]
    kept = {i: _kept_card(pack, i, remarks[i]) for i in shown}
    kinds: dict[str, list[str]] = {}
    for file, reason in left_out:
        kinds.setdefault(reason, []).append(file)
    brains = "brain" if len(pack) == 1 else "brains"
    return page(
        "contact_sheet",
        brains=len(pack),
        lead=f"{len(pack)} {brains} kept, {len(doubtful)} of them to be checked; {len(refused)} "
        f"refused, {len(held_out)} held out for testing, {len(left_out)} other images left out.",
        facts=_facts(pack),
        remarks=pack.info["notes"],
        legend=LEGEND,
        charts=[
            _chart(pack, "quality", far["quality"], "Correlation with the mean brain", 3),
            _chart(pack, "brain_ml", far["brain_ml"], "Brain volume in ml", 0),
        ],
        refused=len(refused),
        refused_cards=[_refused_card(folder, entry) for entry in refused[:MOST_PICTURES]],
        refused_names=[f"{e['file']}: {e['reason']}" for e in refused[MOST_PICTURES:]],
        doubtful=len(doubtful),
        doubtful_cards=[kept[i] for i in doubtful if i in kept],
        fine=len(fine),
        fine_cards=[kept[i] for i in fine if i in kept],
        kept_names=[
            f"{pack.table[i]['name']} (quality {pack.table[i]['quality']:.3f})"
            for i in doubtful + fine
            if i not in kept
        ],
        held_out=held_out,
        left_out=left_out,
        left_out_kinds=[
            (reason, files[:MOST_NAMES], max(len(files) - MOST_NAMES, 0))
            for reason, files in sorted(kinds.items())
        ],
    )


def _values(pack: Pack, column: str) -> np.ndarray:
    return np.array(pack.column(column), dtype=np.float64)


def _remarks(pack: Pack, index: int, far: dict[str, np.ndarray]) -> list[str]:
    """Warnings about one brain, and deviations from the others."""
    row = pack.table[index]
    doubts = [Doubt.read(told) for told in row["doubts"]]
    remarks = [doubt.sentence for doubt in doubts]
    low = far["quality"][index] and row["quality"] < np.median(_values(pack, "quality"))
    if low and not any(doubt.kind == "likeness" for doubt in doubts):
        remarks.append("It resembles the mean brain much less than the others here do.")
    if far["brain_ml"][index]:
        larger = row["brain_ml"] > np.median(_values(pack, "brain_ml"))
        remarks.append(f"Its brain is much {'larger' if larger else 'smaller'} than the others.")
    return remarks


def _facts(pack: Pack) -> dict[str, str]:
    """Counts, licences and settings."""
    counts = {split: len(pack.indices(split)) for split in ("train", "validation")}
    settings = pack.info["settings"]
    grid = " x ".join(map(str, pack.space.shape))
    spacing = " x ".join(f"{size:g}" for size in pack.space.voxel_size)
    licences = Counter(row["licence"] or "not given" for row in pack.table)
    prepared = Counter(row["prepared"] for row in pack.table)
    return {
        "Subjects": f"{len(set(pack.column('person')))}",
        "For training": f"{counts['train']}",
        "For validation": f"{counts['validation']}",
        "Prepared": ", ".join(f"{n} {how}" for how, n in sorted(prepared.items())),
        "Grid": f"{grid} voxels of {spacing} mm, axes {''.join(pack.space.axcodes)}",
        "Lowest quality": f"{settings['min_quality']:g}",
        "Skull": str(settings["skull"]),
        "Bias correction": "N4" if settings["bias_correction"] else "none",
        "Mean brain": f"{settings['target']} (hash of what scans are aligned to)",
        "Licences": "; ".join(f"{name} ({n})" for name, n in sorted(licences.items())),
    }


def _chart(
    pack: Pack, column: str, far: np.ndarray, title: str, digits: int
) -> tuple[Markup, list[tuple[str, str]], int]:
    """A histogram, anchors and names of its first outliers, and how many more there are."""
    values = _values(pack, column)
    rows = [int(i) for i in np.argsort(values, kind="stable") if far[i]]
    links = [(f"scan-{i}", pack.table[i]["name"]) for i in rows[:MOST_NAMES]]
    return histogram(values, far, title, digits), links, len(rows) - len(links)


def outliers(values: np.ndarray) -> np.ndarray:
    """Outliers among values (n,) by the median absolute deviation; bool."""
    if len(values) < ENOUGH:
        return np.zeros(len(values), dtype=bool)
    distance = np.abs(values - np.median(values))
    return 0.6745 * distance > FAR * max(float(np.median(distance)), 1e-9)


def _kept_card(pack: Pack, index: int, remarks: list[str]) -> Card:
    row = pack.table[index]
    facts = [row["split"], _age_and_sex(row), f"quality {row['quality']:.3f}"]
    facts.append(f"brain {row['brain_ml']:.0f} ml")
    if row.get("ventricle_ml") is not None:
        facts.append(f"ventricles {row['ventricle_ml']:.1f} ml")
    facts.append(row["prepared"])
    picture = picture_of(np.asarray(pack.volumes[index]), pack.space)
    kind = "doubtful" if remarks else "fine"
    return Card(row["name"], kind, picture, row["name"], facts, remarks, f"scan-{index}")


def _refused_card(folder: Path, entry: Json) -> Card:
    file = entry["file"]
    picture = picture_of_scan(folder / file)
    return Card(file, "refused", picture, f"{file} as stored in the file", (), [entry["reason"]])


def _age_and_sex(row: Json) -> str:
    age = row["age"]
    number = f"{round(age, 1):g}" if isinstance(age, int | float) else str(age)
    told = "age unknown" if age is None else f"{number} years"
    return f"{told}, {'sex unknown' if row['sex'] is None else row['sex']}"


# Height of every picture and of its letters in pixels.
HEIGHT, LETTERS = 150, 8
JPEG_QUALITY = 80


def picture_of(volume: np.ndarray, space: Space) -> bytes:
    """A JPEG of three slices through the centre of the non-zero voxels.

    Parameters
    ----------
    volume : ndarray, uint8 (X, Y, Z)
    space : Space
        Its grid, in any orientation.
    """
    upright = Upright.of(volume, space)
    x, y, z = (upright.mm_at(axis, _middle(upright.data, axis)) for axis in range(3))
    _, deep, high = np.multiply(upright.data.shape, upright.space.voxel_size)
    scale = HEIGHT / max(deep, high)
    look = Look(scale, (0, 255), caption="", scale_bar=False, letter_mm=LETTERS / scale)
    sheet = draw_planes(upright, look, at_mm=(x, y, z)).convert("L")
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return content.getvalue()


def _middle(volume: np.ndarray, axis: int) -> int:
    """Index of the slice through the centre of the non-zero voxels."""
    weights = np.count_nonzero(volume, axis=tuple(a for a in range(3) if a != axis))
    if not weights.any():
        return volume.shape[axis] // 2
    return round(float(np.average(np.arange(volume.shape[axis]), weights=weights)))


def picture_of_scan(path: Path) -> bytes | None:
    """A picture of an original scan (first volume of a series); None if unreadable."""
    for volume in (None, 0):
        with suppress(StyleGAN3DError, MemoryError, *READ_ERRORS):
            scan = read_scan(path, volume)
            return picture_of(as_drawn(scan.data), scan.space)
    return None
