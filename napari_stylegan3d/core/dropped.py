"""What was dropped on the window: found out from names and first bytes, without reading it whole.

A file this program has written leads back to the state that made it; anything else that could be
an image is a scan.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QDropEvent

from stylegan3d.session.archive import SUFFIX

Kind = Literal["model", "session", "recipe", "latent", "scan", "dicom"]
NIFTI_SUFFIXES = (".nii.gz", ".nii")
SCAN_SUFFIXES = (*NIFTI_SUFFIXES, ".mgz", ".mgh", ".hdr", ".img")
DICOM_SUFFIXES = (".dcm", ".ima")
#: DICOM files say so after a preamble of this many bytes.
PREAMBLE_BYTES, DICOM_MARK = 128, b"DICM"
#: A recipe or a sidecar is far smaller.
LARGEST_JSON = 4_000_000
CHECKPOINT, CARD = ".pkl", "card.json"


@dataclass(frozen=True)
class Dropped:
    """A path, and what it is.

    Of a volume that this program saved, `kind` is "recipe" and `path` its sidecar. Of DICOM it is
    the file or the folder that `Explorer.open_scan` takes.
    """

    kind: Kind
    path: Path


def what_is(path: str | Path) -> Dropped | None:
    """What a path is; None if nothing that can be opened."""
    path = Path(path)
    if path.is_dir():
        return Dropped("model" if is_model(path) else "dicom", path)
    if not path.is_file():
        return None
    name = path.name.lower()
    if name.endswith(NIFTI_SUFFIXES):
        sidecar = _sidecar(path)
        made = _json_kind(sidecar) == "recipe"
        return Dropped("recipe", sidecar) if made else Dropped("scan", path)
    if name.endswith(SCAN_SUFFIXES):
        return Dropped("scan", path)
    if name.endswith(SUFFIX):
        return Dropped("session", path)
    if name.endswith(".json"):
        return Dropped("recipe", path) if _json_kind(path) == "recipe" else None
    if name.endswith(".safetensors"):
        return _tensors(path)
    if is_model(path):
        return Dropped("model", path)
    return Dropped("dicom", path) if _is_dicom(path) else None


def what_are(paths: Sequence[str | Path]) -> Dropped | None:
    """What several paths are together: one thing, or the slices of one DICOM folder."""
    if len(paths) == 1:
        return what_is(paths[0])
    files = [Path(path) for path in paths]
    folders = {file.parent for file in files}
    if len(folders) == 1 and all(file.is_file() and _is_dicom(file) for file in files):
        return Dropped("dicom", folders.pop())
    return None


def in_event(event: QDropEvent) -> Dropped | None:
    """What is being dragged or dropped."""
    urls = event.mimeData().urls()
    files = [url.toLocalFile() for url in urls if url.isLocalFile()]
    return what_are(files) if files and len(files) == len(urls) else None


def is_model(path: str | Path) -> bool:
    """Whether a path looks like a model: an official checkpoint, or a folder with a card."""
    path = Path(path)
    return path.suffix.lower() == CHECKPOINT or (path / CARD).is_file()


class DropTarget(QObject):
    """Lets widgets take what can be opened; anything else is left to them, such as to napari.

    Parameters
    ----------
    take
        Called with what was dropped.
    parent
        Owns the target.
    """

    def __init__(self, take: Callable[[Dropped], None], parent: QObject) -> None:
        super().__init__(parent)
        self._take = take

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Welcome and take drops."""
        kinds = (QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop)
        if event.type() not in kinds or not isinstance(event, QDropEvent):
            return False
        dropped = in_event(event)
        if dropped is None:
            return False
        event.acceptProposedAction()
        if event.type() == QEvent.Type.Drop:
            self._take(dropped)
        return True


def _tensors(path: Path) -> Dropped | None:
    """A latent file, or the weights in a model's folder."""
    from stylegan3d.storage.tensorfiles import kind_of

    if kind_of(path) == "latent":
        return Dropped("latent", path)
    return Dropped("model", path.parent) if (path.parent / CARD).is_file() else None


def _sidecar(path: Path) -> Path:
    name = path.name
    suffix = next(suffix for suffix in NIFTI_SUFFIXES if name.lower().endswith(suffix))
    return path.with_name(name[: -len(suffix)] + ".json")


def _json_kind(path: Path) -> str | None:
    """What a JSON file is: "recipe" also for a sidecar that holds one."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            return None
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    recipe = data.get("Recipe") if "SyntheticImage" in data else data
    return "recipe" if isinstance(recipe, dict) and "source" in recipe else None


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE_BYTES + len(DICOM_MARK)).endswith(DICOM_MARK)
    except OSError:
        return False
