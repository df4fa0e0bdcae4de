"""What can be chosen for a film.

What can be chosen for a picture of the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.geometry.slicing import PLANES, Plane
from stylegan3d.recipe.keyframes import Easing, How
from stylegan3d.settings.option import Option

LIGHTBOX = "lightbox-"
#: What a picture can show, each with the words for it.
PICTURES = {
    "all": "All views, as displayed",
    "Axial": "Axial view",
    "Sagittal": "Sagittal view",
    "Coronal": "Coronal view",
    "3D": "3D view",
    "lightbox-axial": "Lightbox, axial",
    "lightbox-coronal": "Lightbox, coronal",
    "lightbox-sagittal": "Lightbox, sagittal",
}
SIZES = {
    "screen": "as on the screen",
    "double": "twice as large",
    "print": "for print: 18 cm at 300 dpi",
}


@dataclass(frozen=True)
class PictureSettings:
    """Content and size of a picture."""

    view: Annotated[
        str,
        Option(
            "Show",
            "The views with letters, scale bar and caption as you see them, or a lightbox: 20 "
            "slices through the whole brain with their positions in mm.",
            choices=PICTURES,
        ),
    ] = "all"
    size: Annotated[
        str,
        Option(
            "Size",
            "Resolution of the picture. Everything is rendered again at this resolution.",
            choices=SIZES,
        ),
    ] = "screen"

    @property
    def plane(self) -> Plane | None:
        """The plane of a lightbox; None for views."""
        return next((plane for plane in PLANES if self.view == LIGHTBOX + plane), None)

    @property
    def what(self) -> str:
        """For the file's name."""
        return self.view.lower()


@dataclass(frozen=True)
class FigureSettings:
    """How slices are drawn; see `stylegan3d.render.figures`."""

    slices: Annotated[
        int,
        Option(
            "Lightbox",
            "Number of slices of one plane through the whole brain; 0 for none.",
            low=0,
            high=200,
            flag="--lightbox",
        ),
    ] = 0
    columns: Annotated[int, Option("Columns", "Columns of the lightbox.", low=1)] = 5
    scale: Annotated[
        float,
        Option("Scale", "11.8 is life size at 300 dpi.", unit="pixels per mm", low=0.5, high=12),
    ] = 2.0
    neurological: Annotated[
        bool, Option("Neurological", "Show the patient's left on the left.")
    ] = False


#: Planes that are drawn side by side, each with the words for it.
VIEWS: dict[tuple[Plane, ...], str] = {
    PLANES: "three planes",
    ("axial",): "axial",
    ("coronal",): "coronal",
    ("sagittal",): "sagittal",
}
#: Endings of a film's name, each with the words for it.
KINDS = {".mp4": "MP4", ".gif": "GIF", ".png": "animated PNG", ".webp": "WebP"}


@dataclass(frozen=True)
class FilmSettings:
    """How a film leads from brain to brain; see `stylegan3d.recipe.keyframes.stills`."""

    seconds: Annotated[
        float,
        Option(
            "Transition", "Time from one brain to the next.", unit="s", low=0.1, high=60, step=0.5
        ),
    ] = 2.0
    fps: Annotated[
        int,
        Option(
            "Frame rate",
            "Frames per second. More are smoother, and take longer to render.",
            unit="per s",
            low=1,
            high=60,
        ),
    ] = 12
    easing: Annotated[
        Easing,
        Option(
            "Pace",
            "Whether the film slows down at each brain.",
            choices={"in-out": "pause at each brain", "linear": "constant speed"},
        ),
    ] = "in-out"
    how: Annotated[
        How,
        Option(
            "Path",
            "Path between two random brains: a straight line in W, where the middle is closer "
            "to the average brain, or an arc in Z, which keeps the variety.",
            choices={"linear": "straight line", "spherical": "arc"},
            flag="--way",
        ),
    ] = "linear"
    planes: Annotated[
        tuple[Plane, ...],
        Option("Show", "Slices through the crosshair's point.", choices=VIEWS, flag=None),
    ] = PLANES
    suffix: Annotated[
        str,
        Option(
            "Format",
            "MP4 is the smallest, PNG is lossless.",
            choices=KINDS,
            flag=None,
        ),
    ] = ".mp4"
    loop: Annotated[
        bool, Option("Return to the first brain", "The film then loops without a break.")
    ] = False

    @property
    def frames_per_leg(self) -> int:
        """Pictures from one brain to the next."""
        return max(round(self.seconds * self.fps), 1)
