"""A trained translation network as a folder: weights in float16, and a card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.checkpoints.card_checks import LARGEST_NUMBER, MOST_LEVELS
from stylegan3d.checkpoints.places import CARD, MODEL
from stylegan3d.errors import ModelError
from stylegan3d.geometry.space import Space, checked_space
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.storage import tensorfiles
from stylegan3d.storage.jsontext import finite_number, from_json, to_json
from stylegan3d.storage.volumes import write_together
from stylegan3d.translation.codes import RegionTable
from stylegan3d.translation.contrast import CONTRAST
from stylegan3d.translation.network import TranslationConfig, TranslationNetwork
from stylegan3d.translation.page import page_of

FORMAT, FORMAT_VERSION = "stylegan3d-translation", 1
KIND = "translation network"
PAGE, MONTAGE = "README.md", "montage.png"


def write_model(
    folder: Path,
    network: TranslationNetwork,
    card: dict[str, Any],
    montage: bytes,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, card, a page for people and its picture (PNG), all or none.

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
        "architecture": network.config.to_dict(),
        "files": {MODEL: hashlib.sha256(weights).hexdigest()},
    }
    card = head | card
    files = {
        folder / MODEL: weights,
        folder / MONTAGE: montage,
        folder / PAGE: page_of(card, MONTAGE).encode(),
        folder / CARD: to_json(card).encode(),
    }
    write_together(files, overwrite=overwrite)


def read_model(folder: Path) -> tuple[TranslationNetwork, dict[str, Any]]:
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
        config = TranslationConfig.from_dict(card["architecture"])
        _check_size(config, sum(v.size for v in tensors.values()))
        network = TranslationNetwork(config)
        state = {k: torch.from_numpy(v).float() for k, v in tensors.items()}
        network.load_state_dict(state)
        if not all(bool(torch.isfinite(v).all()) for v in state.values()):
            raise ValueError("they are not finite")
    except (RuntimeError, ValueError, TypeError, ModelError) as error:
        raise ModelError(
            f"The weights in '{folder}' do not fit their card; copy the whole folder again."
        ) from error
    return network, card


def space_of(card: dict[str, Any]) -> Space:
    """The grid that a card's network paints on.

    Raises
    ------
    ValueError
        If the card names none.
    """
    return checked_space(card["space"].get("shape"), card["space"].get("affine"))


def contrasts_of(card: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Mean [14] and covariance [14, 14] of people's contrasts.

    Raises
    ------
    ValueError
        If the card does not hold them.
    """
    table = card["contrast"]
    rows = table.get("covariance")
    parts = [table.get("mean"), *(rows if isinstance(rows, list) else [])]
    numbers = [[finite_number(n) for n in row] if isinstance(row, list) else [] for row in parts]
    found = np.array([row for row in numbers if len(row) == len(CONTRAST)], np.float64)
    if table.get("names") != list(CONTRAST) or found.shape != (len(CONTRAST) + 1, len(CONTRAST)):
        raise ValueError("no contrasts of people")
    if not np.isfinite(found).all():
        raise ValueError("contrasts that are no numbers")
    return found[0], found[1:]


def _check_size(config: TranslationConfig, weights: int) -> None:
    """ValueError if the card asks for a network far larger than its weights."""
    if len(config.channels) > MOST_LEVELS or max(config.channels) > LARGEST_NUMBER:
        raise ValueError("widths that no network has")
    largest = 54 * max(config.channels) ** 2 * config.blocks
    grid = int(np.prod([float(n) for n in config.shape]))
    if max(largest, grid, config.regions) > weights:
        raise ValueError("the shape of a larger network")


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        if (folder / CARD).exists() and not (folder / CARD).is_file():
            raise OSError("no file")  # a pipe by that name would be waited for
        card = from_json((folder / CARD).read_bytes(), nan_is_none=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"'{folder}' holds no translation network ({CARD}: {type(error).__name__}); choose a "
            "folder that `stylegan3d train-translation --export` wrote."
        ) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError(f"'{folder / CARD}' does not describe a translation network.")
    if card.get("format_version") != FORMAT_VERSION or card.get("classes") != list(CLASSES):
        raise ModelError(
            f"The translation network '{folder.name}' is of another version of this program; "
            "train it again."
        )
    _check_entries(card, folder)
    return card


def _check_entries(card: dict[str, Any], folder: Path) -> None:
    """What `painter.Painter` reads of a card; the rest is for people."""
    tables = ("architecture", "files", "space", "contrast")
    try:
        if not isinstance(card.get("name"), str):
            raise ValueError("no name")
        if not all(isinstance(card.get(key), dict) for key in tables):
            raise ValueError("a part is missing")
        regions = RegionTable.from_list(card.get("regions"))
        if len(regions.groups) != card["architecture"].get("regions"):
            raise ValueError("other regions than the network's")
        if list(space_of(card).shape) != card["architecture"].get("shape"):
            raise ValueError("another grid than the network's")
        contrasts_of(card)
    except ValueError as error:
        raise ModelError(
            f"'{folder / CARD}' lacks a part of a translation network's card ({error}); copy the "
            "whole folder again."
        ) from error
