"""The card of a translation network for people, in Markdown."""

from __future__ import annotations

from typing import Any

from stylegan3d.segmentation.classes import CLASSES, TITLES

#: What is measured, in the words of the page; keys are those of `evaluation.evaluate`.
WAYS = {
    "read": "tissues read in the scan",
    "map": "tissues of the label map",
    "regions": "regions of the label map",
    "usual": "tissues of the label map, in the mean contrast of people",
    "plain_read": "baseline: tissues read in the scan, each in its mean, blurred",
    "plain_map": "baseline: tissues of the label map, each in its mean, blurred",
    "scan": "the scan itself",
    "mean": "the mean brain",
}


def page_of(card: dict[str, Any], montage: str) -> str:
    """The card in Markdown; what it does not say is left out."""
    lines = [f"# {card['name']}", "", "Paints a T1-weighted brain that fits a map of labels."]
    lines += ["", f"![Labels, what is painted from them, the scan]({montage})"]
    for key in ("intended_use", "limits", "labels", "licence", "attribution"):
        if key in card:
            lines += ["", f"## {key.replace('_', ' ').capitalize()}", "", *_paragraphs(card[key])]
    if "training_data" in card:
        lines += ["", "## Training data", "", "| source | people | licence |", "|---|---|---|"]
        lines += [
            f"| {row['source']} | {row['people']} | {row['licence']} |"
            for row in card["training_data"]
        ]
    if "validation" in card:
        lines += ["", "## Measured", "", *figures(card["validation"])]
    return "\n".join(lines) + "\n"


def figures(validation: dict[str, Any]) -> list[str]:
    """How alike pictures are, and how well labels are kept, as two tables."""
    ways = {key: row for key, row in validation["ways"].items() if key in WAYS}
    lines = [
        f"On {validation['people']} people with label maps kept out of training; painted in the "
        "contrast of the person's own scan (14 numbers) unless another is named. Against the scan, "
        "inside the brain, medians:",
        "",
        "| painted from | SSIM | least | PSNR, dB |",
        "|---|---|---|---|",
    ]
    for key, row in ways.items():
        if "ssim" in row:
            cells = f"{row['ssim']:.3f} | {row['ssim_least']:.3f} | {row['psnr']:.2f}"
            lines.append(f"| {WAYS[key]} | {cells} |")
    titles = " | ".join(TITLES[name] for name in CLASSES[1:])
    lines += [
        "",
        "Dice of the labels asked for and those that the tissue network reads in the result, means "
        "over people:",
        "",
        f"| painted from | {titles} | mean | least person |",
        "|---" * (len(CLASSES) + 2) + "|",
    ]
    for key, row in ways.items():
        if "dice" in row:
            tissues = " | ".join(f"{row['dice'][name]:.3f}" for name in CLASSES[1:])
            ends = f"{row['dice_mean']:.3f} | {row['dice_least']:.3f}"
            lines.append(f"| {WAYS[key]} | {tissues} | {ends} |")
    return lines


def _paragraphs(entry: Any) -> list[str]:
    if isinstance(entry, dict):
        return [f"- {key}: {text}" for key, text in entry.items()]
    return [f"- {text}" for text in entry] if isinstance(entry, list) else [str(entry)]
