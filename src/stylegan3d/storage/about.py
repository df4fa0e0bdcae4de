"""What this program is called, what it is for, and its version."""

from typing import Literal

PROGRAM = "napari-stylegan3d"
INTENDED_USE = "Research and teaching. Synthetic: not for diagnosis."
#: In every view, file and report of an edited scan, and of another brain with its detail.
MARKS = {
    "edited": "Edited scan, not an acquired image",
    "worn": "Synthetic brain with the detail of a scan, not an acquired image",
}
EDITED_SCAN, WORN_DETAIL = MARKS["edited"], MARKS["worn"]
#: What a scan's files say that it is; what they do not say counts as acquired.
Origin = Literal["acquired", "synthetic", "edited", "difference"]
#: What an image of each origin is called before its name.
ORIGIN_NAMES: dict[Origin, str] = {
    "acquired": "Scan",
    "synthetic": "Synthetic image",
    "edited": "Edited scan",
    "difference": "Difference map",
}
#: What such an image is, in a sentence.
NOT_ACQUIRED: dict[Origin, str] = {
    "synthetic": "a synthetic image, not an acquired one",
    "edited": "an edited scan, not an acquired image",
    "difference": "a map of what an edit changed, not a scan: open the scan instead",
}


def version() -> str:
    """The version that is installed."""
    from importlib.metadata import version as version_of

    return version_of(PROGRAM)
