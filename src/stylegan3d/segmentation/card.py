"""A trained tissue network as a folder: weights in float16, and a card that says what it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.checkpoints.card_checks import LARGEST_NUMBER, MOST_LEVELS
from stylegan3d.checkpoints.places import CARD, MODEL
from stylegan3d.errors import ModelError
from stylegan3d.segmentation.classes import CLASSES, TITLES
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.storage import tensorfiles
from stylegan3d.storage.jsontext import finite_number, from_json, is_int, to_json
from stylegan3d.storage.volumes import write_together

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
    return lines + (_baselines(validation["baselines"]) if "baselines" in validation else [])


def _baselines(found: dict[str, dict[str, float]]) -> list[str]:
    """Dice of ways without a network as a table."""
    lines = ["", "Dice of ways without a network, on the same people:", ""]
    lines += ["| tissue | the commonest label there | a mixture of Gaussians |", "|---|---|---|"]
    return lines + [
        f"| {TITLES[name]} | {value:.3f} | {found['by_mixture'][name]:.3f} |"
        for name, value in found["by_place"].items()
    ]


def read_model(folder: Path) -> tuple[TissueNetwork, dict[str, Any]]:
    """Network, float32, and card of a folder.

    Raises
    ------
    ModelError
        If it holds no such network, or a file was changed or is damaged.
    """
    card = _read_card(folder)
    data = tensorfiles.read_bytes(folder / MODEL, ModelError)
    tensors, _ = tensorfiles.unpack(data, kind=KIND, path=folder / MODEL, error=ModelError)
    if hashlib.sha256(data).hexdigest() != card["files"].get(MODEL):
        raise ModelError(
            f"'{folder / MODEL}' is not the file its card describes; copy the whole folder again."
        )
    try:
        _check_size(card["architecture"]["widths"], sum(v.size for v in tensors.values()))
        network = TissueNetwork(tuple(card["architecture"]["widths"]))
        state = {k: torch.from_numpy(v).float() for k, v in tensors.items()}
        network.load_state_dict(state)
        if not all(bool(torch.isfinite(v).all()) for v in state.values()):
            raise ValueError("they are not finite")
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"The weights in '{folder}' do not fit their card; copy the whole folder again."
        ) from error
    return network, card


def _check_size(widths: Any, weights: int) -> None:
    """ValueError if the card asks for a network far larger than its weights."""
    if not isinstance(widths, list) or not 1 <= len(widths) <= MOST_LEVELS:
        raise ValueError("no list of widths")
    if not all(is_int(n) and 0 < n <= LARGEST_NUMBER for n in widths):
        raise ValueError("widths that no network has")
    if 27 * max(widths) ** 2 > weights:  # a level's second convolution alone
        raise ValueError("widths of a larger network")


def _check_entries(card: dict[str, Any], folder: Path) -> None:
    """What `inference.Segmenter` reads of a card; the rest is for people."""
    named = isinstance(card.get("name"), str)
    tables = all(
        isinstance(card.get(k), dict) for k in ("architecture", "files", "space", "people")
    )
    if named and tables:
        people, mm = card["people"], _numbers(card["space"].get("voxel_mm"))
        percents, quantiles = _numbers(people.get("percents")), people.get("quantiles")
        rows = quantiles.values() if isinstance(quantiles, dict) else [None]
        fit = percents and all(len(_numbers(row)) == len(percents) for row in rows)
        if fit and len(mm) == 3 and min(mm) > 0:
            return
    raise ModelError(
        f"'{folder / CARD}' lacks a part of a tissue network's card; copy the whole folder again."
    )


def _numbers(value: Any) -> list[float]:
    """A list of finite numbers; an empty one for anything else."""
    numbers = [finite_number(item) for item in value] if isinstance(value, list) else []
    return [] if None in numbers else [number for number in numbers if number is not None]


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        if (folder / CARD).exists() and not (folder / CARD).is_file():
            raise OSError("no file")  # a pipe by that name would be waited for
        card = from_json((folder / CARD).read_bytes(), nan_is_none=True)
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
    _check_entries(card, folder)
    return card
