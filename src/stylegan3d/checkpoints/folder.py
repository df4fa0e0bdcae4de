"""Our own format: a folder with tensors in safetensors and everything else in a JSON card.

Nothing in it executes when it is loaded. `card.json` names the architecture, the space, the
intensity contract, the training data, the licence and the SHA-256 of every other file.

Checks of a model's card before networks are built from it.

A card is text that anybody can change. Sizes in it are compared with the weights that lie beside
it before memory is set aside for networks of these sizes; what the program reads later on, such as
labels, is looked at here, where it can still be refused in one sentence.

An auxiliary network as a folder: float16 weights, a card, and a README.

Format of the tissue and the translation network. Reading it executes no code.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from stylegan3d.base import Json, JsonView, ModelError, OutputError
from stylegan3d.checkpoints.pickle_data import printable
from stylegan3d.pages.page import plain
from stylegan3d.storage import encoding
from stylegan3d.storage.encoding import LARGEST_FILE, finite_number, is_int, read_json, to_json
from stylegan3d.storage.files import LOCK, only_run, reason, sha256_of, sweep, write_together
from stylegan3d.storage.places import CARD, ENCODER, FORMAT, LABELS, MODEL, PAGE, bundled_model_path

#: Of any number or list in an architecture, and of any network's levels.
LARGEST_NUMBER, LONGEST_LIST, MOST_LEVELS = 65_536, 64, 12
#: How much larger the networks may be than the weights: a family's estimate is a rough one.
SLACK = 4
LEAST_WEIGHTS = 4_000_000  # networks this small are not checked
#: Entries that are lists of tables, or tables, where a card has them.
LISTS = ("training_data", "directions")
TABLES = ("architecture", "space", "quality", "evaluation", "training", "intensity", "trust")


def check_card(card: JsonView) -> None:
    """Refuse a card whose tables are none; what its family needs of it, that family checks.

    Raises
    ------
    ValueError, KeyError
        With the reason as half a sentence.
    """
    for name in TABLES:
        missing = card.get(name) is None and (name != "architecture" or name not in card)
        if not missing and not isinstance(card[name], Mapping):
            raise ValueError(f"the card's {name} is not a table")
    for name in LISTS:
        rows = card.get(name)
        if rows is not None and not (
            isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)
        ):
            raise ValueError(f"the card's {name} is not a list of tables")


def check_numbers(plan: object, what: str = "model") -> JsonView:
    """An architecture of words, numbers of a sensible size, and lists of such.

    Raises
    ------
    ValueError
        If it is none; `what` it is of goes into the message.
    """
    if not isinstance(plan, Mapping):
        raise ValueError(f"the architecture of the {what} is not a table")
    for name, value in plan.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if len(values) > LONGEST_LIST:
            raise ValueError(f"the architecture's {name} has {len(values)} entries")
        for number in values:
            if value is number and isinstance(number, (str, bool)):
                continue
            if finite_number(number) is None or abs(number) > LARGEST_NUMBER:
                raise ValueError(f"the architecture's {name} is not a number of a sensible size")
    return plan


def far_larger(needed: int, weights: int) -> bool:
    """Whether networks of so many numbers are far larger than the weights there are."""
    return needed > LEAST_WEIGHTS and needed > SLACK * weights


def whole_numbers(plan: JsonView, name: str, default: tuple[int, ...]) -> list[int]:
    """A list of positive whole numbers in an architecture, not an empty one."""
    values = plan.get(name, default)
    if not isinstance(values, (list, tuple)) or not all(is_int(n) and n > 0 for n in values):
        raise ValueError(f"the architecture's {name} are not positive whole numbers")
    return list(values) or [1]


FORMAT_VERSION = 1
#: Entry of the card of a model whose export has not come to its end.
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class ModelFiles:
    """What a model folder holds, read and checked but not yet built into networks.

    `folder` is None for a network that was read from a file of another program. `labels` is None
    for a model that learned no labels after its training, and `labels_hash` is then empty.
    """

    folder: Path | None
    card: Json
    tensors: dict[str, Tensor]
    encoder: dict[str, Tensor] | None
    hash: str
    labels: dict[str, Tensor] | None = None
    labels_hash: str = ""


def read_folder(path: Path) -> ModelFiles:
    """Read a model folder (or the `model.safetensors` or `card.json` inside one).

    Raises
    ------
    ModelError
        If it is no such folder, was written by a newer version, or a file was changed.
    """
    folder = path.parent if path.name in (MODEL, CARD) else path
    card = _read_card(folder)
    if not (folder / MODEL).is_file():
        raise ModelError(f"The model '{folder}' has no {MODEL}; copy the whole folder again.")
    digests: dict[str, str] = {}
    for name, expected in {MODEL: None, **_listed(card, folder)}.items():
        found = _digest(folder / name)
        if expected is not None and found != expected:
            raise ModelError(
                f"'{folder / name}' is not the file its card describes (it is missing, was changed "
                "or copied incompletely); copy the whole model folder again."
            )
        if found is not None:
            digests[name] = found
    encoder = _read_tensors(folder / ENCODER) if ENCODER in digests else None
    # Only one that the card lists: another may be left of a model that was there before.
    labels = _read_tensors(folder / LABELS) if LABELS in digests else None
    return ModelFiles(
        folder,
        card,
        _read_tensors(folder / MODEL),
        encoder,
        digests[MODEL],
        labels,
        digests.get(LABELS, ""),
    )


def _digest(file: Path) -> str | None:
    """SHA-256 of a file of a model, None if it is missing; ModelError before a huge one is read."""
    try:
        if not file.is_file():
            return None
        size = file.stat().st_size
        if size > LARGEST_FILE:
            raise ModelError(
                f"'{file}' has {size / 1e9:,.0f} GB, more than a model's file can be; copy the "
                "whole model folder again."
            )
        return sha256_of(file)
    except OSError as error:
        raise ModelError(
            f"'{file}' cannot be read ({error.strerror}); copy the whole model folder again."
        ) from error


def _read_card(folder: Path) -> Json:
    try:
        # Python writes NaN where a figure of quality could not be measured.
        card = read_json(folder / CARD, nan_is_none=True)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"'{folder}' is not a generator: it has no {CARD}; choose a model folder such as "
            "weights/brain-t1-2mm, or a network file (.pkl) of the original 3D-StyleGAN."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The card of the model '{folder}' cannot be read ({reason(error)}); "
            "copy the model folder again."
        ) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError(f"'{folder / CARD}' does not describe a generator of this program.")
    version = card.get("format_version", 0)
    if not is_int(version):
        raise ModelError(f"'{folder / CARD}' does not describe a generator of this program.")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"The model '{folder.name}' was written by a newer version; update this program."
        )
    return card


def _listed(card: Json, folder: Path) -> Json:
    """The files that a card names; ModelError if one of them is not a name in the folder."""
    files = card.get("files", {})
    if not isinstance(files, dict) or not all(Path(name).name == name for name in files):
        raise ModelError(
            f"'{folder / CARD}' refers to files outside its folder; download the model again."
        )
    return files


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"'{path}' is damaged ({reason(error)}); copy the model folder again."
        ) from error
    for name, values in tensors.items():
        if values.is_floating_point() and not bool(torch.isfinite(values.float()).all()):
            raise ModelError(
                f"'{path}' has infinite or undefined numbers in '{printable(name[:60])}': its "
                "training had failed by then, so choose another version of the model."
            )
    return tensors


def write_folder(
    folder: Path,
    card: Json,
    tensors: dict[str, Tensor],
    encoder: dict[str, Tensor] | None = None,
    extra_files: dict[str, Path] | None = None,
    overwrite: bool = False,
    labels: dict[str, Tensor] | None = None,
) -> None:
    """Write a model folder, all of it or nothing: a model that was there stays if this fails.

    The card is renamed last: an interrupted write does not count as the new model. That of an
    unfinished one comes first: whatever lies beside it may be replaced.

    Parameters
    ----------
    extra_files : dict of str to Path or None
        Name in the folder -> an existing file to copy (template, directions, README).
    labels : dict of str to Tensor or None
        Label features learned after training.
    """
    check_target(folder, overwrite)
    contents = {
        name: save({k: v.detach().cpu().contiguous() for k, v in state.items()})
        for name, state in ((MODEL, tensors), (ENCODER, encoder), (LABELS, labels))
        if state is not None
    }
    contents |= {name: Path(source).read_bytes() for name, source in (extra_files or {}).items()}
    files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    card = {"format": FORMAT, "format_version": FORMAT_VERSION, **card, "files": files}
    every = {folder / name: data for name, data in contents.items()}
    with only_run(folder):
        described = {folder / CARD: _card_bytes(card)}
        write_together(
            described | every if UNFINISHED in card else every | described, overwrite=True
        )
        for name, state in ((ENCODER, encoder), (LABELS, labels)):
            if state is None:  # of the model that was there
                (folder / name).unlink(missing_ok=True)


def _card_bytes(card: Json) -> bytes:
    return (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode()


def add_to_card(
    folder: Path,
    additions: Json,
    page: Callable[[Json], str],
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Add entries to a model's card, and write its page again; the weights are left as they are.

    `page` makes the page from the card, see `model.card.card_text`. `files` are written beside it
    and named in it.

    Raises
    ------
    ModelError, OutputError
        If the folder holds no readable card, or cannot be written to.
    """
    card = _read_card(folder) | additions
    added = dict(files or {})
    if added:
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in added.items()}
        card["files"] = {**card.get("files", {}), **hashes}
    contents = {folder / name: data for name, data in added.items()}
    contents |= {folder / "README.md": page(card).encode(), folder / CARD: _card_bytes(card)}
    write_together(contents, overwrite=True)


