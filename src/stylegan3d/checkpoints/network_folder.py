"""An auxiliary network as a folder: float16 weights, a card, and a README.

Format of the tissue and the translation network. Reading it executes no code.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.plain import Json
from stylegan3d.storage import tensorfiles
from stylegan3d.storage.files import write_together
from stylegan3d.storage.jsontext import read_json, to_json
from stylegan3d.storage.places import CARD, MODEL, PAGE, bundled_model_path

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class NetworkFolder(Generic[Network]):
    """How one kind of network is stored.

    Attributes
    ----------
    kind : str
        Such as "tissue network".
    bundled : str
        Name of the folder that ships with the package.
    command : str
        The command whose `--export` writes such a folder.
    format, version : str, int
        As the card has them.
    classes : sequence of str
        Its labels.
    check : callable
        Raises ValueError if an entry that the program reads is missing from the card.
    build : callable
        Architecture and how many weights there are -> the network; raises ValueError if it would be
        far larger than they are.
    architecture : callable
        Architecture of a network, for its card.
    """

    kind: str
    bundled: str
    command: str
    format: str
    version: int
    classes: Sequence[str]
    check: Callable[[Json], None]
    build: Callable[[Json, int], Network]
    architecture: Callable[[Network], Json]

    def write(
        self,
        folder: Path,
        network: Network,
        card: Json,
        page: Callable[[Json], str],
        *,
        others: Mapping[str, bytes] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write weights, card, README and other files, all or none.

        Raises
        ------
        OutputError
            If one exists and `overwrite` is false, or they cannot be written.
        """
        state = network.state_dict()
        tensors = {k: v.detach().cpu().numpy().astype(np.float16) for k, v in state.items()}
        weights = tensorfiles.pack(tensors, {"kind": self.kind, "version": "1"})
        head = {
            "format": self.format,
            "format_version": self.version,
            "classes": list(self.classes),
            "architecture": self.architecture(network),
            "files": {MODEL: hashlib.sha256(weights).hexdigest()},
        }
        card = head | card
        files = {folder / MODEL: weights}
        files |= {folder / name: data for name, data in (others or {}).items()}
        files |= {folder / PAGE: page(card).encode(), folder / CARD: to_json(card).encode()}
        write_together(files, overwrite=overwrite)

    def open(self, path: str | Path | None = None) -> tuple[Network, Json, str]:
        """Network, card and SHA-256 of the weights of a folder; None is the bundled one.

        Raises
        ------
        ModelError
            If there is no such network, or it is damaged.
        """
        folder = bundled_model_path(self.bundled) if path is None else Path(path).expanduser()
        if not folder.is_dir():
            raise ModelError(f"There is no {self.kind} at '{folder}'; check the path.")
        network, card = self.read(folder)
        return network, card, card["files"][MODEL]

    def read(self, folder: Path) -> tuple[Network, Json]:
        """Network, float32, and card of a folder.

        Raises
        ------
        ModelError
            If it holds no such network, or a file was changed or is damaged.
        """
        card = self._card(folder)
        data = tensorfiles.read_bytes(folder / MODEL, ModelError)
        tensors, _ = tensorfiles.unpack(data, kind=self.kind, path=folder / MODEL, error=ModelError)
        if hashlib.sha256(data).hexdigest() != card["files"].get(MODEL):
            raise ModelError(
                f"'{folder / MODEL}' is not the file its card describes; copy the whole folder "
                "again."
            )
        try:
            network = self.build(card["architecture"], sum(v.size for v in tensors.values()))
            state: dict[str, Tensor] = {k: torch.from_numpy(v).float() for k, v in tensors.items()}
            network.load_state_dict(state)
            if not all(bool(torch.isfinite(v).all()) for v in state.values()):
                raise ValueError("they are not finite")
        except (RuntimeError, ValueError, TypeError, KeyError, ModelError) as error:
            raise ModelError(
                f"The weights in '{folder}' do not fit their card; copy the whole folder again."
            ) from error
        return network, card

    def _card(self, folder: Path) -> Json:
        try:
            card = read_json(folder / CARD, nan_is_none=True)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"'{folder}' holds no {self.kind} ({CARD}: {type(error).__name__}); choose a "
                f"folder that `stylegan3d {self.command} --export` wrote."
            ) from error
        if not isinstance(card, dict) or card.get("format") != self.format:
            raise ModelError(f"'{folder / CARD}' does not describe a {self.kind}.")
        if card.get("format_version") != self.version or card.get("classes") != list(self.classes):
            raise ModelError(
                f"The {self.kind} '{folder.name}' is of another version of this program; train it "
                "again."
            )
        try:
            self.check(card)
        except ValueError as error:
            raise ModelError(
                f"'{folder / CARD}' lacks a part of a {self.kind}'s card ({error}); copy the whole "
                "folder again."
            ) from error
        return card


class AtPrecisions(Generic[Network]):
    """A network and its copies in other precisions, made when they are first asked for.

    Parameters
    ----------
    network : torch.nn.Module
        float32; it is set to evaluation and moved to the device.
    device : torch.device
    """

    def __init__(self, network: Network, device: torch.device) -> None:
        network.eval().requires_grad_(False)
        self._of = {torch.float32: network.to(device)}
        self._lock = threading.Lock()

    @property
    def plain(self) -> Network:
        """The network in float32."""
        return self._of[torch.float32]

    def at(self, dtype: torch.dtype, lower: Callable[[Network], object] | None = None) -> Network:
        """The network in a precision; `lower` brings a copy to it, if not all of it goes there."""
        with self._lock:
            if dtype not in self._of:
                copy = deepcopy(self.plain)
                copy.to(dtype) if lower is None else lower(copy)
                self._of[dtype] = copy
            return self._of[dtype]


def page_of(card: Json, about: Sequence[str], figures: Sequence[str]) -> str:
    """The card as a README in Markdown; missing entries are left out.

    Parameters
    ----------
    about : sequence of str
        Lines that describe what the network does.
    figures : sequence of str
        Lines on its accuracy, from the card's `validation`; may be empty.
    """
    lines = [f"# {card['name']}", "", *about]
    for key in ("intended_use", "limits", "labels", "licence", "attribution"):
        if key in card:
            lines += ["", f"## {key.replace('_', ' ').capitalize()}", "", *_paragraphs(card[key])]
    if "training_data" in card:
        lines += ["", "## Training data", "", "| source | subjects | licence |", "|---|---|---|"]
        lines += [
            f"| {row['source']} | {row['people']} | {row['licence']} |"
            for row in card["training_data"]
        ]
    if figures:
        lines += ["", "## Measured", "", *figures]
    return "\n".join(lines) + "\n"


def _paragraphs(entry: Any) -> list[str]:
    if isinstance(entry, dict):
        return [f"- {key}: {text}" for key, text in entry.items()]
    return [f"- {text}" for text in entry] if isinstance(entry, list) else [str(entry)]
