"""Window and level: the intensities shown black and white."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Range of white, as a multiple of the usual.
WHITE_LIMITS = (0.05, 3.0)
#: Lowest black, as a multiple of usual white: below zero for pictures with little contrast.
LOWEST_BLACK = -1.0
NARROWEST = 0.02
#: A drag this long changes width or level by the usual brightness of white.
DRAG_PX = 300.0

Limits = tuple[float, float]


@dataclass(frozen=True)
class Levels:
    """Black and white as shares of the usual white of the picture.

    As shares, a scan and its reconstruction look alike though their intensities differ.
    """

    black: float = 0.0
    white: float = 1.0

    @property
    def width(self) -> float:
        """From black to white."""
        return self.white - self.black

    @property
    def level(self) -> float:
        """Middle grey."""
        return (self.white + self.black) / 2

    def with_white(self, white: float) -> Levels:
        """With another white; black is lowered if necessary."""
        white = min(max(white, WHITE_LIMITS[0]), WHITE_LIMITS[1])
        return replace(self, white=white, black=min(self.black, white - NARROWEST))

    def dragged(self, right_px: float, up_px: float) -> Levels:
        """After a drag: right widens (softer), up raises the level (darker)."""
        width = max(self.width + right_px / DRAG_PX, NARROWEST)
        level = self.level + up_px / DRAG_PX
        black = max(level - width / 2, LOWEST_BLACK)
        white = min(max(level + width / 2, WHITE_LIMITS[0]), WHITE_LIMITS[1])
        return Levels(min(black, white - NARROWEST), white)

    def widened(self, right_px: float) -> Levels:
        """After a drag on a picture symmetrical about 0: widen the colours."""
        return Levels().with_white(self.white * 2 ** (right_px / DRAG_PX))

    def limits(self, usual: Limits) -> Limits:
        """Intensities shown as black and white, from the default ones."""
        low, high = usual
        if is_symmetrical(usual):
            return low * self.white, high * self.white
        span = high - low
        return low + span * self.black, low + span * self.white

    @classmethod
    def of(cls, limits: Limits, usual: Limits) -> Levels:
        """The levels that result in these limits."""
        low, high = usual
        if is_symmetrical(usual):
            return cls(white=max(abs(limits[0]), abs(limits[1])) / high)
        span = high - low
        return cls((limits[0] - low) / span, (limits[1] - low) / span)


#: Windows by name; "full" depends on the picture.
PRESETS = ("brain", "deep_grey", "full")
#: The grey and white matter of T1 images, spread so that thalamus, pallidum and capsule differ.
DEEP_GREY = Levels(black=0.45, white=1.1)


def preset(name: str, usual_white: float, span: Limits) -> Levels:
    """The levels of a preset.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    usual_white : float
        White of the picture's model, as a multiple of the usual.
    span : tuple of float
        Lowest and highest intensity of the picture, as shares of the usual white.
    """
    if name == "brain":
        return Levels(white=usual_white)
    if name == "deep_grey":
        return Levels(DEEP_GREY.black * usual_white, DEEP_GREY.white * usual_white)
    low, high = span
    white = min(max(high, WHITE_LIMITS[0]), WHITE_LIMITS[1])
    return Levels(max(min(low, white - NARROWEST), LOWEST_BLACK), white)


def is_symmetrical(limits: Limits) -> bool:
    """Whether the limits are symmetrical about 0, as for a difference."""
    return limits[0] < 0 < limits[1] and limits[0] == -limits[1]
