"""Target of an alignment: a grid and its mean brain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import nibabel as nib
import numpy as np

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import checks
from stylegan3d.scans.checks import open_image
from stylegan3d.storage.places import TEMPLATE, bundled_model_path


class Target(Protocol):
    """Argument of `Scan.align`; every `Generator` is one.

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
    found = load_template(bundled_model_path() / TEMPLATE)
    affine = found.space.affine.copy()
    middle = nib.affines.apply_affine(affine, np.argwhere(found.template > 0.05).mean(axis=0))
    affine[:3, 3] += space.center_mm - middle
    return Template(Space(found.space.shape, affine), found.template)


def load_template(path: str | Path) -> Template:
    """Read a mean brain to align to; its own grid becomes the target's.

    Intensities come out in [0, 1] whether the file holds [0, 1], uint8 or a scanner's units.
    """
    image, data = _read(Path(path))
    if data.ndim != 3 or not np.isfinite(data).all() or data.max() <= 0:
        raise ScanError(f"{path} is not a template; give a 3D image of a mean brain.")
    return Template(Space(data.shape, image.affine), data / _full_scale(image, data))


def read_template(path: Path, space: Space) -> np.ndarray:
    """The mean brain in a model's folder, (X, Y, Z) float32 as it is stored.

    Raises
    ------
    ScanError
        If it cannot be read, holds NaN or infinity, or has another grid than `space`.
    """
    _, data = _read(path)
    if data.shape != tuple(space.shape) or not np.isfinite(data).all():
        raise ScanError(f"{path} is not the mean brain of this model; copy the model folder again.")
    return data


def _read(path: Path) -> tuple[Any, np.ndarray]:
    """Image and its numbers, float32; ScanError before memory is set aside for absurd sizes."""
    image = open_image(path)
    checks.check_content(path)
    try:
        if np.prod(np.asarray(image.shape, dtype=np.float64)) > checks.MAX_VOXELS:
            raise ValueError("it claims more voxels than any head scan has")
        with np.errstate(over="ignore"):
            return image, np.asarray(image.dataobj, dtype=np.float32)
    except (*checks.READ_ERRORS, MemoryError) as error:
        raise ScanError(
            f"{path} cannot be read as a template ({str(error)[:120]}); copy it again."
        ) from error


def _full_scale(image: nib.Nifti1Image, data: np.ndarray) -> float:
    # A mean brain stored in uint8 peaks below 255; its scale is the type's, not its own maximum.
    if data.max() <= 1:
        return 1.0
    return 255.0 if image.get_data_dtype() == np.uint8 and data.max() <= 255 else float(data.max())