def check_target(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that a model cannot be written to, before any work is done.

    Raises
    ------
    OutputError
        If it holds a model that must not be replaced, or anything else, or cannot be written. One
        whose export was cut off is replaced.
    """
    sweep(folder)
    if (folder / CARD).exists():
        if not overwrite and UNFINISHED not in _read_card(folder):
            raise OutputError(
                f"The folder '{folder}' already contains a model; add --overwrite or "
                "choose another one."
            )
    elif folder.is_dir() and any(entry.name != LOCK for entry in folder.iterdir()):
        raise OutputError(
            f"The folder '{folder}' contains other files; choose a new or empty one for the model."
        )
    ancestor = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK):
        raise OutputError(f"The folder '{folder}' cannot be written; choose another one.")


def is_cut_off(folder: Path, names: Sequence[str]) -> bool:
    """Whether writing these files there, in this order, was interrupted: it holds no others."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*") if p.is_file())
    there = [(folder / name).exists() for name in (names[0], names[-1])]
    return there == [True, False] and {*found} < {*names}


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
            If one exists and `overwrite` is false, unless they were cut off; if they cannot be
            written.
        """
        state = network.state_dict()
        tensors = {k: v.detach().cpu().numpy().astype(np.float16) for k, v in state.items()}
        weights = encoding.pack(tensors, {"kind": self.kind, "version": "1"})
        head = {
            "format": self.format,
            "format_version": self.version,
            "classes": list(self.classes),
            "architecture": self.architecture(network),
            "files": {MODEL: hashlib.sha256(weights).hexdigest()},
        }
        card = head | card
        files = {MODEL: weights, **(others or {}), PAGE: page(card).encode()}
        files |= {CARD: to_json(card).encode()}
        written = {folder / name: data for name, data in files.items()}
        write_together(written, overwrite=overwrite or is_cut_off(folder, [*files]))

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
        data = encoding.read_bytes(folder / MODEL, ModelError)
        tensors, _ = encoding.unpack(data, kind=self.kind, path=folder / MODEL, error=ModelError)
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
                f"'{folder}' holds no {self.kind} ({CARD}: {reason(error)}); choose a "
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
                f"'{folder / CARD}' lacks a part of a {self.kind}'s card ({reason(error)}); "
                "copy the whole folder again."
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


def page_of(card: Json, about: Sequence[str], measured: str, **told: object) -> str:
    """The card as a README in Markdown; missing entries are left out.

    Parameters
    ----------
    about : sequence of str
        Lines that describe what the network does.
    measured : str
        Template of what is said of its accuracy, from the card's `validation` and what is `told`.
    """
    return plain("network.md", card=card, about=about, measured=measured, **told)
