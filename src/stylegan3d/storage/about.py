"""What this program is called, what it is for, and its version."""

from __future__ import annotations

PROGRAM = "napari-stylegan3d"
INTENDED_USE = "Research and teaching. Synthetic: not for diagnosis."


def version() -> str:
    """The version that is installed."""
    from importlib.metadata import version as version_of

    return version_of(PROGRAM)
