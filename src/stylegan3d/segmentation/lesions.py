"""What a lesion network tells apart: outside, brain, and what does not belong into a brain."""

from __future__ import annotations

from stylegan3d.segmentation.classes import CLASSES, Scheme

LESION = "lesion"
#: The labels. A lesion counts as white matter, in which most are.
LESIONS = Scheme(
    "lesions",
    ("background", "brain", LESION),
    (0, CLASSES.index("white"), CLASSES.index("white")),
)
