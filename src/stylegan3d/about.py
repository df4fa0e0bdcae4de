"""What this program is called, and its version."""

from __future__ import annotations

PROGRAM = "napari-stylegan3d"


def version() -> str:
    """The version that is installed."""
    from importlib.metadata import version as version_of

    return version_of(PROGRAM)
