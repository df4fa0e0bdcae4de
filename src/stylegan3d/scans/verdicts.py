"""What the results of a projection are called: its verdicts, and figures of similarity."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from stylegan3d.base import Doubt, JsonView, Severity

#: The verdicts on a scan and its reconstruction, and their titles.
VERDICTS = {
    "acquisition": "Acquisition",
    "anatomy": "Anatomy",
    "focal": "Focal",
    "reconstruction": "Reconstruction",
}
#: Kinds that refuse a reconstruction alone: what is measured in its scan stands.
OF_RECONSTRUCTION = ("reconstruction", "no-better-than-mean")
NO_FIGURES = "Volumes, z and apparent age {}."
#: Figures of similarity (`measures.similarity`): name, how the number is written, meaning.
SIMILARITY = {
    "ssim": ("SSIM", "{:.3f}", "Structural similarity inside the brain; 1 is identical."),
    "ncc": ("Correlation", "{:.3f}", "Correlation of intensities in the brain; 1 is identical."),
    "mae": ("Mean error", "{:.1%}", "Mean absolute error, in % of the brightest tissue."),
    "psnr": (
        "PSNR",
        "{:.1f} dB",
        "Peak signal-to-noise ratio inside the brain, in decibels; higher is more similar.",
    ),
}


def doubts_of(verdicts: Mapping[str, Any]) -> list[Doubt]:
    """The verdicts that are not green, as doubts of the same kind."""
    found: list[Doubt] = []
    for kind, told in verdicts.items():
        if told["level"] != "green":
            looks = kind in ("anatomy", "focal")  # a person may have them: they are looked at
            red: Severity = "ask" if looks else "refuse"
            severity: Severity = red if told["level"] == "red" else "tell"
            found.append(Doubt(kind, severity, told["sentence"]))
    return found


def beside_verdicts(doubts: Iterable[Doubt], told: Container[str] = VERDICTS) -> list[Doubt]:
    """Those that no verdict says, each once: where these verdicts are told, too."""
    every = dict.fromkeys(doubts)
    said = {doubt.sentence for doubt in every if doubt.kind in told}
    return [one for one in every if one.kind not in told and one.sentence not in said]


def doubts_of_scan(*described: JsonView) -> list[Doubt]:
    """The doubts in what `AlignedScan.describe` told, of one scan after the other."""
    return [Doubt.read(told) for scan in described for told in scan.get("doubts", ())]


def withheld(doubts: Iterable[Doubt], assessment: JsonView | None = None) -> str:
    """Why no figure of a scan is told, as words to follow "Volumes"; empty if they are."""
    why = unsuitable(doubts, assessment)
    return why and f"are withheld: the acquisition is {why}"


def unsuitable(doubts: Iterable[Doubt], assessment: JsonView | None = None) -> str:
    """Why nothing can be measured in a scan, or learned of it; empty if it can.

    This alone decides it, wherever figures are shown or written: one of the doubts, or of the
    verdicts of an assessment, refuses the scan.
    """
    for doubt in [*doubts, *doubts_of((assessment or {}).get("verdicts", {}))]:
        if doubt.severity == "refuse" and doubt.kind not in OF_RECONSTRUCTION:
            why = doubt.sentence.partition(":")[0].rstrip(".")
            return f"unsuitable ({why[:1].lower()}{why[1:]})"
    return ""


def listed_findings(assessment: JsonView) -> Sequence[JsonView]:
    """What stands out in a scan; nothing where that cannot be judged."""
    return () if withheld((), assessment) else assessment.get("findings") or ()


def similarity_text(key: str, value: float) -> str:
    """A figure of similarity as it is written everywhere, such as "3.4 %"."""
    return SIMILARITY[key][1].format(value).replace("%", " %")
