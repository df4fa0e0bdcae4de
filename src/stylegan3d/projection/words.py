"""What the results of a projection are called: its verdicts, and figures of similarity."""

from __future__ import annotations

from collections.abc import Sequence

from stylegan3d.base import JsonView

#: The verdicts on a scan and their titles.
VERDICTS = {"acquisition": "Acquisition", "anatomy": "Anatomy", "focal": "Focal"}
#: Figures of similarity (`measures.similarity`): name, how the number is written, meaning.
SIMILARITY = {
    "ssim": ("SSIM", "{:.3f}", "Structural similarity inside the brain; 1 is identical."),
    "ncc": (
        "Correlation",
        "{:.3f}",
        "Correlation of intensities in the brain; 1 is identical.",
    ),
    "mae": ("Mean error", "{:.1%}", "Mean absolute error, in % of the brightest tissue."),
    "psnr": (
        "PSNR",
        "{:.1f} dB",
        "Peak signal-to-noise ratio inside the brain, in decibels; higher is more similar.",
    ),
}


def unsuitable(assessment: JsonView) -> str:
    """Why nothing is measured in a scan or judged of it, in a sentence; empty if it can be."""
    told = assessment.get("verdicts", {}).get("acquisition", {})
    if told.get("level") != "red":
        return ""
    why = str(told["sentence"]).partition(":")[0].rstrip(".")
    why = f"{why[:1].lower()}{why[1:]}"
    return f"Volumes, z and apparent age are withheld: the acquisition is unsuitable ({why})."


def listed_findings(assessment: JsonView) -> Sequence[JsonView]:
    """What stands out in a scan; nothing where that cannot be judged."""
    return () if unsuitable(assessment) else assessment.get("findings") or ()


def similarity_text(key: str, value: float) -> str:
    """A figure of similarity as it is written everywhere, such as "3.4 %"."""
    return SIMILARITY[key][1].format(value).replace("%", " %")
