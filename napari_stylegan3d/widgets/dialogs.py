"""File dialogs; in one place, so that tests can replace them."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_stylegan3d.widgets.settings import last_folder, note_folder
from napari_stylegan3d.widgets.text import _
from stylegan3d.storage.formats import patterns

LATENTS = _("Latent files (*.safetensors)")
RECIPES = _("Recipes and sidecars (*.json)")
SESSIONS = _("Sessions (*.sg3d)")
VOLUMES = _("Volumes (*.nii.gz)")
PICTURES = _("Pictures (*.png)")
DIRECTIONS = _("Directions files (*.safetensors)")
NORMS = _("Norms (*.csv *.tsv *.json);;All files (*)")
TABLES = _("Tables of values (*.csv *.tsv *.txt);;All files (*)")


def scans() -> str:
    """The kinds of files that hold scans."""
    return _("Scans ({patterns});;All files (*)").format(patterns=patterns("scan", "dicom"))


def checkpoints() -> str:
    """The kinds of files that hold networks of other programs."""
    return _("Official checkpoints ({patterns});;All files (*)").format(
        patterns=patterns("checkpoint")
    )


def open_file(parent: QWidget, title: str, kinds: str) -> Path | None:
    """A file to open, or None if cancelled."""
    path, _ = QFileDialog.getOpenFileName(parent, title, last_folder(), kinds)
    return _noted(path)


def choose_folder(parent: QWidget, title: str, start: Path) -> Path | None:
    """A folder, or None."""
    path = QFileDialog.getExistingDirectory(parent, title, str(start))
    return Path(path) if path else None


def save_file(parent: QWidget, title: str, kinds: str) -> Path | None:
    """A name to save under, or None; asks before one that exists."""
    path, _ = QFileDialog.getSaveFileName(parent, title, last_folder(), kinds)
    return _noted(path)


def _noted(path: str) -> Path | None:
    """The next question begins in the folder of this answer."""
    if not path:
        return None
    note_folder(Path(path))
    return Path(path)
