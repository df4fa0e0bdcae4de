"""How a person moves a scan in a model's space, where the alignment did not get it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylegan3d.errors import StyleGAN3DError

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan

Three = tuple[float, float, float]
NOWHERE: Three = (0.0, 0.0, 0.0)
#: Where a move by hand begins, other than where the alignment puts the scan.
STARTS = ("keep", "centre")
# Farther than any alignment fails without being refused.
MOST_MM, MOST_DEG = 60.0, 45.0


@dataclass(frozen=True)
class Pose:
    """By how much a scan is moved, as for `AlignedScan.nudged`.

    Attributes
    ----------
    shift_mm : Three
        To the right, to the front, upwards.
    turn_deg : Three
        Round the axes to the right, to the front and upwards: so that the nose goes up, the head
        leans to its right, the nose goes to its left.
    """

    shift_mm: Three = NOWHERE
    turn_deg: Three = NOWHERE

    def of(self, aligned: AlignedScan) -> AlignedScan:
        """The scan moved; itself if it is to stay."""
        return aligned if self == NO_POSE else aligned.nudged(self.shift_mm, self.turn_deg)


NO_POSE = Pose()


def parse_pose(text: str | None) -> tuple[str, Pose]:
    """What to do about the pose, from a command line's words.

    "0,0,4" moves 4 mm upwards from where the alignment put the scan, "0,0,4:10,0,0" turns the nose
    up by 10 degrees, too; "keep" leaves the scan where its header says, "keep:0,0,4" moves it from
    there; "centre" puts the brain's middle on the mean brain's, for scans that are not aligned.

    Returns
    -------
    tuple of (str, Pose)
        "auto", "keep" or "centre", as `Scan.align` takes it, and the move.

    Raises
    ------
    StyleGAN3DError
        If the words are none of these, or go farther than `MOST_MM` and `MOST_DEG`.
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
            f"'{text}' is not a pose; write millimetres to the right, front and top, then degrees, "
            "such as 0,0,4 or 0,0,4:10,0,0, or keep, or centre."
        )
    if not (max(map(abs, shift)) <= MOST_MM and max(map(abs, turn)) <= MOST_DEG):
        raise StyleGAN3DError(
            f"'{text}' is out of range; move the scan by up to {MOST_MM:g} mm and turn it by up to "
            f"{MOST_DEG:g} degrees in each direction."
        )
    return how, Pose((shift[0], shift[1], shift[2]), (turn[0], turn[1], turn[2]))
