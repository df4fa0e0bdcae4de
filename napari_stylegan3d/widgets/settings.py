"""Settings that are kept from one session to the next: the file, and the last folder.

Kept in an INI file among the user's settings, which `XDG_CONFIG_HOME` moves on Linux.
"""

from pathlib import Path

from qtpy.QtCore import QSettings

from stylegan3d.settings.option import ReportSettings, options_of

WIDTH, LOOK, FOLDER, SAVE_FOLDER = "dock_width", "look", "last_folder", "save_folder"
MEASURE, UNUSUAL_Z, THEME = "measure_unfolded", "measure_unusual_z", "theme"


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


def unusual_z() -> float:
    """The z beyond which Measure and reports mark a value, as it was set last."""
    known = next(known for known in options_of(ReportSettings) if known.name == "unusual_z")
    try:
        z = float(settings().value(UNUSUAL_Z, known.default))
    except (TypeError, ValueError):
        return ReportSettings.unusual_z
    return ReportSettings.unusual_z if known.option.problem(z) else z
