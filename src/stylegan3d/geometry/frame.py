"""Voxel orientation and size for generators whose file does not contain them.

The original 3D-StyleGAN reads and writes arrays without geometry (an identity affine). Its training
data were usually scans conformed by FreeSurfer, whose array axes point left, inferior and anterior
(L-I-A).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylegan3d.errors import ModelError
from stylegan3d.geometry.space import Space

# Each letter as (axis of the RAS+ world, direction).
_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_TEXT = re.compile(r"([A-Za-z]{3}):(\d+\.?\d*)(?:x(\d+\.?\d*)x(\d+\.?\d*))?")

CONFORMED_AXES = "LIA"
CUBE_MM = 256.0  # FreeSurfer's conformed field of view
LONGEST_MM = 224.0  # field of view of the original's 5:6:7 grids: 80 x 96 x 112 voxels of 2 mm
VOXEL_MM = (0.05, 50.0)


@dataclass(frozen=True)
class Frame:
    """Directions of the array axes and the size of a voxel.

    Attributes
    ----------
    axes : str
        Direction of each array axis, such as "LIA": left, inferior, anterior.
    voxel_size : tuple of float
        Millimetres along each array axis.
    """

    axes: str = CONFORMED_AXES
    voxel_size: tuple[float, float, float] = (2.0, 2.0, 2.0)

    def __post_init__(self) -> None:
        world = [_DIRECTIONS[letter][0] for letter in self.axes if letter in _DIRECTIONS]
        if len(self.axes) != 3 or sorted(world) != [0, 1, 2]:
            raise ModelError(
                f"The axes '{self.axes}' of the frame are impossible: name one of R/L, one of A/P "
                "and one of S/I in the order of the array's axes, such as LIA."
            )
        low, high = VOXEL_MM
        if len(self.voxel_size) != 3 or not all(low <= v <= high for v in self.voxel_size):
            raise ModelError(
                f"The frame's voxels must have edges of {low:g} to {high:g} mm, such as LIA:2."
            )

    def __str__(self) -> str:
        sizes = [repr(float(v)).removesuffix(".0") for v in self.voxel_size]
        return f"{self.axes}:{sizes[0] if len(set(sizes)) == 1 else 'x'.join(sizes)}"

    @classmethod
    def parse(cls, text: str) -> Frame:
        """The frame of a text such as "LIA:2" or "RAS:1x1x1.5" (millimetres).

        Raises
        ------
        ModelError
            If it cannot be parsed.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ModelError(
                f"The frame {text[:40]!r} is not understood: give the directions of the array's "
                "axes and the voxel size in millimetres, such as LIA:2 or RAS:1x1x1.5."
            )
        axes, x, y, z = match.groups()
        return cls(axes.upper(), (float(x), float(y or x), float(z or x)))

    def space(self, shape: Sequence[int]) -> Space:
        """A grid of `shape` voxels in this frame, centred on the world origin."""
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, (letter, size) in enumerate(zip(self.axes, self.voxel_size, strict=True)):
            world, sign = _DIRECTIONS[letter]
            affine[world, axis] = sign * size
        affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
        x, y, z = (int(n) for n in shape)
        return Space((x, y, z), affine)


def assumed_frame(shape: Sequence[int]) -> Frame:
    """The assumed frame of a volume of the original 3D-StyleGAN.

    FreeSurfer's axes. A cube spans FreeSurfer's 256 mm; any other grid 224 mm along its longest
    side, like the original's 5:6:7 grids: 80 x 96 x 112 voxels of 2 mm, 160 x 192 x 224 of 1 mm.
    """
    span = CUBE_MM if len(set(shape)) == 1 else LONGEST_MM
    size = span / max(shape)
    size = min(max(size, VOXEL_MM[0]), VOXEL_MM[1])
    rounded = round(size, 3)
    size = rounded if math.isclose(size, rounded, rel_tol=1e-9) else size
    return Frame(CONFORMED_AXES, (size, size, size))
