"""What the results of a projection are called: its verdicts, and figures of similarity."""

from __future__ import annotations

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


def similarity_text(key: str, value: float) -> str:
    """A figure of similarity as it is written everywhere, such as "3.4 %"."""
    return SIMILARITY[key][1].format(value).replace("%", " %")
