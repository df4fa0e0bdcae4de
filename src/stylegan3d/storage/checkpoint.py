"""Checkpoints of runs: the last one and the one before, so that a damaged one costs an interval."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from stylegan3d.errors import ModelError
from stylegan3d.plain import Json
from stylegan3d.storage.files import atomic_file

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
T = TypeVar("T")


def save_checkpoint(folder: Path, data: dict[str, Any]) -> None:
    """Write the checkpoint atomically: a kill at any moment leaves the old or the new one.

    The existing one is kept as the previous checkpoint.

    Raises
    ------
    OutputError
        If it cannot be written; the old one is left as it was.
    ModelError
        If the training diverged; likewise.
    """
    if not _is_finite(data):
        raise ModelError(
            "The training diverged: its networks hold values that are not numbers. The last "
            f"checkpoint in '{folder}' is from before; resume from it, or start anew with a lower "
            "learning rate or another seed."
        )
    with atomic_file(folder / CHECKPOINT, previous=folder / PREVIOUS) as file:
        torch.save(data, file)


def _is_finite(data: Any) -> bool:
    """Whether all tensors in a nest of dictionaries and lists hold numbers only."""
    if isinstance(data, torch.Tensor):
        return not data.is_floating_point() or bool(data.isfinite().all())
    if isinstance(data, dict):
        return all(map(_is_finite, data.values()))
    return not isinstance(data, list | tuple) or all(map(_is_finite, data))


def check_new(folder: Path) -> None:
    """Raise ModelError if a folder holds a run already."""
    if (folder / CHECKPOINT).exists():
        raise ModelError(
            f"'{folder}' holds a run; continue with --resume, or choose another folder."
        )


def load_checkpoint(
    folder: Path, device: torch.device, build: Callable[[Json], T]
) -> tuple[T, str]:
    """The last checkpoint of a run, or the one before it if the last is damaged.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    device : torch.device
        Device of its tensors.
    build : callable
        Builds the result from the checkpoint's content; fails if that is damaged.

    Returns
    -------
    tuple of (T, str)
        The result, and a warning if it comes from the previous checkpoint, else "".

    Raises
    ------
    ModelError
        If there is none, or none is readable.
    """
    path, before = folder / CHECKPOINT, folder / PREVIOUS
    if not path.is_file() and not before.is_file():
        raise ModelError(f"There is no training run to resume in '{folder}'.")
    try:
        return build(_read(path, device)), ""
    except ModelError:  # intact, but unsuitable for this request
        raise
    except Exception as error:
        kind = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        reason, cause = f"{kind} ({type(error).__name__})", error
    try:
        return build(_read(before, device)), (
            f"The checkpoint '{path}' is {reason}: going on from the one before it, "
            f"{PREVIOUS}; what was learned since is learned again."
        )
    except ModelError:
        raise
    except Exception:
        raise ModelError(f"The checkpoint '{path}' is {reason}; start the run anew.") from cause


def _read(path: Path, device: torch.device) -> Json:
    """The content of a checkpoint. Verifies its checksums, which torch does not."""
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(wrong)
    return torch.load(path, map_location=device, weights_only=True)
