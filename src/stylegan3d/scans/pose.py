"""Manual correction of a scan's alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylegan3d.base import StyleGAN3DError

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan

Three = tuple[float, float, float]
NOWHERE: Three = (0.0, 0.0, 0.0)
#: Alternatives to automatic alignment.
STARTS = ("keep", "centre")
# Larger than any error of an accepted alignment.
MOST_MM, MOST_DEG = 60.0, 45.0


@dataclass(frozen=True)
class Pose:
    """A manual movement of a scan, as for `AlignedScan.nudged`.

    Attributes
    ----------
    shift_mm : Three
        To the right, anterior and superior.
    turn_deg : Three
        About the right, anterior and superior axes: nose up, head to its right shoulder, nose to
        its left.
    """

    shift_mm: Three = NOWHERE
    turn_deg: Three = NOWHERE

    def of(self, aligned: AlignedScan) -> AlignedScan:
        """The moved scan; the same object if the movement is zero."""
        return aligned if self == NO_POSE else aligned.nudged(self.shift_mm, self.turn_deg)


NO_POSE = Pose()


def parse_pose(text: str | None) -> tuple[str, Pose]:
    """Parse a pose from the command line.

    "0,0,4" moves the aligned scan up by 4 mm, "0,0,4:10,0,0" also turns the nose up by 10 degrees;
    "keep" uses the header's position, "keep:0,0,4" moves it from there; "centre" centres the brain
    on the mean brain, for scans that cannot be aligned.

    Returns
    -------
    tuple of (str, Pose)
        "auto", "keep" or "centre", for `Scan.align`, and the movement.

    Raises
    ------
    StyleGAN3DError
        If the text is invalid, or exceeds `MOST_MM` and `MOST_DEG`.
    """
    words = [] if text is None else text.strip().split(":")
    how = "auto"
    if words and words[0].strip().lower() in STARTS:
        how, words = words[0].strip().lower(), words[1:]
    try:
        numbers = [tuple(float(word) for word in part.split(",")) for part in words]
        shift, turn = [*numbers, NOWHERE, NOWHERE][:2]
        sound = len(numbers) <= 2 and len(shift) == len(turn) == 3
    except ValueError:
        sound = False
    if not sound or (text is not None and not text.strip()):
        raise StyleGAN3DError(
            f"'{text}' is not a pose; write millimetres right, anterior and superior, then "
            "degrees, such as 0,0,4 or 0,0,4:10,0,0, or keep, or centre."
        )
    if not (max(map(abs, shift)) <= MOST_MM and max(map(abs, turn)) <= MOST_DEG):
        raise StyleGAN3DError(
            f"'{text}' is out of range; move the scan by up to {MOST_MM:g} mm and rotate by up to "
            f"{MOST_DEG:g} degrees in each direction."
        )
    return how, Pose((shift[0], shift[1], shift[2]), (turn[0], turn[1], turn[2]))
