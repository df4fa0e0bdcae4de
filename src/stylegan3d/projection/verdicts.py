"""Three verdicts on a scan: acquisition, anatomy, focal.

Each has its own reasons, so a difference of scanner is not worded as anatomy, nor a large head as
a lesion. Reference values are those of held-out subjects, each also on simulated scanners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from torch import Tensor

from stylegan3d.measures.attributes import measure_volume
from stylegan3d.measures.regions import Finding
from stylegan3d.model.generator import Generator
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.projection.residual import Seen
from stylegan3d.projection.scanner import scanner_in_words, spreads
from stylegan3d.projection.words import VERDICTS
from stylegan3d.scans.aligned import EXPECTED_CONTRAST
from stylegan3d.scans.intensity import contrast_agreement

Level = Literal["green", "amber", "red"]
# Order of decisiveness: nothing can be said of a scan of unknown contrast; a scanner that only
# differs comes after what was found in spite of it.
_ORDER: tuple[tuple[Level, str], ...] = (
    ("red", "acquisition"),
    ("red", "focal"),
    ("red", "anatomy"),
    ("amber", "focal"),
    ("amber", "anatomy"),
    ("amber", "acquisition"),
    ("green", "acquisition"),
    ("green", "anatomy"),
    ("green", "focal"),
)
#: Quantities of the anatomy: name, unit, what a higher and a lower value mean.
QUANTITIES = {
    "brain_ml": ("head size", "ml", "a large head", "a small head"),
    "ventricle_ml": ("ventricles", "ml", "large ventricles", "small ventricles"),
    "length": ("length", "", "a long head", "a short head"),
    "width": ("width", "", "a wide head", "a narrow head"),
    "height": ("height", "", "a tall head", "a flat head"),
    "shape": ("shape", "", "an unusual shape", ""),
}
#: Spreads from which a quantity is unusual, and very unusual; how much wider the ranges are where
#: the scanner's own offset is not known; coverage from which a scan is cut.
UNUSUAL, EXTREME, WIDER = 3.5, 8.0, 1.5
LEAST_COVERAGE = 0.9
COVERS = "The scan covers only"
# Times the limit from which a finding is large.
LARGE = 5.0
NAMED = 3


class Verdict(TypedDict):
    """One verdict: "green", "amber" or "red", and a sentence that explains it."""

    level: Level
    sentence: str


def measure_anatomy(
    generator: Generator, seen: Seen, volume: np.ndarray, average: Tensor, spread: Tensor
) -> dict[str, float]:
    """The `QUANTITIES` of a brain (X, Y, Z); those that are unknown are left out.

    `average` and `spread` [w_dim] are those of the latents of random brains.
    """
    measured = measure_volume(volume, generator.space)
    measured["ventricle_ml"] = float(max(measured["ventricle_ml"], 1.0))
    network = generator.synthesis
    if seen.guess.w is not None and isinstance(network, AnatomyNetwork):
        fields = network.config.deformation
        away = (seen.guess.w[:, :fields] - average[:fields]) / spread[:fields].clamp(min=1e-6)
        measured["shape"] = float(away.square().mean().sqrt())
    return {
        name: measured[name]
        for name in QUANTITIES
        if name in measured and np.isfinite(measured[name])
    }


def compare_anatomy(
    measured: Mapping[str, float], known: Mapping[str, Mapping[str, float]], widening: float
) -> dict[str, dict[str, float]]:
    """Each quantity with the usual value and range, and by how many spreads it differs.

    `widening` multiplies the spreads: `WIDER` if the site is not calibrated.
    """
    record: dict[str, dict[str, float]] = {name: {"value": v} for name, v in measured.items()}
    for name, row in record.items():
        if name in known:
            usual = dict(known[name])
            usual |= {side: widening * usual[side] for side in ("below", "above")}
            row |= {
                "usual": float(_from_scale(name, usual["middle"])),
                "low": float(_from_scale(name, usual["middle"] - 2 * usual["below"])),
                "high": float(_from_scale(name, usual["middle"] + 2 * usual["above"])),
                "unusual": spreads(float(to_scale(name, row["value"])), usual),
            }
    return record


def to_scale(name: str, values: Any) -> Any:
    """A quantity on the scale on which subjects vary evenly: logarithmic for ventricles."""
    return np.log(values) if name == "ventricle_ml" else values


def _from_scale(name: str, values: Any) -> Any:
    return np.exp(values) if name == "ventricle_ml" else values


def judge_acquisition(
    figures: Mapping[str, Mapping[str, float]],
    volume: np.ndarray,
    template: np.ndarray,
    mask: np.ndarray,
    site: str | None,
) -> Verdict:
    """Contrast, resolution, coverage, extraction."""
    if contrast_agreement(volume, template, mask) < EXPECTED_CONTRAST:
        return {
            "level": "red",
            "sentence": "The model was not trained on this contrast: do not interpret the "
            "reconstruction.",
        }
    words = scanner_in_words(figures)
    if figures["coverage"]["value"] < LEAST_COVERAGE:
        share = f"{100 * figures['coverage']['value']:.0f} %"
        return {"level": "red", "sentence": f"{COVERS} {share} of the brain."}
    known = f"those of the site '{site}'" if site else "the training scans"
    if words:
        advice = "" if site else " The site is not calibrated, so ranges are wider."
        return {
            "level": "amber",
            "sentence": f"The scanner differs from {known} ({words}); this was allowed for."
            + advice,
        }
    return {"level": "green", "sentence": f"The scan is like {known}."}


def judge_anatomy(
    rows: Mapping[str, Mapping[str, float]], unreadable: str = "", is_complete: bool = True
) -> Verdict:
    """Where size, ventricles and shape lie among people; unknown in a scan that is unreadable."""
    if unreadable or not is_complete:
        return _unknown(unreadable)
    odd = sorted(
        (name for name, row in rows.items() if _away(name, row) >= UNUSUAL),
        key=lambda name: -_away(name, rows[name]),
    )
    if not odd:
        return {
            "level": "green",
            "sentence": "Head size, ventricles and shape are within the usual range.",
        }
    lines = []
    for name in odd:
        row, (_, unit, more, less) = rows[name], QUANTITIES[name]
        text = more if row["unusual"] > 0 else less
        if unit:
            low, high = f"{row['low']:.0f}", f"{row['high']:.0f}"
            text += f" ({row['value']:.0f} {unit}, usually {low} to {high} {unit})"
        lines.append(text)
    extreme = _away(odd[0], rows[odd[0]]) >= EXTREME
    words = ", ".join(lines)
    return {
        "level": "red" if extreme else "amber",
        "sentence": f"Unusual among the reference subjects: {words}.",
    }


def unreadable(acquisition: Verdict) -> str:
    """Where nothing else can be judged, as the end of a sentence; empty if it can be."""
    if acquisition["level"] != "red":
        return ""
    if acquisition["sentence"].startswith(COVERS):
        return "in a scan that covers only a part of the brain"
    return "in this contrast"


def _unknown(unreadable: str) -> Verdict:
    """What cannot be judged in an unreadable scan, or in an incomplete one."""
    why = unreadable or "in an incomplete scan"
    return {"level": "amber", "sentence": f"It cannot be judged {why}."}


def judge_focal(findings: Sequence[Finding] | None, unreadable: str = "") -> Verdict:
    """What is in the scan and not in the model's brain, and how large it is."""
    if findings is None or unreadable:
        return _unknown(unreadable)
    if not findings:
        return {
            "level": "green",
            "sentence": "No difference is larger than between healthy subjects; small or faint "
            "lesions may be missed.",
        }
    lines = [
        f"{f['place']} ({f['ml']:.1f} ml, {'darker' if f['peak_z'] < 0 else 'brighter'} than "
        "expected)"
        for f in findings[:NAMED]
    ]
    more = len(findings) - len(lines)
    words = "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
    return {
        "level": "red" if findings[0]["unusual"] >= LARGE else "amber",
        "sentence": f"Something the model does not know: {words}. Look there.",
    }


def decisive_first(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """The verdicts, the decisive one first."""
    record = {(verdict["level"], name): name for name, verdict in verdicts.items()}
    return {record[key]: verdicts[record[key]] for key in _ORDER if key in record}


def headline(verdicts: Mapping[str, Verdict]) -> str:
    """The decisive verdict in one sentence; empty without verdicts."""
    for name, verdict in verdicts.items():
        if verdict["level"] == "green":
            return "Nothing unusual in acquisition or anatomy, and no focal finding."
        return f"{VERDICTS[name]}: {verdict['sentence']}"
    return ""


def _away(name: str, row: Mapping[str, float]) -> float:
    """How unusual a quantity is, on a side that has a meaning."""
    away = row.get("unusual", 0.0)
    return abs(away) if QUANTITIES[name][2 if away > 0 else 3] else 0.0
