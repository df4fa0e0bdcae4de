"""What this program is called, what it is for, and its version."""

from __future__ import annotations

PROGRAM = "napari-stylegan3d"
INTENDED_USE = "Research and teaching. Synthetic: not for diagnosis."
#: In every view, file and report of an edited scan, and of another brain with its detail.
MARKS = {
    "edited": "Edited scan, not an acquired image",
    "worn": "Synthetic brain with the detail of a scan, not an acquired image",
}
EDITED_SCAN, WORN_DETAIL = MARKS["edited"], MARKS["worn"]


def version() -> str:
    """The version that is installed."""
    from importlib.metadata import version as version_of

    return version_of(PROGRAM)
