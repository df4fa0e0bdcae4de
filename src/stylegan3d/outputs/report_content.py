"""What a report says, as plain lines, tables and curves: the same for its page and its HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from scipy.special import ndtr

from stylegan3d.measures.tissue_volumes import TOLD, VOLUMES
from stylegan3d.outputs.report import SCAN, Case
from stylegan3d.projection.words import SIMILARITY, VERDICTS, similarity_text
from stylegan3d.scans.person import SEXES
from stylegan3d.segmentation.classes import MIDLINE, PAIRED
from stylegan3d.segmentation.curves import Curve, curve_of
from stylegan3d.segmentation.norms import UNKNOWN_SHIFT
from stylegan3d.segmentation.words import (
    AS_TISSUES,
    HEAD,
    title_of,
    unit_of,
    value_text,
)

#: Measures drawn over age, four in a row.
DRAWN = (
    "ventricle_ml",
    "left_temporal_horn_ml",
    "right_temporal_horn_ml",
    "csf_ml",
    "grey_ml",
    "white_ml",
    "left_hippocampus_ml",
    "right_hippocampus_ml",
)
#: Rows of the table of the whole brain.
WHOLE = (HEAD, *TOLD, *(f"{name}_ml" for name in MIDLINE if name not in AS_TISSUES))
#: Marked values and findings that are named.
NAMED = 8
NOT_GIVEN = "Age and sex are not given."
ABOUT_CURVES = (
    "Median and band of 95 % of people of this sex and head size, by age; the dot is this brain."
)
RESTORE = "To restore this brain, paste this link into the explorer (Ctrl+V):"
RESTORE_BY_FILE = "To restore this brain, drop the .json beside this file on the explorer."


@dataclass(frozen=True)
class Cell:
    """Text of a table, and whether it is marked."""

    text: str = ""
    marked: bool = False


Table = list[list[Cell]]


def identity(case: Case) -> list[str]:
    """Which scan this is, and of whom; empty for a brain of nobody."""
    lines = [f"Scan {case.scan}."] if case.scan else []
    person = case.person
    if not case.scan and person.age is None and person.sex is None:
        return lines
    age = "" if person.age is None else f"{person.age:g} years old"
    known = ", ".join(filter(None, (SEXES[person.sex].capitalize() if person.sex else "", age)))
    return [*lines, f"{known[0].upper()}{known[1:]}." if known else NOT_GIVEN]


def verdicts(case: Case) -> list[tuple[str, str, str]]:
    """Level, title and sentence of each verdict on the scan."""
    return [(v["level"], VERDICTS[name], v["sentence"]) for name, v in case.verdicts.items()]


def findings(case: Case) -> str:
    """What stands out in the scan, in a sentence; empty without."""
    if not case.findings:
        return ""
    lines = [
        f"{found['place']}, {found['ml']:.1f} ml, z {found['peak_z']:+.1f} at "
        f"({', '.join(f'{mm:.0f}' for mm in found['center_mm'])}) mm"
        for found in case.findings[:NAMED]
    ]
    more = len(case.findings) - len(lines)
    return "Stands out: " + "; ".join(lines) + (f"; and {more} more." if more > 0 else ".")


def reconstruction(case: Case) -> tuple[str, str]:
    """How far to trust the reconstruction, and why with figures; empty where there is none."""
    figures = case.similarity
    known = [
        f"{name} {similarity_text(key, figures[key])}"
        for key, (name, _, _) in SIMILARITY.items()
        if key in figures
    ]
    likeness = f"Similarity to the scan: {', '.join(known)}." if known else ""
    if not case.verdict:
        return "", likeness
    return f"Trust in the reconstruction: {case.verdict}.", f"{case.sentence} {likeness}".strip()


def curves(case: Case) -> list[Curve]:
    """Of `DRAWN`, those that can be drawn."""
    found = ((name, curve_of(case.numbers, name)) for name in DRAWN)
    return [
        replace(curve, title=VOLUMES.get(name, curve.title))
        for name, curve in found
        if curve is not None
    ]


def whole_table(case: Case) -> Table:
    """Volumes of the whole brain, first of what was compared with people, then of the others."""
    scores = {} if case.numbers is None else case.numbers.scores
    first = SCAN if SCAN in case.measures else next(iter(case.measures))
    others = [title for title in case.measures if title != first]
    scored = ["z", "Pctl."] if scores else []
    rows = [[Cell(text) for text in ("Volume (ml)", first, *scored, *others)]]
    measures = dict(case.measures[first])
    if case.numbers is not None:
        measures |= case.numbers.measures
    for key in WHOLE:
        if key not in measures:
            continue
        title = VOLUMES.get(key, "Head size" if key == HEAD else title_of(key))
        row = [Cell(title), Cell(_value(key, measures[key]))]
        if scores:
            row += _scored(case, key, percentile=True)
        told = (case.measures[title].get(key) for title in others)
        rows.append([*row, *(Cell("" if v is None else _value(key, v)) for v in told)])
    return rows


def sides_table(case: Case) -> Table:
    """Volumes of the paired regions and their asymmetry; empty where they are not labelled."""
    numbers = case.numbers
    if numbers is None:
        return []
    z = ["z"] if numbers.scores else []
    heads = ("Region (ml)", "Left", *z, "Right", *z, "L-R %", *z)
    rows = [[Cell(text) for text in heads]]
    for name, (title, _tissue) in PAIRED.items():
        row = [Cell(title[0].upper() + title[1:])]
        for key in (f"left_{name}_ml", f"right_{name}_ml", f"{name}_asymmetry"):
            row.append(Cell(_value(key, numbers.measures[key])))
            if z:
                row += _scored(case, key)
        rows.append(row)
    return rows


def notes(case: Case) -> list[str]:
    """What is marked, whom z compares with, what was read, and how it was measured."""
    lines = list(_marked(case))
    if case.numbers is not None:
        lines.append(case.numbers.among)
        if case.numbers.reading is not None:
            lines.append(f"Reading: {case.numbers.reading}.")
    return [*lines, f"Volumes {case.measured}."] if case.measured else lines


def _marked(case: Case) -> Iterator[str]:
    if case.numbers is None or not case.numbers.scores:
        return
    scores, limit = case.numbers.scores, case.unusual_z
    beyond = sorted(
        (name for name, score in scores.items() if abs(score.z) > limit),
        key=lambda name: -abs(scores[name].z),
    )
    lines = [
        f"{title_of(name)} {_value(name, case.numbers.measures[name])} {unit_of(name)}".rstrip()
        + f" (z {scores[name].words[0]})"
        for name in beyond[:NAMED]
    ]
    more = f"; and {len(beyond) - NAMED} more" if len(beyond) > NAMED else ""
    by_chance = 2 * len(scores) * float(ndtr(-limit))
    known = [score.scanner for score in scores.values() if score.scanner is not None]
    shift = f"up to {max(known):.1f}" if known else UNKNOWN_SHIFT
    yield (
        f"Beyond z ±{limit:g}: {'; '.join(lines) + more if lines else 'nothing'}. Of {len(scores)} "
        f"measures about {by_chance:.0f} are in a healthy person; another scanner may shift z by "
        f"{shift}."
    )


def _scored(case: Case, key: str, *, percentile: bool = False) -> Sequence[Cell]:
    """z, and the percentile where it is wanted."""
    assert case.numbers is not None
    score = case.numbers.scores.get(key)
    if score is None:
        return [Cell()] * (1 + percentile)
    marked = abs(score.z) > case.unusual_z
    cells = [Cell(text, marked) for text in score.words]
    return cells if percentile else cells[:1]


def _value(key: str, value: float) -> str:
    return "not measured" if math.isnan(value) else value_text(key, value)
