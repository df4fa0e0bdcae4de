"""What can be chosen for a film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stylegan3d.geometry.slicing import PLANES, Plane
from stylegan3d.recipe.keyframes import Easing, How
from stylegan3d.settings.option import Option

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
