"""Settings that are kept from one session to the next: the file, and the last folder.

Kept in an INI file among the user's settings, which `XDG_CONFIG_HOME` moves on Linux.
"""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSettings

WIDTH, LOOK, FOLDER, SAVE_FOLDER = "dock_width", "look", "last_folder", "save_folder"
MEASURE, UNUSUAL_Z = "measure_unfolded", "measure_unusual_z"


def settings() -> QSettings:
    """The file the explorer's settings are kept in."""
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-stylegan3d", "explorer"
    )


def last_folder() -> str:
    """Where something was opened last; empty if nowhere, or if it is gone."""
    folder = str(settings().value(FOLDER, ""))
    return folder if folder and Path(folder).is_dir() else ""


def note_folder(path: Path) -> None:
    """Something was opened here."""
    settings().setValue(FOLDER, str(path if path.is_dir() else path.parent))
