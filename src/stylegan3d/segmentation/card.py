"""A trained tissue network as a folder: weights in float16, and a card that says what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d import tensorfiles
from stylegan3d.checkpoints.folder import CARD, MODEL
from stylegan3d.errors import ModelError
from stylegan3d.jsontext import to_json
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.volumes import write_together

FORMAT, FORMAT_VERSION = "stylegan3d-tissues", 1
KIND = "tissue network"
PAGE = "README.md"


def write_model(
    folder: Path, network: TissueNetwork, card: dict[str, Any], *, overwrite: bool = False
) -> None:
    """Write weights, card and a page for people, all or none.

    Raises
    ------
    OutputError
        If one exists and `overwrite` is false, or they cannot be written.
    """
    state = network.state_dict()
    tensors = {k: v.detach().cpu().numpy().astype(np.float16) for k, v in state.items()}
    weights = tensorfiles.pack(tensors, {"kind": KIND, "version": "1"})
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "classes": list(CLASSES),
        "architecture": {"widths": list(network.widths)},
        "files": {MODEL: hashlib.sha256(weights).hexdigest()},
    }
    card = head | card
    files = {
        folder / MODEL: weights,
        folder / PAGE: page_of(card).encode(),
        folder / CARD: to_json(card).encode(),
    }
    write_together(files, overwrite=overwrite)


def page_of(card: dict[str, Any]) -> str:
    """The card for people, in Markdown; what it does not say is left out."""
    lines = [f"# {card['name']}", "", "Labels the tissues of brains in T1-weighted MR."]
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
        lines += ["", "## Measured", "", *_figures(card["validation"])]
    return "\n".join(lines) + "\n"


def _paragraphs(entry: Any) -> list[str]:
    if isinstance(entry, dict):
        return [f"- {key}: {text}" for key, text in entry.items()]
    return [f"- {text}" for text in entry] if isinstance(entry, list) else [str(entry)]


def _figures(validation: dict[str, Any]) -> list[str]:
    """Dice and volume errors as a table."""
    lines = [
        f"On {validation['people']} people kept out of training, against the labels it imitates:",
        "",
        "| tissue | Dice | least | volume, ml | mean error, ml | bias, ml |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in validation["tissues"].items():
        cells = (
            f"{row['dice']:.3f}",
            f"{row['dice_least']:.3f}",
            f"{row['volume_ml']:.0f}",
            f"{row['volume_error_ml']:.1f}",
            f"{row['volume_bias_ml']:+.1f}",
        )
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} |")
    return lines


def read_model(folder: Path) -> tuple[TissueNetwork, dict[str, Any]]:
    """Network, float32, and card of a folder.

    Raises
    ------
    ModelError
        If it holds no such network, or a file was changed or is damaged.
    """
    card = _read_card(folder)
    data = tensorfiles.read_bytes(folder / MODEL, ModelError)
    if hashlib.sha256(data).hexdigest() != card["files"].get(MODEL):
        raise ModelError(
            f"'{folder / MODEL}' is not the file its card describes; copy the whole folder again."
        )
    tensors, _ = tensorfiles.unpack(data, kind=KIND, path=folder / MODEL, error=ModelError)
    network = TissueNetwork(tuple(card["architecture"]["widths"]))
    try:
        network.load_state_dict({k: torch.from_numpy(v).float() for k, v in tensors.items()})
    except RuntimeError as error:
        raise ModelError(
            f"The weights in '{folder}' do not fit their card; copy the whole folder again."
        ) from error
    return network, card


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"'{folder}' holds no tissue network ({CARD}: {type(error).__name__}); choose a folder "
            "that `stylegan3d train-segmentation --export` wrote."
        ) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError(f"'{folder / CARD}' does not describe a tissue network.")
    if card.get("format_version") != FORMAT_VERSION or card.get("classes") != list(CLASSES):
        raise ModelError(
            f"The tissue network '{folder.name}' is of another version of this program; "
            "train it again."
        )
    return card
