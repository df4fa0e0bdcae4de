"""The model card as a page to read, written from `card.json` so that the two cannot disagree.

Headings after Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993).
"""

from __future__ import annotations

from typing import Any

LIMITS = """\
- Synthetic volumes show no real person, but a generator trained on few people can come close to
  some of them; nearest-neighbour checks for that are not part of this card.
- It knows the ages, scanners and the contrast of its training data, and no disease. A scan from
  outside is reconstructed as if it were from inside.
- A reconstruction may leave out what is in a scan, and add what is not."""


def card_text(card: dict[str, Any]) -> str:
    """Markdown of a generator's card."""
    space = card["space"]
    size = " x ".join(str(n) for n in space["shape"])
    network = card["architecture"]["generator"]
    sections = [
        f"# {card['name']}",
        f"{card['modality']}: {size} voxels, axes {space['axes']}. {space['description']}",
        "## Intended use",
        card["intended_use"],
        "## Licence",
        f"{card['licence']}. The code that runs it has its own licence.",
        "## Training data",
        _data_table(card["training_data"]),
        *([card["attribution"]] if card.get("attribution") else []),
        "## Training",
        _training(card["training"]),
        "## Architecture",
        (
            f"StyleGAN2 in three dimensions: base grid {tuple(network['base'])}, channels "
            f"{tuple(network['channels'])}, z {network['z_dim']}, w {network['w_dim']}, "
            f"`{network['wiring']}` wiring, `{network['head']}` head, {network['image_basis']} "
            "linear basis images. Every setting is in `card.json`."
        ),
        "## Measured quality",
        _quality(card.get("quality") or {}),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _data_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| source | people | licence |", "|---|---|---|"]
    lines += [f"| {r['source']} | {r['people']} | {r['licence']} |" for r in rows]
    return "\n".join(lines)


def _training(training: dict[str, Any]) -> str:
    seen, warm = training["images_seen"], training["warm_start_images"]
    return (
        f"{training['people']} people; {seen} volumes seen, the first {warm} in the reconstruction "
        f"phase, {seen - warm} with the adversarial objective. Volumes were mirrored and slightly "
        "stretched at random. The linear parts started at the principal components of the data."
    )


def _quality(quality: dict[str, Any]) -> str:
    if not quality:
        return "Not measured: there were no validation volumes."
    encoded, mean = quality["encoder_reconstruction"], quality["mean_brain"]
    pairs = quality["pair_correlation"]
    return "\n".join(
        [
            f"On {quality['validation_people']} people kept out of training, medians inside the "
            "brain:",
            "",
            "| reconstruction | PSNR (dB) | SSIM | correlation |",
            "|---|---|---|---|",
            f"| by the encoder, no optimisation | {_row(encoded)} |",
            f"| the mean brain, for comparison | {_row(mean)} |",
            "",
            "Mean correlation between pairs of brains (lower is more diverse): synthetic "
            f"{pairs['synthetic']:.3f}, real {pairs['real_validation']:.3f}.",
        ]
    )


def _row(figures: dict[str, float]) -> str:
    return f"{figures['psnr']:.2f} | {figures['ssim']:.3f} | {figures['ncc']:.3f}"
