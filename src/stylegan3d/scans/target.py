"""Where a scan is aligned to: a grid and the mean brain on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import nibabel as nib
import numpy as np

from ..errors import ScanError
from ..space import Space


class Target(Protocol):
    """What `Scan.align` needs; a `Generator` has both.

    `space` is the grid, `template` the mean brain on it, float32 (X, Y, Z) in [0, 1].
    """

    @property
    def space(self) -> Space:
        """The model's grid."""
        ...

    @property
    def template(self) -> np.ndarray:
        """The mean brain on it."""
        ...


@dataclass(frozen=True, eq=False)
class Template:
    """A target that is not a generator."""

    space: Space
    template: np.ndarray


def standard_brain(space: Space) -> Template:
    """The mean brain of the generator that comes along, with its centre in the middle of a grid.

    For generators of which neither the geometry nor the image can be relied on.
    """
    from ..checkpoints.folder import TEMPLATE
    from ..generator import bundled_model_path

    found = load_template(bundled_model_path() / TEMPLATE)
    affine = found.space.affine.copy()
    middle = nib.affines.apply_affine(affine, np.argwhere(found.template > 0.05).mean(axis=0))
    affine[:3, 3] += space.center_mm - middle
    return Template(Space(found.space.shape, affine), found.template)


def load_template(path: str | Path) -> Template:
    """Read a mean brain to align to; its own grid becomes the target's.

    Intensities come out in [0, 1] whether the file holds [0, 1], uint8 or a scanner's units.
    """
    try:
        image = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise ScanError(f"{path} cannot be read as a template ({error}).") from error
    if data.ndim != 3 or not np.isfinite(data).all() or data.max() <= 0:
        raise ScanError(f"{path} is not a template; give a 3D image of a mean brain.")
    return Template(Space(data.shape, image.affine), data / _full_scale(image, data))


def _full_scale(image: nib.Nifti1Image, data: np.ndarray) -> float:
    # A mean brain stored in uint8 peaks below 255; its scale is the type's, not its own maximum.
    if data.max() <= 1:
        return 1.0
    return 255.0 if image.get_data_dtype() == np.uint8 and data.max() <= 255 else float(data.max())
